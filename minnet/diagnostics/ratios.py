"""How large an update is beside what it updates."""

import math

import numpy as np

from ..net.net import Net
from ..training.callbacks import Record, Run
from ..training.moments import When
from .monitor import OFTEN, Monitor

TARGET = 1e-3  # CS231n
_PART = 1 << 15  # elements


class UpdateRatios(Monitor):
    """|update| / |weights| of every tensor, in Euclidean norms, the weights those before the update.

    CS231n, "Babysitting the learning process": it should be about 1e-3; lower, the rate may be too low, higher, too
    high. The update is all that the step did: rule, decay, clipping and norm bounds together.

    Arrays: one a tensor, by its name (``"0.W"``), of shape (records,). NaN where the weights are all 0, as biases are
    at the first step; of biases and gains, which start from a constant, the ratio says little anyway. ``labels`` calls
    tensors tagged ``decay`` "weights".
    """

    def __init__(self, at: When = OFTEN) -> None:
        super().__init__(at)
        self._before = np.empty(0)

    def before_update(self, trainer: Run, record: Record) -> None:
        """Keep the weights."""
        if self.due(trainer, record.step):
            params = trainer.net.params
            if self._before.shape != params.shape or self._before.dtype != params.dtype:
                self._before = np.empty_like(params)
            np.copyto(self._before, params)

    def on_step(self, trainer: Run, record: Record) -> None:
        """Compare them with what they have become."""
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
        """Median over the weights (tensors tagged ``decay``) at each recorded step, shape (records,)."""
        return np.median([self[name] for name in self.labels], axis=0)


def _norms(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """(|before|, |after - before|) in double precision, by parts that stay in the cache."""
    size = update = 0.0
    for start in range(0, before.size, _PART):
        part = before[start : start + _PART].astype(np.float64)
        size += float(part @ part)
        part -= after[start : start + _PART]
        update += float(part @ part)
    return math.sqrt(size), math.sqrt(update)
