"""Calls of kernels in situations in which Numba's threads would hang or end the process.

A compiled kernel is an object of Numba's class CPUDispatcher, whose call is C code. If something must be done before a
call, the object is given another class, and later its own class again. Usual calls therefore cost nothing extra.

* GNU's OpenMP does not survive ``fork``. In the child no kernel can run in parallel, and Numba ends the process.
* Numba's own threads ("workqueue", used if neither OpenMP nor TBB is installed) end the process if two Python threads
  are in parallel kernels at the same time.
"""

import os
import sys
import threading
from typing import Any

from numba import get_num_threads, threading_layer
from numba.core.registry import CPUDispatcher

_kernels: list[Any] = []
_undecided: list[Any] = []  # parallel kernels, until it is known which threads there are
_turn = threading.Lock()


class _FirstCall(CPUDispatcher):
    """A parallel kernel in a process that has not called one yet. The first call starts the threads."""

    def __call__(self, *arguments):
        _decide()
        return self(*arguments)


class _OneAtATime(CPUDispatcher):
    """A parallel kernel that waits until parallel kernels of other Python threads have ended."""

    def __call__(self, *arguments):
        with _turn:
            return super().__call__(*arguments)


class _Forked(CPUDispatcher):
    """A kernel in a process that was forked from a process with threads, which the child does not have."""

    def __call__(self, *arguments):
        raise RuntimeError(
            "minnet: expected a process with threads of its own; got one that was forked from a process in which "
            "kernels had run. Start workers with 'spawn' or 'forkserver': multiprocessing.get_context('spawn'), or "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))"
        )


def watch(compiled: Any, parallel: bool) -> None:
    """Make the calls of a kernel do what this module describes."""
    _kernels.append(compiled)
    if parallel:
        compiled.__class__ = _FirstCall
        _undecided.append(compiled)


def _decide() -> None:
    """Give the parallel kernels the class that suits the threads of this process."""
    with _turn:
        get_num_threads()  # starts them
        kind = _OneAtATime if threading_layer() == "workqueue" else CPUDispatcher
        while _undecided:
            _undecided.pop().__class__ = kind


def _in_child() -> None:
    global _turn
    _turn = threading.Lock()  # another thread of the parent may have held the old one
    try:
        layer = threading_layer()
    except ValueError:  # no thread has been started: the child may start its own
        return
    if layer == "omp" and sys.platform == "linux":
        for compiled in _kernels:
            compiled.__class__ = _Forked


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
