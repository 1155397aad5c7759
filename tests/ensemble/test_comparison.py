"""Accuracy, calibration and their intervals: by hand, against naive loops, and how often intervals hold the truth."""

import math

import numpy as np
import pytest

import minnet as mn
from minnet.ensemble.answers import softmax


def random_probabilities(rng, n=200, classes=4, skill=1.0):
    y = rng.integers(0, classes, n)
    scores = rng.standard_normal((n, classes)) + skill * np.eye(classes)[y]
    return softmax(scores), y


def naive_ece(probabilities, y, bins):
    """Guo et al. 2017, equations 2 to 5, sample by sample."""
    total = 0.0
    for m in range(1, bins + 1):
        inside = [i for i, p in enumerate(probabilities) if (m - 1) / bins < max(p) <= m / bins]
        if inside:
            accuracy = sum(int(np.argmax(probabilities[i])) == y[i] for i in inside) / len(inside)
            confidence = sum(max(probabilities[i]) for i in inside) / len(inside)
            total += len(inside) / len(y) * abs(accuracy - confidence)
    return total


def test_the_calibration_error_by_hand():
    # Two bins: (0, 1/2] holds 0.4 and 0.5, of which one is right; (1/2, 1] holds 0.9 and 0.7, both right.
    p = np.array([[0.4, 0.3, 0.3], [0.25, 0.5, 0.25], [0.05, 0.05, 0.9], [0.7, 0.2, 0.1]])
    y = np.array([0, 2, 2, 0])
    expected = 2 / 4 * abs(1 / 2 - 0.45) + 2 / 4 * abs(1 - 0.8)
    assert mn.calibration_error(p, y, bins=2) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
def test_the_calibration_error_is_the_papers(bins):
    rng = np.random.default_rng(bins)
    for _ in range(10):
        p, y = random_probabilities(rng, skill=rng.uniform(0, 3))
        assert mn.calibration_error(p, y, bins=bins) == pytest.approx(naive_ece(p, y, bins), abs=1e-12)


def test_sure_and_right_is_calibrated():
    y = np.array([0, 1, 2])
    assert mn.calibration_error(np.eye(3)[y], y) == 0
    assert mn.calibration_error(np.eye(3)[[1, 2, 0]], y) == 1


def test_the_figures_are_the_plain_ones():
    rng = np.random.default_rng(0)
    p, y = random_probabilities(rng)
    comparison = mn.Comparison({"a": p, "votes": p.argmax(axis=1)}, y)
    assert comparison.value("a", "accuracy") == comparison.value("votes", "accuracy") == (p.argmax(1) == y).mean()
    assert comparison.value("a", "log_loss") == pytest.approx(-np.mean([math.log(p[i, y[i]]) for i in range(len(y))]))
    assert comparison.value("a", "ece") == pytest.approx(mn.calibration_error(p, y))
    assert math.isnan(comparison.value("votes", "log_loss"))
    assert "ece" not in comparison.rows()[1]


def test_an_interval_of_the_accuracy_is_that_of_the_binomial():
    y = np.zeros(400, int)
    right = np.zeros(400, int)
    right[:40] = 1
    low, high = mn.Comparison({"a": right}, y).interval("a", "accuracy")
    deviation = 1.96 * math.sqrt(0.9 * 0.1 / 400)
    assert low == pytest.approx(0.9 - deviation, abs=0.004)
    assert high == pytest.approx(0.9 + deviation, abs=0.004)


def test_differences_are_paired():
    """Two that differ on one sample of 400: the difference is known far better than either accuracy."""
    y = np.zeros(400, int)
    a = np.zeros(400, int)
    a[:80] = 1
    b = a.copy()
    b[0] = 0
    comparison = mn.Comparison({"a": a, "b": b}, y)
    difference, low, high = comparison.difference("b", "accuracy")
    assert difference == pytest.approx(1 / 400)
    assert 0 <= low <= difference <= high < 0.01
    wide = comparison.interval("a", "accuracy")
    assert wide[1] - wide[0] > 0.06


@pytest.fixture(scope="module")
def coverage():
    """How often in 100 samples of 500 the interval of each metric holds the truth, that of 100,000 others."""
    rng = np.random.default_rng(1)
    p, y = random_probabilities(rng, 150_000, skill=2.0)
    p = softmax(2.5 * np.log(p))  # too sure of itself: 2 would be right
    truth = mn.Comparison({"": p[50_000:]}, y[50_000:])
    inside = dict.fromkeys(("accuracy", "log_loss", "ece"), 0)
    for trial in range(100):
        part = slice(500 * trial, 500 * (trial + 1))
        sample = mn.Comparison({"": p[part]}, y[part], seed=trial)
        for metric in inside:
            low, high = sample.interval("", metric)
            inside[metric] += low <= truth.value("", metric) <= high
    return inside


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "ece"])
def test_intervals_hold_the_truth_about_as_often_as_they_say(metric, coverage):
    # Of 100 with 95 % each, fewer than 87 come once in 2,000 times. Plain percentiles hold the calibration error fewer
    # than 82 times.
    assert 87 <= coverage[metric] <= 100


def calibrated(seed, n, low=0.9, high=0.999):
    """Probabilities of two classes that are right as often as they say."""
    rng = np.random.default_rng(seed)
    sure = rng.uniform(low, high, n)
    return np.stack([sure, 1 - sure], axis=1), np.where(rng.random(n) < sure, 0, 1)


def test_the_interval_of_a_calibration_error_holds_what_was_measured():
    """Near calibration all draws lie above it: turned around they would lie below, even below 0."""
    below = 0
    for n in (50, 200, 1000):
        for seed in range(20):
            p, y = calibrated(seed, n)
            comparison = mn.Comparison({"a": p, "other": calibrated(seed + 99, n)[0]}, y)
            value, (low, high) = comparison.value("a", "ece"), comparison.interval("a", "ece")
            assert 0 <= low <= value <= high
            below += np.quantile(comparison._drawn["ece"][0], 0.025) > value
            difference, low, high = comparison.difference("other", "ece")
            assert low <= difference <= high
    assert below > 0  # or this would have shown nothing


@pytest.mark.parametrize("gap", [0, 0.06])
def test_intervals_of_calibration_errors_hold_the_truth(gap):
    """All bins are too sure by the same gap, so that this is the error, whatever the bins."""
    inside = 0
    for seed in range(100):
        p, _ = calibrated(seed, 500, 0.6, 0.99)
        y = np.where(np.random.default_rng((1, seed)).random(500) < p[:, 0] - gap, 0, 1)
        low, high = mn.Comparison({"": p}, y, seed=seed).interval("", "ece")
        inside += low <= gap <= high
    assert inside >= 87  # of 95 % fewer come once in 2,000 times


def test_over_seeds_the_interval_holds_the_noise_of_training():
    """Classifiers whose accuracy differs between seeds by more than a sample's noise."""
    rng = np.random.default_rng(0)
    y = np.zeros(2000, int)
    runs = []
    for accuracy in (0.80, 0.85, 0.90, 0.95, 0.99):
        labels = (rng.random(2000) > accuracy).astype(int)
        runs.append(mn.Comparison({"a": labels, "b": labels}, y))
    one, whole = runs[2].interval("a", "accuracy"), mn.Comparison.over_seeds(runs)
    low, high = whole.interval("a", "accuracy")
    assert whole.seeds == 5
    assert whole.value("a", "accuracy") == pytest.approx(np.mean([c.value("a", "accuracy") for c in runs]))
    assert high - low > 3 * (one[1] - one[0])
    # Of values x, the standard deviation of a mean of n drawn anew is std(x) / sqrt(n).
    deviation = np.std([c.value("a", "accuracy") for c in runs]) / math.sqrt(5)
    assert (high - low) / 2 == pytest.approx(1.96 * deviation, rel=0.15)
    assert whole.difference("b", "accuracy") == (0, 0, 0)


def test_the_winner_is_named_with_the_noise():
    y = np.zeros(1000, int)
    entries = {"raw": (np.arange(1000) < 300).astype(int), "much better": (np.arange(1000) < 100).astype(int)}
    comparison = mn.Comparison(entries, y)
    assert comparison.best("accuracy") == ("much better", 1.0)
    assert "+20.00 (" in comparison.winner()
    assert "beyond the noise of 1000 samples" in comparison.winner()
    entries["much better"] = np.roll(entries["raw"], 500)
    entries["much better"][500] = 0
    assert "within the noise" in mn.Comparison(entries, y).winner()


def equal_entries(rng, entries, n=400):
    """Classifiers that are equally good, and wrong together on some samples."""
    y, common = rng.integers(0, 5, n), rng.random(n) < 0.04
    wrong = [common | (rng.random(n) < 0.02) for _ in range(entries)]
    return mn.Comparison({f"entry {k}": np.where(wrong[k], (y + 1) % 5, y) for k in range(entries)}, y)


@pytest.mark.parametrize("entries", [2, 12])
def test_the_best_of_equals_is_rarely_beyond_the_noise(entries):
    """2.5 % is nominal; by intervals of each difference for itself it would be some 12 % of 12 entries."""
    beyond, alone = 0, 0
    for seed in range(200):
        comparison = equal_entries(np.random.default_rng((entries, seed)), entries)
        beyond += "beyond" in comparison.winner()
        alone += comparison.difference(comparison.best("accuracy")[0], "accuracy")[1] > 0
    assert beyond <= 12  # more come once in 300 times at 2.5 %, and at 12 % fewer once in 200
    assert alone >= 13 or entries == 2


def test_a_difference_beyond_the_noise_is_still_seen_among_many():
    rng = np.random.default_rng(0)
    comparison = equal_entries(rng, 12)
    better = mn.Comparison(
        {
            **{name: p for name, p in zip(comparison.names, comparison.predicted[:, 0], strict=True)},
            "best": comparison.y,
        },
        comparison.y,
    )
    assert "beyond the noise of 400 samples and of a choice among 12" in better.winner()


def test_intervals_that_hold_at_once_are_those_of_the_largest_deviation():
    comparison = equal_entries(np.random.default_rng(3), 4)
    found, drawn = comparison.differences("accuracy"), comparison._drawn["accuracy"]
    largest, deviations = np.zeros(1000), {}
    for i in (1, 2, 3):
        away = drawn[i] - drawn[0]
        deviations[i] = math.sqrt(np.mean((away - away.mean()) ** 2))
        largest = np.maximum(largest, abs(away - away.mean()) / deviations[i])
    for i, (difference, low, high) in zip((1, 2, 3), found.values(), strict=True):
        assert difference == comparison.difference(f"entry {i}", "accuracy")[0]
        assert (high - low) / 2 == pytest.approx(np.quantile(largest, 0.95) * deviations[i])
        assert (high + low) / 2 == pytest.approx(difference)
    assert np.quantile(largest, 0.95) > 2.1  # wider than the 1.96 of one difference


def test_what_stands_first_and_best_is_said_plainly():
    y = np.zeros(400, int)
    a = np.zeros(400, int)
    a[:40] = 1
    worse = a.copy()
    worse[40] = 1
    assert (
        mn.Comparison({"raw": a}, y).winner() == "The accuracy of raw is 90.00 % (87.00 % to 93.00 %) on 400 samples."
    )
    equal = mn.Comparison({"raw": a, "same": a, "again": a}, y)
    said = "No accuracy is better than {}'s, 90.00 %, on 400 samples, and none in 100% of draws."
    assert equal.winner() == said.format("raw")
    assert equal.winner(reference="again") == said.format("again")
    assert equal.differences("accuracy") == {"same": (0, 0, 0), "again": (0, 0, 0)}
    first = mn.Comparison({"raw": a, "worse": worse}, y)
    assert first.winner().startswith("No accuracy is better than raw's, 90.00 %, on 400 samples, and none in ")
    second = mn.Comparison({"raw": a, "worse": worse}, y, reference="worse")
    assert "raw has the best accuracy, 90.00 %: +0.25 (" in second.winner()
    assert "among" not in second.winner()
    assert "accuracy less worse's" in second.table()
    assert mn.Comparison.over_seeds([second, second]).reference == "worse"


def test_a_winner_by_what_the_reference_does_not_have():
    p, y = random_probabilities(np.random.default_rng(0))
    comparison = mn.Comparison({"votes": p.argmax(axis=1), "a": p, "b": p[:, ::-1]}, y)
    assert comparison.differences("log_loss") == {}
    assert comparison.winner("log_loss").endswith("on 200 samples; votes has none.")


# Other losses -------------------------------------------------------------------------------------------------


def test_scores_are_judged_by_their_loss_sample_by_sample():
    rng = np.random.default_rng(0)
    scores, y = rng.standard_normal((50, 2)), rng.standard_normal((50, 2))
    comparison = mn.Comparison({"a": scores, "b": scores + 0.1}, y, loss=mn.SquaredError())
    errors = [((each - y) ** 2).sum(axis=1) for each in (scores, scores + 0.1)]
    assert comparison.metrics == ("data_loss",)
    assert comparison.predicted is None
    np.testing.assert_allclose(comparison._losses[:, 0], errors, rtol=1e-12)
    assert comparison.value("b", "data_loss") == pytest.approx(errors[1].mean())
    low, high = comparison.difference("b", "data_loss")[1:]
    assert high - low == pytest.approx(2 * 1.96 * (errors[1] - errors[0]).std() / math.sqrt(50), rel=0.15)
    row = comparison.rows()[1]
    assert set(row) == {"name", "data_loss", "data_loss_interval", "data_loss_difference"}
    assert "data loss (95 %) | data loss less a's |" in comparison.table()
    assert comparison.best("data_loss")[0] == min(zip("ab", errors, strict=True), key=lambda pair: pair[1].mean())[0]
    whole = mn.Comparison.over_seeds([comparison, comparison])
    assert whole.by_seed("data_loss").shape == (2, 2)
    assert "data loss: SquaredError()" in str(whole)


def test_a_loss_of_ones_own_can_judge():
    class Cubic(mn.losses.Loss):
        def check_targets(self, targets, out_shape, dtype):
            return np.asarray(targets, dtype)

        def apply(self, scores, targets, weights, dscores):
            return float(weights @ (abs(scores - targets) ** 3).sum(axis=1))

    scores, y = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [1.0], [2.0]])
    assert mn.Comparison({"a": scores}, y, loss=Cubic()).value("a", "data_loss") == 3.0


def test_labels_may_stand_beside_scores_that_choose():
    scores, y = np.array([[3.0, 0, 0], [0, 1, 0], [0, 0, 1]]), np.array([0, 1, 1])
    comparison = mn.Comparison({"scores": scores, "votes": np.array([0, 1, 1])}, y, loss=mn.MulticlassHinge())
    assert comparison.value("votes", "accuracy") == 1
    assert comparison.value("scores", "accuracy") == pytest.approx(2 / 3)
    assert comparison.value("scores", "data_loss") == pytest.approx((0 + (0 + 0) + (1 + 2)) / 3)
    assert comparison.disagreement()[0, 1] == pytest.approx(1 / 3)
    assert math.isnan(comparison.value("votes", "data_loss"))


def test_disagreement_is_symmetric_and_counts_classes():
    comparison = mn.Comparison({"a": np.array([0, 1, 2, 2]), "b": np.array([0, 1, 1, 0])}, np.zeros(4, int))
    assert comparison.disagreement().tolist() == [[0, 0.5], [0.5, 0]]


def test_the_mean_disagreement_of_members_is_in_the_text_with_its_interval():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 500)
    entries = {name: np.where(rng.random(500) < 0.2, (y + i) % 3, y) for i, name in enumerate("abc")}
    entries["together"] = y
    comparison = mn.Comparison(entries, y, members="abc")
    pairs = [(entries[p] != entries[q]).mean() for p, q in ("ab", "ac", "bc")]
    mean, low, high = comparison.apart()
    assert np.isclose(mean, np.mean(pairs))
    each = np.mean([entries[p] != entries[q] for p, q in ("ab", "ac", "bc")], axis=0)
    assert np.isclose(high - low, 2 * 1.96 * each.std() / np.sqrt(500), rtol=0.1)  # the normal law's
    assert f"Two members disagree on {100 * mean:.2f} % ({100 * low:.2f} % to {100 * high:.2f} %)" in str(comparison)
    over = mn.Comparison.over_seeds([comparison, comparison])
    assert np.isclose(over.apart()[0], mean)
    assert "disagree" not in str(mn.Comparison(entries, y))
    with pytest.raises(ValueError, match="expected one of the entries"):
        mn.Comparison(entries, y, members=["d"])


def test_the_table_has_a_row_an_entry():
    p, y = random_probabilities(np.random.default_rng(0))
    table = mn.Comparison({"a": p, "b": p.argmax(axis=1)}, y, steps={"a": 1234}).table()
    lines = table.splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == ["a", "b"]
    assert "1,234" in lines[2]
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda p, y: mn.Comparison({}, y), "expected at least one entry"),
        (lambda p, y: mn.Comparison({"a": p[:-1]}, y), "expected 'a' as probabilities (200, classes) or labels (200,)"),
        (lambda p, y: mn.Comparison({"a": 2 * p}, y), "expected 'a' as probabilities that sum to 1"),
        (lambda p, y: mn.Comparison({"a": np.log(p)}, y), "expected 'a' as probabilities that sum to 1"),
        (lambda p, y: mn.Comparison({"a": p}, y + 4), "expected labels from 0 to 3; got 4 to 7"),
        (lambda p, y: mn.Comparison({"a": p}, y).value("b", "ece"), "expected one of the entries ('a',); got 'b'"),
        (lambda p, y: mn.Comparison({"a": p}, y).value("a", "error"), "expected a metric of"),
        (lambda p, y: mn.Comparison({"a": p}, y, reference="b"), "expected one of the entries ('a',); got 'b'"),
        (
            lambda p, y: mn.Comparison({"a": p[:, 0]}, p[:, 0], loss=mn.SquaredError()),
            "expected entries as scores (n, outputs) for SquaredError(); got none",
        ),
        (
            lambda p, y: mn.Comparison({"a": p, "b": p[:, :2]}, p, loss=mn.SquaredError()),
            "SquaredError(): expected targets of shape (n, 2); got shape (200, 4)",
        ),
        (
            lambda p, y: mn.Comparison({"a": p, "b": p[1:]}, p, loss=mn.SquaredError()),
            "expected 'b' as 200 rows of finite scores; got shape (199, 4)",
        ),
        (
            lambda p, y: mn.Comparison({"a": p, "b": y}, p, loss=mn.SquaredError()),
            "expected 'b' as scores for SquaredError(); got shape (200,)",
        ),
        (
            lambda p, y: mn.Comparison.over_seeds(
                [mn.Comparison({"a": p}, y, loss=loss) for loss in (mn.MulticlassHinge(), mn.SquaredHinge())]
            ),
            "expected the same entries, bins, loss and labels in all",
        ),
        (lambda p, y: mn.Comparison.over_seeds([]), "expected at least one comparison"),
        (
            lambda p, y: mn.Comparison.over_seeds([mn.Comparison({"a": p}, y), mn.Comparison({"b": p}, y)]),
            "expected the same entries",
        ),
    ],
)
def test_bad_input_is_named(make, text):
    with pytest.raises(ValueError) as caught:
        make(*random_probabilities(np.random.default_rng(0)))
    assert text in str(caught.value)
