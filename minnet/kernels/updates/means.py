"""What update rules share: running means and decay that float32 does not distort, and squares that must not overflow.

A mean that remembers 100,000 steps has beta = 0.99999, and decay of 1e-4 at a rate of 1e-3 multiplies by 0.9999999.
float32 has no such numbers: it would take 0.99998999 and 0.99999988, an error of 0.1 % in what is forgotten and of 19 %
in what decays. It does have 1e-5 and 1e-7. So kernels take ``rest`` = 1 - beta, and decay as what it takes away.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ..compile import exact_helper, fused_helper, helper, kernel

# Squares of larger gradients than sqrt(the dtype's largest number) / 1024 are refused, so that a million can be summed.
MARGIN = 1024.0


def new_rest(cast: Callable[[float], np.floating], beta: float) -> np.floating:
    """What a mean with ``beta`` forgets in a step, 1 - beta, in the dtype ``cast``."""
    return cast(1 - beta)


# For a beta that stays as it is: a cast takes longer than the look-up.
rest: Callable[..., np.floating] = lru_cache(128)(new_rest)


@helper
def forget(memory, rest):
    """memory = 0 if ``rest`` is 1. In ``mean``, the rounding of new - old would leave a trace of a large old."""
    if rest == 1:
        for i in range(memory.size):
            memory[i] = memory.dtype.type(0)


@fused_helper
def mean(old, new, rest):
    """(1 - rest) * old + rest * new, for an old to which ``forget`` has been applied.

    1 - rest, which may be no number of the dtype, does not occur. With one instruction for a product and a sum, only
    new - old and the result are rounded. For (1 - rest) * old + gain * new, see ``apart``.
    """
    return old + rest * (new - old)


@exact_helper
def enlarged(gain, rest):
    """gain / rest, the ``full`` of ``apart``. A quotient that may be taken apart has other bits in each kernel."""
    return gain / rest


@fused_helper
def apart(new, full, old):
    """full * new - old. Moved on by ``rest`` of it, with full = gain / rest, old is (1 - rest) * old + gain * new."""
    return full * new - old


@fused_helper
def moved_on(old, away, share):
    """old + share * away, where ``away`` has been computed from old. With away = new - old it is ``mean``."""
    return old + share * away


@exact_helper
def product(a, b):
    """a * b, rounded.

    In a sum of two products, either may become one instruction with the sum. The vector part of a loop and its last
    elements may differ in which one does, and elements would have other bits at other places. This one does not.
    """
    return a * b


@fused_helper
def once(old, new, rest):
    """(1 - rest) * old + rest * new, of which no later step takes the mean: one rounding of 1 - rest does no harm."""
    return (type(rest)(1) - rest) * old + product(rest, new)


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
    """The gradient's element, or 0 if its size is above ``top`` or NaN; and whether it is."""
    over = not abs(slope) <= top
    return (type(slope)(0) if over else slope), over


@helper
def all_fit(g):
    """Whether no element of a flat g is larger than ``largest_slope`` or NaN."""
    top, refused = largest_slope(g), False
    for i in range(g.size):
        refused |= taken(g[i], top)[1]
    return not refused


@helper
def _fit(squares, g):
    """Whether the square of each element of a flat g, and a million of them, fit, where ``squares`` is their sum."""
    top = largest_slope(g)
    return squares <= top * top or all_fit(g)  # the sum is small but for spikes


@helper
def refused_by(squares, g):
    """Whether a rule refuses the gradient g; ``squares`` is the sum of its squares."""
    return not _fit(squares, g)


@kernel
def squares_fit(g):
    """Whether the square of each element of a flat g, and the sum of a million such squares, is a finite number."""
    squares = g.dtype.type(0)
    for i in range(g.size):
        squares += g[i] * g[i]
    return _fit(squares, g)
