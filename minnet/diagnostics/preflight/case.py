"""The case that is checked: net, data and rule."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...base import checks, streams
from ...data import Batches, Data
from ...net.losses import Loss
from ...net.net import Net
from ...optim.rules import Adam, Rule
from ..chance import classes_that_count, counting
from ..rewire import without_streams

_SAMPLES = 2000  # largest number of samples that a check uses


@dataclass(frozen=True)
class Case:
    """A net, its data, and how it is to be trained.

    Attributes:
        net: the net. If it carries states on from pass to pass, a twin that does not, since samples are drawn.
        data: all data (x, y).
        x, y: some of the samples, in random order.
        rule, lr: update rule and learning rate of the training.
        few: number of samples to overfit.
        seed: seed of all random choices.
        batches: batches of the sizes in training.
    """

    net: Net
    data: Data
    x: np.ndarray
    y: np.ndarray
    rule: Rule
    lr: float
    few: int
    seed: int
    batches: Batches

    @classmethod
    def checked(
        cls, net: Net, data: Any, rule: Rule | None, lr: float, few: int, seed: int, batch_size: int, drop_last: bool
    ) -> "Case":
        """Return a case with the checked arguments of ``preflight``; raise TypeError or ValueError for bad ones."""
        if not isinstance(net, Net) or net.loss_function is None:
            raise TypeError(f"preflight: expected a Net with a loss; got {net!r}")
        if not net.params.size:
            raise ValueError(f"preflight: expected a net with parameters to train; got {net!r}")
        if rule is not None and not isinstance(rule, Rule):
            raise TypeError(f"preflight: expected rule to be a Rule, such as Adam(); got {rule!r}")
        if rule is not None and rule.searches:
            raise ValueError(f"preflight: expected a rule that takes batches; got {rule}")
        lr = checks.positive("preflight", "lr", lr)
        checks.count("preflight", "few", few, least=2)
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise TypeError(f"preflight: expected data as a pair (x, y); got {type(data).__name__}")
        x, y = checks.array("preflight", "x", data[0]), checks.array("preflight", "y", data[1])
        if x.shape[1:] != net.input_shape or y.ndim == 0 or len(x) != len(y) or len(x) < 2:
            raise ValueError(
                f"preflight: expected at least two samples of shape {net.input_shape} and as many targets; got x of "
                f"shape {x.shape}, y of shape {y.shape}{checks.turned(x.shape[1:], net.input_shape)}"
            )
        rng = streams.generator(checks.count("preflight", "seed", seed, least=0), "samples of preflight")
        chosen = rng.permutation(_counting(net, y))[:_SAMPLES]
        rule = Adam() if rule is None else rule
        # Only the sizes of the batches matter.
        batches = Batches((np.zeros(len(x)), np.zeros(len(x))), batch_size, drop_last=drop_last)
        return cls(without_streams(net), (x, y), x[chosen], y[chosen], rule, lr, min(few, len(chosen)), seed, batches)

    @property
    def loss(self) -> Loss:
        """The net's loss; ``checked`` ensures that there is one."""
        assert self.net.loss_function is not None
        return self.net.loss_function

    @property
    def labels(self) -> np.ndarray | None:
        """The class of each target that counts, in one axis, or None for a loss without classes."""
        return classes_that_count(self.loss, self.loss.check_targets(self.y, self.net.output_shape, self.net.dtype))

    def part(self, n: int) -> Data:
        """Return the first n samples."""
        return self.x[:n], self.y[:n]

    def __str__(self) -> str:
        return f"{self.net}, {len(self.data[0]):,} samples, {type(self.rule).__name__} at {self.lr:g}"


def _counting(net: Net, y: np.ndarray) -> np.ndarray:
    """Return the indices of samples that the loss counts; all if it refuses the targets, which a check reports."""
    assert net.loss_function is not None
    try:
        targets = net.loss_function.check_targets(y, net.output_shape, net.dtype)
        return counting(net.loss_function, targets, net.positions)
    except (TypeError, ValueError):
        return np.arange(len(y))
