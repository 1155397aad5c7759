"""What CS231n's notes say to look at before a long run, in one call and one report.

"Neural Networks Part 3", gradient checks and sanity checks before learning. Every check has a function of its own
below, which takes a ``_Case`` and gives a ``Finding``; all work on twins of the net.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from ..data import Batches, Data, split
from ..files import write_whole
from ..gradcheck import check_net
from ..gradcheck.result import VERDICTS
from ..layers import Dropout, Layer, SpatialDropout
from ..losses import SoftmaxCrossEntropy
from ..net import Net
from ..optimizer import Optimizer
from ..rules import Adam, Rule
from .chance import chance, classes
from .gains import LINEAR
from .rewire import rewired
from .variance import variance_by_layer

PASSED, WARNING, FAILED, SKIPPED = "passed", "warning", "failed", "skipped"
_SAMPLES = 2000  # that a check looks at, at most
_BATCH = 100
_BURN_IN = 10  # steps before the gradient check, so that it does not look at a special point
_COORDINATES = 20_000  # parameters that are checked one by one; of larger nets a direction in each tensor
_FITTING = (3e-3, 3e-4), 500  # Adam's rates, and steps at each, to fit a small batch
_CONTROL = 300, 50  # steps and batch size of the control
_RATE = "not judged: it is the rate that does not suit, see first update ratio"


@dataclass(frozen=True)
class Finding:
    """One check's outcome.

    Attributes:
        name: of the check.
        verdict: ``"passed"``, ``"warning"``, ``"failed"`` or ``"skipped"``.
        measured, expected: in words.
        advice: what to do about it, where it did not pass.
        values: the numbers behind the words.
    """

    name: str
    verdict: str
    measured: str
    expected: str = ""
    advice: str = ""
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preflight:
    """The report: ``print`` it, assert on it, ``save`` it. ``report["first loss"]`` is that finding.

    Attributes:
        findings: one a check, in the order of the checks.
        subject: net, data, rule and rate in words.
    """

    findings: tuple[Finding, ...]
    subject: str

    @property
    def passed(self) -> bool:
        """Whether no check failed; warnings and what was skipped count as passed."""
        return all(finding.verdict != FAILED for finding in self.findings)

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"preflight: expected one of {[finding.name for finding in self.findings]}; got {name!r}")

    def assert_passed(self) -> None:
        """AssertionError, with the whole report, if a check failed."""
        if not self.passed:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        rows = [("check", "verdict", "measured", "expected")]
        rows += [(f.name, f.verdict, f.measured, f.expected) for f in self.findings]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = ["  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3]]).rstrip() for row in rows]
        advice = [f"{f.name}: {f.advice}" for f in self.findings if f.advice]
        counts = {verdict: sum(f.verdict == verdict for f in self.findings) for verdict in (FAILED, WARNING, SKIPPED)}
        words = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "all checks passed"
        return "\n".join([f"Preflight of {self.subject}", *lines, *advice, words])

    def to_dict(self) -> dict[str, Any]:
        """The whole report, as JSON knows it; numbers that are not finite become None."""
        findings = [asdict(finding) for finding in self.findings]
        return {"passed": self.passed, "subject": self.subject, "findings": _plain(findings)}

    def save(self, path: str | Path) -> None:
        """Write the report to ``path`` as JSON, whole or not at all."""
        write_whole(path, json.dumps(self.to_dict(), indent=1, allow_nan=False))


@dataclass(frozen=True)
class _Case:
    """What the checks look at: the net, samples in random order, and how it is to be trained."""

    net: Net
    x: np.ndarray
    y: np.ndarray
    rule: Rule
    lr: float
    few: int
    seed: int

    def part(self, n: int) -> Data:
        """The first n samples."""
        return self.x[:n], self.y[:n]

    @property
    def labels(self) -> np.ndarray | None:
        """One class a sample, or None if the loss knows no classes."""
        net = self.net
        assert net.loss_function is not None  # preflight has seen to it
        return classes(net.loss_function, net.loss_function.check_targets(self.y, net.output_shape, net.dtype))


def preflight(
    net: Net,
    data: Data,
    *,
    rule: Rule | None = None,
    lr: float = 1e-3,
    few: int = 20,
    seed: int = 0,
    progress: bool | None = None,
) -> Preflight:
    """Look a network and its data over before training. Twins do the work: the net stays as it is, to the last bit.

    The checks: input (finite, standardised, features that do not vary), labels (range, classes that do not occur),
    class balance, first loss against that of chance, loss with and without penalties, gradients after a burn-in of 10
    steps, overfitting ``few`` samples without penalties, dropout and label smoothing, a control with shuffled labels,
    variance by layer, and the ratio of the first update to the weights. Up to 2,000 samples are looked at. Bad numbers
    and labels make a finding; what is no data at all raises TypeError or ValueError.

    Args:
        net: a network built with a loss, before training.
        data: training data (x, y), as ``fit`` takes them.
        rule, lr: with which it is to be trained: Adam at 1e-3 unless told. Burn-in, control and update ratio use
            them; overfitting has rates of its own.
        few: samples to overfit.
        seed: of the choice of samples, and of what is shuffled.
        progress: True shows a progress bar, False none, None one on a terminal only.
    """
    from tqdm import tqdm

    if not isinstance(net, Net) or net.loss_function is None:
        raise TypeError(f"preflight: expected a Net with a loss; got {net!r}")
    if rule is not None and not isinstance(rule, Rule):
        raise TypeError(f"preflight: expected rule to be a Rule, such as Adam(); got {rule!r}")
    if rule is not None and rule.searches:
        raise ValueError(f"preflight: expected a rule that takes batches; got {rule}")
    lr = checks.positive("preflight", "lr", lr)
    checks.count("preflight", "few", few, least=2)
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"preflight: expected data as a pair (x, y); got {type(data).__name__}")
    x, y = checks.array("preflight", "x", data[0]), checks.array("preflight", "y", data[1])
    if x.shape[1:] != net.input_shape or y.ndim == 0 or len(x) != len(y) or len(x) < 2:
        raise ValueError(
            f"preflight: expected at least two samples of shape {net.input_shape} and as many targets; got x of shape "
            f"{x.shape}, y of shape {y.shape}"
        )
    rng = np.random.default_rng(checks.count("preflight", "seed", seed, least=0))
    chosen = rng.permutation(len(x))[:_SAMPLES]
    case = _Case(net, x[chosen], y[chosen], Adam() if rule is None else rule, lr, min(few, len(chosen)), seed)
    findings = [_finite(x) or _standardised(case), _targets(net, y)]
    fit_to_run = all(finding.verdict != FAILED or finding.values for finding in findings)
    with tqdm(_CHECKS.items(), unit="check", disable=None if progress is None else not progress) as bar:
        for name, check in bar:
            bar.set_postfix_str(name, refresh=True)
            findings.append(check(case) if fit_to_run else Finding(name, SKIPPED, "the net cannot take these data", ""))
    return Preflight(tuple(findings), f"{net}, {len(x):,} samples, {type(case.rule).__name__} at {lr:g}")


# Data ----------------------------------------------------------------------------------------------------


def _finite(x: np.ndarray) -> Finding | None:
    """A finding without values if no net could take x, else None."""
    if x.dtype.kind != "f" and x.dtype != np.uint8:
        return Finding(
            "input",
            FAILED,
            f"dtype {x.dtype}",
            "floats or uint8",
            "convert x to float32; only bytes are read as x / 255",
        )
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
        return Finding(
            "input",
            FAILED,
            f"NaN or infinity in {len(bad)} samples, the first {bad[0]}",
            "finite numbers",
            "mend or drop these samples",
        )
    return None


def _standardised(case: _Case) -> Finding:
    values = case.x.reshape(len(case.x), -1).astype(np.float64) / (255 if case.x.dtype == np.uint8 else 1)
    mean, std = float(values.mean()), float(values.std())
    features = np.where(values.min(axis=0) < values.max(axis=0), values.std(axis=0), 0.0)
    constant, varying = int((features == 0).sum()), features[features > 0]
    spread = float(varying.max() / np.median(varying)) if len(varying) else 1.0
    numbers = {"mean": mean, "std": std, "constant": constant, "features": features.size, "spread": spread}
    measured = f"mean {mean:.3g}, standard deviation {std:.3g}"
    measured += " as x / 255" if case.x.dtype == np.uint8 else ""
    measured += f", {constant} of {features.size} features constant" if constant else ""
    expected, advice = "mean 0, standard deviation 1", "standardise: mn.data.Standardizer.fit(x_train)"
    if not 0.01 <= std <= 10 or abs(mean) > 10:
        return Finding("input", FAILED, measured, expected, advice, numbers)
    if not 0.5 <= std <= 2 or abs(mean) > 0.5 * std:
        return Finding("input", WARNING, measured, expected, advice, numbers)
    if spread > 30:
        measured += f", one feature {spread:.0f} times as wide as the median"
        return Finding("input", WARNING, measured, expected, advice, numbers)
    if 2 * constant > features.size:
        return Finding("input", WARNING, measured, expected, "most features say nothing: is that meant?", numbers)
    return Finding("input", PASSED, measured, expected, values=numbers)


def _targets(net: Net, y: np.ndarray) -> Finding:
    loss = net.loss_function
    assert loss is not None  # preflight has seen to it
    try:
        targets = loss.check_targets(y, net.output_shape, net.dtype)
    except (TypeError, ValueError) as error:
        measured = f"{y.min()} to {y.max()}" if y.dtype.kind in "iuf" and y.size else f"dtype {y.dtype}"
        advice = str(error) + _hint(y, net.output_shape[0])
        return Finding("labels", FAILED, measured, f"what {type(loss).__name__} takes", advice)
    if targets.dtype.kind != "i":
        low, high = float(targets.min()), float(targets.max())
        return Finding("labels", PASSED, f"numbers from {low:.3g} to {high:.3g}", values={"low": low, "high": high})
    classes = net.output_shape[0]
    missing = np.flatnonzero(np.bincount(targets, minlength=classes) == 0)
    numbers = {"low": int(targets.min()), "high": int(targets.max()), "missing": missing.tolist()}
    measured, expected = f"{numbers['low']} to {numbers['high']}", f"0 to {classes - 1}, each of them"
    if not len(missing):
        return Finding("labels", PASSED, measured, expected, values=numbers)
    advice = f"classes without a sample: {', '.join(map(str, missing))}"
    if missing.tolist() == [0]:
        advice += "; do the labels begin at 1, one too high?"
    return Finding("labels", WARNING, measured, expected, advice, numbers)


def _hint(y: np.ndarray, classes: int) -> str:
    """What labels that a loss refuses were likely meant to be."""
    if y.ndim != 1 or y.dtype.kind not in "iuf" or not (y == np.round(y)).all():
        return ""
    hint = "; whole numbers as floats: use y.astype(int)" if y.dtype.kind == "f" else ""
    return hint + ("; do the labels begin at 1? Then use y - 1" if (y.min(), y.max()) == (1, classes) else "")


def _balance(case: _Case) -> Finding:
    name, labels = "class balance", case.labels
    if labels is None:
        return Finding(name, SKIPPED, "no classes")
    counts = np.bincount(labels)
    present = counts[counts > 0]
    share, ratio = float(present.max() / len(labels)), float(present.max() / present.min())
    numbers = {"majority": share, "ratio": ratio, "counts": counts.tolist()}
    measured = f"largest class {share:.1%}, {ratio:.2g} times the smallest"
    if len(present) == 1:
        return Finding(name, FAILED, "one class only", "several", "there is nothing to tell apart", numbers)
    if ratio > 10:
        advice = f"guessing the largest class gives {share:.1%}: weigh classes, and look at more than accuracy"
        return Finding(name, WARNING, measured, "at most 10 times", advice, numbers)
    return Finding(name, PASSED, measured, "at most 10 times", values=numbers)


# Losses --------------------------------------------------------------------------------------------------


def _first_loss(case: _Case) -> Finding:
    name, value = "first loss", case.net.twin().evaluate(case.x, case.y)["data_loss"]
    level = chance(case.net)
    if level is None:
        nothing = np.zeros((len(case.x), *case.net.output_shape), case.net.dtype)
        zero = case.net.loss_function(nothing, case.y)  # type: ignore[misc]  # preflight has seen to it
        measured = f"{value:.4g}; {zero:.4g} for an output of 0"
        if not math.isfinite(value):
            return Finding(
                name, FAILED, measured, "finite", "the net overflows: smaller weights or input", {"loss": value}
            )
        loss = type(case.net.loss_function).__name__
        return Finding(name, SKIPPED, measured, f"{loss} has no value of chance", values={"loss": value, "zero": zero})
    ratio = value / level[0]
    expected = f"{level[0]:.4g}, chance ({level[1]})"
    numbers = {"loss": value, "chance": level[0]}
    if 0.75 <= ratio <= 1.25:
        return Finding(name, PASSED, f"{value:.4g}", expected, values=numbers)
    if ratio < 0.75:
        advice = "better than chance before training: is it trained, or are the labels among the features?"
    else:
        advice = "the net is sure of itself before it has seen anything: smaller weights in the last layer"
    return Finding(name, WARNING if 0.5 <= ratio <= 2 else FAILED, f"{value:.4g}", expected, advice, numbers)


def _penalties(case: _Case) -> Finding:
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
    if not weights:
        advice = "no parameter is tagged for penalties (Param(decay=True))"
        return Finding(name, WARNING, measured, "it rises", advice, numbers)
    if not any(w.any() for w in weights):
        return Finding(name, WARNING, measured, "it rises", "all weights are 0", numbers)
    # The two losses are sums of the same data loss, which need not be small beside the penalty.
    off = abs(with_penalty - without - penalty) > 1e-3 * penalty + 1e-6 * abs(without)
    if not with_penalty > without or off:
        advice = "the objective does not hold the penalty of its weights"
        return Finding(name, FAILED, measured, f"it rises by {penalty:.4g}", advice, numbers)
    if given and penalty > without:
        advice = "the penalty outweighs the data: the gradient may be that of the penalty alone"
        return Finding(name, WARNING, measured, f"it rises by {penalty:.4g}", advice, numbers)
    return Finding(name, PASSED, measured, f"it rises by {penalty:.4g}", values=numbers)


# Training ------------------------------------------------------------------------------------------------


def _train(
    net: Net, data: Data, rule: Rule, lr: float, steps: int, batch_size: int, seed: int, enough: float = -math.inf
) -> float:
    """The last step's loss, infinite if it stopped being finite; ends early once it is at most ``enough``."""
    batches = Batches(data, batch_size, seed=seed, dtype=net.dtype)
    optimizer, loss = Optimizer(net, rule), math.inf
    for _ in range(steps):
        with np.errstate(over="ignore", invalid="ignore"):
            loss = net.loss_and_grads(*batches.next())
        if not math.isfinite(loss) or not np.isfinite(net.grads).all():
            return math.inf
        if loss <= enough:
            break
        optimizer.step(lr)
    return loss


def _gradients(case: _Case) -> Finding:
    name, twin, expected = "gradients", case.net.twin(), "backprop equals differences"
    if not math.isfinite(_train(twin, case.part(_SAMPLES), case.rule, case.lr, _BURN_IN, _BATCH, case.seed)):
        return _not_finite(case, name, _BURN_IN)
    mode = "all" if twin.params.size <= _COORDINATES else "directions"
    checked = check_net(twin, *case.part(3), mode=mode, inputs=False, seed=case.seed)
    how = f"{twin.params.size:,} coordinates" if mode == "all" else f"directions over {twin.params.size:,} parameters"
    measured, worst = f"{checked.verdict}, {how}, after {_BURN_IN} steps", checked.worst
    numbers = {"verdict": checked.verdict, "worst": worst.name}
    if checked.passed:
        return Finding(name, PASSED, measured, expected, values=numbers)
    if checked.verdict == "wrong":
        return Finding(name, FAILED, measured, expected, f"{VERDICTS['wrong']}: {worst}", numbers)
    if _rate_at_fault(case):
        return Finding(name, SKIPPED, measured, expected, _RATE, numbers)
    return Finding(name, WARNING, measured, expected, f"{VERDICTS[checked.verdict]} ({worst})", numbers)


def _not_finite(case: _Case, name: str, steps: int) -> Finding:
    """What a check says for which training diverged; only once, where the rate is at fault."""
    measured, expected = f"loss not finite within {steps} steps", "a finite loss"
    if _rate_at_fault(case):
        return Finding(name, SKIPPED, measured, expected, _RATE)
    return Finding(name, FAILED, measured, expected, "a lower rate")


def _overfitting(case: _Case) -> Finding:
    name = "overfitting"
    x, y = _of_all_classes(case)
    loss_function = case.net.loss_function
    if isinstance(loss_function, SoftmaxCrossEntropy):
        loss_function = replace(loss_function, label_smoothing=0.0)
    level = chance(case.net)
    rates, steps = _FITTING
    best, first = math.inf, math.nan
    for rate in rates:
        twin = rewired(case.net, _without_noise, loss_function)
        first = level[0] if level else twin.loss(x, y)
        best = min(best, _train(twin, (x, y), Adam(), rate, steps, len(x), case.seed, enough=0.001 * first))
        if best <= 0.01 * first:
            break
    measured, expected = f"{case.few} samples to a loss of {best:.2g}", f"near 0, at most 1 % of {first:.3g}"
    numbers = {"loss": best, "first": first}
    if best <= 0.01 * first:
        return Finding(name, PASSED, measured, expected, values=numbers)
    advice = (
        "the net cannot learn even these: look for a wrong backward pass, dead units, a bottleneck, or equal samples "
        "with different labels"
    )
    return Finding(name, WARNING if best <= 0.1 * first else FAILED, measured, expected, advice, numbers)


def _of_all_classes(case: _Case) -> Data:
    """``few`` samples, as evenly from all classes as can be."""
    labels = case.labels
    if labels is None:
        return case.part(case.few)
    # How many of its class came before each sample: first all that are the first of their class, and so on.
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange((labels == label).sum())
    chosen = np.argsort(rank, kind="stable")[: case.few]
    return case.x[chosen], case.y[chosen]


def _without_noise(name: str, layer: Layer) -> Layer:
    return replace(layer, rate=0.0) if isinstance(layer, (Dropout, SpatialDropout)) else layer


def _control(case: _Case) -> Finding:
    name = "shuffled labels"
    shuffled = np.random.default_rng((case.seed, 1)).permutation(len(case.y))
    if len(case.y) < 20:
        return Finding(name, SKIPPED, f"{len(case.y)} samples", "at least 20, to hold some back")
    if (case.y == case.y[:1]).all():
        return Finding(name, SKIPPED, "all targets are the same", "targets that shuffling changes")
    steps, batch_size = _CONTROL
    measures = {}
    for kind, y in (("real", case.y), ("shuffled", case.y[shuffled])):
        train, held_out = split((case.x, y), (0.8, 0.2), seed=case.seed)
        twin = case.net.twin()
        if not math.isfinite(_train(twin, train, case.rule, case.lr, steps, batch_size, case.seed)):
            return _not_finite(case, name, steps)
        measures[kind] = twin.evaluate(*held_out)
    n, real, other = len(held_out[0]), measures["real"], measures["shuffled"]
    if "accuracy" in real:
        a, b = real["accuracy"], other["accuracy"]
        # Three standard errors of the difference of two shares, each smoothed by one success and one failure.
        noise = 3 * math.sqrt(sum(p * (1 - p) / n for p in ((a * n + 1) / (n + 2), (b * n + 1) / (n + 2))))
        better, numbers = a - b > noise, {"real": a, "shuffled": b, "noise": noise}
        measured = f"{steps} steps: {a:.1%} of {n} held-out samples with real labels, {b:.1%} with shuffled ones"
        expected = f"real at least {100 * noise:.0f} points better"
    else:
        a, b = real["data_loss"], other["data_loss"]
        better, numbers = a < 0.7 * b, {"real": a, "shuffled": b}
        measured = f"{steps} steps: held-out loss {a:.3g} with real targets, {b:.3g} with shuffled ones"
        expected = "real at most 0.7 times the other"
    if better:
        return Finding(name, PASSED, measured, expected, values=numbers)
    if _rate_at_fault(case):
        return Finding(name, SKIPPED, measured, expected, _RATE, numbers)
    advice = (
        "what is learned of these labels is no more than of random ones: are x and y in the same order? Or the rate "
        "does not suit"
    )
    return Finding(name, FAILED, measured, expected, advice, numbers)


# Scales --------------------------------------------------------------------------------------------------


def _variances(case: _Case) -> Finding:
    name, table = "variance by layer", variance_by_layer(case.net, *case.part(256))
    kinds = {kind.__name__ for kind in LINEAR}
    linear = [layer for layer in table.layers if layer.kind in kinds]
    if not linear:
        return Finding(name, SKIPPED, "no Dense or convolution")
    forward = [table.layers[0].variance, *(layer.variance for layer in linear)]
    backward = [layer.gradient_variance for layer in linear]
    numbers = {"forward": forward, "backward": backward, "layers": [layer.name for layer in linear]}
    expected = "activations within a factor 100, gradients 10,000"
    constant = [layer.name for layer in table.layers if not layer.variance > 0]
    ended = constant == [linear[-1].name] and not np.any(case.net.named_parameters()[f"{constant[0]}.W"])
    if constant and not ended:
        measured = f"layer {constant[0]} gives the same for all samples"
        return Finding(name, FAILED, measured, expected, "a dead layer: look at its weights, biases and input", numbers)
    if ended:
        advice = "the last layer starts at 0, so what is below learns from the second step on"
        return Finding(name, WARNING, "the last layer's weights are 0", expected, advice, numbers)
    if min(backward) == 0:
        place = next(layer.name for layer in reversed(linear) if layer.gradient_variance == 0)
        advice = "nothing below it learns: dead units, or a backward pass that fills in zeros"
        return Finding(name, FAILED, f"no gradient reaches layer {place}", expected, advice, numbers)
    if not np.isfinite([*forward, *backward]).all():
        return Finding(name, FAILED, "variances overflow", expected, "smaller weights or input", numbers)
    wide, deep = max(forward) / min(forward), max(backward) / min(backward)
    measured = (
        f"activations {min(forward):.2g} to {max(forward):.2g}, gradients {min(backward):.2g} to {max(backward):.2g}"
    )
    if wide <= 100 and deep <= 1e4:
        return Finding(name, PASSED, measured, expected, values=numbers)
    advice = (
        "see diagnostics.variance_by_layer(net, x, y); He's or Glorot's initialisers, LSUV or normalisation mend it"
    )
    return Finding(name, WARNING if wide <= 1e4 and deep <= 1e8 else FAILED, measured, expected, advice, numbers)


def _update_ratio(case: _Case) -> Finding:
    name, twin = "first update ratio", case.net.twin()
    before = twin.params.astype(np.float64)
    x, y = case.part(_BATCH)
    twin.loss_and_grads(x, y)
    if not np.isfinite(twin.grads).all():
        return Finding(name, FAILED, "gradients not finite", "about 1e-3", "smaller weights or input")
    Optimizer(twin, case.rule).step(case.lr)
    moved = twin.params - before
    ratios = {
        tensor.name: float(np.linalg.norm(moved[part]) / size)
        for tensor in twin.tensors
        if tensor.decay and (size := np.linalg.norm(before[part := slice(tensor.start, tensor.stop)]))
    }
    if not ratios:
        return Finding(name, SKIPPED, "no weights that differ from 0", "about 1e-3")
    still = [t.name for t in twin.tensors if t.name in ratios and not twin.grads[t.start : t.stop].any()]
    if still:
        measured, advice = f"no gradient for {', '.join(still)}", "whatever the rate: see variance by layer"
        return Finding(name, WARNING, measured, "about 1e-3", advice, {"ratios": ratios})
    low, high = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    measured = (
        f"{ratios[low]:.1e} ({low}) to {ratios[high]:.1e} ({high}) with {type(case.rule).__name__} at {case.lr:g}"
    )
    expected = "about 1e-3, 1e-4 to 1e-2"
    numbers: dict[str, Any] = {"ratios": ratios}
    if ratios[low] >= 1e-4 and ratios[high] <= 1e-2:
        return Finding(name, PASSED, measured, expected, values=numbers)
    advice = "a lower rate" if ratios[high] > 1e-2 else "a higher rate, unless a warm-up starts low"
    bad = ratios[high] > 0.1 or ratios[low] < 1e-6
    return Finding(name, FAILED if bad else WARNING, measured, expected, f"try {advice}", numbers)


def _rate_at_fault(case: _Case) -> bool:
    """Whether the first update is so large or so small that what training shows is of no account."""
    finding = _update_ratio(case)
    return finding.verdict == FAILED and "ratios" in finding.values


def _plain(values: Any) -> Any:
    """The same with None for numbers that are not finite, which JSON cannot hold."""
    if isinstance(values, dict):
        return {name: _plain(value) for name, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_plain(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


_CHECKS: dict[str, Callable[[_Case], Finding]] = {
    "class balance": _balance,
    "first loss": _first_loss,
    "regularisation": _penalties,
    "gradients": _gradients,
    "overfitting": _overfitting,
    "shuffled labels": _control,
    "variance by layer": _variances,
    "first update ratio": _update_ratio,
}
