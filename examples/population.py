"""Population based training against random search at equal steps, on the 8x8 digits (Jaderberg et al. 2017).

    python examples/population.py            12 searches of each kind; the figure into examples/out/
    python examples/population.py --searches 3

Each search has 8 runs of 10 generations of 30 steps, of a network of 64 units with Momentum. Learning rate, weight
decay and momentum are searched. Random search takes the best of 8 runs with constant values from the same space, so its
steps are as many. The winner of each search is then trained again, with its schedules or values, on 5 fresh seeds, and
measured on data that selected nothing. Intervals are of the mean over searches (percentile bootstrap, 95 %).
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import minnet as mn
from minnet.experiments import Config, Log, Population, PopulationResult, Space, Uniform, pbt

SPACE = Space(lr=Log(1e-3, 1.0), decay=Log(1e-5, 0.1), momentum=Uniform(0.5, 0.99))
SETTINGS = Population(size=8, generations=10, steps=30)
STEPS = SETTINGS.generations * SETTINGS.steps
X, Y = mn.datasets.digits()
TRAIN, SELECTION, TEST = mn.data.split((X.reshape(len(X), -1), Y), (0.4, 0.2, 0.4), seed=0)


def trainer(values: Any, seed: int) -> mn.Trainer:
    """Make a run; the values are numbers or schedules by name."""
    net = mn.Net([mn.Dense(64), mn.ReLU(), mn.Dense(10)], 64, mn.SoftmaxCrossEntropy(), seed=seed)
    rule, rates = mn.Momentum(values["momentum"]), {"lr": values["lr"], "weight_decay": values["decay"]}
    return mn.Trainer(net, TRAIN, rule=rule, **rates, batch_size=50, steps=STEPS, validation=SELECTION, seed=seed)


def build(config: Config, seed: int) -> mn.Trainer:
    """Make the run of a member."""
    return trainer(config, seed)


def best_at_random(seed: int) -> tuple[Any, float]:
    """Return the configuration with the least selection loss of 8 drawn at random, and this loss."""
    once = Population(size=SETTINGS.size, generations=1, steps=STEPS, seed=seed)
    found = pbt(build, SPACE, once, progress=False)
    return found.best.config, found.winner.selection_score


def on_fresh_seeds(values: Any) -> float:
    """Return the mean test loss over 5 fresh seeds; a run that diverges counts as one that knows nothing."""
    losses = []
    for seed in range(1000, 1005):
        run = trainer(values, seed)
        try:
            run.run(progress=False)
            losses.append(run.net.evaluate(*TEST)["loss"])
        except mn.DivergenceError:
            losses.append(np.log(10))
    return float(np.mean(losses))


def interval(values: np.ndarray) -> str:
    """Return the mean with the interval of the percentile bootstrap over searches."""
    drawn = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{values.mean():.4f} ({low:.4f} to {high:.4f})"


def compare(seeds: range) -> tuple[dict[str, np.ndarray], PopulationResult]:
    """Return losses by kind of search, each of shape (seeds,), and the population that selected the least loss."""
    table: dict[str, list[float]] = {name: [] for name in ("pbt selected", "random selected", "pbt", "random")}
    populations = []
    for seed in seeds:
        settings = Population(size=SETTINGS.size, generations=SETTINGS.generations, steps=SETTINGS.steps, seed=seed)
        found = pbt(build, SPACE, settings, progress=False)
        config, score = best_at_random(12 + seed)  # other draws than those of the first populations
        row = (found.winner.selection_score, score, on_fresh_seeds(found.winner.schedules), on_fresh_seeds(config))
        for column, value in zip(table.values(), row, strict=True):
            column.append(value)
        populations.append(found)
    least = min(populations, key=lambda found: found.winner.selection_score)
    return {name: np.array(column) for name, column in table.items()}, least


def main() -> None:
    """Compare, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out")
    given = parser.parse_args()
    losses, least = compare(range(given.searches))
    print(f"searches: {given.searches} of each kind, of {SETTINGS.size} runs of {STEPS} steps; losses, 95 % intervals")
    print(f"  selected, which flatters:       PBT {interval(losses['pbt selected'])}")
    print(f"                               random {interval(losses['random selected'])}")
    print(f"  test data, 5 fresh seeds:       PBT {interval(losses['pbt'])}")
    print(f"                               random {interval(losses['random'])}")
    print(f"  difference, PBT less random:        {interval(losses['pbt'] - losses['random'])}")
    print(least)
    given.out.mkdir(parents=True, exist_ok=True)
    least.plot(given.out / "population.png")
    print(f"figure: {given.out / 'population.png'}")


if __name__ == "__main__":
    main()
