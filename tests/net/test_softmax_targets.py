"""Soft targets and ignored labels in the softmax loss: values, accuracy, training, diagnostics and refusals."""

import copy
import math
import pickle

import numpy as np
import pytest

import minnet as mn
from minnet.diagnostics import confusion_matrix, worst_mistakes

N, CLASSES = 8, 4


def scores():
    return np.random.default_rng(0).standard_normal((N, CLASSES))


def distributions(n=N):
    rows = np.random.default_rng(1).uniform(0, 1, (n, CLASSES)) ** 2
    return rows / rows.sum(axis=1, keepdims=True)


LABELS = np.array([0, 3, 1, 2, 2, 0, 3, 1])
SOME = np.array([0, -100, 1, 2, -100, 0, -100, 1])  # some of them ignored
KEPT = SOME != -100


def run(loss, targets, weights=None, s=None):
    s = scores() if s is None else s
    gradient = np.full_like(s, np.nan)
    return loss.value_and_gradient(s, targets, gradient, weights), gradient


def net_of(loss, **options):
    return mn.Net([mn.Dense(6), mn.Tanh(), mn.Dense(CLASSES)], 3, loss, **options)


# Soft targets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_one_hot_rows_cost_what_their_labels_cost(smoothing):
    loss = mn.SoftmaxCrossEntropy(label_smoothing=smoothing)
    value, gradient = run(loss, np.eye(CLASSES)[LABELS])
    expected, of_labels = run(loss, LABELS)
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(gradient, of_labels, rtol=0, atol=1e-16)


@pytest.mark.parametrize("weights", [None, np.arange(1.0, N + 1)], ids=["alike", "weighted"])
@pytest.mark.parametrize("loss", [mn.SoftmaxCrossEntropy(), mn.SoftmaxCrossEntropy(0.3, (1.0, 2.0, 0.0, 0.5))], ids=str)
def test_the_gradient_of_soft_targets_equals_the_numerical_one(loss, weights):
    targets = distributions()
    _, gradient = run(loss, targets, weights)
    mn.check_gradient(lambda s: loss(s, targets, weights), scores(), gradient).assert_passed()


def test_a_row_of_soft_targets_costs_the_mean_of_its_labels():
    loss, targets = mn.SoftmaxCrossEntropy(), distributions()
    rows = np.repeat(scores(), CLASSES, axis=0)
    expected = loss(rows, np.tile(np.arange(CLASSES), N), targets.reshape(-1))
    assert run(loss, targets)[0] == pytest.approx(expected, rel=1e-13)


def test_targets_equal_to_the_softmax_have_no_gradient():
    p = np.exp(scores()) / np.exp(scores()).sum(axis=1, keepdims=True)
    value, gradient = run(mn.SoftmaxCrossEntropy(), p)
    assert value == pytest.approx(-(p * np.log(p)).sum() / N, rel=1e-13)
    np.testing.assert_allclose(gradient, 0, atol=1e-16)


def test_a_masked_class_that_is_not_wanted_costs_nothing():
    s = np.array([[0.0, -np.inf, 1.0], [0.0, 1.0, -np.inf]])
    value, gradient = run(mn.SoftmaxCrossEntropy(), np.array([[0.3, 0.0, 0.7], [0.3, 0.7, 0.0]]), s=s)
    assert value == pytest.approx(math.log(1 + math.e) - 0.7, rel=1e-14)
    assert gradient[0, 1] == gradient[1, 2] == 0
    assert run(mn.SoftmaxCrossEntropy(), np.full((2, 3), 1 / 3), s=s)[0] == np.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_soft_target_of_weight_0_is_left_out(bad):
    s, targets = scores(), distributions()
    s[1] = bad
    weights = np.ones(N)
    weights[1] = 0
    value, gradient = run(mn.SoftmaxCrossEntropy(), targets, weights, s)
    rest = np.arange(N) != 1
    expected, without = run(mn.SoftmaxCrossEntropy(), targets[rest], s=s[rest])
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_array_equal(gradient[1], 0)
    np.testing.assert_allclose(gradient[rest], without, rtol=1e-14)


def test_a_net_trains_on_soft_targets_and_counts_the_largest_as_right():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 3)).astype(np.float32)
    y = 0.1 / CLASSES + 0.9 * np.eye(CLASSES)[(x @ rng.standard_normal((3, CLASSES))).argmax(axis=1)]
    net = net_of(mn.SoftmaxCrossEntropy())
    history = mn.fit(net, (x, y), rule=mn.Adam(), lr=0.02, epochs=30, batch_size=16, validation=(x, y), progress=False)
    assert history["accuracy"][-1] > 0.85
    right = net.predict(x).argmax(axis=1) == y.argmax(axis=1)
    found = net.evaluate(x, y)
    assert found["accuracy"] == history["val_accuracy"][-1] == pytest.approx(right.mean())
    assert found["loss"] == pytest.approx(net.loss_function(net.predict(x), y), rel=1e-6)


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (distributions() * 1.01, ValueError, r"expected rows of probabilities.* in row 0, with a sum of 1\.01"),
        (scores(), ValueError, "expected rows of probabilities"),
        (np.where(np.arange(N)[:, None] == 5, np.nan, distributions()), ValueError, "in row 5, with a sum of nan"),
        (np.tile([1.2, -0.2, 0.0, 0.0], (N, 1)), ValueError, "of at least 0"),
        (distributions(3), ValueError, "expected as many targets as samples, 8; got 3"),
        (distributions()[:, :3], TypeError, r"expected integer labels; got dtype float64, shape \(8, 3\)"),
        (np.eye(CLASSES, dtype=int)[LABELS], ValueError, r"for one-hot rows, give y.argmax\(1\)"),
    ],
)
def test_rows_that_are_no_probabilities_are_refused(targets, error, message):
    with pytest.raises(error, match=message):
        mn.SoftmaxCrossEntropy()(scores(), targets)


@pytest.mark.parametrize("loss", [mn.MulticlassHinge(), mn.SquaredHinge()], ids=str)
def test_hinges_take_labels_only(loss):
    with pytest.raises(TypeError, match="expected integer labels"):
        loss(scores(), distributions())


# Ignored labels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, np.arange(1.0, N + 1)], ids=["alike", "weighted"])
@pytest.mark.parametrize("ignored", [-100, 255, 3])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}, {"class_weights": (1.0, 2.0, 0.5, 3.0)}], ids=str)
def test_samples_with_the_ignored_label_are_as_if_they_were_not_there(options, ignored, weights):
    labels = np.where(KEPT, SOME, ignored)
    value, gradient = run(mn.SoftmaxCrossEntropy(**options, ignored=ignored), labels, weights)
    kept = None if weights is None else weights[KEPT]
    expected, without = run(mn.SoftmaxCrossEntropy(**options), labels[KEPT], kept, scores()[KEPT])
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_array_equal(gradient[~KEPT], 0)
    np.testing.assert_allclose(gradient[KEPT], without, rtol=1e-13)


@pytest.mark.parametrize("ignored", [-100, 3])
def test_a_net_leaves_ignored_samples_out_of_loss_gradient_and_accuracy(ignored):
    x, labels = np.random.default_rng(0).standard_normal((N, 3)), np.where(KEPT, SOME, ignored)
    net = net_of(mn.SoftmaxCrossEntropy(ignored=ignored), dtype=np.float64)
    value = net.loss_and_grads(x, labels)
    gradient, right = net.grads.copy(), net.correct(labels)
    assert value == pytest.approx(net.loss_and_grads(x[KEPT], labels[KEPT]), rel=1e-14)
    np.testing.assert_allclose(gradient, net.grads, rtol=0, atol=1e-15)
    assert right == net.correct(labels[KEPT]) == (net.predict(x[KEPT]).argmax(axis=1) == labels[KEPT]).sum()
    assert net.counted(labels) == KEPT.sum()
    for batch_size in (2, 3, N):  # in some chunks no sample counts
        order = np.argsort(KEPT, kind="stable")
        found = net.evaluate(x[order], labels[order], batch_size=batch_size)
        assert found == pytest.approx(net.evaluate(x[KEPT], labels[KEPT]), rel=1e-13)


def test_the_history_of_a_run_counts_what_is_not_ignored():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 3)).astype(np.float32), np.tile([0, 1, -1, -1, -1, 2], 10)
    net = net_of(mn.SoftmaxCrossEntropy(ignored=-1))
    history = mn.fit(net, (x, y), rule=mn.SGD(), lr=1e-30, epochs=1, batch_size=20, validation=(x, y), progress=False)
    right = net.predict(x).argmax(axis=1) == y
    assert history["accuracy"][0] == history["val_accuracy"][0] == pytest.approx(right.sum() / (y >= 0).sum())
    assert history["loss"][0] == pytest.approx(history["val_loss"][0], rel=1e-5)


@pytest.mark.parametrize("weights", [None, (KEPT == 0).astype(float)], ids=["all ignored", "the rest weighs 0"])
def test_nothing_that_counts_is_an_error_before_anything_changes(weights):
    labels = np.full(N, -100) if weights is None else SOME
    loss = mn.SoftmaxCrossEntropy(ignored=-100)
    gradient = np.full((N, CLASSES), 7.0)
    with pytest.raises(
        ValueError, match=r"expected samples that count, .*; got 8, all of weight 0, or with the ignored label -100$"
    ):
        loss.value_and_gradient(scores(), labels, gradient, weights)
    np.testing.assert_array_equal(gradient, 7)
    net = net_of(loss)
    with pytest.raises(ValueError, match="all of weight 0, or with the ignored label -100"):
        net.loss_and_grads(np.ones((N, 3)), labels, sample_weight=weights)
    assert net.step == 0
    with pytest.raises(ValueError, match="all of weight 0, or with the ignored label -100"):
        net.evaluate(np.ones((N, 3)), labels, sample_weight=weights)


@pytest.mark.parametrize("label", [-1, 4, -101])
def test_other_labels_beyond_the_classes_are_refused(label):
    labels = SOME.copy()
    labels[0] = label
    with pytest.raises(ValueError, match="expected labels from 0 to 3 or the ignored -100; got 1 others"):
        mn.SoftmaxCrossEntropy(ignored=-100)(scores(), labels)


@pytest.mark.parametrize("ignored", [True, 1.0, "none"])
def test_an_ignored_label_that_is_no_whole_number_is_refused(ignored):
    with pytest.raises(TypeError, match="SoftmaxCrossEntropy: expected ignored to be a whole number"):
        mn.SoftmaxCrossEntropy(ignored=ignored)


def test_the_text_of_a_loss_names_an_ignored_label_only_where_there_is_one():
    assert str(mn.SoftmaxCrossEntropy(0.1)) == "SoftmaxCrossEntropy(label_smoothing=0.1, class_weights=None)"
    loss = mn.SoftmaxCrossEntropy(ignored=np.int64(-100))
    assert str(loss) == "SoftmaxCrossEntropy(label_smoothing=0.0, class_weights=None, ignored=-100)"
    assert loss == pickle.loads(pickle.dumps(loss)) == copy.deepcopy(loss) != mn.SoftmaxCrossEntropy()


def test_diagnostics_leave_ignored_samples_out():
    x = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    y = np.tile([0, 1, 2, 3, -100], 8)
    kept = y >= 0
    ignoring, plain = (net_of(mn.SoftmaxCrossEntropy(ignored=i)) for i in (-100, None))
    found, expected = confusion_matrix(ignoring, x, y), confusion_matrix(plain, x[kept], y[kept])
    np.testing.assert_array_equal(found.counts, expected.counts)
    mistakes = worst_mistakes(ignoring, x, y)
    assert [m.index for m in mistakes] == [
        int(np.flatnonzero(kept)[m.index]) for m in worst_mistakes(plain, x[kept], y[kept])
    ]
    report = mn.preflight(ignoring, (x, y))
    assert report["class balance"].values["counts"] == [8] * 4


def test_a_comparison_refuses_ignored_samples():
    with pytest.raises(ValueError, match="got 3 that it ignores: drop these"):
        mn.Comparison({"a": scores()}, SOME, loss=mn.SoftmaxCrossEntropy(ignored=-100))


# Class weights ---------------------------------------------------------------------------------------------------

WEIGHED = mn.SoftmaxCrossEntropy(label_smoothing=0.2, class_weights=(1.0, 2.0, 0.5, 3.0))


@pytest.mark.parametrize("batch_size", [1, 3, N])
def test_class_weights_and_smoothing_are_one_loss_whatever_the_chunks(batch_size):
    x = np.random.default_rng(0).standard_normal((N, 3))
    net = net_of(WEIGHED, dtype=np.float64)
    expected = WEIGHED(net.predict(x), LABELS)
    assert net.evaluate(x, LABELS, batch_size=batch_size)["loss"] == pytest.approx(expected, rel=1e-13)


def test_a_sample_of_a_class_of_weight_0_still_has_its_share_of_smoothing():
    loss, s = mn.SoftmaxCrossEntropy(label_smoothing=0.4, class_weights=(0.0, 1.0)), np.array([[1.0, 2.0], [0.5, 0.0]])
    log_p = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
    expected = -(0.6 * log_p[1, 1] + 0.2 * (log_p[0, 1] + log_p[1, 1]))
    assert run(loss, np.array([0, 1]), s=s)[0] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("loss", [WEIGHED, mn.SoftmaxCrossEntropy(class_weights=(1.0, 2.0, 0.5, 3.0))], ids=str)
def test_the_mean_of_a_comparisons_losses_is_the_loss(loss):
    comparison = mn.Comparison({"a": scores()}, LABELS, loss=loss)
    assert comparison.value("a", "data_loss") == pytest.approx(loss(scores(), LABELS), rel=1e-13)


def test_chance_knows_class_weights_with_smoothing():
    # Equal scores cost log 4 times the class weights' share: 0.8 of the labels' own and 0.2 of the mean of all.
    x, y = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32), np.tile([0, 0, 0, 1], 10)
    net = net_of(WEIGHED)
    net.params[:] = 0
    expected = math.log(4) * (0.8 + 0.2 * np.mean([1, 2, 0.5, 3]) / np.mean([1, 1, 1, 2]))
    assert net.loss(x, y) == pytest.approx(expected, rel=1e-6)
    assert mn.preflight(net, (x, y))["first loss"].values["chance"] == pytest.approx(expected, rel=1e-6)
