"""Coordinates at the boundary of a function's domain, such as 0 for a square root.

If a function is not finite next to x for any step length, it has no two-sided derivative there. Such coordinates are
left out and counted, and the others are judged.
"""

import math
from dataclasses import replace

import numpy as np

from .judge import H
from .modes import How, Problem, run
from .numeric import Function
from .result import GradientCheck, unjudged

_SHORTEST = 1e-3  # as a share of the first step: three divisions by 10
_SHOWN = 3  # coordinates that a remark names


def run_inside(problem: Problem, how: How) -> GradientCheck:
    """Check a problem with ``run``, without coordinates at the boundary of the function's domain."""
    if not problem.poisoned:
        # The gradient of a square root is infinite at 0. Elsewhere, a gradient that is not finite is a mistake.
        _leave_out(problem, how, {name: np.flatnonzero(~np.isfinite(g)) for name, g in problem.gradients.items()})
    try:
        return _with_words(run(problem, how), problem)
    except FloatingPointError:
        everything = {name: np.arange(value.size) for name, value in problem.values.items()}
        if not _leave_out(problem, how, everything):
            raise
    return _with_words(run(problem, how), problem)


def _leave_out(problem: Problem, how: How, among: dict[str, np.ndarray]) -> bool:
    """Leave out those of these coordinates that the function is not finite next to; return whether there are any."""
    f = problem.function
    h = min(f.step(H, 2) * _SHORTEST, how.h or math.inf)
    found = {name: _edges(f, problem.flat(name), indices, h) for name, indices in among.items() if indices.size}
    for name in [name for name, indices in found.items() if indices]:
        indices = np.array(found[name])
        problem.left_out[name] = np.union1d(problem.left_out.get(name, []), indices).astype(int)
        gradient = np.array(problem.gradients[name], np.float64)
        gradient.reshape(-1)[indices] = 0.0
        problem.gradients[name] = gradient
    return any(found.values())


def _edges(f: Function, flat: np.ndarray, among: np.ndarray, h: float) -> list[int]:
    """Return those of these elements that f is not finite next to. Halving finds few elements in few evaluations."""
    if not among.size or _finite(f, flat, among, h):
        return []
    if among.size == 1:
        return [int(among[0])]
    half = among.size // 2
    return _edges(f, flat, among[:half], h) + _edges(f, flat, among[half:], h)


def _finite(f: Function, flat: np.ndarray, which: np.ndarray, h: float) -> bool:
    """Return whether f is finite after these elements move up, and after they move down, by h times max(1, |x|)."""
    kept = flat[which]
    try:
        for step in (h, -h):
            flat[which] = kept + step * np.maximum(1.0, np.abs(kept))
            f.read()
    except FloatingPointError:
        return False
    finally:
        flat[which] = kept
    return True


def _with_words(check: GradientCheck, problem: Problem) -> GradientCheck:
    """Add the counts of coordinates that were left out, and a remark on them."""
    if not problem.left_out:
        return check
    whole = [name for name, indices in problem.left_out.items() if len(indices) == problem.values[name].size]
    tensors = [
        replace(t, excluded=t.excluded + len(problem.left_out.get(t.name, ())))
        for t in check.tensors
        if t.name not in whole and not (t.directions and len(whole) == len(problem.values))
    ]
    note = "f is not finite next to any coordinate: nothing could be judged"
    tensors += [unjudged(name, problem.values[name].size, note, verdict="kink") for name in whole]
    places = "; ".join(_places(name, indices, problem.values[name].shape) for name, indices in problem.left_out.items())
    remark = (
        f"Left out, as f is not finite right next to them, however short the step: {places}. If f's domain ends there, "
        "move them inside it to have them judged."
    )
    return replace(check, tensors=tuple(tensors), remark=" ".join(filter(None, (check.remark, remark))))


def _places(name: str, indices: np.ndarray, shape: tuple[int, ...]) -> str:
    shown = ", ".join(str([int(k) for k in np.unravel_index(i, shape)]) for i in indices[:_SHOWN])
    return f"{len(indices)} of {math.prod(shape)} coordinates of {name} ({shown}{', ...' * (len(indices) > _SHOWN)})"
