"""LARS and LAMB, which scale the step of each tensor to the norm of the tensor."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...base import checks
from ...kernels.updates import trust as kernels
from ...kernels.updates.means import rest
from ...kernels.updates.partials import flat_parts
from ...layers.spec import Tensor
from .adam import Adam
from .base import Hyper, Rule, State
from .scratch import scratch
from .sgd import Momentum
from .spikes import GuardedRule


@dataclass(frozen=True, kw_only=True)
class LARS(GuardedRule):
    """Layer-wise adaptive rate scaling: momentum whose steps are scaled to the norm of each tensor.

        r = trust * |p| / (|g| + decay * |p| + eps)
        v = momentum * v + lr * r * (g + decay * p)
        p -= v

    Norms are Euclidean, of one whole tensor, which is a layer in the paper. If |p| or |g| is 0, r is 1; otherwise zeros
    would stay zeros. The paper does not define this case. Decay is ``weight_decay`` of the optimizer. As in the paper,
    it is part of the update and of the ratio r. The polynomial decay of the paper is ``schedules.Polynomial(lr, 0,
    steps, power=2)``.

    Args:
        momentum: share of v that is kept in each step, in [0, 1).
        trust: factor of the ratio, above 0; eta in the paper.
        eps: number added to the denominator of the ratio.
        joint_norm: whether the denominator is |g + decay * p| + eps.
        exempt: whether tensors not tagged ``decay`` (biases and gains) have r = 1, that is, plain ``Momentum`` steps,
            as in the runs with the published results. If False, they have a ratio too, as the algorithm states.

    State: ``velocity`` is v. A step moves 28 bytes per parameter in float32, and 56 in float64: it reads p and g for
        the norms, reads p, g and v, and writes p and v.
    Source: You et al. 2017, algorithm 1.
    Conventions: optax: ``joint_norm=True, exempt=False``, with decay for all tensors unless masked. PyTorch, Keras,
        scikit-learn and CS231n do not have it.
    """

    momentum: Hyper = 0.9
    trust: Hyper = 0.001
    eps: Hyper = 0.0
    joint_norm: bool = False
    exempt: bool = True
    slots: ClassVar[tuple[str, ...]] = ("velocity",)
    shaped: ClassVar[bool] = True

    def check(self) -> None:
        checks.fraction("LARS", "momentum", self.momentum)
        checks.positive("LARS", "trust", self.trust)
        checks.non_negative("LARS", "eps", self.eps)

    def choose(self, tensor: Tensor) -> Rule:
        return self if tensor.decay or not self.exempt else Momentum(self.momentum)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        p, g, v = params.reshape(-1), grads.reshape(-1), state[0].reshape(-1)
        cast = p.dtype.type
        partial, rate = scratch(p.dtype, (flat_parts(p.size), 3), (1,))
        inside, beside = (decay, 0.0) if self.joint_norm else (0.0, float(decay))
        fixed = float(lr), float(self.trust), float(self.eps)
        if not kernels.lars_rate(p, g, cast(inside), beside, *fixed, partial, rate):
            self.refuse(grads)
        kernels.lars(p, g, v, rest(cast, self.momentum), rate, cast(decay))


@dataclass(frozen=True, kw_only=True)
class LAMB(GuardedRule):
    """Layer-wise adaptive moments: Adam whose steps are as long as the norm of each tensor, times the learning rate.

        m^, v^ as in Adam
        u = m^ / (sqrt(v^) + eps) + decay * p
        p -= lr * |p| / |u| * u

    Norms are Euclidean, of one whole tensor, which is a layer in the paper; its function phi is the identity. If |p| or
    |u| is 0, the ratio is 1; otherwise zeros would stay zeros. The paper does not define this case. Decay is
    ``weight_decay`` of the optimizer.

    Args:
        beta1: share of m that is kept in each step, in [0, 1).
        beta2: share of v that is kept in each step, in [0, 1).
        eps: number added to the root, above 0.
        bias_correction: whether to use m^ and v^. If False, m and v are used, as in the first version by the authors.
        decay_in_ratio: whether decay is part of u, as above. If False, p is multiplied by 1 - lr * decay before the
            norms are computed, as in AdamW.
        exempt: whether tensors not tagged ``decay`` (biases and gains) take plain ``Adam`` steps, as in the runs of the
            authors. If False, they have a ratio too, as the algorithm states.

    State: ``mean`` is m, ``squares`` is v. A step moves 40 bytes per parameter in float32, and 80 in float64: it reads
        p, g, m and v, writes m and v, reads p, m and v, and writes p.
    Source: You et al. 2020, algorithm 2.
    Conventions: Keras: ``eps=1e-7, exempt=False, decay_in_ratio=False``. optax: ``exempt=False``, with decay for all
        tensors unless masked. PyTorch, scikit-learn and CS231n do not have it.
    """

    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-6
    bias_correction: bool = True
    decay_in_ratio: bool = True
    exempt: bool = True
    slots: ClassVar[tuple[str, ...]] = ("mean", "squares")
    shaped: ClassVar[bool] = True

    def check(self) -> None:
        checks.fraction("LAMB", "beta1", self.beta1)
        checks.fraction("LAMB", "beta2", self.beta2)
        checks.positive("LAMB", "eps", self.eps)

    def choose(self, tensor: Tensor) -> Rule:
        if tensor.decay or not self.exempt:
            return self
        return Adam(beta1=self.beta1, beta2=self.beta2, eps=self.eps, bias_correction=self.bias_correction)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        p, g, m, v = (array.reshape(-1) for array in (params, grads, state[0], state[1]))
        cast = p.dtype.type
        mean_fix = root_fix = 1.0
        if self.bias_correction:
            mean_fix, root_fix = 1 / (1 - self.beta1**t), 1 / math.sqrt(1 - self.beta2**t)
        inside, before = (decay, 0.0) if self.decay_in_ratio else (0.0, lr * decay)
        form = tuple(map(cast, (mean_fix, root_fix, self.eps, inside)))
        partial, rate = scratch(p.dtype, (flat_parts(p.size), 3), (1,))
        memories = rest(cast, self.beta1), rest(cast, self.beta2)
        if not kernels.lamb_moments(p, g, m, v, *memories, *form, float(1 - before), float(lr), partial, rate):
            self.refuse(grads)
        kernels.lamb(p, m, v, *form, rate, cast(before))
