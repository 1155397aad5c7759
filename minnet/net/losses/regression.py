"""Losses of regression: targets that are floating-point numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...base import checks
from ...kernels.passes.flat import all_finite
from ...kernels.passes.losses import regression as kernels
from ...layers.spec import Shape
from .base import Loss, with_outputs


class _Regression(Loss):
    """A loss whose targets are floating-point numbers of shape (n, outputs), or (n,) for one output."""

    def check_targets(self, targets: Any, out_shape: Shape, dtype: np.dtype) -> np.ndarray:
        values = checks.array(self, "targets", targets)
        if values.dtype.kind != "f":
            raise TypeError(f"{self}: expected floating-point targets; got dtype {values.dtype}")
        with np.errstate(over="ignore"):  # an overflow becomes infinity, which is refused below
            values = np.ascontiguousarray(with_outputs(self, values, out_shape), dtype)
        if not all_finite(values):
            raise ValueError(f"{self}: expected finite targets; got NaN or infinity in {dtype}")
        return values


@dataclass(frozen=True)
class SquaredError(_Regression):
    """Squared error: the sum over outputs of (s - t)^2, as CS231n writes it.

    PyTorch's ``MSELoss`` and Keras divide by the number of outputs.

    Shapes: scores (n, outputs); targets floating-point numbers (n, outputs), or (n,) for one output.
    """

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        return kernels.squared_error(scores, targets, weights, dscores)


@dataclass(frozen=True)
class AbsoluteError(_Regression):
    """Absolute error: the sum over outputs of |s - t|. The gradient at s = t is 0.

    PyTorch's ``L1Loss`` and Keras divide by the number of outputs.

    Shapes: scores (n, outputs); targets floating-point numbers (n, outputs), or (n,) for one output.
    """

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        return kernels.absolute_error(scores, targets, weights, dscores)

    def winners(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        return np.sign(scores - targets)


@dataclass(frozen=True)
class Huber(_Regression):
    """Huber loss: the sum over outputs of d^2 / 2 if |d| <= delta, else delta * (|d| - delta / 2), with d = s - t.

    PyTorch's ``HuberLoss`` and Keras divide by the number of outputs.

    Args:
        delta: bound of the quadratic part, above 0.

    Shapes: scores (n, outputs); targets floating-point numbers (n, outputs), or (n,) for one output.
    Source: Huber 1964.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        checks.positive("Huber", "delta", self.delta)

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        return kernels.huber(scores, targets, weights, scores.dtype.type(self.delta), dscores)

    def winners(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        return np.sign(scores - targets) * (np.abs(scores - targets) > self.delta)
