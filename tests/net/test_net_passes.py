"""Laws of a net's passes, and what its backward pass computes and writes."""

import math

import numpy as np
import pytest
from net_cases import CLASSES, DTYPES, EPS, PLAIN, Spy, plain_net, small_data, small_layers, small_net

import minnet as mn
import minnet.kernels

# Laws of the passes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [small_layers(), PLAIN], ids=["small", "plain"])
@DTYPES
def test_a_batch_of_n_equals_n_batches_of_one_in_evaluation(layers, dtype):
    net = mn.Net(layers, 5, mn.SoftmaxCrossEntropy(), dtype=dtype)
    x, _ = small_data(9, dtype)
    net.forward(x, training=True)  # running statistics other than their start
    scores = net.predict(x)
    singles = np.concatenate([net.predict(x[i : i + 1]) for i in range(len(x))])
    # A matrix product may add its dozen terms in another order.
    np.testing.assert_allclose(scores, singles, rtol=0, atol=50 * EPS[dtype] * np.abs(scores).max())


def test_the_gradient_of_a_batch_is_the_mean_of_its_samples_gradients():
    net, (x, y) = plain_net(), small_data(9)
    losses, grads = [], []
    for i in range(len(x)):
        losses.append(net.loss_and_grads(x[i : i + 1], y[i : i + 1]))
        grads.append(net.grads.copy())
    assert net.loss_and_grads(x, y) == pytest.approx(np.mean(losses), rel=1e-13)
    np.testing.assert_allclose(net.grads, np.mean(grads, axis=0), rtol=0, atol=1e-14)


@DTYPES
def test_evaluation_equals_the_training_pass_where_nothing_is_random(dtype):
    net, (x, y) = plain_net(dtype), small_data(9, dtype)
    np.testing.assert_array_equal(net.forward(x).copy(), net.forward(x, training=True))
    loss = net.loss_and_grads(x, y)
    np.testing.assert_array_equal(net.activations()["6"], net.predict(x))
    assert net.loss(x, y) == pytest.approx(loss, rel=20 * EPS[dtype])


def test_a_weight_of_2_counts_as_a_repeated_sample():
    net, (x, y) = plain_net(l2=0.1), small_data(5)
    repeated = [0, 1, 1, 2, 3, 3, 3, 4]
    weights = np.array([1.0, 2.0, 1.0, 3.0, 1.0])
    value = net.loss_and_grads(x[repeated], y[repeated])
    grads = net.grads.copy()
    assert net.loss_and_grads(x, y, sample_weight=weights) == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(net.grads, grads, rtol=0, atol=1e-14)
    assert net.loss(x, y, sample_weight=weights) == pytest.approx(net.loss(x[repeated], y[repeated]), rel=1e-13)


def test_a_weight_of_2_counts_as_a_repeated_sample_in_the_accuracy():
    net, (x, _) = plain_net(), small_data(5)
    best = net.predict(x).argmax(axis=1)
    y = (best + np.array([0, 1, 0, 1, 0])) % CLASSES  # the second and fourth are wrong
    repeated, weights = [0, 1, 1, 2, 3, 3, 3, 4], [1.0, 2.0, 1.0, 3.0, 1.0]
    assert net.evaluate(x[repeated], y[repeated])["accuracy"] == 3 / 8
    assert net.evaluate(x, y, sample_weight=weights)["accuracy"] == pytest.approx(3 / 8)


def test_a_weight_of_0_removes_a_sample():
    net, (x, y) = plain_net(), small_data(5)
    value = net.loss_and_grads(x[1:], y[1:])
    grads = net.grads.copy()
    assert net.loss_and_grads(x, y, sample_weight=[0, 1, 1, 1, 1]) == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(net.grads, grads, rtol=0, atol=1e-14)


@DTYPES
@pytest.mark.parametrize("batch_size", [1, 4, 23, 1000])
def test_predictions_and_evaluation_do_not_depend_on_the_batch_size(batch_size, dtype):
    net, (x, y) = small_net(dtype, l2=0.1), small_data(23, dtype)
    weights = np.random.default_rng(2).uniform(0, 2, 23)
    weights[:4] = 0  # a whole chunk that weighs nothing
    expected = net.predict(x)
    np.testing.assert_allclose(net.predict(x, batch_size=batch_size), expected, rtol=0, atol=100 * EPS[dtype])
    assert net.evaluate(x, y, batch_size=batch_size) == pytest.approx(net.evaluate(x, y), rel=100 * EPS[dtype])
    assert net.evaluate(x, y, sample_weight=weights, batch_size=batch_size)["loss"] == pytest.approx(
        net.loss(x, y, sample_weight=weights), rel=100 * EPS[dtype]
    )


def test_evaluation_is_the_formula_written_out():
    net, (x, y) = small_net(), small_data(23)
    scores = net.predict(x)
    losses = [
        math.log(sum(math.exp(s) for s in row)) - row[label] for row, label in zip(scores.tolist(), y, strict=True)
    ]
    result = net.evaluate(x, y, batch_size=5)
    assert result["loss"] == pytest.approx(math.fsum(losses) / 23, rel=1e-13)
    assert result["accuracy"] == np.mean(scores.argmax(axis=1) == y)


@DTYPES
def test_bytes_count_as_fractions_of_255(dtype):
    rng = np.random.default_rng(0)
    images, y = rng.integers(0, 256, (9, 5)).astype(np.uint8), rng.integers(0, CLASSES, 9)
    net = plain_net(dtype)
    bound = 100 * EPS[dtype]
    np.testing.assert_allclose(net.predict(images), net.predict(images / 255), rtol=0, atol=bound)
    assert net.evaluate(images, y) == pytest.approx(net.evaluate(images / 255, y), rel=bound)
    assert net.loss_and_grads(images, y) == pytest.approx(net.loss_and_grads(images / 255, y), rel=bound)


def test_a_view_with_strides_and_a_list_are_input_like_any_other():
    net, (x, y) = plain_net(), small_data(8)
    expected = net.loss_and_grads(np.ascontiguousarray(x[::2]), y[::2].copy())
    assert net.loss_and_grads(x[::2], y[::2]) == expected
    assert net.loss_and_grads(np.asfortranarray(x[::2]), y[::2].tolist()) == expected
    assert net.loss_and_grads(x[::2].tolist(), y[::2]) == expected


def test_evaluation_and_prediction_leave_the_training_untouched():
    losses = []
    for probing in (False, True):
        net, (x, y) = small_net(l2=0.1), small_data()
        optimizer = mn.Optimizer(net, mn.Momentum())
        for _ in range(4):
            losses.append(net.loss_and_grads(x, y))
            optimizer.step(0.1)
            if probing:
                net.evaluate(x, y)
                net.predict(x[:3])
                net.loss(np.tile(x, (9, 1)), np.tile(y, 9))  # a larger batch than training needs
    assert losses[:4] == losses[4:]


def test_the_gradient_is_the_same_with_and_without_dx():
    net, (x, y) = small_net(), small_data()
    net.loss_and_grads(x, y)
    without, net.step = net.grads.copy(), 0
    net.loss_and_grads(x, y, dx=np.empty_like(x))
    np.testing.assert_array_equal(net.grads, without)


def test_nothing_below_the_first_trained_layer_is_run_backwards_unless_dx_is_wanted():
    bottom, inner, above = [], [], []
    layers = [mn.Chain([Spy(bottom), mn.ReLU()]), mn.Chain([Spy(inner), mn.Dense(4), Spy(above)]), mn.Dense(CLASSES)]
    net, (x, y) = mn.Net(layers, 5, mn.SoftmaxCrossEntropy(), dtype=np.float64), small_data()
    net.loss_and_grads(x, y)
    assert (bottom, inner, above) == ([], [], [True])
    dx = np.full_like(x, np.nan)
    net.loss_and_grads(x, y, dx=dx)
    assert (bottom, inner, above) == ([True], [True], [True, True])
    assert np.isfinite(dx).all()


def test_a_net_without_parameters_runs_and_differentiates():
    net, (x, _) = mn.Net([mn.Tanh(), mn.Residual([mn.Sigmoid()])], 5, dtype=np.float64), small_data()
    scores = net.forward(x)
    net.backward(np.ones_like(scores))
    assert net.grads.size == 0
    dx = np.empty_like(x)
    net.backward(np.ones_like(scores), dx)
    t = np.tanh(x)
    s = 1 / (1 + np.exp(-t))
    np.testing.assert_allclose(dx, (1 + s * (1 - s)) * (1 - t * t), rtol=1e-13)


def test_gradients_are_overwritten_not_added_to():
    net, (x, y) = plain_net(l2=0.1, l1=0.01), small_data()
    net.loss_and_grads(x, y)
    first = net.grads.copy()
    net.grads = np.full(net.grads.size, 1e6)
    net.loss_and_grads(x, y)
    np.testing.assert_array_equal(net.grads, first)


def test_every_element_of_every_pass_is_written():
    net, (x, y) = small_net(l2=0.1), small_data()
    expected = net.loss_and_grads(x, y)
    grads, buffers = net.grads.copy(), net.buffers.copy()
    net = small_net(l2=0.1)
    net.forward(x)
    net.poison()
    dx = np.full_like(x, np.nan)
    assert net.loss_and_grads(x, y, dx=dx) == expected
    np.testing.assert_array_equal(net.grads, grads)
    np.testing.assert_array_equal(net.buffers, buffers)
    assert np.isfinite(dx).all()


def test_backward_is_checked_before_anything_is_written():
    net, (x, _) = plain_net(), small_data()
    with pytest.raises(ValueError, match="backward: expected a forward pass first; got none"):
        net.backward(np.ones((7, CLASSES)))
    scores = net.forward(x)
    before = net.grads.copy()
    with pytest.raises(ValueError, match=r"backward: expected dscores .* shape \(7, 3\) .*got shape \(7, 2\)"):
        net.backward(np.ones((7, 2)))
    with pytest.raises(ValueError, match=r"backward: expected dscores .* dtype float64; .*dtype float32"):
        net.backward(np.ones((7, CLASSES), np.float32))
    with pytest.raises(ValueError, match=r"backward: expected dx .* shape \(7, 5\) .*got shape \(7, 3\)"):
        net.backward(np.ones_like(scores), np.ones((7, 3)))
    np.testing.assert_array_equal(net.grads, before)


def test_the_observer_sees_each_layers_gradient_from_the_top_down():
    net, (x, _) = mn.Net([mn.Dense(4), mn.Tanh(), mn.Dense(2)], 5, dtype=np.float64), small_data()
    scores = net.forward(x)
    seen = []
    net.backward(np.ones_like(scores), observe=lambda place, dy: seen.append((place, dy.copy())))
    assert [place for place, _ in seen] == ["2", "1", "0"]
    W, t = net.named_parameters()["2.W"], net.activations()["1"]
    np.testing.assert_array_equal(seen[0][1], 1.0)
    np.testing.assert_allclose(seen[1][1], np.ones((7, 2)) @ W.T, rtol=1e-14)
    np.testing.assert_allclose(seen[2][1], (np.ones((7, 2)) @ W.T) * (1 - t * t), rtol=1e-13)


@pytest.mark.parametrize("projected", [False, True], ids=["identity", "projection"])
def test_a_residual_block_equals_numpy_written_by_hand(projected):
    shortcut = [mn.Dense(4, bias=False)] if projected else None
    units = 4 if projected else 5
    net = mn.Net(
        mn.Residual([mn.Dense(6), mn.Tanh(), mn.Dense(units)], shortcut=shortcut),
        5,
        mn.SquaredError(),
        dtype=np.float64,
    )
    rng = np.random.default_rng(0)
    net.params = rng.standard_normal(net.params.size)
    x, targets, dx = rng.standard_normal((7, 5)), rng.standard_normal((7, units)), np.empty((7, 5))
    value = net.loss_and_grads(x, targets, dx=dx)

    p = net.named_parameters()
    W1, b1, W2, b2 = (p[f"0.layers.{name}"] for name in ("0.W", "0.b", "2.W", "2.b"))
    Ws = p["0.shortcut.0.W"] if projected else np.eye(5)
    h = np.tanh(x @ W1 + b1)
    d = h @ W2 + b2 + x @ Ws - targets
    dy = 2 * d / 7
    dh = (dy @ W2.T) * (1 - h * h)
    expected = {
        "0.layers.0.W": x.T @ dh,
        "0.layers.0.b": dh.sum(axis=0),
        "0.layers.2.W": h.T @ dy,
        "0.layers.2.b": dy.sum(axis=0),
    }
    if projected:
        expected["0.shortcut.0.W"] = x.T @ dy
    assert value == pytest.approx((d * d).sum() / 7, rel=1e-13)
    assert set(expected) == set(p)
    for name, gradient in net.named_gradients().items():
        np.testing.assert_allclose(gradient, expected[name], rtol=0, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(dx, dh @ W1.T + dy @ Ws.T, rtol=0, atol=1e-12)
