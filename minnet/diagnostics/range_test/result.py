"""The result of a range test: curves of its seeds, suggested learning rates, and a report."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...base.shown import Shown
from ...storage.files import write_json
from ...training.direction import Direction
from .shape import Shape, moving_average, read_shape

MONITORS = ("loss", "accuracy", "val_loss", "val_accuracy")
_APART = 3.0  # ratio above which two suggestions disagree


@dataclass(frozen=True, eq=False, repr=False)
class RangeTest(Shown):
    """The curves of a range test and the learning rates that they suggest. It can be printed, plotted and saved.

    Smoothed readings are averages over earlier steps. They are therefore assigned to ``curve_rates``, the geometric
    mean of those steps' learning rates with the same weights; otherwise every suggestion would be too high. Regimes and
    suggestions are read off the median curve over the seeds, where a seed that diverged counts as worse than all
    others. For accuracies, "loss" below means 1 minus the accuracy.

    The *fall* is the difference between the median of the first tenth of the raw readings and the lowest smoothed
    reading. It counts if it is more than 1 % of the former, and more than 4 standard deviations of the noise of each of
    the two (estimated from second differences of the raw readings). A *step* is a tenth of the fall, but at least 4
    standard deviations of a smoothed reading. Suggestions are None if the loss does not fall.

    Args:
        rates: learning rate of each step, shape (steps,).
        losses: objective of each step's batch before the update, shape (seeds, steps). NaN after a seed stopped.
        monitor: recorded quantity: ``"loss"``, ``"accuracy"``, ``"val_loss"`` or ``"val_accuracy"``.
        at: steps, counted from 0, at which it was recorded, shape (readings,).
        readings: recorded values, shape (seeds, readings). NaN after a seed stopped.
        stopped: for each seed, the step at which it diverged, or None.
        smooth: weight of the moving average, see ``lr_range_test``.
        rule: the update rule, as text.

    Attributes:
        regimes: ranges of learning rates, ``{"flat": (from, to), "falling": ..., "diverging": ...}``, without those
            that do not occur. Flat ends where the loss stays more than a step below its start. Falling ends where the
            loss stays more than a step above its minimum, or where half of the seeds have stopped.
        steepest: rate at which the loss falls fastest on a logarithmic axis of rates: the middle of the tenth of the
            readings with the steepest regression line.
        valley: rate in the middle of the longest decreasing subsequence, fastai's suggestion.
        base, max: bounds of cyclical learning rates (Smith 2017). ``base`` is where the fall starts. ``max`` is where
            the loss first comes within a step of its minimum, or, if that is earlier, its lowest point before it rises
            by a step.
        suggestion: the same as ``steepest``.
        by_seed: ``steepest`` of each seed alone, in order; None for a seed without a fall.
        notes: warnings, such as suggestions that differ by more than a factor of 3.
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
        return (
            0.0 if self.monitor.startswith("val_") else self.smooth
        )  # a reading of a whole data set is an average already

    @property
    def _upwards(self) -> bool:
        return Direction.of("RangeTest", self.monitor).mode == "max"

    @cached_property
    def curve_rates(self) -> np.ndarray:
        """The learning rate that each smoothed reading is assigned to, shape (readings,)."""
        return np.exp(moving_average(np.log(self.rates[self.at]), self._weight))

    @cached_property
    def _raw(self) -> np.ndarray:
        return 1 - self.readings if self._upwards else self.readings

    @cached_property
    def _curves(self) -> np.ndarray:
        """Smoothed readings of each seed, of which less is better; infinite from where it diverged."""
        curves = moving_average(self._raw, self._weight)
        for curve, stop in zip(curves, self.stopped, strict=True):
            if stop is not None:
                curve[self.at >= stop] = np.inf
        return curves

    @cached_property
    def _quartiles(self) -> np.ndarray:
        """Quartiles like NumPy's linear quantiles, shape (3, readings), but infinite if a neighbour is infinite."""
        ordered = np.sort(self._curves, axis=0)
        places = np.array((0.25, 0.5, 0.75)) * (len(ordered) - 1)
        below, above = ordered[np.floor(places).astype(int)], ordered[np.ceil(places).astype(int)]
        share = (places % 1)[:, None]
        finite = np.isfinite(above)
        between = np.where(finite, below, 0) * (1 - share) + np.where(finite, above, 0) * share
        return np.where(finite, between, np.inf)

    @property
    def median(self) -> np.ndarray:
        """Median over the seeds of the smoothed readings, shape (readings,); NaN where half of them have diverged."""
        return self.band(0.5)

    def band(self, quantile: float) -> np.ndarray:
        """Return a quartile of the smoothed readings over the seeds.

        Args:
            quantile: 0.25, 0.5 or 0.75.

        Returns:
            An array of shape (readings,); NaN where the quartile is a seed that has diverged.
        """
        if quantile not in (0.25, 0.5, 0.75):
            raise ValueError(f"RangeTest.band: expected a quantile of 0.25, 0.5 or 0.75; got {quantile!r}")
        line = self._quartiles[round(4 * (1 - quantile if self._upwards else quantile)) - 1]
        line = np.where(np.isfinite(line), line, np.nan)
        return 1 - line if self._upwards else line

    # Suggestions -----------------------------------------------------------------------------------------

    @cached_property
    def _shape(self) -> Shape:
        curve = self._quartiles[1]
        raw = np.nanmedian(self._raw[:, np.isfinite(curve)], axis=0)  # of seeds that have not stopped
        return read_shape(np.log(self.curve_rates), raw, curve, self._weight)

    @property
    def regimes(self) -> dict[str, tuple[float, float]]:
        """Ranges of learning rates, by the name of the regime."""
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
        """Learning rate of the last step of any seed."""
        steps = [len(self.rates) - 1 if stop is None else stop for stop in self.stopped]
        return float(self.rates[max(steps)])

    @property
    def steepest(self) -> float | None:
        """Learning rate at which the loss falls fastest, on a logarithmic axis of rates."""
        return self._shape.steepest

    @property
    def valley(self) -> float | None:
        """Learning rate in the middle of the longest decreasing subsequence."""
        return self._shape.valley

    @property
    def base(self) -> float | None:
        """Lower bound of cyclical learning rates."""
        return self._shape.base

    @property
    def max(self) -> float | None:
        """Upper bound of cyclical learning rates."""
        return self._shape.max

    @property
    def suggestion(self) -> float | None:
        """The suggested learning rate, ``steepest``."""
        return self.steepest

    @cached_property
    def by_seed(self) -> tuple[float | None, ...]:
        """``steepest`` of each seed alone."""
        x = np.log(self.curve_rates)
        pairs = zip(self._raw, self._curves, strict=True)
        return tuple(read_shape(x, raw[np.isfinite(curve)], curve, self._weight).steepest for raw, curve in pairs)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Warnings about the suggestions."""
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
        """Draw readings, median and quartiles as functions of the learning rate, with regimes and suggestions.

        Args:
            path: path of an image file, beside which the data are written too; an open binary file; or None to return
                the Matplotlib figure.

        Returns:
            The figure if ``path`` is None, else None.
        """
        from ... import plots

        return plots.range_test(self, path)

    def save(self, path: str | Path) -> None:
        """Write data and suggestions to a JSON file, completely or not at all, with null for NaN and infinity.

        Args:
            path: path ending in ``.json``.

        Raises:
            ValueError: for another ending.
        """
        if Path(path).suffix != ".json":
            raise ValueError(f"RangeTest.save: expected a path ending in .json; got {Path(path).name!r}")
        told = ("regimes", "suggestion", "steepest", "valley", "base", "max", "by_seed", "notes")
        arrays = ("rates", "losses", "at", "readings", "curve_rates", "median")
        names = ("rule", "monitor", "smooth", "stopped", *told, *arrays)
        write_json(path, {name: getattr(self, name) for name in names})


def _apart(first: float, second: float) -> bool:
    return max(first, second) > _APART * min(first, second)
