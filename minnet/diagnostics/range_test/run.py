"""``lr_range_test``: train copies of a net with a learning rate that rises from step to step."""

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...base import checks
from ...base.guide import guided
from ...data import Augment, Data, Standardizer
from ...net.net import Net
from ...optim.groups import Group
from ...optim.rules import SGD, Rule
from ...training.inputs import WeightedData
from ...training.trainer import Trainer
from .result import MONITORS, RangeTest

_READINGS = 10  # least number of readings that can show regimes


@guided
def lr_range_test(
    net: Net,
    data: Data,
    *,
    rule: Rule | None = None,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    spacing: str = "exponential",
    monitor: str = "loss",
    smooth: float = 0.9,
    validation: Data | WeightedData | None = None,
    every: int = 5,
    stop: float = 4.0,
    batch_size: int = 100,
    seed: int = 0,
    seeds: int = 1,
    drop_last: bool = False,
    augment: Augment | None = None,
    standardize: Standardizer | None = None,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    groups: Iterable[Group] = (),
    progress: bool | None = None,
) -> RangeTest:
    """Train a copy of ``net`` with learning rates from ``low`` to ``high``, and record how well it learns at each.

    Args:
        net: network built with a loss. It does not change. The copy starts from its present weights and needs the same
            amount of memory again.
        data: training data (x, y).
        rule: update rule with fresh state; None for SGD.
        low, high: first and last learning rate, 0 < low < high.
        steps: number of learning rates, at least 10.
        spacing: ``"exponential"`` (rates of equal ratio) or ``"linear"`` (rates of equal difference).
        monitor: quantity to record. ``"loss"`` and ``"accuracy"`` are those of each step's batch, before its update;
            ``"val_loss"`` and ``"val_accuracy"`` are measured after the update. Losses include the penalties.
        smooth: weight of the bias-corrected moving average of readings of batches (see ``moving_average``); 0 for no
            smoothing. Validation readings are not smoothed.
        validation: data (x, y) or (x, y, sample_weight), for the monitors that need them.
        every: number of steps between validations.
        stop: divergence limit. The run of a seed ends when its smoothed training loss exceeds ``stop`` times the lowest
            so far (if that is above 0), or when a loss, a reading or a gradient norm to clip is not finite. Infinity
            disables the first condition.
        batch_size, drop_last, augment, standardize, weight_decay, clip_norm, groups: as in ``Trainer``. A group with
            its own ``lr`` keeps it; a group with ``lr_factor`` follows the test.
        seed, seeds: first seed and number of seeds. The runs have the seeds ``seed``, ``seed + 1``, ..., which fix the
            order of the data and the layers' noise. All start with the same weights, buffers and ``net.step``.
        progress: whether to show a progress bar; None shows one on a terminal and in a
            notebook.

    Returns:
        A ``RangeTest``.

    Raises:
        TypeError, ValueError: for bad arguments, before the first step.
    """
    _refuse_line_search(rule)
    rates = _rates(low, high, steps, spacing)
    test = _Test(rates, monitor, _reading_steps(len(rates), monitor, validation, every), smooth, stop)
    options = {
        "rule": SGD() if rule is None else rule,
        "lr": low,
        "batch_size": batch_size,
        "drop_last": drop_last,
        "steps": len(rates),
        "augment": augment,
        "standardize": standardize,
        "validation": validation,
        "weight_decay": weight_decay,
        "clip_norm": clip_norm,
        "groups": tuple(groups) if isinstance(groups, Iterable) else groups,  # read by every seed's trainer
    }
    runs = _trainers(net, data, monitor, seed, seeds, options)
    return _climbed(test, runs, seeds, progress, repr(options["rule"]))


def _refuse_line_search(rule: Any) -> None:
    if isinstance(rule, Rule) and rule.searches:
        raise ValueError(
            f"lr_range_test: expected a rule that moves by its rate; got {rule}, which searches along a line for the "
            "length of each step. Its lr is only where the search begins: leave it at 1.0"
        )


def _climbed(test: "_Test", runs: Iterable[Trainer], seeds: int, progress: bool | None, rule: str) -> RangeTest:
    """Train one run after another, and collect what they read."""
    from tqdm.auto import tqdm

    losses, readings = np.full((seeds, len(test.rates)), np.nan), np.full((seeds, len(test.at)), np.nan)
    with tqdm(total=losses.size, unit="step", disable=None if progress is None else not progress) as bar:
        stopped = tuple(test.climb(run, losses[i], readings[i], bar) for i, run in enumerate(runs))
    return RangeTest(test.rates, losses, test.monitor, test.at, readings, stopped, test.smooth, rule)


def _trainers(net: Net, data: Data, monitor: str, seed: int, seeds: int, options: dict[str, Any]) -> Iterator[Trainer]:
    """Check what the runs have in common by making the first trainer; make the others when they are asked for."""
    first = checks.count("lr_range_test", "seed", seed, least=0)
    numbers = range(first, first + checks.count("lr_range_test", "seeds", seeds))
    if not isinstance(net, Net):
        raise TypeError(f"lr_range_test: expected a Net; got {net!r}")
    run = _trainer(net, data, first, options)
    if monitor.endswith("accuracy") and "accuracy" not in run.net.evaluate(data[0][:1], data[1][:1]):
        raise ValueError(
            f"lr_range_test: expected a loss that classifies to read {monitor}; got {type(net.loss_function).__name__}"
        )
    return (run if number == first else _trainer(net, data, number, options) for number in numbers)


def _trainer(net: Net, data: Data, seed: int, options: dict[str, Any]) -> Trainer:
    """Return the trainer of one run. Its loop is not used, because a run that diverges is no error in a range test."""
    with warnings.catch_warnings():
        # The rule's schedules may be those of the later run, which is longer than the test.
        warnings.filterwarnings("ignore", "Trainer: expected a schedule of")
        return Trainer(net.twin(seed=seed), data, seed=seed, **options)


@dataclass(frozen=True)
class _Test:
    """The plan of a range test.

    Attributes:
        rates: learning rate of each step.
        monitor: quantity that is read.
        at: steps, counted from 0, at which it is read.
        smooth: weight of the moving average.
        stop: divergence limit, in units of the lowest smoothed loss.
    """

    rates: np.ndarray
    monitor: str
    at: np.ndarray
    smooth: float
    stop: float

    def __post_init__(self) -> None:
        checks.fraction("lr_range_test", "smooth", self.smooth)
        if self.stop != math.inf and checks.number("lr_range_test", "stop", self.stop) <= 1:
            raise ValueError(f"lr_range_test: expected stop above 1; got {self.stop!r}")

    def climb(self, run: Trainer, losses: np.ndarray, readings: np.ndarray, bar: Any) -> int | None:
        """Train with one rate per step and fill ``losses`` (steps,) and ``readings`` (len(at),).

        Returns:
            The step at which the run diverged, or None.
        """
        net, places = run.net, {int(step): place for place, step in enumerate(self.at)}
        mean, lowest = 0.0, math.inf
        for step, rate in enumerate(self.rates):
            x, y = run.batches.next()
            with np.errstate(over="ignore", invalid="ignore"):
                losses[step] = loss = net.loss_and_grads(x, y)
                if self.monitor == "loss":
                    readings[step] = loss
                elif self.monitor == "accuracy":
                    readings[step] = (net.correct(y) or 0) / net.counted(y)
                mean = self.smooth * mean + (1 - self.smooth) * loss
                average = mean / (1 - self.smooth ** (step + 1))
                lowest = min(lowest, average)
                if not math.isfinite(loss) or (lowest > 0 and average > self.stop * lowest):
                    return step
                try:
                    run.optimizer.step(float(rate))
                except FloatingPointError:
                    return step
                if run.validation is not None and step in places:
                    with run.optimizer.evaluating():  # at the weights that the rule evaluates with
                        measured = net.evaluate(*run.validation, sample_weight=run.validation_weight)
                    readings[places[step]] = measured[self.monitor.removeprefix("val_")]
                    if not math.isfinite(measured["loss"]):
                        return step
            bar.update()
            if not bar.disable and step % 20 == 0:
                bar.set_postfix(loss=f"{loss:.4g}", lr=f"{rate:.3g}", refresh=False)
        return None


def _rates(low: Any, high: Any, steps: Any, spacing: Any) -> np.ndarray:
    low, high = checks.positive("lr_range_test", "low", low), checks.positive("lr_range_test", "high", high)
    if low >= high:
        raise ValueError(f"lr_range_test: expected low < high; got low={low}, high={high}")
    steps = checks.count("lr_range_test", "steps", steps, least=_READINGS)
    if spacing not in ("exponential", "linear"):
        raise ValueError(f"lr_range_test: expected spacing to be 'exponential' or 'linear'; got {spacing!r}")
    return np.geomspace(low, high, steps) if spacing == "exponential" else np.linspace(low, high, steps)


def _reading_steps(steps: int, monitor: Any, validation: Any, every: Any) -> np.ndarray:
    """Return the steps, counted from 0, at which ``monitor`` is read."""
    if monitor not in MONITORS:
        raise ValueError(f"lr_range_test: expected monitor to be one of {MONITORS}; got {monitor!r}")
    every = checks.count("lr_range_test", "every", every)
    if not monitor.startswith("val_"):
        if validation is not None:
            raise ValueError(f"lr_range_test: expected no validation to read {monitor!r}; got some")
        return np.arange(steps)
    if validation is None:
        raise ValueError(f"lr_range_test: expected validation=(x, y) to read {monitor!r}; got None")
    if steps // every < _READINGS:
        raise ValueError(
            f"lr_range_test: expected at least {_READINGS} validations; got {steps // every}, "
            f"steps={steps} every {every}"
        )
    return np.arange(every - 1, steps, every)
