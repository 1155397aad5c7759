"""A workload in plain NumPy, as an assignment of CS231n is solved: im2col convolutions, every product in BLAS."""

from typing import Any

import numpy as np
import peer_numpy_sequences as sequences
from peer_numpy_sequences import column_sums
from workloads import LEARNING_RATE, Workload

import minnet as mn

Values = dict[str, np.ndarray]


def forward(layer: mn.Layer, name: str, p: Values, buffers: Values, x: np.ndarray) -> tuple[np.ndarray, Any]:
    """Output of a layer in training, and what its backward pass needs."""
    match layer:
        case mn.Chain():
            kept = []
            for i, child in enumerate(layer.layers):
                x, cache = forward(child, f"{name}.{i}" if name else str(i), p, buffers, x)
                kept.append(cache)
            return x, kept
        case mn.Residual():
            y, cache = forward(layer.layers, f"{name}.layers", p, buffers, x)
            if layer.shortcut is None:
                return y + x, (cache, None)
            other, shortcut = forward(layer.shortcut, f"{name}.shortcut", p, buffers, x)
            return y + other, (cache, shortcut)
        case mn.Dense():
            y = x @ p[f"{name}.W"]
            y += p[f"{name}.b"]
            return y, x
        case mn.Embedding():
            return p[f"{name}.W"][x], x
        case mn.RNN() | mn.LSTM():
            forward_through_time = sequences.lstm if isinstance(layer, mn.LSTM) else sequences.rnn
            states, kept = forward_through_time(*(p[f"{name}.{each}"] for each in "WUb"), x)
            return states[:, -1] if layer.last else states, kept
        case mn.SelfAttention():
            return sequences.attention(layer, *(p[f"{name}.{each}"] for each in ("W_in", "b_in", "W_out", "b_out")), x)
        case mn.PositionalEncoding():
            return x + p[f"{name}.P"], None
        case mn.LayerNorm():
            return sequences.layer_norm(p[f"{name}.gamma"], p[f"{name}.beta"], layer.eps, x)
        case mn.GELUTanh():
            return sequences.gelu_tanh(x)
        case mn.Conv2D():
            return conv(layer, p[f"{name}.W"], p.get(f"{name}.b"), x)
        case mn.BatchNorm():
            return batch_norm(layer, name, p, buffers, x)
        case mn.MaxPool2D():
            y = padded(x, layer.padding, -np.inf)
            parts = list(windows(y, layer.size, layer.stride))
            best = parts[0].copy()
            for part in parts[1:]:
                np.maximum(best, part, out=best)
            return best, (x.shape, y, best)
        case mn.GlobalAvgPool2D():
            return x.mean(axis=(1, 2)), x.shape
        case mn.Flatten():
            return x.reshape(len(x), -1), x.shape
        case mn.ReLU():
            y = np.maximum(x, 0)
            return y, y
    raise TypeError(f"peer_numpy: expected a layer of the workloads; got {layer}")


def backward(layer: mn.Layer, name: str, p: Values, g: Values, dy: np.ndarray, cache: Any, dx: bool = True) -> Any:
    """Gradient of the layer's input, if ``dx``; puts those of its parameters into g."""
    match layer:
        case mn.Chain():
            for i in reversed(range(len(layer.layers))):
                place = f"{name}.{i}" if name else str(i)
                dy = backward(layer.layers[i], place, p, g, dy, cache[i], dx or i > 0)
            return dy
        case mn.Residual():
            body, other = cache
            dx_body = backward(layer.layers, f"{name}.layers", p, g, dy, body)
            if layer.shortcut is None:
                return dx_body + dy
            return dx_body + backward(layer.shortcut, f"{name}.shortcut", p, g, dy, other)
        case mn.Dense():
            x, d = cache.reshape(-1, cache.shape[-1]), dy.reshape(-1, dy.shape[-1])
            g[f"{name}.W"], g[f"{name}.b"] = x.T @ d, column_sums(d)
            return dy @ p[f"{name}.W"].T if dx else None
        case mn.Embedding():
            g[f"{name}.W"] = np.zeros_like(p[f"{name}.W"])
            np.add.at(g[f"{name}.W"], cache, dy)
            return None
        case mn.RNN() | mn.LSTM():
            back_through_time = sequences.lstm_backward if isinstance(layer, mn.LSTM) else sequences.rnn_backward
            of_x, *of_weights = back_through_time(p[f"{name}.W"], p[f"{name}.U"], dy, cache)
            g |= {f"{name}.{each}": value for each, value in zip("WUb", of_weights, strict=True)}
            return of_x
        case mn.SelfAttention():
            of_x, *of_weights = sequences.attention_backward(layer, p[f"{name}.W_in"], p[f"{name}.W_out"], dy, cache)
            names = "W_in", "b_in", "W_out", "b_out"
            g |= {f"{name}.{each}": value for each, value in zip(names, of_weights, strict=True)}
            return of_x
        case mn.PositionalEncoding():
            g[f"{name}.P"] = dy.sum(axis=0)
            return dy
        case mn.LayerNorm():
            of_x, *of_weights = sequences.layer_norm_backward(p[f"{name}.gamma"], dy, cache)
            g |= {f"{name}.{each}": value for each, value in zip(("gamma", "beta"), of_weights, strict=True)}
            return of_x
        case mn.GELUTanh():
            return dy * sequences.gelu_tanh_slope(*cache)
        case mn.Conv2D():
            if layer.bias:
                g[f"{name}.b"] = column_sums(dy)
            return conv_backward(layer, name, p, g, dy, cache, dx)
        case mn.BatchNorm():
            return batch_norm_backward(name, p, g, dy, cache)
        case mn.MaxPool2D():
            shape, x, best = cache
            d = np.zeros_like(x)
            free = np.ones(best.shape, bool)  # windows whose largest value is yet to be met
            for part, place in zip(
                windows(x, layer.size, layer.stride), windows(d, layer.size, layer.stride), strict=True
            ):
                here = free & (part == best)
                place += dy * here
                free &= ~here
            return inner(d, shape, layer.padding)
        case mn.GlobalAvgPool2D():
            rows, columns = cache[1:3]
            return np.broadcast_to((dy / (rows * columns))[:, None, None], cache)
        case mn.Flatten():
            return dy.reshape(cache)
        case mn.ReLU():
            return dy * (cache > 0)
    raise TypeError(f"peer_numpy: expected a layer of the workloads; got {layer}")


def padded(x: np.ndarray, sides: int, value: float = 0.0) -> np.ndarray:
    return np.pad(x, [(0, 0), (sides, sides), (sides, sides), (0, 0)], constant_values=value) if sides else x


def inner(x: np.ndarray, shape: tuple[int, ...], sides: int) -> np.ndarray:
    return x[:, sides : sides + shape[1], sides : sides + shape[2]]


def windows(x: np.ndarray, size: tuple[int, int], stride: tuple[int, int]) -> Any:
    """Views of x: what each tap of a window of that size sees as the window moves by ``stride``."""
    down, across = stride
    rows, columns = ((length - r) // s + 1 for length, r, s in zip(x.shape[1:3], size, stride, strict=True))
    for a, b in np.ndindex(size):
        yield x[:, a : a + down * rows : down, b : b + across * columns : across]


def conv(layer: mn.Conv2D, W: np.ndarray, b: np.ndarray | None, x: np.ndarray) -> tuple[np.ndarray, Any]:
    sides = 0 if layer.padding == "valid" else layer.padding
    x_padded = padded(x, sides)
    down, across = layer.stride
    patches = np.lib.stride_tricks.sliding_window_view(x_padded, W.shape[:2], (1, 2))
    patches = patches[:, ::down, ::across].transpose(0, 1, 2, 4, 5, 3)  # (n, rows, columns, a, b, c)
    n, rows, columns = patches.shape[:3]
    im2col = patches.reshape(n * rows * columns, -1)  # a copy
    y = im2col @ W.reshape(-1, W.shape[3])
    if b is not None:
        y += b
    return y.reshape(n, rows, columns, -1), (x.shape, x_padded.shape, sides, im2col)


def conv_backward(layer: mn.Conv2D, name: str, p: Values, g: Values, dy: np.ndarray, cache: Any, dx: bool) -> Any:
    shape, padded_shape, sides, im2col = cache
    W = p[f"{name}.W"]
    rows = dy.reshape(-1, dy.shape[3])
    g[f"{name}.W"] = (im2col.T @ rows).reshape(W.shape)
    if not dx:
        return None
    d = np.zeros(padded_shape, dy.dtype)
    taps = W.reshape(-1, *W.shape[2:])
    for place, tap in zip(windows(d, W.shape[:2], layer.stride), taps, strict=True):
        place += (rows @ tap.T).reshape(place.shape)
    return inner(d, shape, sides)


def batch_norm(layer: mn.BatchNorm, name: str, p: Values, buffers: Values, x: np.ndarray) -> tuple[np.ndarray, Any]:
    n = x.size // x.shape[-1]
    mean = column_sums(x) / n
    centred = x - mean
    var = column_sums(centred * centred) / n
    for key, value in (("running_mean", mean), ("running_var", var)):
        running = buffers[f"{name}.{key}"]
        running *= layer.momentum
        running += (1 - layer.momentum) * value
    inv_std = 1 / np.sqrt(var + layer.eps)
    normed = centred * inv_std
    return normed * p[f"{name}.gamma"] + p[f"{name}.beta"], (normed, inv_std)


def batch_norm_backward(name: str, p: Values, g: Values, dy: np.ndarray, cache: Any) -> np.ndarray:
    normed, inv_std = cache
    n = dy.size // dy.shape[-1]
    dbeta, dgamma = column_sums(dy), column_sums(dy * normed)
    g[f"{name}.gamma"], g[f"{name}.beta"] = dgamma, dbeta
    return p[f"{name}.gamma"] * inv_std * (dy - dbeta / n - normed * (dgamma / n))


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean over samples, or positions, and its gradient. Overwrites the scores."""
    shape, labels = scores.shape, labels.reshape(-1)
    scores = scores.reshape(-1, shape[-1])
    rows = np.arange(len(scores))
    scores -= scores.max(axis=1, keepdims=True)
    dscores = np.exp(scores)
    sums = dscores.sum(axis=1, keepdims=True)
    loss = float((np.log(sums[:, 0]) - scores[rows, labels]).mean())
    dscores /= sums
    dscores[rows, labels] -= 1
    dscores /= len(scores)
    return loss, dscores.reshape(shape)


class NumPy:
    """Forward and backward pass layer by layer; the update runs over flat vectors."""

    def __init__(self, work: Workload, params: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        net = work.net()
        net.params = params
        self.work, self.whole, self.x, self.y = work, mn.Chain(work.layers), x, y
        self.flat = params.copy()
        self.p = net.layout.views(self.flat)
        self.buffers = {name: value.copy() for name, value in net.named_buffers().items()}
        self.g_flat = np.empty_like(self.flat)
        self.g = net.layout.views(self.g_flat)
        self.state, self.t = np.zeros((len(work.rule.slots), params.size), params.dtype), 0

    def _pass(self) -> float:
        scores, cache = forward(self.whole, "", self.p, self.buffers, self.x)
        if isinstance(self.work.loss, mn.SquaredError):
            difference = scores - self.y
            loss, dscores = float(np.square(difference).mean()), 2 / len(scores) * difference  # of one output
        else:
            loss, dscores = cross_entropy(scores, self.y)
        g: Values = {}
        backward(self.whole, "", self.p, g, dscores, cache, dx=False)
        for name, value in g.items():
            self.g[name][...] = value
            if self.work.l2 and name.endswith((".W", ".U")):
                self.g[name] += self.work.l2 * self.p[name]
        return loss

    def loss_and_gradients(self) -> tuple[float, Values]:
        return self._pass(), {name: value.copy() for name, value in self.g.items()}

    def step(self) -> float:
        loss = self._pass()
        p, g, rule, state = self.flat, self.g_flat, self.work.rule, self.state
        self.t += 1
        match rule:
            case mn.SGD():
                p -= LEARNING_RATE * g
            case mn.Momentum():
                state[0] *= rule.momentum
                state[0] -= LEARNING_RATE * g
                p += state[0]
            case mn.Adam():
                state[0] += (1 - rule.beta1) * (g - state[0])
                state[1] += (1 - rule.beta2) * (g * g - state[1])
                rate = LEARNING_RATE / (1 - rule.beta1**self.t)
                p -= rate * state[0] / (np.sqrt(state[1] / (1 - rule.beta2**self.t)) + rule.eps)
            case _:
                raise TypeError(f"peer_numpy: expected a rule of the workloads; got {rule}")
        return loss
