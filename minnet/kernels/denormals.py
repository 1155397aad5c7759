"""Denormal numbers count as zeros in kernels.

A denormal number is closer to 0 than the smallest normal number (1.2e-38 in float32, 2.2e-308 in float64). On many
processors an operation that reads or writes one takes a hundred times as long. A velocity that decays becomes denormal
and stays so. Each kernel therefore sets the processor's flags for reading and writing zeros instead, and restores the
flags when it returns. Code between kernels, such as NumPy's, is not affected. Flags belong to a thread, so each thread
that executes a part of a ``prange`` sets and restores its own.

On processors other than x86-64 and 64-bit ARM, no flags are set.
"""

import platform
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils

from .emission import BODY, LAUNCH, WholeCompiler, internal, set_apart
from .sharing import share_schedule, take_shares

_I32, _I64 = ir.IntType(32), ir.IntType(64)

llvm.initialize_native_asmparser()


def _assembler(builder, result, code, constraints, *arguments):
    """An instruction that the optimiser neither removes nor moves memory accesses across."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.asm(kind, code, f"{constraints},~{{memory}}", arguments, side_effect=True)


class _X86:
    """The register MXCSR, read and written through memory. Bit 15 is for denormal results, bit 6 for operands."""

    flags = ir.Constant(_I32, 1 << 15 | 1 << 6)

    @staticmethod
    def read(builder):
        place = cgutils.alloca_once(builder, _I32)
        _assembler(builder, ir.VoidType(), "stmxcsr ($0)", "r", place)
        return builder.load(place)

    @staticmethod
    def write(builder, value):
        place = cgutils.alloca_once(builder, _I32)
        builder.store(value, place)
        _assembler(builder, ir.VoidType(), "ldmxcsr ($0)", "r", place)


class _Arm:
    """The register FPCR. Bit 24 is for denormal operands and results."""

    flags = ir.Constant(_I64, 1 << 24)

    @staticmethod
    def read(builder):
        return _assembler(builder, _I64, "mrs $0, fpcr", "=r")

    @staticmethod
    def write(builder, value):
        _assembler(builder, ir.VoidType(), "msr fpcr, $0", "r", value)


_REGISTER: Any = {"x86_64": _X86, "AMD64": _X86, "aarch64": _Arm, "arm64": _Arm}.get(platform.machine())


def _call_between(function, change, callee):
    """Fill ``function``: it changes the flags, calls ``callee``, and restores the flags, whatever the call returns.

    Flags that are as they should be are not written, which takes longer than to read them. The calls must not be
    inlined: the optimiser does not know the flags and could move arithmetic across their change.
    """
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    before = _REGISTER.read(builder)
    wanted = change(builder, before)
    with builder.if_then(builder.icmp_unsigned("!=", before, wanted)):
        _REGISTER.write(builder, wanted)
        result = builder.call(callee, function.args, attrs=("noinline",))
        _REGISTER.write(builder, before)
        _return(builder, result)
    _return(builder, builder.call(callee, function.args, attrs=("noinline",)))


def _return(builder, result):
    if isinstance(result.type, ir.VoidType):
        builder.ret_void()
    else:
        builder.ret(result)


def set_and_restored(flushing: bool, name: str) -> tuple[str, str]:
    """Return LLVM's text that sets or clears the flags, and text that restores them, for code around many kernels.

    Args:
        flushing: whether denormal numbers are zeros between the two.
        name: how the names of values in the text begin, which must occur once in a function.
    """
    change = "or" if flushing else "and"
    if _REGISTER is _X86:
        access = 'call void asm sideeffect "{}mxcsr ($0)", "r,~{{memory}}"(i32* %{})'
        return (
            f"""
  %{name}_before = alloca i32
  %{name}_within = alloca i32
  {access.format("st", f"{name}_before")}
  %{name}_read = load i32, i32* %{name}_before
  %{name}_new = {change} i32 %{name}_read, {_mask(_X86, flushing)}
  store i32 %{name}_new, i32* %{name}_within
  {access.format("ld", f"{name}_within")}""",
            f"\n  {access.format('ld', f'{name}_before')}",
        )
    if _REGISTER is _Arm:
        write = 'call void asm sideeffect "msr fpcr, $0", "r,~{{memory}}"(i64 %{})'
        return (
            f"""
  %{name}_before = call i64 asm sideeffect "mrs $0, fpcr", "=r,~{{memory}}"()
  %{name}_new = {change} i64 %{name}_before, {_mask(_Arm, flushing)}
  {write.format(f"{name}_new")}""",
            f"\n  {write.format(f'{name}_before')}",
        )
    return "", ""


def _mask(register: Any, flushing: bool) -> int:
    flags: int = register.flags.constant
    return flags if flushing else ~flags


def _with_flags(builder, before):
    return builder.or_(before, _REGISTER.flags)


def _without_flags(builder, before):
    return builder.and_(before, builder.not_(_REGISTER.flags))


def _flush_within(function):
    """Turn ``function`` into a function that sets the flags and calls its former body."""
    _call_between(function, _with_flags, set_apart(function, "flushing"))


def _launch_without(function):
    """Clear the flags while ``function`` launches threads: a new thread starts with the flags of its creator."""
    for block in function.blocks:
        for call in block.instructions:
            if isinstance(call, ir.CallInstr) and getattr(call.callee, "name", "").startswith(LAUNCH):
                launch = internal(call.callee, "launch")
                _call_between(launch, _without_flags, call.callee)
                call.callee = launch


class FlushingCompiler(WholeCompiler):
    """A compiler for functions in which denormal numbers count as zeros, in all threads of a ``prange``.

    ``post_lowering`` is called with each module of LLVM code before it is optimised. It changes the function itself and
    the bodies of its ``prange``. Functions that Numba compiles for all callers, such as slicing, do not change.
    """

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)
        target = self.state.targetctx

        def post_lowering(module, library):
            target.post_lowering(module, library)
            is_body = module.name.startswith(BODY)
            if not is_body and module.name != self.state.func_id.unique_name:
                return
            for function in [f for f in module.functions if not f.is_declaration]:
                (take_shares if is_body else share_schedule)(function)
                if _REGISTER is not None:
                    _launch_without(function)
                    _flush_within(function)

        self.state.targetctx = target.subtarget(post_lowering=post_lowering)
