"""Layers that draw noise while training."""

from dataclasses import dataclass

import numpy as np

from .. import checks
from ..kernels.dropout import dropout
from ..memory import Memory
from ..spec import Plan, Shape
from .base import Layer


@dataclass(frozen=True)
class Dropout(Layer):
    """While training, each element becomes 0 with probability ``rate``, the rest are scaled by 1 / (1 - rate).

    Srivastava et al. 2014, in the inverted form of CS231n: a pass that does not train copies its input.
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        checks.fraction("Dropout", "rate", self.rate)

    def plan(self, in_shape: Shape) -> Plan:
        return Plan(in_shape)

    def _apply(self, m: Memory, source: np.ndarray, target: np.ndarray) -> None:
        if m.training:
            threshold = np.uint64(int(self.rate * 2.0**64))
            dropout(source, m.stream, m.step, threshold, source.dtype.type(1 / (1 - self.rate)), target)
        else:
            np.copyto(target, source)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        self._apply(m, x, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            self._apply(m, dy, dx)
