"""Gradient descent and momentum."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...base import checks
from ...kernels.chunks import for_size
from ...kernels.updates import elementwise as kernels
from ...kernels.updates.means import rest
from .base import Hyper, State
from .spikes import GuardedRule


@dataclass(frozen=True)
class SGD(GuardedRule):
    """Gradient descent.

        p -= lr * g

    State: none. A step moves 12 bytes per parameter in float32: it reads p and g, and writes p.
    Source: Robbins and Monro 1951, with learning rates that decrease like 1 / t (``schedules.InverseTime``).
    Conventions: PyTorch, Keras, scikit-learn and CS231n use the same form.
    """

    steady: ClassVar[bool] = True
    vectorised: ClassVar[bool] = True

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        cast = params.dtype.type
        step = for_size(params.size, kernels.sgd, kernels.sgd_parallel)
        if not step(params, grads, cast(-lr), cast(-decay)):
            self.refuse(grads)


@dataclass(frozen=True)
class Momentum(GuardedRule):
    """Gradient descent with momentum (heavy ball).

        v = momentum * v - lr * g
        p += v

    Args:
        momentum: share of the velocity that is kept in each step, in [0, 1).
        lr_in_velocity: whether the learning rate is a factor of the gradient, as above. If False, v = momentum * v + g
            and p -= lr * v. The two are equal for a constant learning rate. When it changes, the first form keeps the
            earlier learning rates in the velocity; the second rescales the whole velocity.
        dampening: the gradient is multiplied by 1 - dampening in every step except the first, in [0, 1).

    State: ``velocity`` is v. A step moves 20 bytes per parameter in float32: it reads p, g and v, and writes p and v.
    Source: Polyak 1964. Dampening is a parameter of PyTorch.
    Conventions: CS231n, Keras and scikit-learn: the defaults. PyTorch's SGD: ``lr_in_velocity=False``, and its
        ``dampening``.
    """

    momentum: Hyper = 0.9
    lr_in_velocity: bool = True
    dampening: Hyper = 0.0
    slots: ClassVar[tuple[str, ...]] = ("velocity",)
    steady: ClassVar[bool] = True
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        checks.fraction("Momentum", "momentum", self.momentum)
        checks.fraction("Momentum", "dampening", self.dampening)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        gain, rate, pull = (-lr, 1.0, lr * decay) if self.lr_in_velocity else (1.0, -lr, -decay)
        gain = gain * (1 - self.dampening * (t > 1))
        cast = params.dtype.type
        step = for_size(params.size, kernels.momentum, kernels.momentum_parallel)
        if not step(params, grads, state[0], rest(cast, self.momentum), cast(gain), cast(rate), cast(pull)):
            self.refuse(grads)


@dataclass(frozen=True)
class Nesterov(GuardedRule):
    """Gradient descent with Nesterov momentum, in terms of the look-ahead point.

        v = momentum * v - lr * g
        p += momentum * v - lr * g

    The parameters are the look-ahead point.

    Args:
        momentum: share of the velocity that is kept in each step, in [0, 1).
        lr_in_velocity: whether the learning rate is a factor of the gradient, as above. If False, v = momentum * v + g
            and p -= lr * (g + momentum * v).

    State: ``velocity`` is v. A step moves 20 bytes per parameter in float32: it reads p, g and v, and writes p and v.
    Source: Bengio, Boulanger-Lewandowski, Pascanu 2013, section 3.5.
    Conventions: Keras, scikit-learn and CS231n, which writes it as p += -momentum * v_before + (1 + momentum) * v: the
        defaults. PyTorch's SGD(nesterov=True): ``lr_in_velocity=False``.
    """

    momentum: Hyper = 0.9
    lr_in_velocity: bool = True
    slots: ClassVar[tuple[str, ...]] = ("velocity",)
    steady: ClassVar[bool] = True
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        checks.fraction("Nesterov", "momentum", self.momentum)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        gain, rate, pull = (-lr, 1.0, lr * decay) if self.lr_in_velocity else (1.0, -lr, -decay)
        cast = params.dtype.type
        step = for_size(params.size, kernels.nesterov, kernels.nesterov_parallel)
        if not step(params, grads, state[0], rest(cast, self.momentum), cast(gain), cast(rate), cast(pull)):
            self.refuse(grads)


@dataclass(frozen=True)
class NesterovLookAhead(GuardedRule):
    """Gradient descent with Nesterov momentum, in its original form.

        v = momentum * v - lr * g(x + momentum * v)
        x += v

    The parameters are the look-ahead point x + momentum * v, at which the next gradient is computed. With constant
    momentum and without decay they equal those of ``Nesterov()``, except for rounding.

    Args:
        momentum: share of the velocity that is kept in each step, in [0, 1).

    State: ``velocity`` is v, ``position`` is x. A step moves 24 bytes per parameter in float32: it reads g, v and x,
        and writes p, v and x.
    Source: Nesterov 1983; Sutskever et al. 2013, equations 3 and 4.
    Conventions: this is the first of the two forms of CS231n. PyTorch, Keras and scikit-learn have only the other form,
        ``Nesterov``.
    """

    momentum: Hyper = 0.9
    slots: ClassVar[tuple[str, ...]] = ("velocity", "position")
    steady: ClassVar[bool] = True
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        checks.fraction("NesterovLookAhead", "momentum", self.momentum)

    def start(self, params: np.ndarray, state: State) -> None:
        np.copyto(state[1], params)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        cast = params.dtype.type
        step = for_size(params.size, kernels.nesterov_look_ahead, kernels.nesterov_look_ahead_parallel)
        if not step(params, grads, *state, rest(cast, self.momentum), cast(lr), cast(lr * decay)):
            self.refuse(grads)
