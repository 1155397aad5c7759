"""What a net that has learned nothing would do: the measure below which no training counts."""

import math
from dataclasses import dataclass

import numpy as np

from ..net.losses import Logistic, Loss, MulticlassHinge, SoftmaxCrossEntropy, SquaredHinge
from ..net.net import Net


@dataclass(frozen=True)
class Baseline:
    """What one and the same answer to every sample gives.

    Attributes:
        loss: of equal scores for all classes, or of the mean target; with the penalties that the net now has, as
            training losses are.
        accuracy: of always answering the most frequent class; None for a loss without classes.
    """

    loss: float
    accuracy: float | None = None


def baseline(net: Net, targets: np.ndarray) -> Baseline:
    """The baseline for a net with a loss and targets that its loss has checked."""
    loss = net.loss_function
    assert loss is not None
    level, labels = chance(net, targets), classes(loss, targets)
    if level is None:
        mean = targets.mean(axis=0, dtype=np.float64).astype(net.dtype)
        value = loss(np.broadcast_to(mean, (len(targets), *net.output_shape)).copy(), targets)
    else:
        value = level[0]
    accuracy = None
    if labels is not None:
        counts = np.bincount(labels[counting(loss, targets)])
        accuracy = float(counts.max() / counts.sum())
    return Baseline(value + sum(net.penalties()), accuracy)


def classes(loss: Loss, targets: np.ndarray) -> np.ndarray | None:
    """One class a sample from targets that the loss has checked, or None if it knows no classes."""
    if targets.dtype.kind == "i" and targets.ndim == 1:
        return targets
    if isinstance(loss, SoftmaxCrossEntropy):  # probabilities
        return targets.argmax(axis=1)
    if isinstance(loss, Logistic) and targets.shape[1:] == (1,):
        return (targets[:, 0] >= 0.5).astype(np.int64)
    return None


def counting(loss: Loss, targets: np.ndarray) -> np.ndarray:
    """Indices of the samples that count, from targets that the loss has checked."""
    counted = np.ones(len(targets), np.bool_)
    loss.leave_out(targets, counted)
    return np.flatnonzero(counted)


def chance(net: Net, targets: np.ndarray) -> tuple[float, str] | None:
    """The data loss of equal scores for all classes, and how it comes about; None for a loss without such a value.

    Softmax: log C, with label smoothing or class weights too, since the loss of a sample is the same whatever its
    class, and the mean is a weighted one; with class weights and smoothed or soft targets it depends on ``targets``.
    Hinge losses: every wrong class costs its margin. Logistic: log 2 an output.
    """
    loss, outputs = net.loss_function, net.output_shape[0]
    if isinstance(loss, SoftmaxCrossEntropy):
        one_class = loss.label_smoothing == 0 and targets.ndim == 1
        if loss.class_weights is None or one_class:
            return math.log(outputs), f"log {outputs}"
        return loss(np.zeros((len(targets), outputs)), targets), "equal scores"
    if isinstance(loss, MulticlassHinge):
        return (outputs - 1) * loss.margin, f"{outputs - 1} classes x margin"
    if isinstance(loss, SquaredHinge):
        return (outputs - 1) * loss.margin**2, f"{outputs - 1} classes x margin^2"
    if isinstance(loss, Logistic):
        return outputs * math.log(2), f"{outputs} x log 2"
    return None
