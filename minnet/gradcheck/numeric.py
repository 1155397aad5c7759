"""Numerical derivatives along a line: a coordinate, or a direction in the space of all.

Subtracting two nearly equal values leaves round-off of about eps * |f| / h; a step that is too long leaves truncation
of about h^2 * |f'''| / 6; a step over a kink leaves anything. An ``Estimate`` carries bounds on the first two, and a
function that says which pieces it is on (``winners``) lets the third be seen exactly.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks

# Round-off, in units of eps * |f| / h, that sums of a few hundred terms leave in practice.
_ROUND_OFF = 32.0
# In units of eps * |x| * |f'| / h: what f makes of x is known to a rounding of x only.
_CONDITION = 4.0
_SHRINKS = 3  # times that a step over a kink is divided by 10
DOUBLE = 2.0**-52  # eps of float64
_COARSE = 1e-12  # eps above it is that of single precision, or worse


def relative_error(analytic: Any, numeric: Any) -> np.ndarray:
    """|a - n| / max(|a|, |n|) by element, 0 where both are 0 (CS231n); ValueError for arrays of two shapes."""
    a, n = np.asarray(analytic, np.float64), np.asarray(numeric, np.float64)
    if a.shape != n.shape:
        raise ValueError(f"relative_error: expected arrays of one shape; got {a.shape} and {n.shape}")
    size = np.maximum(np.abs(a), np.abs(n))
    return np.abs(a - n) / np.where(size == 0, 1.0, size)


class StepError(ValueError):
    """A step so short that it does not change x."""


@dataclass(frozen=True)
class Reading:
    """One evaluation: terms whose sum is the value (kept apart, what did not change cancels exactly), and winners."""

    terms: np.ndarray
    winners: np.ndarray | None

    def same_pieces(self, other: "Reading") -> bool:
        """Whether no winner differs."""
        return self.winners is None or other.winners is None or np.array_equal(self.winners, other.winners)


class Function:
    """What is differentiated: ``evaluate()`` reads arrays that others change, and is counted.

    ``winners()`` tells, after an evaluation, which piece each of its kinked parts was on; None if it has none or does
    not know. ``eps`` is that of the arithmetic inside; ``guessed``, whether it only follows from the dtypes outside, so
    that ``listen`` may find more noise.
    """

    def __init__(
        self,
        evaluate: Callable[[], Any],
        winners: Callable[[], np.ndarray | None] = lambda: None,
        eps: float = DOUBLE,
        guessed: bool = False,
    ) -> None:
        self.evaluate, self.winners, self.eps, self.guessed = evaluate, winners, eps, guessed
        self.evaluations = 0
        self.kinked = False  # whether there are kinks nearer than round-off lets one see
        self.base = self.read()

    def read(self) -> Reading:
        """Evaluate here; FloatingPointError for NaN or infinity."""
        self.evaluations += 1
        terms = np.array(self.evaluate(), np.float64)
        if not np.isfinite(terms).all():
            raise FloatingPointError("gradient check: expected finite values; got NaN or infinity")
        return Reading(terms, self.winners())

    @property
    def round_off(self) -> float:
        """Bound on that of one evaluation."""
        return _ROUND_OFF * self.eps * float(np.abs(self.base.terms).sum())

    @property
    def coarse(self) -> bool:
        """Whether the arithmetic is in single precision, or worse."""
        return self.eps > _COARSE

    def step(self, h: float, order: int) -> float:
        """The step that for float64 is h, longer in coarser arithmetic: where truncation of h^order and round-off of
        eps / h are alike, h grows with eps^(1 / (order + 1)).
        """
        return h * (self.eps / DOUBLE) ** (1 / (order + 1))


class Line:
    """A straight line through where the function's arrays stand.

    ``with line.at(t):`` moves them; ``t`` becomes what the arithmetic made of it. ``where`` names the line in errors,
    ``scale`` is the size of what moves, at least 1, by which steps are multiplied; ``magnitude`` that size itself.
    """

    where: tuple[int, ...]
    scale: float
    magnitude: float = 0.0

    @property
    def place(self) -> str:
        """``where`` in words."""
        return f"coordinate {list(self.where)}"

    def at(self, t: float) -> Any:
        """A context in which the arrays are moved by t; gives the distance moved."""
        raise NotImplementedError


class Coordinate(Line):
    """Element ``index`` of the flat view ``flat``."""

    def __init__(self, flat: np.ndarray, index: int, shape: tuple[int, ...]) -> None:
        self.flat, self.index = flat, index
        self.where = tuple(int(i) for i in np.unravel_index(index, shape))
        self.magnitude = abs(float(flat[index]))
        self.scale = max(1.0, self.magnitude)

    @contextmanager
    def at(self, t: float) -> Iterator[float]:
        kept = self.flat[self.index]
        try:
            self.flat[self.index] = kept + t
            moved = float(self.flat[self.index]) - float(kept)
            if moved == 0:
                raise StepError(
                    f"gradient check: expected h to change x; h={abs(t):.3g} vanishes beside {kept!r} in {kept.dtype}"
                )
            yield moved
        finally:
            self.flat[self.index] = kept


class Direction(Line):
    """Several flat arrays along vectors of their sizes."""

    def __init__(self, flats: list[np.ndarray], vectors: list[np.ndarray], number: int, scale: float = 1.0) -> None:
        self.scale = scale
        self.flats, self.vectors = flats, vectors
        self.where = (number,)

    @property
    def place(self) -> str:
        return f"direction {self.where[0] + 1}"

    @contextmanager
    def at(self, t: float) -> Iterator[float]:
        kept = [flat.copy() for flat in self.flats]
        try:
            for flat, vector in zip(self.flats, self.vectors, strict=True):
                flat += (t * vector).astype(flat.dtype)
            yield t
        finally:
            for flat, values in zip(self.flats, kept, strict=True):
                flat[...] = values


@dataclass(frozen=True)
class Estimate:
    """A derivative along a line, with bounds on its errors.

    Attributes:
        value: the derivative.
        round_off: bound on what rounding does to it.
        step: h by which it was found.
        crossed: whether the first step changed a winner.
        excluded: whether every step did, so that ``value`` means nothing.
        truncation: bound on what the length of the step does; NaN where nobody asked.
        gap: the slope to the right less that to the left; NaN where only one side was taken.
        kink: bound on what kinks that no winner tells of do to ``value``.
    """

    value: float
    round_off: float
    step: float
    crossed: bool = False
    excluded: bool = False
    truncation: float = float("nan")
    gap: float = float("nan")
    kink: float = 0.0

    @property
    def uncertainty(self) -> float:
        """Bound on all errors; without truncation where nobody asked for that."""
        return self.round_off + self.kink + (0.0 if math.isnan(self.truncation) else self.truncation)


def move(f: Function, line: Line, t: float) -> tuple[float, Reading]:
    """(how far the arrays moved, what f gives there); FloatingPointError where that is not finite."""
    with line.at(t) as moved:
        try:
            return moved, f.read()
        except FloatingPointError as error:
            raise FloatingPointError(f"{error} at {line.place} moved by {t:.0e}; give a shorter step with h=") from None


def _quotient(f: Function, above: tuple[float, Reading], below: tuple[float, Reading]) -> tuple[float, float]:
    """(difference quotient, its round-off) of two places."""
    width = above[0] - below[0]
    up, down = above[1].terms, below[1].terms
    size = np.maximum(np.abs(up), np.abs(down)).sum()
    return float((up - down).sum() / width), float(_ROUND_OFF * f.eps * size / abs(width))


def _one_sided(f: Function, line: Line, near: tuple[float, Reading]) -> tuple[float, float] | None:
    """The derivative from three places on one side of a kink, (4 f(h/2) - f(h) - 3 f(0)) / h; None over a kink."""
    half = move(f, line, near[0] / 2)
    if not half[1].same_pieces(f.base):
        return None
    here = 0.0, f.base
    (far_slope, far_noise), (slope, noise) = _quotient(f, near, here), _quotient(f, half, here)
    return 2 * slope - far_slope, 2 * noise + far_noise


def central(f: Function, line: Line, h: float, shrinks: int = 0) -> Estimate:
    """The central difference (f(x + h) - f(x - h)) / 2h, or what kinks leave of it.

    Where only one side of x crosses a kink, the other side's differences serve. Where both do, h is divided by 10, as
    often as ``shrinks`` says; so too where f is not finite.
    """
    crossed = False
    for shrunk in range(shrinks + 1):
        try:
            above, below = move(f, line, h), move(f, line, -h)
        except StepError:
            if not shrunk:
                raise
            break
        except FloatingPointError:  # the end of where f is defined may be near, as 0 is for a logarithm
            if shrunk == shrinks:
                raise
            h /= 10
            continue
        free = [reached for reached in (above, below) if reached[1].same_pieces(f.base)]
        if len(free) == 2:
            value, round_off = _quotient(f, above, below)
            round_off += _CONDITION * f.eps * line.magnitude * abs(value) / h
            here = 0.0, f.base
            gap = _quotient(f, above, here)[0] - _quotient(f, here, below)[0]
            return Estimate(value, round_off, h, crossed, gap=gap)
        crossed = True
        slope = _one_sided(f, line, free[0]) if free else None
        if slope is not None:
            return Estimate(*slope, h, crossed)
        if shrinks:
            h /= 10
    return Estimate(float("nan"), float("inf"), h, crossed, excluded=True)


def richardson(f: Function, line: Line, h: float) -> Estimate:
    """(4 D(h / 2) - D(h)) / 3 of central differences D, whose error falls with h^4 (Richardson 1911)."""
    try:
        whole, half = central(f, line, h), central(f, line, h / 2)
    except FloatingPointError:
        return central(f, line, h, _SHRINKS)
    if whole.crossed or half.crossed:
        return central(f, line, h, _SHRINKS)
    value = (4 * half.value - whole.value) / 3
    return Estimate(value, (4 * half.round_off + whole.round_off) / 3, h, gap=half.gap)


def shrinking(f: Function, line: Line, h: float) -> Estimate:
    """``central`` with a step that shrinks where it crosses kinks."""
    return central(f, line, h, _SHRINKS)


def check_point(who: str, name: str, x: Any) -> np.ndarray:
    """x as an array of floats; TypeError otherwise."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        raise TypeError(f"{who}: expected {name} as an array of floats; got {x!r}")
    if not x.flags.writeable:
        raise ValueError(
            f"{who}: expected an {name} that can be changed in place; got a read-only array (give {name}.copy(), and "
            "let f read that)"
        )
    return x


def flat_view(who: str, x: np.ndarray) -> np.ndarray:
    """x as one axis that shares its memory; ValueError if it is not C-contiguous."""
    flat = x.reshape(-1)
    if not np.shares_memory(flat, x) and x.size:
        raise ValueError(f"{who}: expected a C-contiguous x")
    return flat


def numerical_gradient(f: Callable[[], Any], x: np.ndarray, h: float = 1e-5) -> tuple[np.ndarray, np.ndarray]:
    """Central differences of f() with respect to x, which is changed in place and put back.

    Args:
        f: called without arguments; gives a number, or an array whose elements' sum is what is differentiated.
            An array keeps more digits: elements that x[i] does not touch cancel exactly.
        x: float array, C-contiguous and writeable, that f reads.
        h: the step.

    TypeError or ValueError for another x or h; FloatingPointError if f gives NaN or infinity.

    Returns:
        (gradient, round_off): arrays of x's shape, float64; the second bounds the first's round-off.
    """
    checks.positive("numerical_gradient", "h", h)
    flat = flat_view("numerical_gradient", check_point("numerical_gradient", "x", x))
    function = Function(f, eps=float(np.finfo(x.dtype).eps))
    found = [central(function, Coordinate(flat, i, x.shape), h) for i in range(x.size)]
    values, noise = (np.array([getattr(e, name) for e in found]) for name in ("value", "round_off"))
    return values.reshape(x.shape), noise.reshape(x.shape)
