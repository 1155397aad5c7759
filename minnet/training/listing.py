"""Tables of the rows of a history for people to read, as text and as HTML for notebooks."""

import html
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

_MOST, _WIDEST = 20, 24  # most rows, and characters per cell; longer ones are cut


def as_text(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """Return a table with a line of names and one line per row; of many rows, only the first and last are shown."""
    lines = [list(columns), *_cells(columns, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def as_html(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of ``as_text`` in HTML."""
    lines = [("th", columns), *(("td", cells) for cells in _cells(columns, rows))]
    body = "".join(
        "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>" for kind, cells in lines
    )
    return f"<table>{body}</table>"


def _cells(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    left_out = len(rows) > _MOST
    shown = [*rows[: _MOST // 2], *rows[-(_MOST // 2) :]] if left_out else rows
    lines = [[_cell(row[column]) if column in row else "" for column in columns] for row in shown]
    if left_out:
        lines.insert(_MOST // 2, ["..."] * len(columns))
    return lines


def _cell(value: Any) -> str:
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f"{float(value):.4g}"
    text = " ".join(str(value).split())
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
