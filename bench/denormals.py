"""What numbers next to zero cost: steps of every update rule and of nets that meet denormal numbers, beside usual ones.

    python bench/denormals.py                   every rule on 65,536 parameters, and nets
    python bench/denormals.py Momentum Adam     some rules

A rule is stepped in four states. Usual: gradients and state of order 1. Then what a run comes to where units are dead:
"decayed", the gradient 0 and the state 1e-39 in float32; "squares", gradients and state of 1e-20, whose squares are
denormal; "both", gradients and state of 1e-39. A net is stepped on usual activations, and on ones that shrink to 1e-20
to 1e-40 from layer to layer. Printed are the median times and the largest of the ratios to the usual state, which is
1 where denormal numbers cost nothing. All sizes are such that one thread does the work, and times are those of the
processor in that thread, so that a busy machine gives the same ratios.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rules import ROWS, matrix

import minnet as mn
from minnet.kernels.chunks import SERIAL as SIZE  # more would be shared between threads

# Name: size of the gradient and of the state.
STATES = {"usual": (1.0, 1.0), "decayed": (0.0, 1e-39), "squares": (1e-20, 1e-20), "both": (1e-39, 1e-39)}


@dataclass
class Steps:
    """One way to step, made ready anew before each time it is measured."""

    prepare: Callable[[], object]
    step: Callable[[], object]


def rule_steps(rule: mn.Rule) -> dict[str, Steps]:
    rng = np.random.default_rng(0)
    params, noise = rng.standard_normal(SIZE, np.float32), rng.standard_normal(SIZE, np.float32)
    grads = noise.copy()
    optimizer = mn.Optimizer.over(params.copy(), grads, rule, shapes={"W": matrix(SIZE)})
    optimizer.step(1e-4)
    spread = np.abs(rng.standard_normal(optimizer.state.shape)).astype(np.float32)

    def prepare(gradient: float, state: float) -> Callable[[], None]:
        def ready() -> None:
            np.multiply(noise, np.float32(gradient), out=grads)
            optimizer.state = spread * np.float32(state)

        return ready

    return {name: Steps(prepare(*sizes), lambda: optimizer.step(1e-4)) for name, sizes in STATES.items()}


def net_steps(layers: list[mn.Layer], shape: tuple[int, ...]) -> dict[str, Steps]:
    rng = np.random.default_rng(0)
    net = mn.Net(layers, shape, mn.SoftmaxCrossEntropy(), seed=0)
    optimizer = mn.Optimizer(net, mn.Momentum())
    weights = net.params.copy()
    x, y = rng.standard_normal((8, *shape), np.float32), rng.integers(0, 10, 8)

    def prepare(factor: float) -> Callable[[], None]:
        def ready() -> None:
            np.multiply(weights, np.float32(factor), out=net.params)
            optimizer.state = np.zeros_like(optimizer.state)

        return ready

    def step() -> None:
        net.loss_and_grads(x, y)
        optimizer.step(1e-4)

    return {f"weights x {factor:g}": Steps(prepare(factor), step) for factor in (1.0, 1e-6, 1e-10, 1e-15)}


def dense() -> dict[str, Steps]:
    return net_steps([layer for _ in range(5) for layer in (mn.Dense(64), mn.Tanh())] + [mn.Dense(10)], (64,))


def convolutional() -> dict[str, Steps]:
    blocks = [layer for _ in range(4) for layer in (mn.Conv2D(8, 3), mn.ReLU())]
    return net_steps([*blocks, mn.MaxPool2D(2), mn.Flatten(), mn.Dense(10)], (8, 8, 8))


def measure(runs: dict[str, Steps], rounds: int, count: int = 5) -> dict[str, float]:
    """Median seconds of a step, by name; the ways take turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 1):
        for name, run in runs.items():
            run.prepare()
            start = time.thread_time()
            for _ in range(count):
                run.step()
            if i:  # the first round compiles
                times[name].append((time.thread_time() - start) / count)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="rules, dense net or conv net; all if none")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    makers: dict[str, Callable[[], dict[str, Steps]]] = {
        row.name: lambda rule=row.rule: rule_steps(rule)
        for row in ROWS  # type: ignore[misc]
    }
    makers |= {"dense net": dense, "conv net": convolutional}
    if unknown := set(arguments.names) - set(makers):
        parser.error(f"expected names of {', '.join(makers)}; got {', '.join(sorted(unknown))}")
    print("| steps of | usual, us | others, us | largest ratio |\n|---|---|---|---|")
    for name, make in makers.items():
        if not arguments.names or name in arguments.names:
            (_, usual), *others = measure(make(), arguments.rounds).items()
            cells = ", ".join(f"{kind} {1e6 * seconds:.0f}" for kind, seconds in others)
            ratio = max(seconds for _, seconds in others) / usual
            print(f"| {name} | {1e6 * usual:.0f} | {cells} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
