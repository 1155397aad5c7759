"""Engines: units of work in this process, in processes of this machine, or in any executor with ``submit``.

Results do not depend on the engine, as units are pure. What differs is who survives whom: a worker process that is
killed costs the unit that it had, and a coordinator that is killed takes its workers with it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Protocol, Self

from ..base import checks
from .guards import check_portable
from .processes import EngineError, Processes
from .store import Store
from .units import DIED, Outcome, Shared, Unit, attempt, filled

Seen = Callable[[Unit, Outcome], None]


class Executor(Protocol):
    """Anything that takes calls and returns futures, such as Dask's executor or ``MPIPoolExecutor``."""

    def submit(self, function: Any, /, *arguments: Any) -> Any:
        """Return a future of ``function(*arguments)``."""


class Engine:
    """Runs units; a context, within which its worker processes stay alive for several runs.

    Args:
        workers: number of processes on this machine; 0 runs the units in this process, one after the other. Beside an
            executor, the number of its workers, which is asked of the executor if it is 0.
        executor: an object with ``submit``, whose workers may be on other machines; None for processes of this one.
        threads: number of threads of each process of ``workers``.
        limit: most seconds that a unit may take in a process of ``workers``; None for no limit.
        shared: values by name that units ask for by ``Shared(name)``. A process of ``workers`` is given them once, when
            it starts; an executor gets those of a unit with the unit.

    Raises:
        ValueError: ``limit`` without processes, which could not be kept.
    """

    def __init__(
        self,
        workers: int = 0,
        executor: Executor | None = None,
        *,
        threads: int = 1,
        limit: float | None = None,
        shared: Mapping[str, Any] | None = None,
    ) -> None:
        self.workers = checks.count("Engine", "workers", workers, 0)
        self.threads = checks.count("Engine", "threads", threads)
        self.executor, self.limit, self.shared = executor, limit, dict(shared or {})
        if executor is not None and not callable(getattr(executor, "submit", None)):
            raise TypeError(
                f"Engine: expected an executor with submit, such as client.get_executor(pure=False) of Dask; got "
                f"{executor!r}"
            )
        if limit is not None:
            checks.positive("Engine", "limit", limit)
            if executor is not None or not workers:
                raise ValueError(
                    "Engine: expected workers=1 or more for a limit, which ends their processes; got "
                    f"limit={limit} with {'an executor' if executor is not None else 'workers=0'}"
                )
        self._processes = Processes(self.workers, self.threads, limit, self.shared)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._processes.close()

    def run(self, units: Iterable[Unit], store: Store, seen: Seen | None = None) -> Iterator[tuple[Unit, Outcome]]:
        """Run units, store their outcomes, and return an iterator over (unit, outcome).

        Units whose outcome is stored come first and are not run again. The others come as they are done, each stored
        before it is returned; their order differs from run to run.

        Args:
            units: the units.
            store: where outcomes are looked up and stored.
            seen: called with each unit and its outcome.

        Returns:
            An iterator over (unit, outcome). Nothing runs before it is asked for the first.

        Raises:
            ValueError: a unit asks for a shared value that there is not; before anything starts.
            TypeError, RuntimeError: a function or an argument cannot be sent to a process, or the main program cannot
                be started again by one; before anything starts.
            StoreError: an outcome cannot be stored; from the iterator.
            EngineError: the executor is broken, or processes end as they start; from the iterator.
        """
        units = list(units)
        asked = {a.name for unit in units for a in unit.arguments if isinstance(a, Shared)}
        if unknown := sorted(asked - set(self.shared)):
            raise ValueError(
                f"Engine: expected units that ask for shared values among {sorted(self.shared)}; got {unknown}. Give "
                "them by Engine(shared={...})"
            )
        if self.workers and self.executor is None:
            check_portable(units, self.shared.values())
        return self._run(units, store, seen)

    def _run(self, units: list[Unit], store: Store, seen: Seen | None) -> Iterator[tuple[Unit, Outcome]]:
        to_do: dict[str, list[Unit]] = {}
        for unit in units:
            stored = store.get(unit.key)
            if stored is None:
                to_do.setdefault(unit.key, []).append(unit)
                continue
            if seen:
                seen(unit, stored)
            yield unit, stored
        first = [alike[0] for alike in to_do.values()]
        outcomes = self._twice(first) if self.workers or self.executor is not None else self._one_by_one(first)
        for unit, outcome in outcomes:
            store.put(unit, outcome)
            for alike in to_do[unit.key]:
                if seen:
                    seen(alike, outcome)
                yield alike, outcome

    def _twice(self, units: list[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Hand out units, and those whose engine failed once more.

        That happens at the end and one at a time. A process that is killed may cost units beside the one that killed
        it, and these must not come beside it again.
        """
        lost = []
        for unit, outcome in self._hand_out(units):
            if outcome.status == DIED:
                lost.append(unit)
            else:
                yield unit, outcome
        for unit in lost:
            yield from self._hand_out([unit])

    def _hand_out(self, units: list[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        return self._processes.run(units) if self.executor is None else self._through_executor(units)

    def _through_executor(self, units: list[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Hand out units, at most two for each worker at a time."""
        waiting = list(reversed(units))
        at_work: dict[Future, Unit] = {}
        try:
            while waiting or at_work:
                while waiting and len(at_work) < 2 * self._size():
                    unit = waiting.pop()
                    at_work[self._submit(unit)] = unit
                for future in wait(at_work, return_when=FIRST_COMPLETED).done:
                    yield at_work.pop(future), _outcome(future)
        finally:
            for future in at_work:
                future.cancel()

    def _submit(self, unit: Unit) -> Future:
        assert self.executor is not None
        try:
            return self.executor.submit(_attempt_elsewhere, filled(unit, self.shared))
        except RuntimeError as error:  # BrokenExecutor is one
            raise EngineError(
                f"Engine: expected an engine that takes units; got {type(error).__name__}: {error}. What was done is "
                "stored: run the study again, with workers=... or another executor"
            ) from error

    def _one_by_one(self, units: list[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        for unit in units:
            yield unit, attempt(filled(unit, self.shared))

    def _size(self) -> int:
        """The number of workers; asked each time, since workers on other machines come and go."""
        if self.workers:
            return self.workers
        client = getattr(self.executor, "_client", None)  # of Dask
        if client is not None:
            return max(sum(client.ncores().values()), 1)
        for name in ("num_workers", "_max_workers"):  # of mpi4py, of concurrent.futures
            if isinstance(found := getattr(self.executor, name, None), int):
                return max(found, 1)
        return os.cpu_count() or 1


def run(
    units: Iterable[Unit],
    store: Store,
    *,
    workers: int = 0,
    executor: Executor | None = None,
    limit: float | None = None,
    progress: Seen | None = None,
) -> Iterator[tuple[Unit, Outcome]]:
    """Return an iterator over (unit, outcome), of ``Engine.run`` of an engine that ends with the iterator.

    Args:
        units, store: see ``Engine.run``.
        workers, executor, limit, progress: see ``Engine``.

    Returns:
        The iterator, in the order in which the outcomes come.
    """
    engine = Engine(workers, executor, limit=limit)
    found = engine.run(units, store, progress)

    def outcomes() -> Iterator[tuple[Unit, Outcome]]:
        with engine:
            yield from found

    return outcomes()


def _attempt_elsewhere(unit: Unit) -> Outcome:
    """``attempt``, where Ctrl-C is not that of the coordinator."""
    try:
        return attempt(unit)
    except KeyboardInterrupt:
        raise RuntimeError("its process was told to end") from None


def _outcome(future: Future) -> Outcome:
    """Return the outcome of a future. Since units catch their exceptions, an exception here is the engine's."""
    try:
        return future.result()
    except Exception as error:
        return Outcome(DIED, f"its engine failed, twice: {type(error).__name__}: {error}")
