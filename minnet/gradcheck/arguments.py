"""Arguments of checked functions and their gradients, in the forms in which a caller may give them."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..base import checks

Arguments = np.ndarray | Sequence[Any] | Mapping[str, Any]
Replay = Callable[[], object] | np.random.Generator | Iterable[np.random.Generator] | None

_DISCRETE = "integers are discrete, and nothing has a derivative with respect to them; for measured values give floats"


def is_floats(value: Any) -> bool:
    """Return whether this is an array of floats, which a check can move."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def is_discrete(value: Any) -> bool:
    """Return whether this is an array of integers or booleans, such as labels."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "iub"


def no_floats(who: str, expected: str, got: Any) -> TypeError:
    """Return the error for arguments without an array of floats."""
    arrays = [a for a in (got.values() if isinstance(got, Mapping) else got) if isinstance(a, np.ndarray)]
    if arrays and all(is_discrete(a) for a in arrays):
        return TypeError(f"{who}: expected {expected}; got {arrays[0].dtype} ({_DISCRETE}, x.astype(float))")
    return TypeError(f"{who}: expected {expected}; got {got!r}")


def names(f: Callable[..., Any], count: int) -> list[str]:
    """Return the names of f's first parameters; "0", "1", ... if they are unknown."""
    named = _positional(f)
    return [named[i] if i < len(named) else str(i) for i in range(count)]


def _parameters(f: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):  # some functions written in C have no signature
        return []


def _positional(f: Callable[..., Any]) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in _parameters(f) if p.kind in kinds]


def required(f: Callable[..., Any]) -> list[str]:
    """Return the names of f's required positional parameters."""
    needed = {p.name for p in _parameters(f) if p.default is inspect.Parameter.empty}
    return [name for name in _positional(f) if name in needed]


def arguments(
    who: str, f: Callable[..., Any], x: Arguments
) -> tuple[list[str], dict[str, Any], Callable[[Callable[..., Any], Mapping[str, Any]], Any]]:
    """Take apart the arguments of f.

    Returns:
        (names of the arrays of floats, all arguments by name with copies of these arrays, ``call(g, values)``).
        ``call`` passes the values to g in the form of x: as an array, as ``*`` of a tuple, as ``**`` of a dict, or as
        one dict if f does not take its keys as keywords.
    """
    if isinstance(x, Mapping):
        given = dict(x)
        call = lambda g, values: g(**values) if _takes_keywords(g, given) else g(dict(values))  # noqa: E731
    elif isinstance(x, tuple):
        given = dict(zip(names(f, len(x)), x, strict=True))
        call = lambda g, values: g(*values.values())  # noqa: E731
    else:
        (name,) = names(f, 1)
        given = {"x" if name == "0" else name: _one_array(who, x)}
        call = lambda g, values: g(*values.values())  # noqa: E731
    if not any(is_floats(a) for a in given.values()):
        given = {name: np.array(a) if isinstance(a, float) else a for name, a in given.items()}
    points = {name: np.array(a, order="C") if is_floats(a) else a for name, a in given.items()}
    moved = [name for name, a in points.items() if is_floats(a)]
    if not moved:
        raise no_floats(who, "x with at least one array of floats", x)
    return moved, points, call


def _one_array(who: str, x: Any) -> np.ndarray:
    checks.dense(who, "x", x)
    try:
        only = np.asarray(x)
    except ValueError:  # lists of uneven lengths
        raise TypeError(
            f"{who}: expected x as an array; got a {type(x).__name__} of arrays of several shapes (give these as a "
            "tuple, for f(*x), or as a dict)"
        ) from None
    if only.dtype.kind != "f":
        why = f" ({_DISCRETE}, x.astype(float))" if only.dtype.kind in "iub" else ""
        raise TypeError(f"{who}: expected x of floating-point values; got dtype {only.dtype}{why}")
    return only


def _takes_keywords(f: Callable[..., Any], given: Mapping[str, Any]) -> bool:
    """Return whether f is to be called as f(**given), not as f(given)."""
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(**given)
        return True
    except TypeError:
        pass
    try:
        signature.bind(given)
        return False
    except TypeError:
        return True  # the call then raises Python's own error


def paired(who: str, moved: list[str], points: Mapping[str, Any], given: Any) -> dict[str, Any]:
    """Return the given gradients by the names of their arguments: those of arrays of floats, or of all arguments."""
    if isinstance(given, Mapping):
        found = {key[1:] if key not in points and key[:1] == "d" else key: g for key, g in given.items()}
        unknown = [name for name in found if name not in points and found[name] is not None]
        if unknown:
            raise ValueError(
                f"{who}: expected gradients of {', '.join(moved)}; got one of {unknown[0]!r}, which is no argument"
            )
        missing = [name for name in moved if name not in found]
        if missing:
            raise ValueError(
                f"{who}: expected a gradient of each of {', '.join(moved)}; got none of {missing[0]!r} (give None for "
                "one that is not to be checked)"
            )
        return found
    parts = _parts(moved, points, given)
    arrays = [name for name, a in points.items() if isinstance(a, np.ndarray)]
    for owners in (moved, arrays, list(points)):
        if len(owners) == len(parts):
            return dict(zip(owners, parts, strict=True))
    raise ValueError(
        f"{who}: expected {len(moved)} gradients, of {', '.join(moved)} (None for one not to be checked); got "
        f"{len(parts)}"
    )


def _parts(moved: list[str], points: Mapping[str, Any], given: Any) -> list[Any]:
    """Return a list with one gradient per argument. For a single array, a list of numbers is one gradient."""
    if not isinstance(given, (tuple, list)):
        return [given]
    if len(moved) > 1 or any(g is None for g in given):
        return list(given)
    apart = isinstance(given, tuple) and any(np.ndim(g) == points[moved[0]].ndim for g in given)
    return list(given) if apart else [given]


def gradients_of(who: str, moved: list[str], points: Mapping[str, Any], given: Any) -> dict[str, np.ndarray]:
    """Return the gradients of arrays of floats, without those given as None; raise ValueError for other shapes."""
    found = paired(who, moved, points, given)
    gradients = {name: np.asarray(found[name]) for name in moved if found.get(name) is not None}
    for name, gradient in gradients.items():
        if gradient.shape != points[name].shape:
            raise ValueError(f"{who}: expected analytic of {name}'s shape {points[name].shape}; got {gradient.shape}")
    if not gradients:
        raise ValueError(f"{who}: expected a gradient of at least one of {', '.join(moved)}; got none")
    if not any(gradient.size for gradient in gradients.values()):
        raise ValueError(f"{who}: expected at least one element to check; got arrays without any")
    return gradients


def replayer(replay: Replay) -> Callable[[], object]:
    """Return the function that restores the state of the noise before every evaluation."""
    if replay is None:
        return lambda: None
    if callable(replay):
        return replay
    generators = [replay] if isinstance(replay, np.random.Generator) else list(replay)
    states = [g.bit_generator.state for g in generators]

    def put_back() -> None:
        for generator, state in zip(generators, states, strict=True):
            generator.bit_generator.state = state

    return put_back


def eps_of(arrays: Iterable[np.ndarray]) -> float:
    """Return the largest machine epsilon of these arrays' dtypes."""
    return max((float(np.finfo(a.dtype).eps) for a in arrays if a.dtype.kind == "f"), default=2.0**-52)
