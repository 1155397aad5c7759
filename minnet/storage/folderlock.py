"""A lock that lets one run at a time write in a folder, among all threads and processes.

While a run writes in a folder, the folder has a file ``.lock``. The run holds an advisory lock of the operating system
on that file (``flock``). The lock ends with the process, so a file that a killed process left behind has no effect.

The file also contains a random token of its owner, which is compared before each write. Some network file systems and
Windows do not have such locks. There, the first run finds the token of the second run and stops, so the two do not
remove each other's files. Linux supports ``flock`` over NFS, also between hosts (since 2.6.12, unless mounted with
``nolock`` or ``local_lock``).
"""

import os
import secrets
import socket
import threading
import weakref
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


class FolderLock:
    """The exclusive right to write in a folder, or to one file in it, from construction to ``release``.

    Args:
        folder: the folder.
        name: name of the file with the lock; another one than the folder's for the lock of a single file.

    Raises:
        FileExistsError: if another run holds the lock.
        OSError: if the file cannot be written for another reason.
    """

    def __init__(self, folder: Path, name: str = NAME) -> None:
        self._path = folder.resolve() / name
        self._process, self._thread = os.getpid(), threading.current_thread()
        self._token = f"process {self._process} on {socket.gethostname()}, {secrets.token_hex(8)}"
        with _guard:
            _displace(self._path)
            handle = _locked(self._path)
            # Closes the file, and so ends the lock, if it is never released.
            self._close = weakref.finalize(self, os.close, handle)
            try:
                os.ftruncate(handle, 0)
                os.write(handle, self._token.encode())
            except BaseException:
                self._close()
                raise
            _held[self._path] = self

    def check(self) -> None:
        """Raise FileExistsError if another run has taken over the folder, and OSError if the file does not exist."""
        if self._path.read_text(encoding="utf-8", errors="replace") != self._token:
            raise _taken(self._path)

    def release(self) -> None:
        """Release the lock. The file is removed, unless it now belongs to another run."""
        if not self._close.alive:
            return
        if os.getpid() == self._process:  # a forked child does not own the lock
            with suppress(OSError):
                self.check()
                self._path.unlink()
        self._close()


_guard = threading.RLock()
_held: "weakref.WeakValueDictionary[Path, FolderLock]" = weakref.WeakValueDictionary()


def _displace(path: Path) -> None:
    """Release a lock of this process whose run cannot be active, because its thread is this one or has ended.

    A run that ended with an exception does not release its lock, but may be resumed in the same session.
    """
    mine = _held.get(path)
    if mine is None or mine._process != os.getpid():
        return
    if mine._thread is not threading.current_thread() and mine._thread.is_alive():
        raise _taken(path)
    mine.release()


def _locked(path: Path) -> int:
    """Return a handle of the file with the lock on it; create the file if necessary."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            if fcntl is not None:
                _lock(handle, path)
            with suppress(FileNotFoundError):  # the previous owner has removed the file in the meantime
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _taken(path) from None
    except OSError:  # a file system without locks
        return


def _taken(path: Path) -> FileExistsError:
    with suppress(OSError):
        who = path.read_text(encoding="utf-8", errors="replace").rpartition(",")[0]
        return FileExistsError(
            f"expected no other run at work in {path.parent}; got that of {who or 'another process'}"
        )
    return FileExistsError(f"expected no other run at work in {path.parent}; got that of another process")
