"""Lion."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import checks
from ...kernels.updates import adam as kernels
from ...kernels.updates.means import rest
from .base import Hyper, State
from .spikes import GuardedRule


@dataclass(frozen=True, kw_only=True)
class Lion(GuardedRule):
    """p -= lr * sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 - beta2) g. Every element moves by lr, either way.

    Source: Chen et al. 2023, algorithm 2; rates a third to a tenth of AdamW's, with as much more weight decay. The sign
    of 0 is 0.
    State: ``mean`` is m. Moves 20 bytes a parameter in float32: p, g, m read; p, m written.
    Conventions: Keras: the defaults. PyTorch, scikit-learn and CS231n have none.
    """

    beta1: Hyper = 0.9
    beta2: Hyper = 0.99
    slots: ClassVar[tuple[str, ...]] = ("mean",)

    def check(self) -> None:
        checks.fraction("Lion", "beta1", self.beta1)
        checks.fraction("Lion", "beta2", self.beta2)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        cast = params.dtype.type
        memories = rest(cast, self.beta1), rest(cast, self.beta2)
        if not kernels.lion(params, grads, state[0], *memories, cast(lr), cast(lr * decay)):
            self.refuse(grads)
