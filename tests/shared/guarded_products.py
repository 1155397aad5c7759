"""Products of all sizes, in arrays that end where memory ends: what reads or writes beyond one ends the process.

    python guarded_products.py

Each way to compute small ones is called for each size, and panels for some, in both precisions. MINNET_VECTOR_BYTES
sets the width of vectors.
"""

import ctypes
import itertools
import mmap
import sys

import numpy as np
from numba import njit

from minnet.kernels.vector import product, small
from minnet.kernels.vector.simd import VECTOR_BYTES
from minnet.kernels.vector.small import FEW
from minnet.kernels.vector.strips import ROWS

WAYS = {"strips": 0, "exchanged": 1, "dots": 2}
PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)


class Room:
    """Memory in front of a page that nobody may access."""

    def __init__(self, size):
        whole = -(-size // PAGE) * PAGE
        self._memory = mmap.mmap(-1, whole + PAGE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        if _libc.mprotect(ctypes.c_void_p(address + whole), ctypes.c_size_t(PAGE), 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
        self._bytes = np.frombuffer(self._memory, np.uint8, whole)

    def last(self, shape, dtype):
        """Return an array that ends where the memory does."""
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self._bytes[self._bytes.size - count :].view(dtype).reshape(shape)

    def holding(self, values):
        """Return a copy of an array that ends where the memory does."""
        array = self.last(values.shape, values.dtype)
        array[...] = values
        return array


@njit
def run(way, a, a_row, a_col, b, b_row, b_col, bias, floor, c, c_at, c_row, M, N, K, lanes, work):
    """Compute a product in one of the ways."""
    for v in range(small._PANELS):
        work[v] = 0
    start, step = (bias, 1) if bias.size > 0 else (work, 0)
    if way == 0:
        small._strips(
            a, 0, a_row, a_col, b, 0, b_row, b_col, start, 0, step, floor, c, c_at, c_row, M, N, K, lanes, work
        )
    elif way == 1:
        small._turned(
            a, 0, a_col, b, 0, b_row, b_col, start, 0, step, floor, c, c_at, c_row, M, N, K, K % 2 == 0, lanes, work
        )
    else:
        small._dots(a, 0, a_row, b, 0, b_row, b_col, start, 0, step, floor, c, c_at, c_row, M, N, K, lanes, work)


def sizes(lanes):
    """Yield (way, M, N, K): all remainders of rows, columns, terms and lanes, and sums of more than one block."""
    rows, columns = range(1, 2 * ROWS + 2), range(1, 5 * lanes + 2)
    for M, N in itertools.product(rows, columns):
        yield "strips", M, N, 1 + (5 * M + 3 * N) % 11
        yield "exchanged", N, M, 1 + (5 * M + 3 * N) % 11
    for M, N, K in itertools.product(range(1, 10), range(1, lanes + 1), range(1, 2 * lanes + 2)):
        yield "dots", M, N, K
    for M, N, K in ((1, 2 * lanes + 3, 300), (9, 5 * lanes + 1, 511), (3, 2, 257), (2 * ROWS + 5, lanes - 1, 1000)):
        yield "strips", M, N, K
        yield "exchanged", N, M, K
        yield "dots", M, min(N, lanes), min(K, 256 * lanes)


def check(dtype):
    """Compare every way with NumPy; return the number of products."""
    rng, lanes, eps = np.random.default_rng(0), VECTOR_BYTES // np.dtype(dtype).itemsize, np.finfo(dtype).eps
    rooms = [Room(1 << 20) for _ in range(5)]
    work = rooms[4].last(product.least_work(np.dtype(dtype).itemsize), dtype)
    work[:] = np.nan
    masked, count = VECTOR_BYTES > 16, 0
    for (way, M, N, K), turned in itertools.product(sizes(lanes), (0, 1)):
        if way == "exchanged" and not masked and M % lanes:
            continue
        # Rows of A' are contiguous for dot products, columns for exchanged strips; either for strips.
        columns_of_a = way == "exchanged" or (way == "strips" and (M + N) % 2 == 0)
        A, B = rng.standard_normal((M, K)).astype(dtype), rng.standard_normal((K, N)).astype(dtype)
        bias = rng.standard_normal(N).astype(dtype) if way != "exchanged" and K % 2 else np.empty(0, dtype)
        floor, bad = (dtype(0), K == 7) if K % 3 else (dtype(-np.inf), False)
        A[-1, -1] = np.nan if bad else A[-1, -1]
        a = rooms[0].holding(np.ascontiguousarray(A.T if columns_of_a else A).reshape(-1))
        b = rooms[1].holding(np.ascontiguousarray(B.T if turned else B).reshape(-1))
        steps = ((1, M) if columns_of_a else (K, 1)), ((1, K) if turned else (N, 1))
        # C lies within longer rows, after another row; the other numbers must stay.
        c = rooms[2].last((M + 1) * (N + 3) - 3, dtype)
        c[:] = -7
        bias, start = rooms[3].holding(bias), N + 3
        run(WAYS[way], a, *steps[0], b, *steps[1], bias, floor, c, start, start, M, N, K, lanes, work)
        exact = A.astype(np.float64) @ B.astype(np.float64) + (bias if bias.size else 0)
        exact = np.where(exact < floor, floor, exact)
        found = np.append(c, np.full(3, -7, dtype)).reshape(M + 1, N + 3)
        label = f"{way} {M}x{K}x{N}, {np.dtype(dtype).name}, vectors of {VECTOR_BYTES} bytes, B turned: {turned}"
        np.testing.assert_allclose(found[1:, :N], exact, rtol=0, atol=8 * eps * K, err_msg=label)
        assert (found[0] == -7).all(), label
        assert (found[:, N:] == -7).all(), label
        count += 1
    return count


def check_panels(dtype):
    """Compare products that panels are packed for with NumPy, however A and B lie; return their number."""
    rng, lanes, eps = np.random.default_rng(0), VECTOR_BYTES // np.dtype(dtype).itemsize, np.finfo(dtype).eps
    rooms, count = [Room(1 << 20) for _ in range(5)], 0
    work = rooms[4].last((1, product.least_work(np.dtype(dtype).itemsize)), dtype)
    columns, terms = (2 * lanes, 4 * lanes + 1, 6 * lanes - 1), (FEW + 1, FEW + 2, 64, 257, 300)
    for M, N, K in itertools.product((1, 2, 5, 8, 13, 14, 15, 27, 31, 43), columns, terms):
        A, B = rng.standard_normal((M, K)).astype(dtype), rng.standard_normal((K, N)).astype(dtype)
        bias = rooms[3].holding(rng.standard_normal(N).astype(dtype))
        exact = np.maximum(A.astype(np.float64) @ B + bias, 0)
        for turned_a, turned_b in itertools.product((False, True), repeat=2):
            work[:] = np.nan
            a = rooms[0].holding(np.ascontiguousarray(A.T if turned_a else A))
            b = rooms[1].holding(np.ascontiguousarray(B.T if turned_b else B))
            c = rooms[2].last((M, N), dtype)
            c[:] = np.nan
            steps = ((1, M) if turned_a else (K, 1)), ((1, K) if turned_b else (N, 1))
            product.matmul(a, *steps[0], b, *steps[1], bias, dtype(0), c, K, work)
            label = f"{M}x{K}x{N}, {np.dtype(dtype).name}, vectors of {VECTOR_BYTES} bytes, {turned_a}, {turned_b}"
            np.testing.assert_allclose(c, exact, rtol=0, atol=8 * eps * K, err_msg=label)
            count += 1
    return count


if __name__ == "__main__":
    sys.stdout.write(" ".join(str(test(kind)) for test in (check, check_panels) for kind in (np.float32, np.float64)))
