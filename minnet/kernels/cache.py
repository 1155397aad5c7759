"""Machine code that is kept between processes, by Numba, in files.

A kernel's code is used as long as the contents of its own file and of all files that it imports here stay the same.
Files with it are checked as they are read. What cannot be read or written is done without: the kernel is compiled.
"""

import functools
import hashlib
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache, IndexDataCacheFile

_FOLDER = Path(__file__).parent
_IMPORT = re.compile(rb"^from (\.+)(\w[\w.]*) import ", re.MULTILINE)
_DIGEST = 32  # bytes


def sources(file: Path) -> frozenset[Path]:
    """The files on which the code of the kernels in one depends: itself and what it imports of this folder.

    A file elsewhere may import any of this folder. ``compile`` imports this module and ``calls`` in another form, since
    they change nothing in the code.
    """
    if _FOLDER not in file.parents:
        return frozenset({file, *_FOLDER.rglob("*.py")})
    found, waiting = set[Path](), {file}
    while waiting:
        found |= waiting
        waiting = {imported for source in waiting for imported in _imports(source)} - found
    return frozenset(found)


def _imports(file: Path) -> list[Path]:
    """The modules of this folder that a file in it names in lines such as ``from ..vector.sums import finish``."""
    found: list[Path] = []
    for dots, name in _IMPORT.findall(_contents(file)):
        path = file.parents[len(dots) - 1].joinpath(*name.decode().split("."))
        found += path.glob("*.py") if path.is_dir() else [path.with_suffix(".py")]
    return found


@functools.cache
def _contents(file: Path) -> bytes:
    return file.read_bytes()


@functools.cache
def digest(file: Path) -> str:
    """Changes with the contents of any of the ``sources`` of a file, with the width of vectors, and nothing else."""
    total = hashlib.blake2b(os.environ.get("MINNET_VECTOR_BYTES", "").encode(), digest_size=_DIGEST)
    for source in sorted(sources(file)):
        total.update(f"\n{_name(source)} {len(_contents(source))}\n".encode() + _contents(source))
    return total.hexdigest()


def _name(source: Path) -> str:
    return source.relative_to(_FOLDER).as_posix() if _FOLDER in source.parents else source.name


class _Files(IndexDataCacheFile):
    """Numba's files of one kernel, with a checksum behind each one's code that also tells of which sources it is."""

    def _checksum(self, code: bytes) -> bytes:
        return hashlib.blake2b(code, digest_size=_DIGEST, key=self._source_stamp.encode()).digest()

    def _dump(self, obj: Any) -> bytes:
        code = super()._dump(obj)
        return code + self._checksum(code)  # Numba reads up to the end of what it wrote

    def _load_data(self, name: str) -> Any:
        written = Path(self._data_path(name)).read_bytes()
        if self._checksum(written[:-_DIGEST]) != written[-_DIGEST:]:
            raise ValueError(f"expected the code of a kernel in {name}; the file is damaged")
        return super()._load_data(name)

    def forget(self) -> None:
        """Remove the list of what is kept, which works on a full disk too; OSError where it does not."""
        Path(self._index_path).unlink(missing_ok=True)


class _Cache(FunctionCache):
    """Numba's cache of one kernel, whose faults end no call of the kernel."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = digest(Path(function.__code__.co_filename))
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kept code, or None. Files that are damaged are forgotten; whatever they hold, reading may raise it."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:
            self._begin_anew(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code, if possible."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            self._begin_anew(error)
            self.disable()
            _warn(f"{error} in {self._cache_path}")

    def _begin_anew(self, error: Exception) -> None:
        try:
            self._cache_file.forget()
        except OSError:
            self.disable()
            _warn(f"{error} as {self._cache_file._index_path} was read, which cannot be removed: delete it")


_warned: list[str] = []


def _warn(reason: str) -> None:
    if not _warned:
        _warned.append(reason)
        warnings.warn(
            "minnet: the machine code of kernels is not kept, so that every process compiles them anew, which takes up "
            f"to a minute ({reason}). Set NUMBA_CACHE_DIR to a folder with space that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )


def keep(compiled: Any) -> None:
    """Have the machine code of a kernel kept, or warn, once for all kernels, that there is no place for it."""
    try:
        compiled._cache = _Cache(compiled.py_func)
    except (RuntimeError, OSError) as error:  # Numba finds no folder to write in; or the sources cannot be read
        _warn(str(error))
