"""The shape of a curve of readings over rates: where it begins to fall, falls fastest, is lowest and rises for good."""

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

_PART = 0.1  # of the whole fall: what counts as having begun, as having slowed down, and as rising again
_NOISE = 4  # standard deviations of a smoothed reading that noise is granted
_LEAST = 0.01  # a fall of a smaller part of the first readings is none


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
class Shape:
    """Indices where a curve begins to fall and rises for good, and the rates that this suggests.

    Without a fall ``start`` is None, and so are the suggestions; ``rise`` is the number of readings if there is none.
    """

    start: int | None
    rise: int
    steepest: float | None = None
    valley: float | None = None
    base: float | None = None
    max: float | None = None


def read_shape(x: np.ndarray, raw: np.ndarray, curve: np.ndarray, weight: float) -> Shape:
    """The shape of a curve over log rates x, to be made small; infinite where it diverged.

    ``raw`` are the readings, (n,) or fewer, of which the curve is the moving average.
    """
    if not np.isfinite(curve[0]):
        return Shape(None, 0)
    head = raw[: max(3, len(curve) // 10)]
    first = float(np.median(head))  # of raw readings: the first averages are over few and all alike
    granted = _NOISE * _deviation(raw)
    noise = granted * _of_averages(len(curve), weight)
    noise_of_first = granted * math.sqrt(math.pi / 2 / len(head))  # of a median
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
    """Standard deviation of the noise. Second differences leave a trend alone, their median a few wild readings too."""
    return 1.4826 * float(np.median(np.abs(np.diff(raw, 2)))) / math.sqrt(6) if len(raw) > 2 else 0.0


def _of_averages(n: int, weight: float) -> np.ndarray:
    """Standard deviations of the first n moving averages of noise whose own is 1."""
    left = weight ** np.arange(1, n + 1)
    return np.sqrt((1 - weight) / (1 + weight) * (1 + left) / (1 - left))


def _end(curve: np.ndarray, start: int, slow: int, step: float) -> int:
    """From the start on, the reading ``slow`` or, if the curve goes up by a step before, the lowest before that."""
    part = curve[start : slow + 1]
    ragged = np.flatnonzero(part > np.minimum.accumulate(part) + step)
    return start + int(np.argmin(part[: ragged[0]])) if len(ragged) else slow


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
