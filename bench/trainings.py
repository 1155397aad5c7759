"""The problems of ``runs.py``: small trainings that are repeated with other rates, seeds and orders of the batches.

This module and the engines of other libraries do not import minnet, so that their time to a first result has no share
of its import.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np


class Data(NamedTuple):
    """Training data and the data that accuracies are measured on; x of shape (n, features), float32; y (n,), int64."""

    x: np.ndarray
    y: np.ndarray
    held_x: np.ndarray
    held_y: np.ndarray


@dataclass(frozen=True)
class Problem:
    """A dense network with ReLU between its layers, softmax cross-entropy, and how it is trained.

    Attributes:
        units: numbers of features, of hidden units, and of classes.
        batch: samples in a batch; epochs consist of whole batches.
        epochs: length of a run.
        rule: "sgd", "momentum" (0.9) or "adam" (0.9, 0.999, 1e-8).
        rates: lowest and highest learning rate of the runs.
    """

    units: tuple[int, ...]
    batch: int
    samples: int
    epochs: int
    rule: str
    rates: tuple[float, float]

    @property
    def steps(self) -> int:
        """Steps of one run."""
        return self.samples // self.batch * self.epochs

    @property
    def is_full_batch(self) -> bool:
        return self.batch == self.samples

    def rate(self, runs: np.ndarray) -> np.ndarray:
        """Learning rates of these runs, shape (len(runs),), float32. Runs that follow one another lie far apart."""
        low, high = self.rates
        return (low * (high / low) ** ((np.asarray(runs) * 13 % 32) / 31)).astype(np.float32)

    def start(self, runs: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Pairs (W, b) of new layers, (runs, in, out) and (runs, out): He et al. 2015, with biases of 0."""
        generators = [np.random.default_rng([int(run), 0]) for run in runs]
        layers = []
        for fan_in, out in zip(self.units[:-1], self.units[1:], strict=True):
            drawn = np.stack([rng.standard_normal((fan_in, out), np.float32) for rng in generators])
            layers.append((drawn * np.float32(np.sqrt(2 / fan_in)), np.zeros((len(drawn), out), np.float32)))
        return layers

    def orders(self, runs: np.ndarray) -> np.ndarray:
        """Indices of the samples in each step, shape (runs, steps, batch), int32: each epoch in an order of its own."""
        shape = self.epochs, self.samples
        plain = np.broadcast_to(np.arange(self.samples, dtype=np.int32), shape)
        drawn = [np.random.default_rng([int(run), 1]).permuted(plain, axis=1) for run in runs]
        return np.stack(drawn).reshape(len(drawn), self.steps, self.batch)

    def shortened(self, share: float) -> "Problem":
        """The problem with this share of its epochs, at least one."""
        return replace(self, epochs=max(1, round(share * self.epochs)))


PROBLEMS = {
    "iris": Problem((4, 4, 6, 3), 5, 120, 60, "momentum", (0.01, 0.05)),
    "digits": Problem((64, 64, 10), 64, 1408, 20, "adam", (1e-3, 4e-3)),
    "spiral": Problem((2, 100, 3), 300, 300, 400, "sgd", (0.5, 1.0)),
}


def data_of(name: str) -> Data:
    """Data of a problem, from minnet's data sets. Accuracies on spirals are those of spirals with other noise."""
    import minnet as mn

    if name == "spiral":
        return Data(*mn.data.datasets.spirals(), *mn.data.datasets.spirals(seed=1))
    x, y = getattr(mn.data.datasets, name)()
    x = x.reshape(len(x), -1)
    if name == "iris":
        x = (x - x.mean(0)) / x.std(0)
    order = np.random.default_rng(0).permutation(len(x))
    train, held = np.split(order, [PROBLEMS[name].samples])
    return Data(x[train], y[train], x[held], y[held])
