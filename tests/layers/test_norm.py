"""Normalisation where float32 is short of digits, on large inputs, and on two threads."""

import numpy as np
import pytest

import minnet as mn
from minnet.kernels.passes import batch_norm
from minnet.kernels.passes.channels import PARTS, SUMS, parts_of, width_of, work_size

EPS32 = float(np.finfo(np.float32).eps)
LAYERS = [mn.BatchNorm(), mn.LayerNorm(), mn.GroupNorm(3), mn.InstanceNorm()]
LARGE = (40, 24, 24, 9)  # 207,360 elements: several parts, and the parallel kernels


def batch_moments(x):
    """Mean and variance of the channels as BatchNorm takes them."""
    rows, c = x.shape
    mean, var, partial = (np.empty(shape, x.dtype) for shape in ((2, c), c, (PARTS, SUMS, c)))
    wide = x.reshape(-1, width_of(rows, c))
    work = np.empty((64, work_size(c)), x.dtype)
    batch_norm.batch_moments(wide, parts_of(*wide.shape), mean, var, partial, work)
    return mean[0], var


@pytest.mark.parametrize("mean", [0.0, 10.0, 1e4, -1e4])
@pytest.mark.parametrize("shape", [(131_072, 1), (100_003, 3), (32_768, 17), (4_096, 64), (40, 600)], ids=str)
def test_float32_moments_are_accurate_even_if_the_mean_is_far_above_the_deviation(shape, mean):
    x = (mean + np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    means, variances = batch_moments(x)
    # A lane's sums have 32 terms or fewer, and merging adds less than as many roundings again; at mean 0 these are of
    # the first row's size, from which differences are taken.
    exact = x.astype(np.float64)
    np.testing.assert_allclose(means, exact.mean(axis=0), rtol=0, atol=16 * EPS32 * (abs(mean) + 1))
    np.testing.assert_allclose(variances, exact.var(axis=0), rtol=16 * EPS32)


def test_float32_moments_are_accurate_where_the_mean_drifts():
    # Rows that climb from 0 to 1000: each block's mean is far from that of all.
    x = (np.linspace(0, 1000, 65_536)[:, None] + np.random.default_rng(0).standard_normal((65_536, 4))).astype("f4")
    mean, var = batch_moments(x)
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype=np.float64), rtol=64 * EPS32)
    np.testing.assert_allclose(var, x.var(axis=0, dtype=np.float64), rtol=64 * EPS32)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("mean", [10.0, 1e4, -1e5])
def test_float32_keeps_its_digits_under_a_large_mean(layer, mean):
    rng = np.random.default_rng(0)
    x, dy = (mean + rng.standard_normal((40, 6, 8, 9))).astype(np.float32), rng.standard_normal((40, 6, 8, 9))
    found = []
    for dtype in (np.float32, np.float64):
        net, dx = mn.Net([layer], x.shape[1:], dtype=dtype), np.empty(x.shape, dtype)
        y = net.forward(x.astype(dtype), training=True).copy()
        net.backward(dy.astype(dtype), dx)
        found.append((y, dx, net.grads.copy()))
    # Differences of such numbers are exact, so it is as if the mean were 0. Were the mean one float32, y would be off
    # by half of its last place, 5e-4 at 1e4.
    for single, double in zip(*found, strict=True):
        np.testing.assert_allclose(single, double, rtol=0, atol=8 * EPS32 * np.abs(double).max())


def passes(layer, dtype):
    """Everything that a pass forth and back over a large input gives, as one array."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal(LARGE).astype(dtype), rng.standard_normal(LARGE).astype(dtype)
    net, dx = mn.Net([layer], LARGE[1:], dtype=dtype), np.full_like(x, np.nan)
    y = net.forward(x, training=True).copy()
    net.backward(dy, dx)
    return np.concatenate([y.reshape(-1), dx.reshape(-1), net.grads, net.buffers])


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_a_large_input_gives_the_same_bits_with_one_thread_and_two(layer, dtype):
    before = mn.get_num_threads()
    if before < 2:
        pytest.skip("one core: there is no second thread to compare with")
    on_all = passes(layer, dtype)
    mn.set_num_threads(1)
    try:
        np.testing.assert_array_equal(passes(layer, dtype), on_all)
    finally:
        mn.set_num_threads(before)


def exact_gradients(x, dy, axes, over_gamma):
    """dgamma, dbeta and dx in double precision for statistics over ``axes``, with gamma 1."""
    centred = x - x.mean(axis=axes, keepdims=True)
    inv = 1 / np.sqrt(x.var(axis=axes, keepdims=True) + 1e-5)
    xhat = centred * inv
    inner = dy - dy.mean(axis=axes, keepdims=True) - xhat * (dy * xhat).mean(axis=axes, keepdims=True)
    return (dy * xhat).sum(axis=over_gamma), dy.sum(axis=over_gamma), inv * inner


@pytest.mark.parametrize(
    ("layer", "axes"),
    [(mn.BatchNorm(), (0, 1, 2)), (mn.LayerNorm(), 3), (mn.GroupNorm(1), (1, 2, 3)), (mn.InstanceNorm(), (1, 2))],
    ids=lambda value: type(value).__name__ if isinstance(value, mn.Layer) else "",
)
def test_gradients_of_a_large_input_equal_the_formula(layer, axes):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal(LARGE), rng.standard_normal(LARGE)
    net, dx = mn.Net([layer], LARGE[1:], dtype=np.float64), np.full_like(x, np.nan)
    net.forward(x, training=True)
    net.backward(dy, dx)
    dgamma, dbeta, expected = exact_gradients(x, dy, axes, (0, 1, 2))
    gradients = net.named_gradients()
    np.testing.assert_allclose(gradients["0.gamma"], dgamma, rtol=0, atol=1e-10)
    np.testing.assert_allclose(gradients["0.beta"], dbeta, rtol=0, atol=1e-10)
    np.testing.assert_allclose(dx, expected, rtol=0, atol=1e-12)
    net.grads[:] = np.nan
    # Without dx, which the first layer of a net does not need, the parameters' gradients are the same to round-off.
    net.backward(dy)
    np.testing.assert_allclose(gradients["0.gamma"], dgamma, rtol=0, atol=1e-10)
    np.testing.assert_allclose(gradients["0.beta"], dbeta, rtol=0, atol=1e-10)


def test_group_norm_lies_between_layer_norm_and_instance_norm():
    # On flat input one group is layer norm; with a channel a group it is instance norm.
    x = np.random.default_rng(0).standard_normal((5, 12)).astype(np.float32)
    layer_norm, one_group = (mn.Net([layer], 12).forward(x) for layer in (mn.LayerNorm(), mn.GroupNorm(1)))
    np.testing.assert_allclose(one_group, layer_norm, rtol=0, atol=16 * EPS32)
    images = x.reshape(5, 2, 2, 3)
    instance, groups = (mn.Net([layer], (2, 2, 3)).forward(images) for layer in (mn.InstanceNorm(), mn.GroupNorm(3)))
    np.testing.assert_array_equal(instance, groups)


@pytest.mark.parametrize("layer", [mn.GroupNorm(3), mn.InstanceNorm()], ids=str)
def test_group_norm_uses_no_statistics_of_the_batch(layer):
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 6)).astype(np.float32)
    net = mn.Net([layer], (3, 5, 6))
    assert net.buffers.size == 0
    together = net.forward(x, training=True).copy()
    np.testing.assert_array_equal(net.forward(x), together)
    np.testing.assert_array_equal(net.forward(x[2:3])[0], together[2])


def test_a_single_pixel_or_a_constant_image_becomes_beta():
    for layer, shape in [(mn.InstanceNorm(), (1, 1, 3)), (mn.GroupNorm(1), (4, 4, 3)), (mn.BatchNorm(), (4, 4, 3))]:
        net = mn.Net([layer], shape)
        net.named_parameters()["0.beta"][:] = 1, 2, 3
        np.testing.assert_array_equal(
            net.forward(np.full((2, *shape), 7, np.float32), training=True)[0, 0, 0], [1, 2, 3]
        )
