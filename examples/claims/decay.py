"""D3, D4: shapes of decay compared with everything else held fixed: start rates, seeds, data, steps."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots, schedules

from .base import DECAY, Effort, Figure, Part, Result, Row, claim, difference, verdict

_STEPS = 300
_RATES = (0.032, 0.1, 0.32, 1.0)  # start rates
_TUNING, _REPORTING = range(3), 100  # seeds that choose the best start rate of each shape; first of the others
_SHAPES: dict[str, Callable[[float], schedules.Schedule]] = {
    "constant": schedules.Constant,
    "linear to 1/100": lambda rate: schedules.Linear(rate, rate / 100, _STEPS),
    "exponential to 1/10": lambda rate: _exponential(rate, 10),
    "exponential to 1/100": lambda rate: _exponential(rate, 100),
    "exponential to 1/1000": lambda rate: _exponential(rate, 1000),
}


def _exponential(rate: float, times: float) -> schedules.Schedule:
    return schedules.Exponential(rate, np.log(times) / _STEPS)


@cache
def _parts() -> list[mn.data.Data]:
    x, y = mn.datasets.digits()
    return list(mn.data.split((x.reshape(len(x), -1), y), (0.4, 0.2, 0.4), seed=0))


def _loss(shape: str, rate: float, seed: int) -> float:
    """Loss on held-out digits: of tuning for seeds of tuning, else of the test part."""
    train, tuning, test = _parts()
    net = mn.Net([mn.Dense(64), mn.ReLU(), mn.Dense(10)], 64, mn.SoftmaxCrossEntropy(), seed=seed)
    given = {"rule": mn.Momentum(0.9), "lr": _SHAPES[shape](rate), "batch_size": 50, "steps": _STEPS, "seed": seed}
    try:
        mn.fit(net, train, **given, progress=False)
    except mn.DivergenceError:
        return float(np.log(10))  # as if it knew nothing
    return net.evaluate(*(tuning if seed in _TUNING else test))["loss"]


def _losses_of(shape: str, seeds: int) -> Result:
    """Return test losses (rates, seeds), and the index of the start rate that the tuning seeds choose."""
    tuned = int(np.argmin([np.mean([_loss(shape, rate, seed) for seed in _TUNING]) for rate in _RATES]))
    reporting = range(_REPORTING, _REPORTING + seeds)
    return {"test": np.array([[_loss(shape, rate, seed) for seed in reporting] for rate in _RATES]), "tuned": tuned}


def _shapes(effort: Effort) -> list[Part]:
    return [Part(_losses_of, (shape, effort.repeats(6, 24))) for shape in _SHAPES]


def _at_tuned(found: Result) -> np.ndarray:
    return found["test"][found["tuned"]]


def _draw(path: Path, found: dict[str, Result]) -> None:
    curves = {shape: (list(_RATES), result["test"].T) for shape, result in found.items()}
    title = f"Digits, {next(iter(found.values()))['test'].shape[1]} seeds"
    plots.comparison(path, {title: curves}, xlabel="start rate", ylabel="test loss", log_x=True, log_y=True)


@claim(
    "D3",
    "exponential decay against linear decay",
    "Exponential decay of the rate is better than linear decay.",
    DECAY,
    parts=_shapes,
)
def exponential_and_linear(out: Path, effort: Effort, *results: Result) -> Row:
    found = dict(zip(_SHAPES, results, strict=True))
    linear, exponential = found["linear to 1/100"], found["exponential to 1/100"]
    _draw(out / "d3_decay.png", {s: found[s] for s in ("constant", "linear to 1/100", "exponential to 1/100")})
    pairs = zip(_RATES, linear["test"], exponential["test"], strict=True)
    equal = [f"{rate:g}: {difference(one, other)[0]}" for rate, one, other in pairs]
    best, better = difference(_at_tuned(linear), _at_tuned(exponential))
    rates = f"{_RATES[linear['tuned']]:g} and {_RATES[exponential['tuned']]:g}"
    return Row(
        "exponential is better (one run each, at different start rates)",
        f"linear minus exponential, at their best start rates: {best}",
        verdict(better),
        f"Test loss. Both fall to a hundredth; tuned start rates {rates}, {linear['test'].shape[1]} seeds. At equal "
        f"start rates: {'; '.join(equal)}.",
        [
            Figure(
                "d3_decay.png",
                "Which decay has the lower loss depends on the start rate: at its best start rate each is as good.",
            )
        ],
    )


@claim(
    "D4",
    "a hundred times lower at the end",
    "Choose the decay so that the rate at the end of training is at least 100 times lower.",
    DECAY,
    parts=_shapes,
)
def a_hundred_times_lower(out: Path, effort: Effort, *results: Result) -> Row:
    found = dict(zip(_SHAPES, results, strict=True))
    hundred = "exponential to 1/100"
    others = ["constant", "exponential to 1/10", "exponential to 1/1000"]
    _draw(out / "d4_end.png", {shape: found[shape] for shape in [*others[:2], hundred, others[2]]})
    apart = {shape: difference(_at_tuned(found[shape]), _at_tuned(found[hundred])) for shape in others}
    rates = ", ".join(f"{shape} {_RATES[found[shape]['tuned']]:g}" for shape in (hundred, *others))
    constant = found["constant"]
    same_start = difference(_at_tuned(constant), found[hundred]["test"][constant["tuned"]])[0]
    return Row(
        "none",
        f"constant rate minus a hundredth, at their best start rates: {apart['constant'][0]}",
        verdict(apart["constant"][1]),
        f"Test loss. Tuned start rates: {rates}; {constant['test'].shape[1]} seeds. Minus that of {hundred}: "
        + "; ".join(f"{shape} {text}" for shape, (text, _) in apart.items())
        + f". At the start rate of the constant one, constant minus {hundred}: {same_start}.",
        [Figure("d4_end.png", "Each line is one end of the decay: a tenth is enough here, a thousandth is too much.")],
    )
