"""The sets of problems: *tiny* takes seconds, *small* minutes, *classic* hours."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import layers as nn
from ..base import streams
from ..data import Data, datasets, split
from ..layers import initializers
from ..net.losses import SquaredError
from ..optim.landscapes import Rosenbrock
from .problems import AnyProblem, Problem, Surface
from .targets import with_targets


def quadratic(condition: float, *, noise: float = 0.0, batch: int = 64, steps: int = 200, every: int = 5) -> Problem:
    """Return a quadratic of ten variables whose Hessian has eigenvalues from 1 to ``condition``, in float64.

    It is a linear regression. The axes of the quadratic are turned against those of the parameters. With
    batches of all 64 samples its gradient is exact; smaller batches add the noise of a training run.

    Args:
        condition: ratio of the largest to the smallest eigenvalue.
        noise: standard deviation of the targets' noise, which is the root of the lowest loss.
        batch, steps, every: as for ``Problem``.
    """
    rng, samples, size = streams.generator(0, "data of a quadratic"), 64, 10
    directions = np.linalg.qr(rng.standard_normal((samples, size)))[0]
    # The axes are turned, since rules that scale each parameter would solve a quadratic along the axes at once.
    turn = np.linalg.qr(rng.standard_normal((size, size)))[0]
    x = directions * np.sqrt(samples * np.geomspace(1, condition, size) / 2) @ turn
    y = x @ np.ones((size, 1)) + noise * rng.standard_normal((samples, 1))
    kind = "noisy" if noise or batch < samples else "exact"
    return Problem(
        f"quadratic_{kind}_{condition:g}",
        (x, y),
        (nn.Dense(1, bias=False, init=initializers.Zeros()),),
        batch,
        steps,
        every,
        loss=SquaredError(),
        dtype=np.float64,
    )


def _parts(data: Data, seed: int = 0) -> list[Data]:
    return split(data, (0.7, 0.3), seed=seed, stratified=True)


def _iris() -> list[Data]:
    x, y = datasets.iris()
    return _parts((((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32), y))


def _spirals() -> list[Data]:
    x, y = datasets.spirals()
    return _parts((x.astype(np.float32), y))


def _digits() -> list[Data]:
    x, y = datasets.digits()
    return _parts(((np.asarray(x, np.float32) / np.float32(np.max(x))).reshape(len(x), -1), y))


def tiny() -> list[AnyProblem]:
    """Return problems of seconds: quadratics, Rosenbrock's valley, Iris and spirals."""
    iris, arms = _iris(), _spirals()
    return [
        quadratic(10),
        quadratic(1000),
        quadratic(100, noise=0.1, batch=8),
        Surface("rosenbrock", Rosenbrock(), 500, 10),
        Problem("iris_logreg", iris[0], (nn.Dense(3),), 5, 200, 10, iris[1], l2=1e-3),
        Problem(
            "iris_mlp", iris[0], (nn.Dense(4), nn.ReLU(), nn.Dense(6), nn.ReLU(), nn.Dense(3)), 5, 400, 10, iris[1]
        ),
        Problem("spirals", arms[0], (nn.Dense(50), nn.ReLU(), nn.Dense(3)), 30, 600, 20, arms[1], l2=1e-4),
    ]


def _deep(normalised: bool) -> tuple[Any, ...]:
    hidden = (nn.Dense(50), nn.BatchNorm(), nn.ReLU()) if normalised else (nn.Dense(50), nn.ReLU())
    return (*(layer for _ in range(5) for layer in hidden), nn.Dense(10))


def _convolutional(first: Any, second: Any) -> tuple[Any, ...]:
    return (
        nn.Reshape((8, 8, 1)),
        nn.Conv2D(8, 3, init=first),
        nn.ReLU(),
        nn.MaxPool2D(2),
        nn.Flatten(),
        nn.Dense(10, init=second),
    )


def small() -> list[AnyProblem]:
    """Return problems of minutes: networks on the bundled digits."""
    train, held_out = _digits()
    he, make = initializers.HeNormal(), partial(Problem, data=train, held_out=held_out, batch=50, steps=300, every=10)
    return [
        make("digits_softmax", layers=(nn.Dense(10),), l2=1e-4),
        make("digits_mlp", layers=(nn.Dense(100), nn.ReLU(), nn.Dense(10)), l2=1e-4),
        make("digits_deep", layers=_deep(False), l2=1e-4),
        make("digits_deep_bn", layers=_deep(True), l2=1e-4),
        make("digits_cnn", layers=_convolutional(he, he), l2=1e-4),
        # Filters a hundred times too small before weights that are too large: one rate does not suit both.
        make("digits_cnn_scaled", layers=_convolutional(initializers.Normal(0.003), initializers.Normal(1.0)), l2=1e-4),
    ]


def classic(folder: str | Path) -> list[AnyProblem]:
    """Return problems of hours, after DeepOBS (Schneider et al. 2019), on MNIST and CIFAR-10 in a folder.

    Args:
        folder: the folder that ``datasets.mnist`` and ``datasets.cifar10`` read: it holds ``mnist`` and ``cifar10``, or
            the files of both.
    """
    place = Path(folder)

    def read(reader: Callable[[Path], tuple[Data, Data]], name: str) -> list[Data]:
        parts = reader(place / name if (place / name).is_dir() else place)
        return [(np.asarray(x, np.float32) / 255, y) for x, y in parts]

    digits, images = read(datasets.mnist, "mnist"), read(datasets.cifar10, "cifar10")
    flat = [(x.reshape(len(x), -1), y) for x, y in digits]
    pixels = [(x.reshape(len(x), 28, 28, 1), y) for x, y in digits]
    dense = (nn.Dense(1000), nn.ReLU(), nn.Dense(500), nn.ReLU(), nn.Dense(100), nn.ReLU(), nn.Dense(10))
    two = (
        *(nn.Conv2D(32, 5), nn.ReLU(), nn.MaxPool2D(2), nn.Conv2D(64, 5), nn.ReLU(), nn.MaxPool2D(2)),
        *(nn.Flatten(), nn.Dense(1024), nn.ReLU(), nn.Dense(10)),
    )
    three = (
        *(nn.Conv2D(64, 5), nn.ReLU(), nn.MaxPool2D(2), nn.Conv2D(96, 3), nn.ReLU(), nn.MaxPool2D(2)),
        *(nn.Conv2D(128, 3), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(512), nn.ReLU(), nn.Dense(256)),
        *(nn.ReLU(), nn.Dense(10)),
    )
    return [
        quadratic(10000, noise=0.1, batch=8, steps=5000, every=100),
        Problem("mnist_logreg", flat[0], (nn.Dense(10),), 128, 4600, 230, flat[1]),
        Problem("mnist_mlp", flat[0], dense, 128, 4600, 230, flat[1]),
        Problem("mnist_2c2d", pixels[0], two, 128, 4600, 230, pixels[1]),
        Problem("cifar10_3c3d", images[0], three, 128, 7800, 390, images[1], l2=0.002),
    ]


@cache
def _loaded(name: str, folder: str | None) -> tuple[AnyProblem, ...]:
    if name == "classic":
        if folder is None:
            raise ValueError("benchmark: expected a folder with MNIST and CIFAR-10 for the set classic; got None")
        return tuple(classic(folder))
    known = {"tiny": tiny, "small": small}
    if name not in known:
        raise ValueError(f"benchmark: expected one of the sets tiny, small and classic; got {name!r}")
    return tuple(known[name]())


def problems(name: str, folder: str | Path | None = None) -> list[AnyProblem]:
    """Return the problems of a set, with their frozen targets.

    Args:
        name: ``"tiny"``, ``"small"`` or ``"classic"``.
        folder: folder with MNIST and CIFAR-10, for *classic*.

    Raises:
        ValueError: for any other name, or a target that was frozen for other data.
    """
    return with_targets(_loaded(name, None if folder is None else str(folder)))
