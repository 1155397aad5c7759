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

_Make = Callable[..., Problem]  # given name, layers and what differs between the problems on some data


def quadratic(condition: float, *, noise: float = 0.0, batch: int = 64, steps: int = 200, every: int = 5) -> Problem:
    """Return a quadratic of ten variables whose Hessian has eigenvalues from 1 to ``condition``, in float64.

    It is a linear regression. The axes of the quadratic are turned against those of the parameters. With
    batches of all 64 samples its gradient is exact; smaller batches add the noise of a training run.

    Args:
        condition: ratio of the largest to the smallest eigenvalue.
        noise: standard deviation of the targets' noise, which is the root of the lowest loss.
        batch, steps, every: as for ``Problem``.

    Returns:
        The problem, without a target.
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


def _parts(data: Data) -> dict[str, Any]:
    """Return arguments of ``Problem``: data to train on, to choose trials on, and to report on."""
    train, validation, test = split(data, (0.6, 0.2, 0.2), seed=0, stratified=True)
    return {"data": train, "validation": validation, "test": test}


def _iris() -> dict[str, Any]:
    x, y = datasets.iris()
    return _parts((((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32), y))


def _spirals() -> dict[str, Any]:
    x, y = datasets.spirals()
    return _parts((x.astype(np.float32), y))


def _digits() -> dict[str, Any]:
    x, y = datasets.digits()
    return _parts(((np.asarray(x, np.float32) / np.float32(np.max(x))).reshape(len(x), -1), y))


def tiny() -> list[AnyProblem]:
    """Return problems of seconds: quadratics, Rosenbrock's valley, Iris and spirals."""
    iris: _Make = partial(Problem, **_iris(), batch=5, every=10)
    arms: _Make = partial(Problem, **_spirals(), batch=30, every=20)
    hidden = (nn.Dense(4), nn.ReLU(), nn.Dense(6), nn.ReLU())
    return [
        quadratic(10),
        quadratic(1000),
        quadratic(100, noise=0.1, batch=8),
        Surface("rosenbrock", Rosenbrock(), 500, 10),
        iris("iris_logreg", layers=(nn.Dense(3),), steps=200, l2=1e-3),
        iris("iris_mlp", layers=(*hidden, nn.Dense(3)), steps=400),
        arms("spirals", layers=(nn.Dense(50), nn.ReLU(), nn.Dense(3)), steps=600, l2=1e-4),
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
    make: _Make = partial(Problem, **_digits(), batch=50, steps=300, every=15, l2=1e-4)
    he = initializers.HeNormal()
    return [
        make("digits_softmax", layers=(nn.Dense(10),)),
        make("digits_mlp", layers=(nn.Dense(100), nn.ReLU(), nn.Dense(10))),
        make("digits_deep", layers=_deep(False)),
        make("digits_deep_bn", layers=_deep(True)),
        make("digits_gru", layers=(nn.Reshape((8, 8)), nn.GRU(16, last=True), nn.Dense(10))),  # a row is a step
        make("digits_cnn", layers=_convolutional(he, he)),
        # Filters a hundred times too small before weights that are too large: one rate does not suit both.
        make("digits_cnn_scaled", layers=_convolutional(initializers.Normal(0.003), initializers.Normal(1.0))),
    ]


def classic(folder: str | Path) -> list[AnyProblem]:
    """Return problems of hours, after DeepOBS (Schneider et al. 2019), on MNIST and CIFAR-10 in a folder.

    Args:
        folder: the folder that ``datasets.mnist`` and ``datasets.cifar10`` read: it holds ``mnist`` and ``cifar10``, or
            the files of both.
    """
    place = Path(folder)

    def read(reader: Callable[[Path], tuple[Data, Data]], name: str, shape: tuple[int, ...]) -> dict[str, Any]:
        """A sixth of the training data is kept to choose trials on; the test data are those of the data set."""
        (x, y), (test_x, test_y) = reader(place / name if (place / name).is_dir() else place)
        x, test_x = (np.asarray(images, np.float32).reshape(-1, *shape) / 255 for images in (x, test_x))
        train, validation = split((x, y), (5 / 6, 1 / 6), seed=0, stratified=True)
        return {"data": train, "validation": validation, "test": (test_x, test_y)}

    flat, pixels = (read(datasets.mnist, "mnist", shape) for shape in ((784,), (28, 28, 1)))
    images = read(datasets.cifar10, "cifar10", (32, 32, 3))
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
    digits: _Make = partial(Problem, batch=128, steps=4600, every=230)
    return [
        quadratic(10000, noise=0.1, batch=8, steps=5000, every=100),
        digits("mnist_logreg", **flat, layers=(nn.Dense(10),)),
        digits("mnist_mlp", **flat, layers=dense),
        digits("mnist_2c2d", **pixels, layers=two),
        Problem("cifar10_3c3d", **images, layers=three, batch=128, steps=7800, every=390, l2=0.002),
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


def problems(name: str, folder: str | Path | None = None, *, targets: bool = True) -> list[AnyProblem]:
    """Return the problems of a set.

    Args:
        name: ``"tiny"``, ``"small"`` or ``"classic"``.
        folder: folder with MNIST and CIFAR-10, for *classic*.
        targets: whether the problems have their frozen targets.

    Returns:
        The problems, each a ``Problem`` or a ``Surface``.

    Raises:
        ValueError: for any other name, or a target that was frozen for other data.
    """
    found = _loaded(name, None if folder is None else str(folder))
    return with_targets(found) if targets else list(found)
