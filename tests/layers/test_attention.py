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
