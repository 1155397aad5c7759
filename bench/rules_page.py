"""Run the benchmark of update rules on the set *small*, and put its result into docs/rules.md.

    python bench/rules_page.py rules.db --workers 2              what the store has is not run again
    python bench/rules_page.py rules.db --overhead               measure the time of a step too, on an idle machine
    python bench/rules_page.py rules.db --rules SGD Momentum     some rules only

Tables and claims go between the marks of the page, figures to ``docs/figures/``, and one row for each run to
``docs/rules.csv.gz``. The claims are read from the result, so that the page says what the runs say.
"""

import argparse
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
from gradcheck import put_into

import minnet as mn
from minnet import benchmark as b
from minnet.benchmark.page import figures
from minnet.benchmark.scores import judged, middle

DOCS = Path(__file__).parents[1] / "docs"
VERDICTS = ("better", "not told apart", "worse")


def published() -> list[b.Entry]:
    """All entries that the problems of *small* take: L-BFGS needs batches of all samples."""
    return [entry for entry in b.published() if not entry.rule.searches]


# Schedules of claims D1 to D4, which fall to a hundredth, and the 1/t decay of the tutorial.


def linear(lr: float, steps: int) -> mn.schedules.Schedule:
    return mn.schedules.Linear(lr, lr / 100, steps)


def exponential(lr: float, steps: int) -> mn.schedules.Schedule:
    return mn.schedules.Exponential(lr, np.log(100) / steps)


def inverse_time(lr: float, steps: int) -> mn.schedules.Schedule:
    return mn.schedules.InverseTime(lr, 0.005)


SCHEDULES = {
    "constant": b.constant,
    "linear to 1/100": linear,
    "exponential to 1/100": exponential,
    "1 / (1 + 0.005 t)": inverse_time,
    "cosine to 0": b.cosine,
}


def decays(workers: int, store: Path) -> b.Result:
    """Momentum on Iris with the network of the tutorial, tuned for each schedule."""
    (iris,) = (problem for problem in b.problems("tiny") if problem.name == "iris_mlp")
    space = b.Space(lr=b.Log(1e-4, 10.0))
    entries = [b.Entry(name, mn.Momentum(0.9), space, schedule) for name, schedule in SCHEDULES.items()]
    return b.run([iris], entries, store=store, workers=workers)


def against(result: b.Result, name: str, other: str) -> str:
    """How often a rule is better, not told apart, worse than another: time; loss."""
    found = []
    for kind in ("times", "finals"):
        pairs = [(getattr(result.cells[p.name, name], kind), getattr(result.cells[p.name, other], kind)) for p in
                 result.problems]  # fmt: skip
        verdicts = [judged(one, two) for one, two in pairs]
        counts = [f"{verdict} on {verdicts.count(verdict)}" for verdict in VERDICTS if verdicts.count(verdict)]
        found.append(", ".join(counts))
    return f"time to target {found[0]}; final loss {found[1]}"


def n21(result: b.Result) -> str:
    lines = [
        f"* {name} against {other}: {against(result, name, other)}."
        for name, other in (("Adagrad", "Adam"), ("RMSprop", "Adam"), ("Adam, no bias correction", "Adam"))
    ]
    return "\n".join(lines)


def n22(result: b.Result) -> str:
    found = []
    for name in ("Nesterov", "Adam"):
        beaten = {p.name: 0 for p in result.problems}
        for p in result.problems:
            mine = result.cells[p.name, name].times
            beaten[p.name] = sum(
                judged(result.cells[p.name, other].times, mine) == "better" for other in result.names if other != name
            )
        words = ", ".join(f"{count} on {problem}" for problem, count in beaten.items())
        found.append(f"* Of {len(result.names) - 1} other rules, sooner at the target than {name}: {words}.")
    return "\n".join(found)


def b4(result: b.Result) -> str:
    rows = []
    for name in ("Adam, constant rate", "Adam"):
        chosen = ", ".join(f"{result.cells[p.name, name].config['lr']:.2g}" for p in result.problems)
        rows.append(f"* {name}, the chosen rates in the order of the problems: {chosen}.")
    wins = 0
    for p in result.problems:
        cell = result.cells[p.name, "Adam, constant rate"]
        rates = np.log10([config["lr"] for config in cell.configs])
        near = {at: cell.trial_scores[np.argmin(abs(rates - at))] for at in (-4, -3, -2)}
        wins += min(near, key=lambda at: near[at]) == -3
    rows.append(
        f"* Of the trials at a constant rate that are nearest to 0.0001, 0.001 and 0.01, the one at 0.001 is the best "
        f"on {wins} of {len(result.problems)} problems."
    )
    return "\n".join(rows)


def b5(result: b.Result) -> str:
    rivals = [
        entry.name
        for entry in result.entries
        if entry.name in ("Momentum", "Nesterov", "Adagrad", "Adam")  # one space, so one list of rates
    ]
    first = total = 0
    for p in result.problems:
        scores = np.stack([result.cells[p.name, name].trial_scores for name in rivals])
        told = np.isfinite(scores).any(axis=0)
        first += int((np.array(rivals)[scores.argmin(axis=0)][told] == "Adam").sum())
        total += int(told.sum())
    lines = [
        f"* At equal rates, {', '.join(rivals)}: Adam has the lowest validation loss at {first} of {total} pairs of a "
        "problem and a rate."
    ]
    lines += [
        f"* At tuned rates, Adam against {other}: {against(result, 'Adam', other)}."
        for other in ("SGD", "Momentum", "Nesterov", "Adagrad", "RMSprop", "Adadelta")
    ]
    return "\n".join(lines)


def d_claims(result: b.Result, iris: b.Result) -> str:
    (problem,) = iris.problems
    rows = ["| schedule | chosen rate | steps to target | test loss | accuracy |", "|---|---|---|---|---|"]
    for name in iris.names:
        cell = iris.cells[problem.name, name]
        accuracy = np.median([curve.accuracies[-1] for curve in cell.reported])
        figures_ = f"{cell.config['lr']:.3g} | {middle(cell.times):.4g} | {middle(cell.finals):.3g} | {accuracy:.3f}"
        rows.append(f"| {name} | {figures_} |")
    exponential_, linear_ = "exponential to 1/100", "linear to 1/100"
    return "\n".join(
        [
            *rows,
            "",
            f"* D3, exponential against linear decay on Iris: {against(iris, exponential_, linear_)}.",
            f"* D4, exponential to 1/100 against a constant rate on Iris: {against(iris, exponential_, 'constant')}.",
            *(
                f"* D4, {name} along a cosine to 0 against a constant rate: {against(result, name, other)}."
                for name, other in (("SGD", "SGD, constant rate"), ("Adam", "Adam, constant rate"))
                if {name, other} <= set(result.names)
            ),
        ]
    )


NEEDS: dict[str, tuple[Callable[[b.Result], str], set[str]]] = {
    "N21": (n21, {"Adagrad", "Adam", "RMSprop", "Adam, no bias correction"}),
    "N22": (n22, {"Nesterov", "Adam"}),
    "B4": (b4, {"Adam", "Adam, constant rate"}),
    "B5": (b5, {"SGD", "Momentum", "Nesterov", "Adagrad", "RMSprop", "Adadelta", "Adam"}),
}


def of_problem(result: b.Result, name: str) -> str:
    """The table of a problem, without intervals, which are in the CSV file of the report."""
    keep = ("rule", "hits", "time", "time verdict", "loss", "loss verdict", "accuracy", "hyper-parameters", "remark")
    rows = [{key: row[key] for key in keep} for row in result.table().rows if row["problem"] == name]
    return b.ResultTable(rows).to_markdown()


def write_page(result: b.Result, iris: b.Result, page: Path) -> None:
    """Put everything that is computed between the marks of the page, and write figures and rows beside it."""
    put_into(page, "".join(f"{line}\n\n" for line in result.words()), "how")
    put_into(page, result.statements().to_markdown(), "statements")
    tables = "".join(
        f"### {p.name}\n\nTarget {p.target:.4g}.\n\n{of_problem(result, p.name)}\n" for p in result.problems
    )
    put_into(page, tables, "tables")
    put_into(page, result.sensitivity().to_markdown(), "width")
    for claim, (function, names) in NEEDS.items():
        missing = sorted(names - set(result.names))
        put_into(page, (function(result) if not missing else f"Not run: {', '.join(missing)}.") + "\n", claim)
    put_into(page, d_claims(result, iris) + "\n", "D")
    (page.parent / "figures").mkdir(exist_ok=True)
    shown = ""
    for figure in figures(result, "Momentum"):
        names = list(figure.panels)
        shown += f"{figure.words}\n\n"
        for i in range(0, len(names), 3):
            file = f"figures/rules_{figure.title.split()[0].lower()}{i // 3 + 1}.png"
            (page.parent / file).write_bytes(figure.png(names[i : i + 3]))
            shown += f"![{figure.title}: {', '.join(names[i : i + 3])}]({file})\n\n"
    put_into(page, shown, "figures")
    with (page.parent / "rules.csv.gz").open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(result.runs().to_csv().encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="database of the runs")
    parser.add_argument("--rules", nargs="+", help="some rules only")
    parser.add_argument("--problems", nargs="+", help="some problems only")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--overhead", action="store_true", help="measure the time of a step; on an idle machine")
    parser.add_argument("--page", type=Path, default=DOCS / "rules.md")
    parser.add_argument("--report", type=Path, help="path of the HTML page")
    given = parser.parse_args()
    entries = [entry for entry in published() if given.rules is None or entry.name in given.rules]
    problems = [p for p in b.problems("small") if given.problems is None or p.name in given.problems]
    result = b.run(problems, entries, store=given.store, workers=given.workers)
    write_page(result, decays(given.workers, given.store), given.page)
    overhead = result.overhead() if given.overhead else None
    if overhead is not None:
        put_into(given.page, overhead.to_markdown(), "overhead")
    if given.report:
        result.report(given.report, overhead=overhead)
    for notice in result.check():
        print(f"{notice.kind}: {notice.text}")


if __name__ == "__main__":
    main()
