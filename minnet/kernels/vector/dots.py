"""Dot products of contiguous stretches, for matrix products whose sums are long and whose outputs are few."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .. import plain
from ..compile import vector_code
from .simd import I32, VECTOR_BYTES, Emitter


def make_dots(vector_bytes: int) -> Callable[..., Any]:
    """Return ``dots(A, a1, a2, n, B, b, ldb, sums)``: dot products of two parts of A with a few of B, in a fixed order.

    sums[j] = sum of A[a1 + i] * B[b + j * ldb + i] for i < n, for lanes / 4 values of j. The same for a2 follows. B has
    zeros from n up to a multiple of the lanes. A whole vector of sums is written.
    """

    @vector_code(plain.dots(vector_bytes))
    def dots(typingctx, A, a1, a2, n, B, b, ldb, sums):
        size_t = types.intp
        signature = types.void(A, size_t, size_t, size_t, B, size_t, size_t, sums)

        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, A.dtype, vector_bytes)
            columns, zero = max(1, e.lanes // 4), ir.Constant(e.vector, None)
            rows = [e.address(0, args[1]), e.address(0, args[2])]
            others = [e.address(4, builder.add(args[5], builder.mul(args[6], e.const(j)))) for j in range(columns)]
            totals = [cgutils.alloca_once_value(builder, zero) for _ in range(2 * columns)]
            vectors = builder.sdiv(builder.add(args[3], e.const(e.lanes - 1)), e.const(e.lanes))
            with cgutils.for_range(builder, vectors) as loop:
                at = builder.mul(loop.index, e.const(e.bytes))
                rest = builder.sub(args[3], builder.mul(loop.index, e.const(e.lanes)))
                left = [e.load_first(rest, builder.add(row, at)) for row in rows]
                right = [e.load(builder.add(other, at)) for other in others]
                for i, total in enumerate(totals):
                    factors = left[i // columns], right[i % columns]
                    builder.store(builder.call(e.function("fma", 3), [*factors, builder.load(total)]), total)
            sums, width = [builder.load(total) for total in totals], e.lanes
            while width > 1:  # width is the number of lanes of one sum: add their halves, of two vectors into one
                half, groups = width // 2, range(0, 2 * e.lanes, width)
                firsts, seconds = ([g + k + shift for g in groups for k in range(half)] for shift in (0, half))
                masks = [ir.Constant(ir.VectorType(I32, e.lanes), lanes) for lanes in (firsts, seconds)]
                pairs = zip(sums[::2], sums[1::2] or sums, strict=True)
                sums = [builder.fadd(*(builder.shuffle_vector(*pair, mask) for mask in masks)) for pair in pairs]
                width = half
            e.store(sums[0], e.address(7, e.const(0)))
            return context.get_dummy_value()

        return signature, codegen

    return dots


dots = make_dots(VECTOR_BYTES)
