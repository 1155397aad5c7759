"""The measured power of the gradient check: what each mode catches, at which cost, and how often it cries wolf.

    python bench/gradcheck.py                          mistakes of bench/mistakes.py, right layers and nets, 25 seeds
    python bench/gradcheck.py --seeds 2                less of it
    python bench/gradcheck.py --page GRADCHECK.md      and put the tables between the marks of that page

Every mistake is checked with several seeds in every mode: it counts as caught if no seed lets it pass. False alarms are
counted on the right layers, and on nets with kinks, noise, penalties and blank borders, each seed with other weights
and data. Costs are medians over the checks of right layers. Tables are printed and written to bench/out/gradcheck.json.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mistakes import MISTAKES
from tqdm import tqdm

import minnet as mn
from minnet.files import write_whole

OUT = Path(__file__).parent / "out"
MODES: dict[str, dict[str, Any]] = {
    "all coordinates": {"mode": "all"},
    "all, Richardson": {"mode": "all", "method": "richardson"},
    "sample, 4 a tensor": {"mode": "sample", "samples": 4},
    "3 directions": {"mode": "directions", "directions": 3},
    "1 direction": {"mode": "directions", "directions": 1},
}
Check = Callable[..., mn.GradientCheck]


def bordered(rng: np.random.Generator, n: int) -> np.ndarray:
    """Images 6 x 6 whose border is 0, as that of MNIST."""
    x = np.zeros((n, 6, 6, 1))
    x[:, 2:4, 2:4] = rng.uniform(0, 1, (n, 2, 2, 1))
    return x


def net_of(kind: str, seed: int) -> tuple[mn.Net, np.ndarray, np.ndarray]:
    """A right net, and data for it."""
    rng = np.random.default_rng((seed, 3))
    options: dict[str, Any] = {"dtype": np.float64, "seed": seed}
    if kind == "pools over blank borders":
        layers = [mn.Conv2D(3, 3), mn.ReLU(), mn.MaxPool2D(2), mn.Flatten(), mn.Dense(3)]
        return mn.Net(layers, (6, 6, 1), mn.SoftmaxCrossEntropy(), **options), bordered(rng, 2), rng.integers(0, 3, 2)
    if kind == "SVM with maxout and L1":
        layers = [mn.Dense(8), mn.Maxout(2), mn.Dense(3)]
        net = mn.Net(layers, 5, mn.MulticlassHinge(), l2=0.01, l1=0.001, **options)
        return net, rng.standard_normal((4, 5)), rng.integers(0, 3, 4)
    layers = [
        mn.Dense(6),
        mn.BatchNorm(),
        mn.ReLU(),
        mn.Dropout(0.3),
        mn.Residual([mn.Dense(6), mn.ReLU()]),
        mn.Dense(2),
    ]
    net = mn.Net(layers, 4, mn.Huber(0.5), l2=0.1, **options)
    return net, rng.standard_normal((5, 4)), rng.standard_normal((5, 2))


NETS = ("pools over blank borders", "SVM with maxout and L1", "batch norm, dropout, residual")


def right_checks(seeds: int) -> Iterator[tuple[str, Check]]:
    """Checks of what is right: every layer that has a mistake, in both kinds of pass, and the nets."""
    rows = {(repr(m.right), m.shape): m for m in MISTAKES}.values()
    for seed in range(seeds):
        for row in rows:
            for training in (True, False):
                what = f"{row.right}, {row.shape}, seed {seed}, training {training}"
                yield what, partial(mn.check_layer, row.right, row.shape, seed=seed, training=training)
        for kind in NETS:
            yield f"net: {kind}, seed {seed}", partial(mn.check_net, *net_of(kind, seed), seed=seed)


def measure(seeds: int) -> dict[str, Any]:
    """What each mode catches, costs, and wrongly reports."""
    caught: dict[str, dict[str, str]] = {}
    for mistake in tqdm(MISTAKES, desc="mistakes", disable=None):
        caught[mistake.name] = {}
        for name, how in MODES.items():
            tries = [mn.check_layer(mistake.layer, mistake.shape, seed=seed, **how) for seed in range(min(seeds, 5))]
            caught[mistake.name][name] = "missed" if any(t.passed for t in tries) else tries[0].verdict
    costs: dict[str, list[tuple[int, float]]] = {name: [] for name in MODES}
    alarms: dict[str, list[str]] = {name: [] for name in MODES}
    for what, check in tqdm(list(right_checks(seeds)), desc="right layers and nets", disable=None):
        for name, how in MODES.items():
            start = time.perf_counter()
            result = check(**how)
            costs[name].append((result.evaluations, 1e3 * (time.perf_counter() - start)))
            if not result.passed:
                alarms[name].append(f"{what}: {result.worst}")
    return {"seeds": seeds, "caught": caught, "costs": costs, "alarms": alarms}


def tables(found: dict[str, Any]) -> str:
    """The two tables as Markdown."""
    caught, lines = found["caught"], []
    lines += [
        "| mode | mistakes caught | evaluations | ms | false alarms | at most (95 %) |",
        "|---|---|---|---|---|---|",
    ]
    for name in MODES:
        evaluations, times = zip(*found["costs"][name], strict=True)
        hits, n, bad = sum(row[name] != "missed" for row in caught.values()), len(times), len(found["alarms"][name])
        # With none in n, 1 - 0.05^(1/n) is the rate that would show one 95 times out of 100.
        bound = f"{1 - 0.05 ** (1 / n):.1e}" if bad == 0 else "-"
        lines.append(
            f"| {name} | {hits} of {len(caught)} | {statistics.median(evaluations):.0f} | "
            f"{statistics.median(times):.2f} | {bad} of {n} | {bound} |"
        )
    lines += ["", "| mistake | " + " | ".join(MODES) + " |", "|---" * (1 + len(MODES)) + "|"]
    lines += [f"| {mistake} | " + " | ".join(row[name] for name in MODES) + " |" for mistake, row in caught.items()]
    return "\n".join(lines) + "\n"


def put_into(page: Path, text: str) -> None:
    """Replace what stands between the page's marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition("<!-- power: begin -->\n")
    _, _, after = rest.partition("<!-- power: end -->")
    if not after:
        raise ValueError(f"{page}: expected the marks <!-- power: begin --> and <!-- power: end -->")
    write_whole(page, f"{before}<!-- power: begin -->\n{text}<!-- power: end -->{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=25, help="of weights and data, for each right layer and net")
    parser.add_argument("--page", type=Path, help="a page to put the tables into")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of gradcheck.json")
    arguments = parser.parse_args()
    found = measure(arguments.seeds)
    text = tables(found)
    print(text)
    for name, alarms in found["alarms"].items():
        for alarm in alarms:
            print(f"false alarm, {name}: {alarm}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out / "gradcheck.json", json.dumps(found, indent=1))
    if arguments.page is not None:
        put_into(arguments.page, text)


if __name__ == "__main__":
    main()
