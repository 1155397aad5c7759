"""One run at a time writes in a folder, among all threads and processes that see it.

The folder has a file ``.lock`` while a run writes in it. The run holds an advisory lock of the operating system on that
file (``flock``), which ends with the process, however that ends; a file that a killed process left behind therefore
locks nobody out. The file also holds a token of whose it is, at random, which is compared before each write: where the
system or the disk has no such locks (some network file systems, Windows), the run that came first finds the other's
token and stops, instead of both removing each other's files. Linux carries ``flock`` over NFS (since 2.6.12, unless
mounted with ``nolock`` or ``local_lock``), also between hosts.
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
    """The right to write in a folder, from its making to ``release``.

    Raises:
        FileExistsError: if another run has it.
        OSError: if the file cannot be written, for any other reason.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder.resolve() / NAME
        self._process, self._thread = os.getpid(), threading.current_thread()
        self._token = f"process {self._process} on {socket.gethostname()}, {secrets.token_hex(8)}"
        with _guard:
            _displace(self._path)
            handle = _locked(self._path)
            # Closes the file, which ends the lock, if nobody releases it.
            self._close = weakref.finalize(self, os.close, handle)
            try:
                os.ftruncate(handle, 0)
                os.write(handle, self._token.encode())
            except BaseException:
                self._close()
                raise
            _held[self._path] = self

    def check(self) -> None:
        """FileExistsError if another run has taken the folder over; OSError if the file is gone."""
        if self._path.read_text(encoding="utf-8", errors="replace") != self._token:
            raise _taken(self._path)

    def release(self) -> None:
        """Let others write. The file is removed, unless it is another run's by now."""
        if not self._close.alive:
            return
        if os.getpid() == self._process:  # and not a child that was forked off, to which it does not belong
            with suppress(OSError):
                self.check()
                self._path.unlink()
        self._close()


_guard = threading.RLock()
_held: "weakref.WeakValueDictionary[Path, FolderLock]" = weakref.WeakValueDictionary()


def _displace(path: Path) -> None:
    """Release the lock of a run in this process that cannot be at work, as this thread is here and not there.

    A run that an exception broke off does not release it, and is to be resumed in the same session.
    """
    mine = _held.get(path)
    if mine is None or mine._process != os.getpid():
        return
    if mine._thread is not threading.current_thread() and mine._thread.is_alive():
        raise _taken(path)
    mine.release()


def _locked(path: Path) -> int:
    """A handle of the file, which is made if need be, with the lock on it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            if fcntl is not None:
                _lock(handle, path)
            with suppress(FileNotFoundError):  # the one who had it has removed the file meanwhile
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
    except OSError:  # a disk without locks
        return


def _taken(path: Path) -> FileExistsError:
    with suppress(OSError):
        who = path.read_text(encoding="utf-8", errors="replace").rpartition(",")[0]
        return FileExistsError(
            f"expected no other run at work in {path.parent}; got that of {who or 'another process'}"
        )
    return FileExistsError(f"expected no other run at work in {path.parent}; got that of another process")
