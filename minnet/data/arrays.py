"""Checks of training data, which is a pair of arrays (x, y)."""

from typing import Any

import numpy as np

from ..base import checks
from ..kernels.passes.flat import all_finite

Data = tuple[np.ndarray, np.ndarray]


def check_data(who: str, data: Any, dtype: Any = None) -> Data:
    """Check data and return it as two arrays of equal length.

    Args:
        who: name of the caller, for errors.
        data: pair (x, y).
        dtype: dtype in which floats in x must be finite too; int64 for words, which are integers. With None, x may be
            both.

    Returns:
        (x, y): x of shape (n, ...), finite floats, uint8, or words, and y of shape (n, ...).

    Raises:
        TypeError, ValueError: for anything else.
    """
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        hint = "" if getattr(data, "shape", ()) == () else "; x and y are one argument, as in fit(net, (x, y), ...)"
        raise TypeError(f"{who}: expected data as a pair (x, y); got {type(data).__name__}{hint}")
    x, y = checks.array(who, "x", data[0]), checks.array(who, "y", data[1])
    if x.ndim == 0 or y.ndim == 0 or len(x) == 0:
        raise ValueError(f"{who}: expected at least one sample; got x of shape {x.shape}, y of shape {y.shape}")
    if len(x) != len(y):
        raise ValueError(f"{who}: expected x and y of one length; got {len(x)} and {len(y)}")
    if dtype == np.int64:
        if x.dtype.kind not in "iu":
            raise TypeError(f"{who}: expected x of words, which are integers; got dtype {x.dtype}")
    elif x.dtype.kind != "f" and x.dtype != np.uint8 and not (dtype is None and x.dtype.kind in "iu"):
        hint = "; batches of words, for an Embedding, have dtype=np.int64" if x.dtype.kind in "iu" else ""
        raise TypeError(f"{who}: expected x of floating-point or uint8 values; got dtype {x.dtype}{hint}")
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):  # an overflow becomes infinity
            values = np.ascontiguousarray(x, x.dtype if dtype is None else dtype)
        # Kernels take float32 and float64 only.
        finite = all_finite(values) if values.dtype in (np.float32, np.float64) else np.isfinite(values).all()
        if not finite:
            raise ValueError(f"{who}: expected finite x; got NaN or infinity in sample {first_non_finite(values)}")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"{who}: expected finite y; got NaN or infinity in sample {first_non_finite(y)}")
    return x, y


def check_scales(who: str, x: np.ndarray, validation: np.ndarray) -> None:
    """Raise ValueError if training and validation data have different scales.

    This is the case if one is uint8, which is read as x / 255, and the other is floats outside [0, 1].
    """
    for name, floats, other in (("validation", validation, x), ("training", x, validation)):
        if other.dtype != np.uint8 or floats.dtype == np.uint8:
            continue
        low, high = float(floats.min()), float(floats.max())
        if low < 0 or high > 1:
            beside = "training" if name == "validation" else "validation"
            raise ValueError(
                f"{who}: expected {name} data from 0 to 1 beside {beside} data of uint8, which become x / 255; got "
                f"{floats.dtype} from {low:.4g} to {high:.4g}. Give both as uint8, or both as floats of one scale"
            )


def first_non_finite(values: np.ndarray) -> int:
    """Return the index of the first sample with NaN or infinity."""
    return int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(axis=1)))
