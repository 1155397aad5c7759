"""Cross-entropy of the softmax."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...base import checks
from ...kernels.arrays import flat, rows
from ...kernels.passes.flat import scale
from ...kernels.passes.losses import softmax as kernels
from ...kernels.passes.losses.hits import hits, soft_hits
from ...kernels.passes.losses.targets import are_distributions, are_labels, leave_out, share_among_labels
from ...layers.spec import Shape
from .classification import Classification

_SLACK = 1e-3  # by which the sum of a row of probabilities may differ from 1


@lru_cache(maxsize=256)
def _per_class(weights: tuple[float, ...] | None, classes: int, dtype: np.dtype) -> np.ndarray:
    """Return the weights of the classes, 1 unless given, as an array (classes,)."""
    return np.ones(classes, dtype) if weights is None else np.array(weights, dtype)


def _are_probabilities(targets: np.ndarray) -> bool:
    """Return whether checked targets are probabilities, not labels."""
    return targets.dtype.kind == "f"


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Classification):
    """Cross-entropy between the targets and the softmax of the scores: -log of the probability of the correct class.

    Targets are integer labels, or floating-point probabilities whose rows sum to 1. If the net outputs classes for
    every position, as (n, time, classes) or (n, H, W, classes), there is a label for each position. In what follows, a
    position then counts as a sample.

    Let p = softmax(scores), let q be the target of a sample (for a label y, 1 at y and 0 elsewhere), and let c be the
    class weights. The loss of the sample is -sum over j of c_j * q_j * log p_j. The value is the weighted mean of the
    losses, as in PyTorch's ``cross_entropy``. With sample weights w it is sum(w_i * l_i) / sum(w_i * c[y_i]) for labels
    and sum(w_i * l_i) / sum(w_i) for probabilities.

    A score of -infinity excludes a class: its p and its gradient are 0. The loss of a sample is infinite if its target
    is above 0 at such a score; with label smoothing, this holds for every sample with such a score. The loss is NaN if
    all scores of the sample are -infinity.

    Args:
        label_smoothing: e replaces the target q by (1 - e) * q + e / classes. Szegedy et al. 2016, section 7.
        class_weights: c, one number per class, at least 0; None for 1 each.
        ignored: label of samples that do not count, such as PyTorch's ``ignore_index`` of -100. These samples add
            nothing to the value and are left out of the accuracy. The label may be one of the classes. None ignores no
            sample.
        summed: for targets at positions, whether the losses of the positions of a sample are added, and the mean is
            over the samples alone, as in CS231n's temporal softmax loss. Neither ignored labels nor class weights then
            change what the sum is divided by.

    Shapes: scores (n, classes), targets labels (n,) or probabilities (n, classes); for positions, scores
        (n, ..., classes) and labels (n, ...).
    Source: Bridle 1990.
    """

    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None
    ignored: int | None = None
    summed: bool = False

    def __post_init__(self) -> None:
        checks.fraction("SoftmaxCrossEntropy", "label_smoothing", self.label_smoothing)
        if self.class_weights is not None:
            weights = tuple(checks.non_negative("SoftmaxCrossEntropy", "class weight", w) for w in self.class_weights)
            object.__setattr__(self, "class_weights", weights)
        if self.ignored is not None:
            label = checks.whole("SoftmaxCrossEntropy", "ignored", self.ignored)
            object.__setattr__(self, "ignored", label)
        checks.truth("SoftmaxCrossEntropy", "summed", self.summed)

    def __repr__(self) -> str:
        # An unused option is left out, because files written before it existed contain this text.
        more = ("" if self.ignored is None else f", ignored={self.ignored}") + (", summed=True" if self.summed else "")
        return f"SoftmaxCrossEntropy(label_smoothing={self.label_smoothing}, class_weights={self.class_weights}{more})"

    def check_outputs(self, out_shape: Shape) -> None:
        super().check_outputs(out_shape[-1:])  # positions may precede the classes
        if self.class_weights is not None and len(self.class_weights) != out_shape[-1]:
            raise ValueError(f"{self}: expected {out_shape[-1]} class weights; got {len(self.class_weights)}")

    def positions(self, out_shape: Shape) -> int:
        return math.prod(out_shape[:-1])

    def check_targets(self, targets: Any, out_shape: Shape, dtype: np.dtype) -> np.ndarray:
        values = checks.array(self, "targets", targets)
        if values.dtype.kind == "f" and values.ndim > 1 and values.shape[1:] == out_shape:
            return self._probabilities(values, dtype)
        if self.ignored is None:
            return super().check_targets(values, out_shape, dtype)
        labels = self._integers(values, out_shape)
        if not are_labels(flat(labels), out_shape[-1], self.ignored):
            beyond = np.count_nonzero(((labels < 0) | (labels >= out_shape[-1])) & (labels != self.ignored))
            raise ValueError(
                f"{self}: expected labels from 0 to {out_shape[-1] - 1} or the ignored {self.ignored}; got {beyond} "
                f"others among {labels.min()} to {labels.max()}"
            )
        return labels

    def _probabilities(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        values = np.ascontiguousarray(values, dtype)
        table = rows(values)
        if not are_distributions(table, _SLACK):
            row = next(i for i in range(len(table)) if not are_distributions(table[i : i + 1], _SLACK))
            raise ValueError(
                f"{self}: expected rows of probabilities, of at least 0 with a sum of 1; got {table[row]} in row "
                f"{row}, with a sum of {table[row].sum():.6g}"
            )
        return values

    def counting(self, targets: np.ndarray, sample_weight: Any, positions: int) -> np.ndarray:
        weights = np.empty(len(targets) * positions)
        self.weigh(targets, None if sample_weight is None else np.asarray(sample_weight) > 0, weights)
        counts = weights > 0
        if self.class_weights is not None and not _are_probabilities(targets):
            counts &= np.array(self.class_weights)[np.where(counts, targets.reshape(-1), 0)] > 0
        if not counts.any():
            raise self.undefined(len(targets))
        return np.logical_or.reduce(counts.reshape(len(targets), -1), axis=1)

    def uncounted(self) -> str:
        reasons = [super().uncounted()]
        if self.ignored is not None:
            reasons.append(f"with the ignored label {self.ignored}")
        if self.class_weights is not None:
            reasons.append("of a class of weight 0")
        return ", or ".join(reasons)

    def leave_out(self, targets: np.ndarray, weights: np.ndarray) -> None:
        if self.ignored is not None and not _are_probabilities(targets):
            leave_out(targets.reshape(-1), self.ignored, weights)

    def leaves_out(self) -> bool:
        return self.ignored is not None

    def weigh(self, targets: np.ndarray, sample_weight: Any, out: np.ndarray) -> None:
        super().weigh(targets, sample_weight, out)
        if self.summed:
            scale(out, out.dtype.type(out.size // len(targets)))
            self.leave_out(targets, out)
            return
        if _are_probabilities(targets) or (self.class_weights is None and self.ignored is None):
            return
        self.leave_out(targets, out)
        classes = 0 if self.class_weights is None else len(self.class_weights)
        per_class = _per_class(self.class_weights, classes, np.dtype(np.float64))
        if not share_among_labels(targets.reshape(-1), per_class, out):
            raise self.undefined(len(targets))

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        smoothing = scores.dtype.type(self.label_smoothing)
        classes = scores.shape[-1]
        per_class = _per_class(self.class_weights, classes, scores.dtype)
        scores, dscores = rows(scores), rows(dscores)
        if _are_probabilities(targets):
            return kernels.soft_cross_entropy(scores, rows(targets), weights, per_class, smoothing, dscores)
        given = None if self.class_weights is None else per_class
        return kernels.softmax_cross_entropy(scores, flat(targets), weights, given, smoothing, dscores)

    def hits(self, scores: np.ndarray, targets: np.ndarray, out: np.ndarray) -> bool:
        scores = rows(scores)
        if _are_probabilities(targets):
            soft_hits(scores, rows(targets), out)
            return True
        hits(scores, flat(targets), out)
        self.leave_out(targets, out)
        return True
