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
from .block import ROWS, fetching_block, packing_block, rows_of_next, tile
from .moves import borrowed, copy_vector, move, pack
from .simd import VECTOR_BYTES
from .small import FEW, narrow

_DEPTH = (
    256  # most terms of a sum that are taken at a time: 14 rows of A' of them, 14 KB, stay in the first-level cache
)
_TERMS = 4  # of a block, for which it fetches a cache line, if so few suffice
_PANELS = 8  # of B' that are packed at a time, or more if they are shorter: 256 KB for two AVX-512 vectors each
_MOST = 32  # ... panels at the most
_IN_PLACE = 16384  # bytes of A or B that stay in the first-level cache, whatever the distance of their terms
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
def _copies(a_row, a_col, M, K, itemsize):
    """Return whether rows of A' are copied, because they are columns of A, or share few sets of the cache.

    An A that lies closely together is read in place.
    """
    extent = (M - 1) * a_row + (K - 1) * a_col + 1
    return extent * itemsize > _IN_PLACE and (a_col != 1 or (a_row * itemsize) % _CROWDED == 0)


@routine
def _rows_at(A, a_row, a_col, first, rows, k, depth, copied, lanes, copy, at, offsets):
    """Set offsets to the starts of rows of A' from ``first`` at term k, in A or, if they are copied, in copy[at:].

    Returns the distance of two terms.
    """
    step = a_col
    if copied and a_col != 1:  # the rows side by side, so that the terms of a block lie close together
        start, step = first * a_row + k * a_col, (rows + lanes - 1) // lanes * lanes
        for t in range(depth):
            for j in range(0, rows, lanes):
                place, to = start + t * a_col + j, at + t * step + j
                if place + lanes <= A.size:
                    copy_vector(A, place, copy, to)
                else:
                    move(A, place, rows - j, copy, to, lanes)
        for r in range(rows):
            offsets[r] = r
    else:
        for r in range(rows):
            offsets[r] = (first + r) * a_row + k * a_col
            if copied:
                length = depth + 2 * lanes
                whole = depth - depth % lanes
                for j in range(0, whole, lanes):
                    copy_vector(A, offsets[r] + j, copy, at + r * length + j)
                move(A, offsets[r] + whole, depth - whole, copy, at + r * length + whole, lanes)
                offsets[r] = r * length
    for r in range(rows, _BLOCK):
        offsets[r] = offsets[rows - 1]
    return step


@helper
def _shares(amount, many):
    """Return the size of each of ``many`` shares of ``amount``, the last of which may be smaller."""
    return (amount + many - 1) // many


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
    if K <= _DEPTH:
        return K
    return _shares(_shares(K, _shares(K, _DEPTH)), _TERMS) * _TERMS


@helper
def _terms_a_line(depth, blocks, lines):
    """Return for how many terms, a divisor of ``depth``, each of ``blocks`` blocks fetches one of ``lines`` lines."""
    terms = _TERMS
    while terms > 1 and (depth % terms != 0 or blocks * (depth // terms) < lines):
        terms //= 2
    return terms


@helper
def _column_of_lines(n, length, at, row, lines, per_line):
    """Return where the n-th column of cache lines begins; each has ``length`` rows, and ``lines`` lie side by side."""
    return at + n // lines * length * row + n % lines * per_line


@routine
def _run_turn(
    copied, a, a_row, a_col, first, last, b, b_row, b_col, near, left, right, next_at, next_rows, next_row, next_lines,
    k, depth, bottom, c, N, lanes, work, offsets,
):  # fmt: skip
    """Add ``depth`` terms from k on to rows ``first`` to ``last`` and columns ``left`` to ``right`` of C.

    The first block of rows packs the panels. Each other block fetches a column of cache lines meanwhile. It belongs to
    the next panels: ``next_rows`` rows, ``next_row`` elements apart, of ``next_lines`` lines from b[next_at:] on. If
    columns of A are copied, it belongs to the next of them or to C, of which a gradient of weights has most.
    """
    width, per_line, (starts, spare, copy) = 2 * lanes, _LINE // c.itemsize, _places(lanes)
    turned, panels, blocks = copied and a_col != 1, (right - left) // width, (last - first) // _BLOCK
    f, f_at, f_rows, f_row, f_lines = b, next_at, next_rows, next_row, next_lines
    if turned:
        f, f_at, f_row, f_lines = c, (first + _BLOCK) * N + left, N, panels * width // per_line
        f_rows = max(0, last - first - _BLOCK)
    terms = _terms_a_line(depth, panels * blocks, f_rows * f_lines + (2 * depth * blocks if turned else 0))
    length = depth // terms
    columns_of_a, columns_of_f = 2 * terms if turned else 0, f_lines * _shares(f_rows, length)
    fetched, passed = 0, 2 * panels  # as if two blocks of rows had passed: what they need comes in time
    i = first
    while i < last:
        rows = rows_of_next(last - i)
        step = _rows_at(a, a_row, a_col, i, rows, k, depth, copied, lanes, work, copy, offsets)
        source = work[copy:] if copied else a
        for column in range(left, right, width):
            cols, at, panel = min(width, N - column), k * b_row + column * b_col, (column - left) * depth
            in_panel, to = width if cols > lanes else lanes, i * N + column
            D, d, ldd = (work, starts + column - left, 0) if k == 0 else (c, to, N)
            in_place = near and cols == width
            packs, whole, part = i == first and not in_place, cols == width and rows == _BLOCK, (column - left) // width
            Q, q, ldq = (b, at, b_row) if in_place else (work, panel, in_panel)
            if packs and whole and b_col == 1:
                packing_block(
                    source, offsets, 0, b, at, b_row, D, d, ldd, c, to, N, 1, 0, depth, step, bottom, work, panel, width
                )
            elif whole and not packs:
                g, g_at, g_row = c, to, 0  # nothing: a line that is near
                if part < columns_of_a:
                    g, g_at, g_row = a, (i + rows) * a_row + k * a_col, a_col
                    g_at += part // 2 * length * a_col + part % 2 * (rows - 1) * a_row
                elif fetched * panels * blocks < columns_of_f * passed:
                    g, g_at, g_row = f, _column_of_lines(fetched, length, f_at, f_row, f_lines, per_line), f_row
                    fetched += 1
                fetching_block(
                    source, offsets, 0, Q, q, ldq, D, d, ldd, c, to, N, length, step * terms, terms, step, bottom,
                    g, g_at, g_row,
                )  # fmt: skip
            else:
                if packs:
                    pack(b, at, b_row, b_col, depth, cols, in_panel, lanes, work, panel)
                tile(
                    rows, cols, lanes, source, offsets, 0, Q, q, ldq, D, d, ldd, c, to, N, 1, 0, depth, step, bottom,
                    work[spare:copy],
                )  # fmt: skip
            passed += whole
        i += rows


@routine
def _run_task(task, parts, groups, copied, A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets):
    """Run one task of the plan: a part of the rows by a group of panels. Columns beside whole panels have none.

    A few panels of B' take a turn. Blocks of rows follow each other, and each runs along these panels, so C is written
    along its rows. A B' that lies closely together is read in place.
    """
    M, N = C.shape
    a, b, work = flat(A), flat(B), borrowed(work)
    lanes, per_line, zero = VECTOR_BYTES // C.itemsize, _LINE // C.itemsize, C.dtype.type(0)
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
    near = b_col == 1 and K * b_row * C.itemsize <= _IN_PLACE
    # All turns take about the same number of panels.
    count = max(1, _shares(last_column - first_column, width))
    deep = _depth(K)
    most = width * _shares(count, _shares(count, min(_MOST, _PANELS * _DEPTH // deep)))
    for k in range(0, K, deep):
        depth = min(deep, K - k)
        bottom = floor if k + depth == K else -C.dtype.type(np.inf)
        for left in range(first_column, last_column, most):
            right = min(left + most, last_column)
            for j in range(most if k == 0 else 0):
                work[starts + j] = bias[left + j] if bias.size > 0 and left + j < right else zero
            # The next turn: more columns, or the next terms of the first ones.
            next_k, next_left = (k, right) if right < last_column else (k + deep, first_column)
            terms, columns = max(0, min(deep, K - next_k)), min(most, last_column - next_left)
            rows, row, length = (terms, b_row, columns) if b_col == 1 else (columns, b_col, terms)
            _run_turn(
                copied, a, a_row, a_col, first, last, b, b_row, b_col, near, left, right,
                next_k * b_row + next_left * b_col, 0 if near else rows, row, _shares(length, per_line),
                k, depth, bottom, flat(C), N, lanes, work, offsets,
            )  # fmt: skip


@parallel_kernel
def matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets):
    """C = max(A' @ B' + bias, floor) for C (M, N), A' (M, K) and B' (K, N).

    A and B are any arrays of two axes. A'[i, k] is the element i * a_row + k * a_col of A in C order, and B'
    accordingly, so transposes are read in place. bias (N,) may be empty. work and offsets are scratch memory from
    ``new_work``.
    """
    copied = _copies(a_row, a_col, C.shape[0], K, C.itemsize)
    parts, groups = _plan(C.shape[0], C.shape[1], K, len(work), copied, VECTOR_BYTES // C.itemsize)
    if parts * groups == 1:
        _run_task(0, 1, 1, copied, A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work[0], offsets[0])
    else:
        for i in prange(parts * groups):
            shared = np.intp(i)  # prange counts in uint64, for which the helpers would be compiled once more
            own = get_thread_id()
            _run_task(
                shared, parts, groups, copied, A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work[own],
                offsets[own],
            )  # fmt: skip


def multiply(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets):
    """C = max(A' @ B' + bias, floor) by the kernel that suits the sizes, for any number of threads."""
    if C.size * K > _SERIAL:
        matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work, offsets)
    else:
        small.small_matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work)


def least_work(itemsize: int = 4) -> int:
    """Return the elements of ``work`` that a product needs on each thread; in float32, whose vectors have more."""
    lanes = VECTOR_BYTES // itemsize
    return _layout(lanes)[2] + (_BLOCK + 2 * lanes) * (_DEPTH + 2 * lanes)


def new_work(dtype: np.dtype, elements: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return scratch memory for products: work (threads, n) of ``dtype``, offsets (threads, rows) int64.

    n is at least ``elements``, and enough for packed panels, a row to start from, a block of results and copied rows.
    rows are those of a block, in whole cache lines.
    """
    threads, line = config.NUMBA_NUM_THREADS, 64 // dtype.itemsize
    each = -(-max(least_work(dtype.itemsize), elements) // line) * line
    return aligned_empty((threads, each), dtype), np.empty((threads, -(-_BLOCK // 8) * 8), np.int64)
