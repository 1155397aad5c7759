"""The shape of a curve over learning rates: where it starts to fall, falls fastest, is lowest, and rises."""

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

_PART = 0.1  # share of the fall that counts as its start, as its end, and as a rise
_NOISE = 4  # standard deviations of a smoothed reading that count as noise
_LEAST = 0.01  # a fall by a smaller share of the first readings does not count


def moving_average(values: np.ndarray, weight: float) -> np.ndarray:
    """Compute the bias-corrected exponential moving average along the last axis.

    With m = weight * m + (1 - weight) * v from m = 0, the average is m / (1 - weight^t) for t = 1, 2, ...

    Args:
        values: array of at least one axis.
        weight: weight of the past in [0, 1); 0 for no smoothing.

    Returns:
        A new float64 array of the same shape.
    """
    averages = np.array(values, np.float64)
    mean = np.zeros(averages.shape[:-1])
    for t in range(averages.shape[-1]):
        mean = weight * mean + (1 - weight) * averages[..., t]
        averages[..., t] = mean / (1 - weight ** (t + 1))
    return averages


@dataclass(frozen=True)
class Shape:
    """Where a curve falls and rises, and the suggested learning rates.

    Attributes:
        start: index at which the fall starts; None without a fall.
        rise: index after which the curve stays high; the number of readings if it does not rise.
        steepest, valley, base, max: suggested rates, see ``RangeTest``; None without a fall.
    """

    start: int | None
    rise: int
    steepest: float | None = None
    valley: float | None = None
    base: float | None = None
    max: float | None = None


def read_shape(x: np.ndarray, raw: np.ndarray, curve: np.ndarray, weight: float) -> Shape:
    """Find the shape of a curve.

    Args:
        x: logarithms of the learning rates, shape (n,).
        raw: readings of which the curve is the moving average, at most n.
        curve: smoothed readings, of which less is better, shape (n,); infinite where the run diverged.
        weight: weight of the moving average.
    """
    if not np.isfinite(curve[0]):
        return Shape(None, 0)
    head = raw[: max(3, len(curve) // 10)]
    first = float(np.median(head))  # of raw readings, because the first averages are over few readings and nearly equal
    granted = _NOISE * _deviation(raw)
    noise = granted * _of_averages(len(curve), weight)
    noise_of_first = granted * math.sqrt(math.pi / 2 / len(head))  # standard error of a median
    best = int(np.argmin(curve + noise))
    fall = first - float(curve[best])
    if fall <= max(_LEAST * abs(first), noise[best] + noise_of_first):
        calm = np.flatnonzero(curve <= first + max(_PART * abs(first), noise[-1] + noise_of_first))
        return Shape(None, int(calm[-1]) + 1 if len(calm) else 0)
    step = max(_PART * fall, float(noise[-1]))
    above = np.flatnonzero(curve[:best] >= first - step)
    start = int(above[-1]) + 1 if len(above) else 0
    low = curve <= curve[best] + step
    rise = int(np.flatnonzero(low)[-1]) + 1
    end = _end(curve, start, start + int(np.argmax(low[start:])), step)
    places = _steepest(x, curve, start, rise), _valley(x, curve), float(x[start]), float(x[end])
    return Shape(start, rise, *map(math.exp, places))


def _deviation(raw: np.ndarray) -> float:
    """Return the noise's standard deviation. Second differences remove a trend; their median ignores outliers."""
    return 1.4826 * float(np.median(np.abs(np.diff(raw, 2)))) / math.sqrt(6) if len(raw) > 2 else 0.0


def _of_averages(n: int, weight: float) -> np.ndarray:
    """Return the standard deviations of the first n moving averages of noise with standard deviation 1."""
    left = weight ** np.arange(1, n + 1)
    return np.sqrt((1 - weight) / (1 + weight) * (1 + left) / (1 - left))


def _end(curve: np.ndarray, start: int, slow: int, step: float) -> int:
    """Return the index ``slow``, or, if the curve rises by a step before it, that of the lowest reading before."""
    part = curve[start : slow + 1]
    ragged = np.flatnonzero(part > np.minimum.accumulate(part) + step)
    return start + int(np.argmin(part[: ragged[0]])) if len(ragged) else slow


def _steepest(x: np.ndarray, curve: np.ndarray, start: int, rise: int) -> float:
    """Return the log rate at which the curve falls fastest, by regression lines through a tenth of the readings.

    The slope between two neighbouring readings would be mostly noise.
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
    """Return the log rate in the middle of the longest valley, as fastai defines it.

    The valley is the longest strictly decreasing subsequence of the readings, and the one that ends first among
    several. If it has L readings and ends at reading e, its middle is reading e - L + floor(L / 3) + floor(L / 6), as
    if it had no gaps. Unlike fastai, this does not leave out the first tenth of the readings and the last five.
    """
    ends: list[float] = []  # for each length, the smallest negated last reading of a decreasing subsequence
    lengths = []
    for value in curve[np.isfinite(curve)]:
        place = bisect_left(ends, -value)
        ends[place : place + 1] = [-value]
        lengths.append(place + 1)
    end = int(np.argmax(lengths))
    middle = end - lengths[end] + lengths[end] // 3 + lengths[end] // 6
    return float(x[max(middle, 0)])
