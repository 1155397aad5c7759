"""Inverted dropout with counter-based noise: whether an element is kept is a function of (stream, step, element).

The function is SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014)
read at a counter instead of stepped, so any element's noise can be had at any time, in any order, by any thread.
"""

import numpy as np

from .compile import helper, kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)


@helper
def _mix(z):
    """SplitMix64's finaliser: a bijection of 64-bit integers in which every input bit reaches every output bit."""
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@kernel
def dropout(x, stream, step, threshold, scale, y):
    """y = scale * x where the element's noise, a uniform 64-bit integer, is at least threshold; 0 elsewhere.

    stream is a uint64 of the layer's own, step counts training passes. The backward pass is this kernel
    on dy: the same noise comes back, and no mask is kept.
    """
    xs, ys = x.reshape(-1), y.reshape(-1)
    base = _mix(stream + _mix(np.uint64(step) * _GOLDEN))
    zero = x.dtype.type(0)
    for i in range(xs.size):
        kept = _mix(base + np.uint64(i + 1) * _GOLDEN) >= threshold
        ys[i] = scale * xs[i] if kept else zero


@kernel
def dropout_channels(x, stream, step, threshold, scale, factors, y):
    """``dropout`` with one draw for all of a sample's values of one channel; x and y (n, ..., C).

    factors (C,) is scratch. The draws are those of ``dropout`` on an array (n, C).
    """
    n, channels = x.shape[0], x.shape[-1]
    rows = x.size // (n * channels)
    xs, ys = x.reshape((n, rows, channels)), y.reshape((n, rows, channels))
    base = _mix(stream + _mix(np.uint64(step) * _GOLDEN))
    zero = x.dtype.type(0)
    for sample in range(n):
        for c in range(channels):
            kept = _mix(base + np.uint64(sample * channels + c + 1) * _GOLDEN) >= threshold
            factors[c] = scale if kept else zero
        for r in range(rows):
            for c in range(channels):
                # Not a product with 0, which would let NaN and infinity through.
                ys[sample, r, c] = factors[c] * xs[sample, r, c] if factors[c] > zero else zero
