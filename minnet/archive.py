"""A file of minnet's: safetensors of named arrays, with a JSON document, a kind, a version and a checksum in it.

The metadata in its header are four texts: ``format``, ``version``, ``blake2b`` and ``document``. The checksum is of the
document and of every array's name, dtype, shape and bytes. Nothing in the file is code.

Reading takes no more memory than the arrays, and beside them the file's size and 4 MiB. As lists and dicts of Python's
may take some 30 times their text, the document's memory is bounded by its text before it is read, and a file whose
header and document might take more is refused, in writing as in reading. For the same reason the header, of which
safetensors' own reader makes 10 to 30 times its text, is read here.
"""

import errno
import hashlib
import json
import math
import os
import re
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .files import write_whole

CHECKPOINT, VERSION = "minnet checkpoint", 1

# Keys of the JSON objects that stand for what JSON has not: an array, a number of NumPy's, NaN and infinity.
_ARRAY, _NUMBER, _FLOAT = "$array", "$number", "$float"
# Bytes that what begins with, or ends in, each of these may take: a dict and a list of one, an entry's place, an
# element, half of a text. Upper bounds for CPython.
_COSTS = {"{": 240, "[": 88, ":": 100, ",": 40, '"': 28}
_TENSOR, _AXIS = 400, 24  # and a tensor without its elements: name, place or array; each of its axes
_FREE = 2**22
_DTYPES = {
    **{"BOOL": np.dtype("?"), "F16": np.dtype("f2"), "F32": np.dtype("f4"), "F64": np.dtype("f8")},
    **{f"{kind}{8 * size}": np.dtype(f"{kind.lower()}{size}") for kind in "IU" for size in (1, 2, 4, 8)},
}
_NAMES = frozenset(dtype.name for dtype in _DTYPES.values())
_SPACE = re.compile(r"[ \t\n\r]*")
_LONGEST = 1000  # characters of a tensor's entry in the header


class CheckpointError(ValueError):
    """A file that cannot be used: damaged, foreign, of a newer version, or of another run; the text says which."""


def write(path: str | Path, document: dict[str, Any], arrays: dict[str, np.ndarray], kind: str = CHECKPOINT) -> None:
    """Write ``document`` and ``arrays`` into one file of a kind, whole or not at all.

    The document is made of dicts with text as keys, lists (tuples become lists), text, numbers, True, False, None and
    arrays; those arrays are named by their place in it (``/callbacks/0/params``). TypeError for anything else. OSError
    if the file cannot be written, also if the document is too large for one (many numbers belong in arrays); what was
    at ``path`` is then whole.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    found = {name: _plain_array(name, array) for name, array in arrays.items()}
    text = json.dumps(_pack(document, "", found), allow_nan=False)
    metadata = {"format": kind, "version": str(VERSION), "blake2b": _checksum(text, found), "document": text}
    try:
        content = save(found, metadata)
    except SafetensorError as error:  # it allows 100 MB
        raise _too_large(kind, text, path) from error
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    tensors = sum(_memory_of_tensor(array.shape) for array in found.values())
    if tensors + max(_memory_of_text(header), _memory(text)) > len(content) + _FREE:
        raise _too_large(kind, text, path)
    try:
        write_whole(path, content)
    except OSError as error:
        if error.errno is None:  # of a folder that is missing, and says so
            raise
        raise type(error)(
            error.errno,
            f"expected to write a {kind} of {len(content):,} bytes; got {error.strerror or error}",
            str(path),
        ) from error


def read(path: str | Path, kind: str = CHECKPOINT) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(document, arrays) of a file of that kind that ``write`` made; the arrays of the document are back in it.

    CheckpointError for a file that is truncated, damaged, foreign or of a newer version, or that might take more memory
    than its arrays, its size and 4 MiB; FileNotFoundError for none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a {kind} at {path}; there is no such file")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            metadata, places = _read_header(path, file, size)
            _check_origin(path, metadata, kind)
            arrays = _read_arrays(file, places, size)
        text = metadata["document"]
        checksum = _checksum(text, arrays)
    except CheckpointError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise CheckpointError(f"expected a whole safetensors file; {path} is truncated or damaged ({error})") from None
    if checksum != metadata["blake2b"]:
        raise CheckpointError(f"expected the content that the checksum in {path} is of; the file is damaged")
    _check_memory(path, _memory(text) + sum(_memory_of_tensor(array.shape) for array in arrays.values()), size)
    try:
        document = json.loads(text, object_hook=lambda value: _unpack(value, arrays))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"expected a document of minnet's in {path}; got another ({error})") from None
    if not isinstance(document, dict):
        raise CheckpointError(f"expected a document of minnet's in {path}; got {type(document).__name__}")
    return document, arrays


# Memory ------------------------------------------------------------------------------------------------------


def _memory(text: str) -> int:
    """Bytes that the JSON text may take when it is read, at most."""
    return _memory_of_text(text.encode()) + sum(cost * text.count(mark) for mark, cost in _COSTS.items())


def _memory_of_text(text: bytes) -> int:
    """Itself, the texts that are read out of it, and one more that grows; in Python all of a text is as wide as its
    widest character."""
    plain = text.isascii() and b"\\u" not in text
    return (4 if plain else 16) * len(text)


def _memory_of_tensor(shape: tuple[int, ...]) -> int:
    """Bytes that a tensor may take beside its elements."""
    return _TENSOR + _AXIS * len(shape)


def _check_memory(path: Path, memory: int, size: int) -> None:
    if memory > size + _FREE:
        raise CheckpointError(f"expected a document of minnet's in {path}; got one of too many parts for its size")


# safetensors -------------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """Where a tensor lies in the file, in bytes after the header, and as what."""

    start: int
    stop: int
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def _read_header(path: Path, file: BufferedReader, size: int) -> tuple[dict[str, str], list[_Place]]:
    """(metadata, where the tensors lie): the header's length in eight bytes, then JSON of so many bytes."""
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= size - 8:
        raise ValueError(f"a header of {length:,} bytes")
    _check_memory(path, 4 * length, size)
    raw = file.read(length)
    memory = _memory_of_text(raw)
    _check_memory(path, memory, size)
    text = raw.decode()
    del raw
    metadata: dict[str, str] = {}
    places: list[_Place] = []
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
            memory += _memory_of_tensor(places[-1].shape)
            _check_memory(path, memory, size)
        if not text.startswith(",", _skip(text, at)):
            break
        at = _after(text, at, ",")
    if _skip(text, _after(text, at, "}")) != len(text):
        raise ValueError("something behind the header")
    return metadata, places


def _read_metadata(text: str, at: int) -> tuple[dict[str, str], int]:
    """The texts by name that begin at ``at``, and where they end."""
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
    """The JSON text at ``at``, and where it ends."""
    at = _skip(text, at)
    if not text.startswith('"', at):
        raise ValueError(f"no text at {at}")
    return json.JSONDecoder().raw_decode(text, at)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _after(text: str, at: int, mark: str) -> int:
    """The place after a mark, before which there may be spaces."""
    at = _skip(text, at)
    if not text.startswith(mark, at):
        raise ValueError(f"no {mark} at {at}")
    return at + 1


def _place(name: str, text: str) -> _Place:
    entry = json.loads(text)
    start, stop = entry["data_offsets"]
    shape, dtype = tuple(entry["shape"]), _DTYPES[entry["dtype"]]
    if any(type(number) is not int or number < 0 for number in (start, stop, *shape)):
        raise ValueError(f"no such place: {entry}")
    if math.prod(shape) * dtype.itemsize != stop - start:
        raise ValueError(f"a tensor {name[:80]} of another size than its bytes'")
    return _Place(start, stop, name, dtype, shape)


def _read_arrays(file: BufferedReader, places: list[_Place], size: int) -> dict[str, np.ndarray]:
    """The tensors, which have to lie one after the other up to the file's end; ``places`` is used up."""
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
        arrays[name] = _plain_array(name, array)
        at = first + stop
    if at != size:
        raise ValueError(f"{size - at:,} bytes behind the last tensor")
    return arrays


# What is in it -----------------------------------------------------------------------------------------------


def _too_large(kind: str, text: str, path: str | Path) -> OSError:
    return OSError(
        errno.EFBIG,
        f"expected a {kind} with a document that readers can hold; got {len(text):,} bytes of JSON. Many numbers, "
        "as in a callback's state, belong in arrays",
        str(path),
    )


def _check_origin(path: Path, metadata: dict[str, str], kind: str) -> None:
    if metadata.get("format") != kind:
        raise CheckpointError(f"expected a file of format {kind!r}; {path} says {metadata.get('format')!r}")
    version = metadata.get("version", "")
    if not (version.isascii() and version.isdecimal() and len(version) < 10):
        raise CheckpointError(f"expected a version number in {path}; got {version[:80]!r}")
    if int(version) > VERSION:
        raise CheckpointError(
            f"expected a {kind} of version {VERSION} or older; {path} has version {version}, of a newer minnet"
        )
    if not {"blake2b", "document"} <= set(metadata):
        raise CheckpointError(f"expected a checksum and a document in {path}; got {sorted(metadata)}")


def _checksum(text: str, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _plain_array(place: str, array: np.ndarray) -> np.ndarray:
    """The array as a file can have it: contiguous, in the machine's order of bytes."""
    if array.dtype.name not in _NAMES:
        raise TypeError(f"checkpoint: expected arrays of numbers; got dtype {array.dtype} at {place}")
    plain = np.asarray(array, array.dtype.newbyteorder("="))
    return plain if plain.flags.c_contiguous else plain.copy()  # ascontiguousarray would give a single number an axis


def _pack(value: Any, place: str, arrays: dict[str, np.ndarray]) -> Any:
    """``value`` as JSON can hold it; arrays in it are added to ``arrays`` under the name of their place."""
    if isinstance(value, np.ndarray):
        if place in arrays:
            raise ValueError(f"checkpoint: expected places of different names; got {place} twice")
        arrays[place] = _plain_array(place, value)
        return {_ARRAY: place}
    if isinstance(value, np.generic) and value.dtype.name in _NAMES:
        return {_NUMBER: value.dtype.name, "value": _pack(value.item(), place, arrays)}
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_pack(item, f"{place}/{i}", arrays) for i, item in enumerate(value)]
    if isinstance(value, dict):
        if not all(isinstance(key, str) and not key.startswith("$") for key in value):
            raise TypeError(
                f"checkpoint: expected keys that are text without a $ in front; got {list(value)} at {place}"
            )
        return {key: _pack(item, f"{place}/{key}", arrays) for key, item in value.items()}
    raise TypeError(
        f"checkpoint: expected numbers, text, lists, dicts and arrays; got {value!r} at {place or 'the top'}"
    )


def _unpack(value: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """What ``_pack`` made a dict of, parts first; arrays that are put back leave ``arrays``."""
    if _ARRAY in value:
        return arrays.pop(value[_ARRAY])
    if _FLOAT in value:
        if value[_FLOAT] not in ("nan", "inf", "-inf"):
            raise ValueError("a number that is none")
        return float(value[_FLOAT])
    if _NUMBER in value:
        if value[_NUMBER] not in _NAMES:
            raise ValueError("a number of an unknown kind")
        number = value["value"]
        if not isinstance(number, bool | int | float):
            raise ValueError("a number that is none")
        with np.errstate(over="ignore"):
            return np.dtype(value[_NUMBER]).type(number)
    return value
