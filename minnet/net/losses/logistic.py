"""Binary cross-entropy."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...base import checks
from ...kernels.passes.losses import logistic as kernels
from ...kernels.passes.losses.hits import logistic_hits
from ...kernels.passes.losses.targets import are_shares
from ...layers.spec import Shape
from .base import Loss, with_outputs


@dataclass(frozen=True)
class Logistic(Loss):
    """Binary cross-entropy on logits, summed over the outputs; each output is a yes-or-no question of its own.

    With p = 1 / (1 + exp(-s)), an output with target t adds -t * log(p) - (1 - t) * log(1 - p). PyTorch's
    ``BCEWithLogitsLoss`` and Keras divide by the number of outputs. A sample counts as correct if all its outputs are.

    Shapes: scores (n, outputs); targets numbers from 0 to 1, (n, outputs), or (n,) for one output.
    """

    def check_targets(self, targets: Any, out_shape: Shape, dtype: np.dtype) -> np.ndarray:
        values = checks.array(self, "targets", targets)
        if values.dtype.kind not in "iufb":
            raise TypeError(f"{self}: expected numbers from 0 to 1; got dtype {values.dtype}")
        values = with_outputs(self, values, out_shape)
        targets = np.ascontiguousarray(values, dtype)
        if not are_shares(targets):
            raise ValueError(f"{self}: expected targets from 0 to 1; got {values.min()} to {values.max()}")
        return targets

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        return kernels.logistic(scores, targets, weights, dscores)

    def hits(self, scores: np.ndarray, targets: np.ndarray, out: np.ndarray) -> bool:
        logistic_hits(scores, targets, out)
        return True
