"""What a claim is, the list of them, and what several tests of claims share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import minnet as mn

NOTES, DECAY = "CS231n notes", "Keras tutorial on learning-rate decay, Iris"


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


def flat_digits() -> tuple[np.ndarray, np.ndarray]:
    x, y = mn.datasets.digits()
    return x.reshape(len(x), -1), y


def mlp(*hidden: int, outputs: int = 10) -> list[mn.Layer]:
    return [layer for units in hidden for layer in (mn.Dense(units), mn.ReLU())] + [mn.Dense(outputs)]
