"""The passes of a convolution: its geometry, and the algorithm for each geometry.

The gradient with respect to the input is also a convolution, with the turned geometry. Convolution and transposed
convolution therefore use the same two passes: a convolution, and the gradient of its weights.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..kernels.vector import conv as direct
from ..kernels.vector import few_filters, winograd
from .spec import Shape

Array = np.ndarray
Pair = tuple[int, int]  # along the rows, along the columns


@dataclass(frozen=True)
class Geometry:
    """y[i, j] = sum over a, b of x'[stride * i + dilation * a, stride * j + dilation * b] W[a, b].

    x' has the elements of x ``spread`` apart, with x[0, 0] at (top, left) and zeros elsewhere. Along each axis, stride
    or spread is 1.
    """

    in_shape: Shape  # (rows, columns, channels)
    out_shape: Shape  # (rows, columns, filters)
    kernel: Pair
    top: int
    left: int
    stride: Pair = (1, 1)
    spread: Pair = (1, 1)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def reach(self) -> Pair:
        """Rows and columns from the first to the last tap of a window, both included."""
        return reach_of(self.kernel, self.dilation)

    @property
    def tap_step(self) -> Pair:
        """Distance between the taps of a phase."""
        return direct.tap_step(self.spread[0], self.dilation[0]), direct.tap_step(self.spread[1], self.dilation[1])

    @property
    def distance(self) -> Pair:
        """Distance between the elements of x that meet the taps of a phase."""
        (down, across), (rows, columns) = self.dilation, self.tap_step
        return down * rows // self.spread[0], across * columns // self.spread[1]

    def phases(self, axis: int) -> Array:
        """Return ``direct.phases`` along rows or columns."""
        front = (self.top, self.left)[axis]
        return direct.phases(self.kernel[axis], front, self.spread[axis], self.dilation[axis])

    @property
    def grid(self) -> Pair:
        """Rows and columns of outputs of a phase. Some phases lack the last row or column."""
        rows, columns, _ = self.out_shape
        return -(-rows // self.spread[0]), -(-columns // self.spread[1])

    def borders(self, axis: int) -> Pair:
        """Return the number of zeros in front of x, and the length that covers all windows and all of x."""
        distance = self.distance[axis]
        met = [(start, start + distance * (taps - 1)) for _, taps, start in self.phases(axis).tolist() if taps > 0]
        front = max(0, -min(first for first, _ in met))
        last = max(last for _, last in met) + self.stride[axis] * (self.grid[axis] - 1)
        return front, front + max(last + 1, self.in_shape[axis])

    @property
    def weights(self) -> Shape:
        """Shape (kh, kw, channels / groups, filters) of W."""
        return (*self.kernel, self.in_shape[2] // self.groups, self.out_shape[2])

    def turned(self) -> "Geometry":
        """Return the geometry of the gradient with respect to x: a convolution of dy with the turned kernel."""
        reach = self.reach
        return Geometry(
            self.out_shape, self.in_shape, self.kernel, reach[0] - 1 - self.top, reach[1] - 1 - self.left,
            stride=self.spread, spread=self.stride, dilation=self.dilation, groups=self.groups,
        )  # fmt: skip

    @property
    def suits_winograd(self) -> bool:
        """Whether Winograd's convolution is possible and saves at least a third of the multiplications."""
        if {*self.stride, *self.spread, *self.dilation, self.groups} != {1}:
            return False
        if not winograd.suits(self.kernel, self.in_shape[2], self.out_shape[2]):
            return False
        rows, columns, _ = self.out_shape
        plain = rows * columns * self.kernel[0] ** 2
        return 3 * winograd.ELEMENTS * math.prod(winograd.grid(rows, columns, self.kernel[0])) <= 2 * plain

    @property
    def has_few_filters(self) -> bool:
        """Whether outputs have so few channels, and rows of patches are so long, that dot products are faster."""
        if {*self.spread, self.dilation[1], self.groups} != {1}:
            return False
        return few_filters.suits(self.out_shape[2], self.kernel[1] * self.in_shape[2])


def reach_of(kernel: Pair, dilation: Pair) -> Pair:
    """Return the rows and columns from the first to the last tap of a window, both included."""
    return (kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1


class DirectConvolution:
    """Convolution that reads patches without a copy. ``run`` needs ``scratch`` elements, and ``work`` per thread."""

    def __init__(self, g: Geometry) -> None:
        (_, _, filters), channels, (down, across) = g.out_shape, g.in_shape[2], g.grid
        (self._top, rows), (self._left, columns) = g.borders(0), g.borders(1)
        self.geometry, self._size, self._step, self._distance = g, (rows, columns), g.tap_step, g.distance
        phases = math.prod(g.spread)
        self.scratch = direct.panels_size(math.prod(g.weights[:3]), filters // g.groups, g.groups, phases)
        outputs = down * across * g.spread[1] * filters if phases > 1 else 0
        self.work = direct.work_size(0, rows * columns * channels + outputs)
        self._phases = direct.phase_table(g.phases(0), g.phases(1), (self._top, self._left), columns, channels)
        self._pixels = direct.pixel_offsets(down, across, g.stride, columns, channels)

    def run(self, x: Array, W: Array, bias: Array, floor: Any, y: Array, scratch: Array, work: Array) -> None:
        """Compute y = max(floor, convolution of x + bias); ``bias`` may be empty."""
        g = self.geometry
        direct.conv(
            x, self._top, self._left, self._size, W, bias, floor, y, g.groups, g.spread, self._step,
            self._distance, self._phases, self._pixels, scratch, work,
        )  # fmt: skip


class FewFiltersConvolution:
    """Convolution of many channels with few filters, whose sums are dot products along the rows of a patch."""

    def __init__(self, g: Geometry) -> None:
        self.geometry = g
        (self._top, rows), (self._left, columns) = g.borders(0), g.borders(1)
        self._size, channels, (kh, kw) = (rows, columns), g.in_shape[2], g.kernel
        self.scratch = few_filters.panels_size(kh, kw * channels, g.out_shape[2])
        self.work = few_filters.work_size(rows * columns * channels)
        self._down = g.dilation[0] * columns * channels
        start = ((self._top - g.top) * columns + self._left - g.left) * channels
        self._pixels = start + direct.pixel_offsets(*g.grid, g.stride, columns, channels)

    def run(self, x: Array, W: Array, bias: Array, floor: Any, y: Array, scratch: Array, work: Array) -> None:
        """Compute y = max(floor, convolution of x + bias); ``bias`` may be empty."""
        few_filters.conv_few_filters(
            x, self._top, self._left, self._size, W, bias, floor, y, self._down, self._pixels, scratch, work
        )


class WinogradConvolution:
    """Winograd's convolution for 3x3 and 5x5 kernels at stride 1, which needs fewer multiplications."""

    def __init__(self, g: Geometry) -> None:
        (rows, columns, filters), channels, r = g.out_shape, g.in_shape[2], g.kernel[0]
        self.geometry, self._grid = g, winograd.grid(rows, columns, r)
        tiles = math.prod(self._grid)
        self._images = winograd.images_at_a_time(tiles, channels, filters)
        self.scratch = winograd.weights_size(channels, filters)
        self.work = winograd.work_size(*self._grid, r, channels, filters, self._images)

    def run(self, x: Array, W: Array, bias: Array, floor: Any, y: Array, scratch: Array, work: Array) -> None:
        """Compute y = max(floor, convolution of x + bias); ``bias`` may be empty."""
        g = self.geometry
        starts, _ = winograd.offsets(self._images * math.prod(self._grid), g.in_shape[2], x.itemsize)
        winograd.winograd_conv(x, g.top, g.left, W, bias, floor, y, self._grid, self._images, starts, scratch, work)


class DirectWeightsGradient:
    """Weights' gradient, as a sum over parts of the batch. ``run`` needs ``scratch`` elements, ``work`` per thread."""

    def __init__(self, g: Geometry) -> None:
        (out_rows, out_columns, filters), channels = g.out_shape, g.in_shape[2]
        (self._top, rows), (self._left, columns) = g.borders(0), g.borders(1)
        self.geometry, self._size = g, (rows, columns)
        self.scratch = direct.PARTS * (math.prod(g.weights) + 3 * filters)
        self.work = direct.work_size(out_rows * out_columns, rows * columns * channels)
        self._taps = direct.tap_offsets(*g.kernel, g.weights[2], g.dilation, columns, channels)

    def run(self, x: Array, dy: Array, dW: Array, db: Array, scratch: Array, work: Array) -> None:
        """Compute dW and, unless it is empty, db, from dy."""
        g = self.geometry
        partial = scratch.reshape(direct.PARTS, -1)
        direct.conv_backward_weights(
            x, self._top, self._left, self._size, dy, dW, db, g.groups, g.stride, self._taps, partial, work
        )


class WinogradWeightsGradient:
    """Weights' gradient in Winograd's transformed arrays."""

    def __init__(self, g: Geometry) -> None:
        (rows, columns, filters), channels, r = g.out_shape, g.in_shape[2], g.kernel[0]
        self.geometry, self._grid = g, winograd.grid(rows, columns, r)
        self._images = winograd.images_at_a_time(math.prod(self._grid), channels, filters)
        self.scratch = winograd.PARTS * (winograd.weights_size(channels, filters) + 3 * filters)
        self.work = winograd.work_size(*self._grid, r, channels, filters, self._images)

    def run(self, x: Array, dy: Array, dW: Array, db: Array, scratch: Array, work: Array) -> None:
        """Compute dW and, unless it is empty, db, from dy."""
        g = self.geometry
        _, starts = winograd.offsets(self._images * math.prod(self._grid), g.in_shape[2], x.itemsize)
        partial = scratch.reshape(winograd.PARTS, -1)
        winograd.winograd_backward_weights(
            x, g.top, g.left, dy, dW, db, self._grid, self._images, starts, partial, work
        )


@lru_cache(maxsize=1024)
def convolution(g: Geometry) -> DirectConvolution | FewFiltersConvolution | WinogradConvolution:
    """Return the algorithm for a convolution of this geometry."""
    if g.suits_winograd:
        return WinogradConvolution(g)
    return FewFiltersConvolution(g) if g.has_few_filters else DirectConvolution(g)


@lru_cache(maxsize=1024)
def weights_gradient(g: Geometry) -> DirectWeightsGradient | WinogradWeightsGradient:
    """Return the algorithm for the weights' gradient of this geometry."""
    return WinogradWeightsGradient(g) if g.suits_winograd else DirectWeightsGradient(g)
