"""Schedule-free SGD and AdamW: an average of the iterates stands in for a falling learning rate.

Three sequences (Defazio et al. 2024, equations 3 to 5): z steps, x averages z, and gradients are taken at y between
them.

    y = (1 - beta) z + beta x;    z = z - lr * d(y);    x = (1 - c) x + c z    with c = lr^2 / (sum of lr^2 so far)

The parameters *are* y; z is the slot ``base``; x, which is meant to be used, comes from ``evaluated``, so from
``Optimizer.evaluating()`` and ``settle()``. A warm-up is the schedule's business: give a rate that rises and then
stays. The squares let its small rates count little; at a constant rate x is the plain mean.

y and z alone say what x is, x = z + (y - z) / beta, which saves an array. Put in the above, a step from y, z and
the beta of the step before is y += pull * (z - y) - push * d with

    pull = 1 - beta (1 - c) / beta_before,    push = lr * (1 - beta (1 - c))

"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import checks
from ...kernels.updates import schedule_free as kernels
from ...kernels.updates.means import rest
from .base import Hyper, State
from .spikes import GuardedRule

_NUMBERS = ("weights", "beta")  # the sum of lr^2, and the beta by which y lies between z and x


def _advance(numbers: np.ndarray, beta: float, rate: float) -> tuple[float, float]:
    """``pull`` and ``push`` of a step; ``numbers`` are then those after it."""
    weights, before = (float(number) for number in numbers)
    weights += rate * rate
    c = rate * rate / weights if weights > 0 else 0.0
    numbers[:] = weights, beta
    return 1 - beta * (1 - c) / before, rate * (1 - beta * (1 - c))


def _average(params: np.ndarray, base: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """x, from y, z and the beta between them."""
    average: np.ndarray = base + (params - base) / params.dtype.type(numbers[1])
    return average


@dataclass(frozen=True, kw_only=True)
class ScheduleFreeSGD(GuardedRule):
    """The above with d = g + decay * y.

    Source: Defazio et al. 2024, equations 3 to 5, with the weights lr^2 of its algorithm 1; beta 0.9.
    State: ``base`` is z; the numbers ``weights``, the sum of lr^2, and ``beta``, its last value. Moves 20 bytes a
    parameter in float32: y, g, z read; y, z written.
    Conventions: the authors' code weights by the square of the largest rate so far, which is the same while the rate
    does not fall. PyTorch, Keras, scikit-learn and CS231n have none.
    """

    beta: Hyper = 0.9
    slots: ClassVar[tuple[str, ...]] = ("base",)
    numbers: ClassVar[tuple[str, ...]] = _NUMBERS

    def check(self) -> None:
        checks.share("ScheduleFreeSGD", "beta", self.beta)

    def start(self, params: np.ndarray, state: State) -> None:
        np.copyto(state[0], params)
        state[1][:] = 0.0, 1.0  # x, y and z are one

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        base, numbers = state
        pull, push = _advance(numbers, self.beta, lr)
        if not kernels.schedule_free_sgd(params, grads, base, *map(params.dtype.type, (lr, pull, push, decay))):
            self.refuse(grads)

    def evaluated(self, params: np.ndarray, state: State) -> np.ndarray:
        return _average(params, *state)


@dataclass(frozen=True, kw_only=True)
class ScheduleFreeAdamW(GuardedRule):
    """The above with v = beta2 v + (1 - beta2) g^2 and d = g / (sqrt(v / (1 - beta2^t)) + eps) + decay * y.

    beta1 is what is beta above: the interpolation takes the place of Adam's mean.

    Source: Defazio et al. 2024, algorithm 1; lr 0.0025.
    State: ``base`` is z, ``squares`` is v; numbers as in ``ScheduleFreeSGD``. Moves 28 bytes a parameter in float32:
    y, g, z, v read; y, z, v written.
    Conventions: the authors' code: the defaults, but for its weights (see ``ScheduleFreeSGD``). Their "paper" version,
    with which they made the paper's experiments: ``correction_in_rate=True``, where sqrt(1 - beta2^t) is a factor of
    the rate, so of the weights and the decay too, and d has the uncorrected root. PyTorch, Keras, scikit-learn and
    CS231n have none.
    """

    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-8
    correction_in_rate: bool = False
    slots: ClassVar[tuple[str, ...]] = ("base", "squares")
    numbers: ClassVar[tuple[str, ...]] = _NUMBERS

    def check(self) -> None:
        checks.share("ScheduleFreeAdamW", "beta1", self.beta1)
        checks.fraction("ScheduleFreeAdamW", "beta2", self.beta2)
        checks.non_negative("ScheduleFreeAdamW", "eps", self.eps)

    def start(self, params: np.ndarray, state: State) -> None:
        np.copyto(state[0], params)
        state[2][:] = 0.0, 1.0  # x, y and z are one

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        base, squares, numbers = state
        root = math.sqrt(1 - self.beta2**t)
        rate, root_fix = (lr * root, 1.0) if self.correction_in_rate else (lr, 1 / root)
        pull, push = _advance(numbers, self.beta1, rate)
        cast = params.dtype.type
        scalars = map(cast, (rate, pull, push, root_fix, self.eps, decay))
        if not kernels.schedule_free_adamw(params, grads, base, squares, rest(cast, self.beta2), *scalars):
            self.refuse(grads)

    def evaluated(self, params: np.ndarray, state: State) -> np.ndarray:
        base, _, numbers = state
        return _average(params, base, numbers)
