"""Update rules compared: their paths on six functions of two variables, and what they reach on digits.

    python examples/update_rules.py         tables to the terminal; figures, their data and a JSON file to examples/out/

Every rule runs at one rate for all, and at its own best rate of GRID. On digits the best rate is the one with the
lowest mean loss on the validation part over seeds for choosing; what is reported is the loss on the test part over
other seeds. All rules start from the same weights and see the same batches, seed by seed. A new rule is one line in
RULES.
"""

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tqdm import tqdm

import minnet as mn
from minnet import landscapes, plots
from minnet.files import write_whole


@dataclass(frozen=True)
class SignMomentum(mn.Rule):
    """A rule of one's own, as in the README: steps by the sign of the mean gradient."""

    beta: float = 0.9
    slots: ClassVar[tuple[str, ...]] = ("mean",)

    def apply(self, params, grads, state, *, lr, t, decay):
        (mean,) = state
        mean += (1 - self.beta) * (grads - mean)
        params -= lr * (np.sign(mean) + decay * params)


@dataclass(frozen=True)
class AdagradWithoutRoot(mn.Rule):
    """s += g^2; p -= lr * g / (s + eps): what the notes say performs much worse."""

    eps: float = 1e-8
    slots: ClassVar[tuple[str, ...]] = ("squares",)

    def apply(self, params, grads, state, *, lr, t, decay):
        (squares,) = state
        squares += grads * grads
        params -= lr * (grads / (squares + self.eps) + decay * params)


RULES: dict[str, mn.Rule] = {
    "SGD": mn.SGD(),
    "Momentum": mn.Momentum(0.9),
    "Nesterov": mn.Nesterov(0.9),
    "Adagrad": mn.Adagrad(),
    "RMSprop": mn.RMSprop(),
    "Adadelta": mn.Adadelta(),
    "Adam": mn.Adam(),
    "SignMomentum": SignMomentum(),
}
OWN = {"SignMomentum"}  # of these, no published claim speaks
VARIANTS: dict[str, dict[str, mn.Rule]] = {
    "RMSprop": {f"decay {rho}": mn.RMSprop(rho) for rho in (0.9, 0.99, 0.999)},
    "Adam": {"with bias correction": mn.Adam(), "without": mn.Adam(bias_correction=False)},
    "Adagrad": {"with its root": mn.Adagrad(), "without": AdagradWithoutRoot()},
}
GRID = tuple(float(f"{10 ** (k / 2):.1e}") for k in range(-8, 5))  # 1e-4 to 100 in half decades

LANDSCAPES: dict[str, landscapes.Landscape] = {
    "Rosenbrock": landscapes.Rosenbrock(),
    "Beale": landscapes.Beale(),
    "Saddle": landscapes.Saddle(),
    "Long valley": landscapes.LongValley(),
    "Noisy quadratic": landscapes.NoisyQuadratic(),
    "Rastrigin": landscapes.Rastrigin(),
}
STEPS, EQUAL_ON_LANDSCAPES = 300, 0.01

BATCH, EPOCHS, EQUAL_ON_DIGITS = 50, 15, 0.001
ADAM_RATES = (1e-4, 1e-3, 1e-2)
CHOOSING, REPORTING = 3, 20  # seeds


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
    for name, landscape in LANDSCAPES.items():
        results[name] = {}
        for label, rule in RULES.items():
            runs = {lr: paths(landscape, rule, lr, steps) for lr in GRID}
            best = min(GRID, key=lambda lr: reached(landscape, runs[lr]))
            results[name][label] = Descents(paths(landscape, rule, EQUAL_ON_LANDSCAPES, steps), best, runs[best])
            bar.update()
    return results


def draw_landscapes(results: Mapping[str, Mapping[str, Descents]], out: Path) -> None:
    for kind, title in (
        ("equal", f"All rules at rate {EQUAL_ON_LANDSCAPES}"),
        ("best", f"Each rule at its best rate of {len(GRID)} from {GRID[0]:g} to {GRID[-1]:g}"),
    ):
        panels = {
            name: (LANDSCAPES[name], {label: getattr(d, kind) for label, d in by_rule.items()})
            for name, by_rule in results.items()
        }
        plots.trajectories(out / f"trajectories_{kind}.png", panels, title=title)
        plots.animation(out / f"trajectories_{kind}.gif", panels, title=title)


def rate_words(lr: float) -> str:
    """A rate of the grid; a star where a better one may lie outside."""
    return f"{lr:.2g}{'*' if lr in (GRID[0], GRID[-1]) else ''}"


def landscape_table(results: Mapping[str, Mapping[str, Descents]]) -> str:
    lines = [f"| rule | {' | '.join(results)} |", "|---" * (len(results) + 1) + "|"]
    for label in RULES:
        cells = []
        for name, by_rule in results.items():
            d = by_rule[label]
            equal, best = (reached(LANDSCAPES[name], runs) for runs in (d.equal, d.best))
            cells.append(f"{equal:.1e}; {best:.1e} at {rate_words(d.best_rate)}".replace("inf;", "diverged;"))
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


# Digits ------------------------------------------------------------------------------------------------------


@dataclass
class Digits:
    """Held-out loss and accuracy after each epoch; infinity and 0 from where a run diverged."""

    loss: np.ndarray
    accuracy: np.ndarray


def train(rule: mn.Rule, lr: float, seed: int, part: int, epochs: int) -> Digits:
    """One run; ``part`` 1 is judged on the validation images, 2 on the test images."""
    x, y = mn.datasets.digits()
    parts = mn.data.split((x.reshape(len(x), -1), y), (0.6, 0.2, 0.2), seed=0)
    net = mn.Net([mn.Dense(100), mn.ReLU(), mn.Dense(10)], 64, mn.SoftmaxCrossEntropy(), l2=1e-4, seed=seed)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # in the rules in plain NumPy, where a run diverges
            history = mn.fit(
                net,
                parts[0],
                rule=rule,
                lr=lr,
                batch_size=BATCH,
                epochs=epochs,
                validation=parts[part],
                seed=seed,
                progress=False,
            )
    except mn.DivergenceError as error:
        history = error.history
    result = Digits(np.full(epochs, np.inf), np.zeros(epochs))
    if len(history):
        result.loss[: len(history)], result.accuracy[: len(history)] = history["val_loss"], history["val_accuracy"]
    return result


def train_all(rule: mn.Rule, lr: float, seeds: Iterable[int], part: int, epochs: int, bar: tqdm) -> Digits:
    """The same for several seeds, as arrays (seeds, epochs)."""
    runs = []
    for seed in seeds:
        runs.append(train(rule, lr, seed, part, epochs))
        bar.update()
    return Digits(np.stack([run.loss for run in runs]), np.stack([run.accuracy for run in runs]))


def final(run: Digits) -> np.ndarray:
    return run.loss[:, -1]


@dataclass
class Study:
    """One rule on digits: its validation loss at every rate, its best rate, and its test runs by rate."""

    rule: mn.Rule
    choosing: dict[float, Digits]
    best_rate: float
    reporting: dict[float, Digits]

    @property
    def best(self) -> Digits:
        return self.reporting[self.best_rate]


def study(rule: mn.Rule, rates: Iterable[float], seeds: int, epochs: int, bar: tqdm) -> Study:
    """Choose on the validation part, seeds from 0; report at the best rate and ``rates``, test part, seeds from 100."""
    choosing = {lr: train_all(rule, lr, range(CHOOSING), 1, epochs, bar) for lr in GRID}
    best = min(GRID, key=lambda lr: final(choosing[lr]).mean())
    tried = dict.fromkeys([*rates, best])
    return Study(
        rule, choosing, best, {lr: train_all(rule, lr, range(100, 100 + seeds), 2, epochs, bar) for lr in tried}
    )


def resampled_means(values: np.ndarray, draws: int = 10_000) -> np.ndarray:
    """(rules, seeds) to (rules, draws): means over seeds drawn with replacement, the same seeds for all rules."""
    chosen = np.random.default_rng(0).integers(values.shape[-1], size=(draws, values.shape[-1]))
    return values[..., chosen].mean(axis=-1)


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval (percentiles) of the mean of values (seeds,)."""
    low, high = np.quantile(resampled_means(values), (0.025, 0.975), method="inverted_cdf")
    return float(low), float(high)


def rank_intervals(losses: np.ndarray) -> list[tuple[int, int]]:
    """95 % bootstrap intervals of each rule's rank by mean loss, from 1, for losses (rules, seeds)."""
    ranks = resampled_means(losses).argsort(axis=0, kind="stable").argsort(axis=0) + 1
    low, high = np.quantile(ranks, (0.025, 0.975), axis=1, method="inverted_cdf")
    return [(int(a), int(b)) for a, b in zip(low, high, strict=True)]


def digits_table(studies: Mapping[str, Study]) -> str:
    """Rules in order of their mean loss at their best rates."""
    labels = sorted(studies, key=lambda label: final(studies[label].best).mean())
    ranks = rank_intervals(np.stack([final(studies[label].best) for label in labels]))
    lines = [
        f"| rank (95 %) | rule | best rate | test loss (95 %) | test accuracy | loss at {EQUAL_ON_DIGITS} | accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, (label, (low, high)) in enumerate(zip(labels, ranks, strict=True), 1):
        best, equal = studies[label].best, studies[label].reporting[EQUAL_ON_DIGITS]
        least, most = interval(final(best))
        cells = (
            f"{number} ({low} to {high})",
            label,
            rate_words(studies[label].best_rate),
            f"{final(best).mean():.4f} ({least:.4f} to {most:.4f})",
            f"{best.accuracy[:, -1].mean():.2%}",
            f"{final(equal).mean():.4f}",
            f"{equal.accuracy[:, -1].mean():.2%}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw_digits(studies: Mapping[str, Study], variants: Mapping[str, Mapping[str, Study]], out: Path) -> None:
    some = next(iter(studies.values())).best.loss
    per_epoch = math.ceil(len(mn.datasets.digits()[0]) * 0.6 / BATCH)
    at = [per_epoch * (epoch + 1) for epoch in range(some.shape[1])]
    loss, wide = "test loss (nats)", {"xlabel": "step", "log_y": True}
    plots.comparison(
        out / "digits_loss.png",
        {
            f"All rules at rate {EQUAL_ON_DIGITS}": {
                k: (at, s.reporting[EQUAL_ON_DIGITS].loss) for k, s in studies.items()
            },
            "Each rule at its best rate": {k: (at, s.best.loss) for k, s in studies.items()},
        },
        ylabel=loss,
        **wide,
    )
    plots.comparison(
        out / "digits_error.png",
        {
            f"All rules at rate {EQUAL_ON_DIGITS}": {
                k: (at, 100 - 100 * s.reporting[EQUAL_ON_DIGITS].accuracy) for k, s in studies.items()
            },
            "Each rule at its best rate": {k: (at, 100 - 100 * s.best.accuracy) for k, s in studies.items()},
        },
        ylabel="test images wrong (%)",
        **wide,
    )
    plots.comparison(
        out / "digits_rates.png",
        {
            f"Digits, after {some.shape[1]} epochs": {
                k: (GRID, np.stack([final(s.choosing[lr]) for lr in GRID], axis=1)) for k, s in studies.items()
            }
        },
        xlabel="learning rate",
        ylabel="validation loss (nats)",
        log_x=True,
        log_y=True,
        ylim=(0.05, 5),
    )
    for label, by_variant in variants.items():
        plots.comparison(
            out / f"digits_variants_{label.lower()}.png",
            {
                f"{label} at rate {EQUAL_ON_DIGITS}": {
                    k: (at, s.reporting[EQUAL_ON_DIGITS].loss) for k, s in by_variant.items()
                },
                f"{label}, each at its best rate": {k: (at, s.best.loss) for k, s in by_variant.items()},
            },
            ylabel=loss,
            **wide,
        )


# Claims ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One claim put to the test."""

    claim: str
    statement: str
    measured: str
    verdict: str


def verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


def differs(worse: Digits, better: Digits) -> tuple[str, bool]:
    """Difference of the final losses, paired by seed, in words; and whether its 95 % interval is above 0."""
    with np.errstate(invalid="ignore"):
        difference = final(worse) - final(better)
    difference = np.where(np.isnan(difference), 0.0, difference)  # both diverged
    low, high = interval(difference)
    return f"{difference.mean():+.4f} ({low:+.4f} to {high:+.4f})", low > 0


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
        out / "b1_rates.png",
        {kind: (valley, {f"rate {lr:.3g}": [runs[lr]] for lr in rates}) for kind, rates in kinds.items()},
        title="SGD in a long valley",
    )
    across = np.array([-math.sin(math.radians(valley.angle)), math.cos(math.radians(valley.angle))])
    turns = [int((np.diff(np.sign(run @ across)) != 0).sum()) for run in runs.values()]
    low, best_, oscillates, high = ends = [float(valley.value(run[-1])) for run in runs.values()]
    holds = min(low, oscillates) > 1000 * best_ and turns[0] == 0 and turns[2] == steps and high > valley.value(start)
    return Row(
        "B1",
        "a rate too low converges slowly, too high oscillates or diverges",
        f"SGD in a long valley: value after {steps} steps from {float(valley.value(start)):.3g}, and how often the "
        + "path crossed the valley: "
        + "; ".join(f"rate {lr:.3g}: {end:.1e}, {n}" for lr, end, n in zip(runs, ends, turns, strict=True)),
        verdict(holds),
    )


EPS = 1e-6
Memory = dict[str, float]


def printed_adagrad(g: float, m: Memory, t: int, lr: float) -> float:
    m["s"] += g * g
    return lr * g / math.sqrt(m["s"] + EPS)


def printed_rmsprop(g: float, m: Memory, t: int, lr: float) -> float:
    m["s"] = 0.9 * m["s"] + 0.1 * g * g
    return lr * g / math.sqrt(m["s"] + EPS)


def printed_adadelta(g: float, m: Memory, t: int, lr: float) -> float:
    m["s"] = 0.9 * m["s"] + 0.1 * g * g
    step = math.sqrt(m["d"] + EPS) / math.sqrt(m["s"] + EPS) * g
    m["d"] = 0.9 * m["d"] + 0.1 * step * step
    return step


def printed_adam(g: float, m: Memory, t: int, lr: float) -> float:
    m["v"] = 0.9 * m["v"] + 0.1 * g
    m["s"] = 0.999 * m["s"] + 0.001 * g * g
    return lr * (m["v"] / (1 - 0.9**t)) / (math.sqrt(m["s"] / (1 - 0.999**t)) + EPS)


PRINTED: dict[str, tuple[Callable[[float, Memory, int, float], float], mn.Rule, float]] = {
    "Adagrad": (printed_adagrad, mn.Adagrad(eps=EPS, eps_in_root=True), 0.01),
    "RMSprop": (printed_rmsprop, mn.RMSprop(0.9, eps=EPS, eps_in_root=True), 0.01),
    "Adadelta": (printed_adadelta, mn.Adadelta(0.9, eps=EPS), 1.0),
    "Adam": (printed_adam, mn.Adam(eps=EPS), 0.01),
}


def printed_formulas(steps: int = 100) -> Row:
    largest = dict.fromkeys(PRINTED, 0.0)
    for landscape in LANDSCAPES.values():
        for name, (formula, rule, lr) in PRINTED.items():
            path = landscapes.descend(landscape, rule, landscape.starts[0], lr=lr, steps=steps)
            point = [float(value) for value in landscape.starts[0]]
            memories: list[Memory] = [defaultdict(float), defaultdict(float)]
            for step in range(steps):
                slopes = landscape.gradient(point) + landscape.noise(0, step)
                for i in (0, 1):
                    point[i] -= formula(float(slopes[i]), memories[i], step + 1, lr)
                largest[name] = max(largest[name], float(np.abs(path[step + 1] - point).max()))
    return Row(
        "B3",
        "RMSprop (0.9, eps inside the root), Adam, Adagrad (eps inside the root), Adadelta as printed",
        f"largest distance from a scalar loop of the printed formula, {steps} steps on {len(LANDSCAPES)} functions: "
        + ", ".join(f"{name} {distance:.0e}" for name, distance in largest.items()),
        verdict(max(largest.values()) < 1e-9),
    )


def adams_rates(adam: Study, out: Path) -> Row:
    runs = {f"{lr:g}": adam.reporting[lr] for lr in ADAM_RATES}
    epochs = range(1, runs["0.001"].loss.shape[1] + 1)
    plots.comparison(
        out / "b4_adam_rates.png",
        {"Adam": {f"rate {lr}": (epochs, run.loss) for lr, run in runs.items()}},
        xlabel="epoch",
        ylabel="test loss (nats)",
        log_y=True,
    )
    ordered = sorted(runs, key=lambda lr: final(runs[lr]).mean())
    rival = next(lr for lr in ordered if lr != "0.001")
    words, clear = differs(runs[rival], runs["0.001"])
    return Row(
        "B4",
        "Adam at 0.0001, 0.001, 0.01: 0.001 is best",
        "; ".join(f"{lr}: {final(run).mean():.4f}" for lr, run in runs.items())
        + f"; rate {rival} minus rate 0.001: {words}",
        verdict(clear),
    )


def adam_at_equal_rate(studies: Mapping[str, Study]) -> Row:
    def winner(loss: Callable[[Study], np.ndarray]) -> str:
        return min((label for label in studies if label not in OWN), key=lambda label: loss(studies[label]).mean())

    by_rate = {lr: winner(lambda s, lr=lr: final(s.choosing[lr])) for lr in GRID}
    equal, best = winner(lambda s: final(s.reporting[EQUAL_ON_DIGITS])), winner(lambda s: final(s.best))
    words, behind = differs(studies["Adam"].best, studies[best].best)
    place = "it is first" if best == "Adam" else "it is behind" if behind else "it is not told from the first"
    return Row(
        "B5",
        "at equal rate Adam beats the others",
        f"of the published rules, lowest test loss at rate {EQUAL_ON_DIGITS}: {equal}; at each rule's best rate: {best}"
        f" (Adam's minus its loss {words}); lowest validation loss at "
        + ", ".join(f"{lr:.2g}: {label}" for lr, label in by_rate.items()),
        f"{verdict(equal == 'Adam')} at rate {EQUAL_ON_DIGITS}; first at {list(by_rate.values()).count('Adam')} of "
        f"{len(GRID)} rates; at best rates {place}",
    )


def adaptive_rules(
    studies: Mapping[str, Study],
    variants: Mapping[str, Mapping[str, Study]],
    descents: Mapping[str, Mapping[str, Descents]],
) -> Row:
    saddle = LANDSCAPES["Saddle"]

    def escape(runs: list[np.ndarray]) -> str:
        low = np.flatnonzero(saddle.value(runs[0]) < -0.24)
        return str(low[0]) if len(low) else f"not in {len(runs[0]) - 1}"

    rootless, clear = differs(variants["Adagrad"]["without"].best, variants["Adagrad"]["with its root"].best)
    stops, behind = differs(studies["Adagrad"].best, studies["Adam"].best)
    uncorrected, _ = differs(variants["Adam"]["without"].best, variants["Adam"]["with bias correction"].best)
    decays = ", ".join(f"{label} {final(s.best).mean():.4f}" for label, s in variants["RMSprop"].items())
    return Row(
        "N21",
        "Adagrad stops too early; without its root it is much worse; RMSprop with decay 0.9, 0.99, 0.999; Adam with "
        "and without bias correction",
        f"test loss at best rates: Adagrad minus Adam {stops}; Adagrad without its root minus with {rootless}; RMSprop "
        f"{decays}; Adam without correction minus with {uncorrected}. Steps to leave the saddle at rate "
        f"{EQUAL_ON_LANDSCAPES}: " + ", ".join(f"{k} {escape(d.equal)}" for k, d in descents["Saddle"].items()),
        f"Adagrad stops early: {verdict(behind)}; worse without its root: {verdict(clear)}",
    )


def recommended(studies: Mapping[str, Study]) -> Row:
    labels = sorted(studies, key=lambda label: final(studies[label].best).mean())
    ranks = rank_intervals(np.stack([final(studies[label].best) for label in labels]))
    epochs = studies[labels[0]].best.loss.shape[1]
    return Row(
        "N22",
        "recommended: SGD with Nesterov momentum, or Adam",
        f"rank by mean test loss at best rates after {epochs} epochs (95 %): "
        + ", ".join(f"{label} {low} to {high}" for label, (low, high) in zip(labels, ranks, strict=True)),
        verdict(set(labels[:2]) == {"Nesterov", "Adam"}),
    )


# Report ------------------------------------------------------------------------------------------------------


def as_markdown(rows: Iterable[Row]) -> str:
    lines = ["| claim | statement | measured | verdict |", "|---|---|---|---|"]
    lines += [f"| {row.claim} | {row.statement} | {row.measured} | {row.verdict} |" for row in rows]
    return "\n".join(lines) + "\n"


def plain(value: float) -> float | str:
    """JSON knows no infinity."""
    return value if math.isfinite(value) else str(value)


def as_json(s: Study) -> dict[str, Any]:
    return {
        "rule": repr(s.rule),
        "best_rate": s.best_rate,
        "validation_loss": {f"{lr:g}": [plain(v) for v in final(run).tolist()] for lr, run in s.choosing.items()},
        "test_loss": {f"{lr:g}": [plain(v) for v in final(run).tolist()] for lr, run in s.reporting.items()},
        "test_accuracy": {f"{lr:g}": run.accuracy[:, -1].tolist() for lr, run in s.reporting.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for all files")
    parser.add_argument("--steps", type=int, default=STEPS, help="on the landscapes; %(default)s unless given")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="on digits; %(default)s unless given")
    parser.add_argument("--seeds", type=int, default=REPORTING, help="to report on; %(default)s unless given")
    arguments = parser.parse_args()
    out, epochs, seeds = arguments.out, arguments.epochs, arguments.seeds
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    with tqdm(total=len(LANDSCAPES) * len(RULES), desc="landscapes", disable=None) as bar:
        descents = run_landscapes(arguments.steps, bar)
    draw_landscapes(descents, out)

    kinds = len(RULES) + sum(map(len, VARIANTS.values()))
    with tqdm(total=kinds * (CHOOSING * len(GRID) + 2 * seeds), desc="digits", disable=None) as bar:
        studies = {
            label: study(rule, ADAM_RATES if label == "Adam" else (EQUAL_ON_DIGITS,), seeds, epochs, bar)
            for label, rule in RULES.items()
        }
        variants = {
            kind: {label: study(rule, (EQUAL_ON_DIGITS,), seeds, epochs, bar) for label, rule in by_label.items()}
            for kind, by_label in VARIANTS.items()
        }
    draw_digits(studies, variants, out)

    rows = [
        rates_too_low_and_too_high(out),
        printed_formulas(),
        adams_rates(studies["Adam"], out),
        adam_at_equal_rate(studies),
        adaptive_rules(studies, variants, descents),
        recommended(studies),
    ]
    tables = (
        f"Value above the minimum, mean of the last tenth of {arguments.steps} steps: at rate {EQUAL_ON_LANDSCAPES}; "
        f"at the rule's best rate of the grid (* at its edge)\n\n{landscape_table(descents)}\n"
        f"Digits, {epochs} epochs, {seeds} seeds: at the rule's best rate of the grid (* at its edge), and at rate "
        f"{EQUAL_ON_DIGITS}\n\n{digits_table(studies)}\n{as_markdown(rows)}"
    )
    write_whole(out / "update_rules.md", tables)
    document = {
        "minnet": mn.__version__,
        "grid": GRID,
        "digits": {
            "epochs": epochs,
            "seeds": seeds,
            "batch": BATCH,
            "rules": {k: as_json(s) for k, s in studies.items()},
        },
        "variants": {kind: {k: as_json(s) for k, s in by.items()} for kind, by in variants.items()},
        "landscapes": {
            name: {
                label: {
                    "equal": plain(reached(LANDSCAPES[name], d.equal)),
                    "best_rate": d.best_rate,
                    "best": plain(reached(LANDSCAPES[name], d.best)),
                }
                for label, d in by_rule.items()
            }
            for name, by_rule in descents.items()
        },
        "claims": [asdict(row) for row in rows],
    }
    write_whole(out / "update_rules.json", json.dumps(document, indent=1, allow_nan=False))
    print(tables)
    print(f"{time.perf_counter() - start:.0f} s; figures and tables: {out}")


if __name__ == "__main__":
    main()
