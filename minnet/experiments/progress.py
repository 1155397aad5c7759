"""The progress of a study: one line that changes on a terminal, a line now and then elsewhere."""

import sys
import time

from ..training.direction import Direction
from .units import DONE, Outcome, Unit

_EVERY = 30.0  # seconds between two lines of a log


class ProgressLine:
    """Writes what a study has done to standard error; called with each unit and its outcome.

    Args:
        total: number of units.
        direction: which figures are better.
        shown: False writes nothing; True and None write.
    """

    def __init__(self, total: int, direction: Direction, shown: bool | None) -> None:
        self.total, self._direction, self._shown = total, direction, shown is not False
        self.done = self.failed = 0
        self.best: float | None = None
        self._begun = self._last = time.monotonic()

    def __call__(self, unit: Unit, outcome: Outcome) -> None:
        """Count a unit, and write the line if it is time to."""
        self.done += 1
        self.failed += outcome.status != DONE
        figure = outcome.result.get("figure")
        if figure is not None and self._direction.better(figure, self.best):
            self.best = figure
        if not self._shown or sys.stderr is None:
            return
        now, last = time.monotonic(), self.done == self.total
        if sys.stderr.isatty():
            print(f"\r\x1b[K{self.text(now)}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last or now - self._last >= _EVERY:
            self._last = now
            print(self.text(now), file=sys.stderr, flush=True)

    def text(self, now: float) -> str:
        """Return the line."""
        best = "" if self.best is None else f", best so far {self.best:.4g}"
        left = (now - self._begun) / self.done * (self.total - self.done)
        return f"{self.done} of {self.total} done, {self.failed} failed{best}, {_time(left)} left"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
