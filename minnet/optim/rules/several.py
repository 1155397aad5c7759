"""Numbers of one step or of several: a rule that is ``vectorised`` computes both with the same formula.

Sums, products, quotients and roots of NumPy are rounded correctly, as Python's are. Powers are not, so they are taken
one by one.
"""

import math
from typing import Any

import numpy as np


def power(base: float, t: Any) -> Any:
    """Return base**t, for a step or for an array of steps."""
    return np.array([base**step for step in t.tolist()]) if isinstance(t, np.ndarray) else base**t


def root(value: Any) -> Any:
    """Return the square root of a number, or of each element of an array."""
    return np.sqrt(value) if isinstance(value, np.ndarray) else math.sqrt(value)
