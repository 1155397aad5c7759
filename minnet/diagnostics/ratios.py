"""Monitor of the ratio of updates to weights."""

import math

import numpy as np

from ..net.net import Net
from ..training.callbacks import Record, Run
from ..training.moments import When
from .monitor import OFTEN, Monitor

TARGET = 1e-3  # CS231n
_PART = 1 << 15  # elements


class UpdateRatios(Monitor):
    """Record |update| / |weights before the update| of every tensor, in Euclidean norms.

    According to CS231n, "Babysitting the learning process", the ratio should be about 1e-3. A lower ratio suggests that
    the learning rate is too low, a higher one that it is too high. The update is the total change of the step: by rule,
    decay, clipping and norm bounds.

    There is one array per tensor, by its name such as ``"0.W"``, of shape (records,). It is NaN where the weights are
    all 0, as biases are at the first step. The ratio means little for biases and gains, which start from a constant.
    ``labels`` marks tensors tagged ``decay`` as "weights".

    Args:
        at: see ``Monitor``.
    """

    def __init__(self, at: When = OFTEN) -> None:
        super().__init__(at)
        self._before = np.empty(0)

    def before_update(self, trainer: Run, record: Record) -> None:
        """Copy the weights before the update."""
        if self.due(trainer, record.step):
            params = trainer.net.params
            if self._before.shape != params.shape or self._before.dtype != params.dtype:
                self._before = np.empty_like(params)
            np.copyto(self._before, params)

    def on_step(self, trainer: Run, record: Record) -> None:
        """Compare the copy with the weights after the update."""
        if not self.due(trainer, record.step):
            return
        after, ratios = trainer.net.params, {}
        for tensor in trainer.net.tensors:
            own = slice(tensor.start, tensor.stop)
            size, update = _norms(self._before[own], after[own])
            ratios[tensor.name] = update / size if size else np.nan
        self.record(record.step, ratios)
        self.labels = {tensor.name: "weights" for tensor in trainer.net.tensors if tensor.decay}

    def shapes(self, net: Net) -> dict[str, tuple[int, ...]]:
        return {tensor.name: () for tensor in net.tensors}

    def median(self) -> np.ndarray:
        """Return the median over the tensors tagged ``decay`` at each recorded step, of shape (records,)."""
        return np.median([self[name] for name in self.labels], axis=0)


def _norms(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Return (|before|, |after - before|) in double precision, computed in parts that stay in the cache."""
    size = update = 0.0
    for start in range(0, before.size, _PART):
        part = before[start : start + _PART].astype(np.float64)
        size += float(part @ part)
        part -= after[start : start + _PART]
        update += float(part @ part)
    return math.sqrt(size), math.sqrt(update)
