"""Matrix products of few numbers, few terms or few columns, which take less time than it takes to make panels.

Arguments are those of ``product.matmul``. The order of the terms of a sum depends on sizes only, and each kernel is
serial, so results have the same bits for any number of threads.
"""

import numpy as np

from ..compile import fused_helper, helper, kernel, routine
from ..views import flat
from .block import ROWS, tile
from .moves import pack
from .simd import VECTOR_BYTES

DEPTH = 256  # terms of a sum that are taken at a time
TERMS = 4  # of ``few_terms``, at the most
COLUMNS = 4  # of ``few_columns``, at the most


@fused_helper
def _sums(a, at0, at1, a_step, b, to0, to1, to2, to3, b_step, terms):
    """Return the sums of two rows of A' times four columns of B', each one term after another."""
    zero = a.dtype.type(0)
    s00, s01, s02, s03, s10, s11, s12, s13 = zero, zero, zero, zero, zero, zero, zero, zero
    for k in range(terms):
        near, far, at = a[at0 + k * a_step], a[at1 + k * a_step], k * b_step
        b0, b1, b2, b3 = b[to0 + at], b[to1 + at], b[to2 + at], b[to3 + at]
        s00, s01, s02, s03 = s00 + near * b0, s01 + near * b1, s02 + near * b2, s03 + near * b3
        s10, s11, s12, s13 = s10 + far * b0, s11 + far * b1, s12 + far * b2, s13 + far * b3
    return s00, s01, s02, s03, s10, s11, s12, s13


@helper
def _store(c, row, j, total, bias, floor):
    """C[row, j] = max(total + bias[j], floor), where ``row`` is the place of the row in the flat array c."""
    if bias.size > 0:
        total += bias[j]
    c[row + j] = floor if total < floor else total


@kernel
def tiny_matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K):
    """``matmul`` without vectors, in blocks of two rows and four columns.

    Where rows or columns are left over, the last one is computed several times, which takes less time than to choose.
    """
    M, N = C.shape
    a, b, c = flat(A), flat(B), flat(C)
    for i in range(0, M, 2):
        last = min(i + 1, M - 1)
        for j in range(0, N, 4):
            j1, j2, j3 = min(j + 1, N - 1), min(j + 2, N - 1), min(j + 3, N - 1)
            s00, s01, s02, s03, s10, s11, s12, s13 = _sums(
                a, i * a_row, last * a_row, a_col, b, j * b_col, j1 * b_col, j2 * b_col, j3 * b_col, b_row, K
            )
            _store(c, i * N, j, s00, bias, floor)
            _store(c, i * N, j1, s01, bias, floor)
            _store(c, i * N, j2, s02, bias, floor)
            _store(c, i * N, j3, s03, bias, floor)
            _store(c, last * N, j, s10, bias, floor)
            _store(c, last * N, j1, s11, bias, floor)
            _store(c, last * N, j2, s12, bias, floor)
            _store(c, last * N, j3, s13, bias, floor)


@kernel
def few_terms(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work):
    """``matmul`` for at most four terms a sum: each row of C is written once. work has 5 * N elements or more."""
    M, N = C.shape
    a, b, zero = flat(A), flat(B), C.dtype.type(0)
    row0, row1, row2, row3 = work[:N], work[N : 2 * N], work[2 * N : 3 * N], work[3 * N : 4 * N]
    start = work[4 * N : 5 * N]
    for j in range(N):
        at = j * b_col
        row0[j], row1[j] = b[at], b[at + b_row] if K > 1 else zero
        row2[j], row3[j] = b[at + 2 * b_row] if K > 2 else zero, b[at + 3 * b_row] if K > 3 else zero
        start[j] = bias[j] if bias.size > 0 else zero
    for i in range(M):
        out, at = C[i], i * a_row
        a0, a1 = a[at], a[at + a_col] if K > 1 else zero
        if K <= 2:
            for j in range(N):
                total = a0 * row0[j] + a1 * row1[j] + start[j]
                out[j] = floor if total < floor else total
        else:
            a2, a3 = a[at + 2 * a_col], a[at + 3 * a_col] if K > 3 else zero
            for j in range(N):
                total = (a0 * row0[j] + a1 * row1[j]) + (a2 * row2[j] + a3 * row3[j]) + start[j]
                out[j] = floor if total < floor else total


@kernel
def few_columns(A, a_row, B, b_row, b_col, bias, floor, C, K, work):
    """``matmul`` for at most four columns and rows A' that are contiguous. work has 4 * K elements or more."""
    M, N = C.shape
    a, b, zero = flat(A), flat(B), C.dtype.type(0)
    column0, column1, column2, column3 = work[:K], work[K : 2 * K], work[2 * K : 3 * K], work[3 * K : 4 * K]
    for k in range(K):
        at = k * b_row
        column0[k], column1[k] = b[at], b[at + b_col] if N > 1 else zero
        column2[k], column3[k] = b[at + 2 * b_col] if N > 2 else zero, b[at + 3 * b_col] if N > 3 else zero
    for i in range(M):
        row, out = a[i * a_row : i * a_row + K], C[i]
        sum0, sum1, sum2, sum3 = zero, zero, zero, zero
        if N <= 2:
            for k in range(K):
                sum0 += row[k] * column0[k]
                sum1 += row[k] * column1[k]
        else:
            for k in range(K):
                sum0 += row[k] * column0[k]
                sum1 += row[k] * column1[k]
                sum2 += row[k] * column2[k]
                sum3 += row[k] * column3[k]
        for j in range(N):
            total = (sum0 if j == 0 else sum1) if j < 2 else (sum2 if j == 2 else sum3)
            total += bias[j] if bias.size > 0 else zero
            out[j] = floor if total < floor else total


@routine
def turned(a, a_col, first, last, b, b_row, b_col, bias, floor, C, column, K, work, offsets):
    """Compute rows ``first`` to ``last`` of C from ``column`` on by exchanging rows and columns.

    Rows are contiguous in A' for each term, and columns are fewer than two vectors: they are the rows of a block, which
    leaves no lanes empty, and A' is read in place. work and offsets are those of one thread.
    """
    N, zero = C.shape[1] - column, C.dtype.type(0)
    lanes = VECTOR_BYTES // C.itemsize
    width = 2 * lanes
    zeros, spare, out = DEPTH * width, (DEPTH + 1) * width, (DEPTH + 1 + ROWS[0]) * width
    for j in range(N + ROWS[0]):
        offsets[j] = (column + min(j, N - 1)) * b_col
    for j in range(width):
        work[zeros + j] = zero
    for i in range(first, last, width):
        many = min(width, last - i)
        for k in range(0, K, DEPTH):
            depth = min(DEPTH, K - k)
            panel, at, step = a, k * a_col + i, a_col
            if many < width:
                pack(a, at, a_col, 1, depth, many, width, lanes, work, 0)
                panel, at, step = work, 0, width
            for j in range(0, N, ROWS[0]):
                to = out + j * width
                start, distance = (zeros, 0) if k == 0 else (to, width)
                tile(
                    min(ROWS[0], N - j), width, lanes, b[k * b_row :], offsets, j, panel, at, step,
                    work, start, distance, work, to, width, 1, 0, depth, b_row, -C.dtype.type(np.inf), work[spare:out],
                )  # fmt: skip
        for r in range(many):
            for j in range(N):
                total = work[out + j * width + r] + (bias[column + j] if bias.size > 0 else zero)
                C[i + r, column + j] = floor if total < floor else total


@kernel
def turned_matmul(A, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets):
    """``matmul`` for columns of A' that are contiguous and few columns of C, by ``turned``."""
    turned(flat(A), a_col, 0, C.shape[0], flat(B), b_row, b_col, bias, floor, C, 0, K, work[0], offsets[0])
