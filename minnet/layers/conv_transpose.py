"""Transposed convolution of images (H, W, C), channels last: the input's gradient of Conv2D, as a layer."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import checks
from ..initializers import HeNormal, Zeros
from ..kernels.conv import turn
from ..kernels.dense import column_sums
from ..memory import Memory
from ..spec import Initializer, Param, Plan, Scratch, Shape
from .conv import ConvolutionLayer, Padding, borders
from .convolution import Geometry, convolution, weights_gradient


@dataclass(frozen=True)
class ConvTranspose2D(ConvolutionLayer):
    """Each input pixel spreads over a window of outputs, whose corners lie ``stride`` apart; overlaps add up.

    It goes the way of a Conv2D of the same stride, padding, dilation and groups backwards: its outputs have the shape
    of that layer's inputs, and it computes what that layer's backward pass does. In other words it is a convolution,
    of stride 1, of the input with stride - 1 zeros between its pixels and zeros around it (Zeiler et al. 2010; Dumoulin
    and Visin 2016, chapter 4):

    y[i, j, f] = b[f] + sum over a, b, c of s[i + dilation * a, j + dilation * b, c] * W[a, b, c, f], where s is x
    spread out: x[p, q] at s[stride * p + reach - 1 - top, stride * q + reach - 1 - left], 0 elsewhere, with
    reach = (kernel - 1) * dilation + 1.

    x has shape (n, H, W, C), W (kh, kw, C / groups, filters) as that of Conv2D, so that its last axis counts the units
    for initialisers and norm limits; Flax has it so too. Keras's (kh, kw, filters, C) and PyTorch's (C, filters, kh,
    kw) are the weights of the convolution that goes the other way: with channels exchanged (within each group) and
    the window turned by half a circle, ``[::-1, ::-1]``.

    Args:
        filters: number of output channels.
        kernel: height and width of the window, or one number for both.
        stride: distance of neighbouring input pixels in the output, in both directions.
        padding: what the other convolution adds to its image, and so what is cut off here. "same": the output has
            stride * size rows; "valid": all that any input reaches, or stride * size if that is more, both as in
            Keras; a number for all sides: (size - 1) * stride + reach - 2 * padding + output_padding, as in PyTorch;
            or ((top, bottom), (left, right)).
        output_padding: further rows and columns at the bottom and right, fewer than ``stride``: which of the sizes
            that a strided convolution makes equal is meant. "same" and "valid" have decided that.
        bias: whether b is added; it starts at 0.
        init: of W; He et al. 2015 unless told. The fan-in is C / groups * kh * kw, the inputs of an output at stride 1.
            A larger stride leaves an output 1 / stride^2 of them on average, and its variance falls likewise.
        dilation: distance of the window's taps.
        groups: into how many groups channels and filters are cut, each filter seeing its own group's channels only.
    """

    floors = True

    filters: int
    kernel: int | tuple[int, int]
    stride: int = 1
    padding: Padding = "same"
    output_padding: int = 0
    bias: bool = True
    init: Initializer = field(default_factory=HeNormal)
    dilation: int = 1
    groups: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        more = checks.count("ConvTranspose2D", "output_padding", self.output_padding, least=0)
        if more >= self.stride:
            raise ValueError(f"ConvTranspose2D: expected output_padding below stride={self.stride}; got {more}")
        if more and isinstance(self.padding, str):
            raise ValueError(
                f"ConvTranspose2D: expected output_padding=0 with padding {self.padding!r}, which fixes the output's "
                f"size; got {more}"
            )

    def _out(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of y for x of ``size``."""
        reach, stride = self._reach(), self.stride
        if self.padding == "same":
            return size[0] * stride, size[1] * stride
        full = (size[0] - 1) * stride + reach[0], (size[1] - 1) * stride + reach[1]
        if self.padding == "valid":
            return max(full[0], size[0] * stride), max(full[1], size[1] * stride)
        rows, columns = borders(self.padding, full, reach, stride)
        return full[0] - sum(rows) + self.output_padding, full[1] - sum(columns) + self.output_padding

    def _geometry(self, in_shape: Shape) -> Geometry:
        out, reach = self._out((in_shape[0], in_shape[1])), self._reach()
        if out[0] < 1 or out[1] < 1:
            raise ValueError(f"expected padding to leave something of the output; got {out} from {in_shape}")
        (top, _), (left, _) = borders(self.padding, out, reach, self.stride)
        return Geometry(
            in_shape, (*out, self.filters), self._size, reach[0] - 1 - top, reach[1] - 1 - left, spread=self.stride,
            dilation=self.dilation, groups=self.groups,
        )  # fmt: skip

    def plan(self, in_shape: Shape) -> Plan:
        self._check_groups(in_shape)
        g = self._geometry(in_shape)
        params = [Param("W", g.weights, self.init)]
        if self.bias:
            params.append(Param("b", (self.filters,), Zeros(), decay=False))
        # The other convolution takes dy to dx, so to its weights dy is the image and x the output's gradient.
        passes = convolution(g), convolution(g.turned()), weights_gradient(g.turned())
        turned = g.turned().weights
        return Plan(
            g.out_shape,
            params=tuple(params),
            # The three passes take turns in one place.
            scratch=(
                *(
                    Scratch(f"place{i}", (p.scratch,), per_sample=False, share="place", brief=True)
                    for i, p in enumerate(passes)
                ),
                Scratch("turned", turned, per_sample=False, share="turned", brief=True),
                Scratch("d_turned", turned, per_sample=False, share="turned", brief=True),
            ),
            work=max(p.work for p in passes),
        )

    def bind(self, m: Any) -> None:
        g = self._geometry(m.in_shape)
        m.forward, m.backward_input = convolution(g), convolution(g.turned())
        m.backward_weights = weights_gradient(g.turned())

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        m.forward.run(x, m.W, m.b if self.bias else m.nothing, m.floor, y, m.place0, m.work)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        m.backward_weights.run(dy, x, m.d_turned, m.nothing, m.place2, m.work)
        turn(m.d_turned, self.groups, m.dW)
        if self.bias:
            column_sums(dy.reshape(-1, self.filters), m.db)
        if dx is not None:
            turn(m.W, self.groups, m.turned)
            m.backward_input.run(dy, m.turned, m.nothing, m.no_floor, dx, m.place1, m.work)
