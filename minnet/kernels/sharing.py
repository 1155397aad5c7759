"""How threads share the iterations of a ``prange``: who has done its part takes over some of the others'.

Numba gives each thread a half, a third or another equal part beforehand. All then wait for the slowest thread: one that
wakes up late, or whose processor is slower, or is lent to another program for a while. On a machine that is shared with
others, one of two processors often takes half as long again for the same work.

Here a thread takes a few iterations of its part at a time, and then those that are left of the parts of the others. If
all are equally fast, a thread gets the same iterations in each kernel, so what it needs is in its cache. What an
iteration computes does not depend on who computes it, so results are the same.

This works on the code that Numba emits. The schedule had a row of the first and the last iteration of each thread; now
each row says where the parts are, and which of them is the thread's own. The body of the ``prange`` is called until
nothing is left. ``tests/kernels/test_sharing.py`` fails if a version of Numba emits something else.
"""

import numba
from llvmlite import ir
from numba.core import cgutils

from .emission import LAUNCH, set_apart

_I64 = ir.IntType(64)
_SHARES = 16  # that a part is taken in: to take one costs some 20 ns, an iteration far longer
_NEXT, _LAST, _MANY, _PARTS = range(4)  # of a part: next iteration, last one, how many to take; the number of parts
_ROOM = 8  # numbers from a part to the next, a cache line, so that threads do not wait for each other's


def _const(number):
    return ir.Constant(_I64, number)


def _element(builder, array, number):
    return builder.gep(array, [number if isinstance(number, ir.Value) else _const(number)])


def share_schedule(function):
    """Have ``function``, a kernel, write parts that threads share after the schedule of each ``prange``."""
    found = 0
    for block in function.blocks:
        for call in list(block.instructions):
            name = getattr(getattr(call, "callee", None), "name", "")
            if name == "allocate_sched":  # of two numbers a thread
                builder = ir.IRBuilder(block)
                builder.position_before(call)
                call.operands[1] = builder.mul(call.args[0], _const(1 + _ROOM // 2))
                found += 1
            elif name in ("do_scheduling_signed", "do_scheduling_unsigned"):
                if call.args[0].constant != 1:  # the variables: rows are longer, and parts would overwrite them
                    raise NotImplementedError(
                        f"minnet: expected parallel loops over one variable in a kernel; got one over "
                        f"{call.args[0].constant}, as of an assignment to an array of several axes. Write it as a loop"
                    )
                call.callee = _scheduler(function.module, call.callee)
                found += 1
            elif name.startswith(LAUNCH):
                found -= 2
    if found:  # the body would take numbers for addresses
        raise NotImplementedError(
            f"minnet: expected Numba to plan each prange by allocate_sched and do_scheduling; got another way from "
            f"Numba {numba.__version__}. Install a version that pyproject.toml names, and report this"
        )


def _scheduler(module, numbas):
    """Return a function that calls Numba's scheduler and makes parts of what it writes, for loops over one variable."""
    name = f"minnet_{numbas.name}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, numbas.ftype, name)
    function.linkage = "internal"
    threads, schedule = function.args[3:5]
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    builder.call(numbas, function.args)
    parts = _element(builder, schedule, builder.mul(threads, _const(2)))
    with cgutils.for_range(builder, threads) as loop:
        row = _element(builder, schedule, builder.mul(loop.index, _const(2)))
        first, last = builder.load(row), builder.load(_element(builder, row, 1))
        count = builder.add(builder.sub(last, first), _const(1))
        shares = builder.select(builder.icmp_unsigned(">", threads, _const(1)), _const(_SHARES), _const(1))
        many = builder.udiv(builder.add(count, builder.sub(shares, _const(1))), shares)
        part = _element(builder, parts, builder.mul(loop.index, _const(_ROOM)))
        for place, value in ((_NEXT, first), (_LAST, last), (_MANY, many), (_PARTS, threads)):
            builder.store(value, _element(builder, part, place))
        builder.store(builder.ptrtoint(parts, _I64), row)
        builder.store(loop.index, _element(builder, row, 1))
    builder.ret(schedule)
    return function


def take_shares(function):
    """Turn ``function``, the body of a ``prange``, into one that calls its former body until nothing is left.

    The body runs the iterations from the first to the last of a row of the schedule, an argument.
    """
    schedule = [argument.name for argument in function.args].index("arg.sched.4")  # the place of its numbers
    body = set_apart(function, "share")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    row = function.args[schedule]
    parts = builder.inttoptr(builder.load(row), _I64.as_pointer())
    own, count = builder.load(_element(builder, row, 1)), builder.load(_element(builder, parts, _PARTS))
    share = builder.alloca(_I64, _const(2))
    arguments = [share if n == schedule else argument for n, argument in enumerate(function.args)]
    with cgutils.for_range(builder, count) as loop:
        number = builder.urem(builder.add(own, loop.index), count)
        part = _element(builder, parts, builder.mul(number, _const(_ROOM)))
        last, many = (builder.load(_element(builder, part, place)) for place in (_LAST, _MANY))
        take, run, end = (builder.append_basic_block(name) for name in ("take", "run", "end"))
        builder.branch(take)

        builder.position_at_end(take)
        first = builder.atomic_rmw("add", _element(builder, part, _NEXT), many, "monotonic")
        builder.cbranch(builder.icmp_signed(">", first, last), end, run)

        builder.position_at_end(run)
        stop = builder.sub(builder.add(first, many), _const(1))
        builder.store(first, share)
        builder.store(builder.select(builder.icmp_signed("<", stop, last), stop, last), _element(builder, share, 1))
        status = builder.call(body, arguments)
        failed = builder.icmp_unsigned("!=", status, ir.Constant(status.type, 0))
        with builder.if_then(failed, likely=False):
            builder.ret(status)
        builder.branch(take)

        builder.position_at_end(end)
    builder.ret(ir.Constant(function.ftype.return_type, 0))
