"""D3, D4: shapes of decay compared with everything else held fixed: start rates, seeds, data, steps."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots, schedules

from .base import DECAY, Row, claim, difference, verdict

_STEPS = 300
_RATES = (0.032, 0.1, 0.32, 1.0)  # start rates
_TUNING, _REPORTING = range(3), range(100, 112)  # seeds; the best start rate of each shape is chosen by the first
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


@cache
def _losses() -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return test losses (rates, seeds) by shape, and the index of the start rate that the tuning seeds choose."""
    tuned = {s: int(np.argmin([np.mean([_loss(s, r, seed) for seed in _TUNING]) for r in _RATES])) for s in _SHAPES}
    return {s: np.array([[_loss(s, r, seed) for seed in _REPORTING] for r in _RATES]) for s in _SHAPES}, tuned


def _at_tuned(shape: str) -> np.ndarray:
    losses, tuned = _losses()
    return losses[shape][tuned[shape]]


def _draw(path: Path, shapes: list[str]) -> None:
    losses, _ = _losses()
    curves = {shape: (list(_RATES), losses[shape].T) for shape in shapes}
    title = f"Digits, {len(_REPORTING)} seeds"
    plots.comparison(path, {title: curves}, xlabel="start rate", ylabel="test loss", log_x=True, log_y=True)


@claim("D3", "exponential decay is better than linear decay", DECAY)
def exponential_and_linear(out: Path) -> Row:
    linear, exponential = "linear to 1/100", "exponential to 1/100"
    losses, tuned = _losses()
    _draw(out / "d3_decay.png", ["constant", linear, exponential])
    equal = [f"{rate:g}: {difference(losses[linear][i], losses[exponential][i])[0]}" for i, rate in enumerate(_RATES)]
    best, better = difference(_at_tuned(linear), _at_tuned(exponential))
    rates = ", ".join(f"{shape} {_RATES[tuned[shape]]:g}" for shape in (linear, exponential))
    return Row(
        "exponential is better (one run each, at different start rates)",
        f"test loss of linear minus exponential, both to a hundredth, {len(_REPORTING)} seeds; each at its tuned start "
        f"rate ({rates}): {best}; at equal start rates: {'; '.join(equal)}",
        verdict(better),
        ["d3_decay.png"],
    )


@claim("D4", "end the training with a rate at least 100 times lower", DECAY)
def a_hundred_times_lower(out: Path) -> Row:
    hundred = "exponential to 1/100"
    others = ["constant", "exponential to 1/10", "exponential to 1/1000"]
    losses, tuned = _losses()
    _draw(out / "d4_end.png", [*others[:2], hundred, others[2]])
    found = {shape: difference(_at_tuned(shape), _at_tuned(hundred)) for shape in others}
    rates = ", ".join(f"{shape} {_RATES[tuned[shape]]:g}" for shape in (hundred, *others))
    same_start = difference(losses["constant"][tuned["constant"]], losses[hundred][tuned["constant"]])[0]
    return Row(
        "none",
        f"test loss, each at its tuned start rate ({rates}), {len(_REPORTING)} seeds; minus that of {hundred}: "
        f"{'; '.join(f'{shape} {text}' for shape, (text, _) in found.items())}; at the start rate of the constant one, "
        f"constant minus {hundred}: {same_start}",
        verdict(found["constant"][1]),
        ["d4_end.png"],
    )
