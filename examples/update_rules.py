"""Update rules compared: their paths on six functions of two variables, and what they reach on digits.

    python examples/update_rules.py     tables to the terminal; figures, their data and a JSON file to
                                        examples/out/update_rules/

Every rule runs at one rate for all, and at its own best rate of a grid. How rules are compared on digits stands in
``claims/comparison.py``, with the tests of the claims N21, N22, B4 and B5, which are put here to more seeds, rates and
epochs than in the main job. A new rule is one line in FAMILIES.
"""

import argparse
import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from claims import CLAIMS, Row, as_markdown
from claims import comparison as c
from claims.base import interval, verdict
from tqdm import tqdm

import minnet as mn
from minnet import landscapes, plots
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


OWN = {"SignMomentum"}  # of these, no published claim speaks
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
        "Muon": mn.Muon(),
        "ScheduleFreeSGD": mn.ScheduleFreeSGD(),
        "ScheduleFreeAdamW": mn.ScheduleFreeAdamW(),
        "L-BFGS": mn.LBFGS(),
    },
}
# Muon is for matrices; L-BFGS for full batches, where claim N20 of the main job has it.
NOT_ON_LANDSCAPES, NOT_ON_DIGITS = {"Muon"}, {"L-BFGS"}
GRID = c.FULL.grid
STEPS, FRAMES, EQUAL_ON_LANDSCAPES = 300, 50, 0.01


def family(kind: str, without: set[str]) -> dict[str, mn.Rule]:
    return {label: rule for label, rule in FAMILIES[kind].items() if label not in without}


def everything(without: set[str]) -> dict[str, mn.Rule]:
    return {label: rule for kind in FAMILIES for label, rule in family(kind, without).items()}


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
        for label, rule in everything(NOT_ON_LANDSCAPES).items():
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
            labels = family(which, NOT_ON_LANDSCAPES)
            panels = {
                name: (c.LANDSCAPES[name], {label: getattr(by_rule[label], kind) for label in labels})
                for name, by_rule in results.items()
            }
            plots.trajectories(out / f"paths_{which}_{kind}.png", panels, title=title)
            plots.animation(out / f"paths_{which}_{kind}.gif", panels, title=title, frames=frames)


def rate_words(lr: float) -> str:
    """A rate of the grid; a star where a better one may lie outside."""
    return f"{lr:.2g}{'*' if lr in (GRID[0], GRID[-1]) else ''}"


def landscape_table(results: Mapping[str, Mapping[str, Descents]]) -> str:
    lines = [f"| rule | {' | '.join(results)} |", "|---" * (len(results) + 1) + "|"]
    for label in everything(NOT_ON_LANDSCAPES):
        cells = []
        for name, by_rule in results.items():
            d = by_rule[label]
            equal, best = (reached(c.LANDSCAPES[name], runs) for runs in (d.equal, d.best))
            cells.append(f"{equal:.1e}; {best:.1e} at {rate_words(d.best_rate)}".replace("inf;", "diverged;"))
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


# Digits ------------------------------------------------------------------------------------------------------


def digits_table(studies: Mapping[str, c.Study]) -> str:
    labels = c.in_order(studies)
    ranks = c.rank_intervals(np.stack([c.final(studies[label].best) for label in labels]))
    lines = [
        f"| rank (95 %) | rule | best rate | test loss (95 %) | test accuracy | loss at {c.EQUAL} | accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, (label, (low, high)) in enumerate(zip(labels, ranks, strict=True), 1):
        best, equal = studies[label].best, studies[label].equal
        least, most = interval(c.final(best))
        cells = (
            f"{number} ({low} to {high})",
            label,
            rate_words(studies[label].best_rate),
            f"{c.final(best).mean():.4f} ({least:.4f} to {most:.4f})",
            f"{best.accuracy[:, -1].mean():.2%}",
            f"{c.final(equal).mean():.4f}",
            f"{equal.accuracy[:, -1].mean():.2%}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw_digits(
    studies: Mapping[str, c.Study], variants: Mapping[str, Mapping[str, c.Study]], protocol: c.Protocol, out: Path
) -> None:
    for which in FAMILIES:
        some = {label: studies[label] for label in family(which, NOT_ON_DIGITS)}
        c.draw_curves(out / f"digits_{which}.png", "All rules", some)
        last = {k: np.stack([c.final(s.choosing[lr]) for lr in GRID], axis=1) for k, s in some.items()}
        plots.comparison(
            out / f"digits_{which}_rates.png",
            {f"Digits, after {protocol.epochs} epochs": {k: (GRID, values) for k, values in last.items()}},
            xlabel="learning rate",
            ylabel="validation loss (nats)",
            log_x=True,
            log_y=True,
            ylim=(0.05, 5),
        )
    for kind, by_variant in variants.items():
        c.draw_curves(out / f"digits_variants_{kind.lower()}.png", kind, by_variant)


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
        ["b1_valley.png"],
    )


# Report ------------------------------------------------------------------------------------------------------


def plain(value: float) -> float | str:
    """JSON knows no infinity."""
    return value if math.isfinite(value) else str(value)


def as_json(s: c.Study) -> dict[str, Any]:
    return {
        "rule": repr(s.rule),
        "best_rate": s.best_rate,
        "validation_loss": {f"{lr:g}": [plain(v) for v in c.final(run).tolist()] for lr, run in s.choosing.items()},
        "test_loss": {f"{lr:g}": [plain(v) for v in c.final(run).tolist()] for lr, run in s.reporting.items()},
        "test_accuracy": {f"{lr:g}": run.accuracy[:, -1].tolist() for lr, run in s.reporting.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path(__file__).parent / "out" / "update_rules"
    parser.add_argument("--out", type=Path, default=folder, help="folder for all files")
    parser.add_argument("--steps", type=int, default=STEPS, help="on the landscapes; %(default)s unless given")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of the animations; %(default)s unless given")
    parser.add_argument("--epochs", type=int, default=c.FULL.epochs, help="on digits; %(default)s unless given")
    parser.add_argument("--seeds", type=int, default=c.FULL.reporting, help="to report on; %(default)s unless given")
    arguments = parser.parse_args()
    out, protocol = arguments.out, replace(c.FULL, epochs=arguments.epochs, reporting=arguments.seeds)
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    with tqdm(total=len(c.LANDSCAPES) * len(everything(NOT_ON_LANDSCAPES)), desc="landscapes", disable=None) as bar:
        descents = run_landscapes(arguments.steps, bar)
    draw_landscapes(descents, out, arguments.frames)

    rules = everything(NOT_ON_DIGITS)
    kinds = len(rules) + sum(map(len, c.VARIANTS.values()))
    runs = kinds * (protocol.choosing * len(protocol.grid) + 2 * protocol.reporting)
    with tqdm(total=runs, desc="digits", disable=None) as bar:
        studies = {
            label: c.study(rule, c.ADAM_RATES if label == "Adam" else (c.EQUAL,), protocol, bar)
            for label, rule in rules.items()
        }
        variants = {
            kind: {label: c.study(rule, (c.EQUAL,), protocol, bar) for label, rule in by_label.items()}
            for kind, by_label in c.VARIANTS.items()
        }
    draw_digits(studies, variants, protocol, out)

    tested = {
        "B1": rates_too_low_and_too_high(out),
        "B4": c.adams_rates(studies["Adam"], out),
        "B5": c.adam_at_equal_rate({k: studies[k] for k in FAMILIES["first"]}, out, OWN),
        "N21": c.adaptive_rules(studies["Adam"], variants, out),
        "N22": c.recommended({k: studies[k] for k in FAMILIES["first"] if k not in OWN}, out),
    }
    known = {claim.name: claim for claim in CLAIMS}
    tables = (
        f"Value above the minimum, mean of the last tenth of {arguments.steps} steps: at rate {EQUAL_ON_LANDSCAPES}; "
        f"at the rule's best rate of the grid (* at its edge)\n\n{landscape_table(descents)}\n"
        f"Digits, {protocol.epochs} epochs, {protocol.reporting} seeds: at the rule's best rate of the grid (* at its "
        f"edge), and at rate {c.EQUAL}\n\n{digits_table(studies)}\n"
        f"{as_markdown([(known[name], row) for name, row in tested.items()])}"
    )
    write_whole(out / "update_rules.md", tables)
    document = {
        "minnet": mn.__version__,
        "grid": GRID,
        "digits": {
            "epochs": protocol.epochs,
            "seeds": protocol.reporting,
            "batch": c.BATCH,
            "rules": {k: as_json(s) for k, s in studies.items()},
        },
        "variants": {kind: {k: as_json(s) for k, s in by.items()} for kind, by in variants.items()},
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
