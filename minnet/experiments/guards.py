"""What a worker process needs to start, checked before one is started.

A process started by ``spawn`` imports the main program, and the modules of the functions that it is sent. If that
fails, pools of processes only say that a process has ended, or start others for ever.
"""

import ast
import multiprocessing
import os
import sys
from collections.abc import Iterable
from functools import cache
from multiprocessing.reduction import ForkingPickler
from types import FrameType
from typing import Any

from .units import Unit

_CURE = "Put it in a module, a .py file, and import it from there; or run with workers=0"


def check_portable(units: Iterable[Unit], shared: Iterable[Any] = ()) -> None:
    """Raise errors for units that a process started by ``spawn`` could not run, which name the cure.

    Raises:
        TypeError: a function is a lambda, defined within a function, or typed in a notebook; or it, or an argument,
            cannot be pickled.
        RuntimeError: the main program has no ``if __name__ == "__main__":`` around the call.
    """
    values = {id(value): value for unit in units for value in (unit.function, *unit.arguments)}
    values |= {id(value): value for value in shared}
    for value in values.values():  # each once: units share functions and data
        if callable(value) and hasattr(value, "__qualname__"):
            _check_function(value)
        try:
            ForkingPickler.dumps(value)
        except Exception as error:
            raise TypeError(
                f"workers: expected functions and arguments that can be pickled; got {type(error).__name__}: {error}. "
                "Give numbers, texts and arrays, and let the function make the rest"
            ) from error
    _check_main()


def _check_function(function: Any) -> None:
    name = f"{function.__module__}.{function.__qualname__}"
    if "<lambda>" in function.__qualname__:
        raise TypeError(f"workers: expected a function of a module; got a lambda, {name}. {_CURE}")
    if "<locals>" in function.__qualname__:
        raise TypeError(f"workers: expected a function of a module; got one within another function, {name}. {_CURE}")
    if function.__module__ == "__main__" and _main_file() is None:
        raise TypeError(
            f"workers: expected a function that other processes can import; got {name}, which was typed in a notebook "
            f"or on standard input. {_CURE}"
        )


def _main_file() -> str | None:
    """Return the file of the main program, None for a notebook, ``python -c`` and standard input."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return path if path is not None and os.path.isfile(path) else None


def _check_main() -> None:
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # as set while spawn imports the main program
        raise _no_guard("a call while a worker process imports the main program")
    path, given = _main_file(), getattr(sys.modules["__main__"], "__file__", None)
    if path is None and given is not None:  # "<stdin>", which worker processes would look for
        raise RuntimeError(
            f"workers: expected a main program in a file, as each worker process imports it; got {given}. Write it to "
            "a .py file, or run with workers=0"
        )
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        main = frame.f_globals.get("__name__") == "__main__" and frame.f_code.co_name == "<module>"
        if (
            main
            and path
            and os.path.realpath(frame.f_code.co_filename) == os.path.realpath(path)
            and not _guarded(path, frame.f_lineno)
        ):
            raise _no_guard(f"a call without it, in line {frame.f_lineno} of {path}")
        frame = frame.f_back


def _no_guard(got: str) -> RuntimeError:
    return RuntimeError(
        'workers: expected `if __name__ == "__main__":` around the program, as each worker process imports it; got '
        f"{got}. Put the program's body in a function main, and call it under that line; or run with workers=0"
    )


@cache
def _guarded(path: str, line: int) -> bool:
    """Return whether a line of a file stands under a condition on ``__name__``."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    return any(
        isinstance(node, ast.If)
        and any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test))
        and node.lineno <= line <= (node.end_lineno or line)
        for node in tree.body
    )
