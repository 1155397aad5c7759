"""``python -m minnet.benchmark``: run a set of problems from the command line."""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from ..experiments.units import Outcome, Unit
from . import targets
from .entries import Entry, chosen, published
from .problems import AnyProblem
from .protocol import Protocol
from .results import Result
from .running import run
from .sets import problems as problems_of


class _Lines:
    """Writes a line to standard error about every ten seconds."""

    def __init__(self) -> None:
        self.done = self.bad = 0
        self.start = self.last = time.monotonic()

    def __call__(self, unit: Unit, outcome: Outcome) -> None:
        self.done += 1
        self.bad += outcome.status != "done"
        if time.monotonic() - self.last > 10:
            self.last = time.monotonic()
            print(f"{self.done} runs, {self.bad} failed, {self.last - self.start:.0f} s", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m minnet.benchmark", description="Compare update rules.")
    parser.add_argument("--set", choices=("tiny", "small", "classic"), default="tiny", help="problems (%(default)s)")
    parser.add_argument("--problems", nargs="+", metavar="NAME", help="some problems of the set only")
    parser.add_argument(
        "--rules", nargs="+", metavar="NAME", help="rules, or module:name; all published ones if absent"
    )
    parser.add_argument("--data", default=os.environ.get("MINNET_DATA"), help="folder with MNIST and CIFAR-10")
    parser.add_argument("--store", help="database of the runs; what it has is not run again")
    parser.add_argument("--report", help="path of the HTML page")
    parser.add_argument("--tuning", type=int, default=20, help="trials of each rule (%(default)s)")
    parser.add_argument("--choosing", type=int, default=2, help="seeds for choosing (%(default)s)")
    parser.add_argument("--reporting", type=int, default=10, help="seeds for reporting (%(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 for this one")
    parser.add_argument(
        "--overhead", action="store_true", help="measure the time of a step over that of SGD; on an idle machine"
    )
    parser.add_argument("--reference", help="rule to compare with (Momentum)")
    parser.add_argument("--list", action="store_true", help="show problems, rules and spaces, and run nothing")
    parser.add_argument("--freeze", action="store_true", help="write the targets that the reference rules reach")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = _parser().parse_args(arguments)
    try:
        return _run(given)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(given: argparse.Namespace) -> int:
    problems = problems_of(given.set, given.data, targets=not given.freeze)
    if given.problems:
        names = [problem.name for problem in problems]
        unknown = [name for name in given.problems if name not in names]
        if unknown:
            raise ValueError(f"benchmark: expected problems among {', '.join(names)}; got {', '.join(unknown)}")
        problems = [problem for problem in problems if problem.name in given.problems]
    rules = list(targets.REFERENCES) if given.freeze else given.rules
    entries = _for_all(problems) if rules is None else chosen(rules)
    if given.list:
        for problem in problems:
            target = "no target yet" if problem.target is None else f"target {problem.target:.4g}"
            print(f"{problem.name}: {problem.steps} steps, measured every {problem.every}, {target}")
        for entry in entries:
            print(f"{entry.name}: {entry.rule!r}, {entry.space!r}, {entry.schedule.__name__}")
        return 0
    protocol = Protocol(given.tuning, range(given.choosing), range(100, 100 + given.reporting))
    result = run(problems, entries, protocol, store=given.store, workers=given.workers, progress=_Lines())
    if given.freeze:
        targets.write({p.name: _frozen(given.set, p, result) for p in problems})
        print(f"wrote {targets.PATH}")
        return 0
    print(result.table(given.reference))
    print(result.statements(given.reference))
    for finding in result.check():
        print(f"{finding.kind}: {finding.text}", file=sys.stderr)
    overhead = result.overhead() if given.overhead else None
    if overhead is not None:
        print(overhead)
    if given.report:
        result.report(Path(given.report), given.reference, overhead=overhead)
    return 0


def _for_all(problems: list[AnyProblem]) -> list[Entry]:
    """Return the published entries, without those that no problem takes."""
    entries = published()
    for entry in entries:
        if not any(problem.takes(entry.rule) for problem in problems):
            print(f"{entry.name} is left out: it needs batches of all samples", file=sys.stderr)
    return [entry for entry in entries if any(problem.takes(entry.rule) for problem in problems)]


def _frozen(name: str, problem: AnyProblem, result: Result) -> dict[str, Any]:
    cells = {entry.name: result.cells[problem.name, entry.name] for entry in result.entries}
    test = {rule: cell.finals.tolist() for rule, cell in cells.items()}
    validation = {rule: [curve.final for curve in cell.tried[cell.best]] for rule, cell in cells.items()}
    return targets.frozen(problem, name, test, validation, repr(result.protocol))


if __name__ == "__main__":
    sys.exit(main())
