"""Counter-based noise: a uniform 64-bit integer that is a function of (stream, step, element).

The function is SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014), evaluated
at a counter. The noise of any element can therefore be computed at any time, in any order and by any thread.
"""

import numpy as np

from .compile import helper

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)


@helper
def _mix(z):
    """Return SplitMix64's finaliser: a bijection in which every bit of the input affects every bit of the output."""
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@helper
def at_step(stream, step):
    """Return the counter at which the noise of a step begins. stream is a uint64."""
    return _mix(stream + _mix(np.uint64(step) * _GOLDEN))


@helper
def draw(base, element):
    """Return the noise of an element, counted from 0, of the step that begins at ``base``."""
    return _mix(base + np.uint64(element + 1) * _GOLDEN)
