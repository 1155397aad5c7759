"""What the scores of a net mean for the loss that it was trained with: probabilities, choices, or only scores."""

import numpy as np

from ..net.losses import Logistic, Loss, MulticlassHinge, SoftmaxCrossEntropy, SquaredHinge

CHOOSING = (SoftmaxCrossEntropy, MulticlassHinge, SquaredHinge)  # one score per class; the largest is chosen
_LEAST = 2.0**-53  # distance of a probability from 0 and 1 before its logarithm is taken


def ways(loss: Loss | None) -> tuple[str, ...]:
    """Return the ways to combine the answers of several nets with this loss, the default first."""
    if isinstance(loss, SoftmaxCrossEntropy):
        return "probabilities", "scores", "votes"
    if isinstance(loss, Logistic):
        return "probabilities", "scores"
    return ("scores", "votes") if isinstance(loss, CHOOSING) else ("scores",)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return probabilities along the last axis, in a new float64 array."""
    shifted = scores.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=-1, keepdims=True)
    return shifted


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-score)) in a new float64 array, computed by tanh, which does not overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * scores.astype(np.float64))


def check_way(who: str, loss: Loss | None, way: str | None) -> str:
    """Return ``way``, or the default if it is None; raise ValueError for a way that nets with this loss lack."""
    known = ways(loss)
    if way is not None and way not in known:
        raise ValueError(f"{who}: expected how to be one of {known} for nets with {loss}; got {way!r}")
    return known[0] if way is None else way


def in_way(way: str, scores: np.ndarray, loss: Loss | None) -> np.ndarray:
    """Convert scores (..., n, outputs) to ``"probabilities"``, or return them as ``"scores"``."""
    if way != "probabilities":
        return scores
    return sigmoid(scores) if isinstance(loss, Logistic) else softmax(scores)


def entry(values: np.ndarray, loss: Loss | None, way: str = "scores") -> np.ndarray:
    """Convert ``values``, given in a way, to an entry of a Comparison: class probabilities if possible, else scores.

    Probabilities of Logistic are converted back to scores, after moving them at least 1e-16 away from 0 and 1.
    """
    if isinstance(loss, SoftmaxCrossEntropy):
        return values if way == "probabilities" else softmax(values)
    if way != "probabilities":
        return values
    kept = np.clip(values, _LEAST, 1 - _LEAST)
    return np.log(kept) - np.log1p(-kept)


def judge(who: str, loss: Loss | None) -> Loss | None:
    """Return the argument ``loss`` of a Comparison for nets with this loss; None if entries are class probabilities."""
    if loss is None:
        raise ValueError(f"{who}: expected a net built with loss=...; got one without")
    return None if isinstance(loss, SoftmaxCrossEntropy) else loss


def choices(who: str, scores: np.ndarray, loss: Loss | None) -> np.ndarray:
    """Return the choices: classes (..., n) for scores (..., n, classes); with Logistic booleans (..., n, outputs)."""
    if isinstance(loss, Logistic):
        return scores > 0
    if not isinstance(loss, CHOOSING):
        raise ValueError(f"{who}: expected nets that choose among classes; got some with {loss}")
    return scores.argmax(axis=-1)
