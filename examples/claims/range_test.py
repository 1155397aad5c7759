"""L1, L8, C2, B1: the learning-rate range test on the digits, and what comes of the rates around its suggestion.

The claims stand here for an MLP of 100 hidden units; ``examples/learning_rate.py`` has a small convolutional network
beside it.
"""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots, schedules

from .base import CHOOSING, CYCLES, FULL, JORDAN, Effort, Figure, Row, claim, verdict, verdict_of

BATCH, SEEDS, SIZES = 100, 5, "1,437 training and 360 validation images"
NETWORKS: dict[str, list[mn.Layer]] = {
    "MLP": [mn.Flatten(), mn.Dense(100), mn.ReLU(), mn.Dense(10)],
    "CNN": [mn.Conv2D(8, 3), mn.ReLU(), mn.MaxPool2D(2), mn.Flatten(), mn.Dense(32), mn.ReLU(), mn.Dense(10)],
}
ALL, MLP = tuple(NETWORKS), ("MLP",)


@cache
def digits() -> tuple[mn.data.Data, mn.data.Data]:
    train, val = mn.data.split(mn.datasets.digits(), (0.8, 0.2), seed=0)
    return train, val


def build(kind: str, seed: int = 0) -> mn.Net:
    return mn.Net(NETWORKS[kind], (8, 8, 1), mn.SoftmaxCrossEntropy(), seed=seed)


def train(kind: str, rule: mn.Rule, lr: schedules.Schedule | float, epochs: int, seed: int = 0) -> mn.History:
    """A run's history, with validation; one that diverges ends with the history until then."""
    data, validation = digits()
    net = build(kind, seed)
    options = {"batch_size": BATCH, "epochs": epochs, "validation": validation, "seed": seed, "progress": False}
    try:
        return mn.fit(net, data, rule=rule, lr=lr, **options)
    except mn.DivergenceError as error:
        return error.history


def end(history: mn.History, column: str, epochs: int, otherwise: float) -> float:
    """The last epoch's figure, or ``otherwise`` for a run that did not come so far."""
    return history[column][-1] if len(history) == epochs else otherwise


@cache
def test_on_loss(kind: str) -> mn.RangeTest:
    return mn.lr_range_test(build(kind), digits()[0], low=1e-4, seeds=SEEDS, batch_size=BATCH, progress=False)


@cache
def test_on_accuracy(kind: str) -> mn.RangeTest:
    data, validation = digits()
    options = {"low": 1e-4, "seeds": SEEDS, "batch_size": BATCH, "progress": False, "every": 3}
    return mn.lr_range_test(build(kind), data, monitor="val_accuracy", validation=validation, **options)


def draw(path: Path, results: dict[str, mn.RangeTest]) -> None:
    drawn, axes = plots.figure(len(results), width=6.0, height=3.2)
    for axis, (title, result) in zip(axes, results.items(), strict=True):
        plots.range_test_panel(axis, result)
        axis.set_title(title, pad=16)
    plots.save(drawn, path)


@claim(
    "L1",
    "the range test of the learning rate",
    "Raise the rate from step to step and read the loss against it: flat, then falling, then diverging. The best "
    "rate is where the loss falls fastest.",
    JORDAN,
)
def the_rate_where_the_loss_falls_fastest(out: Path, effort: Effort = FULL, kinds: Sequence[str] = MLP) -> Row:
    """Three regimes, and whether the rate of the steepest fall is the best of a sweep."""
    results = {f"{kind} on digits, SGD": test_on_loss(kind) for kind in kinds}
    draw(out / "l1_range_test.png", results)
    short, words, steepest, runs = "", [], True, effort.repeats(3, 10)
    for kind in kinds:
        result, epochs = test_on_loss(kind), 10
        rate = result.suggestion
        if rate is None:
            return Row("three regimes", f"{kind}: no suggestion", verdict(False))
        final = {
            factor: float(
                np.median(
                    [
                        end(train(kind, mn.SGD(), factor * rate, epochs, seed), "loss", epochs, math.inf)
                        for seed in range(runs)
                    ]
                )
            )
            for factor in (1 / 10, 1 / 3, 1, 3, 10)
        }
        regimes = ", ".join(f"{name} {low:.2g} to {high:.2g}" for name, (low, high) in result.regimes.items())
        sweep = ", ".join(f"{factor * rate:.2g}: {loss:.2g}" for factor, loss in final.items())
        words.append(f"{kind}: {regimes}; steepest at {rate:.2g}; training loss after {epochs} epochs at {sweep}")
        best = min(final, key=final.__getitem__)
        short = (
            short or f"steepest at {rate:.2g}, loss {final[1]:.2g}; best at {best * rate:.2g}, loss {final[best]:.2g}"
        )
        steepest &= best == 1
    regimes = all(len(test_on_loss(kind).regimes) == 3 for kind in kinds)
    return Row(
        "three regimes, from 1e-5 to 1e-2",
        short,
        verdict_of({"the three regimes": regimes, "the best rate": steepest}),
        "; ".join(words) + f"; medians of {runs} seeds.",
        [
            Figure(
                "l1_range_test.png",
                "The loss is flat, falls and diverges; the mark is where it falls fastest, which is a safe rate and "
                "not the best.",
            )
        ],
    )


# In epochs; the first is shorter than the claim's. A run of 12 epochs ends at the bottom of a cycle with each.
HALF_CYCLES = (0.5, 2, 3, 6)


@claim(
    "C2",
    "length and bounds of cycles",
    "Let half a cycle be 2 to 10 epochs. Take the bounds from a range test on accuracy: from where it starts to rise "
    "to where it starts to fall or to fluctuate.",
    CYCLES,
)
def bounds_for_cyclical_rates(out: Path, effort: Effort = FULL, kinds: Sequence[str] = MLP) -> Row:
    """Base and max from accuracy, and a run between them beside runs at either."""
    short, results, words, better, upper, runs = "", {}, [], [], [], effort.repeats(3, 10)
    for kind in kinds:
        result = test_on_accuracy(kind)
        results[f"{kind} on digits, SGD"] = result
        if result.base is None or result.max is None:
            return Row("the two points", f"{kind}: none found", verdict(False))
        epochs, per_epoch = 12, math.ceil(len(digits()[0][0]) / BATCH)
        cycles = {half: schedules.Triangular(result.base, result.max, half * per_epoch) for half in HALF_CYCLES}
        rates = {
            **{
                f"half cycles of {half:g} epochs from {result.base:.2g} to {result.max:.2g}": cycles[half]
                for half in cycles
            },
            f"at {result.base:.2g}": result.base,
            f"at {result.max:.2g}": result.max,
        }
        accuracies = [
            float(
                np.median(
                    [end(train(kind, mn.SGD(), lr, epochs, seed), "val_accuracy", epochs, 0) for seed in range(runs)]
                )
            )
            for lr in rates.values()
        ]
        words.append(f"{kind}: " + ", ".join(f"{k} {a:.1%}" for k, a in zip(rates, accuracies, strict=True)))
        cycled = accuracies[1:-2]
        short = short or (
            f"{result.base:.2g} to {result.max:.2g}: cycles {min(cycled):.1%} to {max(cycled):.1%}, at the lower "
            f"{accuracies[-2]:.1%}, the upper {accuracies[-1]:.1%}"
        )
        better.append(min(accuracies[1:-2]) > accuracies[-2])
        upper.append(accuracies[-1] > max(accuracies[:-2]))
    draw(out / "c2_bounds.png", results)
    return Row(
        "the two points",
        short,
        verdict_of(
            {
                "the two points, which are found": True,
                "cycles against the lower bound held fixed": all(better),
                "cycles against the upper bound held fixed": not any(upper),
            }
        ),
        f"Validation accuracy after {epochs} epochs, medians of {runs} seeds: " + "; ".join(words) + ".",
        [
            Figure(
                "c2_bounds.png",
                "Accuracy against the rate: the two marks are where it starts to rise and to fluctuate.",
            )
        ],
    )


@claim(
    "L8",
    "3e-4 for Adam",
    "3e-4 is the best learning rate for Adam, hands down. (A joke of Karpathy's, which the source quotes.)",
    JORDAN,
)
def adam_at_3e_4(out: Path, effort: Effort = FULL, kinds: Sequence[str] = MLP) -> Row:
    rates, epochs = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1), 20
    short, series, words, best, seeds = "", {}, [], [], effort.repeats(3, 10)
    for kind in kinds:
        runs = [[train(kind, mn.Adam(), rate, epochs, seed) for seed in range(seeds)] for rate in rates]
        losses = [float(np.median([end(run, "val_loss", epochs, math.inf) for run in group])) for group in runs]
        series[kind] = (rates, losses)
        order = sorted(range(len(rates)), key=losses.__getitem__)
        best.append(rates[order[0]])
        its = rates.index(3e-4)
        place = f"place {order.index(its) + 1} of {len(rates)} ({losses[its]:.3f})"
        short = short or f"3e-4: {place}; best {best[-1]:g} ({losses[order[0]]:.3f})"
        words.append(f"{kind}: {place}, best {best[-1]:g} ({losses[order[0]]:.3f})")
    drawn, (axis,) = plots.figure(width=5.0)
    for label, (x, y) in series.items():
        axis.plot(x, y, marker=".", label=label)
    axis.axvline(3e-4, color=plots.COLOURS[-1], linestyle="--", linewidth=1, label="3e-4")
    axis.set(
        title=f"Adam on digits, {epochs} epochs, median of {seeds} seeds",
        xlabel="learning rate",
        ylabel="validation loss",
    )
    axis.set(xscale="log", yscale="log")
    plots.legend(axis)
    plots.save(drawn, out / "l8_adam.png")
    details = f"Validation loss after {epochs} epochs, medians of {seeds} seeds: " + "; ".join(words) + "."
    figure = Figure("l8_adam.png", "The dashed line is 3e-4; in so few steps the loss is lowest at rates far above it.")
    return Row("3e-4", short, verdict(all(rate == 3e-4 for rate in best)), details, [figure])


@claim(
    "B1",
    "rates that are too low and too high",
    "If the rate is too low, training converges slowly. If it is too high, the loss oscillates or diverges.",
    CHOOSING,
)
def too_low_good_too_high(out: Path, effort: Effort = FULL) -> Row:
    """The loss of every step at rates below, at and above the suggestion.

    Too low is slow, and too high stays at its start; between, a high rate's loss changes more from step to step.
    """
    kind, epochs = "MLP", 10
    result = test_on_loss(kind)
    rate, (edge, last) = result.suggestion, result.regimes["diverging"]
    if rate is None:
        return Row("slow; oscillates or diverges", "no suggestion", verdict(False))
    rates = {"too low": rate / 100, "good": rate, "high": math.sqrt(edge * last), "too high": 2 * last}
    series, words, final, changes = {}, [], {}, {}
    for name, lr in rates.items():
        history = train(kind, mn.SGD(), lr, epochs)
        steps = history.steps
        series[f"{name}: {lr:.2g}"] = (steps["step"], steps["loss"])
        tail = np.array(steps["loss"][-30:])
        final[name] = float(np.median(tail))
        changes[name] = float(np.mean(np.abs(np.diff(tail)))) if len(tail) > 1 else math.nan
        ended = "" if len(history) == epochs else f", not finite after {len(steps)} steps"
        words.append(f"{name} ({lr:.2g}): {final[name]:.2g}, from step to step {changes[name]:.2g}{ended}")
    plots.curves(
        out / "b1_rates.png",
        series,
        title=f"{kind} on digits, SGD",
        xlabel="step",
        ylabel="loss of each batch",
        log=True,
    )
    start = series[next(iter(series))][1][0]
    oscillates = changes["high"] > 1.5 * changes["good"]
    learns, slow = final["good"] < 0.2 * start, final["too low"] > 0.5 * start
    diverges = not final["too high"] <= 0.5 * start
    return Row(
        "slow; oscillates or diverges",
        f"loss at the end: too low {final['too low']:.2g}, good {final['good']:.2g}, high {final['high']:.2g}, too "
        f"high {final['too high']:.2g}",
        verdict(learns and slow and diverges and oscillates),
        "Median loss of the last 30 steps, and mean change: " + "; ".join(words) + ".",
        [Figure("b1_rates.png", "Slow, good, noisy, and no learning at all.")],
    )
