"""How large an update is beside what it updates."""

from typing import TYPE_CHECKING

import numpy as np

from .monitor import Monitor
from .when import Steps

if TYPE_CHECKING:
    from ..train import Record, Trainer

TARGET = 1e-3  # CS231n


class UpdateRatios(Monitor):
    """|update| / |weights| of every tensor, in Euclidean norms, the weights those before the update.

    CS231n, "Babysitting the learning process": it should be about 1e-3; lower, the rate may be too low, higher, too
    high. The update is all that the step did: rule, decay, clipping and norm bounds together.

    Arrays: one a tensor, by its name (``"0.W"``), of shape (records,). NaN where the weights are all 0, as biases are
    at the first step; of biases and gains, which start from a constant, the ratio says little anyway. ``labels`` calls
    tensors tagged ``decay`` "weights".
    """

    def __init__(self, at: Steps = 10) -> None:
        super().__init__(at)
        self._before = np.empty(0)

    def before_update(self, trainer: "Trainer", record: "Record") -> None:
        """Keep the weights."""
        if self.due(record.step):
            params = trainer.net.params
            if self._before.shape != params.shape or self._before.dtype != params.dtype:
                self._before = np.empty_like(params)
            np.copyto(self._before, params)

    def on_step(self, trainer: "Trainer", record: "Record") -> None:
        """Compare them with what they have become."""
        if not self.due(record.step):
            return
        after, ratios = trainer.net.params, {}
        for tensor in trainer.net.tensors:
            before = self._before[tensor.start : tensor.stop].astype(np.float64)
            size = float(np.linalg.norm(before))
            update = float(np.linalg.norm(after[tensor.start : tensor.stop] - before))
            ratios[tensor.name] = update / size if size else np.nan
        self.record(record.step, ratios)
        self.labels = {tensor.name: "weights" for tensor in trainer.net.tensors if tensor.decay}

    def median(self) -> np.ndarray:
        """Median over the weights (tensors tagged ``decay``) at each recorded step, shape (records,)."""
        return np.median([self[name] for name in self.labels], axis=0)
