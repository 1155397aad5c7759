"""What a call of a kernel does when it must do more than run the kernel.

A compiled kernel is an object of Numba's class CPUDispatcher, whose call is C code. Where a call has to do something
else, all kernels are given another class, and later their own again. A usual call therefore costs nothing more.

* GNU's OpenMP does not survive ``fork``. In the child no kernel can run in parallel, and Numba ends the process.
* Numba's own threads ("workqueue", used if neither OpenMP nor TBB is installed) end the process if two Python threads
  run parallel kernels at once.
* Within ``noting`` the kernels that a thread calls are noted and do not run. ``recording`` uses this.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from numba import get_num_threads, threading_layer
from numba.core.registry import CPUDispatcher

from . import announce


class Call(NamedTuple):
    """One call of a kernel: the kernel and its arguments."""

    kernel: Any
    args: tuple[Any, ...]


Tape = list[Call]

_kernels: list[tuple[Any, bool]] = []  # every kernel, and whether it runs in parallel
_layer: str | None = None  # Numba's threading layer, from the first call of a parallel kernel on
_forked = False  # whether this process has lost the threads of its parent
_open_tapes = 0  # in all Python threads
_changing = threading.RLock()  # held while the classes change
_turn = threading.Lock()  # held by the thread whose parallel kernel runs, with the layer "workqueue"
_of_thread = threading.local()  # .tape: the tape of this Python thread, if it has one


class _FirstCall(CPUDispatcher):
    """A parallel kernel in a process that has not called one. The first call starts the threads."""

    def __call__(self, *arguments):
        start_threads()
        return self(*arguments)


class _OneAtATime(CPUDispatcher):
    """A parallel kernel that waits for those of other Python threads to end."""

    def __call__(self, *arguments):
        with _turn:
            return super().__call__(*arguments)


class _Forked(CPUDispatcher):
    """A kernel in a process that was forked from one whose threads it lacks."""

    def __call__(self, *arguments):
        check_threads()


def _noting(kind: type) -> type:
    """Return a subclass of a kernel's class whose calls are noted, if the thread has a tape."""

    class Noting(kind):
        def __call__(self, *arguments):
            tape = getattr(_of_thread, "tape", None)
            if tape is None:
                return super().__call__(*arguments)
            tape.append(Call(self, arguments))
            return float(len(tape))

    return Noting


_NOTING = {kind: _noting(kind) for kind in (CPUDispatcher, _FirstCall, _OneAtATime, _Forked)}


def watch(compiled: Any, parallel: bool) -> None:
    """Have the calls of a kernel do what this module says."""
    announce.watch(compiled)
    with _changing:
        _kernels.append((compiled, parallel))
        compiled.__class__ = _class_of(parallel)


def _class_of(parallel: bool) -> type:
    """Return the class that a kernel must have now."""
    kind: type = CPUDispatcher
    if _forked:
        kind = _Forked
    elif parallel and _layer is None:
        kind = _FirstCall
    elif parallel and _layer == "workqueue":
        kind = _OneAtATime
    return _NOTING[kind] if _open_tapes else kind


def _change_classes() -> None:
    serial, parallel = _class_of(False), _class_of(True)
    for compiled, is_parallel in _kernels:
        compiled.__class__ = parallel if is_parallel else serial


def start_threads() -> None:
    """Start Numba's threads, unless they run already."""
    global _layer
    if _layer is not None:
        return
    with _changing:
        if _layer is None:
            get_num_threads()  # starts them
            _layer = threading_layer()
            _change_classes()


def threading_library() -> str:
    """Return what Numba runs threads with: ``"omp"``, ``"tbb"``, or ``"workqueue"``, its own. Starts the threads."""
    start_threads()
    return str(_layer)


def check_threads() -> None:
    """Raise RuntimeError in a process that was forked from one whose threads it lacks."""
    if _forked:
        raise RuntimeError(
            "minnet: expected a process with threads of its own; got one that was forked from a process in which "
            "kernels had run. Start workers with 'spawn' or 'forkserver': multiprocessing.get_context('spawn'), or "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))"
        )


def run_machine_code(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call compiled code that runs kernels without the calls that this module changes."""
    check_threads()
    start_threads()
    if _layer == "workqueue":
        with _turn:
            return function(*arguments)
    return function(*arguments)


@contextmanager
def noting() -> Iterator[None]:
    """Within this context ``note`` can be used; entering it takes some microseconds, ``note`` none."""
    global _open_tapes
    process = os.getpid()
    with _changing:
        _open_tapes += 1
        if _open_tapes == 1:
            _change_classes()
    try:
        yield
    finally:
        if os.getpid() == process:  # a child that was forked meanwhile began without tapes
            with _changing:
                _open_tapes -= 1
                if _open_tapes == 0:
                    _change_classes()


@contextmanager
def noted_on(tape: Tape) -> Iterator[None]:
    """Within this context, in ``noting``, kernels that this thread calls are noted on the tape and do not run.

    A kernel returns the number of its call, counted from 1, instead of its result. What Python makes of a result thus
    shows which call it came from. A guard, which returns whether the step may go on, lets it go on.
    """
    before, _of_thread.tape = getattr(_of_thread, "tape", None), tape
    try:
        yield
    finally:
        _of_thread.tape = before


def _in_child() -> None:
    global _turn, _changing, _forked, _open_tapes
    # Another thread of the parent may have held the locks or written a tape.
    _turn, _changing, _open_tapes = threading.Lock(), threading.RLock(), 0
    _of_thread.tape = None
    try:
        layer = threading_layer()
    except ValueError:  # no thread has been started: the child may start its own
        layer = None
    _forked = layer == "omp" and sys.platform == "linux"
    _change_classes()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
