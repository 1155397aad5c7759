"""Inverted dropout with counter-based noise."""

from .compile import kernel
from .noise import at_step, draw


@kernel
def dropout(x, stream, step, threshold, scale, y):
    """y = scale * x where the element's noise, a uniform 64-bit integer, is at least threshold; 0 elsewhere.

    stream is a uint64 of the layer's own, step counts training passes. The backward pass is this kernel
    on dy: the same noise comes back, and no mask is kept.
    """
    xs, ys = x.reshape(-1), y.reshape(-1)
    base = at_step(stream, step)
    zero = x.dtype.type(0)
    for i in range(xs.size):
        kept = draw(base, i) >= threshold
        ys[i] = scale * xs[i] if kept else zero
