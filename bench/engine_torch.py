"""Whole runs in PyTorch: one after another as users write them, or all of them stacked in the same tensors."""

import math

import numpy as np
import torch
from torch import nn
from trainings import Data, Problem


def tensors(data: Data) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in data]


class OneByOne:
    """nn.Sequential and a fused optimizer. The data are put in order once an epoch; batches are slices."""

    def __init__(self, problem: Problem, data: Data, threads: int) -> None:
        torch.set_num_threads(threads)
        self.problem = problem
        self.x, self.y, self.held_x, self.held_y = tensors(data)

    def train(self, runs: np.ndarray) -> np.ndarray:
        return np.array(
            [self.run(np.array([run]), rate) for run, rate in zip(runs, self.problem.rate(runs).tolist(), strict=True)]
        )

    def run(self, run: np.ndarray, rate: float) -> float:
        problem = self.problem
        model = self.model(run)
        optimizer: torch.optim.Optimizer
        if problem.rule == "adam":
            optimizer = torch.optim.Adam(model.parameters(), rate, fused=True)
        else:
            momentum = 0.9 if problem.rule == "momentum" else 0.0
            optimizer = torch.optim.SGD(model.parameters(), rate, momentum, fused=True)
        generator = torch.Generator().manual_seed(int(run[0]))
        x, y = self.x, self.y
        for _ in range(problem.epochs):
            if not problem.is_full_batch:
                order = torch.randperm(problem.samples, generator=generator)
                x, y = self.x.index_select(0, order), self.y.index_select(0, order)
            for xs, ys in zip(x.split(problem.batch), y.split(problem.batch), strict=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(xs), ys).backward()
                optimizer.step()
        with torch.no_grad():
            return (model(self.held_x).argmax(1) == self.held_y).float().mean().item()

    def model(self, run: np.ndarray) -> nn.Sequential:
        parts: list[nn.Module] = []
        for w, b in self.problem.start(run):
            layer = nn.Linear(*w.shape[1:])
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(w[0].T))
                layer.bias.copy_(torch.from_numpy(b[0]))
            parts += [layer, nn.ReLU()]
        return nn.Sequential(*parts[:-1])


class Stacked:
    """All runs at once: products of stacks of matrices, and an update of one matrix with a row for each run.

    Optimizers of PyTorch have one rate for all elements of a tensor, so the update is written out.
    """

    def __init__(self, problem: Problem, data: Data, threads: int) -> None:
        torch.set_num_threads(threads)
        self.problem = problem
        self.x, self.y, self.held_x, self.held_y = tensors(data)

    def train(self, runs: np.ndarray) -> np.ndarray:
        problem, count = self.problem, len(runs)
        drawn = [torch.from_numpy(array) for pair in problem.start(runs) for array in pair]
        sizes = [array[0].numel() for array in drawn]
        params = torch.cat([array.reshape(count, -1) for array in drawn], 1)
        parts = [
            part.view(array.shape).requires_grad_() for part, array in zip(params.split(sizes, 1), drawn, strict=True)
        ]
        state = [torch.zeros_like(params) for _ in range(2)]
        rates = torch.from_numpy(problem.rate(runs)).reshape(-1, 1)
        order = None if problem.is_full_batch else torch.from_numpy(problem.orders(runs).swapaxes(0, 1).copy())
        x, y = self.x.expand(count, -1, -1), self.y.expand(count, -1).reshape(-1)
        for step in range(problem.steps):
            if order is not None:
                index = order[step].view(-1)
                x, y = self.x.index_select(0, index).view(count, problem.batch, -1), self.y.index_select(0, index)
            scores = self.scores(parts, x).reshape(len(y), -1)
            # The mean over a run's batch, summed over the runs, whose gradients are independent.
            loss = nn.functional.cross_entropy(scores, y, reduction="sum") / problem.batch
            grads = torch.cat([grad.view(count, -1) for grad in torch.autograd.grad(loss, parts)], 1)
            with torch.no_grad():
                self.update(params, grads, state, rates, step + 1)
        with torch.no_grad():
            found = self.scores(parts, self.held_x.expand(count, -1, -1)).argmax(2) == self.held_y
            return found.float().mean(1).numpy()

    def scores(self, parts: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        for i in range(0, len(parts), 2):
            x = torch.baddbmm(parts[i + 1].unsqueeze(1), x.relu() if i else x, parts[i])
        return x

    def update(
        self, params: torch.Tensor, g: torch.Tensor, state: list[torch.Tensor], rates: torch.Tensor, t: int
    ) -> None:
        match self.problem.rule:
            case "sgd":
                params.addcmul_(g, rates, value=-1)
            case "momentum":
                state[0].mul_(0.9).addcmul_(g, rates, value=-1)
                params.add_(state[0])
            case _:
                mean, square = state
                mean.lerp_(g, 0.1)
                square.mul_(0.999).addcmul_(g, g, value=0.001)
                root = square.sqrt().div_(math.sqrt(1 - 0.999**t)).add_(1e-8)
                params.addcmul_(mean / root, rates, value=-1 / (1 - 0.9**t))
