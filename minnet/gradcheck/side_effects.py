"""What a checked function does besides computing: arrays that it changes in place, gradients that it accumulates."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np


@contextmanager
def standing_in(originals: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Write other values into these arrays, and restore the old ones at the end of the context."""
    kept = {name: a.copy() for name, a in originals.items()}
    try:
        for name, a in originals.items():
            a[...] = values[name]
        yield
    finally:
        for name, a in originals.items():
            a[...] = kept[name]


def changed(arrays: Mapping[str, np.ndarray], kept: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of arrays that differ from their kept copies."""
    return [name for name, a in arrays.items() if not np.array_equal(a, kept[name], equal_nan=a.dtype.kind in "fc")]


def accumulating(gradients: Callable[[], Mapping[str, np.ndarray]]) -> tuple[dict[str, np.ndarray], float, list[str]]:
    """Compute gradients twice, and a third time if the first two differ, to see whether they accumulate.

    Returns:
        (gradients of the first call, largest difference between the first two calls, names of the gradients to which
        each call adds the same amount).
    """
    once, again = ({name: np.array(g) for name, g in gradients().items()} for _ in range(2))
    difference = max(_largest_difference(once[name], again[name]) for name in once)
    if difference == 0:
        return once, 0.0, []
    third = gradients()
    return once, difference, [name for name in once if _adds(once[name], again[name], np.asarray(third[name]))]


def _largest_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest absolute difference; equal infinities and pairs of NaN count as 0."""
    with np.errstate(invalid="ignore"):
        return float(np.nanmax(np.abs(np.where(one == other, 0.0, one - other)), initial=0.0))


def _adds(once: np.ndarray, again: np.ndarray, third: np.ndarray) -> bool:
    """Return whether three calls left g + s, 2 g + s and 3 g + s, with a g larger than rounding errors."""
    with np.errstate(invalid="ignore"):
        first, second = again - once, third - again
        size = float(np.abs(first).max(initial=0.0))
        close = float(np.abs(second - first).max(initial=0.0)) <= 1e-4 * size
    return close and size > 1e-6 * float(np.abs(once).max(initial=0.0))


def changes(who: str, what: list[str]) -> str:
    """Return a remark on arguments that a function changes in place, or "" if there are none."""
    if not what:
        return ""
    return (
        f"{who} changes {' and '.join(what)} in place, although the caller may still use it: let it work on a copy. "
        "The check has restored the original values."
    )


def accumulates(who: str, what: list[str]) -> str:
    """Return a remark on a backward pass that accumulates its gradients, or "" if it does not."""
    if not what:
        return ""
    return (
        f"{who} accumulates: each call adds the gradient of {', '.join(what)} to that of the previous call. Let every "
        "call overwrite the gradient, or set it to zeros first."
    )
