"""RMSprop: plain, with momentum, centred, and both, each a rule of its own that keeps and moves no more than it needs.

s = rho s + (1 - rho) g^2 is the running mean of squares. Centred, m = rho m + (1 - rho) g is that of the gradient, and
its variance s - m^2 stands in place of s. That difference would be round-off where the gradient varies little, so the
variance is kept itself, as c = rho (c + (1 - rho) (g - m)^2) with m from before the step (West 1979), which is the same
number. ``eps_in_root`` puts eps under the root, sqrt(s + eps), else it is added to the root, sqrt(s) + eps.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import checks
from ...kernels.updates import elementwise as kernels
from ...kernels.updates.means import rest
from .base import Hyper, State
from .spikes import GuardedRule


@dataclass(frozen=True, kw_only=True)
class RMSprop(GuardedRule):
    """s = rho s + (1 - rho) g^2; p -= lr * g / (sqrt(s) + eps).

    Source: Tieleman and Hinton 2012, lecture 6e, where rho is 0.9.
    State: ``squares`` is s. Moves 20 bytes a parameter in float32: p, g, s read; p, s written.
    Conventions: CS231n and PyTorch: the defaults (CS231n tries rho 0.9, 0.99, 0.999). Keras: ``rho=0.9, eps=1e-7,
    eps_in_root=True``. scikit-learn has none.
    """

    rho: Hyper = 0.99
    eps: Hyper = 1e-8
    eps_in_root: bool = False
    slots: ClassVar[tuple[str, ...]] = ("squares",)

    def check(self) -> None:
        _check(self)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        cast = params.dtype.type
        scalars = map(cast, (lr, *_places_of_eps(self), lr * decay))
        if not kernels.rmsprop(params, grads, state[0], rest(cast, self.rho), *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class RMSpropMomentum(GuardedRule):
    """s as in RMSprop; v = momentum v + g / (sqrt(s) + eps); p -= lr * v.

    ``lr_in_velocity=True``: v = momentum v - lr * g / (sqrt(s) + eps); p += v; see ``Momentum``.

    Source: PyTorch's RMSprop(momentum=...), after Graves 2013.
    State: ``squares`` is s, ``velocity`` is v. Moves 28 bytes a parameter in float32: p, g, s, v read; p, s, v written.
    Conventions: PyTorch: the defaults. Keras: ``rho=0.9, eps=1e-7, eps_in_root=True, lr_in_velocity=True``.
    scikit-learn and CS231n have none.
    """

    momentum: Hyper = 0.9
    rho: Hyper = 0.99
    eps: Hyper = 1e-8
    eps_in_root: bool = False
    lr_in_velocity: bool = False
    slots: ClassVar[tuple[str, ...]] = ("squares", "velocity")

    def check(self) -> None:
        _check(self)
        checks.fraction("RMSpropMomentum", "momentum", self.momentum)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        gain, rate = (-lr, 1.0) if self.lr_in_velocity else (1.0, -lr)
        cast = params.dtype.type
        memories = rest(cast, self.rho), rest(cast, self.momentum)
        scalars = map(cast, (gain, rate, *_places_of_eps(self), lr * decay))
        if not kernels.rmsprop_momentum(params, grads, state[0], state[1], *memories, *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class RMSpropCentred(GuardedRule):
    """c = rho (c + (1 - rho) (g - m)^2); m = rho m + (1 - rho) g; p -= lr * g / (sqrt(c) + eps).

    Source: Graves 2013, equations 38 to 40, without the momentum of 40.
    State: ``variance`` is c, ``mean`` is m. Moves 28 bytes a parameter in float32: p, g, c, m read; p, c, m written.
    Conventions: PyTorch's RMSprop(centered=True): the defaults; where the gradient hardly varies, its
    s - m^2 is round-off, or negative and NaN. Keras: ``rho=0.9, eps=1e-7, eps_in_root=True``. scikit-learn and CS231n
    have none.
    """

    rho: Hyper = 0.99
    eps: Hyper = 1e-8
    eps_in_root: bool = False
    slots: ClassVar[tuple[str, ...]] = ("variance", "mean")

    def check(self) -> None:
        _check(self)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        cast = params.dtype.type
        scalars = map(cast, (lr, *_places_of_eps(self), lr * decay))
        if not kernels.rmsprop_centred(params, grads, state[0], state[1], rest(cast, self.rho), *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class RMSpropCentredMomentum(GuardedRule):
    """c, m as in RMSpropCentred; v = momentum v + g / (sqrt(c) + eps); p -= lr * v.

    ``lr_in_velocity=True``: v = momentum v - lr * g / (sqrt(c) + eps); p += v; see ``Momentum``.

    Source: Graves 2013, equations 38 to 41: ``rho=0.95, eps=1e-4, eps_in_root=True, lr_in_velocity=True``, lr 0.0001.
    State: ``variance`` is c, ``mean`` is m, ``velocity`` is v. Moves 36 bytes a parameter in float32: p, g, c, m, v
    read; p, c, m, v written.
    Conventions: PyTorch: the defaults (and see ``RMSpropCentred``). Keras: ``rho=0.9, eps=1e-7, eps_in_root=True,
    lr_in_velocity=True``. scikit-learn and CS231n have none.
    """

    momentum: Hyper = 0.9
    rho: Hyper = 0.99
    eps: Hyper = 1e-8
    eps_in_root: bool = False
    lr_in_velocity: bool = False
    slots: ClassVar[tuple[str, ...]] = ("variance", "mean", "velocity")

    def check(self) -> None:
        _check(self)
        checks.fraction("RMSpropCentredMomentum", "momentum", self.momentum)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        gain, rate = (-lr, 1.0) if self.lr_in_velocity else (1.0, -lr)
        cast = params.dtype.type
        memories = rest(cast, self.rho), rest(cast, self.momentum)
        scalars = map(cast, (gain, rate, *_places_of_eps(self), lr * decay))
        if not kernels.rmsprop_centred_momentum(params, grads, *state, *memories, *scalars):
            self.refuse(grads)


def _check(rule: RMSprop | RMSpropMomentum | RMSpropCentred | RMSpropCentredMomentum) -> None:
    checks.fraction(type(rule).__name__, "rho", rule.rho)
    checks.non_negative(type(rule).__name__, "eps", rule.eps)


def _places_of_eps(rule: RMSprop | RMSpropMomentum | RMSpropCentred | RMSpropCentredMomentum) -> tuple[float, float]:
    """What stands under the root and what beside it."""
    return (rule.eps, 0.0) if rule.eps_in_root else (0.0, rule.eps)
