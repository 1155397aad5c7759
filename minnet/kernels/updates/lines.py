"""Points along a line and inner products, for L-BFGS and SWAG."""

from numba import prange

from ..chunks import SERIAL, bounds, chunks
from ..compile import helper, kernel, parallel_kernel
from .partials import BLOCK, total_of


@helper
def _block_dot(x, y):
    products = x.dtype.type(0)
    for i in range(x.size):
        products += x[i] * y[i]
    return products


@helper
def _dot(x, y):
    total = 0.0
    for a in range(0, x.size, BLOCK):
        b = min(a + BLOCK, x.size)
        total += _block_dot(x[a:b], y[a:b])
    return total


@parallel_kernel
def inner(x, y, partial):
    """Sum of x * y; partial is (flat_parts(n), 1)."""
    parts = chunks(x.size)
    if x.size <= SERIAL:
        for part in range(parts):
            a, b = bounds(part, x.size)
            partial[part, 0] = _dot(x[a:b], y[a:b])
    else:
        for part in prange(parts):
            a, b = bounds(part, x.size)
            partial[part, 0] = _dot(x[a:b], y[a:b])
    return total_of(partial, parts, 0)


@kernel
def same(x, y):
    """Whether x and y are equal, element by element."""
    different = 0
    for i in range(x.size):
        different += x[i] != y[i]
    return different == 0


@helper
def _along(x, a, y, z):
    for i in range(z.size):
        z[i] = x[i] + a * y[i]


@parallel_kernel
def along(x, a, y, z):
    """z = x + a * y; z may be x."""
    if z.size <= SERIAL:
        _along(x, a, y, z)
    else:
        for part in prange(chunks(z.size)):
            first, last = bounds(part, z.size)
            _along(x[first:last], a, y[first:last], z[first:last])
