"""N9 to N16: before training, and what to watch during it."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots

from .base import Row, claim, flat_digits, mlp, verdict


def first_losses(loss: mn.Loss, l2: float = 0.0, seeds: int = 20) -> np.ndarray:
    x, y = flat_digits()
    layers = [
        mn.Dense(50, init=mn.initializers.Normal(0.01)),
        mn.ReLU(),
        mn.Dense(10, init=mn.initializers.Normal(0.01)),
    ]
    return np.array([mn.Net(layers, 64, loss, l2=l2, seed=seed).loss(x, y) for seed in range(seeds)])


@claim("N9", "with small weights and 10 classes, the first loss is 2.302 for softmax and 9 for the Weston-Watkins SVM")
def first_loss_is_that_of_chance(out: Path) -> Row:
    softmax, hinge = first_losses(mn.SoftmaxCrossEntropy()), first_losses(mn.MulticlassHinge())
    return Row(
        "2.302; 9",
        f"{softmax.mean():.4f} (sd {softmax.std():.4f}); {hinge.mean():.4f} (sd {hinge.std():.4f}), 20 seeds",
        verdict(abs(softmax.mean() - math.log(10)) < 0.005 and abs(hinge.mean() - 9) < 0.02),
    )


@claim("N10", "adding regularisation raises the first loss")
def regularisation_raises_the_first_loss(out: Path) -> Row:
    strengths = (0.0, 0.01, 0.1, 1.0)
    losses = [first_losses(mn.SoftmaxCrossEntropy(), l2) for l2 in strengths]
    rises = all((more > less).all() for less, more in itertools.pairwise(losses))
    measured = ", ".join(f"{run.mean():.4f}" for run in losses)
    return Row("it rises", f"L2 {', '.join(map(str, strengths))}: loss {measured}; in all of 20 seeds", verdict(rises))


def train_and_score(x: np.ndarray, y: np.ndarray, few: int | None) -> tuple[mn.History, float]:
    """Train on ``few`` samples (all: None) of four fifths of the data; accuracy on the last fifth."""
    train, val = mn.data.split((x, y), (0.8, 0.2), seed=0)
    net = mn.Net(mlp(100), 64, mn.SoftmaxCrossEntropy())
    part = (train[0][:few], train[1][:few])
    history = mn.fit(net, part, rule=mn.Adam(), lr=3e-3, batch_size=20, steps=1500, progress=False)
    return history, net.evaluate(*val)["accuracy"]


@claim(
    "N11", "20 examples can be fitted to zero loss; shuffled features pass that test too, but then nothing generalises"
)
def twenty_examples_can_be_overfitted(out: Path) -> Row:
    x, y = flat_digits()
    shuffled = np.random.default_rng(0).permuted(x, axis=1)
    small = {"real": train_and_score(x, y, 20)[0], "shuffled": train_and_score(shuffled, y, 20)[0]}
    full = {"real": train_and_score(x, y, None)[1], "shuffled": train_and_score(shuffled, y, None)[1]}
    plots.curves(
        out / "n11_overfit.png",
        {f"{kind} features": (run.steps["step"], run.steps["loss"]) for kind, run in small.items()},
        title="Overfitting 20 digits, no regularisation",
        xlabel="step",
        ylabel="training loss",
        log=True,
    )
    fitted = all(run["loss"][-1] < 1e-2 and run["accuracy"][-1] == 1 for run in small.values())
    return Row(
        "loss 0, accuracy 100 %",
        f"loss {small['real']['loss'][-1]:.1e}, accuracy {small['real']['accuracy'][-1]:.0%}; shuffled features: loss "
        f"{small['shuffled']['loss'][-1]:.1e}; full data, held out: {full['real']:.1%} real, "
        f"{full['shuffled']:.1%} shuffled",
        verdict(fitted and full["real"] > 0.9 and full["shuffled"] < 0.4),
        ["n11_overfit.png"],
    )


# Initialisation ----------------------------------------------------------------------------------------------

# What the notes print for layers 0 to 8; the dots stand where they print none.
_SMALL = {0: 1.0, 1: 3.1e-4, 2: 1.2e-6, 3: 5.5e-10, 8: 8.6e-25}
_SCALED = {0: 1.0, 1: 0.70, 2: 0.60, 3: 0.84, 8: 0.25}


def variances(width: int, init: Callable, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Variance over the units, by layer, of one standard normal vector's activations and of one's gradients."""
    rng = np.random.default_rng((seed, width))
    net = mn.Net([mn.Dense(width, init=init) for _ in range(8)], width, seed=seed, dtype=np.float64)
    x = rng.standard_normal((1, width))
    net.forward(x)
    forward = [x.var(), *(y.var() for y in net.activations().values())]
    backward: list[float] = []
    dx = np.empty_like(x)
    net.backward(rng.standard_normal(x.shape), dx, observe=lambda place, dy: backward.append(dy.var()))
    return np.array(forward), np.array([*backward, dx.var()][::-1])


@claim(
    "N15",
    "weights from N(0, 0.01) kill the activations layer by layer; scaled by 1 / sqrt(inputs) they keep their variance",
)
def small_weights_kill_activations(out: Path) -> Row:
    # The variance falls to 8.6e-25 in 8 layers, a thousandth a layer: width * 0.01^2, hence a width of 10. The jumps
    # from layer to layer are those of ten numbers: one vector, no batch.
    width = round((_SMALL[8] / _SMALL[0]) ** (1 / 8) / 0.01**2)
    kinds = {
        "standard deviation 0.01": (mn.initializers.Normal(0.01), _SMALL),
        "1 / sqrt(inputs)": (mn.initializers.LeCunNormal(), _SCALED),
    }
    drawn, axes = plots.figure(2)
    inside, words = [], []
    for axis, (kind, (init, published)) in zip(axes, kinds.items(), strict=True):
        runs = [variances(width, init, seed) for seed in range(200)]
        for label, table in (("activations", [f for f, _ in runs]), ("gradients", [b for _, b in runs])):
            low, middle, high = np.quantile(table, (0.025, 0.5, 0.975), axis=0)
            (line,) = axis.plot(range(9), middle, marker=".", label=f"{label}, median")
            axis.fill_between(range(9), low, high, color=line.get_color(), alpha=0.2, label=f"{label}, 95 % of seeds")
            if label == "activations":
                inside += [bool(low[layer] <= value <= high[layer]) for layer, value in published.items() if layer]
                words.append(f"{kind}: {middle[1]:.2g}, {middle[2]:.2g}, {middle[3]:.2g} ... {middle[8]:.2g}")
        axis.plot(published.keys(), published.values(), "kx", label="published activations")
        axis.set(title=f"{kind}, width {width}", xlabel="layer", ylabel="variance", yscale="log")
        plots.legend(axis)
    plots.save(drawn, out / "n15_variance.png")
    return Row(
        "3.1e-4, 1.2e-6, 5.5e-10 ... 8.6e-25; scaled: 0.70, 0.60, 0.84 ... 0.25",
        f"width {width}, medians of 200 seeds: {'; '.join(words)}; {sum(inside)} of {len(inside)} published values in "
        "the central 95 %",
        verdict(all(inside)),
        ["n15_variance.png"],
    )
