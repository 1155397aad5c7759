"""N17 to N22: update rules."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots

from .base import Row, claim, flat_digits, mlp, verdict


@claim("N17", "momentum v = mu v - lr dx; x += v, with mu 0.5 to 0.99, converges faster than plain SGD")
def momentum_beats_plain_sgd(out: Path) -> Row:
    train, _ = mn.data.split(flat_digits(), (0.8, 0.2), seed=0)
    rules = {"SGD": mn.SGD(), **{f"mu = {mu}": mn.Momentum(mu) for mu in (0.5, 0.9, 0.95, 0.99)}}
    series, epochs = {}, {}
    for name, rule in rules.items():
        counts = []
        for seed in range(3):
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
        "epochs to training loss 0.4, median of 3 seeds: "
        + ", ".join(f"{name} {n:.0f}" if math.isfinite(n) else f"{name} more than 60" for name, n in epochs.items()),
        verdict(all(epochs[name] < epochs["SGD"] for name in epochs if name != "SGD")),
        ["n17_momentum.png"],
    )


@claim("N18", "Nesterov momentum rewritten to store the look-ahead point is the look-ahead form")
def nesterov_forms_agree(out: Path) -> Row:
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
    )


def passes_needed(
    rule: mn.Rule, lr: float, hidden: tuple[int, ...], done: Callable[[float, mn.Net], bool], most: int = 5000
) -> int:
    """Passes over all digits, as one batch, until ``done(loss, net)``; ``most`` at the most."""
    x, y = flat_digits()
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


@claim("N20", "second-order methods (a heading without text): L-BFGS on full batches")
def second_order_on_full_batches(out: Path) -> Row:
    words, holds = [], True
    for task, hidden, done in (
        ("softmax classifier, L2 0.01, to a gradient below 1e-6", (), lambda loss, net: np.abs(net.grads).max() < 1e-6),
        ("64-50-10 network to training loss 1e-3", (50,), lambda loss, net: loss < 1e-3),
    ):
        ours = passes_needed(mn.LBFGS(), 1.0, hidden, done)
        rates, descent = (0.3, 0.1, 0.03, 1.0), 5000
        for lr in rates:  # a run need not go on once another rate has needed fewer passes
            descent = min(descent, passes_needed(mn.Nesterov(0.9), lr, hidden, done, most=descent))
        words.append(f"{task}: L-BFGS {ours} passes, Nesterov momentum at the best of {len(rates)} rates {descent}")
        holds &= ours < descent
    return Row("none", "; ".join(words), verdict(holds))
