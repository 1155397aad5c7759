"""Layers that draw noise in training passes."""

from dataclasses import dataclass

import numpy as np

from ..base import checks
from ..kernels.passes.dropout import dropout, dropout_channels
from ..kernels.passes.flat import copy
from .base import Layer
from .memory import Memory
from .spec import Plan, Scratch, Shape


class _Dropout(Layer):
    """Base of dropout layers. Forward and backward draw the same noise; evaluation passes copy the input."""

    rate: float

    def __post_init__(self) -> None:
        checks.fraction(type(self).__name__, "rate", self.rate)

    def _drop(
        self, m: Memory, source: np.ndarray, threshold: np.uint64, scale: np.floating, target: np.ndarray
    ) -> None:
        """Set target to scale * source, and to 0 where a random 64-bit number is below the threshold."""
        raise NotImplementedError

    def _apply(self, m: Memory, source: np.ndarray, target: np.ndarray) -> None:
        if m.training:
            threshold = np.uint64(int(self.rate * 2.0**64))
            self._drop(m, source, threshold, source.dtype.type(1 / (1 - self.rate)), target)
        else:
            copy(source, target)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        self._apply(m, x, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            self._apply(m, dy, dx)


@dataclass(frozen=True)
class Dropout(_Dropout):
    """Set each element to 0 with probability ``rate``, and scale the others by 1 / (1 - rate).

    This is the inverted dropout of CS231n, PyTorch and Keras. The paper scales the weights by 1 - rate in evaluation
    passes instead; here these copy the input.

    Args:
        rate: probability in [0, 1).

    Shapes: input and output (n, ...), with any number of axes.
    Source: Srivastava et al. 2014, sections 4 and 10.
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
    """Dropout of whole channels: set all values of a channel of a sample to 0, or none.

    Neighbouring pixels are correlated, so dropping single pixels removes little information. Channels that are kept are
    scaled by 1 / (1 - rate). For images, this is Keras's SpatialDropout2D and PyTorch's Dropout2d. Evaluation passes
    copy the input.

    Args:
        rate: probability in [0, 1) that a channel is dropped.

    Shapes: input and output (n, ..., C), with channels on the last axis.
    Source: Tompson et al. 2015, section 3.2.
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
