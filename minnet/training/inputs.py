"""Checks of what a trainer is given: data, weights of samples, rates and callbacks."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import checks
from ..data import Data, Standardizer, check_data
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


def for_net(who: str, data: Data, net: Net) -> Data:
    """Check (x, y) and convert y to the form that the loss of the net takes, so that no step has to convert it."""
    x, y = check_data(who, data, net.dtype)
    if x.shape[1:] != net.input_shape:
        hint = checks.turned(x.shape[1:], net.input_shape)
        raise ValueError(f"{who}: expected samples of shape {net.input_shape}; got {x.shape[1:]}{hint}")
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
    if not np.isfinite(array).all() or array.min() < 0 or not array.any():
        raise ValueError(
            f"{who}: expected sample_weight finite, of at least 0 and not all 0; got {array.min():.4g} to "
            f"{array.max():.4g}"
        )
    return array


def weights_of_batches(weights: Any, samples: int, smallest: int) -> np.ndarray:
    """Return the weights of training samples, (n,), as float64.

    Raises:
        ValueError: a batch might consist of samples of weight 0 only. ``smallest`` is the size of the smallest batch.
    """
    array = sample_weights("Trainer", weights, samples)
    nothing = int(np.count_nonzero(array == 0))
    if nothing >= smallest:
        raise ValueError(
            f"Trainer: expected fewer samples with sample_weight 0 than the smallest batch has, {smallest}, as a batch "
            f"may have none else; got {nothing}. Leave them out: x[w > 0], y[w > 0], w[w > 0]"
        )
    return array


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
