"""Bootstrap intervals for the metrics of a comparison, and for differences between its entries."""

from functools import cached_property
from itertools import combinations

import numpy as np

from ..base import streams
from ..training.direction import Direction
from .bootstrap import resampled, simultaneous_widths
from .judgements import Judgements
from .measures import gaps_by_bin

_DRAWS, _DRAWS_AT_A_TIME = 1000, 100


class Intervals(Judgements):
    """Metrics with 95 % bootstrap intervals, from samples and seeds drawn with replacement."""

    @cached_property
    def _drawn(self) -> dict[str, np.ndarray]:
        """Each metric of each entry in each draw, (entries, draws).

        ``"reach"`` is the calibration error plus the norm of the differences between the gaps of the draw and the
        measured ones. It decides where the interval of the calibration error begins.
        """
        rng = streams.generator(self.seed, "draws of a comparison")
        entries, seeds, n = self._hits.shape
        hits, losses, confidence = (v.reshape(-1, n) for v in (self._hits, self._losses, self._confidence))
        known = np.flatnonzero(~np.isnan(confidence[:, 0]))
        # Summed over the samples of a draw: hits, losses, and gaps by bin for entries with probabilities.
        parts = [hits.T, losses.T, *(gaps_by_bin(confidence[i], hits[i], self.bins) for i in known)]
        columns, count = np.concatenate(parts, axis=1), len(hits)
        gaps = columns[:, 2 * count :].mean(axis=0)

        def errors(gaps: np.ndarray) -> np.ndarray:
            """Calibration errors (draws, entries * seeds) for rows of gaps (draws, known * bins)."""
            result = np.full((len(gaps), count), np.nan)
            result[:, known] = abs(gaps).reshape(len(gaps), -1, self.bins).sum(axis=2)
            return result

        found: dict[str, list[np.ndarray]] = {metric: [] for metric in (*self.metrics, "reach")}
        for _ in range(_DRAWS // _DRAWS_AT_A_TIME):
            samples, weights = resampled(rng, n, _DRAWS_AT_A_TIME), resampled(rng, seeds, _DRAWS_AT_A_TIME)
            sums = samples @ columns
            mean_hits, mean_losses, drawn_gaps = np.split(sums, (count, 2 * count), axis=1)
            of = {"accuracy": mean_hits, "log_loss": mean_losses, "data_loss": mean_losses, "ece": errors(drawn_gaps)}
            of["reach"] = errors(gaps[np.newaxis]) + errors(drawn_gaps - gaps)
            for metric, drawn in found.items():
                drawn.append(np.einsum("des,ds->ed", of[metric].reshape(-1, entries, seeds), weights))
        return {metric: np.concatenate(drawn, axis=1) for metric, drawn in found.items()}

    def interval(self, name: str, metric: str) -> tuple[float, float]:
        """Return the 95 % bootstrap interval of an entry's metric.

        Args:
            name: the entry.
            metric: one of ``metrics``.

        Returns:
            (low, high), in the units of the metric; NaN for a metric that the entry does not have.

        Raises:
            ValueError: there is no such entry or metric.
        """
        place, value = self._place(name), self.value(name, metric)
        low, high = _interval(metric, self._drawn[metric][place], value)
        if metric == "ece" and not np.isnan(value):
            low = max(0.0, min(value, 2 * value - float(np.quantile(self._drawn["reach"][place], 0.975))))
        return low, high

    def difference(self, name: str, metric: str, reference: str | None = None) -> tuple[float, float, float]:
        """Return (difference, low, high): the metric of an entry minus that of the reference, with a 95 % interval.

        The difference is paired by sample and seed. The interval holds for an entry that was chosen before looking at
        the figures; see ``differences`` for an entry that is picked among several.

        Args:
            name: the entry.
            metric: one of ``metrics``.
            reference: the entry that is subtracted; None for that of the comparison.

        Raises:
            ValueError: there is no such entry or metric.
        """
        i, j = self._place(name), self._place(self.reference if reference is None else reference)
        drawn, values = self._drawn[self._metric(metric)], self.by_seed(metric).mean(axis=1)
        difference = float(values[i] - values[j])
        return (difference, *_interval(metric, drawn[i] - drawn[j], difference))

    def differences(self, metric: str, reference: str | None = None) -> dict[str, tuple[float, float, float]]:
        """Return (difference, low, high) of every other entry, with simultaneous 95 % intervals.

        The intervals hold together, so they are right for an entry that is picked among several, see
        ``simultaneous_widths`` in ``bootstrap.py``. Entries without the metric are left out.

        Args:
            metric: one of ``metrics``.
            reference: the entry that is subtracted; None for that of the comparison.

        Returns:
            The name of the entry -> (difference, low, high).

        Raises:
            ValueError: there is no such entry or metric.
        """
        j = self._place(self.reference if reference is None else reference)
        drawn, values = self._drawn[self._metric(metric)], self.by_seed(metric).mean(axis=1)
        others = [i for i in range(len(values)) if i != j and not np.isnan(values[i] - values[j])]
        if not others:
            return {}
        widths = simultaneous_widths(drawn[others] - drawn[j])
        found = {}
        for i, width in zip(others, widths, strict=True):
            difference = float(values[i] - values[j])
            found[self.names[i]] = difference, difference - float(width), difference + float(width)
        return found

    def best(self, metric: str) -> tuple[str, float]:
        """Return the best entry by a metric, and the share of draws in which no other entry is better.

        If several entries are equally good, the first of them is returned.

        Args:
            metric: one of ``metrics``.

        Raises:
            ValueError: there is no such metric, or no entry has it.
        """
        measured = Direction.of("Comparison", self._metric(metric)).sign * self.by_seed(metric).mean(axis=1)
        if np.isnan(measured).all():
            raise ValueError(f"Comparison: expected probabilities to compare the {metric} of; got labels only")
        name = self.names[int(np.nanargmax(measured))]
        return name, self._share_ahead(name, metric)

    def _share_ahead(self, name: str, metric: str) -> float:
        """Return the share of draws in which no other entry is better."""
        drawn = Direction.of("Comparison", metric).sign * self._drawn[metric]
        return float((~(drawn > drawn[self._place(name)]).any(axis=0)).mean())

    def disagreement(self) -> np.ndarray:
        """Return the share of samples on which two entries differ in their prediction, (entries, entries).

        The shares are averaged over the seeds.
        """
        places = range(len(self.names))
        return np.array([[self._apart(i, j).mean() for j in places] for i in places])

    def _apart(self, i: int, j: int) -> np.ndarray:
        """Return whether two entries differ in their prediction, (seeds, n)."""
        if self.predicted is None:
            raise ValueError(f"Comparison: expected nets that choose among classes; got some with {self.loss}")
        different = self.predicted[i] != self.predicted[j]
        return different.reshape(*different.shape[:2], -1).any(axis=-1)

    def apart(self) -> tuple[float, float, float]:
        """Return (mean, low, high): the share of samples on which two members differ, with a 95 % interval.

        The mean is over all pairs of members; all three are NaN if there are no pairs.
        """
        pairs = list(combinations([self._place(name) for name in self.members], 2))
        if not pairs:
            return np.nan, np.nan, np.nan
        each = np.mean([self._apart(i, j) for i, j in pairs], axis=0)  # (seeds, n)
        rng, drawn = streams.generator(self.seed, "draws of members apart"), []
        for _ in range(_DRAWS // _DRAWS_AT_A_TIME):
            samples = resampled(rng, each.shape[1], _DRAWS_AT_A_TIME)
            weights = resampled(rng, self.seeds, _DRAWS_AT_A_TIME)
            drawn.append(np.einsum("ds,ds->d", samples @ each.T, weights))
        low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
        return float(each.mean()), float(low), float(high)


def _interval(metric: str, drawn: np.ndarray, value: float) -> tuple[float, float]:
    if np.isnan(value):
        return np.nan, np.nan
    low, high = map(float, np.quantile(drawn, (0.025, 0.975)))
    return (min(2 * value - high, value), max(2 * value - low, value)) if metric == "ece" else (low, high)
