"""A workload in minnet."""

import numpy as np
from workloads import LEARNING_RATE, Workload

import minnet as mn


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
