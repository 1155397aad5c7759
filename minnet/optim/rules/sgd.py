"""Gradient descent and momentum."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import checks
from ...kernels.updates import elementwise as kernels
from ...kernels.updates.means import rest
from .base import Hyper, State
from .spikes import GuardedRule


@dataclass(frozen=True)
class SGD(GuardedRule):
    """p -= lr * g.

    Source: Robbins and Monro 1951, with rates that fall like 1 / t, as ``schedules.InverseTime`` does.
    State: none. Moves 12 bytes a parameter in float32: p, g read; p written.
    Conventions: PyTorch, Keras, scikit-learn and CS231n have it alike.
    """

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        cast = params.dtype.type
        if not kernels.sgd(params, grads, cast(-lr), cast(-decay)):
            self.refuse(grads)


@dataclass(frozen=True)
class Momentum(GuardedRule):
    """Heavy-ball momentum: v = momentum * v - lr * g; p += v.

    ``lr_in_velocity=False``: v = momentum * v + g; p -= lr * v. With a constant lr both take the same path; when lr
    changes, the first lets old steps run out at their old rate, the second rescales them at once. ``dampening``
    multiplies g by 1 - dampening in every step but the first.

    Source: Polyak 1964; dampening is PyTorch's own.
    State: ``velocity`` is v. Moves 20 bytes a parameter in float32: p, g, v read; p, v written.
    Conventions: CS231n, Keras and scikit-learn: the defaults. PyTorch's SGD: ``lr_in_velocity=False``, and its
    ``dampening``.
    """

    momentum: Hyper = 0.9
    lr_in_velocity: bool = True
    dampening: Hyper = 0.0
    slots: ClassVar[tuple[str, ...]] = ("velocity",)

    def check(self) -> None:
        checks.fraction("Momentum", "momentum", self.momentum)
        checks.fraction("Momentum", "dampening", self.dampening)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        gain, rate, pull = (-lr, 1.0, lr * decay) if self.lr_in_velocity else (1.0, -lr, -decay)
        if t > 1:
            gain *= 1 - self.dampening
        cast = params.dtype.type
        if not kernels.momentum(params, grads, state[0], rest(cast, self.momentum), cast(gain), cast(rate), cast(pull)):
            self.refuse(grads)


@dataclass(frozen=True)
class Nesterov(GuardedRule):
    """Nesterov momentum in the rewritten form: v = momentum * v - lr * g; p += momentum * v - lr * g.

    The parameters are the look-ahead point.
    ``lr_in_velocity=False``: v = momentum * v + g; p -= lr * (g + momentum * v).

    Source: Bengio, Boulanger-Lewandowski, Pascanu 2013, section 3.5.
    State: ``velocity`` is v. Moves 20 bytes a parameter in float32: p, g, v read; p, v written.
    Conventions: CS231n, whose p += -momentum * v_before + (1 + momentum) * v is the same, Keras and scikit-learn: the
    defaults. PyTorch's SGD(nesterov=True): ``lr_in_velocity=False``.
    """

    momentum: Hyper = 0.9
    lr_in_velocity: bool = True
    slots: ClassVar[tuple[str, ...]] = ("velocity",)

    def check(self) -> None:
        checks.fraction("Nesterov", "momentum", self.momentum)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        gain, rate, pull = (-lr, 1.0, lr * decay) if self.lr_in_velocity else (1.0, -lr, -decay)
        cast = params.dtype.type
        if not kernels.nesterov(params, grads, state[0], rest(cast, self.momentum), cast(gain), cast(rate), cast(pull)):
            self.refuse(grads)


@dataclass(frozen=True)
class NesterovLookAhead(GuardedRule):
    """Nesterov momentum as first written: v = momentum * v - lr * g(x + momentum * v); x += v.

    The parameters *are* the look-ahead point, where the next gradient is taken. With constant momentum and no decay
    they follow those of ``Nesterov()`` to round-off.

    Source: Nesterov 1983; Sutskever et al. 2013, equations 3 and 4.
    State: ``velocity`` is v, ``position`` is x. Moves 24 bytes a parameter in float32: g, v, x read; p, v, x written.
    Conventions: CS231n has it as the first of its two forms. PyTorch, Keras and scikit-learn have the rewritten form
    only.
    """

    momentum: Hyper = 0.9
    slots: ClassVar[tuple[str, ...]] = ("velocity", "position")

    def check(self) -> None:
        checks.fraction("NesterovLookAhead", "momentum", self.momentum)

    def start(self, params: np.ndarray, state: State) -> None:
        np.copyto(state[1], params)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        cast = params.dtype.type
        if not kernels.nesterov_look_ahead(
            params, grads, *state, rest(cast, self.momentum), cast(lr), cast(lr * decay)
        ):
            self.refuse(grads)
