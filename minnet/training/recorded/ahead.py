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


@dataclass
class Ahead:
    """Steps that may be taken at one go.

    Attributes:
        updates: one for each step.
        hyperparameters: for each step, the values of the hyper-parameters that are schedules.
        looking: callbacks that look at the last of the steps.
    """

    updates: list[Update]
    hyperparameters: list[dict[str, float]]
    looking: Sequence[Callback] = ()

    def part(self, first: int, end: int) -> "Ahead":
        """Return some of the steps."""
        return Ahead(self.updates[first:end], self.hyperparameters[first:end])


def look_ahead(run: Run, most: int) -> Ahead:
    """Return the steps that may be taken at one go, up to ``most`` and to the end of the run.

    They end with the first step that a callback looks at (``Callback.looks_at``), and before the first step that a
    callback watches from within (``before_update``). A step whose rate or hyper-parameter is out of its range is not
    among them, so that Python takes it and raises the error.
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
    if len(steps) > 1 and any(map(_calls_functions, (run.lr, *run.optimizer.schedules.values()))):
        steps, looking = steps[:1], looking if len(steps) == 1 else []
    updates, hyperparameters = _values(run, steps)
    return Ahead(updates, hyperparameters, looking if len(updates) == len(steps) else ())


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
