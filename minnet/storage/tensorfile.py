"""Reading of safetensors files in memory that is bounded by their size.

The safetensors library takes 10 to 30 times the text of a header, and Python's json takes as much for a document. This
module estimates the memory of a text before it is parsed, and parses entries of the header one by one.
"""

import json
import math
import re
from io import BufferedIOBase
from typing import Any, NamedTuple

import numpy as np

# Upper bounds in CPython of the bytes of each part that such a character starts or ends: a dict and a list of one
# element, the place of an entry, an element, half of a string.
_COSTS = {"{": 240, "[": 88, ":": 100, ",": 40, '"': 28}
_TENSOR, _AXIS = 400, 24  # bytes of a tensor without its elements (name, place or array), and of each axis
FREE = 2**22  # bytes of memory that are allowed beyond the file's size
DTYPES = {
    **{"BOOL": np.dtype("?"), "F16": np.dtype("f2"), "F32": np.dtype("f4"), "F64": np.dtype("f8")},
    **{f"{kind}{8 * size}": np.dtype(f"{kind.lower()}{size}") for kind in "IU" for size in (1, 2, 4, 8)},
}
_SPACE = re.compile(r"[ \t\n\r]*")
_LONGEST = 1000  # largest number of characters of a tensor's entry in the header


def memory_of_json(text: str) -> int:
    """Return a bound on the memory, in bytes, of parsing a JSON text."""
    return memory_of_text(text.encode()) + sum(cost * text.count(mark) for mark, cost in _COSTS.items())


def memory_of_text(text: bytes) -> int:
    """Return a bound on the memory, in bytes, of a text, the strings parsed from it, and one more that grows.

    All characters of a string in Python take the memory of its widest character.
    """
    plain = text.isascii() and b"\\u" not in text
    return (4 if plain else 16) * len(text)


def memory_of_tensor(shape: tuple[int, ...]) -> int:
    """Return the bytes that a tensor may take beyond its elements."""
    return _TENSOR + _AXIS * len(shape)


class TooManyPartsError(ValueError):
    """A text may take more memory than the size of its file allows."""


def check_memory(memory: int, size: int) -> None:
    """Raise TooManyPartsError if ``memory`` bytes are too many for a file of ``size`` bytes."""
    if memory > size + FREE:
        raise TooManyPartsError(f"{memory:,} bytes of memory for a file of {size:,}")


class Place(NamedTuple):
    """The place of a tensor in a file, in bytes after the header, with its name, dtype and shape."""

    start: int
    stop: int
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def read_header(file: BufferedIOBase, size: int) -> tuple[dict[str, str], list[Place]]:
    """Read the header of an open file: its length in eight bytes, followed by JSON.

    Args:
        file: open file, at its start.
        size: size of the file in bytes.

    Returns:
        (metadata, places of the tensors).

    Raises:
        ValueError, TypeError, KeyError, OverflowError: if the header is not one of safetensors.
    """
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= size - 8:
        raise ValueError(f"a header of {length:,} bytes")
    check_memory(4 * length, size)
    raw = file.read(length)
    memory = memory_of_text(raw)
    check_memory(memory, size)
    text = raw.decode()
    del raw
    metadata: dict[str, str] = {}
    places: list[Place] = []
    at = _after(text, 0, "{")
    while True:
        name, at = _read_text(text, at)
        at = _after(text, at, ":")
        if name == "__metadata__":
            metadata, at = _read_metadata(text, at)
        else:
            end = text.index("}", at) + 1
            places.append(_place(name, text[at : min(end, at + _LONGEST)]))
            at = end
            memory += memory_of_tensor(places[-1].shape)
            check_memory(memory, size)
        if not text.startswith(",", _skip(text, at)):
            break
        at = _after(text, at, ",")
    if _skip(text, _after(text, at, "}")) != len(text):
        raise ValueError("something behind the header")
    return metadata, places


def _read_metadata(text: str, at: int) -> tuple[dict[str, str], int]:
    """Return the strings by name that start at ``at``, and the index of their end."""
    metadata: dict[str, str] = {}
    at = _after(text, at, "{")
    while len(metadata) < 10:
        name, at = _read_text(text, at)
        metadata[name], at = _read_text(text, _after(text, at, ":"))
        if not text.startswith(",", _skip(text, at)):
            return metadata, _after(text, at, "}")
        at = _after(text, at, ",")
    raise ValueError("more metadata than a file of minnet's has")


def _read_text(text: str, at: int) -> tuple[str, int]:
    """Return the JSON string at ``at``, and the index of its end."""
    at = _skip(text, at)
    if not text.startswith('"', at):
        raise ValueError(f"no text at {at}")
    return json.JSONDecoder().raw_decode(text, at)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _after(text: str, at: int, mark: str) -> int:
    """Return the index after a mark, which may follow white space."""
    at = _skip(text, at)
    if not text.startswith(mark, at):
        raise ValueError(f"no {mark} at {at}")
    return at + 1


def _place(name: str, text: str) -> Place:
    entry = json.loads(text)
    start, stop = entry["data_offsets"]
    shape, dtype = tuple(entry["shape"]), DTYPES[entry["dtype"]]
    if any(type(number) is not int or number < 0 for number in (start, stop, *shape)):
        raise ValueError(f"no such place: {entry}")
    if math.prod(shape) * dtype.itemsize != stop - start:
        raise ValueError(f"a tensor {name[:80]} of another size than its bytes'")
    return Place(start, stop, name, dtype, shape)


def read_arrays(file: BufferedIOBase, places: list[Place], size: int) -> dict[str, np.ndarray]:
    """Read the tensors, which must follow one another up to the end of the file.

    Args:
        file: open file, after its header.
        places: places of the tensors; the list is emptied.
        size: size of the file in bytes.

    Returns:
        Arrays by name.

    Raises:
        ValueError: if there are gaps, overlaps, or bytes after the last tensor.
    """
    arrays: dict[str, np.ndarray] = {}
    at = first = file.tell()
    places.sort(reverse=True)
    while places:
        start, stop, name, dtype, shape = places.pop()
        if first + start != at or first + stop > size or name in arrays:
            raise ValueError(f"a tensor {name[:80]} at {start}")
        array = np.empty(shape, dtype.newbyteorder("<"))
        if file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:
            raise ValueError("its end is missing")
        arrays[name] = np.asarray(array, dtype)
        at = first + stop
    if at != size:
        raise ValueError(f"{size - at:,} bytes behind the last tensor")
    return arrays
