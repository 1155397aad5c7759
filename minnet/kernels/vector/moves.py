"""Moves of vectors between memory and panels: copies, parts of vectors, transposed squares, prefetches."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .. import plain
from ..compile import routine, vector_code
from .simd import I32, VECTOR_BYTES, Emitter


def make_copy(vector_bytes: int, vectors: int) -> Callable[..., Any]:
    """Return ``copy(B, at, panel, to)``: so many vectors from B[at:] to panel[to:], flat arrays of one dtype."""

    @vector_code(plain.copy(vector_bytes, vectors))
    def copy(typingctx, B, at, panel, to):
        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, B.dtype, vector_bytes)
            source, target = e.address(0, args[1]), e.address(2, args[3])
            for offset in (e.const(v * vector_bytes) for v in range(vectors)):
                e.store(e.load(builder.add(source, offset)), builder.add(target, offset))
            return context.get_dummy_value()

        return types.void(B, types.intp, panel, types.intp), codegen

    return copy


def make_move(vector_bytes: int) -> Callable[..., Any]:
    """Return ``move(A, a, n, B, b, m)``, which writes m elements to B[b:]: the first n of A[a:], then zeros.

    n and m below 0 count as 0. If they are larger than a vector, they count as its number of lanes.
    """

    @vector_code(plain.move(vector_bytes))
    def move(typingctx, A, a, n, B, b, m):
        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, A.dtype, vector_bytes)
            e.store_first(args[5], e.load_first(args[2], e.address(0, args[1])), e.address(3, args[4]))
            return context.get_dummy_value()

        return types.void(A, types.intp, types.intp, B, types.intp, types.intp), codegen

    return move


def make_transpose(vector_bytes: int) -> Callable[..., Any]:
    """Return ``transpose(B, at, step, rows, terms, panel, to, width)``: rows of B become columns of a panel.

    panel[to + k * width + j] = B[at + j * step + k] for j < rows and k < terms, and 0 for other j, k < lanes. A square
    of lanes x lanes values is transposed in registers. Round s exchanges lanes whose numbers differ in bit s only,
    between rows whose numbers differ in bit s only.
    """

    @vector_code(plain.transpose(vector_bytes))
    def transpose(typingctx, B, at, step, rows, terms, panel, to, width):
        n = types.intp
        signature = types.void(B, n, n, n, n, panel, n, n)

        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, B.dtype, vector_bytes)
            source, target = e.address(0, args[1]), e.address(5, args[6])
            step, width = e.scaled(args[2]), e.scaled(args[7])
            lanes = range(e.lanes)
            counts = [builder.select(builder.icmp_signed("<", e.const(j), args[3]), args[4], e.const(0)) for j in lanes]
            values = [e.load_first(counts[j], builder.add(source, builder.mul(step, e.const(j)))) for j in lanes]
            mask_type, bit = ir.VectorType(I32, e.lanes), 1
            while bit < e.lanes:
                low = ir.Constant(mask_type, [n if not n & bit else e.lanes + n - bit for n in lanes])
                high = ir.Constant(mask_type, [n + bit if not n & bit else e.lanes + n for n in lanes])
                mixed = list(values)
                for j in lanes:
                    if not j & bit:
                        mixed[j] = builder.shuffle_vector(values[j], values[j + bit], low)
                        mixed[j + bit] = builder.shuffle_vector(values[j], values[j + bit], high)
                values, bit = mixed, bit * 2
            for k in lanes:
                e.store(values[k], builder.add(target, builder.mul(width, e.const(k))))
            return context.get_dummy_value()

        return signature, codegen

    return transpose


@vector_code(plain.prefetch)
def prefetch(typingctx, B, at):
    """Fetch the cache line of B[at], a flat array, before it is read; ``at`` may be outside of B."""

    def codegen(context, builder, signature, args):
        e = Emitter(context, builder, signature, args, B.dtype, VECTOR_BYTES)
        e.prefetch(e.address(0, args[1]))
        return context.get_dummy_value()

    return types.void(B, types.intp), codegen


@vector_code(plain.borrowed)
def borrowed(typingctx, A):
    """Return A without its reference count. Otherwise a choice between arrays would count references for each block.

    The caller must hold a reference to A meanwhile.
    """

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        return array._getvalue()

    return A(A), codegen


copy_vector, copy_two_vectors = (make_copy(VECTOR_BYTES, vectors) for vectors in (1, 2))
move = make_move(VECTOR_BYTES)
transpose_square = make_transpose(VECTOR_BYTES)


@routine
def pack(B, at, row_step, column_step, depth, cols, width, lanes, panel, to):
    """panel[to + k * width + j] = B[at + k * row_step + j * column_step] for k < depth and j < cols, 0 for j >= cols.

    width is one vector or two. One of the steps is 1. If it is row_step, zeros follow up to a depth that is a multiple
    of the lanes.
    """
    if column_step != 1:
        for k in range(0, depth, lanes):
            for j in range(0, width, lanes):
                start, place = at + k + j * column_step, to + k * width + j
                transpose_square(B, start, column_step, cols - j, depth - k, panel, place, width)
    elif cols == 2 * lanes:
        for k in range(depth):
            prefetch(B, at + k * row_step + width)
            prefetch(B, at + k * row_step + width + lanes)
            copy_two_vectors(B, at + k * row_step, panel, to + k * width)
    else:
        for k in range(depth):
            for j in range(0, width, lanes):
                move(B, at + k * row_step + j, cols - j, panel, to + k * width + j, lanes)
