"""Conversion of the rows of a history to columns for a file, and back."""

from typing import Any

import numpy as np

from .history import Rows

_NUMBERS = {int, float, np.float64, np.float32, np.float16, np.int64, np.int32}  # each column has one of these types


def table_of(rows: Rows) -> Any:
    """Convert rows to columns that are arrays, since a document with many numbers takes much memory when it is read.

    A column that only some rows have, or that contains NumPy numbers, is a dict: ``values``, ``rows`` (their indices,
    None for all) and ``plain`` (whether they are Python numbers). A column that does not contain numbers of one type
    stays a list. Rows whose columns have no common order stay rows.
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
    """Convert a table, which ``problem_of`` has checked, to rows."""
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
    """Return why a value is not a table as ``table_of`` makes it; None if it is one."""
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
    """Return whether a dict is a column of a table with ``length`` rows."""
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
