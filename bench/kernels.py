"""Each kernel alone, through its layer or rule, beside the machine's limits, PyTorch's (oneDNN) kernels and NumPy's.

    python bench/kernels.py                    all
    python bench/kernels.py conv update        some kinds

Products and convolutions are held against the peak of multiply-adds, all else against the bandwidth of the memory or
cache that holds the arrays, both measured in the run. Each library has a process of its own; rounds alternate between
them; medians are printed and written to bench/out/kernels.json. PyTorch is asked for one pass at a time, with channels
first, channels last and, for a convolution's forward pass, weights packed beforehand; its best counts. The time of
minnet's gradient of the input is that of the whole backward pass less that of the weights' part.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import cache_bytes, limits
from peers import PEERS, Process, fall_asleep, limit_threads
from workloads import WORKLOADS

import minnet as mn
from minnet.layers.spec import Plan
from minnet.storage.files import write_whole

OUT = Path(__file__).parent / "out"
PASSES = ("forward", "weights", "input")  # y; the gradients of parameters; the gradient of x


@dataclass(frozen=True)
class Case:
    """A layer on a batch, in one pass; or a rule (``layer``) on that many parameters (``shape``)."""

    kind: str
    layer: Any
    shape: tuple[int, ...]
    what: str
    amount: float  # operations, or bytes that have to be moved
    held: float = 0.0  # bytes of all arrays, which say in which memory they lie; 0 where operations count

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape))
        match self.layer:
            case mn.Conv2D(filters, kernel, stride):
                return f"conv {'x'.join(map(str, kernel))}, {filters} filters, stride {stride}, on {size}, {self.what}"
            case mn.Dense(units):
                return f"dense {units} on {size}, {self.what}"
            case mn.MaxPool2D(window, stride):
                return f"max pool {window}x{window}, stride {stride}, on {size}, {self.what}"
        return f"{type(self.layer).__name__} on {size}, {self.what}"


def placed_layers(plan: Plan, in_shape: tuple[int, ...]) -> Iterator[tuple[Any, tuple[int, ...], Plan]]:
    """Every layer with its input shape and plan."""
    shape = in_shape
    for child in plan.children:
        if isinstance(child.layer, mn.Residual):
            for path in child.plan.children:
                yield from placed_layers(path.plan, shape)
        yield child.layer, shape, child.plan
        shape = child.plan.out


def layer_cases() -> Iterator[Case]:
    """Products of the workloads, convolutions of few channels, and what moves data, each size once."""
    found: dict[tuple, Plan] = {}
    for work in WORKLOADS.values():
        for layer, shape, plan in placed_layers(mn.Chain(work.layers).plan(work.input_shape), work.input_shape):
            if isinstance(layer, mn.Conv2D):
                found[layer, (work.batch, *shape)] = plan
            elif isinstance(layer, mn.Dense) and shape[-1] * layer.units > 10_000:
                # All positions of a sequence are one product.
                found[layer, (work.batch * math.prod(shape[:-1]), shape[-1])] = layer.plan(shape[-1:])
    for channels in (1, 3, 16):
        layer = mn.Conv2D(32, 3, padding=1)
        found[layer, (128, 32, 32, channels)] = layer.plan((32, 32, channels))
    for (layer, shape), plan in found.items():
        each = 2 * shape[0] * np.prod(plan.params[0].shape, dtype=float) * np.prod(plan.out[:-1], dtype=float)
        for what in PASSES:
            yield Case("dense" if isinstance(layer, mn.Dense) else "conv", layer, shape, what, each)
    # Bytes an input element: what has to be read and written, a batch norm's input twice.
    image = (128, 32, 32, 16)
    size = 4.0 * np.prod(image)
    moved = [
        ("relu", mn.ReLU(), "forward", 2), ("relu", mn.ReLU(), "input", 3),
        ("norm", mn.BatchNorm(), "forward", 3), ("norm", mn.BatchNorm(), "both", 5),
        ("pool", mn.MaxPool2D(2), "forward", 1.25), ("pool", mn.MaxPool2D(2), "input", 2.25),
        ("pool", mn.MaxPool2D(3, 2, 1), "forward", 1.25), ("pool", mn.MaxPool2D(3, 2, 1), "input", 2.25),
    ]  # fmt: skip
    for kind, layer, what, times in moved:
        yield Case(kind, layer, image, what, times * size, 3 * size)


def update_cases() -> Iterator[Case]:
    # Reads and writes of an element: parameter, gradient and each slot, all but the gradient written.
    for rule, arrays in ((mn.SGD(), 2), (mn.Momentum(), 3), (mn.Adam(), 4)):
        for size in (5_000, 1_300_000, 25_000_000):
            yield Case("update", rule, (size,), "step", 4.0 * size * (2 * arrays - 1), 4.0 * size * arrays)


def cases(kinds: list[str]) -> list[Case]:
    return [case for case in (*layer_cases(), *update_cases()) if not kinds or case.kind in kinds]


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


# What runs: by name, a call, or two whose difference is meant --------------------------------------------------

Runs = dict[str, tuple[Callable[[], object], Callable[[], object] | None]]


def minnet_runs(case: Case) -> Runs:
    if case.kind == "update":
        optimizer = mn.Optimizer.over(random(*case.shape), random(*case.shape, seed=1), case.layer)
        return {"minnet": (lambda: optimizer.step(1e-4), None)}
    net = mn.Net([case.layer], case.shape[1:])
    x = random(*case.shape)
    y = net.forward(x, training=True)
    # The layer's own passes, without the checks that the net makes of its input.
    ((layer, memory),) = net._batch(len(x)).memory.children
    dy, dx = random(*y.shape, seed=1), np.empty_like(x)

    def backward_of_weights() -> None:
        layer.backward(memory, x, y, dy, None)

    def backward() -> None:
        layer.backward(memory, x, y, dy, dx)

    if case.what == "forward":
        return {"minnet": (lambda: layer.forward(memory, x, y), None)}
    if case.what == "weights":
        return {"minnet": (backward_of_weights, None)}
    has_weights = case.what == "input" and bool(net.params.size)
    return {"minnet": (backward, backward_of_weights if has_weights else None)}


def numpy_runs(case: Case) -> Runs:
    if case.kind != "dense":
        return {}
    x, W, dy = random(*case.shape), random(case.shape[1], case.layer.units), random(case.shape[0], case.layer.units)
    a, b = {"forward": (x, W), "weights": (x.T, dy), "input": (dy, W.T)}[case.what]
    out = np.empty((len(a), b.shape[1]), np.float32)
    return {"NumPy": (lambda: np.matmul(a, b, out=out), None)}


def torch_runs(case: Case) -> Runs:
    import torch

    if case.kind == "update":
        return {"PyTorch": (torch_update(case), None)}
    if case.kind == "dense":
        x, W, dy = (
            torch.from_numpy(random(*shape))
            for shape in (case.shape, (case.shape[1], case.layer.units), (case.shape[0], case.layer.units))
        )
        a, b = {"forward": (x, W), "weights": (x.T, dy), "input": (dy, W.T)}[case.what]
        out = torch.empty(len(a), b.shape[1])
        return {"PyTorch": (lambda: torch.mm(a, b, out=out), None)}
    runs = {}
    for name, layout in (("PyTorch", torch.contiguous_format), ("PyTorch, channels last", torch.channels_last)):
        x = torch.from_numpy(random(*case.shape)).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        runs |= {name + extra: (run, None) for extra, run in torch_image_runs(case, x, layout).items()}
    return runs


def torch_update(case: Case) -> Callable[[], object]:
    import torch

    parameter = torch.nn.Parameter(torch.from_numpy(random(*case.shape)))
    parameter.grad = torch.from_numpy(random(*case.shape, seed=1))
    match case.layer:
        case mn.Adam():
            return torch.optim.Adam([parameter], 1e-4, fused=True).step
        case mn.Momentum():
            return torch.optim.SGD([parameter], 1e-4, momentum=0.9, fused=True).step
    return torch.optim.SGD([parameter], 1e-4, fused=True).step


def torch_image_runs(case: Case, x: Any, layout: Any) -> dict[str, Callable[[], object]]:
    """PyTorch's own operations, without the record that autograd keeps."""
    import torch

    ops, layer = torch.ops.aten, case.layer
    if case.kind == "relu":
        y = ops.relu(x)
        return {"": (lambda: ops.relu(x)) if case.what == "forward" else (lambda: ops.threshold_backward(x, y, 0))}
    if case.kind == "pool":
        window = list(layer.size), list(layer.stride), [layer.padding] * 2, [1, 1], False
        y, places = ops.max_pool2d_with_indices(x, *window)
        if case.what == "forward":
            return {"": lambda: ops.max_pool2d_with_indices(x, *window)}
        return {"": lambda: ops.max_pool2d_with_indices_backward(y, x, *window, places)}
    channels = x.shape[1]
    if case.kind == "norm":
        gamma, beta, mean, var = (torch.ones(channels) for _ in range(4))
        y, saved, inv_std = ops.native_batch_norm(x, gamma, beta, mean, var, True, 0.1, layer.eps)
        if case.what == "forward":
            return {"": lambda: ops.native_batch_norm(x, gamma, beta, mean, var, True, 0.1, layer.eps)}
        of_all = [True] * 3
        return {
            "": lambda: ops.native_batch_norm_backward(y, x, gamma, mean, var, saved, inv_std, True, layer.eps, of_all)
        }
    padding = 0 if layer.padding == "valid" else layer.padding
    W = torch.from_numpy(random(layer.filters, channels, *layer.kernel)).contiguous(memory_format=layout)
    b = torch.zeros(layer.filters) if layer.bias else None
    how = list(layer.stride), [padding] * 2, [1, 1]
    y = ops.convolution(x, W, b, *how, False, [0, 0], 1)
    if case.what == "forward":
        size = list(x.shape)
        packed = torch.ops.mkldnn._reorder_convolution_weight(W, how[1], how[0], how[2], 1, size)
        return {
            "": lambda: ops.convolution(x, W, b, *how, False, [0, 0], 1),
            ", packed weights": lambda: torch.ops.mkldnn._convolution_pointwise(
                x, packed, b, how[1], how[0], how[2], 1, "none", [], ""
            ),
        }
    wanted = [True, False, False] if case.what == "input" else [False, True, layer.bias]
    sizes = [layer.filters] if layer.bias else None
    return {"": lambda: ops.convolution_backward(y, x, W, sizes, *how, False, [0, 0], 1, wanted)}


LIBRARIES = {"minnet": minnet_runs, "numpy": numpy_runs, "torch": torch_runs}


def serve(pipe: Any, library: str, threads: int, kinds: list[str]) -> None:
    """The life of a library's process: make a case ready, time its runs by name, until there is nothing more to do."""
    limit_threads(library, threads)
    known = cases(kinds)
    runs: Runs = {}
    while (request := pipe.recv()) is not None:
        kind, argument, *seconds = request
        if kind == "load":
            runs = {}
            runs = LIBRARIES[library](known[argument])
            pipe.send(list(runs))
        else:
            mean = mean_time(*runs[argument], *seconds)
            fall_asleep()
            pipe.send(mean)


def mean_time(run: Callable[[], object], minus: Callable[[], object] | None, seconds: float) -> float:
    """Seconds of a call of ``run``, less those of ``minus``; the two take turns for ``seconds``, after one of each."""
    calls, spent = [run] if minus is None else [run, minus], [0.0, 0.0]
    for call in calls:
        call()
    count = 0
    while sum(spent) < seconds or count == 0:
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            spent[i] += time.perf_counter() - start
        count += 1
    return (spent[0] - spent[1]) / count


# The table ---------------------------------------------------------------------------------------------------


def time_case(processes: dict[str, Process], index: int, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds of each run in each round."""
    owners = {run: process for process in processes.values() for run in process.ask("load", index)}
    times: dict[str, list[float]] = {run: [] for run in owners}
    for _ in range(rounds):
        for run, process in owners.items():
            times[run].append(process.ask("run", run, seconds))
    return times


def limit_of(case: Case, machine: dict[str, float], threads: int) -> tuple[str, float]:
    """The limit that holds for a case, by name."""
    if not case.held:
        return "peak", machine["peak, GFLOP/s"]
    for name, size in (("L2", threads * (cache_bytes(2) or 0)), ("L3", cache_bytes(3) or 0)):
        if case.held <= size:
            return name, machine[f"{name} update, GB/s"]
    return "memory", machine["memory update, GB/s"]


def main() -> None:
    kinds = sorted({case.kind for case in cases([])})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(kinds)}; all if none")
    parser.add_argument("--threads", type=int, default=mn.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.03, help="of each round and run")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of kernels.json")
    arguments = parser.parse_args()
    if unknown := set(arguments.kinds) - set(kinds):
        parser.error(f"expected kinds of {', '.join(kinds)}; got {', '.join(sorted(unknown))}")
    machine = limits(arguments.threads)
    print(", ".join(f"{name} {value:.0f}" for name, value in machine.items()) + f"; {arguments.threads} threads")
    installed = {peer.library for peer in PEERS.values() if peer.is_there()}
    processes = {
        library: Process(arguments.threads, serve, library, arguments.threads, arguments.kinds)
        for library in LIBRARIES
        if library in installed
    }
    print("| kernel | minnet, us | G/s | of limit | best other, us | other / minnet |\n|---|---|---|---|---|---|")
    results = []
    for index, case in enumerate(cases(arguments.kinds)):
        times = time_case(processes, index, arguments.rounds, arguments.seconds)
        medians = {run: statistics.median(values) for run, values in times.items()}
        others = {run: value for run, value in medians.items() if run != "minnet"}
        best = min(others, key=others.__getitem__, default=None)
        name, limit = limit_of(case, machine, arguments.threads)
        rate = 1e-9 * case.amount / medians["minnet"]
        other = (
            "- | -" if best is None else f"{1e6 * others[best]:.0f} ({best}) | {others[best] / medians['minnet']:.2f}"
        )
        print(
            f"| {case} | {1e6 * medians['minnet']:.0f} | {rate:.0f} | {rate / limit:.0%} of {name} | {other} |",
            flush=True,
        )
        results.append(
            {"kernel": str(case), "kind": case.kind, "amount": case.amount, "limit": name, "medians": medians}
        )
    for process in processes.values():
        process.close()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out / "kernels.json", json.dumps({"limits": machine, "kernels": results}, indent=1))


if __name__ == "__main__":
    main()
