"""Checks of what a trainer is given: data, weights of samples, rates and callbacks."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..base import checks
from ..data import Batches, Data, Standardizer, check_data
from ..distributed import MPI
from ..net.net import Net
from ..schedules import Schedule
from .callbacks import Callback
from .ownership import with_inner

# (x, y, sample_weight)
WeightedData = tuple[np.ndarray, np.ndarray, np.ndarray]
# A learning rate as a user gives it: a number, a schedule, or a function of the step.
Rate = Schedule | Callable[[int], float] | float


def check_callbacks(callbacks: Any) -> list[Callback]:
    """Return the callbacks as a list; raise TypeError for anything else than callbacks."""
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"Trainer: expected callbacks as a list; got {callbacks!r}")
    found = list(callbacks)
    for callback in found:
        if not isinstance(callback, Callback):
            raise TypeError(f"Trainer: expected callbacks that are Callback objects; got {callback!r}")
    seen: set[int] = set()
    for callback in with_inner(found):
        if id(callback) in seen:
            raise ValueError(f"Trainer: expected each callback once; got one object twice, {callback!r}")
        seen.add(id(callback))
    return found


def check_exchange(exchange: Any) -> MPI | None:
    """Return the exchange; raise TypeError for anything else than one or None."""
    if not isinstance(exchange, MPI | None):
        raise TypeError(f"Trainer: expected exchange to be a distributed.MPI or None; got {exchange!r}")
    return exchange


def check_shards(shards: int, shortest: int, least: int, layer: str | None) -> None:
    """Raise ValueError if a shard of the shortest batch has fewer than ``least`` samples, which ``layer`` needs."""
    smallest = max(shortest // shards, 1)
    if smallest < least:
        raise ValueError(
            f"Trainer: expected shards of at least {least} samples, which layer {layer} needs for its statistics; got "
            f"one of {smallest}, in a batch of {shortest} samples that is cut into {shards}. drop_last=True leaves out "
            "a last batch that is shorter; or give another batch_size, or fewer shards"
        )


def for_net(who: str, data: Data, net: Net) -> Data:
    """Check (x, y) and convert y to the form that the loss of the net takes, so that no step has to convert it."""
    x, y = check_data(who, data, net.input_dtype)
    if x.shape[1:] != net.input_shape:
        hint = checks.turned(x.shape[1:], net.input_shape)
        raise ValueError(f"{who}: expected samples of shape {net.input_shape}; got {x.shape[1:]}{hint}")
    if net.vocabulary:
        try:
            x = net.as_input(x)
        except ValueError as error:
            raise ValueError(f"{who}: {error}") from None
    if net.loss_function is None:
        raise ValueError(f"{who}: expected a net built with loss=...; this one has none")
    return x, net.loss_function.check_targets(y, net.output_shape, net.dtype)


def sample_weights(who: str, weights: Any, samples: int) -> np.ndarray:
    """Return the weights of samples, (n,), as float64."""
    array = checks.array(who, "sample_weight", weights)
    if array.dtype.kind not in "fiub" or array.shape != (samples,):
        raise ValueError(
            f"{who}: expected sample_weight as {samples} numbers, one a sample; got {array.dtype}, shape {array.shape}"
        )
    array = np.array(array, np.float64)
    if not np.isfinite(array).all() or array.min() < 0:
        raise ValueError(
            f"{who}: expected sample_weight finite and of at least 0; got {array.min():.4g} to {array.max():.4g}"
        )
    return array


def counting(who: str, net: Net, targets: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return which samples add to the loss, booleans of shape (n,); raise ValueError if none does."""
    try:
        return net.counting(targets, sample_weight=weights)
    except ValueError as error:
        raise ValueError(f"{who}: {error}") from None


def check_batches(batches: Batches, counts: np.ndarray, steps: int, uncounted: str) -> None:
    """Raise ValueError if a batch in the first ``steps`` of a run has no sample that counts.

    The order of the batches is known beforehand. It is computed only if so many samples do not count that they may fill
    a batch.

    Args:
        batches: the batches of the run.
        counts: booleans of shape (n,), whether each sample counts.
        steps: length of the run.
        uncounted: words for the samples that do not count, see ``Loss.uncounted``.
    """
    idle = int(np.count_nonzero(~counts))
    if idle < batches.shortest:
        return
    starts = np.arange(0, batches.per_epoch, batches.batch_size)
    for epoch in range(math.ceil(steps / len(starts))):
        filled = np.logical_or.reduceat(counts[batches.order_of(epoch)], starts)
        step = epoch * len(starts) + int(np.argmin(filled))
        if not filled.all() and step < steps:
            raise ValueError(
                f"Trainer: expected a sample that counts in every batch, as the mean loss of none is undefined; got "
                f"none in the batch of step {step + 1} (epoch {epoch + 1}). {idle} of {len(counts)} samples are "
                f"{uncounted}: leave them out of x, y and sample_weight, or give another batch_size or seed"
            )


def split_off_weights(validation: Data | WeightedData | None) -> tuple[Data | None, Any]:
    """Split validation data into ((x, y), sample_weight); sample_weight is None if there are no weights."""
    if isinstance(validation, (tuple, list)) and len(validation) == 3:
        x, y, weights = validation
        return (x, y), weights
    return validation, None  # check_data raises the error for any other form


def part_to_evaluate(who: str, evaluate_training: Any, samples: int) -> int:
    """Return how many training samples are evaluated after each epoch."""
    if isinstance(evaluate_training, bool | np.bool_):
        return samples if evaluate_training else 0
    part = checks.count(who, "evaluate_training", evaluate_training, least=0)
    if part > samples:
        raise ValueError(
            f"{who}: expected evaluate_training of at most {samples} samples, the training data; got {part}"
        )
    return part


def standardized(validation: Data, training: np.dtype, standardize: Standardizer) -> Data:
    """Standardise raw validation data.

    Raises:
        ValueError: one of training and validation data is uint8 and the other is not, so one may not be raw.
    """
    x, y = validation
    if (x.dtype == np.uint8) != (training == np.uint8):
        raise ValueError(
            f"Trainer validation: expected raw data like the training data ({training}), as standardize is for both; "
            f"got {x.dtype}"
        )
    return standardize(x), y


def rate_at(schedule: Schedule, step: int) -> float:
    """Return the learning rate of a step, counted from 0; raise ValueError if it is out of its range."""
    try:
        return checks.non_negative("Trainer", "lr", schedule(step))
    except ValueError as error:
        raise ValueError(f"{error} at step {step} of {schedule!r}") from None
