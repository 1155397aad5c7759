"""Vector registers: their width on this processor, and emitters of LLVM code for them."""

import os
from contextlib import contextmanager

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils

_FEATURES = llvm.get_host_cpu_features()
# Bytes of a vector register. MINNET_VECTOR_BYTES sets a smaller number, so that its code can be tested anywhere.
VECTOR_BYTES = int(
    os.environ.get("MINNET_VECTOR_BYTES") or (64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16)
)

I64, I32 = ir.IntType(64), ir.IntType(32)


class VectorEmitter:
    """Emits LLVM code for vectors at addresses.

    Args:
        builder: LLVM's builder of a function.
        dtype: Numba's type of the elements, float32 or float64.
        vector_bytes: bytes of a vector.

    Attributes:
        size: bytes of an element.
        bytes, lanes: bytes and elements of a vector.
        scalar, vector: LLVM's types.
    """

    def __init__(self, builder, dtype, vector_bytes):
        self.builder = builder
        self.size = dtype.bitwidth // 8
        self.bytes, self.lanes = vector_bytes, vector_bytes // self.size
        self.scalar = ir.FloatType() if self.size == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.scalar, self.lanes)

    def const(self, n):
        """Return an int64 constant."""
        return ir.Constant(I64, n)

    def scaled(self, index, size=None):
        """Return a number of elements in bytes."""
        return self.builder.mul(index, self.const(size or self.size))

    def load(self, where, kind=None):
        """Load a vector, or a value of another LLVM type."""
        value = self.builder.load(self.builder.inttoptr(where, (kind or self.vector).as_pointer()))
        value.align = self.size
        return value

    def store(self, value, where):
        """Store a vector."""
        self.builder.store(value, self.builder.inttoptr(where, self.vector.as_pointer())).align = self.size

    def prefetch(self, where):
        """Fetch the cache line at this address, which may be outside of all arrays, into the second-level cache."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        ask = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        write, locality, data = (ir.Constant(I32, n) for n in (0, 2, 1))
        self.builder.call(ask, [self.builder.inttoptr(where, byte), write, locality, data])

    def broadcast(self, value):
        """Return a vector with a scalar in all lanes."""
        undefined, zeros = ir.Constant(self.vector, ir.Undefined), ir.Constant(ir.VectorType(I32, self.lanes), None)
        lane = self.builder.insert_element(undefined, value, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(lane, undefined, zeros)

    def first(self, count):
        """Return a mask of the first ``count`` lanes. ``count`` may be below 0 or above the number of lanes."""
        numbers = ir.VectorType(I64, self.lanes)
        lane = self.builder.insert_element(ir.Constant(numbers, ir.Undefined), count, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), None)
        counts = self.builder.shuffle_vector(lane, ir.Constant(numbers, ir.Undefined), zeros)
        return self.builder.icmp_signed("<", ir.Constant(numbers, list(range(self.lanes))), counts)

    def _masked(self, name, result, *arguments):
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        full_name = f"llvm.masked.{name}.v{self.lanes}f{8 * self.size}.p0"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, full_name), arguments)

    def load_first(self, count, where):
        """Load the first ``count`` lanes. The others are 0, and their memory is not read."""
        place, align = self.builder.inttoptr(where, self.vector.as_pointer()), ir.Constant(I32, self.size)
        return self._masked("load", self.vector, place, align, self.first(count), ir.Constant(self.vector, None))

    def store_first(self, count, value, where):
        """Store the first ``count`` lanes. The memory of the others is not accessed."""
        place, align = self.builder.inttoptr(where, self.vector.as_pointer()), ir.Constant(I32, self.size)
        self._masked("store", ir.VoidType(), value, place, align, self.first(count))

    def constant(self, number):
        """Return a vector with one number in all lanes."""
        return ir.Constant(self.vector, [number] * self.lanes)

    def function(self, name, arguments):
        """Return LLVM's function of this name on vectors, such as fma (a * b + c, rounded once)."""
        kind = ir.FunctionType(self.vector, [self.vector] * arguments)
        full_name = f"llvm.{name}.v{self.lanes}f{8 * self.size}"
        return cgutils.get_or_insert_function(self.builder.module, kind, full_name)

    def smaller(self, one, other):
        """Return the smaller of two int64 values."""
        return self.builder.select(self.builder.icmp_signed("<", one, other), one, other)

    def raised(self, value, bottom):
        """Return a vector whose lanes are at least those of ``bottom``."""
        # This comparison is false for NaN, so NaN stays.
        return self.builder.select(self.builder.fcmp_ordered("<", value, bottom), bottom, value)

    def spread(self, start, step, count):
        """Return ``count`` addresses from ``start`` on that are ``step`` bytes apart."""
        return [self.builder.add(start, self.builder.mul(step, self.const(i))) for i in range(count)]

    def choose(self, number, emitters):
        """Emit code that runs the code of one of ``emitters``, by its number."""
        builder, after = self.builder, self.builder.append_basic_block("after")
        choice = builder.switch(number, after)
        for n, emit in enumerate(emitters):
            block = builder.append_basic_block(f"case{n}")
            choice.add_case(self.const(n), block)
            builder.position_at_end(block)
            emit()
            builder.branch(after)
        builder.position_at_end(after)

    @contextmanager
    def loop(self, start, stop, step):
        """Within this context code is emitted that is repeated for each value of range(start, stop, step), yielded."""
        with cgutils.for_range_slice(self.builder, start, stop, self.const(step), I64) as (n, _):
            yield n

    def totals(self, sums):
        """Return a vector with the sum of the lanes of each of ``sums``, at most as many as a vector has lanes.

        Lanes are added in pairs. If the sums are fewer, they repeat.
        """
        width = self.lanes
        while width > 1:  # width is the number of lanes of one sum: add their halves, of two vectors into one
            half, groups = width // 2, range(0, 2 * self.lanes, width)
            halves = [[g + k + shift for g in groups for k in range(half)] for shift in (0, half)]
            pairs = zip(sums[::2], sums[1::2] or sums, strict=True)
            sums = [self.builder.fadd(*(self.shuffled(*pair, lanes) for lanes in halves)) for pair in pairs]
            width = half
        return sums[0]

    def shuffled(self, one, other, lanes):
        """Return the vector of these lanes of two vectors, which are counted through both."""
        return self.builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))

    def phi(self, kind, *incoming):
        """Return a phi node with these (value, block) pairs; those of later blocks are added by ``add_incoming``."""
        node = self.builder.phi(kind)
        for value, source in incoming:
            node.add_incoming(value, source)
        return node


class Emitter(VectorEmitter):
    """Emits the LLVM code of an intrinsic, whose arguments are flat arrays and numbers.

    Args:
        context, builder, signature, args: what Numba passes to the code generator of an intrinsic.
        dtype, vector_bytes: those of ``VectorEmitter``.
    """

    def __init__(self, context, builder, signature, args, dtype, vector_bytes):
        super().__init__(builder, dtype, vector_bytes)
        self.context, self.signature, self.args = context, signature, args

    def address(self, n, at, size=None):
        """Return the address of element ``at`` of argument ``n``, an array."""
        array = self.context.make_array(self.signature.args[n])(self.context, self.builder, self.args[n])
        return self.builder.add(self.builder.ptrtoint(array.data, I64), self.scaled(at, size))
