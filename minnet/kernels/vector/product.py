"""Matrix products on the micro-kernel.

Work is divided into tasks that do not depend on the number of threads. Sums across tasks are added in a fixed order.
Results therefore have the same bits for any number of threads.
"""

import numpy as np
from numba import config, get_thread_id, prange

from ..arrays import aligned_empty
from ..compile import helper, kernel, parallel_kernel, routine
from ..views import flat
from . import small
from .block import ROWS, block_rows_for, tile
from .dots import dots
from .moves import borrowed, copy_vectors, pack, prefetch
from .simd import VECTOR_BYTES

_DEPTH = 256  # terms of a sum that are taken at a time: two AVX-512 vectors wide, a panel of 24 KB stays in L1
_TASK_ROWS = 256  # rows of a task at the most: so many of A, _DEPTH deep, stay in L2
_TASKS = 16  # into which large work is cut, or more
_TINY = 300  # multiply-adds up to which sums number by number are quicker than vectors
_LONG = 1024  # terms of a sum that ``few_columns`` adds without breaking it up
_IN_PLACE = 16384  # bytes of A that stay in the first-level cache, whatever the distance of its terms
_SMALL = 1000  # multiply-adds up to which plain loops are quicker than packing
_THIN = 3  # ... and so many rows
_SERIAL = 2_000_000  # multiply-adds up to which waking a second thread costs more than it brings
_GROUP = 4  # panels of columns that a task has at the least, where it copies its rows
_PART = 48  # ... and rows, if tasks are few
_BLOCK = ROWS[0]
_CROWDED = 2048  # bytes: rows at multiples of this distance fall into the same few sets of the first-level cache


@helper
def _copies(a_row, a_col, M, K, itemsize):
    """Return whether rows of A' are copied, because they are columns of A, or share few sets of the cache.

    An A that lies closely together is read in place.
    """
    extent = (M - 1) * a_row + (K - 1) * a_col + 1
    return extent * itemsize > _IN_PLACE and (a_col != 1 or (a_row * itemsize) % _CROWDED == 0)


@routine
def _rows_at(A, a_row, a_col, first, rows, k, depth, copied, lanes, copy, offsets):
    """Set offsets to the start of rows of A' from ``first`` at term k, in A or, if they are copied, in ``copy``.

    Returns the distance of two terms.
    """
    width, length, step = 2 * lanes, depth + 2 * lanes, a_col
    if copied and a_col != 1:  # into panels as of B, so that the terms of a block lie close together
        step = width
        for i in range(0, rows, width):
            cols = min(width, rows - i)
            pack(A, (first + i) * a_row + k * a_col, a_col, a_row, depth, cols, width, lanes, copy, i * depth)
            for r in range(i, i + cols):
                offsets[r] = i * depth + r - i
    else:
        for r in range(rows):
            offsets[r] = (first + r) * a_row + k * a_col
            if copied:
                whole = depth - depth % width
                for j in range(0, whole, width):
                    copy_vectors(A, offsets[r] + j, copy, r * length + j)
                for j in range(whole, depth):
                    copy[r * length + j] = A[offsets[r] + j]
                offsets[r] = r * length
    for r in range(rows, rows + _BLOCK):
        offsets[r] = offsets[rows - 1]
    return step


@routine
def _thin_columns(
    A, rows, B, at, b_row, b_col, bias, column, cols, first, k, depth, bottom, C, N, lanes, spare, starts
):
    """Compute few columns of C by exchanging them with the rows: the copied rows of A' are panels like those of B."""
    width, c = 2 * lanes, flat(C)
    for j in range(_BLOCK):
        starts[j] = at + min(j, cols - 1) * b_col
    for i in range(0, rows, width):
        many = min(width, rows - i)
        for j in range(cols):
            start = bias[column + j] if bias.size > 0 else c.dtype.type(0)
            for r in range(width):
                spare[j * width + r] = start
        if k > 0:
            for r in range(many):
                for j in range(cols):
                    spare[j * width + r] = c[(first + i + r) * N + column + j]
        tile(
            block_rows_for(cols), width, lanes, B, starts, 0, A, i * depth, width, spare, 0, width, spare, 0, width,
            1, 0, depth, b_row, bottom, spare,
        )  # fmt: skip
        for r in range(many):
            for j in range(cols):
                c[(first + i + r) * N + column + j] = spare[j * width + r]


@routine
def _thin_sums(A, offsets, rows, B, at, b_row, b_col, bias, column, cols, first, k, depth, bottom, C, N, lanes, spare):
    """Compute few columns of C from rows that are not copied: dot products of two rows with the columns."""
    c, most, length = flat(C), max(1, lanes // 4), (depth + lanes - 1) // lanes * lanes
    sums = spare[most * length :]
    for j in range(most):
        for t in range(length):
            spare[j * length + t] = B[at + j * b_col + t * b_row] if j < cols and t < depth else C.dtype.type(0)
    for r in range(0, rows, 2):
        many = min(2, rows - r)
        dots(A, offsets[r], offsets[r + many - 1], depth, spare, 0, length, sums)
        for i in range(many):
            for j in range(cols):
                total = sums[i * most + j]
                to = (first + r + i) * N + column + j
                start = bias[column + j] if bias.size > 0 else C.dtype.type(0)
                total += start if k == 0 else c[to]
                c[to] = bottom if total < bottom else total


@routine
def _plan(M, N, K, copied, itemsize):
    """Return (parts, groups): the number of parts of the rows of C, and of groups of panels of its columns.

    Each task packs the panels of B' for itself, and copies the rows of A' if they have to be copied. One thread is
    fastest with the fewest tasks, and with few groups if rows are copied.
    """
    width = 2 * (VECTOR_BYTES // itemsize)
    panels = (N + width - 1) // width
    parts = (M + _TASK_ROWS - 1) // _TASK_ROWS
    if M * N * K <= _SERIAL:
        return parts, 1
    if panels < _TASKS:  # too few columns to go round
        parts = max(parts, 2)
    most = max(1, panels // _GROUP) if copied else panels
    if copied and parts * most < 4:
        parts = max(parts, min(4, M // _PART))
    return parts, min(most, (_TASKS + parts - 1) // parts)


@routine
def _prefetch_rows(B, at, row_step, cols, lanes, first, last):
    """Prefetch rows first to last of a panel that is at B[at:]."""
    for row in range(first, last):
        for column in range(0, cols + lanes - 1, lanes):
            prefetch(B, at + row * row_step + min(column, cols - 1))


@routine
def _run_task(task, parts, groups, copied, A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets):
    """Run one task of the plan: a part of the rows by a group of panels."""
    M, N = C.shape
    a, b, c, work = flat(A), flat(B), flat(C), borrowed(work)
    lanes = VECTOR_BYTES // C.itemsize
    width, panels = 2 * lanes, (N + 2 * lanes - 1) // (2 * lanes)
    part, group = task // groups, task % groups
    first, last = part * M // parts, (part + 1) * M // parts
    first_column, last_column = group * panels // groups * width, min(N, (group + 1) * panels // groups * width)
    start, spare, copy = _DEPTH * width, (_DEPTH + 1) * width, (_DEPTH + 1 + _BLOCK) * width
    for k in range(0, K, _DEPTH):
        depth = min(_DEPTH, K - k)
        step = _rows_at(a, a_row, a_col, first, last - first, k, depth, copied, lanes, work[copy:], offsets)
        source = work[copy:] if copied else a
        bottom = floor if k + depth == K else -C.dtype.type(np.inf)
        for column in range(first_column, last_column, width):
            cols = min(width, N - column)
            at = k * b_row + column * b_col
            if copied and a_col != 1 and 2 * cols <= lanes <= depth:
                _thin_columns(
                    source, last - first, b, at, b_row, b_col, bias, column, cols, first, k, depth, bottom, C, N, lanes,
                    work[spare:copy], offsets[_TASK_ROWS + _BLOCK :],
                )  # fmt: skip
                continue
            if step == 1 and 4 * cols <= lanes <= depth:
                _thin_sums(
                    source, offsets, last - first, b, at, b_row, b_col, bias, column, cols, first, k, depth, bottom, C,
                    N, lanes, work,
                )  # fmt: skip
                continue
            panel_width = width if cols > lanes else lanes
            pack(b, at, b_row, b_col, depth, cols, panel_width, lanes, work, 0)
            for j in range(width):
                work[start + j] = bias[column + j] if bias.size > 0 and j < cols else C.dtype.type(0)
            # While this panel is at work, its successor comes: the next columns, or the next terms of the first ones.
            more = column + width < last_column
            successor = k * b_row + column + width if more else (k + depth) * b_row + first_column
            for i in range(first, last, _BLOCK):
                if b_col == 1:
                    share, whole = i - first, last - first + _BLOCK
                    _prefetch_rows(
                        b, successor, b_row, width, lanes, depth * share // whole, depth * (share + _BLOCK) // whole
                    )
                to, rows, o = i * N + column, min(_BLOCK, last - i), i - first
                D, d, ldd = (work, start, 0) if k == 0 else (c, to, N)
                tile(
                    rows, cols, lanes, source, offsets, o, work, 0, panel_width, D, d, ldd, c, to, N,
                    1, 0, depth, step, bottom, work[spare:copy],
                )  # fmt: skip


@routine
def product_on_one_thread(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets):
    """``matmul`` on one thread, for flat A and B, within a kernel whose tasks have several products."""
    copied = _copies(a_row, a_col, C.shape[0], K, C.itemsize)
    parts, groups = _plan(C.shape[0], C.shape[1], K, copied, C.itemsize)
    for task in range(parts * groups):
        _run_task(task, parts, groups, copied, A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets)


@parallel_kernel
def matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets):
    """C = max(A' @ B' + bias, floor) for C (M, N), A' (M, K) and B' (K, N).

    A and B are any arrays of two axes. A'[i, k] is the element i * a_row + k * a_col of A in C order, and B'
    accordingly, so transposes are read in place. bias (N,) may be empty. work and offsets are scratch memory from
    ``new_work``.
    """
    copied = _copies(a_row, a_col, C.shape[0], K, C.itemsize)
    parts, groups = _plan(C.shape[0], C.shape[1], K, copied, C.itemsize)
    if C.size * K <= _SERIAL:
        for task in range(parts * groups):
            _run_task(
                task, parts, groups, copied, A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work[0], offsets[0]
            )
    else:
        for i in prange(parts * groups):
            shared = np.intp(i)  # prange counts in uint64, for which the helpers would be compiled once more
            own = get_thread_id()
            _run_task(
                shared, parts, groups, copied, A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work[own],
                offsets[own],
            )  # fmt: skip


@kernel
def small_matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets):
    """``matmul`` row by row in plain loops, for few rows, for which packing takes too long."""
    M, N = C.shape
    a, b, before = flat(A), flat(B), work[0, :N]
    if b_col != 1:  # the loop over columns needs them side by side
        for k in range(K):
            for j in range(N):
                work[0, (k + 1) * N + j] = b[k * b_row + j * b_col]
        b, b_row = work[0, N:], N
    for i in range(M):
        out, left = C[i], a[i * a_row :]
        for j in range(N):
            before[j], out[j] = bias[j] if bias.size > 0 else C.dtype.type(0), C.dtype.type(0)
        for start in range(0, K, _DEPTH):
            end = min(start + _DEPTH, K)
            if start > 0:
                for j in range(N):
                    before[j], out[j] = before[j] + out[j], C.dtype.type(0)
            for k in range(start, end - 1, 2):  # two terms at a time, to write half as often
                first, second = left[k * a_col], left[(k + 1) * a_col]
                one, other = b[k * b_row : k * b_row + N], b[(k + 1) * b_row : (k + 1) * b_row + N]
                for j in range(N):
                    out[j] += first * one[j] + second * other[j]
            if (end - start) % 2 == 1:
                last, row = left[(end - 1) * a_col], b[(end - 1) * b_row : (end - 1) * b_row + N]
                for j in range(N):
                    out[j] += last * row[j]
        for j in range(N):
            out[j] += before[j]
        if floor > -C.dtype.type(np.inf):
            for j in range(N):
                out[j] = floor if out[j] < floor else out[j]


def multiply(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets):
    """C = max(A' @ B' + bias, floor) by the kernel that suits the sizes, for any number of threads."""
    M, N = C.shape
    operations, room, lanes = M * N * K, work.shape[1], VECTOR_BYTES // C.itemsize
    if operations <= _TINY:
        small.tiny_matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K)
    elif operations > _SERIAL:
        matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets)
    elif K <= small.TERMS and lanes <= N and room >= 5 * N:
        small.few_terms(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work[0])
    elif N <= small.COLUMNS and a_col == 1 and lanes <= K <= _LONG and room >= 4 * K:
        small.few_columns(A, a_row, B, b_row, b_col, bias, floor, C, K, work[0])
    elif N < 2 * lanes <= M and a_row == 1:
        small.turned_matmul(A, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets)
    elif (operations <= _SMALL or M <= _THIN) and N * (1 if b_col == 1 else K + 1) <= room:
        small_matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets)
    else:
        matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets)


def least_work(itemsize: int = 4) -> int:
    """Return the elements of ``work`` that a product needs on each thread; in float32, whose vectors have more."""
    width = 2 * (VECTOR_BYTES // itemsize)
    return (_DEPTH + 1 + ROWS[0]) * width + (_TASK_ROWS + width) * (_DEPTH + width)


def new_work(dtype: np.dtype, elements: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return scratch memory for products: work (threads, n) of ``dtype``, offsets (threads, rows) int64.

    n is at least ``elements``, and enough for a packed panel, a row to start from, a block of results and the rows of a
    task. rows are those of a task and of two blocks.
    """
    threads, line = config.NUMBA_NUM_THREADS, 64 // dtype.itemsize
    each = -(-max(least_work(dtype.itemsize), elements) // line) * line
    return aligned_empty((threads, each), dtype), np.empty((threads, _TASK_ROWS + 2 * ROWS[0]), np.int64)
