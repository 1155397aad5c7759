"""How noisy a function is that computes in single precision inside, whatever it takes and gives.

Noise is told from steep functions, which vary as wildly from place to place, by slopes over very short distances.
"""

import math
from itertools import pairwise

import numpy as np

from .numeric import Function, Line, StepError, move

_LISTEN = (1e-2, 1e-3, 1e-4, 1e-5)  # how far from x noise is measured
_PLACES = 20  # at which it is; even, as x itself is none of them
_SPREAD = 0.2  # of the largest second difference, what the median of noise exceeds
_ALIKE = 2.5  # noise measured at two spacings, one a tenth of the other, that differ by more is the function's shape
_AUDIBLE = 4.0  # noise below that many eps of the function's value is its own round-off
_LOCAL = (1e-10, 1e-11)  # distances over which a steep function is a straight line, and rounding makes steps
_SHIFTS = (0.0, 0.4)  # of the places of slopes, in units of their spacing; at 0.5 one would be x itself
_STRAIGHT = 0.02  # by how much the slopes over those differ at most where the function is a line, as a share
_EXPLAINS = 0.25  # of what is heard, the share that slopes have to explain for it not to be noise
_JUMPS = 3  # places at which jumps of one size have to be found
_FAR = 0.1  # how far from x they are looked for, if there are not as many as near as noise is
_SMOOTH = 8  # order of differences that leave nothing of a smooth function, but do of jumps
_STEADY = 1e-6  # places that are closer to each other have one slope
_WIDE, _CLOSE = 1e-12, 1e-14  # between places that far apart, a jump has the same size
_SINGLE = 2e-6  # jumps of single precision are below that, in units of the function's value
_VISIBLE = 64.0  # and above that many eps of it


def listen(f: Function, line: Line) -> bool:
    """Whether the function is noisier than its eps says; if so, that rises. Listens once."""
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
    """Slopes over both ``_LOCAL`` distances, at the places of ``_values`` shifted by that share of their spacing."""
    slopes = []
    for place in np.linspace(-width, width, _PLACES) + shift * 2 * width / (_PLACES - 1):
        here, *near = (move(f, line, (place + d) * line.scale) for d in (0.0, *_LOCAL))
        slopes.append([float((r.terms - here[1].terms).sum()) / (moved - here[0]) for moved, r in near])
    one, other = np.array(slopes).T
    return one, other


def _noise_in(f: Function, line: Line, heard: list[np.ndarray]) -> float:
    """The noise in units of f's value; 0 if none is heard."""
    size = _size(f)
    for i, values in enumerate(heard[:-1]):
        level, nearer = noise(values), max(_level(np.diff(near, 2), 2) for near in heard[i + 1 :])
        # What many kinks look like falls with the spacing; noise does not.
        audible = size and _AUDIBLE * f.eps * size < level < _ALIKE * nearer
        if audible and not _steep(f, line, level, heard):
            return level / size
    return 0.0


def _steep(f: Function, line: Line, level: float, heard: list[np.ndarray]) -> bool:
    """Whether slopes explain what varies like noise of that level.

    Over very short distances a smooth function is a straight line, however steep. What is rounded to single precision
    is constant there, or jumps; a smooth part beside it has slopes that hardly vary from place to place. The places are
    those closest to each other at which the noise is heard.
    """
    nearest = max(i for i, values in enumerate(heard) if _ALIKE * noise(values) >= level)
    spacing = 2 * _LISTEN[nearest] * line.scale / (_PLACES - 1)
    explained = 0.0
    # A wave of twice the spacing may have its crests, where it is level, at all places; between them it is steep.
    for shift in _SHIFTS:
        one, other = _slopes(f, line, _LISTEN[nearest], shift)
        if np.median(np.abs(one - other)) <= _STRAIGHT * np.median(np.abs(one)):
            explained = max(explained, spacing * float(np.median(np.abs(np.diff(one, 2)))))
    # Third differences of the values are second ones of the slopes times the spacing, where slopes are the reason.
    return bool(explained >= _EXPLAINS * np.median(np.abs(np.diff(heard[nearest], 3))))


def noise(values: np.ndarray) -> float:
    """Standard deviation of the noise in equally spaced values of a function, from their differences; 0 if none shows.

    Differences of a smooth function fade with their order k, those of noise grow by sqrt((2k)!) / k! (Hamming 1971;
    More and Wild 2011, "Estimating computational noise"). A kink or a jump is in one half of the values; noise is in
    both.
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
    """The standard deviation of noise whose differences of order k these are."""
    return math.sqrt(float(np.mean(table**2)) / math.comb(2 * k, k))


class _Place:
    """The value at a distance from x, in units of the line's scale, and the slope; it is measured if none is given."""

    def __init__(self, f: Function, line: Line, t: float, slope: float | None = None) -> None:
        self.t, self.value = t, move(f, line, t * line.scale)[1].terms
        if slope is None:
            near = move(f, line, (t + _LOCAL[0]) * line.scale)[1].terms
            slope = float((near - self.value).sum()) / _LOCAL[0]
        self.slope = slope


def _left(one: _Place, other: _Place) -> float:
    """By how much the rise between two places is not that of the slopes there."""
    return abs(float((other.value - one.value).sum()) - (one.slope + other.slope) / 2 * (other.t - one.t))


def _jumps_among(f: Function, line: Line, width: float, values: np.ndarray) -> float:
    """The size of the jumps that single precision makes among these values, in units of f's; 0 if there are none.

    Where f changes little, those are far apart, and no noise is heard between them. Something smooth beside them is all
    that short steps see.
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
    """The size of a jump between two places, found by halving; 0 if f is continuous there."""
    wide = _left(low, high)
    while high.t - low.t > _CLOSE:
        width = high.t - low.t
        wide = _left(low, high) if width > _WIDE else wide
        # So near to a jump, a slope may be measured across it.
        try:
            here = _Place(f, line, (low.t + high.t) / 2, low.slope if width < _STEADY else None)
        except StepError:  # that ends at x itself, where there is none
            return 0.0
        low, high = (low, here) if _left(low, here) > _left(here, high) else (here, high)
    close = _left(low, high)
    return close if 2 * close > wide else 0.0
