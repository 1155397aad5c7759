"""Warnings about schedules whose length does not fit the run, as when epochs are given in place of steps."""

import itertools
import math
import warnings

from .schedule import Schedule
from .times import step_of


def warn_of_length(name: str, schedule: Schedule, steps: int, per_epoch: int) -> None:
    """Warn if the run is shorter than the schedule, or if the schedule's length looks like a number of epochs."""
    length, epochs = schedule.length, steps / per_epoch
    advice = f"Lengths are in steps; schedule.in_epochs({per_epoch}) reads them as epochs."
    if length == epochs and per_epoch > 1:
        came = f"one of {length:g} steps, as many as the run has epochs"
    # A schedule that ends above its start is a warm-up, which may be short.
    elif 0 < length < epochs and per_epoch > 1 and schedule(length) < schedule(0):
        came = f"one of {length:g} steps, fewer than the run has epochs"
    elif steps < length * (1 - 1e-9) and math.isfinite(length):
        came = f"one of {length:g} steps, of which the run leaves out the last"
        advice = "Give the schedule the length of the run, or train longer."
    elif _starts_too_late(schedule, steps):
        came = "one whose first event comes after the run's last step"
        advice = "Give the schedule shorter lengths, or train longer."
    else:
        return
    warnings.warn(
        f"Trainer: expected a schedule of {name} that suits a run of {steps} steps ({epochs:g} epochs of "
        f"{per_epoch}); got {came}: {schedule!r}. {advice}",
        UserWarning,
        stacklevel=3,
    )


def _starts_too_late(schedule: Schedule, steps: int) -> bool:
    """Return whether a schedule without an end has events, but none in the first ``steps`` steps."""
    if schedule.length < math.inf or any(step_of(*mark) < steps for mark in schedule.marks(steps + 1)):
        return False
    far = max(1_000 * steps, 1_000_000)
    return any(True for _ in schedule.marks(far))


def telling_steps(schedule: Schedule, steps: int) -> list[int]:
    """Return steps whose values show the range of the schedule: first and last step, events and their neighbours.

    Only the first thousand events count.
    """
    found = {0, steps - 1}
    for time, _ in itertools.islice(schedule.marks(steps + 1), 1_000):
        found.update(range(math.floor(time) - 1, math.ceil(time) + 2))
    return sorted(step for step in found if 0 <= step < steps)
