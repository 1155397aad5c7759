"""Kernels of losses and of what is counted beside them against naive twins, and at extreme scores."""

import math

import numpy as np
import pytest
from twins import DTYPES, EPS32, Table, check_twin, empty, in_precision, sigmoid, tolerance

from minnet.kernels.passes import losses

TWINS = Table()
twin_of = TWINS.twin_of


@pytest.mark.parametrize(TWINS.names, TWINS)
def test_a_kernel_equals_its_naive_twin(name, twin, make, shape, terms, dtype):
    check_twin(name, twin, make, shape, terms, dtype)


# The value is the weighted mean; the gradient is written from the derivative of one sample's loss.


def shares(rng, n):
    weights = rng.uniform(0.1, 2.0, n)
    return weights / weights.sum()


def make_classes(*scalars):
    def make(rng, shape):
        n, outputs = shape
        scores = 2 * rng.standard_normal(shape)
        return [scores, rng.integers(0, outputs, n), shares(rng, n), *scalars, empty(shape)]

    return make


def make_numbers(*scalars, targets=np.random.Generator.standard_normal):
    def make(rng, shape):
        scores = 2 * rng.standard_normal(shape)
        return [scores, targets(rng, size=shape), shares(rng, shape[0]), *scalars, empty(shape)]

    return make


def make_softmax(rng, shape):
    scores, labels, weights, dscores = make_classes()(rng, shape)
    return [scores, labels, weights, rng.uniform(0.5, 2, shape[1]), 0.1, dscores]


@twin_of(losses.softmax.softmax_cross_entropy, make_softmax, sums=True)
def softmax_cross_entropy(scores, labels, weights, class_weights, smoothing, dscores):
    n, outputs = scores.shape
    value = 0.0
    for i in range(n):
        total = math.fsum(math.exp(s) for s in scores[i])
        wanted = class_weights * (smoothing / outputs + (1 - smoothing) * (np.arange(outputs) == labels[i]))
        for j in range(outputs):
            value -= weights[i] * wanted[j] * math.log(math.exp(scores[i, j]) / total)
            dscores[i, j] = weights[i] * (wanted.sum() * math.exp(scores[i, j]) / total - wanted[j])
    return value


def make_soft(rng, shape):
    scores, _, weights, class_weights, smoothing, dscores = make_softmax(rng, shape)
    targets = rng.uniform(0.1, 1, shape)
    return [scores, targets / targets.sum(axis=1, keepdims=True), weights, class_weights, smoothing, dscores]


@twin_of(losses.softmax.soft_cross_entropy, make_soft, sums=True)
def soft_cross_entropy(scores, targets, weights, class_weights, smoothing, dscores):
    n, outputs = scores.shape
    value = 0.0
    for i in range(n):
        total = math.fsum(math.exp(s) for s in scores[i])
        wanted = class_weights * (smoothing / outputs + (1 - smoothing) * targets[i])
        for j in range(outputs):
            value -= weights[i] * wanted[j] * math.log(math.exp(scores[i, j]) / total)
            dscores[i, j] = weights[i] * (wanted.sum() * math.exp(scores[i, j]) / total - wanted[j])
    return value


def hinge(scores, labels, weights, margin, dscores, power):
    value = 0.0
    dscores[...] = 0
    for i, j in np.ndindex(scores.shape):
        violation = max(0.0, scores[i, j] - scores[i, labels[i]] + margin)
        if j != labels[i] and violation > 0:
            value += weights[i] * violation**power
            dscores[i, j] += weights[i] * power * violation ** (power - 1)
            dscores[i, labels[i]] -= weights[i] * power * violation ** (power - 1)
    return value


@twin_of(losses.hinge.multiclass_hinge, make_classes(0.8), sums=True)
def multiclass_hinge(scores, labels, weights, margin, dscores):
    return hinge(scores, labels, weights, margin, dscores, 1)


@twin_of(losses.hinge.squared_hinge, make_classes(0.8), sums=True)
def squared_hinge(scores, labels, weights, margin, dscores):
    return hinge(scores, labels, weights, margin, dscores, 2)


@twin_of(losses.logistic.logistic, make_numbers(targets=np.random.Generator.random), sums=True)
def logistic(scores, targets, weights, dscores):
    value = 0.0
    for i, j in np.ndindex(scores.shape):
        p, t = sigmoid(scores[i, j]), targets[i, j]
        value -= weights[i] * (t * math.log(p) + (1 - t) * math.log(1 - p))
        dscores[i, j] = weights[i] * (p - t)
    return value


def regression(scores, targets, weights, dscores, function, derivative):
    value = 0.0
    for i, j in np.ndindex(scores.shape):
        d = scores[i, j] - targets[i, j]
        value += weights[i] * function(d)
        dscores[i, j] = weights[i] * derivative(d)
    return value


@twin_of(losses.regression.squared_error, make_numbers(), sums=True)
def squared_error(scores, targets, weights, dscores):
    return regression(scores, targets, weights, dscores, lambda d: d * d, lambda d: 2 * d)


@twin_of(losses.regression.absolute_error, make_numbers(), sums=True)
def absolute_error(scores, targets, weights, dscores):
    return regression(scores, targets, weights, dscores, abs, lambda d: math.copysign(1, d))


@twin_of(losses.regression.huber, make_numbers(0.8), sums=True)
def huber(scores, targets, weights, delta, dscores):
    return regression(
        scores,
        targets,
        weights,
        dscores,
        lambda d: d * d / 2 if abs(d) <= delta else delta * (abs(d) - delta / 2),
        lambda d: d if abs(d) <= delta else math.copysign(delta, d),
    )


def make_counted(rng, shape):
    scores = rng.integers(0, 4, shape).astype(float)  # many ties: the first of equals counts
    return [scores, rng.integers(0, shape[1], shape[0]), rng.random(shape[0]) < 0.5]


@twin_of(losses.hits.hits, make_counted)
def hits(scores, labels, out):
    out[:] = [list(row).index(max(row)) == label for row, label in zip(scores, labels, strict=True)]


def make_soft_counted(rng, shape):
    numbers = rng.integers(0, 4, (2, *shape)).astype(float)
    return [*numbers, rng.random(shape[0]) < 0.5]


@twin_of(losses.hits.soft_hits, make_soft_counted)
def soft_hits(scores, targets, out):
    out[:] = [list(s).index(max(s)) == list(t).index(max(t)) for s, t in zip(scores, targets, strict=True)]


def make_logistic_counted(rng, shape):
    return [rng.standard_normal(shape), rng.random(shape), rng.random(shape[0]) < 0.5]


@twin_of(losses.hits.logistic_hits, make_logistic_counted)
def logistic_hits(scores, targets, out):
    out[:] = [
        all((s > 0) == (t > 0.5) for s, t in zip(*rows, strict=True)) for rows in zip(scores, targets, strict=True)
    ]


def make_class_weights(rng, shape):
    return [rng.integers(0, 5, shape[0]), rng.random(5), rng.random(shape[0])]


@twin_of(losses.targets.share_among_labels, make_class_weights, sums=True)
def share_among_labels(labels, class_weights, weights):
    total = math.fsum(w * class_weights[label] for w, label in zip(weights, labels, strict=True))
    weights[:] = [w / total for w in weights]
    return total > 0


def make_labels(*numbers):
    return lambda rng, shape: [rng.integers(-1, 5, shape[0]), *numbers]


@twin_of(losses.targets.leave_out, lambda rng, s: [rng.integers(-1, 5, s[0]), -1, rng.random(s[0])])
def leave_out(labels, ignored, weights):
    weights[:] = [0 if label == ignored else w for w, label in zip(weights, labels, strict=True)]


@twin_of(losses.targets.are_labels, make_labels(5, 0))
@twin_of(losses.targets.are_labels, make_labels(5, -1))
@twin_of(losses.targets.are_labels, make_labels(4, -1))
def are_labels(labels, classes, other):
    return all(label in range(classes) or label == other for label in labels)


@twin_of(losses.targets.are_distributions, lambda rng, s: [rng.random(s), 1.2])
@twin_of(losses.targets.are_distributions, lambda rng, s: [rng.random(s) - 0.01, 1e9])
def are_distributions(targets, slack):
    return all(row.min() >= 0 and abs(row.sum() - 1) <= slack for row in targets)


@twin_of(losses.targets.are_shares, lambda rng, s: [rng.random(s)])
@twin_of(losses.targets.are_shares, lambda rng, s: [1.01 * rng.random(s)])
@twin_of(losses.targets.are_shares, lambda rng, s: [rng.random(s) - 0.01])
def are_shares(values):
    return all(0 <= value <= 1 for value in values.reshape(-1))


@twin_of(losses.targets.share_out, lambda rng, s: [rng.random(s[0]), empty(s[0] * s[1])], [(33, 1), (5, 3)])
def share_out(weights, out):
    positions = len(out) // len(weights)
    out[:] = [w / math.fsum(weights) / positions for w in weights for _ in range(positions)]
    return True


def make_marks(rng, shape):
    return [rng.random(shape[0] * shape[1]) < 0.5, rng.random(shape[0])]


@twin_of(losses.targets.weight_of, make_marks, [(33, 1), (5, 3)], sums=True)
def weight_of(marks, weights):
    positions = len(marks) // len(weights)
    return math.fsum(weights[i // positions] for i in range(len(marks)) if marks[i])


@pytest.mark.parametrize("wrong", [[1, -0.5, 2], [0, 0, 0], [1, np.inf, 1], [np.nan, 1, 1], [1e308, 1e308, 1]])
def test_weights_that_are_no_shares_are_told_and_leave_the_output_alone(wrong):
    out = empty(3)
    assert not losses.targets.share_out(np.array(wrong, float), out)
    assert np.isnan(out).all()


def test_the_gradient_at_a_losss_kink_is_that_of_the_flat_side():
    scores, weights, gradient = np.array([[1.0, 0.5, 1.0]]), np.ones(1), empty((1, 3))
    assert losses.regression.absolute_error(scores, scores.copy(), weights, gradient) == 0
    np.testing.assert_array_equal(gradient, 0)
    # Right by the margin exactly: against the second score it holds, against the third it does not.
    assert losses.hinge.multiclass_hinge(scores, np.array([0]), weights, 0.5, gradient) == 0.5
    np.testing.assert_array_equal(gradient, [[-1, 0, 1]])


@DTYPES
def test_softmax_is_right_for_more_classes_than_a_block_holds(dtype):
    scores = np.random.default_rng(0).standard_normal((3, 3001)).astype(dtype)
    labels, weights, gradient = np.array([0, 3000, 7]), np.full(3, 1 / 3, dtype), np.empty_like(scores)
    value = losses.softmax.softmax_cross_entropy(scores, labels, weights, None, dtype(0), gradient)
    p = np.exp(scores.astype(float)) / np.exp(scores.astype(float)).sum(axis=1, keepdims=True)
    expected = (p - (np.arange(3001) == labels[:, np.newaxis])) / 3
    bound = tolerance(dtype, scores[0].size)
    assert value == pytest.approx(-np.log(p[range(3), labels]).mean(), rel=bound)
    np.testing.assert_allclose(gradient, expected, rtol=bound)


def test_softmax_is_right_at_extreme_scores_in_float32():
    scores = np.array([[1000.0, -1000.0, 0.0], [1000.0, 1000.0, 1000.0], [-1000.0, 0.0, -1000.0]], np.float32)
    labels, weights = np.array([1, 2, 1]), np.array([0.5, 0.25, 0.25], np.float32)
    gradient = np.full_like(scores, np.nan)
    value = losses.softmax.softmax_cross_entropy(scores, labels, weights, None, np.float32(0), gradient)
    assert value == pytest.approx(0.5 * 2000 + 0.25 * math.log(3), rel=1e-6)
    expected = [[0.5, -0.5, 0.0], [1 / 12, 1 / 12, -1 / 6], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=4 * EPS32)


def test_smoothed_softmax_is_right_at_extreme_scores_in_float32():
    # In closed form, as the first score is the whole sum: 0.9 * 2000 + 0.1 / 3 * (0 + 2000 + 1000).
    scores, alike = np.array([[1000.0, -1000.0, 0.0]], np.float32), np.ones(3, np.float32)
    gradient = np.full_like(scores, np.nan)
    value = losses.softmax.softmax_cross_entropy(scores, np.array([1]), alike[:1], alike, np.float32(0.1), gradient)
    assert value == pytest.approx(1900, rel=1e-6)
    np.testing.assert_allclose(gradient, [[29 / 30, -28 / 30, -1 / 30]], rtol=4 * EPS32)


@pytest.mark.parametrize(
    ("score", "target", "value", "slope"),
    [
        (1000.0, 1.0, 0.0, 0.0),
        (1000.0, 0.0, 1000.0, 1.0),
        (-1000.0, 1.0, 1000.0, -1.0),
        (-1000.0, 0.0, 0.0, 0.0),
        (1000.0, 0.25, 750.0, 0.75),
        (0.0, 0.5, math.log(2), 0.0),
    ],
)
def test_logistic_is_right_at_extreme_scores_in_float32(score, target, value, slope):
    scores, targets = np.array([[score]], np.float32), np.array([[target]], np.float32)
    gradient = np.full_like(scores, np.nan)
    assert losses.logistic.logistic(scores, targets, np.ones(1, np.float32), gradient) == pytest.approx(value, rel=1e-6)
    assert gradient[0, 0] == pytest.approx(slope, rel=1e-6)


@DTYPES
@pytest.mark.parametrize(
    ("kernel", "scalars"),
    [
        (losses.softmax.softmax_cross_entropy, [np.ones(5), 0.1]),
        (losses.hinge.multiclass_hinge, [1.0]),
        (losses.hinge.squared_hinge, [1.0]),
        (losses.logistic.logistic, []),
        (losses.regression.squared_error, []),
        (losses.regression.absolute_error, []),
        (losses.regression.huber, [1.0]),
    ],
    ids=lambda value: value.py_func.__name__ if hasattr(value, "py_func") else "",
)
def test_a_nan_score_anywhere_makes_the_loss_nan(kernel, scalars, dtype):
    labelled = kernel in (
        losses.softmax.softmax_cross_entropy,
        losses.hinge.multiclass_hinge,
        losses.hinge.squared_hinge,
    )
    wanted = np.array([1, 3]) if labelled else np.full((2, 5), 0.5, dtype)
    for i, j in np.ndindex(2, 5):
        scores = np.zeros((2, 5), dtype)
        scores[i, j] = np.nan
        rest = (in_precision(value, dtype) for value in scalars)
        value = kernel(scores, wanted, np.full(2, 0.5, dtype), *rest, np.empty_like(scores))
        assert math.isnan(value), (i, j)
