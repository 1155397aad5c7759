"""Files are written whole or not at all, and JSON without what it does not know."""

import json
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np


def check_folder(path: str | Path) -> None:
    """FileNotFoundError unless the folder in which ``path`` is to be written exists."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"expected the folder {path.parent} to exist, to write {path.name} in it")


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write ``content``, text as UTF-8, beside ``path``, flush it to the disk, then rename it into place.

    A crash or a full disk leaves what was at ``path`` before. FileNotFoundError if the folder does not exist.
    """
    path = Path(path)
    check_folder(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = temporary_name(path, os.getpid())
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # such as that the folder is read-only: the first error is the one to tell
            temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def write_json(path: str | Path, document: Any) -> None:
    """Write a ``plain`` document as JSON, by ``write_whole``."""
    write_whole(path, json.dumps(plain(document), indent=1, allow_nan=False))


def plain(value: Any) -> Any:
    """The same as JSON can hold it: arrays and tuples as lists, None for numbers that are not finite."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def temporary_name(path: Path, writer: int | str) -> Path:
    """Where the process ``writer`` writes what is to be at ``path``; ``"*"`` gives the pattern of all processes."""
    return path.with_name(f".{path.name}.{writer}.tmp")


def _flush_folder(folder: Path) -> None:
    """Flush the name too, so that a power cut does not undo the renaming. Not every system or disk knows how."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
