"""Whether a function reads what a check moves: what to say of one that ignores its argument, or is a step function."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from .. import streams
from .modes import Problem
from .numeric import Function
from .result import GradientCheck

_MOVES = (1e-4, 1.0, 100.0)  # in units of max(1, |x|)


def least_move(f: Function, arrays: Sequence[np.ndarray], moves: Sequence[float] = _MOVES) -> float | None:
    """The least move of these arrays, all their elements at random, at which f differs; None if it never does.

    They are moved in place and put back. Not a bit of f's value may change for it not to differ.
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
    """The names of tensors that f shows no dependence on, around where it was checked."""
    f, values = problem.function, problem.values
    still = [t for t in check.tensors if not t.numeric]  # a derivative of 0 to the last bit, which NaN is not
    if len(still) == len(check.tensors):
        every = [a for a in values.values() if a.size]
        return list(values) if every and least_move(f, every, _MOVES[:1]) is None else []
    suspects = [t.name for t in still if t.name in values and not t.passed]
    return [name for name in suspects if least_move(f, [values[name]], _MOVES[:1]) is None]


@contextmanager
def standing_in(originals: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Arrays with other values in them for a while; what they had is put back."""
    kept = {name: a.copy() for name, a in originals.items()}
    try:
        for name, a in originals.items():
            a[...] = values[name]
        yield
    finally:
        for name, a in originals.items():
            a[...] = kept[name]


def changed(arrays: Mapping[str, np.ndarray], kept: Mapping[str, np.ndarray]) -> list[str]:
    """The names of arrays that differ from what was kept of them."""
    return [name for name, a in arrays.items() if not np.array_equal(a, kept[name], equal_nan=a.dtype.kind in "fc")]


def accumulating(gradients: Callable[[], Mapping[str, np.ndarray]]) -> tuple[dict[str, np.ndarray], float, list[str]]:
    """What a backward pass gives, called twice.

    Returns:
        (gradients of the first call, largest difference of the second's from them, names of those to which each call
        adds the same again). Where two calls differ there is a third.
    """
    once, again = ({name: np.array(g) for name, g in gradients().items()} for _ in range(2))
    difference = max(_largest_difference(once[name], again[name]) for name in once)
    if difference == 0:
        return once, 0.0, []
    third = gradients()
    return once, difference, [name for name in once if _adds(once[name], again[name], np.asarray(third[name]))]


def _largest_difference(one: np.ndarray, other: np.ndarray) -> float:
    """0 where both are not finite in the same way."""
    with np.errstate(invalid="ignore"):
        return float(np.nanmax(np.abs(np.where(one == other, 0.0, one - other)), initial=0.0))


def _adds(once: np.ndarray, again: np.ndarray, third: np.ndarray) -> bool:
    """Whether three calls left g + s, 2 g + s and 3 g + s, with a g that is no rounding."""
    with np.errstate(invalid="ignore"):
        first, second = again - once, third - again
        size = float(np.abs(first).max(initial=0.0))
        close = float(np.abs(second - first).max(initial=0.0)) <= 1e-4 * size
    return close and size > 1e-6 * float(np.abs(once).max(initial=0.0))


def changes(who: str, what: list[str]) -> str:
    """A remark on what a function changes that was handed to it; "" if that is nothing."""
    if not what:
        return ""
    return (
        f"{who} changes {' and '.join(what)} in place, which the caller may go on using: let it work on a copy. Here "
        "it was put back."
    )


def accumulates(who: str, what: list[str]) -> str:
    """A remark on a backward pass that adds up its gradients; "" if it does not."""
    if not what:
        return ""
    return (
        f"{who} accumulates: each call adds the gradient of {', '.join(what)} to what the call before it left. Let "
        "every call start from zeros, or overwrite."
    )
