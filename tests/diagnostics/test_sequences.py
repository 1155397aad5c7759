"""What looks at a net, averages it or combines it, on nets of sequences: the same laws as for other nets."""

import numpy as np
import pytest

import minnet as mn
from minnet import diagnostics

VOCABULARY, TIME, N = 7, 5, 24
RNG = np.random.default_rng(0)
WORDS = RNG.integers(1, VOCABULARY, (N, TIME))
WORDS[::3, 3:] = 0  # padding
NEXT = np.where(WORDS == 0, -1, (WORDS + 1) % VOCABULARY)
WITH_FEATURES = RNG.standard_normal((N, 3 + 2 * TIME)).astype(np.float32)
LABELS = RNG.integers(0, VOCABULARY, (N, TIME))
IMAGES = RNG.standard_normal((N, 4, 4, 1)).astype(np.float32)


def recurrent():
    both = mn.Bidirectional(mn.ChoGRU(4, padding=0))
    layers = [mn.Embedding(VOCABULARY, 4, padding=0), both, mn.LSTM(4, padding=0), mn.Dense(VOCABULARY)]
    return mn.Net(layers, TIME, mn.SoftmaxCrossEntropy(ignored=-1))


def transformer():
    attention = mn.Residual([mn.LayerNorm(), mn.SelfAttention(2, padding=0, dropout=0.1)])
    mlp = mn.Residual([mn.BatchNorm(), mn.Dense(8), mn.ReLU(), mn.Dense(8)])
    inner = [mn.PositionalEncoding(learned=True), attention, mlp, mn.LayerNorm()]
    embedding = mn.Embedding(VOCABULARY, 8, init=mn.initializers.Normal(0.1))
    return mn.Net(mn.TiedEmbedding(embedding, inner), TIME, mn.SoftmaxCrossEntropy(ignored=-1))


def captioner():
    state = [mn.Slice(0, 3), mn.Dense(4), mn.ReLU(), mn.Dense(4)]
    inputs = [mn.Slice(3, 3 + 2 * TIME), mn.Reshape((TIME, 2))]
    layers = [mn.InitialState(mn.GRU(4), state, inputs), mn.RNN(4), mn.Dense(VOCABULARY)]
    return mn.Net(layers, 3 + 2 * TIME, mn.SoftmaxCrossEntropy())


def decoder():
    """Words that attend to a memory, the last three of them, some of which are padding."""
    attention = mn.CrossAttention(2, memory=[mn.Slice(2, 5), mn.GRU(4)], dropout=0.1, padding=0, first=2)
    layers = [mn.Embedding(VOCABULARY, 8), mn.Residual(attention), mn.LayerNorm(), mn.Dense(VOCABULARY)]
    return mn.Net(layers, TIME, mn.SoftmaxCrossEntropy(ignored=-1))


def patches():
    layers = [mn.PatchEmbedding(4, 2), mn.PositionalEncoding(), mn.SelfAttention(1), mn.Flatten(), mn.Dense(3)]
    return mn.Net(layers, (4, 4, 1), mn.SoftmaxCrossEntropy())


NETS = {
    "recurrent": (recurrent, (WORDS, NEXT)),
    "transformer": (transformer, (WORDS, NEXT)),
    "decoder": (decoder, (WORDS, NEXT)),
    "captioner": (captioner, (WITH_FEATURES, LABELS)),
    "patches": (patches, (IMAGES, LABELS[:, 0] % 3)),
}
every_net = pytest.mark.parametrize(("make", "data"), NETS.values(), ids=NETS)


def trainer_of(net, data, *callbacks, epochs=3):
    return mn.Trainer(net, data, rule=mn.Adam(), lr=0.01, batch_size=8, epochs=epochs, callbacks=list(callbacks))


@every_net
def test_variances_by_layer_are_those_of_the_passes(make, data):
    net = make()
    found = {row.name: row for row in diagnostics.variance_by_layer(net, *data).layers}
    net.loss_and_grads(*data)
    passes = {place: y for place, _, _, y in net.layer_passes()}
    outermost = {str(i) for i in range(len(net.layers.layers))}
    assert outermost <= set(found)
    both = set(found) & set(passes)  # the passes have no entry for a layer whose output a ReLU has overwritten
    assert len(both) > len(outermost) / 2
    for name in both:
        assert found[name].variance == pytest.approx(passes[name].var(dtype=np.float64), rel=1e-4)


def test_layers_within_composites_have_variances():
    names = {row.name for row in diagnostics.variance_by_layer(transformer(), WORDS, NEXT).layers}
    assert {"0", "0.layers.1.layers.1", "0.layers.2.layers.3"} <= names
    names = {row.name for row in diagnostics.variance_by_layer(captioner(), WITH_FEATURES, LABELS).layers}
    assert {"0", "0.state.1", "0.inputs.1"} <= names


@every_net
def test_a_watched_run_that_is_resumed_has_the_bits_of_one_by_itself(make, data, tmp_path):
    def watchers():
        return mn.averaging.EMA(0.9), diagnostics.UpdateRatios(at=2), diagnostics.Statistics(at=3)

    whole = make()
    trainer_of(whole, data).run(progress=False)
    first = trainer_of(make(), data, *watchers())
    for _ in range(4):
        next(first)
    first.save(tmp_path / "run")
    net, (ema, ratios, statistics) = make(), watchers()
    mn.Trainer.resume(tmp_path / "run", net, data, rule=mn.Adam(), lr=0.01, callbacks=[ema, ratios, statistics]).run(
        progress=False
    )
    np.testing.assert_array_equal(net.params, whole.params)
    np.testing.assert_array_equal(net.buffers, whole.buffers)
    alone = mn.averaging.EMA(0.9)
    trainer_of(make(), data, alone).run(progress=False)
    with ema.applied(net), alone.applied(whole):
        np.testing.assert_array_equal(net.predict(data[0]), whole.predict(data[0]))


@every_net
def test_an_ensemble_has_the_mean_of_the_probabilities(make, data):
    nets = [make(), make()]
    nets[1].params *= 1.3
    expected = 0
    for net in nets:
        scores = np.exp(net.predict(data[0]).astype(np.float64))
        expected += scores / scores.sum(axis=-1, keepdims=True) / len(nets)
    found = mn.Ensemble(nets[0], nets).predict(data[0])
    np.testing.assert_allclose(np.exp(found) if found.max() <= 0 else found, expected, rtol=1e-5)


@every_net
def test_a_range_test_leaves_the_net_alone(make, data):
    net, other = make(), make()
    mn.lr_range_test(net, data, rule=mn.SGD(), batch_size=8, steps=12)
    np.testing.assert_array_equal(net.params, other.params)
    assert net.loss_and_grads(*data) == other.loss_and_grads(*data)


@every_net
def test_preflight_finds_right_gradients_and_a_first_loss_near_chance(make, data):
    verdicts = {f.name: f.verdict for f in mn.preflight(make(), data).findings}
    assert verdicts["gradients"] == "passed"
    assert verdicts["input"] == "passed"
    assert "failed" not in (verdicts["first loss"], verdicts["regularisation"], verdicts["first update ratio"])
    assert verdicts["variance by layer"] == "passed"


def test_statistics_are_refreshed_within_tied_embeddings():
    net = transformer()
    trainer_of(net, (WORDS, NEXT), epochs=1).run(progress=False)
    found = mn.refreshed_buffers(net, (WORDS, NEXT))
    place = net.buffer_layout.places["0.layers.2.layers.0.running_mean"]
    net.forward(WORDS, training=True)
    inputs = next(x for name, _, x, _ in net.layer_passes() if name == "0.layers.2.layers.0")
    assert found[place.start : place.stop].shape == (8,)
    assert np.abs(found[place.start : place.stop] - inputs.mean(axis=(0, 1))).max() < 0.1
