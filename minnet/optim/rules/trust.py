"""Rules that scale each tensor's step to the tensor's own size: LARS and LAMB."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import checks
from ...kernels.updates import tensor as kernels
from ...kernels.updates.means import rest
from ...layers.spec import Tensor
from .adam import Adam
from .base import Hyper, Rule, State
from .scratch import scratch
from .sgd import Momentum
from .spikes import GuardedRule


@dataclass(frozen=True, kw_only=True)
class LARS(GuardedRule):
    """Layer-wise adaptive rate scaling: momentum whose step follows the size of each tensor (You et al. 2017, alg. 1).

    r = trust * |p| / (|g| + decay * |p| + eps); v = momentum * v + lr * r * (g + decay * p); p -= v, with Euclidean
    norms of one whole tensor (the paper's layer). ``trust`` is the paper's eta. Decay is the optimizer's
    ``weight_decay``, which here is no shrinking in front of the update but the paper's: part of it, and of the ratio.

    Tensors not tagged ``decay`` (biases and gains) take plain ``Momentum`` steps, r = 1, as in the runs that reached
    the published figures; ``exempt=False`` gives them a ratio too, which is the algorithm to the letter. Where |p| or
    |g| is 0, r is 1, else zeros would stay zeros for ever; the paper leaves this open. The paper's polynomial decay of
    the rate is ``schedules.Polynomial(lr, 0, steps, power=2)``.

    State: ``velocity`` is v. Nothing of the kind is in PyTorch, Keras, scikit-learn or CS231n. optax:
    ``joint_norm=True``, which divides by |g + decay * p|, ``exempt=False`` and ``decay`` for all unless masked.
    Bytes moved per parameter: 28 in float32 (p and g for the norms; p, g, v read, p and v written), 56 in float64.
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
        partial, rate = scratch(p.dtype, (kernels.flat_parts(p.size), 3), (1,))
        inside, beside = (decay, 0.0) if self.joint_norm else (0.0, float(decay))
        fixed = float(lr), float(self.trust), float(self.eps)
        if not kernels.lars_rate(p, g, cast(inside), beside, *fixed, partial, rate):
            self.refuse(grads)
        kernels.lars(p, g, v, rest(cast, self.momentum), rate, cast(decay))


@dataclass(frozen=True, kw_only=True)
class LAMB(GuardedRule):
    """Adam whose step is as long as the tensor is large: layer-wise adaptive moments (You et al. 2020, alg. 2).

    m and v as in ``Adam``; u = m^ / (sqrt(v^) + eps) + decay * p; p -= lr * |p| / |u| * u, with Euclidean norms of one
    whole tensor (the paper's layer; its phi is the identity). Decay is the optimizer's ``weight_decay``, which here is
    the paper's: part of u, so of the ratio.

    Tensors not tagged ``decay`` (biases and gains) take plain ``Adam`` steps, as in the authors' own runs;
    ``exempt=False`` gives them a ratio too, the algorithm to the letter. Where |p| or |u| is 0 the ratio is 1, else
    zeros would stay zeros for ever; the paper leaves this open.

    State: ``mean`` is m, ``squares`` is v. optax: ``exempt=False``, decay for all unless masked. Keras: ``eps=1e-7,
    exempt=False, decay_in_ratio=False``, which decays like AdamW in front of the update, norms and all. The
    authors' first version, without the corrections m^ and v^: ``bias_correction=False``. PyTorch, scikit-learn and
    CS231n have none. Bytes moved per parameter: 40 in float32 (p, g, m, v read, m and v written; p, m, v read, p
    written), 80 in float64.
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
        partial, rate = scratch(p.dtype, (kernels.flat_parts(p.size), 3), (1,))
        memories = rest(cast, self.beta1), rest(cast, self.beta2)
        if not kernels.lamb_moments(p, g, m, v, *memories, *form, float(1 - before), float(lr), partial, rate):
            self.refuse(grads)
        kernels.lamb(p, m, v, *form, rate, cast(before))
