"""Collect the samples of a batch."""

from .compile import exact_kernel


@exact_kernel
def gather_bytes(x, order, out):
    """out[i] = x[order[i]] / 255: bytes become numbers in [0, 1] on the way. x is uint8 of shape (samples, values)."""
    for i in range(order.size):
        row = order[i]
        for j in range(x.shape[1]):
            out[i, j] = out.dtype.type(x[row, j]) / out.dtype.type(255)
