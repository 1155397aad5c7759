"""Adagrad and Adadelta, which divide by the root of a running sum or mean of squares."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...base import checks
from ...kernels.chunks import for_size
from ...kernels.updates import elementwise as kernels
from ...kernels.updates.means import rest
from .base import Hyper, State
from .spikes import GuardedRule


@dataclass(frozen=True, kw_only=True)
class Adagrad(GuardedRule):
    """Adagrad: steps divided by the root of the sum of all squared gradients.

        s += g^2
        p -= lr * g / (sqrt(s) + eps)

    Args:
        eps: number added to the root.
        eps_in_root: whether to divide by sqrt(s + eps) instead.
        initial: value of s before the first step.

    State: ``squares`` is s. A step moves 20 bytes per parameter in float32: it reads p, g and s, and writes p and s.
    Source: Duchi, Hazan, Singer 2011, with a diagonal matrix.
    Conventions: CS231n: the defaults. PyTorch: ``eps=1e-10``. Keras: ``eps=1e-7, eps_in_root=True, initial=0.1``.
        scikit-learn does not have it.
    """

    eps: Hyper = 1e-8
    eps_in_root: bool = False
    initial: Hyper = 0.0
    slots: ClassVar[tuple[str, ...]] = ("squares",)
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        checks.non_negative("Adagrad", "eps", self.eps)
        checks.non_negative("Adagrad", "initial", self.initial)

    def start(self, params: np.ndarray, state: State) -> None:
        state[0].fill(self.initial)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        eps_root, eps = (self.eps, 0.0) if self.eps_in_root else (0.0, self.eps)
        scalars = map(params.dtype.type, (lr, eps_root, eps, lr * decay))
        step = for_size(params.size, kernels.adagrad, kernels.adagrad_parallel)
        if not step(params, grads, state[0], *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class Adadelta(GuardedRule):
    """Adadelta: steps in the proportion of the running mean squares of steps and gradients.

        s = rho s + (1 - rho) g^2
        u = g * sqrt(d + eps) / sqrt(s + eps)
        d = rho d + (1 - rho) u^2
        p -= lr * u

    Args:
        rho: share of s and d that is kept in each step, in [0, 1).
        eps: number added under both roots, above 0.

    State: ``squares`` is s, ``updates`` is d. A step moves 28 bytes per parameter in float32: it reads p, g, s and d,
        and writes p, s and d.
    Source: Zeiler 2012, algorithm 1, with learning rate 1.
    Conventions: PyTorch: ``rho=0.9``. Keras: ``eps=1e-7``; its default learning rate is 0.001. scikit-learn and CS231n
        do not have it.
    """

    rho: Hyper = 0.95
    eps: Hyper = 1e-6
    slots: ClassVar[tuple[str, ...]] = ("squares", "updates")
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        checks.fraction("Adadelta", "rho", self.rho)
        checks.positive("Adadelta", "eps", self.eps)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        cast = params.dtype.type
        scalars = map(cast, (lr, self.eps, lr * decay))
        step = for_size(params.size, kernels.adadelta, kernels.adadelta_parallel)
        if not step(params, grads, state[0], state[1], rest(cast, self.rho), *scalars):
            self.refuse(grads)
