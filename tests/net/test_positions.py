"""The softmax loss at positions of sequences and images: value, gradient, accuracy, training and refusals."""

import numpy as np
import pytest

import minnet as mn
from minnet.diagnostics import confusion_matrix, preflight

N, TIME, CLASSES = 7, 3, 4
RNG = np.random.default_rng(0)
SCORES = RNG.standard_normal((N, TIME, CLASSES))
LABELS = RNG.integers(0, CLASSES, (N, TIME))
HOLES = np.where(RNG.random((N, TIME)) < 0.4, -1, LABELS)  # some ignored
HOLES[2] = -1  # a sample without any that counts
WEIGHTS = np.arange(1.0, N + 1)


def log_probabilities(scores):
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def expected(labels, summed, weights=None):
    """Value and gradient of the definition: a mean over all that counts, or sums in a mean over samples."""
    counts = (labels >= 0) * (np.ones(N) if weights is None else weights)[:, np.newaxis]
    share = counts / ((N if weights is None else weights.sum()) if summed else counts.sum())
    onehot = np.eye(CLASSES)[np.maximum(labels, 0)]
    value = -(share * (onehot * log_probabilities(SCORES)).sum(axis=-1)).sum()
    return value, share[..., np.newaxis] * (np.exp(log_probabilities(SCORES)) - onehot)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("summed", [False, True], ids=["mean", "summed"])
@pytest.mark.parametrize("labels", [LABELS, HOLES], ids=["all", "some ignored"])
def test_value_and_gradient_are_those_of_the_definition(labels, summed, weights):
    gradient = np.full_like(SCORES, np.nan)
    loss = mn.SoftmaxCrossEntropy(ignored=-1, summed=summed)
    value, dscores = expected(labels, summed, weights)
    assert loss.value_and_gradient(SCORES, labels, gradient, weights) == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(gradient, dscores, rtol=0, atol=1e-15)


def test_an_image_of_labels_costs_what_its_pixels_cost_in_a_row():
    loss = mn.SoftmaxCrossEntropy(0.1, (1.0, 2.0, 0.0, 0.5), ignored=3)
    image, labels = SCORES.reshape(1, N, TIME, CLASSES), LABELS.reshape(1, N, TIME)
    assert loss(image, labels) == pytest.approx(loss(SCORES.reshape(-1, CLASSES), LABELS.reshape(-1)), rel=1e-14)


def test_probabilities_at_positions_cost_what_their_labels_cost():
    loss = mn.SoftmaxCrossEntropy()
    assert loss(SCORES, np.eye(CLASSES)[LABELS]) == pytest.approx(loss(SCORES, LABELS), rel=1e-14)


def test_an_unused_option_leaves_the_text_of_older_files():
    assert repr(mn.SoftmaxCrossEntropy()) == "SoftmaxCrossEntropy(label_smoothing=0.0, class_weights=None)"
    assert repr(mn.SoftmaxCrossEntropy(summed=True)).endswith("class_weights=None, summed=True)")


def net(**options):
    layers = [mn.Embedding(CLASSES, 6), mn.Tanh(), mn.Dense(CLASSES)]
    return mn.Net(layers, TIME, mn.SoftmaxCrossEntropy(ignored=-1, **options), dtype=np.float64)


def test_accuracy_is_over_the_positions_that_count():
    own = net()
    x = np.random.default_rng(1).integers(0, CLASSES, (N, TIME))
    right = own.predict(x).argmax(axis=-1) == HOLES
    counts = HOLES >= 0
    own.forward(x)
    assert own.correct(HOLES) == right[counts].sum()
    assert own.counted(HOLES) == counts.sum()
    assert own.counted(HOLES, sample_weight=WEIGHTS) == pytest.approx((counts * WEIGHTS[:, np.newaxis]).sum())
    np.testing.assert_array_equal(own.counting(HOLES), counts.any(axis=1))
    whole = own.evaluate(x, HOLES, sample_weight=WEIGHTS)
    assert whole == pytest.approx(own.evaluate(x, HOLES, sample_weight=WEIGHTS, batch_size=2), rel=1e-12)
    assert whole["accuracy"] == pytest.approx(np.average(right[counts], weights=(counts.T * WEIGHTS).T[counts]))


@pytest.mark.parametrize("options", [{}, {"summed": True}, {"class_weights": (1, 2, 3, 0.5)}], ids=str)
def test_the_gradient_of_a_net_equals_the_numerical_one(options):
    x = np.random.default_rng(1).integers(0, CLASSES, (N, TIME))
    mn.check_net(net(**options), x, HOLES).assert_passed()


def test_an_epoch_is_the_mean_over_all_positions_that_count():
    """With a rate of 0, the losses of batches with different numbers of positions add up to that of all."""
    own, x = net(), np.random.default_rng(1).integers(0, CLASSES, (N, TIME))
    epoch = mn.fit(own, (x, HOLES), rule=mn.SGD(), lr=0.0, batch_size=3, epochs=1).epochs.rows[-1]
    assert epoch["loss"] == pytest.approx(own.evaluate(x, HOLES)["loss"], rel=1e-12)
    assert epoch["accuracy"] == own.evaluate(x, HOLES)["accuracy"]


class Plain(mn.Loss):
    """The softmax loss at positions, as a user writes it with NumPy. What it does not define is the default."""

    def __repr__(self):
        return type(self).__name__

    def check_outputs(self, out_shape):
        assert len(out_shape) == 2

    def positions(self, out_shape):
        return out_shape[0]

    def check_targets(self, targets, out_shape, dtype):
        return np.ascontiguousarray(targets, np.int64)

    def apply(self, scores, targets, weights, dscores):
        onehot, share = np.eye(CLASSES)[targets], weights.reshape(*targets.shape, 1)
        dscores[...] = share * (np.exp(log_probabilities(scores)) - onehot)
        return -float((share * onehot * log_probabilities(scores)).sum())

    def hits(self, scores, targets, out):
        out[...] = (scores.argmax(axis=-1) == targets).reshape(-1)
        self.leave_out(targets, out)
        return True


class WithHoles(Plain):
    """One that leaves out the label 0, and says so in the one place for it."""

    def leave_out(self, targets, weights):
        weights[targets.reshape(-1) == 0] = 0

    def weigh(self, targets, sample_weight, out):
        super().weigh(targets, sample_weight, out)
        self.leave_out(targets, out)
        out /= out.sum()


@pytest.mark.parametrize(
    "loss", [Plain(), WithHoles(), mn.SoftmaxCrossEntropy(), mn.SoftmaxCrossEntropy(ignored=0)], ids=repr
)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_the_accuracy_of_any_loss_of_positions_is_a_share_of_what_counts(loss, weights):
    layers = [mn.Embedding(CLASSES, 6), mn.Tanh(), mn.Dense(CLASSES)]
    own, x = mn.Net(layers, TIME, loss, dtype=np.float64), np.random.default_rng(1).integers(0, CLASSES, (N, TIME))
    leaves_out = isinstance(loss, WithHoles) or getattr(loss, "ignored", None) == 0
    right = total = 0.0
    for words, labels, weight in zip(x, LABELS, np.ones(N) if weights is None else weights, strict=True):
        for choice, label in zip(own.predict(words[None])[0].argmax(axis=-1), labels, strict=True):
            if not leaves_out or label != 0:
                total += weight
                right += weight * (choice == label)
    assert own.evaluate(x, LABELS, sample_weight=weights)["accuracy"] == pytest.approx(right / total, rel=1e-12)
    assert own.counted(LABELS, sample_weight=weights) == total
    # Enough steps that minnet's own loss is recorded; the last batch of an epoch is smaller than the others.
    run = mn.fit(own, (x, LABELS), rule=mn.SGD(), lr=0.0, batch_size=3, epochs=40, sample_weight=weights)
    assert run["accuracy"] == pytest.approx([right / total] * 40, rel=1e-12)
    np.testing.assert_array_equal(own.counting(LABELS), [not leaves_out or row.any() for row in LABELS])
    assert (LABELS == 0).any()


def test_a_batch_in_which_no_position_counts_is_refused_before_the_run():
    x = np.zeros((N, TIME), int)
    with pytest.raises(ValueError, match="expected a sample that counts in every batch"):
        mn.Trainer(net(), (x, HOLES), rule=mn.SGD(), lr=0.1, batch_size=1, epochs=1)


def test_diagnostics_of_positions_count_them_or_say_that_they_cannot():
    own = mn.Net([mn.Embedding(CLASSES, 6), mn.Dense(CLASSES)], TIME, mn.SoftmaxCrossEntropy())
    x = np.random.default_rng(1).integers(0, CLASSES, (60, TIME))
    report = preflight(own, (x, (x + 1) % CLASSES), lr=0.1)
    assert (
        report["class balance"].values["counts"]
        == np.bincount(x.reshape(-1) + 0, minlength=CLASSES).tolist()[-1:]
        + (np.bincount(x.reshape(-1), minlength=CLASSES).tolist()[:-1])
    )
    assert report["overfitting"].verdict == "passed"
    with pytest.raises(ValueError, match=r"got targets of dtype int64, shape \(60, 3\)"):
        confusion_matrix(own, x, x)
    with pytest.raises(ValueError, match="Comparison: expected one target a sample"):
        mn.Comparison({"a": SCORES, "b": SCORES}, LABELS, loss=mn.SoftmaxCrossEntropy())


def test_votes_of_an_ensemble_are_cast_at_each_position():
    nets = [
        mn.Net([mn.Embedding(CLASSES, 6), mn.Dense(CLASSES)], TIME, mn.SoftmaxCrossEntropy(), seed=s) for s in range(3)
    ]
    x = np.random.default_rng(1).integers(0, CLASSES, (N, TIME))
    choices = np.stack([own.predict(x).argmax(axis=-1) for own in nets])
    votes = (choices[..., np.newaxis] == np.arange(CLASSES)).mean(axis=0)
    np.testing.assert_allclose(mn.Ensemble(nets[0], nets).predict(x, "votes"), votes, atol=1e-12)
    assert mn.Ensemble(nets[0], nets).classify(x).shape == (N, TIME)
