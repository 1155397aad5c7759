"""Checks of arguments that many functions share.

Each takes the name of the caller, the name of the argument and its value, and returns the value or raises an error that
says who, what was expected and what came.
"""

import math
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np


def number(who: str, name: str, value: Any) -> float:
    """Return a finite real number as a float; raise TypeError or ValueError otherwise."""
    # The test for float is a short cut: that for Real takes a third of a microsecond in every training step.
    if not isinstance(value, float) and (isinstance(value, bool) or not isinstance(value, Real)):
        raise TypeError(f"{who}: expected {name} to be a number; got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{who}: expected {name} to be finite; got {value!r}")
    return float(value)


def positive(who: str, name: str, value: Any) -> float:
    """Return a finite number above 0."""
    if number(who, name, value) <= 0:
        raise ValueError(f"{who}: expected {name} above 0; got {value!r}")
    return float(value)


def non_negative(who: str, name: str, value: Any) -> float:
    """Return a finite number of at least 0."""
    if number(who, name, value) < 0:
        raise ValueError(f"{who}: expected {name} of at least 0; got {value!r}")
    return float(value)


def fraction(who: str, name: str, value: Any) -> float:
    """Return a number with 0 <= number < 1."""
    if not 0 <= number(who, name, value) < 1:
        raise ValueError(f"{who}: expected 0 <= {name} < 1; got {value!r}")
    return float(value)


def share(who: str, name: str, value: Any) -> float:
    """Return a number with 0 < number <= 1."""
    if not 0 < number(who, name, value) <= 1:
        raise ValueError(f"{who}: expected 0 < {name} <= 1; got {value!r}")
    return float(value)


def count(who: str, name: str, value: Any, least: int = 1) -> int:
    """Return a whole number of at least ``least``."""
    number = whole(who, name, value)
    if number < least:
        raise ValueError(f"{who}: expected {name} of at least {least}; got {value!r}")
    return number


def whole(who: str, name: str, value: Any) -> int:
    """Return a whole number, which may be negative."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{who}: expected {name} to be a whole number; got {value!r}")
    return int(value)


def truth(who: str, name: str, value: Any) -> bool:
    """Return a Python or NumPy bool as a bool; raise TypeError for anything else, such as 0 or 1."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{who}: expected {name} to be True or False; got {value!r}")
    return bool(value)


def precision(who: str, value: Any) -> np.dtype:
    """Return float32 or float64 as a dtype; raise ValueError otherwise, also for None, NumPy's name of float64."""
    try:
        resolved = np.dtype(np.void if value is None else value)
    except (TypeError, ValueError):
        resolved = np.dtype(np.void)
    if resolved not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"{who}: expected dtype float32 or float64; got {value!r}")
    return resolved


def dense(who: object, name: str, values: Any) -> None:
    """Raise TypeError for sparse matrices and ValueError for arrays with masked elements.

    NumPy would convert a sparse matrix to an array of one object, and read masked elements.
    """
    if np.ma.is_masked(values):
        raise ValueError(
            f"{who}: expected {name} without masked elements; got {np.sum(values.mask)} masked of "
            f"{np.size(values)} (fill them with .filled(value), or leave their samples out)"
        )
    if type(values).__module__.partition(".")[0] in ("scipy", "sparse") and hasattr(values, "nnz"):
        raise TypeError(
            f"{who}: expected {name} as a dense array; got a sparse {type(values).__name__} of shape {values.shape} "
            "(its .toarray() or .todense() is dense)"
        )


def array(who: object, name: str, values: Any) -> np.ndarray:
    """Return ``values`` as an array; raise errors for nested lists of uneven lengths and for what ``dense`` refuses."""
    if type(values) is np.ndarray:
        return values
    dense(who, name, values)
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{who}: expected {name} as an array; got {type(values).__name__} ({error})") from None


def turned(shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """Return a hint for an error if samples have channels first and channels last are expected, else ""."""
    if len(shape) == len(expected) == 3 and shape != expected and shape == (expected[2], *expected[:2]):
        return "; channels last? x.transpose(0, 2, 3, 1) makes it so"
    return ""


def warn_of_numbers_as_bytes(who: str, x: np.ndarray) -> None:
    """Warn of rows of uint8 without values above 127, which would be divided by 255 but hardly are pixels."""
    if x.dtype == np.uint8 and x.ndim == 2 and 0 < (largest := int(x.max(initial=0))) < 128:
        warnings.warn(
            f"{who}: expected rows of uint8 to be pixels, 0 to 255, which are read as x / 255; got none above "
            f"{largest}. If they count or measure something, give x.astype(np.float32); if they are pixels, "
            "x.astype(np.float32) / 255",
            stacklevel=4,
        )
