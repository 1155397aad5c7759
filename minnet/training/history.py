"""The history of a run: one row per step and one per epoch."""

import csv
import html
import io
import json
import math
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from ..base.extras import extra
from ..base.guide import Guided
from ..storage.files import write_whole
from . import listing

Row = dict[str, Any]


class Rows:
    """Rows of one kind, printed as a table.

    ``rows["loss"]`` is the column of that name as a list. ``for row in rows`` iterates over the rows, which are dicts.

    Attributes:
        rows: the rows, as a list.
    """

    def __init__(self, rows: list[Row] | None = None) -> None:
        self._rows: list[Row] = rows if rows is not None else []
        self._to_come: list[Iterable[Row]] = []  # rows that are made when somebody looks at them, and their number
        self._coming = 0

    @property
    def rows(self) -> list[Row]:
        if self._to_come:
            to_come, self._to_come, self._coming = self._to_come, [], 0
            for rows in to_come:
                self._rows.extend(rows)
        return self._rows

    @rows.setter
    def rows(self, rows: list[Row]) -> None:
        self._rows, self._to_come, self._coming = rows, [], 0

    def extend_later(self, rows: Iterable[Row], count: int) -> None:
        """Add rows that are made when somebody looks at them.

        Args:
            rows: an iterator that makes the rows.
            count: their number.
        """
        self._to_come.append(rows)
        self._coming += count

    def __getstate__(self) -> dict[str, Any]:
        return {"_rows": self.rows, "_to_come": [], "_coming": 0}

    def __getitem__(self, column: str) -> list[Any]:
        if not any(column in row for row in self.rows):
            raise KeyError(f"history: expected one of the columns {self.columns()}; got {column!r}")
        return [row.get(column) for row in self.rows]

    def __len__(self) -> int:
        return len(self._rows) + self._coming

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __contains__(self, column: str) -> bool:
        return any(column in row for row in self.rows)

    def __repr__(self) -> str:
        return listing.as_text(self.columns(), self.rows) if self.rows else "no rows yet"

    def _repr_html_(self) -> str:
        return listing.as_html(self.columns(), self.rows)

    def columns(self) -> list[str]:
        """Return the names of all columns, in the order in which they first appeared."""
        return list(dict.fromkeys(column for row in self.rows for column in row))

    def to_pandas(self) -> Any:
        """Return the rows as a ``pandas.DataFrame``, one column each.

        A column of integers is int64 and one of numbers float64. Where rows lack an entry, they are Int64 and Float64,
        whose missing entries are ``pandas.NA``: a figure that is NaN and one that was not measured stay different. A
        column with anything else has the dtype object.

        Raises:
            ImportError: if pandas is not installed (``pip install 'minnet[pandas]'``).
        """
        with extra("Rows.to_pandas", "pandas 2.2 or newer", "pandas"):
            import pandas
        missing = pandas.NA
        columns = {name: [row.get(name, missing) for row in self.rows] for name in self.columns()}
        return pandas.DataFrame({name: _series(values, missing) for name, values in columns.items()})


def _series(values: list[Any], missing: object) -> Any:
    """Return a column for pandas; ``missing`` marks places without an entry."""
    import pandas

    there = [value for value in values if value is not missing]
    whole = all(isinstance(value, Integral) and -(2**63) <= int(value) < 2**63 for value in there)
    if not all(isinstance(value, Real) for value in there) or any(isinstance(value, bool) for value in there):
        return pandas.Series(values, dtype=object)
    mask = np.array([value is missing for value in values])
    filled = np.array([0 if value is missing else value for value in values], np.int64 if whole else np.float64)
    if not mask.any():
        return pandas.Series(filled)
    # Made of values and a mask, because every other way turns NaN into a missing entry.
    kind = pandas.arrays.IntegerArray if whole else pandas.arrays.FloatingArray
    return pandas.Series(kind(filled, mask))


class History(Guided):
    """The record of a run, printed as a table of its epochs.

    ``history["loss"]`` is a column of the epochs' rows and ``history.steps["loss"]`` a column of the steps' rows. ``for
    row in history`` iterates over the epochs' rows, which are dicts.

    The columns of the epochs are:

    - ``epoch``, counted from 1, and ``step``, the number of steps taken by the end of the epoch.
    - ``loss``: mean of the objective (data loss and penalties) over the batches of the epoch, weighted by their numbers
      of samples. It is a **running mean in training mode**: each batch is measured before its update, with the weights
      of that step, and with dropout, augmentation and the statistics of the batch. It therefore lags behind, and with
      dropout it may differ much from the result of ``net.evaluate`` for the same samples.
    - ``accuracy``: share of correct samples in the same passes, if the loss classifies. It is a running mean as well.
      To measure the gap to ``val_accuracy``, use ``train_accuracy`` instead.
    - ``train_loss``, ``train_data_loss`` (without penalties), ``train_accuracy``: results of ``net.evaluate`` after the
      epoch for the training data, or a part of them; with ``evaluate_training=...``.
    - ``val_loss``, ``val_data_loss`` (without penalties), ``val_accuracy``: results of ``net.evaluate`` after the epoch
      for the validation data; with ``validation=...``.
    - ``lr``: learning rate of the epoch's last step, times ``Trainer.lr_factor``.
    - Columns of callbacks.

    The columns of the steps are ``step`` and ``epoch``, counted from 1; ``loss``, the objective of the step's batch
    before its update, in training mode; ``lr``; a column for each other hyper-parameter that is a schedule; and with
    ``clip_norm`` ``grad_norm``, the norm of the gradient before clipping (``clip_norm=math.inf`` records it only).

    Attributes:
        epochs, steps: the rows, as ``Rows``.
        stopped: why the run ended: ``"finished"``, ``"interrupted"``, or the reason of a callback; None while it runs.
    """

    def __init__(self) -> None:
        self.epochs = Rows()
        self.steps = Rows()
        self.stopped: str | None = None

    def __getitem__(self, column: str) -> list[Any]:
        return self.epochs[column]

    def __contains__(self, column: str) -> bool:
        return column in self.epochs

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.epochs)

    def __repr__(self) -> str:
        return f"{self._heading()}\n{self.epochs}" if len(self) else self._heading()

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._heading())}</p>{self.epochs._repr_html_() if len(self) else ''}"

    def _heading(self) -> str:
        ended = "" if self.stopped in (None, "finished") else f"; stopped: {self.stopped}"
        return f"History of {len(self.epochs)} epochs, {len(self.steps)} steps{ended}"

    def training(self, figure: str) -> str:
        """Return the name of the column for a figure of the training data.

        Args:
            figure: ``"loss"`` or ``"accuracy"``.

        Returns:
            ``"train_loss"`` or ``"train_accuracy"`` if the run evaluated the training data, else ``figure``.
        """
        return f"train_{figure}" if f"train_{figure}" in self else figure

    def save(self, path: str | Path) -> None:
        """Write all rows to a ``.csv`` or ``.json`` file, whole or not at all.

        The text is UTF-8. All columns must contain numbers. In CSV, the column ``row`` says whether a row is a step or
        an epoch, and ``stopped`` is a column that is filled in the last row only, so a history without rows loses it.

        Args:
            path: path of the file, which ends in ``.csv`` or ``.json``.

        Raises:
            ValueError: the path has another ending, or a column is called ``stopped``.
            TypeError: a column holds something that is no number.
            OSError: the file cannot be written.
        """
        path = Path(path)
        if path.suffix == ".json":
            write_whole(path, self.to_json())
        elif path.suffix == ".csv":
            write_whole(path, self.to_csv())
        else:
            raise ValueError(f"History.save: expected a path ending in .csv or .json; got {path.name!r}")

    def to_csv(self) -> str:
        """Return all rows as the text of a ``.csv`` file, see ``save``."""
        columns = list(dict.fromkeys([*self.steps.columns(), *self.epochs.columns()]))
        if "stopped" in columns:
            raise ValueError(f"History: expected no column called 'stopped', why a run ended; got {columns}")
        lines: list[list[Any]] = [
            [kind, *(_number(c, row[c]) if c in row else "" for c in columns)]
            for kind, rows in (("step", self.steps), ("epoch", self.epochs))
            for row in rows.rows
        ]
        if self.stopped is not None and lines:
            columns.append("stopped")
            for line in lines:
                line.append("")
            lines[-1][-1] = self.stopped
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([["row", *columns], *lines])
        return text.getvalue()

    def to_json(self) -> str:
        """Return all rows as the text of ``save``'s JSON file; NaN and infinity, which JSON lacks, are text."""
        document = {"stopped": self.stopped, "epochs": _plain(self.epochs), "steps": _plain(self.steps)}
        return json.dumps(document, indent=1, allow_nan=False)

    def to_pandas(self) -> Any:
        """Return the epochs' rows as a ``pandas.DataFrame``; ``history.steps.to_pandas()`` has the steps' rows.

        See ``history.epochs.to_pandas``, which this calls.
        """
        return self.epochs.to_pandas()

    @classmethod
    def load(cls, path: str | Path) -> "History":
        """Read a file of ``save``.

        Args:
            path: path of the file, which ends in ``.csv`` or ``.json``.

        Returns:
            The history. From CSV, numbers are whole where their text is.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or is no history; the error names it.
        """
        path = Path(path)
        history = cls()
        if path.suffix == ".json":
            try:
                document = json.loads(path.read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                raise ValueError(f"History.load: expected JSON in {path}; got {error}") from None
            if not isinstance(document, dict) or not all(_is_rows(document.get(kind)) for kind in ("epochs", "steps")):
                raise ValueError(f"History.load: expected a history in {path}; got other JSON")
            history.stopped = document.get("stopped")
            if not (history.stopped is None or isinstance(history.stopped, str)):
                raise ValueError(f"History.load: expected stopped as text in {path}; got {history.stopped!r}")
            for rows, kind in ((history.epochs, "epochs"), (history.steps, "steps")):
                rows.rows = [_numbers(path, row) for row in document[kind]]
        elif path.suffix == ".csv":
            try:
                with path.open(newline="", encoding="utf-8") as file:
                    header, *lines = list(csv.reader(file)) or [[]]
            except (ValueError, csv.Error) as error:
                raise ValueError(f"History.load: expected a table of text in {path}; got {error}") from None
            if header[:1] != ["row"]:
                raise ValueError(f"History.load: expected a first column 'row' in {path}; got {header}")
            for cells in lines:
                if not cells or cells[0] not in ("step", "epoch"):
                    raise ValueError(f"History.load: expected rows of kind step or epoch in {path}; got {cells}")
                if len(cells) != len(header):
                    raise ValueError(f"History.load: expected {len(header)} cells a row in {path}; got {cells}")
                row = {column: cell for column, cell in zip(header[1:], cells[1:], strict=True) if cell}
                history.stopped = row.pop("stopped", history.stopped)
                (history.steps if cells[0] == "step" else history.epochs).rows.append(_numbers(path, row))
        else:
            raise ValueError(f"History.load: expected a path ending in .csv or .json; got {path.name!r}")
        return history

    def plot(self, path: Any = None) -> Any:
        """Draw loss and accuracy, for training and validation, and the learning rate into an image file.

        Args:
            path: path of a file, an open binary file, or None to return the Matplotlib figure.

        Returns:
            The figure if ``path`` is None, else None.

        Raises:
            ValueError: the history has no steps.
        """
        from .. import plots

        if not len(self.steps):
            raise ValueError("History.plot: expected at least one step; got none")
        return plots.learning_curves(self, path)


def _is_rows(rows: Any) -> bool:
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _number(column: str, value: Any) -> Any:
    """Convert a NumPy number to a Python number whose shortest text reads back as the same number."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        # By its shortest text, so that 0.1 in float32 stays 0.1.
        return float(str(value))
    raise TypeError(f"History: expected numbers in column {column!r}; got {value!r}")


def _plain(rows: Rows) -> list[Row]:
    """Return rows for JSON, with NaN and infinity as text."""
    plain = [{k: _number(k, v) for k, v in row.items()} for row in rows.rows]
    return [{k: v if math.isfinite(v) else str(v) for k, v in row.items()} for row in plain]


def _numbers(path: Path, row: Row) -> Row:
    """Convert cells back to int if they were int, else to float."""
    result: Row = {}
    for column, cell in row.items():
        try:
            if isinstance(cell, str):
                cell = int(cell) if cell.lstrip("-").isdigit() else float(cell)
            elif isinstance(cell, bool) or not isinstance(cell, int | float):
                raise ValueError(f"{cell!r}")
        except ValueError as error:
            raise ValueError(f"History.load: expected numbers in {path}; got {error} in {column!r}") from None
        result[column] = cell
    return result
