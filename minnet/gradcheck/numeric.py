"""Numerical derivatives along a line: a coordinate, or a direction in the space of all coordinates.

A difference of two nearly equal values has a round-off error of about eps * |f| / h. A step that is too long has a
truncation error of about h^2 * |f'''| / 6. A step over a kink has an error of any size. An ``Estimate`` has bounds on
the first two. The third is detected exactly if the function reports which pieces it is on (``winners``).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base import checks

# Round-off of sums of a few hundred terms in practice, in units of eps * |f| / h.
_ROUND_OFF = 32.0
# Error of f that follows from the rounding of x, in units of eps * |x| * |f'| / h.
_CONDITION = 4.0
_SHRINKS = 3  # how often a step over a kink is divided by 10
DOUBLE = 2.0**-52  # eps of float64
_COARSE = 1e-12  # a larger eps means single precision or less


def relative_error(analytic: Any, numeric: Any) -> np.ndarray:
    """Return the relative error |a - n| / max(|a|, |n|) of each element, as defined in CS231n.

    Args:
        analytic, numeric: numbers or arrays of equal shape.

    Returns:
        A float64 array of that shape; 0 where both gradients are 0.

    Raises:
        ValueError: if the shapes differ.
    """
    a, n = np.asarray(analytic, np.float64), np.asarray(numeric, np.float64)
    if a.shape != n.shape:
        raise ValueError(f"relative_error: expected arrays of one shape; got {a.shape} and {n.shape}")
    size = np.maximum(np.abs(a), np.abs(n))
    return np.abs(a - n) / np.where(size == 0, 1.0, size)


class StepError(ValueError):
    """A step so short that it does not change x."""


@dataclass(frozen=True)
class Reading:
    """One evaluation: terms whose sum is the value, so that unchanged terms cancel exactly, and winners."""

    terms: np.ndarray
    winners: np.ndarray | None

    def same_pieces(self, other: "Reading") -> bool:
        """Return whether all winners are equal."""
        return self.winners is None or other.winners is None or np.array_equal(self.winners, other.winners)


class Function:
    """The function that is differentiated. It reads arrays that the check moves in place, and counts its evaluations.

    Args:
        evaluate: computes the terms whose sum is the value.
        winners: returns, after an evaluation, which piece each part with kinks was on; None if there are no such parts
            or they are unknown.
        eps: machine epsilon of the arithmetic inside.
        guessed: whether ``eps`` is only inferred from the dtypes of arguments and values. ``listen`` may then find
            more noise.
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
        self.kinked = False  # whether there are kinks too near to detect above the round-off
        self.base = self.read()

    def read(self) -> Reading:
        """Evaluate at the arrays' present values; raise FloatingPointError for NaN or infinity."""
        self.evaluations += 1
        terms = np.array(self.evaluate(), np.float64)
        if not np.isfinite(terms).all():
            raise FloatingPointError("gradient check: expected finite values; got NaN or infinity")
        return Reading(terms, self.winners())

    @property
    def round_off(self) -> float:
        """Bound on the round-off of one evaluation."""
        return _ROUND_OFF * self.eps * float(np.abs(self.base.terms).sum())

    @property
    def coarse(self) -> bool:
        """Whether the arithmetic has single precision or less."""
        return self.eps > _COARSE

    def step(self, h: float, order: int) -> float:
        """Return the step that corresponds to the step h in float64, which is longer in coarser arithmetic.

        Where truncation of h^order and round-off of eps / h are equal, h grows with eps^(1 / (order + 1)).
        """
        return h * (self.eps / DOUBLE) ** (1 / (order + 1))


class Line:
    """A straight line through the present values of the function's arrays.

    ``with line.at(t) as moved:`` moves the arrays by t; ``moved`` is the distance after rounding.

    Attributes:
        where: index of the coordinate or number of the direction, for messages.
        scale: factor of step lengths, max(1, magnitude) for a coordinate.
        magnitude: absolute value of the coordinate that moves.
    """

    where: tuple[int, ...]
    scale: float
    magnitude: float = 0.0

    @property
    def place(self) -> str:
        """``where`` in words."""
        return f"coordinate {list(self.where)}"

    def at(self, t: float) -> Any:
        """Return a context in which the arrays are moved by t, and that yields the distance moved."""
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
    """A direction that moves several flat arrays along vectors of the same sizes."""

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
        round_off: bound on the round-off error of the value.
        step: the step length h.
        crossed: whether the first step changed a winner.
        excluded: whether every step changed a winner, so that ``value`` has no meaning.
        truncation: bound on the truncation error; NaN if it was not estimated.
        gap: slope to the right minus slope to the left; NaN if only one side was used.
        kink: bound on the error from kinks that no winner reports.
        unseen: whether f rises by less than its round-off, and that within the shortest step.
    """

    value: float
    round_off: float
    step: float
    crossed: bool = False
    excluded: bool = False
    truncation: float = float("nan")
    gap: float = float("nan")
    kink: float = 0.0
    unseen: bool = False

    @property
    def uncertainty(self) -> float:
        """Bound on the sum of all errors, without truncation if that was not estimated."""
        return self.round_off + self.kink + (0.0 if math.isnan(self.truncation) else self.truncation)


def move(f: Function, line: Line, t: float) -> tuple[float, Reading]:
    """Return (distance moved, reading of f there); raise FloatingPointError if f is not finite."""
    with line.at(t) as moved:
        try:
            return moved, f.read()
        except FloatingPointError as error:
            raise FloatingPointError(f"{error} at {line.place} moved by {t:.0e}; give a shorter step with h=") from None


def _quotient(f: Function, above: tuple[float, Reading], below: tuple[float, Reading]) -> tuple[float, float]:
    """Return (difference quotient, its round-off) of two places."""
    width = above[0] - below[0]
    up, down = above[1].terms, below[1].terms
    size = np.maximum(np.abs(up), np.abs(down)).sum()
    return float((up - down).sum() / width), float(_ROUND_OFF * f.eps * size / abs(width))


def _one_sided(f: Function, line: Line, near: tuple[float, Reading]) -> tuple[float, float] | None:
    """Return the one-sided derivative (4 f(h/2) - f(h) - 3 f(0)) / h and its round-off; None if it crosses a kink."""
    half = move(f, line, near[0] / 2)
    if not half[1].same_pieces(f.base):
        return None
    here = 0.0, f.base
    (far_slope, far_noise), (slope, noise) = _quotient(f, near, here), _quotient(f, half, here)
    return 2 * slope - far_slope, 2 * noise + far_noise


def central(f: Function, line: Line, h: float, shrinks: int = 0) -> Estimate:
    """Return the central difference (f(x + h) - f(x - h)) / 2h, or an estimate that avoids kinks.

    If only one side of x crosses a kink, the estimate uses differences of the other side. If both sides do, or if f is
    not finite, h is divided by 10, at most ``shrinks`` times.
    """
    crossed = False
    for shrunk in range(shrinks + 1):
        try:
            above, below = move(f, line, h), move(f, line, -h)
        except StepError:
            if not shrunk:
                raise
            break
        except FloatingPointError:  # the boundary of f's domain may be near, such as 0 for a logarithm
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
    """Return (4 D(h / 2) - D(h)) / 3 of central differences D, with an error of order h^4 (Richardson 1911)."""
    try:
        whole, half = central(f, line, h), central(f, line, h / 2)
    except FloatingPointError:
        return central(f, line, h, _SHRINKS)
    if whole.crossed or half.crossed:
        return central(f, line, h, _SHRINKS)
    value = (4 * half.value - whole.value) / 3
    return Estimate(value, (4 * half.round_off + whole.round_off) / 3, h, gap=half.gap)


def shrinking(f: Function, line: Line, h: float) -> Estimate:
    """Return ``central`` with a step that shrinks if it crosses kinks."""
    return central(f, line, h, _SHRINKS)


def check_point(who: str, name: str, x: Any) -> np.ndarray:
    """Return x, a writeable array of floats; raise TypeError or ValueError for anything else."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        raise TypeError(f"{who}: expected {name} as an array of floats; got {x!r}")
    if not x.flags.writeable:
        raise ValueError(
            f"{who}: expected an {name} that can be changed in place; got a read-only array (give {name}.copy(), and "
            "let f read that)"
        )
    return x


def flat_view(who: str, x: np.ndarray) -> np.ndarray:
    """Return a view of x with one axis; raise ValueError if x is not C-contiguous."""
    flat = x.reshape(-1)
    if not np.shares_memory(flat, x) and x.size:
        raise ValueError(f"{who}: expected a C-contiguous x")
    return flat


def numerical_gradient(f: Callable[[], Any], x: np.ndarray, h: float = 1e-5) -> tuple[np.ndarray, np.ndarray]:
    """Compute central differences of f() with respect to x, which is changed in place and restored.

    Args:
        f: function without arguments. It returns a number, or an array whose sum is differentiated. An array keeps
            more digits, because elements that x[i] does not affect cancel exactly.
        x: array of floats, C-contiguous and writeable, that f reads.
        h: step length.

    Returns:
        (gradient, round_off): float64 arrays of x's shape. ``round_off`` is a bound on the gradient's round-off error.

    Raises:
        TypeError, ValueError: for an x or h of another kind.
        FloatingPointError: if f returns NaN or infinity.
    """
    checks.positive("numerical_gradient", "h", h)
    flat = flat_view("numerical_gradient", check_point("numerical_gradient", "x", x))
    function = Function(f, eps=float(np.finfo(x.dtype).eps))
    found = [central(function, Coordinate(flat, i, x.shape), h) for i in range(x.size)]
    values, noise = (np.array([getattr(e, name) for e in found]) for name in ("value", "round_off"))
    return values.reshape(x.shape), noise.reshape(x.shape)
