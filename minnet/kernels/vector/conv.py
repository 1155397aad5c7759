"""Two-dimensional convolution on the micro-kernel: images (n, H, W, C), weights (kh, kw, C / groups, F), channels last.

The kernels process one image at a time. The image gets its borders in memory of the thread, which stays in the cache.
Any of its pixels, as many as a block has rows, form a block. ``pixels`` (from ``pixel_offsets``) has the place at which
the patch of each pixel starts. Sums over images are computed in a fixed number of parts, for any number of threads.

In a convolution of spread images (x[p] at top + spread * p, with zeros between), the zeros are never multiplied.
Outputs r, r + spread, r + 2 * spread, ... along an axis meet elements of x at the same taps. Each r on either axis, a
phase, is therefore a convolution of x itself with these taps, and its outputs are ``spread`` apart.

Strides, spreads, dilations and distances of taps are pairs: along the rows, along the columns.
"""

import math

import numpy as np
from numba import get_thread_id, prange

from ..compile import helper, parallel_kernel
from .block import ROWS, rows_of_next, tile
from .borders import with_borders
from .moves import pack, prefetch
from .simd import VECTOR_BYTES
from .sums import add_rows, finish

_BLOCK = ROWS[0]
_LANES = VECTOR_BYTES // 4  # at the most, in float32
PARTS = 8  # of a batch, in each of which the weights' gradient is summed by itself


def panels_size(depth: int, columns: int, groups: int, phases: int) -> int:
    """Return the number of elements of ``depth`` rows of ``columns`` columns per group in panels, with their biases."""
    return (depth + phases) * groups * (columns + 2 * _LANES)


def work_size(pixels: int, image: int) -> int:
    """Return the number of elements of ``work`` that a thread needs for an image and its output of these sizes."""
    return (pixels + _BLOCK) * 2 * _LANES + image


def phases(taps: int, top: int, spread: int, dilation: int) -> np.ndarray:
    """For each r < spread along one axis, return the first tap, the number of taps, and the start of the first patch.

    Taps are ``tap_step`` apart. Output i meets x[p] at tap a if i + dilation * a = top + spread * p. If this never
    holds, all three are 0.
    """
    step = tap_step(spread, dilation)
    table = np.zeros((spread, 3), np.int64)
    for r in range(spread):
        for first in range(min(step, taps)):
            start, rest = divmod(r + dilation * first - top, spread)
            if rest == 0:
                table[r] = first, -(-(taps - first) // step), start
    return table


def tap_step(spread: int, dilation: int) -> int:
    """Return the distance of the taps of a phase. They meet elements of x dilation * tap_step / spread apart."""
    return spread // math.gcd(spread, dilation)


def phase_table(
    rows: np.ndarray, columns: np.ndarray, corner: tuple[int, int], width: int, channels: int
) -> np.ndarray:
    """Return a row for each phase (r, s): first tap (row, column), number of rows and columns of taps, and start.

    rows and columns are ``phases`` along the axes of an image with this width including borders, which is at
    ``corner``.
    """
    return np.array(
        [
            (i, j, kh, kw, ((corner[0] + row) * width + corner[1] + column) * channels)
            for i, kh, row in rows.tolist()
            for j, kw, column in columns.tolist()
        ]
    )


def pixel_offsets(rows: int, columns: int, stride: tuple[int, int], width: int, channels: int) -> np.ndarray:
    """Return the place at which the patch of each of rows x columns outputs starts, in an image of this width.

    The last one is repeated for blocks that extend beyond the outputs.
    """
    i, j = np.arange(rows)[:, None] * stride[0], np.arange(columns) * stride[1]
    return np.pad(((i * width + j) * channels).ravel(), (0, _BLOCK), mode="edge")


def tap_offsets(kh: int, kw: int, inputs: int, dilation: tuple[int, int], width: int, channels: int) -> np.ndarray:
    """Return where each row (i, j, c) of the weights meets an image of this width. The last one is repeated."""
    i, j, c = np.arange(kh)[:, None, None] * dilation[0], np.arange(kw)[:, None] * dilation[1], np.arange(inputs)
    return np.pad(((i * width + j) * channels + c).ravel(), (0, _BLOCK), mode="edge")


@parallel_kernel
def turn(W, groups, out):
    """Compute the weights of the backward pass: the kernel turned by 180 degrees, inputs and filters exchanged.

    out (kh, kw, F / groups, C): out[kh-1-i, kw-1-j, f, g * Cg + c] = W[i, j, c, g * Fg + f].
    """
    kh, kw, inputs, filters = W.shape
    each = filters // groups
    for i in prange(kh):
        for j in range(kw):
            for g in range(groups):
                for c in range(inputs):
                    for f in range(each):
                        out[kh - 1 - i, kw - 1 - j, f, g * inputs + c] = W[i, j, c, g * each + f]


@helper
def _pack_phase(W, bias, groups, phase, step, panels, at):
    """Pack all panels of columns by group: a row of the bias, then the rows (i, j, c) of the taps of the phase.

    Returns the place at which the panels of the next phase start.
    """
    _, kw, inputs, filters = W.shape
    first_row, first_column, tap_rows, tap_columns, _ = phase
    each, lanes, flat = filters // groups, VECTOR_BYTES // W.itemsize, W.reshape(-1)
    for column in range(0, filters, each):
        for first in range(column, column + each, 2 * lanes):
            cols = min(2 * lanes, column + each - first)
            width = 2 * lanes if cols > lanes else lanes
            for f in range(width):
                panels[at + f] = bias[first + f] if bias.size > 0 and f < cols else W.dtype.type(0)
            at += width
            for i in range(tap_rows):
                for j in range(tap_columns):
                    tap = (first_row + i * step[0]) * kw + first_column + j * step[1]
                    pack(flat, tap * inputs * filters + first, filters, 1, inputs, cols, width, lanes, panels, at)
                    at += inputs * width
    return at


@helper
def _conv_phase(
    x, width, channels, y, distance, count, filters, kh, kw, inputs, groups, dilation, floor, pixels, panels, at, spare
):
    """Compute y[p * distance + f] for the pixels of one image x, flat, with this width and these channels.

    The weights start at panels[at]. Returns the place at which they end.
    """
    each, lanes, depth = filters // groups, VECTOR_BYTES // x.itemsize, kh * kw * inputs
    # A patch's row is contiguous unless dilated or shared by groups; then its columns are steps of their own.
    whole, down, across = dilation[1] == 1 and groups == 1, dilation[0] * width * channels, dilation[1] * channels
    passes, n1, step1, n2 = (1, kh, down, kw * inputs) if whole else (kh, kw, across, inputs)
    for g in range(groups):
        for column in range(g * each, (g + 1) * each, 2 * lanes):
            cols = min(2 * lanes, (g + 1) * each - column)
            panel_width = 2 * lanes if cols > lanes else lanes
            for i in range(passes):
                source = x[g * inputs + i * down :]
                b = at + (1 + i * n1 * n2) * panel_width
                bottom = floor if i == passes - 1 else -y.dtype.type(np.inf)
                for first in range(0, count, _BLOCK):
                    to = first * distance + column
                    if column == 0 and i == 0:  # the next block's outputs come into cache while this one is at work
                        for successor in range(to + _BLOCK * distance, to + 2 * _BLOCK * distance, lanes):
                            prefetch(y, successor)
                    D, d, ldd = (panels, at, 0) if i == 0 else (y, to, distance)
                    tile(
                        min(_BLOCK, count - first), cols, lanes, source, pixels, first, panels, b, panel_width,
                        D, d, ldd, y, to, distance, n1, step1, n2, 1, bottom, spare,
                    )  # fmt: skip
            at += (depth + 1) * panel_width
    return at


@helper
def _bias_alone(bias, floor, y, distance, count, filters):
    """``_conv_phase`` for a phase that meets x at no tap."""
    for p in range(count):
        pixel = y[p * distance :]
        for f in range(filters):
            v = bias[f] if bias.size > 0 else y.dtype.type(0)
            pixel[f] = floor if v < floor else v


@helper
def _place_rows(outputs, distance, y, first, spread, count, length):
    """Copy rows first, first + spread, ... of one flat image y from ``outputs``, where they are ``distance`` apart."""
    for i in range(count):
        source, target = outputs[i * distance :], y[(first + i * spread) * length :]
        for k in range(length):
            target[k] = source[k]


@parallel_kernel
def conv(x, top, left, size, W, bias, floor, y, groups, spread, step, dilation, table, pixels, panels, work):
    """y[n, i, j, f] = max(floor, bias[f] + sum of the products of weights W[a, b, c, f] and elements of x).

    x has zeros around it; with them it has ``size`` rows and columns, and x[n, 0, 0] is at (top, left). y[n, r +
    spread[0] * i, s + spread[1] * j] meets it at the taps of phase (r, s), ``step`` apart, and at elements ``dilation``
    apart. The row of the phase in ``table`` (``phase_table``) has its taps and, together with ``pixels``, the start of
    its patch. c runs over the channels of the group of f. bias may be empty. panels and work are scratch memory.
    """
    inputs, filters = W.shape[2:]
    n, rows, columns, channels = x.shape
    out_rows, out_columns = y.shape[1:3]
    end = 0
    for phase in range(len(table)):
        if table[phase, 2] * table[phase, 3] > 0:
            end = _pack_phase(W, bias, groups, table[phase], step, panels, end)
    bordered = size[0] != rows or size[1] != columns or top != 0 or left != 0
    across = (out_columns + spread[1] - 1) // spread[1]
    distance = spread[1] * filters  # of neighbouring outputs of a phase
    for image in prange(n):
        place = work[get_thread_id()]
        spare, source, target = place[: _BLOCK * 2 * _LANES], x[image].reshape(-1), y[image].reshape(-1)
        place = place[_BLOCK * 2 * _LANES :]
        if bordered:
            source = place[: size[0] * size[1] * channels]
            with_borders(x[image], top, left, source.reshape((size[0], size[1], channels)))
        # Rows of outputs from several phases are put together in a place of their own.
        outputs = target if spread[0] * spread[1] == 1 else place[size[0] * size[1] * channels :]
        at = 0
        for r in range(spread[0]):
            down = (out_rows - r + spread[0] - 1) // spread[0]
            for s in range(spread[1]):
                _, _, tap_rows, tap_columns, start = table[r * spread[1] + s]
                if tap_rows * tap_columns == 0:
                    _bias_alone(bias, floor, outputs[s * filters :], distance, down * across, filters)
                    continue
                at = _conv_phase(
                    source[start:], size[1], channels, outputs[s * filters :], distance, down * across,
                    filters, tap_rows, tap_columns, inputs, groups, dilation, floor, pixels, panels, at, spare,
                )  # fmt: skip
            if spread[0] * spread[1] > 1:
                _place_rows(outputs, across * distance, target, r, spread[0], down, out_columns * filters)


_TERMS = 1024  # pixels, in whole rows, whose products are summed before the sum is added to others


@helper
def _weights_of_image(x, width, channels, dy, dW, kh, kw, inputs, groups, stride, taps, work):
    """Add the part of one image to dW (kh * kw * inputs, F), flat."""
    out_rows, out_columns, filters = dy.shape
    each, lanes, pixels = filters // groups, VECTOR_BYTES // x.itemsize, dy.shape[0] * dy.shape[1]
    gradient, count, step = dy.reshape(-1), kh * kw * inputs, stride[0] * width * channels
    together = max(1, _TERMS // out_columns)
    spare, panel = work[: _BLOCK * 2 * _LANES], work[_BLOCK * 2 * _LANES :]
    for g in range(groups):
        source = x[g * inputs :]
        for column in range(g * each, (g + 1) * each, 2 * lanes):
            cols = min(2 * lanes, (g + 1) * each - column)
            B, b, ldb = gradient, column, filters
            if cols % lanes != 0:
                B, b, ldb = panel, 0, 2 * lanes if cols > lanes else lanes
                pack(gradient, column, filters, 1, pixels, cols, ldb, lanes, panel, 0)
            for top in range(0, out_rows, together):
                down, first = min(together, out_rows - top), 0
                while first < count:
                    rows, to = rows_of_next(count - first), first * filters + column
                    tile(
                        rows, cols, lanes, source[top * step :], taps, first, B, b + top * out_columns * ldb, ldb, dW,
                        to, filters, dW, to, filters, down, step, out_columns, stride[1] * channels,
                        -x.dtype.type(np.inf), spare,
                    )  # fmt: skip
                    first += rows


@parallel_kernel
def conv_backward_weights(x, top, left, size, dy, dW, db, groups, stride, taps, partial, work):
    """Compute dW and, unless it is empty, db of ``conv``; taps are from ``tap_offsets``.

    partial (PARTS, at least dW.size + 3 * db.size) is scratch memory.
    """
    kh, kw, inputs, filters = dW.shape
    n, rows, columns, channels = x.shape
    parts = min(PARTS, n)
    bordered = size[0] != rows or size[1] != columns or top != 0 or left != 0
    pixels = dy.shape[1] * dy.shape[2]
    for part in prange(parts):
        place, sums = work[get_thread_id()], partial[part]
        sums[:] = dW.dtype.type(0)
        bias_sums, rests = sums[dW.size :][: db.size], sums[dW.size + db.size :][: db.size]
        block = sums[dW.size + 2 * db.size :][: db.size]
        for image in range(part * n // parts, (part + 1) * n // parts):
            source = x[image].reshape(-1)
            if bordered:
                source = place[(pixels + _BLOCK) * 2 * _LANES :][: size[0] * size[1] * channels]
                with_borders(x[image], top, left, source.reshape((size[0], size[1], channels)))
            _weights_of_image(source, size[1], channels, dy[image], sums, kh, kw, inputs, groups, stride, taps, place)
            if db.size > 0:
                add_rows(dy[image].reshape((pixels, filters)), bias_sums, rests, block)
        finish(bias_sums, rests)
    _add_parts(partial, parts, 0, dW.reshape(-1))
    _add_parts(partial, parts, dW.size, db)


@helper
def _add_parts(partial, parts, start, out):
    """out = sum over parts of partial[part, start:], in their order."""
    for i in range(out.size):
        out[i] = partial[0, start + i]
    for part in range(1, parts):
        for i in range(out.size):
            out[i] += partial[part, start + i]
