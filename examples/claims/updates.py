"""N17 to N22: update rules."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots

from .base import Effort, Figure, Part, Result, Row, claim, flat_digits, mlp, verdict


@claim(
    "N17",
    "momentum converges faster than plain SGD",
    "Momentum, v = mu * v - lr * dx and x += v, with mu of 0.5, 0.9, 0.95 or 0.99, almost always converges faster than "
    "plain SGD.",
)
def momentum_beats_plain_sgd(out: Path, effort: Effort) -> Row:
    seeds = effort.repeats(3, 10)
    train, _ = mn.data.split(flat_digits(), (0.8, 0.2), seed=0)
    rules = {"SGD": mn.SGD(), **{f"mu = {mu}": mn.Momentum(mu) for mu in (0.5, 0.9, 0.95, 0.99)}}
    series, epochs = {}, {}
    for name, rule in rules.items():
        counts = []
        for seed in range(seeds):
            net = mn.Net(mlp(100), 64, mn.SoftmaxCrossEntropy(), seed=seed)
            history = mn.fit(net, train, rule=rule, lr=0.01, batch_size=50, epochs=60, seed=seed, progress=False)
            reached = [epoch for epoch, loss in zip(history["epoch"], history["loss"], strict=True) if loss < 0.4]
            counts.append(reached[0] if reached else math.inf)
            series[name] = (history["epoch"], history["loss"])
        epochs[name] = float(np.median(counts))
    plots.curves(
        out / "n17_momentum.png",
        series,
        title="Momentum on digits, learning rate 0.01, one seed",
        xlabel="epoch",
        ylabel="training loss",
        log=True,
    )
    return Row(
        "faster",
        "epochs to loss 0.4: "
        + ", ".join(f"{name} {n:.0f}" if math.isfinite(n) else f"{name} over 60" for name, n in epochs.items()),
        verdict(all(epochs[name] < epochs["SGD"] for name in epochs if name != "SGD")),
        f"Training loss of a network of 100 hidden units on digits, rate 0.01; medians of {seeds} seeds.",
        [Figure("n17_momentum.png", "The more momentum, the sooner the loss falls, at the same small rate.")],
    )


@claim(
    "N18",
    "the two forms of Nesterov momentum are one",
    "Nesterov momentum looks ahead, and takes the gradient where momentum is about to go. Rewritten to store the point "
    "ahead, it has the form of plain momentum, and is the same.",
)
def nesterov_forms_agree(out: Path, effort: Effort) -> Row:
    x, y = flat_digits()
    nets = [mn.Net(mlp(30), 64, mn.SoftmaxCrossEntropy(), dtype=np.float64) for _ in range(2)]
    optimizers = [mn.Optimizer(nets[0], mn.NesterovLookAhead(0.9)), mn.Optimizer(nets[1], mn.Nesterov(0.9))]
    for step in range(200):
        for net, optimizer in zip(nets, optimizers, strict=True):
            net.loss_and_grads(x[:100], y[:100])
            optimizer.step(lr=0.05 / (1 + 0.01 * step))
    difference = np.abs(nets[0].params - nets[1].params).max()
    return Row(
        "the same",
        f"largest difference of any weight after 200 steps in float64: {difference:.0e}",
        verdict(difference < 1e-12),
        "Both forms from the same weights on the same 100 digits, with a rate that falls.",
    )


def passes_needed(
    rule: mn.Rule, lr: float, hidden: tuple[int, ...], done: Callable[[float, mn.Net], bool], most: int = 5000
) -> int:
    """Passes over a third of the digits, as one batch, until ``done(loss, net)``; ``most`` at the most."""
    x, y = (part[::3] for part in flat_digits())
    net = mn.Net(mlp(*hidden), 64, mn.SoftmaxCrossEntropy(), l2=1e-2 if not hidden else 0.0, dtype=np.float64)
    optimizer, passes = mn.Optimizer(net, rule), 0

    def evaluate() -> float:
        nonlocal passes
        passes += 1
        return net.loss_and_grads(x, y)

    loss = evaluate()
    while not done(loss, net) and passes < most:
        optimizer.step(lr, loss=loss, evaluate=evaluate)
        # A line search has ended with loss and gradient of the present parameters; only its caller forgot the loss.
        passes -= optimizer.searches
        loss = evaluate()
    return passes


# Task: (hidden units, L2 or not, when it is done).
TASKS: dict[str, tuple[tuple[int, ...], Callable[[float, mn.Net], bool]]] = {
    "softmax classifier": ((), lambda loss, net: bool(np.abs(net.grads).max() < 1e-6)),
    "64-50-10 network": ((50,), lambda loss, net: loss < 1e-3),
}
RATES = (0.3, 0.1, 0.03, 1.0)


def passes_of_both(task: str) -> Result:
    hidden, done = TASKS[task]
    descent = 5000
    for lr in RATES:  # a run need not go on once another rate has needed fewer passes
        descent = min(descent, passes_needed(mn.Nesterov(0.9), lr, hidden, done, most=descent))
    return {"L-BFGS": passes_needed(mn.LBFGS(), 1.0, hidden, done), "Nesterov": descent}


@claim(
    "N20",
    "second-order methods on full batches",
    "Second-order methods need no rate and far fewer passes, on full batches. (The notes have the heading without a "
    "text; the statement is that of the English ones.)",
    parts=lambda effort: [Part(passes_of_both, (task,)) for task in TASKS],
)
def second_order_on_full_batches(out: Path, effort: Effort, *found: Result) -> Row:
    words = [f"{task} {f['L-BFGS']} against {f['Nesterov']}" for task, f in zip(TASKS, found, strict=True)]
    return Row(
        "none",
        f"passes: {'; '.join(words)}",
        verdict(all(f["L-BFGS"] < f["Nesterov"] for f in found)),
        f"L-BFGS against Nesterov momentum at the best of {len(RATES)} rates, in float64 on 599 digits: the softmax "
        "classifier, with L2 0.01, to a largest gradient below 1e-6; the network to a training loss of 1e-3.",
    )
