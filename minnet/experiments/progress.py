"""The progress of a study: one line that changes on a terminal; elsewhere nothing, or a line now and then."""

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
        shown: None writes on a terminal, True everywhere, False nowhere.
        stored: number of units whose outcomes are stored. They come first, take no time, and do not count for the time
            that is left.
    """

    def __init__(self, total: int, direction: Direction, shown: bool | None, stored: int = 0) -> None:
        self.total, self._direction, self._stored = total, direction, stored
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._shown = sys.stderr is not None and (self._terminal if shown is None else shown)
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
        if not self._shown:
            return
        now, last = time.monotonic(), self.done == self.total
        if self.done <= self._stored:
            self._begun = now
        if self._terminal:
            print(f"\r\x1b[K{self.text(now)}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last or now - self._last >= _EVERY:
            self._last = now
            print(self.text(now), file=sys.stderr, flush=True)

    def text(self, now: float) -> str:
        """Return the line."""
        best = "" if self.best is None else f", best so far {self.best:.4g}"
        text = f"{self.done} of {self.total} done, {self.failed} failed{best}"
        if (new := self.done - self._stored) <= 0:
            return text
        return f"{text}, {_time((now - self._begun) / new * (self.total - self.done))} left"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
