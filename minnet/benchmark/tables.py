"""Tables of a benchmark, as text and as CSV."""

import csv
import io
from typing import Any

from ..base.shown import Shown


class ResultTable(Shown):
    """Rows of a result, printed as text.

    Attributes:
        rows: the rows, which are dicts.
    """

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __repr__(self) -> str:
        lines = [list(self.rows[0]), *([_text(v) for v in row.values()] for row in self.rows)] if self.rows else []
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines) or "no rows"

    def to_markdown(self) -> str:
        """Return the rows as a table in Markdown."""
        lines = [list(self.rows[0]), ["---"] * len(self.rows[0]), *([_text(v) for v in r.values()] for r in self.rows)]
        return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)

    def to_csv(self) -> str:
        """Return the rows as the text of a CSV file."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]) if self.rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
