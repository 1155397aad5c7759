"""Matrix products on the micro-kernel.

Work is divided into tasks that do not depend on the number of threads. Sums across tasks are added in a fixed order.
Results therefore have the same bits for any number of threads.
"""

import numpy as np
from numba import config, get_thread_id, prange

from ..arrays import aligned_empty
from ..compile import helper, parallel_kernel, routine
from ..views import flat
from . import small
from .block import ROWS, block_rows_for, rows_of_next
from .moves import borrowed, copy_vector, move, pack
from .panel_block import TERMS, fetching_columns, fetching_rows, packing_columns, packing_rows
from .simd import VECTOR_BYTES
from .small import FEW, narrow

_DEPTH = (
    256  # most terms of a sum that are taken at a time: 14 rows of A' of them, 14 KB, stay in the first-level cache
)
_PANELS = 8  # of B' that are packed at a time, or more if they are shorter: 256 KB for two AVX-512 vectors each
_MOST = 32  # ... panels at the most
_SERIAL = 2_000_000  # multiply-adds up to which waking a second thread costs more than it brings
# Cycles of a term, of which the products of a row and a panel take one.
_PACK, _COPY, _READ = 6.0, 0.2, 0.05  # to pack a panel, to copy a row, to read a row in place
_LINE = 64  # bytes of a cache line
_BLOCK = ROWS[0]
_CROWDED = 2048  # bytes: rows at multiples of this distance fall into the same few sets of the first-level cache


def _layout(lanes):
    """Return where ``work`` holds, after the panels, the row from which sums start, a block of results, and rows of A'.

    The packing of the last panel may write zeros after it.
    """
    width = 2 * lanes
    starts = _PANELS * _DEPTH * width + lanes * width
    spare = starts + (_MOST + 1) * width
    return starts, spare, spare + _BLOCK * width


_places = helper(_layout)


@helper
def _shares(amount, many):
    """Return the size of each of ``many`` shares of ``amount``, the last of which may be smaller."""
    return (amount + many - 1) // many


@helper
def _copies(a_row, a_col, itemsize):
    """Return whether rows of A' are copied, because they are columns of A, or share few sets of the cache."""
    return a_col != 1 or (a_row * itemsize) % _CROWDED == 0


@routine
def _copy_columns(A, at, a_row, a_col, rows, depth, lanes, copy, to):
    """Copy rows of A' from A[at:] to columns at copy[to:]. Returns their distance.

    A zero follows each row if its terms are not a multiple of ``TERMS``.
    """
    step = _shares(_BLOCK, lanes) * lanes
    if a_row != 1:
        pack(A, at, a_col, a_row, depth, rows, step, lanes, copy, to)
        return step
    for t in range(depth):
        for j in range(0, rows, lanes):
            place, target = at + t * a_col + j, to + t * step + j
            if place + lanes <= A.size:
                copy_vector(A, place, copy, target)
            else:
                move(A, place, rows - j, copy, target, lanes)
    _clear(copy, to, step, depth, lanes)
    return step


@routine
def _copy_rows(A, at, a_row, rows, depth, lanes, copy, to):
    """Copy rows of A' from A[at:] to copy[to:]. Returns their distance."""
    length, whole = depth + 2 * lanes, depth - depth % lanes
    for r in range(rows):
        for j in range(0, whole, lanes):
            copy_vector(A, at + r * a_row + j, copy, to + r * length + j)
        move(A, at + r * a_row + whole, depth - whole, copy, to + r * length + whole, lanes)
    return length


@helper
def _clear(panel, to, width, depth, lanes):
    """Write zeros to the rows of a panel from ``depth`` to the next multiple of ``TERMS``."""
    for k in range(depth, _shares(depth, TERMS) * TERMS):
        for j in range(0, width, lanes):
            move(panel, to, 0, panel, to + k * width + j, lanes)


@helper
def _is_narrow(M, N, K, width):
    """Return whether all columns of C are computed without panels: a panel or less of them, or sums of few terms."""
    return width >= N or K <= FEW <= M


@routine
def _plan(M, N, K, threads, copied, lanes):
    """Return (parts, groups): into how many parts rows of C are cut, and into how many groups panels of its columns.

    There is a task for each thread. It packs the panels of B' for itself, and copies rows of A' if they have to be
    copied, so the plan is best that takes the least time with this. Results do not depend on the plan: each number of C
    is a sum of its own.
    """
    if M * N * K <= _SERIAL:
        return 1, 1
    panels = _shares(N, 2 * lanes)
    best, parts, groups = np.inf, 1, 1
    for g in range(1, (1 if _is_narrow(M, N, K, 2 * lanes) else min(threads, panels)) + 1):
        p = min(threads // g, _shares(M, _BLOCK))
        rows, columns = _shares(M, p), _shares(panels, g)
        cycles = rows * columns + _PACK * columns + (_COPY if copied else _READ) * rows
        if cycles < best:
            best, parts, groups = cycles, p, g
    return parts, groups


@helper
def _depth(K):
    """Return how many of K terms are taken at a time, so that all times are about equally long."""
    return K if K <= _DEPTH else _shares(_shares(K, _shares(K, _DEPTH)), TERMS) * TERMS


@helper
def _block(packs, in_rows, *where):
    """Compute a whole block, which packs its panel or fetches something, and whose A' lies in rows or in columns."""
    if packs and in_rows:
        packing_rows(*where)
    elif packs:
        packing_columns(*where)
    elif in_rows:
        fetching_rows(*where)
    else:
        fetching_columns(_BLOCK, *where)


@routine
def _last_rows(rows, A, a, a_step, B, b, width, lanes, D, d, ldd, C, c, ldc, terms, floor, spare, at):
    """Compute fewer rows than a whole block has. A block that extends beyond C is written to spare[at:] first."""
    C, D, spare = borrowed(C), borrowed(D), borrowed(spare)
    fits = rows == block_rows_for(rows)
    if not fits and ldd != 0:
        for i in range(rows):
            for j in range(0, width, lanes):
                copy_vector(D, d + i * ldd + j, spare, at + i * width + j)
        D, d, ldd = spare, at, width
    out, to, step = (C, c, ldc) if fits else (spare, at, width)
    fetching_columns(rows, A, a, a_step, B, b, width, D, d, ldd, out, to, step, terms, floor, out, to, 0)
    if not fits:
        for i in range(rows):
            for j in range(0, width, lanes):
                copy_vector(spare, at + i * width + j, C, c + i * ldc + j)


@routine
def _run_turn(
    copied, a, a_row, a_col, first, last, b, b_row, b_col, left, right, f, f_at, f_rows, f_row, f_lines, k, depth,
    bottom, c, N, lanes, work,
):  # fmt: skip
    """Add ``depth`` terms from k on to rows ``first`` to ``last`` and columns ``left`` to ``right`` of C.

    The first block of rows packs the panels. Each other block fetches a column of cache lines meanwhile, first the end
    of the next columns of A, then a part of what is wanted: ``f_rows`` rows, ``f_row`` elements apart, of ``f_lines``
    lines from f[f_at:] on.
    """
    width, per_line, (starts, spare, copy) = 2 * lanes, _LINE // c.itemsize, _places(lanes)
    panels, blocks, length = (right - left) // width, (last - first) // _BLOCK, _shares(depth, TERMS)
    terms = length * TERMS
    wanted = f_lines * _shares(f_rows, length)  # columns of lines, each of as many as a block fetches
    fetched, passed = 0, 2 * panels  # as if two blocks of rows had passed: what they need comes in time
    i = first
    while i < last:
        rows, at_a = rows_of_next(last - i), i * a_row + k * a_col
        whole, in_rows = rows == _BLOCK, a_col == 1 and rows == _BLOCK and terms == depth
        source, s, s_step = a, at_a, a_row
        if copied or not in_rows:
            source, s = work, copy
            if in_rows:
                s_step = _copy_rows(a, at_a, a_row, rows, depth, lanes, work, copy)
            else:
                s_step = _copy_columns(a, at_a, a_row, a_col, rows, depth, lanes, work, copy)
        for column in range(left, right, width):
            to, part, panel = i * N + column, (column - left) // width, (column - left) * terms
            D, d, ldd = (work, starts + column - left, 0) if k == 0 else (c, to, N)
            if i == first and whole and b_col == 1 and terms == depth:
                _block(
                    True, in_rows, source, s, s_step, b, k * b_row + column, b_row, D, d, ldd, c, to, N, terms, bottom,
                    work, panel, width,
                )  # fmt: skip
                continue
            if i == first:
                pack(b, k * b_row + column * b_col, b_row, b_col, depth, width, width, lanes, work, panel)
                _clear(work, panel, width, depth, lanes)
            if not whole:
                _last_rows(
                    rows, source, s, s_step, work, panel, width, lanes, D, d, ldd, c, to, N, terms, bottom, work, spare
                )
                continue
            g, g_at, g_row = c, to, 0  # nothing: a line that is near
            if a_col != 1 and part < TERMS:
                g, g_at, g_row = a, at_a + (2 * _BLOCK - 1) * a_row + part * length * a_col, a_col
            elif fetched * panels * blocks < wanted * passed:
                g, g_at, g_row = f, f_at + fetched // f_lines * length * f_row + fetched % f_lines * per_line, f_row
                fetched += 1
            _block(
                False, in_rows, source, s, s_step, work, panel, width, D, d, ldd, c, to, N, terms, bottom, g, g_at,
                g_row,
            )  # fmt: skip
            passed += 1
        i += rows


@helper
def _wanted(a_col, b, b_row, b_col, c, N, K, k, deep, first, last, first_column, last_column, left, right, most):
    """Return what the blocks of a turn fetch: an array and an index of it, rows, their distance, and lines of each.

    If A' consists of columns of A, the product is a gradient of weights, and larger than its factors: these are rows of
    C after the first. Otherwise it is B' of the next turn, which has more columns, or the next terms of the first ones.
    """
    per_line = _LINE // c.itemsize
    if a_col != 1:
        return c, (first + _BLOCK) * N + left, max(0, last - first - _BLOCK), N, (right - left) // per_line
    next_k, next_left = (k, right) if right < last_column else (k + deep, first_column)
    terms, columns = max(0, min(deep, K - next_k)), min(most, last_column - next_left)
    at = next_k * b_row + next_left * b_col
    if b_col == 1:
        return b, at, terms, b_row, _shares(columns, per_line)
    return b, at, columns, b_col, _shares(terms, per_line)


@routine
def _run_task(task, parts, groups, copied, A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work):
    """Run one task of the plan: a part of the rows by a group of panels. Columns beside whole panels have none.

    A few panels of B' take a turn. Blocks of rows follow each other, and each runs along these panels, so C is written
    along its rows.
    """
    M, N = C.shape
    a, b, work = flat(A), flat(B), borrowed(work)
    lanes, zero = VECTOR_BYTES // C.itemsize, C.dtype.type(0)
    width, panels = 2 * lanes, _shares(N, 2 * lanes)
    part, group = task // groups, task % groups
    first, last = part * M // parts, (part + 1) * M // parts
    first_column, last_column = group * panels // groups * width, min(N, (group + 1) * panels // groups * width)
    starts = _places(lanes)[0]
    edge = last_column - first_column if _is_narrow(M, N, K, width) else last_column % width
    if edge > 0:
        last_column -= edge
        narrow(
            part, parts, a, a_row, a_col, b, last_column * b_col, b_row, b_col, bias, last_column, floor,
            flat(C), last_column, N, M, edge, K, work,
        )  # fmt: skip
    # All turns take about the same number of panels.
    count = max(1, _shares(last_column - first_column, width))
    deep = _depth(K)
    most = width * _shares(count, _shares(count, min(_MOST, _PANELS * _DEPTH // (_shares(deep, TERMS) * TERMS))))
    for k in range(0, K, deep):
        depth = min(deep, K - k)
        bottom = floor if k + depth == K else -C.dtype.type(np.inf)
        for left in range(first_column, last_column, most):
            right = min(left + most, last_column)
            for j in range(most if k == 0 else 0):
                work[starts + j] = bias[left + j] if bias.size > 0 and left + j < right else zero
            f, f_at, f_rows, f_row, f_lines = _wanted(
                a_col,
                b,
                b_row,
                b_col,
                flat(C),
                N,
                K,
                k,
                deep,
                first,
                last,
                first_column,
                last_column,
                left,
                right,
                most,
            )
            _run_turn(
                copied, a, a_row, a_col, first, last, b, b_row, b_col, left, right, f, f_at, f_rows, f_row, f_lines, k,
                depth, bottom, flat(C), N, lanes, work,
            )  # fmt: skip


@parallel_kernel
def matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work):
    """C = max(A' @ B' + bias, floor) for C (M, N), A' (M, K) and B' (K, N).

    A and B are any arrays of two axes. A'[i, k] is the element i * a_row + k * a_col of A in C order, and B'
    accordingly, so transposes are read in place. bias (N,) may be empty. work is scratch memory from ``new_work``.
    """
    copied = _copies(a_row, a_col, C.itemsize)
    parts, groups = _plan(C.shape[0], C.shape[1], K, len(work), copied, VECTOR_BYTES // C.itemsize)
    if parts * groups == 1:
        _run_task(0, 1, 1, copied, A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work[0])
    else:
        for i in prange(parts * groups):
            shared = np.intp(i)  # prange counts in uint64, for which the helpers would be compiled once more
            own = get_thread_id()
            _run_task(
                shared, parts, groups, copied, A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work[own]
            )  # fmt: skip


def multiply(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work):
    """C = max(A' @ B' + bias, floor) by the kernel that suits the sizes, for any number of threads."""
    if C.size * K > _SERIAL:
        matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work)
    else:
        small.small_matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work)


def least_work(itemsize: int = 4) -> int:
    """Return the elements of ``work`` that a product needs on each thread; in float32, whose vectors have more."""
    lanes = VECTOR_BYTES // itemsize
    return _layout(lanes)[2] + (_BLOCK + 2 * lanes) * (_DEPTH + 2 * lanes)


def new_work(dtype: np.dtype, elements: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return scratch memory: work (threads, n) of ``dtype``, and for ``block`` offsets (threads, rows) int64.

    n is at least ``elements``, and enough for packed panels, a row to start from, a block of results and copied rows.
    rows are those of a block, in whole cache lines.
    """
    threads, line = config.NUMBA_NUM_THREADS, 64 // dtype.itemsize
    each = -(-max(least_work(dtype.itemsize), elements) // line) * line
    return aligned_empty((threads, each), dtype), np.empty((threads, -(-_BLOCK // 8) * 8), np.int64)
