"""N21, N22, B4, B5, B7: update rules compared on digits, all else held fixed.

Every rule runs at one rate for all, and at its own best rate of a grid: the one with the lowest mean loss on the
validation part over seeds for choosing. What is reported is the loss on the test part over other seeds. All rules
start from the same weights and see the same batches, seed by seed. docs/rules.md reads the same claims on the result of
``minnet.benchmark``, with more rules, problems and trials.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import numpy as np
from tqdm import tqdm

import minnet as mn
from minnet import landscapes, plots

from .base import (
    CHOOSING,
    Effort,
    Figure,
    Part,
    Result,
    Row,
    claim,
    difference,
    flat_digits,
    resampled_means,
    verdict,
    verdict_of,
)


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
}
VARIANTS: dict[str, dict[str, mn.Rule]] = {
    "RMSprop": {f"decay {rho}": mn.RMSprop(rho=rho) for rho in (0.9, 0.99, 0.999)},
    "Adam": {"with bias correction": mn.Adam(), "without bias correction": mn.Adam(bias_correction=False)},
    "Adagrad": {"with its root": mn.Adagrad(), "without its root": AdagradWithoutRoot()},
}
LANDSCAPES: dict[str, landscapes.Landscape] = {
    "Rosenbrock": landscapes.Rosenbrock(),
    "Beale": landscapes.Beale(),
    "Saddle": landscapes.Saddle(),
    "Long valley": landscapes.LongValley(),
    "Noisy quadratic": landscapes.NoisyQuadratic(),
    "Rastrigin": landscapes.Rastrigin(),
}
EQUAL, BATCH, ADAM_RATES = 0.001, 50, (1e-4, 1e-3, 1e-2)


@dataclass(frozen=True)
class Protocol:
    """What all rules of a comparison have in common: the grid of rates, the length of a run, the seeds."""

    grid: tuple[float, ...]
    epochs: int
    choosing: int
    reporting: int


def half_decades(low: int, high: int) -> tuple[float, ...]:
    """10^low to 10^high in half decades, to two digits."""
    return tuple(float(f"{10 ** (k / 2):.1e}") for k in range(2 * low, 2 * high + 1))


SHORT = Protocol(half_decades(-4, 1), epochs=8, choosing=1, reporting=10)


@dataclass
class Digits:
    """Held-out loss and accuracy after each epoch; infinity and 0 from where a run diverged."""

    loss: np.ndarray
    accuracy: np.ndarray


def train(rule: mn.Rule, lr: float, seed: int, part: int, epochs: int) -> Digits:
    """One run; ``part`` 1 is judged on the validation images, 2 on the test images."""
    parts = mn.data.split(flat_digits(), (0.6, 0.2, 0.2), seed=0)
    net = mn.Net([mn.Dense(100), mn.ReLU(), mn.Dense(10)], 64, mn.SoftmaxCrossEntropy(), l2=1e-4, seed=seed)
    options = {"batch_size": BATCH, "epochs": epochs, "validation": parts[part], "seed": seed, "progress": False}
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # in the rules in plain NumPy, where a run diverges
            history = mn.fit(net, parts[0], rule=rule, lr=lr, **options)
    except mn.DivergenceError as error:
        history = error.history
    result = Digits(np.full(epochs, np.inf), np.zeros(epochs))
    if len(history):
        result.loss[: len(history)], result.accuracy[: len(history)] = history["val_loss"], history["val_accuracy"]
    return result


def train_all(rule: mn.Rule, lr: float, seeds: Iterable[int], part: int, epochs: int, bar: tqdm | None) -> Digits:
    """The same for several seeds, as arrays (seeds, epochs)."""
    runs = []
    for seed in seeds:
        runs.append(train(rule, lr, seed, part, epochs))
        if bar is not None:
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

    @property
    def equal(self) -> Digits:
        return self.reporting[EQUAL]


def study(rule: mn.Rule, rates: Iterable[float], protocol: Protocol, bar: tqdm | None = None) -> Study:
    """Choose on the validation part, seeds from 0; report at the best rate and ``rates``, test part, seeds from 100."""
    p = protocol
    choosing = {lr: train_all(rule, lr, range(p.choosing), 1, p.epochs, bar) for lr in p.grid}
    best = min(p.grid, key=lambda lr: final(choosing[lr]).mean())
    seeds, tried = range(100, 100 + p.reporting), dict.fromkeys([*rates, best])
    return Study(rule, choosing, best, {lr: train_all(rule, lr, seeds, 2, p.epochs, bar) for lr in tried})


def rank_intervals(losses: np.ndarray) -> list[tuple[int, int]]:
    """95 % bootstrap intervals of each rule's rank by mean loss, from 1, for losses (rules, seeds)."""
    ranks = resampled_means(losses).argsort(axis=0, kind="stable").argsort(axis=0) + 1
    low, high = np.quantile(ranks, (0.025, 0.975), axis=1, method="inverted_cdf")
    return [(int(a), int(b)) for a, b in zip(low, high, strict=True)]


def in_order(studies: Mapping[str, Study]) -> list[str]:
    """Rules by mean test loss at their best rates."""
    return sorted(studies, key=lambda label: final(studies[label].best).mean())


def draw_curves(path: Path, title: str, studies: Mapping[str, Study]) -> None:
    """Test loss against the step, at the equal rate and at each one's best."""
    epochs = next(iter(studies.values())).best.loss.shape[1]
    per_epoch = math.ceil(len(mn.data.split(flat_digits(), (0.6, 0.2, 0.2), seed=0)[0][0]) / BATCH)
    at = [per_epoch * (epoch + 1) for epoch in range(epochs)]
    panels = {
        f"{title} at rate {EQUAL}": {k: (at, s.equal.loss) for k, s in studies.items()},
        f"{title}, each at its best rate": {k: (at, s.best.loss) for k, s in studies.items()},
    }
    plots.comparison(path, panels, xlabel="step", ylabel="test loss (nats)", log_y=True)


# The claims, of studies of any size --------------------------------------------------------------------------


def adams_rates(adam: Study, out: Path) -> Row:
    runs = {f"{lr:g}": adam.reporting[lr] for lr in ADAM_RATES}
    epochs = range(1, adam.equal.loss.shape[1] + 1)
    plots.comparison(
        out / "b4_adam_rates.png",
        {"Adam on digits": {f"rate {lr}": (epochs, run.loss) for lr, run in runs.items()}},
        xlabel="epoch",
        ylabel="test loss (nats)",
        log_y=True,
    )
    ordered = sorted(runs, key=lambda lr: final(runs[lr]).mean())
    rival = next(lr for lr in ordered if lr != "0.001")
    words, clear = difference(final(runs[rival]), final(runs["0.001"]))
    return Row(
        "0.001 is best",
        f"test loss at rate {rival} minus that at 0.001: {words}",
        verdict(clear),
        "Test loss on digits after "
        f"{adam.equal.loss.shape[1]} epochs: "
        + "; ".join(f"{lr}: {final(run).mean():.4f}" for lr, run in runs.items()),
        [Figure("b4_adam_rates.png", "In few epochs the highest of the three rates has the lowest loss.")],
    )


def adam_at_equal_rate(studies: Mapping[str, Study], out: Path, own: Collection[str] = ()) -> Row:
    """``own``: rules of which no published claim speaks."""

    def winner(loss: Callable[[Study], np.ndarray]) -> str:
        return min((label for label in studies if label not in own), key=lambda label: loss(studies[label]).mean())

    draw_curves(out / "b5_rules.png", "Rules", studies)
    grid = list(studies["Adam"].choosing)
    by_rate = {lr: winner(lambda s, lr=lr: final(s.choosing[lr])) for lr in grid}
    equal, best = winner(lambda s: final(s.equal)), winner(lambda s: final(s.best))
    words, behind = difference(final(studies["Adam"].best), final(studies[best].best))
    place = "first" if best == "Adam" else "behind" if behind else "not told from the first"
    firsts = list(by_rate.values()).count("Adam")
    return Row(
        "Adam is first",
        f"first at rate {EQUAL}: {equal}; Adam first at {firsts} of {len(grid)} rates; at its best {place}",
        verdict_of(
            {
                f"rate {EQUAL}": equal == "Adam",
                "every rate of the grid": firsts == len(grid),
                "each rule's best rate": best == "Adam",
            }
        ),
        f"Lowest test loss at each rule's best rate: {best} (Adam's minus its loss {words}). Lowest validation loss at "
        + ", ".join(f"{lr:.2g}: {label}" for lr, label in by_rate.items())
        + ".",
        [
            Figure(
                "b5_rules.png",
                f"Left at one rate for all, right each rule at its best: SGD and momentum are last left because "
                f"{EQUAL} is too low for them.",
            )
        ],
    )


def adaptive_rules(adam: Study, variants: Mapping[str, Mapping[str, Study]], out: Path) -> Row:
    paths = {
        name: (LANDSCAPES[name], {label: [descend(LANDSCAPES[name], rule)] for label, rule in ADAPTIVE.items()})
        for name in ("Saddle", "Long valley", "Beale")
    }
    plots.trajectories(out / "n21_paths.png", paths, title=f"Adaptive rules at rate {SADDLE_RATE}")
    saddle, runs = paths["Saddle"]

    def escape(run: np.ndarray) -> str:
        low = np.flatnonzero(saddle.value(run) < -0.24)
        return str(low[0]) if len(low) else f"not in {len(run) - 1}"

    curves = {f"{kind} {label}": s for kind, by_label in variants.items() for label, s in by_label.items()}
    draw_curves(out / "n21_curves.png", "Adaptive rules", curves)
    roots, corrections = variants["Adagrad"], variants["Adam"]
    stops, behind = difference(final(roots["with its root"].best), final(adam.best), 3)
    rootless, clear = difference(final(roots["without its root"].best), final(roots["with its root"].best), 2)
    without, corrected = (final(corrections[f"{word} bias correction"].best) for word in ("without", "with"))
    uncorrected, _ = difference(without, corrected)
    decays = ", ".join(f"{label} {final(s.best).mean():.4f}" for label, s in variants["RMSprop"].items())
    return Row(
        "it stops too early; much worse",
        f"Adagrad minus Adam {stops}; without root minus with {rootless}",
        verdict_of({"Adagrad that stops too early": behind, "Adagrad without its root": clear}),
        f"Test loss at best rates. RMSprop {decays}. Adam without bias correction minus with {uncorrected}. Steps to "
        f"leave the saddle at rate {SADDLE_RATE}: "
        + ", ".join(f"{k} {escape(run[0])}" for k, run in runs.items())
        + ".",
        [
            Figure(
                "n21_paths.png",
                "Paths on a saddle, in a long valley and on Beale's function: SGD and Adagrad hardly leave the saddle.",
            ),
            Figure(
                "n21_curves.png", "Left at one rate, right each at its best, where only Adagrad without root is lost."
            ),
        ],
    )


SADDLE_RATE, SADDLE_STEPS = 0.01, 300
ADAPTIVE: dict[str, mn.Rule] = {
    "Adagrad": mn.Adagrad(),
    "Adagrad without root": AdagradWithoutRoot(),
    "RMSprop": mn.RMSprop(),
    "Adam": mn.Adam(),
    "Adam without correction": mn.Adam(bias_correction=False),
    "SGD": mn.SGD(),
}


def descend(landscape: landscapes.Landscape, rule: mn.Rule) -> np.ndarray:
    return landscapes.descend(landscape, rule, landscape.starts[0], lr=SADDLE_RATE, steps=SADDLE_STEPS)


def recommended(studies: Mapping[str, Study], out: Path) -> Row:
    labels, named = in_order(studies), {"Nesterov", "Adam"}
    ranks = rank_intervals(np.stack([final(studies[label].best) for label in labels]))
    return Row(
        "Nesterov momentum, Adam",
        "ranks: "
        + ", ".join(
            f"{k} {low} to {high}"
            for k, (low, high) in zip(labels, ranks, strict=True)
            if k in labels[:2] or k in named
        ),
        verdict(set(labels[:2]) == named),
        f"Rank by mean test loss at best rates after {studies[labels[0]].best.loss.shape[1]} epochs, 95 % intervals: "
        + ", ".join(f"{label} {low} to {high}" for label, (low, high) in zip(labels, ranks, strict=True))
        + ".",
    )


def losses_at_rate_0(rule: mn.Rule, seed: int) -> list[float]:
    """Losses of the batches of an epoch. No weight moves, so they tell the weights and which batch came when."""
    train = mn.data.split(flat_digits(), (0.6, 0.2, 0.2), seed=0)[0]
    net = mn.Net([mn.Dense(100), mn.ReLU(), mn.Dense(10)], 64, mn.SoftmaxCrossEntropy(), l2=1e-4, seed=seed)
    return [r.loss for r in mn.Trainer(net, train, rule=rule, lr=0.0, batch_size=BATCH, epochs=1, seed=seed)]


def all_else_fixed(studies: Mapping[str, Study], out: Path) -> Row:
    seeds = range(100, 103)
    same = all(len({tuple(losses_at_rate_0(s.rule, seed)) for s in studies.values()}) == 1 for seed in seeds)
    turned, narrower = [], []
    for one, other in combinations(studies.values(), 2):
        equal, best = (final(one.equal), final(other.equal)), (final(one.best), final(other.best))
        turned.append((equal[0].mean() < equal[1].mean()) != (best[0].mean() < best[1].mean()))
        narrower.append(np.std(best[0] - best[1]) / np.hypot(np.std(best[0]), np.std(best[1])))
    return Row(
        "none",
        f"weights and batches: {'the same bits' if same else 'they differ'}; one rate for all turns {sum(turned)} of "
        f"{len(turned)} pairs of rules",
        verdict(same),
        f"Losses of an epoch at rate 0, which tell weights and batches, for {len(studies)} rules and {len(seeds)} "
        f"seeds. Pairs are turned if they have another order at rate {EQUAL} for all than each at its best rate: a "
        "rate held fixed decides the order. The spread of a difference paired by seeds is "
        f"{np.median(narrower):.2f} of that without pairs (median).",
    )


# In short, in parts ------------------------------------------------------------------------------------------

OWN: dict[str, mn.Rule] = {  # variants beside the rules themselves
    f"{kind} {label}": rule
    for kind, by_label in VARIANTS.items()
    for label, rule in by_label.items()
    if rule not in RULES.values()
}
ALL = RULES | OWN


def measured(label: str, seeds: int) -> Result:
    """A rule's study in short, as arrays: rates (rates,), losses and accuracies (rates, seeds, epochs)."""
    found = study(ALL[label], ADAM_RATES if label == "Adam" else (EQUAL,), replace(SHORT, reporting=seeds))
    result: Result = {"best rate": found.best_rate}
    for name, runs in (("choosing", found.choosing), ("reporting", found.reporting)):
        result[name] = {
            "rates": np.array(list(runs)),
            "loss": np.stack([run.loss for run in runs.values()]),
            "accuracy": np.stack([run.accuracy for run in runs.values()]),
        }
    return result


def as_study(label: str, result: Result) -> Study:
    def runs(name: str) -> dict[float, Digits]:
        given = result[name]
        pairs = zip(given["loss"], given["accuracy"], strict=True)
        return {float(lr): Digits(*pair) for lr, pair in zip(given["rates"], pairs, strict=True)}

    return Study(ALL[label], runs("choosing"), result["best rate"], runs("reporting"))


def parts_of(*labels: str) -> Callable[[Effort], list[Part]]:
    return lambda effort: [Part(measured, (label, effort.repeats(5, 20))) for label in labels]


def studies_of(results: Iterable[Result], labels: Iterable[str] = RULES) -> dict[str, Study]:
    return {label: as_study(label, result) for label, result in zip(labels, results, strict=True)}


@claim(
    "N21",
    "adaptive rules",
    "Adagrad's monotonic rate usually stops learning too early in deep learning; without its square root it performs "
    "much worse. RMSprop (decay 0.9, 0.99 or 0.999) mends that; Adam is like RMSprop with momentum, with a "
    "correction of its bias in the first steps.",
    parts=parts_of(*RULES, *OWN),
)
def adaptive_rules_in_short(out: Path, effort: Effort, *found: Result) -> Row:
    studies = studies_of(found, [*RULES, *OWN])
    by_rule = {studied.rule: studied for studied in studies.values()}
    variants = {kind: {k: by_rule[rule] for k, rule in by_label.items()} for kind, by_label in VARIANTS.items()}
    return adaptive_rules(studies["Adam"], variants, out)


@claim(
    "N22",
    "the recommended rules",
    "The two recommended updates are SGD with Nesterov momentum, and Adam.",
    parts=parts_of(*RULES),
)
def recommended_in_short(out: Path, effort: Effort, *found: Result) -> Row:
    return recommended(studies_of(found), out)


@claim(
    "B4",
    "Adam at three rates",
    "Of 0.0001, 0.001 and 0.01, the rate 0.001 is best for Adam.",
    CHOOSING,
    parts=parts_of("Adam"),
)
def adams_rates_in_short(out: Path, effort: Effort, found: Result) -> Row:
    return adams_rates(as_study("Adam", found), out)


@claim(
    "B7",
    "everything else held fixed",
    "Compare rules with everything else held fixed: data, network, initial weights, batches.",
    CHOOSING,
    parts=parts_of(*RULES),
)
def all_else_fixed_in_short(out: Path, effort: Effort, *found: Result) -> Row:
    return all_else_fixed(studies_of(found), out)


@claim(
    "B5",
    "Adam at equal rate",
    "With the same rate for all, Adam beats the other rules.",
    CHOOSING,
    parts=parts_of(*RULES),
)
def adam_at_equal_rate_in_short(out: Path, effort: Effort, *found: Result) -> Row:
    return adam_at_equal_rate(studies_of(found), out)
