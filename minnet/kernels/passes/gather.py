"""Gather the samples of a batch, and flip, crop, convert and standardise them in the same pass."""

from typing import Any

import numpy as np
from numba import prange

from ..compile import exact_helper, helper, kernel, parallel_kernel
from ..noise import at_step, draw

_SERIAL = 120_000  # elements up to which waking a second thread costs more than it brings
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


@helper
def _window(base, index, flip, crop):
    """Return (row, column, whether flipped) of the window of a sample, whose corner is within crop of the image's."""
    first, choices = 3 * index, np.uint64(2 * crop + 1)
    # The high half of a draw times the number of choices, in units of 2^32: uniform but for 2^-32.
    row = np.int64(((draw(base, first) >> _HALF) * choices) >> _HALF) - crop
    column = np.int64(((draw(base, first + 1) >> _HALF) * choices) >> _HALF) - crop
    return row, column, draw(base, first + 2) < flip


@helper
def _cut(image, row, column, flipped, out):
    """out = the window of the image with this corner, mirrored if flipped, and 0 outside of the image."""
    rows, columns, channels = out.shape
    for i in range(rows):
        for j in range(columns):
            a, b = row + i, column + (columns - 1 - j if flipped else j)
            if 0 <= a < rows and 0 <= b < columns:
                for c in range(channels):
                    out[i, j, c] = image[a, b, c]
            else:
                for c in range(channels):
                    out[i, j, c] = out.dtype.type(0)


@exact_helper
def _standardize(values, scale, mean, std):
    """values = (values / scale - mean) / std, element by element."""
    for j in range(values.size):
        values[j] = (values[j] / scale - mean[j]) / std[j]


@helper
def _gather_one(x, index, base, flip, crop, scale, mean, std, out):
    row, column, flipped = _window(base, index, flip, crop)
    _cut(x[index], row, column, flipped, out)
    _standardize(out.reshape(-1), scale, mean, std)  # while out is in the cache


@kernel
def gather(x, order, position, epoch, stream, flip, crop, scale, mean, std, out):
    """out[i] = (window of x[order[position + i]] / scale - mean) / std, for x (samples, H, W, C) of bytes or floats.

    The window has the size of the image. Its corner is uniform within crop of the corner of the image; outside of the
    image it is 0. It is mirrored left to right if its noise, a uniform 64-bit integer, is below flip. mean and std have
    one element for each element of out[i]. The noise is a function of (stream, epoch, index of the sample).
    """
    base = at_step(stream, epoch)
    for i in range(out.shape[0]):
        _gather_one(x, order[position + i], base, flip, crop, scale, mean, std, out[i])


@parallel_kernel
def gather_parallel(x, order, position, epoch, stream, flip, crop, scale, mean, std, out):
    """``gather`` on all threads. Samples are independent, so the bits are the same."""
    base = at_step(stream, epoch)
    for i in prange(out.shape[0]):
        _gather_one(x, order[position + i], base, flip, crop, scale, mean, std, out[i])


@helper
def _below(bits, bound):
    """floor(bits / 2^64 * bound) for a bound below 2^32: uniform over 0 .. bound - 1, but for 2^-32."""
    bound = np.uint64(bound)
    return np.int64(((bits >> _HALF) * bound + (((bits & _LOW) * bound) >> _HALF)) >> _HALF)


@kernel
def shuffle(order, stream, epoch, position):
    """order = a permutation of 0 .. n - 1, a function of (stream, epoch), if the position in the epoch is 0.

    Algorithm P of Knuth, The Art of Computer Programming 2, section 3.4.2 (Durstenfeld 1964).
    """
    if position == 0:
        base = at_step(stream, epoch)
        for i in range(order.size):
            order[i] = i
        for i in range(order.size - 1, 0, -1):
            other = _below(draw(base, i), i + 1)
            order[i], order[other] = order[other], order[i]


@kernel
def take(x, order, position, out):
    """out[i] = x[order[position + i]], for x (samples, features) and out (n, features)."""
    for i in range(out.shape[0]):
        row = order[position + i]
        for j in range(out.shape[1]):
            out[i, j] = x[row, j]


def collect(
    x: np.ndarray, order: np.ndarray, position: int, epoch: int, options: tuple[Any, ...], out: np.ndarray
) -> None:
    """Call ``gather`` or its parallel twin, by size. options are (stream, flip, crop, scale, mean, std)."""
    chosen = gather if out.size <= _SERIAL else gather_parallel
    chosen(x, order, position, epoch, *options, out)
