"""Kernels of pooling and of changes in an image's size against naive twins."""

import math

import numpy as np
import pytest
from twins import IMAGES, Table, check_twin, each_axis, empty

from minnet.kernels.passes import (
    pool,
)

TWINS = Table()
twin_of = TWINS.twin_of


@pytest.mark.parametrize(TWINS.names, TWINS)
def test_a_kernel_equals_its_naive_twin(name, twin, make, shape, terms, dtype):
    check_twin(name, twin, make, shape, terms, dtype)


# (images, height, width, channels, size, stride, padding before, padding behind); two numbers where they differ between
# rows and columns
POOLS = [
    (1, 1, 1, 1, 1, 1, 0, 0),
    (2, 1, 1, 17, 3, 1, 1, 1),
    (2, 5, 4, 3, 2, 2, 0, 0),
    (3, 6, 5, 17, 3, 2, 1, 1),
    (2, 4, 5, 2, 3, 1, 2, 2),
    (2, 6, 5, 1, 2, 3, 0, 0),  # a stride beyond the window
    (2, 5, 5, 49, 3, 2, 1, 1),  # three vectors of channels and one channel
    (2, 6, 5, 17, (3, 2), (2, 1), (1, 0), (2, 1)),
    (3, 5, 7, 2, (1, 4), (1, 3), (0, 2), (0, 1)),
]
# Windows side by side that cover the image.
TILES = [
    (1, 1, 1, 1, 1, 1, 0, 0),
    (2, 4, 6, 3, 2, 2, 0, 0),
    (3, 6, 4, 17, (3, 2), (3, 2), 0, 0),
    (2, 2, 8, 49, (1, 4), (1, 4), 0, 0),
    (2, 3, 3, 16, 3, 3, 0, 0),
]
# Windows of up to 11 x 11 positions, the middle one of more than a block of the sum, those at the border of fewer.
WIDE_POOL = (2, 13, 13, 3, 11, 4, 5, 5)


def make_pool(rng, shape):
    n, *lengths, channels = shape[:4]
    out = [
        (length + before + behind - size) // stride + 1
        for length, size, stride, before, behind in zip(lengths, *map(each_axis, shape[4:]), strict=True)
    ]
    x = rng.permutation(math.prod(shape[:4])).reshape(shape[:4]).astype(float)
    return [x, empty((n, *out, channels))]


def window_of(shape):
    """Size, stride and corner as the kernels take them."""
    return np.array([each_axis(value) for value in shape[4:7]]).reshape(-1)


def windows(x_shape, y_shape, window):
    """(index into y, the indices into x of its window, those of the window) for every output."""
    size, stride, corner = window.reshape(3, 2).tolist()
    for n, i, j, c in np.ndindex(y_shape):
        rows, columns = (
            range(k * step - before, k * step - before + length)
            for k, step, before, length in zip((i, j), stride, corner, size, strict=True)
        )
        whole = [(n, a, b, c) for a in rows for b in columns]
        yield (n, i, j, c), [p for p in whole if 0 <= p[1] < x_shape[1] and 0 <= p[2] < x_shape[2]], whole


@twin_of(pool.max_pool, lambda rng, s: [*make_pool(rng, s), window_of(s)], shapes=POOLS)
def max_pool(x, y, window):
    for out, places, _ in windows(x.shape, y.shape, window):
        y[out] = max(x[place] for place in places)


def make_max_pool_backward(rng, shape):
    x, y = make_pool(rng, shape)
    max_pool(x, y, window_of(shape))
    # In half of the cases, half of the values count as cut off by a ReLU.
    floor = -math.inf if shape[0] % 2 else float(np.median(x))
    return [x, y, rng.standard_normal(y.shape), empty(x.shape), window_of(shape), floor]


@twin_of(pool.max_pool_backward_apart, make_max_pool_backward, shapes=TILES)
@twin_of(pool.max_pool_backward, make_max_pool_backward, shapes=POOLS)
def max_pool_backward(x, y, dy, dx, window, floor):
    dx[:] = 0
    for out, places, _ in windows(x.shape, y.shape, window):
        best = max(places, key=lambda place: x[place])
        dx[best] += dy[out] if x[best] > floor else 0


def shares_of(shape, with_padding):
    """1 / number of positions that the mean of each window counts."""
    y, before, behind = make_pool(np.random.default_rng(0), shape)[1], each_axis(shape[6]), each_axis(shape[7])
    rows, columns = shape[1:3]
    padded = -before[0], rows + behind[0], -before[1], columns + behind[1]
    top, bottom, left, right = padded if with_padding else (0, rows, 0, columns)
    shares = np.empty(y.shape[1:3])
    for (_, i, j, _), _, whole in windows(shape[:4], y.shape, window_of(shape)):
        shares[i, j] = 1 / sum(top <= a < bottom and left <= b < right for _, a, b, _ in whole)
    return shares


for _padded in (True, False):

    @twin_of(
        pool.mean_pool,
        lambda rng, s, p=_padded: [*make_pool(rng, s), window_of(s), shares_of(s, p)],
        shapes=[*POOLS, WIDE_POOL],
    )
    def mean_pool(x, y, window, shares):
        for out, places, _ in windows(x.shape, y.shape, window):
            y[out] = math.fsum(x[place] for place in places) * shares[out[1:3]]

    def make_mean_pool_backward(rng, shape, padded=_padded):
        dy = rng.standard_normal(make_pool(rng, shape)[1].shape)
        return [dy, empty(shape[:4]), window_of(shape), shares_of(shape, padded)]

    @twin_of(pool.mean_pool_backward, make_mean_pool_backward, shapes=POOLS)
    def mean_pool_backward(dy, dx, window, shares):
        dx[:] = 0
        for out, places, _ in windows(dx.shape, dy.shape, window):
            for place in places:
                dx[place] += dy[out] * shares[out[1:3]]


@twin_of(
    pool.global_mean,
    lambda rng, s: [rng.standard_normal(s), empty((s[0], s[3]))],
    shapes=[*IMAGES, (2, 9, 19, 5)],
    sums=True,
)
def global_mean(x, y):
    for n, c in np.ndindex(y.shape):
        y[n, c] = math.fsum(x[n, :, :, c].reshape(-1)) / x[n, :, :, c].size


@twin_of(pool.global_mean_backward, lambda rng, s: [rng.standard_normal((s[0], s[3])), empty(s)], shapes=IMAGES)
def global_mean_backward(dy, dx):
    for n, i, j, c in np.ndindex(dx.shape):
        dx[n, i, j, c] = dy[n, c] / (dx.shape[1] * dx.shape[2])


def scaled_images(shape):
    return (shape[0], 3 * shape[1], 3 * shape[2], shape[3])


@twin_of(pool.upsample, lambda rng, s: [rng.standard_normal(s), 3, empty(scaled_images(s))], shapes=IMAGES)
def upsample(x, factor, y):
    for n, i, j, c in np.ndindex(y.shape):
        y[n, i, j, c] = x[n, i // factor, j // factor, c]


@twin_of(pool.upsample_backward, lambda rng, s: [rng.standard_normal(scaled_images(s)), 3, empty(s)], shapes=IMAGES)
def upsample_backward(dy, factor, dx):
    dx[:] = 0
    for n, i, j, c in np.ndindex(dy.shape):
        dx[n, i // factor, j // factor, c] += dy[n, i, j, c]
