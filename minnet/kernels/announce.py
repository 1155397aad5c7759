"""What is said while kernels are compiled, which happens once: the code is then kept on disk.

On a terminal, one line of standard error says for what kernels are compiled and for how long so far. It is erased when
the compiler is done, so that a progress bar may follow in its place. Where a run writes lines, and in a notebook, one
line says it once a process. Nothing is said where kernels come from the disk.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from numba.core import event

from ..base.shown import in_notebook

_PACKAGE = __name__.rpartition(".")[0]


class _Listener(event.Listener):
    """Counts the kernels that Numba compiles, and says so.

    Attributes:
        kernels: all kernels, which this tells from their parts.
        way: ``"lines"``, ``"nothing"``, or None for what suits standard error.
        count, seconds: kernels compiled in this process, and the time that took.
    """

    def __init__(self) -> None:
        self.kernels: list[Any] = []
        self.way: str | None = None
        self.count, self.seconds = 0, 0.0
        self._open = 0
        self._since = 0.0
        self._said = False

    def on_start(self, compilation: Any) -> None:
        if not self._is_kernel(compilation):
            return
        self._open += 1
        if self._open == 1:
            self._since = time.perf_counter()
            self._say(f"compiling kernels for {_purpose(compilation)}, once")

    def on_end(self, compilation: Any) -> None:
        if not self._is_kernel(compilation):
            return
        self._open -= 1
        self.count += 1
        if self._open == 0:
            self.seconds += time.perf_counter() - self._since
            if self._on_terminal():
                _write("\r\x1b[2K")

    def _is_kernel(self, compilation: Any) -> bool:
        return any(compilation.data["dispatcher"] is kernel for kernel in self.kernels)

    def _on_terminal(self) -> bool:
        return self.way is None and sys.stderr is not None and sys.stderr.isatty()

    def _say(self, text: str) -> None:
        if self._on_terminal():
            _write(f"\r\x1b[2K{text}: {self.seconds:.0f} s")
        elif not self._said and (self.way == "lines" or (self.way is None and in_notebook())):
            self._said = True
            _write(f"{text}; they are kept for later runs\n")


def _write(text: str) -> None:
    with suppress(OSError, ValueError):  # a closed pipe must not end the run
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()


def _purpose(compilation: Any) -> str:
    """Return the name of the layer, rule or loss whose pass has called the kernel, or else of the kernel.

    The callers are looked up here, so that passes need not say who they are in each call.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        module, owner = frame.f_globals.get("__name__", ""), frame.f_locals.get("self")
        outside = module.partition(".")[0] == _PACKAGE.partition(".")[0] and not module.startswith(_PACKAGE)
        if outside and (hasattr(owner, "plan") or hasattr(owner, "apply")):
            return type(owner).__name__
        frame = frame.f_back
    return str(compilation.data["dispatcher"].__name__).strip("_").replace("_", " ")


_listener = _Listener()
event.register("numba:compile", _listener)


def watch(compiled: Any) -> None:
    """Let the compilation of a kernel be counted and said."""
    _listener.kernels.append(compiled)


def compiled() -> tuple[int, float]:
    """Return how many kernels this process has compiled, and the seconds that took."""
    return _listener.count, _listener.seconds


@contextmanager
def said(way: str | None) -> Iterator[None]:
    """Within this context, say it in ``"lines"``, say ``"nothing"``, or, if None, do what suits standard error."""
    before, _listener.way = _listener.way, way
    try:
        yield
    finally:
        _listener.way = before
