"""Writing files completely or not at all, and conversion of values to plain JSON."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np


def check_folder(path: str | Path) -> None:
    """Raise an OSError unless a file may get this path.

    Raises:
        FileNotFoundError: its folder does not exist.
        NotADirectoryError: a file is in place of its folder.
        IsADirectoryError: it is the path of a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"expected the path of a file to write; got that of the folder {path}")
    if path.parent.exists() and not path.parent.is_dir():
        raise NotADirectoryError(f"expected {path.parent} to be a folder, to write {path.name} in it; got a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"expected the folder {path.parent} to exist, to write {path.name} in it")


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a temporary file next to ``path``, flush it to the disk, and rename it to ``path``.

    After a crash or an error, such as a full disk, an existing file at ``path`` is unchanged.

    Args:
        path: path of the file.
        content: bytes, or text that is written as UTF-8.

    Raises:
        FileNotFoundError, NotADirectoryError, IsADirectoryError: as ``check_folder``.
        OSError: if the file cannot be written.
    """
    write_together({Path(path): content})


def write_together(contents: Mapping[Path, str | bytes]) -> None:
    """Write several files as ``write_whole`` does; none is renamed before all are written."""
    for path in contents:
        check_folder(path)
    temporary = {path: temporary_name(path, os.getpid()) for path in contents}
    try:
        for path, content in contents.items():
            with temporary[path].open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
        for path in contents:
            os.replace(temporary[path], path)
    except BaseException as error:
        for unfinished in temporary.values():
            with suppress(OSError):  # such as a read-only folder; the first error is the one to report
                unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk does not say of which file
            error.filename = str(path)
        raise
    for folder in {path.parent for path in contents}:
        _flush_folder(folder)


def write_json(path: str | Path, document: Any) -> None:
    """Write ``plain(document)`` as JSON, with ``write_whole``."""
    write_whole(path, json.dumps(plain(document), indent=1, allow_nan=False))


def plain(value: Any) -> Any:
    """Convert a value for JSON: arrays and tuples to lists, and NaN and infinity to None."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def temporary_name(path: Path, writer: int | str) -> Path:
    """Return the temporary path of the process ``writer``; ``"*"`` gives the pattern for all processes."""
    return path.with_name(f".{path.name}.{writer}.tmp")


def _flush_folder(folder: Path) -> None:
    """Flush the folder, so that the renaming survives a power cut. Some systems and disks cannot do this."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
