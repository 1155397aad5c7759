"""What the scores of a net say, by the loss that it was trained with: probabilities, choices, or only themselves."""

import numpy as np

from ..net.losses import Logistic, Loss, MulticlassHinge, SoftmaxCrossEntropy, SquaredHinge

CHOOSING = (SoftmaxCrossEntropy, MulticlassHinge, SquaredHinge)  # a score a class, of which the largest is chosen
_LEAST = 2.0**-53  # that a probability differs from 0 and 1 where its logarithm is taken


def ways(loss: Loss | None) -> tuple[str, ...]:
    """What of several nets with this loss can be brought together, the usual first."""
    if isinstance(loss, SoftmaxCrossEntropy):
        return "probabilities", "scores", "votes"
    if isinstance(loss, Logistic):
        return "probabilities", "scores"
    return ("scores", "votes") if isinstance(loss, CHOOSING) else ("scores",)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, in a new float64 array."""
    shifted = scores.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=-1, keepdims=True)
    return shifted


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-score)), in a new float64 array; tanh does not overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * scores.astype(np.float64))


def check_way(who: str, loss: Loss | None, way: str | None) -> str:
    """``way``, or the usual one if None; ValueError for one that such nets do not have."""
    known = ways(loss)
    if way is not None and way not in known:
        raise ValueError(f"{who}: expected how to be one of {known} for nets with {loss}; got {way!r}")
    return known[0] if way is None else way


def in_way(way: str, scores: np.ndarray, loss: Loss | None) -> np.ndarray:
    """What scores (..., n, outputs) are as ``"probabilities"``, or as ``"scores"``."""
    if way != "probabilities":
        return scores
    return sigmoid(scores) if isinstance(loss, Logistic) else softmax(scores)


def entry(values: np.ndarray, loss: Loss | None, way: str = "scores") -> np.ndarray:
    """What a Comparison takes of nets that answer ``values`` in a way: class probabilities where there are, or scores.

    Probabilities of Logistic become scores again, as if they were 1e-16 away from 0 and 1 at least.
    """
    if isinstance(loss, SoftmaxCrossEntropy):
        return values if way == "probabilities" else softmax(values)
    if way != "probabilities":
        return values
    kept = np.clip(values, _LEAST, 1 - _LEAST)
    return np.log(kept) - np.log1p(-kept)


def judge(who: str, loss: Loss | None) -> Loss | None:
    """The ``loss`` that a Comparison takes for nets with this one: None where entries are class probabilities."""
    if loss is None:
        raise ValueError(f"{who}: expected a net built with loss=...; got one without")
    return None if isinstance(loss, SoftmaxCrossEntropy) else loss


def choices(who: str, scores: np.ndarray, loss: Loss | None) -> np.ndarray:
    """What is chosen: classes (..., n) for scores (..., n, classes); with Logistic yes or no, (..., n, outputs)."""
    if isinstance(loss, Logistic):
        return scores > 0
    if not isinstance(loss, CHOOSING):
        raise ValueError(f"{who}: expected nets that choose among classes; got some with {loss}")
    return scores.argmax(axis=-1)
