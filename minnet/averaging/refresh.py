"""The statistics of batch norm, measured anew for other weights."""

from dataclasses import Field, fields, is_dataclass, replace
from typing import Any

import numpy as np

from ..data import Batches, Data
from ..layers import BatchNorm, Layer
from ..net import Net


def refreshed_buffers(
    net: Net, data: Data | Batches, *, params: np.ndarray | None = None, batch_size: int = 256
) -> np.ndarray:
    """The net's buffers (B,) with the statistics of every BatchNorm measured anew, for ``params`` or the net's own.

    One pass over the training data, on a copy of the net: statistics are the plain mean of the batches' means and
    (biased) variances, as PyTorch's ``update_bn`` takes them; dropout is at work, as in training. What other layers
    keep becomes the mean of what it is after each batch. Without buffers there is no pass.

    Args:
        net: stays as it is.
        data: (x, y) as the net sees it, shuffled and cut into batches of ``batch_size``; or ``Batches`` of one's own,
            which may augment and standardise, of which what is left of the current epoch is used up.
        params: weights to measure with.
        batch_size: for data that are no Batches.
    """
    if net.buffers.size == 0:
        return net.buffers.copy()
    batches = data if isinstance(data, Batches) else Batches(data, batch_size, dtype=net.dtype)
    copy = Net(_forgetful(net.layers), net.input_shape, dtype=net.dtype, seed=net.seed)
    copy.params, copy.buffers = net.params if params is None else params, net.buffers
    total, count = np.zeros(copy.buffers.size), 0
    for x, _ in batches.epoch():
        copy.step = count  # noise of its own for every batch
        copy.forward(x, training=True)
        total += copy.buffers
        count += 1
    return (total / count).astype(net.dtype)


def _forgetful(layer: Layer) -> Layer:
    """The layer with momentum 0 in each BatchNorm inside it, whose running statistics are then the last batch's."""
    if isinstance(layer, BatchNorm):
        return replace(layer, momentum=0.0)
    changes: dict[str, Any] = {}
    declared: tuple[Field, ...] = fields(layer) if is_dataclass(layer) else ()
    for field in declared:
        value = getattr(layer, field.name)
        if isinstance(value, Layer):
            changes[field.name] = _forgetful(value)
        elif isinstance(value, tuple | list) and any(isinstance(part, Layer) for part in value):
            changes[field.name] = tuple(_forgetful(part) for part in value)
    return replace(layer, **changes) if changes else layer  # type: ignore[type-var]  # a dataclass if it has changes
