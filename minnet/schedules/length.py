"""Whether a schedule's length suits a run's: lengths in epochs are easily taken for steps."""

import math
import warnings

from .base import Schedule, starts_too_late


def warn_of_length(name: str, schedule: Schedule, steps: int, per_epoch: int) -> None:
    """Say so if the run is shorter than a schedule, or if the schedule's length looks like epochs."""
    length, epochs = schedule.length, steps / per_epoch
    if length == epochs and per_epoch > 1:
        came = f"one of {length:g} steps, as many as the run has epochs"
    # What has risen when it is over is a warm-up, which may be short.
    elif 0 < length < epochs and per_epoch > 1 and schedule(length) < schedule(0):
        came = f"one of {length:g} steps, fewer than the run has epochs"
    elif steps < length * (1 - 1e-9) and math.isfinite(length):
        came = f"one of {length:g} steps, of which the run leaves out the last"
    elif starts_too_late(schedule, steps):
        came = "one whose first event comes after the run's last step"
    else:
        return
    warnings.warn(
        f"Trainer: expected a schedule of {name} that suits a run of {steps} steps ({epochs:g} epochs of "
        f"{per_epoch}); got {came}: {schedule!r}. Lengths are in steps; schedule.in_epochs({per_epoch}) reads "
        "them as epochs.",
        UserWarning,
        stacklevel=3,
    )
