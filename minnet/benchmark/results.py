"""The result of a benchmark: a table, curves and what is wrong with the runs, for these problems and seeds."""

import math
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..base import streams
from ..experiments.edges import Edge, edges
from ..experiments.spaces import Config
from ..experiments.store import Row
from ..experiments.units import minnet_version
from ..storage.files import write_whole
from . import scores
from .curves import Curve
from .entries import Entry
from .overhead import overhead
from .page import page
from .problems import AnyProblem, goal
from .protocol import Protocol
from .tables import ResultTable


@dataclass(frozen=True)
class Cell:
    """One entry on one problem.

    Attributes:
        problem, entry: what it is the cell of.
        configs: the trials' hyper-parameters.
        tried: curves of each trial, one for each seed for choosing.
        best: place of the chosen trial.
        reported: curves of the chosen trial, one for each seed for reporting.
    """

    problem: AnyProblem
    entry: Entry
    configs: Sequence[Config]
    tried: Sequence[Sequence[Curve]]
    best: int
    reported: Sequence[Curve]

    @property
    def config(self) -> Config:
        """The chosen hyper-parameters."""
        return self.configs[self.best]

    @property
    def times(self) -> np.ndarray:
        """Gradient evaluations to the target by reporting seed, (seeds,); infinity for a miss or without a target."""
        p = self.problem
        if p.target is None:
            return np.full(len(self.reported), math.inf)
        each = [scores.time_to_target(c.evaluations, c.losses, p.target, float(p.steps)) for c in self.reported]
        return np.array(each)

    @property
    def finals(self) -> np.ndarray:
        """Final loss by reporting seed, (seeds,)."""
        return np.array([curve.final for curve in self.reported])

    @property
    def trial_scores(self) -> np.ndarray:
        """Median final loss of each trial over the seeds for choosing, (trials,)."""
        return np.array([scores.middle([curve.final for curve in curves]) for curves in self.tried])

    @property
    def edges(self) -> list[Edge]:
        """Hyper-parameters whose best values lie at an edge of their range, so that the range is too narrow."""
        return edges(self.entry.space, self.configs, self.trial_scores)

    def remark(self) -> str:
        """Return what a reader must know of the cell besides its numbers."""
        words = [f"best {edge.name} at the {edge.side} edge of its range" for edge in self.edges]
        kinds = Counter(curve.status for curve in self.reported)
        words += [f"{kinds[kind]} of {len(self.reported)} {kind}" for kind in ("diverged", "failed") if kinds[kind]]
        words += sorted({c.words.splitlines()[0] for c in self.reported if c.words})
        if any(curve.slow for curve in self.reported):
            words.append("Python takes every step of this rule")
        return "; ".join(words)


@dataclass(frozen=True)
class Notice:
    """Something to know of the runs of a benchmark.

    Attributes:
        kind: ``"missing"``, ``"duplicate"``, ``"stale"``, ``"non-finite"`` or ``"mixed"``.
        text: what it is, and what to do.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Result:
    """What ``run`` returns. No figure of an entry depends on which other entries take part, except the reference.

    Attributes:
        problems, entries, protocol: what was run.
        cells: cell by (name of the problem, name of the entry).
        expected: keys of all runs of the benchmark.
        rows: everything in the store, also of other benchmarks.
        store: path of the store, or None.
    """

    problems: Sequence[AnyProblem]
    entries: Sequence[Entry]
    protocol: Protocol
    cells: dict[tuple[str, str], Cell]
    expected: set[str]
    rows: list[Row]
    store: Path | None = None

    @cached_property
    def names(self) -> list[str]:
        """The names of the entries."""
        return [entry.name for entry in self.entries]

    def reference(self, name: str | None = None) -> str:
        """Return the name of the entry to compare with: ``"Momentum"`` unless given, or the first entry.

        Args:
            name: name of an entry; None for the usual one.

        Raises:
            ValueError: there is no such entry.
        """
        if name is None:
            return "Momentum" if "Momentum" in self.names else self.names[0]
        if name not in self.names:
            raise ValueError(f"Result: expected one of the entries {', '.join(self.names)}; got {name!r}")
        return name

    def table(self, reference: str | None = None) -> ResultTable:
        """Return one row for each problem and entry, the fastest to the target first.

        ``hits`` counts the seeds that reached the target. ``time`` is the median of the gradient evaluations to it, and
        ``loss`` the median final loss, each with an interval of at least 95 % over the seeds for reporting. ``time
        verdict`` and ``loss verdict`` compare with the reference on the same seeds: better, worse, or not told apart.
        The intervals hold for the chosen hyper-parameters; they do not include the luck of tuning.

        Args:
            reference: name of the entry to compare with, see ``reference``.
        """
        to, rows = self.reference(reference), []
        for problem in self.problems:
            found = []
            for entry in self.entries:
                cell, other = self.cells[problem.name, entry.name], self.cells[problem.name, to]
                found.append((self._key(cell), self._row(cell, other)))
            rows += [row for _, row in sorted(found, key=lambda pair: pair[0])]
        return ResultTable(rows)

    @staticmethod
    def _key(cell: Cell) -> tuple[float, float]:
        return scores.middle(cell.times), scores.middle(cell.finals)

    @staticmethod
    def _row(cell: Cell, other: Cell) -> dict[str, Any]:
        times, finals = cell.times, cell.finals
        (soon, late), (low, high) = scores.median_interval(times), scores.median_interval(finals)
        accuracies = np.array([curve.accuracies[-1] for curve in cell.reported])
        same = cell is other
        return {
            "problem": cell.problem.name,
            "rule": cell.entry.name,
            "hits": f"{np.isfinite(times).sum()}/{len(times)}",
            "time": scores.middle(times),
            "time low": soon,
            "time high": late,
            "time verdict": "reference" if same else scores.judged(times, other.times),
            "loss": scores.middle(finals),
            "loss low": low,
            "loss high": high,
            "loss verdict": "reference" if same else scores.judged(finals, other.finals),
            "accuracy": math.nan if np.isnan(accuracies).all() else float(np.median(accuracies)),
            "hyper-parameters": _settings(cell.config),
            "remark": cell.remark(),
        }

    def statements(self, reference: str | None = None) -> ResultTable:
        """Return, for each entry, on how many problems it is better and worse than the reference, or not told apart.

        The entries are in the order of their share of cells that reach the target within twice the time of the
        reference.

        Args:
            reference: name of the entry to compare with, as in ``reference``.

        Returns:
            A table with one row for each entry.
        """
        to, rows = self.reference(reference), []
        share = self.profile(to, (1.0, 2.0, 4.0))
        for name in self.names:
            row: dict[str, Any] = {"rule": name}
            pairs = [(self.cells[p.name, name], self.cells[p.name, to]) for p in self.problems]
            for kind, verdicts in (
                ("time", [scores.judged(cell.times, other.times) for cell, other in pairs]),
                ("loss", [scores.judged(cell.finals, other.finals) for cell, other in pairs]),
            ):
                for verdict in (scores.BETTER, scores.NOT_TOLD_APART, scores.WORSE):
                    row[f"{kind} {verdict}"] = "reference" if name == to else verdicts.count(verdict)
            row["reach in 2x"], row["reach in 4x"] = (round(float(value), 3) for value in share[name][1:])
            rows.append(row)
        return ResultTable(sorted(rows, key=lambda row: (-row["reach in 2x"], -row["reach in 4x"])))

    def times(self, name: str) -> np.ndarray:
        """Return the times of an entry to the targets.

        Args:
            name: name of the entry.

        Returns:
            Numbers of gradient evaluations, shape (problems, seeds); infinity for a miss.
        """
        return np.stack([self.cells[problem.name, name].times for problem in self.problems])

    def profile(self, reference: str | None = None, factors: Sequence[float] = scores.FACTORS) -> dict[str, np.ndarray]:
        """Return the share of problems and seeds on which each entry reaches the target in time.

        Args:
            reference: name of the entry whose times are the unit.
            factors: the most time, as multiples of the reference's, (n,).

        Returns:
            Shares (n,) by name of the entry.
        """
        to = self.times(self.reference(reference))
        return {name: scores.profile(self.times(name), to, factors) for name in self.names}

    def by_budget(self, budgets: Sequence[int] = (1, 3, 10, 20)) -> dict[str, dict[str, np.ndarray]]:
        """Return the final loss of the best of fewer trials, if it was luck which trials were made.

        The loss is that on the seeds for choosing, so it is a little too good, the more so the more trials there are.

        Args:
            budgets: numbers of trials; those above the protocol's are left out.

        Returns:
            problem -> entry -> losses (200 draws, budgets that are not above the number of trials).
        """
        budgets = [b for b in budgets if b <= self.protocol.tuning]
        if not budgets or min(budgets) < 1:
            raise ValueError(f"Result.by_budget: expected budgets from 1 to {self.protocol.tuning}; got {budgets}")
        found: dict[str, dict[str, np.ndarray]] = {}
        for problem in self.problems:
            found[problem.name] = {}
            for name in self.names:
                # One generator for all, so that luck is the same for all and leaving an entry out changes nothing.
                rng = streams.generator(self.protocol.seed, "draws of a tuning budget")
                trials = self.cells[problem.name, name].trial_scores
                drawn = [scores.best_of(trials, budget, rng, 200) for budget in budgets]
                found[problem.name][name] = np.stack(drawn, axis=1)
        return found

    def sensitivity(self) -> ResultTable:
        """Return over how many decades of the rate the final loss stays within 10 % of the best, of the trials made."""
        rows = []
        for name in self.names:
            row: dict[str, Any] = {"rule": name}
            for problem in self.problems:
                cell = self.cells[problem.name, name]
                row[problem.name] = scores.width(np.array([c["lr"] for c in cell.configs]), cell.trial_scores)
            rows.append(row)
        return ResultTable(rows)

    def check(self) -> list[Notice]:
        """Return what is missing, stored twice, stale or not finite, and how to fill it; an empty list if nothing is.

        A run is stale if it was stored for a problem and an entry of this benchmark by another version of minnet, or
        for other data, layers or hyper-parameters. Stale runs are not used.
        """
        again = f"run the benchmark again with store={str(self.store)!r}" if self.store else "run the benchmark again"
        stored = {row.key: row for row in self.rows}
        found = [
            Notice("missing", f"{_place(row)}: {row.outcome.status}, {row.outcome.words.splitlines()[0]}")
            for row in self.rows
            if row.key in self.expected and row.outcome.status != "done"
        ]
        lost = len(self.expected - set(stored))
        if lost:
            found.append(Notice("missing", f"{lost} runs are not stored: {again}"))
        known = {(problem.name, entry.name) for problem in self.problems for entry in self.entries}
        versions = {row.outcome.where.get("version") for row in self.rows if row.key in self.expected}
        seen: dict[str, str] = {}
        stale: Counter[tuple[str, str, str]] = Counter()
        for row in self.rows:
            place = _place(row)
            of_these = (row.columns.get("problem"), row.columns.get("entry")) in known
            if of_these and row.key not in self.expected:
                version = row.outcome.where.get("version")
                why = f"minnet {version}" if version not in versions else "another digest, budget, seed or target"
                stale[row.columns["problem"], row.columns["entry"], why] += 1
            if place in seen and seen[place] != row.key:
                found.append(Notice("duplicate", f"{place}: stored under two keys; only one of them is used"))
            seen[place] = row.key
        found += [
            Notice("stale", f"{problem}, {name}: {number} runs of {why}; they are not used and may be deleted")
            for (problem, name, why), number in stale.items()
        ]
        for (problem, name), cell in self.cells.items():
            for seed, curve in zip(self.protocol.reporting, cell.reported, strict=True):
                if curve.status != "failed" and not math.isfinite(curve.losses[-1]):
                    found.append(
                        Notice(
                            "non-finite", f"{problem}, {name}, seed {seed}: diverged at its best trial; it is a miss"
                        )
                    )
        for column in ("vector_bytes", "machine", "version"):
            values = {row.outcome.where.get(column) for row in self.rows if row.key in self.expected}
            if len(values) > 1:
                found.append(Notice("mixed", f"runs of different {column}: {sorted(map(str, values))}"))
        return found

    def overhead(self, rounds: int = 7) -> ResultTable:
        """Measure, now and on this machine, the time of a step of each rule over that of SGD; see ``overhead``.

        Args:
            rounds: number of measurements of each rule, taken by turns.

        Returns:
            A table with one row for each entry.
        """
        return overhead(self.problems, self.entries, rounds)

    def runs(self) -> ResultTable:
        """Return one row for each run, on validation data for trials and on test data for the chosen one.

        ``time`` is the number of gradient evaluations to the target of this part of the data.
        """
        rows = []
        for (problem, name), cell in self.cells.items():
            for config, curves in zip(cell.configs, cell.tried, strict=True):
                for seed, curve in zip(self.protocol.choosing, curves, strict=True):
                    rows.append(_run_row(problem, name, "validation", config, seed, curve, cell.problem))
            for seed, curve in zip(self.protocol.reporting, cell.reported, strict=True):
                rows.append(_run_row(problem, name, "test", cell.config, seed, curve, cell.problem))
        return ResultTable(rows)

    def to_csv(self) -> str:
        """Return all measurements of the runs that are reported, one row each, as the text of a CSV file."""
        rows = []
        for (problem, name), cell in self.cells.items():
            for seed, curve in zip(self.protocol.reporting, cell.reported, strict=True):
                for at, loss, accuracy in zip(curve.evaluations, curve.losses, curve.accuracies, strict=True):
                    rows.append(
                        {
                            "problem": problem,
                            "rule": name,
                            "seed": seed,
                            "gradients": at,
                            "loss": loss,
                            "accuracy": accuracy,
                            "status": curve.status,
                        }
                    )
        return ResultTable(rows).to_csv()

    def words(self) -> list[str]:
        """Return what was run, where and at which cost."""
        mine = [row for row in self.rows if row.key in self.expected]
        minutes = sum(row.outcome.result.get("seconds", 0.0) for row in mine) / 60
        p, where = self.protocol, [row.outcome.where for row in mine]
        machines, threads, widths = (
            ", ".join(sorted({str(place.get(name)) for place in where}))
            for name in ("machine", "threads", "vector_bytes")
        )
        problems = ", ".join(f"{p.name} ({p.steps} steps)" for p in self.problems)
        return [
            f"Problems: {problems}.",
            f"Rules: {len(self.entries)}, each tuned by {p.tuning} trials of its own space, on seeds "
            f"{_listed(p.choosing)} and validation data. The best trial is reported on seeds {_listed(p.reporting)} "
            "and test data.",
            f"Cost: {len(mine)} runs, {minutes:.1f} minutes of processor time in all.",
            f"Machine: {machines}; threads of a run: {threads}; bytes of a vector register: {widths}.",
            f"Versions: minnet {minnet_version()}, NumPy {np.__version__}, Numba {version('numba')}, Python "
            f"{platform.python_version()}.",
        ]

    def report(self, path: str | Path, reference: str | None = None, *, overhead: ResultTable | None = None) -> None:
        """Write one HTML page with tables and figures, and CSV files beside it.

        The page is complete in itself. A path that ends in ``.md`` gets the tables in Markdown, without figures.
        ``NAME.csv`` has the table, ``NAME.runs.csv`` one row for each run, and ``NAME.curves.csv`` all measurements of
        the runs that are reported.

        Args:
            path: path of the page.
            reference: name of the entry to compare with, see ``reference``.
            overhead: what ``Result.overhead`` returned, to be shown too; None for none.

        Raises:
            FileNotFoundError: the folder does not exist.
        """
        path = Path(path)
        if path.suffix == ".md":
            tables = [self.statements(reference), self.table(reference), self.sensitivity()]
            tables += [] if overhead is None else [overhead]
            texts = ["# Update rules compared\n", *(f"{line}\n" for line in self.words())]
            write_whole(path, "\n".join([*texts, *(table.to_markdown() for table in tables)]))
        else:
            write_whole(path, page(self, self.reference(reference), overhead))
        write_whole(path.with_suffix(".csv"), self.table(reference).to_csv())
        write_whole(path.with_suffix(".runs.csv"), self.runs().to_csv())
        write_whole(path.with_suffix(".curves.csv"), self.to_csv())


def _run_row(
    problem: str, name: str, part: str, config: Config, seed: int, curve: Curve, of: AnyProblem
) -> dict[str, Any]:
    target = of.target if part == "test" else goal(of)
    time = math.inf if target is None else scores.time_to_target(curve.evaluations, curve.losses, target, of.steps)
    return {
        "problem": problem,
        "rule": name,
        "part": part,
        **{"hyper-parameters": _settings(config), "seed": seed, "time": f"{time:g}", "loss": f"{curve.final:.6g}"},
        "accuracy": f"{curve.accuracies[-1]:.4g}",
        "status": curve.status,
    }


def _settings(config: Config) -> str:
    return ", ".join(f"{name}={value:.3g}" for name, value in config.items())


def _listed(seeds: Sequence[int]) -> str:
    """Return seeds as text, with the ends only if all between are among them."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _place(row: Row) -> str:
    others = {name: value for name, value in row.columns.items() if name not in ("problem", "entry", "seed")}
    settings = ", ".join(f"{name}={value:.4g}" for name, value in others.items() if isinstance(value, int | float))
    return f"{row.columns.get('problem')}, {row.columns.get('entry')} ({settings}), seed {row.columns.get('seed')}"
