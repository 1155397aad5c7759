"""Every fused update rule beside the bandwidth of memory, and beside PyTorch's fastest form of it.

    python bench/rules.py                      all, on 25 million, 1.3 million and 5,000 parameters
    python bench/rules.py Adam Lion --quick    some, on the smaller two

A rule has to move some bytes a parameter, whatever it computes; ``at its bandwidth`` is the time that these take at
the rate of an update in place, a = b + s * a, of arrays that fill the same memory, measured in turns with the rules.
PyTorch runs each rule that it has as fused=True, foreach=True and foreach=False (all it offers without a compiler for
a CPU) on one tensor; the fastest counts. Muon iterates in float32 here, in bfloat16 there. Each library has a process
of its own; rounds alternate; medians are printed and written to bench/out/rules.json.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import update
from peers import PEERS, Process, fall_asleep, limit_threads

import minnet as mn
from minnet.kernels.chunks import SERIAL
from minnet.storage.files import write_whole

OUT = Path(__file__).parent / "out"
SIZES = (25_000_000, 1_300_000, 5_000)
BANDWIDTH = "update in place"  # what stands beside the rules
FORMS: tuple[dict[str, bool], ...] = ({"fused": True}, {"foreach": True}, {"foreach": False})


@dataclass(frozen=True)
class Row:
    """A rule, and PyTorch's: its class in torch.optim with the arguments that give it; None where it has none."""

    rule: mn.Rule
    other: str | None = None
    arguments: dict[str, Any] | None = None
    arrays: int | None = None  # read or written in a step; unless told, all are read, all but the gradient written
    largest: float = math.inf  # size that it is still measured at

    @property
    def name(self) -> str:
        return type(self.rule).__name__

    @property
    def bytes_moved(self) -> int:
        """Of a parameter in float32."""
        return 4 * (3 + 2 * len(self.rule.slot_names()) if self.arrays is None else self.arrays)


# A new rule joins by one line here.
ROWS = [
    Row(mn.SGD(), "SGD"),
    Row(mn.Momentum(), "SGD", {"momentum": 0.9}),
    Row(mn.Nesterov(), "SGD", {"momentum": 0.9, "nesterov": True}),
    Row(mn.NesterovLookAhead(), arrays=6),  # the parameters are only written
    Row(mn.Adagrad(), "Adagrad"),
    Row(mn.RMSprop(), "RMSprop"),
    Row(mn.RMSpropMomentum(), "RMSprop", {"momentum": 0.9}),
    Row(mn.RMSpropCentred(), "RMSprop", {"centered": True}),
    Row(mn.RMSpropCentredMomentum(), "RMSprop", {"centered": True, "momentum": 0.9}),
    Row(mn.Adadelta(), "Adadelta"),
    Row(mn.Adam(), "Adam"),
    Row(mn.AMSGrad(), "Adam", {"amsgrad": True}),
    Row(mn.AdaMax(), "Adamax"),
    Row(mn.NAdam(), "NAdam"),
    Row(mn.RAdam(), "RAdam"),
    Row(mn.Lion()),
    Row(mn.ScheduleFreeSGD()),
    Row(mn.ScheduleFreeAdamW()),
    Row(mn.LARS(), arrays=7),  # parameters and gradient twice: norms stand before the update
    Row(mn.LAMB(), arrays=10),
    Row(mn.Adafactor(), "Adafactor", arrays=6),
    # Products: 18 billion multiply-adds at 1.3 million parameters, a hundred times as many at 25 million.
    Row(mn.Muon(), "Muon", {"weight_decay": 0.0}, arrays=9, largest=1_300_000),
]


def random(size: int, seed: int) -> np.ndarray:
    """Normal numbers, the same block of them over and over: making 25 million anew takes longer than what is timed."""
    return np.resize(np.random.default_rng(seed).standard_normal(100_003, np.float32), size)


def matrix(size: int) -> tuple[int, int]:
    """The most nearly square matrix of so many elements, for rules that look at rows and columns."""
    rows = next(n for n in range(math.isqrt(size), 0, -1) if size % n == 0)
    return rows, size // rows


def minnet_runs(row: Row, size: int) -> dict[str, Callable[[], object]]:
    """The rule, and an update in place that moves as many bytes, shared between the threads."""
    shapes = {"W": matrix(size)}
    optimizer = mn.Optimizer.over(random(size, 0), random(size, 1), row.rule, shapes=shapes)
    runs: dict[str, Callable[[], object]] = {"minnet": lambda: optimizer.step(1e-4)}
    if size > SERIAL:  # below, a call costs more than the bytes
        threads = mn.get_num_threads()
        a, b = (np.ones((threads, row.bytes_moved * size // (12 * threads)), np.float32) for _ in range(2))
        runs[BANDWIDTH] = lambda: update(a, b, 1)
    return runs


def torch_runs(row: Row, size: int) -> dict[str, Callable[[], object]]:
    if row.other is None:
        return {}
    import torch

    runs: dict[str, Callable[[], object]] = {}
    for form in FORMS if row.other != "Muon" else ({},):  # which knows none of these arguments
        parameter = torch.nn.Parameter(torch.from_numpy(random(size, 0).reshape(matrix(size))))
        parameter.grad = torch.from_numpy(random(size, 1).reshape(matrix(size)))
        try:
            step = getattr(torch.optim, row.other)([parameter], lr=1e-4, **(row.arguments or {}), **form).step
        except TypeError:  # a class that is never fused knows no such argument
            continue
        runs["PyTorch, " + ("".join(f"{key}={value}" for key, value in form.items()) or "its only form")] = step
    return runs


RUNS = {"minnet": minnet_runs, "torch": torch_runs}


def serve(pipe: Any, library: str, threads: int) -> None:
    """The life of a library's process: make a row ready, time its runs by name, until there is nothing more to do."""
    limit_threads(library, threads)
    runs: dict[str, Callable[[], object]] = {}
    while (request := pipe.recv()) is not None:
        kind, *arguments = request
        if kind == "load":
            runs = {}
            row, size = arguments
            runs = RUNS[library](ROWS[row], size)
            for run in runs.values():
                run()  # compiles, and makes PyTorch's state
            pipe.send(list(runs))
        else:
            name, seconds = arguments
            mean = mean_time(runs[name], seconds)
            fall_asleep()
            pipe.send(mean)


def mean_time(run: Callable[[], object], seconds: float) -> float:
    """Seconds of a call, over calls for so long after one that is not timed."""
    run()
    count, start = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - start < seconds:
        run()
        count += 1
    return (time.perf_counter() - start) / count


def measure(processes: dict[str, Process], row: int, size: int, rounds: int, seconds: float) -> dict[str, float]:
    """Medians over rounds, by name of the run."""
    owners = {run: process for process in processes.values() for run in process.ask("load", row, size)}
    times: dict[str, list[float]] = {run: [] for run in owners}
    for _ in range(rounds):
        for run, process in owners.items():
            times[run].append(process.ask("run", run, seconds))
    return {run: statistics.median(values) for run, values in times.items()}


def line(row: Row, size: int, medians: dict[str, float]) -> str:
    ours, rate = medians["minnet"], 1e-9 * row.bytes_moved * size
    traffic = medians.get(BANDWIDTH)
    limit = "- | -" if traffic is None else f"{rate / traffic:.0f} | {ours / traffic:.2f}"
    others = {run: value for run, value in medians.items() if run not in ("minnet", BANDWIDTH)}
    best = min(others, key=others.__getitem__, default=None)
    other = "- | -" if best is None else f"{1e6 * others[best]:.0f} ({best[9:]}) | {others[best] / ours:.2f}"
    return f"| {row.name} | {size:,} | {row.bytes_moved} | {1e6 * ours:.0f} | {rate / ours:.0f} | {limit} | {other} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rules", nargs="*", metavar="RULE", help="names of classes; all if none")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of parameters")
    parser.add_argument("--quick", action="store_true", help="without the largest size")
    parser.add_argument("--threads", type=int, default=mn.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.05, help="of each round and run")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of rules.json")
    arguments = parser.parse_args()
    if unknown := set(arguments.rules) - {row.name for row in ROWS}:
        parser.error(f"expected rules of {', '.join(row.name for row in ROWS)}; got {', '.join(sorted(unknown))}")
    libraries = [library for library in RUNS if library in {peer.library for peer in PEERS.values() if peer.is_there()}]
    processes = {library: Process(arguments.threads, serve, library, arguments.threads) for library in libraries}
    print(f"{arguments.threads} threads")
    print(
        "| rule | parameters | bytes each | minnet, us | GB/s | update in place, GB/s | time / time at its bandwidth "
        "| PyTorch, us | PyTorch / minnet |\n|---|---|---|---|---|---|---|---|---|"
    )
    results = []
    for size in sorted(arguments.sizes, reverse=True)[1 if arguments.quick else 0 :]:
        for index, row in enumerate(ROWS):
            if size > row.largest or (arguments.rules and row.name not in arguments.rules):
                continue
            medians = measure(processes, index, size, arguments.rounds, arguments.seconds)
            print(line(row, size, medians), flush=True)
            results.append({"rule": row.name, "parameters": size, "bytes": row.bytes_moved, "medians": medians})
    for process in processes.values():
        process.close()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out / "rules.json", json.dumps({"threads": arguments.threads, "rules": results}, indent=1))


if __name__ == "__main__":
    main()
