"""Classifiers on the same held-out data: accuracy, log loss, calibration, disagreement, and how sure these are."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from . import checks
from .losses import SoftmaxCrossEntropy
from .net import Net

METRICS = ("accuracy", "log_loss", "ece")
BINS = 15  # of the calibration error, as Guo et al. 2017 have them
_DRAWS, _DRAWS_AT_A_TIME = 1000, 100
_LEAST = np.finfo(np.float64).tiny  # under a logarithm


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, in a new float64 array."""
    shifted = scores.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=-1, keepdims=True)
    return shifted


def probabilities_of(net: Net, x: Any) -> np.ndarray:
    """Class probabilities (n, classes), float64, of a net with SoftmaxCrossEntropy; ValueError for other nets."""
    check_classifier("probabilities", net)
    return softmax(net.predict(x))


def check_classifier(who: str, net: Net) -> None:
    """ValueError unless the softmax of the net's scores are its probabilities."""
    if not isinstance(net.loss_function, SoftmaxCrossEntropy):
        raise ValueError(f"{who}: expected a net with SoftmaxCrossEntropy; got one with {net.loss_function}")


def log_losses(probabilities: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-log of the right class's probability, of each sample (n,)."""
    return -np.log(np.maximum(probabilities[np.arange(len(y)), y], _LEAST))


def calibration_error(probabilities: np.ndarray, y: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error of probabilities (n, classes) for labels y (n,). Guo et al. 2017, equations 2 to 5.

    Samples fall into ``bins`` equal intervals ((m - 1) / bins, m / bins] by the probability of the predicted class;
    the error is the sum over the bins of |accuracy - mean probability|, weighted by their shares of the samples.
    """
    confidence, hits = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
    return float(abs(_gaps(confidence, hits, bins).sum(axis=0)).sum() / len(y))


def _gaps(confidence: np.ndarray, hits: np.ndarray, bins: int) -> np.ndarray:
    """hit - confidence of each sample in the column of its bin, (n, bins), 0 elsewhere."""
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.zeros((len(hits), bins))
    gaps[np.arange(len(hits)), place] = hits - confidence
    return gaps


def as_labels(who: str, y: Any, classes: int | None = None) -> np.ndarray:
    """Labels (n,) as int64; TypeError or ValueError for others."""
    labels = checks.array(who, "y", y)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{who}: expected integer labels; got dtype {labels.dtype}")
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"{who}: expected labels of shape (n,), at least one; got shape {labels.shape}")
    if classes is not None and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"{who}: expected labels from 0 to {classes - 1}; got {labels.min()} to {labels.max()}")
    return labels.astype(np.int64)


class Comparison:
    """Several classifiers judged on the same samples, with 95 % bootstrap intervals. ``print`` it for a table.

    Args:
        entries: name -> probabilities (n, classes), or labels (n,), as votes give them, which have accuracy only.
            The first is the reference of paired differences unless another is named.
        y: labels (n,).
        steps: name -> training steps that it took, where known.
        members: names of the entries that are members of an ensemble; the table says how often two of them disagree.
        bins: of the calibration error.
        seed: of the bootstrap.

    Samples are drawn anew with replacement, the same for all entries, 1,000 times (Efron 1979), and intervals are
    percentiles of the draws. A calibration error comes out too high on a sample, and higher still on a draw from it, so
    its intervals are turned around what was measured (2 measured - percentile), which lies near their upper ends; of an
    error near 0 they still miss the truth too often. With several seeds, see ``over_seeds``, those are drawn anew as
    well: the interval then holds the noise of training and of the sample. A handful of seeds says little about their
    own spread, and intervals over them come out narrow: by a factor sqrt((n - 1) / n) for the mean of n.

    Attributes:
        names: of the entries.
        y: labels (n,).
        predicted: predicted classes (entries, seeds, n).
    """

    def __init__(
        self,
        entries: Mapping[str, np.ndarray],
        y: Any,
        *,
        steps: Mapping[str, int] | None = None,
        members: Sequence[str] = (),
        bins: int = BINS,
        seed: int = 0,
    ) -> None:
        self.y = as_labels("Comparison", y)
        self.bins = checks.count("Comparison", "bins", bins)
        self.seed = checks.count("Comparison", "seed", seed, least=0)
        if not entries:
            raise ValueError("Comparison: expected at least one entry; got none")
        self.names = tuple(entries)
        self.steps = {name: int((steps or {})[name]) for name in self.names if name in (steps or {})}
        self.members = tuple(members)
        for name in self.members:
            self._place(name)
        n = len(self.y)
        self.predicted = np.empty((len(entries), 1, n), np.int64)
        # Of each sample: its loss, and the probability of the predicted class; NaN where there are only labels.
        self._losses, self._confidence = (np.full((len(entries), 1, n), np.nan) for _ in range(2))
        for i, (name, values) in enumerate(entries.items()):
            values = np.asarray(values)
            if values.shape[:1] != (n,) or values.ndim not in (1, 2):
                raise ValueError(
                    f"Comparison: expected {name!r} as probabilities ({n}, classes) or labels ({n},); "
                    f"got shape {values.shape}"
                )
            if values.ndim == 1:
                self.predicted[i, 0] = as_labels(f"Comparison {name!r}", values)
                continue
            as_labels("Comparison", self.y, values.shape[1])
            if not (values.min() >= 0 and abs(values.sum(axis=1) - 1).max() < 1e-3):
                raise ValueError(f"Comparison: expected {name!r} as probabilities that sum to 1; got others")
            self.predicted[i, 0] = values.argmax(axis=1)
            self._losses[i, 0] = log_losses(values, self.y)
            self._confidence[i, 0] = values.max(axis=1)

    @classmethod
    def over_seeds(cls, comparisons: Sequence["Comparison"]) -> "Comparison":
        """One comparison of several runs of the same entries, on the same held-out samples."""
        comparisons = list(comparisons)
        if not comparisons:
            raise ValueError("Comparison.over_seeds: expected at least one comparison; got none")
        first = comparisons[0]
        for other in comparisons:
            same = other.names == first.names and other.bins == first.bins and np.array_equal(other.y, first.y)
            if not same:
                raise ValueError(
                    f"Comparison.over_seeds: expected the same entries, bins and labels in all; got {first.names} and "
                    f"{other.names}, {len(first.y)} and {len(other.y)} labels"
                )
        whole = cls.__new__(cls)
        whole.names, whole.y, whole.bins, whole.seed = first.names, first.y, first.bins, first.seed
        whole.steps, whole.members = first.steps, first.members
        whole.predicted = np.concatenate([c.predicted for c in comparisons], axis=1)
        whole._losses = np.concatenate([c._losses for c in comparisons], axis=1)
        whole._confidence = np.concatenate([c._confidence for c in comparisons], axis=1)
        return whole

    # Figures ---------------------------------------------------------------------------------------------

    @property
    def seeds(self) -> int:
        """Number of runs compared."""
        return self.predicted.shape[1]

    def by_seed(self, metric: str) -> np.ndarray:
        """The metric of each entry and seed, (entries, seeds): ``"accuracy"``, ``"log_loss"`` or ``"ece"``.

        Log losses in nats; NaN for entries with labels only, but for accuracy.
        """
        if _metric(metric) == "accuracy":
            return (self.predicted == self.y).mean(axis=-1)
        if metric == "log_loss":
            return self._losses.mean(axis=-1)
        return abs(self._all_gaps().sum(axis=2)).sum(axis=-1) / len(self.y)

    def _all_gaps(self) -> np.ndarray:
        """(entries, seeds, n, bins)."""
        hits = self.predicted == self.y
        gaps = np.full((*hits.shape, self.bins), np.nan)
        for i, s in np.argwhere(~np.isnan(self._confidence[..., 0])):
            gaps[i, s] = _gaps(self._confidence[i, s], hits[i, s], self.bins)
        return gaps

    def value(self, name: str, metric: str) -> float:
        """The metric of an entry, its mean over the seeds."""
        return float(self.by_seed(metric)[self._place(name)].mean())

    @cached_property
    def _drawn(self) -> dict[str, np.ndarray]:
        """Each metric of each entry in each draw, (entries, draws)."""
        rng = np.random.default_rng(self.seed)
        entries, seeds, n = self.predicted.shape
        hits = (self.predicted == self.y).reshape(-1, n)
        known = ~np.isnan(self._confidence[..., 0].reshape(-1))
        # What is summed over the samples drawn: hits, losses, and gaps by bin where there are probabilities.
        parts = [hits.T, self._losses.reshape(-1, n)[known].T]
        parts += [_gaps(self._confidence.reshape(-1, n)[i], hits[i], self.bins) for i in np.flatnonzero(known)]
        columns, (first, second) = np.concatenate(parts, axis=1), (len(hits), len(hits) + known.sum())
        found: dict[str, list[np.ndarray]] = {metric: [] for metric in METRICS}
        for _ in range(_DRAWS // _DRAWS_AT_A_TIME):
            samples, weights = _resampled(rng, n), _resampled(rng, seeds)
            sums = samples @ columns
            by_seed = {metric: np.full((len(samples), len(hits)), np.nan) for metric in METRICS}
            by_seed["accuracy"][...], by_seed["log_loss"][:, known] = sums[:, :first], sums[:, first:second]
            by_seed["ece"][:, known] = abs(sums[:, second:]).reshape(len(samples), -1, self.bins).sum(axis=2)
            for metric, values in by_seed.items():
                found[metric].append(np.einsum("des,ds->ed", values.reshape(-1, entries, seeds), weights))
        return {metric: np.concatenate(drawn, axis=1) for metric, drawn in found.items()}

    def interval(self, name: str, metric: str) -> tuple[float, float]:
        """95 % bootstrap interval of an entry's metric."""
        low, high = _interval(metric, self._drawn[_metric(metric)][self._place(name)], self.value(name, metric))
        return max(low, 0.0), high

    def difference(self, name: str, metric: str, reference: str | None = None) -> tuple[float, float, float]:
        """(difference, low, high): an entry's metric less the reference's, paired by sample and seed, 95 %."""
        i, j = self._place(name), self._place(self.names[0] if reference is None else reference)
        drawn, values = self._drawn[_metric(metric)], self.by_seed(metric).mean(axis=1)
        difference = float(values[i] - values[j])
        return (difference, *_interval(metric, drawn[i] - drawn[j], difference))

    def best(self, metric: str) -> tuple[str, float]:
        """The best entry by a metric, the first if several are, and the share of draws in which it is the best."""
        sign = 1 if _metric(metric) == "accuracy" else -1
        measured = sign * self.by_seed(metric).mean(axis=1)
        drawn = sign * self._drawn[metric]
        if np.isnan(measured).all():
            raise ValueError(f"Comparison: expected probabilities to compare the {metric} of; got labels only")
        best = int(np.nanargmax(measured))
        others = np.delete(drawn, best, axis=0)
        ahead = np.ones(drawn.shape[1], bool) if len(others) == 0 else ~(others > drawn[best]).any(axis=0)
        return self.names[best], float(ahead.mean())

    def disagreement(self) -> np.ndarray:
        """Share of samples on which two entries predict different classes, mean over the seeds, (entries, entries)."""
        return np.array([[(a != b).mean() for b in self.predicted] for a in self.predicted])

    def apart(self) -> tuple[float, float, float]:
        """(mean, low, high): share of samples on which two members differ, over all pairs, 95 %; NaN without pairs."""
        pairs = list(combinations([self._place(name) for name in self.members], 2))
        if not pairs:
            return np.nan, np.nan, np.nan
        each = np.mean([self.predicted[i] != self.predicted[j] for i, j in pairs], axis=0)  # (seeds, n)
        rng, drawn = np.random.default_rng(self.seed), []
        for _ in range(_DRAWS // _DRAWS_AT_A_TIME):
            samples, weights = _resampled(rng, each.shape[1]), _resampled(rng, self.seeds)
            drawn.append(np.einsum("ds,ds->d", samples @ each.T, weights))
        low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
        return float(each.mean()), float(low), float(high)

    # Words -----------------------------------------------------------------------------------------------

    def winner(self, metric: str = "accuracy", reference: str | None = None) -> str:
        """A sentence: which entry won, by how much, and against what noise."""
        reference = self.names[0] if reference is None else reference
        name, share = self.best(metric)
        sample = f"{len(self.y)} samples" + (f" and {self.seeds} seeds" if self.seeds > 1 else "")
        at = f"{name} has the best {_TITLES[metric]}, {_text(metric, self.value(name, metric))}"
        if name == reference:
            return f"{at}, and so no other is better than it; it is in {share:.0%} of draws of {sample}."
        difference, low, high = self.difference(name, metric, reference)
        beyond = "beyond" if low > 0 or high < 0 else "within"
        return (
            f"{at}: {_signed(metric, difference)} ({_signed(metric, low)} to {_signed(metric, high)}) against "
            f"{reference}, {beyond} the noise of {sample}; it is the best in {share:.0%} of draws."
        )

    def rows(self, reference: str | None = None) -> list[dict[str, Any]]:
        """The table as plain numbers, a dictionary an entry."""
        result = []
        for name in self.names:
            row: dict[str, Any] = {"name": name}
            if name in self.steps:
                row["steps"] = self.steps[name]
            for metric in METRICS:
                if metric == "accuracy" or not np.isnan(self.value(name, metric)):
                    row[metric], row[f"{metric}_interval"] = self.value(name, metric), self.interval(name, metric)
            row["accuracy_difference"] = self.difference(name, "accuracy", reference)
            result.append(row)
        return result

    def table(self, reference: str | None = None) -> str:
        """Markdown: each entry's steps, accuracy, log loss and calibration error with their 95 % intervals."""
        reference = self.names[0] if reference is None else reference
        heads = ["", *(["training steps"] if self.steps else []), *(f"{_TITLES[m]} (95 %)" for m in METRICS)]
        lines = ["| " + " | ".join([*heads, f"accuracy less {reference}'s"]) + " |", "|---" * (len(heads) + 1) + "|"]
        for row in self.rows(reference):
            cells = [row["name"]]
            if self.steps:
                cells.append(f"{row['steps']:,}" if "steps" in row else "")
            for metric in METRICS:
                if metric in row:
                    low, high = row[f"{metric}_interval"]
                    cells.append(f"{_text(metric, row[metric])} ({_text(metric, low)} to {_text(metric, high)})")
                else:
                    cells.append("-")
            difference, low, high = row["accuracy_difference"]
            signed = f"{_signed('accuracy', difference)} ({_signed('accuracy', low)} to {_signed('accuracy', high)})"
            cells.append("" if row["name"] == reference else signed)
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def __str__(self) -> str:
        sample = f"{len(self.y)} samples" + (f", {self.seeds} seeds" if self.seeds > 1 else "")
        mean, low, high = (f"{100 * value:.2f} %" for value in self.apart())
        apart = f" Two members disagree on {mean} ({low} to {high}) of samples." if len(self.members) > 1 else ""
        units = f"{sample}; log loss in nats; ECE: calibration error in {self.bins} bins."
        return f"{self.table()}\n\n{units} {self.winner()}{apart}"

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"Comparison: expected one of the entries {self.names}; got {name!r}")
        return self.names.index(name)


_TITLES = {"accuracy": "accuracy", "log_loss": "log loss", "ece": "ECE"}


def _metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"Comparison: expected a metric of {METRICS}; got {name!r}")
    return name


def _resampled(rng: np.random.Generator, n: int) -> np.ndarray:
    """Share of each of n things in some draws of n with replacement, (draws, n)."""
    drawn = rng.integers(n, size=(_DRAWS_AT_A_TIME, n))
    drawn += n * np.arange(_DRAWS_AT_A_TIME)[:, None]
    return np.bincount(drawn.ravel(), minlength=_DRAWS_AT_A_TIME * n).reshape(-1, n) / n


def _interval(metric: str, drawn: np.ndarray, value: float) -> tuple[float, float]:
    if np.isnan(value):
        return np.nan, np.nan
    low, high = np.quantile(drawn, (0.025, 0.975))
    return (2 * value - high, 2 * value - low) if metric == "ece" else (float(low), float(high))


def _text(metric: str, value: float) -> str:
    return f"{value:.4f}" if metric == "log_loss" else f"{100 * value:.2f} %"


def _signed(metric: str, value: float) -> str:
    return f"{value:+.4f}" if metric == "log_loss" else f"{100 * value:+.2f}"
