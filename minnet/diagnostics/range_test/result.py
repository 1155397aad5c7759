"""What a range test measured: the curves of its seeds, the rates that they suggest, and the words for both."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...storage.files import write_json
from ...training.direction import Direction
from .shape import Shape, moving_average, read_shape

MONITORS = ("loss", "accuracy", "val_loss", "val_accuracy")
_APART = 3.0  # the factor beyond which two suggestions disagree


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
        return Direction.of("RangeTest", self.monitor).mode == "max"

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
    def _shape(self) -> Shape:
        curve = self._quartiles[1]
        raw = np.nanmedian(self._raw[:, np.isfinite(curve)], axis=0)  # of the seeds that had not stopped
        return read_shape(np.log(self.curve_rates), raw, curve, self._weight)

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
        return self._shape.steepest

    @property
    def valley(self) -> float | None:
        """Rate in the middle of the longest decreasing subsequence."""
        return self._shape.valley

    @property
    def base(self) -> float | None:
        """Lower bound for cyclical rates."""
        return self._shape.base

    @property
    def max(self) -> float | None:
        """Upper bound for cyclical rates."""
        return self._shape.max

    @property
    def suggestion(self) -> float | None:
        """The rate to begin with: ``steepest``."""
        return self.steepest

    @cached_property
    def by_seed(self) -> tuple[float | None, ...]:
        """``steepest`` of each seed alone."""
        x = np.log(self.curve_rates)
        pairs = zip(self._raw, self._curves, strict=True)
        return tuple(read_shape(x, raw[np.isfinite(curve)], curve, self._weight).steepest for raw, curve in pairs)

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

    def plot(self, path: Any = None) -> Any:
        """Draw readings, median and quartiles against the rate, with regimes and suggestions, into an image file.

        ``path``: a file's path, an open binary file, or None, for which the Matplotlib figure is returned.
        """
        from ... import plots

        return plots.range_test(self, path)

    def save(self, path: str | Path) -> None:
        """Write data and suggestions to ``path`` as JSON, whole or not at all; what is not finite becomes null."""
        if Path(path).suffix != ".json":
            raise ValueError(f"RangeTest.save: expected a path ending in .json; got {Path(path).name!r}")
        told = ("regimes", "suggestion", "steepest", "valley", "base", "max", "by_seed", "notes")
        arrays = ("rates", "losses", "at", "readings", "curve_rates", "median")
        names = ("rule", "monitor", "smooth", "stopped", *told, *arrays)
        write_json(path, {name: getattr(self, name) for name in names})


def _apart(first: float, second: float) -> bool:
    return max(first, second) > _APART * min(first, second)
