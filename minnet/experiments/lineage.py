"""The result of population based training: the winner as a plain run, and where each member came from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..net.net import Net
from ..schedules import Piecewise
from ..training import Trainer
from ..training.saved import Saved
from .evolution import Member
from .spaces import Config
from .units import digest


@dataclass(frozen=True)
class Winner:
    """The best member of the last generation, as the plain run that it is.

    Attributes:
        seed: seed of the run.
        schedules: ``Piecewise`` schedule of each hyper-parameter, over the steps of the run. ``fit`` with these, and
            this seed, has the bits of the winner.
        selection_score: the figure that the winner was chosen by. It is the best of many and therefore flatters; see
            ``PopulationResult.evaluate``.
        state: state at the end of the run, as ``Trainer.state`` returns it.
    """

    seed: int
    schedules: dict[str, Piecewise]
    selection_score: float
    state: bytes


@dataclass(frozen=True)
class PopulationResult:
    """What ``pbt`` returns.

    Attributes:
        population: its settings.
        metric, mode: the figure that selected, and its direction.
        lineage: every member in every generation, in order: its parent, configuration, status and score.
        best: the winner's entry in the lineage.
    """

    build: Callable[[Config, int], Trainer]
    population: Any
    metric: str
    mode: str
    lineage: tuple[Member, ...]
    best: Member

    @cached_property
    def winner(self) -> Winner:
        """The best member of the last generation as a plain run."""
        best = self.best
        assert best.score is not None  # pbt raises an error if no member has a score
        assert best.state is not None
        names = list(best.config)
        return Winner(best.seed, {name: self._schedule(name) for name in names}, best.score, best.state)

    def _schedule(self, name: str) -> Piecewise:
        boundaries, values = [], [self.best.path[0][name]]
        for generation, config in enumerate(self.best.path):
            if config[name] != values[-1]:
                boundaries.append(generation * self.population.steps)
                values.append(config[name])
        return Piecewise(boundaries, values)

    def ancestors(self) -> list[Member]:
        """Return the entries of the lineage that the winner's weights went through, the first generation first."""
        entries = {(m.generation, m.member): m for m in self.lineage}
        found = [self.best]
        while (parent := found[-1].parent) is not None:
            found.append(entries[found[-1].generation - 1, parent])
        return found[::-1]

    def net(self) -> Net:
        """Return the net that the winner has trained."""
        return self._trainer().net

    def evaluate(self, data: tuple[Any, Any]) -> dict[str, float]:
        """Return the figures of the winner's net on data that had no part in training or selection.

        Args:
            data: (x, y), raw if the run standardises its data.
        """
        trainer = self._trainer()
        standardize = trainer.batches.standardize
        x, y = data
        return trainer.net.evaluate(x if standardize is None else standardize(x), y)

    def _trainer(self) -> Trainer:
        trainer, saved = self.build(self.best.config, self.best.seed), Saved.of(self.winner.state)
        trainer.net.params, trainer.net.buffers = saved.weights(trainer.net)
        return trainer

    @cached_property
    def digest(self) -> str:
        """A checksum of all decisions, figures and of the winner's weights, the same for every engine."""
        net = self.net()
        entries = [[m.generation, m.member, m.parent, m.seed, m.config, m.status, m.score] for m in self.lineage]
        return digest(entries, np.asarray(net.params), np.asarray(net.buffers))

    def plot(self, path: str | Path | BinaryIO | None = None) -> Any:
        """Draw values and scores of all members over the generations; see ``plots.population_lineage``.

        Args:
            path: path of an image file, beside which the data are written too; an open binary file; or None to return
                the Matplotlib figure.

        Returns:
            The figure if ``path`` is None, else None.
        """
        from ..plots import population_lineage

        return population_lineage(self, path)

    def __str__(self) -> str:
        settings, w = self.population, self.winner
        copied = sum(m.parent is not None and m.parent != m.member for m in self.lineage)
        failed = sum(m.score is None for m in self.lineage)
        lines = [
            f"Population of {settings.size} over {settings.generations} generations of {settings.steps} steps, "
            f"{copied} copies, {failed} failed",
            f"winner: member {self.best.member}, seed {w.seed}, selected by {self.metric} {w.selection_score:.4g}. "
            "This is the best of many figures and flatters: evaluate(data) measures the winner on data apart",
            *(f"  {name}: {schedule!r}" for name, schedule in w.schedules.items()),
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"PopulationResult({self.population!r}, {self.metric}, {len(self.lineage)} entries)"
