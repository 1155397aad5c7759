"""Time of a training step: minnet beside NumPy, PyTorch and JAX on the same networks, weights and data, in one run.

    python bench/speed.py                      every workload, every peer that is installed
    python bench/speed.py mnist_mlp --peers minnet JAX

A step is forward, loss, backward and update, in float32. Before anything is timed, the losses and gradients of all are
compared. Then rounds alternate between the peers, each in a process of its own with the same number of threads. Prints
medians over the rounds, writes them with every round's time to bench/out/speed.json, and, where every workload ran,
draws bench/figures/speed.png.

"minnet" and all peers are called for each step by Python. "minnet fit" is a step within a run of minnet's Trainer,
which calls compiled code for many steps: batches are gathered and each loss is kept. It is shown beside for small
networks, for which it makes a difference, and does not count in "fastest peer / minnet".
"""

import argparse
import importlib.metadata
import json
import platform
import statistics
import sys
from pathlib import Path

import numpy as np
from machine import limits
from peers import FIT, PEERS, Process, serve
from workloads import WORKLOADS

import minnet as mn
from minnet import plots
from minnet.storage.files import write_whole

OUT = Path(__file__).parent / "out"
FIGURE = Path(__file__).parent / "figures" / "speed.png"
OWN = "minnet", FIT


def disagreement(found: tuple, expected: tuple) -> str | None:
    """Why loss and gradients are not those of the same network; None if they are.

    The bound on gradients has room for the few inputs of a large batch that round-off puts on the other side of a
    ReLU's kink: on ResNet-20 PyTorch's own two layouts differ by 2 %. tests/bench/test_workloads.py compares to
    round-off, away from kinks. A bias in front of a batch norm has gradient 0 but for round-off, hence the norm of the
    whole gradient.
    """
    (loss, gradients), (other_loss, others) = found, expected
    if abs(loss - other_loss) > 1e-5 * abs(other_loss):
        return f"losses {loss} and {other_loss}"
    if gradients.keys() != others.keys():
        return f"gradients of {sorted(gradients.keys() ^ others.keys())} on one side only"
    whole = np.sqrt(sum(np.sum(np.square(g, dtype=np.float64)) for g in others.values()))
    for name, other in others.items():
        difference, norm = np.linalg.norm(gradients[name] - other), np.linalg.norm(other)
        if difference > 0.05 * norm + 1e-5 * whole:
            return f"gradients of {name} that differ by {difference:.1e}, with norm {norm:.1e} of {whole:.1e}"
    return None


def load(processes: dict[str, Process], workload: str) -> dict[str, Process]:
    """The peers for this workload, loaded and compared with PyTorch, or with the first other one without it."""
    chosen = {name: process for name, process in processes.items() if PEERS[name].suits(workload)}
    answers = {name: process.ask("load", workload) for name, process in chosen.items()}
    reference = next((name for name in ("PyTorch", *answers) if name in answers and name not in OWN), None)
    for name, answer in answers.items():
        if reference is not None and (why := disagreement(answer, answers[reference])):
            sys.exit(f"speed.py: {workload}: expected {name} to compute what {reference} does; got {why}")
    return chosen


def alternate(processes: dict[str, Process], rounds: int, seconds: float) -> dict[str, list[float | None]]:
    """Seconds per step of each peer in each round; None where a slow peer, its share of the time used up, sat out."""
    counts = {name: max(1, int(seconds / process.ask("run", 1))) for name, process in processes.items()}
    times: dict[str, list[float | None]] = {name: [] for name in processes}
    left = dict.fromkeys(processes, 3 * rounds * seconds)
    for i in range(rounds):
        for name, process in processes.items():
            if i >= 3 and left[name] <= 0:
                times[name].append(None)
                continue
            each = process.ask("run", counts[name])
            left[name] -= each * (counts[name] + 1)
            times[name].append(each)
    return times


def median(values: list[float | None]) -> float:
    return statistics.median(value for value in values if value is not None)


def ratio(times: list[float | None], base: list[float | None]) -> float:
    """Median over rounds of times / base: the machine's own ups and downs meet both."""
    return median([t / b if t and b else None for t, b in zip(times, base, strict=True)])


def families(names: list[str]) -> dict[str, list[str]]:
    """Peers that differ in the place of the channels only, under their common name."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.split(",")[0], []).append(name)
    return found


def row(workload: str, times: dict[str, list[float | None]], peak: float) -> dict:
    """Of the table, as numbers: times in seconds."""
    medians = {name: median(values) for name, values in times.items()}
    others = [name for name in medians if name not in OWN]
    rate = 2e-9 * WORKLOADS[workload].multiply_adds() / medians["minnet"]
    best = min(others, key=medians.__getitem__, default=None)
    return {
        "medians": medians,
        "ratios": {name: ratio(times[name], times["minnet"]) for name in others},
        "by hand / fit": ratio(times["minnet"], times[FIT]) if FIT in times else None,
        "fastest peer": best,
        "GFLOP/s": rate,
        "share of peak": rate / peak,
        "rounds": times,
    }


def line(workload: str, found: dict, shown: list[str]) -> str:
    """The row in Markdown; of each family its fastest member."""
    groups = families(list(found["medians"]))
    cells = [f"{1e6 * min(found['medians'][n] for n in groups[g]):.0f}" if g in groups else "-" for g in shown]
    best = found["fastest peer"]
    against = "-" if best is None else f"{found['ratios'][best]:.2f} ({best})"
    return f"| {workload} | {' | '.join(cells)} | {against} | {found['GFLOP/s']:.0f} | {found['share of peak']:.0%} |"


def draw(results: dict[str, dict], path: Path) -> None:
    """Bars of each peer's time relative to minnet's, the fastest layout of each."""
    from matplotlib.ticker import LogLocator, NullLocator

    shown = [
        g
        for g in families(list(PEERS))
        if g not in OWN and any(g in families(list(r["ratios"])) for r in results.values())
    ]
    figure, (axis,) = plots.figure(width=7.5, height=0.6 + 0.16 * (len(shown) + 1.5) * len(results))
    height = 0.8 / max(1, len(shown))
    for i, group in enumerate(shown):
        bars = {
            place: min(r["ratios"][n] for n in families(list(r["ratios"])).get(group, []))
            for place, r in enumerate(results.values())
            if group in families(list(r["ratios"]))
        }
        at = [place + (i - (len(shown) - 1) / 2) * height for place in bars]
        widths = [value - 1 for value in bars.values()]
        axis.barh(at, widths, 0.9 * height, left=1, color=plots.COLOURS[i], label=group)
        for y, value in zip(at, bars.values(), strict=True):
            text = f"{value:.2f}" if value < 10 else f"{value:.0f}"
            axis.annotate(text, (max(value, 1), y), (3, 0), textcoords="offset points", va="center", fontsize=6.5)
    axis.axvline(1, color="black", linewidth=1)
    axis.set(xscale="log", xlabel="time of a training step, relative to minnet (right of 1: minnet is faster)")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_yticks(range(len(results)), results)
    axis.margins(x=0.08, y=0.01)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    plots.legend(axis)
    plots.save(figure, path)


def describe(threads: int, machine: dict[str, float]) -> dict:
    libraries = sorted({peer.library for peer in PEERS.values() if peer.is_there()} | {"numba"})
    return {
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in libraries},
        "threads": threads,
        "limits": machine,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; all if none")
    parser.add_argument("--peers", nargs="+", choices=PEERS, metavar="PEER", help=f"of {', '.join(map(repr, PEERS))}")
    parser.add_argument("--threads", type=int, default=mn.get_num_threads())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each round and peer")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of speed.json")
    parser.add_argument("--figure", type=Path, help="drawn there, whatever ran")
    arguments = parser.parse_args()
    unknown = set(arguments.workloads) - WORKLOADS.keys()
    if unknown:
        parser.error(f"expected workloads of {', '.join(WORKLOADS)}; got {', '.join(sorted(unknown))}")
    chosen = [name for name in PEERS if name in OWN or name in (arguments.peers or PEERS)]
    absent = [name for name in chosen if not PEERS[name].is_there()]
    if absent:
        print(f"not there, so left out: {'; '.join(absent)}", file=sys.stderr)
    machine = limits(arguments.threads)
    about = describe(arguments.threads, machine)
    print(", ".join(f"{name} {value:.0f}" for name, value in machine.items()) + f"; {arguments.threads} threads")
    processes = {
        name: Process(arguments.threads, serve, name, arguments.threads) for name in chosen if name not in absent
    }
    shown = list(families(list(processes)))
    print(f"| workload | {', us | '.join(shown)}, us | fastest peer / minnet | GFLOP/s | of peak |")
    print("|---" * (len(shown) + 4) + "|")
    results = {}
    try:
        for workload in arguments.workloads or WORKLOADS:
            times = alternate(load(processes, workload), arguments.rounds, arguments.seconds)
            results[workload] = row(workload, times, machine["peak, GFLOP/s"])
            print(line(workload, results[workload], shown), flush=True)
    finally:
        for process in processes.values():
            process.close()
    if set(shown) - set(OWN):
        ratios = [found["ratios"][found["fastest peer"]] for found in results.values()]
        print(f"geometric mean of fastest peer / minnet: {statistics.geometric_mean(ratios):.2f}")
        if FIT in processes:
            gains = [max(1.0, found["by hand / fit"] or 1.0) for found in results.values()]
            better = statistics.geometric_mean([r * gain for r, gain in zip(ratios, gains, strict=True)])
            print(f"the same, with steps by fit where these are faster: {better:.2f}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out / "speed.json", json.dumps({**about, "workloads": results}, indent=1))
    figure = arguments.figure or (FIGURE if results.keys() == WORKLOADS.keys() else None)
    if figure is not None and set(shown) - set(OWN):
        figure.parent.mkdir(parents=True, exist_ok=True)
        draw(results, figure)


if __name__ == "__main__":
    main()
