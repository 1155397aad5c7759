"""Whole runs in JAX: one jitted function, ``vmap`` over the runs and ``lax.scan`` over the steps.

Start weights and orders are drawn by NumPy beforehand, which is quicker than in the function. Batches are gathered by
index within the scan; a full batch needs no gather. Targets are one-hot, as gathering scores has a slow gradient. No
losses are kept.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from trainings import Data, Problem


def scores(p: Any, x: Any) -> Any:
    *hidden, (last_w, last_b) = p
    for w, b in hidden:
        x = jax.nn.relu(x @ w + b)
    return x @ last_w + last_b


def loss(p: Any, x: Any, targets: Any) -> Any:
    return -(jax.nn.log_softmax(scores(p, x)) * targets).sum(1).mean()


def update(rule: str, p: Any, g: Any, state: Any, rate: Any, t: Any) -> tuple[Any, Any]:
    """Parameters and state after a step; t counts steps from 1."""
    if rule == "sgd":
        return jax.tree.map(lambda p, g: p - rate * g, p, g), state
    if rule == "momentum":
        v = jax.tree.map(lambda v, g: 0.9 * v - rate * g, state, g)
        return jax.tree.map(jnp.add, p, v), v
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state[0], g)
    square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, state[1], g)
    step, fix = rate / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
    return jax.tree.map(lambda p, m, s: p - step * m / (jnp.sqrt(s) * fix + 1e-8), p, mean, square), (mean, square)


class Jax:
    """Several threads are XLA's own, unless the runs are divided among processes."""

    def __init__(self, problem: Problem, data: Data, threads: int) -> None:
        self.problem = problem
        self.data = jnp.array(data.x), jax.nn.one_hot(data.y, problem.units[-1])
        self.held = jnp.array(data.held_x), jnp.array(data.held_y, jnp.int32)

        def run(p: Any, rate: Any, order: Any, data: Any, held: Any) -> Any:
            def step(carry: Any, index: Any) -> tuple[Any, None]:
                p, state, t = carry
                x, targets = data if index is None else (data[0][index], data[1][index])
                p, state = update(problem.rule, p, jax.grad(loss)(p, x, targets), state, rate, t)
                return (p, state, t + 1), None

            zeros = jax.tree.map(jnp.zeros_like, p)
            state = {"sgd": (), "momentum": zeros, "adam": (zeros, zeros)}[problem.rule]
            (p, _, _), _ = lax.scan(step, (p, state, jnp.float32(1)), order, problem.steps)
            return (scores(p, held[0]).argmax(1) == held[1]).mean()

        self._train = jax.jit(jax.vmap(run, (0, 0, 0, None, None)))

    def train(self, runs: np.ndarray) -> np.ndarray:
        order = None if self.problem.is_full_batch else self.problem.orders(runs)
        return np.asarray(self._train(self.problem.start(runs), self.problem.rate(runs), order, self.data, self.held))
