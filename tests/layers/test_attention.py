"""Attention and positional encoding: what a position sees, dropout of weights, published values, and refusals."""

import numpy as np
import pytest

import minnet as mn
from minnet.data import padded

N, TIME, WIDTH = 3, 5, 4
X = np.random.default_rng(0).standard_normal((N, TIME, WIDTH))


def net_of(layer, shape=(TIME, WIDTH)):
    net = mn.Net([layer], shape, dtype=np.float64)
    net.params += 0.1 * np.random.default_rng(1).standard_normal(net.params.size)
    return net


def test_a_causal_position_sees_nothing_after_it():
    net = net_of(mn.SelfAttention(2, causal=True))
    y = net.predict(X)
    for t in range(TIME):
        other = X.copy()
        other[:, t + 1 :] = 7.0
        np.testing.assert_allclose(net.predict(other)[:, : t + 1], y[:, : t + 1], rtol=0, atol=1e-13)
    before = net_of(mn.SelfAttention(2)).predict(X)
    assert np.abs(before[:, 0] - y[:, 0]).max() > 1e-3


def test_attention_without_a_mask_does_not_know_the_order_and_positions_tell_it():
    order = np.random.default_rng(2).permutation(TIME)
    net = net_of(mn.SelfAttention(2))
    np.testing.assert_allclose(net.predict(X[:, order]), net.predict(X)[:, order], rtol=0, atol=1e-13)
    placed = net_of(mn.Chain([mn.PositionalEncoding(), mn.SelfAttention(2)]))
    assert np.abs(placed.predict(X[:, order]) - placed.predict(X)[:, order]).max() > 1e-3


@pytest.mark.parametrize("causal", [False, True])
def test_padding_is_not_seen_and_short_sequences_are_as_if_they_stood_alone(causal):
    sequences = [[3, 1, 4, 1, 2], [2, 5], [4]]
    words = padded(sequences, padding=0)

    def net_of_words(time):
        net = mn.Net([mn.Embedding(6, WIDTH), mn.SelfAttention(2, causal=causal, padding=0)], time, dtype=np.float64)
        net.params += 0.1 * np.random.default_rng(1).standard_normal(net.params.size)
        return net

    net = net_of_words(TIME)
    y = net.predict(words)
    for sequence, output in zip(sequences, y, strict=True):
        alone = net_of_words(len(sequence)).predict([sequence])[0]
        np.testing.assert_allclose(output[: len(sequence)], alone, rtol=0, atol=1e-14)
    other = net.twin()
    other.named_parameters()["0.W"][0] = 7.0  # the word that fills up
    np.testing.assert_array_equal(other.predict(words)[words != 0], y[words != 0])
    before = net_of_words(TIME)
    for bad in ([[3, 1, 0, 0, 0], [0] * TIME], *([[[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]]] if causal else [])):
        where = "first" if causal else "somewhere"
        with pytest.raises(ValueError, match=rf"expected another word than padding=0 {where} .* got .* as x\[1\]"):
            before.forward(bad)


# Of another sequence -------------------------------------------------------------------------------------------


def test_the_order_of_the_memory_does_not_matter_and_each_query_stands_alone():
    """A net whose x is a memory of five positions and then queries of three."""
    net = net_of(mn.CrossAttention(2, memory=mn.Slice(0, 5), queries=mn.Slice(5, 8)), (8, WIDTH))
    x = np.random.default_rng(3).standard_normal((N, 8, WIDTH))
    y = net.predict(x)
    assert y.shape == (N, 3, WIDTH)
    order = np.random.default_rng(4).permutation(5)
    np.testing.assert_allclose(net.predict(np.concatenate([x[:, order], x[:, 5:]], axis=1)), y, rtol=0, atol=1e-13)
    other = x.copy()
    other[:, 6] = 7.0
    np.testing.assert_array_equal(net.predict(other)[:, [0, 2]], y[:, [0, 2]])
    assert np.abs(net.predict(other)[:, 1] - y[:, 1]).max() > 1e-3


def test_attention_to_itself_is_attention_to_a_memory_that_is_the_sequence():
    one, other = net_of(mn.SelfAttention(2)), net_of(mn.CrossAttention(2, memory=mn.Slice(0, TIME)))
    ours, theirs = one.named_parameters(), other.named_parameters()
    for kind in ("W", "b"):
        theirs[f"0.{kind}_q"][...], theirs[f"0.{kind}_kv"][...] = np.split(ours[f"0.{kind}_in"], [WIDTH], axis=-1)
        theirs[f"0.{kind}_out"][...] = ours[f"0.{kind}_out"]
    np.testing.assert_allclose(other.predict(X), one.predict(X), rtol=0, atol=1e-14)
    cotangent, of_one, of_other = np.random.default_rng(5).standard_normal(X.shape), np.empty_like(X), np.empty_like(X)
    for net, dx in ((one, of_one), (other, of_other)):
        net.forward(X)
        net.backward(cotangent, dx)
    np.testing.assert_allclose(of_other, of_one, rtol=0, atol=1e-13)


def test_a_memory_with_padding_is_as_if_it_stood_alone():
    memories, asking = [[3, 1, 4], [2], [5, 5]], [[1, 2], [3, 0], [0, 0]]  # 0 is a word like others in what asks

    def net_of_words(others):
        paths = mn.Slice(2, 2 + others), mn.Slice(0, 2)
        layers = [mn.Embedding(6, WIDTH), mn.CrossAttention(2, *paths, padding=0, first=2)]
        net = mn.Net(layers, 2 + others, dtype=np.float64)
        net.params += 0.1 * np.random.default_rng(1).standard_normal(net.params.size)
        return net

    net = net_of_words(3)
    y = net.predict(np.concatenate([asking, padded(memories, padding=0)], axis=1))
    for words, memory, output in zip(asking, memories, y, strict=True):
        alone = net_of_words(len(memory)).predict([[*words, *memory]])[0]
        np.testing.assert_allclose(output, alone, rtol=0, atol=1e-14)
    with pytest.raises(
        ValueError, match=r"than padding=0 somewhere in x\[:, 2:5\], .*; got \[1, 2, 0, 0, 0\] as x\[1\]"
    ):
        net.forward([[1, 2, 3, 0, 0], [1, 2, 0, 0, 0]])
    for seed in range(20):  # none of the words that a check draws is refused
        mn.check_layer(mn.Chain(net.layers.layers), (5,), batch=4, seed=seed, samples=3).assert_passed()


def test_dropout_of_a_memory_is_replayed_and_its_threads_do_not_matter():
    """Enough work that threads share it."""
    layer = mn.CrossAttention(4, memory=[mn.Slice(0, 70), mn.Dense(9)], queries=mn.Slice(70, 135), dropout=0.3)
    x, bits = np.random.default_rng(6).standard_normal((5, 135, 16)).astype(np.float32), []
    before = mn.get_num_threads()
    try:
        for threads in (1, before):
            mn.set_num_threads(threads)
            net = mn.Net([layer], (135, 16), seed=2)
            y = net.forward(x, training=True).copy()
            np.testing.assert_array_equal(net.forward(x, training=True), y)
            dx = np.empty_like(x)
            net.backward(np.ones_like(y), dx)
            bits.append([a.tobytes() for a in (y, dx, net.grads)])
            net.step += 1
            assert (net.forward(x, training=True) != y).any()
    finally:
        mn.set_num_threads(before)
    assert bits[0] == bits[1]


def test_attention_to_a_memory_learns_to_look_up_what_is_asked_for():
    """Three pairs of a key and a value, then two keys: the answers are their values."""
    rng = np.random.default_rng(0)
    keys = np.stack([rng.permutation(4)[:3] for _ in range(600)])
    values, asked = rng.integers(4, 8, (600, 3)), rng.integers(0, 3, (600, 2))
    pairs = np.stack([keys, values], axis=2).reshape(600, 6)
    x = np.concatenate([pairs, np.take_along_axis(keys, asked, axis=1)], axis=1)
    y = np.take_along_axis(values, asked, axis=1) - 4
    memory = [mn.Slice(0, 6), mn.GRU(16)]  # whose state at a value knows the key before it
    layers = [mn.Embedding(8, 16), mn.CrossAttention(4, memory, mn.Slice(6, 8)), mn.LayerNorm(), mn.Dense(4)]
    net = mn.Net(layers, 8, mn.SoftmaxCrossEntropy())
    mn.fit(net, (x[:500], y[:500]), rule=mn.Adam(), lr=0.01, batch_size=32, epochs=25, progress=False)
    assert net.evaluate(x[500:], y[500:])["accuracy"] > 0.95


def test_large_scores_do_not_overflow():
    net = net_of(mn.SelfAttention(1))
    y = net.predict(1e4 * X)
    assert np.isfinite(y).all()


def test_dropped_weights_keep_the_mean_and_evaluation_drops_none():
    layer, shape = mn.SelfAttention(1, dropout=0.25), (40, 2)
    net = mn.Net([layer], shape, dtype=np.float64)
    p = net.named_parameters()
    p["0.W_in"][...] = 0  # all weights are equal, and the values are the bias, 1
    p["0.b_in"][...] = [0, 0, 0, 0, 1, 1]
    p["0.W_out"][...] = np.eye(2)
    x = np.zeros((50, *shape))
    np.testing.assert_allclose(net.forward(x), 1, rtol=0, atol=1e-13)
    kept = net.forward(x, training=True).copy()  # the share of 40 weights that are kept, over 0.75
    # 80000 draws of variance 0.25 * 0.75: five standard errors.
    assert abs(kept[..., 0].mean() - 1) < 5 * np.sqrt(0.25 / 0.75 / 80_000)
    assert kept[..., 0].std() == pytest.approx(np.sqrt(0.25 / 0.75 / 40), rel=0.1)
    np.testing.assert_array_equal(net.forward(x, training=True), kept)
    net.step += 1
    assert (net.forward(x, training=True) != kept).any()


def test_waves_are_those_of_vaswani_et_al():
    added = net_of(mn.PositionalEncoding()).predict(np.zeros((1, TIME, WIDTH)))[0]
    t = np.arange(TIME)
    expected = np.stack([np.sin(t), np.cos(t), np.sin(t / 100), np.cos(t / 100)], axis=1)  # 10000^(2 / 4) = 100
    np.testing.assert_allclose(added, expected, rtol=0, atol=1e-14)
    odd = net_of(mn.PositionalEncoding(), (2, 3)).predict(np.zeros((1, 2, 3)))[0]
    np.testing.assert_allclose(odd[1], [np.sin(1), np.cos(1), np.sin(10000 ** (-2 / 3))], rtol=0, atol=1e-14)


def test_a_small_transformer_learns_to_copy_the_word_three_places_back():
    x = np.random.default_rng(0).integers(0, 5, (256, 10))
    y = np.full_like(x, -1)
    y[:, 3:] = x[:, :-3]
    block = [
        mn.Residual([mn.LayerNorm(), mn.SelfAttention(2, causal=True)]),
        mn.Residual([mn.LayerNorm(), mn.Dense(32), mn.ReLU(), mn.Dense(16)]),
    ]
    layers = [mn.Embedding(5, 16), mn.PositionalEncoding(learned=True), *block, mn.LayerNorm(), mn.Dense(5)]
    net = mn.Net(layers, 10, mn.SoftmaxCrossEntropy(ignored=-1))
    history = mn.fit(net, (x, y), rule=mn.Adam(), lr=0.01, batch_size=32, epochs=25)
    assert history.epochs.rows[-1]["accuracy"] > 0.95


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mn.SelfAttention(0), "SelfAttention: expected heads of at least 1; got 0"),
        (lambda: mn.SelfAttention(2, dropout=1.0), "SelfAttention: expected 0 <= dropout < 1; got 1.0"),
        (lambda: mn.SelfAttention(2, causal=None), "SelfAttention: expected causal to be True or False; got None"),
        (lambda: mn.SelfAttention(2, init=0.1), "SelfAttention: expected init to be an initializer such as"),
        (lambda: mn.CrossAttention(0, mn.Dense(2)), "CrossAttention: expected heads of at least 1; got 0"),
        (lambda: mn.CrossAttention(1, mn.Dense(2), dropout=1), "CrossAttention: expected 0 <= dropout < 1; got 1"),
        (lambda: mn.CrossAttention(1, 3), "CrossAttention: expected memory as a layer or a list of layers; got 3"),
        (lambda: mn.CrossAttention(1, mn.Dense(2), 3), "CrossAttention: expected queries as a layer or a list of"),
        (lambda: mn.CrossAttention(1, mn.Dense(2), first=-1), "CrossAttention: expected first of at least 0; got -1"),
        (
            lambda: mn.Net([mn.CrossAttention(1, mn.Flatten())], (5, 4)),
            r"CrossAttention 0: expected memory as sequences \(time, width\); got shape \(20,\)",
        ),
        (
            lambda: mn.Net([mn.CrossAttention(1, mn.Dense(2), mn.Flatten())], (5, 4)),
            r"CrossAttention 0: expected queries as sequences \(time, width\); got shape \(20,\)",
        ),
        (
            lambda: mn.Net([mn.CrossAttention(3, mn.Dense(3))], (5, 4)),
            r"CrossAttention 0: expected queries of a width divisible by heads=3; got shape \(5, 4\)",
        ),
        (
            lambda: mn.Net([mn.CrossAttention(1, mn.Dense(2), padding=0)], (5, 4)),
            r"CrossAttention 0: expected a net whose input is 5 words from place 0 on, .* \(5, 4\) of floating",
        ),
        (
            lambda: mn.Net([mn.Embedding(3, 4), mn.CrossAttention(1, mn.Slice(2, 5), padding=0, first=3)], 5),
            r"CrossAttention 1: expected a net whose input is 3 words from place 3 on, .* with input shape \(5,\)$",
        ),
        (lambda: mn.PositionalEncoding(learned="yes"), "PositionalEncoding: expected learned to be True or False"),
        (lambda: mn.SelfAttention(2, padding=-1), "SelfAttention: expected padding of at least 0; got -1"),
        (
            lambda: mn.Net([mn.SelfAttention(2, padding=0)], (5, 4)),
            r"SelfAttention 0: expected a net whose input is 5 words, one for each position, .* \(5, 4\) of floating",
        ),
        (
            lambda: mn.Net([mn.Embedding(3, 4), mn.Reshape((3, 4)), mn.SelfAttention(2, padding=0)], (3, 1)),
            r"SelfAttention 2: expected a net whose input is 3 words, .* got a net with input shape \(3, 1\)$",
        ),
        (
            lambda: mn.Net([mn.Embedding(3, 4), mn.SelfAttention(2, padding=3)], 5),
            "SelfAttention 1: expected padding from 0 to 2; got 3",
        ),
        (
            lambda: mn.Net([mn.SelfAttention(3)], (5, 4)),
            r"SelfAttention 0: expected a width divisible by heads=3; got input shape \(5, 4\)",
        ),
        (
            lambda: mn.Net([mn.SelfAttention(1)], 4),
            r"SelfAttention 0: expected sequences \(time, width\); got .* \(4,\)",
        ),
        (lambda: mn.Net([mn.PositionalEncoding()], 4), r"PositionalEncoding 0: expected sequences \(time, width\)"),
    ],
)
def test_bad_arguments_are_refused_where_they_are_made(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
