"""Copies with rows and columns exchanged: from a few long rows to many short ones, and back."""

from collections.abc import Callable
from typing import Any

from numba import types

from .. import plain
from ..compile import vector_code
from ..linked import in_both_precisions
from .simd import VECTOR_BYTES, Emitter, VectorEmitter


class _Turn(VectorEmitter):
    """Emits the code of a copy.

    ``args`` are the address of the long rows, and the bytes from row to row and from vector to vector; the address of
    the short rows and the bytes from row to row; and the numbers of short rows and of long ones.
    """

    def __init__(self, builder, args, dtype, vector_bytes, back):
        super().__init__(builder, dtype, vector_bytes)
        self.long, self.long_step, self.next, self.short, self.short_step, self.M, self.N = args
        self.width = min(4, self.lanes)  # long rows that are copied at a time
        self.part = VectorEmitter(builder, dtype, self.width * self.size)
        self.copy = self._to_long if back else self._to_short

    def emit(self):
        """Emit the loops over short rows, a vector of them at a time, and over long ones."""
        builder, zero, last = self.builder, self.const(0), self.builder.sub(self.N, self.const(1))
        with self.loop(zero, self.M, self.lanes) as i, self.loop(zero, self.N, self.width) as j:
            vector = builder.add(self.long, builder.mul(builder.sdiv(i, self.const(self.lanes)), self.next))
            # The last long row stands for those that are missing.
            numbers = [self.smaller(builder.add(j, self.const(n)), last) for n in range(self.width)]
            long = [builder.add(vector, builder.mul(number, self.long_step)) for number in numbers]
            first = builder.add(builder.add(self.short, builder.mul(i, self.short_step)), self.scaled(j))
            short, many = self.spread(first, self.short_step, self.lanes), builder.sub(self.N, j)
            inside = [builder.icmp_signed("<", builder.add(i, self.const(n)), self.M) for n in range(self.lanes)]
            with builder.if_else(inside[-1]) as (all_rows, some_rows):
                with all_rows:
                    self.copy(long, short, [many] * self.lanes)
                with some_rows:
                    self.copy(long, short, [builder.select(each, many, zero) for each in inside])

    def _turned(self, values):
        """Return squares of width x width values beside each other with rows and columns exchanged.

        Round s exchanges lanes whose numbers differ in bit s only, between rows whose numbers differ in bit s only.
        """
        bit, lanes = 1, range(self.lanes)
        while bit < self.width:
            low = [n if not n & bit else self.lanes + n - bit for n in lanes]
            high = [n + bit if not n & bit else self.lanes + n for n in lanes]
            pairs = [(values[j & ~bit], values[j | bit], high if j & bit else low) for j in range(self.width)]
            values, bit = [self.shuffled(*pair) for pair in pairs], 2 * bit
        return values

    def _to_short(self, long, short, counts):
        """Copy vectors of the long rows to the first ``counts`` elements of each short row."""
        squares = self._turned([self.load(place) for place in long])
        for n, (place, count) in enumerate(zip(short, counts, strict=True)):
            square, start = squares[n % self.width], n - n % self.width
            self.part.store_first(count, self.shuffled(square, square, range(start, start + self.width)), place)

    def _to_long(self, long, short, counts):
        """Copy the first ``counts`` elements of each short row, then zeros, to vectors of the long rows."""
        rows = [self.part.load_first(count, place) for place, count in zip(short, counts, strict=True)]
        squares = [rows[n :: self.width] for n in range(self.width)]
        while len(squares[0]) > 1:
            squares = [
                [self.shuffled(x, y, range(2 * x.type.count)) for x, y in zip(parts[::2], parts[1::2], strict=True)]
                for parts in squares
            ]
        values = self._turned([square for (square,) in squares])
        for value, place in reversed(list(zip(values, long, strict=True))):  # those that are missing before the last
            self.store(value, place)


def _emit(builder, args, *options):
    _Turn(builder, args, *options).emit()


def make_turn(back: bool, vector_bytes: int) -> Callable[..., Any]:
    """Return ``turn(X, x, x_row, x_next, Y, y, y_row, M, N)``, which copies N long rows X to M short rows Y, or back.

    For i < M and j < N, Y[y + i * y_row + j] = X[x + j * x_row + i], if the vectors of a long row, which are x_next
    elements apart, follow each other. Long rows consist of whole vectors; on the way back zeros follow.
    """
    linked = in_both_precisions(f"turn_{'back_' * back}{vector_bytes}", 7, 0, _emit, vector_bytes, back)

    @vector_code(plain.turn(back, vector_bytes))
    def turn(typingctx, X, x, x_row, x_next, Y, y, y_row, M, N):
        n = types.intp
        signature = types.void(X, n, n, n, Y, n, n, n, n)

        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, X.dtype, vector_bytes)
            long, short = (e.address(n, args[n + 1]) for n in (0, 4))
            steps = [e.scaled(args[n]) for n in (2, 3, 6)]
            linked[X.dtype].call(builder, [long, *steps[:2], short, steps[2], *args[7:]])
            return context.get_dummy_value()

        return signature, codegen

    return turn


turn, turn_back = (make_turn(back, VECTOR_BYTES) for back in (False, True))
