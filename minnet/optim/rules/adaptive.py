"""Adagrad and Adadelta, which divide by the root of a running sum or mean of squares."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import checks
from ...kernels.updates import elementwise as kernels
from ...kernels.updates.means import rest
from .base import Hyper, State
from .spikes import GuardedRule


@dataclass(frozen=True, kw_only=True)
class Adagrad(GuardedRule):
    """s += g^2; p -= lr * g / (sqrt(s) + eps).

    Source: Duchi, Hazan, Singer 2011, with a diagonal matrix; s starts at ``initial``.
    State: ``squares`` is s. Moves 20 bytes a parameter in float32: p, g, s read; p, s written.
    Conventions: CS231n: the defaults. PyTorch: ``eps=1e-10``. Keras: ``eps=1e-7, eps_in_root=True, initial=0.1``, which
    divides by sqrt(s + eps) and starts s at 0.1. scikit-learn has none.
    """

    eps: Hyper = 1e-8
    eps_in_root: bool = False
    initial: Hyper = 0.0
    slots: ClassVar[tuple[str, ...]] = ("squares",)

    def check(self) -> None:
        checks.non_negative("Adagrad", "eps", self.eps)
        checks.non_negative("Adagrad", "initial", self.initial)

    def start(self, params: np.ndarray, state: State) -> None:
        state[0].fill(self.initial)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        eps_root, eps = (self.eps, 0.0) if self.eps_in_root else (0.0, self.eps)
        scalars = map(params.dtype.type, (lr, eps_root, eps, lr * decay))
        if not kernels.adagrad(params, grads, state[0], *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class Adadelta(GuardedRule):
    """s = rho * s + (1 - rho) * g^2; u = g * sqrt(d + eps) / sqrt(s + eps); d = rho * d + (1 - rho) * u^2; p -= lr * u.

    Source: Zeiler 2012, algorithm 1, where lr is 1.
    State: ``squares`` is s, ``updates`` is d. Moves 28 bytes a parameter in float32: p, g, s, d read; p, s, d written.
    Conventions: PyTorch: ``rho=0.9``. Keras: ``eps=1e-7``, and lr is 0.001 unless told. scikit-learn and CS231n have
    none.
    """

    rho: Hyper = 0.95
    eps: Hyper = 1e-6
    slots: ClassVar[tuple[str, ...]] = ("squares", "updates")

    def check(self) -> None:
        checks.fraction("Adadelta", "rho", self.rho)
        checks.positive("Adadelta", "eps", self.eps)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        cast = params.dtype.type
        scalars = map(cast, (lr, self.eps, lr * decay))
        if not kernels.adadelta(params, grads, state[0], state[1], rest(cast, self.rho), *scalars):
            self.refuse(grads)
