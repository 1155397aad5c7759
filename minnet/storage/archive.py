"""A file of minnet's: safetensors of named arrays, with a JSON document, a kind, a version and a checksum in it.

The metadata in its header are four texts: ``format``, ``version``, ``blake2b`` and ``document``. The checksum is of the
document and of every array's name, dtype, shape and bytes. Nothing in the file is code.

Reading takes no more memory than the arrays, and beside them the file's size and 4 MiB. As lists and dicts of Python's
may take some 30 times their text, the document's memory is bounded by its text before it is read, and a file whose
header and document might take more is refused, in writing as in reading (``tensorfile``).
"""

import errno
import hashlib
import json
import math
import os
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

# Keys of the JSON objects that stand for what JSON has not: an array, a number of NumPy's, NaN and infinity.
_ARRAY, _NUMBER, _FLOAT = "$array", "$number", "$float"
_NAMES = frozenset(dtype.name for dtype in DTYPES.values())


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

    check_folder(path)
    found = {name: _plain_array(name, array) for name, array in arrays.items()}
    text = json.dumps(_pack(document, "", found), allow_nan=False)
    metadata = {"format": kind, "version": str(VERSION), "blake2b": _checksum(text, found), "document": text}
    try:
        content = save(found, metadata)
    except SafetensorError as error:  # it allows 100 MB
        raise _too_large(kind, text, path) from error
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    tensors = sum(memory_of_tensor(array.shape) for array in found.values())
    if tensors + max(memory_of_text(header), memory_of_json(text)) > len(content) + FREE:
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
