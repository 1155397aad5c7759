"""What a run shows of itself while it lasts: a bar, a line an epoch, or nothing. All of it goes to standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

from .callbacks import Record, Run

# What ``progress`` may be. None is for the bar on a terminal, and for lines elsewhere.
Progress = bool | str | None

_BAR_EVERY = 20  # steps between two changes of the figures beside the bar


def chosen(who: str, progress: Progress) -> str:
    """``"bar"``, ``"lines"`` or ``"nothing"``; ValueError for what ``progress`` may not be."""
    if progress is None:
        return "bar" if sys.stderr is not None and sys.stderr.isatty() else "lines"
    if isinstance(progress, bool):
        return "bar" if progress else "nothing"
    if progress not in ("bar", "lines"):
        raise ValueError(f"{who}: expected progress to be 'bar', 'lines', True, False or None; got {progress!r}")
    return progress


@contextmanager
def shown(trainer: Run, progress: Progress) -> Iterator[Callable[[Record], None]]:
    """Within it the steps of a run are shown; yields what is to be called after each of them."""
    kind = chosen("Trainer.run", progress)
    if kind == "bar":
        with _bar(trainer) as advance:
            yield advance
    elif kind == "lines":
        yield _Lines(trainer)
    else:
        yield lambda record: None


@contextmanager
def _bar(trainer: Run) -> Iterator[Callable[[Record], None]]:
    from tqdm import tqdm

    with tqdm(total=trainer.steps, initial=trainer.step, unit="step") as bar:

        def advance(record: Record) -> None:
            bar.update()
            if record.step % _BAR_EVERY == 0:
                figures = {"epoch": record.epoch, "loss": f"{record.loss:.4g}", "lr": f"{record.lr:.3g}"}
                bar.set_postfix(figures, refresh=False)

        yield advance


class _Lines:
    """Writes a line after each step that has ended an epoch."""

    def __init__(self, trainer: Run) -> None:
        self.trainer, self.written, self.since = trainer, len(trainer.history), time.perf_counter()
        self.wanted = True

    def __call__(self, record: Record) -> None:
        epochs = self.trainer.history.epochs.rows
        if len(epochs) == self.written or not self.wanted:
            return
        now = time.perf_counter()
        text = line(epochs[-1], -(-self.trainer.steps // len(self.trainer.batches)), now - self.since)
        self.written, self.since = len(epochs), now
        try:
            if sys.stderr is not None:
                print(text, file=sys.stderr, flush=True)
        except (OSError, ValueError):  # a closed pipe or file: that nobody reads is no reason to end a run
            self.wanted = False


def line(row: dict[str, Any], epochs: int, seconds: float) -> str:
    """The line of an epoch's row: its numbers but the data losses, which penalties alone set apart, and its time."""
    figures = [
        f"{name} {value if isinstance(value, Integral) else format(float(value), '.4g')}"
        for name, value in row.items()
        if isinstance(value, Real) and name not in ("epoch", "step") and not name.endswith("data_loss")
    ]
    return f"epoch {row['epoch']}/{epochs}: {', '.join([*figures, f'{seconds:.1f} s'])}"
