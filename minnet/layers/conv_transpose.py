"""Transposed convolution of images (H, W, C), channels last: the gradient of Conv2D's input, as a layer."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..kernels.passes.dense import column_sums
from ..kernels.vector.conv import turn
from .conv import ConvolutionLayer, Padding, borders, pair
from .convolution import Geometry, Pair, convolution, reach_of, weights_gradient
from .initializers import HeNormal, Zeros
from .memory import Memory
from .spec import Initializer, Param, Plan, Scratch, Shape


@dataclass(frozen=True)
class ConvTranspose2D(ConvolutionLayer):
    """Transposed convolution: each input pixel adds to a window of outputs, and windows are ``stride`` apart.

    The layer reverses a Conv2D with the same stride, padding, dilation and groups. Its outputs have the shape of that
    layer's inputs, and it computes that layer's gradient with respect to its input. It is also a convolution of stride
    1 whose input has stride - 1 zeros between pixels and zeros around them:

    y[i, j, f] = b[f] + sum over a, b, c of s[i + dilation * a, j + dilation * b, c] * W[a, b, c, f]

    Here s has x[p, q] at s[stride * p + reach - 1 - top, stride * q + reach - 1 - left] and 0 elsewhere, and
    reach = (kernel - 1) * dilation + 1. Kernel, stride and dilation may differ between rows and columns.

    As in Conv2D and in Flax, the last axis of W is the number of units, for initializers and norm limits. The weights
    of Keras, (kh, kw, filters, C), and of PyTorch, (C, filters, kh, kw), are those of the reversed convolution:
    channels are exchanged (within each group), and the window is rotated by 180 degrees, ``[::-1, ::-1]``.

    Args:
        filters: number of output channels.
        kernel: height and width of the window, or one number for both.
        stride: distance of neighbouring input pixels in the output, along rows and columns, or one number for both.
        padding: padding of the reversed convolution, which is cut off from this layer's output. ``"same"`` gives
            stride * size rows. ``"valid"`` gives all rows that an input reaches, or stride * size if that is more. Both
            are as in Keras. One number for all sides or two for rows and columns give (size - 1) * stride + reach -
            2 * padding + output_padding rows, as in PyTorch. ((top, bottom), (left, right)) sets each side.
        output_padding: additional rows at the bottom and columns at the right, each below ``stride``, or one number for
            both. A strided convolution maps several input sizes to one output size; this chooses among them. Must be 0
            with ``"same"`` and ``"valid"``, which fix the size.
        bias: whether to add b, which starts at 0.
        init: initializer of W. ``HeNormal`` by default (He et al. 2015). The fan-in is C / groups * kh * kw, the number
            of inputs of an output at stride 1. With a larger stride, an output has 1 / stride^2 of these inputs on
            average, and its variance falls by the same factor.
        dilation: distance between the window's taps along rows and columns, or one number for both.
        groups: number of groups into which channels and filters are divided. Each filter sees only the channels of its
            own group.

    Shapes: input (n, H, W, C), output (n, rows, columns, filters).
    Trained: W (kh, kw, C / groups, filters) for a window of kh x kw; b (filters,) with ``bias``.
    Source: Zeiler et al. 2010; Dumoulin and Visin 2016, chapter 4.
    """

    floors = True

    filters: int
    kernel: int | Pair
    stride: int | Pair = 1
    padding: Padding = "same"
    output_padding: int | Pair = 0
    bias: bool = True
    init: Initializer = field(default_factory=HeNormal)
    dilation: int | Pair = 1
    groups: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        more, stride = pair("ConvTranspose2D", "output_padding", self.output_padding, least=0), self._pairs[1]
        object.__setattr__(self, "output_padding", more)
        if more[0] >= stride[0] or more[1] >= stride[1]:
            raise ValueError(f"ConvTranspose2D: expected output_padding below stride={stride}; got {more}")
        if any(more) and isinstance(self.padding, str):
            raise ValueError(
                f"ConvTranspose2D: expected output_padding=0 with padding {self.padding!r}, which fixes the output's "
                f"size; got {more}"
            )

    def _length(self, axis: int, size: int) -> int:
        """Return the length of y along an axis for x of length ``size``."""
        (kernel, stride, dilation), more = (p[axis] for p in self._pairs), self.output_padding
        if self.padding == "same":
            return size * stride
        full = (size - 1) * stride + (kernel - 1) * dilation + 1
        if self.padding == "valid":
            return max(full, size * stride)
        assert isinstance(more, tuple)
        return full - sum(borders(self.padding, (0, 0), (1, 1), (1, 1))[axis]) + more[axis]

    def _geometry(self, in_shape: Shape) -> Geometry:
        kernel, stride, dilation = self._pairs
        out, reach = (self._length(0, in_shape[0]), self._length(1, in_shape[1])), reach_of(kernel, dilation)
        if out[0] < 1 or out[1] < 1:
            raise ValueError(f"expected padding to leave something of the output; got {out} from {in_shape}")
        (top, _), (left, _) = borders(self.padding, out, reach, stride)
        return Geometry(
            in_shape, (*out, self.filters), kernel, reach[0] - 1 - top, reach[1] - 1 - left, spread=stride,
            dilation=dilation, groups=self.groups,
        )  # fmt: skip

    def plan(self, in_shape: Shape) -> Plan:
        self._check_groups(in_shape)
        g = self._geometry(in_shape)
        params = [Param("W", g.weights, self.init)]
        if self.bias:
            params.append(Param("b", (self.filters,), Zeros(), decay=False))
        # The reversed convolution maps dy to dx. For its weights, dy is the image and x is the output's gradient.
        passes = convolution(g), convolution(g.turned()), weights_gradient(g.turned())
        turned = g.turned().weights
        return Plan(
            g.out_shape,
            params=tuple(params),
            # The three passes use the same memory, one at a time.
            scratch=(
                *(
                    Scratch(f"place{i}", (p.scratch,), per_sample=False, share="place", brief=True)
                    for i, p in enumerate(passes)
                ),
                Scratch("turned", turned, per_sample=False, share="turned", brief=True),
                Scratch("d_turned", turned, per_sample=False, share="turned", brief=True),
            ),
            work=max(2 * self.filters, *(p.work for p in passes)),
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
            column_sums(dy.reshape(-1, self.filters), m.db, m.work[0])
        if dx is not None:
            turn(m.W, self.groups, m.turned)
            m.backward_input.run(dy, m.turned, m.nothing, m.no_floor, dx, m.place1, m.work)
