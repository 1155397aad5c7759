"""Weights of the members of an ensemble, chosen on validation data."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..base import checks
from ..net.losses import Loss
from ..training.direction import Direction
from .measures import as_labels, log_losses

_LEAST = np.finfo(np.float64).tiny  # smallest argument of a logarithm

# A function of the mean of outputs (n, ...) and y.
Metric = Callable[[np.ndarray, Any], float]


def _check_probabilities(who: str, probabilities: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    values = checks.array(who, "probabilities", probabilities)
    if values.ndim != 3 or values.size == 0:
        raise ValueError(f"{who}: expected probabilities of shape (K, n, classes); got shape {values.shape}")
    labels = as_labels(who, y, values.shape[2])
    if len(labels) != values.shape[1]:
        raise ValueError(f"{who}: expected {values.shape[1]} labels; got {len(labels)}")
    return values.astype(np.float64), labels


def _accuracy(mean: np.ndarray, labels: np.ndarray) -> float:
    return float((mean.argmax(axis=1) == labels).mean())


def _log_loss(mean: np.ndarray, labels: np.ndarray) -> float:
    return float(log_losses(mean, labels).mean())


_METRICS: dict[str, Metric] = {"log_loss": _log_loss, "accuracy": _accuracy}


def select_greedily(
    probabilities: np.ndarray,
    y: Any,
    *,
    metric: str | Metric = "log_loss",
    mode: str | None = None,
    rounds: int | None = None,
    first: int = 1,
) -> np.ndarray:
    """Select members by forward selection with replacement. Caruana et al. 2004.

    The selection starts with the ``first`` members that are best by themselves (the paper's sorted initialisation). It
    then repeatedly adds the member whose addition gives the best mean of probabilities. Of all ensembles on the way,
    the best is returned, and of equal ones the smallest. Of equal members, the earlier is added. NaN is never the best.

    Args:
        probabilities: probabilities of the members on validation data, (K, n, classes); for a metric that is a
            function, any outputs (K, n, ...), whose mean the function takes.
        y: labels (n,), or what the metric takes.
        metric: ``"log_loss"``, ``"accuracy"``, or a function (mean, y) -> number, such as the Loss of the nets for
            their scores.
        mode: ``"max"`` if larger values of the metric are better, ``"min"`` if smaller ones are. It has to be given for
            a function that is not a Loss.
        rounds: size of the last ensemble that is tried; None for 2 K + first.
        first: number of members to start with.

    Returns:
        How often each member is chosen, int64 (K,).
    """
    who = "select_greedily"
    values, y, figure = _checked(who, probabilities, y, metric)
    name = metric if isinstance(metric, str) else "loss" if isinstance(metric, Loss) else repr(metric)
    direction = Direction.of(who, name, mode)
    k = len(values)
    if checks.count(who, "first", first) > k:
        raise ValueError(f"{who}: expected first of at most {k}, the number of members; got {first}")
    rounds = 2 * k + first if rounds is None else checks.count(who, "rounds", rounds, least=first)
    return _best_counts(values, lambda means: direction.costs([figure(mean, y) for mean in means]), first, rounds)


def _checked(who: str, outputs: Any, y: Any, metric: str | Metric) -> tuple[np.ndarray, Any, Metric]:
    """Return the outputs in float64, y, and the metric as a function."""
    if callable(metric):
        values = checks.array(who, "outputs", outputs).astype(np.float64)
        if values.ndim < 2 or values.size == 0:
            raise ValueError(f"{who}: expected outputs of shape (K, n, ...); got shape {values.shape}")
        return values, y, metric
    values, labels = _check_probabilities(who, outputs, y)
    if metric not in _METRICS:
        raise ValueError(f"{who}: expected metric 'log_loss' or 'accuracy', or a function; got {metric!r}")
    return values, labels, _METRICS[metric]


def _best_counts(
    values: np.ndarray, costs: Callable[[Iterable[np.ndarray]], np.ndarray], first: int, rounds: int
) -> np.ndarray:
    """Add members one by one and return how often each is in the best ensemble on the way.

    Args:
        values: outputs of the members, (K, n, ...).
        costs: returns one number for each of several means; smaller is better.
        first, rounds: sizes of the first and the last ensemble.
    """
    counts = np.zeros(len(values), np.int64)
    counts[np.argsort(costs(values), kind="stable")[:first]] = 1
    total = np.einsum("k,k...->...", counts, values)
    (best,), best_counts = costs([total / first]), counts.copy()
    for size in range(first + 1, rounds + 1):
        found = costs((total + member) / size for member in values)
        chosen = int(np.argmax(found <= _raised(np.fmin.reduce(found))))  # the first of equal ones
        counts[chosen] += 1
        total += values[chosen]
        if _raised(found[chosen]) < best:
            best, best_counts = found[chosen], counts.copy()
    return best_counts


def _raised(cost: float) -> float:
    """Return the largest cost that counts as equal: the means of [a] and of [a, a, a] differ by round-off."""
    return cost + 1e-12 * abs(cost) if math.isfinite(cost) else cost


def mixture_weights(probabilities: np.ndarray, y: Any, *, rounds: int = 1000, tolerance: float = 1e-9) -> np.ndarray:
    """Return the weights that minimise the log loss of the weighted mean of probabilities.

    The problem is convex. The weights are those of a mixture with fixed components and are found by expectation
    maximisation (Dempster, Laird, Rubin 1977): each weight becomes the mean of its member's share in the probability of
    the correct class. Smyth and Wolpert 1999 combine densities in this way.

    Args:
        probabilities, y: as in ``select_greedily``.
        rounds: largest number of iterations.
        tolerance: the iteration ends when the log loss decreases by less than this.

    Returns:
        Weights (K,), at least 0, which sum to 1.
    """
    values, labels = _check_probabilities("mixture_weights", probabilities, y)
    right = np.maximum(values[:, np.arange(len(labels)), labels], _LEAST)  # (K, n)
    weights, before = np.full(len(values), 1 / len(values)), math.inf
    for _ in range(rounds):
        mixture = weights @ right
        loss = -float(np.log(mixture).mean())
        if before - loss < tolerance:
            break
        weights, before = weights * (right / mixture).mean(axis=1), loss
    return weights / weights.sum()
