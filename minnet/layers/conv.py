"""Convolution of images (H, W, C), channels last."""

from dataclasses import dataclass, field
from functools import lru_cache
from numbers import Integral
from typing import Any

import numpy as np

from .. import checks
from ..initializers import HeNormal, Zeros
from ..kernels.conv import turn
from ..memory import Memory
from ..spec import Initializer, Param, Plan, Scratch, Shape
from .base import Layer
from .convolution import Geometry, convolution, weights_gradient

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
    if isinstance(padding, str):
        total = [
            max((-(-length // stride) - 1) * stride + reach - length, 0)
            for length, reach in zip(size, kernel, strict=True)
        ]
        return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    return padding


def check_padding(who: str, padding: Padding) -> Padding:
    """``padding`` as ``borders`` takes it; ValueError or TypeError for anything else."""
    if padding in ("same", "valid"):
        return padding
    return check_borders(who, padding, '"same", "valid" (none), ')


def check_borders(who: str, padding: Any, words: str = "") -> int | Borders:
    """A number, or two pairs of numbers, of at least 0; ValueError or TypeError otherwise, naming ``words`` too."""
    refusal = f"{who}: expected padding as {words}a number or ((top, bottom), (left, right)); got {padding!r}"
    if isinstance(padding, (tuple, list)):
        if len(padding) != 2 or any(not isinstance(pair, (tuple, list)) or len(pair) != 2 for pair in padding):
            raise ValueError(refusal)
        (top, bottom), (left, right) = (
            tuple(checks.count(who, "each padding", n, least=0) for n in pair) for pair in padding
        )
        return (top, bottom), (left, right)
    if isinstance(padding, str):
        raise ValueError(refusal)
    if isinstance(padding, bool) or not isinstance(padding, Integral):
        raise TypeError(refusal)
    return checks.count(who, "padding", padding, least=0)


class ConvolutionLayer(Layer):
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

    def _check_groups(self, in_shape: Shape) -> None:
        """ValueError for what is no image or can't be cut into groups."""
        if len(in_shape) != 3:
            raise ValueError(f"expected channels-last images (H, W, C); got input shape {in_shape}")
        if in_shape[2] % self.groups:
            raise ValueError(f"expected channels divisible by groups={self.groups}; got input shape {in_shape}")


@dataclass(frozen=True)
class Conv2D(ConvolutionLayer):
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

    floors = True

    filters: int
    kernel: int | tuple[int, int]
    stride: int = 1
    padding: Padding = "same"
    bias: bool = True
    init: Initializer = field(default_factory=HeNormal)
    dilation: int = 1
    groups: int = 1

    def _geometry(self, in_shape: Shape) -> Geometry:
        reach = self._reach()
        (top, bottom), (left, right) = borders(self.padding, in_shape[:2], reach, self.stride)
        padded = in_shape[0] + top + bottom, in_shape[1] + left + right
        if padded[0] < reach[0] or padded[1] < reach[1]:
            raise ValueError(f"expected images of at least {reach} with their borders; got {padded}")
        out = tuple((length - r) // self.stride + 1 for length, r in zip(padded, reach, strict=True))
        return Geometry(
            in_shape, (*out, self.filters), self._size, top, left, self.stride, dilation=self.dilation,
            groups=self.groups,
        )  # fmt: skip

    def plan(self, in_shape: Shape) -> Plan:
        self._check_groups(in_shape)
        g = self._geometry(in_shape)
        params = [Param("W", g.weights, self.init)]
        if self.bias:
            params.append(Param("b", (self.filters,), Zeros(), decay=False))
        passes = convolution(g), convolution(g.turned()), weights_gradient(g)
        return Plan(
            g.out_shape,
            params=tuple(params),
            # The three passes take turns in one place.
            scratch=(
                *(
                    Scratch(f"place{i}", (p.scratch,), per_sample=False, share="place", brief=True)
                    for i, p in enumerate(passes)
                ),
                Scratch("turned", g.turned().weights, per_sample=False, brief=True),
            ),
            work=max(p.work for p in passes),
        )

    def bind(self, m: Any) -> None:
        g = self._geometry(m.in_shape)
        m.forward, m.backward_input, m.backward_weights = convolution(g), convolution(g.turned()), weights_gradient(g)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        m.forward.run(x, m.W, m.b if self.bias else m.nothing, m.floor, y, m.place0, m.work)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        m.backward_weights.run(x, dy, m.dW, m.db if self.bias else m.nothing, m.place2, m.work)
        if dx is not None:
            turn(m.W, self.groups, m.turned)
            m.backward_input.run(dy, m.turned, m.nothing, m.no_floor, dx, m.place1, m.work)
