"""Sums of two paths."""

from numba import prange

from .compile import helper, parallel_kernel

_CHUNK = 16384  # elements that a thread takes at a time
_SERIAL = 65536  # up to so many, waking a second thread costs more than it brings


@helper
def _add(a, b, floor, y):
    for i in range(y.size):
        v = a[i] + b[i]
        y[i] = floor if v < floor else v


@helper
def _accumulate(total, x):
    for i in range(x.size):
        total[i] += x[i]


@parallel_kernel
def add(a, b, floor, y):
    """y = max(a + b, floor), for C-contiguous arrays of one shape."""
    first, second, out = a.reshape(-1), b.reshape(-1), y.reshape(-1)
    if out.size <= _SERIAL:
        _add(first, second, floor, out)
    else:
        for chunk in prange((out.size + _CHUNK - 1) // _CHUNK):
            start, stop = chunk * _CHUNK, min(out.size, (chunk + 1) * _CHUNK)
            _add(first[start:stop], second[start:stop], floor, out[start:stop])


@parallel_kernel
def accumulate(total, x):
    """total += x, for C-contiguous arrays of one shape."""
    sums, terms = total.reshape(-1), x.reshape(-1)
    if sums.size <= _SERIAL:
        _accumulate(sums, terms)
    else:
        for chunk in prange((sums.size + _CHUNK - 1) // _CHUNK):
            start, stop = chunk * _CHUNK, min(sums.size, (chunk + 1) * _CHUNK)
            _accumulate(sums[start:stop], terms[start:stop])
