"""The measured power of the gradient check: what each mode catches, at which cost, and how often it cries wolf.

    python bench/gradcheck.py                            mistakes of bench/mistakes.py, right layers and nets, 40 seeds
    python bench/gradcheck.py --seeds 2                  less of it
    python bench/gradcheck.py --page docs/gradcheck.md   put the tables between the marks of that page
    python bench/gradcheck.py --families 1430            random functions that are hard on a check, so many of each kind

Every mistake is checked with several seeds in every mode: it counts as caught if no seed lets it pass, and the
verdict is "wrong" or "suspicious". False alarms are such verdicts on the right layers, and on nets with kinks, noise,
penalties and blank borders, each seed with other weights and data; "not judged" are their other verdicts that do not
pass. Plain NumPy code (bench/plain.py) is checked in the same modes, with more seeds. 40 seeds are as many checks a
mode as it takes for none to mean below 1 in 1000 at 95 %. Costs are medians over the checks of right layers. Tables
are printed and written to bench/out/gradcheck.json.

--families goes through bench/families.py instead, with a table of its own: right gradients of every function, and wrong
ones of each fourth. "Not judged" are the verdicts kink, round-off and truncation.
"""

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from families import FAMILIES
from mistakes import MISTAKES
from plain import CASES
from tqdm import tqdm

import minnet as mn
from minnet.storage.files import write_whole

OUT = Path(__file__).parent / "out"
MODES: dict[str, dict[str, Any]] = {
    "all coordinates": {"mode": "all"},
    "all, Richardson": {"mode": "all", "method": "richardson"},
    "all, h = 1e-5": {"mode": "all", "h": 1e-5},
    "all, float32": {"mode": "all", "dtype": np.float32},
    "sample, 16 a tensor": {"mode": "sample"},
    "sample, 4 a tensor": {"mode": "sample", "samples": 4},
    "3 directions": {"mode": "directions", "directions": 3},
    "1 direction": {"mode": "directions", "directions": 1},
}
PLAIN: dict[str, dict[str, Any]] = {
    "NumPy, all coordinates": {"mode": "all"},
    "NumPy, sample of 16": {"mode": "sample"},
    "NumPy, 3 directions": {"mode": "directions"},
}
PLAIN_SEEDS = 17  # for each seed of layers, as there are fewer cases
FOUND = ("wrong", "suspicious")
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
            caught[mistake.name][name] = _worst_of(tries)
    for case, plain in CASES.items():
        caught[case] = {n: _worst_of([plain(s, True, **how) for s in range(min(seeds, 5))]) for n, how in PLAIN.items()}
    modes = [*MODES, *PLAIN]
    costs: dict[str, list[tuple[int, float]]] = {name: [] for name in modes}
    alarms: dict[str, list[str]] = {name: [] for name in modes}
    blunt: dict[str, int] = dict.fromkeys(modes, 0)

    def count(what: str, check: Check, name: str, how: dict[str, Any]) -> None:
        start = time.perf_counter()
        result = check(**how)
        costs[name].append((result.evaluations, 1e3 * (time.perf_counter() - start)))
        if result.verdict in FOUND:
            alarms[name].append(f"{what}: {result.worst}")
        elif not result.passed:
            blunt[name] += 1

    for what, check in tqdm(list(right_checks(seeds)), desc="right layers and nets", disable=None):
        for name, how in MODES.items():
            count(what, check, name, how)
    for seed in tqdm(range(PLAIN_SEEDS * seeds), desc="plain NumPy", disable=None):
        for case, plain in CASES.items():
            for name, how in PLAIN.items():
                count(f"{case}, seed {seed}", partial(plain, seed, False), name, how)
    return {"seeds": seeds, "caught": caught, "costs": costs, "alarms": alarms, "blunt": blunt}


def _worst_of(tries: list[mn.GradientCheck]) -> str:
    """What a table says: "missed" if one passes, else a verdict that tells no mistake, if any, else the first."""
    if any(t.passed for t in tries):
        return "missed"
    return next((t.verdict for t in tries if t.verdict not in FOUND), tries[0].verdict)


def tables(found: dict[str, Any]) -> str:
    """The two tables as Markdown."""
    caught, lines = found["caught"], []
    lines += [
        "| mode | mistakes caught | evaluations | ms | not judged | false alarms | at most (95 %) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in [*MODES, *PLAIN]:
        evaluations, times = zip(*found["costs"][name], strict=True)
        rows = [row[name] for row in caught.values() if name in row]
        hits, n, bad = sum(verdict in FOUND for verdict in rows), len(times), len(found["alarms"][name])
        # With none in n, 1 - 0.05^(1/n) is the rate that would show one 95 times out of 100.
        bound = f"{1 - 0.05 ** (1 / n):.1e}" if bad == 0 else "-"
        lines.append(
            f"| {name} | {hits} of {len(rows)} | {statistics.median(evaluations):.0f} | "
            f"{statistics.median(times):.2f} | {found['blunt'][name]} | {bad} of {n} | {bound} |"
        )
    for modes in (MODES, PLAIN):
        lines += ["", "| mistake | " + " | ".join(modes) + " |", "|---" * (1 + len(modes)) + "|"]
        rows = {mistake: row for mistake, row in caught.items() if set(modes) <= set(row)}
        lines += [f"| {mistake} | " + " | ".join(row[name] for name in modes) + " |" for mistake, row in rows.items()]
    return "\n".join(lines) + "\n"


def measure_families(count: int) -> dict[str, Any]:
    """What the check makes of so many functions of each family: verdicts by family, and those that are mistaken."""
    found: dict[str, Any] = {"count": count, "right": {}, "wrong": {}, "alarms": [], "missed": []}
    for family, make in FAMILIES.items():
        right: Counter[str] = Counter()
        wrong: Counter[str] = Counter()
        for seed in tqdm(range(count), desc=family, disable=None):
            case = make(seed)
            result = case.check(case.right)
            right[result.verdict] += 1
            if result.verdict in FOUND:
                found["alarms"].append(f"{family}, seed {seed}: {result.worst}")
            for name, gradients in case.wrong.items() if seed % 4 == 1 else ():
                result = case.check(gradients)
                wrong[result.verdict] += 1
                if result.passed:
                    found["missed"].append(f"{family}, seed {seed}, {name}: {result.worst}")
        found["right"][family], found["wrong"][family] = dict(right), dict(wrong)
    return found


def family_table(found: dict[str, Any]) -> str:
    """The table of families as Markdown."""
    lines = [
        "| functions | right: correct | not judged | suspicious, wrong | mistakes: found | not judged | missed |",
        "|---|---|---|---|---|---|---|",
    ]
    total: Counter[str] = Counter()
    for family in FAMILIES:
        cells = []
        for kind in ("right", "wrong"):
            verdicts = Counter(found[kind][family])
            named = sum(verdicts[verdict] for verdict in FOUND)
            rest = verdicts.total() - named - verdicts["correct"]
            cells += [verdicts["correct"], rest, named] if kind == "right" else [named, rest, verdicts["correct"]]
        total.update({str(i): cell for i, cell in enumerate(cells)})
        lines.append(f"| {family} | " + " | ".join(map(str, cells)) + " |")
    lines.append("| all | " + " | ".join(str(total[str(i)]) for i in range(6)) + " |")
    return "\n".join(lines) + "\n"


def put_into(page: Path, text: str, mark: str = "power") -> None:
    """Replace what stands between the page's marks."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin + "\n")
    _, _, after = rest.partition(end)
    if not after:
        raise ValueError(f"{page}: expected the marks {begin} and {end}")
    write_whole(page, f"{before}{begin}\n{text}{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40, help="of weights and data, for each right layer and net")
    parser.add_argument("--page", type=Path, help="a page to put the tables into")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of gradcheck.json")
    parser.add_argument("--families", type=int, metavar="N", help="N functions of each hard family, and nothing else")
    arguments = parser.parse_args()
    if arguments.families is not None:
        found = measure_families(arguments.families)
        text, mark, name = family_table(found), "families", "gradcheck_families.json"
        mistaken = [("false alarm", x) for x in found["alarms"]] + [("missed", x) for x in found["missed"]]
    else:
        found = measure(arguments.seeds)
        text, mark, name = tables(found), "power", "gradcheck.json"
        mistaken = [(f"false alarm, {mode}", x) for mode, alarms in found["alarms"].items() for x in alarms]
    print(text)
    for what, where in mistaken:
        print(f"{what}: {where}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out / name, json.dumps(found, indent=1))
    if arguments.page is not None:
        put_into(arguments.page, text, mark)


if __name__ == "__main__":
    main()
