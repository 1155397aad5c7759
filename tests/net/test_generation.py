"""Texts that a network writes: word by word as the whole pass has it, drawn as the scores say."""

from collections import Counter

import numpy as np
import pytest

import minnet as mn
from minnet.data import Text
from minnet.layers.changed import changed
from minnet.layers.kept import kept
from minnet.net import generation

VOCABULARY, TIME = 6, 8


def net_of(*layers, time=TIME, dtype=np.float64, outputs=VOCABULARY):
    net = mn.Net([mn.Embedding(VOCABULARY, 5), *layers, mn.Dense(outputs)], time, dtype=dtype, seed=1)
    net.params *= 2  # scores that differ
    return net


class Before(mn.Layer):
    """The running mean of the inputs so far: a causal layer that minnet knows nothing of."""

    def plan(self, in_shape):
        return mn.Plan(in_shape)

    def forward(self, m, x, y):
        y[...] = np.cumsum(x, axis=1) / np.arange(1, x.shape[1] + 1)[:, None]

    def backward(self, m, x, y, dy, dx):
        raise NotImplementedError


STEPWISE = {
    "RNN": lambda **options: net_of(mn.RNN(7), **options),
    "LSTM, LSTM": lambda **options: net_of(mn.LSTM(7), mn.LayerNorm(), mn.Dropout(0.5), mn.LSTM(6), **options),
    "GRU in a residual": lambda **options: net_of(mn.Residual([mn.GRU(5), mn.Tanh()]), mn.BatchNorm(), **options),
    "with padding": lambda **options: net_of(mn.GRU(7, padding=2), mn.LSTM(5, padding=2), **options),
    "with streams": lambda **options: net_of(mn.LSTM(7, streams=3), **options),
}


def attention(learned=False):
    heads = {"heads": 1} if learned else {"heads": 5, "dropout": 0.5}
    block = mn.Residual([mn.SelfAttention(causal=True, **heads), mn.LayerNorm()])
    return net_of(mn.PositionalEncoding(learned), block, block)


def tied():
    inner = [mn.PositionalEncoding(), mn.Residual([mn.SelfAttention(1, causal=True)]), mn.GRU(5)]
    net = mn.Net(mn.TiedEmbedding(mn.Embedding(VOCABULARY, 5), inner), TIME, dtype=np.float64, seed=1)
    net.params *= 2
    return net


KEPT = {"attention": attention, "learned places": lambda: attention(learned=True), "tied": tied}
WHOLE = {
    "unknown": lambda: net_of(Before()),
    "a shape that depends on the context": lambda: net_of(mn.Reshape((TIME, 5)), mn.RNN(5)),
    "unknown and attention": lambda: net_of(Before(), mn.SelfAttention(1, causal=True)),
    "attention with padding": lambda: net_of(mn.SelfAttention(1, causal=True, padding=0)),
}


def greedily(net, prompt, length):
    """The likeliest words by the definition: the whole text is read again for each."""
    words = list(prompt)
    for _ in range(length):
        window = np.zeros((1, *net.input_shape), int)
        window[0, : len(words)] = words
        words.append(int(net.predict(window)[0, len(words) - 1].argmax()))
    return words[len(prompt) :]


@pytest.mark.parametrize("make", [*STEPWISE.values(), *KEPT.values(), *WHOLE.values()], ids=[*STEPWISE, *KEPT, *WHOLE])
def test_the_likeliest_words_are_those_of_whole_passes(make):
    net, written = make(), set()
    for prompt in ([2], [1, 4, 4]):
        found = mn.generate(net, prompt, TIME - len(prompt), top_k=1)
        np.testing.assert_array_equal(found, greedily(net, prompt, TIME - len(prompt)))
        written |= set(found)
    assert len(written) > 1


@pytest.mark.parametrize("make", STEPWISE.values(), ids=STEPWISE)
def test_step_by_step_has_the_scores_of_whole_passes(make):
    net, steps = make(), make(time=1)
    x = np.random.default_rng(0).integers(0, VOCABULARY, (2, TIME))
    found = [steps.forward(x[:, t : t + 1], continues=t > 0).copy() for t in range(TIME)]
    np.testing.assert_allclose(np.concatenate(found, axis=1), net.predict(x), rtol=0, atol=1e-13)


@pytest.mark.parametrize("make", KEPT.values(), ids=KEPT)
def test_kept_keys_and_values_give_the_scores_of_whole_passes(make, monkeypatch):
    net = make()
    words = list(np.random.default_rng(0).integers(0, VOCABULARY, TIME))
    reader = generation._reader(net, changed(net.layers, lambda layer: kept(layer, TIME)))
    expected, read = net.predict(np.array([words]))[0], words[:1]
    for t, scores in enumerate(generation._step_by_step(reader, read, TIME)):
        # Half a unit in the last place of each weight changes scores by up to 3e-13: two layer norms have small inputs.
        np.testing.assert_allclose(scores, expected[t], rtol=0, atol=1e-12)
        read += words[t + 1 : t + 2]
    assert t == TIME - 1
    monkeypatch.setattr(net, "predict", None)  # no whole pass is made
    mn.generate(net, [1], TIME)


def test_a_recurrent_net_writes_texts_of_any_length_and_does_not_change():
    net = net_of(mn.LSTM(7, streams=2))
    before = net.params.copy(), net.buffers.copy(), net.step
    assert mn.generate(net, np.zeros(2 * TIME, np.int32), 3 * TIME).shape == (3 * TIME,)
    np.testing.assert_array_equal(net.params, before[0])
    np.testing.assert_array_equal(net.buffers, before[1])
    assert net.step == before[2]


def test_words_are_drawn_as_often_as_their_scores_say():
    net = net_of(mn.RNN(7))
    scores = net.predict(np.full((1, TIME), 3))[0, 0]
    draws = 2000
    for temperature, top_k in ((1.0, None), (0.5, None), (2.0, 3)):
        kept = np.sort(scores)[-(top_k or VOCABULARY)]
        p = np.where(scores >= kept, np.exp(scores / temperature), 0)
        p /= p.sum()
        given = {"temperature": temperature, "top_k": top_k}
        counts = Counter(int(mn.generate(net, [3], 1, seed=seed, **given)[0]) for seed in range(draws))
        for word in range(VOCABULARY):
            assert abs(counts[word] - draws * p[word]) <= 5 * np.sqrt(draws * p[word] * (1 - p[word]))


def test_a_seed_gives_the_same_words_and_another_seed_others():
    net = net_of(mn.RNN(7), dtype=np.float32)
    first, again, other = (mn.generate(net, [0], 40, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_text_goes_in_and_comes_out():
    text = Text("abcabcabc" * 30)
    net = mn.Net([mn.Embedding(3, 4), mn.GRU(8), mn.Dense(3)], 9, mn.SoftmaxCrossEntropy())
    mn.fit(net, text.windows(9), rule=mn.Adam(), lr=0.05, batch_size=10, epochs=30, progress=False)
    assert text.decode(mn.generate(net, text.encode("ab"), 10)) == "cabcabcabc"


@pytest.mark.parametrize("make", [WHOLE["unknown"], attention], ids=["whole", "kept"])
def test_a_context_slides_if_it_is_asked_to(make):
    net = make()
    found = list(mn.generate(net, [1, 2], TIME + 3, top_k=1, slide=True))
    words = [1, 2, *found]
    assert found[: TIME - 1] == greedily(net, [1, 2], TIME - 1)
    for i in range(TIME + 1, len(words)):
        assert words[i] == net.predict(np.array([words[i - TIME : i]]))[0, -1].argmax()


IMAGES = mn.Net([mn.Dense(3)], 4)
RECURRENT = net_of(mn.RNN(7))
BAD = {
    "no net": (lambda: mn.generate("net", [0], 1), TypeError, "generate: expected a Net; got 'net'"),
    "no words": (lambda: mn.generate(IMAGES, [0], 1), ValueError, "expected a net of words .*; got Dense.*"),
    "one answer": (
        lambda: mn.generate(mn.Net([mn.Embedding(6, 2), mn.RNN(3, last=True), mn.Dense(6)], 4), [0], 1),
        ValueError,
        r"a net that scores the 6 words at each position, with output shape \(4, 6\); got \(6,\)",
    ),
    "other scores": (
        lambda: mn.generate(net_of(outputs=7), [0], 1),
        ValueError,
        r"output shape \(8, 6\); got \(8, 7\)",
    ),
    "a text": (lambda: mn.generate(RECURRENT, "ab", 1), ValueError, r"at least one word.*Text\.encode"),
    "an empty prompt": (lambda: mn.generate(RECURRENT, [], 1), ValueError, "a prompt of at least one word"),
    "a batch": (
        lambda: mn.generate(RECURRENT, [[1]], 1),
        ValueError,
        r"integers of one axis; got int64 of shape \(1, 1\)",
    ),
    "a word out of range": (
        lambda: mn.generate(RECURRENT, [0, 6], 1),
        ValueError,
        r"expected words from 0 to 5; got 6 at prompt\[1\]",
    ),
    "no length": (lambda: mn.generate(RECURRENT, [0], 0), ValueError, "generate: expected length of at least 1; got 0"),
    "no temperature": (
        lambda: mn.generate(RECURRENT, [0], 1, temperature=0),
        ValueError,
        "generate: expected temperature",
    ),
    "too many": (lambda: mn.generate(RECURRENT, [0], 1, top_k=7), ValueError, "top_k of at most 6 words; got 7"),
    "none at all": (lambda: mn.generate(RECURRENT, [0], 1, top_k=0), ValueError, "top_k of at least 1; got 0"),
    "a prompt beyond the context": (
        lambda: mn.generate(net_of(Before()), [0] * 9, 1, slide=True),
        ValueError,
        "expected a prompt of at most 8 words, the context of the net; got 9",
    ),
    "a text beyond the context": (
        lambda: mn.generate(net_of(Before()), [0] * 3, 7),
        ValueError,
        "at most 8 words to read, the context of the net; got a prompt of 3 and length=7. With slide=True",
    ),
    "a text beyond the context of attention": (
        lambda: mn.generate(attention(), [0] * 3, 7),
        ValueError,
        "at most 8 words to read, the context of the net; got a prompt of 3 and length=7. With slide=True",
    ),
    "attention to what comes": (
        lambda: mn.generate(net_of(mn.SelfAttention(1)), [0], 1),
        ValueError,
        r"the scores at the first position depend on later words",
    ),
    "a net that sees what comes": (
        lambda: mn.generate(net_of(mn.Bidirectional(mn.RNN(4))), [0], 1),
        ValueError,
        "expected a net whose positions do not see those after them",
    ),
}


@pytest.mark.parametrize(("make", "kind", "message"), BAD.values(), ids=BAD)
def test_bad_input(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_scores_that_are_no_numbers_are_refused():
    net = net_of(mn.RNN(7))
    net.params[:] = np.nan
    with pytest.raises(FloatingPointError, match="generate: expected finite scores; got NaN or infinity"):
        mn.generate(net, [0], 1)


@pytest.mark.parametrize("prompt", [[1], [2]])
def test_a_net_with_padding_that_sees_later_words_is_refused_whatever_the_prompt(prompt):
    net = mn.Net([mn.Embedding(6, 4), mn.SelfAttention(1, padding=0), mn.Dense(6)], 5, seed=3)
    with pytest.raises(ValueError, match="do not see those after them"):
        mn.generate(net, prompt, 3)


def test_a_text_that_could_begin_with_padding_is_refused_before_it_is_written():
    net = mn.Net([mn.Embedding(6, 4), mn.SelfAttention(1, causal=True, padding=5), mn.Dense(6)], 5, seed=3)
    assert len(mn.generate(net, [1], 5)) == 5
    with pytest.raises(ValueError, match="generate: expected slide=False"):
        mn.generate(net, [1], 40, slide=True)
    with pytest.raises(ValueError, match="begins with another word than the padding; got 5"):
        mn.generate(net, [5], 2)
