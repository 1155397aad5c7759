"""A network in words: its layers, shapes, parameter counts and memory."""

import math

import numpy as np

from .memory import Node
from .spec import Shape


def summarise(root: Node, input_shape: Shape, params: int, buffers: int, dtype: np.dtype) -> str:
    """A table of the layers below ``root``, with the bytes that a net of so many parameters and buffers holds."""
    rows = [("layer", "output shape", "parameters")]
    for node in root.walk()[1:]:
        label = f"{'  ' * node.name.count('.')}{node.name.rsplit('.', 1)[-1]} {type(node.layer).__name__}"
        own = sum(math.prod(param.shape) for param in node.plan.params)
        rows.append((label, str(node.plan.out), f"{own:,}" if own else "-"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    rule = "-" * len(lines[0])
    one, many = (root.kept_size(n) + root.brief_size(n) + 2 * n * math.prod(root.plan.out) for n in (1, 100))
    size = dtype.itemsize
    return "\n".join(
        [
            lines[0],
            rule,
            *lines[1:],
            rule,
            f"input {input_shape}, output {root.plan.out}, {dtype.name}",
            f"{params:,} parameters, {_bytes(2 * params * size)} with their gradients; {buffers:,} buffer values",
            f"activations and scratch: {_bytes(one * size)} for one sample, {_bytes(many * size)} for a batch of 100",
        ]
    )


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"
