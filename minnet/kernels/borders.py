"""Images (n, H, W, C) with room around them."""

from numba import prange

from .compile import helper, parallel_kernel


@helper
def with_borders(x, top, left, spread, out):
    """out = 0 but for out[top + spread * i, left + spread * j] = x[i, j], where that lies within."""
    rows, columns, channels = x.shape
    out[:] = out.dtype.type(0)
    for i in range(rows):
        row = top + spread * i
        if 0 <= row < out.shape[0]:
            for j in range(columns):
                column = left + spread * j
                if 0 <= column < out.shape[1]:
                    for c in range(channels):
                        out[row, column, c] = x[i, j, c]


@parallel_kernel
def pad(x, top, left, out):
    """out = 0 but for out[:, top + i, left + j] = x[:, i, j], where that lies within; a negative top or left crops."""
    for image in prange(x.shape[0]):
        with_borders(x[image], top, left, 1, out[image])
