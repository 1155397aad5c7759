"""Matrix products of few numbers, few rows or few columns, without panels and blocks of the micro-kernel.

There are three ways: strips, dot products, and strips of the product with rows and columns exchanged. Which one is the
quickest depends on the sizes, and on what lies side by side in the matrices; it is the one that takes the fewest cycles
by a model. Arguments are those of ``product.matmul``, with flat arrays from their first element that is used on.

The order of the terms of a sum depends on sizes only, so results have the same bits for any number of threads.
"""

import numpy as np

from ..compile import helper, kernel, routine
from ..views import flat
from .dot_tiles import dot_tiles
from .moves import borrowed, move
from .simd import VECTOR_BYTES
from .strips import MASKED, ROWS, VECTORS, strip
from .turn import turn, turn_back

_DEPTH = 256  # terms of a sum that are taken at a time
_SHALLOW = 64  # ... from rows that are far apart, so that few pages of memory are visited in turn
_FAR = 2048  # bytes from row to row that are far
FEW = 32  # terms of sums so short that writing C takes as long as computing it
_WRITTEN = 32768  # bytes of C that are then written at a time, which stay in the first-level cache
_ROWS = 16 * ROWS  # of C that are written at a time otherwise
_TURNED = 1024  # rows of C that are computed at a time with rows and columns exchanged
_LINES = 16  # elements beyond them: an odd number of cache lines in float32, so that columns fall into different sets
_PANELS = VECTORS * VECTOR_BYTES // 4  # where panels and other copies begin in ``work``, behind a row to start from
_MOST = 32  # columns of C that are computed with rows and columns exchanged


@helper
def _shares(amount, many):
    """Return the number of shares of ``many`` each, the last of which may be smaller."""
    return (amount + many - 1) // many


@helper
def _cycles_of_terms(rows, columns, K, lanes):
    """Return the cycles that the terms of strips take."""
    return (4.2 * (rows // ROWS) + 0.6 * (rows % ROWS) + 0.7 * (rows % 2)) * _shares(columns, lanes) * K


@helper
def _tiles(M, N, lanes):
    """Return (tiles, columns): of how many tiles dot products consist, and of how many columns those of four rows.

    Columns that are left over may fit better into tiles of eight rows.
    """
    width = max(1, lanes // 4)
    columns = N - N % width if 2 * (N % width) <= width else N
    if M == 1:
        return _shares(N, lanes), columns
    return _shares(M, 4) * _shares(columns, width) + (_shares(M, 8) if columns < N else 0), columns


@routine
def _way(M, N, K, a_row, a_col, b_row, b_col, far, lanes):
    """Return the number of the way that takes the fewest cycles by a model: strips, exchanged strips, or dot products.

    Besides terms, the model counts calls, and numbers that are written, copied or added across a vector.
    """
    way, vectors, copies = 0, _shares(N, lanes), 0 if b_col == 1 else 2 * lanes * _shares(K, 4)
    least = 200 + _cycles_of_terms(M, N, K, lanes) * (1.2 if far else 1.0) + (2 * M + copies) * vectors
    if a_row == 1 and N <= _MOST and (MASKED or M % lanes == 0):
        written = 9 * N * _shares(K, _SHALLOW if far else _DEPTH) + 14 * _shares(N, 4)
        cycles = 220 + _cycles_of_terms(N, M, K, lanes) + written * _shares(M, lanes)
        if cycles < least:
            way, least = 1, cycles
    if a_col == 1 and lanes * _DEPTH >= K and (b_row == 1 or lanes >= N):
        vectors, copies = _shares(K, lanes), 0.0 if b_row == 1 else 1.5 * lanes * _shares(N, 4)
        cycles = 130 + _tiles(M, N, lanes)[0] * (12 + lanes + 0.56 * lanes * vectors) + copies * vectors
        if cycles < least:
            way = 2
    return way


@routine
def _strips(a, a_at, a_row, a_col, b, b_at, b_row, b_col, start, s, step, floor, c, c_at, c_row, M, N, K, lanes, panel):
    """Compute C in strips. B is read in place, if vectors of its columns can be, and copied to panels otherwise."""
    in_place, width = b_col == 1 and (MASKED or N % lanes == 0), VECTORS * lanes
    most = _SHALLOW if max(a_col, b_row) * c.itemsize >= _FAR else _DEPTH
    for k in range(0, max(K, 1), most):
        depth = min(most, K - k)
        bottom = floor if k + depth == K else -c.dtype.type(np.inf)
        columns, most_rows = width, M if width >= N else _ROWS
        if depth <= FEW or ROWS >= M:  # C is written along its rows
            columns, most_rows = N, max(1, _WRITTEN // (N * c.itemsize) // ROWS) * ROWS
        next = lanes if in_place else lanes * max(1, depth)
        if not in_place:
            columns = min(columns, (panel.size - _PANELS) // next // VECTORS * width)
        for j in range(0, N, columns):
            cols, at = min(columns, N - j), b_at + k * b_row + j * b_col
            B, from_b, b_step = (b, at, b_row) if in_place else (panel, _PANELS, lanes)
            if b_col != 1:
                turn_back(panel, _PANELS, lanes, next, b, at, b_col, cols, depth)
            elif not in_place:
                for t in range(depth):
                    for p in range(0, cols, lanes):
                        move(b, at + t * b_row + p, cols - p, panel, _PANELS + p // lanes * next + t * lanes, lanes)
            for i in range(0, M, most_rows):
                strip(
                    lanes, a, a_at + i * a_row + k * a_col, a_row, a_col, B, from_b, b_step, next, start, s + j * step,
                    step, c, c_at + i * c_row + j, c_row, k > 0, min(most_rows, M - i), depth, cols, bottom,
                )  # fmt: skip


@routine
def _turned(a, a_at, a_col, b, b_at, b_row, b_col, start, s, step, floor, c, c_at, c_row, M, N, K, far, lanes, work):
    """Compute C in strips with rows and columns exchanged. Columns of A are contiguous, and all sums start from 0."""
    depth, width = _SHALLOW if far else _DEPTH, VECTORS * lanes
    most = min(_TURNED, ((work.size - _PANELS) // N - _LINES) // width * width)
    apart = most + _LINES
    for i in range(0, M, most):
        rows = min(most, M - i)
        for k in range(0, K, depth):
            terms = min(depth, K - k)
            bottom = floor if k + terms == K else -c.dtype.type(np.inf)
            some = rows if terms <= FEW or ROWS >= N else width
            for r in range(0, rows, some):
                strip(
                    lanes, b, b_at + k * b_row, b_col, b_row, a, a_at + k * a_col + i + r, a_col, lanes, start, s, step,
                    work, _PANELS + r, apart, k > 0, N, terms, min(some, rows - r), bottom,
                )  # fmt: skip
        turn(work, _PANELS, apart, lanes, c, c_at + i * c_row, c_row, rows, N)


@routine
def _dots(a, a_at, a_row, b, b_at, b_row, b_col, start, s, step, floor, c, c_at, c_row, M, N, K, lanes, work):
    """Compute C by dot products. Rows of A are contiguous, and so are columns of B, or they are copied."""
    if b_row != 1:
        length = (_shares(K, lanes) | 1) * lanes
        turn_back(work, _PANELS, length, lanes, b, b_at, b_row, K, N)
        b, b_at, b_col = work, _PANELS, length
    columns = 0 if M == 1 else _tiles(M, N, lanes)[1]
    if columns > 0:
        dot_tiles(1, a, a_at, a_row, b, b_at, b_col, start, s, step, c, c_at, c_row, M, columns, K, floor)
    if columns < N:
        dot_tiles(
            0 if M == 1 else 2, a, a_at, a_row, b, b_at + columns * b_col, b_col, start, s + columns * step, step,
            c, c_at + columns, c_row, M, N - columns, K, floor,
        )  # fmt: skip


@routine
def narrow(part, parts, a, a_row, a_col, b, b_at, b_row, b_col, bias, s, floor, c, c_at, c_row, M, N, K, work):
    """Compute one of ``parts`` of the rows of M x N numbers of C, whose rows are ``c_row`` apart.

    A part begins where the loops over rows begin anew in any case, so no sum depends on the number of parts.
    """
    lanes = VECTOR_BYTES // c.itemsize
    start, step, a_at, many, exchanged = borrowed(bias), 1, 0, M, c_row == 1
    if bias.size == 0 or exchanged:
        for v in range(_PANELS):
            work[v] = bias[s] if bias.size > 0 else c.dtype.type(0)
        start, s, step = work, 0, 0
    if exchanged:  # a column is computed as a row
        a, a_at, a_row, a_col, b, b_at, b_row, b_col, M, N = b, b_at, 0, b_row, a, 0, a_col, a_row, 1, M
    far = a_col * c.itemsize >= _FAR
    way = _way(M, N, K, a_row if bias.size == 0 else 0, a_col, b_row, b_col, far, lanes)
    unit = VECTORS * lanes if exchanged or way == 1 else ROWS
    first = part * many // parts // unit * unit
    count = (many if part == parts - 1 else (part + 1) * many // parts // unit * unit) - first
    a_at, b_at, c_at = a_at + first * a_row, b_at + (first * b_col if exchanged else 0), c_at + first * c_row
    M, N = (M, count) if exchanged else (count, N)
    if count == 0:
        return
    if way == 0:
        _strips(
            a, a_at, a_row, a_col, b, b_at, b_row, b_col, start, s, step, floor, c, c_at, c_row, M, N, K, lanes, work
        )
    elif way == 1:
        _turned(a, a_at, a_col, b, b_at, b_row, b_col, start, s, step, floor, c, c_at, c_row, M, N, K, far, lanes, work)
    else:
        _dots(a, a_at, a_row, b, b_at, b_row, b_col, start, s, step, floor, c, c_at, c_row, M, N, K, lanes, work)


@kernel
def small_matmul(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, work):
    """``matmul`` by one thread, for products so small that panels take longer than the work."""
    M, N = C.shape
    narrow(0, 1, flat(A), a_row, a_col, flat(B), 0, b_row, b_col, bias, 0, floor, flat(C), 0, N, M, N, K, work[0])
