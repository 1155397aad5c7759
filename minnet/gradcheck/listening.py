"""Measurement of the noise of a function, which may compute in single precision inside, whatever its dtypes.

Values of a steep function vary from place to place like noise. Slopes over very short distances tell the two apart.
"""

import math
from itertools import pairwise

import numpy as np

from .numeric import Function, Line, StepError, move

_LISTEN = (1e-2, 1e-3, 1e-4, 1e-5)  # distances from x within which noise is measured
_PLACES = 20  # number of places; even, so that x itself is none of them
_SPREAD = 0.2  # share of the largest second difference that the median of noise exceeds
_ALIKE = 2.5  # if values at two spacings, one a tenth of the other, differ by a larger ratio, they are not noise
_AUDIBLE = 4.0  # noise below this multiple of eps is the expected round-off
_LOCAL = (1e-10, 1e-11)  # distances at which a steep function is linear, and a rounded one is a step function
_SHIFTS = (0.0, 0.4)  # shifts of the places of slopes, in units of their spacing; with 0.5 one would be x itself
_STRAIGHT = 0.02  # largest relative difference of slopes over these distances for a linear function
_EXPLAINS = 0.25  # share of the variation that slopes must explain if it is not noise
_JUMPS = 3  # number of places with jumps of similar size
_FAR = 0.1  # distance from x within which jumps are searched if there are too few nearby
_SMOOTH = 8  # order of differences that remove a smooth function, but not jumps
_STEADY = 1e-6  # places closer to each other have the same slope
_WIDE, _CLOSE = 1e-12, 1e-14  # a jump has the same size between places at either distance
_SINGLE = 2e-6  # jumps of single precision are smaller, in units of the function's value
_VISIBLE = 64.0  # and larger than this multiple of eps


def listen(f: Function, line: Line) -> bool:
    """Raise ``f.eps`` if the function is noisier than that; return whether it is. Later calls do nothing."""
    if not f.guessed:
        return False
    f.guessed = False
    try:
        heard = [_values(f, line, width) for width in _LISTEN]
        eps = _noise_in(f, line, heard) or _jumps_among(f, line, _LISTEN[0], heard[0])
        eps = eps or _jumps_among(f, line, _FAR, _values(f, line, _FAR))
    except (FloatingPointError, StepError, ZeroDivisionError):
        return False
    f.eps = max(f.eps, eps)
    return eps > 0


def _size(f: Function) -> float:
    return float(np.abs(f.base.terms).sum())


def _values(f: Function, line: Line, width: float) -> np.ndarray:
    return np.array([move(f, line, t * line.scale)[1].terms.sum() for t in np.linspace(-width, width, _PLACES)])


def _slopes(f: Function, line: Line, width: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes over both ``_LOCAL`` distances, at places of ``_values`` shifted by a share of their spacing."""
    slopes = []
    for place in np.linspace(-width, width, _PLACES) + shift * 2 * width / (_PLACES - 1):
        here, *near = (move(f, line, (place + d) * line.scale) for d in (0.0, *_LOCAL))
        slopes.append([float((r.terms - here[1].terms).sum()) / (moved - here[0]) for moved, r in near])
    one, other = np.array(slopes).T
    return one, other


def _noise_in(f: Function, line: Line, heard: list[np.ndarray]) -> float:
    """Return the noise in units of f's value, or 0 if there is none."""
    size = _size(f)
    for i, values in enumerate(heard[:-1]):
        level, nearer = noise(values), max(_level(np.diff(near, 2), 2) for near in heard[i + 1 :])
        # The variation due to many kinks falls with the spacing; noise does not.
        audible = size and _AUDIBLE * f.eps * size < level < _ALIKE * nearer
        if audible and not _steep(f, line, level, heard):
            return level / size
    return 0.0


def _steep(f: Function, line: Line, level: float, heard: list[np.ndarray]) -> bool:
    """Return whether slopes explain a variation like noise of this level.

    Over very short distances, a smooth function is linear, however steep it is. A function that is rounded to single
    precision is constant there, or jumps; if it has a smooth part too, the slopes of that part hardly vary from place
    to place. The slopes are measured at the closest places at which the noise is visible.
    """
    nearest = max(i for i, values in enumerate(heard) if _ALIKE * noise(values) >= level)
    spacing = 2 * _LISTEN[nearest] * line.scale / (_PLACES - 1)
    explained = 0.0
    # A wave of twice the spacing may have its crests, with slope 0, at all places. Between them it is steep.
    for shift in _SHIFTS:
        one, other = _slopes(f, line, _LISTEN[nearest], shift)
        if np.median(np.abs(one - other)) <= _STRAIGHT * np.median(np.abs(one)):
            explained = max(explained, spacing * float(np.median(np.abs(np.diff(one, 2)))))
    # If slopes are the reason, third differences of values are second differences of slopes times the spacing.
    return bool(explained >= _EXPLAINS * np.median(np.abs(np.diff(heard[nearest], 3))))


def noise(values: np.ndarray) -> float:
    """Return the standard deviation of the noise in equally spaced values of a function, or 0 if there is none.

    Differences of a smooth function vanish with their order k, and those of noise grow by sqrt((2k)!) / k! (Hamming
    1971; More and Wild 2011, "Estimating computational noise"). A kink or a jump is in one half of the values, and
    noise is in both.
    """
    middle = len(values) // 2
    return min(_noise_of(values[:middle]), _noise_of(values[middle:]))


def _noise_of(values: np.ndarray) -> float:
    second = np.abs(np.diff(values, 2))
    if np.median(second) < _SPREAD * second.max():
        return 0.0
    tables = [np.diff(values, k) for k in range(1, len(values) - 1)]
    levels = [_level(table, k) for k, table in enumerate(tables, 1)]
    for k, table in enumerate(tables[:-2]):
        if table.min() < 0 < table.max() and max(levels[k : k + 3]) <= 4 * min(levels[k : k + 3]):
            return levels[k]
    return 0.0


def _level(table: np.ndarray, k: int) -> float:
    """Return the standard deviation of noise with these differences of order k."""
    return math.sqrt(float(np.mean(table**2)) / math.comb(2 * k, k))


class _Place:
    """Value and slope at a distance t from x, in units of the line's scale. The slope is measured if not given."""

    def __init__(self, f: Function, line: Line, t: float, slope: float | None = None) -> None:
        self.t, self.value = t, move(f, line, t * line.scale)[1].terms
        if slope is None:
            near = move(f, line, (t + _LOCAL[0]) * line.scale)[1].terms
            slope = float((near - self.value).sum()) / _LOCAL[0]
        self.slope = slope


def _left(one: _Place, other: _Place) -> float:
    """Return the difference between the rise from one place to another and the rise by the slopes there."""
    return abs(float((other.value - one.value).sum()) - (one.slope + other.slope) / 2 * (other.t - one.t))


def _jumps_among(f: Function, line: Line, width: float, values: np.ndarray) -> float:
    """Return the size of jumps of single precision among these values, in units of f's value, or 0 if there are none.

    If f changes little, jumps are far apart, and there is no noise between them. Short steps detect only the smooth
    part of f.
    """
    size, found = _size(f), []
    if _level(np.diff(values, _SMOOTH), _SMOOTH) < _VISIBLE / 4 * f.eps * size:
        return 0.0
    places = [_Place(f, line, t) for t in np.linspace(-width, width, _PLACES)]
    pairs = sorted(pairwise(places), key=lambda ends: _left(*ends))
    for ends in pairs[-_JUMPS:]:
        jump = _jump(f, line, *ends)
        if not _VISIBLE * f.eps * size < jump < _SINGLE * size:
            return 0.0
        found.append(jump)
    return max(found) / size if max(found) < 4 * min(found) else 0.0


def _jump(f: Function, line: Line, low: _Place, high: _Place) -> float:
    """Return the size of the jump between two places, found by halving, or 0 if f is continuous there."""
    wide = _left(low, high)
    while high.t - low.t > _CLOSE:
        width = high.t - low.t
        wide = _left(low, high) if width > _WIDE else wide
        # So near to a jump, a measured slope might cross it.
        try:
            here = _Place(f, line, (low.t + high.t) / 2, low.slope if width < _STEADY else None)
        except StepError:  # at x itself, there is no jump
            return 0.0
        low, high = (low, here) if _left(low, here) > _left(here, high) else (here, high)
    close = _left(low, high)
    return close if 2 * close > wide else 0.0
