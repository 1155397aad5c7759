"""States that go on from one training pass to the next: passes, their gradients, runs over streams of a text."""

import numpy as np
import pytest

import minnet as mn
from minnet.data import Batches, Text
from minnet.diagnostics.rewire import without_streams
from minnet.training.recorded import steps as recorded_steps

N, TIME, INPUTS, UNITS, CLASSES = 3, 4, 2, 5, 4
PASSES = 3
RNG = np.random.default_rng(0)
X = RNG.standard_normal((PASSES, N, TIME, INPUTS))
Y = RNG.integers(0, CLASSES, (PASSES, N, TIME))
KINDS = [mn.RNN, mn.LSTM, mn.GRU]


def net_of(kind, time=TIME, streams=N, **options):
    """A net of two recurrent layers, with weights and biases that are all different from 0."""
    layers = [kind(UNITS, streams=streams), kind(UNITS, streams=streams), mn.Dense(CLASSES)]
    net = mn.Net(layers, (time, INPUTS), mn.SoftmaxCrossEntropy(), dtype=np.float64, seed=1, **options)
    net.params += 0.1 * np.random.default_rng(2).standard_normal(net.params.size)
    return net


@pytest.mark.parametrize("kind", KINDS)
def test_passes_that_go_on_are_one_long_pass(kind):
    net, long = net_of(kind), net_of(kind, PASSES * TIME, streams=None)
    expected = np.split(long.predict(np.concatenate(X, axis=1)), PASSES, axis=1)
    for i, (x, y, scores) in enumerate(zip(X, Y, expected, strict=True)):
        net.loss_and_grads(x, y)
        np.testing.assert_allclose(net.forward(x, continues=False), net.predict(x), rtol=0, atol=0)  # leaves the state
        net.step -= 1
        np.testing.assert_allclose(net.forward(x, training=True), scores, rtol=0, atol=1e-14)
        net.step += 1
        assert net.step == i + 1
    reading = net_of(kind, streams=None)
    for i, (x, scores) in enumerate(zip(X, expected, strict=True)):  # in passes that do not train
        np.testing.assert_allclose(reading.forward(x, continues=i > 0), scores, rtol=0, atol=1e-14)
    net.reset_state()
    np.testing.assert_allclose(net.forward(X[0], training=True), expected[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_with_the_state_fixed(kind):
    net = net_of(kind)
    for x, y in zip(X[:2], Y[:2], strict=True):
        net.loss_and_grads(x, y)
    before = net.buffers.copy()
    assert np.count_nonzero(before) == before.size
    check = mn.check_net(net, X[2], Y[2])
    assert check.passed, check
    np.testing.assert_array_equal(net.buffers, before)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_pytorchs_with_the_state_detached(kind):
    torch = pytest.importorskip("torch")
    net = net_of(kind)
    layers = [getattr(torch.nn, kind.__name__)(size, UNITS, batch_first=True).double() for size in (INPUTS, UNITS)]
    dense = torch.nn.Linear(UNITS, CLASSES).double()
    p = {name: torch.from_numpy(view.copy()) for name, view in net.named_parameters().items()}
    with torch.no_grad():
        for i, layer in enumerate(layers):
            layer.weight_ih_l0.copy_(p[f"{i}.W"].T)
            layer.weight_hh_l0.copy_(p[f"{i}.U"].T)
            layer.bias_ih_l0.copy_(p[f"{i}.b"])
            layer.bias_hh_l0.zero_()
            if kind is mn.GRU:
                layer.bias_hh_l0[2 * UNITS :] = p[f"{i}.c"]
        dense.weight.copy_(p["2.W"].T)
        dense.bias.copy_(p["2.b"])
    states = [None, None]
    for x, y in zip(X, Y, strict=True):
        loss = net.loss_and_grads(x, y)
        out = torch.from_numpy(x)
        for i, layer in enumerate(layers):
            out, state = layer(out, states[i])
            states[i] = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        for module in (*layers, dense):
            module.zero_grad()
        expected = torch.nn.functional.cross_entropy(dense(out).reshape(-1, CLASSES), torch.from_numpy(y).reshape(-1))
        expected.backward()
        assert loss == pytest.approx(expected.item(), rel=0, abs=1e-12)
        found = net.named_gradients()
        for i, layer in enumerate(layers):
            np.testing.assert_allclose(found[f"{i}.W"], layer.weight_ih_l0.grad.numpy().T, rtol=0, atol=1e-11)
            np.testing.assert_allclose(found[f"{i}.U"], layer.weight_hh_l0.grad.numpy().T, rtol=0, atol=1e-11)
            np.testing.assert_allclose(found[f"{i}.b"], layer.bias_ih_l0.grad.numpy(), rtol=0, atol=1e-11)
        np.testing.assert_allclose(found["2.W"], dense.weight.grad.numpy().T, rtol=0, atol=1e-11)


def test_a_pass_made_again_starts_from_the_same_state():
    net = net_of(mn.LSTM)
    net.loss_and_grads(X[0], Y[0])
    losses, grads = [], []
    for _ in range(2):
        losses.append(net.loss_and_grads(X[1], Y[1]))
        grads.append(net.grads.copy())
        net.step -= 1
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(*grads)


def test_a_layer_whose_parameters_are_frozen_carries_its_state_on():
    net, frozen = net_of(mn.GRU), net_of(mn.GRU)
    frozen.frozen = [tensor.name for tensor in frozen.tensors if not tensor.name.startswith("2.")]
    for each in (net, frozen):
        each.loss_and_grads(X[0], Y[0])
    np.testing.assert_array_equal(net.forward(X[1], training=True), frozen.forward(X[1], training=True))


def test_a_twin_has_the_state():
    net = net_of(mn.LSTM)
    net.loss_and_grads(X[0], Y[0])
    assert net.twin().loss_and_grads(X[1], Y[1]) == net.loss_and_grads(X[1], Y[1])


def test_a_net_for_samples_in_any_order_is_made_of_it():
    net = net_of(mn.LSTM, l2=0.1)
    net.loss_and_grads(X[0], Y[0])
    other = without_streams(net)
    np.testing.assert_array_equal(other.predict(X[1]), net.predict(X[1]))
    assert (other.streams, other.buffers.size, other.l2, other.step) == (0, 0, 0.1, 1)
    other.loss_and_grads(X[0, :1], Y[0, :1])


# Runs -------------------------------------------------------------------------------------------------------------

TEXT = Text("it is a tale told by an idiot, full of sound and fury, signifying nothing. " * 3)
DATA = TEXT.streams(N, TIME)


def language_model(streams=N, extra=()):
    size = len(TEXT.vocabulary)
    layers = [mn.Embedding(size, 4), mn.LSTM(UNITS, streams=streams), *extra, mn.Dense(size)]
    return mn.Net(layers, TIME, mn.SoftmaxCrossEntropy(), seed=3)


def trainer_of(net, data=DATA, **given):
    given = {"rule": mn.Adam(), "lr": 0.02, "batch_size": N, "epochs": 3} | given
    return mn.Trainer(net, data, **given)


def by_hand(epochs):
    """The net after training in a loop over batches in order, with the state 0 at the start of each epoch."""
    net, batches = language_model(), Batches(DATA, N, shuffle=False, dtype=np.int64)
    optimizer = mn.Optimizer(net, mn.Adam())
    for _ in range(epochs):
        net.reset_state()
        for x, y in batches.epoch():
            net.loss_and_grads(x, y)
            optimizer.step(0.02)
    return net


@pytest.mark.parametrize("python", [False, True], ids=["recorded", "in Python"])
def test_a_run_takes_the_streams_in_order_and_each_epoch_from_the_state_0(monkeypatch, python):
    monkeypatch.setattr(recorded_steps, "PATIENCE", 0)
    net = language_model()
    trainer = trainer_of(net)
    if python:
        trainer.recorded.reason = "Python is to take the steps"
    trainer.run(progress=False)
    assert (trainer.recorded.reason is None) != python
    expected = by_hand(3)
    np.testing.assert_array_equal(net.params, expected.params)
    np.testing.assert_array_equal(net.buffers, expected.buffers)


def test_evaluation_changes_nothing():
    net = language_model()
    trainer_of(net, validation=TEXT.windows(TIME), evaluate_training=True).run(progress=False)
    np.testing.assert_array_equal(net.params, by_hand(3).params)


@pytest.mark.parametrize("step", [2, len(DATA[0]) // N, len(DATA[0]) // N + 1])
def test_a_run_resumed_in_mid_stream_has_the_same_bits(tmp_path, step):
    trainer = trainer_of(language_model())
    while trainer.step < step:
        next(trainer)
    trainer.save(tmp_path / "run")
    net = language_model()
    resumed = mn.Trainer.resume(tmp_path / "run", net, DATA, rule=mn.Adam(), lr=0.02)
    resumed.run(progress=False)
    np.testing.assert_array_equal(net.params, by_hand(3).params)
    np.testing.assert_array_equal(net.buffers, by_hand(3).buffers)


def test_a_divergence_puts_the_state_back():
    net, per_epoch = language_model(), len(DATA[0]) // N
    trainer = trainer_of(net, lr=lambda step: 0.02 if step < per_epoch + 2 else 1e38)
    with pytest.raises(mn.DivergenceError):
        trainer.run(progress=False)
    expected = by_hand(1)
    np.testing.assert_array_equal(net.params, expected.params)
    np.testing.assert_array_equal(net.buffers, expected.buffers)


def test_statistics_are_refreshed_beside_states():
    net = language_model(extra=[mn.BatchNorm()])
    trainer_of(net, epochs=1).run(progress=False)
    before = net.buffers.copy()
    found = mn.refreshed_buffers(net, DATA)
    np.testing.assert_array_equal(net.buffers, before)
    place = net.buffer_layout.places["2.running_mean"]
    states = net.twin()
    states.reset_state()
    means = []
    for x, _ in Batches(DATA, N, shuffle=False, dtype=np.int64).epoch():
        states.forward(x, training=True)
        states.step += 1
        means.append(states.activations()["1"].mean(axis=(0, 1)))
    np.testing.assert_allclose(found[place.start : place.stop], np.mean(means, axis=0), rtol=0, atol=1e-6)


# Bad input ----------------------------------------------------------------------------------------------------------


def words(n):
    return np.zeros((n, TIME), int), np.zeros((n, TIME), int)


BAD = {
    "a pass of another size": (
        lambda: language_model().loss_and_grads(*words(N + 1)),
        r"Net: expected 3 samples in a training pass, one of each stream whose state goes on; got 4\. The batch size",
    ),
    "a training forward of another size": (
        lambda: language_model().forward(words(1)[0], training=True),
        "expected 3 samples in a training pass, .* got 1",
    ),
    "batches of another size": (
        lambda: trainer_of(language_model(), batch_size=N + 1),
        r"Trainer: expected batches of 3 samples, .*; got 54 samples in batches of 4, the last of 2\. Text.streams\(3,",
    ),
    "a shorter last batch": (
        lambda: trainer_of(language_model(), words(N + 1)),
        "got 4 samples in batches of 3, the last of 1",
    ),
    "two numbers of streams": (
        lambda: mn.Net([mn.GRU(2, streams=2), mn.GRU(2, streams=3)], (5, 1)),
        r"Net: expected all layers to have the same number of streams; got \[2, 3\]",
    ),
    "no stream": (lambda: mn.RNN(2, streams=0), "RNN: expected streams of at least 1; got 0"),
    "time backwards": (lambda: mn.LSTM(2, reverse=True, streams=2), "LSTM: expected reverse=False, as a state goes on"),
    "both directions": (
        lambda: mn.Bidirectional(mn.LSTM(2, streams=2)),
        "Bidirectional: expected a layer with reverse=False and no streams; got LSTM",
    ),
    "going on from nothing": (
        lambda: language_model().forward(words(2)[0], continues=True),
        "forward: expected a last pass over 2 samples to go on from; it had 0",
    ),
    "going on in training": (
        lambda: language_model().forward(words(N)[0], training=True, continues=True),
        "forward: expected continues=True without training=True",
    ),
    "going on against time": (
        lambda: mn.Net([mn.RNN(2, reverse=True)], (5, 1)).forward(np.zeros((1, 5, 1)), continues=True),
        "forward: expected layers that read a sequence step by step, to go on from a state; got RNN 0",
    ),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_refused_pass_changes_nothing():
    net = net_of(mn.LSTM)
    net.loss_and_grads(X[0], Y[0])
    before = net.buffers.copy(), net.grads.copy(), net.step
    for attempt in (
        lambda: net.loss_and_grads(X[0, :2], Y[0, :2]),
        lambda: net.forward(X[0, :2], training=True),
        lambda: net.loss_and_grads(X[0], Y[0] + CLASSES),
    ):
        with pytest.raises(ValueError, match="expected"):
            attempt()
    np.testing.assert_array_equal(net.buffers, before[0])
    np.testing.assert_array_equal(net.grads, before[1])
    assert net.step == before[2]
