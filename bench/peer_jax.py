"""A workload in JAX: one jitted function for the whole step, with donated parameters, state and statistics."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from layouts import channels_first, channels_last, images_first
from workloads import LEARNING_RATE, Workload

import minnet as mn

Values = dict[str, Any]


def forward(layer: mn.Layer, name: str, p: Values, buffers: Values, x: Any, channels: int) -> tuple[Any, Values]:
    """Output of a layer in training, and its new running statistics; ``channels`` is the axis of images' channels."""
    match layer:
        case mn.Chain():
            new = {}
            for i, child in enumerate(layer.layers):
                x, some = forward(child, f"{name}.{i}" if name else str(i), p, buffers, x, channels)
                new |= some
            return x, new
        case mn.Residual():
            y, new = forward(layer.layers, f"{name}.layers", p, buffers, x, channels)
            if layer.shortcut is None:
                return y + x, new
            other, some = forward(layer.shortcut, f"{name}.shortcut", p, buffers, x, channels)
            return y + other, new | some
        case mn.Dense():
            return x @ p[f"{name}.W"] + p[f"{name}.b"], {}
        case mn.Conv2D():
            sides = 0 if layer.padding == "valid" else layer.padding
            order = ("NHWC", "HWIO", "NHWC") if channels == 3 else ("NCHW", "OIHW", "NCHW")
            y = lax.conv_general_dilated(x, p[f"{name}.W"], layer.stride, [(sides, sides)] * 2, dimension_numbers=order)
            return y + _along(p[f"{name}.b"], y, channels) if layer.bias else y, {}
        case mn.BatchNorm():
            return batch_norm(layer, name, p, buffers, x, channels if x.ndim == 4 else 1)
        case mn.MaxPool2D():
            window, strides = ((1, *pair, 1) if channels == 3 else (1, 1, *pair) for pair in (layer.size, layer.stride))
            sides = [(layer.padding,) * 2 if axis not in (0, channels) else (0, 0) for axis in range(4)]
            return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, sides), {}
        case mn.GlobalAvgPool2D():
            return x.mean((1, 2) if channels == 3 else (2, 3)), {}
        case mn.Flatten():
            return x.reshape(len(x), -1), {}
        case mn.ReLU():
            return jax.nn.relu(x), {}
        case mn.GELUTanh():
            return jax.nn.gelu(x, approximate=True), {}
        case mn.Embedding():
            return p[f"{name}.W"][x], {}
        case mn.PositionalEncoding():
            return x + p[f"{name}.P"], {}
        case mn.LayerNorm():
            mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
            return (x - mean) * lax.rsqrt(var + layer.eps) * p[f"{name}.gamma"] + p[f"{name}.beta"], {}
        case mn.RNN() | mn.LSTM():
            return recurrent(layer, *(p[f"{name}.{each}"] for each in "WUb"), x), {}
        case mn.SelfAttention():
            return attention(layer, *(p[f"{name}.{each}"] for each in ("W_in", "b_in", "W_out", "b_out")), x), {}
    raise TypeError(f"peer_jax: expected a layer of the workloads; got {layer}")


def recurrent(layer: mn.RNN | mn.LSTM, W: Any, U: Any, b: Any, x: Any) -> Any:
    """The states, or the last one: one product for the inputs of all steps, then a scan over time."""
    inputs = (x @ W + b).swapaxes(0, 1)
    zeros = jnp.zeros((len(x), layer.units), x.dtype)

    def rnn(h: Any, a: Any) -> tuple[Any, Any]:
        h = jnp.tanh(a + h @ U)
        return h, h

    def lstm(carry: Any, a: Any) -> tuple[Any, Any]:
        h, c = carry
        i, f, g, o = jnp.split(a + h @ U, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    is_lstm = isinstance(layer, mn.LSTM)
    _, states = lax.scan(lstm, (zeros, zeros), inputs) if is_lstm else lax.scan(rnn, zeros, inputs)
    return states[-1] if layer.last else states.swapaxes(0, 1)


def attention(layer: mn.SelfAttention, W_in: Any, b_in: Any, W_out: Any, b_out: Any, x: Any) -> Any:
    n, time, width = x.shape
    q, k, v = ((x @ W_in + b_in).reshape(n, time, 3, layer.heads, -1)[:, :, i] for i in range(3))
    y = jax.nn.dot_product_attention(q, k, v, is_causal=layer.causal)
    return y.reshape(n, time, width) @ W_out + b_out


def _along(vector: Any, x: Any, axis: int) -> Any:
    return vector.reshape([-1 if i == axis else 1 for i in range(x.ndim)])


def batch_norm(layer: mn.BatchNorm, name: str, p: Values, buffers: Values, x: Any, axis: int) -> tuple[Any, Values]:
    others = [i for i in range(x.ndim) if i != axis]
    mean, var = x.mean(others), x.var(others)
    kept = {"running_mean": mean, "running_var": var}
    new = {
        f"{name}.{key}": layer.momentum * buffers[f"{name}.{key}"] + (1 - layer.momentum) * lax.stop_gradient(value)
        for key, value in kept.items()
    }
    gain = p[f"{name}.gamma"] * lax.rsqrt(var + layer.eps)
    return x * _along(gain, x, axis) + _along(p[f"{name}.beta"] - mean * gain, x, axis), new


def update(rule: mn.Rule, p: Values, g: Values, state: list[Values], t: Any) -> tuple[Values, list[Values]]:
    """Parameters and state after a step; t counts steps from 1."""
    match rule:
        case mn.SGD():
            return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, p, g), []
        case mn.Momentum():
            v = jax.tree.map(lambda v, g: rule.momentum * v - LEARNING_RATE * g, state[0], g)
            return jax.tree.map(jnp.add, p, v), [v]
        case mn.Adam():
            mean = jax.tree.map(lambda m, g: rule.beta1 * m + (1 - rule.beta1) * g, state[0], g)
            square = jax.tree.map(lambda s, g: rule.beta2 * s + (1 - rule.beta2) * g * g, state[1], g)
            rate, fix = LEARNING_RATE / (1 - rule.beta1**t), 1 / jnp.sqrt(1 - rule.beta2**t)
            return jax.tree.map(lambda p, m, s: p - rate * m / (jnp.sqrt(s) * fix + rule.eps), p, mean, square), [
                mean,
                square,
            ]
    raise TypeError(f"peer_jax: expected a rule of the workloads; got {rule}")


class Jax:
    """``channels`` is "last" or "first", the place of the channels in images."""

    def __init__(
        self, work: Workload, params: np.ndarray, x: np.ndarray, y: np.ndarray, channels: str = "last"
    ) -> None:
        net = work.net()
        net.params = params
        self.work, self.first = work, channels == "first"
        named = net.named_parameters()
        if self.first:
            named, x = channels_first(work, named), images_first(x)
        # jnp.array copies; jnp.asarray may hold on to NumPy's memory, which donation would hand out for reuse.
        self.params: Values = {name: jnp.array(value) for name, value in named.items()}
        self.buffers: Values = {name: jnp.array(value) for name, value in net.named_buffers().items()}
        self.state = [jax.tree.map(jnp.zeros_like, self.params) for _ in work.rule.slots]
        self.t, self.x = jnp.zeros((), jnp.float32), jnp.array(x)
        self.y = jnp.array(y, jnp.int32 if np.issubdtype(y.dtype, np.integer) else jnp.float32)
        decaying = {name for name, value in named.items() if name.endswith(".W")}
        axis, whole = 1 if self.first else 3, mn.Chain(work.layers)

        def loss(p: Values, buffers: Values, x: Any, y: Any) -> tuple[Any, Values]:
            scores, new = forward(whole, "", p, buffers, x, axis)
            if isinstance(work.loss, mn.SquaredError):
                return jnp.square(scores - y).mean(), new  # of one output
            return -jnp.take_along_axis(jax.nn.log_softmax(scores), y[..., None], -1).mean(), new

        def gradients(p: Values, buffers: Values, x: Any, y: Any) -> tuple[Any, Values, Values]:
            (value, new), g = jax.value_and_grad(loss, has_aux=True)(p, buffers, x, y)
            return value, {name: g[name] + work.l2 * p[name] if name in decaying else g[name] for name in g}, new

        @partial(jax.jit, donate_argnums=(0, 1, 2, 3))
        def step(p: Values, state: list[Values], buffers: Values, t: Any, x: Any, y: Any) -> tuple:
            value, g, new = gradients(p, buffers, x, y)
            p, state = update(work.rule, p, g, state, t + 1)
            return value, p, state, new, t + 1

        self._gradients, self._step = jax.jit(gradients), step

    def loss_and_gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        loss, g, _ = self._gradients(self.params, self.buffers, self.x, self.y)
        found = {name: np.asarray(value) for name, value in g.items()}
        return float(loss), channels_last(self.work, found) if self.first else found

    def step(self) -> float:
        loss, self.params, self.state, self.buffers, self.t = self._step(
            self.params, self.state, self.buffers, self.t, self.x, self.y
        )
        return float(loss)  # waits for the step, which JAX runs in the background
