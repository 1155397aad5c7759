"""Passes over rows of channels that several kernels share: moments, sums of gradients, and maps that use them.

A loop over few channels is too short for good vector code. Rows are therefore joined, as many as a power of two allows,
into wide rows of some hundred elements. Arrays have shape (wide rows, width). Place j of a wide row, a *lane*, belongs
to channel j % channels. Sums by lane are reduced to channels at the end.

A mean is stored as two numbers: the rounded mean, and what its rounding lost. If x is about 1e4 in float32, half a unit
in the last place of its mean is 5e-4, which would be an error of all elements. The difference of x and the rounded mean
is exact for such x. What was lost is taken into account once for each channel or group, not for each element.

Sums are computed in parts of the rows. The number of parts depends only on sizes, so any number of threads gives the
same bits.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..compile import helper
from ..vector.sums import DEPTH, add_block, difference, finish, start

_WIDTH = 512  # lanes at the least, if the rows allow it
_PART = 32_768  # elements of a part at the least
_SERIAL = 100_000  # elements up to which waking a second thread costs more than it brings
PARTS = 16
SUMS = 6  # arrays of C elements that a part's sums for gamma and beta take: two totals, two rests, two blocks


@lru_cache(maxsize=1024)
def width_of(rows: int, channels: int) -> int:
    """Return the width of a wide row: channels times a power of two that divides the rows and leaves at least eight."""
    width = channels
    while width < _WIDTH and rows % 2 == 0 and rows >= 16:
        width, rows = 2 * width, rows // 2
    return width


@lru_cache(maxsize=1024)
def parts_of(rows: int, size: int) -> int:
    """Return the number of parts of ``rows`` rows of ``size`` elements. Part i starts at row rows * i // parts."""
    return max(1, min(PARTS, rows, rows * size // _PART))


def by_size(size: int, serial: Callable[..., Any], parallel: Callable[..., Any]) -> Callable[..., Any]:
    """Return the twin that suits arrays of ``size`` elements. The choice does not depend on the number of threads.

    Twins compute the same sums in the same order, except for what the compiler reorders within a vector register.
    """
    return parallel if size > _SERIAL else serial


def work_size(channels: int) -> int:
    """Return the number of elements of ``work`` that a thread needs: ten wide rows."""
    return 10 * max(channels, 2 * _WIDTH)


@helper
def spread(channels, width, first, last, lanes):
    """Repeat the first ``channels`` places of wide rows ``first`` to ``last`` of ``lanes`` in the rest of each."""
    for row in range(first, last):
        for j in range(row * width + channels, (row + 1) * width):
            lanes[j] = lanes[j - channels]


@helper
def merge_moments(rows, mean, squares, more, mean_more, squares_more):
    """Merge the moments of ``rows`` rows (possibly none) and of ``more`` rows: Chan, Golub, LeVeque 1983, eq. 2.1."""
    if rows == 0:
        for c in range(mean.size):
            mean[c], squares[c] = mean_more[c], squares_more[c]
        return
    share = mean.dtype.type(more / (rows + more))
    weight = mean.dtype.type(rows * (more / (rows + more)))
    for c in range(mean.size):
        d = mean_more[c] - mean[c]
        mean[c] += share * d
        squares[c] += squares_more[c] + weight * d * d


@helper
def moments(x, part, parts, shift, mean, squares, work):
    """Compute the mean (C,) of x - shift over a part of the rows, and the sum (C,) of squared deviations, by channel.

    shift (C,) is any of the values of x, so that a mean far larger than the deviation loses no digits. Each block of
    rows has its own mean, which keeps float32 accurate for the hundred thousand rows of a batch of images. A block is
    read twice, the second time from the cache. work has five wide rows.
    """
    first, last, width = len(x) * part // parts, len(x) * (part + 1) // parts, x.shape[1]
    lane_mean, lane_squares = work[:width], work[width : 2 * width]
    centre, sums, origin = work[2 * width : 3 * width], work[3 * width : 4 * width], work[4 * width : 5 * width]
    for c in range(mean.size):
        origin[c] = shift[c]
    spread(mean.size, width, 0, 1, origin)
    for begin in range(first, last, DEPTH):
        end = min(begin + DEPTH, last)
        scale = x.dtype.type(1) / x.dtype.type(end - begin)
        for j in range(width):
            centre[j], sums[j] = x.dtype.type(0), x.dtype.type(0)
        for r in range(begin, end):
            for j in range(width):
                centre[j] += difference(x[r, j], origin[j])
        for j in range(width):
            centre[j] *= scale
        for r in range(begin, end):
            for j in range(width):
                d = difference(difference(x[r, j], origin[j]), centre[j])
                sums[j] += d * d
        merge_moments(begin - first, lane_mean, lane_squares, end - begin, centre, sums)
    rows = last - first
    while width > mean.size:
        width //= 2
        merge_moments(rows, lane_mean[:width], lane_squares[:width], rows, lane_mean[width:], lane_squares[width:])
        rows *= 2
    for c in range(mean.size):
        mean[c], squares[c] = lane_mean[c], lane_squares[c]


@helper
def normalise(x, part, parts, lanes, floor, y):
    """y = max((x - centre) * scale + shift, floor) for a part of the rows. The three are wide rows of ``lanes``.

    The shorter x * scale + b would lose digits if the mean is large.
    """
    width = x.shape[1]
    centre, scale, shift = lanes[:width], lanes[width : 2 * width], lanes[2 * width : 3 * width]
    for r in range(len(x) * part // parts, len(x) * (part + 1) // parts):
        for j in range(width):
            v = (x[r, j] - centre[j]) * scale[j] + shift[j]
            y[r, j] = floor if v < floor else v


@helper
def gradient_sums(x, dy, part, parts, lanes, products, sums, work):
    """Compute the sums (C,) over a part of the rows of dy * (x - centre) and of dy, by channel.

    centre is the first wide row of ``lanes``. work has six wide rows.
    """
    first, last, width = len(x) * part // parts, len(x) * (part + 1) // parts, x.shape[1]
    centre, lane_products, lane_sums = lanes[:width], work[:width], work[width : 2 * width]
    both, rests, block = work[: 2 * width], work[2 * width : 4 * width], work[4 * width : 6 * width]
    if last > first + DEPTH:
        start(both, rests)
    else:
        block = both  # the only one
    block_products, block_sums = block[:width], block[width:]
    for begin in range(first, last, DEPTH):
        for j in range(width):
            block_products[j], block_sums[j] = x.dtype.type(0), x.dtype.type(0)
        for r in range(begin, min(begin + DEPTH, last)):
            for j in range(width):
                block_products[j] += dy[r, j] * (x[r, j] - centre[j])
                block_sums[j] += dy[r, j]
        if last > first + DEPTH:
            add_block(both, rests, block)
    if last > first + DEPTH:
        finish(both, rests)
    while width > sums.size:
        width //= 2
        for j in range(width):
            lane_products[j] += lane_products[width + j]
            lane_sums[j] += lane_sums[width + j]
    for c in range(sums.size):
        products[c], sums[c] = lane_products[c], lane_sums[c]


@helper
def input_gradient(x, dy, part, parts, lanes, dx):
    """dx = gain * dy + slope * (x - centre) + shift for a part of the rows.

    centre, gain, slope and shift are the wide rows of ``lanes``. If dx is empty, nothing is computed.
    """
    width = x.shape[1]
    centre, gain = lanes[:width], lanes[width : 2 * width]
    slope, shift = lanes[2 * width : 3 * width], lanes[3 * width : 4 * width]
    for r in range(len(dx) * part // parts, len(dx) * (part + 1) // parts):
        for j in range(width):
            dx[r, j] = gain[j] * dy[r, j] + (slope[j] * (x[r, j] - centre[j]) + shift[j])


@helper
def add_parts(parts, partial, dgamma, dbeta):
    """Set dgamma and dbeta to the sums of partial[part, 0] and partial[part, 1] over the parts."""
    for c in range(dgamma.size):
        dgamma[c], dbeta[c] = partial[0, 0, c], partial[0, 1, c]
    for part in range(1, parts):
        for c in range(dgamma.size):
            dgamma[c] += partial[part, 0, c]
            dbeta[c] += partial[part, 1, c]
