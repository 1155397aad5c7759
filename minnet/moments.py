"""When something is taken from a run: every so many steps, at the end of each epoch, or at events of the schedule."""

from typing import TYPE_CHECKING

from . import checks

if TYPE_CHECKING:
    from .schedules import Schedule
    from .train import Record, Trainer

EVENTS = ("boundary", "peak", "trough", "restart", "end")


class Moments:
    """The steps of a run after which a callback takes something.

    Args:
        who: whose errors it raises.
        at: a number n for every n-th step, ``"epoch"`` for the last step of each epoch, or a kind of event of the
            run's schedule: ``"trough"``, ``"peak"``, ``"restart"``, ``"boundary"`` or ``"end"``.
        start: nothing is taken in the first so many steps.
    """

    def __init__(self, who: str, at: int | str, start: int) -> None:
        if isinstance(at, str):
            if at != "epoch" and at not in EVENTS:
                raise ValueError(f"{who}: expected at to be a number of steps, 'epoch' or one of {EVENTS}; got {at!r}")
        else:
            checks.count(who, "at", at)
        self.who, self.at = who, at
        self.start = checks.count(who, "start", start, least=0)
        self._of: tuple[Schedule, int] | None = None
        self._steps: frozenset[int] = frozenset()

    def now(self, trainer: "Trainer", record: "Record") -> bool:
        """Whether it is time, after the step of the record. ValueError if the run's schedule has no such event."""
        if record.step <= self.start:
            return False
        if not isinstance(self.at, str):
            return (record.step - self.start) % self.at == 0
        if self.at == "epoch":
            return trainer.batches.position == 0 or record.step == trainer.steps
        if self._of is None or self._of[0] is not trainer.lr or self._of[1] != trainer.steps:
            self._find(trainer.lr, trainer.steps)
        return record.step in self._steps

    def _find(self, schedule: "Schedule", steps: int) -> None:
        # Events count steps from 0, records from 1.
        found = frozenset(event.step + 1 for event in schedule.events(steps) if event.kind == self.at)
        if not any(step > self.start for step in found):
            raise ValueError(
                f"{self.who}: expected a schedule with a {self.at} after step {self.start} of the run's {steps}; "
                f"got {schedule!r}"
            )
        self._of, self._steps = (schedule, steps), found
