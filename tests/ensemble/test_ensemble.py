"""Ensembles: against loops over nets, brute force over selections, runs without snapshots, and hostile files."""

import itertools
import json
import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from safetensors.numpy import load_file, save

import minnet as mn
from minnet.ensemble.answers import softmax


def make_net(seed=0, dtype=np.float32, loss=None, hidden=12):
    layers = [mn.Dense(hidden), mn.BatchNorm(), mn.ReLU(), mn.Dense(3)]
    return mn.Net(layers, 4, loss or mn.SoftmaxCrossEntropy(), seed=seed, dtype=dtype)


def iris():
    x, y = mn.datasets.iris()
    return mn.data.split((mn.data.Standardizer.fit(x)(x), y), (0.3, 0.3, 0.4), seed=0)


@pytest.fixture(scope="module")
def nets():
    """Five nets, each trained for a little while on its own."""
    found = []
    for seed in range(5):
        net = make_net(seed)
        mn.fit(net, iris()[0], rule=mn.Momentum(), lr=0.02, steps=8 + 4 * seed, batch_size=9, seed=seed, progress=False)
        found.append(net)
    return found


# Predictions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 7, 256])
@pytest.mark.parametrize("weights", [None, (1, 0, 3, 2, 0.5)])
def test_predictions_are_means_over_the_members(nets, weights, batch_size):
    x, _ = iris()[2]
    ensemble = mn.Ensemble(nets[0], nets, weights=weights)
    w = np.ones(5) / 5 if weights is None else np.array(weights) / 6.5
    chunks = np.array_split(x, range(batch_size, len(x), batch_size))  # whose size may decide the order of a sum
    scores = np.stack([np.concatenate([net.forward(chunk).copy() for chunk in chunks]) for net in nets])
    np.testing.assert_array_equal(ensemble.scores(x, batch_size=batch_size), scores)
    exact = scores.astype(np.float64)
    probabilities = np.exp(exact) / np.exp(exact).sum(axis=2, keepdims=True)
    votes = np.eye(3)[scores.argmax(axis=2)]
    for how, members in (("probabilities", probabilities), ("scores", exact), ("votes", votes)):
        expected = sum(w[k] * members[k] for k in range(5))
        found = ensemble.predict(x, how, batch_size=batch_size)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert np.array_equal(ensemble.classify(x), ensemble.predict(x).argmax(axis=1))


def with_scores(*members):
    """An ensemble whose members give the scores (3,) that they are given, whatever they see."""
    net = mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), dtype=np.float64)
    points = []
    for scores in members:
        net.params = np.zeros_like(net.params)
        net.named_parameters()["0.b"][...] = scores
        points.append(net.params.copy())
    return mn.Ensemble(net, points)


@pytest.mark.parametrize(
    ("members", "winner"),
    [
        ([(3, 0, 0), (3, 0, 0), (0, 9, 0)], 0),  # two against one, however sure
        ([(1, 0, 0), (0, 5, 0)], 1),  # a tie: the surer
        ([(0, 5, 0), (0, 0, 5), (0, 0, 5), (0, 6, 0)], 1),
        ([(0, 0, 2), (0, 2, 0)], 1),  # a tie of probabilities too: the lower class
        ([(0, 0, 1), (0, 1, 0), (9, 0, 0)], 0),
        ([(4.9, 4.9, 5), (5, 4.9, 4.9), (4.99, 4.98, 0), (0, 4.98, 4.99)], 0),  # class 1 is likelier, without a vote
    ],
)
def test_votes_that_tie_go_to_the_more_probable_class_then_to_the_lower(members, winner):
    x = np.ones((2, 4))
    ensemble = with_scores(*members)
    assert ensemble.classify(x, "votes").tolist() == [winner, winner]


def test_votes_against_a_loop_in_fractions(nets):
    x, _ = iris()[2]
    weights = [1, 2, 3, 3, 3]
    ensemble = mn.Ensemble(nets[0], nets, weights=weights)
    p = ensemble.probabilities(x)
    expected = []
    for i in range(len(x)):
        votes = [Fraction(0)] * 3
        for k in range(5):
            votes[int(p[k, i].argmax())] += Fraction(weights[k], 12)
        means = [sum(weights[k] * p[k, i, c] for k in range(5)) for c in range(3)]
        expected.append(max(range(3), key=lambda c: (votes[c], means[c], -c)))
    assert ensemble.classify(x, "votes").tolist() == expected


def nets_with(loss, outputs=3):
    """Five, each trained for a little while by its loss, and validation data."""
    x, labels = iris()[0]
    y = labels
    if isinstance(loss, mn.SquaredError | mn.AbsoluteError):
        y = np.stack([x[:, 0] * x[:, 1], x[:, 2]][:outputs], axis=1)
    if isinstance(loss, mn.Logistic):
        y = (labels[:, np.newaxis] == np.arange(outputs)).astype(float)
    found = []
    for seed in range(5):
        net = mn.Net([mn.Dense(12), mn.BatchNorm(), mn.ReLU(), mn.Dense(outputs)], 4, loss, l2=0.01, seed=seed)
        mn.fit(net, (x, y), rule=mn.Momentum(), lr=0.02, steps=8, batch_size=9, seed=seed, progress=False)
        found.append(net)
    return found, x, y


@pytest.mark.parametrize(("loss", "outputs"), [(mn.SquaredError(), 2), (mn.AbsoluteError(), 1)])
def test_nets_of_regression_answer_with_the_mean_of_their_outputs(loss, outputs):
    nets, x, y = nets_with(loss, outputs)
    ensemble = mn.Ensemble(nets[0], nets, steps=[8] * 5)
    mean = np.mean([net.predict(x).astype(np.float64) for net in nets], axis=0)
    np.testing.assert_allclose(ensemble.predict(x), mean, rtol=1e-6, atol=1e-7)
    errors = (mean - y) ** 2 if isinstance(loss, mn.SquaredError) else abs(mean - y)
    assert ensemble.evaluate(x, y) == {"data_loss": pytest.approx(errors.sum(axis=1).mean())}
    comparison = ensemble.compare(x, y, beside={"chosen": ensemble.select(x, y)})
    assert comparison.metrics == ("data_loss",)
    assert comparison.names[5:] == ("ensemble, scores", "chosen")
    assert comparison.value("member 3", "data_loss") == pytest.approx(nets[3].evaluate(x, y)["data_loss"], rel=1e-5)
    assert comparison.value("chosen", "data_loss") <= (1 + 1e-12) * min(
        comparison.value(f"member {i}", "data_loss") for i in range(5)
    )
    assert "accuracy" not in str(comparison)
    for call in (lambda: ensemble.classify(x), lambda: ensemble.disagreement(x), comparison.disagreement):
        with pytest.raises(ValueError, match="expected nets that choose among classes; got some with"):
            call()
    for call in (lambda: ensemble.predict(x, "votes"), lambda: ensemble.probabilities(x)):
        with pytest.raises(ValueError, match=r"expected how to be one of \('scores',\) for nets with"):
            call()
    with pytest.raises(ValueError, match=r"Ensemble.weigh: expected nets with SoftmaxCrossEntropy; got some with"):
        ensemble.weigh(x, y)
    with pytest.raises(ValueError, match=r"Ensemble.select: expected a metric that nets with .*Error.* got 'accuracy'"):
        ensemble.select(x, y, metric="accuracy")


@pytest.mark.parametrize("loss", [mn.MulticlassHinge(), mn.SquaredHinge()])
def test_nets_of_a_hinge_average_scores_and_vote(loss):
    nets, x, y = nets_with(loss)
    ensemble = mn.Ensemble(nets[0], nets, weights=[1, 2, 3, 3, 3])
    scores = np.array([net.predict(x).astype(np.float64) for net in nets])
    mean = np.average(scores, axis=0, weights=[1, 2, 3, 3, 3])
    np.testing.assert_allclose(ensemble.predict(x), mean, rtol=1e-6, atol=1e-7)
    votes = np.average(np.eye(3)[scores.argmax(axis=2)], axis=0, weights=[1, 2, 3, 3, 3])
    np.testing.assert_allclose(ensemble.predict(x, "votes"), votes, atol=1e-12)
    expected = [max(range(3), key=lambda c: (round(votes[i, c], 9), mean[i, c], -c)) for i in range(len(x))]
    assert ensemble.classify(x, "votes").tolist() == expected
    found, voted = ensemble.evaluate(x, y), ensemble.evaluate(x, y, "votes")
    assert voted == {"accuracy": np.mean(np.array(expected) == y)}
    assert found == {"accuracy": (mean.argmax(axis=1) == y).mean(), "data_loss": pytest.approx(loss(mean, y))}
    comparison = ensemble.compare(x, y)
    assert comparison.names[5:] == ("ensemble, scores", "ensemble, votes")
    assert comparison.metrics == ("accuracy", "data_loss")
    np.testing.assert_array_equal(ensemble.disagreement(x), comparison.disagreement()[:5, :5])
    assert ensemble.disagreement(x)[0, 1] == (scores[0].argmax(axis=1) != scores[1].argmax(axis=1)).mean()
    with pytest.raises(ValueError, match=r"expected a metric of \('accuracy', 'data_loss'\); got 'ece'"):
        comparison.value("member 0", "ece")
    chosen = ensemble.select(x, y, metric="accuracy")
    assert chosen.evaluate(x, y)["accuracy"] >= max((s.argmax(axis=1) == y).mean() for s in scores)
    with pytest.raises(ValueError, match=r"Ensemble.select: expected a metric that nets with .*Hinge.* got 'log_loss'"):
        ensemble.select(x, y, metric="log_loss")
    with pytest.raises(ValueError, match=r"one of \('scores', 'votes'\) for nets with .*Hinge.*; got 'probabilities'"):
        ensemble.predict(x, "probabilities")


def test_votes_of_negative_scores_that_tie_go_to_the_larger_mean():
    net = mn.Net([mn.Dense(3)], 4, mn.MulticlassHinge(), dtype=np.float64)
    points = []
    for scores in ((-1, -5, -9), (-9, -2, -9)):
        net.params = np.zeros_like(net.params)
        net.named_parameters()["0.b"][...] = scores
        points.append(net.params.copy())
    assert mn.Ensemble(net, points).classify(np.ones((1, 4)), "votes").tolist() == [1]


@pytest.mark.parametrize("outputs", [1, 3])
def test_nets_of_yes_and_no_average_probabilities(outputs):
    nets, x, y = nets_with(mn.Logistic(), outputs)
    ensemble = mn.Ensemble(nets[0], nets)
    scores = np.array([net.predict(x).astype(np.float64) for net in nets])
    mean = (1 / (1 + np.exp(-scores))).mean(axis=0)
    np.testing.assert_allclose(ensemble.predict(x), mean, rtol=1e-12)
    np.testing.assert_allclose(ensemble.predict(x, "scores"), scores.mean(axis=0), rtol=1e-6, atol=1e-7)
    entropy = -(y * np.log(mean) + (1 - y) * np.log(1 - mean)).sum(axis=1).mean()
    right = ((mean > 0.5) == (y > 0.5)).all(axis=1).mean()
    assert ensemble.evaluate(x, y) == {"accuracy": right, "data_loss": pytest.approx(entropy, rel=1e-9)}
    comparison = ensemble.compare(x, y, beside={"chosen": ensemble.select(x, y)})
    assert comparison.names[5:] == ("ensemble, probabilities", "ensemble, scores", "chosen")
    assert comparison.value("chosen", "data_loss") <= (1 + 1e-12) * min(
        comparison.value(f"member {i}", "data_loss") for i in range(5)
    )
    apart = ((scores[0] > 0) != (scores[1] > 0)).any(axis=1).mean()
    assert ensemble.disagreement(x)[0, 1] == comparison.disagreement()[0, 1] == apart
    with pytest.raises(ValueError, match="expected nets that choose among classes"):
        ensemble.classify(x)


def test_sure_probabilities_of_yes_and_no_have_a_finite_loss():
    net = mn.Net([mn.Dense(1)], 4, mn.Logistic(), dtype=np.float64)
    net.params = np.full_like(net.params, 1000.0)
    found = mn.Ensemble(net, [net, net]).evaluate(np.ones((2, 4)), np.array([1.0, 0.0]))
    assert found == {"accuracy": 0.5, "data_loss": pytest.approx(-math.log(2.0**-53) / 2)}


def test_a_net_without_a_loss_predicts_and_is_not_judged():
    nets = [mn.Net([mn.Dense(2)], 4, seed=seed) for seed in range(2)]
    ensemble, x = mn.Ensemble(nets[0], nets), np.ones((3, 4), np.float32)
    np.testing.assert_allclose(ensemble.predict(x), (nets[0].predict(x) + nets[1].predict(x)) / 2, rtol=1e-6)
    for call in (ensemble.evaluate, ensemble.compare, ensemble.select):
        with pytest.raises(ValueError, match=r"expected a net built with loss=...; got one without"):
            call(x, np.zeros(3, int))


def test_the_given_nets_stay_as_they_are(nets):
    x, y = iris()[2]
    before = [(net.params.copy(), net.buffers.copy(), net.step) for net in nets]
    ensemble = mn.Ensemble(nets[0], nets)
    ensemble.compare(x, y)
    ensemble.params[...] = 0
    for net, (params, buffers, step) in zip(nets, before, strict=True):
        assert np.array_equal(net.params, params)
        assert np.array_equal(net.buffers, buffers)
        assert net.step == step


def test_memory_does_not_grow_with_the_members():
    """One set of activations, and no array of all members' scores."""
    x = np.ones((2000, 50), np.float32)
    peaks = []
    for k in (2, 40):
        net = mn.Net([mn.Dense(400), mn.ReLU(), mn.Dense(10)], 50, mn.SoftmaxCrossEntropy())
        ensemble = mn.Ensemble(net, [net] * k)
        ensemble.predict(x[:1])
        tracemalloc.start()
        ensemble.predict(x)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_the_data_are_converted_once_for_all_members(nets, monkeypatch):
    x, _ = iris()[2]
    ensemble = mn.Ensemble(nets[0], nets)
    seen = []
    as_input = ensemble._net.as_input
    monkeypatch.setattr(ensemble._net, "as_input", lambda part: seen.append(part.dtype) or as_input(part))
    ensemble.predict(x.astype(np.float64), batch_size=20)
    assert seen.count(np.dtype(np.float64)) == 3  # 60 samples in chunks of 20; members see float32


# Members ------------------------------------------------------------------------------------------------------


def test_members_come_from_nets_averages_pairs_and_vectors(nets):
    ema = mn.EMA(0.9)
    ema.update(nets[1])
    ensemble = mn.Ensemble(nets[0], [nets[1], ema, (nets[1].params, nets[1].buffers), nets[1].params])
    assert all(np.array_equal(row, nets[1].params) for row in ensemble.params)
    assert np.array_equal(ensemble.buffers[:3], [nets[1].buffers] * 3)
    assert np.array_equal(ensemble.buffers[3], nets[0].buffers)
    member = ensemble.member(2)
    x, _ = iris()[2]
    assert np.array_equal(member.predict(x), nets[1].predict(x))


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (
            lambda: mn.Net([mn.Dense(12), mn.BatchNorm(), mn.Tanh(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy()),
            "got another: net layers 2 is Tanh() in member 1, ReLU() here",
        ),
        (lambda: make_net(dtype=np.float64), "got another: net dtype is float64 in member 1, float32 here"),
        (lambda: make_net(loss=mn.MulticlassHinge()), "got another: net loss is MulticlassHinge(margin=1.0) in member"),
    ],
)
def test_a_net_of_another_kind_is_no_member(nets, other, text):
    """Its weights would fit, and mean something else."""
    with pytest.raises(ValueError, match="expected members like Net") as caught:
        mn.Ensemble(nets[0], [nets[0], other()])
    assert text in str(caught.value)


def test_an_average_of_another_dtype_is_no_member(nets):
    ema = mn.EMA(0.9)
    ema.update(make_net(dtype=np.float64))
    with pytest.raises(ValueError, match=r"expected member 0 to have params of float32 .* got float64"):
        mn.Ensemble(nets[0], [ema])


def test_nets_that_differ_in_training_only_go_together_when_that_is_said(nets):
    other = make_net(3, loss=mn.SoftmaxCrossEntropy(label_smoothing=0.1))
    other.l2, other.seed = 0.1, 7
    ensemble = mn.Ensemble(nets[0], [nets[0], (other.params, other.buffers)])
    assert np.array_equal(ensemble.params[1], other.params)


def test_the_best_of_a_search_come_best_first(nets):
    scores = [0.3, math.nan, 0.9, 0.3, 0.8]
    best = mn.Ensemble.best(nets[0], nets, scores, 3, mode="max", steps=[1, 2, 3, 4, 5])
    assert best.names == ("member 2", "member 4", "member 0")
    assert best.steps == (3, 5, 1)
    assert np.array_equal(best.params, [nets[i].params for i in (2, 4, 0)])


def test_averaged_weights_of_members_are_a_member(nets):
    mean = mn.PolyakRuppert()
    for net in nets:
        mean.update(net)
    ensemble = mn.Ensemble(nets[0], [*nets, mean.point(nets[0], refresh=iris()[0])])
    np.testing.assert_allclose(ensemble.params[5], ensemble.params[:5].mean(axis=0), rtol=1e-5, atol=1e-6)


# Weights ------------------------------------------------------------------------------------------------------


def mean_loss(p, y, counts, metric):
    mixture = np.einsum("k,knc->nc", np.array(counts) / sum(counts), p)
    if metric == "accuracy":
        return -(mixture.argmax(axis=1) == y).mean()
    return -np.log(mixture[np.arange(len(y)), y]).mean()


def random_members(seed, k=4, n=30, classes=3):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return softmax(rng.standard_normal((k, n, classes)) + rng.uniform(0, 2, (k, 1, 1)) * np.eye(classes)[y]), y


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_greedy_selection_is_the_papers(seed, first, metric):
    """Each step tried out in full, with the mean formed anew."""
    p, y = random_members(seed)
    alone = [mean_loss(p[k : k + 1], y, [1], metric) for k in range(4)]
    bag = sorted(range(4), key=lambda k: alone[k])[:first]
    path = [list(bag)]
    for _ in range(6):
        tries = [mean_loss(p, y, np.bincount([*bag, k], minlength=4), metric) for k in range(4)]
        bag.append(int(np.argmin(np.round(tries, 12))))
        path.append(list(bag))
    losses = np.round([mean_loss(p, y, np.bincount(bag, minlength=4), metric) for bag in path], 12)
    expected = np.bincount(path[int(np.argmin(losses))], minlength=4)
    found = mn.select_greedily(p, y, metric=metric, rounds=first + 6, first=first)
    assert found.tolist() == expected.tolist()


def test_round_off_makes_no_ensemble_better():
    """One member alone, or repeated: the costs differ by their last digit, and the smallest ensemble is returned."""
    outputs = np.random.default_rng(0).standard_normal((2, 5, 1))

    def cost(mean, y):
        distance = [np.abs(mean - outputs[0]).max(), np.abs(mean - outputs[1]).max()]
        return 1 - 1e-16 * next(calls) if min(distance) < 1e-12 and distance[0] < distance[1] else 2.0

    calls = iter(range(1000))
    assert mn.select_greedily(outputs, None, metric=cost, mode="min", rounds=5).tolist() == [1, 0]


def test_a_selection_without_replacement_would_be_seen():
    """Two good members of unequal worth: the better one counts twice."""
    counts = np.concatenate([mn.select_greedily(*random_members(seed)) for seed in range(5)])
    assert counts.max() > 1


def test_selection_is_no_worse_than_the_best_member_and_close_to_the_best_small_ensemble():
    for seed in range(5):
        p, y = random_members(seed)
        counts = mn.select_greedily(p, y, rounds=4)
        ours = mean_loss(p, y, counts, "log_loss")
        assert ours <= min(mean_loss(p[k : k + 1], y, [1], "log_loss") for k in range(4)) + 1e-12
        bags = itertools.chain(*(itertools.combinations_with_replacement(range(4), r) for r in range(1, 5)))
        best = min(mean_loss(p, y, np.bincount(bag, minlength=4), "log_loss") for bag in bags)
        assert best - 1e-12 <= ours <= best + 0.02


def test_mixture_weights_are_the_best_there_are():
    for seed in range(5):
        p, y = random_members(seed, k=3)
        weights = mn.mixture_weights(p, y)
        assert weights.min() >= 0
        assert weights.sum() == pytest.approx(1)
        ours = mean_loss(p, y, weights, "log_loss")
        grid = [(a, b, 40 - a - b) for a in range(41) for b in range(41 - a)]
        assert ours <= min(mean_loss(p, y, w, "log_loss") for w in grid) + 1e-6


def test_chosen_weights_make_an_ensemble_without_the_rest(nets):
    _, val, test = iris()
    ensemble = mn.Ensemble(nets[0], nets, names="abcde", steps=[8, 12, 16, 20, 24])
    chosen = ensemble.select(*val)
    counts = mn.select_greedily(ensemble.probabilities(val[0]), val[1])
    assert chosen.names == tuple(name for name, n in zip("abcde", counts, strict=True) if n)
    np.testing.assert_allclose(chosen.weights, counts[counts > 0] / counts.sum())
    assert chosen.all_steps == 80  # those left out were trained too
    by_hand = np.einsum("k,knc->nc", counts / counts.sum(), ensemble.probabilities(test[0]))
    np.testing.assert_allclose(chosen.predict(test[0]), by_hand, rtol=1e-12)
    assert ensemble.weigh(*val).evaluate(*val)["log_loss"] <= ensemble.evaluate(*val)["log_loss"]


# The table ----------------------------------------------------------------------------------------------------


def test_the_table_has_every_member_every_way_and_what_stands_beside(nets):
    _, val, (x, y) = iris()
    ensemble = mn.Ensemble(nets[0], nets[:3], names="abc", steps=[8, 12, 16])
    comparison = ensemble.compare(
        x, y, beside={"greedy": ensemble.select(*val), "longer": nets[4]}, steps={"longer": 24}
    )
    ways = [f"ensemble, {how}" for how in ("probabilities", "scores", "votes")]
    assert comparison.names == ("a", "b", "c", *ways, "greedy", "longer")
    assert comparison.steps == {"a": 8, "b": 12, "c": 16, **dict.fromkeys(ways, 36), "greedy": 36, "longer": 24}
    assert comparison.value("b", "accuracy") == nets[1].evaluate(x, y)["accuracy"]
    assert comparison.value("longer", "log_loss") == pytest.approx(nets[4].evaluate(x, y)["loss"], rel=1e-5)
    assert ensemble.evaluate(x, y)["ece"] == comparison.value(ways[0], "ece")
    assert ensemble.evaluate(x, y, "votes") == {"accuracy": comparison.value(ways[2], "accuracy")}
    np.testing.assert_array_equal(ensemble.disagreement(x), comparison.disagreement()[:3, :3])


def test_differences_are_from_the_net_that_one_would_use_alone(nets):
    """Of snapshots the last one, whose run is the longest; of equal ones the first, which of a search is the best."""
    x, y = iris()[2]
    assert mn.Ensemble(nets[0], nets, steps=[5, 10, 15, 20, 20]).compare(x, y).reference == "member 3"
    assert mn.Ensemble(nets[0], nets).compare(x, y).reference == "member 0"
    snapshots = mn.Snapshots()
    for _ in trainer_with([snapshots]):
        pass
    comparison = snapshots.ensemble(make_net()).compare(x, y)
    assert comparison.reference == "snapshot at step 20"
    assert "accuracy less snapshot at step 20's" in comparison.table()
    assert comparison.difference("snapshot at step 20", "accuracy") == (0, 0, 0)
    assert (
        snapshots.ensemble(make_net()).compare(x, y, reference="snapshot at step 5").reference == "snapshot at step 5"
    )


def test_what_stands_beside_is_judged_alike(nets):
    hinge = mn.Net([mn.Dense(3)], 4, mn.MulticlassHinge())
    with pytest.raises(
        ValueError, match=r"Ensemble.compare: expected 'h' to have SoftmaxCrossEntropy\(.* got Multicla"
    ):
        mn.Ensemble(nets[0], nets).compare(*iris()[2], beside={"h": hinge})
    smoothed = mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(label_smoothing=0.1))
    assert "s" in mn.Ensemble(nets[0], nets).compare(*iris()[2], beside={"s": smoothed}).names


# Snapshots ----------------------------------------------------------------------------------------------------


class Points(mn.Callback):
    def __init__(self):
        self.points = []

    def on_step(self, trainer, record):
        self.points.append((trainer.net.params.copy(), trainer.net.buffers.copy()))


def trainer_with(callbacks, rule=None, steps=20, lr=None):
    lr = mn.schedules.WarmRestarts(0.05, 5) if lr is None else lr
    return mn.Trainer(
        make_net(), iris()[0], rule=rule or mn.Momentum(), lr=lr, batch_size=9, steps=steps, callbacks=callbacks
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [5, 10, 15, 20]),
        ({"last": 2}, [15, 20]),
        ({"at": "epoch", "start": 6}, [10, 15, 20]),
        ({"at": 6}, [6, 12, 18]),
    ],
)
def test_snapshots_are_the_net_at_their_steps(arguments, expected):
    snapshots, points = mn.Snapshots(**arguments), Points()
    for _ in trainer_with([snapshots, points]):
        pass
    assert snapshots.steps == expected
    for step, (params, buffers) in zip(expected, snapshots.members, strict=True):
        assert np.array_equal(params, points.points[step - 1][0])
        assert np.array_equal(buffers, points.points[step - 1][1])
    ensemble = snapshots.ensemble(make_net())
    assert (ensemble.steps, ensemble.all_steps) == (tuple(expected), expected[-1])
    assert len(snapshots.ensemble(make_net(), last=2)) == 2


def test_a_snapshot_is_of_the_point_that_the_rule_hands_out():
    snapshots = mn.Snapshots(20)
    trainer = trainer_with([snapshots], mn.ScheduleFreeSGD(), lr=0.1)
    for _ in trainer:
        pass
    # At its end the run leaves the net at that point.
    assert np.array_equal(snapshots.members[0][0], trainer.net.params)


@pytest.mark.parametrize("stop", [3, 5, 12])
def test_snapshots_go_on_from_their_state(stop):
    whole, first, second = mn.Snapshots(last=3), mn.Snapshots(last=3), mn.Snapshots(last=3)
    for _ in trainer_with([whole]):
        pass
    trainer = trainer_with([first])
    for record in trainer:
        if record.step == stop:
            second.restore(first.state())
            trainer.callbacks = [second]
    assert second.steps == whole.steps
    assert all(
        np.array_equal(a, b)
        for ours, theirs in zip(second.members, whole.members, strict=True)
        for a, b in zip(ours, theirs, strict=True)
    )


# Files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_ensemble_comes_back_from_its_file(tmp_path, dtype):
    nets = [make_net(seed, dtype) for seed in range(3)]
    ensemble = mn.Ensemble(nets[0], nets, names="abc", weights=[0.1, 0.2, 0.4], steps=[1, 2, 3], all_steps=7)
    ensemble.save(tmp_path / "e.safetensors")
    back = mn.Ensemble.load(tmp_path / "e.safetensors", make_net(9, dtype))
    for name in ("params", "buffers", "weights"):
        assert getattr(back, name).tobytes() == getattr(ensemble, name).tobytes()
        assert getattr(back, name).dtype == getattr(ensemble, name).dtype
    assert (back.names, back.steps, back.all_steps) == (("a", "b", "c"), (1, 2, 3), 7)
    x = np.ones((5, 4), dtype)
    assert np.array_equal(back.predict(x), ensemble.predict(x))
    assert np.array_equal(load_file(tmp_path / "e.safetensors")["params"], ensemble.params)  # others can read it
    assert [path.name for path in tmp_path.iterdir()] == ["e.safetensors"]


def test_a_net_without_buffers_has_a_file_too(tmp_path):
    net = mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy())
    mn.Ensemble(net, [net, net]).save(tmp_path / "e.safetensors")
    assert mn.Ensemble.load(tmp_path / "e.safetensors", net).buffers.shape == (2, 0)


@pytest.fixture(scope="module")
def saved(nets, tmp_path_factory):
    path = tmp_path_factory.mktemp("ensemble") / "e.safetensors"
    mn.Ensemble(nets[0], nets).save(path)
    return path


@pytest.mark.parametrize(
    ("net", "text"),
    [
        (lambda: make_net(hidden=13), "net parameters 0.W is [4, 12] in the file, [4, 13] here"),
        (lambda: make_net(dtype=np.float64), "others: net dtype is float32 in the file, float64 here"),
        (
            lambda: mn.Net([mn.Dense(12), mn.BatchNorm(), mn.Tanh(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy()),
            "others: net layers 2 is ReLU() in the file, Tanh() here",
        ),
        (lambda: make_net(loss=mn.MulticlassHinge()), "others: net loss is SoftmaxCrossEntropy("),
        (lambda: mn.Net([mn.Dense(3)], 5, mn.SoftmaxCrossEntropy()), "net input_shape is [4] in the file, [5] here"),
    ],
)
def test_a_file_of_other_networks_is_refused_with_what_differs(saved, net, text):
    with pytest.raises(ValueError, match="expected networks like Net") as caught:
        mn.Ensemble.load(saved, net())
    assert text in str(caught.value)


def test_seed_and_penalties_are_no_matter_of_an_ensembles(saved):
    net = make_net(seed=7)
    net.l2, net.l1, net.max_norm = 0.1, 0.1, 2.0
    assert len(mn.Ensemble.load(saved, net)) == 5


def rewritten(path, change=None, arrays=None, checksum=True, header=None):
    """The file with other metadata or arrays; with its old checksum, unless that is to fit."""
    from safetensors import safe_open

    from minnet.storage.archive import _checksum

    with safe_open(path, framework="numpy") as file:
        metadata, held = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    about = json.loads(metadata["document"])
    (change or (lambda about: None))(about)
    held |= arrays or {}
    metadata |= {"document": json.dumps(about), **(header or {})}
    if checksum:
        metadata["blake2b"] = _checksum(metadata["document"], held)
    return save(held, metadata=metadata)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (lambda p: b"", "expected a whole safetensors file"),
        (lambda p: p.read_bytes()[:-1], "expected a whole safetensors file"),
        (lambda p: p.read_bytes()[:100], "expected a whole safetensors file"),
        (lambda p: p.read_bytes() + b"0", "expected a whole safetensors file"),
        (lambda p: b"PK" + p.read_bytes(), "expected a whole safetensors file"),
        (lambda p: p.read_bytes()[:-1] + bytes([p.read_bytes()[-1] ^ 1]), "the file is damaged"),
        (lambda p: save({"weight": np.ones(3)}), "expected a file of format 'minnet ensemble'"),
        (lambda p: rewritten(p, arrays={"a": np.ones(3)}), "expected tensors params and buffers"),
        (lambda p: rewritten(p, header={"version": "2"}), "expected a minnet ensemble of version 1 or older"),
        (lambda p: rewritten(p, header={"format": "minnet checkpoint"}), "expected a file of format 'minnet ensemble'"),
        (lambda p: rewritten(p, lambda a: a.update(names=list("abcdf")), checksum=False), "the file is damaged"),
        (lambda p: rewritten(p, lambda a: a.update(weights=[1.0])), "expected 5 numbers as weights"),
        (lambda p: rewritten(p, lambda a: a.update(weights=list("abcde"))), "weights as floats"),
        (lambda p: rewritten(p, lambda a: a.update(weights=None)), "weights as floats"),
        (lambda p: rewritten(p, lambda a: a.update(weights=[1e308] * 5)), "with a finite sum"),
        (lambda p: rewritten(p, lambda a: a.update(weights=[-1.0, 1.0, 1.0, 1.0, 1.0])), "at least 0"),
        (lambda p: rewritten(p, lambda a: a.update(steps=1.5)), "whole numbers of steps"),
        (lambda p: rewritten(p, lambda a: a.update(steps=[1.5] * 5)), "whole numbers of steps"),
        (lambda p: rewritten(p, lambda a: a.update(steps=[-1] * 5)), "expected steps of at least 0"),
        (lambda p: rewritten(p, lambda a: a.update(steps=[10**400] * 5)), "whole numbers of steps"),
        (lambda p: rewritten(p, lambda a: a.update(all_steps="x")), "whole numbers of steps"),
        (lambda p: rewritten(p, lambda a: a.update(all_steps=-3)), "expected all_steps of at least 0"),
        (lambda p: rewritten(p, lambda a: a.update(names=0.0)), "expected names"),
        (lambda p: rewritten(p, lambda a: a.update(names="abcde")), "expected names"),
        (lambda p: rewritten(p, lambda a: a.update(names=["a"] * 5)), "expected 5 different names"),
        (lambda p: rewritten(p, lambda a: a.pop("names")), "expected"),
        (lambda p: rewritten(p, lambda a: a.update(architecture=3)), "expected an architecture and names"),
        (
            lambda p: rewritten(p, lambda a: a["architecture"].update(loss={"$array": "e"}), {"e": np.empty(0)}),
            "net loss is array([], dtype=float64) in the file, SoftmaxCrossEntropy(",
        ),
        (lambda p: rewritten(p, arrays={"params": np.ones((4, 99), np.float32)}), "expected"),
        (lambda p: rewritten(p, arrays={"params": np.ones((), np.float32)}), "expected"),
    ],
)
def test_a_file_that_is_none_or_damaged_is_refused(saved, tmp_path, content, text):
    path = tmp_path / "e.safetensors"
    path.write_bytes(content(saved))
    with pytest.raises(ValueError) as caught:
        mn.Ensemble.load(path, make_net())
    assert text in str(caught.value)
    assert "Ensemble" in str(caught.value)


def test_weights_of_a_file_that_do_not_sum_to_1_are_scaled(saved, tmp_path):
    path = tmp_path / "e.safetensors"
    path.write_bytes(rewritten(saved, lambda a: a.update(weights=[2.0, 0.0, 2.0, 0.0, 4.0])))
    assert mn.Ensemble.load(path, make_net()).weights.tolist() == [0.25, 0, 0.25, 0, 0.5]


def test_mutated_files_are_refused_or_give_what_was_saved(saved, tmp_path, nets):
    whole, rng = saved.read_bytes(), np.random.default_rng(0)
    path, refused = tmp_path / "e.safetensors", 0
    for _ in range(500):
        content = bytearray(whole)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            content[place] = rng.integers(256)
        if rng.random() < 0.3:
            del content[rng.integers(len(content)) :]
        path.write_bytes(bytes(content))
        try:
            found = mn.Ensemble.load(path, nets[0])
        except ValueError:
            refused += 1
        else:
            assert np.array_equal(found.params, [net.params for net in nets])
    assert refused > 450


def test_a_missing_file_and_a_missing_folder_are_named(nets, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a minnet ensemble"):
        mn.Ensemble.load(tmp_path / "none", nets[0])
    with pytest.raises(FileNotFoundError, match="expected the folder"):
        mn.Ensemble(nets[0], nets).save(tmp_path / "none" / "e.safetensors")


# Bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda n: mn.Ensemble(None, n), TypeError, "Ensemble: expected a Net; got None"),
        (lambda n: mn.Ensemble(n[0], []), ValueError, "expected at least one member"),
        (
            lambda n: mn.Ensemble(n[0], [n[0], make_net(hidden=3)]),
            ValueError,
            "got another: net layers 0 is Dense(units=3",
        ),
        (lambda n: mn.Ensemble(n[0], [np.ones(3)]), ValueError, "member 0 to have params of float32 (123,); got float"),
        (
            lambda n: mn.Ensemble(n[0], [n[0].params.astype(np.float64)]),
            ValueError,
            "expected member 0 to have params of float32 (123,); got float64 (123,)",
        ),
        (
            lambda n: mn.Ensemble(n[0], [(n[0].params, np.zeros(24))]),
            ValueError,
            "expected member 0 to have buffers of float32 (24,); got float64 (24,)",
        ),
        (
            lambda n: mn.Ensemble(n[0], [np.full(123, np.nan, np.float32)]),
            ValueError,
            "expected finite members; got NaN or infinity in the params of member 0",
        ),
        (
            lambda n: mn.Ensemble(n[0], [n[0], (n[0].params, -1 - n[0].buffers)]),
            ValueError,
            "expected member 1 to have 1.running_var of at least 0; got -",
        ),
        (lambda n: mn.Ensemble(n[0], n, names="aabcd"), ValueError, "expected 5 different names"),
        (lambda n: mn.Ensemble(n[0], n, weights=[1, 2]), ValueError, "expected 5 numbers as weights"),
        (lambda n: mn.Ensemble(n[0], n, weights=[-1, 1, 1, 1, 1]), ValueError, "expected 5 finite weights"),
        (lambda n: mn.Ensemble(n[0], n, steps=[1]), ValueError, "expected 5 numbers of steps; got 1"),
        (
            lambda n: mn.Ensemble.best(n[0], n, [1, 2], 1, mode="max"),
            ValueError,
            "expected a score a candidate; got 2 for 5",
        ),
        (
            lambda n: mn.Ensemble.best(n[0], n, [1] * 5, 6, mode="max"),
            ValueError,
            "expected at least k=6 candidates; got 5",
        ),
        (lambda n: mn.Ensemble(n[0], n).predict(np.ones((2, 4)), "median"), ValueError, "expected how to be one of"),
        (lambda n: mn.Ensemble(n[0], n).predict(np.ones((2, 5))), ValueError, "expected input of shape (n, 4)"),
        (lambda n: mn.Ensemble(n[0], n).predict(np.ones((0, 4))), ValueError, "expected at least one sample"),
        (lambda n: mn.Ensemble(n[0], n).compare(*iris()[2], beside={"member 0": n[0]}), ValueError, "names beside"),
        (lambda n: mn.select_greedily(np.ones((2, 3)), [0]), ValueError, "expected probabilities of shape (K, n, clas"),
        (lambda n: mn.select_greedily(np.ones((2, 3, 2)), [0]), ValueError, "expected 3 labels; got 1"),
        (lambda n: mn.select_greedily(np.ones((2, 1, 2)), [0], metric="f1"), ValueError, "expected metric 'log_loss'"),
        (
            lambda n: mn.select_greedily(np.ones(2), [0], metric=mn.SquaredError()),
            ValueError,
            "expected outputs of shape (K, n, ...); got shape (2,)",
        ),
        (lambda n: mn.select_greedily(np.ones((2, 1, 2)), [0], first=3), ValueError, "expected first of at most 2"),
        (lambda n: mn.mixture_weights(np.ones((2, 1, 2)), [0.5]), TypeError, "expected integer labels"),
        (lambda n: mn.Snapshots("bottom"), ValueError, "Snapshots: expected at to be a number of steps"),
        (lambda n: mn.Snapshots(last=0), ValueError, "Snapshots: expected last of at least 1"),
        (lambda n: mn.Snapshots().ensemble(n[0]), ValueError, "expected at least one snapshot"),
    ],
)
def test_bad_input_is_named(nets, make, error, text):
    with pytest.raises(error) as caught:
        make(nets)
    assert text in str(caught.value)
