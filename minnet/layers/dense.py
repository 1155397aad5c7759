"""The fully connected layer."""

from dataclasses import dataclass, field

import numpy as np

from ..base import checks
from ..kernels.arrays import rows
from ..kernels.passes.dense import column_sums
from ..kernels.vector.product import multiply
from .base import Layer
from .initializers import HeNormal, Zeros
from .memory import Memory
from .spec import Initializer, Param, Plan, Shape


@dataclass(frozen=True)
class Dense(Layer):
    """Fully connected layer, y = x @ W + b.

    On a sequence, the layer acts on each position with the same weights, as CS231n's temporal affine layer does. All
    positions are one matrix product.

    Args:
        units: number of outputs.
        init: initializer of W. ``HeNormal`` by default (He et al. 2015).
        bias: whether to add b, which starts at 0.

    Shapes: input (n, inputs), output (n, units); for sequences input (n, time, inputs), output (n, time, units).
    Trained: W (inputs, units); b (units,) with ``bias``. PyTorch's ``weight`` is the transpose of W.
    """

    floors = True

    units: int
    init: Initializer = field(default_factory=HeNormal)
    bias: bool = True

    def __post_init__(self) -> None:
        checks.count("Dense", "units", self.units)
        if not callable(self.init) or isinstance(self.init, type):
            raise TypeError(f"Dense: expected init to be an initializer such as Normal(0.01); got {self.init!r}")

    def plan(self, in_shape: Shape) -> Plan:
        if len(in_shape) not in (1, 2):
            raise ValueError(
                f"expected one axis of features, or (time, features); got input shape {in_shape}"
                f" (put {'Flatten()' if in_shape else 'Reshape((1,))'} before it)"
            )
        params = [Param("W", (in_shape[-1], self.units), self.init)]
        if self.bias:
            params.append(Param("b", (self.units,), Zeros(), decay=False))
        return Plan((*in_shape[:-1], self.units), tuple(params), work=2 * self.units)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        inputs, units = m.W.shape
        x, y = rows(x), rows(y)
        bias = m.b if self.bias else m.nothing
        multiply(x, inputs, 1, m.W, units, 1, bias, m.floor, y, inputs, m.work)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        inputs, units = m.W.shape
        x, dy = rows(x), rows(dy)
        multiply(x, 1, inputs, dy, units, 1, m.nothing, m.no_floor, m.dW, len(x), m.work)  # x.T @ dy
        if self.bias:
            column_sums(dy, m.db, m.work[0])
        if dx is not None:
            multiply(dy, units, 1, m.W, 1, units, m.nothing, m.no_floor, rows(dx), units, m.work)  # dy @ W.T
