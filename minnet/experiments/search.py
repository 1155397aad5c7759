"""Ways to search a space: at random, on a grid, and by successive halving.

Trial i has a generator of its own, keyed by the seed of the study and i (``streams.generator(seed, "trials of a study",
i)``). It draws the configuration and then the seed of the run. Trials can therefore be computed in any order, and a
search of 100 trials begins with the trials of a search of 60.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from ..base import checks, streams
from .spaces import Config, Space

_SEEDS = 2**31


@dataclass(frozen=True)
class Trial:
    """One configuration with the seed of its run.

    Attributes:
        name: how the trial was drawn and its number, such as ``"random 7"``.
        config: the configuration.
        seed: the seed that ``build`` is given.
    """

    name: str
    config: Config
    seed: int


class Strategy(Protocol):
    """What a study asks of a way to search."""

    def trials(self, space: Space, seed: int) -> list[Trial]:
        """Return the trials that are begun.

        Args:
            space: ranges of the hyper-parameters.
            seed: seed of the draws.
        """

    def rungs(self, steps: int) -> tuple[int, ...]:
        """Return the numbers of steps at which figures are compared; the last is the end.

        Args:
            steps: number of steps of a whole run.
        """

    def survivors(self, rung: int) -> int:
        """Return the number of trials that go on after a rung, counted from 0.

        Args:
            rung: the rung, counted from 0.
        """


def _drawn(space: Space, seed: int, n: int, within: Space | None) -> list[Trial]:
    """Draw n trials. Those within another space have streams of their own, numbered by the text of that space."""
    kind = "random"
    place: list[int] = []
    if within is not None and within != space:
        place = [zlib.crc32(repr(within).encode())]
        kind = f"within {place[0]:08x}"
    found = []
    for i in range(n):
        rng = streams.generator(seed, "trials of a study", i, *place)
        config = (within or space).draw(rng)
        found.append(Trial(f"{kind} {i}", config, int(rng.integers(_SEEDS))))
    return found


@dataclass(frozen=True)
class Random(Strategy):
    """Trials drawn at random from the space (Bergstra and Bengio 2012).

    Args:
        n: number of trials.
        within: a smaller or larger space with the same parameters to draw from, such as ``study.narrowed(top=8)``;
            None for the space of the study.

    Raises:
        ValueError: ``n`` is not at least 1.
    """

    n: int
    within: Space | None = None

    def __post_init__(self) -> None:
        checks.count("Random", "n", self.n)
        _check_within("Random", self.within)

    def trials(self, space: Space, seed: int) -> list[Trial]:
        return _drawn(space, seed, self.n, self.within)

    def rungs(self, steps: int) -> tuple[int, ...]:
        return (steps,)

    def survivors(self, rung: int) -> int:
        return self.n


@dataclass(frozen=True)
class Grid(Strategy):
    """All combinations of evenly spaced values, for comparison with random search.

    Args:
        n: number of values of each parameter, or a dict of them by name. Choices take all their values.
    """

    n: int | Mapping[str, int]

    def trials(self, space: Space, seed: int) -> list[Trial]:
        configs = space.grid(self.n)
        return [
            Trial(f"grid {i}", config, int(streams.generator(seed, "seeds of a grid", i).integers(_SEEDS)))
            for i, config in enumerate(configs)
        ]

    def rungs(self, steps: int) -> tuple[int, ...]:
        return (steps,)

    def survivors(self, rung: int) -> int:
        raise NotImplementedError  # there is one rung


@dataclass(frozen=True)
class Halving(Strategy):
    """Successive halving: many short trials, of which the best go on (Jamieson and Talwalkar 2016).

    All trials of a rung end before the best are chosen, so the choice does not depend on timing. A rung is the
    beginning of the whole run, under the schedules of the whole run, and trials go on from their state. The number of
    trials falls as the number of steps rises, so each rung takes about as many steps as the first: 27 trials with rungs
    at 100, 300 and 900 steps leave 9 and 3.

    Args:
        n: number of trials at the first rung.
        rungs: numbers of steps, which rise.
        within: as in ``Random``.

    Raises:
        ValueError: there are fewer than two rungs, they do not rise, or no trial would reach the last.
    """

    n: int
    rungs_at: tuple[int, ...]
    within: Space | None = None

    def __init__(self, n: int, rungs: Sequence[int], within: Space | None = None) -> None:
        checks.count("Halving", "n", n)
        at = tuple(checks.count("Halving", "a rung", rung) for rung in rungs)
        if len(at) < 2 or any(later <= earlier for earlier, later in pairwise(at)):
            raise ValueError(f"Halving: expected at least two rungs that rise, such as (100, 300, 900); got {rungs}")
        if n * at[0] < at[-1]:
            raise ValueError(
                f"Halving: expected at least {-(-at[-1] // at[0])} trials, so that one reaches the last of the rungs "
                f"{at}; got n={n}"
            )
        _check_within("Halving", within)
        for name, value in {"n": n, "rungs_at": at, "within": within}.items():
            object.__setattr__(self, name, value)

    def trials(self, space: Space, seed: int) -> list[Trial]:
        return _drawn(space, seed, self.n, self.within)

    def rungs(self, steps: int) -> tuple[int, ...]:
        return self.rungs_at

    def survivors(self, rung: int) -> int:
        return max(self.n * self.rungs_at[0] // self.rungs_at[rung + 1], 1)


def _check_within(who: str, within: Any) -> None:
    if within is not None and not isinstance(within, Space):
        raise TypeError(f"{who}: expected within to be a Space, such as study.narrowed(top=8); got {within!r}")
