"""Two recurrent layers, one in each direction of time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..kernels.arrays import rows
from ..kernels.passes import recurrent as kernels
from ..kernels.passes.residual import accumulate
from .base import Layer, Pass, plan_layer
from .composite import _passes, join_winners
from .recurrent import Recurrent
from .spec import Child, Plan, Scratch, Shape


@dataclass(frozen=True)
class Bidirectional(Layer):
    """Two recurrent layers, one in each direction of time, with their outputs side by side.

    The output has the features of the layer, then those of its reverse, as in PyTorch and Keras. With ``last``, they
    are the states after the last step of each: at the last position, and at the first.

    Args:
        layer: an ``RNN``, ``LSTM``, ``GRU`` or ``ChoGRU``, with ``reverse=False`` and without streams.

    Shapes: input (n, time, features), output (n, time, 2 * units), or (n, 2 * units) with ``last`` of the layer.
    Trained: those of the layer twice, as ahead.W, back.W and so on.
    Source: Schuster and Paliwal 1997.
    """

    layer: Recurrent

    def __post_init__(self) -> None:
        if not isinstance(self.layer, Recurrent):
            raise TypeError(f"Bidirectional: expected layer as an RNN, LSTM or GRU; got {self.layer!r}")
        if self.layer.reverse or self.layer.streams:
            raise ValueError(f"Bidirectional: expected a layer with reverse=False and no streams; got {self.layer!r}")

    def plan(self, in_shape: Shape) -> Plan:
        both = {"ahead": self.layer, "back": replace(self.layer, reverse=True)}  # type: ignore[type-var]
        children = tuple(
            Child(name, layer, in_shape, plan_layer(layer, in_shape, name)) for name, layer in both.items()
        )
        out = children[0].plan.out
        kept = Scratch("y_ahead", out), Scratch("y_back", out)
        brief = Scratch("dy_ahead", out, brief=True), Scratch("dy_back", out, brief=True)
        scratch = (*kept, *brief, Scratch("dx_back", in_shape, brief=True))
        return Plan((*out[:-1], 2 * out[-1]), scratch=scratch, children=children)

    def passes(self, m: Any, x: np.ndarray, y: np.ndarray) -> Iterator[Pass]:
        for name, (layer, memory), output in zip(("ahead", "back"), m.children, (m.y_ahead, m.y_back), strict=True):
            yield from _passes(name, layer, memory, x, output)

    def forward(self, m: Any, x: np.ndarray, y: np.ndarray) -> None:
        for (layer, memory), output in zip(m.children, (m.y_ahead, m.y_back), strict=True):
            layer.forward(memory, x, output)
        kernels.join(rows(m.y_ahead), rows(m.y_back), rows(y))

    def backward(self, m: Any, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        kernels.part(rows(dy), rows(m.dy_ahead), rows(m.dy_back))
        (ahead, memory), (back, memory_back) = m.children
        ahead.backward(memory, x, m.y_ahead, m.dy_ahead, dx)
        back.backward(memory_back, x, m.y_back, m.dy_back, None if dx is None else m.dx_back)
        if dx is not None:
            accumulate(dx, m.dx_back)

    def winners(self, m: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        outputs = zip(m.children, (m.y_ahead, m.y_back), strict=True)
        return join_winners([layer.winners(memory, x, output) for (layer, memory), output in outputs])
