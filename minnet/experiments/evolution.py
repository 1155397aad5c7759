"""What becomes of a population between two generations: who copies whom, and how hyper-parameters change.

Truncation selection, and perturbing or resampling, of Jaderberg et al. 2017, section 4.1.1 and appendix A. Every
decision is a function of the figures and of a stream of random numbers keyed by seed, generation and member.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from ..base import streams
from ..training.direction import Direction
from .spaces import Choice, Config, Integer, Space, When
from .units import DONE, Outcome

_RESAMPLED = 0.25  # share of hyper-parameters that are drawn anew; the others are perturbed


class Settings(Protocol):
    """What is asked of a ``Population``."""

    @property
    def size(self) -> int: ...
    @property
    def replaced(self) -> int: ...
    @property
    def factor(self) -> float: ...
    @property
    def seed(self) -> int: ...


@dataclass(frozen=True)
class Member:
    """One member in one generation.

    Attributes:
        generation, member: numbers, counted from 0.
        parent: the member of the generation before whose weights this one began with, itself or another; None in the
            first generation.
        seed: seed of the run that the weights come from; it travels with them.
        path: configurations of the run so far, one for each generation; the last one is ``config``.
        status: as in ``Outcome``; "" before the generation has been trained.
        score: the figure at the end of the generation; None if there is none.
        state: state of the run, which entries of the lineage lack.
    """

    generation: int
    member: int
    parent: int | None
    seed: int
    path: tuple[Config, ...]
    status: str = ""
    score: float | None = None
    state: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def config(self) -> Config:
        """The hyper-parameters of this generation."""
        return self.path[-1]

    def after(self, outcome: Outcome) -> "Member":
        """Return the member at the end of the generation.

        Args:
            outcome: the outcome of its training; one that is not done leaves the member without a score.
        """
        score = outcome.result["figure"] if outcome.status == DONE else None
        return replace(self, status=outcome.status, score=score, state=outcome.state)


def check_space(space: Any) -> None:
    """Raise errors for a space that is none, or has parameters that are not numbers that always exist."""
    if not isinstance(space, Space):
        raise TypeError(f"pbt: expected a Space, such as Space(lr=Log(1e-4, 1.0)); got {space!r}")
    for name, given in space.ranges.items():
        values = given.values if isinstance(given, Choice) else ()
        if isinstance(given, When) or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
            raise ValueError(
                f"pbt: expected numeric ranges, whose values can be those of a schedule; got {name}={given!r}. "
                "Train a population for each of the other choices"
            )


def _stream(seed: int, generation: int, member: int) -> np.random.Generator:
    return streams.generator(seed, "population", generation, member)


def first(space: Space, size: int, seed: int) -> list[Member]:
    """Draw the members of the first generation."""
    members = []
    for i in range(size):
        stream = _stream(seed, 0, i)
        config = space.draw(stream)
        members.append(Member(0, i, None, int(stream.integers(2**31)), (config,)))
    return members


def ranked(members: list[Member], direction: Direction) -> list[Member]:
    """Return the members, the best first. Ties are decided by number, and members without a score come last."""
    return sorted(members, key=lambda m: (m.score is None, 0.0 if m.score is None else -direction.sign * m.score))


def next_generation(members: list[Member], space: Space, settings: Settings, direction: Direction) -> list[Member]:
    """Return the members of the next generation, before it is trained.

    The worst ``settings.replaced`` members, and all without a score, each copy one of the best and change its
    hyper-parameters. The others go on as they are.
    """
    order = ranked(members, direction)
    best = [m for m in order[: settings.replaced] if m.score is not None]
    replaced = {m.member for m in order[settings.size - settings.replaced :]} | {
        m.member for m in order if m.score is None
    }
    replaced -= {m.member for m in best}
    coming = []
    for m in members:
        source, config = m, m.config
        if m.member in replaced:
            stream = _stream(settings.seed, m.generation + 1, m.member)
            source = best[int(stream.integers(len(best)))]
            config = explored(source.config, space, settings.factor, stream)
        coming.append(
            Member(m.generation + 1, m.member, source.member, source.seed, (*source.path, config), state=source.state)
        )
    return coming


def explored(config: Config, space: Space, factor: float, stream: np.random.Generator) -> Config:
    """Return a configuration in which each value was perturbed or drawn anew, and clipped to its range."""
    values = {}
    for name, given in space.ranges.items():
        resample, place, up = stream.random(3)
        given = space.plain(name)
        if resample < _RESAMPLED:
            values[name] = given.value(float(place))
        else:
            values[name] = given.clip(_perturbed(config[name], given, factor if up < 0.5 else 1 / factor))
    return Config(values)


def _perturbed(value: Any, given: Any, factor: float) -> Any:
    """Return a value times ``factor``; of whole numbers and choices at least the next one in that direction."""
    way = 1 if factor > 1 else -1
    if isinstance(given, Choice):
        place = given.values.index(value) + way
        return given.values[min(max(place, 0), len(given.values) - 1)]
    if isinstance(given, Integer):
        return max(value + 1, round(value * factor)) if way > 0 else min(value - 1, round(value * factor))
    return value * factor
