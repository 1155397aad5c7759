"""Standardisation of features to mean 0 and standard deviation 1."""

from dataclasses import dataclass

import numpy as np

from ..base import checks
from ..base.guide import Guided
from .arrays import first_non_finite


@dataclass(frozen=True)
class Standardizer(Guided):
    """Shift and scale features to mean 0 and standard deviation 1, with statistics of the training data.

    Call ``fit`` with the training data only, and apply the result to all data. CS231n warns that preprocessing must not
    use statistics of validation and test data.

    Attributes:
        mean, std: float64 arrays that broadcast against samples. The std of a constant feature is 1.
        sample_shape: shape of one sample.
    """

    mean: np.ndarray
    std: np.ndarray
    sample_shape: tuple[int, ...]

    @classmethod
    def fit(cls, x: np.ndarray, per: str = "feature") -> "Standardizer":
        """Compute mean and standard deviation of training data.

        Args:
            x: samples of shape (n, ...), floats or uint8. uint8 is read as x / 255.
            per: ``"feature"`` for statistics of each element of a sample, ``"channel"`` for statistics of each index
                of the last axis.

        Returns:
            A ``Standardizer``.

        Raises:
            TypeError, ValueError: if x has another dtype or shape, or is not finite.
        """
        if per not in ("feature", "channel"):
            raise ValueError(f"Standardizer.fit: expected per='feature' or 'channel'; got {per!r}")
        values = _as_float(checks.array("Standardizer.fit", "x", x))
        if values.ndim < 2 or len(values) == 0:
            raise ValueError(f"Standardizer.fit: expected samples of shape (n, ...); got shape {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError(
                f"Standardizer.fit: expected finite samples; got NaN or infinity in sample {first_non_finite(values)}"
            )
        axes = (0,) if per == "feature" else tuple(range(values.ndim - 1))
        # Rounding may give equal numbers a standard deviation above 0, so minimum and maximum decide whether they vary.
        low, high = values.min(axis=axes), values.max(axis=axes)
        mean = np.where(low < high, values.mean(axis=axes, dtype=np.float64), low)
        std = np.where(low < high, values.std(axis=axes, dtype=np.float64), 1.0)
        return cls(mean, std, values.shape[1:])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return (x - mean) / std.

        Args:
            x: samples of shape (n, *sample_shape), floats or uint8.

        Returns:
            A new array, float32 for float32 and uint8 input, float64 for float64 input.

        Raises:
            TypeError, ValueError: if x has another dtype or shape.
        """
        values = _as_float(checks.array("Standardizer", "x", x))
        if values.ndim == 0 or values.shape[1:] != self.sample_shape:
            wanted = ", ".join(map(str, self.sample_shape))
            raise ValueError(f"Standardizer: expected samples of shape (n, {wanted}); got shape {values.shape}")
        out = np.subtract(values, self.mean.astype(values.dtype))
        out /= self.std.astype(values.dtype)
        return out


def _as_float(x: np.ndarray) -> np.ndarray:
    if x.dtype == np.uint8:
        return np.divide(x, 255, dtype=np.float32)
    if x.dtype.kind != "f":
        raise TypeError(f"Standardizer: expected floating-point or uint8 samples; got dtype {x.dtype}")
    return x
