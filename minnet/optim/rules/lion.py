"""Lion."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...base import checks
from ...kernels.chunks import for_size
from ...kernels.updates import adam as kernels
from ...kernels.updates.means import rest
from .base import Hyper, State
from .spikes import GuardedRule


@dataclass(frozen=True, kw_only=True)
class Lion(GuardedRule):
    """Lion: every element moves by the learning rate, in the direction of a sign.

        p -= lr * sign(beta1 m + (1 - beta1) g)
        m = beta2 m + (1 - beta2) g

    The sign of 0 is 0.

    Args:
        beta1: share of m in the direction of the step, in [0, 1).
        beta2: share of m that is kept in each step, in [0, 1).

    State: ``mean`` is m. A step moves 20 bytes per parameter in float32: it reads p, g and m, and writes p and m.
    Source: Chen et al. 2023, algorithm 2. Its learning rates are a third to a tenth of those of AdamW, and its weight
        decay is larger by the same factor.
    Conventions: Keras: the defaults. PyTorch, scikit-learn and CS231n do not have it.
    """

    beta1: Hyper = 0.9
    beta2: Hyper = 0.99
    slots: ClassVar[tuple[str, ...]] = ("mean",)
    steady: ClassVar[bool] = True
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        checks.fraction("Lion", "beta1", self.beta1)
        checks.fraction("Lion", "beta2", self.beta2)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        cast = params.dtype.type
        memories = rest(cast, self.beta1), rest(cast, self.beta2)
        step = for_size(params.size, kernels.lion, kernels.lion_parallel)
        if not step(params, grads, state[0], *memories, cast(lr), cast(lr * decay)):
            self.refuse(grads)
