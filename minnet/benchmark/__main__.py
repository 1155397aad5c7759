"""``python -m minnet.benchmark``: run a set of problems from the command line."""

import argparse
import os
import sys
import time
from pathlib import Path

from ..experiments.units import Outcome, Unit
from . import targets
from .entries import chosen, published
from .protocol import Protocol
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
    problems = problems_of(given.set, given.data)
    if given.problems:
        names = [problem.name for problem in problems]
        unknown = [name for name in given.problems if name not in names]
        if unknown:
            raise ValueError(f"benchmark: expected problems among {', '.join(names)}; got {', '.join(unknown)}")
        problems = [problem for problem in problems if problem.name in given.problems]
    rules = list(targets.REFERENCES) if given.freeze else given.rules
    entries = published() if rules is None else chosen(rules)
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
        targets.write(
            {
                p.name: targets.frozen(
                    p, {e.name: result.cells[p.name, e.name].finals.tolist() for e in entries}, repr(protocol)
                )
                for p in problems
            }
        )
        print(f"wrote {targets.PATH}")
        return 0
    print(result.table(given.reference))
    print(result.statements(given.reference))
    for finding in result.check():
        print(f"{finding.kind}: {finding.text}", file=sys.stderr)
    if given.report:
        result.report(Path(given.report), given.reference)
    return 0


if __name__ == "__main__":
    sys.exit(main())
