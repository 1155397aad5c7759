"""Matrix products on the micro-kernel.

Work is cut into tiles that do not depend on the number of threads, and sums that cross tiles are added in a fixed
order: results are the same bits for any number of threads.
"""

import numpy as np
from numba import config, get_thread_id, prange

from .compile import helper, kernel, parallel_kernel
from .simd import ROWS, VECTOR_BYTES, copy_vectors, pack, tile

_PANEL_DEPTH = 256  # k of a packed panel: 32 KB of float32 on AVX-512
_SMALL = 4000  # multiply-adds up to which plain loops are quicker than packing
_THIN = 4  # ... and so many rows, or terms of a sum
_SERIAL = 2_000_000  # multiply-adds up to which waking a second thread costs more than it brings
_BLOCK = ROWS[0]


@helper
def _matmul_task(A, a_row, a_col, B, b_row, b_col, C, bias, first, last, column, N, K, work, offsets):
    """Rows first to last of one panel of columns of C = A @ B + bias; steps in elements."""
    lanes = VECTOR_BYTES // A.itemsize
    cols = min(N - column, 2 * lanes)
    depth_max = _PANEL_DEPTH * 2 * lanes
    panel, spare = work[:depth_max], work[depth_max : depth_max + _BLOCK * 2 * lanes]
    rows_copy = work[depth_max + _BLOCK * 2 * lanes :]
    # Rows whose distance is a multiple of 2 KiB fall into the same few sets of the first-level cache.
    crowded = a_col == 1 and (a_row * A.itemsize) % 2048 == 0
    for k in range(0, K, _PANEL_DEPTH):
        depth = min(_PANEL_DEPTH, K - k)
        pack(B, k * b_row + column * b_col, b_row, b_col, depth, cols, lanes, panel)
        for i in range(first, last, _BLOCK):
            rows = min(_BLOCK, last - i)
            if k == 0 and bias.size > 0:
                for r in range(i, i + rows):
                    for j in range(cols):
                        C[r * N + column + j] = bias[column + j]
            add = 1 if k > 0 or bias.size > 0 else 0
            source = A
            for r in range(rows):
                offsets[r] = (i + r) * a_row + k * a_col
            if crowded and depth == _PANEL_DEPTH:
                source = rows_copy
                for r in range(rows):
                    target = r * (_PANEL_DEPTH + 2 * lanes)
                    for j in range(0, depth, 2 * lanes):
                        copy_vectors(A, offsets[r] + j, rows_copy, target + j)
                    offsets[r] = target
            tile(rows, cols, lanes, source, offsets, panel, C, i * N + column, N, 1, 0, depth, a_col, add, spare)


@helper
def _plan(M, N, itemsize):
    """(tasks, panels, parts, rows of a part): how C is cut, whatever the number of threads."""
    width = 2 * (VECTOR_BYTES // itemsize)
    panels, blocks = (N + width - 1) // width, (M + _BLOCK - 1) // _BLOCK
    # Many panels give work to all by themselves; where they are few, rows are cut finer.
    rows = _BLOCK * (10 if panels >= 8 else min(10, max(2, (blocks + 3) // 4)))
    parts = (M + rows - 1) // rows
    return panels * parts, panels, parts, rows


@helper
def _run_task(task, A, a_row, a_col, B, b_row, b_col, bias, C, K, work, offsets):
    """One task of the plan; neighbours share a panel's columns where panels are many, else rows."""
    M, N = C.shape
    _, panels, parts, rows = _plan(M, N, C.itemsize)
    panel, part = (task // parts, task % parts) if panels >= 8 else (task % panels, task // panels)
    first, last, column = part * rows, min(M, (part + 1) * rows), panel * 2 * (VECTOR_BYTES // C.itemsize)
    a, b, c = A.reshape(-1), B.reshape(-1), C.reshape(-1)
    _matmul_task(a, a_row, a_col, b, b_row, b_col, c, bias, first, last, column, N, K, work, offsets)


@parallel_kernel
def matmul_parallel(A, a_row, a_col, B, b_row, b_col, bias, C, K, work, offsets):
    """C = A' @ B' + bias for C (M, N), A' (M, K) and B' (K, N).

    A and B are any 2-d arrays; A'[i, k] is the element i * a_row + k * a_col of A in C order, likewise B': transposes
    are read where they lie. bias (N,) may be empty. work and offsets are scratch as ``new_work`` makes it.
    """
    tasks, _, _, _ = _plan(C.shape[0], C.shape[1], C.itemsize)
    for task in prange(tasks):
        thread = get_thread_id()
        _run_task(task, A, a_row, a_col, B, b_row, b_col, bias, C, K, work[thread], offsets[thread])


@kernel
def matmul(A, a_row, a_col, B, b_row, b_col, bias, C, K, work, offsets):
    """``matmul_parallel`` on the calling thread alone: the same tasks, the same bits."""
    tasks, _, _, _ = _plan(C.shape[0], C.shape[1], C.itemsize)
    for task in range(tasks):
        _run_task(task, A, a_row, a_col, B, b_row, b_col, bias, C, K, work[0], offsets[0])


@kernel
def small_matmul(A, a_row, a_col, B, b_row, b_col, bias, C, K, work, offsets):
    """What ``matmul`` computes, row by row in plain loops: for few rows or few terms, where packing does not pay."""
    M, N = C.shape
    a, b = A.reshape(-1), B.reshape(-1)
    if b_col != 1:  # the loop over columns needs them side by side
        for k in range(K):
            for j in range(N):
                work[0, k * N + j] = b[k * b_row + j * b_col]
        b, b_row = work[0], N
    for i in range(M):
        if bias.size > 0:
            for j in range(N):
                C[i, j] = bias[j]
        else:
            for j in range(N):
                C[i, j] = C.dtype.type(0)
        for k in range(K):
            factor, row = a[i * a_row + k * a_col], b[k * b_row : k * b_row + N]
            for j in range(N):
                C[i, j] += factor * row[j]


def multiply(A, a_row, a_col, B, b_row, b_col, bias, C, K, work, offsets):
    """C = A' @ B' + bias by the kernel that suits the sizes. They decide, never the number of threads."""
    size = C.size * K
    fits = b_col == 1 or C.shape[1] * K <= work.shape[1]
    if fits and (size <= _SMALL or K <= _THIN or len(C) <= _THIN):
        small_matmul(A, a_row, a_col, B, b_row, b_col, bias, C, K, work, offsets)
    elif size <= _SERIAL:
        matmul(A, a_row, a_col, B, b_row, b_col, bias, C, K, work, offsets)
    else:
        matmul_parallel(A, a_row, a_col, B, b_row, b_col, bias, C, K, work, offsets)


def new_work(dtype: np.dtype, elements: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scratch for products: work (threads, n) of ``dtype`` and offsets (threads, rows of a block) int64.

    n is at least ``elements``, and enough for a packed panel, a block of results and a block of copied rows.
    """
    threads, width = config.NUMBA_NUM_THREADS, 2 * (VECTOR_BYTES // dtype.itemsize)
    least = (_PANEL_DEPTH + ROWS[0]) * width + ROWS[0] * (_PANEL_DEPTH + width)
    return np.empty((threads, max(least, elements)), dtype), np.empty((threads, ROWS[0]), np.int64)
