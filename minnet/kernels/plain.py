"""What the vector code of this folder computes, in NumPy.

With NUMBA_DISABLE_JIT=1, Python runs the kernels, for example in a debugger or to measure coverage. These functions
then replace the LLVM code of ``vector/``, ``pool`` and ``elementary``, which only compiled kernels can call. Arguments
are those of the vector code. Sums may be rounded differently.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def block(rows: int, vectors: int, vector_bytes: int) -> Callable[..., None]:
    """``block.make_block``."""

    def run(A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor):
        columns = np.arange(vectors * vector_bytes // A.itemsize)
        steps = (step1 * np.arange(n1)[:, None] + step2 * np.arange(n2)).ravel()
        factors = A[offsets[o : o + rows, None] + steps]
        sums = factors @ B[b + ldb * np.arange(n1 * n2)[:, None] + columns]
        row = np.arange(rows)[:, None]
        sums += D[d + ldd * row + columns]
        C[c + ldc * row + columns] = np.where(sums < floor, floor, sums)

    return run


def panel_blocks(in_rows: bool, sizes: Sequence[int], vector_bytes: int) -> list[Callable[..., None]]:
    """``panel_block.make_blocks``."""

    def fetching(rows):
        def run(A, a, a_step, B, b, ldb, D, d, ldd, C, c, ldc, terms, floor, P, p, further):
            columns, row, term = np.arange(2 * vector_bytes // A.itemsize), np.arange(rows)[:, None], np.arange(terms)
            sums = (
                A[a + (a_step * row + term if in_rows else row + a_step * term)] @ B[b + ldb * term[:, None] + columns]
            )
            sums += D[d + ldd * row + columns]
            C[c + ldc * row + columns] = np.where(sums < floor, floor, sums)

        return run

    def packing(*arguments):
        blocks[1](*arguments)
        A, (B, b, ldb), terms, (P, p) = arguments[0], arguments[3:6], arguments[12], arguments[14:16]
        count = 2 * vector_bytes // A.itemsize
        for k in range(terms):
            P[p + k * count : p + (k + 1) * count] = B[b + k * ldb : b + k * ldb + count]

    blocks = [packing, *map(fetching, sizes)]
    return blocks


def copy(vector_bytes: int, vectors: int) -> Callable[..., None]:
    """``moves.make_copy``."""

    def run(B, at, panel, to):
        count = vectors * vector_bytes // B.itemsize
        panel[to : to + count] = B[at : at + count]

    return run


def move(vector_bytes: int) -> Callable[..., None]:
    """``moves.make_move``."""

    def run(A, a, n, B, b, m):
        lanes = vector_bytes // A.itemsize
        read, written = min(max(n, 0), lanes), min(max(m, 0), lanes)
        vector = np.zeros(lanes, A.dtype)
        vector[:read] = A[a : a + read]
        B[b : b + written] = vector[:written]

    return run


def transpose(vector_bytes: int) -> Callable[..., None]:
    """``moves.make_transpose``."""

    def run(B, at, step, rows, terms, panel, to, width):
        lanes = vector_bytes // B.itemsize
        square = np.zeros((lanes, lanes), B.dtype)
        for j in range(min(rows, lanes)):
            square[: max(terms, 0), j] = B[at + j * step : at + j * step + min(max(terms, 0), lanes)]
        for k in range(lanes):
            panel[to + k * width : to + k * width + lanes] = square[k]

    return run


def prefetch(B: np.ndarray, at: int) -> None:
    """``moves.prefetch``. It does nothing, because it has no effect on results."""


def flat(A: np.ndarray) -> np.ndarray:
    """``views.flat``."""
    return A.reshape(-1)


def borrowed(A: np.ndarray) -> np.ndarray:
    """``moves.borrowed``."""
    return A


def transform(matrix: Sequence[Sequence[float]], vector_bytes: int) -> Callable[..., None]:
    """``transform.make_transform``."""
    factors = np.array(matrix)
    size, inputs = factors.shape

    def run(X, x, x_row, x_column, Y, y, y_row, y_column):
        lane = np.arange(vector_bytes // X.itemsize)
        i, j = np.arange(inputs)[:, None, None], np.arange(inputs)[:, None]
        L = factors.astype(X.dtype)
        result = np.einsum("ai,ijv,bj->abv", L, X[x + i * x_row + j * x_column + lane], L)
        i, j = np.arange(size)[:, None, None], np.arange(size)[:, None]
        Y[y + i * y_row + j * y_column + lane] = result

    return run


def patch_dots(vector_bytes: int) -> Callable[..., None]:
    """``patch_dots.make_patch_dots``."""

    def run(A, a1, a2, n1, step, n2, B, b, ldb, sums):
        lanes = vector_bytes // A.itemsize
        columns, width = max(1, lanes // 4), -(-n2 // lanes) * lanes
        row, at = np.arange(n1)[:, None], np.arange(n2)
        products = [
            np.sum(A[a + step * row + at] * B[b + j * ldb + width * row + at]) for a in (a1, a2) for j in range(columns)
        ]
        sums[:lanes] = 0
        sums[: 2 * columns] = products

    return run


def dot_tiles(n, A, a, a_row, B, b, b_col, S, s, s_step, C, c, c_row, M, N, K, floor):
    """``dot_tiles.make_dot_tiles``."""
    i, j, k = np.arange(M)[:, None], np.arange(N), np.arange(K)
    sums = S[s + s_step * j] + A[a + a_row * i + k] @ B[b + b_col * j + k[:, None]]
    C[c + c_row * i + j] = np.where(sums < floor, floor, sums)


def strip(vectors: Sequence[int], vector_bytes: int) -> Callable[..., None]:
    """``strips.make_strip``."""

    def run(n, A, a, a_row, a_col, B, b, b_row, b_next, S, s, s_next, C, c, c_row, adds, M, K, N, floor):
        lanes = vector_bytes // A.itemsize
        width, i, j, k = vectors[n] * lanes, np.arange(M)[:, None], np.arange(N), np.arange(K)[:, None]
        sums = A[a + a_row * i + a_col * k.T] @ B[b + b_row * k + j // lanes * b_next + j % lanes]
        places = c + c_row * i + j
        sums += C[places] if adds else S[s + j // width * s_next + j % width]
        C[places] = np.where(sums < floor, floor, sums)

    return run


def turn(back: bool, vector_bytes: int) -> Callable[..., None]:
    """``turn.make_turn``."""

    def run(X, x, x_row, x_next, Y, y, y_row, M, N):
        lanes = vector_bytes // X.itemsize
        i, j = np.arange(-(-M // lanes) * lanes), np.arange(N)
        long = x + j * x_row + (i // lanes * x_next + i % lanes)[:, None]
        short = y + i[:M, None] * y_row + j
        if back:
            X[long] = 0
            X[long[:M]] = Y[short]
        else:
            Y[short] = X[long[:M]]

    return run


def largest(vector_bytes: int) -> Callable[..., None]:
    """``pool._largest``."""

    def run(X, x, row, column, rows, columns, Y, y):
        lanes = vector_bytes // X.itemsize
        a, b = np.arange(rows)[:, None, None], np.arange(columns)[:, None]
        Y[y : y + lanes] = X[x + a * row + b * column + np.arange(lanes)].max((0, 1))

    return run


def to_largest(X, x, row, column, rows, columns, Y, DY, y, DX, lanes, floor):
    """``pool._make_to_largest``."""
    best = Y[y : y + lanes]
    free = best > floor
    for a, b in itertools.product(range(rows), range(columns)):
        at = x + a * row + b * column
        here = free & (X[at : at + lanes] == best)
        DX[at : at + lanes] += np.where(here, DY[y : y + lanes], 0)
        free &= ~here


def to_largest_apart(X, x, row, column, rows, columns, Y, DY, y, DX, lanes, floor):
    """``pool._make_to_largest`` of windows that are apart."""
    for a, b in itertools.product(range(rows), range(columns)):
        DX[x + a * row + b * column :][:lanes] = 0
    to_largest(X, x, row, column, rows, columns, Y, DY, y, DX, lanes, floor)


def window_mean(vectors: int) -> Callable[..., None]:
    """``pool._make_mean``."""

    def run(X, x, row, column, rows, columns, Y, y, lanes, share):
        a, b = np.arange(rows)[:, None, None], np.arange(columns)[:, None]
        Y[y : y + vectors * lanes] = share * X[x + a * row + b * column + np.arange(vectors * lanes)].sum((0, 1))

    return run


def fma(a: Any, b: Any, c: Any) -> Any:
    """``elementary.fma``: float32 in the precision of float64, whose product is exact; float64 with exact parts."""
    if isinstance(a, np.float32):
        return np.float32(np.float64(a) * np.float64(b) + np.float64(c))
    return np.float64(np.longdouble(a) * np.longdouble(b) + np.longdouble(c))


def larger(a: Any, b: Any) -> Any:
    """``elementary.larger``."""
    return np.fmax(a, b)


def polynomial(single: tuple[float, ...], double: tuple[float, ...]) -> Callable[[Any], Any]:
    """``elementary.polynomial``."""

    def evaluate(x):
        coefficients = single if isinstance(x, np.float32) else double
        *rest, value = (type(x)(c) for c in coefficients)
        for coefficient in reversed(rest):
            value = fma(value, x, coefficient)
        return value

    return evaluate


def power_of_two(k: Any) -> Any:
    """``elementary._power_of_two``."""
    return np.ldexp(type(k)(1), np.int64(k))


def exponent(x: Any) -> Any:
    """``elementary._exponent``."""
    fraction, power = np.frexp(x)
    return type(x)(power - (fraction < np.sqrt(type(x)(0.5))))
