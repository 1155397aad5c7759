"""Machine code that Numba keeps in files between processes.

``linked`` says what is kept. The code of a kernel is valid as long as its own file, and all files of this folder that
it imports, have the same contents. Files with machine code are checked when they are read. If they cannot be read or
written, the kernel is compiled again.

Most processes call few of the kernels, so the files of one are looked for when it is first called. Its sources are
read then too. If somebody has changed them since this process imported them, nothing is kept or read.
"""

import functools
import hashlib
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.runtime import rtsys

_FOLDER = Path(__file__).parent
_IMPORT = re.compile(rb"^from (\.+)(\w[\w.]*) import ", re.MULTILINE)
_DIGEST = 32  # bytes


def _marks(file: Path) -> tuple[int, ...]:
    """Return what tells whether a file was replaced or written to since it was last looked at."""
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


_imported = {file: _marks(file) for file in _FOLDER.rglob("*.py")}  # as this process imports them


def sources(file: Path) -> frozenset[Path]:
    """Return the files that determine the code of the kernels in a file: itself, and all that it imports here.

    A file elsewhere may import any file of this folder. ``compile`` imports ``linked`` and ``calls`` in another form,
    because they do not change the code.
    """
    if _FOLDER not in file.parents:
        return frozenset({file, *_FOLDER.rglob("*.py")})
    found, waiting = set[Path](), {file}
    while waiting:
        found |= waiting
        waiting = {imported for source in waiting for imported in _imports(source)} - found
    return frozenset(found)


@functools.cache
def _imports(file: Path) -> list[Path]:
    """Return the modules of this folder that a file imports by lines such as ``from ..vector.sums import finish``."""
    found: list[Path] = []
    for dots, name in _IMPORT.findall(_contents(file)):
        path = file.parents[len(dots) - 1].joinpath(*name.decode().split("."))
        if _FOLDER not in path.parents:  # checks of arguments, which are no part of a kernel
            continue
        found += path.glob("*.py") if path.is_dir() else [path.with_suffix(".py")]
    return found


@functools.cache
def _contents(file: Path) -> bytes:
    """Return what is in a source. Raises OSError if this may be other code than what this process has imported."""
    contents = file.read_bytes()
    if _FOLDER in file.parents and _marks(file) != _imported.get(file):
        raise OSError(f"{file} was changed after this process had imported minnet: start a new process")
    return contents


@functools.cache
def digest(file: Path) -> str:
    """Return a digest of all ``sources`` of a file and of the width of vectors."""
    total = hashlib.blake2b(os.environ.get("MINNET_VECTOR_BYTES", "").encode(), digest_size=_DIGEST)
    for source in sorted(sources(file)):
        total.update(f"\n{_name(source)} {len(_contents(source))}\n".encode() + _contents(source))
    return total.hexdigest()


def _name(source: Path) -> str:
    return source.relative_to(_FOLDER).as_posix() if _FOLDER in source.parents else source.name


class _Files(IndexDataCacheFile):
    """Numba's files of one kernel. Code is followed by a checksum that depends on the code and on its sources.

    Two processes that compile a kernel for two dtypes at once may choose one name for both files. The list of files
    then names the code of the other dtypes, so each file says which arguments its code is for.
    """

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (key, data))

    def load(self, key: Any) -> Any:
        """Return the code for the arguments that ``key`` describes, or None; a new one then takes its file."""
        found = super().load(key)
        return found[1] if found is not None and found[0] == key else None

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
        """Remove the index of the files, which also works on a full disk. Raises OSError if this fails."""
        Path(self._index_path).unlink(missing_ok=True)


class CodeCache(FunctionCache):
    """Numba's cache of one kernel. A fault of the cache never ends a call of the kernel."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = digest(Path(function.__code__.co_filename))
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the kept code, or None. Damaged files may raise any error when they are read; they are removed.

        Numba's own method first imports all that it could compile, and SciPy, which machine code does not need.
        """
        try:
            rtsys.initialize(target_context)
            return self._load_overload(sig, target_context)
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


class Kept:
    """What Numba asks for the code of one kernel: its ``CodeCache``, made when it is first needed."""

    def __init__(self, kind: type[CodeCache], function: Callable[..., Any]) -> None:
        self._kind, self._function = kind, function
        _kept.append(self)

    @functools.cached_property
    def _files(self) -> Any:
        return of(self._kind, self._function) or NullCache()

    @property
    def cache_path(self) -> str | None:
        return self._files.cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        return self._files.load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        self._files.save_overload(sig, data)

    def flush(self) -> None:
        self._files.flush()


_kept: list[Kept] = []  # of all kernels
_warned: list[str] = []


def places() -> list[Path]:
    """Return the folders in which the code of kernels is kept, which need not exist yet."""
    return sorted({Path(kept.cache_path) for kept in _kept if kept.cache_path})


def failure() -> str | None:
    """Return why code is not kept, or None if it is."""
    return _warned[0] if _warned else None


def _warn(reason: str) -> None:
    if not _warned:
        _warned.append(reason)
        warnings.warn(
            "minnet: the machine code of kernels is not kept, so that every process compiles them anew, which takes up "
            f"to a minute ({reason}). Set NUMBA_CACHE_DIR to a folder with space that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )


def of(kind: type[CodeCache], function: Callable[..., Any]) -> Any:
    """Return the cache for a function, or None after a warning, once for all, if there is no place for it."""
    try:
        return kind(function)
    except (RuntimeError, OSError) as error:  # Numba finds no folder to write in; or the sources cannot be read
        _warn(str(error))
        return None
