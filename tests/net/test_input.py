"""Batches too small for statistics, last batches that are left out, and input that is not what it looks like."""

import numpy as np
import pytest

import minnet as mn

DENSE = [mn.Dense(6), mn.BatchNorm(), mn.ReLU(), mn.Dense(3)]


def make_net(layers=DENSE, shape=4, **options):
    return mn.Net(layers, shape, mn.SoftmaxCrossEntropy(), dtype=np.float64, **options)


def make_data(n, shape=(4,), dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, *shape)).astype(dtype), rng.integers(0, 3, n)


# A batch of one --------------------------------------------------------------------------------------------------

ALONE = {  # layers, shape of a sample, the layer that is named
    "features": (DENSE, (4,), "1 BatchNorm"),
    "one pixel": ([mn.Conv2D(3, 2, padding="valid"), mn.BatchNorm(), mn.Flatten()], (2, 2, 1), "1 BatchNorm"),
    "inside Residual": (
        [mn.Residual([mn.Dense(4), mn.BatchNorm()]), mn.Dense(3)],
        (4,),
        "0.layers.1 BatchNorm",
    ),
    "inside Chain": ([mn.Chain([mn.BatchNorm(), mn.Tanh()]), mn.Dense(3)], (4,), "0.0 BatchNorm"),
    "momentum 1": ([mn.BatchNorm(1.0), mn.Dense(3)], (4,), "0 BatchNorm"),
}


@pytest.mark.parametrize("case", ALONE)
def test_batch_norm_refuses_to_train_on_one_sample_before_anything_changes(case):
    layers, shape, named = ALONE[case]
    net, (x, y) = make_net(layers, shape), make_data(5, shape)
    net.loss_and_grads(x, y)
    before = net.params.copy(), net.buffers.copy(), net.grads.copy(), net.step
    message = f"expected at least 2 samples in a training pass, which layer {named} needs for its statistics; got 1"
    for call in (lambda: net.loss_and_grads(x[:1], y[:1]), lambda: net.forward(x[:1], training=True)):
        with pytest.raises(ValueError, match=message):
            call()
    for array, value in zip(before, (net.params, net.buffers, net.grads, net.step), strict=True):
        np.testing.assert_array_equal(array, value)
    assert net.predict(x[:1]).shape == (1, 3)
    net.loss_and_grads(x[:2], y[:2])


def test_what_has_several_values_or_fixed_statistics_trains_on_one_sample():
    images, (x, y) = (
        make_net([mn.Conv2D(3, 1), mn.BatchNorm(), mn.GlobalAvgPool2D()], (1, 2, 1)),
        make_data(1, (1, 2, 1)),
    )
    images.loss_and_grads(x, y)
    others, (x, y) = make_net([mn.Dense(4), mn.LayerNorm(), mn.GroupNorm(2), mn.Dense(3)]), make_data(1)
    others.loss_and_grads(x, y)
    frozen = make_net()
    mn.Optimizer(frozen, mn.SGD(), groups=[mn.Group(lambda t: t.name.startswith("1."), frozen=True)])
    frozen.loss_and_grads(x, y)
    mn.Optimizer(frozen, mn.SGD())
    with pytest.raises(ValueError, match="at least 2 samples"):
        frozen.loss_and_grads(x, y)


def test_a_run_refuses_a_last_batch_of_one_before_its_first_step():
    net, data = make_net(), make_data(11)
    before = net.params.copy()
    message = (
        "expected batches of at least 2 samples, which layer 1 BatchNorm .*; got one of 1, with 11 .* of 5.*drop_last"
    )
    options = {"rule": mn.SGD(), "lr": 0.1, "progress": False}
    with pytest.raises(ValueError, match=message):
        mn.fit(net, data, batch_size=5, epochs=1, **options)
    with pytest.raises(ValueError, match="got one of 1, with 11 samples in batches of 1"):
        mn.fit(net, data, batch_size=1, steps=1, **options)
    with pytest.raises(ValueError, match="drop_last"):
        mn.lr_range_test(net, data, batch_size=5, steps=10, progress=False)
    np.testing.assert_array_equal(net.params, before)
    assert net.step == 0
    frozen = [mn.Group(lambda tensor: tensor.name.startswith("1."), frozen=True)]
    for more in ({"drop_last": True}, {"batch_size": 4}, {"groups": frozen}):
        mn.fit(make_net(), data, epochs=1, **({"batch_size": 5} | more), **options)
    mn.fit(make_net(), data, batch_size=5, steps=2, **options)  # ends before that batch
    mn.lr_range_test(net, data, batch_size=5, steps=10, drop_last=True, progress=False)


def test_preflight_has_a_word_on_small_batches():
    (x, y), layers = make_data(61), [mn.Dense(6), mn.BatchNorm(), mn.Tanh(), mn.Dense(3)]

    def look(layers=layers, **options):
        return mn.preflight(make_net(layers), (x, y), progress=False, **options)["batches"]

    refused, small, whole = look(batch_size=60), look(batch_size=20 * 3 - 3), look(batch_size=60, drop_last=True)
    assert (refused.verdict, small.verdict, whole.verdict) == ("failed", "warning", "passed")
    assert refused.values == {"size": 60, "shortest": 1}
    assert "layer 1 BatchNorm" in refused.expected
    assert refused.advice.startswith("drop_last=True")
    assert small.values == {"size": 57, "shortest": 4}
    assert look([mn.Dense(6), mn.Tanh(), mn.Dense(3)], batch_size=60).verdict == "passed"


# drop_last -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "size", "sizes"), [(11, 5, [5, 5]), (10, 5, [5, 5]), (3, 5, [3]), (7, 4, [4])])
def test_a_last_batch_that_is_shorter_is_left_out(n, size, sizes):
    x, y = np.arange(n, dtype=np.float64).reshape(n, 1), np.arange(n)
    batches = mn.data.Batches((x, y), size, drop_last=True, dtype=np.float64)
    whole = mn.data.Batches((x, y), size, dtype=np.float64)
    seen = []
    for epoch in range(3):
        assert (batches.epoch_index, batches.position) == (epoch, 0)
        given = [labels.copy() for _, labels in batches.epoch()]
        assert [len(labels) for labels in given] == sizes
        others = [labels.copy() for _, labels in whole.epoch()][: len(sizes)]
        np.testing.assert_array_equal(np.concatenate(given), np.concatenate(others))  # the same, but for the last
        seen.append(set(np.concatenate(given).tolist()))
    assert len(batches) == len(sizes)
    assert n % size == 0 or n < size or len(set.union(*seen)) > len(seen[0])  # others are left out in each epoch


def test_seeking_knows_of_what_is_left_out():
    x, y = make_data(11)
    batches = mn.data.Batches((x, y), 5, drop_last=True)
    batches.seek(2, 5)
    assert [len(labels) for _, labels in batches.epoch()] == [5]
    with pytest.raises(ValueError, match="expected position < 10; got 10"):
        batches.seek(0, 10)
    assert [len(labels) for _, labels in batches.twin().epoch()] == [5, 5]
    with pytest.raises(TypeError, match="Batches: expected drop_last to be True or False; got 1"):
        mn.data.Batches((x, y), 5, drop_last=1)


def test_a_resumed_run_leaves_out_the_same(tmp_path):
    data, options = make_data(11), {"rule": mn.Adam(), "lr": 0.01, "batch_size": 5, "epochs": 3, "drop_last": True}
    whole, part, again = make_net(), make_net(), make_net()
    history = mn.fit(whole, data, progress=False, **options)
    assert len(history.steps) == 6
    trainer = mn.Trainer(part, data, **options)
    for _ in range(3):
        next(trainer)
    trainer.save(tmp_path / "run.ckpt")
    resumed = mn.Trainer.resume(tmp_path / "run.ckpt", again, data, rule=mn.Adam())
    assert resumed.batches.drop_last
    resumed.run(progress=False)
    np.testing.assert_array_equal(again.params, whole.params)
    np.testing.assert_array_equal(again.buffers, whole.buffers)


def test_weights_of_samples_go_with_the_batches_that_are_left():
    (x, y), weights = make_data(11), np.r_[0.0, np.linspace(1, 2, 10)]
    options = {"rule": mn.SGD(), "lr": 0.1, "batch_size": 5, "epochs": 2}
    orders = {seed: mn.data.Batches((x, y), 5, seed=seed).order_of(1) for seed in range(99)}
    seed = next(seed for seed, order in orders.items() if order[-1] == 0)  # which is alone in its batch
    with pytest.raises(ValueError, match="expected a sample that counts in every batch"):
        mn.Trainer(make_net([mn.Dense(3)]), (x, y), sample_weight=weights, **options, seed=seed)
    trainer = mn.Trainer(make_net([mn.Dense(3)]), (x, y), sample_weight=weights, drop_last=True, **options)
    net, batches = make_net([mn.Dense(3)]), trainer.batches.twin()
    optimizer = mn.Optimizer(net, mn.SGD())
    for record in trainer:
        chosen = batches.coming.copy()
        assert len(chosen) == 5
        assert record.loss == net.loss_and_grads(*batches.next(), sample_weight=weights[chosen])
        optimizer.step(0.1)
    assert record.step == 4


def test_a_rule_that_searches_needs_all_samples_whatever_is_left_out():
    with pytest.raises(ValueError, match="expected all 7 samples in a batch"):
        mn.Trainer(
            make_net([mn.Dense(3)]), make_data(7), rule=mn.LBFGS(), lr=1.0, batch_size=4, epochs=1, drop_last=True
        )


# What input looks like -------------------------------------------------------------------------------------------


def test_dense_says_what_suits_the_shape():
    with pytest.raises(ValueError, match=r"Dense 0: expected one .*; got .* \(4, 4, 3\) \(put Flatten\(\) before it\)"):
        mn.Net([mn.Dense(7)], (4, 4, 3))


def test_dense_on_a_sequence_is_the_same_layer_at_each_position():
    net = mn.Net([mn.Dense(7)], (5, 8), dtype=np.float64)
    x, _ = make_data(3, (5, 8))
    alone = mn.Net([mn.Dense(7)], 8, dtype=np.float64)
    alone.params = net.params
    each = [alone.predict(x[:, t]) for t in range(5)]
    np.testing.assert_allclose(net.predict(x), np.stack(each, axis=1), rtol=1e-12, atol=1e-14)


def test_labels_of_samples_do_not_fit_scores_at_positions():
    net = mn.Net([mn.Dense(7)], (5, 8), mn.SoftmaxCrossEntropy())
    expected = (
        r"expected labels of shape \(n, 5\); got shape \(3,\) \(for one label a sample, the layers end in one axis"
    )
    with pytest.raises(ValueError, match=expected):
        net.loss_and_grads(np.zeros((3, 5, 8), np.float32), np.zeros(3, int))


@pytest.mark.parametrize("layer", [mn.Conv2D(4, 3), mn.MaxPool2D(2), mn.ZeroPad(1), mn.GlobalAvgPool2D()])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)])
def test_a_net_for_images_with_channels_first_asks_for_channels_last(layer, shape):
    turned = f"input_shape={(*shape[1:], shape[0])} and x.transpose(0, 2, 3, 1)".replace("(", r"\(").replace(")", r"\)")
    if shape[0] == 1 and isinstance(layer, mn.MaxPool2D):  # which does not fit: an error, with the same hint
        with pytest.raises(ValueError, match=f"MaxPool2D 1: expected images of at least .*channels last: {turned}"):
            mn.Net([mn.Tanh(), layer], shape)
        return
    with pytest.warns(
        UserWarning, match=f"{type(layer).__name__}; got input shape .* looks like channels first.*{turned}"
    ):
        mn.Net([mn.Tanh(), layer], shape)


@pytest.mark.parametrize("shape", [(32, 32, 3), (3, 32, 16), (3, 4, 4), (2, 32, 32), (8, 8, 1), (3, 3, 3)])
def test_other_images_pass_without_a_word(shape):
    mn.Net([mn.Conv2D(4, 3)], shape)
    mn.Net([mn.Flatten(), mn.Dense(4)], (3, 32, 32))


def test_data_with_channels_first_are_told_so():
    net, (x, y) = make_net([mn.Conv2D(3, 3), mn.GlobalAvgPool2D()], (8, 8, 2)), make_data(4, (2, 8, 8))
    hint = r"channels last\? x.transpose\(0, 2, 3, 1\)"
    for call in (
        lambda: net.predict(x),
        lambda: net.evaluate(x, y),
        lambda: net.loss_and_grads(x, y),
        lambda: mn.fit(net, (x, y), rule=mn.SGD(), lr=0.1, epochs=1, progress=False),
        lambda: mn.preflight(net, (x, y), progress=False),
    ):
        with pytest.raises(ValueError, match=hint):
            call()
    with pytest.raises(ValueError, match="expected input of shape") as raised:
        net.predict(x[:, :1])
    assert "channels last" not in str(raised.value)


def test_rows_of_small_numbers_in_uint8_are_not_divided_by_255_without_a_word():
    (_, y), net = make_data(40), make_net([mn.Dense(3)])
    counts = np.random.default_rng(0).integers(0, 10, (40, 4), np.uint8)
    message = "expected rows of uint8 to be pixels, 0 to 255, which are read as x / 255; got none above 9"
    with pytest.warns(UserWarning, match=f"Trainer: {message}"):
        mn.fit(net, (counts, y), rule=mn.SGD(), lr=0.1, epochs=1, progress=False)
    for use in (net.loss_and_grads, net.loss, net.evaluate, lambda x, y: net.predict(x), lambda x, y: net.forward(x)):
        with pytest.warns(UserWarning, match=f"Net: {message}"):
            use(counts, y)
    counts[-1] = 255  # pixels, although there are chunks of 8 without values above 127
    for use in (net.evaluate, lambda x, y, **size: net.predict(x, **size)):
        use(counts, y, batch_size=8)
    counts[-1] = 9
    with pytest.warns(UserWarning, match=message):
        report = mn.preflight(net, (counts, y), progress=False)
    assert "count or measure" in report["input"].advice


def test_pixels_floats_and_standardised_counts_pass_without_a_word():
    (_, y), rng = make_data(40), np.random.default_rng(0)
    counts, options = (
        rng.integers(0, 10, (40, 4), np.uint8),
        {"rule": mn.SGD(), "lr": 0.1, "epochs": 1, "progress": False},
    )
    mn.fit(make_net([mn.Dense(3)]), (counts.astype(np.float32), y), **options)
    mn.fit(make_net([mn.Dense(3)]), (counts, y), standardize=mn.data.Standardizer.fit(counts), **options)
    mn.fit(make_net([mn.Dense(3)]), (rng.integers(0, 256, (40, 4), np.uint8), y), **options)
    images = [mn.Flatten(), mn.Dense(3)]
    mn.fit(make_net(images, (2, 2, 1)), (counts.reshape(40, 2, 2, 1), y), **options)
