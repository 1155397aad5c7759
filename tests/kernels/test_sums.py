"""Sums of very many float32 numbers: each against the sum of the same numbers in double precision.

Equal numbers are the hardest: added one after another to a growing total, each is rounded the same way, and the errors
add up instead of cancelling. Bounds count roundings, each of at most EPS32 / 2 of a partial sum.
"""

import math

import numpy as np
import pytest

import minnet as mn

EPS32 = float(np.finfo(np.float32).eps)
# A block has 32 terms or fewer, and each a rounding or two of its own before it is added; the rest is a few more.
BLOCK = 40 * EPS32
KINDS = pytest.mark.parametrize("kind", ["equal", "random"])


def numbers(kind, shape):
    """Positive float32 numbers, so that the sum of their sizes is their sum."""
    if kind == "equal":
        return np.full(shape, 0.1, np.float32)
    return np.random.default_rng(0).uniform(0.05, 0.15, shape).astype(np.float32)


def assert_sums(actual, terms, axes, bound):
    exact = terms.sum(axis=axes, dtype=np.float64)
    np.testing.assert_allclose(actual, exact, rtol=0, atol=bound * np.abs(terms).sum(axis=axes, dtype=np.float64).max())


def gradients(layer, x, dy):
    """What a pass forth and back leaves for each parameter, by its name in the layer."""
    net = mn.Net([layer], x.shape[1:])
    net.forward(x, training=True)
    net.backward(dy)
    return {name.removeprefix("0."): values for name, values in net.named_gradients().items()}


@KINDS
@pytest.mark.parametrize("size", [32, 224])
def test_a_global_average_is_the_mean(size, kind):
    x = numbers(kind, (2, size, size, 3))
    y = mn.Net([mn.GlobalAvgPool2D()], x.shape[1:]).forward(x)
    np.testing.assert_allclose(y, x.mean(axis=(1, 2), dtype=np.float64), rtol=BLOCK)


@KINDS
@pytest.mark.parametrize("size", [8, 9, 48, 224])  # the largest window with a plain loop, and the next
def test_an_average_over_large_windows_is_the_mean(size, kind):
    x = numbers(kind, (1, size, size, 3))
    y = mn.Net([mn.AvgPool2D(size)], x.shape[1:]).forward(x)
    np.testing.assert_allclose(y[:, 0, 0], x.mean(axis=(1, 2), dtype=np.float64), rtol=2 * BLOCK)


def test_an_infinite_value_stays_infinite_in_an_average():
    x = np.ones((1, 12, 12, 2), np.float32)
    net, pool = mn.Net([mn.GlobalAvgPool2D()], (12, 12, 2)), mn.Net([mn.AvgPool2D(12)], (12, 12, 2))
    for layer in (net, pool):
        layer.forward(x)
        memory = x.copy()
        memory[0, 5, 5, 0] = -np.inf
        y = np.empty((1, *layer.output_shape), np.float32)
        inner = layer.layers.layers[0]
        inner.forward(layer._batch(1).memory.children[0][1], memory, y)
        np.testing.assert_array_equal(y.reshape(-1), [-np.inf, 1])


@KINDS
@pytest.mark.parametrize("rows", [100_000, 100_013])
def test_a_dense_layers_bias_gradient_is_the_sum_over_rows(rows, kind):
    dy = numbers(kind, (rows, 3))
    found = gradients(mn.Dense(3), np.ones((rows, 1), np.float32), dy)
    assert_sums(found["b"], dy, 0, BLOCK)


@KINDS
@pytest.mark.parametrize("inputs", [2, 40])  # plain loops, and the micro-kernel
def test_a_dense_layers_weight_gradient_is_the_sum_over_rows(inputs, kind):
    rows = 100_000
    dy = numbers(kind, (rows, 3))
    found = gradients(mn.Dense(3), np.ones((rows, inputs), np.float32), dy)
    # Sums of 256 terms, and of the 391 sums.
    assert_sums(found["W"], np.broadcast_to(dy[:, np.newaxis], (rows, inputs, 3)), 0, (256 + 391) / 2 * EPS32)


@KINDS
@pytest.mark.parametrize("rows", [1, 40])
def test_a_dense_layers_output_is_the_sum_over_inputs(rows, kind):
    x = numbers(kind, (rows, 100_000))
    net = mn.Net([mn.Dense(3)], 100_000)
    net.params[:] = 1
    net.named_parameters()["0.b"][:] = 0
    y = net.forward(x)
    assert_sums(y[:, 0], x, 1, (256 + 391) / 2 * EPS32)


CONVOLUTIONS = [
    mn.Conv2D(4, 3, padding="valid"),  # by Winograd's algorithm, which also gives the bias its gradient
    mn.Conv2D(4, 3, stride=2, padding=1),
    mn.Conv2D(4, 1),
    mn.ConvTranspose2D(4, 2, stride=2),
]


@KINDS
@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_a_convolutions_bias_gradient_is_the_sum_over_positions(layer, kind):
    x = np.ones((3, 112, 112, 3), np.float32)
    dy = numbers(kind, (3, *mn.Net([layer], x.shape[1:]).output_shape))
    assert_sums(gradients(layer, x, dy)["b"], dy, (0, 1, 2), BLOCK)


@KINDS
def test_a_convolutions_weight_gradient_is_the_sum_over_positions(kind):
    x = np.ones((3, 224, 224, 1), np.float32)
    dy = numbers(kind, (3, 224, 224, 2))
    # Of whole rows, 896 pixels, and of 56 such sums an image.
    assert_sums(gradients(mn.Conv2D(2, 1), x, dy)["W"][0, 0, 0], dy, (0, 1, 2), (896 + 3 * 56) / 2 * EPS32)


NORMS = [mn.BatchNorm(), mn.LayerNorm(), mn.GroupNorm(1), mn.InstanceNorm()]


@KINDS
@pytest.mark.parametrize("shape", [(300_000, 4), (6, 224, 224, 4), (20_000, 3, 5, 4)], ids=str)
@pytest.mark.parametrize("layer", NORMS, ids=lambda layer: type(layer).__name__)
def test_a_norms_parameter_gradients_are_sums_over_positions(layer, shape, kind):
    # Signs that alternate have mean 0 and variance 1 over any of the axes, in all of these shapes.
    signs = np.indices(shape).sum(axis=0) % 2 * 2 - 1
    x = signs.astype(np.float32)
    dy = numbers(kind, shape)
    found, axes = gradients(layer, x, dy), tuple(range(len(shape) - 1))
    assert_sums(found["beta"], dy, axes, BLOCK)
    net = mn.Net([layer], shape[1:])
    normed = net.forward(x, training=True).astype(np.float64)
    # The rounding of a normalised value is one of its own, and the kernels multiply by 1 / deviation after the sum.
    assert_sums(found["gamma"], dy * normed, axes, 2 * BLOCK)


@KINDS
def test_a_prelus_slope_gradient_is_the_sum_over_positions(kind):
    dy = numbers(kind, (2, 224, 224, 3))
    found = gradients(mn.PReLU(), np.full_like(dy, -1), dy)
    assert_sums(found["a"], -dy, (0, 1, 2), BLOCK)


REGRESSIONS = [
    (mn.SquaredError(), lambda d: d**2),
    (mn.AbsoluteError(), abs),
    (mn.Huber(0.05), lambda d: 0.05 * (d - 0.025)),
    (mn.Logistic(), lambda s: np.log1p(np.exp(s))),
]


@KINDS
@pytest.mark.parametrize(("loss", "formula"), REGRESSIONS, ids=lambda v: str(v) if isinstance(v, mn.Loss) else "")
@pytest.mark.parametrize("shape", [(2, 200_000), (200_000, 2)], ids=str)
def test_a_loss_is_the_sum_over_outputs_and_the_mean_over_samples(loss, formula, shape, kind):
    scores = numbers(kind, shape)
    exact = formula(scores.astype(np.float64)).sum(axis=1).mean()
    # Blocks of 1024 outputs, of which vector code keeps at least four sums; each weight 1 / n is rounded too.
    assert loss(scores, np.zeros(shape, np.float32)) == pytest.approx(exact, rel=(256 + 4) / 2 * EPS32)


@pytest.mark.parametrize("classes", [10, 200_000])
def test_softmax_over_very_many_classes_is_accurate(classes):
    loss, labels = mn.SoftmaxCrossEntropy(), np.array([3, 4])
    scores = np.full((2, classes), 0.1, np.float32)
    scores[:, -1] = 1.7
    exact, single = np.empty(scores.shape), np.empty_like(scores)
    value = loss.value_and_gradient(scores.astype(np.float64), labels, exact)
    assert loss.value_and_gradient(scores, labels, single) == pytest.approx(value, rel=(256 + 4) / 2 * EPS32)
    np.testing.assert_allclose(single, exact, rtol=(256 + 8) / 2 * EPS32)


@pytest.mark.parametrize("loss", [mn.MulticlassHinge(), mn.SquaredHinge()], ids=str)
def test_a_hinge_over_very_many_classes_is_accurate(loss):
    scores, labels = np.full((2, 200_000), 0.1, np.float32), np.array([3, 4])
    exact, single = np.empty(scores.shape), np.empty_like(scores)
    value = loss.value_and_gradient(scores.astype(np.float64), labels, exact)
    assert loss.value_and_gradient(scores, labels, single) == pytest.approx(value, rel=(256 + 4) / 2 * EPS32)
    np.testing.assert_allclose(single, exact, rtol=(256 + 4) / 2 * EPS32)


def test_sums_are_the_same_bits_on_one_thread_and_two():
    before = mn.get_num_threads()
    if before < 2:
        pytest.skip("one core: there is no second thread to compare with")
    layers = [mn.Conv2D(4, 3), mn.AvgPool2D(56), mn.Flatten(), mn.Dense(3)]
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((8, 112, 112, 3)).astype(np.float32), rng.standard_normal((8, 3)).astype(np.float32)

    def run():
        net = mn.Net(layers, x.shape[1:])
        y = net.forward(x).copy()
        net.backward(dy)
        return np.concatenate([y.reshape(-1), net.grads])

    together = run()
    mn.set_num_threads(1)
    try:
        np.testing.assert_array_equal(run(), together)
    finally:
        mn.set_num_threads(before)


# Constant rows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1e5, -1e5, 0.1, 3e-5, 1e30])
@pytest.mark.parametrize("features", [3, 1000, 1003])
@pytest.mark.parametrize("layer", [mn.LayerNorm(), mn.GroupNorm(1), mn.InstanceNorm(), mn.BatchNorm()], ids=str)
def test_constant_values_become_beta(layer, features, value):
    # For InstanceNorm, BatchNorm the positions are constant, for the others the features too.
    x = np.full((2, 3, features), value, np.float32)
    net = mn.Net([layer], x.shape[1:])
    net.named_parameters()["0.beta"][:] = 0.25
    np.testing.assert_array_equal(net.forward(x, training=True), 0.25)


@pytest.mark.parametrize("value", [1e5, -1e5, 3e7])
def test_layer_norm_of_nearly_constant_rows_follows_double_precision(value):
    x = np.full((4, 1000), value, np.float32)
    x[:, ::3] = np.nextafter(np.float32(value), np.float32(np.inf))
    y = mn.Net([mn.LayerNorm()], 1000).forward(x)
    wide = x.astype(np.float64)
    exact = (wide - wide.mean(axis=1, keepdims=True)) / np.sqrt(wide.var(axis=1, keepdims=True) + 1e-5)
    # The mean lies between two neighbouring float32 numbers, and is rounded to one of them.
    step = float(np.spacing(np.float32(value)))
    assert np.abs(y - exact).max() <= 0.5 * abs(step) / math.sqrt(wide.var() + 1e-5) * 1.01
