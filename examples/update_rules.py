"""Update rules compared: their paths on six functions of two variables, and a benchmark on digits.

    python examples/update_rules.py     tables to the terminal; figures, their data and a JSON file to
                                        examples/out/update_rules/

On the surfaces, every rule runs at one rate for all, and at its own best rate of a grid. On digits, a rule of one's own
is compared with four others by ``minnet.benchmark``, whose report is one HTML page. docs/rules.md has the result for
all rules. A new rule is one line in FAMILIES.
"""

import argparse
import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from claims import CLAIMS, Row, as_markdown
from claims import comparison as c
from claims.base import Figure, verdict
from tqdm import tqdm

import minnet as mn
from minnet import benchmark, landscapes, plots
from minnet.storage.files import write_whole


@dataclass(frozen=True)
class SignMomentum(mn.Rule):
    """A rule of one's own, as in docs/tour.md: steps by the sign of the mean gradient."""

    beta: float = 0.9
    slots: ClassVar[tuple[str, ...]] = ("mean",)

    def apply(self, params, grads, state, *, lr, t, decay):
        (mean,) = state
        mean += (1 - self.beta) * (grads - mean)
        params -= lr * (np.sign(mean) + decay * params)


# Two figures of each kind, since no more than 14 lines can be told apart; the later rules beside two of the first.
FAMILIES: dict[str, dict[str, mn.Rule]] = {
    "first": {**c.RULES, "SignMomentum": SignMomentum()},
    "later": {
        "Nesterov": c.RULES["Nesterov"],
        "Adam": c.RULES["Adam"],
        "AMSGrad": mn.AMSGrad(),
        "AdaMax": mn.AdaMax(),
        "NAdam": mn.NAdam(),
        "RAdam": mn.RAdam(),
        "Lion": mn.Lion(),
        "Adafactor": mn.Adafactor(),
        "LARS": mn.LARS(),
        "LAMB": mn.LAMB(),
        "ScheduleFreeSGD": mn.ScheduleFreeSGD(),
        "ScheduleFreeAdamW": mn.ScheduleFreeAdamW(),
        "L-BFGS": mn.LBFGS(),
    },
}
GRID = c.half_decades(-4, 2)
STEPS, FRAMES, EQUAL_ON_LANDSCAPES = 300, 50, 0.01


def everything() -> dict[str, mn.Rule]:
    return {label: rule for rules in FAMILIES.values() for label, rule in rules.items()}


# Landscapes --------------------------------------------------------------------------------------------------


def paths(landscape: landscapes.Landscape, rule: mn.Rule, lr: float, steps: int) -> list[np.ndarray]:
    return [landscapes.descend(landscape, rule, start, lr=lr, steps=steps) for start in landscape.starts]


def reached(landscape: landscapes.Landscape, runs: Iterable[np.ndarray]) -> float:
    """Mean value above the minimum over the last tenth of the steps of all runs; infinity where one diverged."""
    ends = np.stack([run[-max(1, len(run) // 10) :] for run in runs])
    if not np.isfinite(ends).all():
        return math.inf
    with np.errstate(over="ignore"):
        return float(landscape.value(ends).mean() - landscape.lowest)


@dataclass
class Descents:
    """What one rule did on one landscape: at the equal rate, and at the best of the grid."""

    equal: list[np.ndarray]
    best_rate: float
    best: list[np.ndarray]


def run_landscapes(steps: int, bar: tqdm) -> dict[str, dict[str, Descents]]:
    results: dict[str, dict[str, Descents]] = {}
    for name, landscape in c.LANDSCAPES.items():
        results[name] = {}
        for label, rule in everything().items():
            runs = {lr: paths(landscape, rule, lr, steps) for lr in GRID}
            best = min(GRID, key=lambda lr: reached(landscape, runs[lr]))
            results[name][label] = Descents(paths(landscape, rule, EQUAL_ON_LANDSCAPES, steps), best, runs[best])
            bar.update()
    return results


def draw_landscapes(results: Mapping[str, Mapping[str, Descents]], out: Path, frames: int) -> None:
    for kind, title in (
        ("equal", f"All rules at rate {EQUAL_ON_LANDSCAPES}"),
        ("best", f"Each rule at its best rate of {len(GRID)} from {GRID[0]:g} to {GRID[-1]:g}"),
    ):
        for which in FAMILIES:
            panels = {
                name: (c.LANDSCAPES[name], {label: getattr(by_rule[label], kind) for label in FAMILIES[which]})
                for name, by_rule in results.items()
            }
            plots.trajectories(out / f"paths_{which}_{kind}.png", panels, title=title)
            plots.animation(out / f"paths_{which}_{kind}.gif", panels, title=title, frames=frames)


def rate_words(lr: float) -> str:
    """A rate of the grid; a star where a better one may lie outside."""
    return f"{lr:.2g}{'*' if lr in (GRID[0], GRID[-1]) else ''}"


def landscape_table(results: Mapping[str, Mapping[str, Descents]]) -> str:
    lines = [f"| rule | {' | '.join(results)} |", "|---" * (len(results) + 1) + "|"]
    for label in everything():
        cells = []
        for name, by_rule in results.items():
            d = by_rule[label]
            equal, best = (reached(c.LANDSCAPES[name], runs) for runs in (d.equal, d.best))
            cells.append(f"{equal:.1e}; {best:.1e} at {rate_words(d.best_rate)}".replace("inf;", "diverged;"))
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


# Digits ------------------------------------------------------------------------------------------------------


def own_entry() -> benchmark.Entry:
    """The rule of one's own as an entrant of the benchmark."""
    return benchmark.Entry("SignMomentum", SignMomentum(), benchmark.Space(lr=benchmark.Log(1e-5, 1.0)))


def compare(problem: str, tuning: int, seeds: int, out: Path) -> benchmark.Result:
    """The rule of one's own beside four others on digits, by the protocol of ``minnet.benchmark``."""
    problems = [p for p in benchmark.problems("small") if p.name == problem]
    entries = [*benchmark.chosen(["Momentum", "Nesterov", "RMSprop", "Adam"]), own_entry()]
    protocol = benchmark.Protocol(tuning, reporting=range(100, 100 + seeds))
    result = benchmark.run(problems, entries, protocol, store=out / "rules.db")
    result.report(out / "rules.html")
    return result


# Claims ------------------------------------------------------------------------------------------------------


def rates_too_low_and_too_high(out: Path, steps: int = 40) -> Row:
    valley = landscapes.LongValley(condition=10)
    start = valley.starts[0]
    limit = 2 / valley.condition  # above which gradient descent diverges along the steep axis
    best = 2 / (valley.condition + 1)  # which shrinks both axes alike
    kinds = {"Too low": (0.05 * limit,), "Best": (best,), "Too high": (0.99 * limit, 1.03 * limit)}
    runs = {
        lr: landscapes.descend(valley, mn.SGD(), start, lr=lr, steps=steps) for rates in kinds.values() for lr in rates
    }
    plots.trajectories(
        out / "b1_valley.png",
        {kind: (valley, {f"rate {lr:.3g}": [runs[lr]] for lr in rates}) for kind, rates in kinds.items()},
        title="SGD in a long valley",
    )
    across = np.array([-math.sin(math.radians(valley.angle)), math.cos(math.radians(valley.angle))])
    turns = [int((np.diff(np.sign(run @ across)) != 0).sum()) for run in runs.values()]
    low, best_, oscillates, high = ends = [float(valley.value(run[-1])) for run in runs.values()]
    holds = min(low, oscillates) > 1000 * best_ and turns[0] == 0 and turns[2] == steps and high > valley.value(start)
    return Row(
        "slow; oscillates or diverges",
        f"SGD in a long valley: value after {steps} steps from {float(valley.value(start)):.3g}, and how often the "
        + "path crossed the valley: "
        + "; ".join(f"rate {lr:.3g}: {end:.1e}, {n}" for lr, end, n in zip(runs, ends, turns, strict=True)),
        verdict(holds),
        figures=[Figure("b1_valley.png", "Left a path that creeps, right one that crosses the valley at each step.")],
    )


# Report ------------------------------------------------------------------------------------------------------


def plain(value: float) -> float | str:
    """JSON knows no infinity."""
    return value if math.isfinite(value) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path(__file__).parent / "out" / "update_rules"
    parser.add_argument("--out", type=Path, default=folder, help="folder for all files")
    parser.add_argument("--steps", type=int, default=STEPS, help="on the landscapes; %(default)s unless given")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of the animations; %(default)s unless given")
    parser.add_argument("--problem", default="digits_mlp", help="of the set small; %(default)s unless given")
    parser.add_argument("--tuning", type=int, default=20, help="trials of each rule; %(default)s unless given")
    parser.add_argument("--seeds", type=int, default=10, help="to report on; %(default)s unless given")
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    with tqdm(total=len(c.LANDSCAPES) * len(everything()), desc="landscapes", disable=None) as bar:
        descents = run_landscapes(arguments.steps, bar)
    draw_landscapes(descents, out, arguments.frames)
    compared = compare(arguments.problem, arguments.tuning, arguments.seeds, out)

    tested = {"B1": rates_too_low_and_too_high(out)}
    known = {claim.name: claim for claim in CLAIMS}
    tables = (
        f"Value above the minimum, mean of the last tenth of {arguments.steps} steps: at rate {EQUAL_ON_LANDSCAPES}; "
        f"at the rule's best rate of the grid (* at its edge)\n\n{landscape_table(descents)}\n"
        f"{arguments.problem}, {arguments.seeds} seeds, each rule tuned with {arguments.tuning} trials\n\n"
        f"{compared.table().to_markdown()}\n"
        f"{as_markdown([(known[name], row) for name, row in tested.items()])}"
    )
    write_whole(out / "update_rules.md", tables)
    document = {
        "minnet": mn.__version__,
        "grid": GRID,
        "landscapes": {
            name: {
                label: {
                    "equal": plain(reached(c.LANDSCAPES[name], d.equal)),
                    "best_rate": d.best_rate,
                    "best": plain(reached(c.LANDSCAPES[name], d.best)),
                }
                for label, d in by_rule.items()
            }
            for name, by_rule in descents.items()
        },
        "claims": [{"claim": name, "measured": row.measured, "verdict": row.verdict} for name, row in tested.items()],
    }
    write_whole(out / "update_rules.json", json.dumps(document, indent=1, allow_nan=False))
    print(tables)
    print(f"{time.perf_counter() - start:.0f} s; figures and tables: {out}")


if __name__ == "__main__":
    main()
