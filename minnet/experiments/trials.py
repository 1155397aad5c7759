"""A trial: one run of a trainer that ``build`` makes, or its first steps, as a unit of work.

A trial of n steps is the first n steps of the whole run, under the schedules of the whole run. Its result is the same
whether it begins at step 0 or goes on from the state of a shorter trial, because a resumed run has the same bits.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..net.description import describe_architecture
from ..training import Callback, Record, Trainer
from ..training.callbacks import Run, check_monitored, monitored
from ..training.description import compare, describe_net, describe_run
from ..training.resume import go_on
from ..training.saved import Saved
from .spaces import Config

Build = Callable[[Config, int], Trainer]


def train(
    build: Build, config: Config, seed: int, steps: int, metric: str, state: bytes | None, keep: bool
) -> tuple[dict[str, Any], bytes | None]:
    """Run a trial; the function of its unit.

    Args:
        build: makes the trainer of a configuration and a seed.
        config, seed: the arguments of ``build``.
        steps: number of steps from the start of the run at which the trial ends.
        metric: name of the figure, a column of the epochs' rows.
        state: state of a shorter trial of the same configuration and seed, to go on from; None to begin at step 0.
        keep: whether to return the state.

    Returns:
        (result, state): ``figure``; ``row``, all figures at the end; ``steps``, the number of steps taken; and
        ``history``, the columns of the epochs' rows as arrays.

    Raises:
        FloatingPointError: the run diverged, or its figure is not finite.
        KeyboardInterrupt: the run was interrupted.
    """
    trainer = build(config, seed)
    check_build(trainer, metric, steps)
    if state is not None:
        _go_on(trainer, state)
    return run_until(trainer, steps, metric, keep)


def run_until(trainer: Trainer, steps: int, metric: str, keep: bool) -> tuple[dict[str, Any], bytes | None]:
    """Run a trainer up to a step, which is not above its last one; return (result, state) as ``train`` does."""
    pause = _Pause(steps, metric)
    trainer.callbacks = [*trainer.callbacks, pause]
    history = trainer.run(progress=False)
    if history.stopped in ("interrupted", "terminated"):
        raise KeyboardInterrupt
    row = pause.row or dict(history.epochs.rows[-1])
    figure = monitored("Study", row, metric)
    if not math.isfinite(figure):
        raise FloatingPointError(f"expected a finite {metric}; got {figure} after step {trainer.step}")
    numbers = {name: value for name, value in row.items() if isinstance(value, int | float | str)}
    columns = {name: _column(history[name]) for name in history.epochs.columns()} if len(history) else {}
    result = {"figure": figure, "row": numbers, "steps": trainer.step, "history": columns}
    return result, trainer.state() if keep else None


def check_build(trainer: Any, metric: str, steps: int | None) -> None:
    """Raise errors unless ``build`` has made a trainer that can run this many steps and has the metric."""
    if not isinstance(trainer, Trainer):
        raise TypeError(f"Study: expected build(config, seed) to return a Trainer; got {trainer!r}")
    check_monitored("Study", trainer, metric)
    if steps is not None and steps > trainer.steps:
        raise ValueError(
            f"Study: expected at most the {trainer.steps} steps of the run that build makes; got steps={steps}. A "
            "trial is the beginning of that run: let build make a longer one"
        )


def _column(values: list[Any]) -> np.ndarray:
    return np.array([value if isinstance(value, int | float) else math.nan for value in values], np.float64)


class _Pause(Callback):
    """Leaves the run after a step and notes its figures there."""

    bystander = True

    def __init__(self, at: int, metric: str) -> None:
        self.at, self.metric = at, metric
        self.row: dict[str, Any] | None = None

    def looks_at(self, trainer: Run, step: int) -> bool:
        return step == self.at

    def on_step(self, trainer: Run, record: Record) -> None:
        if trainer.step == self.at < trainer.steps:
            trainer.leave("paused")

    def on_epoch(self, trainer: Run, row: dict[str, Any]) -> None:
        monitored("Study", row, self.metric)  # a metric that no run has is an error after the first epoch

    def between_steps(self, trainer: Run) -> None:
        if trainer.step == self.at:
            rows = trainer.history.epochs.rows
            done = bool(rows) and rows[-1]["step"] == trainer.step
            self.row = dict(rows[-1]) if done else _measured(trainer, self.metric)


def _measured(trainer: Run, metric: str) -> dict[str, Any]:
    """Return the figures of a run amid an epoch: those of validation, which need no whole epoch."""
    validation = getattr(trainer, "validation", None)
    row: dict[str, Any] = {"step": trainer.step}
    if validation is not None:
        with trainer.optimizer.evaluating():
            weights = getattr(trainer, "validation_weight", None)
            found = trainer.net.evaluate(*validation, sample_weight=weights)
        row |= {f"val_{name}": value for name, value in found.items()}
    if metric not in row:
        raise ValueError(
            f"Study: expected a figure of the validation data, such as val_loss, where a trial ends amid an epoch; got "
            f"{metric!r} at step {trainer.step}, with {len(trainer.batches)} steps an epoch. Let steps be whole epochs"
        )
    return row


def _go_on(trainer: Trainer, state: bytes) -> None:
    """Continue the run whose state was kept, as ``Trainer.resume`` does."""
    saved = Saved.of(state)
    compare(saved.path, "net", saved.get("net"), describe_net(trainer.net))
    go_on(trainer, saved)


def describe(trainer: Trainer) -> dict[str, Any]:
    """Return what a study's trials share, for the store: net, loss, rule, lengths, callbacks, and checksums of data."""
    net = describe_architecture(trainer.net)
    batches = trainer.batches
    return {
        "net": {name: net[name] for name in ("layers", "input_shape", "loss", "dtype")},
        "run": describe_run(trainer),
        "steps": trainer.steps,
        "batch_size": batches.batch_size,
        "drop_last": batches.drop_last,
        "augment": repr(batches.augment),
    }
