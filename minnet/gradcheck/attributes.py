"""Where an object keeps its parameters and their gradients: attributes, and entries of dicts and lists."""

from collections.abc import Iterator
from typing import Any

from .arguments import is_floats

Path = tuple[str | int, ...]

_GRADIENTS = ("d{}", "grad_{}", "{}_grad")  # what people call the gradient of W
_DICTS = (("params", "grads"), ("parameters", "gradients"))  # and two dicts with the same keys


def find(thing: Any, path: Path) -> Any:
    """What lies at a path; None if there is nothing."""
    for key in path:
        if isinstance(thing, (dict, list, tuple)):
            try:
                thing = thing[key]  # type: ignore[index]
            except LookupError:
                return None
        else:
            thing = getattr(thing, str(key), None)
    return thing


def put(thing: Any, path: Path, value: Any) -> None:
    """Let ``value`` lie at a path whose last part may be new."""
    holder = find(thing, path[:-1])
    if isinstance(holder, dict):
        holder[path[-1]] = value
    else:
        setattr(holder, str(path[-1]), value)


def pairs_of(thing: Any) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Where parameters lie, by their dotted paths.

    Returns:
        (the paths of each array of floats that has a gradient beside it, and of that; the entries of dicts of
        parameters that have none in the dict of gradients).
    """
    found, lacking = {}, []
    for where, gradient in _pairs(thing, (), set()):
        name = ".".join(map(str, where))
        if gradient is None:
            lacking.append(name)
        else:
            found[name] = where, gradient
    return found, lacking


def _pairs(thing: Any, path: Path, seen: set[int]) -> Iterator[tuple[Path, Path | None]]:
    if id(thing) in seen:
        return
    seen.add(id(thing))
    held = dict(enumerate(thing)) if isinstance(thing, (list, tuple)) else _entries(thing)
    for key, value in held.items():
        if is_floats(value):
            names = [form.format(key) for form in _GRADIENTS]
            found = next((name for name in names if is_floats(held.get(name))), None)
            if found is not None:
                yield (*path, key), (*path, found)
        elif isinstance(value, (dict, list, tuple)) or hasattr(value, "backward"):
            yield from _pairs(value, (*path, key), seen)
    for first, second in _DICTS:
        values, gradients = held.get(first), held.get(second)
        if isinstance(values, dict) and isinstance(gradients, dict):
            for key in values:
                if is_floats(values[key]):
                    yield (*path, first, key), (*path, second, key) if is_floats(gradients.get(key)) else None


def _entries(thing: Any) -> dict[Any, Any]:
    return thing if isinstance(thing, dict) else dict(getattr(thing, "__dict__", {}))
