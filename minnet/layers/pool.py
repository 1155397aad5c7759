"""Pooling, resizing and borders of images (H, W, C), channels last."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks
from ..kernels import pool as kernels
from ..kernels.borders import pad
from ..memory import Memory
from ..spec import Plan, Shape
from .base import Layer
from .conv import Borders, borders, check_borders


class _Window(Layer):
    """A square window of ``size`` that moves by ``stride`` over an image with ``padding`` positions on every side."""

    size: int
    stride: int | None
    padding: int

    def __post_init__(self) -> None:
        who = type(self).__name__
        checks.count(who, "size", self.size)
        object.__setattr__(
            self, "stride", self.size if self.stride is None else checks.count(who, "stride", self.stride)
        )
        given: Any = self.padding
        if given is None or isinstance(given, str):
            hint = " (for an odd size, size // 2 makes as many outputs)" if given == "same" else ""
            raise TypeError(f"{who}: expected padding as a whole number, 0 for none; got {given!r}{hint}")
        if checks.count(who, "padding", self.padding, least=0) >= self.size:
            raise ValueError(f"{who}: expected padding below size={self.size}; got {self.padding}")

    def plan(self, in_shape: Shape) -> Plan:
        if len(in_shape) != 3:
            raise ValueError(f"expected channels-last images (H, W, C); got input shape {in_shape}")
        rows, columns = (length + 2 * self.padding - self.size for length in in_shape[:2])
        if rows < 0 or columns < 0:
            raise ValueError(f"expected images of at least size={self.size} with padding; got input shape {in_shape}")
        assert self.stride is not None
        return Plan((rows // self.stride + 1, columns // self.stride + 1, in_shape[2]))


@dataclass(frozen=True)
class MaxPool2D(_Window):
    """Largest value of each window; ``stride`` is ``size`` unless told. Padding never wins, as in PyTorch.

    Of equal values the first in reading order gets the gradient.
    """

    masks = True

    size: int
    stride: int | None = None
    padding: int = 0

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.max_pool(x, y, self.size, self.stride, self.padding)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.max_pool_backward(x, y, dy, dx, self.size, self.stride, self.padding, m.input_floor)

    def winners(self, m: Memory, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        border = (self.padding, self.padding)
        padded = np.pad(x, ((0, 0), border, border, (0, 0)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (self.size, self.size), axis=(1, 2))
        return windows[:, :: self.stride, :: self.stride].reshape(*y.shape, self.size**2).argmax(axis=-1)


@dataclass(frozen=True)
class AvgPool2D(_Window):
    """Mean of each window; ``stride`` is ``size`` unless told.

    ``count_padding=True`` counts positions outside of the image as zeros, PyTorch's default; False leaves them out of
    the mean, as Keras does.
    """

    size: int
    stride: int | None = None
    padding: int = 0
    count_padding: bool = True

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.mean_pool(x, y, self.size, self.stride, self.padding, self.count_padding)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.mean_pool_backward(dy, dx, self.size, self.stride, self.padding, self.count_padding)


@dataclass(frozen=True)
class GlobalAvgPool2D(Layer):
    """Mean of each channel over the whole image: (H, W, C) becomes (C,). Lin, Chen, Yan 2014."""

    def plan(self, in_shape: Shape) -> Plan:
        if len(in_shape) != 3:
            raise ValueError(f"expected channels-last images (H, W, C); got input shape {in_shape}")
        return Plan(in_shape[2:])

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.global_mean(x, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.global_mean_backward(dy, dx)


@dataclass(frozen=True)
class Upsample(Layer):
    """Every pixel becomes a square of ``factor`` x ``factor`` equal ones (nearest neighbour)."""

    factor: int = 2

    def __post_init__(self) -> None:
        checks.count("Upsample", "factor", self.factor)

    def plan(self, in_shape: Shape) -> Plan:
        if len(in_shape) != 3:
            raise ValueError(f"expected channels-last images (H, W, C); got input shape {in_shape}")
        rows, columns, channels = in_shape
        return Plan((rows * self.factor, columns * self.factor, channels))

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.upsample(x, self.factor, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.upsample_backward(dy, self.factor, dx)


@dataclass(frozen=True)
class ZeroPad(Layer):
    """Rows and columns of zeros around the image: a number for all sides, or ((top, bottom), (left, right))."""

    padding: int | Borders

    def __post_init__(self) -> None:
        object.__setattr__(self, "padding", check_borders("ZeroPad", self.padding))

    def plan(self, in_shape: Shape) -> Plan:
        if len(in_shape) != 3:
            raise ValueError(f"expected channels-last images (H, W, C); got input shape {in_shape}")
        (top, bottom), (left, right) = borders(self.padding, in_shape[:2], (1, 1), 1)
        return Plan((in_shape[0] + top + bottom, in_shape[1] + left + right, in_shape[2]))

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        (top, _), (left, _) = borders(self.padding, x.shape[1:3], (1, 1), 1)
        pad(x, top, left, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            (top, _), (left, _) = borders(self.padding, x.shape[1:3], (1, 1), 1)
            np.copyto(dx, dy[:, top : top + dx.shape[1], left : left + dx.shape[2]])
