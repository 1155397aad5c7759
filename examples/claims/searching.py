"""N23: search at random and on log scales, coarse to fine, and mind the edge of a range."""

from functools import cache
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots
from minnet.experiments import Config, Grid, Log, Random, Space, Study

from .base import Row, claim, difference, flat_digits, mlp, verdict

STEPS, SEARCHES = 60, 6
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


def best_of(space: Space, seed: int, kind: str) -> tuple[float, list[str]]:
    """Best validation loss of 27 trials, and the parameters whose edge is warned of."""
    with Study(None, space, build, "val_loss", seed=seed) as study:
        if kind == "grid":
            study.run(Grid(3), progress=False)
        elif kind == "random":
            study.run(Random(27), progress=False)
        else:
            study.run(Random(27 - FINE), progress=False)
            study.run(Random(FINE, within=study.narrowed(top=4)), progress=False)
        edges = [f"{edge.name} {edge.side}" for edge in study.report().edges]
        return study.best()[0].outcome.result["figure"], edges


@claim("N23", "search at random on log scales, not on a grid; coarse to fine; mind a best value at the edge")
def searches(out: Path) -> Row:
    kinds = ("grid", "random", "coarse to fine")
    found = {kind: [best_of(SPACE, seed, kind) for seed in range(SEARCHES)] for kind in kinds}
    best = {kind: np.array([figure for figure, _ in runs]) for kind, runs in found.items()}
    at_random, ahead = difference(best["grid"], best["random"], 3)
    fine, _ = difference(best["random"], best["coarse to fine"], 3)
    warned = [edges for _, edges in (best_of(TOO_LOW, seed, "random") for seed in range(SEARCHES))]
    right = sum("lr upper" in edges for edges in warned)
    false = sum(bool(edges) for _, edges in found["random"])
    x = np.arange(SEARCHES)
    lines = {kind: (x, values[None]) for kind, values in best.items()}
    labels = {"xlabel": "search", "ylabel": "best validation loss of 27"}
    plots.comparison(out / "n23_searches.png", {"best of 27 trials, one parameter matters": lines}, **labels)
    return Row(
        "random search on log scales",
        f"27 trials, the rate matters and two parameters do not; best validation loss, median of {SEARCHES} searches: "
        f"grid {np.median(best['grid']):.3f}, random {np.median(best['random']):.3f}, coarse to fine "
        f"{np.median(best['coarse to fine']):.3f}; grid minus random {at_random}; random minus coarse to fine {fine}; "
        f"the edge warning came in {right} of {SEARCHES} searches with rates of 1e-4 to 1e-2, which are too low, and "
        f"in {false} of {SEARCHES} with the optimum inside",
        verdict(ahead and right > SEARCHES / 2),
        ["n23_searches.png"],
    )
