"""Recorded steps of a run: how many may be taken at one go, and what is noted about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...schedules import Schedule
from ...schedules.given import Function
from ...schedules.schedule import Constant
from ..callbacks import Callback, Run, acts_at_steps, looks_at, watches
from ..inputs import rate_at
from .steps import Update

_MOST_AHEAD = 4096  # steps whose values are computed at once, unless more are taken at one go


@dataclass
class Ahead:
    """Steps that may be taken at one go.

    Attributes:
        updates: one for each step.
        hyperparameters: for each step, the values of the hyper-parameters that are schedules.
        looking: callbacks that look at the last of the steps.
        known: a list that has these updates from ``place`` on, and then those of steps to come.
        place: see ``known``.
    """

    updates: list[Update]
    hyperparameters: list[dict[str, float]]
    looking: Sequence[Callback] = ()
    known: Sequence[Update] = ()
    place: int = 0

    def part(self, first: int, end: int) -> "Ahead":
        """Return some of the steps."""
        return Ahead(self.updates[first:end], self.hyperparameters[first:end], (), self.known, self.place + first)


class Forecast:
    """The updates of a run's next steps, computed for more steps than are taken at one go.

    A list that was used up is followed by one twice as long. It is dropped if the run has another rate or factor by
    then, so a run that changes them at every step computes no step twice.
    """

    def __init__(self) -> None:
        self._of: tuple[Any, ...] = ()  # what the values depend on besides the step
        self._first = 0  # step of the first value
        self._updates: list[Update] = []
        self._hyperparameters: list[dict[str, float]] = []

    def look_ahead(self, run: Run, most: int) -> Ahead:
        """Return the steps that may be taken at one go, up to ``most`` and to the end of the run.

        They end with the first step that a callback looks at (``Callback.looks_at``), and before the first step that a
        callback watches from within (``before_update``). A step whose rate or hyper-parameter is out of its range is
        not among them, so that Python takes it and raises the error.
        """
        steps = range(run.step, min(run.steps, run.step + most))
        looking: list[Callback] = []
        if listeners := [callback for callback in run.callbacks if acts_at_steps(callback)]:
            for step in steps:
                looking = [callback for callback in listeners if looks_at(callback, run, step + 1)]
                if looking:
                    watched = any(map(watches, looking))
                    steps = range(run.step, step + (not watched))
                    looking = [] if watched else looking
                    break
        calls_functions = any(map(_calls_functions, (run.lr, *run.optimizer.schedules.values())))
        if len(steps) > 1 and calls_functions:
            steps, looking = steps[:1], looking if len(steps) == 1 else []
        self._prepare(run, steps, only_these=calls_functions)
        place = steps.start - self._first
        part = slice(place, place + len(steps))
        updates = self._updates[part]
        complete = looking if len(updates) == len(steps) else ()
        return Ahead(updates, self._hyperparameters[part], complete, self._updates, place)

    def _prepare(self, run: Run, steps: range, only_these: bool) -> None:
        """Compute the values of these steps, unless they are known."""
        of = run.lr, run.lr_factor, run.optimizer.steps - run.step
        as_before = len(of) == len(self._of) and of[0] is self._of[0] and of[1:] == self._of[1:]
        known = range(self._first, self._first + len(self._updates))
        if as_before and not only_these and steps and steps[0] in known and steps[-1] in known:
            return
        used_up = as_before and not only_these and steps.start in (known.stop, *known[-len(steps) :])
        count = 2 * len(known) if used_up else 0
        self._of, self._first = of, steps.start
        ahead = range(steps.start, min(run.steps, max(steps.stop, steps.start + min(count, _MOST_AHEAD))))
        self._updates, self._hyperparameters = _values(run, ahead)


def _values(run: Run, steps: range) -> tuple[list[Update], list[dict[str, float]]]:
    """Return the updates and hyper-parameters of steps, up to the first step with a value out of its range."""
    optimizer, factor = run.optimizer, run.lr_factor
    updates: list[Update] = []
    hyperparameters: list[dict[str, float]] = []
    constant = isinstance(run.lr, Constant)
    try:
        if constant and not optimizer.schedules and steps:
            return [Update(rate_at(run.lr, steps[0]), factor)] * len(steps), [{}] * len(steps)
        ahead, scheduled = optimizer.steps - run.step, bool(optimizer.schedules)
        for step in steps:
            update = Update(rate_at(run.lr, step), factor)
            values = optimizer.hyperparameters(lr_factor=factor, step=step + ahead) if scheduled else {}
            hyperparameters.append(values)
            updates.append(update)
    except ValueError:
        pass
    return updates, hyperparameters


def _calls_functions(value: Any) -> bool:
    """Return whether a schedule contains a plain function, which may look at anything that changes with the steps.

    Other schedules are pure functions of the step.
    """
    if isinstance(value, Function):
        return True
    if isinstance(value, Schedule):
        return any(map(_calls_functions, vars(value).values()))
    return isinstance(value, tuple | list) and any(map(_calls_functions, value))
