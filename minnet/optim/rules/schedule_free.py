"""Schedule-free SGD and AdamW: an average of the iterates replaces a learning rate that decreases.

There are three sequences (Defazio et al. 2024, equations 3 to 5). z takes the steps, x is the average of z, and
gradients are computed at y, which lies between z and x:

    y = (1 - beta) z + beta x
    z = z - lr * d(y)
    x = (1 - c) x + c z    with c = lr^2 / (sum of lr^2 so far)

The parameters are y. The slot ``base`` is z. Predictions use x, which ``evaluated`` returns, and therefore
``Optimizer.evaluating()`` and ``settle()``. For a warm-up, use a schedule that increases and then stays constant. The
small learning rates of the warm-up have little weight in x, because weights are squares of learning rates. With a
constant learning rate, x is the plain mean of z.

x follows from y and z: x = z + (y - z) / beta. It is therefore not stored. With this, and with the beta of the previous
step, a step from y and z is y += pull * (z - y) - push * d with

    pull = 1 - beta (1 - c) / beta_before
    push = lr * (1 - beta (1 - c))
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...base import checks
from ...kernels.chunks import for_size
from ...kernels.updates import schedule_free as kernels
from ...kernels.updates.means import rest
from .base import Hyper, State
from .spikes import GuardedRule

_NUMBERS = ("weights", "beta")  # the sum of lr^2, and the beta by which y lies between z and x


def _advance(numbers: np.ndarray, beta: float, rate: float) -> tuple[float, float]:
    """Return ``pull`` and ``push`` of a step, and update ``numbers``."""
    weights, before = (float(number) for number in numbers)
    weights += rate * rate
    c = rate * rate / weights if weights > 0 else 0.0
    numbers[:] = weights, beta
    return 1 - beta * (1 - c) / before, rate * (1 - beta * (1 - c))


def _average(params: np.ndarray, base: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return x for given y and z; ``numbers`` contains the beta of the last step."""
    average: np.ndarray = base + (params - base) / params.dtype.type(numbers[1])
    return average


@dataclass(frozen=True, kw_only=True)
class ScheduleFreeSGD(GuardedRule):
    """Schedule-free gradient descent.

        y, z, x as at the top of this module, with d = g + decay * y

    Args:
        beta: share of x in the point y at which gradients are computed, in (0, 1].

    State: ``base`` is z; the numbers are ``weights``, the sum of lr^2, and ``beta``, its last value. A step moves 20
        bytes per parameter in float32: it reads y, g and z, and writes y and z.
    Source: Defazio et al. 2024, equations 3 to 5, with the weights lr^2 of algorithm 1 and beta 0.9.
    Conventions: the code of the authors uses the square of the largest learning rate so far as weight, which is the
        same unless the learning rate decreases. PyTorch, Keras, scikit-learn and CS231n do not have it.
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
        step = for_size(params.size, kernels.schedule_free_sgd, kernels.schedule_free_sgd_parallel)
        if not step(params, grads, base, *map(params.dtype.type, (lr, pull, push, decay))):
            self.refuse(grads)

    def evaluated(self, params: np.ndarray, state: State) -> np.ndarray:
        return _average(params, *state)


@dataclass(frozen=True, kw_only=True)
class ScheduleFreeAdamW(GuardedRule):
    """Schedule-free AdamW. The interpolation between z and x replaces the running mean of Adam.

        v = beta2 v + (1 - beta2) g^2
        y, z, x as at the top of this module, with d = g / (sqrt(v / (1 - beta2^t)) + eps) + decay * y

    Args:
        beta1: share of x in the point y at which gradients are computed, in (0, 1].
        beta2: share of v that is kept in each step, in [0, 1).
        eps: number added to the root.
        correction_in_rate: whether sqrt(1 - beta2^t) is a factor of the learning rate, and therefore also of the
            weights and the decay. d then has the uncorrected root.

    State: ``base`` is z, ``squares`` is v; the numbers are those of ``ScheduleFreeSGD``. A step moves 28 bytes per
        parameter in float32: it reads y, g, z and v, and writes y, z and v.
    Source: Defazio et al. 2024, algorithm 1; learning rate 0.0025.
    Conventions: the code of the authors: the defaults, except for its weights (see ``ScheduleFreeSGD``). Its "paper"
        version, which was used for the experiments of the paper: ``correction_in_rate=True``. PyTorch, Keras,
        scikit-learn and CS231n do not have it.
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
        step = for_size(params.size, kernels.schedule_free_adamw, kernels.schedule_free_adamw_parallel)
        if not step(params, grads, base, squares, rest(cast, self.beta2), *scalars):
            self.refuse(grads)

    def evaluated(self, params: np.ndarray, state: State) -> np.ndarray:
        base, _, numbers = state
        return _average(params, base, numbers)
