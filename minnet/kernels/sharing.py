"""How threads share the iterations of a ``prange``: each takes the next ones when it has done its last.

Numba gives each thread one half, third or other equal part beforehand. All then wait for the slowest thread: one that
wakes up late, or whose processor is slower, or is lent to another program for a while. On a machine that is shared with
others, one of two processors often takes half as long again for the same work.

Here a thread takes a few iterations at a time from a counter that all share. What an iteration computes does not depend
on who computes it, so results are the same. The code works on what Numba emits: the schedule, a row of the first and the
last iteration for each thread, has the address of the counter instead, and the body of the ``prange`` is called again
until nothing is left. ``tests/kernels/test_sharing.py`` fails if a version of Numba emits something else.
"""

from llvmlite import ir
from numba.core import cgutils

from .emission import set_apart

_I64 = ir.IntType(64)
_SHARES = 16  # that an equal part is taken in: an atomic addition takes some 20 ns, an iteration far longer
_NEXT, _LAST, _MANY, _ROOM = range(4)  # the counter, the last iteration, how many to take at a time; their number


def _const(number):
    return ir.Constant(_I64, number)


def _element(builder, array, number):
    return builder.gep(array, [number if isinstance(number, ir.Value) else _const(number)])


def share_schedule(function):
    """Have ``function``, a kernel, write shared counters instead of schedules."""
    for block in function.blocks:
        for call in list(block.instructions):
            name = getattr(getattr(call, "callee", None), "name", "")
            if name == "allocate_sched":
                builder = ir.IRBuilder(block)
                builder.position_before(call)
                call.operands[1] = builder.add(call.args[0], _const(_ROOM))
            elif name in ("do_scheduling_signed", "do_scheduling_unsigned"):
                call.callee = _scheduler(function.module, call.callee.ftype)


def _scheduler(module, kind):
    """Return a function with the arguments of Numba's ``do_scheduling``, for loops over one variable."""
    name = "minnet_share_schedule"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    _, starts, stops, threads, schedule, _ = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    first, last = builder.load(starts), builder.load(stops)
    shared = _element(builder, schedule, builder.mul(threads, _const(2)))
    shares = builder.select(builder.icmp_unsigned(">", threads, _const(1)), builder.mul(threads, _const(_SHARES)), threads)
    count = builder.add(builder.sub(last, first), _const(1))
    many = builder.udiv(builder.add(count, builder.sub(shares, _const(1))), shares)
    for place, value in ((_NEXT, first), (_LAST, last), (_MANY, many)):
        builder.store(value, _element(builder, shared, place))
    with cgutils.for_range(builder, threads) as loop:
        row = _element(builder, schedule, builder.mul(loop.index, _const(2)))
        builder.store(builder.ptrtoint(shared, _I64), row)
    builder.ret(schedule)
    return function


def take_shares(function):
    """Turn ``function``, the body of a ``prange``, into one that calls its former body until nothing is left.

    The body runs the iterations from the first to the last of a row of the schedule, an argument.
    """
    schedule = [argument.name for argument in function.args].index("arg.sched.4")  # the place of its numbers
    body = set_apart(function, "share")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    shared = builder.inttoptr(builder.load(function.args[schedule]), _I64.as_pointer())
    last, many = (builder.load(_element(builder, shared, place)) for place in (_LAST, _MANY))
    row = builder.alloca(_I64, _const(2))
    next_share, run, end = (function.append_basic_block(name) for name in ("next", "run", "end"))
    builder.branch(next_share)

    builder.position_at_end(next_share)
    first = builder.atomic_rmw("add", _element(builder, shared, _NEXT), many, "monotonic")
    builder.cbranch(builder.icmp_signed(">", first, last), end, run)

    builder.position_at_end(run)
    stop = builder.sub(builder.add(first, many), _const(1))
    builder.store(first, row)
    builder.store(builder.select(builder.icmp_signed("<", stop, last), stop, last), _element(builder, row, 1))
    status = builder.call(body, [row if n == schedule else argument for n, argument in enumerate(function.args)])
    failed = function.append_basic_block("failed")
    builder.cbranch(builder.icmp_unsigned("==", status, ir.Constant(status.type, 0)), next_share, failed)

    builder.position_at_end(failed)
    builder.ret(status)
    builder.position_at_end(end)
    builder.ret(ir.Constant(status.type, 0))
