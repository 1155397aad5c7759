"""The course's reference points on CIFAR-10, for those who have the data."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import schedules

from .base import COURSE, Effort, Part, Result, Row, claim, verdict

TRAINING, EPOCHS = 49_000, 5
# Name: layers, batch size, rate at the top, L2.
NETWORKS: dict[str, tuple[list[mn.Layer], int, float, float]] = {
    "two layers": ([mn.Flatten(), mn.Dense(200), mn.ReLU(), mn.Dense(10)], 200, 0.1, 5e-4),
    "convolutional": (
        [
            *(mn.Conv2D(32, 3), mn.ReLU(), mn.MaxPool2D(2)),
            *(mn.Conv2D(64, 3), mn.ReLU(), mn.MaxPool2D(2)),
            *(mn.Flatten(), mn.Dense(128), mn.ReLU(), mn.Dense(10)),
        ],
        128,
        0.02,
        1e-3,
    ),
}


@cache
def parts(folder: str) -> tuple[mn.data.Data, mn.data.Data]:
    """Training and validation images as in the course: 49,000, and the next 1,000."""
    (x, y), _ = mn.datasets.cifar10(Path(folder) / "cifar10")
    return (x[:TRAINING], y[:TRAINING]), (x[TRAINING:], y[TRAINING:])


def trained(kind: str, seed: int, folder: str) -> Result:
    """Validation accuracy after each epoch."""
    train, val = parts(folder)
    layers, batch, rate, l2 = NETWORKS[kind]
    net = mn.Net(layers, (32, 32, 3), mn.SoftmaxCrossEntropy(), l2=l2, seed=seed)
    options = {"batch_size": batch, "epochs": EPOCHS, "validation": val, "seed": seed, "progress": False}
    if kind == "two layers":  # minus the mean image, as in the assignment
        measured = mn.data.Standardizer.fit(train[0])
        standardize = replace(measured, std=np.ones_like(measured.std))
    else:
        standardize = mn.data.Standardizer.fit(train[0], per="channel")
    lr = schedules.Cosine(rate, EPOCHS).in_epochs()
    history = mn.fit(net, train, rule=mn.Nesterov(0.9), lr=lr, standardize=standardize, **options)
    return {"accuracy": np.array(history["val_accuracy"])}


def runs_of(kind: str) -> dict:
    return {
        "needs": "cifar10",
        "parts": lambda effort: [Part(trained, (kind, seed, effort.data)) for seed in range(effort.repeats(1, 3))],
    }


def judged(published: float, found: tuple[Result, ...]) -> Row:
    accuracies = np.array([run["accuracy"] for run in found])
    ends = accuracies[:, -1]
    return Row(
        f"{published:.0%}",
        f"{np.median(ends):.1%} ({ends.min():.1%} to {ends.max():.1%})",
        verdict(float(np.median(ends)) >= published),
        f"Median and range of {len(ends)} seeds on {50_000 - TRAINING:,} validation images; after each of {EPOCHS} "
        f"epochs, by the median: {', '.join(f'{value:.1%}' for value in np.median(accuracies, axis=0))}.",
    )


@claim(
    "cifar-mlp",
    "two layers on CIFAR-10",
    "A two-layer network passes 50 % on the validation images of CIFAR-10.",
    COURSE,
    **runs_of("two layers"),
)
def two_layers(out: Path, effort: Effort, *found: Result) -> Row:
    return judged(0.5, found)


@claim(
    "cifar-conv",
    "a convolutional network on CIFAR-10",
    "A small convolutional network reaches 65 % on the validation images of CIFAR-10 within a few epochs.",
    COURSE,
    **runs_of("convolutional"),
)
def convolutional(out: Path, effort: Effort, *found: Result) -> Row:
    return judged(0.65, found)
