"""Kernels on flat vectors against naive twins: norms, penalties, clipping, mixing, noise, and bad numbers."""

import math

import numpy as np
import pytest
from splitmix import GOLDEN, MASK, STREAM, mixed, splitmix64
from twins import DTYPES, EPS32, FLAT, LARGE, Table, check_twin, empty, make_update

from minnet.kernels import chunks
from minnet.kernels.passes import flat
from minnet.kernels.updates import gradients, means

TWINS = Table()
twin_of = TWINS.twin_of


@pytest.mark.parametrize(TWINS.names, TWINS)
def test_a_kernel_equals_its_naive_twin(name, twin, make, shape, terms, dtype):
    check_twin(name, twin, make, shape, terms, dtype)


# Flat vectors ------------------------------------------------------------------------------------------------


@twin_of(flat.all_finite, lambda rng, s: [rng.standard_normal(s)])
@twin_of(flat.all_finite_parallel, lambda rng, s: [rng.standard_normal(s)], [*FLAT, LARGE])
def all_finite(x):
    return all(math.isfinite(v) for v in x.reshape(-1))


def make_slice(size):
    """Rows of some columns, and the first of those; a row of (n, columns) is longer by 2 and by 3."""
    return lambda rng, s: [rng.standard_normal((s[0], s[1] + size)), 2, empty((s[0], s[1] + 5 - size))]


@twin_of(flat.take_slice, make_slice(5))
def take_slice(x, start, out):
    out[...] = x[:, start : start + out.shape[1]]


@twin_of(flat.put_slice, make_slice(0))
def put_slice(source, start, out):
    out[...] = 0
    out[:, start : start + source.shape[1]] = source


@twin_of(flat.fill, lambda rng, s: [rng.standard_normal(s), 0.3], FLAT)
def fill(x, value):
    x[:] = value


@twin_of(flat.copy, lambda rng, s: [rng.standard_normal(s), empty(s[::-1])])
def copy(source, out):
    for i in range(source.size):
        out.flat[i] = source.flat[i]


@twin_of(flat.count, lambda rng, s: [rng.random(s) < 0.3], FLAT)
def count(marks):
    return sum(map(bool, marks))


@twin_of(flat.sum_of_squares, lambda rng, s: [rng.standard_normal(s)], FLAT, sums=True)
def sum_of_squares(x):
    return math.fsum(v * v for v in x)


@twin_of(flat.scale, lambda rng, s: [rng.standard_normal(s), 0.3], FLAT)
def scale(x, factor):
    for i in range(x.size):
        x[i] = x[i] * factor


@twin_of(flat.add_l2, lambda rng, s: [rng.standard_normal(s), 0.3, rng.standard_normal(s)], FLAT, sums=True)
def add_l2(w, strength, dw):
    for i in range(w.size):
        dw[i] += strength * w[i]
    return math.fsum(v * v for v in w)


def make_add_l1(rng, shape):
    w = rng.standard_normal(shape)
    w[1::5] = 0  # where the penalty has no slope
    return [w, 0.3, rng.standard_normal(shape)]


@twin_of(flat.add_l1, make_add_l1, FLAT, sums=True)
def add_l1(w, strength, dw):
    for i in range(w.size):
        if w[i] != 0:
            dw[i] += math.copysign(strength, w[i])
    return math.fsum(abs(v) for v in w)


# Units on both sides of the bound; the net gives it as a Python float, so it is a double in both precisions.
@twin_of(flat.limit_unit_norms, lambda rng, s: [rng.standard_normal(s), np.float64(math.sqrt(s[0]))], sums=True)
def limit_unit_norms(W, bound):
    for u in range(W.shape[1]):
        norm = math.sqrt(math.fsum(v * v for v in W[:, u]))
        for i in range(W.shape[0]):
            W[i, u] = W[i, u] * min(1.0, bound / norm)


# What combinators do -----------------------------------------------------------------------------------------


@twin_of(gradients.combine, lambda rng, s: [rng.standard_normal(s), 0.8, rng.standard_normal(s), 0.3], [*FLAT, LARGE])
def combine(x, a, y, b):
    for i in range(x.size):
        x[i] = a * x[i] + b * y[i]


@twin_of(
    gradients.mix,
    lambda rng, s: [rng.standard_normal(s), rng.standard_normal(s), 0.3],
    [*FLAT, LARGE],
)
def mix(average, values, share):
    for i in range(average.size):
        average[i] = (1 - share) * average[i] + share * values[i]


@twin_of(gradients.look_ahead, make_update(0.3), [*FLAT, LARGE])
def look_ahead(p, slow, share):
    slow[:] = (1 - share) * slow + share * p
    p[:] = slow


@twin_of(gradients.scaled, lambda rng, s: [rng.standard_normal(s), 0.3, empty(s)], [*FLAT, LARGE])
def scaled(x, factor, y):
    y[:] = factor * x


@twin_of(gradients.clip_values, lambda rng, s: [rng.standard_normal(s), 0.3], [*FLAT, LARGE])
def clip_values(x, bound):
    for i in range(x.size):
        x[i] = min(max(x[i], -bound), bound)


@twin_of(gradients.add_norm, lambda rng, s: [rng.standard_normal(s), np.zeros(3)], FLAT, sums=True)
def add_norm(x, sums):
    sums[0] = math.fsum(x**2)
    sums[2] = math.sqrt(sums[0])
    sums[1] = sums[0] * (2.0**-80) ** 2  # tiny beside the bound, in either precision
    return True


@twin_of(gradients.limit, lambda rng, s: [rng.standard_normal(s), np.full(3, 0.8), np.float64(0.3)], FLAT)
def limit(x, sums, bound):
    x *= bound / sums[2]


@twin_of(means.squares_fit, lambda rng, s: [rng.standard_normal(s)], FLAT)
def squares_fit(g):
    return True


@twin_of(gradients.square, lambda rng, s: [rng.standard_normal(s), 0.3], [*FLAT, LARGE])
def square(x, factor):
    for i in range(x.size):
        x[i] = factor * x[i] ** 2


def make_noise(rng, shape):
    return [rng.standard_normal(shape), STREAM, 7, 1000, np.float64(0.3)]


@twin_of(gradients.add_noise, make_noise, [*FLAT, LARGE])
def add_noise(g, stream, step, first, scale):
    base = mixed((int(stream) + mixed(step * GOLDEN & MASK)) & MASK)
    for i, bits in enumerate(list(splitmix64(base, first + g.size))[first:]):
        # Box and Muller 1958, equation 1, with the upper and the lower half of the bits.
        upper, lower = ((bits >> 32) + 1) / 2**32, (bits % 2**32) / 2**32
        g[i] = g[i] + scale * math.sqrt(-2 * math.log(upper)) * math.cos(2 * math.pi * lower)


@twin_of(
    gradients.clip_units,
    lambda rng, s: [
        *(rng.standard_normal(s) * np.logspace(-3, 1, s[1]), rng.standard_normal(s)),
        *(np.float64(0.7), np.float64(0.5)),
    ],
    sums=True,
)
def clip_units(W, G, share, least):
    for u in range(W.shape[1]):
        bound = share * max(math.sqrt(math.fsum(v * v for v in W[:, u])), least)
        norm = math.sqrt(math.fsum(v * v for v in G[:, u]))
        for i in range(W.shape[0]):
            G[i, u] = G[i, u] * min(1.0, bound / norm)
    return True


@DTYPES
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_number_anywhere_is_found(bad, dtype):
    # Sizes from part of a vector register to several unrolled ones with a remainder.
    for size in (1, 2, 7, 16, 67, 131):
        x = np.ones((1, size), dtype)
        for place in range(size):
            x[0, place] = bad
            assert not flat.all_finite(x), (size, place)
            x[0, place] = 1


@DTYPES
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_number_is_found_by_several_threads(bad, dtype):
    x = np.ones((3, chunks.CHUNK), dtype)
    assert flat.all_finite_parallel(x)
    for place in (0, chunks.CHUNK - 1, chunks.CHUNK, 2 * chunks.CHUNK + 5, x.size - 1):
        x.reshape(-1)[place] = bad
        assert not flat.all_finite_parallel(x), place
        x.reshape(-1)[place] = 1


@DTYPES
def test_infinities_that_cancel_are_found(dtype):
    assert not flat.all_finite(np.array([[np.inf, -np.inf, 1.0]], dtype))


@DTYPES
def test_the_largest_and_smallest_numbers_are_finite(dtype):
    info = np.finfo(dtype)
    # Enough of the largest to overflow any sum of them.
    assert flat.all_finite(np.full((2, 67), info.max, dtype))
    assert flat.all_finite(np.array([[info.max, info.min, info.tiny, info.smallest_subnormal, -0.0]], dtype))


@DTYPES
def test_a_nan_or_overflowing_gradient_shows_in_its_norm(dtype):
    x = np.ones(5000, dtype)
    for bad in (np.nan, np.inf, -np.inf):
        x[4321] = bad
        assert not math.isfinite(flat.sum_of_squares(x))


# Accuracy of long sums ---------------------------------------------------------------------------------------


def test_a_float32_sum_of_squares_of_a_million_numbers_is_accurate():
    x = np.full(1_000_003, 0.1, np.float32)
    expected = x.size * float(np.float32(0.1)) ** 2
    # Blocks of 4096 in float32 err by sqrt(4096) roundings at the very most, in float64 the blocks add none.
    assert flat.sum_of_squares(x) == pytest.approx(expected, rel=64 * EPS32)


# Normal noise ------------------------------------------------------------------------------------------------


def normal(size, stream=STREAM, step=0, first=0, dtype=np.float64):
    g = np.zeros(size, dtype)
    gradients.add_noise(g, stream, step, first, 1.0)
    return g


def test_noise_is_normal():
    z = np.sort(normal(400_000))
    # Kolmogorov and Smirnov's distance from the normal distribution: 1.95 / sqrt(n) is exceeded once in a thousand.
    share = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in z[::40]])
    assert np.abs(share - (np.arange(z.size)[::40] + 0.5) / z.size).max() < 1.95 / math.sqrt(z.size)
    assert 4.5 < np.abs(z).max() < 6.7  # 400 000 deviates reach 4.5 all but surely


def test_noise_of_neighbours_steps_and_streams_is_uncorrelated():
    z, bound = normal(400_000), 5 / math.sqrt(400_000)
    others = [np.roll(z, 1), np.roll(z, 2), normal(400_000, step=1), normal(400_000, STREAM + np.uint64(1))]
    for other in others:
        assert abs(np.mean(z * other)) < bound
        assert abs(np.mean((z * z - 1) * (other * other - 1))) < 2 * bound


@DTYPES
def test_noise_is_that_of_the_element_wherever_the_array_begins(dtype):
    whole = normal(70_000, dtype=dtype)
    np.testing.assert_array_equal(normal(40_000, first=29_000, dtype=dtype), whole[29_000:69_000])
    np.testing.assert_array_equal(whole, normal(70_000).astype(dtype))


@DTYPES
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clipping_a_unit_that_is_not_finite_says_so_and_leaves_it(bad, dtype):
    W, G = np.ones((5, 3), dtype), np.full((5, 3), 9, dtype)
    G[2, 1] = bad
    before = G.copy()
    assert not gradients.clip_units(W, G, 0.1, 1e-3)
    np.testing.assert_array_equal(G[:, 1], before[:, 1])
    assert (G[:, [0, 2]] < 1).all()
