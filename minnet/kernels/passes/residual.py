"""Sums of two paths."""

from numba import prange

from ..chunks import SERIAL, bounds, chunks
from ..compile import helper, kernel, parallel_kernel
from ..views import flat


@helper
def _add(a, b, floor, y):
    for i in range(y.size):
        v = a[i] + b[i]
        y[i] = floor if v < floor else v


@kernel
def add_row(x, row, y):
    """y[i] = x[i] + row."""
    for i in range(y.shape[0]):
        source, out = x[i], y[i]
        for j in range(out.size):
            out[j] = source[j] + row[j]


@helper
def _accumulate(total, x):
    for i in range(x.size):
        total[i] += x[i]


@parallel_kernel
def add(a, b, floor, y):
    """y = max(a + b, floor), for C-contiguous arrays of one shape."""
    first, second, out = flat(a), flat(b), flat(y)
    if out.size <= SERIAL:
        _add(first, second, floor, out)
    else:
        for chunk in prange(chunks(out.size)):
            start, stop = bounds(chunk, out.size)
            _add(first[start:stop], second[start:stop], floor, out[start:stop])


@parallel_kernel
def accumulate(total, x):
    """total += x, for C-contiguous arrays of one shape."""
    sums, terms = flat(total), flat(x)
    if sums.size <= SERIAL:
        _accumulate(sums, terms)
    else:
        for chunk in prange(chunks(sums.size)):
            start, stop = bounds(chunk, sums.size)
            _accumulate(sums[start:stop], terms[start:stop])
