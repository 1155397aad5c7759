"""The function that is checked, its arguments, and how it is called with them."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..base import streams
from .arguments import Arguments, Replay, arguments, is_floats, replayer
from .side_effects import changed, standing_in

# How Python's math module reports an argument outside a function's domain.
_OUTSIDE = ("domain error", "expected a positive input", "expected a nonnegative input", "expected a number in range")


class Subject:
    """A function and its arguments.

    Attributes:
        names: names of the arrays of floats, which the check moves.
        points: copies of the arguments, by name. The check moves these.
        originals: the given arrays themselves, without read-only ones.
        read_only: names of the arrays that are read-only.
        replayed: function that restores the state of the noise.
        call: ``call(g, values)`` calls g in the way in which f is called.
    """

    def __init__(self, who: str, f: Callable[..., Any], x: Arguments, replay: Replay = None) -> None:
        self.who, self.f = who, f
        self.names, self.points, self.call = arguments(who, f, x)
        self.replayed = replayer(replay)
        given = (
            x if isinstance(x, Mapping) else dict(zip(self.points, x if isinstance(x, tuple) else (x,), strict=True))
        )
        arrays = {name: given[name] for name in self.names if is_floats(given[name])}
        self.originals = {name: a for name, a in arrays.items() if a.flags.writeable}
        self.read_only = [name for name in arrays if name not in self.originals]
        self.start = {name: a.copy() for name, a in self.originals.items()}
        self.in_place = False
        self._guarded = False

    def moved_in_place(self, all_of_them: bool = True) -> "Subject":
        """Return a copy of this subject that writes moved values into the given arrays themselves.

        If one is read-only, raise ValueError with ``all_of_them``; otherwise f receives a copy of that array.
        """
        fixed = [name for name in self.names if name not in self.originals]
        if fixed and all_of_them:
            raise ValueError(
                f"{self.who}: expected {fixed[0]} as an array that can be written to, for in_place=True; got one that "
                "is read-only, or none (leave in_place out if f uses its argument; if it does not, give x.copy(), and "
                "let f read that)"
            )
        moved = copy.copy(self)
        moved.in_place = True
        return moved

    def copies(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return these values with a copy of each array."""
        return {name: a.copy() if isinstance(a, np.ndarray) else a for name, a in values.items()}

    def evaluated(self, values: Mapping[str, Any]) -> Any:
        """Return what f returns for these values, with its noise replayed."""
        self.replayed()
        if not self.in_place and not self._guarded:
            return self.call(self.f, self.copies(values))
        with standing_in(self.originals, values if self.in_place else self.start):
            arguments = {**self.copies(values), **(self.originals if self.in_place else {})}
            return _kept(self.call(self.f, arguments))

    def restored(self) -> list[str]:
        """Restore given arrays that a call has changed, and from now on after every call; return their names."""
        touched = changed(self.originals, self.start)
        for name in touched:
            self.originals[name][...] = self.start[name]
            self._guarded = True
        return touched

    def originals_matter(self, which: list[str]) -> bool:
        """Return whether f's value changes if the given arrays move and its arguments stay."""
        arrays = {name: self.originals[name] for name in which if name in self.originals}
        if not arrays:
            return False
        rng = streams.generator(0, "moves of given arrays")
        before = _numbers(self.evaluated(self.points))
        moved = {name: a + rng.uniform(1e-3, 2e-3, a.shape) * np.maximum(1.0, np.abs(a)) for name, a in arrays.items()}
        with standing_in(arrays, moved), np.errstate(all="ignore"):
            self._guarded, guarded = False, self._guarded
            after = _numbers(self.evaluated(self.points))
            self._guarded = guarded
        return not np.array_equal(before, after, equal_nan=True)


def _kept(made: Any) -> Any:
    """Copy the arrays in f's result, since they may be arrays that are restored after the call."""
    if isinstance(made, tuple):
        return tuple(_kept(part) for part in made)
    if isinstance(made, dict):
        return {key: _kept(part) for key, part in made.items()}
    return made.copy() if isinstance(made, np.ndarray) else made


def _numbers(made: Any) -> np.ndarray:
    """Return the value in f's result, without the gradient beside it."""
    return np.asarray(made[0] if isinstance(made, tuple) else made)


def quiet(value: Callable[[], np.ndarray]) -> Callable[[], np.ndarray]:
    """Wrap ``value`` so that it returns NaN, without a warning, outside its domain, which steps from x may leave."""

    def silent() -> np.ndarray:
        try:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                return value()
        except ArithmeticError:
            return np.full((), np.nan)
        except ValueError as error:
            if not any(words in str(error) for words in _OUTSIDE):
                raise
            return np.full((), np.nan)

    return silent
