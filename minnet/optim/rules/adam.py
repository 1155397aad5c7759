"""Adam and related rules: AMSGrad, AdaMax, NAdam, RAdam.

All of them keep a running mean of the gradient. The mean starts at 0 and is therefore too small by a factor of
1 - beta1^t after t steps. If beta1 or beta2 is a schedule, this correction uses its present value, as PyTorch does when
the betas of a parameter group are changed. NAdam uses the product of all values so far instead.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...base import checks
from ...kernels.chunks import for_size
from ...kernels.updates import adam as kernels
from ...kernels.updates.means import new_rest, rest
from .base import Hyper, State
from .several import power, root
from .spikes import GuardedRule


@dataclass(frozen=True, kw_only=True)
class Adam(GuardedRule):
    """Adam: steps scaled by running means of the gradient and of its square.

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        p -= lr * m^ / (sqrt(v^) + eps)    with m^ = m / (1 - beta1^t) and v^ = v / (1 - beta2^t)

    With ``weight_decay`` of the optimizer, this is AdamW (Loshchilov and Hutter 2019).

    After a gradient of 1e15, a parameter hardly changes for some 60,000 steps, until the effect on v has decayed. This
    is the case in all libraries; ``Optimizer(clip_norm=...)`` prevents it. A gradient above 1.8e16 (in float32) raises
    an error, as in all rules.

    Args:
        beta1: share of m that is kept in each step, in [0, 1).
        beta2: share of v that is kept in each step, in [0, 1).
        eps: number added to the root.
        bias_correction: whether to use m^ and v^ as above. If False, m and v are used instead.
        eps_on_corrected: whether eps is added to the root of v^, as above. If False, it is added to the root of v: the
            order of operations that the end of section 2 of the paper proposes.

    State: ``mean`` is m, ``squares`` is v. A step moves 28 bytes per parameter in float32: it reads p, g, m and v, and
        writes p, m and v.
    Source: Kingma and Ba 2015, algorithm 1; learning rate 0.001.
    Conventions: PyTorch and the full form of CS231n: the defaults. Short form of CS231n: ``bias_correction=False``.
        Keras: ``eps=1e-7, eps_on_corrected=False``. scikit-learn: ``eps_on_corrected=False``.
    """

    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-8
    bias_correction: bool = True
    eps_on_corrected: bool = True
    slots: ClassVar[tuple[str, ...]] = ("mean", "squares")
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        _check_moments(self)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        rate, root_fix = _corrected(self, lr, t)
        cast = params.dtype.type
        scalars = map(cast, (rate, root_fix, self.eps, lr * decay))
        step = for_size(params.size, kernels.adam, kernels.adam_parallel)
        if not step(params, grads, *state, rest(cast, self.beta1), rest(cast, self.beta2), *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class AMSGrad(GuardedRule):
    """Adam with the largest v so far, so that the learning rate of an element never increases.

        m, v as in Adam
        w = max(w, v)
        p -= lr * m / (sqrt(w) + eps)

    Args:
        beta1: share of m that is kept in each step, in [0, 1).
        beta2: share of v that is kept in each step, in [0, 1).
        eps: number added to the root. With 0, an element that never had a gradient becomes 0 / 0.
        bias_correction: whether to divide m by 1 - beta1^t and w by 1 - beta2^t. w is then still the largest of the
            *uncorrected* v.
        eps_on_corrected: whether eps is added to the root of the corrected w; see ``Adam``.

    State: ``mean`` is m, ``squares`` is v, ``largest`` is w. A step moves 36 bytes per parameter in float32: it reads
        p, g, m, v and w, and writes p, m, v and w.
    Source: Reddi, Kale, Kumar 2018, algorithm 2, which has neither a bias correction nor eps. Its experiments use beta2
        0.99 or 0.999.
    Conventions: the paper: ``eps=0``. PyTorch's Adam(amsgrad=True): ``bias_correction=True``. Keras'
        Adam(amsgrad=True): ``bias_correction=True, eps=1e-7, eps_on_corrected=False``. scikit-learn and CS231n do not
        have it.
    """

    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-8
    bias_correction: bool = False
    eps_on_corrected: bool = True
    slots: ClassVar[tuple[str, ...]] = ("mean", "squares", "largest")
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        _check_moments(self)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        rate, root_fix = _corrected(self, lr, t)
        cast = params.dtype.type
        scalars = map(cast, (rate, root_fix, self.eps, lr * decay))
        step = for_size(params.size, kernels.amsgrad, kernels.amsgrad_parallel)
        if not step(params, grads, *state, rest(cast, self.beta1), rest(cast, self.beta2), *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class AdaMax(GuardedRule):
    """Adam with the infinity norm of past gradients in place of the root of their mean square.

        m = beta1 m + (1 - beta1) g
        u = max(beta2 u, |g| + eps)
        p -= lr / (1 - beta1^t) * m / u

    Args:
        beta1: share of m that is kept in each step, in [0, 1).
        beta2: share of u that is kept in each step, in [0, 1).
        eps: number added to |g|. With 0, an element that never had a gradient becomes 0 / 0.
        eps_in_norm: whether eps is added to |g|, as above. If False, u = max(beta2 u, |g|), and m is divided by u +
            eps.

    State: ``mean`` is m, ``norm`` is u. A step moves 28 bytes per parameter in float32: it reads p, g, m and u, and
        writes p, m and u.
    Source: Kingma and Ba 2015, algorithm 2, which has no eps; learning rate 0.002.
    Conventions: the paper, except for rounding: ``eps=1e-30, eps_in_norm=False``. PyTorch: the defaults. Keras:
        ``eps=1e-7, eps_in_norm=False``. scikit-learn and CS231n do not have it.
    """

    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-8
    eps_in_norm: bool = True
    slots: ClassVar[tuple[str, ...]] = ("mean", "norm")
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        _check_moments(self)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        eps_norm, eps = (self.eps, 0.0) if self.eps_in_norm else (0.0, self.eps)
        rate = lr / (1 - power(self.beta1, t))
        cast = params.dtype.type
        scalars = map(cast, (rate, eps_norm, eps, lr * decay))
        step = for_size(params.size, kernels.adamax, kernels.adamax_parallel)
        if not step(params, grads, *state, rest(cast, self.beta1), rest(cast, self.beta2), *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class NAdam(GuardedRule):
    """Adam with Nesterov momentum, which increases from step to step.

        mu_t = beta1 * (1 - 0.5 * 0.96^(t * momentum_decay))
        m = mu_t m + (1 - mu_t) g;  v as in Adam
        m' = mu_(t+1) m / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) g / (1 - mu_1 ... mu_t)
        p -= lr * m' / (sqrt(v^) + eps)    with v^ = v / (1 - beta2^t)

    If beta1 is a schedule, its present value is also used for mu_(t+1).

    Args:
        beta1: limit of mu_t, in [0, 1).
        beta2: share of v that is kept in each step, in [0, 1).
        eps: number added to the root.
        momentum_decay: how fast mu_t increases from beta1 / 2 to beta1.
        mu_in_mean: whether m uses mu_t, as above. If False, m = beta1 m + (1 - beta1) g.

    State: ``mean`` is m, ``squares`` is v; the number ``product`` is mu_1 ... mu_t. A step moves 28 bytes per parameter
        in float32: it reads p, g, m and v, and writes p, m and v.
    Source: Dozat 2016, algorithm 2; learning rate 0.002. Its v^ has an additional factor beta2, which corresponds to
        ``eps / sqrt(beta2)`` and lr / sqrt(beta2) here.
    Conventions: PyTorch: ``mu_in_mean=False``. Keras: ``mu_in_mean=False, momentum_decay=1, eps=1e-7``. scikit-learn
        and CS231n do not have it.
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
        step = for_size(params.size, kernels.nadam, kernels.nadam_parallel)
        if not step(params, grads, mean, squares, *memories, *scalars):
            self.refuse(grads)


@dataclass(frozen=True, kw_only=True)
class RAdam(GuardedRule):
    """Rectified Adam: plain momentum while v rests on few gradients, then steps that are shortened at first.

        m, v, m^ as in Adam;  rho = 2 / (1 - beta2) - 1;  rho_t = rho - 2 t beta2^t / (1 - beta2^t)
        r^2 = (rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t)
        if rho_t > threshold:  p -= lr * r * m^ * sqrt(1 - beta2^t) / (sqrt(v) + eps)
        else:                  p -= lr * m^

    Args:
        beta1: share of m that is kept in each step, in [0, 1).
        beta2: share of v that is kept in each step, in [0, 1).
        eps: number added to the root.
        threshold: value of rho_t, at least 4, above which steps are divided by the root.

    State: ``mean`` is m, ``squares`` is v. A step moves 28 bytes per parameter in float32: it reads p, g, m and v, and
        writes p, m and v.
    Source: Liu et al. 2020, algorithm 2. It has no eps, which stands where the code of the authors has it.
    Conventions: the paper: ``eps=0``. PyTorch: ``threshold=5``; the code of the authors is the same, except for a rho_t
        of exactly 5. Keras, scikit-learn and CS231n do not have it.
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
        step = for_size(params.size, kernels.adam, kernels.adam_parallel)
        if not step(params, grads, *state, rest(cast, self.beta1), rest(cast, self.beta2), *scalars):
            self.refuse(grads)


def _check_moments(rule: Adam | AMSGrad | AdaMax | NAdam | RAdam) -> None:
    who = type(rule).__name__
    checks.fraction(who, "beta1", rule.beta1)
    checks.fraction(who, "beta2", rule.beta2)
    checks.non_negative(who, "eps", rule.eps)


def _corrected(rule: Adam | AMSGrad, lr: float, t: int) -> tuple[float, float]:
    """Return the factor of m, which includes the learning rate, and the factor of the root.

    Together they correct the bias of m and v. If eps is added to the uncorrected root, the first factor corrects both.
    """
    if not rule.bias_correction:
        return lr, 1.0
    rate, root_fix = lr / (1 - power(rule.beta1, t)), 1 / root(1 - power(rule.beta2, t))
    return (rate, root_fix) if rule.eps_on_corrected else (rate / root_fix, 1.0)
