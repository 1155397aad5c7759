"""The network: flat vectors and their views; one seed, two precisions."""

import copy
import pickle

import numpy as np
import pytest
from net_cases import DTYPES, EPS, plain_net, small_data, small_net

import minnet as mn
import minnet.kernels

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
