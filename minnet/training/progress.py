"""Progress of a run on standard error: a bar, one line per epoch, or nothing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

from ..base.shown import in_notebook
from ..kernels import announce
from .callbacks import Record, Run

# Values of ``progress``. None means a bar on a terminal and in a notebook, and lines elsewhere.
Progress = bool | str | None

_BAR_EVERY = 20  # steps between two updates of the figures beside the bar


def chosen(who: str, progress: Progress) -> str:
    """Return ``"bar"``, ``"lines"`` or ``"nothing"``; raise ValueError for a wrong value of ``progress``."""
    if progress is None:
        return "bar" if in_notebook() or (sys.stderr is not None and sys.stderr.isatty()) else "lines"
    if isinstance(progress, bool):
        return "bar" if progress else "nothing"
    if progress not in ("bar", "lines"):
        raise ValueError(f"{who}: expected progress to be 'bar', 'lines', True, False or None; got {progress!r}")
    return progress


@contextmanager
def shown(trainer: Run, progress: Progress) -> Iterator[Callable[[Record], None]]:
    """Show the steps of a run within this context; yield a function to call after each step."""
    kind = chosen("Trainer.run", progress) if trainer.writes else "nothing"
    with announce.said(None if kind == "bar" else kind):
        if kind == "bar":
            with _bar(trainer) as advance:
                yield advance
        elif kind == "lines":
            yield _Lines(trainer)
        else:
            yield lambda record: None


@contextmanager
def _bar(trainer: Run) -> Iterator[Callable[[Record], None]]:
    from tqdm.auto import tqdm

    with tqdm(total=trainer.steps, initial=trainer.step, unit="step") as bar:

        def advance(record: Record) -> None:
            before = bar.n
            bar.update(record.step - before)
            if record.step // _BAR_EVERY > before // _BAR_EVERY:
                figures = {"epoch": record.epoch, "loss": f"{record.loss:.4g}", "lr": f"{record.lr:.3g}"}
                bar.set_postfix(figures, refresh=False)

        yield advance


class _Lines:
    """Writes a line after each step that ends an epoch."""

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
        except (OSError, ValueError):  # a closed pipe or file must not end the run
            self.wanted = False


def line(row: dict[str, Any], epochs: int, seconds: float) -> str:
    """Return the line of an epoch: its numbers, without data losses, which differ by penalties only, and its time."""
    figures = [
        f"{name} {value if isinstance(value, Integral) else format(float(value), '.4g')}"
        for name, value in row.items()
        if isinstance(value, Real) and name not in ("epoch", "step") and not name.endswith("data_loss")
    ]
    return f"epoch {row['epoch']}/{epochs}: {', '.join([*figures, f'{seconds:.1f} s'])}"
