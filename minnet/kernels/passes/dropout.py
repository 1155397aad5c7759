"""Inverted dropout with counter-based noise."""

from ..compile import kernel
from ..noise import at_step, draw
from ..views import flat


@kernel
def dropout(x, stream, step, threshold, scale, y):
    """y = scale * x where the noise of the element, a uniform 64-bit integer, is at least threshold, and 0 elsewhere.

    stream is a uint64 of the layer, and step counts training passes. The backward pass is this kernel applied to dy: it
    draws the same noise again, so no mask is stored.
    """
    xs, ys = flat(x), flat(y)
    base = at_step(stream, step)
    zero = x.dtype.type(0)
    for i in range(xs.size):
        kept = draw(base, i) >= threshold
        ys[i] = scale * xs[i] if kept else zero


@kernel
def dropout_channels(x, stream, step, threshold, scale, factors, y):
    """``dropout`` with one draw for all values of a channel of a sample; x and y have shape (n, ..., C).

    factors (C,) is scratch memory. The draws are those of ``dropout`` for an array (n, C).
    """
    n, channels = x.shape[0], x.shape[-1]
    rows = x.size // (n * channels)
    xs, ys = x.reshape((n, rows, channels)), y.reshape((n, rows, channels))
    base = at_step(stream, step)
    zero = x.dtype.type(0)
    for sample in range(n):
        for c in range(channels):
            kept = draw(base, sample * channels + c) >= threshold
            factors[c] = scale if kept else zero
        for r in range(rows):
            for c in range(channels):
                # Not a product with 0, which would let NaN and infinity through.
                ys[sample, r, c] = factors[c] * xs[sample, r, c] if factors[c] > zero else zero
