"""Descriptions of layers are frozen; bad layers, shapes, options and data are refused by errors that name the place."""

import dataclasses
import math

import numpy as np
import pytest
from net_cases import CLASSES, PLAIN, small_data, small_layers, small_net

import minnet as mn
import minnet.kernels

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
        (
            [mn.Reshape((2, 2, 5)), mn.Dense(3)],
            r"Dense 1: expected one axis of features, or \(time, features\); got input shape \(2, 2, 5\)",
        ),
        (
            [mn.Residual([mn.Reshape((2, 2, 5)), mn.Dense(5)])],
            r"Residual 0: Chain layers: Dense 1: expected one axis of features, .*; got input shape \(2, 2, 5\)",
        ),
        (
            [mn.Tanh(), mn.Embedding(3, 2)],
            "Embedding 1: expected to be the first layer of the net, as its input is words, .*; got a place where",
        ),
        ([mn.Residual([mn.Embedding(3, 5)])], "Residual 0: Chain layers: expected to be the first layer of the net"),
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
            {"layers": mn.Reshape((2, 2)), "input_shape": 4, "loss": mn.SquaredError()},
            ValueError,
            r"SquaredError.*: expected the layers to end in one axis of outputs; got shape \(2, 2\)",
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
    (
        X,
        Y,
        {"sample_weight": np.zeros(7)},
        ValueError,
        "expected samples that count, as the mean loss of none is undefined; got 7, all of weight 0",
    ),
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
