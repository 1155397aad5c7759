"""Verdicts on a run: sentences that interpret its curves and monitors.

The limits here are rules of thumb. The figures beside the sentences matter more.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..training.history import History
from .chance import Baseline
from .monitor import Monitor
from .noise_scale import NoiseScale
from .ratios import TARGET, UpdateRatios
from .sharpness import Sharpness
from .statistics import Statistics
from .units import DeadUnits, Saturation

_PART = 0.1  # share of the steps that counts as a run's start, and as its end; at least one step
_MOVED = 0.05  # a loss that changed by a smaller share counts as unchanged
_GAP = 0.05  # difference of training and validation accuracy without overfitting
_WORSE = 1.1  # ratio to the lowest validation loss above which the loss has risen
_AROUND = 10.0  # the factor by which an update ratio may miss its target
_FEW, _MANY = 0.1, 0.5  # shares of dead units or saturated outputs
_DIVERGED = ("loss nan", "loss inf", "loss -inf", "NaN or infinity", "finite")  # in the reason that a trainer states
_VAGUE = 0.5  # residual above which a sharpness means little
_APART = 1e3  # largest tolerable ratio of the gradients of two layers


@dataclass(frozen=True)
class Verdict:
    """A verdict on a run.

    Attributes:
        level: ``"good"``, ``"watch"`` or ``"bad"``.
        text: one or two sentences.
    """

    level: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.text}"


def verdicts(
    history: History,
    monitors: Iterable[Monitor] = (),
    batch_size: int | None = None,
    baseline: Baseline | None = None,
) -> list[Verdict]:
    """Interpret a run so far.

    Args:
        history: history of the run.
        monitors: monitors of the run; those without a record are ignored.
        batch_size: batch size of the run, for a sentence on the noise scale.
        baseline: loss and accuracy of a net that has learned nothing, with which the run is compared. None for the
            loss of the first step.

    Returns:
        A list of verdicts, worst first. Among equal levels, causes come before their effects.
    """
    monitors = [monitor for monitor in monitors if len(monitor)]
    learned = _learned(history, baseline)
    dead = any(isinstance(m, DeadUnits) and max(_dead(m).values(), default=0.0) > _MANY for m in monitors)
    units = [verdict for monitor in monitors if isinstance(monitor, DeadUnits) for verdict in _of_units(monitor)]
    found = [*_of_end(history), *(units if dead else ())]
    found += [*_of_loss(history, baseline, learned), *_of_accuracy(history, baseline, learned)]
    found += _of_gap(history, learned)
    for monitor in monitors:
        if isinstance(monitor, UpdateRatios):
            found += _of_ratios(monitor, dead)
        elif isinstance(monitor, Saturation):
            found += _of_saturation(monitor)
        elif isinstance(monitor, Statistics):
            found += _of_gradients(monitor, learned)
        elif isinstance(monitor, NoiseScale):
            found += _of_noise(monitor, batch_size)
        elif isinstance(monitor, Sharpness):
            found += _of_sharpness(monitor)
    found += () if dead else units
    return sorted(found, key=lambda verdict: ("bad", "watch", "good").index(verdict.level))


def _ends(history: History) -> tuple[float, float]:
    """Return the mean loss of the first and of the last steps."""
    losses = np.array(history.steps["loss"])
    few = max(1, round(_PART * len(losses)))
    return float(losses[:few].mean()), float(losses[-few:].mean())


def _accuracies(history: History) -> list[str]:
    """Return the names of the existing columns of training and validation accuracy."""
    return [column for column in (history.training("accuracy"), "val_accuracy") if column in history]


def _learned(history: History, baseline: Baseline | None) -> bool:
    """Return whether the run has learned anything, by its accuracy or else by its loss."""
    if len(history.steps) < 2:
        return False
    if baseline is not None and baseline.accuracy is not None and "accuracy" in history:
        # Validation counts too: dropout and augmentation keep the accuracy in training down.
        reached = max(history[column][-1] for column in _accuracies(history))
        return bool(reached > baseline.accuracy + _MOVED * (1 - baseline.accuracy))
    start = history.steps["loss"][0] if baseline is None else baseline.loss
    return bool(_ends(history)[1] < start - _MOVED * abs(start))


def _of_end(history: History) -> Iterator[Verdict]:
    if history.stopped is not None and history.stopped != "finished":
        diverged = any(word in history.stopped for word in _DIVERGED)
        yield Verdict("bad" if diverged else "watch", f"The run ended early: {history.stopped}.")


def _of_loss(history: History, baseline: Baseline | None, learned: bool) -> Iterator[Verdict]:
    losses = np.array(history.steps["loss"]) if len(history.steps) else np.empty(0)
    if len(losses) < 2:
        return
    (first, last), start = _ends(history), float(losses[0])
    words = f"from {first:.3g} to {last:.3g}"
    if last > first + _MOVED * abs(first):
        yield Verdict("bad", f"The training loss has risen, {words}: the learning rate is too high.")
    elif last > start + abs(start) and not learned:
        peak = losses.max()
        words = f"from {start:.3g} at the first step to {last:.3g}, by way of {peak:.3g}"
        yield Verdict("bad", f"The training loss has risen, {words}: the learning rate is too high.")
    elif last > first - _MOVED * abs(first):
        why = "a rate too low, or so high that it makes no headway. The update ratios tell which"
        yield Verdict("bad", f"The training loss has hardly moved, {words}: {why}.")
    else:
        third, fourth = (float(part.mean()) for part in np.array_split(losses, min(4, len(losses)))[-2:])
        falling = fourth < third - _MOVED * abs(first - last)
        course = "is still falling: more steps would help" if falling else "has levelled off"
        if baseline is not None and last > baseline.loss * (1 - _MOVED) and not learned:
            level = "watch" if falling else "bad"
            nothing = f"but one and the same answer to every sample gives {baseline.loss:.3g}: nothing is learned yet"
            yield Verdict(level, f"The training loss has fallen, {words}, and {course}, {nothing}.")
        else:
            yield Verdict("good", f"The training loss has fallen, {words}, and {course}.")


def _of_accuracy(history: History, baseline: Baseline | None, learned: bool) -> Iterator[Verdict]:
    if baseline is None or baseline.accuracy is None or "accuracy" not in history or learned:
        return
    reached = history[history.training("accuracy")][-1]
    yield Verdict(
        "bad",
        f"Accuracy is {reached:.1%} in training, and {baseline.accuracy:.1%} would be right by always "
        "answering the most frequent class: nothing is learned yet.",
    )


def _of_gap(history: History, learned: bool) -> Iterator[Verdict]:
    if "val_loss" not in history:
        yield Verdict("watch", "There is no validation, so overfitting would not be seen.")
        return
    if not learned:  # there is nothing that could be overfitted
        return
    losses = np.array(history["val_loss"], float)
    best = int(np.argmin(np.where(np.isnan(losses), np.inf, losses)))
    if losses[-1] > _WORSE * losses[best]:
        yield Verdict(
            "watch",
            f"The validation loss was lowest in epoch {history['epoch'][best]} ({losses[best]:.3g}) and has risen to "
            f"{losses[-1]:.3g}: overfitting. Stop there, or regularise more.",
        )
    if "val_accuracy" in history and "accuracy" in history:
        training, validation = (history[column][-1] for column in _accuracies(history))
        gap = training - validation
        words = f"Accuracy is {training:.1%} in training, {validation:.1%} in validation, {100 * gap:.1f} points apart"
        if gap > _GAP:
            yield Verdict("watch", f"{words}: the net overfits. Regularise more, or find more data.")
        else:
            yield Verdict("good", f"{words}: no overfitting. If it is too low, a larger net may do better.")


def _recent(values: np.ndarray) -> float:
    """Return the median of the finite values in the last quarter of the records."""
    part = values[-max(1, len(values) // 4) :]
    return float(np.median(part[np.isfinite(part)])) if np.isfinite(part).any() else float("nan")


def _of_ratios(monitor: UpdateRatios, dead: bool) -> Iterator[Verdict]:
    ratio = _recent(monitor.median())
    words = f"An update is {ratio:.1e} of the weights (aim: about {TARGET:.0e})"
    if dead:
        yield Verdict("watch", f"{words}, but with so many dead units that says nothing of the learning rate.")
    elif ratio > TARGET * _AROUND:
        yield Verdict("bad", f"{words}: the learning rate is likely too high.")
    elif ratio < TARGET / _AROUND:
        yield Verdict("watch", f"{words}: the learning rate is likely too low, unless it is meant to die away.")
    elif np.isfinite(ratio):
        yield Verdict("good", f"{words}: the learning rate suits.")


def _dead(monitor: DeadUnits) -> dict[str, float]:
    """Return the share of dead units of each layer at the last record."""
    return {place: float(share[-1]) for place, share in monitor.share().items()}


def _of_units(monitor: DeadUnits) -> Iterator[Verdict]:
    shares = _dead(monitor)
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


def _of_gradients(monitor: Statistics, learned: bool) -> Iterator[Verdict]:
    sizes = {
        name: float(std[-1])
        for name, std in monitor.of("gradients", "std").items()
        if monitor.labels.get(f"gradients {name}") == "weights"
    }
    still = [name for name, size in sizes.items() if size == 0]
    if still:
        why = "nothing there learns any more" if learned else "nothing there learns, as with dead units or no input"
        yield Verdict("watch" if learned else "bad", f"Gradients of the weights {', '.join(still)} are all 0: {why}.")
        return
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
    value, residual, lr = (float(monitor[name][-1]) for name in ("sharpness", "residual", "lr"))
    if not residual <= _VAGUE:
        yield Verdict("watch", f"Sharpness was not found in {monitor.iterations} iterations: give it more.")
        return
    bound = f"up to a rate of {2 / value:.2g}" if value > 0 else "nowhere, as the loss curves down in all directions"
    yield Verdict("good", f"Sharpness is {value:.3g}: plain gradient descent is stable {bound}. The rate is {lr:.2g}.")


def worst(found: Iterable[Verdict]) -> Any:
    """Return the worst level of these verdicts: "bad", "watch" or "good"."""
    levels = {verdict.level for verdict in found}
    return next((level for level in ("bad", "watch") if level in levels), "good")
