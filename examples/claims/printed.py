"""B3: update rules beside the formulas that a text prints."""

import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import landscapes

from .base import CHOOSING, Effort, Row, claim, verdict
from .comparison import LANDSCAPES

EPS, STEPS = 1e-6, 100
Memory = dict[str, float]


def printed_adagrad(g: float, m: Memory, t: int, lr: float) -> float:
    m["s"] += g * g
    return lr * g / math.sqrt(m["s"] + EPS)


def printed_rmsprop(g: float, m: Memory, t: int, lr: float) -> float:
    m["s"] = 0.9 * m["s"] + 0.1 * g * g
    return lr * g / math.sqrt(m["s"] + EPS)


def printed_adadelta(g: float, m: Memory, t: int, lr: float) -> float:
    m["s"] = 0.9 * m["s"] + 0.1 * g * g
    step = math.sqrt(m["d"] + EPS) / math.sqrt(m["s"] + EPS) * g
    m["d"] = 0.9 * m["d"] + 0.1 * step * step
    return step


def printed_adam(g: float, m: Memory, t: int, lr: float) -> float:
    m["v"] = 0.9 * m["v"] + 0.1 * g
    m["s"] = 0.999 * m["s"] + 0.001 * g * g
    return lr * (m["v"] / (1 - 0.9**t)) / (math.sqrt(m["s"] / (1 - 0.999**t)) + EPS)


PRINTED: dict[str, tuple[Callable[[float, Memory, int, float], float], mn.Rule, float]] = {
    "Adagrad": (printed_adagrad, mn.Adagrad(eps=EPS, eps_in_root=True), 0.01),
    "RMSprop": (printed_rmsprop, mn.RMSprop(rho=0.9, eps=EPS, eps_in_root=True), 0.01),
    "Adadelta": (printed_adadelta, mn.Adadelta(rho=0.9, eps=EPS), 1.0),
    "Adam": (printed_adam, mn.Adam(eps=EPS), 0.01),
}


@claim(
    "B3",
    "the formulas of four rules",
    "RMSprop (0.9, eps inside the root), Adam, Adagrad (eps inside the root) and Adadelta, which has no rate to "
    "choose, follow the printed formulas.",
    CHOOSING,
)
def printed_formulas(out: Path, effort: Effort) -> Row:
    largest = dict.fromkeys(PRINTED, 0.0)
    for landscape in LANDSCAPES.values():
        for name, (formula, rule, lr) in PRINTED.items():
            path = landscapes.descend(landscape, rule, landscape.starts[0], lr=lr, steps=STEPS)
            point = [float(value) for value in landscape.starts[0]]
            memories: list[Memory] = [defaultdict(float), defaultdict(float)]
            for step in range(STEPS):
                slopes = landscape.gradient(point) + landscape.noise(0, step)
                for i in (0, 1):
                    point[i] -= formula(float(slopes[i]), memories[i], step + 1, lr)
                largest[name] = max(largest[name], float(np.abs(path[step + 1] - point).max()))
    return Row(
        "the formulas",
        f"largest distance from the formulas, {STEPS} steps on {len(LANDSCAPES)} functions: "
        f"{max(largest.values()):.0e}",
        verdict(max(largest.values()) < 1e-9),
        "From a scalar loop of each formula: "
        + ", ".join(f"{name} {distance:.0e}" for name, distance in largest.items())
        + ".",
    )
