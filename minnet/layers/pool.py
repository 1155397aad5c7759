"""Pooling, upsampling and padding of images (H, W, C), channels last."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..base import checks
from ..kernels.passes import pool as kernels
from ..kernels.vector.borders import pad
from .base import Layer
from .conv import Borders, Padding, borders, check_borders, check_padding, pair
from .convolution import Pair
from .memory import Memory
from .spec import Plan, Shape


class _Window(Layer):
    """Base of pooling layers: a window of ``size`` that moves by ``stride`` over an image with ``padding``."""

    size: int | Pair
    stride: int | Pair | None
    padding: Padding
    ceil_mode: bool

    images = True

    def __post_init__(self) -> None:
        who = type(self).__name__
        size = pair(who, "size", self.size)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "stride", size if self.stride is None else pair(who, "stride", self.stride))
        object.__setattr__(self, "padding", check_padding(who, self.padding))
        checks.truth(who, "ceil_mode", self.ceil_mode)
        if not isinstance(self.padding, str):
            sides = borders(self.padding, size, size, (1, 1))
            if max(sides[0]) >= size[0] or max(sides[1]) >= size[1]:
                raise ValueError(f"{who}: expected padding below size={size}; got {self.padding}")

    def plan(self, in_shape: Shape) -> Plan:
        if len(in_shape) != 3:
            raise ValueError(f"expected channels-last images (H, W, C); got input shape {in_shape}")
        size, stride, sides = self._window(in_shape)
        out = []
        for length, reach, step, (before, after) in zip(in_shape[:2], size, stride, sides, strict=True):
            rest = length + before + after - reach
            if rest < 0:
                raise ValueError(f"expected images of at least size={size} with padding; got input shape {in_shape}")
            count = rest // step + 1
            # A window that would start behind the image does not count.
            more = self.ceil_mode and rest % step > 0 and count * step < length + before
            out.append(count + more)
        return Plan((*out, in_shape[2]))

    def _window(self, in_shape: Shape) -> tuple[Pair, Pair, Borders]:
        """Return size, stride and padding of the window for images of this shape."""
        size, stride = cast(tuple[Pair, Pair], (self.size, self.stride))
        return size, stride, borders(self.padding, (in_shape[0], in_shape[1]), size, stride)

    def bind(self, m: Any) -> None:
        """Set m.window to size, stride and corner, the argument of the kernels.

        Args:
            m: memory of the layer, with arrays for this batch size.
        """
        size, stride, ((top, _), (left, _)) = self._window(m.in_shape)
        m.window = np.array([*size, *stride, top, left])


@dataclass(frozen=True)
class MaxPool2D(_Window):
    """Maximum of each window. Padding is never the maximum, as in PyTorch.

    If several values are equal, the first one in row-major order receives the gradient.

    Args:
        size: height and width of the window, or one number for both.
        stride: step of the window along rows and columns, or one number for both. None for ``size``.
        padding: 0 or ``"valid"`` for none; ``"same"`` for ceil(length / stride) outputs, as in Keras; one number for
            all sides or two for rows and columns, as in PyTorch; or ((top, bottom), (left, right)). Must be below
            ``size``.
        ceil_mode: whether rows and columns at the bottom and right that do not fill a window get one anyway, if it
            starts within the image or the padding before it, as with PyTorch's ``ceil_mode``.

    Shapes: input (n, H, W, C), output (n, rows, columns, C), with a row and a column for each place of the window.
    Source: CS231n's max pooling, with padding as in PyTorch and Keras.
    """

    masks = True

    size: int | Pair
    stride: int | Pair | None = None
    padding: Padding = 0
    ceil_mode: bool = False

    def bind(self, m: Any) -> None:
        """Set m.tiles as well: whether each position of the image is in one window."""
        super().bind(m)
        size, stride, sides = self._window(m.in_shape)
        m.tiles = stride == size and not np.any(sides) and not np.any(np.mod(m.in_shape[:2], size))

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.max_pool(x, y, m.window)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            backward = kernels.max_pool_backward_apart if m.tiles else kernels.max_pool_backward
            backward(x, y, dy, dx, m.window, m.input_floor)

    def winners(self, m: Memory, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        rows, columns, down, across, top, left = m.window
        bottom, right = (y.shape[1] - 1) * down + rows, (y.shape[2] - 1) * across + columns  # of the last window
        padded = np.full((len(x), max(bottom, top + x.shape[1]), max(right, left + x.shape[2]), x.shape[3]), -np.inf)
        padded[:, top : top + x.shape[1], left : left + x.shape[2]] = x
        windows = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), axis=(1, 2))
        chosen = windows[:, ::down, ::across][:, : y.shape[1], : y.shape[2]]
        return chosen.reshape(*y.shape, rows * columns).argmax(axis=-1)


@dataclass(frozen=True)
class AvgPool2D(_Window):
    """Mean of each window.

    Args:
        size, stride, padding, ceil_mode: as in ``MaxPool2D``.
        count_padding: whether positions in the padding count as zeros, as by default in PyTorch
            (``count_include_pad``). False leaves them out of the mean, as Keras does. Positions beyond the padding,
            which windows of ``ceil_mode`` may contain, never count.

    Shapes: input (n, H, W, C), output (n, rows, columns, C), with a row and a column for each place of the window.
    """

    size: int | Pair
    stride: int | Pair | None = None
    padding: Padding = 0
    count_padding: bool = True
    ceil_mode: bool = False

    def bind(self, m: Any) -> None:
        super().bind(m)
        m.shares = self.shares(m.in_shape, m.out).astype(m.nothing.dtype)

    def shares(self, in_shape: Shape, out: Shape) -> np.ndarray:
        """Return the factor of the sum of each window.

        Args:
            in_shape: shape of an image, (H, W, C).
            out: shape of the output, (rows, columns, C).

        Returns:
            1 / number of positions that the mean counts, float64 (rows, columns).
        """
        size, stride, sides = self._window(in_shape)
        counts = []
        for length, many, reach, step, (before, after) in zip(in_shape, out, size, stride, sides, strict=False):
            first, last = (-before, length + after) if self.count_padding else (0, length)
            starts = np.arange(many) * step - before
            counts.append(np.minimum(starts + reach, last) - np.maximum(starts, first))
        return np.asarray(1 / np.outer(*counts))

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.mean_pool(x, y, m.window, m.shares)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.mean_pool_backward(dy, dx, m.window, m.shares)


@dataclass(frozen=True)
class GlobalAvgPool2D(Layer):
    """Mean of each channel over the whole image.

    Shapes: input (n, H, W, C), output (n, C).
    Source: Lin, Chen, Yan 2014, section 3.2.
    """

    images = True

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
    """Nearest-neighbour upsampling: repeat each pixel ``factor`` times along rows and columns.

    Args:
        factor: number of repetitions.

    Shapes: input (n, H, W, C), output (n, factor * H, factor * W, C).
    """

    images = True

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
    """Pad the image with rows and columns of zeros.

    Args:
        padding: one number for all sides, two for rows and columns, or ((top, bottom), (left, right)).

    Shapes: input (n, H, W, C), output (n, top + H + bottom, left + W + right, C).
    """

    images = True

    padding: int | Pair | Borders

    def __post_init__(self) -> None:
        object.__setattr__(self, "padding", check_borders("ZeroPad", self.padding))

    def plan(self, in_shape: Shape) -> Plan:
        if len(in_shape) != 3:
            raise ValueError(f"expected channels-last images (H, W, C); got input shape {in_shape}")
        (top, bottom), (left, right) = borders(self.padding, in_shape[:2], (1, 1), (1, 1))
        return Plan((in_shape[0] + top + bottom, in_shape[1] + left + right, in_shape[2]))

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        (top, _), (left, _) = borders(self.padding, x.shape[1:3], (1, 1), (1, 1))
        pad(x, top, left, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            (top, _), (left, _) = borders(self.padding, x.shape[1:3], (1, 1), (1, 1))
            pad(dy, -top, -left, dx)
