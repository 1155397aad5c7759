"""One register-blocked micro-kernel, from which matrix products and convolutions are built.

The micro-kernel keeps a block of P rows by V vectors of sums in registers,

    sums[i][v] += A[offset[i] + k1 * step1 + k2 * step2] * B[k][v],

A broadcast, B loaded as vectors from a packed panel. The offsets make any P positions of A one block: rows of a matrix,
or pixels of an image whose patches are read where they lie, so a convolution needs no im2col. With channels last, the
row of a patch (kernel width * channels) is contiguous: k2 runs along it, k1 over the rows of the kernel.
"""

import os
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .compile import helper

_FEATURES = llvm.get_host_cpu_features()
# Bytes of a vector register. MINNET_VECTOR_BYTES forces narrower ones, so that their code can be tested anywhere.
VECTOR_BYTES = int(
    os.environ.get("MINNET_VECTOR_BYTES") or (64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16)
)
# Rows of a block: 14 x 2 sums, 2 of B and 1 broadcast fit 32 registers, 6 x 2 fit the 16 of AVX2.
ROWS = (6, 4, 2, 1) if VECTOR_BYTES == 32 else (14, 8, 4, 2)


def make_block(rows: int, vectors: int, vector_bytes: int) -> Callable[..., Any]:
    """The micro-kernel for a block of ``rows`` by ``vectors`` registers, as vector code.

    ``block(A, offsets, B, C, ldc, n1, step1, n2, step2, add)``: A, B, C are flat arrays of one dtype, offsets int64
    elements into A; B holds n1 * n2 rows of ``vectors`` registers; C gets the sums, at rows ldc elements apart, added
    to what it held if add is not 0.
    """

    @intrinsic
    def block(typingctx, A, offsets, B, C, ldc, n1, step1, n2, step2, add):
        bits = A.dtype.bitwidth
        size, lanes = bits // 8, vector_bytes // (bits // 8)
        signature = types.void(A, offsets, B, C, *[types.intp] * 6)
        i64, i32 = ir.IntType(64), ir.IntType(32)
        scalar = ir.FloatType() if bits == 32 else ir.DoubleType()
        vector = ir.VectorType(scalar, lanes)

        def codegen(context, builder, signature, args):
            def const(n):
                return ir.Constant(i64, n)

            def address(n):
                array = context.make_array(signature.args[n])(context, builder, args[n])
                return builder.ptrtoint(array.data, i64)

            def load(where, kind):
                value = builder.load(builder.inttoptr(where, kind.as_pointer()))
                value.align = size
                return value

            def store(value, where):
                builder.store(value, builder.inttoptr(where, vector.as_pointer())).align = size

            def phi(kind, *incoming):
                node = builder.phi(kind)
                for value, source in incoming:
                    node.add_incoming(value, source)
                return node

            a, table, b, c = (address(n) for n in range(4))
            ldc, n1, step1, n2, step2, add = args[4:]
            step1, step2, ldc = (builder.mul(n, const(size)) for n in (step1, step2, ldc))
            fma = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f{bits}"
            )
            a_rows = [
                builder.add(a, builder.mul(load(builder.add(table, const(8 * i)), i64), const(size)))
                for i in range(rows)
            ]
            c_rows = [builder.add(c, builder.mul(ldc, const(i))) for i in range(rows)]
            places = [builder.add(row, const(v * vector_bytes)) for row in c_rows for v in range(vectors)]

            start = builder.block
            held, outer, inner, after, done = (
                builder.append_basic_block(name) for name in ("held", "k1", "k2", "after", "done")
            )
            builder.cbranch(builder.icmp_signed("!=", add, const(0)), held, outer)
            builder.position_at_end(held)
            before = [load(place, vector) for place in places]
            builder.branch(outer)

            builder.position_at_end(outer)
            k1, a1, b1 = (phi(i64, (first, start), (first, held)) for first in (const(0), const(0), b))
            sums1 = [phi(vector, (ir.Constant(vector, None), start), (value, held)) for value in before]
            builder.branch(inner)

            builder.position_at_end(inner)
            k2, a2, b2 = phi(i64, (const(0), outer)), phi(i64, (a1, outer)), phi(i64, (b1, outer))
            sums2 = [phi(vector, (value, outer)) for value in sums1]
            columns = [load(builder.add(b2, const(v * vector_bytes)), vector) for v in range(vectors)]
            undefined, zeros = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(i32, lanes), [0] * lanes)
            sums = []
            for i in range(rows):
                lane = builder.insert_element(undefined, load(builder.add(a_rows[i], a2), scalar), ir.Constant(i32, 0))
                broadcast = builder.shuffle_vector(lane, undefined, zeros)
                sums += [builder.call(fma, [broadcast, columns[v], sums2[i * vectors + v]]) for v in range(vectors)]
            next_k2, next_b = builder.add(k2, const(1)), builder.add(b2, const(vectors * vector_bytes))
            for node, value in (
                (k2, next_k2),
                (a2, builder.add(a2, step2)),
                (b2, next_b),
                *zip(sums2, sums, strict=True),
            ):
                node.add_incoming(value, inner)
            builder.cbranch(builder.icmp_signed("<", next_k2, n2), inner, after)

            builder.position_at_end(after)
            next_k1 = builder.add(k1, const(1))
            for node, value in (
                (k1, next_k1),
                (a1, builder.add(a1, step1)),
                (b1, next_b),
                *zip(sums1, sums, strict=True),
            ):
                node.add_incoming(value, after)
            builder.cbranch(builder.icmp_signed("<", next_k1, n1), outer, done)

            builder.position_at_end(done)
            for value, place in zip(sums, places, strict=True):
                store(value, place)
            return context.get_dummy_value()

        return signature, codegen

    return block


def make_copy(vector_bytes: int) -> Callable[..., Any]:
    """``copy(B, at, panel, to)``: two vectors from B[at:] to panel[to:], flat arrays of one dtype."""

    @intrinsic
    def copy(typingctx, B, at, panel, to):
        size = B.dtype.bitwidth // 8
        signature = types.void(B, types.intp, panel, types.intp)

        def codegen(context, builder, signature, args):
            i64 = ir.IntType(64)
            vector = ir.VectorType(ir.FloatType() if size == 4 else ir.DoubleType(), vector_bytes // size).as_pointer()

            def address(n, index, offset):
                array = context.make_array(signature.args[n])(context, builder, args[n])
                start = builder.add(builder.ptrtoint(array.data, i64), builder.mul(index, ir.Constant(i64, size)))
                return builder.inttoptr(builder.add(start, ir.Constant(i64, offset)), vector)

            for offset in (0, vector_bytes):
                value = builder.load(address(0, args[1], offset))
                value.align = size
                builder.store(value, address(2, args[3], offset)).align = size
            return context.get_dummy_value()

        return signature, codegen

    return copy


copy_vectors = make_copy(VECTOR_BYTES)
_R0, _R1, _R2, _R3 = ROWS
_wide0, _wide1, _wide2, _wide3 = (make_block(rows, 2, VECTOR_BYTES) for rows in ROWS)
_slim0, _slim1, _slim2, _slim3 = (make_block(rows, 1, VECTOR_BYTES) for rows in ROWS)


@helper
def _block(rows, wide, A, offsets, B, C, ldc, n1, step1, n2, step2, add):
    """The smallest block of at least ``rows`` rows, two vectors wide or one."""
    if wide:
        if rows > _R1:
            _wide0(A, offsets, B, C, ldc, n1, step1, n2, step2, add)
        elif rows > _R2:
            _wide1(A, offsets, B, C, ldc, n1, step1, n2, step2, add)
        elif rows > _R3:
            _wide2(A, offsets, B, C, ldc, n1, step1, n2, step2, add)
        else:
            _wide3(A, offsets, B, C, ldc, n1, step1, n2, step2, add)
    elif rows > _R1:
        _slim0(A, offsets, B, C, ldc, n1, step1, n2, step2, add)
    elif rows > _R2:
        _slim1(A, offsets, B, C, ldc, n1, step1, n2, step2, add)
    elif rows > _R3:
        _slim2(A, offsets, B, C, ldc, n1, step1, n2, step2, add)
    else:
        _slim3(A, offsets, B, C, ldc, n1, step1, n2, step2, add)


@helper
def block_rows_for(rows):
    """Rows of the block that a tile of ``rows`` rows takes."""
    return _R0 if rows > _R1 else (_R1 if rows > _R2 else (_R2 if rows > _R3 else _R3))


@helper
def tile(rows, cols, lanes, A, offsets, panel, C, at, ldc, n1, step1, n2, step2, add, spare):
    """C[at + i * ldc + j] for i < rows, j < cols; what sticks out of C goes through ``spare``."""
    block_rows, wide = block_rows_for(rows), cols > lanes
    width = 2 * lanes if wide else lanes
    for i in range(rows, block_rows):
        offsets[i] = offsets[rows - 1]
    if rows == block_rows and cols == width:
        _block(rows, wide, A, offsets, panel, C[at:], ldc, n1, step1, n2, step2, add)
        return
    _block(rows, wide, A, offsets, panel, spare, width, n1, step1, n2, step2, 0)
    for i in range(rows):
        target, source = at + i * ldc, i * width
        for j in range(cols):
            C[target + j] = spare[source + j] + (C[target + j] if add != 0 else C.dtype.type(0))


@helper
def pack(B, at, row_step, column_step, depth, cols, lanes, panel):
    """panel[k, j] = B[at + k * row_step + j * column_step], in rows of one or two vectors, zeros in what is left."""
    width = 2 * lanes if cols > lanes else lanes
    if column_step == 1 and cols == 2 * lanes:
        for k in range(depth):
            copy_vectors(B, at + k * row_step, panel, k * width)
        return
    if cols < width:
        panel[: depth * width] = panel.dtype.type(0)
    for j in range(cols):
        source = at + j * column_step
        for k in range(depth):
            panel[k * width + j] = B[source + k * row_step]
