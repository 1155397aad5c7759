"""A callback that hands the figures of a run to a tracker of experiments, or to any function."""

from collections.abc import Callable
from numbers import Real
from threading import RLock, Thread, current_thread
from typing import Any, ClassVar, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from ..net.net import Net
from .callbacks import Callback, Run, check_alone, check_state
from .history import Row
from .moments import Moments, When

Log = Callable[[int, dict[str, float]], None]

_PLACES = ("step", "epoch")  # columns that say when, not what


@runtime_checkable
class Store(Protocol):
    """A ``Log`` that keeps something open, such as a file. ``Tracker`` opens and closes it.

    It may have an attribute ``place``. Two stores whose places are equal write to the same file or the same run of a
    server, so a run refuses them. Without it, a store is equal to itself only.
    """

    def begin(self, run: str, step: int) -> None:
        """Begin, or go on.

        Args:
            run: a random name of the run, which a resumed run keeps (``Trainer.identity``).
            step: the last step whose figures have been handed over. Figures of later steps that the store has already
                are those of steps that the run has taken back, and takes again.
        """

    def __call__(self, step: int, figures: dict[str, float]) -> None:
        """Take the figures of a step, counted from 1. The steps grow; there may be two calls for one step."""

    def close(self, ended: bool) -> None:
        """Close what ``begin`` has opened. ``begin`` may be called again afterwards.

        Args:
            ended: False if an exception has broken the run off.
        """


class Tracker(Callback):
    """Hand the figures of a run to a function, or to one of the trackers ``TensorBoard``, ``MLflow`` and ``WandB``.

    The figures are those of the history. After each epoch they are all columns of its row, such as ``"epoch/loss"`` and
    ``"epoch/val_accuracy"``; at the chosen steps all columns of the step's row, such as ``"step/loss"`` and
    ``"step/lr"``. Entries that are not numbers are left out.

    Each figure is handed over once. A resumed run goes on after the steps that its checkpoint knows of, and so does a
    branch, which is another run with another name. A run that is resumed with a tracker, and did not have one before,
    hands over its whole history.

    Args:
        log: a function of the step, counted from 1, and a dict of figures by name; or an object that has ``begin`` and
            ``close`` as well, see ``minnet.training.tracker.Store``. It is opened before the first step and closed when
            the run ends, also by an exception. Each Tracker of a run needs one of its own, because each hands over the
            figures of the epochs. Runs may use an object one after the other. If a run in the same thread has not
            ended, the later one gets it, and the earlier one fails when it next hands over figures.
        at: steps whose figures are handed over as well: a number n for every n-th step, an event of the schedule, a
            list of steps or a function of the step, see ``Moments``. ``"epoch"`` hands over the figures of epochs only.

    Raises:
        TypeError: if ``log`` cannot be called.
        ValueError: for a bad value of ``at``; before the first step, for two Trackers of a run that write to one place.
        RuntimeError: before the first step, if a run in another thread has ``log`` open.

    Any exception that ``log`` raises ends the run.
    """

    bystander: ClassVar[bool] = True

    def __init__(self, log: Log, at: When = "epoch") -> None:
        if not callable(log):
            raise TypeError(f"Tracker: expected log to be a function of the step and its figures; got {log!r}")
        self.log = log
        self._moments = Moments("Tracker", at)
        self._at = self._moments.at  # for repr
        self._step = 0  # all figures up to this step have been handed over
        self._open = self._displaced = False

    def on_start(self, trainer: Run) -> None:
        """Open the log."""
        check_alone("Tracker", trainer, Tracker, lambda tracker: getattr(tracker.log, "place", tracker.log), "a log")
        if trainer.step == 0:
            self._step = 0
        self._moments.find(trainer)
        self._close(ended=False)  # of a run that was left by an exception of its own loop
        self._displaced = False
        self._ensure_open(trainer)

    def looks_at(self, trainer: Run, step: int) -> bool:
        return self._moments.ahead(trainer, step)

    def between_steps(self, trainer: Run) -> None:
        """Hand over what is new."""
        self._hand_over(trainer)

    def on_end(self, trainer: Run) -> None:
        """Hand over the rest and close the log."""
        ended = False
        try:
            self._hand_over(trainer)
            ended = True
        finally:
            self._close(ended)

    def on_break(self, trainer: Run) -> None:
        """Close the log."""
        self._close(ended=False)

    def state(self) -> dict[str, Any]:
        return {"step": self._step}

    def check(self, state: dict[str, Any], net: Net) -> None:
        check_state(self, state, ("step",))
        step = state.get("step", 0)
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise ValueError(f"Tracker: expected a state with a number of steps; got {step!r}")

    def restore(self, state: dict[str, Any]) -> None:
        check_state(self, state, ("step",))
        self._step = state.get("step", 0)

    def _hand_over(self, trainer: Run) -> None:
        """Hand over the figures of all steps and epochs after ``_step``, in their order."""
        if not trainer.writes:
            return
        rows = [("epoch", row) for row in _newer(trainer.history.epochs.rows, self._step)]
        if self._at != "epoch":
            steps = _newer(trainer.history.steps.rows, self._step)
            rows += [("step", row) for row in steps if self._moments.now(trainer, row["step"])]
        rows.sort(key=lambda pair: pair[1]["step"])
        for kind, row in rows:
            self._ensure_open(trainer)
            self.log(row["step"], _figures(kind, row))
        self._step = trainer.step

    def _ensure_open(self, trainer: Run) -> None:
        if trainer.writes and not self._open and isinstance(self.log, Store):
            self._take()
            try:
                self.log.begin(trainer.identity, self._step)
            except BaseException:
                self._give_back()
                raise
            self._open = True

    def _take(self) -> None:
        """Get the log from a run that was left without an end; RuntimeError if another run is at work with it."""
        with _guard:
            for other, thread in list(_at_work.items()):
                if other is self or other.log is not self.log:
                    continue
                if self._displaced or (thread is not current_thread() and thread.is_alive()):
                    raise RuntimeError(
                        f"Tracker: expected a log that no other run has open; got {self.log!r}, which another run has "
                        "opened. Give each run a log of its own, or wait until that one has ended"
                    )
                other._close(ended=False)
                other._displaced = True
            _at_work[self] = current_thread()

    def _give_back(self) -> None:
        with _guard:
            _at_work.pop(self, None)

    def _close(self, ended: bool) -> None:
        if self._open and isinstance(self.log, Store):
            self._open = False
            self._give_back()
            self.log.close(ended)


_guard = RLock()
_at_work: WeakKeyDictionary[Tracker, Thread] = WeakKeyDictionary()  # those that have a store open, and their threads


def _newer(rows: list[Row], step: int) -> list[Row]:
    """Return the rows after a step, from the end, since rows are in the order of their steps."""
    first = len(rows)
    while first and rows[first - 1]["step"] > step:
        first -= 1
    return rows[first:]


def _figures(kind: str, row: Row) -> dict[str, float]:
    """Return the numbers of a row, by name."""
    numbers = {name: value for name, value in row.items() if isinstance(value, Real) and name not in _PLACES}
    return {f"{kind}/{name}": float(value) for name, value in numbers.items()}
