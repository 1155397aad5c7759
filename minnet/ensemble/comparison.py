"""Nets on the same held-out data: accuracy, log loss, calibration, other losses, and how sure these figures are."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from .. import checks, streams
from ..net.losses import Logistic, Loss
from ..training.direction import Direction
from .answers import CHOOSING, choices

BINS = 15  # of the calibration error, as Guo et al. 2017 have them
_DRAWS, _DRAWS_AT_A_TIME = 1000, 100
_LEAST = np.finfo(np.float64).tiny  # under a logarithm


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
    """Several nets, or other predictors, judged on the same samples, with 95 % bootstrap intervals. ``print`` it.

    Args:
        entries: name -> class probabilities (n, classes), or classes (n,), as votes give them, for accuracy only.
        y: what the loss takes; labels (n,) if ``loss`` is None.
        loss: of nets without class probabilities; entries are then their scores (n, outputs), or classes.
        reference: the entry that differences are from, unless another is named; the first if None.
        steps: name -> training steps that it took, where known.
        members: names of the entries that are members of an ensemble; the table says how often two of them disagree.
        bins: of the calibration error.
        seed: of the bootstrap.

    Samples are drawn anew with replacement, the same for all entries, 1,000 times (Efron 1979). With several seeds, see
    ``over_seeds``, those are drawn anew as well: intervals then hold the noise of training and of the sample. A handful
    of seeds says little about their own spread, and intervals over them come out narrow: by a factor sqrt((n - 1) / n)
    for the mean of n.

    Intervals are percentiles of the draws, but for the calibration error: that comes out too high on a sample, and
    higher still on a draw from it. Its interval is for the error of these probabilities in these bins on unlimited
    data. It ends at 2 measured - percentile, the basic bootstrap's (Davison and Hinkley 1997, section 5.2), or at the
    measured error if that is higher. It begins below the measured error by as much as the bins' gaps lie from the
    measured ones, all together, in 97.5 % of the draws: the error is a norm of the gaps, and off by no more than the
    norm of what they are off by. So it always holds the measured error; bins of few samples, none of them wrong, make
    it end too low. Of simulated samples, 200 to 2,000 large, with errors from 0 to 0.1, 84 to 99 % had the truth in it.

    Attributes:
        names: of the entries.
        metrics: ``"accuracy"``, ``"log_loss"`` and ``"ece"``; with ``loss`` that as ``"data_loss"``, after the accuracy
            where it classifies.
        y: labels (n,), or targets as the loss has them.
        predicted: predicted classes (entries, seeds, n); yes or no, (entries, seeds, n, outputs), with Logistic; None
            where nothing is chosen.
    """

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
        # Of each entry, seed and sample, NaN where an entry has none: is it right, its loss, and the probability of the
        # predicted class.
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
        """Probabilities (n, classes), or classes (n,), for labels."""
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
        """Scores (n, outputs) for targets."""
        n = len(self.y)
        if values.shape[:1] != (n,) or not np.isfinite(values).all():
            raise ValueError(f"Comparison: expected {name!r} as {n} rows of finite scores; got shape {values.shape}")
        loss.check_targets(self.y, values.shape[1:], np.dtype(np.float64))  # as many outputs as the targets
        scores, hits = np.ascontiguousarray(values, np.float64), np.empty(n, np.bool_)
        if loss.hits(scores, self.y, hits):
            self._hits[i, 0] = hits
        weights, gradient = np.empty(n), np.empty_like(scores[:1])
        loss.weigh(self.y, None, weights)
        weights *= n  # so that the mean over the samples is the loss of all
        parts = (slice(j, j + 1) for j in range(n))
        self._losses[i, 0] = [loss.apply(scores[p], self.y[p], weights[p], gradient) for p in parts]

    @classmethod
    def over_seeds(cls, comparisons: Sequence["Comparison"]) -> "Comparison":
        """One comparison of several runs of the same entries, on the same held-out samples."""
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

    # Figures ---------------------------------------------------------------------------------------------

    @property
    def seeds(self) -> int:
        """Number of runs compared."""
        return self._hits.shape[1]

    def by_seed(self, metric: str) -> np.ndarray:
        """One of ``metrics`` of each entry and seed, (entries, seeds).

        Log losses in nats; NaN for entries with labels only, but for accuracy.
        """
        if self._metric(metric) != "ece":
            return (self._hits if metric == "accuracy" else self._losses).mean(axis=-1)
        found = np.full(self._hits.shape[:2], np.nan)
        for place in map(tuple, np.argwhere(~np.isnan(self._confidence[..., 0]))):
            gaps = _gaps(self._confidence[place], self._hits[place], self.bins)
            found[place] = abs(gaps.sum(axis=0)).sum() / len(self.y)
        return found

    def _metric(self, name: str) -> str:
        if name not in self.metrics:
            raise ValueError(f"Comparison: expected a metric of {self.metrics}; got {name!r}")
        return name

    def value(self, name: str, metric: str) -> float:
        """The metric of an entry, its mean over the seeds."""
        return float(self.by_seed(metric)[self._place(name)].mean())

    @cached_property
    def _drawn(self) -> dict[str, np.ndarray]:
        """Each metric of each entry in each draw, (entries, draws).

        As ``"reach"`` the calibration error with what the draw's gaps are off by added, which says how low it may be.
        """
        rng = streams.generator(self.seed, "draws of a comparison")
        entries, seeds, n = self._hits.shape
        hits, losses, confidence = (v.reshape(-1, n) for v in (self._hits, self._losses, self._confidence))
        known = np.flatnonzero(~np.isnan(confidence[:, 0]))
        # What is summed over the samples drawn: hits, losses, and gaps by bin where there are probabilities.
        parts = [hits.T, losses.T, *(_gaps(confidence[i], hits[i], self.bins) for i in known)]
        columns, count = np.concatenate(parts, axis=1), len(hits)
        gaps = columns[:, 2 * count :].mean(axis=0)

        def errors(gaps: np.ndarray) -> np.ndarray:
            """Of each row of gaps (draws, known * bins), those of all that are compared, (draws, entries * seeds)."""
            result = np.full((len(gaps), count), np.nan)
            result[:, known] = abs(gaps).reshape(len(gaps), -1, self.bins).sum(axis=2)
            return result

        found: dict[str, list[np.ndarray]] = {metric: [] for metric in (*self.metrics, "reach")}
        for _ in range(_DRAWS // _DRAWS_AT_A_TIME):
            samples, weights = _resampled(rng, n), _resampled(rng, seeds)
            sums = samples @ columns
            mean_hits, mean_losses, drawn_gaps = np.split(sums, (count, 2 * count), axis=1)
            of = {"accuracy": mean_hits, "log_loss": mean_losses, "data_loss": mean_losses, "ece": errors(drawn_gaps)}
            of["reach"] = errors(gaps[np.newaxis]) + errors(drawn_gaps - gaps)
            for metric, drawn in found.items():
                drawn.append(np.einsum("des,ds->ed", of[metric].reshape(-1, entries, seeds), weights))
        return {metric: np.concatenate(drawn, axis=1) for metric, drawn in found.items()}

    def interval(self, name: str, metric: str) -> tuple[float, float]:
        """95 % bootstrap interval of an entry's metric."""
        place, value = self._place(name), self.value(name, metric)
        low, high = _interval(metric, self._drawn[metric][place], value)
        if metric == "ece" and not np.isnan(value):
            low = max(0.0, min(value, 2 * value - float(np.quantile(self._drawn["reach"][place], 0.975))))
        return low, high

    def difference(self, name: str, metric: str, reference: str | None = None) -> tuple[float, float, float]:
        """(difference, low, high): an entry's metric less the reference's, paired by sample and seed, 95 %.

        The interval is for this entry alone, named beforehand; see ``differences`` for one picked among several.
        """
        i, j = self._place(name), self._place(self.reference if reference is None else reference)
        drawn, values = self._drawn[self._metric(metric)], self.by_seed(metric).mean(axis=1)
        difference = float(values[i] - values[j])
        return (difference, *_interval(metric, drawn[i] - drawn[j], difference))

    def differences(self, metric: str, reference: str | None = None) -> dict[str, tuple[float, float, float]]:
        """(difference, low, high) of every other entry, with intervals that hold the truth all at once, 95 %.

        The best of many equal entries looks better than it is, so its difference has to be judged among all of them:
        White 2000, "A reality check for data snooping", with each difference in units of its standard deviation s over
        the draws, as Romano and Wolf 2005. Intervals reach c s to both sides, where c is the 95 % quantile over the
        draws of the largest deviation, from its mean, that any of the differences has. Left out are entries that do not
        have the metric.
        """
        j = self._place(self.reference if reference is None else reference)
        drawn, values = self._drawn[self._metric(metric)], self.by_seed(metric).mean(axis=1)
        others = [i for i in range(len(values)) if i != j and not np.isnan(values[i] - values[j])]
        if not others:
            return {}
        away = drawn[others] - drawn[j]
        away -= away.mean(axis=1, keepdims=True)
        deviations = away.std(axis=1)
        # An entry that answers as the reference does has no deviation, and none to be compared with.
        units = np.divide(away.T, deviations, out=np.zeros_like(away.T), where=deviations > 1e-12)
        widths = np.quantile(abs(units).max(axis=1), 0.95) * deviations
        found = {}
        for i, width in zip(others, widths, strict=True):
            difference = float(values[i] - values[j])
            found[self.names[i]] = difference, difference - float(width), difference + float(width)
        return found

    def best(self, metric: str) -> tuple[str, float]:
        """The best entry by a metric, the first if several are, and the share of draws in which no other is better."""
        measured = Direction.of("Comparison", self._metric(metric)).sign * self.by_seed(metric).mean(axis=1)
        if np.isnan(measured).all():
            raise ValueError(f"Comparison: expected probabilities to compare the {metric} of; got labels only")
        name = self.names[int(np.nanargmax(measured))]
        return name, self._share_ahead(name, metric)

    def _share_ahead(self, name: str, metric: str) -> float:
        """Share of draws in which no other entry is better."""
        drawn = Direction.of("Comparison", metric).sign * self._drawn[metric]
        return float((~(drawn > drawn[self._place(name)]).any(axis=0)).mean())

    def disagreement(self) -> np.ndarray:
        """Share of samples on which two entries predict otherwise, mean over the seeds, (entries, entries)."""
        places = range(len(self.names))
        return np.array([[self._apart(i, j).mean() for j in places] for i in places])

    def _apart(self, i: int, j: int) -> np.ndarray:
        """Whether two entries predict otherwise, (seeds, n)."""
        if self.predicted is None:
            raise ValueError(f"Comparison: expected nets that choose among classes; got some with {self.loss}")
        different = self.predicted[i] != self.predicted[j]
        return different.reshape(*different.shape[:2], -1).any(axis=-1)

    def apart(self) -> tuple[float, float, float]:
        """(mean, low, high): share of samples on which two members differ, over all pairs, 95 %; NaN without pairs."""
        pairs = list(combinations([self._place(name) for name in self.members], 2))
        if not pairs:
            return np.nan, np.nan, np.nan
        each = np.mean([self._apart(i, j) for i, j in pairs], axis=0)  # (seeds, n)
        rng, drawn = streams.generator(self.seed, "draws of members apart"), []
        for _ in range(_DRAWS // _DRAWS_AT_A_TIME):
            samples, weights = _resampled(rng, each.shape[1]), _resampled(rng, self.seeds)
            drawn.append(np.einsum("ds,ds->d", samples @ each.T, weights))
        low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
        return float(each.mean()), float(low), float(high)

    # Words -----------------------------------------------------------------------------------------------

    def winner(self, metric: str | None = None, reference: str | None = None) -> str:
        """A sentence: which entry won by a metric (the first), by how much, and against what noise.

        The interval is that of ``differences``, which holds for the winner however many there were to win.
        """
        metric = self.metrics[0] if metric is None else metric
        reference = self.reference if reference is None else reference
        name, share = self.best(metric)
        title, value = _TITLES[metric], _text(metric, self.value(name, metric))
        sample = f"{len(self.y)} samples" + (f" and {self.seeds} seeds" if self.seeds > 1 else "")
        if len(self.names) == 1:
            low, high = (_text(metric, bound) for bound in self.interval(name, metric))
            return f"The {title} of {name} is {value} ({low} to {high}) on {sample}."
        if self.value(reference, metric) == self.value(name, metric):
            again = self._share_ahead(reference, metric)
            return f"No {title} is better than {reference}'s, {value}, on {sample}, and none in {again:.0%} of draws."
        differences = self.differences(metric, reference)
        if name not in differences:
            return f"{name} has the best {title}, {value}, on {sample}; {reference} has none."
        difference, low, high = (_signed(metric, bound) for bound in differences[name])
        beyond = "beyond" if differences[name][1] > 0 or differences[name][2] < 0 else "within"
        among = f" and of a choice among {len(differences)}" if len(differences) > 1 else ""
        return (
            f"{name} has the best {title}, {value}: {difference} ({low} to {high}) against {reference}, {beyond} the "
            f"noise of {sample}{among}; it is the best in {share:.0%} of draws."
        )

    def rows(self, reference: str | None = None) -> list[dict[str, Any]]:
        """The table as plain numbers, a dictionary an entry."""
        first, result = self.metrics[0], []
        for name in self.names:
            row: dict[str, Any] = {"name": name}
            if name in self.steps:
                row["steps"] = self.steps[name]
            for metric in self.metrics:
                if not np.isnan(self.value(name, metric)):
                    row[metric], row[f"{metric}_interval"] = self.value(name, metric), self.interval(name, metric)
            if first in row:
                row[f"{first}_difference"] = self.difference(name, first, reference)
            result.append(row)
        return result

    def table(self, reference: str | None = None) -> str:
        """Markdown: each entry's steps and metrics with their 95 % intervals, each for itself."""
        reference, first = self.reference if reference is None else reference, self.metrics[0]
        heads = ["", *(["training steps"] if self.steps else []), *(f"{_TITLES[m]} (95 %)" for m in self.metrics)]
        lines = [f"| {' | '.join(heads)} | {_TITLES[first]} less {reference}'s |", "|---" * (len(heads) + 1) + "|"]
        for row in self.rows(reference):
            cells = [row["name"]]
            if self.steps:
                cells.append(f"{row['steps']:,}" if "steps" in row else "")
            for metric in self.metrics:
                bounds = [_text(metric, bound) for bound in row.get(f"{metric}_interval", ())]
                cells.append(f"{_text(metric, row[metric])} ({' to '.join(bounds)})" if metric in row else "-")
            signed = [_signed(first, value) for value in row.get(f"{first}_difference", ())]
            shown = bool(signed) and row["name"] != reference
            cells.append(f"{signed[0]} ({signed[1]} to {signed[2]})" if shown else "")
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def __str__(self) -> str:
        sample = f"{len(self.y)} samples" + (f", {self.seeds} seeds" if self.seeds > 1 else "")
        apart = ""
        if len(self.members) > 1 and self.predicted is not None:
            mean, low, high = (f"{100 * value:.2f} %" for value in self.apart())
            apart = f" Two members disagree on {mean} ({low} to {high}) of samples."
        units = f"log loss in nats; ECE: calibration error in {self.bins} bins"
        if self.loss is not None:
            units = f"data loss: {self.loss}"
        return f"{self.table()}\n\n{sample}; {units}. {self.winner()}{apart}"

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"Comparison: expected one of the entries {self.names}; got {name!r}")
        return self.names.index(name)


_TITLES = {"accuracy": "accuracy", "log_loss": "log loss", "ece": "ECE", "data_loss": "data loss"}


def _targets(values: Mapping[str, np.ndarray], y: Any, loss: Loss) -> np.ndarray:
    """y as the loss takes it, for the scores among the entries."""
    shapes = [entry.shape[1:] for entry in values.values() if entry.ndim > 1]
    if not shapes and isinstance(loss, CHOOSING):
        return as_labels("Comparison", y)
    if not shapes:
        raise ValueError(f"Comparison: expected entries as scores (n, outputs) for {loss}; got none")
    loss.check_outputs(shapes[0])
    targets = loss.check_targets(y, shapes[0], np.dtype(np.float64))
    if loss.count(targets) < len(targets):
        left_out = len(targets) - loss.count(targets)
        raise ValueError(f"Comparison: expected samples that {loss} counts; got {left_out} that it ignores: drop these")
    return targets


def _predicted(values: np.ndarray, loss: Loss | None) -> np.ndarray:
    if values.ndim == 1:
        return values
    return values.argmax(axis=1) if loss is None else choices("Comparison", values, loss)


def _resampled(rng: np.random.Generator, n: int) -> np.ndarray:
    """Share of each of n things in some draws of n with replacement, (draws, n)."""
    drawn = rng.integers(n, size=(_DRAWS_AT_A_TIME, n))
    drawn += n * np.arange(_DRAWS_AT_A_TIME)[:, None]
    return np.bincount(drawn.ravel(), minlength=_DRAWS_AT_A_TIME * n).reshape(-1, n) / n


def _interval(metric: str, drawn: np.ndarray, value: float) -> tuple[float, float]:
    if np.isnan(value):
        return np.nan, np.nan
    low, high = map(float, np.quantile(drawn, (0.025, 0.975)))
    return (min(2 * value - high, value), max(2 * value - low, value)) if metric == "ece" else (low, high)


def _text(metric: str, value: float) -> str:
    if metric in ("accuracy", "ece"):
        return f"{100 * value:.2f} %"
    return f"{value:.4f}" if metric == "log_loss" else f"{value:.4g}"


def _signed(metric: str, value: float) -> str:
    if metric in ("accuracy", "ece"):
        return f"{100 * value:+.2f}"
    return f"{value:+.4f}" if metric == "log_loss" else f"{value:+.4g}"
