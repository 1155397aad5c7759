"""Layers that draw noise while training."""

from dataclasses import dataclass

import numpy as np

from .. import checks
from ..kernels.passes.dropout import dropout, dropout_channels
from .base import Layer
from .memory import Memory
from .spec import Plan, Scratch, Shape


class _Dropout(Layer):
    """Noise that both passes draw alike; a pass that does not train copies its input."""

    rate: float

    def __post_init__(self) -> None:
        checks.fraction(type(self).__name__, "rate", self.rate)

    def _drop(
        self, m: Memory, source: np.ndarray, threshold: np.uint64, scale: np.floating, target: np.ndarray
    ) -> None:
        """Fill target with scale * source, with 0 in place of what draws a 64-bit number below the threshold."""
        raise NotImplementedError

    def _apply(self, m: Memory, source: np.ndarray, target: np.ndarray) -> None:
        if m.training:
            threshold = np.uint64(int(self.rate * 2.0**64))
            self._drop(m, source, threshold, source.dtype.type(1 / (1 - self.rate)), target)
        else:
            np.copyto(target, source)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        self._apply(m, x, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            self._apply(m, dy, dx)


@dataclass(frozen=True)
class Dropout(_Dropout):
    """While training, each element becomes 0 with probability ``rate``, the rest are scaled by 1 / (1 - rate).

    Srivastava et al. 2014, in the inverted form of CS231n: a pass that does not train copies its input.
    """

    rate: float = 0.5

    def plan(self, in_shape: Shape) -> Plan:
        return Plan(in_shape)

    def _drop(
        self, m: Memory, source: np.ndarray, threshold: np.uint64, scale: np.floating, target: np.ndarray
    ) -> None:
        dropout(source, m.stream, m.step, threshold, scale, target)


@dataclass(frozen=True)
class SpatialDropout(_Dropout):
    """Dropout of whole channels: a sample keeps or loses all values of one channel, the last axis, together.

    Neighbouring pixels are alike, so dropping single ones hides little from what comes next (Tompson et al. 2015). The
    input has any shape (..., C). Keras's SpatialDropout2D and PyTorch's Dropout2d are the case of images.
    """

    rate: float = 0.5

    def plan(self, in_shape: Shape) -> Plan:
        if not in_shape:
            raise ValueError(f"expected at least one axis; got input shape {in_shape}")
        return Plan(in_shape, scratch=(Scratch("factors", in_shape[-1:], per_sample=False),))

    def _drop(
        self, m: Memory, source: np.ndarray, threshold: np.uint64, scale: np.floating, target: np.ndarray
    ) -> None:
        dropout_channels(source, m.stream, m.step, threshold, scale, m.factors, target)
