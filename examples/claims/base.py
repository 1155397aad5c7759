"""What a claim is, the list of them, tables of them, and what several tests of claims share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import minnet as mn

NOTES, DECAY = "CS231n notes", "Keras tutorial on learning-rate decay, Iris"
JORDAN, CYCLES, CHOOSING = (
    'Jordan, "Setting the learning rate of your neural network"',
    'notes on Smith, "Cyclical Learning Rates"',
    '"Choosing a Learning Rate"',
)


@dataclass
class Row:
    """One line of the table."""

    published: str
    measured: str
    verdict: str
    figures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Claim:
    """A statement, where it stands, and the function that puts it to the test."""

    name: str
    statement: str
    source: str
    test: Callable[[Path], Row]


CLAIMS: list[Claim] = []


def claim(name: str, statement: str, source: str = NOTES) -> Callable[[Callable[[Path], Row]], Callable[[Path], Row]]:
    def register(test: Callable[[Path], Row]) -> Callable[[Path], Row]:
        CLAIMS.append(Claim(name, statement, source, test))
        return test

    return register


def verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


def as_markdown(rows: Iterable[tuple[Claim, Row]]) -> str:
    lines = ["| claim | statement | source | published | measured | verdict |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {c.name} | {c.statement} | {c.source} | {r.published} | {r.measured} | {r.verdict} |" for c, r in rows
    ]
    return "\n".join(lines) + "\n"


def resampled_means(values: np.ndarray, draws: int = 10_000) -> np.ndarray:
    """(..., seeds) to (..., draws): means over seeds drawn with replacement, the same seeds for all rows."""
    chosen = np.random.default_rng(0).integers(values.shape[-1], size=(draws, values.shape[-1]))
    return values[..., chosen].mean(axis=-1)


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval (percentiles) of the mean of values (seeds,)."""
    low, high = np.quantile(resampled_means(values), (0.025, 0.975), method="inverted_cdf")
    return float(low), float(high)


def difference(worse: np.ndarray, better: np.ndarray, digits: int = 4) -> tuple[str, bool]:
    """worse - better, figures (seeds,) paired by seed, in words; and whether the 95 % interval of it is above 0."""
    with np.errstate(invalid="ignore"):
        apart = worse - better
    apart = np.where(np.isnan(apart), 0.0, apart)  # both diverged
    low, high = interval(apart)
    return f"{apart.mean():+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})", low > 0


def flat_digits() -> tuple[np.ndarray, np.ndarray]:
    x, y = mn.datasets.digits()
    return x.reshape(len(x), -1), y


def mlp(*hidden: int, outputs: int = 10) -> list[mn.Layer]:
    return [layer for units in hidden for layer in (mn.Dense(units), mn.ReLU())] + [mn.Dense(outputs)]
