"""The micro-kernel of matrix products: a block of sums in registers, of rows of A' and a panel of B'.

    C[i][v] = max(floor, D[i][v] + sum over k of A'[i, k] * B'[k][v])

An element of A' is broadcast to all lanes; a row of the panel is two vectors. D is added last, as in ``block``. A' lies
in one of two ways, which differ in how its elements are addressed:

* in rows of A, whose terms lie side by side. An instruction adds once or twice the distance of rows to an address, so
  every third row has a pointer of its own. One for each row would not fit into the registers for addresses.
* in columns, the rows of a term side by side. One pointer is enough, and a term takes one cache line.

A processor whose core is shared by two threads executes half as many instructions of each, so few instructions a term
count as much as few cycles.

While a block computes, it does something for later as well: it copies the rows of B' that it reads to a panel, or it
fetches cache lines. A processor fetches a dozen lines at a time. Many in a row would be waited for; one in every two
terms is not.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types

from .. import plain
from ..compile import helper, vector_code
from ..linked import in_both_precisions
from .block import ROWS, Results, add_incoming
from .simd import I64, VECTOR_BYTES, Emitter

TERMS = 2  # of a turn of the loop, and for each line that is fetched; the terms of a block are a multiple of it
VECTORS = 2  # of a row of a panel
_GROUP = 3  # rows of A with one pointer


class _InRows:
    """A' in rows that lie ``a_step`` bytes apart."""

    def __init__(self, block):
        self.block, self.advance = block, block.const(TERMS * block.size)

    def starts(self):
        """Return the addresses of the first terms of every third row."""
        e = self.block
        return e.spread(e.a, e.builder.mul(e.a_step, e.const(_GROUP)), -(-e.rows // _GROUP))

    def place(self, pointers, row, term):
        """Return the address of an element, from the pointers to the terms of this turn."""
        add, e = self.block.builder.add, self.block
        distance = e.builder.mul(e.a_step, e.const(row % _GROUP))
        return add(add(pointers[row // _GROUP], distance), e.const(term * e.size))


class _InColumns:
    """A' in columns that lie ``a_step`` bytes apart."""

    def __init__(self, block):
        self.block, self.advance = block, block.builder.mul(block.a_step, block.const(TERMS))

    def starts(self):
        return [self.block.a]

    def place(self, pointers, row, term):
        add, e = self.block.builder.add, self.block
        distance = e.builder.mul(e.a_step, e.const(term))
        return add(add(pointers[0], distance), e.const(row * e.size))


class _Packing:
    """Copies the rows of B' to a panel at ``p``, and fetches the lines that lie ``further`` bytes after each row."""

    def __init__(self, block):
        self.block, self.width = block, VECTORS * block.bytes
        self.advance = block.const(TERMS * self.width)

    def beside(self, term, columns, b, p):
        """Emit what happens beside the products of a term, whose row of B' has the address b."""
        add, e = self.block.builder.add, self.block
        for v, column in enumerate(columns):
            e.store(column, add(p, e.const(term * self.width + v * e.bytes)))
            e.prefetch(add(add(b, e.further), e.const(v * e.bytes)))


class _Fetching:
    """Fetches cache lines, the first at ``p``, and each ``further`` bytes after the one before."""

    def __init__(self, block):
        self.block, self.advance = block, block.further

    def beside(self, term, columns, b, p):
        if term == 0:
            self.block.prefetch(p)


class _Block(Results):
    """Emits the code of a block.

    ``args`` are the addresses of A', and of the rows of B', D and C that are used first, each followed by a distance in
    bytes; then the number of terms, p and further, which ``beside`` describes, and the floor.
    """

    def __init__(self, builder, args, dtype, vector_bytes, rows, layout, beside):
        self.a, self.a_step, self.b, self.ldb, d, ldd, c, ldc, self.terms, self.p, self.further, floor = args
        super().__init__(builder, dtype, vector_bytes, rows, VECTORS, d, ldd, c, ldc, floor)
        self.layout, self.beside = layout(self), beside(self)

    def sums(self):
        """Emit the loop over the terms, and return the sums. Code that follows comes after the loop."""
        builder, start = self.builder, self.builder.block
        starts, zeros = self.layout.starts(), ir.Constant(self.vector, None)
        turn, done = (builder.append_basic_block(name) for name in ("turn", "done"))
        builder.branch(turn)

        builder.position_at_end(turn)
        left, b0, p, *pointers = (self.phi(I64, (first, start)) for first in (self.terms, self.b, self.p, *starts))
        before = [self.phi(self.vector, (zeros, start)) for _ in range(self.rows * VECTORS)]
        sums, b = before, b0
        for term in range(TERMS):
            columns = [self.load(builder.add(b, self.const(v * self.bytes))) for v in range(VECTORS)]
            self.beside.beside(term, columns, b, p)
            sums = self._with_products(columns, sums, pointers, term)
            b = builder.add(b, self.ldb)
        fewer, next_p = builder.sub(left, self.const(TERMS)), builder.add(p, self.beside.advance)
        moved = [builder.add(pointer, self.layout.advance) for pointer in pointers]
        add_incoming(turn, [left, b0, p, *pointers, *before], [fewer, b, next_p, *moved, *sums])
        builder.cbranch(builder.icmp_signed(">", fewer, self.const(0)), turn, done)

        builder.position_at_end(done)
        return sums

    def _with_products(self, columns, sums, pointers, term):
        """Return the sums with the products of a term added to them."""
        builder, found = self.builder, []
        for row in range(self.rows):
            factor = self.broadcast(self.load(self.layout.place(pointers, row, term), self.scalar))
            for v, column in enumerate(columns):
                found.append(builder.call(self.function("fma", 3), [factor, column, sums[row * VECTORS + v]]))
        return found


def _emit(builder, args, dtype, vector_bytes, rows, layout, beside):
    """Emit the code of a block of one kind."""
    block = _Block(builder, args, dtype, vector_bytes, rows, layout, beside)
    block.finish(block.sums())


def _addresses(e):
    """Return what ``_Block`` takes, of the arguments of an intrinsic as ``_make`` describes them."""
    _, a, a_step, _, b, ldb, _, d, ldd, _, c, ldc, terms, floor, _, p, further = e.args
    lines = ((0, a, a_step), (3, b, ldb), (6, d, ldd), (9, c, ldc))
    places = [part for n, at, step in lines for part in (e.address(n, at), e.scaled(step))]
    return [*places, terms, e.address(14, p), e.scaled(further), floor]


def _make(name: str, rows: int, vector_bytes: int, layout: type, beside: type, twin: Any) -> Callable[..., Any]:
    """Return a block of ``rows`` by two registers, as vector code.

    ``block(A, a, a_step, B, b, ldb, D, d, ldd, C, c, ldc, terms, floor, P, p, further)``: A, B, C, D and P are flat
    arrays of one dtype, used from their elements a, b, c, d and p on. Rows of B, C and D are ldb, ldc and ldd elements
    apart, and rows or columns of A a_step. NaN stays NaN.
    """
    linked = in_both_precisions(f"{name}_block_{rows}x{vector_bytes}", 11, 1, _emit, vector_bytes, rows, layout, beside)

    @vector_code(twin)
    def block(typingctx, A, a, a_step, B, b, ldb, D, d, ldd, C, c, ldc, terms, floor, P, p, further):
        n = types.intp
        signature = types.void(A, n, n, B, n, n, D, n, n, C, n, n, n, A.dtype, P, n, n)

        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, A.dtype, vector_bytes)
            linked[A.dtype].call(builder, _addresses(e))
            return context.get_dummy_value()

        return signature, codegen

    return block


def make_blocks(in_rows: bool, sizes: Sequence[int], vector_bytes: int) -> tuple[Callable[..., Any], ...]:
    """Return a block that packs, of the first of ``sizes`` rows, and blocks that fetch, of each of them.

    The first block of rows that uses a part of B' copies it to P[p:], because its sums take longer than the copy. It
    also fetches the cache lines ``further`` elements after each row of B. A block that fetches takes a line for every
    ``TERMS`` terms, the first at P[p], and each ``further`` elements after the one before. They may be outside of P.

    Args:
        in_rows: whether A' lies in rows, and not in columns.
        sizes: numbers of rows.
        vector_bytes: bytes of a vector.
    """
    layout, name = (_InRows, "rows") if in_rows else (_InColumns, "columns")
    twins = plain.panel_blocks(in_rows, sizes, vector_bytes)
    kinds = [(_Packing, "packing", sizes[0]), *((_Fetching, "fetching", rows) for rows in sizes)]
    return tuple(
        _make(f"{kind}_{name}", rows, vector_bytes, layout, beside, twin)
        for (beside, kind, rows), twin in zip(kinds, twins, strict=True)
    )


_R0, _R1, _R2, _R3 = ROWS
packing_rows, fetching_rows = make_blocks(True, ROWS[:1], VECTOR_BYTES)
packing_columns, _columns0, _columns1, _columns2, _columns3 = make_blocks(False, ROWS, VECTOR_BYTES)


@helper
def fetching_columns(rows, *where):
    """Call the smallest block of at least ``rows`` rows whose A' lies in columns. It writes all its rows."""
    if rows > _R1:
        _columns0(*where)
    elif rows > _R2:
        _columns1(*where)
    elif rows > _R3:
        _columns2(*where)
    else:
        _columns3(*where)
