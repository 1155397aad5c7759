"""Winograd's convolution: 3x3 and 5x5 kernels at stride 1 with 4 and 2.8 times fewer multiplications.

A tile of t x t inputs d, its m x m outputs y and the r x r weights g of a channel and a filter, t = m + r - 1, satisfy

    y = A^T [(G g G^T) * (B^T d B)] A,

where the product in brackets is element by element (Lavin and Gray 2016, after Winograd 1980). Summed over channels, it
is a matrix product for each of the t^2 elements. The gradient with respect to g is G^T [(B^T d B) * (A dy A^T)] G.
Tiles are 6 x 6: 4 x 4 outputs of a 3x3 kernel, or 2 x 2 of a 5x5 kernel. A task works on a few images at a time, which
fit in the second-level cache.

Transformed arrays have the shape [element][panel][tile or channel][width], where a panel is ``width`` channels, one
vector or two. All that the micro-kernel reads and writes is therefore contiguous. Channels and filters fill whole
vectors.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numba import get_thread_id, prange

from ..compile import helper, parallel_kernel
from .block import ROWS, block, largest_block
from .borders import with_borders
from .simd import VECTOR_BYTES
from .sums import add_rows, finish
from .transform import make_transform

_BLOCK = ROWS[0]
TILE = 6  # t
ELEMENTS = TILE * TILE
SIZES = (3, 5)  # r
PARTS = 8  # of a batch, in each of which the weights' gradient is summed by itself
_LANES = VECTOR_BYTES // 4  # at the most, in float32
_CACHE = 400_000  # elements that the transformed images of one task may take

Matrix = list[list[Fraction]]


def matrices(r: int, points: Sequence[Fraction]) -> tuple[Matrix, Matrix, Matrix]:
    """Return B^T (t, t), G (t, r) and A^T (m, t) for kernels of r x r from t - 1 points; the last point is infinity.

    y is the transpose of a polynomial product: G and A^T evaluate polynomials at the points, and B^T has the
    polynomials of Lagrange's interpolation (Blahut 2010, chapter 5).
    """
    t, m = len(points) + 1, len(points) + 2 - r

    def product(roots: Sequence[Fraction]) -> list[Fraction]:
        coefficients = [Fraction(1)]
        for root in roots:
            shifted = [Fraction(0), *coefficients]
            coefficients = [high - root * low for high, low in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
        return coefficients + [Fraction(0)] * (t - len(coefficients))

    others = [[b for b in points if b != a] for a in points]
    scale = [math.prod((a - b for b in rest), start=Fraction(1)) for a, rest in zip(points, others, strict=True)]
    B = [product(rest) for rest in others] + [product(points)]
    G = [[a**k / s for k in range(r)] for a, s in zip(points, scale, strict=True)]
    G.append([Fraction(0)] * (r - 1) + [Fraction(1)])
    A = [[a**i for a in points] + [Fraction(int(i == m - 1))] for i in range(m)]
    return B, G, A


def _transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


# Small and balanced numbers keep float32 close: twice the error of summing one term after the other.
_POINTS = [Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2)]
(_B, _G3, _A3), (_, _G5, _A5) = (matrices(r, _POINTS) for r in SIZES)
_transform_input = make_transform(_B, VECTOR_BYTES)
_weights3, _weights5 = make_transform(_G3, VECTOR_BYTES), make_transform(_G5, VECTOR_BYTES)
_output3, _output5 = make_transform(_A3, VECTOR_BYTES), make_transform(_A5, VECTOR_BYTES)
_d_output3, _d_output5 = (make_transform(_transposed(A), VECTOR_BYTES) for A in (_A3, _A5))
_d_weights3, _d_weights5 = (make_transform(_transposed(G), VECTOR_BYTES) for G in (_G3, _G5))


def suits(kernel: tuple[int, int], channels: int, filters: int) -> bool:
    """Return whether there are transforms for the kernel, and channels and filters fill whole vectors."""
    return kernel[0] == kernel[1] and kernel[0] in SIZES and channels % _LANES == 0 and filters % _LANES == 0


def _width(channels, lanes):
    """Return the width of a panel: two vectors if they divide the channels, otherwise one."""
    return 2 * lanes if channels % (2 * lanes) == 0 else lanes


def _distance(tiles, channels):
    """Return the distance of two elements of a transformed array: whole kilobytes and an odd number of cache lines.

    At a multiple of 4 KiB, all elements of a tile would share one set of the first-level cache.
    """
    return (tiles * channels + 1023) // 1024 * 1024 + 48


_panel_width = helper(_width)
_element_distance = helper(_distance)


def grid(rows: int, columns: int, r: int) -> tuple[int, int]:
    """Return the number of tiles, vertically and horizontally, that cover the outputs."""
    m = TILE + 1 - r
    return -(-rows // m), -(-columns // m)


def images_at_a_time(tiles: int, channels: int, filters: int) -> int:
    """Return the number of images with so many tiles that are transformed together. It depends on sizes only."""
    return max(1, _CACHE // (ELEMENTS * tiles * (channels + filters)))


def weights_size(channels: int, filters: int) -> int:
    """Return the number of elements of transformed weights."""
    return ELEMENTS * _distance(channels, filters)


def work_size(down: int, across: int, r: int, channels: int, filters: int, images: int) -> int:
    """Return the number of elements of ``work`` of a thread: a row of zeros, an image, its outputs, all transformed."""
    m = TILE + 1 - r
    image = (down * m + r - 1) * (across * m + r - 1) * channels
    tiles = images * down * across
    transformed = ELEMENTS * (_distance(tiles, channels) + _distance(tiles, filters)) + _BLOCK * (channels + filters)
    return 2 * VECTOR_BYTES + image + down * across * m * m * filters + transformed


@lru_cache(maxsize=256)
def offsets(tiles: int, channels: int, itemsize: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places at which tiles of a panel, and channels of a transformed array start.

    The last ones are repeated for another block.
    """
    width, c = _width(channels, VECTOR_BYTES // itemsize), np.arange(channels)
    tile_starts, channel_starts = np.arange(tiles) * width, c // width * tiles * width + c % width
    return np.pad(tile_starts, (0, _BLOCK), mode="edge"), np.pad(channel_starts, (0, _BLOCK), mode="edge")


@helper
def _places(work, r, down, across, channels, filters, tiles):
    """Return the parts of the work of a thread: zeros, image with borders, outputs, and both transformed arrays."""
    m = TILE + 1 - r
    rows, columns = down * m, across * m
    image = 2 * VECTOR_BYTES
    outputs = image + (rows + r - 1) * (columns + r - 1) * channels
    first = outputs + rows * columns * filters
    second = first + ELEMENTS * _element_distance(tiles, channels) + _BLOCK * channels
    return (
        work[:image],
        work[image:outputs].reshape((rows + r - 1, columns + r - 1, channels)),
        work[outputs:first].reshape((rows, columns, filters)),
        work[first:second],
        work[second:],
    )


@helper
def _transform_image(image, r, down, across, first, tiles, V):
    """Transform the tiles of one image with borders, and store them from number ``first``."""
    _, columns, channels = image.shape
    lanes, m, flat = VECTOR_BYTES // image.itemsize, TILE + 1 - r, image.reshape(-1)
    width, element = _panel_width(channels, lanes), _element_distance(tiles, channels)
    for i in range(down):
        for j in range(across):
            for c in range(0, channels, lanes):
                x = (i * m * columns + j * m) * channels + c
                y = c // width * tiles * width + (first + i * across + j) * width + c % width
                _transform_input(flat, x, columns * channels, channels, V, y, TILE * element, element)


@helper
def _transform_d_outputs(dy, r, down, across, first, tiles, M):
    """Compute A dy A^T for all tiles of one image."""
    _, columns, filters = dy.shape
    lanes, m, flat = VECTOR_BYTES // dy.itemsize, TILE + 1 - r, dy.reshape(-1)
    width, element = _panel_width(filters, lanes), _element_distance(tiles, filters)
    for i in range(down):
        for j in range(across):
            for f in range(0, filters, lanes):
                x = (i * m * columns + j * m) * filters + f
                y = f // width * tiles * width + (first + i * across + j) * width + f % width
                if r == 3:
                    _d_output3(flat, x, columns * filters, filters, M, y, TILE * element, element)
                else:
                    _d_output5(flat, x, columns * filters, filters, M, y, TILE * element, element)


@helper
def _inverse_transform(M, r, down, across, first, tiles, outputs):
    """Compute the outputs of one image from its tiles."""
    _, columns, filters = outputs.shape
    lanes, m, flat = VECTOR_BYTES // M.itemsize, TILE + 1 - r, outputs.reshape(-1)
    width, element = _panel_width(filters, lanes), _element_distance(tiles, filters)
    for i in range(down):
        for j in range(across):
            for f in range(0, filters, lanes):
                x = f // width * tiles * width + (first + i * across + j) * width + f % width
                y = (i * m * columns + j * m) * filters + f
                if r == 3:
                    _output3(M, x, TILE * element, element, flat, y, columns * filters, filters)
                else:
                    _output5(M, x, TILE * element, element, flat, y, columns * filters, filters)


@helper
def _products(V, U, M, count, tiles, channels, filters, starts, zeros):
    """M = V U for each element: count tiles by channels, channels by filters."""
    lanes = VECTOR_BYTES // V.itemsize
    depth, width = _panel_width(channels, lanes), _panel_width(filters, lanes)
    for element in range(ELEMENTS):
        source = V[element * _element_distance(tiles, channels) :]
        for f in range(0, filters, width):
            at = element * _element_distance(channels, filters) + f * channels
            to = element * _element_distance(tiles, filters) + f * tiles
            # A block that sticks out writes where the next one will, or behind the last.
            for first in range(0, count, _BLOCK):
                block(
                    min(_BLOCK, count - first), width > lanes, source, starts, first, U, at, width, zeros, 0, 0,
                    M, to + first * width, width, channels // depth, tiles * depth, depth, 1, -V.dtype.type(np.inf),
                )  # fmt: skip


@helper
def _add_products(V, M, dU, count, tiles, channels, filters, starts):
    """dU += V^T M for each element: channels by count tiles, count tiles by filters."""
    lanes = VECTOR_BYTES // V.itemsize
    depth, width = _panel_width(channels, lanes), _panel_width(filters, lanes)
    for element in range(ELEMENTS):
        source = V[element * _element_distance(tiles, channels) :]
        for f in range(0, filters, width):
            at = element * _element_distance(tiles, filters) + f * tiles
            to = element * _element_distance(channels, filters) + f * channels
            c = 0
            while c < channels:  # in blocks that fit, as what stuck out would be added to others
                rows = largest_block(channels - c)
                block(
                    rows, width > lanes, source, starts, c, M, at, width, dU, to + c * width, width,
                    dU, to + c * width, width, 1, 0, count, depth, -V.dtype.type(np.inf),
                )  # fmt: skip
                c += rows


@helper
def _transform_weights(W, c, U):
    """G W G^T for input channel c and all filters, blocked (36, panels, C, width)."""
    r, _, channels, filters = W.shape
    lanes, flat = VECTOR_BYTES // W.itemsize, W.reshape(-1)
    width, element, step = _panel_width(filters, lanes), _element_distance(channels, filters), channels * filters
    for f in range(0, filters, lanes):
        x, y = c * filters + f, f // width * channels * width + c * width + f % width
        if r == 3:
            _weights3(flat, x, r * step, step, U, y, TILE * element, element)
        else:
            _weights5(flat, x, r * step, step, U, y, TILE * element, element)


@helper
def _write(outputs, bias, floor, y):
    """y = max(floor, outputs + bias), for the elements of y."""
    rows, columns, filters = y.shape
    for i in range(rows):
        for j in range(columns):
            source, target = outputs[i, j], y[i, j]
            for f in range(filters):
                v = source[f] + (bias[f] if bias.size > 0 else y.dtype.type(0))
                target[f] = floor if v < floor else v


@parallel_kernel
def winograd_conv(x, top, left, W, bias, floor, y, grid, images, starts, U, work):
    """y[n, i, j, f] = max(floor, bias[f] + sum of x[n, i - top + a, j - left + b, c] * W[a, b, c, f]); x is 0 outside.

    W has shape (r, r, C, F). grid, images and starts are from ``grid``, ``images_at_a_time`` and the first of
    ``offsets``. bias may be empty. U (weights_size) and work are scratch memory.
    """
    n, r, channels, filters = x.shape[0], W.shape[0], W.shape[2], W.shape[3]
    (down, across), lanes = grid, VECTOR_BYTES // x.itemsize
    each = down * across
    for c in prange(channels):
        _transform_weights(W, c, U)
    for task in prange((n + images - 1) // images):
        zeros, image, outputs, V, M = _places(work[get_thread_id()], r, down, across, channels, filters, images * each)
        zeros[: 2 * lanes] = x.dtype.type(0)
        first = task * images
        many = min(images, n - first)
        for i in range(many):
            with_borders(x[first + i], top, left, image)
            _transform_image(image, r, down, across, i * each, images * each, V)
        _products(V, U, M, many * each, images * each, channels, filters, starts, zeros)
        for i in range(many):
            _inverse_transform(M, r, down, across, i * each, images * each, outputs)
            _write(outputs, bias, floor, y[first + i])


@parallel_kernel
def winograd_backward_weights(x, top, left, dy, dW, db, grid, images, starts, partial, work):
    """Compute dW and, unless it is empty, db. starts is the second of ``offsets``.

    partial (PARTS, weights_size + 3 F) and work are scratch memory.
    """
    r, _, channels, filters = dW.shape
    n, (down, across), lanes = x.shape[0], grid, VECTOR_BYTES // x.itemsize
    tiles, parts, element = images * down * across, min(PARTS, n), _element_distance(channels, filters)
    step = channels * filters
    for part in prange(parts):
        _, image, outputs, V, M = _places(work[get_thread_id()], r, down, across, channels, filters, tiles)
        dU, behind = partial[part], partial[part, ELEMENTS * element :]
        bias_sums, rests, bias_block = behind[: db.size], behind[db.size :][: db.size], behind[2 * db.size :][: db.size]
        dU[:] = x.dtype.type(0)
        last = (part + 1) * n // parts
        for first in range(part * n // parts, last, images):
            many = min(images, last - first)
            for i in range(many):
                with_borders(x[first + i], top, left, image)
                _transform_image(image, r, down, across, i * down * across, tiles, V)
                with_borders(dy[first + i], 0, 0, outputs)
                _transform_d_outputs(outputs, r, down, across, i * down * across, tiles, M)
                gradient = dy[first + i].reshape((dy.shape[1] * dy.shape[2], filters))
                if db.size > 0:
                    add_rows(gradient, bias_sums, rests, bias_block)
            _add_products(V, M, dU, many * down * across, tiles, channels, filters, starts)
        finish(bias_sums, rests)
    for c in prange(channels):
        width = _panel_width(filters, lanes)
        for e in range(ELEMENTS):
            for f in range(0, filters, width):
                for k in range(width):
                    at = e * element + f * channels + c * width + k
                    for part in range(1, parts):
                        partial[0, at] += partial[part, at]
        for f in range(0, filters, lanes):
            source, target = f // width * channels * width + c * width + f % width, c * filters + f
            if r == 3:
                _d_weights3(partial[0], source, TILE * element, element, dW.reshape(-1), target, r * step, step)
            else:
                _d_weights5(partial[0], source, TILE * element, element, dW.reshape(-1), target, r * step, step)
    for f in range(db.size):
        total = partial[0, ELEMENTS * element + f]
        for part in range(1, parts):
            total += partial[part, ELEMENTS * element + f]
        db[f] = total
