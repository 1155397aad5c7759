"""N21, N22, B4, B5, B7: update rules compared on digits, all else held fixed.

Every rule runs at one rate for all, and at its own best rate of a grid: the one with the lowest mean loss on the
validation part over seeds for choosing. What is reported is the loss on the test part over other seeds. All rules
start from the same weights and see the same batches, seed by seed. docs/rules.md reads the same claims on the result of
``minnet.benchmark``, with more rules, problems and trials.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import numpy as np
from tqdm import tqdm

import minnet as mn
from minnet import landscapes, plots

from .base import CHOOSING, Row, claim, difference, flat_digits, resampled_means, verdict


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
        "; ".join(f"{lr}: {final(run).mean():.4f}" for lr, run in runs.items())
        + f"; rate {rival} minus rate 0.001: {words}",
        verdict(clear),
        ["b4_adam_rates.png"],
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
    place = "it is first" if best == "Adam" else "it is behind" if behind else "it is not told from the first"
    return Row(
        "Adam is first",
        f"lowest test loss at rate {EQUAL}: {equal}; at each rule's best rate: {best}"
        f" (Adam's minus its loss {words}); lowest validation loss at "
        + ", ".join(f"{lr:.2g}: {label}" for lr, label in by_rate.items()),
        f"{verdict(equal == 'Adam')} at rate {EQUAL}; first at {list(by_rate.values()).count('Adam')} of "
        f"{len(grid)} rates; at best rates {place}",
        ["b5_rules.png"],
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
    stops, behind = difference(final(roots["with its root"].best), final(adam.best))
    rootless, clear = difference(final(roots["without its root"].best), final(roots["with its root"].best))
    without, corrected = (final(corrections[f"{word} bias correction"].best) for word in ("without", "with"))
    uncorrected, _ = difference(without, corrected)
    decays = ", ".join(f"{label} {final(s.best).mean():.4f}" for label, s in variants["RMSprop"].items())
    return Row(
        "it stops too early; much worse",
        f"test loss at best rates: Adagrad minus Adam {stops}; Adagrad without its root minus with {rootless}; RMSprop "
        f"{decays}; Adam without correction minus with {uncorrected}. Steps to leave the saddle at rate {SADDLE_RATE}: "
        + ", ".join(f"{label} {escape(run[0])}" for label, run in runs.items()),
        f"Adagrad stops early: {verdict(behind)}; worse without its root: {verdict(clear)}",
        ["n21_paths.png", "n21_curves.png"],
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
    labels = in_order(studies)
    ranks = rank_intervals(np.stack([final(studies[label].best) for label in labels]))
    return Row(
        "Nesterov momentum, Adam",
        f"rank by mean test loss at best rates after {studies[labels[0]].best.loss.shape[1]} epochs (95 %): "
        + ", ".join(f"{label} {low} to {high}" for label, (low, high) in zip(labels, ranks, strict=True)),
        verdict(set(labels[:2]) == {"Nesterov", "Adam"}),
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
        f"losses of an epoch at rate 0, which tell weights and batches, for {len(studies)} rules and {len(seeds)} "
        f"seeds: {'the same bits' if same else 'they differ'}; another order at rate {EQUAL} for all than at each "
        f"one's best rate: {sum(turned)} of {len(turned)} pairs of rules; spread of a difference paired by seeds is "
        f"{np.median(narrower):.2f} of that without pairs (median)",
        f"{verdict(same)}{'; but a rate for all decides the order' if any(turned) else ''}",
    )


# In short ----------------------------------------------------------------------------------------------------


@cache
def short_studies() -> dict[str, Study]:
    return {label: study(rule, ADAM_RATES if label == "Adam" else (EQUAL,), SHORT) for label, rule in RULES.items()}


@cache
def short_variants() -> dict[str, dict[str, Study]]:
    known = {studied.rule: studied for studied in short_studies().values()}
    return {
        kind: {label: known.get(rule) or study(rule, (EQUAL,), SHORT) for label, rule in by_label.items()}
        for kind, by_label in VARIANTS.items()
    }


@claim(
    "N21",
    "Adagrad stops too early, and is much worse without its root; RMSprop with decay 0.9, 0.99, 0.999; Adam with and "
    "without bias correction",
)
def adaptive_rules_in_short(out: Path) -> Row:
    return adaptive_rules(short_studies()["Adam"], short_variants(), out)


@claim("N22", "recommended: SGD with Nesterov momentum, or Adam")
def recommended_in_short(out: Path) -> Row:
    return recommended(short_studies(), out)


@claim("B4", "Adam at 0.0001, 0.001, 0.01: 0.001 is best", CHOOSING)
def adams_rates_in_short(out: Path) -> Row:
    return adams_rates(short_studies()["Adam"], out)


@claim("B7", "compare rules with everything else held fixed", CHOOSING)
def all_else_fixed_in_short(out: Path) -> Row:
    return all_else_fixed(short_studies(), out)


@claim("B5", "at equal rate Adam beats the others", CHOOSING)
def adam_at_equal_rate_in_short(out: Path) -> Row:
    return adam_at_equal_rate(short_studies(), out)
