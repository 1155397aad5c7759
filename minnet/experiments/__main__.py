"""``python -m minnet.experiments show study.db``: what a stored study has found, also while it runs."""

import argparse
import os
import sys
from pathlib import Path

from ..training import listing
from .store import Store
from .study import place_of, to_csv
from .units import DONE

_NOT_SHOWN = ("kind", "seed", "config")


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
            **{name: value for name, value in row.columns.items() if name not in _NOT_SHOWN},
            metric: row.outcome.result["figure"],
            **row.columns.get("config", {}),
            "seconds": row.outcome.seconds,
        }
        for row in done
    ]
    failed = sum(row.outcome.status != DONE for row in rows)
    judged = f"; {metric}, {mode}" if "metric" in subject else ""
    print(f"{given.path}: {len(rows)} outcomes, {failed} of them failed{judged}")
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
