"""Whether a function depends on the values that a check moves, and the remark on a function that does not."""

from collections.abc import Sequence

import numpy as np

from ..base import streams
from .modes import Problem
from .numeric import Function
from .result import GradientCheck

_MOVES = (1e-4, 1.0, 100.0)  # in units of max(1, |x|)


def least_move(f: Function, arrays: Sequence[np.ndarray], moves: Sequence[float] = _MOVES) -> float | None:
    """Return the smallest size of random moves of these arrays at which f's value changes, or None if it never does.

    All elements move in place and are restored. f counts as unchanged only if its value is equal bit by bit.
    """
    rng = streams.generator(0, "moves that a function may see")
    kept = [a.copy() for a in arrays]
    try:
        for size in moves:
            for a, old in zip(arrays, kept, strict=True):
                away = rng.uniform(0.5, 1.5, a.shape) * rng.choice((-1.0, 1.0), a.shape)
                a[...] = old + size * np.maximum(1.0, np.abs(old)) * away
            try:
                if not np.array_equal(f.read().terms, f.base.terms):
                    return size
            except FloatingPointError:
                return size
    finally:
        for a, old in zip(arrays, kept, strict=True):
            a[...] = old
    return None


def unread(problem: Problem, check: GradientCheck) -> list[str]:
    """Return the names of tensors that f does not depend on, near the point of the check."""
    f, values = problem.function, problem.values
    still = [t for t in check.tensors if not t.numeric]  # a derivative of exactly 0; NaN is not one
    if len(still) == len(check.tensors):
        every = [a for a in values.values() if a.size]
        return list(values) if every and least_move(f, every, _MOVES[:1]) is None else []
    suspects = [t.name for t in still if t.name in values and not t.passed]
    return [name for name in suspects if least_move(f, [values[name]], _MOVES[:1]) is None]


def ignores(problem: Problem, ignored: list[str]) -> str:
    """Return a remark on an f that does not depend on some of its arguments, although their gradients are not 0."""
    listed = ", ".join(ignored)
    far = least_move(problem.function, [problem.values[name] for name in ignored])
    if far is not None:
        return (
            f"f is constant around {listed} and changes only farther away, like a step function (round, argmax, a cast "
            "to integers): its gradient is 0 there."
        )
    return (
        f"f does not depend on {listed}: f returned the same value wherever it was moved. If f reads these values from "
        'elsewhere, like lambda _: model.loss(X)[0], give the very array that it reads (model.params["W"], not a copy).'
    )
