"""Words, which are integers, on their way through batches, training, files and diagnostics."""

import copy

import numpy as np
import pytest

import minnet as mn
from minnet.data import Batches, Standardizer
from minnet.diagnostics import variance_by_layer

VOCABULARY, TIME = 6, 5


def data(n=37, dtype=np.int64):
    """Sequences whose class is whether the first word comes again."""
    x = np.random.default_rng(0).integers(0, VOCABULARY, (n, TIME))
    return x.astype(dtype), (x[:, 1:] == x[:, :1]).any(axis=1).astype(int)


def net(seed=0, **options):
    layers = [mn.Embedding(VOCABULARY, 4), mn.Dense(3), mn.Tanh(), mn.Flatten(), mn.Dense(2)]
    return mn.Net(layers, TIME, mn.SoftmaxCrossEntropy(), seed=seed, **options)


def test_a_net_of_words_says_what_it_takes():
    assert (net().vocabulary, net().input_dtype) == (VOCABULARY, np.int64)
    plain = mn.Net([mn.Dense(2)], 3)
    assert (plain.vocabulary, plain.input_dtype) == (0, np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_words_of_every_integer_type_are_the_same_words(dtype):
    expected = net().predict(data()[0])
    np.testing.assert_array_equal(net().predict(data(dtype=dtype)[0]), expected)  # bytes are no pixels here
    runs = [mn.fit(net(), data(dtype=kind), rule=mn.SGD(), lr=0.1, batch_size=8, epochs=2) for kind in (int, dtype)]
    assert runs[0].epochs.rows == runs[1].epochs.rows


def changed(x, place, value):
    x = x.copy()
    x[place] = value
    return x


BAD = {
    "too large": (changed(data()[0], (3, 2), 6), ValueError, r"expected words from 0 to 5; got 6 at x\[3, 2\]"),
    "negative": (changed(data()[0], (0, 4), -1), ValueError, r"expected words from 0 to 5; got -1 at x\[0, 4\]"),
    "huge": (
        data(dtype=np.uint64)[0] + np.uint64(2**63),
        ValueError,
        r"words from 0 to 5; got 92233720.* at x\[0, 0\]",
    ),
    "floats": (data()[0].astype(float), TypeError, "words, which are integers.*; got dtype float64"),
    "booleans": (data()[0] > 2, TypeError, "words, which are integers.*; got dtype bool"),
}


@pytest.mark.parametrize("case", BAD)
def test_words_outside_of_the_vocabulary_are_refused_before_anything_changes(case):
    x, error, message = BAD[case]
    y, own = data()[1], net()
    before = own.params.copy(), own.grads.copy(), own.step
    for call in (
        lambda: own.predict(x),
        lambda: own.evaluate(x, y),
        lambda: own.loss_and_grads(x, y),
        lambda: mn.Trainer(own, (x, y), rule=mn.SGD(), lr=0.1, batch_size=8, epochs=1),
        lambda: mn.Trainer(own, data(), rule=mn.SGD(), lr=0.1, batch_size=8, epochs=1, validation=(x, y)),
    ):
        with pytest.raises(error, match=message):
            call()
    for kept, now in zip(before, (own.params, own.grads, own.step), strict=True):
        np.testing.assert_array_equal(kept, now)


def test_words_have_no_gradient():
    x, y = data()
    for call in (lambda own: own.loss_and_grads(x, y, dx=np.empty(x.shape, np.float32)),):
        with pytest.raises(ValueError, match="loss_and_grads: expected dx=None, as the input is words"):
            call(net())
    own = net()
    scores = own.forward(x)
    with pytest.raises(ValueError, match="backward: expected dx=None, as the input is words"):
        own.backward(np.ones_like(scores), np.empty(x.shape, np.float32))


def test_batches_hold_words_where_their_dtype_says_so():
    x, y = data(dtype=np.uint8)
    batch, _ = Batches((x, y), 8, shuffle=False, dtype=np.int64).next()
    assert batch.dtype == np.int64
    np.testing.assert_array_equal(batch, x[:8])
    with pytest.raises(TypeError, match=r"got dtype int64; batches of words, for an Embedding, have dtype=np\.int64"):
        Batches(data(), 8)
    with pytest.raises(TypeError, match="expected x of words, which are integers; got dtype float64"):
        Batches((x.astype(float), y), 8, dtype=np.int64)
    with pytest.raises(ValueError, match="expected words without augment and standardize"):
        Batches((x, y), 8, dtype=np.int64, standardize=Standardizer.fit(x))


def test_words_are_split_like_any_data():
    (x, _), (other, _) = mn.data.split(data(), (0.5, 0.5))
    assert x.dtype == other.dtype == np.int64
    assert len(x) + len(other) == 37


def test_a_net_of_numbers_says_what_words_need():
    with pytest.raises(TypeError, match=r"got dtype int64\. Words need an Embedding as first layer"):
        mn.Net([mn.Dense(2)], TIME).predict(data()[0])


def test_the_row_of_the_padding_stays_zero_under_every_pull():
    layers = [mn.Embedding(VOCABULARY, 4, padding=0), mn.Flatten(), mn.Dense(2)]
    own = mn.Net(layers, TIME, mn.SoftmaxCrossEntropy(), l2=0.1, l1=0.01)
    mn.fit(own, data(), rule=mn.Adam(), lr=0.1, batch_size=8, epochs=3, weight_decay=0.1)
    W = own.named_parameters()["0.W"]
    assert not W[0].any()
    assert W[1:].all()
    x = np.zeros((1, TIME), int)
    assert not own.forward(x).any() or np.array_equal(own.forward(x)[0], own.named_parameters()["2.b"])


def test_check_net_judges_parameters_and_leaves_out_words():
    check = mn.check_net(net(), *data(4), dtype=np.float64)
    check.assert_passed()
    assert [t.name for t in check.tensors if t.name == "input"] == []
    mn.compare_precisions(net(), *data(4)).assert_passed()


def test_a_run_on_words_resumes_with_the_same_bits(tmp_path):
    def trainer():
        return mn.Trainer(net(), data(), rule=mn.Adam(), lr=0.01, batch_size=8, epochs=4, validation=data(9))

    whole = trainer()
    whole.run(progress=False)
    first = trainer()
    for _ in range(7):
        next(first)
    first.save(tmp_path / "run.safetensors")
    again = {"rule": mn.Adam(), "validation": data(9)}
    second = mn.Trainer.resume(tmp_path / "run.safetensors", net(), data(), **again)
    second.run(progress=False)
    np.testing.assert_array_equal(second.net.params, whole.net.params)
    assert second.history.epochs.rows == whole.history.epochs.rows


def test_copies_averages_and_ensembles_take_words():
    own, (x, y) = net(), data()
    np.testing.assert_array_equal(copy.deepcopy(own).predict(x), own.predict(x))
    ema = mn.EMA(0.9)
    mn.fit(own, (x, y), rule=mn.SGD(), lr=0.1, batch_size=8, epochs=1, callbacks=[ema])
    with ema.applied(own):
        assert np.isfinite(own.evaluate(x, y)["loss"])
    other = net(seed=1)
    together = mn.Ensemble(own, [own, other]).predict(x, "scores")
    np.testing.assert_allclose(together, (own.predict(x) + other.predict(x)) / 2, rtol=1e-6, atol=1e-6)


def test_diagnostics_take_words():
    own, (x, y) = net(), data(60)
    table = variance_by_layer(own, x, y)
    assert [layer.name for layer in table.layers] == ["0", "1", "2", "3", "4"]  # no row for the words themselves
    assert table["0"].gain is None
    assert table["0"].gradient_gain is None
    report = mn.diagnostics.preflight(own, (x, y), lr=0.01)
    assert report["input"].values == {"low": 0, "high": 5, "different": 6}
    assert report["gradients"].verdict == "passed"
    assert mn.diagnostics.preflight(own, (x + 1, y), lr=0.01)["input"].verdict == "failed"
