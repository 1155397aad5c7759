"""The learning-rate range test: train with a rate that rises from step to step, and read off where it helps and harms.

Smith 2017, "Cyclical learning rates for training neural networks", section 3.3. The test works on a copy of the net,
with a rule state, an order of the data and noise of its own, so that a run in the middle of which it is made cannot
notice.
"""

import json
import math
import warnings
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from . import checks
from .data import Augment, Data, Standardizer
from .files import write_whole
from .groups import Group
from .net import Net
from .rules import SGD, Rule
from .train import Trainer

MONITORS = ("loss", "accuracy", "val_loss", "val_accuracy")
_PART = 0.1  # of the whole fall: what counts as having begun, as having slowed down, and as rising again
_NOISE = 4  # standard deviations of a smoothed reading that noise is granted
_LEAST = 0.01  # a fall of a smaller part of the first readings is none
_APART = 3.0  # the factor beyond which two suggestions disagree
_READINGS = 10  # fewer show no regimes


def moving_average(values: np.ndarray, weight: float) -> np.ndarray:
    """Exponential moving average along the last axis, corrected for its start from 0, in a new float64 array.

    m = weight * m + (1 - weight) * v; the average is m / (1 - weight^t), t = 1, 2, ... Weight 0 changes nothing.
    """
    averages = np.array(values, np.float64)
    mean = np.zeros(averages.shape[:-1])
    for t in range(averages.shape[-1]):
        mean = weight * mean + (1 - weight) * averages[..., t]
        averages[..., t] = mean / (1 - weight ** (t + 1))
    return averages


@dataclass(frozen=True)
class _Shape:
    """Where a curve begins to fall, is lowest and rises for good, as indices; and the suggestions, as log rates.

    Without a fall ``start`` is None, and so are the suggestions; ``rise`` is the number of readings if there is none.
    """

    start: int | None
    rise: int
    steepest: float | None = None
    valley: float | None = None
    base: float | None = None
    max: float | None = None


def _read_shape(x: np.ndarray, raw: np.ndarray, curve: np.ndarray, weight: float) -> _Shape:
    """The shape of a curve over log rates x, to be made small; infinite where it diverged.

    ``raw`` are the readings, (n,) or fewer, of which the curve is the moving average.
    """
    head = raw[: max(3, len(curve) // 10)]
    if not np.isfinite(curve[0]):
        return _Shape(None, 0)
    first = float(np.median(head))  # of raw readings: the first averages are over few and all alike
    # Second differences leave a trend alone, their median a few wild readings too.
    deviation = 1.4826 * float(np.median(np.abs(np.diff(raw, 2)))) / math.sqrt(6) if len(raw) > 2 else 0.0
    left = weight ** np.arange(1, len(curve) + 1)
    noise = _NOISE * deviation * np.sqrt((1 - weight) / (1 + weight) * (1 + left) / (1 - left))  # of an average
    noise_of_first = _NOISE * deviation * math.sqrt(math.pi / 2 / len(head))  # of a median
    best = int(np.argmin(curve + noise))
    fall = first - float(curve[best])
    if fall <= max(_LEAST * abs(first), noise[best] + noise_of_first):
        calm = np.flatnonzero(curve <= first + max(_PART * abs(first), noise[-1] + noise_of_first))
        return _Shape(None, int(calm[-1]) + 1 if len(calm) else 0)
    tolerance = max(_PART * fall, float(noise[-1]))
    above = np.flatnonzero(curve[:best] >= first - tolerance)
    start = int(above[-1]) + 1 if len(above) else 0
    rise = int(np.flatnonzero(curve <= curve[best] + tolerance)[-1]) + 1
    # From the start on: the first reading at which the curve slows down or, earlier, the lowest before it is ragged.
    slow = start + int(np.argmax(curve[start:] <= curve[best] + tolerance))
    lowest = np.minimum.accumulate(curve[start : slow + 1])
    ragged = np.flatnonzero(curve[start : slow + 1] > lowest + tolerance)
    end = start + int(np.argmin(curve[start : start + ragged[0]])) if len(ragged) else slow
    return _Shape(start, rise, _steepest(x, curve, start, rise), _valley(x, curve), float(x[start]), float(x[end]))


def _steepest(x: np.ndarray, curve: np.ndarray, start: int, rise: int) -> float:
    """Log rate where the curve falls fastest: the middle of the tenth of it whose regression line is steepest.

    A line through a tenth of the readings, since the slope between two is mostly noise.
    """
    width = min(max(3, len(curve) // 10), rise)
    lines = []
    for begin in range(rise - width + 1):
        part = slice(begin, begin + width)
        at, values = x[part] - x[part].mean(), curve[part]
        if begin + width // 2 >= start and np.isfinite(values).all():
            lines.append((float(at @ values / (at @ at)), float(x[part].mean())))
    return min(lines)[1] if lines else float(x[start])


def _valley(x: np.ndarray, curve: np.ndarray) -> float:
    """Log rate in the middle of the longest valley, as fastai defines it.

    Of all strictly decreasing subsequences of the readings take the longest, the one that ends first if several are.
    With L readings, ending at reading e, it counts as the stretch of L readings before e, without gaps: the middle is
    reading e - L + floor(L / 3) + floor(L / 6). fastai leaves out a tenth of the readings in front and the last five;
    this does not.
    """
    ends: list[float] = []  # smallest negated last reading of any decreasing subsequence of each length
    lengths = []
    for value in curve[np.isfinite(curve)]:
        place = bisect_left(ends, -value)
        ends[place : place + 1] = [-value]
        lengths.append(place + 1)
    end = int(np.argmax(lengths))
    middle = end - lengths[end] + lengths[end] // 3 + lengths[end] // 6
    return float(x[max(middle, 0)])


@dataclass(frozen=True, eq=False, repr=False)
class RangeTest:
    """What a range test measured, and what it suggests. ``print`` it, ``plot`` it, ``save`` it.

    Args:
        rates: rate of each step, shape (steps,).
        losses: objective of each step's batch before the update, shape (seeds, steps); NaN after a seed stopped.
        monitor: what is read: ``"loss"``, ``"accuracy"``, ``"val_loss"`` or ``"val_accuracy"``.
        at: the steps (from 0) at which it was read, shape (readings,).
        readings: what was read, shape (seeds, readings); NaN after a seed stopped.
        stopped: for each seed the step at which it diverged, None if it did not.
        smooth: weight of the moving average, see ``lr_range_test``.
        rule: the rule's text.

    Smoothed readings are averages over earlier steps, so they are set against ``curve_rates``, the geometric mean of
    those steps' rates under the same weights; otherwise every suggestion would come out too high. All that follows is
    read from the median curve over the seeds, with a seed that diverged counting as worse than all others. For
    accuracy, put 1 minus accuracy for "loss". The *fall* is that from the median of the first tenth of raw readings to
    the lowest smoothed one; it counts if it is more than 1 % of where it began and more than 4 standard deviations of
    the noise of each of the two (as estimated from the second differences of the raw readings). A *step* is a tenth of
    the fall, but no less than 4 standard deviations of a smoothed reading.

    Attributes:
        regimes: ``{"flat": (from, to), "falling": ..., "diverging": ...}`` in rates; those that do not occur are left
            out. Flat: until the loss is a step below its beginning for good. Falling: until it is a step above its
            lowest for good, or half of the seeds have met the stopping rule; diverging from there.
        steepest: rate at which the loss falls fastest on a logarithmic axis of the rate: the middle of the tenth of the
            readings whose regression line is steepest.
        valley: the middle of the longest decreasing subsequence, fastai's suggestion.
        base, max: bounds for cyclical rates (Smith 2017): where falling begins; where it slows down (first comes
            within a step of the lowest) or, if that is earlier, where it becomes ragged (the lowest before it goes up
            again by a step).
        suggestion: ``steepest``.
        by_seed: ``steepest`` of each seed alone, in order; None for a seed without a fall.
        notes: words of caution, such as suggestions that lie more than a factor of 3 apart.

    Suggestions are None where the loss does not fall.
    """

    rates: np.ndarray
    losses: np.ndarray
    monitor: str
    at: np.ndarray
    readings: np.ndarray
    stopped: tuple[int | None, ...]
    smooth: float = 0.0
    rule: str = ""

    def __post_init__(self) -> None:
        seeds, steps = np.shape(self.losses)
        shapes = np.shape(self.rates), np.shape(self.readings), len(self.stopped)
        if shapes != ((steps,), (seeds, len(self.at)), seeds):
            raise ValueError(
                f"RangeTest: expected rates ({steps},), readings ({seeds}, {len(self.at)}) and {seeds} of stopped; got "
                f"{shapes[0]}, {shapes[1]} and {shapes[2]}"
            )
        if self.monitor not in MONITORS:
            raise ValueError(f"RangeTest: expected monitor to be one of {MONITORS}; got {self.monitor!r}")

    # Curves ----------------------------------------------------------------------------------------------

    @property
    def _weight(self) -> float:
        return 0.0 if self.monitor.startswith("val_") else self.smooth  # a whole set is an average already

    @property
    def _upwards(self) -> bool:
        return "accuracy" in self.monitor

    @cached_property
    def curve_rates(self) -> np.ndarray:
        """Rate against which a smoothed reading stands, shape (readings,)."""
        return np.exp(moving_average(np.log(self.rates[self.at]), self._weight))

    @cached_property
    def _raw(self) -> np.ndarray:
        return 1 - self.readings if self._upwards else self.readings

    @cached_property
    def _curves(self) -> np.ndarray:
        """Smoothed readings of each seed, to be made small; infinite from where it diverged."""
        curves = moving_average(self._raw, self._weight)
        for curve, stop in zip(curves, self.stopped, strict=True):
            if stop is not None:
                curve[self.at >= stop] = np.inf
        return curves

    @cached_property
    def _quartiles(self) -> np.ndarray:
        """As NumPy's linear quantiles, shape (3, readings), but with infinity where a neighbour is infinite."""
        ordered = np.sort(self._curves, axis=0)
        places = np.array((0.25, 0.5, 0.75)) * (len(ordered) - 1)
        below, above = ordered[np.floor(places).astype(int)], ordered[np.ceil(places).astype(int)]
        share = (places % 1)[:, None]
        finite = np.isfinite(above)
        between = np.where(finite, below, 0) * (1 - share) + np.where(finite, above, 0) * share
        return np.where(finite, between, np.inf)

    @property
    def median(self) -> np.ndarray:
        """Median over the seeds of the smoothed readings, shape (readings,); NaN where half of them had diverged."""
        return self.band(0.5)

    def band(self, quantile: float) -> np.ndarray:
        """A quartile (0.25, 0.5 or 0.75) of the smoothed readings over the seeds; NaN where so many had diverged."""
        if quantile not in (0.25, 0.5, 0.75):
            raise ValueError(f"RangeTest.band: expected a quantile of 0.25, 0.5 or 0.75; got {quantile!r}")
        line = self._quartiles[round(4 * (1 - quantile if self._upwards else quantile)) - 1]
        line = np.where(np.isfinite(line), line, np.nan)
        return 1 - line if self._upwards else line

    # Suggestions -----------------------------------------------------------------------------------------

    @cached_property
    def _shape(self) -> _Shape:
        curve = self._quartiles[1]
        raw = np.nanmedian(self._raw[:, np.isfinite(curve)], axis=0)  # of the seeds that had not stopped
        return _read_shape(np.log(self.curve_rates), raw, curve, self._weight)

    @property
    def regimes(self) -> dict[str, tuple[float, float]]:
        """Ranges of rates by name, of those regimes that occur."""
        start, rise, rates = self._shape.start, self._shape.rise, self.curve_rates
        end = self._last_rate
        diverging = float(rates[max(rise - 1, 0)]) if rise < len(rates) else end
        falling = diverging if start is None else float(rates[start])
        edges = {
            "flat": (float(self.rates[0]), falling),
            "falling": (falling, diverging),
            "diverging": (diverging, end),
        }
        return {name: (low, high) for name, (low, high) in edges.items() if low < high}

    @property
    def _last_rate(self) -> float:
        """Rate of the last step that any seed took."""
        steps = [len(self.rates) - 1 if stop is None else stop for stop in self.stopped]
        return float(self.rates[max(steps)])

    @property
    def steepest(self) -> float | None:
        """Rate at which the loss falls fastest on a logarithmic axis of the rate."""
        return _rate(self._shape.steepest)

    @property
    def valley(self) -> float | None:
        """Rate in the middle of the longest decreasing subsequence."""
        return _rate(self._shape.valley)

    @property
    def base(self) -> float | None:
        """Lower bound for cyclical rates."""
        return _rate(self._shape.base)

    @property
    def max(self) -> float | None:
        """Upper bound for cyclical rates."""
        return _rate(self._shape.max)

    @property
    def suggestion(self) -> float | None:
        """The rate to begin with: ``steepest``."""
        return self.steepest

    @cached_property
    def by_seed(self) -> tuple[float | None, ...]:
        """``steepest`` of each seed alone."""
        x = np.log(self.curve_rates)
        pairs = zip(self._raw, self._curves, strict=True)
        return tuple(
            _rate(_read_shape(x, raw[np.isfinite(curve)], curve, self._weight).steepest) for raw, curve in pairs
        )

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Words of caution."""
        return tuple(self._cautions())

    def _cautions(self) -> Iterator[str]:
        name, (falls, rises) = self.monitor, ("rises", "falls again") if self._upwards else ("falls", "rises again")
        if self.steepest is None or self.valley is None or self.base is None or self.max is None:
            yield f"{name} never {falls} beyond its noise: no suggestion. Try other rates, more steps or more seeds."
            return
        if _apart(self.steepest, self.valley):
            both = f"steepest {self.steepest:.2g} and valley {self.valley:.2g}"
            yield f"{both} lie more than a factor of {_APART:g} apart."
        for kind, rate in (("steepest", self.steepest), ("valley", self.valley)):
            if not self.base <= rate <= self.max:
                yield f"{kind} {rate:.2g} lies outside of base {self.base:.2g} and max {self.max:.2g}."
        seeds = [rate for rate in self.by_seed if rate is not None]
        if len(seeds) < len(self.by_seed):
            yield f"{name} {falls} in {len(seeds)} of {len(self.by_seed)} seeds only."
        if seeds and _apart(min(seeds), max(seeds)):
            apart = f"steepest from {min(seeds):.2g} to {max(seeds):.2g}"
            yield f"seeds disagree: {apart}. Try more steps or larger batches."
        if self._shape.start is not None and self._shape.start <= len(self.at) // 5:
            yield f"{name} {falls} within the first fifth of the readings: a test that begins lower would show where."
        if "diverging" not in self.regimes:
            yield f"{name} never {rises}: a test that ends higher would show where."

    # Words, figures, files -------------------------------------------------------------------------------

    def __repr__(self) -> str:
        rate = "none" if self.suggestion is None else f"{self.suggestion:.3g}"
        return (
            f"RangeTest({len(self.losses)} seeds, {len(self.rates)} steps, read on {self.monitor}; suggestion {rate})"
        )

    def __str__(self) -> str:
        how = f", moving average {self._weight:g}" if self._weight else ""
        lines = [
            f"Range test {self.rule}: {len(self.rates)} steps from {self.rates[0]:.3g} to {self.rates[-1]:.3g}, "
            f"{len(self.losses)} {'seed' if len(self.losses) == 1 else 'seeds'}, read on {self.monitor}{how}"
        ]
        for name, (low, high) in self.regimes.items():
            word = "rising" if self._upwards and name == "falling" else name
            lines.append(f"  {word:<10} {low:.2g} to {high:.2g}")
        stops = [stop for stop in self.stopped if stop is not None]
        if stops:
            where = ", ".join(f"{self.rates[stop]:.2g} (step {stop + 1})" for stop in stops)
            lines.append(f"  {len(stops)} of {len(self.stopped)} stopped as diverged, at {where}")
        for name in ("suggestion", "steepest", "valley", "base", "max"):
            if (rate := getattr(self, name)) is not None:
                lines.append(f"  {name:<10} {rate:.2g}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def plot(self, path: str | Path) -> None:
        """Draw readings, median and quartiles against the rate, with regimes and suggestions, into an image file."""
        from . import plots

        plots.range_test(self, path)

    def save(self, path: str | Path) -> None:
        """Write data and suggestions to ``path`` as JSON, whole or not at all; what is not finite becomes null."""
        if Path(path).suffix != ".json":
            raise ValueError(f"RangeTest.save: expected a path ending in .json; got {Path(path).name!r}")
        document = {name: _plain(getattr(self, name)) for name in ("rule", "monitor", "smooth", "stopped")}
        for name in ("regimes", "suggestion", "steepest", "valley", "base", "max", "by_seed", "notes"):
            document[name] = getattr(self, name)
        for name in ("rates", "losses", "at", "readings", "curve_rates", "median"):
            document[name] = _plain(getattr(self, name))
        write_whole(path, json.dumps(document, indent=1, allow_nan=False))


def _rate(log: float | None) -> float | None:
    return None if log is None else math.exp(log)


def _apart(first: float, second: float) -> bool:
    return max(first, second) > _APART * min(first, second)


def _plain(values: Any) -> Any:
    """Arrays as nested lists that JSON can hold."""
    if not isinstance(values, np.ndarray):
        return values
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    return plain.tolist()


# The test ------------------------------------------------------------------------------------------------


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
    validation: Data | None = None,
    every: int = 5,
    stop: float = 4.0,
    batch_size: int = 100,
    seed: int = 0,
    seeds: int = 1,
    augment: Augment | None = None,
    standardize: Standardizer | None = None,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    groups: Iterable[Group] = (),
    progress: bool | None = None,
) -> RangeTest:
    """Train a copy of ``net`` from its present weights with rates from ``low`` to ``high``; read where it learns.

    Args:
        net: the network, built with a loss. It is left alone to the last bit; the copy takes as much memory again.
        data: training data (x, y).
        rule: update rule, SGD if None; its state starts fresh.
        low, high: the first and the last rate, 0 < low < high.
        steps: number of rates, at least 10.
        spacing: ``"exponential"`` (rates of equal ratio) or ``"linear"`` (of equal difference).
        monitor: what is read: ``"loss"`` or ``"accuracy"`` of each step's batch, before its update, or ``"val_loss"``
            or ``"val_accuracy"``, after the update. Losses include the penalties.
        smooth: weight of the bias-corrected moving average (see ``moving_average``) of what is read of batches, 0 for
            none. Validation is not smoothed.
        validation: data (x, y), for the monitors that need them.
        every: steps from one validation to the next.
        stop: a seed ends as diverged when its smoothed training loss is above ``stop`` times its lowest so far (if that
            is above 0), or when anything that is read or clipped is not finite. Infinity leaves the second only.
        batch_size, augment, standardize, weight_decay, clip_norm, groups: as in ``Trainer``. A group with an ``lr`` of
            its own keeps it; one with ``lr_factor`` follows the test.
        seed, seeds: runs with the seeds ``seed``, ``seed + 1``, ...: each is that of the order of the data and of the
            layers' noise. All begin with the same weights, buffers and ``net.step``.
        progress: True shows a progress bar, False none, None one on a terminal only.

    Bad input raises TypeError or ValueError before the first step.
    """
    from tqdm import tqdm

    rule = SGD() if rule is None else rule
    rates = _rates(low, high, steps, spacing)
    at = _reading_steps(len(rates), monitor, validation, every)
    checks.fraction("lr_range_test", "smooth", smooth)
    if stop != math.inf and checks.number("lr_range_test", "stop", stop) <= 1:
        raise ValueError(f"lr_range_test: expected stop above 1; got {stop!r}")
    groups = tuple(groups) if isinstance(groups, Iterable) else groups  # for every seed's trainer, which checks them
    first = checks.count("lr_range_test", "seed", seed, least=0)
    numbers = range(first, first + checks.count("lr_range_test", "seeds", seeds))
    if not isinstance(net, Net):
        raise TypeError(f"lr_range_test: expected a Net; got {net!r}")

    def trainer(number: int) -> Trainer:
        """All that moves in one run, checked; the loop is ours, since what diverges is no error here."""
        with warnings.catch_warnings():
            # The rule's own schedules may be those of the run to come, which is longer than the test.
            warnings.filterwarnings("ignore", "Trainer: expected a schedule of")
            return Trainer(
                net.twin(seed=number),
                data,
                rule=rule,
                lr=low,
                batch_size=batch_size,
                steps=len(rates),
                seed=number,
                augment=augment,
                standardize=standardize,
                validation=validation,
                weight_decay=weight_decay,
                clip_norm=clip_norm,
                groups=groups,
            )

    run = trainer(first)
    if monitor.endswith("accuracy") and "accuracy" not in run.net.evaluate(data[0][:1], data[1][:1]):
        raise ValueError(
            f"lr_range_test: expected a loss that classifies to read {monitor}; got {type(net.loss_function).__name__}"
        )
    losses = np.full((seeds, len(rates)), np.nan)
    readings = np.full((seeds, len(at)), np.nan)
    stopped: list[int | None] = []
    with tqdm(total=losses.size, unit="step", disable=None if progress is None else not progress) as bar:
        for i, number in enumerate(numbers):
            run = run if number == first else trainer(number)
            stopped.append(_climb(run, rates, monitor, at, smooth, stop, losses[i], readings[i], bar))
    return RangeTest(rates, losses, monitor, at, readings, tuple(stopped), smooth, repr(rule))


def _climb(
    run: Trainer,
    rates: np.ndarray,
    monitor: str,
    at: np.ndarray,
    smooth: float,
    stop: float,
    losses: np.ndarray,
    readings: np.ndarray,
    bar: Any,
) -> int | None:
    """Train with one rate a step, filling losses (steps,) and readings (readings,); the step that diverged, or None."""
    net, places = run.net, {int(step): place for place, step in enumerate(at)}
    mean, lowest = 0.0, math.inf
    for step, rate in enumerate(rates):
        x, y = run.batches.next()
        with np.errstate(over="ignore", invalid="ignore"):
            losses[step] = loss = net.loss_and_grads(x, y)
            if monitor == "loss":
                readings[step] = loss
            elif monitor == "accuracy":
                readings[step] = (net.correct(y) or 0) / len(y)
            mean = smooth * mean + (1 - smooth) * loss
            average = mean / (1 - smooth ** (step + 1))
            lowest = min(lowest, average)
            if not math.isfinite(loss) or (lowest > 0 and average > stop * lowest):
                return step
            try:
                run.optimizer.step(float(rate))
            except FloatingPointError:
                return step
            if run.validation is not None and step in places:
                with run.optimizer.evaluating():  # at the point that the rule hands out
                    measured = net.evaluate(*run.validation)
                readings[places[step]] = measured[monitor.removeprefix("val_")]
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
    """The steps at which ``monitor`` is read, counted from 0."""
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
