"""What a function is made of: its text, and those of the functions, classes and constants that it names.

A stored result belongs to the code that computed it. The name of ``build`` does not change when its body does, so a
study also stores these digests, and refuses to go on with other code.
"""

import ast
import functools
import inspect
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .units import digest

_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def sources(function: Any) -> dict[str, str]:
    """Return digests of a function and of what it names, by name.

    Functions and classes are followed, constants are taken as they are. Comments and docstrings do not count. Minnet,
    the standard library and installed packages are not followed. What is not found by a name, such as a module that is
    imported within a function, is not seen.

    Args:
        function: a function, a ``functools.partial`` of one, or an object that can be called.
    """
    found: dict[str, str] = {}
    _follow("function", function, found)
    return dict(sorted(found.items()))


def _follow(name: str, value: Any, found: dict[str, str]) -> None:
    """Add a value and, if it is code, what it names."""
    if isinstance(value, functools.partial):
        _add(f"{name} arguments", [value.args, value.keywords], found)
        value = value.func
    value = inspect.unwrap(value) if callable(value) else value  # what functools.cache is around
    value = getattr(value, "__func__", value)
    if isinstance(value, FunctionType | type):
        name = f"{_module_of(value)}:{value.__qualname__}"
        if _is_own(value.__module__) and name not in found:
            found[name] = digest(_text(value))
            for inner, named in _named(value):
                _follow(inner, named, found)
    elif isinstance(value, ModuleType):
        return
    else:
        _add(name, value, found)
        if callable(value):  # an object with __call__
            _follow(name, type(value), found)


def _add(name: str, value: Any, found: dict[str, str]) -> None:
    try:
        found.setdefault(name, digest(value))
    except TypeError:  # an object whose repr is an address says nothing
        return


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    """Return what the code of a function or class names: (name, value)."""
    if isinstance(value, type):
        yield from ((base.__name__, base) for base in value.__bases__)
        for method in vars(value).values():
            if isinstance(method, FunctionType):  # whose text is that of the class
                yield from _named(method)
        return
    names = set(_names(value.__code__))
    seen = {name: value.__globals__[name] for name in names if name in value.__globals__}
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        with suppress(ValueError):  # not assigned yet
            seen[name] = cell.cell_contents
    for name, inner in seen.items():
        if isinstance(inner, ModuleType) and _is_own(inner.__name__):
            yield from ((f"{inner.__name__}:{part}", vars(inner)[part]) for part in names if part in vars(inner))
        else:
            yield f"{_module_of(value)}:{name}", inner


def _names(code: CodeType) -> Iterator[str]:
    """Return the names of globals and attributes in code, also in functions within it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _module_of(value: Any) -> str:
    """Return the name of a module; of the main program that by which others import it."""
    if value.__module__ != "__main__":
        return str(value.__module__)
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    return spec.name if spec is not None else Path(file).stem if file else "__main__"


def _is_own(module: str) -> bool:
    """Return whether a module belongs to the program, not to a library."""
    root = module.partition(".")[0]
    if root == "minnet" or root in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not file.startswith(_LIBRARIES)


def _text(value: Any) -> str:
    """Return the source without comments and docstrings; of a lambda, or without a file, the compiled code."""
    try:
        if value.__name__ == "<lambda>":  # its lines hold more than itself
            return _compiled(value.__code__)
        tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    except (OSError, TypeError, SyntaxError):
        return _compiled(value.__code__) if isinstance(value, FunctionType) else ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _compiled(code: CodeType) -> str:
    constants = [_compiled(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, constants))
