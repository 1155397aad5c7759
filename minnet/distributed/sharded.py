"""Training passes over batches that are cut into shards."""

import math
from itertools import pairwise

import numpy as np

from ..kernels.passes.flat import copy
from ..kernels.updates.gradients import combine
from ..layers.base import Layer
from ..net.net import Net
from ..net.objective import Objective
from .mpi import MPI
from .rows import Rows


def cut(n: int, shards: int) -> list[slice]:
    """Cut n samples into shards of consecutive samples; the first n % shards have one more than the others."""
    least, more = divmod(n, shards)
    ends = [least * i + min(i, more) for i in range(shards + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


class Sharded:
    """The training passes of a net, in the shards of an exchange. A run asks this object in place of its net.

    Attributes:
        ranks: the processes that share the work.
    """

    def __init__(self, net: Net, exchange: MPI) -> None:
        self.net, self.exchange, self.ranks = net, exchange, exchange.connect()
        _check_net(net)
        each = exchange.shards // self.ranks.count
        self._own = range(self.ranks.rank * each, (self.ranks.rank + 1) * each)
        self._rows = Rows(exchange.shards, net.params.size, net.statistics_size, net.dtype)
        self._parts: list[slice] = []  # of the last batch, without empty shards
        self._faults: list[str | None] = []  # of the last batch: for each own shard, where NaN or infinity began

    def loss_and_grads(self, x: np.ndarray, y: np.ndarray, *, sample_weight: np.ndarray | None = None) -> float:
        """Fill ``net.grads`` and return the objective of the batch, as ``Net.loss_and_grads`` does.

        The shards of this rank are passed through the net from the last to the first. The net of rank 0 therefore holds
        the pass of shard 0 afterwards, for any number of ranks.
        """
        net, rows, shards = self.net, self._rows, self.exchange.shards
        step, buffers = net.step, net.buffers.copy()
        weights = net.loss_weights(y, sample_weight).reshape(len(y), -1)
        self._parts = [part for part in cut(len(x), shards) if part.stop > part.start]
        self._faults = [None] * len(self._own)
        for place, shard in reversed(list(enumerate(self._own))):
            if shard >= len(self._parts):
                continue
            part = self._parts[shard]
            net.step, net.buffers = step + shard, buffers  # what a pass depends on, whichever rank makes it
            rows.losses[shard] = data = net.partial_grads(x[part], y[part], weights[part].reshape(-1))
            if not math.isfinite(data):
                self._faults[place] = net.first_non_finite() or "the loss itself"
            right = net.correct(y[part], sample_weight=None if sample_weight is None else sample_weight[part])
            rows.right[shard] = math.nan if right is None else right
            copy(net.grads, rows.grads[shard])
            net.read_statistics(part.stop - part.start, rows.statistics[shard])
        net.step, net.buffers = step + shards, buffers
        self.ranks.gather(rows.memory)
        return self._add()

    def _add(self) -> float:
        """Add the results of the shards in their order; return the objective."""
        net, rows, one = self.net, self._rows, self.net.dtype.type(1)
        copy(rows.grads[0], net.grads)
        net.keep_statistics(rows.statistics[0])
        for shard in range(1, len(self._parts)):
            combine(net.grads, one, rows.grads[shard], one)
            net.keep_statistics(rows.statistics[shard])
        net.objective = Objective(sum(rows.losses[: len(self._parts)].tolist()), *net.add_penalties())
        return net.objective.total

    def correct(self, y: np.ndarray, *, sample_weight: np.ndarray | None = None) -> float | None:
        """Return what ``Net.correct`` does, for the batch of the last ``loss_and_grads``."""
        right = sum(self._rows.right[: len(self._parts)].tolist())
        if math.isnan(right):
            return None
        return int(right) if sample_weight is None else right

    def counted(self, y: np.ndarray, *, sample_weight: np.ndarray | None = None) -> float:
        """Return what ``Net.counted`` does, for the batch of the last ``loss_and_grads``."""
        weights = [None if sample_weight is None else sample_weight[part] for part in self._parts]
        return sum(self.net.counted(y[part], sample_weight=w) for part, w in zip(self._parts, weights, strict=True))

    def first_non_finite(self) -> str | None:
        """Return what ``Net.first_non_finite`` does for the first shard with a loss that is not finite.

        All ranks call this, and all return the same.
        """
        faults = [fault for of_rank in self.ranks.share(self._faults) for fault in of_rank]
        return next((fault for fault in faults if fault is not None), None) or self.net.first_non_finite()


def _check_net(net: Net) -> None:
    """Raise ValueError for a net that cannot be trained in shards."""
    if net.streams:
        raise ValueError(
            f"MPI: expected a net whose samples do not depend on those of the batch before; got layers with streams="
            f"{net.streams}, whose state goes on"
        )
    for node in net.nodes():
        if node.plan.kept() and type(node.layer).keep is Layer.keep:
            raise ValueError(
                f"MPI: expected layers with buffers to define statistics and keep, so that all ranks can keep the "
                f"statistics of all shards; got {type(node.layer).__name__} {node.name}"
            )
