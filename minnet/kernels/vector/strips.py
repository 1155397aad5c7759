"""Strips of a matrix product: all rows by one vector of columns or a few, straight from the matrices.

    C[i][j] = max(floor, start[j] + sum over k of A[i * a_row + k * a_col] * B[k][j])

For products of many columns panels pay for themselves, and so does what a block of the micro-kernel needs: a table of
offsets, whole vectors of columns, a place for results beyond the last one. A strip needs none of these. Lanes beyond
the last column are masked, and one call runs through all rows, a few at a time.

A multiply-add waits four cycles for the one before. Strips of few sums therefore have several for each number of C, to
which the terms are added in turn. The order of a sum thus depends on the strip, and the strip on sizes only.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .. import plain
from ..compile import routine, vector_code
from ..linked import in_both_precisions
from .simd import VECTOR_BYTES, Emitter, VectorEmitter

MASKED = VECTOR_BYTES > 16  # whether a part of a vector is read as quickly as a whole one
# Rows that are taken at a time, vectors of columns, and turns, of wide strips and of those of one vector. Sums and
# vectors of B fit into the registers.
if VECTOR_BYTES == 32:
    _WIDE = ((6, 2, 1), (4, 2, 1), (2, 4, 1), (1, 4, 2))
else:
    _WIDE = ((8, 2, 1), (4, 4, 1), (2, 4, 2), (1, 4, 2))
_SLIM = ((_WIDE[0][0], 1, 2), (4, 1, 2), (2, 1, 4), (1, 1, 4))
ROWS = _WIDE[0][0]
VECTORS = 4  # of the widest strip; a multiple of those of all others


class _Strip(VectorEmitter):
    """Emits the code of a strip.

    ``args`` are the address of A and the bytes of a_row and a_col; the address of B, and the bytes from row to row and
    from vector to vector; the address of the start, and the bytes from one group of vectors to the next; the address of
    C and the bytes from row to row; whether the sums are added to C; the numbers of rows, terms and columns; and the
    floor.
    """

    def __init__(self, builder, args, dtype, vector_bytes, rows, vectors, turns):
        super().__init__(builder, dtype, vector_bytes)
        self.rows, self.vectors = rows, vectors
        self.a, self.a_row, self.a_col, self.b, self.b_row, self.b_next, self.start, self.start_next = args[:8]
        self.c, self.c_row, adds, self.M, self.K, self.N, self.floor = args[8:]
        self.adds = builder.icmp_signed("!=", adds, self.const(0))
        self.zeros = [ir.Constant(self.vector, None)] * (rows * vectors)
        self.sums = [[cgutils.alloca_once_value(builder, zero) for zero in self.zeros] for _ in range(turns)]

    def emit(self):
        """Emit the loops over groups of vectors and rows."""
        builder, zero, width = self.builder, self.const(0), self.vectors * self.lanes
        with self.loop(zero, self.N, width) as column:
            group, number = (builder.sdiv(column, self.const(many)) for many in (width, self.lanes))
            self.count = builder.sub(builder.sub(self.N, column), self.const(width - self.lanes))  # of the last vector
            b = self.spread(builder.add(self.b, builder.mul(number, self.b_next)), self.b_next, self.vectors)
            start = builder.add(self.start, builder.mul(group, self.start_next))
            starts = [builder.select(self.adds, self.zeros[v], self._load(start, v)) for v in range(self.vectors)]
            with self.loop(zero, self.M, self.rows) as row:
                a = builder.add(self.a, builder.mul(row, self.a_row))
                self._add_terms(self.spread(a, self.a_row, self.rows), b, starts)
                c = builder.add(builder.add(self.c, self.scaled(column)), builder.mul(row, self.c_row))
                self._finish(self.spread(c, self.c_row, self.rows))

    def _load(self, row, v):
        """Load vector v of a row, of which the last one may be partly beyond the row."""
        place = self.builder.add(row, self.const(v * self.bytes))
        return self.load_first(self.count, place) if v == self.vectors - 1 else self.load(place)

    def _set(self, sums, values):
        for place, value in zip(sums, values, strict=True):
            self.builder.store(value, place)

    def _add_terms(self, a, b, starts):
        """Emit the loop over terms, and add the sums of all turns in pairs."""
        builder, turns = self.builder, len(self.sums)
        whole = builder.sub(self.K, builder.srem(self.K, self.const(turns)))
        for sums, values in zip(self.sums, [starts * self.rows, *[self.zeros] * (turns - 1)], strict=True):
            self._set(sums, values)
        with self.loop(self.const(0), whole, turns) as k:
            for turn, sums in enumerate(self.sums):
                self._add_term(a, b, builder.add(k, self.const(turn)), sums)
        if turns > 1:
            with self.loop(whole, self.K, 1) as k:
                self._add_term(a, b, k, self.sums[0])
        parts = [[builder.load(place) for place in sums] for sums in self.sums]
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [[builder.fadd(x, y) for x, y in zip(*pair, strict=True)] for pair in pairs]
        self._set(self.sums[0], parts[0])

    def _add_term(self, a, b, k, sums):
        """Add the products of one element of each row of A and one row of B to the sums."""
        builder, fma = self.builder, self.function("fma", 3)
        row, at = builder.mul(k, self.b_row), builder.mul(k, self.a_col)
        *places, last = [builder.add(vector, row) for vector in b]
        columns = [self.load(place) for place in places]
        columns.append(self.load_first(self.count, last) if self.bytes > 16 else self.load(last))
        factors = [self.broadcast(self.load(builder.add(row, at), self.scalar)) for row in a]
        products = [(factor, column) for factor in factors for column in columns]
        self._set(sums, [builder.call(fma, [*p, builder.load(s)]) for p, s in zip(products, sums, strict=True)])

    def _finish(self, c):
        """Add C to the sums if they are added to it, raise them to the floor and store them."""
        builder, sums, places = self.builder, self.sums[0], [(row, v) for row in c for v in range(self.vectors)]
        with builder.if_then(self.adds):
            self._set(sums, [builder.fadd(self._load(*p), builder.load(s)) for p, s in zip(places, sums, strict=True)])
        bottom = self.broadcast(self.floor)
        for total, (row, v) in zip(sums, places, strict=True):
            value, place = self.raised(builder.load(total), bottom), builder.add(row, self.const(v * self.bytes))
            if v == self.vectors - 1:
                self.store_first(self.count, value, place)
            else:
                self.store(value, place)


def _emit(builder, args, *options):
    _Strip(builder, args, *options).emit()


def make_strip(sizes: Sequence[tuple[int, int, int]], vector_bytes: int) -> Callable[..., Any]:
    """Return strips of several ``sizes``: rows that are taken at a time, vectors of columns, and turns.

    ``strip(n, A, a, a_row, a_col, B, b, b_row, b_next, S, s, s_next, C, c, c_row, adds, M, K, N, floor)``: n is the
    number of the size. A, B, C and S are flat arrays of one dtype, used from their elements a, b, c and s. Rows of B
    and C are b_row and c_row elements apart, and vectors of a row of B b_next elements. The sums start from the row S,
    whose groups of vectors are s_next elements apart; with ``adds`` they are added to C instead. M is a multiple of the
    rows of the size, and N fills the last of its vectors at least in part. Vectors of 16 bytes are read beyond the last
    column of B.
    """
    linked = [
        in_both_precisions(f"strip_{'x'.join(map(str, size))}x{vector_bytes}", 14, 1, _emit, vector_bytes, *size)
        for size in sizes
    ]

    @vector_code(plain.strip([vectors for _, vectors, _ in sizes], vector_bytes))
    def strip(typingctx, n, A, a, a_row, a_col, B, b, b_row, b_next, S, s, s_next, C, c, c_row, adds, M, K, N, floor):
        n = types.intp
        signature = types.void(n, A, n, n, n, B, n, n, n, S, n, n, C, n, n, n, n, n, n, A.dtype)

        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, A.dtype, vector_bytes)
            a, b, s, c = (e.address(n, args[n + 1]) for n in (1, 5, 9, 12))
            a_row, a_col, b_row, b_next, s_next, c_row = (e.scaled(args[n]) for n in (3, 4, 7, 8, 11, 14))
            arguments = [a, a_row, a_col, b, b_row, b_next, s, s_next, c, c_row, *args[15:]]
            e.choose(args[0], [partial(each[A.dtype].call, builder, arguments) for each in linked])
            return context.get_dummy_value()

        return signature, codegen

    return strip


_strip = make_strip(_WIDE + _SLIM, VECTOR_BYTES)
_V0, _V1, _V2, _V3 = (vectors for _, vectors, _ in _WIDE)


@routine
def strip(lanes, A, a, a_row, a_col, B, b, b_row, b_next, S, s, step, C, c, c_row, adds, M, K, N, floor):
    """Compute any number of rows and columns of C in strips, which are smaller for those that are left over.

    The start of column j is S[s + j * step]. Vectors of 16 bytes are read beyond the last column of B.
    """
    i, j = 0, 0
    while i < M:
        left = M - i
        if left >= ROWS:
            size, rows, vectors = 0, left - left % ROWS, _V0
        elif left >= 4:
            size, rows, vectors = 1, 4, _V1
        elif left >= 2:
            size, rows, vectors = 2, 2, _V2
        else:
            size, rows, vectors = 3, 1, _V3
        width, columns = vectors * lanes, N - j
        if j == 0:
            columns -= columns % width if columns % width <= width - lanes else 0
        if j > 0 or columns == 0:
            size, width, columns = size + 4, lanes, N - j
        _strip(
            size, A, a + i * a_row, a_row, a_col, B, b + j // lanes * b_next, b_row, b_next, S, s + j * step,
            width * step, C, c + i * c_row + j, c_row, adds, rows, K, columns, floor,
        )  # fmt: skip
        i, j = (i, j + columns) if j + columns < N else (i + rows, 0)
