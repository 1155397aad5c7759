"""At which steps something is looked at."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .. import checks

Steps = int | Iterable[int] | Callable[[int], bool]


@dataclass(frozen=True)
class Chosen:
    """A rule for steps, which prints as ``words``: what a resumed run compares."""

    words: str
    rule: Callable[[int], bool]

    def __call__(self, step: int) -> bool:
        return self.rule(step)

    def __repr__(self) -> str:
        return self.words


def chosen(who: str, at: Steps) -> Callable[[int], bool]:
    """Whether a step (or epoch), counted from 1, is one of ``at``.

    A number n means 1 and every multiple of n; a list names the steps; a function is asked.
    """
    if callable(at):
        return at
    if isinstance(at, Iterable):
        listed = frozenset(checks.count(who, "each step of at", step) for step in at)
        return Chosen(repr(sorted(listed)), listed.__contains__)
    every = checks.count(who, "at", at)
    return Chosen(str(every), lambda step: step % every == 0 or step == 1)


def log_spaced(per_decade: int = 20) -> Callable[[int], bool]:
    """Steps of equal ratio, 1 among them: so many from one power of ten to the next, fewer below 100.

    They are dense where a run changes fast, and few in a long one: 20 a decade are 50 of the first 1,000 steps and 90
    of the first 100,000.
    """
    each = checks.count("log_spaced", "per_decade", per_decade)
    steps = frozenset(round(10 ** (k / each)) for k in range(12 * each + 1))
    return Chosen(f"log_spaced({each})", steps.__contains__)
