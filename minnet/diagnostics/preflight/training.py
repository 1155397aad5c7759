"""Checks that train twins: gradients after a burn-in, overfitting of few samples, control with shuffled labels."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ...base import streams
from ...data import Batches, Data, split
from ...gradcheck import check_net
from ...gradcheck.result import VERDICTS
from ...layers import CrossAttention, Dropout, Layer, SelfAttention, SpatialDropout
from ...net.losses import SoftmaxCrossEntropy
from ...net.net import Net
from ...optim.optimizer import Optimizer
from ...optim.rules import Adam, Rule
from ..chance import chance
from ..rewire import rewired
from .case import Case
from .report import FAILED, PASSED, SKIPPED, WARNING, Finding, graded
from .scales import first_update_ratio

_BURN_IN = (
    10,
    100,
)  # steps and batch size of the training before the gradient check, since initial weights are a special point
_COORDINATES = 20_000  # largest number of parameters that are checked one by one; for larger nets, directions
_FITTING = (3e-3, 3e-4), 500  # Adam's rates, and steps at each, to fit a small batch
_CONTROL = 300, 50  # steps and batch size of the control


def _train(
    net: Net, data: Data, rule: Rule, lr: float, steps: int, batch_size: int, seed: int, enough: float = -math.inf
) -> float:
    """Train, until the loss is at most ``enough``; return the last loss, or infinity if it is not finite."""
    batches = Batches(data, batch_size, seed=seed, drop_last=True, dtype=net.input_dtype)
    optimizer, loss = Optimizer(net, rule), math.inf
    for _ in range(steps):
        with np.errstate(over="ignore", invalid="ignore"):
            loss = net.loss_and_grads(*batches.next())
        if not math.isfinite(loss) or not np.isfinite(net.grads).all():
            return math.inf
        if loss <= enough:
            break
        try:
            optimizer.step(lr)
        except FloatingPointError:  # a gradient that the rule refuses
            return math.inf
    return loss


def _unless_rate_is_at_fault(case: Case, finding: Finding) -> Finding:
    """Return the finding, as skipped if the first update is so large or small that training shows nothing."""
    ratio = first_update_ratio(case)
    if ratio.verdict != FAILED or "ratios" not in ratio.values:
        return finding
    advice = "not judged: it is the rate that does not suit, see first update ratio"
    return replace(finding, verdict=SKIPPED, advice=advice)


def _not_finite(case: Case, name: str, steps: int) -> Finding:
    """Return the finding of a check whose training diverged."""
    measured = f"loss not finite within {steps} steps"
    return _unless_rate_is_at_fault(case, Finding(name, FAILED, measured, "a finite loss", "a lower rate"))


def gradients(case: Case) -> Finding:
    """Check that gradients equal numerical ones, after a few steps of training."""
    name, twin, (steps, batch_size) = "gradients", case.net.twin(), _BURN_IN
    if not math.isfinite(_train(twin, (case.x, case.y), case.rule, case.lr, steps, batch_size, case.seed)):
        return _not_finite(case, name, steps)
    mode = "all" if twin.params.size <= _COORDINATES else "directions"
    checked = check_net(twin, *case.part(3), mode=mode, inputs=False, seed=case.seed)
    how = f"{twin.params.size:,} coordinates" if mode == "all" else f"directions over {twin.params.size:,} parameters"
    measured, expected = f"{checked.verdict}, {how}, after {steps} steps", "backprop equals differences"
    verdict, worst = checked.verdict, checked.worst
    numbers = {"verdict": verdict, "worst": worst.name}
    if checked.passed:
        return Finding(name, PASSED, measured, expected, values=numbers)
    if verdict == "wrong":
        return Finding(name, FAILED, measured, expected, f"{VERDICTS[verdict]}: {worst}", numbers)
    finding = Finding(name, WARNING, measured, expected, f"{VERDICTS[verdict]} ({worst})", numbers)
    return _unless_rate_is_at_fault(case, finding)


def overfitting(case: Case) -> Finding:
    """Check that the net can overfit a few samples."""
    x, y = _of_all_classes(case)
    loss = case.loss
    if isinstance(loss, SoftmaxCrossEntropy):
        loss = replace(loss, label_smoothing=0.0)
    level = chance(case.net, y)
    rates, steps = _FITTING
    best, first = math.inf, math.nan
    for rate in rates:
        twin = rewired(case.net, _without_noise, loss)
        first = level[0] if level else twin.loss(x, y)
        best = min(best, _train(twin, (x, y), Adam(), rate, steps, len(x), case.seed, enough=0.001 * first))
        if best <= 0.01 * first:
            break
    measured, expected = f"{case.few} samples to a loss of {best:.2g}", f"near 0, at most 1 % of {first:.3g}"
    advice = (
        "the net cannot learn even these: look for a wrong backward pass, dead units, a bottleneck, or equal samples "
        "with different labels"
    )
    numbers, good, tolerable = {"loss": best, "first": first}, best <= 0.01 * first, best <= 0.1 * first
    return graded("overfitting", measured, expected, advice, numbers, good=good, tolerable=tolerable)


def _of_all_classes(case: Case) -> Data:
    """Return ``few`` samples, as evenly from all classes as possible."""
    labels = case.labels
    if labels is None or labels.size != len(case.x):  # at every position another class
        return case.part(case.few)
    # The rank of each sample within its class; the first samples of all classes come first.
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange((labels == label).sum())
    chosen = np.argsort(rank, kind="stable")[: case.few]
    return case.x[chosen], case.y[chosen]


def _without_noise(name: str, layer: Layer) -> Layer:
    if isinstance(layer, SelfAttention | CrossAttention):
        return replace(layer, dropout=0.0)
    return replace(layer, rate=0.0) if isinstance(layer, (Dropout, SpatialDropout)) else layer


def shuffled_labels(case: Case) -> Finding:
    """Check that training with real labels predicts held-out samples better than training with shuffled labels."""
    name = "shuffled labels"
    shuffled = streams.generator(case.seed, "shuffled labels of preflight").permutation(len(case.y))
    if len(case.y) < 20:
        return Finding(name, SKIPPED, f"{len(case.y)} samples", "at least 20, to hold some back")
    if (case.y == case.y[:1]).all():
        return Finding(name, SKIPPED, "all targets are the same", "targets that shuffling changes")
    (steps, batch_size), measures = _CONTROL, []
    for y in (case.y, case.y[shuffled]):
        train, held_out = split((case.x, y), (0.8, 0.2), seed=case.seed)
        twin = case.net.twin()
        if not math.isfinite(_train(twin, train, case.rule, case.lr, steps, batch_size, case.seed)):
            return _not_finite(case, name, steps)
        measures.append(twin.evaluate(*held_out))
    real, other = measures
    better, measured, expected, numbers = _compared(real, other, len(held_out[0]))
    measured = f"{steps} steps: {measured}"
    if better:
        return Finding(name, PASSED, measured, expected, values=numbers)
    advice = (
        "what is learned of these labels is no more than of random ones: are x and y in the same order? Or the rate "
        "does not suit"
    )
    return _unless_rate_is_at_fault(case, Finding(name, FAILED, measured, expected, advice, numbers))


def _compared(real: dict[str, float], other: dict[str, float], n: int) -> tuple[bool, str, str, dict[str, Any]]:
    """Return whether real labels did better on n samples, measured and expected as text, and the numbers."""
    if "accuracy" not in real:
        a, b = real["data_loss"], other["data_loss"]
        measured = f"held-out loss {a:.3g} with real targets, {b:.3g} with shuffled ones"
        return a < 0.7 * b, measured, "real at most 0.7 times the other", {"real": a, "shuffled": b}
    a, b = real["accuracy"], other["accuracy"]
    # Three standard errors of the difference of two shares, each with one success and one failure added.
    noise = 3 * math.sqrt(sum(p * (1 - p) / n for p in ((a * n + 1) / (n + 2), (b * n + 1) / (n + 2))))
    measured = f"{a:.1%} of {n} held-out samples with real labels, {b:.1%} with shuffled ones"
    expected = f"real at least {100 * noise:.0f} points better"
    return a - b > noise, measured, expected, {"real": a, "shuffled": b, "noise": noise}
