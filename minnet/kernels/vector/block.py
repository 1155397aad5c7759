"""One register-blocked micro-kernel, from which matrix products and convolutions are built.

The micro-kernel keeps a block of P rows by V vectors of sums in registers,

    C[i][v] = max(floor, D[i][v] + sum over k1, k2 of A[offset[i] + k1 * step1 + k2 * step2] * B[k1, k2][v]),

A broadcast, B loaded as vectors. The offsets make any P positions of A one block: rows of a matrix,
or pixels of an image whose patches are read where they lie, so a convolution needs no im2col. With channels last, the
row of a patch (kernel width * channels) is contiguous: k2 runs along it, k1 over the rows of the kernel. D is what
sums are added to: C itself, or one row for all (a bias, zeros). It is added last, so that a sum taken in several calls
has the rounding errors of one call's terms, and of the few additions to C. floor is 0 for a ReLU, -infinity for none.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, SupportsFloat

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils

from .. import plain
from ..compile import helper, routine, vector_code

_FEATURES = llvm.get_host_cpu_features()
# Bytes of a vector register. MINNET_VECTOR_BYTES forces narrower ones, so that their code can be tested anywhere.
VECTOR_BYTES = int(
    os.environ.get("MINNET_VECTOR_BYTES") or (64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16)
)
# Rows of a block: 14 x 2 sums, 2 of B and 1 broadcast fit 32 registers, 6 x 2 fit the 16 of AVX2.
ROWS = (6, 4, 2, 1) if VECTOR_BYTES == 32 else (14, 8, 4, 2)

_I64, _I32 = ir.IntType(64), ir.IntType(32)


class Emitter:
    """What all vector code here needs: addresses into flat arrays, loads and stores of vectors of their dtype."""

    def __init__(self, context, builder, signature, args, dtype, vector_bytes):
        self.context, self.builder, self.signature, self.args = context, builder, signature, args
        self.size = dtype.bitwidth // 8
        self.bytes, self.lanes = vector_bytes, vector_bytes // self.size
        self.scalar = ir.FloatType() if self.size == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.scalar, self.lanes)

    def const(self, n):
        return ir.Constant(_I64, n)

    def scaled(self, index, size=None):
        """Elements in bytes."""
        return self.builder.mul(index, self.const(size or self.size))

    def address(self, n, at, size=None):
        """Of the element ``at`` of argument ``n``, an array."""
        array = self.context.make_array(self.signature.args[n])(self.context, self.builder, self.args[n])
        return self.builder.add(self.builder.ptrtoint(array.data, _I64), self.scaled(at, size))

    def load(self, where, kind=None):
        value = self.builder.load(self.builder.inttoptr(where, (kind or self.vector).as_pointer()))
        value.align = self.size
        return value

    def store(self, value, where):
        self.builder.store(value, self.builder.inttoptr(where, self.vector.as_pointer())).align = self.size

    def broadcast(self, value):
        undefined, zeros = ir.Constant(self.vector, ir.Undefined), ir.Constant(ir.VectorType(_I32, self.lanes), None)
        lane = self.builder.insert_element(undefined, value, ir.Constant(_I32, 0))
        return self.builder.shuffle_vector(lane, undefined, zeros)

    def first(self, count):
        """A mask of the first ``count`` lanes: none for 0 or less, all for as many as there are or more."""
        numbers = ir.VectorType(_I64, self.lanes)
        lane = self.builder.insert_element(ir.Constant(numbers, ir.Undefined), count, ir.Constant(_I32, 0))
        zeros = ir.Constant(ir.VectorType(_I32, self.lanes), None)
        counts = self.builder.shuffle_vector(lane, ir.Constant(numbers, ir.Undefined), zeros)
        return self.builder.icmp_signed("<", ir.Constant(numbers, list(range(self.lanes))), counts)

    def _masked(self, name, result, *arguments):
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        full_name = f"llvm.masked.{name}.v{self.lanes}f{8 * self.size}.p0"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, full_name), arguments)

    def load_first(self, count, where):
        """The first ``count`` lanes from memory, zeros in the others, which are not read."""
        place, align = self.builder.inttoptr(where, self.vector.as_pointer()), ir.Constant(_I32, self.size)
        return self._masked("load", self.vector, place, align, self.first(count), ir.Constant(self.vector, None))

    def store_first(self, count, value, where):
        """The first ``count`` lanes; the memory of the others is not touched."""
        place, align = self.builder.inttoptr(where, self.vector.as_pointer()), ir.Constant(_I32, self.size)
        self._masked("store", ir.VoidType(), value, place, align, self.first(count))

    def constant(self, number):
        """A vector of one number."""
        return ir.Constant(self.vector, [number] * self.lanes)

    def function(self, name, arguments):
        """LLVM's function of that name on vectors, such as fma (a * b + c, rounded once)."""
        kind = ir.FunctionType(self.vector, [self.vector] * arguments)
        full_name = f"llvm.{name}.v{self.lanes}f{8 * self.size}"
        return cgutils.get_or_insert_function(self.builder.module, kind, full_name)

    def phi(self, kind, *incoming):
        node = self.builder.phi(kind)
        for value, source in incoming:
            node.add_incoming(value, source)
        return node


def make_block(rows: int, vectors: int, vector_bytes: int) -> Callable[..., Any]:
    """The micro-kernel for a block of ``rows`` by ``vectors`` registers, as vector code.

    ``block(A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor)``: A, B, C, D are flat arrays
    of one dtype, used from the elements b, c, d on; offsets int64 elements into A, used from o on; B holds n1 * n2
    rows; rows of B, C and D lie ldb, ldc and ldd elements apart. A NaN stays one.
    """

    @vector_code(plain.block(rows, vectors, vector_bytes))
    def block(typingctx, A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor):
        size_t = types.intp
        signature = types.void(
            A, offsets, size_t, B, size_t, size_t, D, size_t, size_t, C, size_t, size_t, *[size_t] * 4, A.dtype
        )

        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, A.dtype, vector_bytes)
            _, _, o, _, b, ldb, _, d, ldd, _, c, ldc, n1, step1, n2, step2, floor = args
            zero = e.const(0)
            a, table, b = e.address(0, zero), e.address(1, o, 8), e.address(3, b)
            step1, step2, ldb, ldd, ldc = (e.scaled(n) for n in (step1, step2, ldb, ldd, ldc))

            def places(start, step):
                each = [builder.add(start, builder.mul(step, e.const(i))) for i in range(rows)]
                return [builder.add(row, e.const(v * vector_bytes)) for row in each for v in range(vectors)]

            a_rows = [builder.add(a, e.scaled(e.load(builder.add(table, e.const(8 * i)), _I64))) for i in range(rows)]
            start = builder.block
            outer, inner, after, done = (builder.append_basic_block(name) for name in ("k1", "k2", "after", "done"))
            builder.branch(outer)

            builder.position_at_end(outer)
            k1, a1, b1 = (e.phi(_I64, (first, start)) for first in (zero, zero, b))
            sums1 = [e.phi(e.vector, (ir.Constant(e.vector, None), start)) for _ in range(rows * vectors)]
            builder.branch(inner)

            builder.position_at_end(inner)
            k2, a2, b2 = (e.phi(_I64, (first, outer)) for first in (zero, a1, b1))
            sums2 = [e.phi(e.vector, (value, outer)) for value in sums1]
            columns = [e.load(builder.add(b2, e.const(v * vector_bytes))) for v in range(vectors)]
            sums = []
            for i in range(rows):
                factor = e.broadcast(e.load(builder.add(a_rows[i], a2), e.scalar))
                sums += [
                    builder.call(e.function("fma", 3), [factor, columns[v], sums2[i * vectors + v]])
                    for v in range(vectors)
                ]
            next_k2, next_b = builder.add(k2, e.const(1)), builder.add(b2, ldb)
            for node, value in (
                (k2, next_k2),
                (a2, builder.add(a2, step2)),
                (b2, next_b),
                *zip(sums2, sums, strict=True),
            ):
                node.add_incoming(value, inner)
            builder.cbranch(builder.icmp_signed("<", next_k2, n2), inner, after)

            builder.position_at_end(after)
            next_k1 = builder.add(k1, e.const(1))
            for node, value in (
                (k1, next_k1),
                (a1, builder.add(a1, step1)),
                (b1, next_b),
                *zip(sums1, sums, strict=True),
            ):
                node.add_incoming(value, after)
            builder.cbranch(builder.icmp_signed("<", next_k1, n1), outer, done)

            builder.position_at_end(done)
            bottom, befores, targets = e.broadcast(floor), places(e.address(6, d), ldd), places(e.address(9, c), ldc)
            for value, before, place in zip(sums, befores, targets, strict=True):
                value = builder.fadd(value, e.load(before))
                e.store(builder.select(builder.fcmp_ordered("<", value, bottom), bottom, value), place)
            return context.get_dummy_value()

        return signature, codegen

    return block


def make_copy(vector_bytes: int) -> Callable[..., Any]:
    """``copy(B, at, panel, to)``: two vectors from B[at:] to panel[to:], flat arrays of one dtype."""

    @vector_code(plain.copy(vector_bytes))
    def copy(typingctx, B, at, panel, to):
        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, B.dtype, vector_bytes)
            source, target = e.address(0, args[1]), e.address(2, args[3])
            for offset in (e.const(0), e.const(vector_bytes)):
                e.store(e.load(builder.add(source, offset)), builder.add(target, offset))
            return context.get_dummy_value()

        return types.void(B, types.intp, panel, types.intp), codegen

    return copy


def make_move(vector_bytes: int) -> Callable[..., Any]:
    """``move(A, a, n, B, b, m)``: the first m elements of a vector into B[b:] that holds the first n of A[a:], then 0.

    n and m may be below 0, which is as 0, and above a vector, which is as all of it.
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
    """``transpose(B, at, step, rows, terms, panel, to, width)``: rows of B become columns of a square of the panel.

    panel[to + k * width + j] = B[at + j * step + k] for j < rows and k < terms, and 0 elsewhere, j, k < lanes. A square
    of lanes x lanes values changes rows and columns in registers: in round s, lanes whose numbers differ in bit s alone
    change places between rows whose numbers do.
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
            mask_type, bit = ir.VectorType(_I32, e.lanes), 1
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
    """Ask for the cache line of B[at], a flat array, ahead of its use; at may lie outside of B."""

    def codegen(context, builder, signature, args):
        e = Emitter(context, builder, signature, args, B.dtype, VECTOR_BYTES)
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, into_second_level, data = (ir.Constant(number, n) for n in (0, 2, 1))
        builder.call(ask, [builder.inttoptr(e.address(0, args[1]), byte), read, into_second_level, data])
        return context.get_dummy_value()

    return types.void(B, types.intp), codegen


@vector_code(plain.borrowed)
def borrowed(typingctx, A):
    """A itself, without its count of references: choosing between arrays would count them, atomically, block by block.

    The caller has to hold A meanwhile.
    """

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        return array._getvalue()

    return A(A), codegen


def make_transform(matrix: Sequence[Sequence[SupportsFloat]], vector_bytes: int) -> Callable[..., Any]:
    """``transform(X, x, x_row, x_column, Y, y, y_row, y_column)``: Y' = L X' L^T for the constant matrix L.

    X' and Y' are small matrices of vectors in flat arrays of one dtype: X'[i][j] starts at X[x + i * x_row + j *
    x_column], likewise Y'. Terms with a factor 0 cost nothing, with 1 or -1 no multiplication.
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


def make_dots(vector_bytes: int) -> Callable[..., Any]:
    """``dots(A, a1, a2, n, B, b, ldb, sums)``: dot products of two stretches of A with a few of B, in a fixed order.

    sums[j] = sum of A[a1 + i] * B[b + j * ldb + i] for i < n, for a quarter as many j as there are lanes; behind them
    the same for a2. B has zeros from n on, up to a multiple of the lanes. A whole vector of sums is written.
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
            while width > 1:  # lanes of one sum: fold halves of them, those of two vectors into one
                half, groups = width // 2, range(0, 2 * e.lanes, width)
                firsts, seconds = ([g + k + shift for g in groups for k in range(half)] for shift in (0, half))
                masks = [ir.Constant(ir.VectorType(_I32, e.lanes), lanes) for lanes in (firsts, seconds)]
                pairs = zip(sums[::2], sums[1::2] or sums, strict=True)
                sums = [builder.fadd(*(builder.shuffle_vector(*pair, mask) for mask in masks)) for pair in pairs]
                width = half
            e.store(sums[0], e.address(7, e.const(0)))
            return context.get_dummy_value()

        return signature, codegen

    return dots


copy_vectors = make_copy(VECTOR_BYTES)
move = make_move(VECTOR_BYTES)
transpose_square = make_transpose(VECTOR_BYTES)
dots = make_dots(VECTOR_BYTES)
_R0, _R1, _R2, _R3 = ROWS
_wide0, _wide1, _wide2, _wide3 = (make_block(rows, 2, VECTOR_BYTES) for rows in ROWS)
_slim0, _slim1, _slim2, _slim3 = (make_block(rows, 1, VECTOR_BYTES) for rows in ROWS)


@helper
def _block(rows, wide, A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor):
    """The smallest block of at least ``rows`` rows, two vectors wide or one. It writes all its rows."""
    if wide:
        if rows > _R1:
            _wide0(A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor)
        elif rows > _R2:
            _wide1(A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor)
        elif rows > _R3:
            _wide2(A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor)
        else:
            _wide3(A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor)
    elif rows > _R1:
        _slim0(A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor)
    elif rows > _R2:
        _slim1(A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor)
    elif rows > _R3:
        _slim2(A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor)
    else:
        _slim3(A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor)


@routine
def block(rows, wide, A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor):
    """The smallest block of at least ``rows`` rows, two vectors wide or one. It writes all its rows."""
    _block(rows, wide, A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor)


@helper
def block_rows_for(rows):
    """Rows of the block that a tile of ``rows`` rows takes."""
    return _R0 if rows > _R1 else (_R1 if rows > _R2 else (_R2 if rows > _R3 else _R3))


@helper
def largest_block(rows):
    """Rows of the largest block that has no more than ``rows``, an even number."""
    return _R0 if rows >= _R0 else (_R1 if rows >= _R1 else (_R2 if rows >= _R2 else _R3))


@helper
def rows_of_next(rows):
    """How many of ``rows`` rows to take next where sums are long: two blocks beat one with rows to spare, as 8 + 1 a
    14 for 9."""
    return _R1 if _R1 < rows <= _R0 - 2 else min(rows, _R0)


@routine
def tile(rows, cols, lanes, A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor, spare):
    """``block`` for rows x cols of C; what sticks out of C goes through ``spare``.

    offsets must be valid for all rows of the block, and with ldd = 0 the row of D for all its columns.
    """
    C, D, spare = borrowed(C), borrowed(D), borrowed(spare)
    wide = cols > lanes
    width = 2 * lanes if wide else lanes
    fits = rows == block_rows_for(rows) and cols == width
    if not fits and ldd != 0:
        for i in range(rows):
            for j in range(0, width, lanes):
                move(D, d + i * ldd + j, cols - j, spare, i * width + j, lanes)
    # One call, since the compiler puts a copy of every block into each.
    D, d, ldd = (D, d, ldd) if fits or ldd == 0 else (spare, 0, width)
    out, to, step = (C, c, ldc) if fits else (spare, 0, width)
    _block(rows, wide, A, offsets, o, B, b, ldb, D, d, ldd, out, to, step, n1, step1, n2, step2, floor)
    if not fits:
        for i in range(rows):
            for j in range(0, width, lanes):
                move(spare, i * width + j, lanes, C, c + i * ldc + j, cols - j)


@routine
def pack(B, at, row_step, column_step, depth, cols, width, lanes, panel, to):
    """panel[to + k * width + j] = B[at + k * row_step + j * column_step] for k < depth, j < cols, 0 in what is left.

    width is one vector or two. One of the steps is 1; where it is that of the rows, zeros follow up to a depth that is
    a multiple of the lanes.
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
            copy_vectors(B, at + k * row_step, panel, to + k * width)
    else:
        for k in range(depth):
            for j in range(0, width, lanes):
                move(B, at + k * row_step + j, cols - j, panel, to + k * width + j, lanes)
