"""Rows of a history as columns that a file can hold, and back."""

from typing import Any

import numpy as np

from .history import Rows

_NUMBERS = {int, float, np.float64, np.float32, np.float16, np.int64, np.int32}  # of one column of a history, one


def table_of(rows: Rows) -> Any:
    """Rows as columns that are arrays: a document of many numbers would take much memory when it is read.

    A column that only some rows have, or of NumPy's numbers, is a dict: ``values``, ``rows`` (their indices, None for
    all) and ``plain``, whether they are Python's. What is not numbers of one kind stays a list, and rows whose columns
    have no order in common stay rows.
    """
    names = list(rows.rows[0]) if len(rows) else []
    uneven = any(list(row) != names for row in rows.rows)
    if uneven:
        names = rows.columns()
        if any(list(row) != [name for name in names if name in row] for row in rows.rows):
            return rows.rows
    columns: dict[str, Any] = {}
    for name in names:
        having = [i for i, row in enumerate(rows.rows) if name in row] if uneven else range(len(rows))
        values = [rows.rows[i][name] for i in having]
        kinds = {type(value) for value in values}
        kind = kinds.pop() if len(kinds) == 1 else None
        try:
            array = np.array(values, np.int64 if kind is int else kind) if kind in _NUMBERS else values
        except OverflowError:
            array = values
        whole, plain = len(having) == len(rows), kind in (int, float) or array is values
        rest = {"rows": None if whole else np.array(having, np.int64), "plain": plain}
        columns[name] = array if whole and plain else {"values": array, **rest}
    return columns if any(isinstance(column, np.ndarray) for column in columns.values()) else rows.rows


def rows_of(table: Any) -> list[dict[str, Any]]:
    """The rows of a table in which ``problem_of`` has found none."""
    if isinstance(table, list):
        return table
    columns = {name: column if isinstance(column, dict) else {"values": column} for name, column in table.items()}
    rows: list[dict[str, Any]] = [
        {} for _ in max((column["values"] for column in columns.values()), key=len, default=())
    ]
    for name, column in columns.items():
        values = column["values"]
        places = range(len(values)) if column.get("rows") is None else column["rows"].tolist()
        python = isinstance(values, np.ndarray) and column.get("plain", True)
        for i, value in zip(places, values.tolist() if python else values, strict=True):
            rows[i][name] = value
    return rows


def problem_of(table: Any) -> str | None:
    """What keeps something from being a table as ``table_of`` makes it; None for nothing."""
    if isinstance(table, list):
        return None if all(isinstance(row, dict) for row in table) else "other rows"
    if not isinstance(table, dict):
        return "no table"
    whole = [column for column in table.values() if not isinstance(column, dict)]
    if not all(isinstance(column, np.ndarray | list) for column in whole):
        return "other columns"
    arrays = [column for column in whole if isinstance(column, np.ndarray)]
    if table and (
        not arrays
        or not all(column.ndim == 1 and column.dtype.name in ("float64", "int64") for column in arrays)
        or len({len(column) for column in whole}) > 1
        or not all(_is_part(column, len(whole[0])) for column in table.values() if isinstance(column, dict))
    ):
        return "columns of other shapes or kinds"
    return None


def _is_part(column: dict[str, Any], length: int) -> bool:
    """Whether it is a column that is no plain array, of a table of so many rows."""
    values, rows = column.get("values"), column.get("rows")
    if set(column) != {"values", "rows", "plain"}:
        return False
    if not isinstance(values, list) and not (isinstance(values, np.ndarray) and values.ndim == 1):
        return False
    if rows is None:
        return len(values) == length
    return (
        isinstance(rows, np.ndarray)
        and rows.dtype == np.int64
        and rows.shape == (len(values),)
        and bool(np.all(np.diff(rows) > 0))
        and bool(np.all((rows >= 0) & (rows < length)))
    )
