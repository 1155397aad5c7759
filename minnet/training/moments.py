"""When a callback acts in a run: the argument ``at`` of averages, snapshots, checkpoints and monitors."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..base import checks
from ..schedules import Schedule
from .callbacks import Run

EVENTS = ("boundary", "peak", "trough", "restart", "end")

When = int | str | Iterable[int] | Callable[[int], bool]


@dataclass(frozen=True)
class Listed:
    """A function that says whether a step is in a list. Its ``repr`` is ``words``, which a resumed run compares."""

    words: str
    steps: frozenset[int]

    def __call__(self, step: int) -> bool:
        return step in self.steps

    def __repr__(self) -> str:
        return self.words


class Moments:
    """The steps of a run, counted from 1, at which a callback acts.

    Args:
        who: name for error messages.
        at: a number n for every n-th step: n, 2 n and so on after ``start``; ``"epoch"`` for the last step of each
            epoch; an event of the run's schedule: ``"trough"``, ``"peak"``, ``"restart"``, ``"boundary"`` or ``"end"``;
            a list of steps; or a function of the step, such as ``log_spaced()``.
        start: number of steps at the beginning in which the callback does not act.

    Attributes:
        at: the argument; a list becomes a function whose ``repr`` is that of the list.
    """

    def __init__(self, who: str, at: When, start: int = 0) -> None:
        self.who = who
        self.start = checks.count(who, "start", start, least=0)
        self.at: int | str | Callable[[int], bool]
        if isinstance(at, str) and at not in ("epoch", *EVENTS):
            raise ValueError(f"{who}: expected at to be a number of steps, 'epoch' or one of {EVENTS}; got {at!r}")
        if isinstance(at, str) or callable(at):
            self.at = at
        elif isinstance(at, Iterable):
            steps = frozenset(checks.count(who, "each step of at", step) for step in at)
            self.at = Listed(repr(sorted(steps)), steps)
        else:
            self.at = checks.count(who, "at", at)
        self._of: tuple[Schedule, int] | None = None
        self._steps: frozenset[int] = frozenset()

    def find(self, trainer: Run) -> None:
        """Raise ValueError, before the first step, if the schedule has no such event or the run ends by ``start``."""
        if self.start >= trainer.steps:
            raise ValueError(f"{self.who}: expected start within the run's {trainer.steps} steps; got {self.start}")
        if self.at in EVENTS:
            self._find(trainer.lr, trainer.steps)

    def expect(self, trainer: Run) -> None:
        """``find``, and raise ValueError also if the callback would act at no step of the run."""
        self.find(trainer)
        at, steps = self.at, trainer.steps
        first = self.start + at if isinstance(at, int) else 0
        if isinstance(at, Listed):
            first = min((step for step in at.steps if step > self.start), default=steps + 1)
        if first > steps:
            raise ValueError(f"{self.who}: expected at to come after step {self.start} of the run's {steps}; got {at}")

    def now(self, trainer: Run, step: int) -> bool:
        """Return whether the callback acts at this step; raise ValueError if the schedule has no such event."""
        at = self.at
        if step <= self.start:
            return False
        if isinstance(at, int):
            return (step - self.start) % at == 0
        if isinstance(at, Listed):  # without a call, because many monitors ask at every step
            return step in at.steps
        if not isinstance(at, str):
            return bool(at(step))
        if at == "epoch":
            return trainer.batches.position == 0 or step == trainer.steps
        if self._of is None or self._of[0] is not trainer.lr or self._of[1] != trainer.steps:
            self._find(trainer.lr, trainer.steps)
        return step in self._steps

    def ahead(self, trainer: Run, step: int) -> bool:
        """Return what ``now`` will return at a step of the present epoch that is still to come."""
        if self.at != "epoch":
            return self.now(trainer, step)
        batches = trainer.batches
        left = -(-(batches.per_epoch - batches.position) // batches.batch_size)
        return step > self.start and (step == trainer.steps or step == trainer.step + left)

    def _find(self, schedule: Schedule, steps: int) -> None:
        # Events count steps from 0, records from 1.
        found = frozenset(event.step + 1 for event in schedule.events(steps) if event.kind == self.at)
        if not any(step > self.start for step in found):
            raise ValueError(
                f"{self.who}: expected a schedule with a {self.at} after step {self.start} of the run's {steps}; "
                f"got {schedule!r}"
            )
        self._of, self._steps = (schedule, steps), found


def log_spaced(per_decade: int = 20) -> Callable[[int], bool]:
    """Return a function for ``at`` that selects steps of equal ratio, beginning with 1.

    The steps are dense at the beginning, where a run changes fast. 20 per decade are 50 of the first 1,000 steps and 90
    of the first 100,000.

    Args:
        per_decade: number of steps from one power of ten to the next; there are fewer below 100.

    Returns:
        A function that takes a step, counted from 1, and returns whether it is selected.
    """
    each = checks.count("log_spaced", "per_decade", per_decade)
    return Listed(f"log_spaced({each})", frozenset(round(10 ** (k / each)) for k in range(12 * each + 1)))
