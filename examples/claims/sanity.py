"""N9 to N16: before training, and what to watch during it."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots
from minnet.diagnostics import VarianceByLayer, variance_by_layer

from .base import Effort, Figure, Row, claim, flat_digits, mlp, verdict, verdict_of


def first_losses(loss: mn.Loss, l2: float, seeds: int) -> np.ndarray:
    x, y = flat_digits()
    layers = [
        mn.Dense(50, init=mn.initializers.Normal(0.01)),
        mn.ReLU(),
        mn.Dense(10, init=mn.initializers.Normal(0.01)),
    ]
    return np.array([mn.Net(layers, 64, loss, l2=l2, seed=seed).loss(x, y) for seed in range(seeds)])


@claim(
    "N9",
    "the first loss is that of chance",
    "Look for the loss of chance before training. With small weights and 10 classes it is 2.302 for a softmax "
    "classifier, -log(1 / 10), and 9 for the Weston-Watkins SVM.",
)
def first_loss_is_that_of_chance(out: Path, effort: Effort) -> Row:
    seeds = effort.repeats(20, 100)
    softmax, hinge = (first_losses(loss, 0.0, seeds) for loss in (mn.SoftmaxCrossEntropy(), mn.MulticlassHinge()))
    return Row(
        "2.302; 9",
        f"{softmax.mean():.4f} (sd {softmax.std():.4f}); {hinge.mean():.4f} (sd {hinge.std():.4f}), {seeds} seeds",
        verdict(abs(softmax.mean() - math.log(10)) < 0.005 and abs(hinge.mean() - 9) < 0.02),
        "A network of 50 hidden units on all digits, before its first step; weights from N(0, 0.01).",
    )


@claim(
    "N10",
    "regularisation raises the first loss",
    "A stronger regularisation should raise the first loss.",
)
def regularisation_raises_the_first_loss(out: Path, effort: Effort) -> Row:
    strengths, seeds = (0.0, 0.01, 0.1, 1.0), effort.repeats(20, 100)
    losses = [first_losses(mn.SoftmaxCrossEntropy(), l2, seeds) for l2 in strengths]
    rises = all((more > less).all() for less, more in itertools.pairwise(losses))
    measured = ", ".join(f"{run.mean():.4f}" for run in losses)
    return Row(
        "it rises",
        f"L2 {', '.join(map(str, strengths))}: loss {measured}",
        verdict(rises),
        f"Means of {seeds} seeds; the loss rises with {'every' if rises else 'not every'} seed.",
    )


def train_and_score(x: np.ndarray, y: np.ndarray, few: int | None) -> tuple[mn.History, float]:
    """Train on ``few`` samples (all: None) of four fifths of the data; accuracy on the last fifth."""
    train, val = mn.data.split((x, y), (0.8, 0.2), seed=0)
    net = mn.Net(mlp(100), 64, mn.SoftmaxCrossEntropy())
    part = (train[0][:few], train[1][:few])
    history = mn.fit(net, part, rule=mn.Adam(), lr=3e-3, batch_size=20, steps=1500, progress=False)
    return history, net.evaluate(*val)["accuracy"]


@claim(
    "N11",
    "20 examples can be overfitted",
    "Before training on all data, make sure that 20 examples can be fitted to zero loss without regularisation. This "
    "does not prove that all is right: shuffled features pass it too, and then nothing generalises.",
)
def twenty_examples_can_be_overfitted(out: Path, effort: Effort) -> Row:
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
        f"loss {small['real']['loss'][-1]:.1e}, {small['real']['accuracy'][-1]:.0%}; shuffled "
        f"{small['shuffled']['loss'][-1]:.1e}; held out {full['real']:.1%}, shuffled {full['shuffled']:.1%}",
        verdict(fitted and full["real"] > 0.9 and full["shuffled"] < 0.4),
        "The last two are accuracies on held-out digits after 1500 steps on four fifths of the data.",
        [
            Figure(
                "n11_overfit.png",
                "Both losses fall to zero: overfitting a few examples does not tell real features from shuffled ones.",
            )
        ],
    )


@claim(
    "N13",
    "the gap between training and validation accuracy tells overfitting",
    "The gap between training and validation accuracy tells how much the network overfits. If it is wide, regularise "
    "more or collect more data.",
)
def the_gap_tells_overfitting(out: Path, effort: Effort) -> Row:
    # 150 digits are few for 100 hidden units: the gap should be wide, and narrower for whatever regularises.
    train, val = mn.data.split(mn.datasets.digits(), (0.8, 0.2), seed=0)
    few, seeds = 150, effort.repeats(5, 15)
    kinds: dict[str, tuple[int | None, float, list[mn.Layer]]] = {
        "150 images": (few, 0.0, []),
        "150 images, L2 0.03 and dropout": (few, 0.03, [mn.Dropout(0.5)]),
        "1,437 images": (None, 0.0, []),
    }
    panels, gaps, held_out = {}, {}, {}
    for kind, (size, l2, noise) in kinds.items():
        runs = []
        for seed in range(seeds):
            layers = [mn.Flatten(), mn.Dense(100), mn.ReLU(), *noise, mn.Dense(10)]
            net = mn.Net(layers, (8, 8, 1), mn.SoftmaxCrossEntropy(), l2=l2, seed=seed)
            part, watch = (train[0][:size], train[1][:size]), Gap((train[0][:size], train[1][:size]), val)
            mn.fit(
                net, part, rule=mn.Nesterov(0.9), lr=0.02, batch_size=50, steps=450, seed=seed, callbacks=[watch],
                progress=False,
            )  # fmt: skip
            runs.append(watch.curves())
        steps, values = runs[0][0], np.array([run[1] for run in runs])  # (seeds, 2, readings)
        panels[kind] = {"training": (steps, values[:, 0]), "validation": (steps, values[:, 1])}
        gaps[kind] = values[:, 0, -1] - values[:, 1, -1]
        held_out[kind] = values[:, 1, -1]
    plots.comparison(out / "n13_gap.png", panels, xlabel="step", ylabel="correct (%)", ylim=(60, 101))
    words = [
        f"{kind}: gap {np.median(gaps[kind]):.1f} points, validation {np.median(held_out[kind]):.1f} %"
        for kind in kinds
    ]
    overfitted, regularised, more = (np.median(gaps[kind]) for kind in kinds)
    return Row(
        "figure",
        f"gap in points: few images {overfitted:.1f}, regularised {regularised:.1f}, ten times the images {more:.1f}",
        verdict(overfitted > 2 * more and overfitted > regularised),
        "; ".join(words) + f"; medians of {seeds} seeds, 100 hidden units.",
        [
            Figure(
                "n13_gap.png",
                "The distance of the two lines is the gap: wide with few images, narrower with regularisation or more "
                "images.",
            )
        ],
    )


class Gap(mn.Callback):
    """Accuracies in percent on training and validation data, every 25 steps, in passes that do not train."""

    def __init__(self, train: mn.data.Data, val: mn.data.Data) -> None:
        self.data, self.steps, self.rows = (train, val), [], []

    def on_step(self, trainer, record):
        if record.step % 25 == 0:
            self.steps.append(record.step)
            self.rows.append([100 * trainer.net.evaluate(*data)["accuracy"] for data in self.data])

    def curves(self) -> tuple[list[int], np.ndarray]:
        return self.steps, np.array(self.rows).T


def roughness(filters: np.ndarray) -> float:
    """How little neighbouring pixels of a filter (n, H, W, C) agree: 0 for smooth, 1 for white noise; the median.

    The mean square of the difference of two neighbours over twice the variance, which is 1 less their correlation.
    """
    centred = filters - filters.mean(axis=(1, 2, 3), keepdims=True)
    centred = centred[centred.any(axis=(1, 2, 3))]  # a filter that has died has no pattern
    steps = [np.square(np.diff(centred, axis=axis)).mean(axis=(1, 2, 3)) for axis in (1, 2)]
    return float(np.median(sum(steps) / (4 * np.square(centred).mean(axis=(1, 2, 3)))))


@claim(
    "N16",
    "first-layer filters are smooth when training is healthy",
    "Plot the filters of the first layer. Smooth ones are a sign that training goes well. Noisy ones may mean that the "
    "network has not converged, that the rate is wrong, or that the regularisation is too weak.",
)
def healthy_filters_are_smooth(out: Path, effort: Effort) -> Row:
    train, val = mn.data.split(mn.datasets.digits(), (0.8, 0.2), seed=0)
    # Name: rate, penalty. He's initial weights are white noise, which only training and penalties can smooth.
    kinds = {
        "healthy": (0.1, 3e-3),
        "no regularisation": (0.1, 0.0),
        "rate too low": (1e-4, 3e-3),
        "rate too high": (0.6, 3e-3),
    }
    seeds = effort.repeats(3, 6)
    panels, words, rough = {}, [], {}
    for kind, (lr, l2) in kinds.items():
        measured, accuracies = [], []
        for seed in range(seeds):
            net = mn.Net([mn.Flatten(), *mlp(40)], (8, 8, 1), mn.SoftmaxCrossEntropy(), l2=l2, seed=seed)
            mn.fit(
                net,
                train,
                rule=mn.Momentum(0.9),
                lr=lr,
                batch_size=50,
                epochs=40,
                seed=seed,
                progress=False,
                clip_norm=1.0,
            )
            measured.append(roughness(plots.filters_of(net)))
            accuracies.append(net.evaluate(*val)["accuracy"])
            if seed == 0:
                panels[kind] = plots.filters_of(net).copy()
        rough[kind] = measured
        words.append(
            f"{kind}: roughness {np.median(measured):.2f} ({min(measured):.2f} to {max(measured):.2f}), validation "
            f"{np.median(accuracies):.1%}"
        )
    titles = {kind: f"{kind}: {rough[kind][0]:.2f}" for kind in panels}
    plots.filter_grid(out / "n16_filters.png", {titles[kind]: panels[kind] for kind in panels}, columns=8)
    noisier = {kind: min(rough[kind]) > max(rough["healthy"]) for kind in kinds if kind != "healthy"}
    middle = {kind: float(np.median(rough[kind])) for kind in kinds}
    smoother = middle["rate too high"] < middle["healthy"]
    return Row(
        "figures of filters",
        f"roughness: healthy {middle['healthy']:.2f}, unregularised {middle['no regularisation']:.2f}, rate too low "
        f"{middle['rate too low']:.2f}, too high {middle['rate too high']:.2f}",
        verdict_of(noisier),
        "Roughness is 0 for smooth filters and 1 for white noise: "
        + "; ".join(words)
        + f"; medians of {seeds} seeds."
        + (" Too high a rate makes them smoother and the network worse." if smoother else ""),
        [
            Figure(
                "n16_filters.png",
                "The weights of each hidden unit as an image: strokes where training is healthy, noise where the rate "
                "is too low.",
            )
        ],
    )


# Initialisation ----------------------------------------------------------------------------------------------

# What the notes print for layers 0 to 8; the dots stand where they print none.
_SMALL = {0: 1.0, 1: 3.1e-4, 2: 1.2e-6, 3: 5.5e-10, 8: 8.6e-25}
_SCALED = {0: 1.0, 1: 0.70, 2: 0.60, 3: 0.84, 8: 0.25}


def looks(width: int, init: Callable, seeds: int) -> list[VarianceByLayer]:
    """Eight linear layers, a net a seed, at one standard normal vector, and one sent back."""
    found = []
    for seed in range(seeds):
        net = mn.Net([mn.Dense(width, init=init) for _ in range(8)], width, seed=seed, dtype=np.float64)
        x = np.random.default_rng((seed, width)).standard_normal((1, width))
        found.append(variance_by_layer(net, x, seed=seed))
    return found


@claim(
    "N15",
    "small weights kill the activations layer by layer",
    "With weights from N(0, 0.01) the variance of the activations vanishes from layer to layer, and so does that of "
    "the gradients. With weights scaled by 1 / sqrt(inputs) it stays near 1.",
)
def small_weights_kill_activations(out: Path, effort: Effort) -> Row:
    # The variance falls to 8.6e-25 in 8 layers, a thousandth a layer: width * 0.01^2, hence a width of 10. The jumps
    # from layer to layer are those of ten numbers: one vector, no batch.
    width = round((_SMALL[8] / _SMALL[0]) ** (1 / 8) / 0.01**2)
    kinds = {
        "standard deviation 0.01": (mn.initializers.Normal(0.01), _SMALL),
        "1 / sqrt(inputs)": (mn.initializers.LeCunNormal(), _SCALED),
    }
    inside, words, panels, crosses, last = [], [], {}, {}, []
    seeds = effort.repeats(100, 400)
    for kind, (init, published) in kinds.items():
        runs = looks(width, init, seeds)
        table = np.array([[layer.variance for layer in run.layers] for run in runs])
        low, middle, high = np.quantile(table, (0.025, 0.5, 0.975), axis=0)
        inside += [bool(low[layer] <= value <= high[layer]) for layer, value in published.items() if layer]
        gains = [layer.expected_gain for run in runs for layer in run.layers[1:] if layer.expected_gain is not None]
        words.append(
            f"{kind}: {middle[1]:.2g}, {middle[2]:.2g}, {middle[3]:.2g} ... {middle[8]:.2g}, expected a factor "
            f"{np.median(gains):.2g} a layer"
        )
        last.append(middle[8])
        panels[f"{kind}, width {width}"], crosses[f"{kind}, width {width}"] = runs, published
    plots.variance_by_layer(out / "n15_variance.png", panels, published=crosses)
    return Row(
        "3.1e-4, 1.2e-6, 5.5e-10 ... 8.6e-25; scaled: 0.70, 0.60, 0.84 ... 0.25",
        f"layer 8: {last[0]:.1g}, scaled {last[1]:.2g}; {sum(inside)} of {len(inside)} published values in the central "
        "95 %",
        verdict(all(inside)),
        f"Width {width}, which follows from the published fall, one vector, medians of {seeds} seeds: "
        f"{'; '.join(words)}.",
        [
            Figure(
                "n15_variance.png",
                "The crosses are the published values; they lie in the range of the seeds. Left the variance falls "
                "by a thousand a layer, right it stays.",
            )
        ],
    )
