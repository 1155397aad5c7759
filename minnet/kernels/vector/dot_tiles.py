"""Tiles of dot products, for matrix products whose terms lie side by side in both matrices.

    C[i][j] = max(floor, start[j] + sum over k of A[i * a_row + k] * B[j * b_col + k])

A vector holds terms, not columns, so few columns leave no lanes empty. As many sums as a vector has lanes are computed
together: a tile of one row, four or eight. In the end the lanes of each sum are added in pairs.
"""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from numba import types
from numba.core import cgutils

from .. import plain
from ..compile import vector_code
from ..linked import in_both_precisions
from .simd import VECTOR_BYTES, Emitter, VectorEmitter


class _Tiles(VectorEmitter):
    """Emits the code of all tiles of a product.

    ``args`` are the addresses of A and B, each followed by the bytes from stretch to stretch; the address of the start,
    and 1 for a row of numbers or 0 for one number; the address of C and the bytes from row to row; the numbers of rows,
    columns and terms; and the floor.
    """

    def __init__(self, builder, args, dtype, vector_bytes, rows):
        super().__init__(builder, dtype, vector_bytes)
        self.rows, self.columns = min(rows, self.lanes), max(1, self.lanes // rows)
        self.a, self.a_row, self.b, self.b_col, self.start, self.step, self.c, self.c_row, *sizes = args
        self.M, self.N, self.K, self.floor = sizes
        self.sums = [cgutils.alloca_once_value(builder, self.constant(0.0)) for _ in range(self.lanes)]
        self.part = VectorEmitter(builder, dtype, self.columns * self.size)  # of a row of C
        self.count = self.smaller(self.N, self.const(self.columns))  # columns of a tile

    def emit(self):
        """Emit the loops over rows, columns and terms."""
        builder, zero = self.builder, self.const(0)
        rest = builder.srem(self.K, self.const(self.lanes))
        whole = self.scaled(builder.sub(self.K, rest))
        rows, columns = (self.M, self.rows), (self.N, self.columns)
        with self._loop(*rows) as i, self._loop(*columns) as j:
            a, b = self._places(self.a, i, self.a_row, *rows), self._places(self.b, j, self.b_col, *columns)
            for total in self.sums:
                builder.store(self.constant(0.0), total)
            with self.loop(zero, whole, self.bytes) as k:
                self._add(*([self.load(builder.add(x, k)) for x in side] for side in (a, b)))
            with builder.if_then(builder.icmp_signed(">", rest, zero)):
                self._add(*([self.load_first(rest, builder.add(x, whole)) for x in side] for side in (a, b)))
            self._finish(j, self._places(self.c, i, self.c_row, *rows))

    @contextmanager
    def _loop(self, count, many):
        """Within this context is a loop over the first of every ``many``; the last ones come with some before them."""
        latest = self.builder.sub(count, self.const(many))
        latest = self.builder.select(self.builder.icmp_signed("<", latest, self.const(0)), self.const(0), latest)
        with self.loop(self.const(0), count, many) as n:
            yield self.smaller(n, latest)

    def _places(self, start, first, step, count, many):
        """Return where ``many`` stretches from ``first`` on are. The last stands for those that are missing."""
        last, start = self.builder.sub(count, self.const(1)), self.builder.add(start, self.builder.mul(first, step))
        distances = [self.builder.mul(self.smaller(self.const(i), last), step) for i in range(many)]
        return [self.builder.add(start, distance) for distance in distances]

    def _add(self, left, right):
        builder, fma = self.builder, self.function("fma", 3)
        for total, factors in zip(self.sums, ((x, y) for x in left for y in right), strict=True):
            builder.store(builder.call(fma, [*factors, builder.load(total)]), total)

    def _finish(self, j, c):
        """Store the sums of some rows of C from column j on."""
        part, lanes = self.part, range(self.lanes)
        place = self.builder.add(self.start, self.scaled(self.builder.mul(j, self.step)))
        start, total = part.load_first(self.count, place), self.totals([self.builder.load(each) for each in self.sums])
        value = self.builder.fadd(self.shuffled(start, start, [n % self.columns for n in lanes]), total)
        value = self.raised(value, self.broadcast(self.floor))
        for i, row in enumerate(c):
            numbers = self.shuffled(value, value, lanes[i * self.columns : (i + 1) * self.columns])
            part.store_first(self.count, numbers, self.builder.add(row, self.scaled(j)))


def _emit(builder, args, *options):
    _Tiles(builder, args, *options).emit()


def make_dot_tiles(sizes: Sequence[int], vector_bytes: int) -> Callable[..., Any]:
    """Return dot products in tiles of several ``sizes``, which are numbers of rows, or smaller with fewer lanes.

    ``tiles(n, A, a, a_row, B, b, b_col, S, s, step, C, c, c_row, M, N, K, floor)``: n is the number of the size. A, B,
    C and S are flat arrays of one dtype, used from their elements a, b, c and s. Stretches of A and B are a_row and
    b_col elements apart. The sums of column j start from S[s + j]; with step = 0 instead of 1, S has a vector of one
    number for all columns.
    """
    linked = [
        in_both_precisions(f"dot_tiles_{size}x{vector_bytes}", 11, 1, _emit, vector_bytes, size) for size in sizes
    ]

    @vector_code(plain.dot_tiles)
    def tiles(typingctx, n, A, a, a_row, B, b, b_col, S, s, step, C, c, c_row, M, N, K, floor):
        n = types.intp
        signature = types.void(n, A, n, n, B, n, n, S, n, n, C, n, n, n, n, n, A.dtype)

        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, A.dtype, vector_bytes)
            a, b, s, c = (e.address(n, args[n + 1]) for n in (1, 4, 7, 10))
            a_row, b_col, c_row = (e.scaled(args[n]) for n in (3, 6, 12))
            arguments = [a, a_row, b, b_col, s, args[9], c, c_row, *args[13:]]
            e.choose(args[0], [partial(each[A.dtype].call, builder, arguments) for each in linked])
            return context.get_dummy_value()

        return signature, codegen

    return tiles


dot_tiles = make_dot_tiles((1, 4, 8), VECTOR_BYTES)
