"""Judgements: for each entry of a comparison and each sample, whether it is right, its loss and its confidence."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from ..base import checks
from ..net.losses import Logistic, Loss
from .answers import CHOOSING, choices
from .measures import BINS, as_labels, gaps_by_bin, log_losses


class Judgements:
    """Entries judged on the same samples, and the metrics of each."""

    def __init__(
        self,
        entries: Mapping[str, np.ndarray],
        y: Any,
        *,
        loss: Loss | None = None,
        reference: str | None = None,
        steps: Mapping[str, int] | None = None,
        members: Sequence[str] = (),
        bins: int = BINS,
        seed: int = 0,
    ) -> None:
        self.bins = checks.count("Comparison", "bins", bins)
        self.seed = checks.count("Comparison", "seed", seed, least=0)
        if not entries:
            raise ValueError("Comparison: expected at least one entry; got none")
        self.names, self.loss = tuple(entries), loss
        self.reference = self.names[0] if reference is None else reference
        self.steps = {name: int((steps or {})[name]) for name in self.names if name in (steps or {})}
        self.members = tuple(members)
        for name in (self.reference, *self.members):
            self._place(name)
        values = {name: checks.array("Comparison", name, entry) for name, entry in entries.items()}
        self.y = as_labels("Comparison", y) if loss is None else _targets(values, y, loss)
        # For each entry, seed and sample: whether it is right, its loss, and the probability of the predicted class;
        # NaN if the entry does not have these.
        shape = len(entries), 1, len(self.y)
        self._hits, self._losses, self._confidence = (np.full(shape, np.nan) for _ in range(3))
        for i, name in enumerate(self.names):
            if loss is None or values[name].ndim == 1:
                self._judge_classes(i, name, values[name])
            else:
                self._judge_scores(i, name, values[name], loss)
        self.metrics: tuple[str, ...] = ("accuracy", "log_loss", "ece")
        if loss is not None:
            self.metrics = ("data_loss",) if np.isnan(self._hits).all() else ("accuracy", "data_loss")
        self.predicted: np.ndarray | None = None
        if loss is None or isinstance(loss, (*CHOOSING, Logistic)):
            self.predicted = np.stack([_predicted(entry, loss) for entry in values.values()])[:, np.newaxis]

    def _judge_classes(self, i: int, name: str, values: np.ndarray) -> None:
        """Judge probabilities (n, classes), or classes (n,), against labels."""
        n = len(self.y)
        if values.shape[:1] != (n,) or values.ndim not in (1, 2):
            raise ValueError(
                f"Comparison: expected {name!r} as probabilities ({n}, classes) or labels ({n},); "
                f"got shape {values.shape}"
            )
        if values.ndim == 1:
            if self.loss is not None and not isinstance(self.loss, CHOOSING):
                raise ValueError(f"Comparison: expected {name!r} as scores for {self.loss}; got shape {values.shape}")
            self._hits[i, 0] = as_labels(f"Comparison {name!r}", values) == self.y
            return
        as_labels("Comparison", self.y, values.shape[1])
        if not (values.min() >= 0 and abs(values.sum(axis=1) - 1).max() < 1e-3):
            raise ValueError(f"Comparison: expected {name!r} as probabilities that sum to 1; got others")
        self._hits[i, 0] = values.argmax(axis=1) == self.y
        self._losses[i, 0] = log_losses(values, self.y)
        self._confidence[i, 0] = values.max(axis=1)

    def _judge_scores(self, i: int, name: str, values: np.ndarray, loss: Loss) -> None:
        """Judge scores (n, outputs) against targets."""
        n = len(self.y)
        if values.shape[:1] != (n,) or not np.isfinite(values).all():
            raise ValueError(f"Comparison: expected {name!r} as {n} rows of finite scores; got shape {values.shape}")
        loss.check_targets(self.y, values.shape[1:], np.dtype(np.float64))  # as many outputs as targets
        scores, hits = np.ascontiguousarray(values, np.float64), np.empty(n, np.bool_)
        if loss.hits(scores, self.y, hits):
            self._hits[i, 0] = hits
        weights, gradient = np.empty(n), np.empty_like(scores[:1])
        loss.weigh(self.y, None, weights)
        weights *= n  # so that the mean over the samples is the loss of all
        parts = (slice(j, j + 1) for j in range(n))
        self._losses[i, 0] = [loss.apply(scores[p], self.y[p], weights[p], gradient) for p in parts]

    @classmethod
    def over_seeds(cls, comparisons: Sequence[Self]) -> Self:
        """Combine comparisons of several runs of the same entries, on the same held-out samples, into one.

        Args:
            comparisons: at least one; each is a seed of the result.

        Returns:
            A comparison whose metrics are means over the seeds, and whose intervals allow for seeds and samples.

        Raises:
            ValueError: there are none, or entries, bins, loss or labels differ.
        """
        comparisons = list(comparisons)
        if not comparisons:
            raise ValueError("Comparison.over_seeds: expected at least one comparison; got none")
        first = comparisons[0]
        for other in comparisons:
            same = (other.names, other.bins, other.loss) == (first.names, first.bins, first.loss)
            if not (same and np.array_equal(other.y, first.y)):
                raise ValueError(
                    f"Comparison.over_seeds: expected the same entries, bins, loss and labels in all; got "
                    f"{first.names} and {other.names}, {len(first.y)} and {len(other.y)} labels"
                )
        whole = cls.__new__(cls)
        vars(whole).update((name, value) for name, value in vars(first).items() if name != "_drawn")
        for name in ("_hits", "_losses", "_confidence", *(["predicted"] if first.predicted is not None else [])):
            setattr(whole, name, np.concatenate([getattr(c, name) for c in comparisons], axis=1))
        return whole

    @property
    def seeds(self) -> int:
        """Number of runs compared."""
        return self._hits.shape[1]

    def by_seed(self, metric: str) -> np.ndarray:
        """Return a metric of each entry and seed.

        Args:
            metric: one of ``metrics``.

        Returns:
            Numbers (entries, seeds), in their order. Log losses are in nats. NaN for entries with labels only, but for
            accuracy.

        Raises:
            ValueError: there is no such metric.
        """
        if self._metric(metric) != "ece":
            return (self._hits if metric == "accuracy" else self._losses).mean(axis=-1)
        found = np.full(self._hits.shape[:2], np.nan)
        for place in map(tuple, np.argwhere(~np.isnan(self._confidence[..., 0]))):
            gaps = gaps_by_bin(self._confidence[place], self._hits[place], self.bins)
            found[place] = abs(gaps.sum(axis=0)).sum() / len(self.y)
        return found

    def _metric(self, name: str) -> str:
        if name not in self.metrics:
            raise ValueError(f"Comparison: expected a metric of {self.metrics}; got {name!r}")
        return name

    def value(self, name: str, metric: str) -> float:
        """Return the metric of an entry, its mean over the seeds.

        Args:
            name: the entry.
            metric: one of ``metrics``.

        Raises:
            ValueError: there is no such entry or metric.
        """
        return float(self.by_seed(metric)[self._place(name)].mean())

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"Comparison: expected one of the entries {self.names}; got {name!r}")
        return self.names.index(name)


def _targets(values: Mapping[str, np.ndarray], y: Any, loss: Loss) -> np.ndarray:
    """Return y in the form that the loss takes, for the entries that are scores."""
    shapes = [entry.shape[1:] for entry in values.values() if entry.ndim > 1]
    if not shapes and isinstance(loss, CHOOSING):
        return as_labels("Comparison", y)
    if not shapes:
        raise ValueError(f"Comparison: expected entries as scores (n, outputs) for {loss}; got none")
    loss.check_outputs(shapes[0])
    if loss.positions(shapes[0]) > 1:
        raise ValueError(
            f"Comparison: expected one target a sample; got scores {shapes[0]}, which have one at each position "
            "(intervals are over samples that are independent of one another)"
        )
    targets = loss.check_targets(y, shapes[0], np.dtype(np.float64))
    counted = np.ones(len(targets), np.bool_)
    loss.leave_out(targets, counted)
    if not counted.all():
        left_out = np.count_nonzero(~counted)
        raise ValueError(f"Comparison: expected samples that {loss} counts; got {left_out} that it ignores: drop these")
    return targets


def _predicted(values: np.ndarray, loss: Loss | None) -> np.ndarray:
    if values.ndim == 1:
        return values
    return values.argmax(axis=1) if loss is None else choices("Comparison", values, loss)
