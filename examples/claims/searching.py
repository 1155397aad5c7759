"""N23: search at random and on log scales, coarse to fine, and mind the edge of a range."""

from functools import cache
from pathlib import Path

import numpy as np
import population

import minnet as mn
from minnet import plots
from minnet.experiments import Config, Grid, Log, Random, Space, Study

from .base import CHOOSING, Effort, Figure, Part, Result, Row, claim, difference, flat_digits, mlp, verdict

STEPS = 60
# The rate matters. The other two do nothing that is seen in so few steps.
SPACE = Space(lr=Log(1e-4, 10.0), l2=Log(1e-9, 1e-5), l1=Log(1e-9, 1e-5))
TOO_LOW = Space(lr=Log(1e-4, 1e-2), l2=Log(1e-9, 1e-5), l1=Log(1e-9, 1e-5))
FINE = 9  # trials of 27 that are left for the second, narrow search


@cache
def data() -> tuple[mn.data.Data, ...]:
    return tuple(mn.data.split(flat_digits(), (2 / 3, 1 / 3), seed=0))


def build(config: Config, seed: int) -> mn.Trainer:
    train, val = data()
    net = mn.Net(mlp(30), 64, mn.SoftmaxCrossEntropy(), l2=config.l2, l1=config.l1, seed=seed)
    options = {"batch_size": 50, "steps": STEPS, "validation": val, "seed": seed}
    return mn.Trainer(net, train, rule=mn.Momentum(0.9), lr=config.lr, **options)


KINDS = ("grid", "random", "coarse to fine", "too low")  # the last is random search in a range that is too low


def best_of(kind: str, seed: int) -> Result:
    """Best validation loss of 27 trials, and the parameters whose edge is warned of."""
    with Study(None, TOO_LOW if kind == "too low" else SPACE, build, "val_loss", seed=seed) as study:
        if kind == "grid":
            study.run(Grid(3), progress=False)
        elif kind == "coarse to fine":
            study.run(Random(27 - FINE), progress=False)
            study.run(Random(FINE, within=study.narrowed(top=4)), progress=False)
        else:
            study.run(Random(27), progress=False)
        edges = [f"{edge.name} {edge.side}" for edge in study.report().edges]
        return {"figure": study.best()[0].outcome.result["figure"], "edges": edges}


@claim(
    "N23",
    "search at random, coarse to fine",
    "Search at random on log scales, not on a grid: a grid wastes its trials if some parameters hardly matter. Go from "
    "coarse to fine, and beware of a best value at the edge of its range.",
    parts=lambda effort: [Part(best_of, (kind, seed)) for seed in range(effort.repeats(5, 15)) for kind in KINDS],
)
def searches(out: Path, effort: Effort, *results: Result) -> Row:
    found = {kind: results[i :: len(KINDS)] for i, kind in enumerate(KINDS)}
    best = {kind: np.array([run["figure"] for run in found[kind]]) for kind in KINDS[:3]}
    repeats = len(found["grid"])
    at_random, ahead = difference(best["grid"], best["random"], 3)
    fine, _ = difference(best["random"], best["coarse to fine"], 3)
    right = sum("lr upper" in run["edges"] for run in found["too low"])
    false = sum(bool(run["edges"]) for run in found["random"])
    x = np.arange(repeats)
    lines = {kind: (x, values[None]) for kind, values in best.items()}
    labels = {"xlabel": "search", "ylabel": "best validation loss of 27"}
    plots.comparison(out / "n23_searches.png", {"best of 27 trials, one parameter matters": lines}, **labels)
    return Row(
        "random search on log scales",
        f"best loss, grid minus random {at_random}; edge warning {right} of {repeats}, false {false}",
        verdict(ahead and right > repeats / 2),
        f"27 trials; the rate matters and two parameters do not. Best validation loss, median of {repeats} searches: "
        + ", ".join(f"{kind} {np.median(values):.3f}" for kind, values in best.items())
        + f"; random minus coarse to fine {fine}. The warning of the edge should come with rates of 1e-4 to 1e-2, "
        "which are too low, and not with the best rate inside.",
        [
            Figure(
                "n23_searches.png", "Three rates of a grid are too few; 27 at random find a good one in every search."
            )
        ],
    )


def both_searches(seed: int) -> Result:
    """Test loss on fresh seeds of the winner of a population, and of the best of a random search of as many steps."""
    losses, _ = population.compare(range(seed, seed + 1))
    return {name: float(values[0]) for name, values in losses.items()}


@claim(
    "B6",
    "population based training",
    "Population based training finds better values and a schedule at no more cost: workers train side by side, and "
    "poor ones copy better ones and perturb their hyper-parameters.",
    CHOOSING,
    parts=lambda effort: [Part(both_searches, (seed,)) for seed in range(effort.repeats(4, 12))],
)
def populations(out: Path, effort: Effort, *found: Result) -> Row:
    losses = {name: np.array([run[name] for run in found]) for name in found[0]}
    words, better = difference(losses["random"], losses["pbt"])
    selected, _ = difference(losses["random selected"], losses["pbt selected"])
    return Row(
        "none",
        f"test loss, random search minus population, equal steps: {words}",
        verdict(better),
        f"Digits, {len(found)} searches of each kind, each of {population.SETTINGS.size} runs of {population.STEPS} "
        "steps; the winner's schedule or values are trained again on 5 fresh seeds. On the data that selected, which "
        f"flatters, the difference is {selected}. examples/population.py draws the schedule that was found.",
    )
