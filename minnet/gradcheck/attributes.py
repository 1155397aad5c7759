"""Find parameters and their gradients in the attributes of an object, and in dicts and lists inside it."""

from collections.abc import Iterator
from typing import Any

from .arguments import is_floats

Path = tuple[str | int, ...]

_GRADIENTS = ("d{}", "grad_{}", "{}_grad")  # usual names of the gradient of W
_DICTS = (("params", "grads"), ("parameters", "gradients"))  # usual names of two dicts with the same keys


def find(thing: Any, path: Path) -> Any:
    """Return the value at a path, or None if there is none."""
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
    """Set the value at a path, whose last part need not exist yet."""
    holder = find(thing, path[:-1])
    if isinstance(holder, dict):
        holder[path[-1]] = value
    else:
        setattr(holder, str(path[-1]), value)


def arrays_of(thing: Any, path: Path = (), seen: frozenset[int] = frozenset()) -> Iterator[Path]:
    """Yield the paths of all arrays of floats in an object, and in the dicts, lists and layers that it holds."""
    if id(thing) in seen:
        return
    for key, value in _held(thing).items():
        if is_floats(value):
            yield (*path, key)
        elif _may_hold(value):
            yield from arrays_of(value, (*path, key), seen | {id(thing)})


def pairs_of(thing: Any) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Find the parameters of an object.

    Returns:
        (for each parameter with a gradient, by its dotted path: the path of the parameter and that of the gradient;
        the dotted paths of entries in dicts of parameters that have no entry in the dict of gradients).
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
    held = _held(thing)
    for key, value in held.items():
        if is_floats(value):
            names = [form.format(key) for form in _GRADIENTS]
            found = next((name for name in names if is_floats(held.get(name))), None)
            if found is not None:
                yield (*path, key), (*path, found)
        elif _may_hold(value):
            yield from _pairs(value, (*path, key), seen)
    for first, second in _DICTS:
        values, gradients = held.get(first), held.get(second)
        if isinstance(values, dict) and isinstance(gradients, dict):
            for key in values:
                if is_floats(values[key]):
                    yield (*path, first, key), (*path, second, key) if is_floats(gradients.get(key)) else None


def _may_hold(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple)) or hasattr(value, "backward")


def _held(thing: Any) -> dict[Any, Any]:
    if isinstance(thing, (list, tuple)):
        return dict(enumerate(thing))
    return thing if isinstance(thing, dict) else dict(getattr(thing, "__dict__", {}))
