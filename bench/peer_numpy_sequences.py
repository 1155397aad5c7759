"""Layers of sequences in plain NumPy: recurrent ones with a loop over time, attention with products of stacks."""

import math
from typing import Any

import numpy as np

import minnet as mn

Several = tuple[np.ndarray, ...]


def column_sums(x: np.ndarray) -> np.ndarray:
    """Over all axes but the last. As a product: faster than x.sum, and it does not add float32 one by one."""
    rows = x.reshape(-1, x.shape[-1])
    return np.ones(len(rows), x.dtype) @ rows


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def rnn(W: np.ndarray, U: np.ndarray, b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, Any]:
    """All states."""
    inputs, h = x @ W + b, np.zeros((len(x), len(U)), x.dtype)
    states = [h]
    for t in range(x.shape[1]):
        h = np.tanh(inputs[:, t] + h @ U)
        states.append(h)
    found = np.stack(states, axis=1)
    return found[:, 1:], (x, found)


def rnn_backward(W: np.ndarray, U: np.ndarray, dy: np.ndarray, cache: Any) -> Several:
    """Gradients of the input, W, U and b."""
    x, states = cache
    d, dh = np.empty_like(states[:, 1:]), np.zeros_like(states[:, 0])
    dy = through_time(dy, d.shape)
    for t in reversed(range(x.shape[1])):
        d[:, t] = (dy[:, t] + dh) * (1 - states[:, t + 1] ** 2)
        dh = d[:, t] @ U.T
    return gradients(W, x, states[:, :-1], d)


def lstm(W: np.ndarray, U: np.ndarray, b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, Any]:
    """All states, with the gates i, f, g, o."""
    inputs, h, c = x @ W + b, np.zeros((len(x), len(U)), x.dtype), np.zeros((len(x), len(U)), x.dtype)
    states, kept = [], []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(inputs[:, t] + h @ U, 4, axis=1)
        i, f, g, o, before = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o), (h, c)
        c = f * c + i * g
        squashed = np.tanh(c)
        h = o * squashed
        states.append(h)
        kept.append((i, f, g, o, squashed, *before))
    return np.stack(states, axis=1), (x, kept)


def lstm_backward(W: np.ndarray, U: np.ndarray, dy: np.ndarray, cache: Any) -> Several:
    """Gradients of the input, W, U and b."""
    x, kept = cache
    d, dh, dc = np.empty((*x.shape[:2], W.shape[1]), x.dtype), 0.0, 0.0
    dy = through_time(dy, (*x.shape[:2], len(U)))
    for t in reversed(range(x.shape[1])):
        i, f, g, o, squashed, _, before = kept[t]
        dh = dy[:, t] + dh
        dc = dc + dh * o * (1 - squashed**2)
        parts = dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g**2), dh * squashed * o * (1 - o)
        d[:, t] = np.concatenate(parts, axis=1)
        dh, dc = d[:, t] @ U.T, dc * f
    return gradients(W, x, np.stack([h for *_, h, _ in kept], axis=1), d)


def through_time(dy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient with respect to all states, from that of the last one, or as it is."""
    if dy.ndim == len(shape):
        return dy
    found = np.zeros(shape, dy.dtype)
    found[:, -1] = dy
    return found


def gradients(W: np.ndarray, x: np.ndarray, before: np.ndarray, d: np.ndarray) -> Several:
    """Of the input, W, U and b, from those of the sums of the gates."""
    rows, states = d.reshape(-1, d.shape[2]), before.reshape(-1, before.shape[2])
    return (rows @ W.T).reshape(x.shape), x.reshape(len(rows), -1).T @ rows, states.T @ rows, column_sums(rows)


def heads(x: np.ndarray, count: int) -> np.ndarray:
    """(n, time, width) as (n, heads, time, depth)."""
    return x.reshape(*x.shape[:2], count, -1).swapaxes(1, 2)


def joined(x: np.ndarray) -> np.ndarray:
    """The inverse of ``heads``."""
    n, count, time, depth = x.shape
    return x.swapaxes(1, 2).reshape(n, time, count * depth)


def attention(
    layer: mn.SelfAttention, W_in: np.ndarray, b_in: np.ndarray, W_out: np.ndarray, b_out: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, Any]:
    q, k, v = (heads(part, layer.heads) for part in np.split(x @ W_in + b_in, 3, axis=-1))
    a = q @ k.swapaxes(2, 3)
    a *= x.dtype.type(1 / math.sqrt(q.shape[-1]))
    if layer.causal:
        a += np.triu(np.full(a.shape[2:], -np.inf, a.dtype), 1)
    a -= a.max(axis=-1, keepdims=True)
    np.exp(a, out=a)
    a /= a.sum(axis=-1, keepdims=True)
    mixed = joined(a @ v)
    return mixed @ W_out + b_out, (x, q, k, v, a, mixed)


def attention_backward(
    layer: mn.SelfAttention, W_in: np.ndarray, W_out: np.ndarray, dy: np.ndarray, cache: Any
) -> Several:
    """Gradients of the input, W_in, b_in, W_out and b_out."""
    x, q, k, v, a, mixed = cache
    rows = dy.reshape(-1, dy.shape[-1])
    d = heads(dy @ W_out.T, layer.heads)
    ds = d @ v.swapaxes(2, 3)
    ds -= (ds * a).sum(axis=-1, keepdims=True)
    ds *= a
    ds *= x.dtype.type(1 / math.sqrt(q.shape[-1]))
    parts = ds @ k, ds.swapaxes(2, 3) @ q, a.swapaxes(2, 3) @ d
    d_in = np.concatenate([joined(part) for part in parts], axis=-1)
    flat = x.reshape(-1, x.shape[-1])
    of_in, of_out = flat.T @ d_in.reshape(len(flat), -1), mixed.reshape(flat.shape).T @ rows
    return d_in @ W_in.T, of_in, column_sums(d_in), of_out, column_sums(rows)


def layer_norm(gamma: np.ndarray, beta: np.ndarray, eps: float, x: np.ndarray) -> tuple[np.ndarray, Any]:
    centred = x - x.mean(axis=-1, keepdims=True)
    inv_std = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)
    normed = centred * inv_std
    return normed * gamma + beta, (normed, inv_std)


def layer_norm_backward(gamma: np.ndarray, dy: np.ndarray, cache: Any) -> Several:
    """Gradients of the input, gamma and beta."""
    normed, inv_std = cache
    d = dy * gamma
    d_x = inv_std * (d - d.mean(axis=-1, keepdims=True) - normed * (d * normed).mean(axis=-1, keepdims=True))
    return d_x, column_sums(dy * normed), column_sums(dy)


def gelu_tanh(x: np.ndarray) -> tuple[np.ndarray, Several]:
    root = x.dtype.type(math.sqrt(2 / math.pi))
    t = np.tanh(root * (x + 0.044715 * x**3))
    return 0.5 * x * (1 + t), (x, t)


def gelu_tanh_slope(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    root = x.dtype.type(math.sqrt(2 / math.pi))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * root * (1 + 3 * 0.044715 * x * x)
