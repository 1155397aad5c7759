"""Running a benchmark: which runs there are, and which trial of a rule is the best."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..experiments.spaces import Config
from ..experiments.store import Store
from ..experiments.units import DONE, Outcome, Shared, Unit, digest
from ..experiments.workers import Engine
from .curves import Curve
from .entries import Entry
from .problems import AnyProblem, Part, goal
from .protocol import Protocol
from .results import Cell, Result
from .scores import middle, time_to_target

SUBJECT = {"benchmark": 1}  # of the stores of all benchmarks, so that rules and problems may be added


@dataclass(frozen=True)
class Job:
    """One run of a benchmark: an entry's trial on a problem with a seed, measured on a part of the data."""

    problem: AnyProblem
    entry: Entry
    config: Config
    seed: int
    part: Part

    def key(self) -> str:
        """Return the key under which the run is stored. Neither names nor targets decide what a run does."""
        rule, lr = self.entry.tuned(self.config, self.problem.steps)
        return digest("benchmark", self.problem.digest(), rule, lr, self.seed, self.part)

    def unit(self) -> Unit:
        """Return the run as a unit of work."""
        rule, lr = self.entry.tuned(self.config, self.problem.steps)
        columns = {"problem": self.problem.name, "entry": self.entry.name, "seed": self.seed, **self.config}
        return Unit(self.key(), train, (Shared(self.problem.name), rule, lr, self.seed, self.part), columns)


def train(problem: AnyProblem, rule: Any, lr: Any, seed: int, part: Part) -> tuple[dict[str, Any], None]:
    """Run a rule on a problem; the work of a unit."""
    return dict(vars(problem.run(rule, lr, seed, part))), None


def run(
    problems: Iterable[AnyProblem],
    entries: Iterable[Entry],
    protocol: Protocol | None = None,
    *,
    store: str | Path | None = None,
    workers: int = 0,
    executor: Any = None,
    progress: Callable[[Unit, Outcome], None] | None = None,
) -> Result:
    """Tune every entry on every problem, choose its best trial, and run that on the seeds for reporting.

    Trials are chosen on the validation data of a problem, and the chosen one is reported on its test data.

    A run that raises an error, or that diverges, is a miss, and the others go on. What is in the store is not run
    again, so a benchmark that was interrupted is continued by the same call.

    Args:
        problems: the problems, each with a name of its own.
        entries: the entries, each with a name of its own.
        protocol: budgets and seeds; None for ``Protocol()``.
        store: path of the database, which is made if there is none; None to keep the runs in memory.
        workers: number of processes; 0 for this one.
        executor: an executor of another library instead, such as Dask's.
        progress: called with each unit of work and its outcome.

    Returns:
        A ``Result``, with tables, statements and figures.

    Raises:
        ValueError: no problems or entries, or two with one name.
    """
    problems, entries = list(problems), list(entries)
    _check_names("problem", [problem.name for problem in problems])
    _check_names("entry", [entry.name for entry in entries])
    protocol = Protocol() if protocol is None else protocol
    path = None if store is None else Path(store)
    shared = {problem.name: problem for problem in problems}
    with Store(path, SUBJECT) as opened, Engine(workers, executor, shared=shared) as engine:

        def take(jobs: Iterable[Job]) -> dict[Job, Curve]:
            return _taken(jobs, engine, opened, progress)

        configs = {entry.name: entry.trials(protocol.tuning, protocol.seed) for entry in entries}
        pairs = [(problem, entry) for problem in problems for entry in entries]
        trials = {(p, e): [[Job(p, e, c, s, "validation") for s in protocol.choosing] for c in configs[e.name]]
                  for p, e in pairs}  # fmt: skip
        tuning = take(job for several in trials.values() for jobs in several for job in jobs)
        tried = {pair: [[tuning[job] for job in jobs] for jobs in several] for pair, several in trials.items()}
        best = {(p, e): min(range(protocol.tuning), key=lambda i: merit(tried[p, e][i], p)) for p, e in pairs}
        last = {(p, e): [Job(p, e, configs[e.name][best[p, e]], s, "test") for s in protocol.reporting]
                for p, e in pairs}  # fmt: skip
        reported = take(job for jobs in last.values() for job in jobs)
        cells = {
            (p.name, e.name): Cell(p, e, configs[e.name], tried[p, e], best[p, e], [reported[r] for r in last[p, e]])
            for p, e in pairs
        }
        expected = {job.key() for job in (*tuning, *reported)}
        return Result(problems, entries, protocol, cells, expected, opened.rows(), path)


def _check_names(kind: str, names: list[str]) -> None:
    if not names or len(set(names)) < len(names):
        raise ValueError(f"benchmark.run: expected one {kind} or more, each with a name of its own; got {names}")


def _taken(
    jobs: Iterable[Job], engine: Engine, store: Store, progress: Callable[[Unit, Outcome], None] | None
) -> dict[Job, Curve]:
    """Return the curve of each job. Jobs that are the same run, under other names, are run once."""
    by_key: dict[str, list[Job]] = {}
    for job in jobs:
        by_key.setdefault(job.key(), []).append(job)
    taken = engine.run([alike[0].unit() for alike in by_key.values()], store, progress)
    return {job: curve_of(job.problem, outcome) for unit, outcome in taken for job in by_key[unit.key]}


def curve_of(problem: AnyProblem, outcome: Outcome) -> Curve:
    """Return the measurements of an outcome; a run that gave none is a miss."""
    if outcome.status != DONE:
        return Curve.failed(problem.points, outcome.words)
    return Curve(**outcome.result)


def merit(curves: Sequence[Curve], problem: AnyProblem) -> tuple[float, float]:
    """Return by what the best trial is chosen: median time to the validation target, then median final loss."""
    finals = middle([curve.final for curve in curves])
    target = goal(problem)
    if target is None:
        return 0.0, finals
    return middle([time_to_target(c.evaluations, c.losses, target, float(problem.steps)) for c in curves]), finals
