"""The micro-kernel: a block of sums in registers, from which matrix products and convolutions are built.

The micro-kernel keeps P rows by V vectors of sums in registers:

    C[i][v] = max(floor, D[i][v] + sum over k1, k2 of A[offset[i] + k1 * step1 + k2 * step2] * B[k1, k2][v])

An element of A is broadcast to all lanes; B is loaded as vectors. The offsets let any P positions of A form a block:
rows of a matrix, or pixels of an image. The patches of an image are read in place, so a convolution needs no im2col.
With channels last, one row of a patch (kernel width * channels) is contiguous. k2 runs along this row, and k1 over the
rows of the kernel.

D is the start of the sums: C itself, or one row for all rows (a bias, zeros). It is added last. A sum that several
calls compute therefore has the rounding errors of the terms of one call, and of the few additions to C. floor is 0 for
a ReLU and -infinity otherwise.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from .. import plain
from ..compile import helper, routine, vector_code
from ..linked import in_both_precisions
from .moves import borrowed, move
from .simd import I64, VECTOR_BYTES, Emitter, VectorEmitter

# Rows of a block: 14 x 2 sums, 2 vectors of B and 1 broadcast fit into 32 registers, 6 x 2 into the 16 of AVX2.
ROWS = (6, 4, 2, 1) if VECTOR_BYTES == 32 else (14, 8, 4, 2)


class Results(VectorEmitter):
    """Emits the end of a block: ``rows`` by ``vectors`` vectors of C, from sums in registers and what D holds.

    d and c are the addresses of the rows of D and C that are used first, ldd and ldc the bytes from row to row.
    """

    def __init__(self, builder, dtype, vector_bytes, rows, vectors, d, ldd, c, ldc, floor):
        super().__init__(builder, dtype, vector_bytes)
        self.rows, self.vectors, self.floor = rows, vectors, floor
        self.d, self.ldd, self.c, self.ldc = d, ldd, c, ldc

    def finish(self, sums):
        """Add D to the sums, raise them to the floor and store them in C."""
        builder, bottom = self.builder, self.broadcast(self.floor)
        befores, targets = self._places(self.d, self.ldd), self._places(self.c, self.ldc)
        for value, before, place in zip(sums, befores, targets, strict=True):
            self.store(self.raised(builder.fadd(value, self.load(before)), bottom), place)

    def _places(self, start, step):
        """Return the addresses of all vectors of a block whose rows are ``step`` bytes apart."""
        rows = self.spread(start, step, self.rows)
        return [self.builder.add(row, self.const(v * self.bytes)) for row in rows for v in range(self.vectors)]


class _Block(Results):
    """Emits the code of a block.

    ``args`` are the addresses of A, of the offsets, and of the rows of B, D and C that are used first, each but A's two
    followed by the bytes from row to row; then n1, the bytes of step1, n2, the bytes of step2, and the floor.
    """

    def __init__(self, builder, args, dtype, vector_bytes, rows, vectors):
        a, table, self.b, self.ldb, d, ldd, c, ldc, self.n1, self.step1, self.n2, self.step2, floor = args
        super().__init__(builder, dtype, vector_bytes, rows, vectors, d, ldd, c, ldc, floor)
        offsets = (self.load(builder.add(table, self.const(8 * i)), I64) for i in range(rows))
        self.a_rows = [builder.add(a, self.scaled(offset)) for offset in offsets]

    def sums(self):
        """Emit the loops over k1 and k2, and return the sums. Code that follows comes after the loops."""
        builder, n1, n2 = self.builder, self.n1, self.n2
        start = builder.block
        outer, inner, after, done = (builder.append_basic_block(name) for name in ("k1", "k2", "after", "done"))
        builder.branch(outer)

        builder.position_at_end(outer)
        k1, a1, b1 = (self.phi(I64, (first, start)) for first in (self.const(0), self.const(0), self.b))
        zeros = ir.Constant(self.vector, None)
        sums1 = [self.phi(self.vector, (zeros, start)) for _ in range(self.rows * self.vectors)]
        builder.branch(inner)

        builder.position_at_end(inner)
        k2, a2, b2 = (self.phi(I64, (first, outer)) for first in (self.const(0), a1, b1))
        sums2 = [self.phi(self.vector, (value, outer)) for value in sums1]
        sums = self._with_products(a2, b2, sums2)
        next_k2, next_b = builder.add(k2, self.const(1)), builder.add(b2, self.ldb)
        add_incoming(inner, [k2, a2, b2, *sums2], [next_k2, builder.add(a2, self.step2), next_b, *sums])
        builder.cbranch(builder.icmp_signed("<", next_k2, n2), inner, after)

        builder.position_at_end(after)
        next_k1 = builder.add(k1, self.const(1))
        add_incoming(after, [k1, a1, b1, *sums1], [next_k1, builder.add(a1, self.step1), next_b, *sums])
        builder.cbranch(builder.icmp_signed("<", next_k1, n1), outer, done)

        builder.position_at_end(done)
        return sums

    def columns(self, b):
        """Return the vectors of the row of B at this address."""
        return [self.load(self.builder.add(b, self.const(v * self.bytes))) for v in range(self.vectors)]

    def _with_products(self, a, b, sums):
        """Return the sums with the products of one element of each row of A and one row of B added to them."""
        builder, vectors = self.builder, self.vectors
        columns = self.columns(b)
        found = []
        for i, row in enumerate(self.a_rows):
            factor = self.broadcast(self.load(builder.add(row, a), self.scalar))
            found += [
                builder.call(self.function("fma", 3), [factor, columns[v], sums[i * vectors + v]])
                for v in range(vectors)
            ]
        return found


def add_incoming(source, nodes, values):
    """Set the values of phi nodes for the case that control comes from the LLVM block ``source``."""
    for node, value in zip(nodes, values, strict=True):
        node.add_incoming(value, source)


def _emit(builder, args, dtype, vector_bytes, rows, vectors):
    """Emit the code of a block."""
    block = _Block(builder, args, dtype, vector_bytes, rows, vectors)
    block.finish(block.sums())


def _addresses(e):
    """Return what ``_Block`` takes, of the arguments of an intrinsic as ``make_block`` describes them."""
    _, _, o, _, b, ldb, _, d, ldd, _, c, ldc, n1, step1, n2, step2, floor = e.args[:17]
    lines = [(e.address(n, at), e.scaled(distance)) for n, at, distance in ((3, b, ldb), (6, d, ldd), (9, c, ldc))]
    places = [part for line in lines for part in line]
    return [e.address(0, e.const(0)), e.address(1, o, 8), *places, n1, e.scaled(step1), n2, e.scaled(step2), floor]


def make_block(rows: int, vectors: int, vector_bytes: int) -> Callable[..., Any]:
    """Return the micro-kernel for a block of ``rows`` by ``vectors`` registers, as vector code.

    ``block(A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor)``: A, B, C and D are flat
    arrays of one dtype. B, C and D are used from their elements b, c and d. offsets are int64 indices of A, used from
    element o. B has n1 * n2 rows. Rows of B, C and D are ldb, ldc and ldd elements apart. NaN stays NaN.
    """
    name = f"block_{rows}x{vectors}x{vector_bytes}"
    linked = in_both_precisions(name, 12, 1, _emit, vector_bytes, rows, vectors)

    @vector_code(plain.block(rows, vectors, vector_bytes))
    def block(typingctx, A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor):
        n = types.intp
        signature = types.void(A, offsets, n, B, n, n, D, n, n, C, n, n, n, n, n, n, A.dtype)

        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, A.dtype, vector_bytes)
            linked[A.dtype].call(builder, _addresses(e))
            return context.get_dummy_value()

        return signature, codegen

    return block


_R0, _R1, _R2, _R3 = ROWS
_wide0, _wide1, _wide2, _wide3 = (make_block(rows, 2, VECTOR_BYTES) for rows in ROWS)
_slim0, _slim1, _slim2, _slim3 = (make_block(rows, 1, VECTOR_BYTES) for rows in ROWS)


@helper
def _block(rows, wide, *where):
    """Call the smallest block of at least ``rows`` rows, two vectors wide or one. It writes all its rows."""
    if wide:
        if rows > _R1:
            _wide0(*where)
        elif rows > _R2:
            _wide1(*where)
        elif rows > _R3:
            _wide2(*where)
        else:
            _wide3(*where)
    elif rows > _R1:
        _slim0(*where)
    elif rows > _R2:
        _slim1(*where)
    elif rows > _R3:
        _slim2(*where)
    else:
        _slim3(*where)


@routine
def block(rows, wide, A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor):
    """Call the smallest block of at least ``rows`` rows, two vectors wide or one. It writes all its rows."""
    _block(rows, wide, A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor)


@helper
def block_rows_for(rows):
    """Return the number of rows of the block that a tile of ``rows`` rows uses."""
    return _R0 if rows > _R1 else (_R1 if rows > _R2 else (_R2 if rows > _R3 else _R3))


@helper
def largest_block(rows):
    """Return the number of rows of the largest block that has no more than ``rows``, an even number."""
    return _R0 if rows >= _R0 else (_R1 if rows >= _R1 else (_R2 if rows >= _R2 else _R3))


@helper
def rows_of_next(rows):
    """Return how many of ``rows`` rows to process next if sums are long.

    Two blocks are then faster than one with unused rows, 8 and 1 for 9 rows instead of 14, and than a large and a very
    small one, whose sums are too few to hide how long an addition takes: 8 and 8 for 16 rows instead of 14 and 2.
    """
    return _R1 if _R1 < rows <= _R0 - 2 or _R0 < rows <= 2 * _R1 else min(rows, _R0)


@routine
def tile(rows, cols, lanes, A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor, spare):
    """Call ``block`` for rows x cols of C. A block that extends beyond C is written to ``spare`` first.

    offsets must be valid for all rows of the block. If ldd is 0, the row of D must be valid for all its columns.
    """
    C, D, spare = borrowed(C), borrowed(D), borrowed(spare)
    wide = cols > lanes
    width = 2 * lanes if wide else lanes
    fits = rows == block_rows_for(rows) and cols == width
    if not fits and ldd != 0:
        for i in range(rows):
            for j in range(0, width, lanes):
                move(D, d + i * ldd + j, cols - j, spare, i * width + j, lanes)
    # There is one call only, because the compiler inserts a copy of every block for each call.
    D, d, ldd = (D, d, ldd) if fits or ldd == 0 else (spare, 0, width)
    out, to, step = (C, c, ldc) if fits else (spare, 0, width)
    _block(rows, wide, A, offsets, o, B, b, ldb, D, d, ldd, out, to, step, n1, step1, n2, step2, floor)
    if not fits:
        for i in range(rows):
            for j in range(0, width, lanes):
                move(spare, i * width + j, lanes, C, c + i * ldc + j, cols - j)
