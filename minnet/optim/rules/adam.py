"""Adam and its kin: AMSGrad, AdaMax, NAdam, RAdam.

All keep a running mean of the gradient, which starts at 0 and is too small by 1 - beta1^t after t steps. Where beta1 or
beta2 is a schedule, that correction takes its present value, as PyTorch does when the betas of its groups are changed;
only NAdam multiplies up the values that were.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import checks
from ...kernels.updates import adam as kernels
from ...kernels.updates.means import new_rest, rest
from .base import Hyper, State
from .spikes import GuardedRule


@dataclass(frozen=True, kw_only=True)
class Adam(GuardedRule):
    """m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; p -= lr * m^ / (sqrt(v^) + eps).

    m^ = m / (1 - beta1^t) and v^ = v / (1 - beta2^t), or m and v themselves with ``bias_correction=False``.
    With the optimizer's ``weight_decay`` this is AdamW (Loshchilov and Hutter 2019).

    A parameter with one gradient of 1e15 hardly moves for some 60,000 steps, until v has forgotten it, as in all
    libraries; ``Optimizer(clip_norm=...)`` prevents it. One above 1.8e16 (in float32) is an error, as in all rules.

    Source: Kingma and Ba 2015, algorithm 1; lr 0.001.
    State: ``mean`` is m, ``squares`` is v. Moves 28 bytes a parameter in float32: p, g, m, v read; p, m, v written.
    Conventions: CS231n's full form and PyTorch: the defaults. CS231n's short form: ``bias_correction=False``. Keras:
    ``eps=1e-7, eps_on_corrected=False``, the reordered form at the end of the paper's section 2, which adds eps to the
    uncorrected root. scikit-learn: the same with eps 1e-8.
    """

    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-8
    bias_correction: bool = True
    eps_on_corrected: bool = True
    slots: ClassVar[tuple[str, ...]] = ("mean", "squares")

    def check(self) -> None:
        _check_moments(self)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        rate, root_fix = _corrected(self, lr, t)
        cast = params.dtype.type
        scalars = map(cast, (rate, root_fix, self.eps, lr * decay))
        if not kernels.adam(params, grads, *state, rest(cast, self.beta1), rest(cast, self.beta2), *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class AMSGrad(GuardedRule):
    """Adam's m and v; w = max(w, v); p -= lr * m / (sqrt(w) + eps): no element's rate ever rises.

    Source: Reddi, Kale, Kumar 2018, algorithm 2, which has neither a correction nor eps; beta2 0.99 or 0.999 in its
    experiments. ``bias_correction=True`` divides m by 1 - beta1^t and w by 1 - beta2^t, where w is still the largest
    of the *uncorrected* v.
    State: ``mean`` is m, ``squares`` is v, ``largest`` is w. Moves 36 bytes a parameter in float32: p, g, m, v, w read;
    p, m, v, w written.
    Conventions: the paper: ``eps=0``, which is 0 / 0 for an element that never had a gradient. PyTorch's
    Adam(amsgrad=True): ``bias_correction=True``. Keras' Adam(amsgrad=True): ``bias_correction=True, eps=1e-7,
    eps_on_corrected=False``. scikit-learn and CS231n have none.
    """

    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-8
    bias_correction: bool = False
    eps_on_corrected: bool = True
    slots: ClassVar[tuple[str, ...]] = ("mean", "squares", "largest")

    def check(self) -> None:
        _check_moments(self)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        rate, root_fix = _corrected(self, lr, t)
        cast = params.dtype.type
        scalars = map(cast, (rate, root_fix, self.eps, lr * decay))
        if not kernels.amsgrad(params, grads, *state, rest(cast, self.beta1), rest(cast, self.beta2), *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class AdaMax(GuardedRule):
    """m = beta1 m + (1 - beta1) g; u = max(beta2 u, |g| + eps); p -= lr / (1 - beta1^t) * m / u.

    Source: Kingma and Ba 2015, algorithm 2; lr 0.002. It has no eps, and so 0 / 0 for an element that never had a
    gradient.
    State: ``mean`` is m, ``norm`` is u. Moves 28 bytes a parameter in float32: p, g, m, u read; p, m, u written.
    Conventions: the paper, to round-off: ``eps=1e-30, eps_in_norm=False``. PyTorch: the defaults. Keras: ``eps=1e-7,
    eps_in_norm=False``, which has u = max(beta2 u, |g|) and divides by u + eps. scikit-learn and CS231n have none.
    """

    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-8
    eps_in_norm: bool = True
    slots: ClassVar[tuple[str, ...]] = ("mean", "norm")

    def check(self) -> None:
        _check_moments(self)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        eps_norm, eps = (self.eps, 0.0) if self.eps_in_norm else (0.0, self.eps)
        rate = lr / (1 - self.beta1**t)
        cast = params.dtype.type
        scalars = map(cast, (rate, eps_norm, eps, lr * decay))
        if not kernels.adamax(params, grads, *state, rest(cast, self.beta1), rest(cast, self.beta2), *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class NAdam(GuardedRule):
    """Adam with Nesterov's momentum, which rises: mu_t = beta1 * (1 - 0.5 * 0.96^(t * momentum_decay)).

    m = mu_t m + (1 - mu_t) g; v as in Adam; p -= lr * m' / (sqrt(v^) + eps), with v^ = v / (1 - beta2^t) and
    m' = mu_(t+1) m / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) g / (1 - mu_1 ... mu_t).

    Source: Dozat 2016, algorithm 2; lr 0.002. His v^ has a factor beta2 beside it that Adam's has not: ``eps /
    sqrt(beta2)`` and lr / sqrt(beta2) give that. Where beta1 is a schedule, mu_(t+1) is made with its present value.
    State: ``mean`` is m, ``squares`` is v; the number ``product`` is mu_1 ... mu_t. Moves 28 bytes a parameter in
    float32: p, g, m, v read; p, m, v written.
    Conventions: PyTorch: ``mu_in_mean=False``, m = beta1 m + (1 - beta1) g, and the rest as above. Keras: the same with
    ``momentum_decay=1, eps=1e-7``. scikit-learn and CS231n have none.
    """

    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-8
    momentum_decay: Hyper = 0.004
    mu_in_mean: bool = True
    slots: ClassVar[tuple[str, ...]] = ("mean", "squares")
    numbers: ClassVar[tuple[str, ...]] = ("product",)

    def check(self) -> None:
        _check_moments(self)
        checks.non_negative("NAdam", "momentum_decay", self.momentum_decay)

    def start(self, params: np.ndarray, state: State) -> None:
        state[2].fill(1.0)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        mean, squares, numbers = state
        mu, following = (self.beta1 * (1 - 0.5 * 0.96 ** (i * self.momentum_decay)) for i in (t, t + 1))
        numbers[0] *= mu
        product = float(numbers[0])
        kept = mu if self.mu_in_mean else self.beta1
        cast = params.dtype.type
        rates = lr * following / (1 - product * following), lr * (1 - mu) / (1 - product)
        scalars = map(cast, (*rates, 1 / math.sqrt(1 - self.beta2**t), self.eps, lr * decay))
        memories = new_rest(cast, kept), rest(cast, self.beta2)
        if not kernels.nadam(params, grads, mean, squares, *memories, *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class RAdam(GuardedRule):
    """Adam whose first steps, when v rests on few gradients, are plain momentum, and whose next ones are shortened.

    With Adam's m, v and m^, rho = 2 / (1 - beta2) - 1 and rho_t = rho - 2 t beta2^t / (1 - beta2^t):
    where rho_t > threshold, p -= lr * r * m^ * sqrt(1 - beta2^t) / (sqrt(v) + eps) with
    r^2 = (rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t); else p -= lr * m^.

    Source: Liu et al. 2020, algorithm 2; it has no eps, which stands where the authors' code has it.
    State: ``mean`` is m, ``squares`` is v. Moves 28 bytes a parameter in float32: p, g, m, v read; p, m, v written.
    Conventions: the paper: ``eps=0``. PyTorch (and, but for a rho_t of just 5, the authors' code): ``threshold=5``.
    Keras, scikit-learn and CS231n have none.
    """

    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-8
    threshold: float = 4.0
    slots: ClassVar[tuple[str, ...]] = ("mean", "squares")

    def check(self) -> None:
        _check_moments(self)
        if checks.number("RAdam", "threshold", self.threshold) < 4:
            raise ValueError(f"RAdam: expected threshold of at least 4; got {self.threshold!r}")

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        rate, root_fix, eps = lr / (1 - self.beta1**t), 0.0, 1.0  # a plain step divides by 0 * sqrt(v) + 1
        unbias = 1 - self.beta2**t
        longest = 2 / (1 - self.beta2) - 1
        length = longest - 2 * t * self.beta2**t / unbias
        if length > self.threshold:
            gain = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            rate, root_fix, eps = rate * math.sqrt(gain * unbias), 1.0, self.eps
        cast = params.dtype.type
        scalars = map(cast, (rate, root_fix, eps, lr * decay))
        if not kernels.adam(params, grads, *state, rest(cast, self.beta1), rest(cast, self.beta2), *scalars):
            self.refuse(grads)


def _check_moments(rule: Adam | AMSGrad | AdaMax | NAdam | RAdam) -> None:
    who = type(rule).__name__
    checks.fraction(who, "beta1", rule.beta1)
    checks.fraction(who, "beta2", rule.beta2)
    checks.non_negative(who, "eps", rule.eps)


def _corrected(rule: Adam | AMSGrad, lr: float, t: int) -> tuple[float, float]:
    """Factors of m and of the root: the rate that corrects m, and what corrects the root, unless the rate does."""
    if not rule.bias_correction:
        return lr, 1.0
    rate, root_fix = lr / (1 - rule.beta1**t), 1 / math.sqrt(1 - rule.beta2**t)
    return (rate, root_fix) if rule.eps_on_corrected else (rate / root_fix, 1.0)
