"""Checks of the loss before training: compared with chance, and with penalties."""

import math

import numpy as np

from ..chance import chance
from .case import Case
from .report import FAILED, SKIPPED, WARNING, Finding, graded


def first_loss(case: Case) -> Finding:
    """Check that the loss is about that of equal scores for all classes."""
    name, value = "first loss", case.net.twin().evaluate(case.x, case.y)["data_loss"]
    level = chance(case.net, case.y)
    if level is None:
        return _without_chance(case, name, value)
    ratio, expected = value / level[0], f"{level[0]:.4g}, chance ({level[1]})"
    if ratio < 0.75:
        advice = "better than chance before training: is it trained, or are the labels among the features?"
    else:
        advice = "the net is sure of itself before it has seen anything: smaller weights in the last layer"
    numbers = {"loss": value, "chance": level[0]}
    good, tolerable = 0.75 <= ratio <= 1.25, 0.5 <= ratio <= 2
    return graded(name, f"{value:.4g}", expected, advice, numbers, good=good, tolerable=tolerable)


def _without_chance(case: Case, name: str, value: float) -> Finding:
    """Return the finding for a loss without classes: its value, and that of an output of 0."""
    zero = case.loss(np.zeros((len(case.x), *case.net.output_shape), case.net.dtype), case.y)
    measured = f"{value:.4g}; {zero:.4g} for an output of 0"
    if not math.isfinite(value):
        return Finding(name, FAILED, measured, "finite", "the net overflows: smaller weights or input", {"loss": value})
    expected = f"{type(case.loss).__name__} has no value of chance"
    return Finding(name, SKIPPED, measured, expected, values={"loss": value, "zero": zero})


def regularisation(case: Case) -> Finding:
    """Check that penalties raise the objective by their value, and do not outweigh the data loss."""
    name, twin = "regularisation", case.net.twin()
    given = twin.l2 > 0 or twin.l1 > 0
    l2, l1 = (twin.l2, twin.l1) if given else (0.01, 0.0)
    twin.l2 = twin.l1 = 0.0
    without = twin.loss(case.x, case.y)
    twin.l2, twin.l1 = l2, l1
    with_penalty = twin.loss(case.x, case.y)
    weights = [twin.params[t.start : t.stop].astype(np.float64) for t in twin.tensors if t.decay]
    penalty = sum(0.5 * l2 * float(w @ w) + l1 * float(np.abs(w).sum()) for w in weights)
    strength = ", ".join(f"{kind} {value:g}" for kind, value in (("L2", l2), ("L1", l1)) if value)
    measured = f"loss {without:.4g} to {with_penalty:.4g} with {strength}"
    numbers = {"without": without, "with": with_penalty, "penalty": penalty}
    if not any(w.any() for w in weights):
        advice = "all weights are 0" if weights else "no parameter is tagged for penalties (Param(decay=True))"
        return Finding(name, WARNING, measured, "it rises", advice, numbers)
    expected = f"it rises by {penalty:.4g}"
    # Both losses include the data loss, which may be large compared with the penalty, and with it rounding errors.
    off = abs(with_penalty - without - penalty) > 1e-3 * penalty + 1e-6 * abs(without)
    if not with_penalty > without or off:
        advice = "the objective does not hold the penalty of its weights"
        return Finding(name, FAILED, measured, expected, advice, numbers)
    advice = "the penalty outweighs the data: the gradient may be that of the penalty alone"
    return graded(name, measured, expected, advice, numbers, good=not given or penalty <= without, tolerable=True)
