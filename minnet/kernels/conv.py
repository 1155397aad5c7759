"""Two-dimensional convolution on the micro-kernel: images (n, H, W, C), weights (kh, kw, C / groups, F), channels last.

The kernels go image by image: an image gets its borders in a place of its thread's own, which stays in cache, and any
of its pixels, as many as a block has rows, form a block. ``pixels`` (from ``pixel_offsets``) says where the patch of
each starts. Sums over images are taken in a fixed number of parts, whatever the threads.
"""

import numpy as np
from numba import get_thread_id, prange

from .borders import with_borders
from .compile import helper, parallel_kernel
from .simd import ROWS, VECTOR_BYTES, pack, tile

_BLOCK = ROWS[0]
_LANES = VECTOR_BYTES // 4  # at the most, in float32
PARTS = 8  # of a batch, in each of which the weights' gradient is summed by itself


def panels_size(depth: int, columns: int, groups: int) -> int:
    """Elements that ``depth`` rows of ``columns`` columns a group take when packed into panels, each with its bias."""
    return (depth + 1) * groups * (columns + 2 * _LANES)


def work_size(pixels: int, image: int) -> int:
    """Elements of ``work`` that a thread needs for an image of so many, and so many pixels of output."""
    return (pixels + _BLOCK) * 2 * _LANES + image


def pixel_offsets(rows: int, columns: int, stride: int, width: int, channels: int) -> np.ndarray:
    """Where the patch of each of rows x columns outputs starts in an image of that width.

    The last one is repeated for a block that sticks out.
    """
    i, j = np.arange(rows)[:, None], np.arange(columns)
    return np.pad(((i * width + j) * stride * channels).ravel(), (0, _BLOCK), mode="edge")


def tap_offsets(kh: int, kw: int, inputs: int, dilation: int, width: int, channels: int) -> np.ndarray:
    """Where each row (i, j, c) of the weights meets an image of that width; the last one repeated likewise."""
    i, j, c = np.arange(kh)[:, None, None], np.arange(kw)[:, None], np.arange(inputs)
    return np.pad(((i * width + j) * dilation * channels + c).ravel(), (0, _BLOCK), mode="edge")


@parallel_kernel
def turn(W, groups, out):
    """Weights of the backward pass: kernel turned by half a circle, inputs and filters of each group exchanged.

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
def _pack_weights(W, bias, groups, panels):
    """All panels of columns, group after group: a row of the bias, then every row (i, j, c) of the kernel."""
    depth, filters = W.shape[0] * W.shape[1] * W.shape[2], W.shape[3]
    each, lanes = filters // groups, VECTOR_BYTES // W.itemsize
    flat, at = W.reshape(-1), 0
    for column in range(0, each * groups, each):
        for first in range(column, column + each, 2 * lanes):
            cols = min(2 * lanes, column + each - first)
            width = 2 * lanes if cols > lanes else lanes
            for f in range(width):
                panels[at + f] = bias[first + f] if bias.size > 0 and f < cols else W.dtype.type(0)
            pack(flat, first, filters, 1, depth, cols, width, lanes, panels, at + width)
            at += (depth + 1) * width


@helper
def _conv_image(x, width, channels, y, kh, kw, inputs, groups, dilation, floor, pixels, panels, spare):
    """y (OH, OW, F) of one image x, flat, of so many columns and channels, borders included."""
    filters, count = y.shape[2], y.shape[0] * y.shape[1]
    each, lanes, depth = filters // groups, VECTOR_BYTES // x.itemsize, kh * kw * inputs
    target, at = y.reshape(-1), 0
    # A patch's row is contiguous unless dilated or shared by groups; then its columns are steps of their own.
    whole = dilation == 1 and groups == 1
    passes, n1, step1, n2 = (1, kh, width * channels, kw * inputs) if whole else (kh, kw, dilation * channels, inputs)
    for g in range(groups):
        for column in range(g * each, (g + 1) * each, 2 * lanes):
            cols = min(2 * lanes, (g + 1) * each - column)
            panel_width = 2 * lanes if cols > lanes else lanes
            for i in range(passes):
                source = x[g * inputs + i * dilation * width * channels :]
                b = at + (1 + i * n1 * n2) * panel_width
                bottom = floor if i == passes - 1 else -y.dtype.type(np.inf)
                for first in range(0, count, _BLOCK):
                    to = first * filters + column
                    D, d, ldd = (panels, at, 0) if i == 0 else (target, to, filters)
                    tile(
                        min(_BLOCK, count - first), cols, lanes, source, pixels, first, panels, b, panel_width,
                        D, d, ldd, target, to, filters, n1, step1, n2, 1, bottom, spare,
                    )  # fmt: skip
            at += (depth + 1) * panel_width


@parallel_kernel
def conv(x, top, left, spread, size, W, bias, floor, y, groups, dilation, pixels, panels, work):
    """y[n, p, f] = max(floor, bias[f] + sum of x'[n, i + dilation * a, j + dilation * b, c] * W[a, b, c, f]).

    x' is x with its elements ``spread`` apart and zeros around and between, of ``size`` rows and columns, x[n, 0, 0] at
    (top, left); (i, j) the pixel where ``pixels`` says that the patch of p starts; c runs over the channels of f's
    group. bias may be empty. panels and work are scratch.
    """
    kh, kw, inputs, _ = W.shape
    n, rows, columns, channels = x.shape
    _pack_weights(W, bias, groups, panels)
    bordered = spread != 1 or size[0] != rows or size[1] != columns or top != 0 or left != 0
    for image in prange(n):
        place = work[get_thread_id()]
        spare, source = place[: _BLOCK * 2 * _LANES], x[image].reshape(-1)
        if bordered:
            source = place[_BLOCK * 2 * _LANES :][: size[0] * size[1] * channels]
            with_borders(x[image], top, left, spread, source.reshape((size[0], size[1], channels)))
        _conv_image(source, size[1], channels, y[image], kh, kw, inputs, groups, dilation, floor, pixels, panels, spare)


@helper
def _weights_of_image(x, width, channels, dy, dW, kh, kw, inputs, groups, stride, taps, work):
    """Add one image's part to dW (kh * kw * inputs, F), flat."""
    out_rows, out_columns, filters = dy.shape
    each, lanes, pixels = filters // groups, VECTOR_BYTES // x.itemsize, dy.shape[0] * dy.shape[1]
    gradient, count = dy.reshape(-1), kh * kw * inputs
    spare, panel = work[: _BLOCK * 2 * _LANES], work[_BLOCK * 2 * _LANES :]
    for g in range(groups):
        source = x[g * inputs :]
        for column in range(g * each, (g + 1) * each, 2 * lanes):
            cols = min(2 * lanes, (g + 1) * each - column)
            B, b, ldb = gradient, column, filters
            if cols % lanes != 0:
                B, b, ldb = panel, 0, 2 * lanes if cols > lanes else lanes
                pack(gradient, column, filters, 1, pixels, cols, ldb, lanes, panel, 0)
            for first in range(0, count, _BLOCK):
                to = first * filters + column
                tile(
                    min(_BLOCK, count - first), cols, lanes, source, taps, first, B, b, ldb, dW, to, filters,
                    dW, to, filters, out_rows, stride * width * channels, out_columns, stride * channels,
                    -x.dtype.type(np.inf), spare,
                )  # fmt: skip


@parallel_kernel
def conv_backward_weights(x, top, left, size, dy, dW, db, groups, stride, taps, partial, work):
    """dW and, unless it is empty, db of ``conv``; taps from ``tap_offsets``.

    partial (PARTS, at least dW.size + db.size) is scratch.
    """
    kh, kw, inputs, filters = dW.shape
    n, rows, columns, channels = x.shape
    parts = min(PARTS, n)
    bordered = size[0] != rows or size[1] != columns or top != 0 or left != 0
    pixels = dy.shape[1] * dy.shape[2]
    for part in prange(parts):
        place, sums = work[get_thread_id()], partial[part]
        sums[:] = dW.dtype.type(0)
        bias_sums = sums[dW.size :]
        for image in range(part * n // parts, (part + 1) * n // parts):
            source = x[image].reshape(-1)
            if bordered:
                source = place[(pixels + _BLOCK) * 2 * _LANES :][: size[0] * size[1] * channels]
                with_borders(x[image], top, left, 1, source.reshape((size[0], size[1], channels)))
            _weights_of_image(source, size[1], channels, dy[image], sums, kh, kw, inputs, groups, stride, taps, place)
            if db.size > 0:
                gradient = dy[image].reshape((pixels, filters))
                for r in range(pixels):
                    for f in range(filters):
                        bias_sums[f] += gradient[r, f]
    _add_parts(partial, parts, 0, dW.reshape(-1))
    _add_parts(partial, parts, dW.size, db)


@helper
def _add_parts(partial, parts, start, out):
    """out = sum over parts of partial[part, start:], in their order."""
    for i in range(out.size):
        total = partial[0, start + i]
        for part in range(1, parts):
            total += partial[part, start + i]
        out[i] = total
