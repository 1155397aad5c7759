"""Convolution of images (H, W, C), channels last."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from .. import checks
from ..initializers import HeNormal, Zeros
from ..kernels import conv as kernels
from ..memory import Memory
from ..spec import Initializer, Param, Plan, Scratch, Shape
from .base import Layer

Borders = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)
Padding = str | int | Borders


@lru_cache(maxsize=1024)
def borders(padding: Padding, size: tuple[int, int], kernel: tuple[int, int], stride: int) -> Borders:
    """Rows and columns of zeros around an image of ``size`` for a kernel of that extent, dilation included.

    "valid" adds none; "same" gives ceil(size / stride) outputs, as Keras does, with the odd one at the bottom and
    right; a number goes on all four sides, as in PyTorch; or ((top, bottom), (left, right)).
    """
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        total = [
            max((-(-length // stride) - 1) * stride + reach - length, 0)
            for length, reach in zip(size, kernel, strict=True)
        ]
        return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    assert isinstance(padding, tuple)  # check_padding has seen to it
    return padding


def check_padding(who: str, padding: Padding) -> Padding:
    """``padding`` as ``borders`` takes it; ValueError or TypeError for anything else."""
    if padding in ("same", "valid"):
        return padding
    if isinstance(padding, str):
        raise ValueError(f'{who}: expected padding "same", "valid", a number or two pairs; got {padding!r}')
    if isinstance(padding, (tuple, list)):
        if len(padding) != 2 or any(not isinstance(pair, (tuple, list)) or len(pair) != 2 for pair in padding):
            raise ValueError(f"{who}: expected padding as ((top, bottom), (left, right)); got {padding!r}")
        (top, bottom), (left, right) = (
            tuple(checks.count(who, "each padding", n, least=0) for n in pair) for pair in padding
        )
        return (top, bottom), (left, right)
    return checks.count(who, "padding", padding, least=0)


class Convolution(Layer):
    """What Conv2D and ConvTranspose2D have in common: their arguments, checked, and the window's measures."""

    filters: int
    kernel: int | tuple[int, int]
    stride: int
    padding: Padding
    bias: bool
    init: Initializer
    dilation: int
    groups: int

    def __post_init__(self) -> None:
        who = type(self).__name__
        for name in ("filters", "stride", "dilation", "groups"):
            checks.count(who, name, getattr(self, name))
        sizes = self.kernel if isinstance(self.kernel, (tuple, list)) else (self.kernel, self.kernel)
        if len(sizes) != 2:
            raise ValueError(f"{who}: expected kernel as one number or two; got {self.kernel!r}")
        object.__setattr__(self, "kernel", tuple(checks.count(who, "kernel", size) for size in sizes))
        object.__setattr__(self, "padding", check_padding(who, self.padding))
        if not callable(self.init) or isinstance(self.init, type):
            raise TypeError(f"{who}: expected init to be an initializer such as HeNormal(); got {self.init!r}")
        if self.filters % self.groups:
            raise ValueError(f"{who}: expected filters divisible by groups={self.groups}; got {self.filters}")

    @property
    def _size(self) -> tuple[int, int]:
        assert isinstance(self.kernel, tuple)
        return self.kernel

    def _reach(self) -> tuple[int, int]:
        """Rows and columns from the window's first tap to its last, both included."""
        kh, kw = self._size
        return (kh - 1) * self.dilation + 1, (kw - 1) * self.dilation + 1

    def _per_group(self, in_shape: Shape) -> tuple[int, int]:
        """Channels and filters of each group; ValueError for what is no image or can't be cut into groups."""
        if len(in_shape) != 3:
            raise ValueError(f"expected channels-last images (H, W, C); got input shape {in_shape}")
        if in_shape[2] % self.groups:
            raise ValueError(f"expected channels divisible by groups={self.groups}; got input shape {in_shape}")
        return in_shape[2] // self.groups, self.filters // self.groups


@dataclass(frozen=True)
class Conv2D(Convolution):
    """y[i, j, f] = b[f] + sum over a, b, c of x[stride * i + a, stride * j + b, c] * W[a, b, c, f].

    x has shape (n, H, W, C), W (kh, kw, C / groups, filters), with the image's borders filled up with zeros.

    Args:
        filters: number of output channels.
        kernel: height and width of the window, or one number for both.
        stride: step of the window in both directions.
        padding: "same" (ceil(size / stride) outputs, as in Keras), "valid" (none), a number for all sides, as in
            PyTorch, or ((top, bottom), (left, right)).
        bias: whether b is added; it starts at 0.
        init: of W; He et al. 2015 unless told.
        dilation: distance of the window's taps (Yu and Koltun 2016).
        groups: into how many groups channels and filters are cut; each filter sees its own group's channels only
            (Krizhevsky et al. 2012). groups = C is the depthwise convolution.
    """

    filters: int
    kernel: int | tuple[int, int]
    stride: int = 1
    padding: Padding = "same"
    bias: bool = True
    init: Initializer = field(default_factory=HeNormal)
    dilation: int = 1
    groups: int = 1

    def plan(self, in_shape: Shape) -> Plan:
        inputs, each = self._per_group(in_shape)
        rows, columns, channels = in_shape
        (kh, kw), reach = self._size, self._reach()
        (top, bottom), (left, right) = borders(self.padding, (rows, columns), reach, self.stride)
        padded = rows + top + bottom, columns + left + right
        if padded[0] < reach[0] or padded[1] < reach[1]:
            raise ValueError(f"expected images of at least {reach} with their borders; got {padded}")
        out = tuple((length - r) // self.stride + 1 for length, r in zip(padded, reach, strict=True))
        params = [Param("W", (kh, kw, inputs, self.filters), self.init)]
        if self.bias:
            params.append(Param("b", (self.filters,), Zeros(), decay=False))
        weights = kh * kw * inputs * self.filters
        fixed = {
            "panels": (kernels.panels_size(kh * kw * inputs, each, self.groups),),
            "turned": (kh, kw, each, channels),
            "turned_panels": (kernels.panels_size(kh * kw * each, inputs, self.groups),),
            "partial": (kernels.PARTS, weights + (self.filters if self.bias else 0)),
        }
        spread = rows + reach[0] - 1, columns + reach[1] - 1
        return Plan(
            (*out, self.filters),
            params=tuple(params),
            scratch=(
                Scratch("padded", (*padded, channels)),
                Scratch("spread", (*spread, self.filters)),
                *(Scratch(name, shape, per_sample=False) for name, shape in fixed.items()),
            ),
            work=kernels.conv_work_size(out[0] * out[1]),
        )

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        (top, _), (left, _) = borders(self.padding, x.shape[1:3], self._reach(), self.stride)
        kernels.pad(x, top, left, 1, m.padded)
        bias = m.b if self.bias else m.nothing
        kernels.conv(m.padded, m.W, bias, y, self.groups, self.stride, self.dilation, m.panels, m.work, m.offsets)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        db = m.db if self.bias else m.nothing
        kernels.conv_backward_weights(
            m.padded, dy, m.dW, db, self.groups, self.stride, self.dilation, m.partial, m.work, m.offsets
        )
        if dx is None:
            return
        # The input's gradient is a convolution of dy, spread by the stride, with the turned kernel.
        (top, _), (left, _) = borders(self.padding, x.shape[1:3], self._reach(), self.stride)
        kernels.turn(m.W, self.groups, m.turned)
        kernels.pad(dy, self._reach()[0] - 1 - top, self._reach()[1] - 1 - left, self.stride, m.spread)
        kernels.conv(
            m.spread, m.turned, m.nothing, dx, self.groups, 1, self.dilation, m.turned_panels, m.work, m.offsets
        )
