"""What update rules share: running means and decay that float32 does not distort, and squares that must not overflow.

A mean that remembers 100,000 steps has beta = 0.99999, and decay of 1e-4 at a rate of 1e-3 multiplies by 0.9999999.
float32 has no such numbers: it would take 0.99998999 and 0.99999988, an error of 0.1 % in what is forgotten and of 19 %
in what decays. It does have 1e-5 and 1e-7. So kernels take ``rest`` = 1 - beta, and decay as what it takes away.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ..compile import fused_helper, helper, kernel

# Squares of larger gradients than sqrt(the dtype's largest number) / 1024 are refused, so that a million can be summed.
MARGIN = 1024.0


def new_rest(cast: Callable[[float], np.floating], beta: float) -> np.floating:
    """What a mean with ``beta`` forgets in a step, 1 - beta, in the dtype ``cast``."""
    return cast(1 - beta)


# For a beta that stays as it is: a cast takes longer than the look-up.
rest: Callable[..., np.floating] = lru_cache(128)(new_rest)


@fused_helper
def mean(old, new, rest, share):
    """(1 - rest) * old + share * new.

    1 - rest is the sum of two numbers of the dtype, ``keep`` and ``lost``. (old - rest * old) + share * new would round
    twice, the first time always in the same direction, and a mean of long memory would settle off the mark.
    """
    one = type(rest)(1)
    keep = one - rest
    lost = (one - keep) - rest
    return keep * old + (lost * old + share * new)


@fused_helper
def once(old, new, rest, share):
    """(1 - rest) * old + share * new, of which no later step takes the mean: one rounding of 1 - rest does no harm."""
    return (type(rest)(1) - rest) * old + share * new


@fused_helper
def kept(old, rest):
    """(1 - rest) * old."""
    return old - rest * old


@fused_helper
def decayed(p, decay, step):
    """(1 - decay) * p - step."""
    return p - (decay * p + step)


@fused_helper
def moved(p, rate, velocity, pull):
    """(1 - rate * pull) * p + rate * velocity."""
    return p + rate * (velocity - pull * p)


@helper
def largest_slope(g):
    """The largest size of a gradient whose squares a rule takes."""
    return math.sqrt(np.finfo(g.dtype).max) / g.dtype.type(MARGIN)


@helper
def taken(slope, top):
    """The gradient's element, or 0 if its size is above ``top`` or NaN; and 1 if so, else 0."""
    zero, one = type(slope)(0), type(slope)(1)
    return (slope, zero) if abs(slope) <= top else (zero, one)


@helper
def all_fit(g):
    """Whether no element of a flat g is larger than ``largest_slope`` or NaN."""
    top, refused = largest_slope(g), g.dtype.type(0)
    for i in range(g.size):
        refused += taken(g[i], top)[1]
    return refused == 0


@helper
def _fit(squares, g):
    """Whether the square of each element of a flat g, and a million of them, fit, where ``squares`` is their sum."""
    top = largest_slope(g)
    return squares <= top * top or all_fit(g)  # the sum is small but for spikes


@helper
def refused_by(squares, g):
    """0 if a rule takes the gradient g, else 1; ``squares`` is the sum of its squares."""
    return 0.0 if _fit(squares, g) else 1.0


@kernel
def squares_fit(g):
    """Whether the square of each element of a flat g, and the sum of a million such squares, is a finite number."""
    squares = g.dtype.type(0)
    for i in range(g.size):
        squares += g[i] * g[i]
    return _fit(squares, g)
