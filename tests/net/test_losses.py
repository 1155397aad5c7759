"""Every loss: its gradient against numerical ones, its value against the formula written out."""

import math

import numpy as np
import pytest

import minnet as mn

LOSSES = [
    mn.SoftmaxCrossEntropy(),
    mn.SoftmaxCrossEntropy(label_smoothing=0.1),
    mn.SoftmaxCrossEntropy(class_weights=(1.0, 2.0, 0.5, 0.0)),
    mn.SoftmaxCrossEntropy(label_smoothing=0.2, class_weights=(1.0, 2.0, 0.5, 3.0)),
    mn.MulticlassHinge(),
    mn.MulticlassHinge(margin=0.3),
    mn.SquaredHinge(),
    mn.Logistic(),
    mn.SquaredError(),
    mn.AbsoluteError(),
    mn.Huber(),
    mn.Huber(delta=0.4),
]
CLASSES = 4


def make_targets(loss, n, rng):
    if isinstance(loss, mn.SoftmaxCrossEntropy | mn.MulticlassHinge | mn.SquaredHinge):
        return rng.integers(0, CLASSES, n)
    if isinstance(loss, mn.Logistic):
        return rng.uniform(0, 1, (n, CLASSES))
    return rng.standard_normal((n, CLASSES))


def sample_loss(loss, s, t):
    """The loss of one sample, written out in scalars."""
    if isinstance(loss, mn.SoftmaxCrossEntropy):
        log_total = math.log(sum(math.exp(v) for v in s))
        e, c = loss.label_smoothing, loss.class_weights or [1.0] * len(s)
        q = [e / len(s) + (1 - e) * (j == t) for j in range(len(s))]
        return sum(cj * qj * (log_total - v) for cj, qj, v in zip(c, q, s, strict=True))
    if isinstance(loss, mn.MulticlassHinge):
        return sum(max(0.0, s[j] - s[t] + loss.margin) for j in range(len(s)) if j != t)
    if isinstance(loss, mn.SquaredHinge):
        return sum(max(0.0, s[j] - s[t] + loss.margin) ** 2 for j in range(len(s)) if j != t)
    if isinstance(loss, mn.Logistic):
        p = [1 / (1 + math.exp(-v)) for v in s]
        return -sum(tj * math.log(pj) + (1 - tj) * math.log(1 - pj) for tj, pj in zip(t, p, strict=True))
    d = [v - tj for v, tj in zip(s, t, strict=True)]
    if isinstance(loss, mn.SquaredError):
        return sum(v * v for v in d)
    if isinstance(loss, mn.AbsoluteError):
        return sum(abs(v) for v in d)
    return sum(v * v / 2 if abs(v) <= loss.delta else loss.delta * (abs(v) - loss.delta / 2) for v in d)


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_value_is_the_weighted_mean_of_the_formula(loss, n, weighted):
    rng = np.random.default_rng(0)
    scores, targets = rng.standard_normal((n, CLASSES)), make_targets(loss, n, rng)
    if getattr(loss, "class_weights", None) is not None:
        targets = np.arange(n) % 3  # class 3 alone may weigh nothing
    weights = rng.uniform(0.1, 2.0, n) if weighted else None
    shares = np.ones(n) if weights is None else weights
    total = shares.sum()
    if getattr(loss, "class_weights", None) is not None:
        total = shares @ np.asarray(loss.class_weights)[targets]
    expected = sum(w * sample_loss(loss, s, t) for w, s, t in zip(shares, scores, targets, strict=True)) / total
    assert loss(scores, targets, weights) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_gradient_equals_the_numerical_one(loss, n, weighted):
    rng = np.random.default_rng(1)
    scores, targets = rng.standard_normal((n, CLASSES)), make_targets(loss, n, rng)
    if getattr(loss, "class_weights", None) is not None:
        targets = np.arange(n) % 3
    weights = rng.uniform(0.1, 2.0, n) if weighted else None
    gradient = np.full_like(scores, np.nan)
    loss.value_and_gradient(scores, targets, gradient, weights)
    mn.check_gradient(lambda s: loss(s, targets, weights), scores, gradient).assert_passed()


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_float32_follows_float64(loss):
    rng = np.random.default_rng(2)
    scores, targets = 3 * rng.standard_normal((6, CLASSES)), make_targets(loss, 6, rng)
    if getattr(loss, "class_weights", None) is not None:
        targets = np.arange(6) % 3
    exact, single = np.empty_like(scores), np.empty(scores.shape, np.float32)
    value = loss.value_and_gradient(scores, targets, exact)
    assert loss.value_and_gradient(scores.astype(np.float32), targets, single) == pytest.approx(value, rel=2e-6)
    np.testing.assert_allclose(single, exact, rtol=0, atol=2e-6 * np.abs(exact).max() + 1e-7)


def test_softmax_is_stable_at_extreme_scores():
    scores = np.array([[1000.0, -1000.0, 0.0], [-1000.0, -1000.0, -1000.0]], np.float32)
    gradient = np.empty_like(scores)
    loss = mn.SoftmaxCrossEntropy()
    value = loss.value_and_gradient(scores, np.array([1, 2]), gradient)
    assert value == pytest.approx((2000 + math.log(3)) / 2, rel=1e-6)
    np.testing.assert_allclose(gradient, [[0.5, -0.5, 0.0], [1 / 6, 1 / 6, -1 / 3]], atol=1e-7)


def test_logistic_is_stable_at_extreme_scores():
    scores = np.array([[1000.0], [-1000.0]], np.float32)
    gradient = np.empty_like(scores)
    assert mn.Logistic().value_and_gradient(scores, np.array([0, 0]), gradient) == pytest.approx(500)
    np.testing.assert_allclose(gradient, [[0.5], [0.0]], atol=1e-7)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(mn.SoftmaxCrossEntropy(), math.log(10)), (mn.MulticlassHinge(), 9.0), (mn.SquaredHinge(), 9.0)],
)
def test_equal_scores_cost_what_chance_costs(loss, expected):
    assert loss(np.zeros((7, 10)), np.arange(7)) == pytest.approx(expected, rel=1e-14)


def test_a_nan_score_makes_the_loss_nan():
    for loss in LOSSES:
        rng = np.random.default_rng(0)
        scores = rng.standard_normal((2, CLASSES))
        scores[1, 2] = np.nan
        targets = make_targets(loss, 2, rng)
        if getattr(loss, "class_weights", None) is not None:
            targets = np.array([0, 1])
        assert math.isnan(loss(scores, targets)), loss


@pytest.mark.parametrize(
    ("loss", "targets", "error", "message"),
    [
        (mn.SoftmaxCrossEntropy(), [0, 4], ValueError, "expected labels from 0 to 3; got 0 to 4"),
        (mn.SoftmaxCrossEntropy(), [-1, 0], ValueError, "expected labels from 0 to 3; got -1 to 0"),
        (mn.SoftmaxCrossEntropy(), [0.0, 1.0], TypeError, "expected integer labels; got dtype float64"),
        (mn.MulticlassHinge(), [[0], [1]], ValueError, r"expected labels of shape \(n,\); got shape \(2, 1\)"),
        (mn.MulticlassHinge(), [0, 1, 2], ValueError, "expected as many targets as samples, 2; got 3"),
        (mn.SquaredError(), np.zeros((2, CLASSES), int), TypeError, "expected floating-point targets; got dtype int64"),
        (mn.SquaredError(), np.zeros((2, 3)), ValueError, r"expected targets of shape \(n, 4\); got shape \(2, 3\)"),
        (mn.Huber(), np.full((2, CLASSES), np.inf), ValueError, "expected finite targets"),
        (mn.Logistic(), np.full((2, CLASSES), 1.5), ValueError, "expected targets from 0 to 1; got 1.5 to 1.5"),
        (mn.Logistic(), np.full((2, CLASSES), np.nan), ValueError, "expected targets from 0 to 1; got nan"),
    ],
)
def test_bad_targets_are_refused(loss, targets, error, message):
    with pytest.raises(error, match=message):
        loss(np.zeros((2, CLASSES)), np.asarray(targets))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"expected sample weights of shape \(2,\); got shape \(1,\)"),
        ([1.0, -1.0], "expected finite weights of at least 0"),
        ([0.0, 0.0], "expected samples that count, .*; got 2, all of weight 0"),
        ([1.0, np.nan], "expected finite weights"),
    ],
)
def test_bad_sample_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        mn.SoftmaxCrossEntropy()(np.zeros((2, 3)), np.array([0, 1]), weights)


def test_bad_losses_are_refused_where_they_are_made():
    with pytest.raises(ValueError, match="SoftmaxCrossEntropy: expected 0 <= label_smoothing < 1; got 1"):
        mn.SoftmaxCrossEntropy(label_smoothing=1)
    with pytest.raises(ValueError, match="Huber: expected delta above 0; got 0"):
        mn.Huber(delta=0)
    with pytest.raises(ValueError, match="expected 4 class weights; got 2"):
        mn.Net([mn.Dense(4)], 3, mn.SoftmaxCrossEntropy(class_weights=[1.0, 2.0]))


@pytest.mark.parametrize(
    ("scores", "dscores", "error", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((2, 3)), TypeError, "expected scores as an array of float32 or float64"),
        (
            np.zeros((2, 3), np.float16),
            np.zeros((2, 3)),
            TypeError,
            "expected scores as an array of float32 or float64",
        ),
        (np.zeros((2, 3)), np.zeros((2, 2)), ValueError, r"expected a writeable dscores of shape \(2, 3\)"),
        (np.zeros((2, 3)), np.zeros((2, 3), np.float32), ValueError, "and dtype float64; got .* dtype float32"),
        (np.zeros((0, 3)), np.zeros((0, 3)), ValueError, "scores of at least one row"),
        (np.zeros((3, 2)).T, np.zeros((2, 3)), ValueError, "expected C-contiguous scores"),
    ],
)
def test_scores_that_no_kernel_can_take_are_refused(scores, dscores, error, message):
    before = dscores.copy()
    with pytest.raises(error, match=message):
        mn.SoftmaxCrossEntropy().value_and_gradient(scores, np.zeros(len(scores), int), dscores)
    np.testing.assert_array_equal(dscores, before)


def test_integer_scores_are_refused_by_a_call_too():
    with pytest.raises(TypeError, match="expected scores as an array of float32 or float64"):
        mn.MulticlassHinge(0.5)(np.array([[2, 0, 1]]), [0])
