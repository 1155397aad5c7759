"""Units of work: pure functions of their arguments, what became of them, and the keys that they are stored under.

A unit sees no shared state and is seeded by what it is, never by who runs it or when. Its result is therefore the same
in this process, in a worker process and on another machine, and a stored result never has to be computed again.
"""

import dataclasses
import hashlib
import json
import platform
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral, Real
from typing import Any

import numpy as np

from ..kernels.threads import get_num_threads
from ..kernels.vector.simd import VECTOR_BYTES

DONE, FAILED, DIVERGED, DIED, LATE = "done", "failed", "diverged", "died", "late"
STATUSES = (DONE, FAILED, DIVERGED, DIED, LATE)
_MOST_WORDS = 2000  # characters of a traceback that are kept


@dataclass(frozen=True)
class Unit:
    """One piece of work that may run anywhere.

    Args:
        key: name under which the outcome is stored; see ``digest``.
        function: a function of a module, so that other processes can import it. It returns ``(result, state)``: a dict
            of numbers, texts and float arrays, and bytes or None.
        arguments: its arguments, which can be pickled; ``Shared(name)`` for one that the engine has.
        columns: numbers and texts that are stored beside the outcome, such as the configuration.
    """

    key: str
    function: Callable[..., tuple[dict[str, Any], bytes | None]]
    arguments: tuple[Any, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Shared:
    """An argument that many units share, such as data, which each worker process is given once.

    Args:
        name: its name in ``Engine(shared=...)``.
    """

    name: str


def filled(unit: Unit, shared: Mapping[str, Any]) -> Unit:
    """Return the unit with the shared values in the place of their names."""
    values = (shared[a.name] if isinstance(a, Shared) else a for a in unit.arguments)
    return dataclasses.replace(unit, arguments=tuple(values))


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    Attributes:
        status: ``"done"``; ``"failed"`` if the function raised an error; ``"diverged"`` if it raised a
            FloatingPointError, such as DivergenceError; ``"died"`` if its process was killed, twice; ``"late"`` if it
            took longer than allowed.
        words: type, text and last lines of the traceback of an error; what happened to the process.
        result: numbers, texts and float arrays by name.
        state: bytes that the unit returned, or None.
        seconds: wall-clock time.
        where: machine, threads and vector width, as ``surroundings`` returns them.
    """

    status: str
    words: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    state: bytes | None = None
    seconds: float = 0.0
    where: dict[str, Any] = field(default_factory=dict)


def attempt(unit: Unit) -> Outcome:
    """Run a unit and catch its exceptions, so that an exception of a future is always the engine's.

    ``SystemExit`` is caught as well, because a run that calls ``sys.exit`` must not end the study. Ctrl-C ends it.

    Args:
        unit: the unit of work.

    Returns:
        Its ``Outcome``: the result, or the text of the exception.
    """
    begun = time.perf_counter()
    try:
        result, state = unit.function(*unit.arguments)
        outcome = Outcome(DONE, result=result, state=state)
    except (Exception, SystemExit) as error:
        outcome = failure(error)
    return dataclasses.replace(outcome, seconds=time.perf_counter() - begun, where=surroundings())


def failure(error: BaseException) -> Outcome:
    """Return the outcome of a unit that raised an error."""
    text = "".join(traceback.format_exception(error)).strip()
    first = f"{type(error).__name__}: {error}"
    status = DIVERGED if isinstance(error, FloatingPointError) else FAILED
    return Outcome(status, f"{first[:_MOST_WORDS]}\n{text[-_MOST_WORDS:]}")


def surroundings() -> dict[str, Any]:
    """Return where this process runs: machine, number of threads, bytes of a vector register, version of minnet."""
    return {
        "machine": _machine(),
        "threads": get_num_threads(),
        "vector_bytes": VECTOR_BYTES,
        "version": minnet_version(),
    }


@cache
def _machine() -> str:
    return f"{platform.node()} {platform.machine()}"


@cache
def minnet_version() -> str:
    """Return the version of minnet, or "unknown" for sources that are not installed."""
    try:
        return version("minnet")
    except PackageNotFoundError:
        return "unknown"


def digest(*parts: Any) -> str:
    """Return a key for everything that decides a result, 32 hexadecimal digits.

    Args:
        parts: numbers, texts, None, arrays, lists and dicts of them, dataclasses such as layers and rules, and
            functions, which are taken by name. The version of minnet is always a part.

    Returns:
        The key, 32 hexadecimal digits. Equal parts have equal keys, in every process and on every machine.

    Raises:
        TypeError: a part has no text of its own, because its ``repr`` is an address in memory.
    """
    text = json.dumps([_canonical(part) for part in (minnet_version(), *parts)], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _canonical(value: Any) -> Any:
    """Return what ``value`` is as text, numbers, lists and dicts, the same in every process."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.ndarray):
        content = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16).hexdigest()
        return ["array", value.dtype.str, list(value.shape), content]
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return ["float", float(value).hex()]
    if isinstance(value, Mapping):
        return ["dict", sorted([_canonical(name), _canonical(inner)] for name, inner in value.items())]
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _canonical(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return [name_of(type(value)), fields]
    if isinstance(value, type) or hasattr(value, "__qualname__"):
        return name_of(value)
    text = repr(value)
    if " at 0x" in text:
        raise TypeError(f"digest: expected a value whose repr says what it is, for a key; got {text}")
    return text


def name_of(function: Any) -> str:
    """Return module and name of a function or class."""
    return f"{function.__module__}:{function.__qualname__}"
