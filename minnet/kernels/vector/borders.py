"""Images (n, H, W, C) with borders of zeros."""

from numba import prange

from ..compile import helper, parallel_kernel


@helper
def with_borders(x, top, left, out):
    """out[top + i, left + j] = x[i, j] where this is inside of out, and 0 elsewhere. A negative top or left crops."""
    rows, columns, channels = x.shape
    width, flat, target = out.shape[1] * channels, x.reshape(-1), out.reshape(-1)
    # Rows are copied as a whole: ``length`` elements from ``start`` on to behind ``before`` zeros.
    start, before = max(-left, 0) * channels, max(left, 0) * channels
    length = max(min(columns * channels - start, width - before), 0)
    before = min(before, width)
    for i in range(out.shape[0]):
        row = target[i * width : (i + 1) * width]
        if not 0 <= i - top < rows:
            row[:] = out.dtype.type(0)
            continue
        source, inside = flat[(i - top) * columns * channels + start :], row[before:]
        for k in range(before):
            row[k] = out.dtype.type(0)
        for k in range(length):
            inside[k] = source[k]
        for k in range(width - before - length):
            inside[length + k] = out.dtype.type(0)


@parallel_kernel
def pad(x, top, left, out):
    """out[:, top + i, left + j] = x[:, i, j] where this is inside, and 0 elsewhere. A negative top or left crops."""
    for image in prange(x.shape[0]):
        with_borders(x[image], top, left, out[image])
