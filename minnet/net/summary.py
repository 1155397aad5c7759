"""A summary of a network as text: layers, shapes, parameter counts and memory."""

import math
from collections.abc import Collection

import numpy as np

from ..layers.memory import Node
from ..layers.spec import Shape


def summarise(
    root: Node, input_shape: Shape, params: int, buffers: int, dtype: np.dtype, frozen: Collection[str] = ()
) -> str:
    """Return a table of the layers below ``root``, with the memory of the net in bytes.

    Args:
        root: node of the outermost chain.
        input_shape: shape of one sample.
        params, buffers: numbers of values.
        dtype: dtype of the net.
        frozen: names of the tensors that are not trained.
    """
    rows, still = [("layer", "output shape", "parameters")], 0
    for node in root.walk()[1:]:
        label = f"{'  ' * node.name.count('.')}{node.name.rsplit('.', 1)[-1]} {type(node.layer).__name__}"
        own = sum(math.prod(param.shape) for param in node.plan.params)
        kept = [param for param in node.plan.params if f"{node.name}.{param.name}" in frozen]
        if kept:
            names = "" if len(kept) == len(node.plan.params) else f"{', '.join(param.name for param in kept)} "
            label += f" ({names}frozen)"
            still += sum(math.prod(param.shape) for param in kept)
        rows.append((label, str(node.plan.out), f"{own:,}" if own else "-"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    rule = "-" * len(lines[0])
    one, many = (root.kept_size(n) + root.brief_size(n) + 2 * n * math.prod(root.plan.out) for n in (1, 100))
    size, count = dtype.itemsize, f"{params:,} parameters" + (f", {still:,} of them frozen" if still else "")
    return "\n".join(
        [
            lines[0],
            rule,
            *lines[1:],
            rule,
            f"input {input_shape}, output {root.plan.out}, {dtype.name}",
            f"{count}, {_bytes(2 * params * size)} with their gradients; {buffers:,} buffer values",
            f"activations and scratch: {_bytes(one * size)} for one sample, {_bytes(many * size)} for a batch of 100",
        ]
    )


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"
