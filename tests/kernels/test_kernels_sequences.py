"""Kernels of words and sequences against naive twins, which step through time in plain NumPy."""

import math

import numpy as np
import pytest
from splitmix import STREAM
from twins import Table, check_twin, empty

from minnet.kernels.passes import attention, embedding, patches, recurrent, residual
from minnet.kernels.vector.product import least_work, new_work

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


@twin_of(embedding.are_seen, lambda rng, shape: [rng.integers(0, 2, shape), 0, shape[1]], shapes=[(1, 1), (3, 5)])
@twin_of(embedding.are_seen, lambda rng, shape: [rng.integers(0, 2, shape), 1, 1], shapes=[(2, 3)])
@twin_of(embedding.are_seen, lambda rng, shape: [rng.integers(1, 9, shape), 0, shape[1]], shapes=[(40, 3)])
def are_seen(words, padding, within):
    return all(set(row[:within].tolist()) - {padding} for row in words)


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
    assert embedding.are_seen(words, 1, 3)
    assert not embedding.are_seen(words, 1, 2)
    assert embedding.are_seen(words, 2, 1)


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


# Steps --------------------------------------------------------------------------------------------------------


def make_step(gates, *kinds):
    """Arguments for (samples, units): "g" all gates, "G" two, "a" an activation, "u" a state, "." an output."""

    def make(rng, shape):
        n, units = shape
        made = []
        for kind in kinds:
            size = (
                (n, gates * units)
                if "g" in kind
                else (n, 2 * units)
                if "G" in kind
                else (units,)
                if "1" in kind
                else shape
            )
            made.append(
                empty(size) if "." in kind else rng.uniform(0, 1, size) if "a" in kind else rng.standard_normal(size)
            )
        return made

    return make


@twin_of(recurrent.tanh_step, make_step(1, "u", "u", "."))
def tanh_step(gates, recurrent, h):
    h[...] = np.tanh(gates + recurrent)


@twin_of(recurrent.tanh_step_backward, make_step(1, "a", "u", "u", "."))
def tanh_step_backward(h, dy, carry, dgates):
    dgates[...] = (1 - h**2) * (dy + carry)


@twin_of(recurrent.relu_step, make_step(1, "u", "u", "."))
def relu_step(gates, recurrent, h):
    h[...] = np.maximum(gates + recurrent, 0)


@twin_of(recurrent.relu_step_backward, make_step(1, "u", "u", "u", "."))
def relu_step_backward(h, dy, carry, dgates):
    dgates[...] = (h > 0) * (dy + carry)


def logistic(x):
    return 1 / (1 + np.exp(-x))


@twin_of(recurrent.lstm_step, make_step(4, "g", "g", "u", ".", ".", "."))
def lstm_step(gates, recurrent, c_before, c, tanh_c, h):
    i, f, g, o = np.hsplit(gates + recurrent, 4)
    i, f, g, o = logistic(i), logistic(f), np.tanh(g), logistic(o)
    gates[...] = np.hstack([i, f, g, o])
    c[...] = f * c_before + i * g
    tanh_c[...] = np.tanh(c)
    h[...] = o * tanh_c


@twin_of(recurrent.lstm_step_backward, make_step(4, "ga", "u", "a", "u", "u", "u", "g."))
def lstm_step_backward(gates, c_before, tanh_c, dy, carry, dc, dgates):
    i, f, g, o = np.hsplit(gates, 4)
    dh = dy + carry
    total = dc + dh * o * (1 - tanh_c**2)
    parts = total * g * i * (1 - i), total * c_before * f * (1 - f), total * i * (1 - g**2), dh * tanh_c * o * (1 - o)
    dgates[...] = np.hstack(parts)
    dc[...] = total * f


@twin_of(recurrent.gru_step, make_step(3, "g", "g", "1", "u", ".", "."))
def gru_step(gates, recurrent, c, before, inner, h):
    (ar, az, an), (ur, uz, un) = np.hsplit(gates, 3), np.hsplit(recurrent, 3)
    r, z = logistic(ar + ur), logistic(az + uz)
    inner[...] = un + c
    n = np.tanh(an + r * inner)
    gates[...] = np.hstack([r, z, n])
    h[...] = (1 - z) * n + z * before


@twin_of(recurrent.gru_step_backward, make_step(3, "ga", "u", "u", "u", "u", "u", "g.", "g."))
def gru_step_backward(gates, inner, before, dy, carry, dbefore, dgates, drecurrent):
    r, z, n = np.hsplit(gates, 3)
    dh = dbefore + dy + carry
    dn = dh * (1 - z) * (1 - n**2)
    dr, dz = dn * inner * r * (1 - r), dh * (before - n) * z * (1 - z)
    dgates[...] = np.hstack([dr, dz, dn])
    drecurrent[...] = np.hstack([dr, dz, dn * r])
    dbefore[...] = dh * z


@twin_of(recurrent.cho_gates, make_step(3, "g", "G", "u", "."))
def cho_gates(gates, of_rz, before, reset):
    units = before.shape[1]
    gates[:, : 2 * units] = logistic(gates[:, : 2 * units] + of_rz)
    reset[...] = gates[:, :units] * before


@twin_of(recurrent.cho_step, make_step(3, "ga", "u", "u", "."))
def cho_step(gates, of_n, before, h):
    _, z, n = np.hsplit(gates, 3)
    n[...] = np.tanh(n + of_n)
    h[...] = (1 - z) * n + z * before


@twin_of(recurrent.cho_step_backward, make_step(3, "ga", "u", "u", "u", "u", "G", "."))
def cho_step_backward(gates, before, dy, carry, dbefore, d_rz, d_n):
    _, z, n = np.hsplit(gates, 3)
    dh = dbefore + dy + carry
    d_rz[:, before.shape[1] :] = dh * (before - n) * z * (1 - z)
    d_n[...] = dh * (1 - z) * (1 - n**2)
    dbefore[...] = dh * z


@twin_of(recurrent.cho_gates_backward, make_step(3, "ga", "u", "u", "u", "G"))
def cho_gates_backward(gates, before, dreset, dbefore, d_rz):
    r = gates[:, : before.shape[1]]
    d_rz[:, : before.shape[1]] = dreset * before * r * (1 - r)
    dbefore += dreset * r


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


def make_attention(ahead, padded, outputs):
    def make(rng, shape):
        n, time, heads, depth = shape
        words = np.zeros((0, 0), np.int64)
        if padded:
            words = rng.integers(0, 2, (n, time))
            words[:, 0] = 0
        width = heads * depth
        work, offsets = new_work(np.dtype(np.float64), least_work() + 2 * time**2 + time * depth)
        qkv, log_sums, dy = rng.standard_normal((n, time, 3 * width)), empty((n, heads, time)), []
        if outputs == "gradient":
            log_sums[...] = of_weights(qkv, heads, ahead, words, 1)[1]
            dy = [rng.standard_normal((n, time, width))]
        out = [empty((n, time, 3 * width))] if dy else [empty((n, time, width))]
        options = [words, 1, np.uint64(STREAM), 3, np.uint64(0), 1.0, empty(0)]
        work = np.zeros_like(work)
        return [qkv, heads, time if ahead else 0, *options, log_sums, *dy, *out, work, least_work(), offsets]

    return make


def split_heads(qkv, heads):
    """Queries, keys and values, (n, heads, time, depth) each."""
    n, time, _ = qkv.shape
    return qkv.reshape(n, time, 3, heads, -1).transpose(2, 0, 3, 1, 4)


def of_weights(qkv, heads, ahead, words, padding):
    """The attention weights (n, heads, time, time), and the logarithms of the sums of their exponentials."""
    q, k, _ = split_heads(qkv, heads)
    scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1])
    scores = np.where(np.tri(qkv.shape[1], k=ahead, dtype=bool), scores, -np.inf)
    if words.size:
        scores = np.where((words == padding)[:, np.newaxis, np.newaxis], -np.inf, scores)
    log_sums = np.log(np.exp(scores).sum(axis=-1))
    return np.exp(scores - log_sums[..., np.newaxis]), log_sums


def attention_twin(
    qkv, heads, ahead, words, padding, stream, step, threshold, keep, none, log_sums, out, work, least, offsets
):
    weights, log_sums[...] = of_weights(qkv, heads, ahead, words, padding)
    out[...] = (weights @ split_heads(qkv, heads)[2]).transpose(0, 2, 1, 3).reshape(out.shape)


def attention_backward_twin(
    qkv, heads, ahead, words, padding, stream, step, threshold, keep, none, log_sums, dy, dqkv, work, least, offsets
):
    (q, k, v), (weights, _) = split_heads(qkv, heads), of_weights(qkv, heads, ahead, words, padding)
    d = dy.reshape(*dy.shape[:2], heads, -1).transpose(0, 2, 1, 3)
    slopes = d @ v.transpose(0, 1, 3, 2)
    slopes = weights * (slopes - (weights * slopes).sum(axis=-1, keepdims=True)) / math.sqrt(q.shape[-1])
    back = np.stack([slopes @ k, slopes.transpose(0, 1, 3, 2) @ q, weights.transpose(0, 1, 3, 2) @ d])
    dqkv[...] = back.transpose(1, 3, 0, 2, 4).reshape(dqkv.shape)


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
for _seen in ((0, False), (99, False), (0, True)):
    twin_of(attention.attention, make_attention(*_seen, "output"), shapes=HEADS, sums=True)(attention_twin)
    _backward = twin_of(attention.attention_backward, make_attention(*_seen, "gradient"), shapes=HEADS, sums=True)
    _backward(attention_backward_twin)
