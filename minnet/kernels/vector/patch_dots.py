"""Dot products of two patches of an image with a few filters, along the rows of a patch, which are contiguous."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .. import plain
from ..compile import vector_code
from .simd import VECTOR_BYTES, Emitter


def make_patch_dots(vector_bytes: int) -> Callable[..., Any]:
    """Return ``patch_dots(A, a1, a2, n1, step, n2, B, b, ldb, sums)``: dot products of two parts of A with a few of B.

    sums[j] = sum of A[a1 + i * step + k] * B[b + j * ldb + i * width + k] for i < n1 and k < n2, for lanes / 4 values
    of j. The same for a2 follows. width is n2 rounded up to whole vectors; B has zeros there. A whole vector of sums is
    written. The order of the terms depends on n1 and n2 only.
    """

    @vector_code(plain.patch_dots(vector_bytes))
    def patch_dots(typingctx, A, a1, a2, n1, step, n2, B, b, ldb, sums):
        size_t = types.intp
        signature = types.void(A, size_t, size_t, size_t, size_t, size_t, B, size_t, size_t, sums)

        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, A.dtype, vector_bytes)
            _, a1, a2, n1, step, n2, _, b, ldb, _ = args
            columns, zero = max(1, e.lanes // 4), ir.Constant(e.vector, None)
            rows = [e.address(0, a1), e.address(0, a2)]
            others = [e.address(6, builder.add(b, builder.mul(ldb, e.const(j)))) for j in range(columns)]
            totals = [cgutils.alloca_once_value(builder, zero) for _ in range(2 * columns)]
            vectors, rest = builder.sdiv(n2, e.const(e.lanes)), builder.srem(n2, e.const(e.lanes))
            some = builder.icmp_signed(">", rest, e.const(0))
            width = builder.mul(builder.add(vectors, builder.zext(some, vectors.type)), e.const(e.bytes))

            def add(left, at):
                right = [e.load(builder.add(other, at)) for other in others]
                for i, total in enumerate(totals):
                    factors = left[i // columns], right[i % columns]
                    builder.store(builder.call(e.function("fma", 3), [*factors, builder.load(total)]), total)

            with cgutils.for_range(builder, n1) as outer:
                here, there = builder.mul(outer.index, e.scaled(step)), builder.mul(outer.index, width)
                with cgutils.for_range(builder, vectors) as loop:
                    at = builder.mul(loop.index, e.const(e.bytes))
                    add([e.load(builder.add(row, builder.add(here, at))) for row in rows], builder.add(there, at))
                with builder.if_then(some):
                    at = builder.mul(vectors, e.const(e.bytes))
                    left = [e.load_first(rest, builder.add(row, builder.add(here, at))) for row in rows]
                    add(left, builder.add(there, at))
            e.store(e.totals([builder.load(total) for total in totals]), e.address(9, e.const(0)))
            return context.get_dummy_value()

        return signature, codegen

    return patch_dots


patch_dots = make_patch_dots(VECTOR_BYTES)
