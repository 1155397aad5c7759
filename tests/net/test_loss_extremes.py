"""Losses where scores are infinite, where samples count nothing, and where what is left of a loss is tiny.

Expected values are closed forms, or the formulas in double precision written without differences.
"""

import math

import numpy as np
import pytest

import minnet as mn

INF = np.inf
LOWEST = float(np.finfo(np.float32).min)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def run(loss, scores, targets, weights=None, dtype=np.float32):
    """Value and gradient of scores given as lists."""
    scores = np.array(scores, dtype)
    gradient = np.full_like(scores, np.nan)
    return loss.value_and_gradient(scores, np.asarray(targets), gradient, weights), gradient


# Masked scores -------------------------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("masks", [[-INF], [-INF, -INF], [LOWEST, LOWEST], [-INF, LOWEST, LOWEST]], ids=str)
def test_a_masked_class_is_as_one_that_is_not_there(masks, dtype):
    loss = mn.SoftmaxCrossEntropy()
    value, gradient = run(loss, [[0.0, *masks, 1.0], [2.0, *masks, -1.0]], [0, len(masks) + 1], dtype=dtype)
    expected, without = run(loss, [[0.0, 1.0], [2.0, -1.0]], [0, 1], dtype=dtype)
    assert value == expected == pytest.approx((1.3132616875 + 3.0485873516) / 2, rel=1e-7)
    np.testing.assert_array_equal(gradient[:, 1:-1], 0)
    np.testing.assert_array_equal(gradient[:, [0, -1]], without)


def test_masks_differ_from_sample_to_sample_and_leave_others_alone():
    value, gradient = run(mn.SoftmaxCrossEntropy(), [[0, -INF, 1], [-INF, 0, 0], [0, 0, 0]], [0, 1, 2])
    assert value == pytest.approx((math.log(1 + math.e) + math.log(2) + math.log(3)) / 3, rel=1e-6)
    p = 1 / (1 + math.e)
    expected = np.array([[p - 1, 0, 1 - p], [0, -1 / 2, 1 / 2], [1 / 3, 1 / 3, -2 / 3]]) / 3
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-7)


def test_one_class_that_is_left_costs_nothing():
    value, gradient = run(mn.SoftmaxCrossEntropy(), [[-INF, 3.0, -INF]], [1])
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_a_label_at_a_masked_score_costs_infinity():
    value, gradient = run(mn.SoftmaxCrossEntropy(), [[-INF, 0.0, 0.0], [0.0, 0.0, 0.0]], [0, 1])
    assert value == INF
    np.testing.assert_allclose(gradient, np.array([[-1, 1 / 2, 1 / 2], [1 / 3, -2 / 3, 1 / 3]]) / 2, atol=1e-7)


def test_a_row_without_any_score_costs_nan():
    value, _ = run(mn.SoftmaxCrossEntropy(), [[-INF, -INF], [0.0, 0.0]], [0, 1])
    assert math.isnan(value)


def test_smoothing_that_reaches_a_masked_class_costs_infinity():
    value, gradient = run(mn.SoftmaxCrossEntropy(label_smoothing=0.3), [[0.0, -INF, 1.0]], [0])
    assert value == INF
    p = 1 / (1 + math.e)
    np.testing.assert_allclose(gradient, [[p - 0.8, -0.1, 1 - p - 0.1]], atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.1, 0.9])
def test_smoothing_over_the_lowest_numbers_is_finite(smoothing):
    # Their sum alone is more than float32 holds.
    value, _ = run(mn.SoftmaxCrossEntropy(label_smoothing=smoothing), [[0.0, LOWEST, LOWEST]], [0])
    assert value == pytest.approx(-2 * LOWEST * smoothing / 3, rel=1e-6)


def test_a_label_at_the_lowest_number_costs_its_distance():
    value, _ = run(mn.SoftmaxCrossEntropy(), [[-LOWEST, LOWEST]], [1])
    assert value == pytest.approx(-2 * LOWEST)


def test_smoothing_leaves_out_masked_classes_that_weigh_nothing():
    loss = mn.SoftmaxCrossEntropy(label_smoothing=0.3, class_weights=(1.0, 0.0, 1.0))
    value, gradient = run(loss, [[0.0, -INF, 1.0]], [0])
    log_total = math.log(1 + math.e)
    assert value == pytest.approx(0.8 * log_total + 0.1 * (log_total - 1), rel=1e-6)
    assert gradient[0, 1] == 0


@DTYPES
@pytest.mark.parametrize("loss", [mn.MulticlassHinge(), mn.SquaredHinge()], ids=str)
def test_a_masked_class_costs_no_hinge_anything(loss, dtype):
    value, gradient = run(loss, [[0.5, -INF, 1.0]], [0], dtype=dtype)
    assert value == 1.5 ** (2 if isinstance(loss, mn.SquaredHinge) else 1)
    assert gradient[0, 1] == 0
    assert np.isfinite(gradient).all()


@DTYPES
@pytest.mark.parametrize(
    ("score", "target", "value", "slope"),
    [
        (-INF, 0, 0, 0),
        (INF, 1, 0, 0),
        (-INF, 1, INF, -1),
        (INF, 0, INF, 1),
        (INF, 0.5, INF, 0.5),
        (-INF, 0.5, INF, -0.5),
    ],
)
def test_logistic_knows_infinite_scores(score, target, value, slope, dtype):
    found, gradient = run(mn.Logistic(), [[score]], [[target]], dtype=dtype)
    assert found == value
    assert gradient[0, 0] == slope


# Samples that count nothing --------------------------------------------------------------------------------------

LABELLED = [
    mn.SoftmaxCrossEntropy(),
    mn.SoftmaxCrossEntropy(label_smoothing=0.2),
    mn.MulticlassHinge(),
    mn.SquaredHinge(),
]
NUMBERED = [mn.Logistic(), mn.SquaredError(), mn.AbsoluteError(), mn.Huber()]


@DTYPES
@pytest.mark.parametrize("bad", [INF, -INF, np.nan, LOWEST])
@pytest.mark.parametrize("loss", [*LABELLED, *NUMBERED], ids=str)
def test_a_sample_of_weight_0_is_left_out_whatever_its_scores(loss, bad, dtype):
    scores = [[0.2, 0.4, -0.3], [bad, bad, 1.0], [1.0, 0.0, 0.5]]
    targets = np.array([1, 0, 2]) if loss in LABELLED else np.array([[0, 1, 0.5], [1, 0, 0.0], [1, 1, 0.5]])
    value, gradient = run(loss, scores, targets, [1.0, 0.0, 3.0], dtype)
    expected, without = run(loss, scores[::2], targets[::2], [1.0, 3.0], dtype)
    assert value == expected
    np.testing.assert_array_equal(gradient[1], 0)
    np.testing.assert_array_equal(gradient[::2], without)


@DTYPES
def test_a_class_of_weight_0_is_left_out_whatever_its_scores(dtype):
    loss = mn.SoftmaxCrossEntropy(class_weights=(0.0, 1.0, 2.0))
    scores = [[0.2, 0.4, -0.3], [-INF, INF, np.nan], [1.0, 0.0, 0.5]]
    value, gradient = run(loss, scores, [1, 0, 2], dtype=dtype)
    expected, without = run(loss, scores[::2], [1, 2], dtype=dtype)
    assert value == expected
    np.testing.assert_array_equal(gradient, [without[0], [0, 0, 0], without[1]])


def test_a_net_leaves_out_a_sample_of_weight_0_too():
    class Mask(mn.Layer):
        """Every class but the first is out of the question where x is above 9."""

        def plan(self, in_shape):
            return mn.Plan(in_shape)

        def forward(self, m, x, y):
            y[...] = np.where(x.max(axis=1, keepdims=True) > 9, [0, -INF, -INF], x)

        def backward(self, m, x, y, dy, dx):
            dx[...] = np.where(np.isinf(y), 0, dy)

    net = mn.Net([mn.Dense(3), Mask()], 3, mn.SoftmaxCrossEntropy())
    net.params = np.concatenate([np.eye(3).reshape(-1), np.zeros(3)])
    x, y = np.array([[0.2, 0.4, -0.3], [10, 0, 0], [1, 0, 0.5]], np.float32), np.array([1, 2, 2])
    assert net.loss_and_grads(x, y) == INF
    value = net.loss_and_grads(x, y, sample_weight=[1, 0, 3])
    assert value == net.loss_and_grads(x[::2], y[::2], sample_weight=[1, 3])
    assert net.evaluate(x, y, sample_weight=[1, 0, 3])["loss"] == pytest.approx(value)


# Tails -----------------------------------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("gap", [0.5, 5.0, 20.0, 60.0])
def test_softmax_keeps_the_digits_of_a_small_loss(gap, dtype):
    # log(1 + 2 e^-gap); the gradient at the label is minus the probability of the others.
    value, gradient = run(mn.SoftmaxCrossEntropy(), [[gap, 0.0, 0.0]], [0], dtype=dtype)
    rest = 2 * math.exp(-gap)
    bound = 4 * float(np.finfo(dtype).eps)
    assert value == pytest.approx(math.log1p(rest), rel=bound)
    np.testing.assert_allclose(gradient, [[-rest / (1 + rest), *[rest / 2 / (1 + rest)] * 2]], rtol=bound)


@DTYPES
@pytest.mark.parametrize("gap", [0.5, 5.0, 20.0, 60.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_logistic_keeps_the_digits_of_a_small_loss(sign, gap, dtype):
    value, gradient = run(mn.Logistic(), [[sign * gap]], [[float(sign > 0)]], dtype=dtype)
    tail, bound = math.exp(-gap), 4 * float(np.finfo(dtype).eps)
    assert value == pytest.approx(math.log1p(tail), rel=bound)
    np.testing.assert_allclose(gradient, [[-sign * tail / (1 + tail)]], rtol=bound)


SLOPES = {
    mn.ELU(0.7): lambda x: 1.0 if x > 0 else float(np.float32(0.7)) * math.exp(x),
    mn.SELU(): lambda x: 1.0507009873554805 * (1 if x > 0 else 1.6732632423543772 * math.exp(x)),
    mn.Softplus(): lambda x: math.exp(min(x, 0)) / (1 + math.exp(-abs(x))),
}


@pytest.mark.parametrize("x", [-80.0, -40.0, -20.0, -10.0, -3.0, -0.1, 0.1, 3.0, 10.0, 20.0, 40.0, 80.0])
@pytest.mark.parametrize("layer", SLOPES, ids=str)
def test_a_slope_keeps_its_digits_at_both_tails(layer, x):
    net, dx = mn.Net([layer], 5), np.empty((1, 5), np.float32)
    net.forward(np.full((1, 5), x, np.float32))
    net.backward(np.ones((1, 5), np.float32), dx)
    tiny = float(np.finfo(np.float32).tiny)  # below it digits are lost
    np.testing.assert_allclose(dx, SLOPES[layer](float(np.float32(x))), rtol=6 * np.finfo(np.float32).eps, atol=tiny)


# Rows around the size of a block ---------------------------------------------------------------------------------


def softmax_in_double(scores, labels, smoothing):
    s = scores.astype(float)
    logs = s - s.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    q = (1 - smoothing) * np.eye(s.shape[1])[labels] + smoothing / s.shape[1]
    return -(q * logs).sum(axis=1).mean(), (np.exp(logs) - q) / len(s)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("outputs", [2, 1024, 1025, 2500])
def test_cross_entropy_is_right_whether_or_not_a_row_is_one_block(outputs, smoothing):
    rng = np.random.default_rng(outputs)
    scores = rng.standard_normal((3, outputs)).astype(np.float32)
    labels = np.array([0, outputs - 1, outputs // 2])
    value, gradient = softmax_in_double(scores, labels, smoothing)
    for weights in (None, (1.0,) * outputs):  # two kernels
        loss, dscores = mn.SoftmaxCrossEntropy(smoothing, class_weights=weights), np.empty_like(scores)
        assert loss.value_and_gradient(scores, labels, dscores) == pytest.approx(value, rel=3e-7)
        np.testing.assert_allclose(dscores, gradient, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("outputs", [1, 1024, 1025, 2500])
def test_errors_are_right_whether_or_not_a_row_is_one_block(outputs):
    rng = np.random.default_rng(outputs)
    scores = rng.standard_normal((3, outputs)).astype(np.float32)
    targets = rng.random((3, outputs)).astype(np.float32)
    gap, s = scores.astype(float) - targets, scores.astype(float)
    near = np.clip(gap, -1, 1)
    expected = {
        mn.SquaredError(): (gap**2, 2 * gap),
        mn.AbsoluteError(): (np.abs(gap), np.sign(gap)),
        mn.Huber(1.0): (near * (gap - near / 2), near),
        mn.Logistic(): (np.logaddexp(0, s) - targets * s, 1 / (1 + np.exp(-s)) - targets),
    }
    weights = np.array([0.5, 0.0, 0.5])
    for loss, (terms, slopes) in expected.items():
        dscores = np.full_like(scores, np.nan)
        value = loss.value_and_gradient(scores, targets, dscores, weights)
        assert value == pytest.approx(weights @ terms.sum(axis=1), rel=1e-6), loss
        np.testing.assert_allclose(dscores, weights[:, np.newaxis] * slopes, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("outputs", [2, 1024, 1025, 2500])
def test_hinges_are_right_whether_or_not_a_row_is_one_block(outputs):
    rng = np.random.default_rng(outputs)
    scores = rng.standard_normal((3, outputs)).astype(np.float32)
    labels, rows = np.array([0, outputs - 1, outputs // 2]), np.arange(3)
    gap = np.maximum(scores.astype(float) - scores[rows, labels][:, np.newaxis] + 1, 0)
    gap[rows, labels] = 0
    for loss, terms, slopes in ((mn.MulticlassHinge(), gap, gap > 0), (mn.SquaredHinge(), gap**2, 2 * gap)):
        slopes = slopes.astype(float)
        slopes[rows, labels] = -slopes.sum(axis=1)
        dscores = np.full_like(scores, np.nan)
        assert loss.value_and_gradient(scores, labels, dscores) == pytest.approx(terms.sum(axis=1).mean(), rel=1e-6)
        # A gap near 0 has the rounding errors of scores of a few units.
        np.testing.assert_allclose(dscores, slopes / 3, rtol=2e-6, atol=5e-7)
