"""The run that calls of ``partial_fit`` make up: one epoch a call, each on samples of its own."""

import math
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from ..data import Batches
from ..net.net import Net
from ..optim.optimizer import Optimizer
from ..optim.rules import Rule
from ..schedules.given import as_schedule
from ..schedules.schedule import resolved
from ..training.divergence import DivergenceError
from ..training.history import History
from ..training.inputs import Rate, rate_at
from .samples import Samples


@dataclass
class Passes:
    """The state of the run between two calls. An optimizer cannot be copied, so its arrays are kept.

    Attributes:
        epochs, steps: how many were taken.
        params: the point at which the rule trains; most rules predict with it too.
        slots, numbers: state of the rule, see ``Optimizer``.
    """

    rule: Rule
    lr: Rate
    seed: int
    epochs: int = 0
    steps: int = 0
    params: np.ndarray | None = field(default=None, repr=False)
    slots: np.ndarray | None = field(default=None, repr=False)
    numbers: np.ndarray | None = field(default=None, repr=False)

    def epoch(self, who: str, net: Net, samples: Samples, batch_size: int, drop_last: bool) -> float:
        """Take the steps of one epoch and return its mean loss, with penalties.

        Raises:
            DivergenceError: a loss or gradient is not finite. Net and run are as before.
        """
        data = samples.x, samples.y
        batches = Batches(data, batch_size, seed=self.seed, drop_last=drop_last, dtype=net.dtype)
        batches.gather_weights(samples.weights)
        batches.seek(self.epochs)
        lr = resolved(as_schedule(who, "lr", self.lr), len(batches))
        optimizer = Optimizer(net, self.rule)
        kept = net.params.copy(), net.buffers.copy(), net.step
        if self.params is not None and self.slots is not None and self.numbers is not None:
            net.params, optimizer.state, optimizer.numbers = self.params, self.slots, self.numbers
        optimizer.steps = self.steps
        total = 0.0
        try:
            for x, y in batches.epoch():
                weights = batches.weights(len(y))
                with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not finite is seen below
                    loss = net.loss_and_grads(x, y, sample_weight=weights)
                if not math.isfinite(loss):
                    _diverged(who, f"loss {loss} at step {optimizer.steps + 1}")
                total += loss * (len(y) if weights is None else float(weights.sum()))
                optimizer.step(rate_at(lr, optimizer.steps))
            if not np.isfinite(net.params).all():
                _diverged(who, f"NaN or infinity in {net.first_non_finite()}")
        except FloatingPointError as error:
            net.params, net.buffers, net.step = kept
            if isinstance(error, DivergenceError):
                raise
            _diverged(who, str(error))
        except BaseException:
            net.params, net.buffers, net.step = kept
            raise
        self.params, self.slots, self.numbers = net.params.copy(), optimizer.state.copy(), optimizer.numbers.copy()
        self.epochs, self.steps = self.epochs + 1, optimizer.steps
        optimizer.settle()
        counted = batches.per_epoch if samples.weights is None else float(samples.weights.sum())
        return total / counted


def _diverged(who: str, got: str) -> NoReturn:
    raise DivergenceError(
        f"{who}.partial_fit: expected a finite loss and gradient; got {got}. The weights are those from before the "
        "call. Try a lower learning rate",
        History(),
    )
