"""RMSprop: plain, with momentum, centred, and centred with momentum. Each form keeps and moves only what it needs.

s = rho s + (1 - rho) g^2 is the running mean of squares. The centred forms also keep the running mean m of the
gradient and use the variance s - m^2 in place of s. Where the gradient varies little, this difference would be lost in
rounding. The variance is therefore kept itself: c = rho (c + (1 - rho) (g - m)^2), with m from before the step, is the
same number (West 1979).
"""

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
class RMSprop(GuardedRule):
    """RMSprop: steps divided by the root of a running mean of squared gradients.

        s = rho s + (1 - rho) g^2
        p -= lr * g / (sqrt(s) + eps)

    Args:
        rho: share of s that is kept in each step, in [0, 1).
        eps: number added to the root.
        eps_in_root: whether to divide by sqrt(s + eps) instead.

    State: ``squares`` is s. A step moves 20 bytes per parameter in float32: it reads p, g and s, and writes p and s.
    Source: Tieleman and Hinton 2012, lecture 6e, with rho 0.9.
    Conventions: CS231n and PyTorch: the defaults (CS231n suggests rho 0.9, 0.99, 0.999). Keras:
        ``rho=0.9, eps=1e-7, eps_in_root=True``. scikit-learn does not have it.
    """

    rho: Hyper = 0.99
    eps: Hyper = 1e-8
    eps_in_root: bool = False
    slots: ClassVar[tuple[str, ...]] = ("squares",)
    steady: ClassVar[bool] = True
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        _check(self)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        cast = params.dtype.type
        scalars = map(cast, (lr, *_places_of_eps(self), lr * decay))
        step = for_size(params.size, kernels.rmsprop, kernels.rmsprop_parallel)
        if not step(params, grads, state[0], rest(cast, self.rho), *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class RMSpropMomentum(GuardedRule):
    """RMSprop with momentum.

        s as in RMSprop
        v = momentum v + g / (sqrt(s) + eps)
        p -= lr * v

    Args:
        momentum: share of v that is kept in each step, in [0, 1).
        rho: share of s that is kept in each step, in [0, 1).
        eps: number added to the root.
        eps_in_root: whether to divide by sqrt(s + eps) instead.
        lr_in_velocity: whether v = momentum v - lr * g / (sqrt(s) + eps) and p += v instead; see ``Momentum``.

    State: ``squares`` is s, ``velocity`` is v. A step moves 28 bytes per parameter in float32: it reads p, g, s and v,
        and writes p, s and v.
    Source: PyTorch's RMSprop(momentum=...), after Graves 2013.
    Conventions: PyTorch: the defaults. Keras: ``rho=0.9, eps=1e-7, eps_in_root=True, lr_in_velocity=True``.
        scikit-learn and CS231n do not have it.
    """

    momentum: Hyper = 0.9
    rho: Hyper = 0.99
    eps: Hyper = 1e-8
    eps_in_root: bool = False
    lr_in_velocity: bool = False
    slots: ClassVar[tuple[str, ...]] = ("squares", "velocity")
    steady: ClassVar[bool] = True
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        _check(self)
        checks.fraction("RMSpropMomentum", "momentum", self.momentum)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        gain, rate = (-lr, 1.0) if self.lr_in_velocity else (1.0, -lr)
        cast = params.dtype.type
        memories = rest(cast, self.rho), rest(cast, self.momentum)
        scalars = map(cast, (gain, rate, *_places_of_eps(self), lr * decay))
        step = for_size(params.size, kernels.rmsprop_momentum, kernels.rmsprop_momentum_parallel)
        if not step(params, grads, state[0], state[1], *memories, *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class RMSpropCentred(GuardedRule):
    """RMSprop with the variance of the gradient in place of its mean square.

        c = rho (c + (1 - rho) (g - m)^2)
        m = rho m + (1 - rho) g
        p -= lr * g / (sqrt(c) + eps)

    Args:
        rho: share of c and m that is kept in each step, in [0, 1).
        eps: number added to the root.
        eps_in_root: whether to divide by sqrt(c + eps) instead.

    State: ``variance`` is c, ``mean`` is m. A step moves 28 bytes per parameter in float32: it reads p, g, c and m, and
        writes p, c and m.
    Source: Graves 2013, equations 38 to 40, without the momentum of equation 40.
    Conventions: PyTorch's RMSprop(centered=True): the defaults. PyTorch computes s - m^2, which is lost in rounding
        where the gradient varies little, or negative, so that the root is NaN. Keras: ``rho=0.9, eps=1e-7,
        eps_in_root=True``. scikit-learn and CS231n do not have it.
    """

    rho: Hyper = 0.99
    eps: Hyper = 1e-8
    eps_in_root: bool = False
    slots: ClassVar[tuple[str, ...]] = ("variance", "mean")
    steady: ClassVar[bool] = True
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        _check(self)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        cast = params.dtype.type
        scalars = map(cast, (lr, *_places_of_eps(self), lr * decay))
        step = for_size(params.size, kernels.rmsprop_centred, kernels.rmsprop_centred_parallel)
        if not step(params, grads, state[0], state[1], rest(cast, self.rho), *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class RMSpropCentredMomentum(GuardedRule):
    """Centred RMSprop with momentum.

        c, m as in RMSpropCentred
        v = momentum v + g / (sqrt(c) + eps)
        p -= lr * v

    Args:
        momentum: share of v that is kept in each step, in [0, 1).
        rho: share of c and m that is kept in each step, in [0, 1).
        eps: number added to the root.
        eps_in_root: whether to divide by sqrt(c + eps) instead.
        lr_in_velocity: whether v = momentum v - lr * g / (sqrt(c) + eps) and p += v instead; see ``Momentum``.

    State: ``variance`` is c, ``mean`` is m, ``velocity`` is v. A step moves 36 bytes per parameter in float32: it reads
        p, g, c, m and v, and writes p, c, m and v.
    Source: Graves 2013, equations 38 to 41: ``rho=0.95, eps=1e-4, eps_in_root=True, lr_in_velocity=True``, learning
        rate 0.0001.
    Conventions: PyTorch: the defaults; see ``RMSpropCentred`` for the difference. Keras:
        ``rho=0.9, eps=1e-7, eps_in_root=True, lr_in_velocity=True``. scikit-learn and CS231n do not have it.
    """

    momentum: Hyper = 0.9
    rho: Hyper = 0.99
    eps: Hyper = 1e-8
    eps_in_root: bool = False
    lr_in_velocity: bool = False
    slots: ClassVar[tuple[str, ...]] = ("variance", "mean", "velocity")
    steady: ClassVar[bool] = True
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        _check(self)
        checks.fraction("RMSpropCentredMomentum", "momentum", self.momentum)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        gain, rate = (-lr, 1.0) if self.lr_in_velocity else (1.0, -lr)
        cast = params.dtype.type
        memories = rest(cast, self.rho), rest(cast, self.momentum)
        scalars = map(cast, (gain, rate, *_places_of_eps(self), lr * decay))
        step = for_size(params.size, kernels.rmsprop_centred_momentum, kernels.rmsprop_centred_momentum_parallel)
        if not step(params, grads, *state, *memories, *scalars):
            self.refuse(grads)


def _check(rule: RMSprop | RMSpropMomentum | RMSpropCentred | RMSpropCentredMomentum) -> None:
    checks.fraction(type(rule).__name__, "rho", rule.rho)
    checks.non_negative(type(rule).__name__, "eps", rule.eps)


def _places_of_eps(rule: RMSprop | RMSpropMomentum | RMSpropCentred | RMSpropCentredMomentum) -> tuple[float, float]:
    """Return the number that is added under the root and the number that is added to the root."""
    return (rule.eps, 0.0) if rule.eps_in_root else (0.0, rule.eps)
