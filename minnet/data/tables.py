"""Data from files that other programs write: NumPy's archives and tables of text."""

import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from csv import Error as FormatError
from csv import reader
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np

from ..base import checks
from .arrays import Data

_BEYOND = 2.0**128 - 2.0**103  # from here on, float32 has infinity: half a place above its largest number

_DAMAGE = (
    *(ValueError, EOFError, OSError, OverflowError, SyntaxError, TokenError, zipfile.BadZipFile, zlib.error),
    RuntimeError,  # an archive with a password, or packed in a way that Python does not know (NotImplementedError)
)


def npz(path: str | Path, x: str = "x", y: str = "y") -> Data:
    """Load two arrays of an archive that ``numpy.savez`` or ``numpy.savez_compressed`` wrote.

    Args:
        path: path of the file.
        x, y: names of the arrays in it, such as ``"x_train"`` and ``"y_train"`` for the files of Keras.

    Returns:
        (x, y), with the shapes and dtypes that they have in the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no such archive, is damaged, has no arrays of these names, has Python objects in them
            (which would be code), or has x and y of different lengths. The error names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"npz: expected a file {path}; there is none")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"npz: expected an archive of arrays in {path}; got a file of another kind, or a part of one")
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            names = arrays.files
            found = [arrays[name] for name in (x, y) if name in names]
    except (MemoryError, *_DAMAGE) as error:  # a damaged header may ask for any size
        raise ValueError(f"npz: expected whole arrays of numbers in {path}; got {error}") from error
    if len(found) < 2:
        raise ValueError(f"npz: expected arrays {x!r} and {y!r} in {path}; got {sorted(names)}")
    if not all(isinstance(array, np.ndarray) for array in found):
        raise ValueError(f"npz: expected {x!r} and {y!r} in {path} to be arrays of NumPy; got files of another kind")
    lengths = [array.shape[:1] for array in found]
    if lengths[0] != lengths[1] or lengths[0] in ((), (0,)):
        raise ValueError(
            f"npz: expected {x!r} and {y!r} of one length in {path}; got shapes {found[0].shape} and {found[1].shape}"
        )
    return found[0], found[1]


def csv(
    path: str | Path,
    target: int | str = -1,
    *,
    labels: bool = True,
    classes: Sequence[str] | None = None,
    header: bool = True,
    delimiter: str = ",",
) -> tuple[Data, tuple[str, ...]]:
    """Load a table of numbers from a text file in UTF-8, one sample a line.

    Args:
        path: path of the file.
        target: column of the targets, by its name in the header or by its place; negative places count from the end.
            All other columns are the features.
        labels: True if the target says which class a sample is of, in numbers or words. False if it is a number to
            predict.
        classes: labels in the order of their numbers, for a file that does not have all of them or is to be numbered
            like another file. None for all labels of the file, in alphabetical order, or by value if all are integers.
        header: whether the first line has the names of the columns.
        delimiter: the character between two cells.

    Returns:
        ((x, y), classes): x is float32 of shape (n, features), its columns in the order of the file. y is int64 of
        shape (n,), the place of each label in ``classes``; with ``labels=False`` it is float32 of shape (n, 1), as the
        losses of regression take it, and ``classes`` is empty.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError, ValueError: for bad arguments; for a table without features, as with another delimiter than the
            file's; for a cell that is not a finite number or an unknown label, and a line with more or fewer cells than
            the first. The error names the line, counted from 1, and the column.
    """
    path = Path(path)
    labels, header = checks.truth("csv", "labels", labels), checks.truth("csv", "header", header)
    known = _checked_classes(labels, classes)
    lines = _lines(path, delimiter)
    first = next(lines, None)
    if first is None:
        raise ValueError(f"csv: expected a table in {path}; got an empty file")
    names, place = _columns(first, target, header, delimiter)
    features, texts, numbers = [], [], []
    for line in (*([] if header else [first]), *lines):
        if len(line.cells) != len(names):
            raise ValueError(f"csv: expected {len(names)} cells in {line}; got {len(line.cells)}")
        features.append([line.number(i, name) for i, name in enumerate(names) if i != place])
        if labels:
            texts.append(line.label(place, names[place], known))
        else:
            numbers.append([line.number(place, names[place])])
    if not features:
        raise ValueError(f"csv: expected at least one sample in {path}; got none")
    x = np.array(features, np.float32)
    if not labels:
        return (x, np.array(numbers, np.float32)), ()
    order = known or _in_order(set(texts))
    numbered = {label: number for number, label in enumerate(order)}
    return (x, np.array([numbered[text] for text in texts], np.int64)), order


@dataclass(frozen=True)
class _Line:
    """A line of a file, which errors name."""

    path: Path
    place: int
    cells: list[str]

    def __str__(self) -> str:
        return f"line {self.place} of {self.path}"

    def number(self, place: int, column: str) -> float:
        """Return a cell as a number; raise ValueError unless it is one that is finite in single precision."""
        text = self.cells[place]
        try:
            value = math.nan if "_" in text else float(text)  # Python would read 1_000 as a number
        except ValueError:
            value = math.nan
        if not abs(value) < _BEYOND:
            raise ValueError(f"csv: expected a finite number in column {column!r}, {self}; got {text!r}")
        return value

    def label(self, place: int, column: str, known: tuple[str, ...]) -> str:
        """Return a cell without blanks around it; raise ValueError unless it is a label."""
        text = self.cells[place].strip()
        if not text or (known and text not in known):
            expected = f"one of {list(known)}" if known else "a label"
            raise ValueError(f"csv: expected {expected} in column {column!r}, {self}; got {text!r}")
        return text


def _lines(path: Path, delimiter: str) -> Iterator[_Line]:
    """Yield the lines of a file that are not empty. A cell in quotation marks may go over several lines of text."""
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise ValueError(f"csv: expected delimiter to be one character; got {delimiter!r}")
    if not path.is_file():
        raise FileNotFoundError(f"csv: expected a file {path}; there is none")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
        while True:
            try:
                cells = next(rows)
            except StopIteration:
                return
            except UnicodeDecodeError as error:
                raise ValueError(f"csv: expected {path} in UTF-8; got {error}") from error
            except FormatError as error:
                raise ValueError(
                    f"csv: expected a row of cells in line {rows.line_num} of {path}; got {error}"
                ) from None
            if cells:
                yield _Line(path, rows.line_num, cells)


def _columns(first: _Line, target: int | str, header: bool, delimiter: str) -> tuple[list[str], int]:
    """Return the names of the columns, which are their places if there is no header, and the place of the target."""
    names = first.cells if header else [str(place) for place in range(len(first.cells))]
    place = _place(first.path, names, target, header)
    if len(names) < 2:
        raise ValueError(
            f"csv: expected columns of features beside the target in {first.path}; got one column, {names[0]!r}. Is "
            f"{delimiter!r} the delimiter of the file?"
        )
    return names, place


def _place(path: Path, names: list[str], target: int | str, header: bool) -> int:
    """Return the place of the target among the columns, from 0."""
    if isinstance(target, str):
        if not header:
            raise ValueError(f"csv: expected target to be a place where header=False; got {target!r}")
        stripped = [name.strip() for name in names]
        if stripped.count(target) != 1:
            raise ValueError(f"csv: expected target to be one of the columns {stripped} of {path}; got {target!r}")
        return stripped.index(target)
    count = len(names)
    if not -count <= checks.whole("csv", "target", target) < count:
        raise ValueError(f"csv: expected target to be one of the {count} columns of {path}; got {target}")
    return target % count


def _checked_classes(labels: bool, classes: Sequence[str] | None) -> tuple[str, ...]:
    if classes is None:
        return ()
    if not labels:
        raise ValueError(f"csv: expected classes only with labels=True; got {classes!r}")
    ordered = isinstance(classes, Sequence | np.ndarray) and not isinstance(classes, str)
    if not ordered or len(classes) == 0 or not all(isinstance(label, str) for label in classes):
        raise TypeError(f"csv: expected classes to be labels as text, in their order; got {classes!r}")
    if len(set(classes)) < len(classes):
        raise ValueError(f"csv: expected different classes; got {classes!r}")
    return tuple(str(label) for label in classes)


def _in_order(labels: set[str]) -> tuple[str, ...]:
    try:
        return tuple(sorted(labels, key=lambda label: (int(label), label)))  # 1 and 01 are two labels
    except ValueError:
        return tuple(sorted(labels))
