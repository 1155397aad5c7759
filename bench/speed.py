"""Time of a training step: minnet beside PyTorch, on the same networks, weights and data, in one run.

    python bench/speed.py                      every workload
    python bench/speed.py mnist_mlp --json     one, and bench/out/speed.json

A step is forward, loss, backward and update. Before anything is timed, loss and gradients of both are compared. Rounds
alternate between the two; the medians over rounds are printed. PyTorch runs eagerly with its fused optimizers, channels
first and, for images, channels last as well; the better of the two counts. Both use the same number of threads.
"""

import argparse
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import minnet as mn
from minnet.files import write_whole

Step = Callable[[], float]


@dataclass(frozen=True)
class Workload:
    """A network with its batch and update rule."""

    layers: list[mn.Layer]
    input_shape: tuple[int, ...]
    batch: int
    rule: mn.Rule
    outputs: int = 10


def dense(*units: int, norm: bool = False) -> list[mn.Layer]:
    hidden = [[mn.Dense(n), *([mn.BatchNorm()] if norm else []), mn.ReLU()] for n in units[:-1]]
    return [layer for part in hidden for layer in part] + [mn.Dense(units[-1])]


def conv(filters: int, kernel: int, padding: mn.layers.conv.Padding, pool: mn.Layer) -> list[mn.Layer]:
    return [mn.Conv2D(filters, kernel, padding=padding), mn.ReLU(), pool]


WORKLOADS = {
    "iris_mlp": Workload(dense(4, 6, 3), (4,), 5, mn.Momentum(), 3),
    "spiral_mlp": Workload(dense(100, 3), (2,), 300, mn.SGD(), 3),
    "digits_mlp": Workload(dense(64, 10), (64,), 64, mn.Adam()),
    "cs231n_two_layer": Workload(dense(100, 10), (3072,), 200, mn.Momentum()),
    "cs231n_five_layer_bn": Workload(dense(100, 100, 100, 100, 10, norm=True), (3072,), 100, mn.Adam()),
    "mnist_mlp": Workload(dense(1000, 500, 100, 10), (784,), 128, mn.Adam()),
    "cs231n_three_layer_conv": Workload(
        [*conv(32, 7, 3, mn.MaxPool2D(2)), mn.Flatten(), *dense(500, 10)], (32, 32, 3), 50, mn.Adam()
    ),
    "mnist_2c2d": Workload(
        [*conv(32, 5, 2, mn.MaxPool2D(2)), *conv(64, 5, 2, mn.MaxPool2D(2)), mn.Flatten(), *dense(1024, 10)],
        (28, 28, 1), 128, mn.Momentum(),
    ),
    "cifar10_3c3d": Workload(
        [
            *conv(64, 5, "valid", mn.MaxPool2D(3, 2, 1)), *conv(96, 3, "valid", mn.MaxPool2D(3, 2, 1)),
            *conv(128, 3, 1, mn.MaxPool2D(3, 2, 1)), mn.Flatten(), *dense(512, 256, 10),
        ],
        (32, 32, 3), 128, mn.Momentum(),
    ),
}  # fmt: skip


def multiply_adds(work: Workload) -> int:
    """Of a step's products: forward, weights and, for all but the first layer, inputs."""
    total, shape, passes = 0, work.input_shape, 2
    for layer in work.layers:
        plan = layer.plan(shape)
        if isinstance(layer, mn.Dense | mn.Conv2D):
            weights = math.prod(plan.params[0].shape)
            total += passes * work.batch * weights * math.prod(plan.out[:-1])
            passes = 3
        shape = plan.out
    return total


class Minnet:
    """The workload in minnet."""

    def __init__(self, work: Workload, x: np.ndarray, y: np.ndarray) -> None:
        self.net = mn.Net(work.layers, work.input_shape, mn.SoftmaxCrossEntropy(), seed=0)
        self.optimizer, self.x, self.y = mn.Optimizer(self.net, work.rule), x, y

    def step(self) -> float:
        loss = self.net.loss_and_grads(self.x, self.y)
        self.optimizer.step(1e-4)
        return loss


class PyTorch:
    """The same network in PyTorch, with the weights of a minnet net."""

    def __init__(self, work: Workload, net: mn.Net, x: np.ndarray, y: np.ndarray, channels_last: bool) -> None:
        import torch

        self.torch, self.work, self.names = torch, work, []
        modules, shape, before_flatten = [], work.input_shape, None
        params = net.named_parameters()
        for i, layer in enumerate(work.layers):
            if isinstance(layer, mn.Dense):
                module = torch.nn.Linear(shape[0], layer.units)
                W = params[f"{i}.W"]
                if before_flatten is not None:  # rows in the order in which PyTorch flattens (C, H, W)
                    W = W.reshape(*before_flatten, -1).transpose(2, 0, 1, 3).reshape(W.shape)
                self._take(module, f"{i}", W.T, params[f"{i}.b"], ("dense", before_flatten))
                before_flatten = None
            elif isinstance(layer, mn.Conv2D):
                padding = 0 if layer.padding == "valid" else layer.padding
                module = torch.nn.Conv2d(shape[2], layer.filters, layer.kernel, padding=padding)
                self._take(module, f"{i}", params[f"{i}.W"].transpose(3, 2, 0, 1), params[f"{i}.b"], ("conv", None))
            elif isinstance(layer, mn.BatchNorm):
                module = torch.nn.BatchNorm1d(shape[0], momentum=0.1)
                self._take(module, f"{i}", params[f"{i}.gamma"], params[f"{i}.beta"], ("norm", None))
            elif isinstance(layer, mn.MaxPool2D):
                module = torch.nn.MaxPool2d(layer.size, layer.stride, layer.padding)
            elif isinstance(layer, mn.Flatten):
                module, before_flatten = torch.nn.Flatten(), shape
            else:
                module = torch.nn.ReLU()
            modules.append(module)
            shape = layer.plan(shape).out
        self.model = torch.nn.Sequential(*modules)
        images = np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim == 4 else x
        self.x, self.y = torch.from_numpy(images), torch.from_numpy(y)
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
            self.x = self.x.contiguous(memory_format=torch.channels_last)
        make = {
            mn.SGD: lambda p: torch.optim.SGD(p, 1e-4, fused=True),
            mn.Momentum: lambda p: torch.optim.SGD(p, 1e-4, momentum=0.9, fused=True),
            mn.Adam: lambda p: torch.optim.Adam(p, 1e-4, fused=True),
        }[type(work.rule)]
        self.optimizer = make(self.model.parameters())
        self.loss = torch.nn.functional.cross_entropy

    def _take(self, module: object, place: str, W: np.ndarray, b: np.ndarray, kind: tuple) -> None:
        module.weight.data = self.torch.from_numpy(W.copy())
        module.bias.data = self.torch.from_numpy(b.copy())
        self.names.append((place, module, *kind))

    def gradients(self) -> dict[str, np.ndarray]:
        """By minnet's names, in minnet's layouts."""
        found = {}
        for place, module, kind, before_flatten in self.names:
            W, b = module.weight.grad.numpy(), module.bias.grad.numpy()
            if kind == "norm":
                found |= {f"{place}.gamma": W, f"{place}.beta": b}
                continue
            if kind == "conv":
                W = W.transpose(2, 3, 1, 0)
            else:
                W = W.T
                if before_flatten is not None:
                    rows, columns, channels = before_flatten
                    W = W.reshape(channels, rows, columns, -1).transpose(1, 2, 0, 3).reshape(W.shape)
            found |= {f"{place}.W": W, f"{place}.b": b}
        return found

    def step(self) -> float:
        self.optimizer.zero_grad()
        loss = self.loss(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss


def check(ours: Minnet, theirs: PyTorch) -> None:
    """SystemExit unless loss and all gradients agree within float32's round-off."""
    loss = ours.net.loss_and_grads(ours.x, ours.y)
    other = theirs.loss(theirs.model(theirs.x), theirs.y)
    other.backward()
    if abs(loss - other.item()) > 1e-4 * abs(loss):
        sys.exit(f"speed.py: expected equal losses; got {loss} and {other.item()}")
    gradients = ours.net.named_gradients()
    for name, expected in theirs.gradients().items():
        # A bias in front of a batch norm has gradient 0 but for round-off, hence the scale of the whole gradient.
        bound = 2e-3 * np.abs(expected).max() + 1e-5 * np.abs(ours.net.grads).max()
        worst = np.abs(gradients[name] - expected).max()
        if worst > bound:
            sys.exit(f"speed.py: expected equal gradients of {name}; got a difference of {worst}, bound {bound}")


def time_steps(steps: dict[str, Step], rounds: int, seconds: float) -> dict[str, float]:
    """Median time of a step in seconds for each; rounds alternate between them."""
    counts = {}
    for name, step in steps.items():
        step()
        start = time.perf_counter()
        step()
        counts[name] = max(1, int(seconds / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(counts[name]):
                step()
            times[name].append((time.perf_counter() - start) / counts[name])
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; all if none")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each round and peer")
    parser.add_argument("--json", action="store_true", help="write bench/out/speed.json too")
    arguments = parser.parse_args()
    unknown = set(arguments.workloads) - WORKLOADS.keys()
    if unknown:
        parser.error(f"expected workloads of {', '.join(WORKLOADS)}; got {', '.join(sorted(unknown))}")
    try:
        import torch
    except ImportError:
        sys.exit("speed.py: expected PyTorch to compare with; it is not installed")
    torch.set_num_threads(mn.get_num_threads())
    print(f"{platform.processor() or platform.machine()}, {mn.get_num_threads()} threads, PyTorch {torch.__version__}")
    print("| workload | minnet, us | PyTorch, us | layout | PyTorch / minnet | GFLOP/s |\n|---|---|---|---|---|---|")
    results = {}
    for name in arguments.workloads or WORKLOADS:
        work, rng = WORKLOADS[name], np.random.default_rng(0)
        x = rng.standard_normal((work.batch, *work.input_shape), np.float32)
        y = rng.integers(0, work.outputs, work.batch)
        ours = Minnet(work, x, y)
        layouts = ("channels first", "channels last") if len(work.input_shape) == 3 else ("rows",)
        peers = {layout: PyTorch(work, ours.net, x, y, layout == "channels last") for layout in layouts}
        for peer in peers.values():
            check(ours, peer)
        steps = {"minnet": ours.step} | {layout: peer.step for layout, peer in peers.items()}
        medians = time_steps(steps, arguments.rounds, arguments.seconds)
        best = min(layouts, key=medians.__getitem__)
        rate = 2e-9 * multiply_adds(work) / medians["minnet"]
        print(
            f"| {name} | {1e6 * medians['minnet']:.0f} | {1e6 * medians[best]:.0f} | {best} | "
            f"{medians[best] / medians['minnet']:.2f} | {rate:.0f} |",
            flush=True,
        )
        results[name] = medians
    ratios = [min(v for k, v in m.items() if k != "minnet") / m["minnet"] for m in results.values()]
    print(f"geometric mean of the ratios: {statistics.geometric_mean(ratios):.2f}")
    if arguments.json:
        folder = Path(__file__).parent / "out"
        folder.mkdir(exist_ok=True)
        write_whole(folder / "speed.json", json.dumps({"seconds per step": results}, indent=1))


if __name__ == "__main__":
    main()
