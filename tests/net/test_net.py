"""The network: flat vectors and their views, laws of its passes, its objective, and what a training step allocates."""

import copy
import dataclasses
import math
import pickle
import pkgutil
import re
import tracemalloc
from importlib import import_module

import numpy as np
import pytest

import minnet as mn
import minnet.kernels
from minnet.kernels.passes import gather

EPS = {np.float32: float(np.finfo(np.float32).eps), np.float64: float(np.finfo(np.float64).eps)}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
CLASSES = 3


def small_layers():
    """Parameters with and without decay, buffers, noise, nesting: every kind of memory in one small net."""
    return [
        mn.Dense(6),
        mn.BatchNorm(),
        mn.PReLU(),
        mn.Dropout(0.3),
        mn.Residual([mn.Dense(6), mn.Chain([mn.LayerNorm(), mn.Tanh()])], shortcut=[mn.Dense(6, bias=False)]),
        mn.Dense(CLASSES),
    ]


def small_net(dtype=np.float64, **options):
    return mn.Net(small_layers(), 5, mn.SoftmaxCrossEntropy(), dtype=dtype, **options)


def small_data(n=7, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 5)).astype(dtype), rng.integers(0, CLASSES, n)


# A net without noise and without anything that looks at the whole batch.
PLAIN = [
    mn.Dense(6),
    mn.PReLU(),
    mn.LayerNorm(),
    mn.Residual([mn.Dense(6), mn.GELU()]),
    mn.Dense(8),
    mn.Maxout(2),
    mn.Dense(CLASSES),
]


def plain_net(dtype=np.float64, **options):
    return mn.Net(PLAIN, 5, mn.SoftmaxCrossEntropy(), dtype=dtype, **options)


# Memory ------------------------------------------------------------------------------------------------------


def test_names_and_shapes_of_parameters_follow_the_layers():
    net = small_net()
    assert {name: view.shape for name, view in net.named_parameters().items()} == {
        "0.W": (5, 6),
        "4.layers.0.W": (6, 6),
        "4.shortcut.0.W": (6, 6),
        "5.W": (6, 3),
        "0.b": (6,),
        "1.gamma": (6,),
        "1.beta": (6,),
        "2.a": (6,),
        "4.layers.0.b": (6,),
        "4.layers.1.0.gamma": (6,),
        "4.layers.1.0.beta": (6,),
        "5.b": (3,),
    }
    assert {name: view.shape for name, view in net.named_buffers().items()} == {
        "1.running_mean": (6,),
        "1.running_var": (6,),
    }


@pytest.mark.parametrize("kind", ["params", "grads", "buffers"])
def test_views_and_vector_are_the_same_memory(kind):
    net = small_net()
    vector = getattr(net, kind)
    views = {
        "params": net.named_parameters,
        "grads": net.named_gradients,
        "buffers": net.named_buffers,
    }[kind]()
    assert sum(view.size for view in views.values()) == vector.size
    # Each element of the vector belongs to one view: numbered by the vector, the views hold every number once.
    vector[:] = np.arange(vector.size)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([view.reshape(-1) for view in views.values()])), np.arange(vector.size)
    )
    for view in views.values():
        view.fill(-1)
    np.testing.assert_array_equal(vector, -1)


@pytest.mark.parametrize("kind", ["params", "grads", "buffers"])
def test_assigning_a_vector_copies_into_place(kind):
    net = small_net()
    vector = getattr(net, kind)
    values = np.random.default_rng(0).standard_normal(vector.size)
    setattr(net, kind, values)
    assert getattr(net, kind) is vector
    np.testing.assert_array_equal(vector, values)
    values.fill(0)
    assert vector.any(), "the net kept the caller's array instead of a copy"


def test_the_passes_use_what_was_assigned():
    net, (x, _) = small_net(), small_data()
    weights = net.named_parameters()
    before = net.predict(x)
    net.params = np.zeros(net.params.size)
    assert not weights["0.W"].any()
    assert not net.predict(x).any()
    weights["5.b"][:] = [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(net.predict(x), np.tile([1.0, 2.0, 3.0], (len(x), 1)))
    net.params = small_net().params
    np.testing.assert_array_equal(net.predict(x), before)


def test_augmented_assignment_changes_the_net_in_place():
    net = small_net()
    vector, before = net.params, net.params.copy()
    net.params += 1
    assert net.params is vector
    np.testing.assert_array_equal(net.named_parameters()["0.W"].reshape(-1), before[:30] + 1)


@pytest.mark.parametrize("kind", ["params", "grads", "buffers"])
@pytest.mark.parametrize("values", [1.0, np.zeros(3), np.zeros((2, 2))], ids=["scalar", "short", "two axes"])
def test_a_vector_of_another_shape_is_refused(kind, values):
    net = small_net()
    before = getattr(net, kind).copy()
    with pytest.raises(ValueError, match=rf"Net: expected {kind} of shape \({before.size},\); got shape \("):
        setattr(net, kind, values)
    np.testing.assert_array_equal(getattr(net, kind), before)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), mn.Net.twin], ids=["copy", "pickle", "twin"]
)
def test_a_copy_of_a_net_is_whole_and_on_its_own(copied):
    net, (x, y) = small_net(), small_data()
    net.loss_and_grads(x, y)
    other = copied(net)
    before = net.params.copy()
    np.testing.assert_array_equal(other.predict(x), net.predict(x))
    other.params = np.zeros_like(before)
    assert not other.predict(x).any(), "the copy's layers do not see the copy's vector"
    np.testing.assert_array_equal(net.params, before)


def test_what_decays_lies_in_front():
    net = small_net()
    net.params = np.arange(net.params.size)
    for name, view in net.named_parameters().items():
        assert (view.max() < net.decaying) == name.endswith("W"), name


@DTYPES
def test_scores_last_until_the_next_pass_and_predictions_for_good(dtype):
    net, (x, _) = small_net(dtype), small_data(dtype=dtype)
    scores, kept = net.forward(x), net.predict(x)
    assert net.forward(2 * x).base is scores.base
    np.testing.assert_array_equal(net.predict(x), kept)
    assert not np.shares_memory(kept, scores)


def test_activations_are_named_by_place():
    net, (x, _) = plain_net(), small_data()
    with pytest.raises(ValueError, match="activations: expected a forward pass first; got none"):
        net.activations()
    scores = net.forward(x)
    seen = net.activations()
    assert {place: y.shape for place, y in seen.items()} == {
        "0": (7, 6),
        "1": (7, 6),
        "2": (7, 6),
        "3": (7, 6),
        "4": (7, 8),
        "5": (7, 4),
        "6": (7, 3),
    }
    assert seen["6"] is scores
    W, b = net.named_parameters()["6.W"], net.named_parameters()["6.b"]
    np.testing.assert_allclose(scores, seen["5"] @ W + b, rtol=0, atol=20 * EPS[np.float64])


# One seed, two precisions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "init",
    [
        mn.initializers.HeNormal(),
        mn.initializers.GlorotUniform(),
        mn.initializers.Orthogonal(),
        mn.initializers.Sparse(3),
    ],
    ids=str,
)
def test_a_seed_gives_the_same_weights_in_both_precisions(init):
    layers = [mn.Dense(9, init), mn.PReLU(), mn.Dense(4, init)]
    double, single = (mn.Net(layers, 7, dtype=dtype, seed=3) for dtype in (np.float64, np.float32))
    assert single.params.dtype == np.float32
    np.testing.assert_array_equal(single.params, double.params.astype(np.float32))


def test_seeds_give_different_weights_and_equal_seeds_equal_ones():
    assert (small_net(seed=1).params != small_net(seed=2).params).any()
    np.testing.assert_array_equal(small_net(seed=1).params, small_net(seed=1).params)


def test_layers_of_one_shape_start_differently():
    weights = mn.Net([mn.Dense(5), mn.Dense(5)], 5).named_parameters()
    assert (weights["0.W"] != weights["1.W"]).all()


def test_training_passes_alone_are_counted_and_change_the_noise():
    net, (x, y) = small_net(), small_data()
    losses = [net.loss_and_grads(x, y) for _ in range(3)]
    assert net.step == 3
    assert len(set(losses)) == 3
    net.predict(x)
    net.evaluate(x, y)
    net.forward(x, training=True)
    assert net.step == 3
    for step in (2, 0, 1):
        net.step = step
        assert net.loss_and_grads(x, y) == losses[step]


def test_a_bad_step_is_refused():
    net = small_net()
    with pytest.raises(ValueError, match="Net: expected step of at least 0; got -1"):
        net.step = -1
    with pytest.raises(TypeError, match=r"Net: expected step to be a whole number; got 1\.5"):
        net.step = 1.5
    assert net.step == 0


def test_a_seed_gives_the_same_noise_in_both_precisions():
    nets = [mn.Net([mn.Dropout(0.4)], 50, dtype=dtype, seed=5) for dtype in (np.float64, np.float32)]
    kept = [net.forward(np.ones((4, 50)), training=True) != 0 for net in nets]
    np.testing.assert_array_equal(*kept)


def test_a_layers_weights_do_not_depend_on_the_layers_after_it():
    short, long = mn.Net([mn.Dense(6)], 5), mn.Net([mn.Dense(6), mn.Dense(4)], 5)
    np.testing.assert_array_equal(short.named_parameters()["0.W"], long.named_parameters()["0.W"])


def test_float32_follows_float64_through_a_training_step():
    (x, y), objectives, grads = small_data(11), {}, {}
    for dtype in (np.float64, np.float32):
        net = small_net(dtype, l2=0.1)
        objectives[dtype], grads[dtype] = net.loss_and_grads(x.astype(dtype), y), net.grads
    # Six layers, sums of at most eleven terms each: some hundred roundings.
    bound = 100 * EPS[np.float32]
    assert objectives[np.float32] == pytest.approx(objectives[np.float64], rel=bound)
    np.testing.assert_allclose(
        grads[np.float32], grads[np.float64], rtol=0, atol=bound * np.abs(grads[np.float64]).max()
    )


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


# Backward passes ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Spy(mn.Layer):
    """The identity, which writes down whether its backward pass ran and whether dx was asked for."""

    seen: list

    def plan(self, in_shape):
        return mn.Plan(in_shape)

    def forward(self, m, x, y):
        np.copyto(y, x)

    def backward(self, m, x, y, dy, dx):
        self.seen.append(dx is not None)
        if dx is not None:
            np.copyto(dx, dy)


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


# The objective -----------------------------------------------------------------------------------------------


def weights_of(net):
    return [view for name, view in net.named_parameters().items() if name.endswith("W")]


@DTYPES
def test_penalties_are_their_closed_forms_and_are_reported_apart(dtype):
    net, (x, y) = small_net(dtype, l2=0.3, l1=0.02), small_data(dtype=dtype)
    bare = small_net(dtype)
    data, total = bare.loss_and_grads(x, y), net.loss_and_grads(x, y)
    l2 = 0.5 * 0.3 * math.fsum(float(w) ** 2 for W in weights_of(net) for w in W.flat)
    l1 = 0.02 * math.fsum(abs(float(w)) for W in weights_of(net) for w in W.flat)
    bound = 20 * EPS[dtype]
    assert net.objective == mn.Objective(data, pytest.approx(l2, rel=bound), pytest.approx(l1, rel=bound))
    assert total == net.objective.total == pytest.approx(data + l2 + l1, rel=bound)
    assert bare.objective == mn.Objective(data, 0.0, 0.0)
    assert net.penalties() == pytest.approx((l2, l1), rel=bound)
    assert net.loss(x, y) == pytest.approx(bare.loss(x, y) + l2 + l1, rel=bound)
    result = net.evaluate(x, y)
    assert result["loss"] - result["data_loss"] == pytest.approx(l2 + l1, rel=50 * bound)
    assert result["data_loss"] == bare.evaluate(x, y)["data_loss"]


def test_penalties_pull_on_weights_and_spare_biases_and_gains():
    (x, y), l2, l1 = small_data(), 0.3, 0.02
    net, bare = small_net(l2=l2, l1=l1), small_net()
    for each in (net, bare):
        each.params += 0.1  # biases that a penalty would pull on
        each.named_parameters()["0.W"][0, :] = 0  # where the slope of |w| is taken as 0
        each.loss_and_grads(x, y)
    gradients = bare.named_gradients()
    for name, gradient in net.named_gradients().items():
        w = net.named_parameters()[name]
        pull = l2 * w + l1 * np.sign(w) if name.endswith("W") else np.zeros_like(w)
        np.testing.assert_allclose(gradient, gradients[name] + pull, rtol=0, atol=1e-14, err_msg=name)


def test_a_penalty_of_ones_own_tag_is_honoured():
    @dataclasses.dataclass(frozen=True)
    class Gain(mn.Layer):
        decay: bool

        def plan(self, in_shape):
            return mn.Plan(in_shape, (mn.Param("g", in_shape, mn.initializers.Constant(2.0), decay=self.decay),))

    assert mn.Net([Gain(True)], 3, l2=1.0).penalties() == (6.0, 0.0)
    assert mn.Net([Gain(False)], 3, l2=1.0).penalties() == (0.0, 0.0)


@DTYPES
def test_max_norm_bounds_each_units_incoming_weights_and_nothing_else(dtype):
    net = small_net(dtype, max_norm=1.5)
    net.params = np.random.default_rng(0).standard_normal(net.params.size)
    before = {name: view.astype(np.float64) for name, view in net.named_parameters().items()}
    net.grads = np.zeros(net.grads.size)
    mn.Optimizer(net, mn.SGD()).step(0.1)
    shrunk = 0
    for name, now in net.named_parameters().items():
        if not name.endswith("W"):
            np.testing.assert_array_equal(now, before[name], err_msg=name)
            continue
        for unit in range(now.shape[1]):
            norm = math.sqrt(math.fsum(before[name][:, unit] ** 2))
            shrunk += norm > 1.5
            expected = before[name][:, unit] * min(1.0, 1.5 / norm)
            np.testing.assert_allclose(now[:, unit], expected, rtol=8 * EPS[dtype], err_msg=name)
    assert 0 < shrunk < 21  # the bound cuts through the units: both cases are there


def test_max_norm_holds_through_training():
    net, (x, y) = small_net(max_norm=0.5), small_data()
    optimizer = mn.Optimizer(net, mn.Momentum())
    for _ in range(3):
        net.loss_and_grads(x, y)
        optimizer.step(1.0)
        assert max(np.linalg.norm(W, axis=0).max() for W in weights_of(net)) <= 0.5 * (1 + 8 * EPS[np.float64])


# Descriptions, shapes, words ---------------------------------------------------------------------------------


DESCRIPTIONS = [
    *small_layers(),
    *PLAIN,
    mn.Flatten(),
    mn.Reshape((5, 1)),
    mn.ReLU(),
    mn.SoftmaxCrossEntropy(),
    mn.Huber(),
    mn.Adam(),
    mn.SGD(),
    mn.schedules.Constant(0.1),
    mn.initializers.HeNormal(),
    mn.Param("W", (1,), mn.initializers.HeNormal()),
    mn.Plan((1,)),
    mn.Objective(1.0),
]


@pytest.mark.parametrize("description", DESCRIPTIONS, ids=lambda d: type(d).__name__)
def test_descriptions_are_frozen(description):
    fields = [field.name for field in dataclasses.fields(description)] or ["anything"]
    before = repr(description)
    for name in fields:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(description, name, 1)
    assert repr(description) == before


def test_one_list_of_layers_builds_many_nets():
    layers = small_layers()
    first, second = mn.Net(layers, 5, seed=1), mn.Net(layers, 5, dtype=np.float64, seed=2)
    wider = mn.Net(layers, 9)
    x, _ = small_data()
    before = first.predict(x)
    second.params.fill(7)
    wider.params.fill(7)
    np.testing.assert_array_equal(first.predict(x), before)
    assert wider.named_parameters()["0.W"].shape == (9, 6)


def test_a_description_keeps_no_memory_of_the_nets_built_from_it():
    layers = small_layers()
    before = repr(layers)
    net, (x, y) = mn.Net(layers, 5, mn.SoftmaxCrossEntropy()), small_data(dtype=np.float32)
    net.loss_and_grads(x, y)
    assert repr(layers) == before
    assert layers == small_layers()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([mn.ReLU(), mn.Dense(3)], r"Dense 1: expected one axis of features; got input shape \(4, 5\)"),
        (
            [mn.Residual([mn.Dense(5)])],
            r"Residual 0: Chain layers: Dense 0: expected one axis of features; got input shape \(4, 5\)",
        ),
        (
            [mn.Flatten(), mn.Residual([mn.Dense(20)], shortcut=[mn.Tanh(), mn.Chain([mn.ReLU(), mn.Maxout(3)])])],
            r"Residual 1: Chain shortcut: Chain 1: Maxout 1: expected a last axis divisible by pieces=3; "
            r"got input shape \(20,\)",
        ),
        (
            [mn.Residual([mn.Flatten()])],
            r"Residual 0: expected both paths to end in one shape; got \(20,\) .* \(4, 5\)",
        ),
        ([mn.Chain([mn.Reshape((2, 2))])], r"Chain 0: Reshape 0: expected 4 elements .*; got 20, input shape \(4, 5\)"),
    ],
)
def test_a_wrong_shape_is_an_error_at_construction_that_names_the_place(layers, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        mn.Net(layers, (4, 5))


def test_the_place_of_what_is_no_layer_is_named_in_full():
    with pytest.raises(TypeError, match=r"Residual 1: Chain layers: layer 1: expected a Layer; got 'relu'"):
        mn.Net([mn.Dense(4), mn.Residual([mn.Dense(4), "relu"])], 5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"input_shape": 0}, ValueError, "Net: expected each axis of input_shape of at least 1; got 0"),
        ({"input_shape": (4, -1)}, ValueError, "Net: expected each axis of input_shape of at least 1; got -1"),
        ({"input_shape": 4.0}, TypeError, "Net: expected .*input_shape.*; got 4.0"),
        ({"dtype": np.float16}, ValueError, "Net: expected dtype float32 or float64; got .*float16"),
        ({"dtype": int}, ValueError, "Net: expected dtype float32 or float64; got <class 'int'>"),
        ({"dtype": "single precision"}, ValueError, "Net: expected dtype float32 or float64; got 'single precision'"),
        ({"dtype": None}, ValueError, "Net: expected dtype float32 or float64; got None"),
        ({"l2": -1.0}, ValueError, "Net: expected l2 of at least 0; got -1.0"),
        ({"l1": math.nan}, ValueError, "Net: expected l1 to be finite; got nan"),
        ({"l2": "strong"}, TypeError, "Net: expected l2 to be a number; got 'strong'"),
        ({"max_norm": 0}, ValueError, "Net: expected max_norm above 0; got 0"),
        ({"seed": -1}, ValueError, "Net: expected seed of at least 0; got -1"),
        ({"seed": 1.5}, TypeError, "Net: expected seed to be a whole number; got 1.5"),
        ({"loss": mn.SoftmaxCrossEntropy}, TypeError, "Net: expected loss to be a Loss such as .*; got <class"),
        ({"loss": "mse"}, TypeError, "Net: expected loss to be a Loss such as .*; got 'mse'"),
        ({"layers": mn.Dense(1)}, ValueError, "SoftmaxCrossEntropy.*: expected at least two outputs.*; got 1"),
        (
            {"layers": mn.Reshape((2, 2)), "input_shape": 4},
            ValueError,
            r"SoftmaxCrossEntropy.*: expected the layers to end in one axis of outputs; got shape \(2, 2\)",
        ),
        ({"layers": []}, ValueError, "Chain: expected at least one layer; got an empty list"),
        ({"layers": None}, TypeError, "Chain: expected a list of layers; got None"),
        (
            {"layers": mn.Dense(3, init=lambda rng, shape: np.full(shape, np.nan))},
            ValueError,
            r"0\.W: expected .* to give finite values of shape \(5, 3\)",
        ),
    ],
)
def test_bad_arguments_are_refused(options, error, message):
    arguments = {"layers": small_layers(), "input_shape": 5, "loss": mn.SoftmaxCrossEntropy(), **options}
    with pytest.raises(error, match=message):
        mn.Net(**arguments)


@pytest.mark.parametrize("axes", [5, (5,), [5], np.int64(5), np.array([5]), (np.int32(5),)], ids=repr)
def test_an_input_shape_is_a_whole_number_or_several(axes):
    assert mn.Net([mn.Dense(2)], axes).input_shape == (5,)


def state_of(net):
    return [net.params.copy(), net.grads.copy(), net.buffers.copy(), np.array(net.step)]


X, Y = small_data()
WITH_NAN, WITH_INFINITY = X.copy(), X.copy()
WITH_NAN[3, 2], WITH_INFINITY[6, 4] = np.nan, -np.inf
BAD_DATA = [
    (X[:, :4], Y, {}, ValueError, r"Net: expected input of shape \(n, 5\); got shape \(7, 4\)"),
    (X[0], Y[:1], {}, ValueError, r"Net: expected input of shape \(n, 5\); got shape \(5,\)"),
    (X[:0], Y[:0], {}, ValueError, r"Net: expected at least one sample; got shape \(0, 5\)"),
    (X.astype(int), Y, {}, TypeError, "Net: expected floating-point or uint8 input; got dtype int64"),
    (X > 0, Y, {}, TypeError, "Net: expected floating-point or uint8 input; got dtype bool"),
    (X + 1j, Y, {}, TypeError, "Net: expected floating-point or uint8 input; got dtype complex128"),
    (WITH_NAN, Y, {}, ValueError, "Net: expected finite input; got NaN or infinity in x"),
    (WITH_INFINITY, Y, {}, ValueError, "Net: expected finite input; got NaN or infinity in x"),
    (X, Y[:5], {}, ValueError, "Net: expected x and y of one length; got 7 samples in x, 5 in y"),
    (X, Y + 1, {}, ValueError, "SoftmaxCrossEntropy.*: expected labels from 0 to 2; got 1 to 3"),
    (X, Y - 1, {}, ValueError, "SoftmaxCrossEntropy.*: expected labels from 0 to 2; got -1 to 1"),
    (X, Y.astype(float), {}, TypeError, "SoftmaxCrossEntropy.*: expected integer labels; got dtype float64"),
    (X, 2 * np.eye(3)[Y], {}, ValueError, "SoftmaxCrossEntropy.*: expected rows of probabilities.* with a sum of 2"),
    (X, np.eye(4)[Y], {}, TypeError, "SoftmaxCrossEntropy.*: expected integer labels; got dtype float64"),
    (X, Y[:, None], {}, ValueError, r"SoftmaxCrossEntropy.*: expected labels of shape \(n,\); got shape \(7, 1\)"),
    (X, Y, {"sample_weight": np.ones(6)}, ValueError, r"expected sample weights of shape \(7,\); got shape \(6,\)"),
    (X, Y, {"sample_weight": -np.ones(7)}, ValueError, "expected finite weights of at least 0"),
    (X, Y, {"sample_weight": np.zeros(7)}, ValueError, "expected finite weights of at least 0, not all 0"),
]


@pytest.mark.parametrize(("x", "y", "options", "error", "message"), BAD_DATA)
@pytest.mark.parametrize("method", ["loss_and_grads", "loss", "evaluate"])
def test_bad_data_is_refused_and_changes_nothing(method, x, y, options, error, message):
    net = small_net(l2=0.1)
    net.loss_and_grads(X, Y)
    before, objective = state_of(net), net.objective
    with pytest.raises(error, match=message):
        getattr(net, method)(x, y, **options)
    for kept, now in zip(before, state_of(net), strict=True):
        np.testing.assert_array_equal(now, kept)
    assert net.objective == objective


def test_input_too_large_for_the_nets_precision_is_refused():
    # Finite as float64, infinite once it is float32.
    net, (x, y) = small_net(np.float32), small_data()
    x[1, 1] = 1e200
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="Net: expected finite input"):
        net.loss_and_grads(x, y)


def test_bad_dx_is_refused_and_changes_nothing():
    net = small_net()
    before = state_of(net)
    for dx in (np.empty((7, 4)), np.empty((7, 5), np.float32), np.empty((5, 7)).T):
        with pytest.raises(ValueError, match=r"loss_and_grads: expected dx as a C-contiguous array of shape \(7, 5\)"):
            net.loss_and_grads(X, Y, dx=dx)
    for kept, now in zip(before, state_of(net), strict=True):
        np.testing.assert_array_equal(now, kept)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_1_is_refused(batch_size):
    net = small_net()
    with pytest.raises(ValueError, match=f"predict: expected batch_size of at least 1; got {batch_size}"):
        net.predict(X, batch_size=batch_size)
    with pytest.raises(ValueError, match=f"evaluate: expected batch_size of at least 1; got {batch_size}"):
        net.evaluate(X, Y, batch_size=batch_size)


def test_a_net_without_a_loss_says_so():
    net = mn.Net(small_layers(), 5)
    assert net.predict(X).shape == (7, CLASSES)
    for method in (net.loss_and_grads, net.loss, net.evaluate):
        with pytest.raises(ValueError, match=r"Net: expected a net built with loss=\.\.\.; this one has none"):
            method(X, Y)


def test_integers_are_refused_as_targets_of_a_regression():
    net = mn.Net([mn.Dense(1)], 5, mn.SquaredError())
    before = state_of(net)
    with pytest.raises(TypeError, match=r"SquaredError\(\): expected floating-point targets; got dtype int64"):
        net.loss_and_grads(X, Y)
    for kept, now in zip(before, state_of(net), strict=True):
        np.testing.assert_array_equal(now, kept)


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (lambda p: p["4.layers.0.W"].__setitem__((2, 1), np.nan), "parameter 4.layers.0.W"),
        (lambda p: p["1.gamma"].fill(1e200), "output of layer 1 (BatchNorm)"),
        (lambda p: None, None),
    ],
    ids=["parameter", "output", "nothing"],
)
def test_the_first_place_that_is_not_finite_is_named(spoil, place):
    net = small_net()
    parameters = net.named_parameters()
    spoil(parameters)
    if place is not None and place.startswith("output"):
        parameters["1.gamma"].fill(1e308)  # finite itself, not so times a number above 2
        net.named_buffers()["1.running_var"].fill(1e-4)
    with np.errstate(all="ignore"):
        net.forward(X)
    assert net.first_non_finite() == place


def test_the_summary_shows_shapes_and_counts_that_add_up():
    layers = [
        mn.Flatten(),
        mn.Dense(20),
        mn.BatchNorm(),
        mn.ReLU(),
        mn.Residual([mn.Dense(20), mn.Maxout(2), mn.Dense(7)], shortcut=[mn.Dense(7, bias=False)]),
        mn.Reshape((7, 1)),
    ]
    net = mn.Net(layers, (4, 3), dtype=np.float64)
    text = net.summary()
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    table = [row for row in rows if len(row) == 3][1:]
    assert table == [
        ["0 Flatten", "(12,)", "-"],
        ["1 Dense", "(20,)", "260"],
        ["2 BatchNorm", "(20,)", "40"],
        ["3 ReLU", "(20,)", "-"],
        ["4 Residual", "(7,)", "-"],
        ["layers Chain", "(7,)", "-"],
        ["0 Dense", "(20,)", "420"],
        ["1 Maxout", "(10,)", "-"],
        ["2 Dense", "(7,)", "77"],
        ["shortcut Chain", "(7,)", "-"],
        ["0 Dense", "(7,)", "140"],
        ["5 Reshape", "(7, 1)", "-"],
    ]
    total = sum(int(row[2]) for row in table if row[2] != "-")
    assert total == net.params.size == 937
    assert "937 parameters, 14.64 KiB with their gradients; 40 buffer values" in text  # 937 * 2 * 8 bytes
    assert "input (4, 3), output (7, 1), float64" in text


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_the_summary_counts_the_memory_of_a_pass(dtype):
    # By hand, a sample: outputs of the first four layers, of which batch norm and ReLU share one, 3 * 100, the two
    # places that gradients take turns in, 2 * 100, the scores and their gradient, 2 * 10. Besides, in the batch norm:
    # three arrays of 100, and for each of 16 parts of the batch two sums, what rounding took of them, and a block of
    # terms. Each rounded up to 16 elements.
    layers = [mn.Dense(100), mn.BatchNorm(), mn.ReLU(), mn.Dense(100), mn.Dense(10)]
    net = mn.Net(layers, 30, mn.SoftmaxCrossEntropy(), dtype=dtype)
    size = np.dtype(dtype).itemsize
    one, hundred = (5 * 112 + 20 + 336 + 9600) * size, (520 * 100 + 336 + 9600) * size
    words = f"activations and scratch: {one / 1024:.4g} KiB for one sample, {hundred / 1024:.4g} KiB for a batch of 100"
    assert words in net.summary()
    # And as the interpreter counts it: the first pass over n samples makes just that, and a weight a sample.
    n = 256
    x, y = np.zeros((n, 30), dtype), np.zeros(n, int)
    net.twin().loss_and_grads(x, y)  # loads the kernels, which takes memory too
    tracemalloc.start()
    try:
        net.loss_and_grads(x, y)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    expected = (521 * n + 9936) * size
    assert expected <= held < 1.02 * expected + 20_000


# What a training step allocates ------------------------------------------------------------------------------

# (width, batch): in the wide net a number a feature takes 4096 bytes, in the long one a number a sample does.
TINY, WIDE, LONG = (8, 9), (1024, 30), (16, 1024)
ROOM = 512  # bytes by which peaks may differ from the tiny net's for reasons of Python's own


def peak(step):
    """Bytes that ``step()`` had allocated at its worst moment, beyond what was there before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        step()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def growth(make_step):
    """Bytes that a training step allocates in a wide or long net beyond those that it does in a tiny one.

    ``make_step(width, batch)`` gives a function step(n), which trains on n samples. What Python itself allocates,
    numbers and views of arrays, is the same in all nets, so any array shows.
    """
    peaks = []
    for width, batch in (TINY, WIDE, LONG):
        step = make_step(width, batch)
        for n in (batch, batch // 3, batch, batch // 3):
            step(n)  # the first pass of each length makes its views, the second fills Python's own caches
        # What the step itself allocates it does every time; the least of three leaves out what happens by chance.
        rounds = [[peak(lambda step=step, n=n: step(n)) for n in (batch, batch // 3)] for _ in range(3)]
        peaks.append([min(same) for same in zip(*rounds, strict=True)])
    tiny, *large = peaks
    return max(a - b for measured in large for a, b in zip(measured, tiny, strict=True))


def many_layers(width):
    return [
        mn.Dense(width),
        mn.BatchNorm(),
        mn.ReLU(),
        mn.Dropout(0.3),
        mn.Dense(width),
        mn.LayerNorm(),
        mn.GELU(),
        mn.PReLU(),
        mn.Residual([mn.Chain([mn.Dense(2 * width), mn.Maxout(2)]), mn.Tanh()]),
        mn.Residual([mn.Dense(width), mn.ELU()], shortcut=[mn.Dense(width)]),
        mn.Reshape((width // 2, 2)),
        mn.LayerNorm(),
        mn.GroupNorm(1),
        mn.InstanceNorm(),
        mn.Flatten(),
        mn.LeakyReLU(),
        mn.SELU(),
        mn.GELUTanh(),
        mn.SiLU(),
        mn.Softplus(),
        mn.Sigmoid(),
        mn.Dense(width),
    ]


def labels(rng, n, width):
    return rng.integers(0, width, n)


def numbers(rng, n, width):
    return rng.random((n, width), np.float32)


def stepper(make_layers, loss=None, targets=labels, rule=None, weighted=False, **options):
    """For ``growth``: a net of ``make_layers(width)`` and an optimizer, trained by hand."""

    def make_step(width, batch):
        rng = np.random.default_rng(0)
        net = mn.Net(make_layers(width), width, loss(width) if loss else mn.SoftmaxCrossEntropy(), **options)
        optimizer = mn.Optimizer(net, rule or mn.Adam(), weight_decay=1e-3, clip_norm=1.0)
        x, y = numbers(rng, batch, width), targets(rng, batch, width)
        weights = rng.random(batch) if weighted else None

        def step(n):
            net.loss_and_grads(x[:n], y[:n], sample_weight=None if weights is None else weights[:n])
            optimizer.step(1e-3)
            net.correct(y[:n])  # what a training loop keeps its accuracy by

        return step

    return make_step


def test_a_training_step_allocates_no_array():
    assert growth(stepper(many_layers, l2=1e-4, l1=1e-5, max_norm=3.0)) < ROOM


RULES = [mn.SGD(), mn.Momentum(), mn.Nesterov(), mn.NesterovLookAhead(), mn.Adagrad(), mn.RMSprop(), mn.Adadelta()]
RULES += [mn.RMSpropMomentum(), mn.RMSpropCentred(), mn.RMSpropCentredMomentum(), mn.AMSGrad(), mn.AdaMax()]
RULES += [mn.NAdam(), mn.RAdam(), mn.Lion(), mn.ScheduleFreeSGD(), mn.ScheduleFreeAdamW()]
RULES += [mn.LARS(), mn.LAMB(), mn.Adafactor(), mn.Muon()]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_no_update_rule_allocates_an_array(rule):
    assert growth(stepper(lambda width: [mn.Dense(width)], rule=rule)) < ROOM


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (lambda width: mn.SoftmaxCrossEntropy(label_smoothing=0.1), labels),
        (lambda width: mn.SoftmaxCrossEntropy(class_weights=[1.0] * width), labels),
        (lambda width: mn.MulticlassHinge(), labels),
        (lambda width: mn.SquaredHinge(), labels),
        (lambda width: mn.Logistic(), numbers),
        (lambda width: mn.SquaredError(), numbers),
        (lambda width: mn.AbsoluteError(), numbers),
        (lambda width: mn.Huber(), numbers),
    ],
    ids=["smoothing", "class weights", "hinge", "squared hinge", "logistic", "squared", "absolute", "huber"],
)
def test_no_loss_allocates_an_array(loss, targets):
    assert growth(stepper(lambda width: [mn.Dense(width)], loss, targets)) < ROOM


def test_no_sample_weight_makes_a_step_allocate_an_array():
    assert growth(stepper(lambda width: [mn.Dense(width)], weighted=True)) < ROOM


def trainer_stepper(batches):
    """For ``growth``: steps of a Trainer whose epochs have so many whole batches and a short one at the end."""

    def make_step(width, batch):
        rng = np.random.default_rng(0)
        n = batches * batch + batch // 3
        net = mn.Net(many_layers(width), width, mn.SoftmaxCrossEntropy())
        data = numbers(rng, n, width), labels(rng, n, width)
        trainer = mn.Trainer(net, data, rule=mn.Adam(), lr=1e-3, batch_size=batch, epochs=9, clip_norm=1.0)
        return lambda _: next(trainer)

    return make_step


def test_a_step_of_a_trainer_allocates_no_array():
    assert growth(trainer_stepper(batches=9)) < ROOM


def test_a_step_of_a_trainer_that_ends_an_epoch_allocates_no_array():
    assert growth(trainer_stepper(batches=1)) < ROOM


@pytest.mark.parametrize("serial", [True, False], ids=["serial", "parallel"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32], ids=["bytes", "floats"])
def test_a_step_on_augmented_images_allocates_no_array(dtype, serial, monkeypatch):
    monkeypatch.setattr(gather, "_SERIAL", 10**9 if serial else 0)

    def make_step(width, batch):
        rng = np.random.default_rng(0)
        n = 9 * batch + batch // 3
        x, y = (255 * numbers(rng, n, width)).astype(dtype).reshape(n, width // 2, 2, 1), labels(rng, n, 3)
        net = mn.Net([mn.Flatten(), mn.Dense(3)], (width // 2, 2, 1), mn.SoftmaxCrossEntropy())
        options = {"augment": mn.data.Augment(flip=True, crop=1), "standardize": mn.data.Standardizer.fit(x)}
        trainer = mn.Trainer(net, (x, y), rule=mn.SGD(), lr=1e-3, batch_size=batch, epochs=9, **options)
        return lambda _: next(trainer)

    assert growth(make_step) < ROOM


@dataclasses.dataclass(frozen=True)
class Wasteful(Spy):
    """A scratch layer that allocates what ``waste(x)`` makes."""

    waste: object = None

    def forward(self, m, x, y):
        self.waste(x)
        np.copyto(y, x)


@pytest.mark.parametrize(
    ("waste", "size"),
    [
        (lambda x: x + 1, 4 * WIDE[0] * WIDE[1]),
        (lambda x: x.sum(axis=0), 4 * WIDE[0]),
        (lambda x: x[:, 0].copy(), 4 * LONG[1]),
        (lambda x: x > 0, WIDE[0] * WIDE[1]),
    ],
    ids=["an array of the batch", "a number a feature", "a number a sample", "a mask"],
)
def test_an_allocation_in_a_layer_would_show(waste, size):
    make_step = stepper(lambda width: [mn.Dense(width), Wasteful([], waste), mn.Dense(width)])
    # Half, because it need not fall together with the worst moment of Python's own.
    assert growth(make_step) > size / 2 > ROOM


def signatures():
    """How many versions of each kernel have been compiled or loaded in this process."""
    modules = [import_module(i.name) for i in pkgutil.walk_packages(minnet.kernels.__path__, "minnet.kernels.")]
    return {
        f"{module.__name__}.{name}": len(value.signatures)
        for module in modules
        for name, value in vars(module).items()
        if hasattr(value, "py_func")
    }


@DTYPES
def test_the_second_step_compiles_nothing(dtype):
    rng = np.random.default_rng(0)
    net = mn.Net(many_layers(8), 8, mn.SoftmaxCrossEntropy(), l2=1e-4, l1=1e-5, max_norm=3.0, dtype=dtype)
    data = rng.standard_normal((24, 8)), rng.integers(0, 8, 24)
    trainer = mn.Trainer(net, data, rule=mn.Adam(), lr=1e-3, batch_size=11, epochs=3, clip_norm=1.0)
    next(trainer)
    after_one = signatures()
    assert sum(after_one.values()) > 30
    assert trainer.batches.position == 11
    history = [record.step for record in trainer]  # the last batch of each epoch has two samples
    assert history == list(range(2, 10))
    assert signatures() == after_one
