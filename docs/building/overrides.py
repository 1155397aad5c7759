"""Methods that override another one and have no docstring of their own.

Most classes of layers, rules and schedules override the same few methods. Their arguments, shapes and errors are those
of the base class, so the reference repeats its summary only, with a link to the whole docstring.
"""

import inspect
from functools import cache
from types import FunctionType
from typing import Any

import reference


def shorten(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Replace the docstring that a method inherits by its summary and a link; a hook of autodoc."""
    path, _, method = name.rpartition(".")
    kind = _public().get(path)
    if kind is not None and (base := overridden(kind, method)) is not None:
        lines[:] = summary(base, method)


def overridden(kind: type, name: str) -> type | None:
    """Return the class whose docstring a method or property of ``kind`` inherits; None if it has one of its own."""
    thing = vars(kind).get(name)
    if name.startswith("_") or not isinstance(thing, FunctionType | property) or thing.__doc__:
        return None
    return next((base for base in kind.__mro__[1:] if getattr(vars(base).get(name), "__doc__", None)), None)


def summary(base: type, name: str) -> list[str]:
    """Return the summary of a method, and where the rest is. A class that is not public has no such place."""
    thing = vars(base)[name]
    lines = inspect.cleandoc(thing.__doc__).splitlines()
    path = next((path for path, kind in _public().items() if kind is base), None)
    if path is None:
        return [*lines, ""]
    end = lines.index("") if "" in lines else len(lines)
    role = "attr" if isinstance(thing, property) else "meth"
    return [*lines[:end], "", f"Overrides :{role}:`{path}.{name}`.", ""]


@cache
def _public() -> dict[str, type]:
    """The classes of the reference by path."""
    subjects = (subject for room in reference.ROOMS for subject in reference.subjects(room))
    return {path: thing for path, thing in subjects if inspect.isclass(thing)}
