"""Whole runs in minnet, by ``fit``. With several threads, as many Python threads train runs side by side."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from trainings import Data, Problem

import minnet as mn

RULES = {"sgd": mn.SGD(), "momentum": mn.Momentum(0.9), "adam": mn.Adam()}


class Minnet:
    """Net and fit as a user writes them."""

    def __init__(self, problem: Problem, data: Data, threads: int) -> None:
        self.problem, self.data = problem, data
        self._threads = ThreadPoolExecutor(threads, initializer=mn.set_num_threads, initargs=(1,))
        self._map = map if threads == 1 else self._threads.map

    def train(self, runs: np.ndarray) -> np.ndarray:
        rates = self.problem.rate(runs)
        return np.array(list(self._map(self.run, runs.tolist(), rates.tolist())))

    def run(self, seed: int, rate: float) -> float:
        net = self.net(seed)
        mn.fit(
            net, (self.data.x, self.data.y), rule=RULES[self.problem.rule], lr=rate, batch_size=self.problem.batch,
            epochs=self.problem.epochs, seed=seed, progress=False,
        )  # fmt: skip
        return net.evaluate(self.data.held_x, self.data.held_y)["accuracy"]

    def net(self, seed: int) -> mn.Net:
        features, *hidden, classes = self.problem.units
        layers = [layer for units in hidden for layer in (mn.Dense(units), mn.ReLU())]
        return mn.Net([*layers, mn.Dense(classes)], features, mn.SoftmaxCrossEntropy(), seed=seed)


class Parts(Minnet):
    """The same on one thread, which tells how long the compiled loops work in themselves."""

    def kernel_seconds(self, runs: np.ndarray) -> float:
        """Seconds that recorded programs work in one step; all else in a run is Python, or is done once a run."""
        from minnet.kernels.replay import Program

        spent, steps, plain = 0.0, 0, Program.run

        def timed(program: Program, table: np.ndarray, cursors: np.ndarray) -> tuple[int, np.ndarray]:
            nonlocal spent, steps
            start = time.perf_counter()
            done = plain(program, table, cursors)
            spent, steps = spent + time.perf_counter() - start, steps + done[0]
            return done

        Program.run = timed  # type: ignore[method-assign]
        try:
            self.train(runs)
        finally:
            Program.run = plain  # type: ignore[method-assign]
        return spent / steps if steps else float("nan")
