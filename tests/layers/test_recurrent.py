"""Recurrent layers beside loops over time in plain NumPy, in the forms of CS231n, Keras and PyTorch."""

import numpy as np
import pytest

import minnet as mn

N, TIME, INPUTS, UNITS = 3, 5, 4, 6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def net_of(layer, **options):
    """A net of one layer, with weights and biases that are all different from 0."""
    net = mn.Net([layer], (TIME, INPUTS), dtype=np.float64, seed=1, **options)
    net.params += 0.1 * np.random.default_rng(2).standard_normal(net.params.size)
    return net, {name.split(".")[-1]: view for name, view in net.named_parameters().items()}


X = np.random.default_rng(3).standard_normal((N, TIME, INPUTS))


def through_time(step, x=X, h=None):
    """States (n, time, units) of ``step(x_t, state) -> state``, whose state is a tuple that starts with h."""
    state, found = (np.zeros((N, UNITS)) if h is None else h, np.zeros((N, UNITS))), []
    for t in range(x.shape[1]):
        state = step(x[:, t], state)
        found.append(state[0])
    return np.stack(found, axis=1)


def rnn(W, U, b, f=np.tanh):
    return lambda x, state: (f(x @ W + state[0] @ U + b),)


def lstm_of_cs231n(Wx, Wh, b):
    """As in CS231n's assignment 3, with the gates i, f, o, g."""

    def step(x, state):
        h, c = state
        ai, af, ao, ag = np.hsplit(x @ Wx + h @ Wh + b, 4)
        c = sigmoid(af) * c + sigmoid(ai) * np.tanh(ag)
        return sigmoid(ao) * np.tanh(c), c

    return step


def gru_of_keras(kernel, recurrent_kernel, bias):
    """As in Keras with reset_after=True: gates z, r, h, and the rows of the bias for input and state."""

    def step(x, state):
        h = state[0]
        (xz, xr, xh), (uz, ur, uh) = np.hsplit(x @ kernel + bias[0], 3), np.hsplit(h @ recurrent_kernel + bias[1], 3)
        z, r = sigmoid(xz + uz), sigmoid(xr + ur)
        return (z * h + (1 - z) * np.tanh(xh + r * uh),)

    return step


def gru_of_keras_before(kernel, recurrent_kernel, bias):
    """As in Keras with reset_after=False: the reset gate before the product, and one bias."""

    def step(x, state):
        h = state[0]
        (xz, xr, xh), (Uz, Ur, Uh) = np.hsplit(x @ kernel + bias, 3), np.hsplit(recurrent_kernel, 3)
        z, r = sigmoid(xz + h @ Uz), sigmoid(xr + h @ Ur)
        return (z * h + (1 - z) * np.tanh(xh + (r * h) @ Uh),)

    return step


def blocks(a, order):
    """Gates of W, U or b in another order."""
    parts = np.split(a, len(order), axis=-1)
    return np.concatenate([parts[i] for i in order], axis=-1)


@pytest.mark.parametrize(("relu", "f"), [(False, np.tanh), (True, lambda v: np.maximum(v, 0))], ids=["tanh", "relu"])
def test_rnn_is_its_recurrence(relu, f):
    net, p = net_of(mn.RNN(UNITS, relu=relu))
    np.testing.assert_allclose(net.predict(X), through_time(rnn(p["W"], p["U"], p["b"], f)), rtol=0, atol=1e-13)


def test_lstm_is_cs231ns_with_two_gates_exchanged():
    net, p = net_of(mn.LSTM(UNITS))
    step = lstm_of_cs231n(*(blocks(p[name], (0, 1, 3, 2)) for name in ("W", "U", "b")))
    np.testing.assert_allclose(net.predict(X), through_time(step), rtol=0, atol=1e-13)


def test_gru_is_keras_with_two_gates_exchanged():
    net, p = net_of(mn.GRU(UNITS))
    of_state = np.concatenate([np.zeros(2 * UNITS), p["c"]])
    step = gru_of_keras(*(blocks(a, (1, 0, 2)) for a in (p["W"], p["U"], np.stack([p["b"], of_state]))))
    np.testing.assert_allclose(net.predict(X), through_time(step), rtol=0, atol=1e-13)


def test_cho_gru_is_keras_without_reset_after():
    net, p = net_of(mn.ChoGRU(UNITS))
    step = gru_of_keras_before(*(blocks(p[name], (1, 0, 2)) for name in ("W", "U", "b")))
    np.testing.assert_allclose(net.predict(X), through_time(step), rtol=0, atol=1e-13)


def test_a_first_state_is_the_output_of_other_layers_and_the_cell_starts_at_0():
    """As captions start in CS231n: x is features and a sequence side by side."""
    features = np.random.default_rng(4).standard_normal((N, 3))
    layers = mn.InitialState(
        mn.LSTM(UNITS),
        state=[mn.Slice(0, 3), mn.Dense(UNITS)],
        inputs=[mn.Slice(3, 3 + TIME * INPUTS), mn.Reshape((TIME, INPUTS))],
    )
    net = mn.Net([layers], 3 + TIME * INPUTS, dtype=np.float64)
    p = net.named_parameters()
    step = lstm_of_cs231n(*(blocks(p[f"0.layer.{name}"], (0, 1, 3, 2)) for name in ("W", "U", "b")))
    expected = through_time(step, h=features @ p["0.state.1.W"] + p["0.state.1.b"])
    found = net.predict(np.concatenate([features, X.reshape(N, -1)], axis=1))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


KINDS = [mn.RNN, mn.LSTM, mn.GRU, mn.ChoGRU]


@pytest.mark.parametrize("kind", KINDS)
def test_last_and_reverse_choose_states_and_direction(kind):
    whole, _ = net_of(kind(UNITS))
    y = whole.predict(X)
    for options, expected in (
        ({"last": True}, y[:, -1]),
        ({"reverse": True}, whole.predict(X[:, ::-1])[:, ::-1]),
        ({"last": True, "reverse": True}, whole.predict(X[:, ::-1])[:, -1]),
    ):
        other, _ = net_of(kind(UNITS, **options))
        other.params = whole.params
        np.testing.assert_allclose(other.predict(X), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last", [False, True])
def test_bidirectional_has_both_directions_side_by_side(kind, last):
    both, _ = net_of(mn.Bidirectional(kind(UNITS, last=last)))
    y, names = both.predict(X), both.named_parameters()
    for place, reverse, part in (("ahead", False, y[..., :UNITS]), ("back", True, y[..., UNITS:])):
        alone, p = net_of(kind(UNITS, last=last, reverse=reverse))
        for name, view in p.items():
            view[...] = names[f"0.{place}.{name}"]
        np.testing.assert_allclose(part, alone.predict(X), rtol=0, atol=1e-14)


WORDS = [[3, 1, 4, 1, 2], [2, 5], [4], []]


def net_of_words(layer, time):
    net = mn.Net([mn.Embedding(6, INPUTS), layer], time, dtype=np.float64, seed=1)
    net.params += 0.1 * np.random.default_rng(2).standard_normal(net.params.size)
    return net


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_at_padding_the_state_stays_as_it_is(kind, reverse):
    y = net_of_words(kind(UNITS, reverse=reverse, padding=0), TIME).predict(mn.data.padded(WORDS, TIME, padding=0))
    for words, states in zip(WORDS, y, strict=True):
        alone = net_of_words(kind(UNITS, reverse=reverse), len(words)).predict([words])[0] if words else states[:0]
        np.testing.assert_allclose(states[: len(words)], alone, rtol=0, atol=1e-14)
        end = np.zeros(UNITS) if reverse or not words else states[len(words) - 1]
        np.testing.assert_array_equal(states[len(words) :], np.tile(end, (TIME - len(words), 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_state_is_that_at_the_true_end_wherever_the_padding_is(kind):
    for layer, plain in (
        (kind(UNITS, last=True, padding=0), kind(UNITS, last=True)),
        (kind(UNITS, last=True, reverse=True, padding=0), kind(UNITS, last=True, reverse=True)),
        (mn.Bidirectional(kind(UNITS, last=True, padding=0)), mn.Bidirectional(kind(UNITS, last=True))),
    ):
        alone = [net_of_words(plain, len(words)).predict([words])[0] for words in WORDS[:-1]]
        net = net_of_words(layer, TIME)
        np.testing.assert_allclose(net.predict(mn.data.padded(WORDS, TIME, padding=0))[:-1], alone, rtol=0, atol=1e-14)
        scattered = [[3, 1, 4, 1, 2], [0, 2, 0, 0, 5], [0, 0, 0, 4, 0]]
        np.testing.assert_allclose(net.predict(scattered), alone, rtol=0, atol=1e-14)


@pytest.mark.parametrize("layer", [mn.RNN(UNITS, relu=True), mn.LSTM(UNITS), mn.GRU(UNITS), mn.ChoGRU(UNITS)], ids=str)
def test_batches_of_one_are_the_batch(layer):
    net, _ = net_of(layer)
    np.testing.assert_allclose(np.concatenate([net.predict(x[None]) for x in X]), net.predict(X), rtol=0, atol=1e-14)


def test_initial_weights_are_those_of_each_gate_by_itself():
    net = mn.Net([mn.LSTM(UNITS, forget_bias=0.5)], (TIME, INPUTS), dtype=np.float64)
    p = net.named_parameters()
    for U in np.hsplit(p["0.U"], 4):
        np.testing.assert_allclose(U.T @ U, np.eye(UNITS), atol=1e-12)
    bound = np.sqrt(6 / (INPUTS + UNITS))  # Glorot's, of one gate
    assert 0.8 * bound < np.abs(p["0.W"]).max() <= bound
    np.testing.assert_array_equal(p["0.b"], np.repeat([0, 0.5, 0, 0], UNITS))
    decaying = {tensor.name for tensor in net.tensors if tensor.decay}
    assert decaying == {"0.W", "0.U"}


@pytest.mark.parametrize("threads", [1, 2])
def test_stacked_layers_learn_to_remember_the_first_word(threads):
    """The same bits for any number of threads, and what an LSTM is for."""
    x = np.random.default_rng(0).integers(0, 4, (128, 12))
    before = mn.get_num_threads()
    mn.set_num_threads(min(threads, before))
    try:
        layers = [mn.Embedding(4, 8), mn.LSTM(32), mn.GRU(32, last=True), mn.Dense(4)]
        net = mn.Net(layers, 12, mn.SoftmaxCrossEntropy())
        history = mn.fit(net, (x, x[:, 0]), rule=mn.Adam(), lr=0.01, batch_size=32, epochs=25, clip_norm=1.0)
    finally:
        mn.set_num_threads(before)
    assert history.epochs.rows[-1]["accuracy"] == 1
    RESULTS.append(net.params.copy())
    np.testing.assert_array_equal(RESULTS[0], RESULTS[-1])


RESULTS: list[np.ndarray] = []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mn.LSTM(0), "LSTM: expected units of at least 1; got 0"),
        (lambda: mn.GRU(3, init=0.1), "GRU: expected init to be an initializer such as .*; got 0.1"),
        (lambda: mn.RNN(3, recurrent_init=mn.initializers.Zeros), "RNN: expected recurrent_init to be an initializer"),
        (lambda: mn.RNN(3, relu="relu"), "RNN: expected relu to be True or False; got 'relu'"),
        (lambda: mn.GRU(3, padding=-1), "GRU: expected padding of at least 0; got -1"),
        (
            lambda: mn.Net([mn.LSTM(3, padding=0)], (5, 4)),
            r"LSTM 0: expected a net whose input is 5 words, one for each position, .* of floating-point numbers",
        ),
        (lambda: mn.LSTM(3, last=1), "LSTM: expected last to be True or False; got 1"),
        (lambda: mn.LSTM(3, forget_bias="one"), "LSTM: expected forget_bias to be a number; got 'one'"),
        (
            lambda: mn.InitialState(mn.Dense(3), mn.Flatten()),
            "InitialState: expected layer as an RNN, LSTM or GRU without streams; got Dense",
        ),
        (
            lambda: mn.InitialState(mn.RNN(3, streams=2), mn.Flatten()),
            r"InitialState: expected layer as an RNN, .* without streams; got RNN\(units=3, .* streams=2",
        ),
        (lambda: mn.InitialState(mn.RNN(3), 3), "InitialState: expected state as a layer or a list of layers; got 3"),
        (
            lambda: mn.Net([mn.InitialState(mn.RNN(3), mn.Flatten())], (4, 2)),
            r"InitialState 0: expected state to end in shape \(3,\), the units of layer; got \(8,\)",
        ),
        (lambda: mn.Slice(2, 2), "Slice: expected stop above start=2; got 2"),
        (lambda: mn.Net([mn.Slice(2, 5)], 4), r"Slice 0: expected a first axis of at least 5 .* shape \(4,\)"),
        (lambda: mn.Bidirectional(mn.Dense(3)), "Bidirectional: expected layer as an RNN, LSTM or GRU; got Dense"),
        (lambda: mn.Bidirectional(mn.GRU(3, reverse=True)), "Bidirectional: expected a layer with reverse=False"),
        (
            lambda: mn.Net([mn.LSTM(3)], 5),
            r"LSTM 0: expected sequences \(time, features\); got input shape \(5,\) \(last=True",
        ),
        (
            lambda: mn.Net([mn.Bidirectional(mn.RNN(3))], (2, 3, 4)),
            r"Bidirectional 0: RNN ahead: expected sequences \(time, features\); got input shape \(2, 3, 4\)",
        ),
        (
            lambda: mn.Net([mn.GRU(3, last=True), mn.GRU(3)], (5, 2)),
            r"GRU 1: expected sequences .*; got input shape \(3,\)",
        ),
    ],
)
def test_bad_arguments_are_refused_where_they_are_made(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
