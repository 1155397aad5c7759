"""Baselines: loss and accuracy of a net that has learned nothing."""

import math
from dataclasses import dataclass

import numpy as np

from ..net.losses import Logistic, Loss, MulticlassHinge, SoftmaxCrossEntropy, SquaredHinge
from ..net.net import Net


@dataclass(frozen=True)
class Baseline:
    """Loss and accuracy of the same prediction for every sample.

    Attributes:
        loss: loss of equal scores for all classes, or of the mean target. It includes the net's present penalties, as
            training losses do.
        accuracy: accuracy of always predicting the most frequent class; None for a loss without classes.
    """

    loss: float
    accuracy: float | None = None


def baseline(net: Net, targets: np.ndarray) -> Baseline:
    """Return the baseline of a net, for targets that its loss has checked."""
    loss = net.loss_function
    assert loss is not None
    level, labels = chance(net, targets), classes_that_count(loss, targets)
    if level is None:
        mean = targets.mean(axis=0, dtype=np.float64).astype(net.dtype)
        value = loss(np.broadcast_to(mean, (len(targets), *net.output_shape)).copy(), targets)
    else:
        value = level[0]
    accuracy = None
    if labels is not None:
        counts = np.bincount(labels)
        accuracy = float(counts.max() / counts.sum())
    return Baseline(value + sum(net.penalties()), accuracy)


def classes(loss: Loss, targets: np.ndarray) -> np.ndarray | None:
    """Return the class of each target, from targets that the loss has checked; None for a loss without classes.

    The result has shape (n,), or (n, *positions) if the loss scores each position.
    """
    if targets.dtype.kind == "i":
        return targets
    if isinstance(loss, SoftmaxCrossEntropy):  # probabilities
        return targets.argmax(axis=-1)
    if isinstance(loss, Logistic) and targets.shape[1:] == (1,):
        return (targets[:, 0] >= 0.5).astype(np.int64)
    return None


def classes_that_count(loss: Loss, targets: np.ndarray) -> np.ndarray | None:
    """Return ``classes`` of those targets that the loss counts, in one axis."""
    labels = classes(loss, targets)
    return None if labels is None else labels.reshape(-1)[_counted(loss, targets, labels.size)]


def counting(loss: Loss, targets: np.ndarray, positions: int = 1) -> np.ndarray:
    """Return the indices of samples that the loss counts at one position at least, from targets that it checked."""
    counted = _counted(loss, targets, len(targets) * positions)
    return np.flatnonzero(counted.reshape(len(targets), -1).any(axis=1))


def _counted(loss: Loss, targets: np.ndarray, size: int) -> np.ndarray:
    """Return which of ``size`` targets the loss counts."""
    counted = np.ones(size, np.bool_)
    loss.leave_out(targets, counted)
    return counted


def chance(net: Net, targets: np.ndarray) -> tuple[float, str] | None:
    """Return the data loss of equal scores for all classes and its formula; None for a loss without such a value.

    Softmax: log C, also with label smoothing or class weights, because the loss of a sample does not depend on its
    class, and the mean is weighted. With class weights and smoothed or soft targets, it depends on ``targets``. Hinge
    losses: the margin for every wrong class. Logistic: log 2 per output.
    """
    loss, outputs = net.loss_function, net.output_shape[-1]
    if isinstance(loss, SoftmaxCrossEntropy):
        one_class = loss.label_smoothing == 0 and targets.dtype.kind == "i"
        if not loss.summed and (loss.class_weights is None or one_class):
            return math.log(outputs), f"log {outputs}"
        return loss(np.zeros((len(targets), *net.output_shape)), targets), "equal scores"
    if isinstance(loss, MulticlassHinge):
        return (outputs - 1) * loss.margin, f"{outputs - 1} classes x margin"
    if isinstance(loss, SquaredHinge):
        return (outputs - 1) * loss.margin**2, f"{outputs - 1} classes x margin^2"
    if isinstance(loss, Logistic):
        return outputs * math.log(2), f"{outputs} x log 2"
    return None
