"""Kernels of words and sequences against naive twins, which step through time in plain NumPy."""

import math
from typing import ClassVar

import numpy as np
import pytest
from splitmix import STREAM
from twins import Table, check_twin, empty

from minnet.kernels.passes import (
    attention,
    cho_gru,
    embedding,
    gru,
    lstm,
    packed,
    patches,
    recurrent,
    residual,
    rnn,
)
from minnet.kernels.vector.product import new_work
from minnet.kernels.vector.simd import VECTOR_BYTES

TWINS = Table()
twin_of = TWINS.twin_of


@pytest.mark.parametrize(TWINS.names, TWINS)
def test_a_kernel_equals_its_naive_twin(name, twin, make, shape, terms, dtype):
    check_twin(name, twin, make, shape, terms, dtype)


# Words --------------------------------------------------------------------------------------------------------

WORDS = [(1, 1, 1), (9, 4, 3), (300, 7, 17)]  # (words, vocabulary, width); the last ones repeat some forty times


def make_rows(rng, shape):
    n, vocabulary, width = shape
    return [
        rng.integers(0, vocabulary, n),
        rng.standard_normal((vocabulary, width)),
        vocabulary // 2,
        empty((n, width)),
    ]


def make_sums(rng, shape):
    n, vocabulary, width = shape
    outputs = [empty((vocabulary, width)), empty((vocabulary, width))]
    return [rng.integers(0, vocabulary, n), vocabulary // 2, rng.standard_normal((n, width)), *outputs]


@twin_of(embedding.are_seen, lambda rng, shape: [rng.integers(0, 2, shape), 0, 0, shape[1]], shapes=[(1, 1), (3, 5)])
@twin_of(embedding.are_seen, lambda rng, shape: [rng.integers(0, 2, shape), 1, 0, 1], shapes=[(2, 3)])
@twin_of(embedding.are_seen, lambda rng, shape: [rng.integers(0, 2, shape), 1, 1, 2], shapes=[(2, 4)])
@twin_of(embedding.are_seen, lambda rng, shape: [rng.integers(1, 9, shape), 0, 0, shape[1]], shapes=[(40, 3)])
def are_seen(words, padding, first, within):
    return all(set(row[first : first + within].tolist()) - {padding} for row in words)


@twin_of(embedding.embed, make_rows, shapes=WORDS)
def embed(words, W, padding, y):
    for i, word in enumerate(words):
        y[i] = 0 if word == padding else W[word]


@twin_of(embedding.embed_backward, make_sums, shapes=WORDS, sums=True)
def embed_backward(words, padding, dy, dW, rests):
    for word in range(len(dW)):
        dW[word] = 0 if word == padding else dy[words == word].sum(axis=0)


def test_a_row_of_nothing_but_padding_is_found():
    words = np.array([[0, 1, 0], [1, 1, 0]])
    assert embedding.are_seen(words, 1, 0, 3)
    assert not embedding.are_seen(words, 1, 0, 2)
    assert embedding.are_seen(words, 2, 0, 1)


def test_the_gradient_of_a_frequent_word_does_not_lose_its_digits():
    """A million equal terms: a plain float32 sum of them is off by one part in a hundred."""
    n = 1_000_000
    words, dy = np.zeros(n, np.int64), np.full((n, 1), 0.1, np.float32)
    dW, rests = np.empty((1, 1), np.float32), np.empty((1, 1), np.float32)
    embedding.embed_backward(words, -1, dy, dW, rests)
    assert dW[0, 0] == pytest.approx(n * float(np.float32(0.1)), rel=2e-7)


# Time ---------------------------------------------------------------------------------------------------------

TIMES = [(1, 1, 1), (3, 5, 2), (9, 4, 17)]  # (samples, steps, features)


def make_by_step(way):
    def make(rng, shape):
        n, time, features = shape
        first, stride = (time - 1, -1) if way == "reverse" else (0, 1)
        return [rng.standard_normal(shape), first, stride, empty((time, n, features))]

    return make


def make_by_sample(way):
    def make(rng, shape):
        n, time, features = shape
        first, stride = (time - 1, -1) if way == "reverse" else (0, 1)
        return [rng.standard_normal((time, n, features)), first, stride, empty(shape)]

    return make


def by_step(x, first, stride, out):
    out[...] = x[:, ::stride].transpose(1, 0, 2)


def by_sample(x, first, stride, out):
    out[...] = x.transpose(1, 0, 2)[:, ::stride]


for _way in ("forward", "reverse"):
    twin_of(recurrent.by_step, make_by_step(_way), shapes=TIMES)(by_step)
    twin_of(recurrent.by_sample, make_by_sample(_way), shapes=TIMES)(by_sample)


def make_carried(rng, shape):
    return [rng.standard_normal((2, *shape)), int(rng.integers(5)), empty(shape)]


@twin_of(recurrent.recall, make_carried)
def recall(carried, number, h):
    h[...] = carried[number % 2]


@twin_of(
    recurrent.remember, lambda rng, s: [rng.standard_normal(s), int(rng.integers(5)), rng.standard_normal((2, *s))]
)
def remember(h, number, carried):
    carried[1 - number % 2] = h


@twin_of(recurrent.join, lambda rng, s: [rng.standard_normal(s), rng.standard_normal(s), empty((s[0], 2 * s[1]))])
def join(a, b, out):
    out[...] = np.hstack([a, b])


@twin_of(recurrent.part, lambda rng, s: [rng.standard_normal((s[0], 2 * s[1])), empty(s), empty(s)])
def part(both, a, b):
    a[...], b[...] = np.hsplit(both, 2)


# Recurrent layers ---------------------------------------------------------------------------------------------

# (samples, steps, units): one of everything; odd; several tasks; sums that are cut.
STEPS = [(1, 1, 1), (3, 4, 5), (21, 9, 40), (2, 2, 300)]


def pack(W, dtype):
    """The panels of B (depth, columns), written from their description: lanes, then terms, then panels."""
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    (depth, columns), rows = W.shape, -(-len(W) // lanes) * lanes
    panels = []
    for j in range(0, columns, 2 * lanes):
        part = W[:, j : j + 2 * lanes]
        width = lanes if part.shape[1] <= lanes else 2 * lanes
        panel = np.zeros((rows, width))
        panel[:depth, : part.shape[1]] = part
        panels.append(np.concatenate([panel.reshape(-1), np.zeros(rows * (2 * lanes - width))]))
    return np.concatenate(panels).astype(dtype)


def make_weights(transposed):
    """A part of W, for a part of memory that begins where no vector does: the place tells the twin the precision."""

    def make(rng, shape):
        depth, columns = shape
        W = rng.standard_normal((columns + 3, depth) if transposed else (depth, columns + 3))
        at, steps = (3 * depth, (1, depth)) if transposed else (3, (columns + 3, 1))

        def memory(dtype):
            itemsize = np.dtype(dtype).itemsize
            return np.zeros(itemsize + packed.panels_for(depth, columns, itemsize) + 64, dtype)

        return [W, at, *steps, depth, columns, memory, lambda dtype: np.dtype(dtype).itemsize]

    return make


WEIGHTS = [(1, 1), (5, 17), (33, 50), (300, 32)]


@twin_of(recurrent.pack_weights, make_weights(False), shapes=WEIGHTS)
@twin_of(recurrent.pack_weights, make_weights(True), shapes=WEIGHTS)
def pack_weights(W, at, row_step, column_step, depth, columns, packed, to):
    k, j = np.mgrid[:depth, :columns]
    found = pack(W.reshape(-1)[at + k * row_step + j * column_step], {4: np.float32, 8: np.float64}[to])
    packed[to : to + found.size] = found


@pytest.mark.parametrize(("depth", "columns"), WEIGHTS)
def test_panels_of_float32_take_no_less_memory_than_those_of_float64(depth, columns):
    for dtype in (np.float32, np.float64):
        size = packed.panels_for(depth, columns, np.dtype(dtype).itemsize)
        assert pack(np.ones((depth, columns)), dtype).size == size
    assert packed.panels_for(depth, columns, 4) >= size


class Cells:
    """Makes the arguments of the kernels that take steps: random states, gates and gradients, and packed weights.

    Args:
        gates: their number.
        packs: what of U (units, gates * units) is packed, one behind the other.
        names: arrays in the order of the arguments: "gates", "h" and so on, of ``SIZES``.
        backward: whether ``least`` and what follows it come behind ``last``.
        padded: whether some words are padding, in steps that go from the last position to the first.
    """

    SIZES: ClassVar = {
        **{"c": "TN", "h": "TN", "tanh_c": "tN", "inner": "tN", "reset": "tN", "dy": "tN", "gates": "tG"},
        **{"dgates": "tG", "drecurrent": "tG", "d_rz": "t2", "d_n": "tN", "bias": "N"},
        **{"carry": "nN", "dc": "nN", "dbefore": "nN", "dreset": "nN"},
    }

    def __init__(self, gates, packs, names, backward=(), padded=False):
        self.gates, self.packs, self.names, self.backward, self.padded = gates, packs, names, backward, padded

    def __call__(self, rng, shape):
        n, time, units = shape
        U = rng.standard_normal((units, self.gates * units)) / math.sqrt(units)
        kinds = {"T": (time + 1, n), "t": (time, n), "n": (n,)}

        def array(name):
            kind, width = self.SIZES[name][:-1], self.SIZES[name][-1]
            size = (*kinds.get(kind, ()), {"N": 1, "2": 2, "G": self.gates}[width] * units)
            # Backward passes read gates as activations.
            return rng.uniform(0.1, 0.9, size) if self.backward and name == "gates" else rng.standard_normal(size)

        words = np.zeros((0, 0), np.int64)
        if self.padded:
            words = rng.integers(0, 2, (n, time))
            words[0] = 1
        work, offsets = new_work(np.dtype(np.float64))
        steps = [time // 2, time, *([time // 2 + 1] if self.backward else [])]
        way = [words, 1, time - 1, -1] if self.padded else [words, 1, 0, 1]
        packs = [part(U, units) for part in self.packs]
        return [
            U, *map(array, self.names), *steps, *map(array, self.backward), *way,
            lambda dtype: np.concatenate([pack(part, dtype) for part in packs]), np.zeros_like(work), offsets,
        ]  # fmt: skip


def is_hidden(words, padding, s, place, stride, n):
    return words[:, place + s * stride] == padding if words.size else np.zeros(n, bool)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def whole(U, units):
    return U


def turned(U, units):
    return U.T


def kinds_of(kernel, *description, **more):
    """Register a twin for steps at all words and at those that are no padding."""

    def register(twin):
        for padded in (False, True):
            twin_of(kernel, Cells(*description, **more, padded=padded), shapes=STEPS, sums=True)(twin)
        return twin

    return register


def rnn_twin(activation):
    def twin(U, gates, h, first, last, words, padding, place, stride, panels, work, offsets):
        for s in range(first, last):
            gates[s] += h[s] @ U
            hidden = is_hidden(words, padding, s, place, stride, h.shape[1])
            h[s + 1] = np.where(hidden[:, np.newaxis], h[s], activation(gates[s]))

    return twin


def rnn_backward_twin(slope):
    def twin(U, h, dy, first, last, least, carry, dgates, words, padding, place, stride, panels, work, offsets):
        for s in reversed(range(first, last)):
            hidden = is_hidden(words, padding, s, place, stride, h.shape[1])[:, np.newaxis]
            dh = dy[s] + carry
            dgates[s] = np.where(hidden, 0, slope(h[s + 1]) * dh)
            carry[...] = np.where(hidden, dh, dgates[s] @ U.T if s >= least else 0)

    return twin


for _kernel, _back, _activation, _slope in (
    (rnn.tanh_rnn, rnn.tanh_rnn_backward, np.tanh, lambda h: 1 - h**2),
    (rnn.relu_rnn, rnn.relu_rnn_backward, lambda a: np.maximum(a, 0), lambda h: h > 0),
):
    kinds_of(_kernel, 1, [whole], ["gates", "h"])(rnn_twin(_activation))
    kinds_of(_back, 1, [turned], ["h", "dy"], backward=["carry", "dgates"])(rnn_backward_twin(_slope))


@kinds_of(lstm.lstm, 4, [whole], ["gates", "c", "tanh_c", "h"])
def lstm_twin(U, gates, c, tanh_c, h, first, last, words, padding, place, stride, panels, work, offsets):
    for s in range(first, last):
        seen = ~is_hidden(words, padding, s, place, stride, h.shape[1])
        gates[s] += h[s] @ U
        i, f, g, o = np.hsplit(gates[s], 4)
        i, f, g, o = logistic(i), logistic(f), np.tanh(g), logistic(o)
        gates[s, seen] = np.hstack([i, f, g, o])[seen]
        c[s + 1], h[s + 1] = c[s], h[s]
        c[s + 1, seen] = (f * c[s] + i * g)[seen]
        tanh_c[s, seen] = np.tanh(c[s + 1, seen])
        h[s + 1, seen] = o[seen] * tanh_c[s, seen]


@kinds_of(lstm.lstm_backward, 4, [turned], ["gates", "c", "tanh_c", "dy"], backward=["carry", "dc", "dgates"])
def lstm_backward_twin(
    U, gates, c, tanh_c, dy, first, last, least, carry, dc, dgates, words, padding, place, stride, panels, work, offsets
):
    for s in reversed(range(first, last)):
        hidden = is_hidden(words, padding, s, place, stride, len(dc))[:, np.newaxis]
        i, f, g, o = np.hsplit(gates[s], 4)
        dh = dy[s] + carry
        total = dc + dh * o * (1 - tanh_c[s] ** 2)
        parts = total * g * i * (1 - i), total * c[s] * f * (1 - f), total * i * (1 - g**2)
        dgates[s] = np.where(hidden, 0, np.hstack([*parts, dh * tanh_c[s] * o * (1 - o)]))
        carry[...] = np.where(hidden, dh, dgates[s] @ U.T if s >= least else 0)
        dc[...] = np.where(hidden, dc, total * f)


GRU_PACKS = [lambda U, units: U[:, : 2 * units], lambda U, units: U[:, 2 * units :]]


@kinds_of(gru.gru, 3, GRU_PACKS, ["gates", "bias", "inner", "h"])
def gru_twin(U, gates, c, inner, h, first, last, words, padding, place, stride, panels, work, offsets):
    units = len(c)
    for s in range(first, last):
        seen = ~is_hidden(words, padding, s, place, stride, h.shape[1])
        of_state = h[s] @ U
        inner[s] = of_state[:, 2 * units :] + c
        gates[s, :, : 2 * units] += of_state[:, : 2 * units]
        r, z, n = np.hsplit(gates[s], 3)
        r, z = logistic(r), logistic(z)
        n = np.tanh(n + r * inner[s])
        gates[s, seen] = np.hstack([r, z, n])[seen]
        h[s + 1] = h[s]
        h[s + 1, seen] = ((1 - z) * n + z * h[s])[seen]


@kinds_of(
    gru.gru_backward, 3, [turned], ["gates", "inner", "h", "dy"], backward=["carry", "dbefore", "dgates", "drecurrent"]
)
def gru_backward_twin(
    U, gates, inner, h, dy, first, last, least, carry, dbefore, dgates, drecurrent, words, padding, place, stride,
    panels, work, offsets,
):  # fmt: skip
    for s in reversed(range(first, last)):
        hidden = is_hidden(words, padding, s, place, stride, len(carry))[:, np.newaxis]
        r, z, n = np.hsplit(gates[s], 3)
        dh = dbefore + dy[s] + carry
        dn = dh * (1 - z) * (1 - n**2)
        dr, dz = dn * inner[s] * r * (1 - r), dh * (h[s] - n) * z * (1 - z)
        dgates[s] = np.where(hidden, 0, np.hstack([dr, dz, dn]))
        drecurrent[s] = np.where(hidden, 0, np.hstack([dr, dz, dn * r]))
        dbefore[...] = np.where(hidden, dh, dh * z)
        carry[...] = drecurrent[s] @ U.T if s >= least else 0


@kinds_of(cho_gru.cho_gru, 3, GRU_PACKS, ["gates", "reset", "h"])
def cho_gru_twin(U, gates, reset, h, first, last, words, padding, place, stride, panels, work, offsets):
    units = h.shape[2]
    for s in range(first, last):
        seen = ~is_hidden(words, padding, s, place, stride, h.shape[1])
        rz = gates[s, :, : 2 * units]
        rz[...] = logistic(rz + h[s] @ U[:, : 2 * units])
        r, z = np.hsplit(rz, 2)
        reset[s] = r * h[s]
        gates[s, :, 2 * units :] += reset[s] @ U[:, 2 * units :]
        gates[s, seen, 2 * units :] = np.tanh(gates[s, seen, 2 * units :])
        h[s + 1] = h[s]
        h[s + 1, seen] = ((1 - z) * gates[s, :, 2 * units :] + z * h[s])[seen]


CHO_TURNED = [lambda U, units: U[:, : 2 * units].T, lambda U, units: U[:, 2 * units :].T]


@kinds_of(
    cho_gru.cho_gru_backward, 3, CHO_TURNED, ["gates", "h", "dy"],
    backward=["carry", "dreset", "dbefore", "d_rz", "d_n"],
)  # fmt: skip
def cho_gru_backward_twin(
    U, gates, h, dy, first, last, least, carry, dreset, dbefore, d_rz, d_n, words, padding, place, stride, panels, work,
    offsets,
):  # fmt: skip
    units = carry.shape[1]
    for s in reversed(range(first, last)):
        hidden = is_hidden(words, padding, s, place, stride, len(carry))[:, np.newaxis]
        r, z, n = np.hsplit(gates[s], 3)
        dh = dbefore + dy[s] + carry
        d_n[s] = np.where(hidden, 0, dh * (1 - z) * (1 - n**2))
        dreset[...] = d_n[s] @ U[:, 2 * units :].T
        dr, dz = dreset * h[s] * r * (1 - r), dh * (h[s] - n) * z * (1 - z)
        d_rz[s] = np.where(hidden, 0, np.hstack([dr, dz]))
        dbefore[...] = np.where(hidden, dh, dh * z + dreset * r)
        carry[...] = d_rz[s] @ U[:, : 2 * units].T if s >= least else 0


# Patches ------------------------------------------------------------------------------------------------------

# (samples, rows and columns of patches, rows and columns of a patch, channels)
PATCHES = [(1, 1, 1, 1, 1, 1), (3, 2, 3, 5, 4, 3)]


def make_images(rng, shape):
    n, down, across, rows, columns, channels = shape
    images = rng.standard_normal((n, down * rows, across * columns, channels))
    return [images, rows, columns, empty((n, down * across, rows * columns * channels))]


def make_patches(rng, shape):
    images, rows, columns, patches = make_images(rng, shape)
    return [rng.standard_normal(patches.shape), rows, columns, empty(images.shape)]


def cut(images, rows, columns):
    """Views of the patches (n, down, across, rows, columns, channels)."""
    n, height, width, channels = images.shape
    return images.reshape(n, height // rows, rows, width // columns, columns, channels).swapaxes(2, 3)


@twin_of(patches.patches_of, make_images, shapes=PATCHES)
def patches_of(x, rows, columns, out):
    out[...] = cut(x, rows, columns).reshape(out.shape)


@twin_of(patches.images_of, make_patches, shapes=PATCHES)
def images_of(found, rows, columns, out):
    view = cut(out, rows, columns)
    view[...] = found.reshape(view.shape)


# Attention ----------------------------------------------------------------------------------------------------


@twin_of(residual.add_row, lambda rng, s: [rng.standard_normal(s), rng.standard_normal(s[1]), empty(s)])
def add_row(x, row, y):
    y[...] = x + row


def make_attention(others, ahead, word_at, outputs):
    """Arguments for sequences that attend to themselves, or to one with ``others`` positions more.

    ``word_at`` is the number of words before those of the positions; None if there are no words.
    """

    def make(rng, shape):
        n, time, heads, depth = shape
        seen = time + others
        words = np.zeros((0, 0), np.int64)
        if word_at is not None:
            words = rng.integers(0, 2, (n, word_at + seen))
            words[:, word_at] = 0
        width = heads * depth
        work, offsets = new_work(np.dtype(np.float64), attention.work_for(time, seen, depth, 4))
        queries, keys = rng.standard_normal((n, time, width)), rng.standard_normal((n, seen, 2 * width))
        log_sums, dy = empty((n, heads, time)), []
        if outputs == "gradient":
            log_sums[...] = of_weights(queries, keys, heads, ahead, words, word_at, 1)[1]
            dy = [rng.standard_normal((n, time, width))]
        out = [empty(queries.shape), empty(keys.shape)] if dy else [empty((n, time, width))]
        options = [words, word_at or 0, 1, np.uint64(STREAM), 3, np.uint64(0), 1.0]
        work = np.zeros_like(work)
        return [queries, keys, 0, width, heads, ahead, *options, log_sums, *dy, *out, work, offsets]

    return make


def split_heads(a, heads, parts=1):
    """Queries, or keys and values as two parts, (parts, n, heads, time, depth)."""
    n, time, _ = a.shape
    return a.reshape(n, time, parts, heads, -1).transpose(2, 0, 3, 1, 4)


def of_weights(queries, keys, heads, ahead, words, word_at, padding):
    """The attention weights (n, heads, time, others), and the logarithms of the sums of their exponentials."""
    (q,), (k, _) = split_heads(queries, heads), split_heads(keys, heads, 2)
    scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1])
    scores = np.where(np.tri(*scores.shape[2:], k=ahead, dtype=bool), scores, -np.inf)
    if words.size:
        scores = np.where((words[:, word_at:] == padding)[:, np.newaxis, np.newaxis], -np.inf, scores)
    log_sums = np.log(np.exp(scores).sum(axis=-1))
    return np.exp(scores - log_sums[..., np.newaxis]), log_sums


def attention_twin(
    queries, keys, key_at, value_at, heads, ahead, words, word_at, padding, stream, step, threshold, keep, log_sums,
    out, work, offsets,
):  # fmt: skip
    weights, log_sums[...] = of_weights(queries, keys, heads, ahead, words, word_at, padding)
    out[...] = (weights @ split_heads(keys, heads, 2)[1]).transpose(0, 2, 1, 3).reshape(out.shape)


def attention_backward_twin(
    queries, keys, key_at, value_at, heads, ahead, words, word_at, padding, stream, step, threshold, keep, log_sums,
    dy, dqueries, dkeys, work, offsets,
):  # fmt: skip
    (q,), (k, v) = split_heads(queries, heads), split_heads(keys, heads, 2)
    weights, _ = of_weights(queries, keys, heads, ahead, words, word_at, padding)
    (d,) = split_heads(dy, heads)
    slopes = d @ v.transpose(0, 1, 3, 2)
    slopes = weights * (slopes - (weights * slopes).sum(axis=-1, keepdims=True)) / math.sqrt(q.shape[-1])
    of_keys = np.stack([slopes.transpose(0, 1, 3, 2) @ q, weights.transpose(0, 1, 3, 2) @ d])
    dqueries[...] = (slopes @ k).transpose(0, 2, 1, 3).reshape(queries.shape)
    dkeys[...] = of_keys.transpose(1, 3, 0, 2, 4).reshape(keys.shape)


def make_step_of_attention(rng, shape):
    n, time, heads, depth = shape
    width, context = heads * depth, time + 2
    sizes = (n, 3 * width), (n, context, width), (n, context, width)
    qkv, keys, values = (rng.standard_normal(size) for size in sizes)
    return [qkv, time - 1, keys, values, np.zeros((n, heads, context)), empty((n, width))]


def attend_step(qkv, place, keys, values, weights, out):
    q, keys[:, place], values[:, place] = np.hsplit(qkv, 3)
    heads = weights.shape[1]
    q, k, v = (a.reshape(*a.shape[:-1], heads, -1) for a in (q, keys[:, : place + 1], values[:, : place + 1]))
    scores = np.exp(np.einsum("nhd,nthd->nht", q, k) / math.sqrt(q.shape[-1]))
    weights[..., : place + 1] = scores / scores.sum(axis=-1, keepdims=True)
    out[...] = np.einsum("nht,nthd->nhd", weights[..., : place + 1], v).reshape(out.shape)


# (samples, time, heads, depth): one of everything, odd, and work that is shared among threads.
HEADS = [(1, 1, 1, 1), (2, 7, 3, 5), (3, 65, 4, 17)]
twin_of(attention.attend_step, make_step_of_attention, shapes=HEADS, sums=True)(attend_step)
# (more positions to attend to, how far ahead, words before those of the positions)
for _seen in ((0, 0, None), (0, 99, None), (0, 0, 0), (6, 99, None), (3, 99, 2)):
    twin_of(attention.attention, make_attention(*_seen, "output"), shapes=HEADS, sums=True)(attention_twin)
    _backward = twin_of(attention.attention_backward, make_attention(*_seen, "gradient"), shapes=HEADS, sums=True)
    _backward(attention_backward_twin)
