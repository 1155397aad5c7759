"""Layers that only change the shape of a sample."""

import math
from dataclasses import dataclass

import numpy as np

from ..base import checks
from ..kernels.passes.flat import copy, put_slice, take_slice
from .base import Layer
from .memory import Memory
from .spec import Plan, Shape


class _SameElements(Layer):
    """Base of layers that copy their input, in C order, to an output of another shape."""

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        copy(x, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            copy(dy, dx)


@dataclass(frozen=True)
class Flatten(_SameElements):
    """Flatten all axes of a sample into one, in C order: (8, 8, 1) becomes (64,).

    Shapes: input (n, ...), output (n, features).
    """

    def plan(self, in_shape: Shape) -> Plan:
        return Plan((math.prod(in_shape),))


@dataclass(frozen=True)
class Reshape(_SameElements):
    """Reshape each sample, with its elements in C order.

    Args:
        shape: new shape of a sample, without the batch axis, with the same number of elements.

    Shapes: input (n, ...), output (n, ...), with the axes of ``shape`` after n.
    """

    shape: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(checks.count("Reshape", "each axis", axis) for axis in self.shape))

    def plan(self, in_shape: Shape) -> Plan:
        if math.prod(in_shape) != math.prod(self.shape):
            raise ValueError(
                f"expected {math.prod(self.shape)} elements for shape {self.shape}; "
                f"got {math.prod(in_shape)}, input shape {in_shape}"
            )
        return Plan(self.shape)


@dataclass(frozen=True)
class Slice(Layer):
    """Take a part of the first axis of each sample, ``x[:, start:stop]``: some features, or some steps of a sequence.

    Args:
        start: first index, from 0.
        stop: index behind the last.

    Shapes: input (n, length, ...), output (n, stop - start, ...).
    """

    start: int
    stop: int

    def __post_init__(self) -> None:
        checks.count("Slice", "start", self.start, 0)
        if checks.count("Slice", "stop", self.stop) <= self.start:
            raise ValueError(f"Slice: expected stop above start={self.start}; got {self.stop}")

    def plan(self, in_shape: Shape) -> Plan:
        if not in_shape or self.stop > in_shape[0]:
            raise ValueError(f"expected a first axis of at least {self.stop} elements; got input shape {in_shape}")
        return Plan((self.stop - self.start, *in_shape[1:]))

    def _first(self, m: Memory) -> int:
        """Return the first element of a flat sample that is taken."""
        return self.start * math.prod(m.in_shape[1:])

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        take_slice(x.reshape(len(x), -1), self._first(m), y.reshape(len(y), -1))

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            put_slice(dy.reshape(len(dy), -1), self._first(m), dx.reshape(len(dx), -1))
