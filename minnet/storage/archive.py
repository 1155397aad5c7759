"""Archives: safetensors files with named arrays, a JSON document, a kind, a version and a checksum.

The metadata in the header are four strings: ``format``, ``version``, ``blake2b`` and ``document``. The checksum covers
the document and the name, dtype, shape and bytes of every array. The file contains no code.

Reading takes no more memory than the arrays, plus the file's size and 4 MiB. Lists and dicts of Python may take about
30 times the memory of their JSON text. A bound on the document's memory is therefore computed from its text before it
is parsed, and a file whose header and document may take more is an error, in writing and in reading (``tensorfile``).
"""

import errno
import hashlib
import json
import math
import os
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from .files import check_folder, write_whole
from .tensorfile import (
    DTYPES,
    FREE,
    TooManyPartsError,
    check_memory,
    memory_of_json,
    memory_of_tensor,
    memory_of_text,
    read_arrays,
    read_header,
)

CHECKPOINT, VERSION = "minnet checkpoint", 1

# Keys of the JSON objects that represent arrays, NumPy numbers, NaN and infinity, which JSON does not have.
_ARRAY, _NUMBER, _FLOAT = "$array", "$number", "$float"
_NAMES = frozenset(dtype.name for dtype in DTYPES.values())


class CheckpointError(ValueError):
    """A file cannot be used: it is damaged, of another format or version, or of another run. The message says which."""


def write(path: str | Path, document: dict[str, Any], arrays: dict[str, np.ndarray], kind: str = CHECKPOINT) -> None:
    """Write a document and arrays to one file. The file is written completely or not at all.

    Args:
        path: path of the file. If writing fails, an existing file does not change.
        document: dict of dicts with strings as keys, lists, tuples (which become lists), strings, numbers, bools, None
            and arrays. Arrays in it are stored under their path in the document, such as ``/callbacks/0/params``.
        arrays: further arrays by name.
        kind: kind of the file, which ``read`` compares.

    Raises:
        TypeError: if the document contains anything else.
        FileNotFoundError: if the folder does not exist.
        OSError: if the file cannot be written, or if the document is too large. Many numbers belong in arrays.
    """
    check_folder(path)
    content = packed(document, arrays, kind, path)
    try:
        write_whole(path, content)
    except OSError as error:
        if error.errno is None:  # a missing folder, whose error needs no more words
            raise
        raise type(error)(
            error.errno,
            f"expected to write a {kind} of {len(content):,} bytes; got {error.strerror or error}",
            str(path),
        ) from error


def packed(
    document: dict[str, Any], arrays: dict[str, np.ndarray], kind: str = CHECKPOINT, path: str | Path = "memory"
) -> bytes:
    """Return the content of the file that ``write`` writes; ``path`` is named in errors."""
    from safetensors import SafetensorError
    from safetensors.numpy import save

    found = {name: _plain_array(name, array) for name, array in arrays.items()}
    text = json.dumps(_pack(document, "", found), allow_nan=False)
    metadata = {"format": kind, "version": str(VERSION), "blake2b": _checksum(text, found), "document": text}
    try:
        content = save(found, metadata)
    except SafetensorError as error:  # safetensors allows headers of 100 MB
        raise _too_large(kind, text, path) from error
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    tensors = sum(memory_of_tensor(array.shape) for array in found.values())
    if tensors + max(memory_of_text(header), memory_of_json(text)) > len(content) + FREE:
        raise _too_large(kind, text, path)
    return content


def read(path: str | Path | bytes, kind: str = CHECKPOINT) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a file that ``write`` wrote, or its content.

    Args:
        path: path of the file; or its content as bytes.
        kind: kind that the file must have.

    Returns:
        (document, arrays): the document with its arrays, and all other arrays.

    Raises:
        FileNotFoundError: if there is no file.
        CheckpointError: if the file is truncated, damaged, of another kind or of a newer version, or if it may take
            more memory than its arrays, its size and 4 MiB.
    """
    if isinstance(path, bytes):
        opened: BufferedIOBase = BytesIO(path)
        size, path = len(path), name_of(path)
    else:
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"expected a {kind} at {path}; there is no such file")
        opened = path.open("rb")
        size = os.fstat(opened.fileno()).st_size
    try:
        with opened as file:
            metadata, places = read_header(file, size)
            _check_origin(path, metadata, kind)
            arrays = read_arrays(file, places, size)
        text = metadata["document"]
        checksum = _checksum(text, arrays)
    except CheckpointError:
        raise
    except TooManyPartsError as error:
        raise _too_many_parts(path, error) from None
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise CheckpointError(f"expected a whole safetensors file; {path} is truncated or damaged ({error})") from None
    if checksum != metadata["blake2b"]:
        raise CheckpointError(f"expected the content that the checksum in {path} is of; the file is damaged")
    try:
        check_memory(memory_of_json(text) + sum(memory_of_tensor(array.shape) for array in arrays.values()), size)
        document = json.loads(text, object_hook=lambda value: _unpack(value, arrays))
    except TooManyPartsError as error:
        raise _too_many_parts(path, error) from None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"expected a document of minnet's in {path}; got another ({error})") from None
    if not isinstance(document, dict):
        raise CheckpointError(f"expected a document of minnet's in {path}; got {type(document).__name__}")
    return document, arrays


def name_of(source: str | Path | bytes) -> Path:
    """Return how errors name a file, or the content of one."""
    return Path("the given bytes" if isinstance(source, bytes) else source)


def _too_many_parts(path: Path, error: TooManyPartsError) -> CheckpointError:
    return CheckpointError(
        f"expected a document of minnet's in {path}; got one of too many parts for its size ({error})"
    )


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
    """Return the array in the form of a file: contiguous, in the machine's byte order."""
    if array.dtype.name not in _NAMES:
        raise TypeError(f"checkpoint: expected arrays of numbers; got dtype {array.dtype} at {place}")
    plain = np.asarray(array, array.dtype.newbyteorder("="))
    return (
        plain if plain.flags.c_contiguous else plain.copy()
    )  # ascontiguousarray would add an axis to an array without axes


def _pack(value: Any, place: str, arrays: dict[str, np.ndarray]) -> Any:
    """Convert ``value`` for JSON, and add the arrays in it to ``arrays`` under their place."""
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
    """Revert ``_pack`` for a dict whose parts are reverted already. Arrays in it are removed from ``arrays``."""
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
