"""A workload in minnet."""

import time
from functools import cached_property

import numpy as np
from workloads import LEARNING_RATE, Workload

import minnet as mn

COPIES = 8  # of the batch, which a Trainer is given
SECONDS = 0.1  # of a call of ``Fit``, by the time of a single step


class Minnet:
    """Net and Optimizer as a user writes them."""

    def __init__(self, work: Workload, params: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        self.net = work.net()
        self.net.params = params
        self.optimizer, self.x, self.y = mn.Optimizer(self.net, work.rule), x, y

    def loss_and_gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        self.net.loss_and_grads(self.x, self.y)
        return self.net.objective.data, {name: g.copy() for name, g in self.net.named_gradients().items()}

    def step(self) -> float:
        loss = self.net.loss_and_grads(self.x, self.y)
        self.optimizer.step(LEARNING_RATE)
        return loss

    def predict(self) -> np.ndarray:
        return self.net.predict(self.x, batch_size=len(self.x))


class Fit(Minnet):
    """The same steps in a Trainer, which records them and replays them by compiled code.

    A call is a run of ``steps_a_call`` steps through eight copies of the batch, in a new order each time they have been
    seen. Each step's batch is gathered and its loss is kept. The time of a call includes the construction of the run.
    """

    def __init__(self, work: Workload, params: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__(work, params, x, y)
        self.data = np.concatenate([x] * COPIES), np.concatenate([y] * COPIES)

    @cached_property
    def steps_a_call(self) -> int:
        super().step()  # compiles and reads what is needed
        start = time.perf_counter()
        super().step()
        return max(COPIES, int(SECONDS / (time.perf_counter() - start)))

    def step(self) -> float:
        run = mn.Trainer(
            self.net, self.data, rule=self.optimizer.rule, lr=LEARNING_RATE, batch_size=len(self.x),
            steps=self.steps_a_call,
        )  # fmt: skip
        return run.run(progress=False).steps["loss"][-1]
