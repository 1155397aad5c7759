"""Monitor of statistics and histograms of weights, gradients and activations."""

import numpy as np

from ..base import checks
from ..net.net import Net
from ..training.callbacks import Record, Run
from ..training.moments import When
from .monitor import OFTEN, Monitor, a_pass

KINDS = ("weights", "gradients", "activations")
STATISTICS = ("mean", "std", "min", "max", "zeros")


class Statistics(Monitor):
    """Record statistics and histograms of every tensor, its gradient, and every layer's output.

    The statistics are mean, standard deviation, minimum, maximum and share of zeros. Weights are those before the
    step's update, gradients are those of the objective before clipping, and activations are those of the step's batch
    in training mode. The monitor runs no pass of its own.

    Arrays ``"weights 0.W"``, ``"gradients 0.W"`` and ``"activations 1"`` (by place, see ``Net.layer_passes``) have
    shape (records, 5) and the columns of ``STATISTICS``. Arrays with the same names followed by ``" counts"`` have
    shape (records, bins), and are counts in bins of equal width from min to max (see ``histogram``). ``labels`` has the
    class of the layer for each array of activations, and "weights" for tensors tagged ``decay``.

    Args:
        at: see ``Monitor``.
        bins: number of bins of each histogram.
    """

    def __init__(self, at: When = OFTEN, bins: int = 40) -> None:
        super().__init__(at)
        self.bins = checks.count("Statistics", "bins", bins)

    def before_update(self, trainer: Run, record: Record) -> None:
        """Record the results of the forward and the backward pass."""
        if not self.due(trainer, record.step):
            return
        net = trainer.net
        passes = [(place, layer, y) for place, layer, _, y in net.layer_passes()]
        values = {f"weights {name}": w for name, w in net.named_parameters().items()}
        values |= {f"gradients {name}": g for name, g in net.named_gradients().items()}
        values |= {f"activations {place}": y for place, _, y in passes}
        row = {}
        for name, array in values.items():
            row[name], row[f"{name} counts"] = describe(array, self.bins)
        self.record(record.step, row)
        self.labels = {f"activations {place}": type(layer).__name__ for place, layer, _ in passes}
        self.labels |= {f"{kind} {t.name}": "weights" for kind in KINDS[:2] for t in net.tensors if t.decay}

    def shapes(self, net: Net) -> dict[str, tuple[int, ...]]:
        names = [f"{kind} {name}" for kind in KINDS[:2] for name in net.named_parameters()]
        names += [f"activations {place}" for place, *_ in a_pass(net)]
        shapes: dict[str, tuple[int, ...]] = {name: (len(STATISTICS),) for name in names}
        return shapes | {f"{name} counts": (self.bins,) for name in names}

    def of(self, kind: str, statistic: str) -> dict[str, np.ndarray]:
        """Return one statistic of all tensors, or of all layers' outputs.

        Args:
            kind: ``"weights"``, ``"gradients"`` or ``"activations"``.
            statistic: one of ``STATISTICS``.

        Returns:
            Arrays of shape (records,), by tensor or place.

        Raises:
            ValueError: for another kind or statistic.
        """
        if kind not in KINDS or statistic not in STATISTICS:
            raise ValueError(f"Statistics.of: expected one of {KINDS} and {STATISTICS}; got {kind!r}, {statistic!r}")
        column, front = STATISTICS.index(statistic), f"{kind} "
        names = [name for name in self.names() if name.startswith(front) and not name.endswith(" counts")]
        return {name.removeprefix(front): self[name][:, column] for name in names}

    def histogram(self, name: str, record: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the histogram of an array at one of the recorded steps.

        Args:
            name: name of the array, such as ``"weights 0.W"``; ``names()`` lists them.
            record: index of the step in ``steps``.

        Returns:
            (counts, edges): shapes (bins,) and (bins + 1,). The bins have equal widths, from the smallest value to the
            largest, or around them if all are equal.
        """
        row = self[name][record]
        return self[f"{name} counts"][record], edges(row[2], row[3], self.bins)


def describe(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``STATISTICS`` (5,) and the counts (bins,) of all finite elements."""
    values = values.reshape(-1)
    finite = np.isfinite(values)
    if not finite.all():
        values = values[finite]
    if not values.size:
        return np.full(len(STATISTICS), np.nan), np.zeros(bins, np.int64)
    low, high = float(values.min()), float(values.max())
    mean, std = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    borders = edges(low, high, bins)
    counts, _ = np.histogram(values, bins, (borders[0], borders[-1]))
    return np.array([mean, std, low, high, np.mean(values == 0)]), counts


def edges(low: float, high: float, bins: int) -> np.ndarray:
    """Return the edges (bins + 1,) of bins of equal width from low to high, or around them if they are equal."""
    if low == high:
        room = abs(low) / 2 or 0.5
        low, high = low - room, high + room
    return np.linspace(low, high, bins + 1)
