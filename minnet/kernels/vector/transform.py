"""Products of small constant matrices with matrices of vectors, for Winograd's convolutions."""

from collections.abc import Callable, Sequence
from typing import Any, SupportsFloat

from numba import types

from .. import plain
from ..compile import vector_code
from .simd import Emitter


def make_transform(matrix: Sequence[Sequence[SupportsFloat]], vector_bytes: int) -> Callable[..., Any]:
    """Return ``transform(X, x, x_row, x_column, Y, y, y_row, y_column)``: Y' = L X' L^T for the constant matrix L.

    X' and Y' are small matrices of vectors in flat arrays of one dtype. X'[i][j] starts at X[x + i * x_row + j *
    x_column], and Y' accordingly. Terms with the factor 0 are left out; factors 1 and -1 need no multiplication.
    """
    factors = [[float(factor) for factor in row] for row in matrix]

    @vector_code(plain.transform(factors, vector_bytes))
    def transform(typingctx, X, x, x_row, x_column, Y, y, y_row, y_column):
        n = types.intp
        signature = types.void(X, n, n, n, Y, n, n, n)

        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, X.dtype, vector_bytes)
            source, target = e.address(0, args[1]), e.address(4, args[5])
            x_row, x_column, y_row, y_column = (e.scaled(args[n]) for n in (2, 3, 6, 7))

            def place(start, row, i, column, j):
                return builder.add(builder.add(start, builder.mul(row, e.const(i))), builder.mul(column, e.const(j)))

            def combine(row, values):
                total = None
                for factor, value in zip(row, values, strict=True):
                    if factor == 0:
                        continue
                    if total is None:
                        total = value if factor == 1 else builder.fmul(e.constant(factor), value)
                    elif factor in (1, -1):
                        total = (builder.fadd if factor == 1 else builder.fsub)(total, value)
                    else:
                        total = builder.call(e.function("fma", 3), [e.constant(factor), value, total])
                return total

            inputs = range(len(factors[0]))
            columns = []
            for j in inputs:
                column = [e.load(place(source, x_row, i, x_column, j)) for i in inputs]
                columns.append([combine(row, column) for row in factors])
            for i in range(len(factors)):
                for j, row in enumerate(factors):
                    value = combine(row, [column[i] for column in columns])
                    e.store(value, place(target, y_row, i, y_column, j))
            return context.get_dummy_value()

        return signature, codegen

    return transform
