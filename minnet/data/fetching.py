"""Data sets by name: downloaded once, checked, and read."""

import errno
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

from ..base import checks
from ..base.extras import extra
from ..storage.files import write_whole
from ..storage.folderlock import FolderLock
from .downloads import Resuming
from .sources import SOURCES, File, Source


def fetch(name: str, folder: str | Path | None = None, *, progress: bool | None = None) -> Any:
    """Download a data set, unless it is there already, and return what the reader of its name returns.

    Files that are there are used, without the network, if their checksums are right; others are downloaded again. A
    file gets its name only when it is whole and checked. What came of a download that was cut is kept, and the next
    call goes on from there.

    Args:
        name: ``"mnist"``, ``"fashion_mnist"``, ``"cifar10"``, ``"cifar100"`` or ``"shakespeare"``.
        folder: folder in which the data set gets a folder of its name, made if necessary. None for pooch's cache of the
            user, such as ``~/.cache/minnet``, which the environment variable ``XDG_CACHE_HOME`` moves on Linux.
        progress: whether to show a bar for each download; None for a bar on a terminal and in a notebook.

    Returns:
        What the function of this name in ``datasets`` returns.

    Raises:
        TypeError: if ``progress`` is none of True, False and None, or ``folder`` is no path.
        ValueError: for an unknown name; if what the servers have is damaged or was changed.
        ConnectionError: if no server can be reached, or one breaks off. The error says what to do without a network.
        FileExistsError: if another process downloads the data set into this folder at this time.
        ImportError: if pooch is not installed (``pip install 'minnet[data]'``), and files are missing or no folder is
            given.
        NotADirectoryError: if a file is where a folder is to be made.
        OSError: if a folder cannot be made or a file cannot be written, such as PermissionError.
    """
    if not isinstance(name, str) or name not in SOURCES:
        raise ValueError(f"fetch: expected one of the data sets {', '.join(SOURCES)}; got {name!r}")
    if progress is not None:
        checks.truth("fetch", "progress", progress)
    if folder is not None and not isinstance(folder, str | PathLike):
        raise TypeError(f"fetch: expected folder as a path or None; got {folder!r}")
    source = SOURCES[name]
    place = (_cache() if folder is None else Path(folder).absolute()) / name
    with _naming(place):
        missing = [file for file in source.files if not file.is_whole(place)]
        if missing:
            place.mkdir(parents=True, exist_ok=True)
            try:
                lock = FolderLock(place)
            except FileExistsError as error:
                raise FileExistsError(f"fetch: {error}. Wait until it has downloaded the files") from None
            try:
                _complete(source, missing, place, progress)
            finally:
                lock.release()
    return source.read(place)


@contextmanager
def _naming(place: Path) -> Iterator[None]:
    """Within this context, an error of the operating system says that the folder of a data set was to be written."""
    try:
        for folder in (place, *place.parents):
            if folder.exists() and not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "it is a file", str(folder))
        yield
    except OSError as error:
        if error.errno is None:  # of this module: a server, or another process, with words of its own
            raise
        raise type(error)(
            error.errno,
            f"fetch: expected a folder {place} that can be made and written in; got {error.strerror}. Give another "
            "folder=...",
            error.filename or str(place),
        ) from error


def _cache() -> Path:
    """Return pooch's folder for the files of minnet that may be downloaded again."""
    with extra("fetch", "pooch 1.8 or newer", "data"):
        import pooch
    return Path(pooch.os_cache("minnet"))


def _complete(source: Source, missing: list[File], place: Path, progress: bool | None) -> None:
    """Download the missing files, or the archive and take them out of it."""
    if source.archive is None:
        for file in missing:
            _download(file, source.addresses, place, progress)
        return
    archive = place / source.archive.name
    kept = archive.exists()  # somebody has put it there, to whom it belongs
    _download(source.archive, source.addresses, place, progress)
    _unpack(archive, missing, place)
    if not kept:
        archive.unlink()


def _download(file: File, addresses: tuple[str, ...], place: Path, progress: bool | None) -> None:
    """Download a file from the first address that has it; ConnectionError or ValueError if none has."""
    with extra("fetch", "pooch 1.8 or newer", "data"):
        import pooch
    part = place / f".{file.name}.part"
    refused: list[tuple[str, Exception]] = []
    for address in addresses:
        try:
            with _quiet(pooch.get_logger()):
                pooch.retrieve(
                    url=address + file.name,
                    known_hash=f"sha256:{file.sha256}",
                    fname=file.name,
                    path=place,
                    downloader=Resuming(part, file.size, progress),
                )
            return
        except (ConnectionError, ValueError) as error:
            refused.append((address, error))
    offline = all(isinstance(error, ConnectionError) for _, error in refused)
    got = "; ".join(f"from {address}: {str(error).rstrip('.')}" for address, error in refused)
    have = part.stat().st_size if part.exists() else 0
    more = f" {have} of {file.size} bytes are kept, and the next call goes on from there." if have else ""
    raise (ConnectionError if offline else ValueError)(
        f"fetch: expected {file.name} whole, with its known checksum; got {got}.{more} A file from elsewhere may be "
        f"put into {place}; its checksum is compared"
    ) from refused[-1][1]


def _unpack(archive: Path, files: list[File], place: Path) -> None:
    """Write files of an archive, each whole and checked; ValueError if they are not in it."""
    import tarfile

    wanted = {file.name: file for file in files}
    with tarfile.open(archive) as tar:
        for member in tar:
            file = wanted.get(PurePosixPath(member.name).name)
            content = tar.extractfile(member) if file is not None and member.size == file.size else None
            if file is None or content is None:
                continue
            data = content.read()
            if hashlib.sha256(data).hexdigest() == file.sha256:
                write_whole(place / file.name, data)
                del wanted[file.name]
    if wanted:
        raise ValueError(f"fetch: expected {', '.join(wanted)} in {archive}, with their known checksums; found none")


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Within this context a logger says nothing below a warning: a bar says what is downloaded."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
