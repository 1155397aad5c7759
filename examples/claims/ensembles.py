"""N24, N25, L6: several models for the price of one, and averages of weights.

``examples/ensembles.py`` puts the same to the test on CIFAR-10.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots, schedules
from minnet.ensemble.answers import softmax

from .base import FAILS, HOLDS, JORDAN, Effort, Figure, Part, Result, Row, claim, flat_digits, mlp, verdict_of


@dataclass(frozen=True)
class Task:
    """A network and its data: training, validation for what has to be chosen, test for what is reported."""

    layers: list[mn.Layer]
    input_shape: int | tuple[int, ...]
    train: mn.data.Data
    val: mn.data.Data
    test: mn.data.Data
    batch: int
    rate: float  # at the top of a schedule
    steps: int  # training steps that each way of making an ensemble may spend
    members: int
    augment: mn.data.Augment | None = None

    @property
    def per_epoch(self) -> int:
        return math.ceil(len(self.train[0]) / self.batch)

    def run(self, seed: int, steps: int, lr: schedules.Schedule, callbacks: Iterable[mn.Callback] = ()) -> mn.Net:
        net = mn.Net(self.layers, self.input_shape, mn.SoftmaxCrossEntropy(), l2=1e-4, seed=seed)
        for _ in mn.Trainer(
            net,
            self.train,
            rule=mn.Nesterov(0.9),
            lr=lr,
            batch_size=self.batch,
            steps=steps,
            seed=seed,
            augment=self.augment,
            callbacks=callbacks,
        ):
            pass
        return net


# At equal compute ----------------------------------------------------------------------------------------------


def ensembles_at_equal_compute(task: Task, seed: int) -> dict[str, mn.Ensemble]:
    """Ensembles made in different ways, each of the same number of training steps; the first is one long run."""
    share = task.steps // task.members
    seeds = itertools.count(1000 * seed)
    ema = mn.EMA(1 - 4 / share)
    every = mn.Snapshots(share // 2, last=task.members)
    long = task.run(next(seeds), task.steps, schedules.Cosine(task.rate, task.steps), [ema, every])
    starts = [task.run(next(seeds), share, schedules.Cosine(task.rate, share)) for _ in range(task.members)]
    # Twice as many trials as members, each half as long.
    rates = np.random.default_rng(seed).uniform(math.log(task.rate / 10), math.log(3 * task.rate), 2 * task.members)
    trials = [task.run(next(seeds), share // 2, schedules.Cosine(float(lr), share // 2)) for lr in np.exp(rates)]
    scores = [trial.evaluate(*task.val)["accuracy"] for trial in trials]
    snapshots = mn.Snapshots()
    cyclic = task.run(next(seeds), share * task.members, schedules.WarmRestarts(task.rate, share), [snapshots])
    own = every.ensemble(long)
    with_average = mn.Ensemble(long, [*zip(own.params, own.buffers, strict=True), ema], all_steps=task.steps)
    best = mn.Ensemble.best(long, trials, scores, task.members, mode="max", all_steps=2 * task.members * (share // 2))
    return {
        "one long run": mn.Ensemble(long, [long], steps=[task.steps]),
        "several starts": mn.Ensemble(long, starts, steps=[share] * task.members),
        "best of a search": best,
        "snapshots, one a cycle": snapshots.ensemble(cyclic),
        "checkpoints of the long run, and its EMA": with_average,
    }


@dataclass(frozen=True)
class Study:
    """What one repetition found: the table's entries, and for each set of members how it stands to its ensemble."""

    comparison: mn.Comparison
    alone: dict[str, float]  # mean accuracy of the members
    apart: dict[str, float]  # mean disagreement of two members
    gain: dict[str, float]  # accuracy of the ensemble less that of its members


def answers(task: Task, seed: int) -> Result:
    """What a study is made of, as numbers and arrays: answers of each entry, and figures of each set of members."""
    sets = ensembles_at_equal_compute(task, seed)
    x, y = task.test
    entries, steps = {}, {}
    alone, apart, gain = {}, {}, {}
    for name, ensemble in sets.items():
        entries[name], steps[name] = ensemble.predict(x), ensemble.all_steps
        if len(ensemble) > 1:
            right = (ensemble.probabilities(x).argmax(axis=2) == y).mean(axis=1)
            pairs = ensemble.disagreement(x)[np.triu_indices(len(ensemble), 1)]
            alone[name], apart[name] = float(right.mean()), float(pairs.mean())
            gain[name] = float((entries[name].argmax(axis=1) == y).mean()) - alone[name]
    # Other ways to let the same members answer.
    starts, snapshots = sets["several starts"], sets["snapshots, one a cycle"]
    entries["several starts, mean of logits"] = softmax(starts.predict(x, "scores"))
    entries["several starts, votes"] = starts.classify(x, "votes")
    entries["several starts, weighted on validation"] = starts.weigh(*task.val).predict(x)
    entries["snapshots, the last one alone"] = snapshots.reweighted(np.eye(len(snapshots))[-1]).predict(x)
    for name in entries:
        steps.setdefault(name, starts.all_steps if name.startswith("several") else snapshots.all_steps)
    pool = [(p, b) for e in sets.values() for p, b in zip(e.params, e.buffers, strict=True)]
    spent = sum(e.all_steps or 0 for e in sets.values()) - task.steps  # checkpoints are of the long run itself
    everything = mn.Ensemble(starts.member(0), pool, all_steps=spent)
    entries["greedy selection from all of these"] = everything.select(*task.val).predict(x)
    steps["greedy selection from all of these"] = everything.all_steps
    return {"entries": entries, "steps": steps, "alone": alone, "apart": apart, "gain": gain}


def as_study(task: Task, found: Result) -> Study:
    comparison = mn.Comparison(found["entries"], task.test[1], steps=found["steps"])
    return Study(comparison, found["alone"], found["apart"], found["gain"])


def study(task: Task, seed: int) -> Study:
    return as_study(task, answers(task, seed))


def correlation_of_gain(studies: Sequence[Study]) -> tuple[float, float, float]:
    """Correlation between how often members disagree and what their ensemble gains, with its 95 % interval.

    Repetitions are drawn anew, each with all its sets.
    """
    apart, gain = (np.array([list(getattr(s, name).values()) for s in studies]) for name in ("apart", "gain"))

    def correlation(chosen: np.ndarray) -> float:
        return float(np.corrcoef(apart[chosen].ravel(), gain[chosen].ravel())[0, 1])

    rng, all_of_them = np.random.default_rng(0), np.arange(len(studies))
    drawn = [correlation(rng.choice(all_of_them, len(studies))) for _ in range(1000)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return correlation(all_of_them), float(low), float(high)


def sets_table(studies: Sequence[Study]) -> str:
    """Markdown: members alone, how far apart they are, what the ensemble gains; means over the repetitions."""
    lines = ["| members | accuracy of one | two disagree on | gain of the ensemble |", "|---|---|---|---|"]
    for name in studies[0].apart:
        one, apart, gain = (
            float(np.mean([getattr(s, part)[name] for s in studies])) for part in ("alone", "apart", "gain")
        )
        lines.append(f"| {name} | {one:.2%} | {apart:.2%} | {100 * gain:+.2f} |")
    return "\n".join(lines)


def draw_gain(path: Path, studies: Sequence[Study], title: str) -> None:
    """What ensembles gain against how often two of their members disagree, a point an ensemble."""
    drawn, (axis,) = plots.figure(width=5.6, height=3.6)
    for rank, name in enumerate(studies[0].apart):
        at = [[100 * getattr(s, part)[name] for s in studies] for part in ("apart", "gain")]
        axis.scatter(*at, s=22, color=plots.COLOURS[rank], marker="os^D"[rank % 4], alpha=0.8, label=name)
    axis.axhline(0, color="0.5", linewidth=0.8)
    axis.set(title=title, xlabel="two members disagree on (% of test samples)", ylabel="gain over its members (points)")
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2)
    plots.save(drawn, path)


# Averages of weights -------------------------------------------------------------------------------------------


def averages_of(task: Task) -> dict[str, mn.Average]:
    """Averages over the last part of a run."""
    half = task.steps // 2
    return {
        "EMA 0.9": mn.EMA(0.9),
        "EMA 0.99": mn.EMA(0.99),
        "SWA of the last half": mn.SWA("epoch", start=half),
        "Polyak-Ruppert of the last half": mn.PolyakRuppert(start=half),
        "LAWA of the last 6 epochs": mn.LAWA(6),
    }


def average(task: Task, seed: int, lr: schedules.Schedule) -> mn.Comparison:
    """The end of a run beside averages of its weights, on the test data."""
    averages = averages_of(task)
    net = task.run(seed, task.steps, lr, averages.values())
    return mn.compare_averages(net, averages, task.test, refresh=task.train)


def points(comparison: mn.Comparison, name: str, reference: str) -> str:
    """Difference of two accuracies in points, with its interval."""
    difference, low, high = (100 * value for value in comparison.difference(name, "accuracy", reference))
    return f"{difference:+.2f} ({low:+.2f} to {high:+.2f})"


# On digits -----------------------------------------------------------------------------------------------------


@cache
def digits_task(steps: int) -> Task:
    """Few training images, so that there are errors left to mend."""
    train, val, test = mn.data.split(flat_digits(), (0.2, 0.2, 0.6), seed=0)
    return Task(mlp(64), 64, train, val, test, batch=20, rate=0.1, steps=steps, members=5)


def digits_answers(seed: int) -> Result:
    return answers(digits_task(1500), seed)


def studies_in_parts(effort: Effort) -> list[Part]:
    return [Part(digits_answers, (seed,)) for seed in range(effort.repeats(4, 16))]


def all_of(studies: Iterable[Study]) -> mn.Comparison:
    return mn.Comparison.over_seeds([s.comparison for s in studies])


def accuracy(comparison: mn.Comparison, name: str) -> str:
    low, high = comparison.interval(name, "accuracy")
    return f"{comparison.value(name, 'accuracy'):.2%} ({low:.2%} to {high:.2%})"


@claim(
    "N24",
    "ensembles",
    "Train several models and average their answers: of several starts, of the best few of a search, or checkpoints of "
    "one run. It gains a percent or two, and less the more alike the members are.",
    parts=studies_in_parts,
)
def ensembles_at_equal_cost(out: Path, effort: Effort, *found: Result) -> Row:
    studies = [as_study(digits_task(1500), one) for one in found]
    comparison = all_of(studies)
    (out / "n24_ensembles.md").write_text(f"{comparison}\n\n{sets_table(studies)}\n", encoding="utf-8")
    draw_gain(out / "n24_ensembles.png", studies, "Digits: ensembles of equal compute")
    reference = comparison.names[0]
    words = [f"{reference} {accuracy(comparison, reference)}"]
    for name in comparison.names[1:]:
        apart = (
            f", two members disagree on {np.mean([s.apart[name] for s in studies]):.1%}"
            if name in studies[0].apart
            else ""
        )
        more = studies[0].comparison.steps[name]
        cost = "" if more == studies[0].comparison.steps[reference] else f" ({more} steps)"
        words.append(f"{name}{cost} {points(comparison, name, reference)}{apart}")
    middle, low, high = correlation_of_gain(studies)
    return Row(
        "gains shrink as members are more alike",
        f"correlation of gain and disagreement {middle:.2f} ({low:.2f} to {high:.2f})",
        HOLDS if low > 0 else FAILS,
        f"{studies[0].comparison.steps[reference]} steps in all, accuracy on test and points more: {'; '.join(words)}; "
        f"95 % over {len(studies)} seeds and {len(comparison.y)} images.",
        [
            Figure(
                "n24_ensembles.png",
                "Each point is an ensemble: the more its members disagree, the more it gains over them.",
            )
        ],
    )


WAYS: dict[str, schedules.Schedule] = {
    "constant rate": schedules.Constant(0.2),
    "cosine": schedules.Cosine(0.2, 400),
}


def averaged(way: str, seed: int) -> Result:
    """Classes that each average predicts (n,), and the end of the run."""
    compared = average(digits_task(400), seed, WAYS[way])
    return {name: compared.predicted[i, 0] for i, name in enumerate(compared.names)}


@claim(
    "N25",
    "averages of weights",
    "A running average of the weights over the last part of training almost always gains a percent or two on "
    "validation.",
    parts=lambda effort: [Part(averaged, (way, s)) for s in range(effort.repeats(8, 24)) for way in WAYS],
)
def averaging_weights(out: Path, effort: Effort, *found: Result) -> Row:
    y = digits_task(400).test[1]
    words, gains, report = [], [], []
    for i, name in enumerate(WAYS):
        seeds = [mn.Comparison(one, y) for one in found[i :: len(WAYS)]]
        whole = mn.Comparison.over_seeds(seeds)
        report.append(f"{name}\n\n{whole}\n")
        each = "; ".join(f"{entry} {points(whole, entry, 'raw')}" for entry in whole.names[1:])
        words.append(f"{name}: raw {accuracy(whole, 'raw')}; {each}")
        best = max(whole.names[1:], key=lambda entry: whole.difference(entry, "accuracy")[0])
        gains.append((whole.difference(best, "accuracy")[0], points(whole, best, "raw")))
    (out / "n25_averages.md").write_text("\n".join(report), encoding="utf-8")
    constant, cosine = gains
    return Row(
        '"a percent or two"',
        f"best average, points: constant rate {constant[1]}; cosine {cosine[1]}",
        verdict_of({"a constant rate": constant[0] >= 0.005, "a cosine": cosine[0] >= 0.005}),
        f"Accuracy on test, and points more: {'. '.join(words)}. 95 % over {len(seeds)} seeds and {len(y)} images. "
        "The statement counts as true from half a point on.",
    )


@claim(
    "L6",
    "snapshot ensembles",
    "Keep the weights at the end of each cycle: one training gives several models, whose ensemble is better.",
    JORDAN,
    parts=studies_in_parts,
)
def snapshot_ensemble(out: Path, effort: Effort, *found: Result) -> Row:
    comparison = all_of([as_study(digits_task(1500), one) for one in found])
    name, last, long = "snapshots, one a cycle", "snapshots, the last one alone", "one long run"
    words = {
        "its own last snapshot": points(comparison, name, last),
        "one long run": points(comparison, name, long),
        "several starts": points(comparison, name, "several starts"),
    }
    better = {
        f"against {other}": comparison.difference(name, "accuracy", entry)[1] > 0
        for other, entry in (("its last snapshot", last), ("one long run at equal compute", long))
    }
    return Row(
        "none",
        f"points against its last snapshot {words['its own last snapshot']}, one long run {words['one long run']}",
        verdict_of(better),
        f"Accuracy {accuracy(comparison, name)} with 5 cycles; in points against "
        + "; ".join(f"{other} {text}" for other, text in words.items())
        + f"; 95 % over {len(found)} seeds and {len(comparison.y)} images.",
    )
