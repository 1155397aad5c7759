"""The store of a study: one SQLite file with the outcome of every unit, which the coordinator alone writes.

Each outcome is one transaction, so a process that is killed at any time, also within a commit, leaves a file that is
whole. SQLite's write-ahead log is flushed to the disk when it is merged (``synchronous=NORMAL``). A power cut may
therefore lose the last outcomes. They are computed again, with the same results.
"""

import base64
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..net.description import differences
from ..storage.files import check_folder
from ..storage.folderlock import FolderLock
from .units import Outcome, Unit

SCHEMA = 1
_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE units (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, status TEXT NOT NULL, words TEXT NOT NULL,
    result TEXT NOT NULL, state BLOB, columns TEXT NOT NULL, seconds REAL NOT NULL,
    machine TEXT, threads INTEGER, vector_bytes INTEGER, version TEXT
);
"""
_WHERE = ("machine", "threads", "vector_bytes", "version")


class StoreError(OSError):
    """A store cannot be used: it is damaged, newer, of another study, in use, or cannot be written."""


@dataclass(frozen=True)
class Row:
    """One stored outcome.

    Attributes:
        key: key of the unit.
        columns: the columns of the unit, such as its configuration.
        outcome: what became of it; without ``state`` unless it was asked for.
    """

    key: str
    columns: dict[str, Any]
    outcome: Outcome


class Store:
    """Outcomes of units by key, in one SQLite file or in memory.

    One process at a time writes a store. Others may read it meanwhile with ``Store.reading``. A store belongs on a disk
    of the coordinator's machine: SQLite's log does not work on network disks.

    Args:
        path: path of the file, which is created if it does not exist; None keeps everything in memory.
        subject: what the study is about, as numbers, texts, lists and dicts. A store of another subject is refused.

    Raises:
        StoreError: the file is damaged, is no store, has a newer schema or another subject, is in use by another
            coordinator, or cannot be written. It is unchanged.
        FileNotFoundError: the folder does not exist.
    """

    def __init__(self, path: str | Path | None, subject: Mapping[str, Any]) -> None:
        self.path = None if path is None else Path(path).resolve()
        self._lock: FolderLock | None = None
        text = json.dumps(subject, sort_keys=True)
        if self.path is not None:
            check_folder(self.path)
            self._lock = _lock(self.path)
        try:
            with _errors(self.path):
                self._open(text)
        except BaseException:
            self.close()
            raise

    def _open(self, text: str) -> None:
        # Autocommit, so that transactions are those that are written here. The coordinator may be any one thread.
        self._file = sqlite3.connect(
            ":memory:" if self.path is None else self.path, isolation_level=None, check_same_thread=False, timeout=5
        )
        found = _about(self._file, self.path)
        if found is None:
            self._file.execute("PRAGMA journal_mode=WAL")
            script = f"BEGIN IMMEDIATE; {_TABLES} COMMIT;"
            self._file.executescript(script)
            self._file.executemany("INSERT INTO about VALUES (?, ?)", [("schema", str(SCHEMA)), ("subject", text)])
        elif found != text:
            raise StoreError(
                f"Store: expected a store of this study in {self.path}; got one of another: "
                f"{differences('', json.loads(found), json.loads(text))}. Give another path, or what it was made for"
            )
        self._file.execute("PRAGMA synchronous=NORMAL")
        # Whether it can be written is found now, not after the first unit.
        self._file.execute("BEGIN IMMEDIATE")
        self._file.execute("ROLLBACK")

    @classmethod
    def reading(cls, path: str | Path) -> tuple[dict[str, Any], list[Row]]:
        """Return (subject, rows) of a file, also while a study writes to it.

        Args:
            path: path of the file, which stays as it is.

        Raises:
            FileNotFoundError: there is no file.
            StoreError: the file is damaged, is no store, or has a newer schema.
        """
        path = Path(path).resolve()
        if not path.is_file():
            raise FileNotFoundError(f"expected a study at {path}; there is no such file")
        with _errors(path):
            # SQLite reads a write-ahead log with the help of a file that it makes, except where no one can write.
            fixed = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
            mode = "mode=ro&immutable=1" if fixed else "mode=ro"
            file = sqlite3.connect(f"{path.as_uri()}?{mode}", uri=True, isolation_level=None)
            try:
                found = _about(file, path)
                if found is None:
                    raise StoreError(f"Store: expected a study in {path}; got an empty file")
                return json.loads(found), list(_rows(file))
            finally:
                file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let others write it."""
        if hasattr(self, "_file"):
            self._file.close()
        if self._lock is not None:
            self._lock.release()

    def get(self, key: str, state: bool = True) -> Outcome | None:
        """Return the outcome of a unit; None if there is none.

        Args:
            key: key of the unit.
            state: whether to read its state too, which may be large.

        Raises:
            StoreError: the file cannot be read.
        """
        with _errors(self.path):
            return next((row.outcome for row in _rows(self._file, "WHERE key = ?", (key,), state)), None)

    def put(self, unit: Unit, outcome: Outcome) -> None:
        """Store an outcome, as a whole.

        Args:
            unit: the unit, whose key and columns are stored.
            outcome: what came of it.

        Raises:
            StoreError: it cannot be written, for example because the disk is full. The store is as it was before.
        """
        if self._lock is not None:
            try:
                self._lock.check()
            except OSError as error:
                raise StoreError(f"Store: expected {self.path} to be ours alone; got another coordinator") from error
        columns, result = json.dumps(dict(unit.columns)), json.dumps(_packed(outcome.result))
        where = [outcome.where.get(name) for name in _WHERE]
        with _errors(self.path):
            self._file.execute(
                "INSERT INTO units (key, status, words, result, state, columns, seconds, machine, threads, "
                "vector_bytes, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (unit.key, outcome.status, outcome.words, result, outcome.state, columns, outcome.seconds, *where),
            )

    def rows(self) -> list[Row]:
        """Return all outcomes in the order in which they came, without their states."""
        with _errors(self.path):
            return list(_rows(self._file))


def _rows(file: sqlite3.Connection, condition: str = "", values: tuple = (), state: bool = False) -> Iterator[Row]:
    names = f"key, columns, status, words, result, {'state' if state else 'NULL'}, seconds, {', '.join(_WHERE)}"
    for key, columns, status, words, result, content, seconds, *where in file.execute(
        f"SELECT {names} FROM units {condition} ORDER BY number", values
    ):
        place = dict(zip(_WHERE, where, strict=True))
        outcome = Outcome(status, words, _unpacked(json.loads(result)), content, seconds, place)
        yield Row(key, json.loads(columns), outcome)


def _about(file: sqlite3.Connection, path: Path | None) -> str | None:
    """Return the subject of a store as JSON, None for an empty file; StoreError if it is not whole."""
    tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return None
    if not {"about", "units"} <= tables:
        raise StoreError(f"Store: expected a study in {path}; got an SQLite file with the tables {sorted(tables)}")
    if (problem := file.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise StoreError(f"Store: expected a whole file; {path} is damaged: {problem}")
    about = dict(file.execute("SELECT name, value FROM about"))
    if not str(about.get("schema")).isdecimal() or "subject" not in about:
        raise StoreError(f"Store: expected a schema and a subject in {path}; got {sorted(about)}")
    if int(about["schema"]) > SCHEMA:
        raise StoreError(
            f"Store: expected schema {SCHEMA} or older; {path} has schema {about['schema']}, of a newer minnet"
        )
    return str(about["subject"])


def _lock(path: Path) -> FolderLock:
    try:
        return FolderLock(path.parent, f".{path.name}.lock")
    except FileExistsError as error:
        raise StoreError(
            f"Store: expected no other coordinator of {path}; got one at work ({error}). Let it end, or give another "
            "path; Store.reading and `python -m minnet.experiments show` read a study meanwhile"
        ) from None
    except OSError as error:
        raise StoreError(f"Store: expected to write in {path.parent}; got {error.strerror or error}") from error


class _errors:  # noqa: N801  # reads as a statement: with _errors(path)
    """Turns the errors of SQLite into StoreError."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, sqlite3.ProgrammingError):
            raise StoreError(f"Store: expected an open store; got that of {self.path}, which is closed") from error
        if isinstance(error, sqlite3.DataError | OverflowError):
            raise StoreError(
                f"Store: expected results and states that SQLite can hold, about 1 GB each; got {error}. What was "
                "stored before is whole"
            ) from error
        if isinstance(error, sqlite3.OperationalError):
            raise StoreError(
                f"Store: expected to read and write {self.path}; got {error}. What was stored before is whole"
            ) from error
        if isinstance(error, sqlite3.DatabaseError):
            raise StoreError(f"Store: expected a whole SQLite file at {self.path}; got {error}") from error


def _packed(value: Any) -> Any:
    """Return a result for JSON: arrays as bytes, NumPy's numbers as Python's."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiub":
            raise TypeError(f"Store: expected arrays of numbers; got dtype {value.dtype}")
        content = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"$array": value.dtype.str, "shape": list(value.shape), "content": content}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {name: _packed(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(inner) for inner in value]
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        if "$array" in value:
            content = np.frombuffer(base64.b64decode(value["content"]), value["$array"])
            return content.reshape(value["shape"]).copy()
        return {name: _unpacked(inner) for name, inner in value.items()}
    return [_unpacked(inner) for inner in value] if isinstance(value, list) else value
