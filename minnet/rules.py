"""Update rules: frozen hyper-parameters and one fused pass over flat arrays.

A rule holds no learning rate: ``lr`` comes with the step. ``decay`` is decoupled weight decay, p *= 1 - lr * decay in
front of the update (Loshchilov and Hutter 2019, which makes Adam into AdamW); the L2 penalty of the objective
is the net's business and reaches a rule inside the gradient. In the formulas g is the gradient, p the
parameters, and t counts steps from 1.

Each docstring names the parameters that give the forms of CS231n, Keras and PyTorch.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from . import checks
from .kernels import update as kernels


class Rule:
    """What an update rule is: a frozen dataclass with named state ``slots`` and an in-place ``apply``.

    A rule of one's own overrides both, in plain NumPy if one likes. State starts at 0 unless ``start`` says otherwise.
    """

    slots: ClassVar[tuple[str, ...]] = ()

    def start(self, params: np.ndarray, state: np.ndarray) -> None:
        """Fill state (slots, P), which comes as zeros, before the first step."""

    def apply(
        self, params: np.ndarray, grads: np.ndarray, state: np.ndarray, *, lr: float, t: int, decay: float
    ) -> None:
        """Update params (P,) and state (slots, P) in place, given grads (P,), for step t = 1, 2, ...

        The rule itself applies ``decay``. With weight decay the optimizer calls once for the elements that decay and
        once for the rest, so a rule works element by element.
        """
        raise NotImplementedError(f"{type(self).__name__} must define apply(params, grads, state, *, lr, t, decay)")


@dataclass(frozen=True)
class SGD(Rule):
    """p -= lr * g. The same everywhere."""

    def apply(
        self, params: np.ndarray, grads: np.ndarray, state: np.ndarray, *, lr: float, t: int, decay: float
    ) -> None:
        cast = params.dtype.type
        kernels.sgd(params, grads, cast(lr), cast(1 - lr * decay))


@dataclass(frozen=True)
class Momentum(Rule):
    """Heavy-ball momentum (Polyak 1964).

    ``lr_in_velocity=True`` (CS231n, Keras): v = momentum * v - lr * g; p += v.
    ``lr_in_velocity=False`` (PyTorch's SGD): v = momentum * v + g; p -= lr * v.
    With a constant lr both take the same path; when lr changes, the first lets old steps run out at their old
    rate, the second rescales them at once.
    """

    momentum: float = 0.9
    lr_in_velocity: bool = True
    slots: ClassVar[tuple[str, ...]] = ("velocity",)

    def __post_init__(self) -> None:
        checks.fraction("Momentum", "momentum", self.momentum)

    def apply(
        self, params: np.ndarray, grads: np.ndarray, state: np.ndarray, *, lr: float, t: int, decay: float
    ) -> None:
        gain, rate = (-lr, 1.0) if self.lr_in_velocity else (1.0, -lr)
        kernels.momentum(params, grads, state[0], *map(params.dtype.type, (self.momentum, gain, rate, 1 - lr * decay)))


@dataclass(frozen=True)
class Nesterov(Rule):
    """Nesterov momentum in the rewritten form, which stores the look-ahead point (Bengio et al. 2013, section 3.5).

    ``lr_in_velocity=True`` (CS231n, Keras): v = momentum * v - lr * g; p += momentum * v - lr * g, which is CS231n's
    p += -momentum * v_before + (1 + momentum) * v.
    ``lr_in_velocity=False`` (PyTorch's SGD, nesterov=True): v = momentum * v + g; p -= lr * (g + momentum * v).
    """

    momentum: float = 0.9
    lr_in_velocity: bool = True
    slots: ClassVar[tuple[str, ...]] = ("velocity",)

    def __post_init__(self) -> None:
        checks.fraction("Nesterov", "momentum", self.momentum)

    def apply(
        self, params: np.ndarray, grads: np.ndarray, state: np.ndarray, *, lr: float, t: int, decay: float
    ) -> None:
        gain, rate = (-lr, 1.0) if self.lr_in_velocity else (1.0, -lr)
        kernels.nesterov(params, grads, state[0], *map(params.dtype.type, (self.momentum, gain, rate, 1 - lr * decay)))


@dataclass(frozen=True)
class NesterovLookAhead(Rule):
    """Nesterov momentum as first written: the gradient is taken at x + momentum * v (Nesterov 1983; Sutskever 2013).

    v = momentum * v - lr * g(x + momentum * v); x += v. The parameters *are* the look-ahead point, where the
    next gradient is taken; the iterate x is the state slot ``position``. With constant momentum and no
    decay the parameters follow those of ``Nesterov()`` to round-off.
    """

    momentum: float = 0.9
    slots: ClassVar[tuple[str, ...]] = ("velocity", "position")

    def __post_init__(self) -> None:
        checks.fraction("NesterovLookAhead", "momentum", self.momentum)

    def start(self, params: np.ndarray, state: np.ndarray) -> None:
        np.copyto(state[1], params)

    def apply(
        self, params: np.ndarray, grads: np.ndarray, state: np.ndarray, *, lr: float, t: int, decay: float
    ) -> None:
        scalars = map(params.dtype.type, (self.momentum, lr, 1 - lr * decay))
        kernels.nesterov_look_ahead(params, grads, state[0], state[1], *scalars)


@dataclass(frozen=True)
class Adagrad(Rule):
    """s += g^2; p -= lr * g / (sqrt(s) + eps). Duchi, Hazan, Singer 2011.

    CS231n: the defaults. PyTorch: ``eps=1e-10``. Keras: ``eps=1e-7, eps_in_root=True, initial=0.1``, which
    divides by sqrt(s + eps) and starts s at 0.1.
    """

    eps: float = 1e-8
    eps_in_root: bool = False
    initial: float = 0.0
    slots: ClassVar[tuple[str, ...]] = ("squares",)

    def __post_init__(self) -> None:
        checks.non_negative("Adagrad", "eps", self.eps)
        checks.non_negative("Adagrad", "initial", self.initial)

    def start(self, params: np.ndarray, state: np.ndarray) -> None:
        state[0].fill(self.initial)

    def apply(
        self, params: np.ndarray, grads: np.ndarray, state: np.ndarray, *, lr: float, t: int, decay: float
    ) -> None:
        eps_root, eps = (self.eps, 0.0) if self.eps_in_root else (0.0, self.eps)
        kernels.adagrad(params, grads, state[0], *map(params.dtype.type, (lr, eps_root, eps, 1 - lr * decay)))


@dataclass(frozen=True)
class RMSprop(Rule):
    """s = rho * s + (1 - rho) * g^2; p -= lr * g / (sqrt(s) + eps). Tieleman and Hinton 2012, lecture 6e.

    CS231n and PyTorch: the defaults (CS231n tries rho 0.9, 0.99, 0.999). Keras: ``rho=0.9, eps=1e-7,
    eps_in_root=True``, which divides by sqrt(s + eps).
    """

    rho: float = 0.99
    eps: float = 1e-8
    eps_in_root: bool = False
    slots: ClassVar[tuple[str, ...]] = ("squares",)

    def __post_init__(self) -> None:
        checks.fraction("RMSprop", "rho", self.rho)
        checks.non_negative("RMSprop", "eps", self.eps)

    def apply(
        self, params: np.ndarray, grads: np.ndarray, state: np.ndarray, *, lr: float, t: int, decay: float
    ) -> None:
        eps_root, eps = (self.eps, 0.0) if self.eps_in_root else (0.0, self.eps)
        scalars = (self.rho, 1 - self.rho, lr, eps_root, eps, 1 - lr * decay)
        kernels.rmsprop(params, grads, state[0], *map(params.dtype.type, scalars))


@dataclass(frozen=True)
class Adadelta(Rule):
    """s = rho * s + (1 - rho) * g^2; u = g * sqrt(d + eps) / sqrt(s + eps); d = rho * d + (1 - rho) * u^2; p -= lr * u.

    Zeiler 2012, algorithm 1, where lr is 1. PyTorch: ``rho=0.9``. Keras: ``eps=1e-7``, and lr is 0.001 unless told.
    """

    rho: float = 0.95
    eps: float = 1e-6
    slots: ClassVar[tuple[str, ...]] = ("squares", "updates")

    def __post_init__(self) -> None:
        checks.fraction("Adadelta", "rho", self.rho)
        checks.positive("Adadelta", "eps", self.eps)

    def apply(
        self, params: np.ndarray, grads: np.ndarray, state: np.ndarray, *, lr: float, t: int, decay: float
    ) -> None:
        scalars = (self.rho, 1 - self.rho, lr, self.eps, 1 - lr * decay)
        kernels.adadelta(params, grads, state[0], state[1], *map(params.dtype.type, scalars))


@dataclass(frozen=True)
class Adam(Rule):
    """m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; p -= lr * m^ / (sqrt(v^) + eps). Kingma and Ba 2015.

    m^ = m / (1 - beta1^t) and v^ = v / (1 - beta2^t), or m and v themselves with ``bias_correction=False``, the short
    form of the CS231n notes. CS231n's full form and PyTorch: the defaults. Keras: ``eps=1e-7,
    eps_on_corrected=False``, the reordered form at the end of the paper's section 2, which adds eps to the
    uncorrected root. With the optimizer's ``weight_decay`` this is AdamW.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    bias_correction: bool = True
    eps_on_corrected: bool = True
    slots: ClassVar[tuple[str, ...]] = ("mean", "squares")

    def __post_init__(self) -> None:
        checks.fraction("Adam", "beta1", self.beta1)
        checks.fraction("Adam", "beta2", self.beta2)
        checks.non_negative("Adam", "eps", self.eps)

    def apply(
        self, params: np.ndarray, grads: np.ndarray, state: np.ndarray, *, lr: float, t: int, decay: float
    ) -> None:
        rate, root_fix = lr, 1.0
        if self.bias_correction:
            mean_fix, root_fix = 1 / (1 - self.beta1**t), 1 / math.sqrt(1 - self.beta2**t)
            rate = lr * mean_fix
            if not self.eps_on_corrected:
                rate, root_fix = rate / root_fix, 1.0
        scalars = (self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2, rate, root_fix, self.eps, 1 - lr * decay)
        kernels.adam(params, grads, state[0], state[1], *map(params.dtype.type, scalars))
