"""Statistics of batch norm, measured again for other weights."""

import math
from dataclasses import replace

import numpy as np

from ..base import checks
from ..data import Batches, Data, check_data
from ..layers import BatchNorm, Layer
from ..layers.changed import changed
from ..net.net import Net


def refreshed_buffers(
    net: Net, data: Data | Batches, *, params: np.ndarray | None = None, batch_size: int = 256
) -> np.ndarray:
    """Measure the statistics of every BatchNorm again, for other weights or those of the net.

    This is one pass over the training data on a copy of the net, with dropout as in training. Mean and (biased)
    variance are those of all samples together: batches are weighted by their sizes, and the variance of their means is
    added to the mean of their variances (Chan, Golub, LeVeque 1979). For the first BatchNorm of a net, the result
    therefore does not depend on the division into batches. PyTorch's ``update_bn`` takes the mean of the unbiased
    variances of the batches, all with the same weight, even if the last batch is small. Other buffers become the mean
    of their values after each batch.

    Statistics of frozen layers, and of BatchNorm(momentum=1), do not change. If the net has no buffers, there is no
    pass. Nets that carry states on from pass to pass take the data in their order, in batches of ``net.streams``.

    Args:
        net: the net; it is not changed.
        data: (x, y) in the form that the net sees. They are shuffled and divided into batches of nearly equal sizes, at
            most ``batch_size``. If the run standardises its data (``Trainer(standardize=...)``), give standardised
            data, or Batches that standardise. ``trainer.batches`` may be given, also during the run: a copy goes
            through the whole current epoch, with the augmentation of the run.
        params: weights (P,) to measure with; None for those of the net.
        batch_size: largest batch size for data that are not Batches.

    Returns:
        Buffers of the net, shape (B,), in a new array.
    """
    if net.buffers.size == 0:
        return net.buffers.copy()
    copy = Net(changed(net.layers, _forgetful), net.input_shape, dtype=net.dtype, seed=net.seed)
    copy.params, copy.buffers, copy.frozen = net.params if params is None else params, net.buffers, net.frozen
    copy.reset_state()
    pairs = _means_and_variances(net)
    found, seen = np.zeros(copy.buffers.size), 0
    for step, (x, _) in enumerate(_whole_epoch(data, batch_size, net).epoch()):
        copy.step = step  # other noise for every batch
        if net.streams:
            copy._check_size(len(x))
        copy._forward(copy.as_input(x), training=True)  # also for one sample, as batches are merged
        seen += len(x)
        share, away = len(x) / seen, copy.buffers - found
        found += share * away
        for mean, variance in pairs:
            found[variance] += share * (1 - share) * away[mean] ** 2
    copy.buffers = found
    for (own, _), (state, _) in zip(net._carried, copy._carried, strict=True):
        state[...] = own  # a state is no statistic, and the net's goes on
    return copy.buffers.copy()


def _whole_epoch(data: Data | Batches, batch_size: int, net: Net) -> Batches:
    """Return batches of their own, at the start of an epoch."""
    if isinstance(data, Batches):
        batches = data.twin()
        batches.seek(data.epoch_index)
        return batches
    x, _ = check_data("refreshed_buffers", data, net.input_dtype)
    if net.streams:
        return Batches(data, net.streams, dtype=net.input_dtype, shuffle=False)
    count = math.ceil(len(x) / checks.count("refreshed_buffers", "batch_size", batch_size))
    return Batches(data, math.ceil(len(x) / count), dtype=net.input_dtype)


def _means_and_variances(net: Net) -> list[tuple[slice, slice]]:
    """Return the places of the running mean and variance of each BatchNorm in the buffers."""
    places, found = net.buffer_layout.places, []
    for name, mean in places.items():
        variance = places.get(name.removesuffix("running_mean") + "running_var")
        if name.endswith("running_mean") and variance is not None:
            found.append((slice(mean.start, mean.stop), slice(variance.start, variance.stop)))
    return found


def _forgetful(layer: Layer) -> Layer:
    """Return a BatchNorm with momentum 0, whose running statistics are then those of the last batch.

    Other layers stay as they are. Momentum 1 is kept, since such a layer keeps its statistics.
    """
    return replace(layer, momentum=float(layer.momentum == 1)) if isinstance(layer, BatchNorm) else layer
