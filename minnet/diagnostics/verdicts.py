"""What a run's curves and monitors say, in sentences.

The borders are rules of thumb, stated here once; the figures beside the sentences are what counts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..history import History
from .monitor import Monitor
from .noise_scale import NoiseScale
from .ratios import TARGET, UpdateRatios
from .sharpness import Sharpness
from .statistics import Statistics
from .units import DeadUnits, Saturation

_PART = 0.1  # of the steps (but no fewer than one): what counts as a run's beginning and its end
_MOVED = 0.05  # a loss that has changed by a smaller share has not moved
_GAP = 0.05  # accuracy that training may be ahead of validation
_WORSE = 1.1  # times the lowest validation loss: what counts as having risen since
_AROUND = 10.0  # the factor by which an update ratio may miss its target
_FEW, _MANY = 0.1, 0.5  # shares of dead units or saturated outputs
_DIVERGED = ("loss nan", "loss inf", "loss -inf", "NaN or infinity", "finite")  # of what a trainer gives as a reason
_APART = 1e3  # the factor by which the gradients of two layers may differ


@dataclass(frozen=True)
class Verdict:
    """One sentence or two; ``level`` is "good", "watch" or "bad"."""

    level: str
    text: str


def verdicts(history: History, monitors: Iterable[Monitor] = (), batch_size: int | None = None) -> list[Verdict]:
    """What can be said of a run so far, worst first. Monitors without a record say nothing."""
    found = [*_of_end(history), *_of_loss(history), *_of_gap(history)]
    for monitor in monitors:
        if not len(monitor):
            continue
        if isinstance(monitor, UpdateRatios):
            found += _of_ratios(monitor)
        elif isinstance(monitor, DeadUnits):
            found += _of_units(monitor)
        elif isinstance(monitor, Saturation):
            found += _of_saturation(monitor)
        elif isinstance(monitor, Statistics):
            found += _of_gradients(monitor)
        elif isinstance(monitor, NoiseScale):
            found += _of_noise(monitor, batch_size)
        elif isinstance(monitor, Sharpness):
            found += _of_sharpness(monitor)
    return sorted(found, key=lambda verdict: ("bad", "watch", "good").index(verdict.level))


def _of_end(history: History) -> Iterator[Verdict]:
    if history.stopped is not None and history.stopped != "finished":
        diverged = any(word in history.stopped for word in _DIVERGED)
        yield Verdict("bad" if diverged else "watch", f"The run ended early: {history.stopped}.")


def _of_loss(history: History) -> Iterator[Verdict]:
    losses = np.array(history.steps["loss"]) if len(history.steps) else np.empty(0)
    few = max(1, round(_PART * len(losses)))
    if len(losses) < 2:
        return
    first, last = float(losses[:few].mean()), float(losses[-few:].mean())
    words = f"from {first:.3g} to {last:.3g}"
    if last > first + _MOVED * abs(first):
        yield Verdict("bad", f"The training loss has risen, {words}: the learning rate is too high.")
    elif last > first - _MOVED * abs(first):
        why = "a rate too low, or so high that it makes no headway. The update ratios tell which"
        yield Verdict("bad", f"The training loss has hardly moved, {words}: {why}.")
    else:
        third, fourth = (float(part.mean()) for part in np.array_split(losses, 4)[2:])
        falling = fourth < third - _MOVED * abs(first - last)
        course = "is still falling: more steps would help" if falling else "has levelled off"
        yield Verdict("good", f"The training loss has fallen, {words}, and {course}.")


def _of_gap(history: History) -> Iterator[Verdict]:
    if "val_loss" not in history:
        yield Verdict("watch", "There is no validation, so overfitting would not be seen.")
        return
    losses = np.array(history["val_loss"], float)
    best = int(np.argmin(losses))
    if losses[-1] > _WORSE * losses[best]:
        yield Verdict(
            "watch",
            f"The validation loss was lowest in epoch {history['epoch'][best]} ({losses[best]:.3g}) and has risen to "
            f"{losses[-1]:.3g}: overfitting. Stop there, or regularise more.",
        )
    if "val_accuracy" in history and "accuracy" in history:
        training, validation = history["accuracy"][-1], history["val_accuracy"][-1]
        gap = training - validation
        words = f"Accuracy is {training:.1%} in training, {validation:.1%} in validation, {100 * gap:.1f} points apart"
        if gap > _GAP:
            yield Verdict("watch", f"{words}: the net overfits. Regularise more, or find more data.")
        else:
            yield Verdict("good", f"{words}: no overfitting. If it is too low, a larger net may do better.")


def _recent(values: np.ndarray) -> float:
    """Median of the last quarter of the records, without those that are NaN."""
    part = values[-max(1, len(values) // 4) :]
    return float(np.median(part[np.isfinite(part)])) if np.isfinite(part).any() else float("nan")


def _of_ratios(monitor: UpdateRatios) -> Iterator[Verdict]:
    ratio = _recent(monitor.median())
    words = f"An update is {ratio:.1e} of the weights (aim: about {TARGET:.0e})"
    if ratio > TARGET * _AROUND:
        yield Verdict("bad", f"{words}: the learning rate is likely too high.")
    elif ratio < TARGET / _AROUND:
        yield Verdict(
            "watch",
            f"{words}: the learning rate is likely too low, unless it is meant to die away or the units have died.",
        )
    elif np.isfinite(ratio):
        yield Verdict("good", f"{words}: the learning rate suits.")


def _of_units(monitor: DeadUnits) -> Iterator[Verdict]:
    shares = {place: float(share[-1]) for place, share in monitor.share().items()}
    if not shares:
        return
    dead, units = (sum(int(f(monitor[place][-1])) for place in shares) for f in (np.sum, np.size))
    kinds = [event.kind for event in monitor.events()]
    history = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("dead at the start", "died", "revived"))
    worst = max(shares, key=shares.__getitem__)
    words = f"{dead} of {units} ReLU units are dead over the whole data set ({history})"
    if shares[worst] > _FEW:
        level = "bad" if shares[worst] > _MANY else "watch"
        advice = "try a lower rate, or LeakyReLU"
        yield Verdict(level, f"{words}, and {shares[worst]:.0%} of those of layer {worst}: {advice}.")
    else:
        yield Verdict("good", f"{words}.")


def _of_saturation(monitor: Saturation) -> Iterator[Verdict]:
    shares = {place: float(monitor[place][-1]) for place in monitor.names()}
    if not shares:
        return
    worst = max(shares, key=shares.__getitem__)
    words = f"Of the outputs of layer {worst}, {shares[worst]:.0%} are saturated"
    if shares[worst] > _FEW:
        level = "bad" if shares[worst] > _MANY else "watch"
        yield Verdict(level, f"{words}: little gradient passes. Smaller weights or normalisation help.")
    else:
        yield Verdict("good", f"{words}, more than of any other layer: the gradient passes.")


def _of_gradients(monitor: Statistics) -> Iterator[Verdict]:
    sizes = {
        name: float(std[-1])
        for name, std in monitor.of("gradients", "std").items()
        if monitor.labels.get(f"gradients {name}") == "weights"
    }
    if len(sizes) < 2:
        return
    small, large = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    words = f"Gradients of the weights have standard deviations from {sizes[small]:.1e} ({small}) to {sizes[large]:.1e}"
    if sizes[large] > _APART * sizes[small]:
        yield Verdict("watch", f"{words} ({large}): they vanish or explode on the way. See to the initial weights.")
    else:
        yield Verdict("good", f"{words} ({large}): they neither vanish nor explode.")


def _of_noise(monitor: NoiseScale, batch_size: int | None) -> Iterator[Verdict]:
    scale = _recent(monitor.scale())
    if not np.isfinite(scale):
        yield Verdict("watch", "With so few samples the gradient cannot be told from its noise.")
    else:
        size = "" if batch_size is None else f" The run's batches have {batch_size} samples."
        yield Verdict("good", f"Noise and gradient are of one size in batches of {scale:.3g} samples.{size}")


def _of_sharpness(monitor: Sharpness) -> Iterator[Verdict]:
    value, lr = (float(monitor[name][-1]) for name in ("sharpness", "lr"))
    bound = f"up to a rate of {2 / value:.2g}" if value > 0 else "at any rate"
    yield Verdict("good", f"Sharpness is {value:.3g}: plain gradient descent is stable {bound}. The rate is {lr:.2g}.")


def worst(found: Iterable[Verdict]) -> Any:
    """The worst level among them: "bad", "watch" or "good"."""
    levels = {verdict.level for verdict in found}
    return next((level for level in ("bad", "watch") if level in levels), "good")
