"""How time and memory grow with a network: minnet beside PyTorch, over batch, width, depth, image size, parameters.

    python bench/scaling.py                    every sweep
    python bench/scaling.py width "image size" --peers minnet

A sweep changes one number of a network in steps of the same ratio. Each point is the median of a few rounds, in which
the peers take turns. A point's "bend" is its time divided by what its two neighbours lead one to expect, the geometric
mean of theirs: 1 on a straight line in the figure, and above 1.3 at a cliff. Memory is what a process grows by, as in
bench/memory.py. Prints a table, writes bench/out/scaling.json, and, where every sweep ran, draws
bench/figures/scaling.png and scaling_memory.png. Linux only.
"""

import argparse
import ctypes
import gc
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from memory import status
from peers import PEERS, Peer, Process, fall_asleep, limit_threads, seconds_each
from workloads import Workload, conv, dense

import minnet as mn
from minnet import plots
from minnet.storage.files import write_whole

OUT = Path(__file__).parent / "out"
FIGURE = Path(__file__).parent / "figures" / "scaling.png"
CLIFF = 1.3


def digits_net(batch: int) -> Workload:
    return Workload(dense(256, 256, 10), (256,), batch, mn.Adam())


def images_net(batch: int, size: int = 16) -> Workload:
    pools = [conv(filters, 3, 1, mn.MaxPool2D(2)) for filters in (16, 32)]
    return Workload(
        [*(layer for part in pools for layer in part), mn.Flatten(), mn.Dense(10)], (size, size, 3), batch, mn.Adam()
    )


@dataclass(frozen=True)
class Sweep:
    """Networks that differ in one number.

    Attributes:
        number: what changes.
        values: its values, each a fixed multiple of the one before.
        network: the network for a value.
        predicts: whether scores alone are computed, instead of a training step.
    """

    number: str
    values: Sequence[int]
    network: Callable[[int], Workload]
    predicts: bool = False


BATCHES = [2**k for k in range(13)]
SWEEPS = {
    "batch": Sweep("samples in a batch, 256-256-256-10", BATCHES, digits_net),
    "batch of images": Sweep("images of 16x16 in a batch, two convolutions", BATCHES, images_net),
    "width": Sweep(
        "units in each of two hidden layers, batch 64",
        [2**k for k in range(4, 13)],
        lambda units: Workload(dense(units, units, 10), (256,), 64, mn.Adam()),
    ),
    "depth": Sweep(
        "hidden layers of 64 units, batch 64",
        [1, 2, 4, 8, 16, 32, 64, 128],
        lambda layers: Workload(dense(*[64] * layers, 10), (64,), 64, mn.Adam()),
    ),
    "image size": Sweep(
        "pixels along a side of an image, batch 16", [8, 16, 32, 64, 128], lambda size: images_net(16, size)
    ),
    "parameters": Sweep(
        "units in a layer of as many inputs, batch 16",
        [100, 316, 1000, 3162, 10000],
        lambda units: Workload(dense(units, 10), (units,), 16, mn.SGD()),
    ),
    "predict": Sweep("samples, 256-256-256-10, scores alone", BATCHES, digits_net, predicts=True),
    "predict images": Sweep("images of 16x16, scores alone", BATCHES, images_net, predicts=True),
}


def one_step(peer: Peer, sweep: str, value: int) -> Callable[[], Any]:
    """Build a network and run it once; return what runs it."""
    runner: Any = peer.start(SWEEPS[sweep].network(value))
    run: Callable[[], Any] = runner.predict if SWEEPS[sweep].predicts else runner.step
    run()
    return run


def serve(pipe: Any, name: str, threads: int) -> None:
    """The life of a peer's process: build a network, run it, until there is nothing more to do."""
    peer, run, known = PEERS[name], None, set[str]()
    limit_threads(peer.library, threads)
    while (request := pipe.recv()) is not None:
        kind, argument = request
        if kind == "build":
            sweep, value = argument
            run = None
            if sweep not in known:  # what the libraries load or set up once is no part of the first network's memory
                known.add(sweep)
                one_step(peer, sweep, SWEEPS[sweep].values[0])
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)  # what the last network had, which the next would move into unseen
            before = status("VmRSS")
            run = one_step(peer, sweep, value)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak so far becomes what is held now
            pipe.send((seconds_each(run, 1), status("VmHWM") - before))
        else:
            seconds = seconds_each(run, argument)
            fall_asleep()
            pipe.send(seconds)


def point(processes: dict[str, Process], sweep: str, value: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Median seconds and bytes of each peer for one value."""
    built = {name: process.ask("build", (sweep, value)) for name, process in processes.items()}
    times: dict[str, list[float]] = {name: [] for name in processes}
    for _ in range(rounds):
        for name, process in processes.items():
            times[name].append(process.ask("run", max(1, int(seconds / built[name][0]))))
    return {
        "seconds": {name: statistics.median(each) for name, each in times.items()},
        "bytes": {name: built[name][1] for name in processes},
    }


def bends(times: Sequence[float]) -> list[float]:
    """Return each inner time divided by the geometric mean of its neighbours."""
    t = np.asarray(times)
    return list(t[1:-1] / np.sqrt(t[:-2] * t[2:]))


def report(sweep: str, points: dict[int, dict[str, Any]]) -> dict[str, float]:
    """Print a sweep; return the largest bend of each peer."""
    names = list(next(iter(points.values()))["seconds"])
    curved = {name: bends([found["seconds"][name] for found in points.values()]) for name in names}
    print(f"\n**{sweep}**: {SWEEPS[sweep].number}\n")
    print(
        "| value |"
        + "".join(f" {name}, us | bend | MB |" for name in names)
        + "\n"
        + "|---" * (3 * len(names) + 1)
        + "|"
    )
    for i, (value, found) in enumerate(points.items()):
        cells = [
            f"{1e6 * found['seconds'][name]:.0f} | {f'{curved[name][i - 1]:.2f}' if 0 < i < len(points) - 1 else '-'}"
            f" | {found['bytes'][name] / 1e6:.1f}"
            for name in names
        ]
        print(f"| {value} | {' | '.join(cells)} |", flush=True)
    return {name: max(each, default=1.0) for name, each in curved.items()}


def draw(results: dict[str, dict[int, dict[str, Any]]], kind: str, unit: float, label: str, path: Path) -> None:
    """Draw a quantity against each number, four panels side by side."""
    rows = -(-len(results) // 4)
    figure, axes = plots.figure(min(4, len(results)), width=2.9, height=[2.5] * rows)
    for axis, (name, points) in zip(axes, results.items(), strict=False):
        for colour, peer in enumerate(next(iter(points.values()))[kind]):
            values = [max(unit * found[kind][peer], 0.01) for found in points.values()]
            axis.plot(list(points), values, ".-", color=plots.COLOURS[colour], label=peer)
        axis.set(xscale="log", yscale="log", title=name, ylabel=label)
        axis.set_xlabel(SWEEPS[name].number, fontsize=7)
    for axis in axes[len(results) :]:
        axis.axis("off")
    plots.legend(axes[0])
    plots.save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="*", metavar="SWEEP", help=f"of {', '.join(SWEEPS)}; all if none")
    parser.add_argument("--peers", nargs="+", choices=["minnet", "PyTorch"], default=["minnet", "PyTorch"])
    parser.add_argument("--threads", type=int, default=mn.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each round and peer")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of scaling.json")
    parser.add_argument("--figure", type=Path, help="drawn there and beside it, whatever ran")
    arguments = parser.parse_args()
    if unknown := set(arguments.sweeps) - SWEEPS.keys():
        parser.error(f"expected sweeps of {', '.join(SWEEPS)}; got {', '.join(sorted(unknown))}")
    names = [name for name in arguments.peers if PEERS[name].is_there()]
    processes = {name: Process(arguments.threads, serve, name, arguments.threads) for name in names}
    results, worst = {}, {}
    try:
        for sweep in arguments.sweeps or SWEEPS:
            results[sweep] = {
                value: point(processes, sweep, value, arguments.rounds, arguments.seconds)
                for value in SWEEPS[sweep].values
            }
            worst[sweep] = report(sweep, results[sweep])
    finally:
        for process in processes.values():
            process.close()
    for sweep, found in worst.items():
        each = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
        print(f"{sweep}: largest bend {each}" + (" (a cliff)" if found.get("minnet", 1) > CLIFF else ""))
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out / "scaling.json", json.dumps({"threads": arguments.threads, "sweeps": results}, indent=1))
    if arguments.figure or results.keys() == SWEEPS.keys():
        path = arguments.figure or FIGURE
        draw(results, "seconds", 1e6, "us", path)
        draw(results, "bytes", 1e-6, "MB", path.with_stem(f"{path.stem}_memory"))


if __name__ == "__main__":
    main()
