"""Gradients by distance in time, beside numerical ones of loops over time in plain NumPy."""

import json

import numpy as np
import pytest

import minnet as mn
from minnet.diagnostics import GradientsThroughTime, gradients_through_time

N, TIME, INPUTS, UNITS, CLASSES = 3, 6, 2, 4, 3
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((N, TIME, INPUTS)), RNG.integers(0, CLASSES, (N, TIME))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# Each step takes (p, x_t, h, c) and returns (h, c). The cell of an LSTM is squashed after the step, so that a change
# of c after a step also changes its h: ``out`` is the gate o of that step.
def rnn_step(p, x, h, c):
    return np.tanh(x @ p["W"] + h @ p["U"] + p["b"]), None


def gru_step(p, x, h, c):
    a, u = x @ p["W"] + p["b"], h @ p["U"]
    r, z = np.split(sigmoid(a + u)[:, : 2 * UNITS], 2, axis=1)
    n = np.tanh(a[:, 2 * UNITS :] + r * (u[:, 2 * UNITS :] + p["c"]))
    return (1 - z) * n + z * h, None


def cho_step(p, x, h, c):
    a, (U_r, U_z, U_n) = x @ p["W"] + p["b"], np.hsplit(p["U"], 3)
    r, z = sigmoid(a[:, :UNITS] + h @ U_r), sigmoid(a[:, UNITS : 2 * UNITS] + h @ U_z)
    n = np.tanh(a[:, 2 * UNITS :] + (r * h) @ U_n)
    return (1 - z) * n + z * h, None


def lstm_step(p, x, h, c):
    a = x @ p["W"] + h @ p["U"] + p["b"]
    i, f, g, o = np.split(a, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


STEPS = {mn.RNN: rnn_step, mn.GRU: gru_step, mn.ChoGRU: cho_step, mn.LSTM: lstm_step}


def loss_from(step, p, h, c, t):
    """The cross-entropy at the last position, of a run that goes on from the states after step t."""
    for later in range(t + 1, TIME):
        h, c = step(p, X[:, later], h, c)
    scores = h @ p["out W"] + p["out b"]
    scores -= scores.max(axis=1, keepdims=True)
    return float((np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(N), Y[:, -1]]).mean())


def derivative(f, at, h=1e-5):
    found = np.empty_like(at)
    for place in np.ndindex(*at.shape):
        sides = []
        for change in (h, -h):
            moved = at.copy()
            moved[place] += change
            sides.append(f(moved))
        found[place] = (sides[0] - sides[1]) / (2 * h)
    return found


def expected(kind, p):
    """Norms by distance and state, from numerical derivatives of the loss with respect to each state."""
    step, states = STEPS[kind], [(np.zeros((N, UNITS)), np.zeros((N, UNITS)))]
    for t in range(TIME):
        states.append(step(p, X[:, t], *states[-1]))
    norms = {"h": [], "c": []}
    for t in reversed(range(TIME)):
        h, c = states[t + 1]
        norms["h"].append(np.linalg.norm(derivative(lambda h, c=c, t=t: loss_from(step, p, h, c, t), h)))
        if kind is mn.LSTM:
            before, _ = states[t]
            o = sigmoid((X[:, t] @ p["W"] + before @ p["U"] + p["b"])[:, 3 * UNITS :])
            of_cell = derivative(lambda c, o=o, t=t: loss_from(step, p, o * np.tanh(c), c, t), c)
            norms["c"].append(np.linalg.norm(of_cell))
    return {state: np.array(values) for state, values in norms.items() if values}


def net_of(kind, **options):
    """A net with one output, or one at each position."""
    layers = [kind(UNITS, **options), mn.Dense(CLASSES)]
    net = mn.Net(layers, (TIME, INPUTS), mn.SoftmaxCrossEntropy(), dtype=np.float64, seed=1)
    net.params += 0.3 * np.random.default_rng(2).standard_normal(net.params.size)
    p = {name.removeprefix("0.").replace("1.", "out "): value for name, value in net.named_parameters().items()}
    return net, p


@pytest.mark.parametrize("kind", STEPS)
def test_norms_are_those_of_numerical_derivatives(kind):
    net, p = net_of(kind, last=True)
    found = gradients_through_time(net, X, Y[:, -1]).norms
    twin = {f"0 {kind.__name__} {state}": norms for state, norms in expected(kind, p).items()}
    assert found.keys() == twin.keys()
    for name, norms in twin.items():
        np.testing.assert_allclose(found[name], norms, rtol=1e-6)


def test_of_a_loss_at_each_position_the_last_one_counts():
    net, p = net_of(mn.GRU, streams=N)
    found = gradients_through_time(net, X, Y).norms["0 GRU h"]
    np.testing.assert_allclose(found, expected(mn.GRU, p)["h"] / TIME, rtol=1e-6)  # the loss is a mean over positions
    scaled = gradients_through_time(net, X).norms["0 GRU h"]
    assert scaled.shape == (TIME,)
    assert (scaled != found).all()


def test_a_layer_with_a_state_given_to_it_is_measured_too():
    size = 2 * TIME
    inputs = [mn.Reshape((TIME, 2))]
    net = mn.Net([mn.InitialState(mn.LSTM(4, last=True), mn.Dense(4), inputs), mn.Dense(3)], size)
    found = gradients_through_time(net, RNG.standard_normal((5, size)))
    assert list(found.norms) == ["0.layer LSTM h", "0.layer LSTM c"]
    assert (found.norms["0.layer LSTM c"] > 0).all()


def test_an_orthogonal_matrix_keeps_the_norm_and_a_shrunken_one_loses_it_at_its_rate():
    """Where tanh is near linear, the gradient is multiplied by the transpose of U in each step."""
    for gain in (1.0, 0.5, 1.5):
        layer = mn.RNN(16, recurrent_init=mn.initializers.Orthogonal(gain), last=True)
        found = gradients_through_time(mn.Net([layer], (30, 2)), 1e-9 * RNG.standard_normal((5, 30, 2)))
        norms = found.norms["0 RNN h"]
        np.testing.assert_allclose(norms, norms[0] * gain ** np.arange(30), rtol=1e-5)
        assert found.rate("0 RNN h") == pytest.approx(gain, rel=1e-6)


def test_measuring_leaves_the_net_alone_and_takes_words():
    size = 5
    layers = [mn.Embedding(size, 3), mn.LSTM(4, streams=2), mn.Dropout(0.3), mn.RNN(6, streams=2), mn.Dense(size)]
    net = mn.Net(layers, TIME, mn.SoftmaxCrossEntropy())
    words = RNG.integers(0, size, (2, TIME))
    net.loss_and_grads(words, words)
    before = [a.tobytes() for a in (net.params, net.buffers, net.grads)], net.step, repr(net.objective)
    found = gradients_through_time(net, np.tile(words, (2, 1)), np.tile(words, (2, 1)))
    assert ([a.tobytes() for a in (net.params, net.buffers, net.grads)], net.step, repr(net.objective)) == before
    assert list(found.norms) == ["1 LSTM h", "1 LSTM c", "3 RNN h"]
    assert found.samples == 4


def test_the_result_prints_saves_and_draws(tmp_path):
    found = GradientsThroughTime({"0 RNN h": 4.0 * 0.5 ** np.arange(9.0), "1 RNN h": np.zeros(1)}, 3)
    lines = [line.split() for line in str(found).splitlines()]
    assert lines[1] == ["0", "RNN", "h", "4", "1", "0.5", "0.125", "0.0625", "0.0156", "0.500"]
    assert np.isnan(found.rate("1 RNN h"))
    found.save(tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["norms"]["0 RNN h"][2] == 1
    found.plot(tmp_path / "t.png")
    assert (tmp_path / "t.csv").read_text().splitlines()[3] == ",0 RNN h,2,1.0"
    with pytest.raises(KeyError, match="expected one of"):
        found.rate("2 RNN h")


RECURRENT = mn.Net([mn.RNN(3, last=True)], (TIME, INPUTS))
REFUSED = {
    "expected a Net": lambda: gradients_through_time(3, X),
    "expected a net with an RNN, LSTM or GRU": lambda: gradients_through_time(mn.Net([mn.Dense(2)], 3), X[:, 0]),
    "expected layers that go forwards in time; got Bidir": lambda: gradients_through_time(
        mn.Net([mn.Bidirectional(mn.RNN(3))], (TIME, INPUTS)), X
    ),
    "expected layers that go forwards in time; got RNN": lambda: gradients_through_time(
        mn.Net([mn.RNN(3, reverse=True)], (TIME, INPUTS)), X
    ),
    "expected y=None for a net": lambda: gradients_through_time(RECURRENT, X, Y),
    "expected seed of at least 0": lambda: gradients_through_time(RECURRENT, X, seed=-1),
    "expected a loss with a gradient at the last position": lambda: gradients_through_time(
        mn.Net([mn.RNN(3)], (TIME, INPUTS), mn.SoftmaxCrossEntropy(ignored=-1)),
        X,
        np.where(np.arange(TIME) == TIME - 1, -1, Y),
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_has_no_such_gradient_is_refused(words):
    with pytest.raises((TypeError, ValueError), match=f"^gradients_through_time: {words}"):
        REFUSED[words]()
