"""Features of mean 0 and standard deviation 1."""

from dataclasses import dataclass

import numpy as np

from .. import checks
from .arrays import first_non_finite


@dataclass(frozen=True)
class Standardizer:
    """Shift and scale features to mean 0 and standard deviation 1, as measured on training data.

    ``fit`` on the training part only, then call it on every part: CS231n's warning about preprocessing is that the
    statistics of validation and test data must not be used.

    Attributes:
        mean, std: arrays that broadcast against samples; a feature that does not vary has std 1.
        sample_shape: shape of one sample.
    """

    mean: np.ndarray
    std: np.ndarray
    sample_shape: tuple[int, ...]

    @classmethod
    def fit(cls, x: np.ndarray, per: str = "feature") -> "Standardizer":
        """Measure x (n, ...), floats or uint8 (read as x / 255).

        ``per="feature"`` takes each element of a sample by itself, ``per="channel"`` each index of the last axis.
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
        # The mean of equal numbers may be off by a rounding, and their deviation then above 0: ask whether they vary.
        low, high = values.min(axis=axes), values.max(axis=axes)
        mean = np.where(low < high, values.mean(axis=axes, dtype=np.float64), low)
        std = np.where(low < high, values.std(axis=axes, dtype=np.float64), 1.0)
        return cls(mean, std, values.shape[1:])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(x - mean) / std in a new array, float32 for float32 and uint8 input, float64 for float64."""
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
