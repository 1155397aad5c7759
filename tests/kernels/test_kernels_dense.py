"""Kernels of products, dropout, gathered batches and residual sums against naive twins; the noise of dropout."""

import math

import numpy as np
import pytest
from splitmix import GOLDEN, MASK, STREAM, mixed, splitmix64
from twins import DTYPES, IMAGES, ROWS, Table, check_twin, empty

from minnet.kernels.passes import (
    activation,
    dense,
    gather,
    residual,
)
from minnet.kernels.passes.dropout import dropout, dropout_channels
from minnet.kernels.vector import product, small

TWINS = Table()
twin_of = TWINS.twin_of


@pytest.mark.parametrize(TWINS.names, TWINS)
def test_a_kernel_equals_its_naive_twin(name, twin, make, shape, terms, dtype):
    check_twin(name, twin, make, shape, terms, dtype)


# (M, K, N): one of everything; odd and smaller than a block; more rows, columns and depth than one tile takes.
# The last ones are shared between threads; columns beyond a panel are few in the one, many in the other.
PRODUCTS = [(1, 1, 1), (5, 7, 3), (15, 2, 33), (31, 300, 70), (270, 260, 35), (40, 513, 125), (44, 101, 96)]


def make_product(transposed, floored):
    def make(rng, shape):
        M, K, N = shape
        A = (rng.standard_normal((M, K)), K, 1) if "A" not in transposed else (rng.standard_normal((K, M)), 1, M)
        B = (rng.standard_normal((K, N)), N, 1) if "B" not in transposed else (rng.standard_normal((N, K)), 1, K)
        bias = rng.standard_normal(N if floored or not transposed else 0)
        work, _ = product.new_work(np.dtype(np.float32))  # the larger of the two precisions
        return [
            *A,
            *B,
            bias,
            0.0 if floored else -math.inf,
            empty((M, N)),
            K,
            np.zeros((len(work), max(work.shape[1], K * N))),
        ]

    return make


def product_twin(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, *scratch):
    """Row by row, term by term in double precision, whose rounding is far below the bound for so many terms."""
    (M, N), k = C.shape, np.arange(K)
    rows = A.reshape(-1)[np.arange(M)[:, np.newaxis] * a_row + k * a_col]
    terms = B.reshape(-1)[k[:, np.newaxis] * b_row + np.arange(N) * b_col]
    for i in range(M):
        C[i] = np.maximum((rows[i][:, np.newaxis] * terms).sum(axis=0) + (bias if bias.size else 0), floor)


# Few rows, columns and terms, for which strips, dot products and exchanged strips are the quickest; sums of several
# blocks; B that is copied in several parts.
SMALL = [(3, 6, 3), (9, 3, 20), (7, 2, 130), (31, 20, 4), (5, 300, 3), (70, 300, 3), (33, 64, 10), (64, 600, 1)]
SMALL += [(1, 600, 64), (9, 200, 400)]
# The same where C may be cut into tasks, and where its last columns are computed apart.
NARROW = [(70, 9, 90), (40, 300, 36), (50, 300, 10), (90, 40, 1), (20, 50, 33)]

for _transposed in ("", "A", "B", "AB"):
    for _floored in (False, True):
        _make = make_product(_transposed, _floored)
        twin_of(product.matmul, _make, shapes=PRODUCTS + NARROW, sums=True)(product_twin)

        @twin_of(small.small_matmul, _make, shapes=PRODUCTS + SMALL, sums=True)
        def small_matmul(*arguments):
            product_twin(*arguments)


@twin_of(dense.column_sums, lambda rng, s: [rng.standard_normal(s), empty(s[1]), empty(2 * s[1])], sums=True)
def column_sums(dy, db, work):
    for c in range(db.size):
        db[c] = math.fsum(dy[:, c])


def test_the_twin_of_the_noise_is_splitmix64():
    # The first outputs for this seed as other implementations print them.
    assert list(splitmix64(1234567, 5)) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def below(rate):
    """The noise below which an element is dropped."""
    return np.uint64(int(rate * 2.0**64))


@twin_of(dropout, lambda rng, s: [rng.standard_normal(s), STREAM, 7, below(0.4), 1 / 0.6, empty(s)])
def dropout_by_the_element(x, stream, step, threshold, scale, y):
    base = mixed((int(stream) + mixed(step * GOLDEN & MASK)) & MASK)
    for place, draw in zip(np.ndindex(x.shape), splitmix64(base, x.size), strict=True):
        y[place] = scale * x[place] if draw >= int(threshold) else 0.0


@twin_of(
    dropout_channels,
    lambda rng, s: [rng.standard_normal(s), STREAM, 7, below(0.4), 1 / 0.6, np.zeros(s[-1]), empty(s)],
    shapes=[*ROWS, *IMAGES],
)
def dropout_by_the_channel(x, stream, step, threshold, scale, factors, y):
    base = mixed((int(stream) + mixed(step * GOLDEN & MASK)) & MASK)
    pairs = np.ndindex(x.shape[0], x.shape[-1])
    for (n, c), draw in zip(pairs, splitmix64(base, x.shape[0] * x.shape[-1]), strict=True):
        y[n, ..., c] = scale * x[n, ..., c] if draw >= int(threshold) else 0.0


def make_gather(of_bytes, flip):
    def make(rng, shape):
        n, rows, columns, channels, crop = shape
        image = (rows, columns, channels)
        x = rng.standard_normal((11, *image)) if not of_bytes else rng.integers(0, 256, (11, *image)).astype(np.uint8)
        mean, std = rng.standard_normal(math.prod(image)), rng.uniform(0.5, 2, math.prod(image))
        options = [STREAM, below(flip), crop, 255.0 if of_bytes else 1.0, mean, std]
        return [x, rng.integers(0, 11, n + 3), 2, 7, *options, empty((n, *image))]

    return make


def gather_twin(x, order, position, epoch, stream, flip, crop, scale, mean, std, out):
    _, rows, columns, channels = x.shape
    base = mixed((int(stream) + mixed(epoch * GOLDEN & MASK)) & MASK)
    draws = list(splitmix64(base, 3 * len(x)))
    for place, i in enumerate(order[position : position + len(out)]):
        down, right, side = draws[3 * i : 3 * i + 3]
        top, left = ((d >> 32) * (2 * crop + 1) >> 32 for d in (down, right))
        window = np.pad(x[i], ((crop, crop), (crop, crop), (0, 0)))[top : top + rows, left : left + columns]
        if side < int(flip):
            window = window[:, ::-1]
        for at in np.ndindex(rows, columns, channels):
            j = np.ravel_multi_index(at, (rows, columns, channels))
            out[(place, *at)] = (float(window[at]) / scale - mean[j]) / std[j]


# (samples, H, W, C, crop): one number; a sample that is no image; images with more, as much and less border than size.
GATHERED = [(1, 1, 1, 1, 0), (3, 1, 1, 37, 0), (9, 6, 5, 3, 2), (17, 3, 4, 1, 3), (2, 4, 20, 5, 1)]
for _kernel in (gather.gather, gather.gather_parallel):
    for _of_bytes in (True, False):
        twin_of(_kernel, make_gather(_of_bytes, 0.5), GATHERED)(gather_twin)
    twin_of(_kernel, make_gather(True, 0.0), GATHERED[2:3])(gather_twin)


@twin_of(gather.shuffle, lambda rng, s: [np.arange(s[0]), STREAM, 7, 0], shapes=[(1,), (5,), (131,)])
@twin_of(gather.shuffle, lambda rng, s: [np.arange(s[0]), STREAM, 7, 3], shapes=[(5,)])
def shuffle(order, stream, epoch, position):
    if position == 0:
        base = mixed((int(stream) + mixed(epoch * GOLDEN & MASK)) & MASK)
        draws, values = list(splitmix64(base, len(order))), list(range(len(order)))
        for i in reversed(range(1, len(order))):
            other = draws[i] * (i + 1) >> 64
            values[i], values[other] = values[other], values[i]
        order[:] = values


@twin_of(gather.take, lambda rng, s: [rng.standard_normal((11, s[1])), rng.integers(0, 11, s[0] + 3), 2, empty(s)])
def take(x, order, position, out):
    out[:] = [x[i] for i in order[position : position + len(out)]]


# More than one thread does alone, in the axes of the others: another number of axes takes another compilation.
SHARED = (10_001, 7)


@twin_of(
    activation.relu_mask,
    lambda rng, s: [np.maximum(rng.standard_normal(s), 0), rng.standard_normal(s)],
    [*ROWS, SHARED],
)
def relu_mask(y, dy):
    dy[y <= 0] = 0


def make_sum(rng, shape):
    return [rng.standard_normal(shape), rng.standard_normal(shape), 0.25, empty(shape)]


@twin_of(residual.add, make_sum, [*ROWS, SHARED])
def add(a, b, floor, y):
    y[:] = np.maximum(a + b, floor)


@twin_of(residual.accumulate, lambda rng, s: [rng.standard_normal(s), rng.standard_normal(s)], [*ROWS, SHARED])
def accumulate(total, x):
    total += x


# Dropout's noise ---------------------------------------------------------------------------------------------


def kept(shape, rate=0.5, stream=STREAM, step=0, dtype=np.float32):
    """Which elements dropout keeps."""
    y = empty(shape).astype(dtype)
    dropout(np.ones(shape, dtype), stream, step, below(rate), dtype(1), y)
    return y == 1


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9])
def test_dropout_drops_at_its_rate(rate):
    dropped = np.count_nonzero(~kept((400, 500), rate))
    # A binomial count: five standard deviations.
    assert abs(dropped - 200_000 * rate) < 5 * math.sqrt(200_000 * rate * (1 - rate))


def test_dropout_at_rate_0_keeps_all():
    assert kept((400, 500), 0.0).all()


def test_the_same_stream_and_step_give_the_same_noise():
    np.testing.assert_array_equal(kept((67, 9), step=3), kept((67, 9), step=3))


@pytest.mark.parametrize(
    "other",
    [{"step": 4}, {"step": 2**40}, {"stream": STREAM + np.uint64(1)}, {"stream": np.uint64(0)}],
    ids=["next step", "far step", "next stream", "zero stream"],
)
def test_another_stream_or_step_gives_unrelated_noise(other):
    first, second = kept((400, 500), step=3), kept((400, 500), **{"step": 3, **other})
    # Two fair coins agree half of the time: five standard deviations.
    assert abs(np.count_nonzero(first == second) - 100_000) < 5 * math.sqrt(200_000 / 4)


def test_neighbouring_elements_are_unrelated():
    noise = kept((400, 500)).reshape(-1)
    for distance in (1, 2, 3, 500):
        agree = np.count_nonzero(noise[distance:] == noise[:-distance])
        pairs = noise.size - distance
        assert abs(agree - pairs / 2) < 5 * math.sqrt(pairs / 4), distance


def test_the_noise_does_not_depend_on_shape_or_precision():
    expected = kept((6, 35)).reshape(-1)
    np.testing.assert_array_equal(kept((5, 42)).reshape(-1), expected)
    np.testing.assert_array_equal(kept((2, 3, 35), dtype=np.float64).reshape(-1), expected)
    np.testing.assert_array_equal(kept((6, 35), dtype=np.float64).reshape(-1), expected)
    # A longer array starts with the same noise.
    np.testing.assert_array_equal(kept((67, 9)).reshape(-1)[: expected.size], expected)


@DTYPES
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_of_a_dropped_channel_comes_through(bad, dtype):
    y = np.full((4, 3, 50), 7, dtype)
    dropout_channels(np.full_like(y, bad), STREAM, 0, below(0.5), dtype(2), np.empty(50, dtype), y)
    np.testing.assert_array_equal(np.isfinite(y), ~kept((4, 50))[:, None].repeat(3, axis=1))
    assert not y[np.isfinite(y)].any()
