"""The statistics of batch norm, measured anew for other weights."""

import math
from dataclasses import Field, fields, is_dataclass, replace
from typing import Any

import numpy as np

from .. import checks
from ..data import Batches, Data, check_data
from ..layers import BatchNorm, Layer
from ..net.net import Net


def refreshed_buffers(
    net: Net, data: Data | Batches, *, params: np.ndarray | None = None, batch_size: int = 256
) -> np.ndarray:
    """The net's buffers (B,) with the statistics of every BatchNorm measured anew, for ``params`` or the net's own.

    One pass over the training data, on a copy of the net, with dropout at work as in training. Mean and (biased)
    variance are those of all samples together: batches count by their sizes, and to the mean of their variances comes
    the variance of their means (Chan, Golub, LeVeque 1979), so that for the first BatchNorm of a net it does not matter
    how the data are cut. PyTorch's ``update_bn`` takes the mean of the batches' unbiased variances, each batch alike,
    however small the last one is. What other layers keep becomes the mean of what it is after each batch.

    Statistics of layers that are frozen, and of BatchNorm(momentum=1), stay as they are. Without buffers there is no
    pass.

    Args:
        net: stays as it is.
        data: (x, y) as the net sees it, shuffled and cut into batches of nearly one size, at most ``batch_size``. If
            the run standardised its data as it took them (``Trainer(standardize=...)``), standardised data, or Batches
            that do so. These may be the run's own, ``trainer.batches``, in mid-run too: the whole of its current epoch
            is gone through, augmented as the run has it, on a twin.
        params: weights to measure with.
        batch_size: for data that are no Batches.
    """
    if net.buffers.size == 0:
        return net.buffers.copy()
    copy = Net(_forgetful(net.layers), net.input_shape, dtype=net.dtype, seed=net.seed)
    copy.params, copy.buffers, copy.frozen = net.params if params is None else params, net.buffers, net.frozen
    pairs = _means_and_variances(net)
    found, seen = np.zeros(copy.buffers.size), 0
    for step, (x, _) in enumerate(_whole_epoch(data, batch_size, net).epoch()):
        copy.step = step  # noise of its own for every batch
        copy._forward(copy.as_input(x), training=True)  # a batch of one too: it is merged with the others
        seen += len(x)
        share, away = len(x) / seen, copy.buffers - found
        found += share * away
        for mean, variance in pairs:
            found[variance] += share * (1 - share) * away[mean] ** 2
    return found.astype(net.dtype)


def _whole_epoch(data: Data | Batches, batch_size: int, net: Net) -> Batches:
    """Batches at the start of an epoch that nobody else moves on."""
    if isinstance(data, Batches):
        batches = data.twin()
        batches.seek(data.epoch_index)
        return batches
    x, _ = check_data("refreshed_buffers", data, net.dtype)
    count = math.ceil(len(x) / checks.count("refreshed_buffers", "batch_size", batch_size))
    return Batches(data, math.ceil(len(x) / count), dtype=net.dtype)


def _means_and_variances(net: Net) -> list[tuple[slice, slice]]:
    """Where in the buffers the running means and variances of each BatchNorm lie."""
    places, found = net.buffer_layout.places, []
    for name, mean in places.items():
        variance = places.get(name.removesuffix("running_mean") + "running_var")
        if name.endswith("running_mean") and variance is not None:
            found.append((slice(mean.start, mean.stop), slice(variance.start, variance.stop)))
    return found


def _forgetful(layer: Layer) -> Layer:
    """The layer with momentum 0 in each BatchNorm inside it, whose running statistics are then the last batch's.

    Momentum 1 stays: that layer is to keep its statistics.
    """
    if isinstance(layer, BatchNorm):
        return replace(layer, momentum=float(layer.momentum == 1))
    changes: dict[str, Any] = {}
    declared: tuple[Field, ...] = fields(layer) if is_dataclass(layer) else ()
    for field in declared:
        value = getattr(layer, field.name)
        if isinstance(value, Layer):
            changes[field.name] = _forgetful(value)
        elif isinstance(value, tuple | list) and any(isinstance(part, Layer) for part in value):
            changes[field.name] = tuple(_forgetful(part) for part in value)
    return replace(layer, **changes) if changes else layer  # type: ignore[type-var]  # a dataclass if it has changes
