"""Ensembles and averages of weights on CIFAR-10: N24, N25 and L6 at equal compute, over several seeds.

MINNET_DATA=folder python examples/ensembles.py                 folder/cifar10 holds the binary version's files
MINNET_DATA=folder python examples/ensembles.py --seeds 5 --epochs 12

A small convolutional network with batch norm. Of the 50,000 training images 40,000 train, 5,000 choose (the trials of
the search, weights of members), 5,000 test. Every way of making an ensemble may spend as many training steps as the
one long run, but for one: greedy selection picks from the members of all the others and is charged with all that they
took. Writes tables (Markdown), their numbers (JSON) and figures to --out.
"""

import argparse
import itertools
import json
import os
import sys
import time
from pathlib import Path

from claims.ensembles import (
    Study,
    Task,
    all_of,
    average,
    correlation_of_gain,
    draw_gain,
    sets_table,
    study,
)
from tqdm import tqdm

import minnet as mn
from minnet import plots, schedules
from minnet.storage.files import write_whole

BATCH, RATE = 128, 0.02


def block(filters: int) -> list[mn.Layer]:
    return [mn.Conv2D(filters, 3, bias=False), mn.BatchNorm(), mn.ReLU(), mn.MaxPool2D(2)]


def cifar10(folder: Path, epochs: int, members: int) -> Task:
    (x, y), _ = mn.datasets.cifar10(folder)
    ends = (0, 8 * len(x) // 10, 9 * len(x) // 10, len(x))
    standardize = mn.data.Standardizer.fit(x[: ends[1]], per="channel")
    train, val, test = ((standardize(x[a:b]), y[a:b]) for a, b in itertools.pairwise(ends))
    return Task(
        [*block(16), *block(32), *block(64), mn.Flatten(), mn.Dense(10)],
        (32, 32, 3),
        train,
        val,
        test,
        batch=BATCH,
        rate=RATE,
        steps=epochs * -(-ends[1] // BATCH),
        members=members,
    )


def draw_accuracies(path: Path, panels: dict[str, mn.Comparison]) -> None:
    """Accuracy of every entry with its 95 % interval, best at the top."""
    most = max(len(comparison.names) for comparison in panels.values())
    drawn, axes = plots.figure(len(panels), width=5.6, height=0.6 + 0.3 * most)
    for axis, (title, comparison) in zip(axes, panels.items(), strict=True):
        names = sorted(comparison.names, key=lambda name: comparison.value(name, "accuracy"))
        for place, name in enumerate(names):
            value, (low, high) = comparison.value(name, "accuracy"), comparison.interval(name, "accuracy")
            colour = plots.COLOURS[1 if name == comparison.names[0] else 0]
            axis.plot([100 * low, 100 * high], [place, place], color=colour)
            axis.plot(100 * value, place, "o", color=colour, markersize=4)
        axis.set(title=title, xlabel="test accuracy (%), 95 % over seeds and images", yticks=range(len(names)))
        axis.set_yticklabels(names)
    plots.save(drawn, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="repetitions, each with all of its runs")
    parser.add_argument("--epochs", type=int, default=6, help="of the one long run, and so of each way in all")
    parser.add_argument("--members", type=int, default=3, help="members of an ensemble")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for tables and figures")
    arguments = parser.parse_args()
    folder = os.environ.get("MINNET_DATA")
    if folder is None:
        sys.exit("ensembles.py: expected MINNET_DATA to name a folder with cifar10/ in it; it is not set")
    arguments.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    task = cifar10(Path(folder) / "cifar10", arguments.epochs, arguments.members)
    studies: list[Study] = []
    kinds = {
        "constant rate": schedules.Constant(RATE),
        "cosine": schedules.Cosine(RATE, task.steps),
    }
    averaged: dict[str, list[mn.Comparison]] = {kind: [] for kind in kinds}
    with tqdm(total=arguments.seeds * 3, unit="study") as bar:
        for seed in range(arguments.seeds):
            bar.set_postfix_str(f"seed {seed}, ensembles")
            studies.append(study(task, seed))
            bar.update()
            for kind, lr in kinds.items():
                bar.set_postfix_str(f"seed {seed}, averages at {kind}")
                averaged[kind].append(average(task, seed, lr))
                bar.update()
    whole = {"N24, L6: ensembles at equal compute": all_of(studies)}
    whole |= {f"N25: averages of weights, {kind}": mn.Comparison.over_seeds(runs) for kind, runs in averaged.items()}
    middle, low, high = correlation_of_gain(studies)
    report = [f"## {title}\n\n{comparison}\n" for title, comparison in whole.items()]
    report.insert(
        1,
        f"{sets_table(studies)}\n\nCorrelation of gain and disagreement over all sets and seeds: {middle:.2f} "
        f"({low:.2f} to {high:.2f}).\n",
    )
    text = "\n".join(report)
    print(text)
    write_whole(arguments.out / "ensembles.md", text)
    numbers = {
        "arguments": {"seeds": arguments.seeds, "epochs": arguments.epochs, "members": arguments.members},
        "seconds": time.perf_counter() - start,
        "tables": {title: comparison.rows() for title, comparison in whole.items()},
        "sets": [{"members alone": s.alone, "disagreement": s.apart, "gain": s.gain} for s in studies],
        "correlation of gain and disagreement": (middle, low, high),
    }
    write_whole(arguments.out / "ensembles.json", json.dumps(numbers, indent=1))
    draw_accuracies(arguments.out / "ensembles.png", whole)
    draw_gain(arguments.out / "ensembles_gain.png", studies, "CIFAR-10: ensembles of equal compute")
    print(f"{time.perf_counter() - start:.0f} s; tables, numbers and figures in {arguments.out}")


if __name__ == "__main__":
    main()
