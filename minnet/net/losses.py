"""Losses: what is minimised, as a weighted mean over the batch, with its gradient in the same pass.

Every loss takes scores of shape (n, outputs) and sample weights of shape (n,) (all equal if None). With weights w
the value is sum(w_i * l_i) / sum(w_i): a sample of weight 2 counts as two samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .. import checks
from ..kernels.passes import loss as kernels
from ..kernels.passes.flat import all_finite, scale
from ..layers.spec import Shape

_SLACK = 1e-3  # by which the sum of a row of probabilities may differ from 1


class Loss:
    """What a loss is: a frozen dataclass that overrides the methods below.

    ``loss(scores, targets)`` gives the value alone; ``value_and_gradient`` fills the gradient too.
    """

    def check_outputs(self, out_shape: Shape) -> None:
        """ValueError unless a net that ends in ``out_shape`` (no batch axis) can be scored."""
        if len(out_shape) != 1:
            raise ValueError(f"{self}: expected the layers to end in one axis of outputs; got shape {out_shape}")

    def check_targets(self, targets: Any, out_shape: Shape, dtype: np.dtype) -> np.ndarray:
        """The targets as the C-contiguous array that the kernel takes; TypeError or ValueError for bad ones."""
        raise NotImplementedError(f"{type(self).__name__} must define check_targets(targets, out_shape, dtype)")

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        """Value; overwrites dscores. Targets are as ``check_targets`` gives them, weights (n,) as ``weigh`` fills them.

        A sample of weight 0 is left out: it adds nothing, even where its loss is infinite, and its gradient is 0.
        """
        raise NotImplementedError(f"{type(self).__name__} must define apply(scores, targets, weights, dscores)")

    def weigh(self, targets: np.ndarray, sample_weight: Any, out: np.ndarray) -> None:
        """Fill out (n,) with the samples' weights, scaled to sum to 1; None counts every sample alike.

        ValueError for weights that do not fit, or if no sample counts.
        """
        if sample_weight is None:
            out.fill(1.0 / out.size)
            return
        checks.dense(self, "sample weights", sample_weight)
        try:
            weights = np.asarray(sample_weight, np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"{self}: expected sample weights as numbers; got {sample_weight!r}") from None
        if weights.shape != out.shape:
            raise ValueError(f"{self}: expected sample weights of shape {out.shape}; got shape {weights.shape}")
        total = float(weights.sum())
        if not np.isfinite(total) or weights.min() < 0 or total == 0:
            raise ValueError(f"{self}: expected finite weights of at least 0, not all 0; got {weights}")
        kernels.normalise(weights, total, out)

    def hits(self, scores: np.ndarray, targets: np.ndarray, out: np.ndarray) -> bool:
        """Fill out (n,), booleans: whether each sample is classified correctly. False if the loss does not classify.

        A sample that does not count is not.
        """
        return False

    def count(self, targets: np.ndarray) -> int:
        """How many samples count, of targets as ``check_targets`` gives them: all but those with an ignored label."""
        return len(targets)

    def leave_out(self, targets: np.ndarray, weights: np.ndarray) -> None:
        """Set weights (n,), numbers or booleans, to 0 where a sample does not count."""

    def winners(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """Which of its smooth pieces each score lies on, as its gradient goes by; None for a smooth loss.

        See ``Layer.winners``. Targets are as ``check_targets`` gives them.
        """
        return None

    def value_and_gradient(
        self, scores: np.ndarray, targets: Any, dscores: np.ndarray, sample_weight: Any = None
    ) -> float:
        """The loss of scores (n, outputs), float32 or float64; overwrites dscores, an array like it, with its gradient.

        TypeError or ValueError, with dscores as it was, for scores, targets or weights that do not fit.
        """
        for name, array in (("scores", scores), ("dscores", dscores)):
            if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
                raise TypeError(f"{self}: expected {name} as an array of float32 or float64; got {array!r}")
            if array.ndim == 0 or len(array) == 0 or not array.flags.c_contiguous:
                raise ValueError(f"{self}: expected C-contiguous {name} of at least one row; got shape {array.shape}")
        if dscores.shape != scores.shape or dscores.dtype != scores.dtype or not dscores.flags.writeable:
            raise ValueError(
                f"{self}: expected a writeable dscores of shape {scores.shape} and dtype {scores.dtype}; "
                f"got shape {dscores.shape}, dtype {dscores.dtype}"
            )
        self.check_outputs(scores.shape[1:])
        checked = self.check_targets(targets, scores.shape[1:], scores.dtype)
        _check_length(self, checked, scores.shape[0])
        weights = np.empty(scores.shape[0], scores.dtype)
        self.weigh(checked, sample_weight, weights)
        return self.apply(scores, checked, weights, dscores)

    def __call__(self, scores: np.ndarray, targets: Any, sample_weight: Any = None) -> float:
        scores = np.ascontiguousarray(scores)  # a list of floats will do as well
        return self.value_and_gradient(scores, targets, np.empty_like(scores), sample_weight)


def _check_length(who: object, targets: np.ndarray, n: int) -> None:
    if targets.shape[0] != n:
        raise ValueError(f"{who}: expected as many targets as samples, {n}; got {targets.shape[0]}")


def _remedy(labels: np.ndarray) -> str:
    """How to make labels of what looks like them, for an error's text."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        return " (for a column of labels, give y[:, 0])"
    if labels.ndim == 2:
        return " (for one-hot rows, give y.argmax(1))"
    if labels.ndim == 1 and labels.dtype.kind in "fb":
        return " (for whole numbers, give y.astype(int))"
    return ""


class _Classification(Loss):
    """Integer labels of shape (n,), one of ``outputs`` classes each."""

    def check_outputs(self, out_shape: Shape) -> None:
        super().check_outputs(out_shape)
        if out_shape[0] < 2:
            raise ValueError(f"{self}: expected at least two outputs, one a class; got {out_shape[0]} (see Logistic)")

    def check_targets(self, targets: Any, out_shape: Shape, dtype: np.dtype) -> np.ndarray:
        labels = self._integers(targets, out_shape[0])
        if labels.size and not 0 <= labels.min() <= labels.max() < out_shape[0]:
            raise ValueError(
                f"{self}: expected labels from 0 to {out_shape[0] - 1}; got {labels.min()} to {labels.max()}"
            )
        return labels

    def _integers(self, targets: Any, classes: int) -> np.ndarray:
        labels = checks.array(self, "targets", targets)
        if labels.dtype.kind not in "iu":
            came = f"dtype {labels.dtype}, shape {labels.shape}"
            raise TypeError(f"{self}: expected integer labels; got {came}{_remedy(labels)}")
        if labels.ndim != 1:
            raise ValueError(f"{self}: expected labels of shape (n,); got shape {labels.shape}{_remedy(labels)}")
        if labels.size and labels.max() > np.iinfo(np.int64).max:  # of uint64, which would turn negative
            raise ValueError(f"{self}: expected labels from 0 to {classes - 1}; got {labels.min()} to {labels.max()}")
        return np.ascontiguousarray(labels, np.int64)

    def hits(self, scores: np.ndarray, targets: np.ndarray, out: np.ndarray) -> bool:
        kernels.hits(scores, targets, out)
        return True


@lru_cache(maxsize=256)
def _per_class(weights: tuple[float, ...] | None, classes: int, dtype: np.dtype) -> np.ndarray:
    """The weights of the classes, which are 1 unless given, as an array (classes,)."""
    return np.ones(classes, dtype) if weights is None else np.array(weights, dtype)


@dataclass(frozen=True)
class SoftmaxCrossEntropy(_Classification):
    """Cross-entropy of the softmax of the scores and the targets: -log of the right class's probability.

    Targets are labels (n,), integers, or probabilities (n, classes), floating-point numbers with rows that sum to 1.

    With p = softmax(scores) the loss of a sample is -sum over j of c_j * q_j * log p_j, where q is its target, the
    label y standing for 1 at y and 0 elsewhere, and c are the class weights. The value is the weighted mean of the
    losses, as in PyTorch's ``cross_entropy``: sum(w_i * l_i) / sum(w_i * c[y_i]) with labels, sum(w_i * l_i) / sum(w_i)
    with probabilities, for sample weights w.

    A score of -infinity takes a class out of the choice: p is 0, and so is the gradient there. A sample whose target is
    above 0 at such a score has an infinite loss (with label smoothing every sample that has one), and one without any
    other scores has the loss NaN.

    Args:
        label_smoothing: e replaces the target q by (1 - e) * q + e / classes. Szegedy et al. 2016, section 7.
        class_weights: c, one a class, of at least 0; None for 1 each.
        ignored: label of samples that do not count, such as PyTorch's ``ignore_index`` of -100: they add nothing to the
            value, and are left out of the accuracy. It may be one of the classes. None to ignore none.
    """

    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None
    ignored: int | None = None

    def __post_init__(self) -> None:
        checks.fraction("SoftmaxCrossEntropy", "label_smoothing", self.label_smoothing)
        if self.class_weights is not None:
            weights = tuple(checks.non_negative("SoftmaxCrossEntropy", "class weight", w) for w in self.class_weights)
            object.__setattr__(self, "class_weights", weights)
        if self.ignored is not None:
            label = checks.whole("SoftmaxCrossEntropy", "ignored", self.ignored)
            object.__setattr__(self, "ignored", label)

    def __repr__(self) -> str:
        # Without what is not used: files hold this text, also those written before there was an ignored label.
        ignored = "" if self.ignored is None else f", ignored={self.ignored}"
        return (
            f"SoftmaxCrossEntropy(label_smoothing={self.label_smoothing}, class_weights={self.class_weights}{ignored})"
        )

    def check_outputs(self, out_shape: Shape) -> None:
        super().check_outputs(out_shape)
        if self.class_weights is not None and len(self.class_weights) != out_shape[0]:
            raise ValueError(f"{self}: expected {out_shape[0]} class weights; got {len(self.class_weights)}")

    def check_targets(self, targets: Any, out_shape: Shape, dtype: np.dtype) -> np.ndarray:
        values = checks.array(self, "targets", targets)
        if values.dtype.kind == "f" and values.ndim == 2 and values.shape[1:] == out_shape:
            return self._probabilities(values, dtype)
        if self.ignored is None:
            return super().check_targets(values, out_shape, dtype)
        labels = self._integers(values, out_shape[0])
        if beyond := kernels.labels_beyond(labels, out_shape[0], self.ignored):
            raise ValueError(
                f"{self}: expected labels from 0 to {out_shape[0] - 1} or the ignored {self.ignored}; got {beyond} "
                f"others among {labels.min()} to {labels.max()}"
            )
        return labels

    def _probabilities(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        values = np.ascontiguousarray(values, dtype)
        if (row := kernels.first_no_distribution(values, _SLACK)) >= 0:
            raise ValueError(
                f"{self}: expected rows of probabilities, of at least 0 with a sum of 1; got {values[row]} in row "
                f"{row}, with a sum of {values[row].sum():.6g}"
            )
        return values

    def count(self, targets: np.ndarray) -> int:
        if self.ignored is None or targets.ndim == 2:
            return len(targets)
        return len(targets) - kernels.occurrences(targets, self.ignored)

    def leave_out(self, targets: np.ndarray, weights: np.ndarray) -> None:
        if self.ignored is not None and targets.ndim == 1:
            kernels.leave_out(targets, self.ignored, weights)

    def weigh(self, targets: np.ndarray, sample_weight: Any, out: np.ndarray) -> None:
        super().weigh(targets, sample_weight, out)
        if targets.ndim == 2 or (self.class_weights is None and self.ignored is None):
            return
        self.leave_out(targets, out)
        classes = 0 if self.class_weights is None else len(self.class_weights)
        total = kernels.weight_of_labels(targets, _per_class(self.class_weights, classes, np.dtype(np.float64)), out)
        if total == 0:
            but = "" if self.ignored is None else f", with another label than the ignored {self.ignored}"
            raise ValueError(
                f"{self}: expected some sample of a class that weighs more than 0{but}; got {targets.size} that count 0"
            )
        scale(out, out.dtype.type(1 / total))

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        smoothing = scores.dtype.type(self.label_smoothing)
        per_class = _per_class(self.class_weights, scores.shape[1], scores.dtype)
        if targets.ndim == 2:
            return kernels.soft_cross_entropy(scores, targets, weights, per_class, smoothing, dscores)
        given = None if self.class_weights is None else per_class
        return kernels.softmax_cross_entropy(scores, targets, weights, given, smoothing, dscores)

    def hits(self, scores: np.ndarray, targets: np.ndarray, out: np.ndarray) -> bool:
        if targets.ndim == 2:
            kernels.soft_hits(scores, targets, out)
            return True
        kernels.hits(scores, targets, out)
        self.leave_out(targets, out)
        return True


class _Hinge(_Classification):
    """What pays only for scores within ``margin`` of the right one's."""

    margin: float

    def winners(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        right = np.take_along_axis(scores, targets[:, np.newaxis], axis=1)
        return scores + (scores.dtype.type(self.margin) - right) > 0


@dataclass(frozen=True)
class MulticlassHinge(_Hinge):
    """Sum over the wrong classes of max(0, s_j - s_y + margin): the SVM of Weston and Watkins 1999, as in CS231n."""

    margin: float = 1.0

    def __post_init__(self) -> None:
        checks.positive("MulticlassHinge", "margin", self.margin)

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        return kernels.multiclass_hinge(scores, targets, weights, scores.dtype.type(self.margin), dscores)


@dataclass(frozen=True)
class SquaredHinge(_Hinge):
    """Sum over the wrong classes of max(0, s_j - s_y + margin)^2: the L2-SVM of the CS231n notes."""

    margin: float = 1.0

    def __post_init__(self) -> None:
        checks.positive("SquaredHinge", "margin", self.margin)

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        return kernels.squared_hinge(scores, targets, weights, scores.dtype.type(self.margin), dscores)


@dataclass(frozen=True)
class Logistic(Loss):
    """Binary cross-entropy on logits, summed over the outputs: each output answers a yes-or-no question of its own.

    Targets are 0, 1 or a probability between, of shape (n, outputs), or (n,) for one output. A sample counts as correct
    if all its outputs are.
    """

    def check_targets(self, targets: Any, out_shape: Shape, dtype: np.dtype) -> np.ndarray:
        values = checks.array(self, "targets", targets)
        if values.dtype.kind not in "iufb":
            raise TypeError(f"{self}: expected numbers from 0 to 1; got dtype {values.dtype}")
        values = _with_outputs(self, values, out_shape)
        if values.size and not (values.min() >= 0 and values.max() <= 1):
            raise ValueError(f"{self}: expected targets from 0 to 1; got {values.min()} to {values.max()}")
        return np.ascontiguousarray(values, dtype)

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        return kernels.logistic(scores, targets, weights, dscores)

    def hits(self, scores: np.ndarray, targets: np.ndarray, out: np.ndarray) -> bool:
        kernels.logistic_hits(scores, targets, out)
        return True


class _Regression(Loss):
    """Floating-point targets of shape (n, outputs), or (n,) for one output."""

    def check_targets(self, targets: Any, out_shape: Shape, dtype: np.dtype) -> np.ndarray:
        values = checks.array(self, "targets", targets)
        if values.dtype.kind != "f":
            raise TypeError(f"{self}: expected floating-point targets; got dtype {values.dtype}")
        with np.errstate(over="ignore"):  # what overflows shows as infinity
            values = np.ascontiguousarray(_with_outputs(self, values, out_shape), dtype)
        if not all_finite(values):
            raise ValueError(f"{self}: expected finite targets; got NaN or infinity in {dtype}")
        return values


def _with_outputs(who: object, values: np.ndarray, out_shape: Shape) -> np.ndarray:
    if values.ndim == 1 and out_shape == (1,):
        values = values[:, np.newaxis]
    if values.ndim == 0 or values.shape[1:] != out_shape:
        raise ValueError(f"{who}: expected targets of shape (n, {out_shape[0]}); got shape {values.shape}")
    return values


@dataclass(frozen=True)
class SquaredError(_Regression):
    """Sum over outputs of (s - t)^2, as CS231n writes it; PyTorch and Keras divide by the number of outputs."""

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        return kernels.squared_error(scores, targets, weights, dscores)


@dataclass(frozen=True)
class AbsoluteError(_Regression):
    """Sum over outputs of |s - t|; PyTorch and Keras divide by the number of outputs."""

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        return kernels.absolute_error(scores, targets, weights, dscores)

    def winners(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        return np.sign(scores - targets)


@dataclass(frozen=True)
class Huber(_Regression):
    """Sum over outputs of d^2 / 2 where |d| <= delta, delta * (|d| - delta / 2) elsewhere, d = s - t. Huber 1964."""

    delta: float = 1.0

    def __post_init__(self) -> None:
        checks.positive("Huber", "delta", self.delta)

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        return kernels.huber(scores, targets, weights, scores.dtype.type(self.delta), dscores)

    def winners(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        return np.sign(scores - targets) * (np.abs(scores - targets) > self.delta)
