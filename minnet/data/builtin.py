"""Data sets that need no files: iris and digits are bundled, spirals are computed."""

from importlib import resources

import numpy as np

from ..base import checks, streams
from .arrays import Data

_SPECIES = ("Iris-setosa", "Iris-versicolor", "Iris-virginica")
# Values of two rows (counted from 1) in Fisher's article, according to the notes of the UCI file.
_IRIS_CORRECTIONS = {35: (4.9, 3.1, 1.5, 0.2), 38: (4.9, 3.6, 1.4, 0.1)}


def iris() -> Data:
    """Load Fisher's iris data from UCI's file, with its two known errors corrected.

    Returns:
        (x, y): x of shape (150, 4), float32, is sepal length, sepal width, petal length and petal width in cm. y of
        shape (150,), int64, is 0 for setosa, 1 for versicolor and 2 for virginica.
    """
    lines = (resources.files("minnet.data") / "bundled" / "iris.data").read_text(encoding="utf-8").split()
    rows = [line.split(",") for line in lines]
    x = np.array([row[:4] for row in rows], np.float32)
    y = np.array([_SPECIES.index(row[4]) for row in rows], np.int64)
    for number, values in _IRIS_CORRECTIONS.items():
        x[number - 1] = values
    return x, y


def digits() -> Data:
    """Load the test part of UCI's optical recognition of handwritten digits.

    Returns:
        (x, y): x of shape (1797, 8, 8, 1), float32 in [0, 1]; y of shape (1797,), int64 labels from 0 to 9.
    """
    text = (resources.files("minnet.data") / "bundled" / "optdigits.tes").read_text(encoding="utf-8")
    table = np.array([line.split(",") for line in text.split()], np.int64)
    x = (table[:, :64] / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    return x, table[:, 64].copy()


def spirals(points: int = 100, arms: int = 3, noise: float = 0.2, *, seed: int = 0) -> Data:
    """Generate CS231n's toy data of interleaved spirals.

    The radius of arm j grows from 0 to 1 while its angle grows from 4 j to 4 (j + 1) radians, plus noise.

    Args:
        points: number of points in each arm.
        arms: number of arms, one class each.
        noise: standard deviation of the angle's noise, in radians.
        seed: seed of the noise.

    Returns:
        (x, y): x of shape (points * arms, 2), float32; y of shape (points * arms,), int64, the number of the arm.
    """
    checks.count("spirals", "points", points)
    checks.count("spirals", "arms", arms)
    checks.non_negative("spirals", "noise", noise)
    rng = streams.generator(checks.count("spirals", "seed", seed, least=0), "noise of spirals")
    radius = np.tile(np.linspace(0, 1, points), arms)
    label = np.repeat(np.arange(arms), points)
    angle = 4 * (label + radius) + noise * rng.standard_normal(label.size)
    x = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1).astype(np.float32)
    return x, label.astype(np.int64)
