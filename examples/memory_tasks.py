"""Three tasks that need memory, with known answers, and the gradients that reach back through time in them.

    python examples/memory_tasks.py                  all tasks: three to four minutes of one core
    python examples/memory_tasks.py --tasks adding   one of them

A recurrent layer with tanh, from uniform weights as PyTorch draws them and from orthogonal ones, a GRU and an LSTM of
equal width and, where each position has an answer, causal attention are trained with Adam and clipped gradients on

    adding  Two of T random numbers are marked; the answer is their sum (Hochreiter and Schmidhuber 1997). Who always
            answers 1 has a mean squared error of 1/6, the variance of the sum of two uniform numbers.
    copy    Ten symbols out of eight, blanks, and a mark T steps later, after which the ten are to be repeated (the same
            authors, in the form of Arjovsky, Shah and Bengio 2016). Who remembers nothing has a mean cross-entropy of
            10 log 8 / (T + 20).
    parity  Whether the number of ones so far is odd, at each of T positions. Who guesses has log 2.

Figures go into the folder named by --out. One has the losses on held-out sequences over training. For the adding task,
two have the norm of the gradient of the loss with respect to the state k steps before the end, before and after
training. There a recurrent layer with large weights, whose gradients explode, is also trained by plain gradient
descent, with its gradients clipped and as they are.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots
from minnet.diagnostics import gradients_through_time
from minnet.layers.initializers import Orthogonal, Uniform

BATCH, HELD_OUT, EPOCHS = 64, 1000, 20
ATTENTION_RATE = 0.003  # with the 0.01 of recurrent layers in copying, attention gets stuck, at T = 40 above all


@dataclass(frozen=True)
class Task:
    """Sequences with answers, and a network for them but for its recurrent layer."""

    make: Callable[[np.random.Generator, int], mn.data.Data]
    before: tuple[mn.Layer, ...]
    after: tuple[mn.Layer, ...]
    loss: mn.Loss
    chance: float  # loss of who remembers nothing
    rate: float  # first learning rate of recurrent layers
    last: bool = False  # whether the answer comes at the end only
    asked_from: int = 0  # first position whose answer needs memory

    def net(self, layer: mn.Layer) -> mn.Net:
        shape = self.make(np.random.default_rng(0), 1)[0].shape[1:]
        return mn.Net([*self.before, layer, *self.after], shape, self.loss, seed=0)


def adding(length: int) -> Task:
    def make(rng: np.random.Generator, n: int) -> mn.data.Data:
        x = np.zeros((n, length, 2), np.float32)
        x[..., 0] = rng.random((n, length))
        each, half = np.arange(n), length // 2
        first, second = rng.integers(0, half, n), rng.integers(half, length, n)
        x[each, first, 1] = x[each, second, 1] = 1
        return x, x[each, first, :1] + x[each, second, :1]

    return Task(make, (), (mn.Dense(1),), mn.SquaredError(), 1 / 6, 0.003, last=True)


def copy(length: int) -> Task:
    blank, mark, symbols = 8, 9, 10

    def make(rng: np.random.Generator, n: int) -> mn.data.Data:
        x, y = np.full((2, n, length + 2 * symbols), blank, np.int32)
        x[:, :symbols] = y[:, -symbols:] = rng.integers(0, 8, (n, symbols))
        x[:, -symbols - 1] = mark
        return x, y

    chance = symbols * math.log(8) / (length + 2 * symbols)
    net = (mn.Embedding(10, 10),), (mn.Dense(9),)
    return Task(make, *net, mn.SoftmaxCrossEntropy(), chance, 0.01, asked_from=-symbols)


def parity(length: int) -> Task:
    def make(rng: np.random.Generator, n: int) -> mn.data.Data:
        bits = rng.integers(0, 2, (n, length), np.int32)
        return bits, bits.cumsum(axis=1, dtype=np.int32) % 2

    return Task(make, (mn.Embedding(2, 4),), (mn.Dense(2),), mn.SoftmaxCrossEntropy(), math.log(2), 0.003)


TASKS = {"adding": (adding, [100]), "copy": (copy, [5, 40]), "parity": (parity, [40])}  # with values of T


def kinds(units: int, last: bool) -> dict[str, mn.Layer]:
    """Layers to compare: recurrent ones and, if there is an answer at each position, attention to those before it."""
    recurrent = {
        "RNN, uniform": mn.RNN(units, recurrent_init=Uniform(units**-0.5), last=last),
        "RNN, orthogonal": mn.RNN(units, last=last),
        "GRU": mn.GRU(units, last=last),
        "LSTM": mn.LSTM(units, last=last),
    }
    if last:
        return recurrent
    looking_back = [mn.LayerNorm(), mn.SelfAttention(math.gcd(units, 4), causal=True)]
    return recurrent | {
        "attention": mn.Chain([mn.Dense(units), mn.PositionalEncoding(), mn.Residual(looking_back), mn.LayerNorm()])
    }


def train(net: mn.Net, task: Task, steps: int, rule: mn.Rule, rate: float, clip: float) -> mn.History:
    """Train in 20 epochs, or fewer of at least one step, and measure on other sequences after each."""
    rng = np.random.default_rng(1)
    held_out, data = task.make(rng, HELD_OUT), task.make(rng, BATCH * max(steps // EPOCHS, 1))
    return mn.fit(
        net, data, rule=rule, lr=mn.schedules.Cosine(rate, steps), batch_size=BATCH, steps=steps, clip_norm=clip,
        validation=held_out, progress=False,
    )  # fmt: skip


def right(task: Task, net: mn.Net) -> float:
    """Share of the answers that need memory which the net gets right, on sequences that it was not trained with."""
    x, y = task.make(np.random.default_rng(2), HELD_OUT)
    return float((net.predict(x).argmax(axis=-1) == y)[:, task.asked_from :].mean())


def compare(task: Task, steps: int, units: int) -> tuple[dict[str, mn.Net], dict]:
    """Train each kind of layer on a task: (trained nets, (steps, losses) for a figure), by name."""
    nets, lines = {}, {}
    for name, layer in kinds(units, task.last).items():
        begun = time.perf_counter()
        nets[name] = task.net(layer)
        rate = ATTENTION_RATE if name == "attention" else task.rate
        history = train(nets[name], task, steps, mn.Adam(), rate, 1.0)
        losses = history["val_loss"]
        share = "" if task.last else f"   {right(task, nets[name]):6.1%} of the answers are right"
        print(f"  {name:<16} {losses[-1]:.4f}{share}   ({time.perf_counter() - begun:.0f} s)", flush=True)
        lines[name] = history["step"], np.array([losses])
    lines["without memory"] = history["step"], np.full((1, len(losses)), task.chance)
    return nets, lines


def look_back(task: Task, nets: dict[str, mn.Net], units: int, steps: int, out: Path) -> None:
    """Draw how the gradients of the nets go back through time, and train a net whose gradients explode."""
    x, y = task.make(np.random.default_rng(2), 200)
    large = mn.RNN(units, recurrent_init=Orthogonal(1.5), last=task.last)
    start = {name: task.net(layer) for name, layer in kinds(units, task.last).items()} | {"RNN, large": task.net(large)}
    trained = dict(nets)
    print("RNN with large weights, by plain gradient descent")
    for name, clip in (("clipped", 1.0), ("not clipped", math.inf)):
        net = task.net(large)
        try:
            history = train(net, task, steps, mn.SGD(), 0.05, clip)
            end = f"loss {history['val_loss'][-1]:.4f}"
            trained[f"RNN, large, {name}"] = net
        except mn.DivergenceError as error:
            history, end = error.history, "diverged"
        norms = history.steps["grad_norm"]
        print(f"  {name:<16} {end} after {len(norms)} steps, norm of the gradient up to {max(norms):.3g}", flush=True)
    for when, group in (("before", start), ("after", trained)):
        found = {name: gradients_through_time(net, x, y) for name, net in group.items()}
        print(f"factor by which the norm of the gradient changes in a step backwards, {when} training")
        for name, result in found.items():
            print(f"  {name:<24}", ", ".join(f"{state[-1]} {result.rate(state):.3f}" for state in result.norms))
        title = f"Adding, {when} training"
        plots.gradients_through_time(out / f"memory_gradients_{when}.png", found, title=title)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--steps", type=int, default=2000, help="of training, each on 64 sequences (%(default)s)")
    parser.add_argument("--time", type=int, help="T; 100 for adding, 5 and 40 for copy, 40 for parity")
    parser.add_argument("--units", type=int, default=64, help="of the recurrent layer (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for the figures")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    curves = {}
    chosen = [(name, arguments.time or length) for name in arguments.tasks for length in TASKS[name][1]]
    for name, length in dict.fromkeys(chosen):
        task = TASKS[name][0](length)
        print(f"{name}, T = {length}: loss without memory {task.chance:.4f}", flush=True)
        nets, curves[f"{name}, T = {length}"] = compare(task, arguments.steps, arguments.units)
        if name == "adding":
            look_back(task, nets, arguments.units, max(arguments.steps // 3, 1), arguments.out)
    plots.comparison(
        arguments.out / "memory_tasks.png", curves, xlabel="step", ylabel="loss on held-out sequences", log_y=True,
        share_y=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
