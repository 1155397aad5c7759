"""Worker processes of this machine, each with a pipe of its own.

Pools whose processes share one pipe are stopped by a process that is killed while it writes: the others wait for a
lock that no one holds, and the reader for bytes that do not come. Here such a process closes its own pipe, and costs
the unit that it had.
"""

import atexit
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.reduction import ForkingPickler
from typing import Any

from ..kernels.threads import set_num_threads
from .units import DIED, LATE, Outcome, Unit, attempt, failure, filled

# Read when a library is loaded, so they are set before a process starts: Numba, OpenMP (PyTorch), BLAS (NumPy).
_THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_STARTS = 3  # processes in a row that end before they are ready, after which no other is started
_GRACE = 2.0  # seconds that processes have to end in
_READY = b""


class EngineError(RuntimeError):
    """The engine can no longer run anything. What was done is stored, and a new run goes on from there."""


class Processes:
    """Processes that run units, started when they are first needed.

    Args:
        most: largest number of processes.
        threads: number of threads of each.
        limit: most seconds that a unit may take; None for no limit.
        shared: values that each process is given once, for units that ask for them by name.
    """

    def __init__(self, most: int, threads: int, limit: float | None, shared: Mapping[str, Any]) -> None:
        self._most, self._threads, self._limit, self._shared = most, threads, limit, shared
        self._workers: list[_Worker] = []
        self._lost_starts = 0

    def run(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Return an iterator over units and what became of them, in the order in which they end.

        Raises:
            EngineError: processes end as they start.
        """
        waiting = deque(units)
        try:
            while waiting or self._busy():
                self._start(len(waiting))
                for worker in self._workers:
                    if waiting and worker.idle:
                        worker.begin(waiting.popleft())
                yield from self._next()
        finally:
            for worker in self._busy():  # the iterator was left
                self._end(worker)

    def close(self) -> None:
        """End all processes."""
        atexit.unregister(self.close)
        for worker in self._workers:
            worker.pipe.close()
            worker.process.terminate()
        until = time.monotonic() + _GRACE
        for worker in self._workers:
            worker.process.join(max(until - time.monotonic(), 0))
            worker.process.kill()
            worker.process.join()
        self._workers.clear()

    def _busy(self) -> list["_Worker"]:
        return [worker for worker in self._workers if worker.unit is not None]

    def _start(self, waiting: int) -> None:
        """Start as many processes as there is work for."""
        if not self._workers:
            atexit.register(self.close)  # runs before multiprocessing waits for its processes
        for _ in range(min(self._most, waiting + len(self._busy())) - len(self._workers)):
            self._workers.append(_Worker(self._threads, self._shared))

    def _next(self) -> Iterator[tuple[Unit, Outcome]]:
        """Wait until a process says something, ends, or has taken too long."""
        limit = float("inf") if self._limit is None else self._limit
        ends = min((worker.begun + limit for worker in self._busy()), default=float("inf"))
        timeout = None if ends == float("inf") else max(ends - time.monotonic(), 0)
        ready = wait_for([part for worker in self._workers for part in worker.parts], timeout)
        for worker in list(self._workers):
            unit = worker.unit
            if worker.pipe in ready and (answer := worker.read()) is not None:
                self._lost_starts = 0
                if unit is not None:
                    worker.unit = None
                    yield unit, _loaded(answer)
                worker.ready = True
            elif worker.pipe in ready or worker.process.sentinel in ready:
                worker.process.join(_GRACE)  # so that it is not killed on its way out, and has its own exit code
                how = self._end(worker)
                if unit is not None:
                    yield unit, Outcome(DIED, f"its process ended, twice ({how})")
                elif not worker.ready:
                    self._count_lost_start(how)
            elif unit is not None and time.monotonic() >= worker.begun + limit:
                self._end(worker)
                yield unit, Outcome(LATE, f"took longer than {limit:g} s, and its process was ended")

    def _end(self, worker: "_Worker") -> str:
        """End a process and forget it; return how it ended."""
        self._workers.remove(worker)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        code = worker.process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _count_lost_start(self, how: str) -> None:
        self._lost_starts += 1
        if self._lost_starts >= _STARTS:
            raise EngineError(
                f"Engine: expected processes that start; got {_STARTS} that ended as they started ({how}). Each of "
                "them imports the main program and minnet, and writes what went wrong to standard error. What was "
                "done is stored: run the study again, with workers=0 or a main program that can be imported"
            )


class _Worker:
    """One process, its pipe, and the unit that it has."""

    def __init__(self, threads: int, shared: Mapping[str, Any]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would die in OpenMP
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, threads, os.getcwd(), shared)
        self.process = context.Process(target=_serve, args=arguments, name="minnet worker")
        with _few_threads(threads), _no_ctrl_c():
            self.process.start()
        theirs.close()
        self.ready = False  # whether it has started
        self.unit: Unit | None = None
        self.begun = 0.0

    @property
    def idle(self) -> bool:
        return self.ready and self.unit is None

    @property
    def parts(self) -> tuple[Connection, int]:
        """What becomes readable when the process says something or ends."""
        return self.pipe, self.process.sentinel

    def begin(self, unit: Unit) -> None:
        self.unit, self.begun = unit, time.monotonic()
        with suppress(OSError):  # it has ended, which is found next
            self.pipe.send(unit)

    def read(self) -> bytes | None:
        """Return what the process says; None if it has ended, also amid a word."""
        try:
            return self.pipe.recv_bytes()
        except (EOFError, OSError):
            return None


@contextmanager
def _few_threads(threads: int) -> Iterator[None]:
    """Set the environment that a process is started with."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """Let processes that are started here never see Ctrl-C, also while they import. Here it comes afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # as its start, with the first process, would let Ctrl-C in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _loaded(answer: bytes) -> Outcome:
    try:
        return ForkingPickler.loads(answer)
    except Exception as error:
        return failure(error)


# In the process ----------------------------------------------------------------------------------------------


def _serve(pipe: Connection, threads: int, folder: str, shared: Mapping[str, Any]) -> None:
    """Run the units that come through the pipe, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.chdir(folder)  # spawn has gone to the folder in which the coordinator was started
    set_num_threads(threads)
    try:
        pipe.send_bytes(_READY)
        while True:
            pipe.send_bytes(_answer(pipe.recv_bytes(), shared))
    except (EOFError, OSError):
        return
    except KeyboardInterrupt:  # a run that SIGTERM has ended
        os._exit(128 + signal.SIGTERM)


def _answer(content: bytes, shared: Mapping[str, Any]) -> bytes:
    try:
        outcome = attempt(filled(ForkingPickler.loads(content), shared))
    except Exception as error:  # a module that this process cannot import
        outcome = failure(error)
    try:
        return bytes(ForkingPickler.dumps(outcome))
    except Exception as error:
        return bytes(ForkingPickler.dumps(failure(error)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)
