"""``python -m minnet.experiments show study.db``: what a stored study has found, also while it runs."""

import argparse
import os
import sys
from pathlib import Path

from ..training import listing
from .store import Store
from .study import place_of, to_csv


def main(arguments: list[str] | None = None) -> int:
    """Print a stored study as a table, or as CSV; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m minnet.experiments", description=__doc__)
    parser.add_argument("command", choices=["show"])
    parser.add_argument("path", type=Path, help="file of a study")
    parser.add_argument("--csv", action="store_true", help="print CSV with all columns")
    given = parser.parse_args(arguments)
    try:
        subject, rows = Store.reading(given.path)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    metric, mode = str(subject.get("metric", "figure")), subject.get("mode")
    rows.sort(key=place_of)
    if given.csv:
        print(to_csv(rows, metric), end="")
        return 0
    done = [row for row in rows if "figure" in row.outcome.result]
    done.sort(key=lambda row: (-row.columns.get("steps", 0), row.outcome.result["figure"] * (1 - 2 * (mode == "max"))))
    lines = [
        {
            "trial": row.columns.get("trial", row.key[:8]),
            "steps": row.columns.get("steps"),
            metric: row.outcome.result["figure"],
            **row.columns.get("config", {}),
            "seconds": row.outcome.seconds,
        }
        for row in done
    ]
    print(f"{given.path}: {len(rows)} outcomes, {len(rows) - len(done)} of them failed; {metric}, {mode}")
    if lines:
        print(listing.as_text(list(dict.fromkeys(name for line in lines for name in line)), lines))
    return 0


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # of `show study.db | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
