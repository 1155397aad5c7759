"""A study: trials of a space, stored, searched, narrowed and reported."""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..base import checks, streams
from ..storage.files import plain, write_whole
from ..training import listing
from ..training.direction import Direction
from .edges import edges
from .progress import ProgressLine
from .report import Leader, Report, compared, counted, noise_of
from .search import Grid, Halving, Random, Strategy, Trial
from .sources import sources
from .spaces import Config, Integer, Log, Space
from .store import Row, Store
from .trials import Build, check_build, describe, train
from .units import DIVERGED, DONE, Outcome, Unit, digest, minnet_version
from .workers import Engine, Executor

_SEEDS = 2**31
_COLUMNS = (
    *("kind", "trial", "steps", "status", "seed", "words", "figure", "seconds"),
    *("machine", "threads", "vector_bytes", "version"),
)


class Study:
    """A search for hyper-parameters: trials in a store, which is never asked to compute anything twice.

    A program that was killed, or is run again, goes on from what is stored, and its table is then the same as that of a
    program that was not. ``build`` is called once here, in the middle of the space, to check it and to describe the
    study.

    Args:
        path: path of the store, see ``Store``; None keeps it in memory.
        space: ranges of hyper-parameters.
        build: a function of a module, ``build(config, seed)``, which returns a ``Trainer`` of the whole run with
            validation data, and does nothing else.
        metric: the figure, a column of the epochs' rows, such as ``"val_loss"``.
        mode: ``"min"`` or ``"max"``; None for the columns whose names say so.
        seed: seed of all trials.

    Raises:
        ValueError: the run has no such metric, or ``build`` does not read a parameter of the space.
        TypeError: ``build`` returns no Trainer, or asks for a parameter that the space lacks.
        StoreError: the store is another study's, damaged, or in use.
    """

    def __init__(
        self,
        path: str | Path | None,
        space: Space,
        build: Build,
        metric: str,
        mode: str | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(space, Space):
            raise TypeError(f"Study: expected a Space, such as Space(lr=Log(1e-5, 1.0)); got {space!r}")
        if taken := sorted({*_COLUMNS, metric} & set(space.ranges)):
            raise ValueError(f"Study: expected parameters of other names than columns of the table; got {taken}")
        self.space, self.build, self.metric = space, build, metric
        self.seed = checks.count("Study", "seed", seed, 0)
        self.direction = Direction.of("Study", metric, mode)
        code = sources(build)  # before it is called, as it may change what it names
        trainer = _built(build, space, metric)
        self._whole = trainer.steps
        # Descriptions have NaN and infinity, which JSON has not.
        subject: dict[str, Any] = {
            "metric": metric,
            "mode": self.direction.mode,
            "space": repr(space),
            "build": code,
        }
        subject |= {"seed": self.seed, **describe(trainer)}
        self._subject = json.loads(json.dumps(plain(subject), default=repr))
        self._key = digest(self._subject)
        self.store = Store(path, self._subject)
        self._asked: dict[str, None] = {}  # keys of the trials that this object was asked for

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    # Running ---------------------------------------------------------------------------------------------

    def run(
        self,
        strategy: Random | Grid | Halving,
        steps: int | None = None,
        *,
        workers: int = 0,
        executor: Executor | None = None,
        threads: int = 1,
        limit: float | None = None,
        progress: bool | None = None,
    ) -> None:
        """Run the trials of a strategy, and store them as they come. What is stored is not run again.

        A trial that raises, diverges, takes too long, or whose process is killed twice costs itself only. It is stored
        with its words, and is worse than all others.

        Args:
            strategy: ``Random``, ``Grid`` or ``Halving``.
            steps: number of steps of each trial, the beginning of the run that ``build`` makes; None for the whole
                run. ``Halving`` has its rungs.
            workers, executor, threads, limit: see ``Engine``.
            progress: a line on standard error: None on a terminal only, True everywhere, False nowhere.

        Raises:
            ValueError: more steps than the run of ``build`` has.
            StoreError: the store cannot be written; what was stored is whole.
            TypeError, RuntimeError: ``build`` or the main program cannot be used by processes; see ``Engine.run``.
        """
        if not isinstance(strategy, Random | Grid | Halving):
            raise TypeError(f"Study.run: expected Random(n), Grid(n) or Halving(n, rungs); got {strategy!r}")
        if isinstance(strategy, Halving) and steps is not None:
            raise ValueError(f"Study.run: expected no steps beside {strategy}, which has its rungs; got steps={steps}")
        if steps is not None:
            checks.count("Study.run", "steps", steps)
        rungs = strategy.rungs(steps or self._whole)
        if rungs[-1] > self._whole:
            raise ValueError(
                f"Study.run: expected at most the {self._whole} steps of the run that build makes; got {rungs[-1]}. A "
                "trial is the beginning of that run: let build make a longer one"
            )
        trials = strategy.trials(self.space, self.seed)
        if strategy_space := getattr(strategy, "within", None):
            self._check_names(strategy_space)
        with Engine(workers, executor, threads=threads, limit=limit) as engine:
            self._climb(engine, strategy, trials, rungs, progress)

    def _climb(
        self, engine: Engine, strategy: Strategy, trials: list[Trial], rungs: tuple[int, ...], progress: bool | None
    ) -> None:
        """Run the trials to the first rung, the best of them to the next, and so on."""
        before: dict[str, bytes | None] = {}
        for rung, steps in enumerate(rungs):
            last = rung == len(rungs) - 1
            units = {t.name: self._unit(t, steps, before.get(t.name), keep=not last) for t in trials}
            self._run(engine, list(units.values()), progress)
            if last:
                return
            # Ties are settled by place, and who came first does not matter.
            costs = [self._cost(self.store.get(units[t.name].key, state=False)) for t in trials]
            order = sorted(range(len(trials)), key=lambda i: (costs[i], i))[: strategy.survivors(rung)]
            trials = [trials[i] for i in sorted(order) if np.isfinite(costs[i])]
            ended = {t.name: self.store.get(units[t.name].key) for t in trials}
            before = {name: outcome.state for name, outcome in ended.items() if outcome is not None}

    def _run(self, engine: Engine, units: list[Unit], progress: bool | None) -> None:
        self._asked |= dict.fromkeys(unit.key for unit in units)
        stored = sum(self.store.get(unit.key, state=False) is not None for unit in units)
        shown = ProgressLine(len(units), self.direction, progress, stored)
        for _, outcome in engine.run(units, self.store, shown):
            if outcome.status != DONE and outcome.words.startswith("ValueError: Study: "):
                raise ValueError(outcome.words.partition("\n")[0].removeprefix("ValueError: "))

    def _unit(self, trial: Trial, steps: int, state: bytes | None, keep: bool, kind: str = "trial") -> Unit:
        """Return the unit of a trial. Its key has no state: a trial that goes on has the same result as a whole one."""
        key = digest(self._key, dict(trial.config), trial.seed, steps)
        columns = {"kind": kind, "trial": trial.name, "steps": steps, "seed": trial.seed, "config": dict(trial.config)}
        return Unit(key, train, (self.build, trial.config, trial.seed, steps, self.metric, state, keep), columns)

    def _cost(self, outcome: Outcome | None) -> float:
        """Return a figure of which less is better; infinity for a trial that failed."""
        if outcome is None or outcome.status != DONE:
            return float("inf")
        return float(self.direction.costs(outcome.result["figure"]))

    def _check_names(self, other: Space) -> None:
        if list(other.ranges) != list(self.space.ranges) and not set(other.ranges) <= set(self.space.ranges):
            raise ValueError(
                f"Study.run: expected within to have the parameters {', '.join(self.space.ranges)}; got {other}"
            )

    # Looking ---------------------------------------------------------------------------------------------

    @property
    def rows(self) -> list[Row]:
        """Stored outcomes of this version of minnet, ordered by kind, steps, and how trials were drawn."""
        rows = [row for row in self.store.rows() if row.outcome.where.get("version") in (None, minnet_version())]
        return sorted(rows, key=place_of)

    @property
    def table(self) -> list[dict[str, Any]]:
        """One dict for each stored outcome: kind, trial, steps, status, the metric, the configuration, the seed.

        It does not depend on who ran the trials, when, or how often the program was killed.
        """
        return [_line(row, self.metric) for row in self.rows]

    def __repr__(self) -> str:
        lines = [{k: v for k, v in line.items() if k not in ("words", "seed")} for line in self.table]
        return listing.as_text(list(dict.fromkeys(k for line in lines for k in line)), lines) if lines else "no trials"

    def to_csv(self, path: str | Path | None = None) -> str:
        """Return the table as CSV, with seconds and machine of each trial.

        Args:
            path: path of a file to which the text is written too, whole or not at all; None for no file.

        Returns:
            The text, with a line for each trial.

        Raises:
            OSError: the file cannot be written.
        """
        text = to_csv(self.rows, self.metric)
        if path is not None:
            write_whole(path, text)
        return text

    def best(self, top: int = 1) -> list[Row]:
        """Return the best trials of this study so far: those of most steps first, among these the best figures.

        Of a configuration with trials of several lengths, the longest counts. "So far" means the trials that this
        object was asked for, so that a program that is run again narrows to the same space; all stored trials if it
        was asked for none.

        Args:
            top: largest number of trials to return, at least 1.

        Returns:
            Rows of the store, the best first; none if no trial is done.
        """
        checks.count("Study", "top", top)
        rows = [row for row in self.rows if row.columns["kind"] == "trial" and row.outcome.status == DONE]
        rows = [row for row in rows if not self._asked or row.key in self._asked]
        rows.sort(key=lambda row: (-row.columns["steps"], self._cost(row.outcome), place_of(row)))
        first: dict[tuple[str, int], Row] = {}
        for row in rows:
            first.setdefault((json.dumps(row.columns["config"], sort_keys=True), row.columns["seed"]), row)
        return list(first.values())[:top]

    def _best(self, who: str, top: int) -> list[Row]:
        found, rows = self.best(top), self.rows
        if not found and rows:
            words = rows[0].outcome.words.partition("\n")[0]
            raise ValueError(f"{who}: expected trials that are done; got {len(rows)}, none of them. The first: {words}")
        if not found:
            raise ValueError(f"{who}: expected trials that are done; got none. Run some first")
        return found

    def narrowed(self, top: int = 8) -> Space:
        """Return the space around the best trials so far, see ``best``.

        Args:
            top: number of trials.

        Raises:
            ValueError: there are no trials that are done.
        """
        found = self._best("Study.narrowed", top)
        return self.space.narrowed([Config(row.columns["config"]) for row in found])

    def report(
        self,
        fresh_seeds: int = 0,
        leaders: int = 5,
        *,
        workers: int = 0,
        executor: Executor | None = None,
        threads: int = 1,
        limit: float | None = None,
        progress: bool | None = None,
    ) -> Report:
        """Return the report, after running the leaders again with fresh seeds.

        Args:
            fresh_seeds: number of seeds that no trial had, the same for each leader; 0 for none.
            leaders: number of leaders.
            workers, executor, threads, limit, progress: as in ``run``.

        Raises:
            ValueError: there are no trials that are done.
        """
        checks.count("Study.report", "fresh_seeds", fresh_seeds, 0)
        best = self._best("Study.report", leaders)
        with Engine(workers, executor, threads=threads, limit=limit) as engine:
            fresh = self._fresh(best, fresh_seeds, engine, progress)
        found = [
            Leader(row.columns["trial"], row.columns["config"], row.outcome.result["figure"], figures)
            for row, figures in zip(best, fresh, strict=True)
        ]
        chosen = found[0]
        ranked = compared(found, self.direction, self.seed) if fresh_seeds else found
        flattery = self.direction.sign * (chosen.found - chosen.fresh.mean()) if fresh_seeds else float("nan")
        trials = [row for row in self.rows if row.columns["kind"] == "trial"]
        counts, failures = counted([(row.outcome.status, row.outcome.words) for row in trials])
        return Report(
            self.metric,
            self.direction.mode,
            ranked,
            noise_of(found),
            float(flattery),
            edges(self.space, *self._at_one_length(trials)),
            counts,
            failures,
        )

    def _fresh(self, best: list[Row], seeds: int, engine: Engine, progress: bool | None) -> list[np.ndarray]:
        """Return figures of each leader on fresh seeds, which are the same for all leaders."""
        drawn = [int(streams.generator(self.seed, "fresh seeds of a study", j).integers(_SEEDS)) for j in range(seeds)]
        by_leader = []
        for row in best:
            config, name = Config(row.columns["config"]), row.columns["trial"]
            trials = [Trial(f"{name} fresh {j}", config, seed) for j, seed in enumerate(drawn)]
            by_leader.append([self._unit(t, row.columns["steps"], None, False, "fresh") for t in trials])
        asked = dict(self._asked)
        self._run(engine, [unit for units in by_leader for unit in units], False if not seeds else progress)
        self._asked = asked
        found = []
        for units in by_leader:
            outcomes = [self.store.get(unit.key, state=False) for unit in units]
            found.append(np.array([o.result["figure"] if o and o.status == DONE else np.nan for o in outcomes]))
        return found

    def _at_one_length(self, trials: list[Row]) -> tuple[list[dict[str, Any]], np.ndarray]:
        """Return configurations and costs of the number of steps that has most trials, drawn from the whole space."""
        told = [
            row
            for row in trials
            if row.outcome.status in (DONE, DIVERGED) and not row.columns["trial"].startswith("within")
        ]
        lengths = [row.columns["steps"] for row in told]
        if not lengths:
            return [], np.zeros(0)
        length = max(set(lengths), key=lambda steps: (lengths.count(steps), steps))
        chosen = [row for row in told if row.columns["steps"] == length]
        return [row.columns["config"] for row in chosen], np.array([self._cost(row.outcome) for row in chosen])

    def plot(self, path: Any = None) -> Any:
        """Draw the figures against each parameter, on the scale of its range; see ``plots.study_values``.

        Args:
            path: path of an image file, beside which the data are written too; an open binary file; or None to return
                the Matplotlib figure.

        Returns:
            The figure if ``path`` is None, else None.
        """
        from ..plots import study_values

        logs = {name for name in self.space.ranges if _is_log(self.space, name)}
        return study_values(self.points(), path, metric=self.metric, mode=self.direction.mode, log=logs)

    def points(self) -> list[dict[str, Any]]:
        """Return rows for figures: one dict for each trial, with its steps, its figure and its parameters."""
        return [
            {
                "trial": row.columns["trial"],
                "steps": row.columns["steps"],
                "figure": row.outcome.result.get("figure", float("nan")),
                **row.columns["config"],
            }
            for row in self.rows
            if row.columns["kind"] == "trial"
        ]


def place_of(row: Row) -> tuple[str, int, str, int]:
    """Return a key that orders rows by kind, steps, how the trial was drawn and its number."""
    name, _, number = str(row.columns.get("trial", "")).rpartition(" ")
    kind, steps = str(row.columns.get("kind", "")), int(row.columns.get("steps", 0))
    return kind, steps, name, int(number) if number.isdecimal() else 0


def _line(row: Row, metric: str) -> dict[str, Any]:
    columns, outcome = row.columns, row.outcome
    return {
        **{name: value for name, value in columns.items() if name not in ("config", "seed")},
        "status": outcome.status,
        metric: outcome.result.get("figure"),
        **columns.get("config", {}),
        "seed": columns.get("seed"),
        "words": outcome.words.partition("\n")[0],
    }


def to_csv(rows: Iterable[Row], metric: str) -> str:
    """Return rows as CSV, with all figures of the end of each trial, its seconds and where it ran."""
    lines = [
        {
            **_line(row, metric),
            **{f"end {name}": value for name, value in row.outcome.result.get("row", {}).items()},
            "seconds": row.outcome.seconds,
            **row.outcome.where,
        }
        for row in rows
    ]
    text = io.StringIO()
    table = csv.DictWriter(text, list(dict.fromkeys(k for line in lines for k in line)), lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    return text.getvalue()


def _is_log(space: Space, name: str) -> bool:
    given = space.plain(name)
    return isinstance(given, Log) or (isinstance(given, Integer) and given.log)


class _Watched(Config):
    """A configuration that notes which of its values are read."""

    __slots__ = ("read",)

    def __init__(self, values: Any) -> None:
        super().__init__(values)
        object.__setattr__(self, "read", set())

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def __getattr__(self, name: str) -> Any:
        if name in self._values:
            self.read.add(name)
        return super().__getattr__(name)

    def replace(self, **values: Any) -> Config:
        self.read.update(self)  # all of them are passed on
        return super().replace(**values)


def _built(build: Build, space: Space, metric: str) -> Any:
    """Return the trainer in the middle of the space; errors if ``build`` does not take the space."""
    if not callable(build):
        raise TypeError(f"Study: expected a function build(config, seed); got {build!r}")
    config = _Watched(dict(space.grid(dict.fromkeys(space.ranges, 1))[0]))
    try:
        trainer = build(config, 0)
    except (AttributeError, KeyError, TypeError) as error:
        raise TypeError(
            f"Study: expected build(config, seed) to take {dict(config)}; got {type(error).__name__}: {error}"
        ) from error
    check_build(trainer, metric, None)
    unread = [name for name in config if name not in config.read]
    if unread:
        raise ValueError(
            f"Study: expected build to read every parameter of the space; got {', '.join(unread)}, which it did not "
            "read. When(...) is for a parameter that only some configurations have"
        )
    return trainer
