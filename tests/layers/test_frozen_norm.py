"""Batch norm whose parameters are frozen: its running statistics stand still, and it normalises by them."""

import copy
import math
import pickle
from dataclasses import dataclass

import numpy as np
import pytest

import minnet as mn
from minnet.schedules import Linear


def biases(tensor):
    return not tensor.decay


def norm_net(layers=None, shape=4, dtype=np.float64, seed=3):
    layers = [mn.Dense(6), mn.BatchNorm(), mn.ReLU(), mn.Dense(3)] if layers is None else layers
    return mn.Net(layers, shape, mn.SoftmaxCrossEntropy(), dtype=dtype, seed=seed)


def shifted_data(shape=(4,), n=40, seed=0):
    """Far from mean 0 and variance 1, so that statistics which move are seen to."""
    rng = np.random.default_rng(seed)
    return rng.normal(2.0, 3.0, (n, *shape)), rng.integers(0, 3, n)


def named(*prefixes):
    return lambda tensor: tensor.name.startswith(prefixes)


def everything_but_the_head(tensor):
    return not tensor.name.startswith("3.")


_BLOCK = [mn.Residual([mn.Dense(4), mn.BatchNorm(), mn.ReLU(), mn.Dense(4)]), mn.BatchNorm(), mn.Dense(3)]
_IMAGES = [mn.Conv2D(4, 3), mn.BatchNorm(), mn.ReLU(), mn.MaxPool2D(2), mn.Flatten(), mn.Dense(3)]
FROZEN_NORMS = {  # layers, shape of a sample, where, places whose statistics stand still, those that move
    "by name": (None, (4,), named("1."), ["1"], []),
    "by function": (None, (4,), everything_but_the_head, ["1"], []),
    "by tag": (None, (4,), biases, ["1"], []),
    "inside Residual": (_BLOCK, (4,), named("0."), ["0.layers.1"], ["1"]),
    "behind Residual": (_BLOCK, (4,), named("1."), ["1"], ["0.layers.1"]),
    "inside Chain": ([mn.Dense(5), mn.Chain([mn.BatchNorm(), mn.Tanh()]), mn.Dense(3)], (4,), named("1"), ["1.0"], []),
    "of images": (_IMAGES, (4, 4, 2), named("0.", "1."), ["1"], []),
    "gamma alone": (None, (4,), lambda tensor: tensor.name == "1.gamma", [], ["1"]),
    "another layer": (None, (4,), named("0."), [], ["1"]),
}


@pytest.mark.parametrize("case", FROZEN_NORMS)
def test_a_frozen_batch_norm_keeps_its_statistics(case):
    layers, shape, where, still, moving = FROZEN_NORMS[case]
    net = norm_net(layers, shape)
    before = {name: array.copy() for name, array in net.named_buffers().items()}
    group = mn.Group(where, frozen=True)
    mn.fit(net, shifted_data(shape), rule=mn.Adam(), lr=1e-2, epochs=2, batch_size=10, groups=[group], progress=False)
    for name, array in net.named_buffers().items():
        place = name.rsplit(".", 1)[0]
        assert place in still + moving
        assert np.array_equal(array, before[name]) == (place in still), name


def test_a_frozen_batch_norm_normalises_by_its_running_statistics_in_training_too():
    net, (x, y) = norm_net([mn.BatchNorm(), mn.Dense(3)]), shifted_data()
    net.named_buffers()["0.running_mean"][:] = [1, -2, 0.5, 3]
    net.named_buffers()["0.running_var"][:] = [4, 1, 9, 0.25]
    mn.Optimizer(net, mn.SGD(), groups=[mn.Group(named("0."), frozen=True)])
    net.loss_and_grads(x, y)
    expected = (x - [1, -2, 0.5, 3]) / np.sqrt(np.array([4, 1, 9, 0.25]) + 1e-5)
    np.testing.assert_allclose(net.activations()["0"], expected, rtol=1e-12)
    assert net.loss(x, y) == pytest.approx(net.loss_and_grads(x, y), rel=1e-14)


def test_the_gradient_through_a_frozen_batch_norm_is_that_of_a_fixed_map():
    net, (x, y) = norm_net(), shifted_data(n=7)
    net.loss_and_grads(x, y)  # statistics of some data
    net.frozen = ["1.gamma", "1.beta"]
    dx = np.empty_like(x)
    net.loss_and_grads(x, y, dx=dx)
    mn.check_net(net, x, y).assert_passed()
    # A fixed map knows nothing of other samples: each gradient is that of its sample alone.
    alone = np.empty_like(x[:1])
    net.loss_and_grads(x[:1], y[:1], dx=alone)
    np.testing.assert_allclose(dx[:1] * len(x), alone, rtol=1e-10)


def test_accuracy_outlasts_training_the_head_behind_a_frozen_body_on_shifted_data():
    train, val = mn.data.split(mn.datasets.digits(), (0.5, 0.5), seed=0)
    layers = [mn.Flatten(), mn.Dense(30), mn.BatchNorm(), mn.ReLU(), mn.Dense(10)]
    net = mn.Net(layers, (8, 8, 1), mn.SoftmaxCrossEntropy(), seed=0)
    mn.fit(net, train, rule=mn.Adam(), lr=1e-2, epochs=3, progress=False)
    accuracy, scores = net.evaluate(*val)["accuracy"], net.predict(val[0])
    shifted = (1 - train[0].astype(np.float32) / 255 * 0.3, train[1])
    frozen = [mn.Group(lambda tensor: True, frozen=True)]
    mn.fit(net, shifted, rule=mn.SGD(), lr=0.1, epochs=3, groups=frozen, progress=False)
    np.testing.assert_array_equal(net.predict(val[0]), scores)
    assert net.evaluate(*val)["accuracy"] == accuracy


def test_a_rate_of_0_freezes_no_statistics():
    """It is a number of one step, such as a warm-up's first, not a word on what the layer is."""
    for group in (mn.Group(named("1."), lr_factor=0.0), mn.Group(named("1."), lr=Linear(0.0, 0.1, 4))):
        net, (x, y) = norm_net(), shifted_data()
        optimizer, before = mn.Optimizer(net, mn.SGD(), groups=[group]), net.buffers.copy()
        net.loss_and_grads(x, y)
        optimizer.step(0.1)
        assert net.frozen == ()
        assert (net.buffers != before).all()


def test_the_last_optimizer_says_what_is_frozen():
    net, (x, y) = norm_net(), shifted_data()
    group, before = mn.Group(named("1."), frozen=True), net.buffers.copy()
    mn.Optimizer(net, mn.SGD(), groups=[group])
    assert net.frozen == ("1.gamma", "1.beta")
    net.loss_and_grads(x, y)
    np.testing.assert_array_equal(net.buffers, before)
    mn.Optimizer(net, mn.SGD())  # the next phase of fine-tuning: all of it
    assert net.frozen == ()
    net.loss_and_grads(x, y)
    assert (net.buffers != before).all()


def test_runs_that_take_turns_freeze_what_each_of_them_says():
    net, data, group = norm_net(), shifted_data(), mn.Group(named("1."), frozen=True)
    options = {"rule": mn.SGD(), "lr": 0.01, "batch_size": 10, "epochs": 2}
    body, whole = mn.Trainer(net, data, groups=[group], **options), mn.Trainer(net, data, **options)
    for trainer, moves in ((body, False), (whole, True), (body, False), (whole, True)):
        before = net.buffers.copy()
        next(trainer)
        assert (net.buffers != before).any() == moves


def test_what_is_refused_freezes_nothing():
    net, data, group = norm_net(), shifted_data(), mn.Group(named("1."), frozen=True)
    nothing = mn.Group(named("9."), frozen=True)
    with pytest.raises(ValueError, match="to match a tensor"):
        mn.Optimizer(net, mn.SGD(), groups=[group, nothing])
    with pytest.raises(ValueError, match="steps of at least 1"):
        mn.Trainer(net, data, rule=mn.SGD(), lr=0.1, batch_size=10, steps=0, groups=[group])
    with pytest.raises(ValueError, match="of at least 0"):
        mn.Trainer(net, data, rule=mn.SGD(), lr=Linear(0.1, -0.1, 3), batch_size=10, epochs=1, groups=[group])
    assert net.frozen == ()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (["1.gama"], ValueError, "expected frozen as names of tensors, such as '0.W'; got '1.gama'"),
        ("1.gamma", TypeError, "expected frozen as a list of names of tensors; got '1.gamma'"),
        ([3], ValueError, "names of tensors"),
        (None, TypeError, "a list of names"),
    ],
)
def test_frozen_takes_names_of_tensors(given, error, message):
    net = norm_net()
    with pytest.raises(error, match=message):
        net.frozen = given
    assert net.frozen == ()


def test_twins_and_copies_of_a_net_are_frozen_likewise():
    net, (x, y) = norm_net(), shifted_data()
    net.frozen = ["1.gamma", "1.beta"]
    for copied in (net.twin(), copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net.twin(dtype=np.float32)):
        assert copied.frozen == net.frozen
        copied.loss_and_grads(x, y)
        np.testing.assert_array_equal(copied.buffers, net.buffers)


def test_refreshing_spares_frozen_statistics_and_those_of_momentum_1():
    layers = [mn.Dense(6), mn.BatchNorm(), mn.Dense(5), mn.BatchNorm(1.0), mn.Dense(4), mn.BatchNorm(), mn.Dense(3)]
    net, (x, y) = norm_net(layers), shifted_data()
    net.buffers += np.random.default_rng(1).random(net.buffers.size)
    net.frozen = ["1.gamma", "1.beta"]
    refreshed = net.buffer_layout.views(mn.refreshed_buffers(net, (x, y), batch_size=7))
    for name, values in net.named_buffers().items():
        assert np.array_equal(refreshed[name], values) == (name[0] in "13"), name


def test_an_average_of_a_run_has_the_frozen_statistics():
    net, data, ema = norm_net(), shifted_data(), mn.EMA(0.9)
    net.loss_and_grads(*data)
    before, frozen = net.buffers.copy(), [mn.Group(named("1."), frozen=True)]
    options = {"rule": mn.Adam(), "lr": 0.01, "batch_size": 10, "epochs": 2, "groups": frozen, "callbacks": [ema]}
    mn.fit(net, data, progress=False, **options)
    with ema.applied(net, refresh=data):
        np.testing.assert_array_equal(net.buffers, before)


def test_a_resumed_run_is_frozen_as_before(tmp_path):
    data, group = shifted_data(), mn.Group(named("0.", "1."), frozen=True)
    options = {"rule": mn.Adam(), "groups": [group]}
    whole, part, again = norm_net(), norm_net(), norm_net()
    mn.fit(whole, data, lr=0.01, batch_size=10, epochs=2, progress=False, **options)
    trainer = mn.Trainer(part, data, lr=0.01, batch_size=10, epochs=2, **options)
    for _ in range(3):
        next(trainer)
    trainer.save(tmp_path / "run.ckpt")
    resumed = mn.Trainer.resume(tmp_path / "run.ckpt", again, data, **options)
    assert again.frozen == ("0.W", "0.b", "1.gamma", "1.beta")
    resumed.run(progress=False)
    np.testing.assert_array_equal(again.params, whole.params)
    np.testing.assert_array_equal(again.buffers, whole.buffers)
    other, wider = norm_net(), mn.Group(named("0.", "1.", "3.b"), frozen=True)
    with pytest.raises(mn.CheckpointError):
        mn.Trainer.resume(tmp_path / "run.ckpt", other, data, rule=mn.Adam(), groups=[wider])
    assert other.frozen == ()


def test_the_summary_says_what_is_frozen():
    net = norm_net()
    assert "frozen" not in net.summary()
    mn.Optimizer(net, mn.SGD(), groups=[mn.Group(named("0.", "1.gamma"), frozen=True)])
    rows = {line.split()[0]: line for line in net.summary().splitlines()}
    assert "0 Dense (frozen)" in rows["0"]
    assert "1 BatchNorm (gamma frozen)" in rows["1"]
    assert "frozen" not in rows["2"] + rows["3"]
    assert "63 parameters, 36 of them frozen" in net.summary()


def test_a_layer_of_ones_own_with_buffers_is_frozen_too():
    net, (x, y) = norm_net([Counter(), mn.Dense(3)]), shifted_data()
    net.loss_and_grads(x, y)
    np.testing.assert_array_equal(net.named_buffers()["0.count"], [1])
    net.frozen = ["0.gain"]
    net.loss_and_grads(x, y)
    np.testing.assert_array_equal(net.named_buffers()["0.count"], [1])


@dataclass(frozen=True)
class Counter(mn.Layer):
    """y = gain * x; keeps the number of training passes."""

    def plan(self, in_shape):
        gain, count = mn.Param("gain", (1,), mn.initializers.Constant(1.0)), mn.Buffer("count", (1,))
        return mn.Plan(in_shape, params=(gain,), buffers=(count,))

    def forward(self, m, x, y):
        m.count += m.training
        np.multiply(x, m.gain, out=y)

    def backward(self, m, x, y, dy, dx):
        m.dgain[0] = (dy * x).sum()
        if dx is not None:
            np.multiply(dy, m.gain, out=dx)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_norm_of_momentum_1_keeps_its_statistics_and_normalises_by_the_batch(dtype):
    x = np.random.default_rng(0).normal(2.0, 3.0, (30, 4)).astype(dtype)
    kept, usual = (mn.Net([mn.BatchNorm(momentum)], 4, dtype=dtype) for momentum in (1.0, 0.9))
    kept.buffers = before = np.arange(1, 9)
    np.testing.assert_array_equal(kept.forward(x, training=True), usual.forward(x, training=True))
    np.testing.assert_array_equal(kept.buffers, before)


@pytest.mark.parametrize("momentum", [1.0001, -0.1, math.nan, math.inf])
def test_other_momenta_of_batch_norm_are_refused(momentum):
    with pytest.raises(ValueError, match=r"BatchNorm: expected (0 <= momentum <= 1|momentum to be finite); got"):
        mn.BatchNorm(momentum)
