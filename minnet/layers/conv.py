"""Convolution of images (H, W, C), channels last."""

from dataclasses import dataclass, field
from functools import lru_cache
from numbers import Integral
from typing import Any, cast

import numpy as np

from ..base import checks
from ..kernels.vector.conv import turn
from .base import Layer
from .convolution import Geometry, Pair, convolution, reach_of, weights_gradient
from .initializers import HeNormal, Zeros
from .memory import Memory
from .spec import Initializer, Param, Plan, Scratch, Shape

Borders = tuple[Pair, Pair]  # (top, bottom), (left, right)
Padding = str | int | Pair | Borders


@lru_cache(maxsize=1024)
def borders(padding: Padding, size: Pair, kernel: Pair, stride: Pair) -> Borders:
    """Return ((top, bottom), (left, right)), the rows and columns of zeros around an image.

    Args:
        padding: ``"valid"`` adds none. ``"same"`` gives ceil(size / stride) outputs, as in Keras, with an odd row or
            column at the bottom or right. One number applies to all four sides, two numbers to rows and columns, as in
            PyTorch. ((top, bottom), (left, right)) is returned unchanged.
        size: rows and columns of the image.
        kernel: rows and columns of the kernel, including dilation.
        stride: stride along rows and columns.
    """
    if padding == "valid":
        return (0, 0), (0, 0)
    if isinstance(padding, str):
        total = [
            max((-(-length // step) - 1) * step + reach - length, 0)
            for length, reach, step in zip(size, kernel, stride, strict=True)
        ]
        return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)
    (rows, columns) = padding if isinstance(padding, tuple) else (padding, padding)
    both = [(sides, sides) if isinstance(sides, int) else sides for sides in (rows, columns)]
    return both[0], both[1]


def pair(who: str, name: str, value: Any, least: int = 1) -> Pair:
    """Return two whole numbers of at least ``least``, for rows and columns, given as one number or two."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise ValueError(f"{who}: expected {name} as one number or two; got {value!r}")
    return checks.count(who, name, values[0], least), checks.count(who, name, values[1], least)


def check_padding(who: str, padding: Padding) -> Padding:
    """Return ``padding`` in the form that ``borders`` takes; raise ValueError or TypeError if it is invalid."""
    if padding in ("same", "valid"):
        return padding
    return check_borders(who, padding, '"same", "valid" (none), ')


def check_borders(who: str, padding: Any, words: str = "") -> int | Pair | Borders:
    """Return one number, two numbers or two pairs of at least 0; raise ValueError or TypeError otherwise.

    ``words`` are further choices that the error names.
    """
    refusal = (
        f"{who}: expected padding as {words}a number, (rows, columns) or ((top, bottom), (left, right)); got "
        f"{padding!r}"
    )
    if isinstance(padding, (tuple, list)):
        if len(padding) == 2 and not any(isinstance(part, (tuple, list, str)) for part in padding):
            rows, columns = (checks.count(who, "each padding", n, least=0) for n in padding)
            return rows, columns
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
    """Base of Conv2D and ConvTranspose2D: checks of their arguments, and the sizes of the window."""

    filters: int
    kernel: int | Pair
    stride: int | Pair
    padding: Padding
    bias: bool
    init: Initializer
    dilation: int | Pair
    groups: int

    images = True

    def __post_init__(self) -> None:
        who = type(self).__name__
        for name in ("filters", "groups"):
            checks.count(who, name, getattr(self, name))
        for name in ("kernel", "stride", "dilation"):
            object.__setattr__(self, name, pair(who, name, getattr(self, name)))
        object.__setattr__(self, "padding", check_padding(who, self.padding))
        if not callable(self.init) or isinstance(self.init, type):
            raise TypeError(f"{who}: expected init to be an initializer such as HeNormal(); got {self.init!r}")
        if self.filters % self.groups:
            raise ValueError(f"{who}: expected filters divisible by groups={self.groups}; got {self.filters}")

    @property
    def _pairs(self) -> tuple[Pair, Pair, Pair]:
        """Kernel, stride and dilation, each for rows and columns."""
        return cast(tuple[Pair, Pair, Pair], (self.kernel, self.stride, self.dilation))

    def _check_groups(self, in_shape: Shape) -> None:
        """Raise ValueError unless the input is an image whose channels can be divided into groups."""
        if len(in_shape) != 3:
            raise ValueError(f"expected channels-last images (H, W, C); got input shape {in_shape}")
        if in_shape[2] % self.groups:
            raise ValueError(f"expected channels divisible by groups={self.groups}; got input shape {in_shape}")


@dataclass(frozen=True)
class Conv2D(ConvolutionLayer):
    """Convolution, y[i, j, f] = b[f] + sum over p, q, c of x[sh * i + dh * p, sw * j + dw * q, c] * W[p, q, c, f].

    (sh, sw) is the stride and (dh, dw) is the dilation. Images are padded with zeros. As in other libraries, the window
    is not mirrored, so this is a cross-correlation in the words of mathematics.

    Args:
        filters: number of output channels.
        kernel: height and width of the window, or one number for both.
        stride: step of the window along rows and columns, or one number for both.
        padding: ``"same"`` for ceil(size / stride) outputs, as in Keras; ``"valid"`` for no padding; one number for all
            sides or two for rows and columns, as in PyTorch; or ((top, bottom), (left, right)).
        bias: whether to add b, which starts at 0.
        init: initializer of W. ``HeNormal`` by default (He et al. 2015).
        dilation: distance between the window's taps along rows and columns, or one number for both (Yu and Koltun
            2016).
        groups: number of groups into which channels and filters are divided. Each filter sees only the channels of its
            own group (Krizhevsky et al. 2012). groups = C gives the depthwise convolution.

    Shapes: input (n, H, W, C), output (n, rows, columns, filters).
    Trained: W (kh, kw, C / groups, filters) for a window of kh x kw; b (filters,) with ``bias``.
    Source: LeCun et al. 1998, section II; CS231n.
    """

    floors = True

    filters: int
    kernel: int | Pair
    stride: int | Pair = 1
    padding: Padding = "same"
    bias: bool = True
    init: Initializer = field(default_factory=HeNormal)
    dilation: int | Pair = 1
    groups: int = 1

    def _geometry(self, in_shape: Shape) -> Geometry:
        kernel, stride, dilation = self._pairs
        reach = reach_of(kernel, dilation)
        (top, bottom), (left, right) = borders(self.padding, in_shape[:2], reach, stride)
        padded = in_shape[0] + top + bottom, in_shape[1] + left + right
        if padded[0] < reach[0] or padded[1] < reach[1]:
            raise ValueError(f"expected images of at least {reach} with their borders; got {padded}")
        out = ((padded[0] - reach[0]) // stride[0] + 1, (padded[1] - reach[1]) // stride[1] + 1, self.filters)
        return Geometry(in_shape, out, kernel, top, left, stride, dilation=dilation, groups=self.groups)

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
            # The three passes use the same memory, one at a time.
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
