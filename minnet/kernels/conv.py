"""Two-dimensional convolution on the micro-kernel: images (n, H, W, C), weights (kh, kw, C / groups, F), channels last.

The kernels see images that already have their borders (``pad``) and work image by image: any of its pixels, as many as
a block has rows, form a block. Sums over images are taken in a fixed number of parts, whatever the threads.
"""

from numba import get_thread_id, prange

from .compile import helper, parallel_kernel
from .simd import ROWS, VECTOR_BYTES, pack, tile

_BLOCK = ROWS[0]
_LANES = VECTOR_BYTES // 4  # at the most, in float32
PARTS = 8  # of a batch, in each of which the weights' gradient is summed by itself


def panels_size(depth: int, columns: int, groups: int) -> int:
    """Elements that ``depth`` rows of ``columns`` columns a group take when packed into panels."""
    return depth * groups * (columns + 2 * _LANES)


def conv_work_size(pixels: int) -> int:
    """Elements of ``work`` that a thread needs: a panel of one image's output gradient and a block of results."""
    return (pixels + _BLOCK) * 2 * _LANES


@parallel_kernel
def pad(x, top, left, step, out):
    """out = 0 but for out[:, top + step * i, left + step * j] = x[:, i, j], where that lies within."""
    n, rows, columns, channels = x.shape
    for image in prange(n):
        out[image] = out.dtype.type(0)
        for i in range(rows):
            row = top + step * i
            if 0 <= row < out.shape[1]:
                for j in range(columns):
                    column = left + step * j
                    if 0 <= column < out.shape[2]:
                        for c in range(channels):
                            out[image, row, column, c] = x[image, i, j, c]


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
def _pack_weights(W, groups, panels):
    """All panels of columns, group after group; a panel holds every row (i, j, c) of the kernel."""
    depth, filters = W.shape[0] * W.shape[1] * W.shape[2], W.shape[3]
    each, lanes = filters // groups, VECTOR_BYTES // W.itemsize
    flat, at = W.reshape(-1), 0
    for g in range(groups):
        for column in range(0, each, 2 * lanes):
            cols = min(2 * lanes, each - column)
            pack(flat, g * each + column, filters, 1, depth, cols, lanes, panels[at:])
            at += depth * (2 * lanes if cols > lanes else lanes)


@helper
def _conv_image(x, bias, y, kh, kw, inputs, groups, stride, dilation, panels, work, offsets):
    """y (OH, OW, F) of one image x (H, W, C) with its borders."""
    out_rows, out_columns, filters = y.shape
    _, width, channels = x.shape
    each, lanes, depth = filters // groups, VECTOR_BYTES // x.itemsize, kh * kw * inputs
    source, target, at = x.reshape(-1), y.reshape(-1), 0
    # A patch's row is contiguous unless dilated or shared by groups; then its columns are steps of their own.
    whole = dilation == 1 and groups == 1
    n1, step1, n2 = (kh, width * channels, kw * inputs) if whole else (kw, dilation * channels, inputs)
    for g in range(groups):
        for column in range(0, each, 2 * lanes):
            cols = min(2 * lanes, each - column)
            panel_width = 2 * lanes if cols > lanes else lanes
            for first in range(0, out_rows * out_columns, _BLOCK):
                rows = min(_BLOCK, out_rows * out_columns - first)
                for r in range(rows):
                    i, j = (first + r) // out_columns, (first + r) % out_columns
                    offsets[r] = (i * stride * width + j * stride) * channels + g * inputs
                    if bias.size > 0:
                        for f in range(cols):
                            target[(first + r) * filters + g * each + column + f] = bias[g * each + column + f]
                to = first * filters + g * each + column
                add = 1 if bias.size > 0 else 0
                if whole:
                    tile(
                        rows,
                        cols,
                        lanes,
                        source,
                        offsets,
                        panels[at:],
                        target,
                        to,
                        filters,
                        n1,
                        step1,
                        n2,
                        1,
                        add,
                        work,
                    )
                else:
                    for i in range(kh):
                        panel = panels[at + i * kw * inputs * panel_width :]
                        tile(
                            rows, cols, lanes, source, offsets, panel, target, to, filters, n1, step1, n2, 1, add, work
                        )
                        add = 1
                        for r in range(rows):
                            offsets[r] += dilation * width * channels
            at += depth * panel_width


@parallel_kernel
def conv(x, W, bias, y, groups, stride, dilation, panels, work, offsets):
    """y[n, i, j, f] = bias[f] + sum of x[n, stride * i + dilation * a, stride * j + dilation * b, c] * W[a, b, c, f].

    x (n, H, W, C) has its borders already; c runs over the channels of f's group; bias may be empty. panels, work and
    offsets are scratch.
    """
    kh, kw, inputs, _ = W.shape
    _pack_weights(W, groups, panels)
    for image in prange(x.shape[0]):
        thread = get_thread_id()
        _conv_image(
            x[image], bias, y[image], kh, kw, inputs, groups, stride, dilation, panels, work[thread], offsets[thread]
        )


@helper
def _weights_of_image(x, dy, dW, kh, kw, inputs, groups, stride, dilation, first_image, work, offsets):
    """dW (kh * kw * inputs, F) of one image, added to what is there unless it is the first."""
    out_rows, out_columns, filters = dy.shape
    _, width, channels = x.shape
    each, lanes, pixels = filters // groups, VECTOR_BYTES // x.itemsize, dy.shape[0] * dy.shape[1]
    source, gradient, target = x.reshape(-1), dy.reshape(-1), dW.reshape(-1)
    panel, spare = work[: pixels * 2 * lanes], work[pixels * 2 * lanes :]
    for g in range(groups):
        for column in range(0, each, 2 * lanes):
            cols = min(2 * lanes, each - column)
            pack(gradient, g * each + column, filters, 1, pixels, cols, lanes, panel)
            for first in range(0, kh * kw * inputs, _BLOCK):
                rows = min(_BLOCK, kh * kw * inputs - first)
                for r in range(rows):
                    tap, c = (first + r) // inputs, (first + r) % inputs
                    i, j = tap // kw, tap % kw
                    offsets[r] = (i * width + j) * dilation * channels + g * inputs + c
                tile(
                    rows, cols, lanes, source, offsets, panel, target, first * filters + g * each + column, filters,
                    out_rows, stride * width * channels, out_columns, stride * channels, 0 if first_image else 1, spare,
                )  # fmt: skip


@parallel_kernel
def conv_backward_weights(x, dy, dW, db, groups, stride, dilation, partial, work, offsets):
    """dW and, unless it is empty, db of ``conv``; partial (PARTS, dW.size + db.size) is scratch."""
    kh, kw, inputs, filters = dW.shape
    n, size = x.shape[0], dW.size
    parts = min(PARTS, n)
    for part in prange(parts):
        thread = get_thread_id()
        sums, bias_sums = partial[part, :size], partial[part, size:]
        bias_sums[:] = dW.dtype.type(0)
        start = part * n // parts
        for image in range(start, (part + 1) * n // parts):
            _weights_of_image(
                x[image], dy[image], sums.reshape((size // filters, filters)), kh, kw, inputs, groups, stride, dilation,
                image == start, work[thread], offsets[thread],
            )  # fmt: skip
            if db.size > 0:
                gradient = dy[image].reshape((dy.shape[1] * dy.shape[2], filters))
                for r in range(gradient.shape[0]):
                    for f in range(filters):
                        bias_sums[f] += gradient[r, f]
    total = dW.reshape(-1)
    for i in range(size):
        total[i] = partial[0, i]
    for f in range(db.size):
        db[f] = partial[0, size + f]
    for part in range(1, parts):
        for i in range(size):
            total[i] += partial[part, i]
        for f in range(db.size):
            db[f] += partial[part, size + f]
