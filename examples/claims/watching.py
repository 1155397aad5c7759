"""N12 and N14: what the loss curve and the update ratios tell during training."""

from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots
from minnet.diagnostics import DeadUnits, UpdateRatios

from .base import Effort, Figure, Row, claim, flat_digits, mlp, verdict

EPOCHS = 20
RATES = {"low": 1e-4, "good": 0.1, "high": 0.7, "very high": 6.0}


def train(
    lr: float, batch_size: int = 50, epochs: int = EPOCHS, seed: int = 0, callbacks: tuple[mn.Callback, ...] = ()
) -> mn.History:
    """The history of a run with momentum; one that diverges ends with what there was until then."""
    x, y = flat_digits()
    net = mn.Net(mlp(100), 64, mn.SoftmaxCrossEntropy(), seed=seed)
    options = {"batch_size": batch_size, "epochs": epochs, "seed": seed, "callbacks": callbacks, "progress": False}
    try:
        return mn.fit(net, (x, y), rule=mn.Momentum(0.9), lr=lr, **options)
    except mn.DivergenceError as error:
        return error.history


def at_epoch(history: mn.History, epoch: int) -> float:
    """Mean training loss of an epoch; infinite for a run that did not come so far."""
    return history["loss"][epoch - 1] if len(history) >= epoch else np.inf


@claim(
    "N12",
    "the loss curve tells the learning rate and the batch size",
    "The shape of the loss curve tells the learning rate: a low one falls slowly and evenly, a high one falls fast but "
    "stays at a worse loss, a very high one diverges. How much it wiggles tells the batch size: most for a batch of "
    "one.",
)
def the_loss_curve_tells_rate_and_batch_size(out: Path, effort: Effort) -> Row:
    seeds = effort.repeats(5, 10)
    runs = {name: [train(lr, seed=seed) for seed in range(seeds)] for name, lr in RATES.items()}
    labels = {f"{name}: {RATES[name]:g}": histories[0] for name, histories in runs.items()}
    plots.compare_rates(out / "n12_rates.png", labels, title="Digits, 100 hidden units, momentum 0.9")
    start = float(np.median([run.steps["loss"][0] for run in runs["good"]]))
    early, late = (
        {name: float(np.median([at_epoch(run, epoch) for run in several])) for name, several in runs.items()}
        for epoch in (1, EPOCHS)
    )
    # As the notes draw them: low falls slowly and evenly, high falls but stays above good, very high shoots up.
    told = (
        late["low"] > 0.2 * start
        and all(np.all(np.diff(run["loss"]) < 0) for run in runs["low"])
        and late["good"] < 0.05 * start
        and 4 * late["good"] < late["high"] < 0.5 * start
        and all(max(run["loss"], default=np.inf) > 2 * start for run in runs["very high"])
    )
    sizes = (1, 10, 100, 1000)
    batches = {f"batches of {size}": train(0.002, size, epochs=3) for size in sizes}
    plots.compare_batch_sizes(out / "n12_batches.png", batches)
    # How much the loss jumps from step to step in the last epoch.
    jumps = [float(np.mean(np.abs(np.diff(run.steps["loss"][-len(run.steps) // 3 :])))) for run in batches.values()]
    falls = bool(np.all(np.diff(jumps) < 0))
    return Row(
        "one figure each",
        f"loss at the end: low {late['low']:.2g}, good {late['good']:.2g}, high {late['high']:.2g}, very high "
        f"{late['very high']:.2g}; jumps fall with the batch",
        verdict(bool(told) and falls),
        f"Median loss of {seeds} seeds: {start:.2f} at the start; in epochs 1 and {EPOCHS}, "
        + ", ".join(f"{name} ({RATES[name]:g}) {early[name]:.2g} and {late[name]:.2g}" for name in RATES)
        + ". Mean jump of the loss from batch to batch, by size of the batch: "
        + ", ".join(f"{size}: {jump:.2g}" for size, jump in zip(sizes, jumps, strict=True))
        + ".",
        [
            Figure("n12_rates.png", "The four shapes of the notes: slow, good, stuck above good, exploding."),
            Figure("n12_batches.png", "The larger the batch, the less the loss jumps from step to step."),
        ],
    )


@claim(
    "N14",
    "the ratio of updates to weights tells the rate",
    "Track the ratio of the norm of the update to the norm of the weights, for each parameter tensor. It should be "
    "about 1e-3. If it is lower, the rate may be too low; if it is higher, the rate is likely too high.",
)
def the_update_ratio_tells_the_rate(out: Path, effort: Effort) -> Row:
    seeds = effort.repeats(3, 6)
    series, ratios, words = {}, {}, []
    for name, lr in RATES.items():
        monitors, dead = (
            [UpdateRatios(at=lambda step: step == 1 or step % 5 == 0) for _ in range(seeds)],
            DeadUnits(at=[25]),
        )
        losses = [
            at_epoch(train(lr, epochs=10, seed=seed, callbacks=(monitor, dead)), 10)
            for seed, monitor in enumerate(monitors)
        ]
        series[f"{name} rate, {lr:g}"] = monitors[0]
        # Not of the end: where the loss comes near 0, updates die away whatever the rate.
        ratios[name] = float(np.median([np.median(m.median()[len(m) // 4 : len(m) // 2]) for m in monitors]))
        words.append(f"{name} ({lr:g}): {ratios[name]:.1e}, loss {np.median(losses):.2g}")
    plots.update_ratios(out / "n14_ratios.png", series)
    # A very high rate kills the units within a few steps, and what is dead is not updated: the ratio is high only then.
    first, died = float(np.min([np.max(m.median()[:5]) for m in monitors])), float(dead["1"].mean())
    holds = (
        ratios["low"] < 1e-3 / 3 and 1e-3 / 10 < ratios["good"] < 1e-3 * 10 and min(ratios["high"], first) > 1e-3 * 10
    )
    return Row(
        "about 1e-3",
        f"low rate {ratios['low']:.1e}, good {ratios['good']:.1e}, high {ratios['high']:.1e}, very high at first "
        f"{first:.1e}",
        verdict(holds),
        f"Median ratio of the weights in the second quarter of 10 epochs, and last loss, of {seeds} seeds: "
        + "; ".join(words)
        + f", but up to {first:.1e} in its first 25 steps, after which {died:.0%} of its units are dead.",
        [
            Figure(
                "n14_ratios.png",
                "The good rate stays within a decade of 1e-3. At the very high rate the units die, and what is dead is "
                "not updated: the ratio is high at first only.",
            )
        ],
    )
