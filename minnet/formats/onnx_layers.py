"""Which operators of ONNX compute each layer (https://onnx.ai/onnx/operators).

``EXPORTS`` has one function for each kind of layer, which adds the operators to a graph. A subclass is another layer,
since it may compute something else.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import layers as of
from ..layers.attention import waves
from ..layers.conv import borders, pair
from ..layers.convolution import reach_of
from ..layers.memory import Node
from .onnx_graph import Graph, Value
from .torch_forms import form_of

Export = Callable[[Graph, Node, Value], Value]


def exported(g: Graph, node: Node, x: Value) -> Value:
    """Add the operators of a layer to the graph and return its output.

    Raises:
        ValueError: the layer is not exported.
    """
    export = EXPORTS.get(type(node.layer))
    if export is None:
        raise ValueError(
            f"to_onnx: expected layers of minnet that are exported; got {type(node.layer).__name__} at {node.name}"
        )
    return export(g, node, x)


def _chain(g: Graph, node: Node, x: Value) -> Value:
    for child in node.children:
        x = exported(g, child, x)
    return x


def _residual(g: Graph, node: Node, x: Value) -> Value:
    paths = [exported(g, child, x) for child in node.children]
    a, b = paths if len(paths) == 2 else (*paths, x)
    if a.first != b.first:
        a, b = g.last(a), g.last(b)
    return Value(g.add("Add", a.name, b.name), a.first)


def _same(g: Graph, node: Node, x: Value) -> Value:
    return x


def _function(operator: str, alpha: str | None = None) -> Export:
    """Return an export as one operator, whose attribute ``alpha`` is this field of the layer."""

    def export(g: Graph, node: Node, x: Value) -> Value:
        attributes: dict[str, Any] = {} if alpha is None else {"alpha": float(getattr(node.layer, alpha))}
        return Value(g.add(operator, x.name, **attributes), x.first)

    return export


def _gelu(g: Graph, node: Node, x: Value) -> Value:
    error = g.add("Erf", g.add("Mul", x.name, g.constant(math.sqrt(0.5))))
    return _half_of_one_plus(g, x, error)


def _gelu_tanh(g: Graph, node: Node, x: Value) -> Value:
    cube = g.add("Mul", g.add("Mul", x.name, x.name), x.name)
    inner = g.add("Add", x.name, g.add("Mul", cube, g.constant(0.044715)))
    return _half_of_one_plus(g, x, g.add("Tanh", g.add("Mul", inner, g.constant(math.sqrt(2 / math.pi)))))


def _half_of_one_plus(g: Graph, x: Value, y: str) -> Value:
    """x * (1 + y) / 2."""
    return Value(
        g.add("Mul", g.add("Mul", x.name, g.constant(0.5)), g.add("Add", y, g.constant(1.0))),
        x.first,
    )


def _silu(g: Graph, node: Node, x: Value) -> Value:
    return Value(g.add("Mul", x.name, g.add("Sigmoid", x.name)), x.first)


def _prelu(g: Graph, node: Node, x: Value) -> Value:
    return Value(g.add("PRelu", x.name, _by_feature(g, node.arrays["a"], x)), x.first)


def _maxout(g: Graph, node: Node, x: Value) -> Value:
    grouped = g.reshape(g.last(x).name, *node.plan.out, node.layer.pieces)
    return Value(g.add("ReduceMax", grouped, axes=[-1], keepdims=0))


def _by_feature(g: Graph, values: np.ndarray, x: Value) -> str:
    """Add one number for each feature as a constant that is broadcast along the axis of features."""
    return g.constant(values.reshape(-1, 1, 1) if x.first else values)


def _reshaped(g: Graph, node: Node, x: Value) -> Value:
    return Value(g.reshape(g.last(x).name, *node.plan.out))


def _slice(g: Graph, node: Node, x: Value) -> Value:
    start, stop = g.integers([node.layer.start]), g.integers([node.layer.stop])
    return Value(g.add("Slice", g.last(x).name, start, stop, g.integers([1])))


def _product(g: Graph, x: str, W: np.ndarray, b: np.ndarray | None) -> str:
    y = g.add("MatMul", x, g.constant(W))
    return y if b is None else g.add("Add", y, g.constant(b))


def _dense(g: Graph, node: Node, x: Value) -> Value:
    return Value(_product(g, g.last(x).name, node.arrays["W"], node.arrays.get("b")))


# Images ------------------------------------------------------------------------------------------------------


def _convolution(g: Graph, node: Node, x: Value) -> Value:
    layer = node.layer
    reach = reach_of(layer.kernel, layer.dilation)
    (top, bottom), (left, right) = borders(layer.padding, node.in_shape[:2], reach, layer.stride)
    return _convolved(g, node, x, "Conv", pads=[top, left, bottom, right])


def _transposed_convolution(g: Graph, node: Node, x: Value) -> Value:
    layer, out = node.layer, node.plan.out[:2]
    reach = reach_of(layer.kernel, layer.dilation)
    (top, _), (left, _) = borders(layer.padding, out, reach, layer.stride)
    full = [(size - 1) * step + r for size, step, r in zip(node.in_shape[:2], layer.stride, reach, strict=True)]
    rest = [f - size - before for f, size, before in zip(full, out, (top, left), strict=True)]
    pads = [top, left, *(max(0, after) for after in rest)]
    return _convolved(g, node, x, "ConvTranspose", pads=pads, output_padding=[max(0, -after) for after in rest])


def _convolved(g: Graph, node: Node, x: Value, operator: str, **options: Any) -> Value:
    """Add a convolution, whose weights and biases are laid out as PyTorch's."""
    layer, weights = node.layer, form_of(node.layer).there(node, node.arrays)
    inputs = [g.first(x), *(g.constant(weights[name]) for name in ("weight", "bias") if name in weights)]
    options |= {"strides": list(layer.stride), "dilations": list(layer.dilation), "group": layer.groups}
    return Value(g.add(operator, *inputs, kernel_shape=list(layer.kernel), **options), True)


def _pool(operator: str) -> Export:
    """Return the export of a pool, with as much padding behind the image as its last windows need."""

    def export(g: Graph, node: Node, x: Value) -> Value:
        layer = node.layer
        (top, _), (left, _) = borders(layer.padding, node.in_shape[:2], layer.size, layer.stride)
        sizes = zip(node.in_shape, node.plan.out, layer.size, layer.stride, (top, left), strict=False)
        after = [max(0, (many - 1) * step + reach - size - before) for size, many, reach, step, before in sizes]
        options: dict[str, Any] = {
            "kernel_shape": list(layer.size),
            "strides": list(layer.stride),
            "pads": [top, left, *after],
        }
        if operator == "MaxPool":
            return Value(g.add(operator, g.first(x), **options), True)
        means = g.add(operator, g.first(x), count_include_pad=1, **options)  # sums over the size of the window
        shares = layer.shares(node.in_shape, node.plan.out) * math.prod(layer.size)
        return Value(g.add("Mul", means, g.constant(shares)), True)

    return export


def _global_mean(g: Graph, node: Node, x: Value) -> Value:
    return Value(g.reshape(g.add("GlobalAveragePool", g.first(x)), *node.plan.out))


def _upsample(g: Graph, node: Node, x: Value) -> Value:
    scales = g.constant([1, 1, node.layer.factor, node.layer.factor])
    how: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return Value(g.add("Resize", g.first(x), "", scales, **how), True)


def _zero_pad(g: Graph, node: Node, x: Value) -> Value:
    (top, bottom), (left, right) = borders(node.layer.padding, node.in_shape[:2], (1, 1), (1, 1))
    return Value(g.add("Pad", g.first(x), g.integers([0, 0, top, left, 0, 0, bottom, right])), True)


def _patches(g: Graph, node: Node, x: Value) -> Value:
    rows, columns = pair("PatchEmbedding", "patch", node.layer.patch)
    height, width, channels = node.in_shape
    cut = g.reshape(g.last(x).name, height // rows, rows, width // columns, columns * channels)
    patches = g.reshape(g.transpose(cut, 0, 1, 3, 2, 4), node.plan.out[0], rows * columns * channels)
    return Value(_product(g, patches, node.arrays["W"], node.arrays["b"]))


# Normalisation -----------------------------------------------------------------------------------------------


def _batch_norm(g: Graph, node: Node, x: Value) -> Value:
    """With the running statistics, the layer is a gain and a shift of each feature."""
    a = {name: array.astype(np.float64) for name, array in node.arrays.items() if array.ndim == 1}
    gain = a["gamma"] / np.sqrt(a["running_var"] + node.layer.eps)
    return _scaled(g, x, gain, a["beta"] - a["running_mean"] * gain)


def _scaled(g: Graph, x: Value, gain: np.ndarray, shift: np.ndarray) -> Value:
    scaled = g.add("Mul", x.name, _by_feature(g, gain, x))
    return Value(g.add("Add", scaled, _by_feature(g, shift, x)), x.first)


def _layer_norm(g: Graph, node: Node, x: Value) -> Value:
    gain, shift = g.constant(node.arrays["gamma"]), g.constant(node.arrays["beta"])
    return Value(
        g.add("LayerNormalization", g.last(x).name, gain, shift, axis=-1, epsilon=node.layer.eps),
    )


def _group_norm(g: Graph, node: Node, x: Value) -> Value:
    """Each group becomes one channel of an InstanceNormalization."""
    *positions, channels = node.in_shape
    groups, count = getattr(node.layer, "groups", channels), math.prod(positions)
    split = g.transpose(g.reshape(g.last(x).name, count, groups, channels // groups), 0, 2, 1, 3)
    flat = g.reshape(split, groups, count * (channels // groups))
    ones, zeros = g.constant(np.ones(groups)), g.constant(np.zeros(groups))
    normal = g.add("InstanceNormalization", flat, ones, zeros, epsilon=node.layer.eps)
    back = g.transpose(g.reshape(normal, groups, count, channels // groups), 0, 2, 1, 3)
    return _scaled(g, Value(g.reshape(back, *node.in_shape)), node.arrays["gamma"], node.arrays["beta"])


# Words and sequences -----------------------------------------------------------------------------------------


def _embedding(g: Graph, node: Node, x: Value) -> Value:
    W = node.arrays["W"].copy()
    if node.layer.padding is not None:
        W[node.layer.padding] = 0
    return Value(g.add("Gather", g.constant(W), x.name))


def _tied(g: Graph, node: Node, x: Value) -> Value:
    embedding, _ = node.children
    inner = g.last(_chain(g, node, x))
    return Value(g.add("MatMul", inner.name, g.constant(embedding.arrays["W"].T)))


def _positions(g: Graph, node: Node, x: Value) -> Value:
    time, width = node.in_shape
    places = node.arrays["P"] if node.layer.learned else waves(time, width, np.dtype(np.float64)).reshape(time, width)
    return Value(g.add("Add", x.name, g.constant(places)))


def _attention(g: Graph, node: Node, x: Value) -> Value:
    """Queries, keys and values are thirds of the columns of one product."""
    W, b = (np.split(node.arrays[name], 3, axis=-1) for name in ("W_in", "b_in"))
    parts = [_product(g, x.name, *each) for each in zip(W, b, strict=True)]
    return _attended(g, node, parts, node.in_shape[0], Graph.INPUT)


def _across(g: Graph, node: Node, x: Value) -> Value:
    """Keys and values are halves of the columns of a product of the memory."""
    memory, *queries = node.children
    keys, asking = exported(g, memory, x), exported(g, queries[0], x) if queries else x
    W, b = (np.split(node.arrays[name], 2, axis=-1) for name in ("W_kv", "b_kv"))
    parts = [_product(g, g.last(asking).name, node.arrays["W_q"], node.arrays["b_q"])]
    parts += [_product(g, g.last(keys).name, *each) for each in zip(W, b, strict=True)]
    others, first, words = memory.plan.out[0], node.layer.first, Graph.INPUT
    if node.layer.padding is not None:
        words = g.add("Slice", words, *(g.integers([at]) for at in (first, first + others, 1)))
    return _attended(g, node, parts, others, words)


def _attended(g: Graph, node: Node, parts: list[str], others: int, words: str) -> Value:
    """Add what follows the products for queries, keys and values of all heads; ``words`` are those of the keys."""
    layer, (time, width) = node.layer, node.plan.out
    depth, heads = width // layer.heads, []
    for part, length, order in zip(
        parts, (time, others, others), ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)), strict=True
    ):
        heads.append(g.transpose(g.reshape(part, length, layer.heads, depth), *order))
    q, k, v = heads
    scores = g.add("Mul", g.add("MatMul", q, k), g.constant(1 / math.sqrt(depth)))
    if getattr(layer, "causal", False):
        scores = g.add("Add", scores, g.constant(np.triu(np.full((time, time), -np.inf), 1)))
    if layer.padding is not None:
        unseen = g.add("Equal", words, g.constant(layer.padding, np.int64))
        scores = g.add("Where", g.add("Unsqueeze", unseen, g.integers([1, 2])), g.constant(-np.inf), scores)
    mixed = g.transpose(g.add("MatMul", g.add("Softmax", scores, axis=-1), v), 0, 2, 1, 3)
    return Value(_product(g, g.reshape(mixed, time, width), node.arrays["W_out"], node.arrays["b_out"]))


# The operator of a recurrent layer, and its order of the gates: ONNX has i, o, f, g and z, r, n.
_RECURRENT: dict[type, tuple[str, tuple[int, ...]]] = {
    of.RNN: ("RNN", (0,)),
    of.LSTM: ("LSTM", (0, 3, 1, 2)),
    of.GRU: ("GRU", (1, 0, 2)),
    of.ChoGRU: ("GRU", (1, 0, 2)),
}


def _recurrent(g: Graph, node: Node, x: Value) -> Value:
    return _in_time(g, [node], x, "")


def _bidirectional(g: Graph, node: Node, x: Value) -> Value:
    return _in_time(g, node.children, x, "")


def _from_state(g: Graph, node: Node, x: Value) -> Value:
    *paths, recurrent = node.children
    state = g.last(exported(g, paths[0], x))
    steps = exported(g, paths[1], x) if len(paths) == 2 else x
    return _in_time(g, [recurrent], steps, g.add("Unsqueeze", state.name, g.integers([0])))


def _in_time(g: Graph, nodes: list[Node], x: Value, state: str) -> Value:
    """Add one operator for a recurrent layer, or for both directions. It has the steps as first axis."""
    layer, time = nodes[0].layer, nodes[0].in_shape[0]
    if layer.padding is not None:
        raise ValueError(
            f"to_onnx: expected recurrent layers without padding, since ONNX has no step that keeps the state; got "
            f"{type(layer).__name__} {nodes[0].name} with padding={layer.padding}"
        )
    operator, gates = _RECURRENT[type(layer)]
    options: dict[str, Any] = {"hidden_size": layer.units}
    options["direction"] = "bidirectional" if len(nodes) == 2 else "reverse" if layer.reverse else "forward"
    if operator == "GRU":
        options["linear_before_reset"] = int(isinstance(layer, of.GRU))
    if operator == "RNN":
        options["activations"] = ["Relu" if layer.relu else "Tanh"] * len(nodes)
    weights = [g.constant(np.stack([_turned(node, name, gates) for node in nodes])) for name in ("W", "U")]
    biases = g.constant(np.stack([_biases(node, gates) for node in nodes]))
    inputs = [g.transpose(x.name, 1, 0, 2), *weights, biases, "", state]
    if not state:
        inputs = inputs[:4]
    end = g.add(operator, *inputs, outputs=2, **options)  # all states are its first output, the last state its second
    if layer.last:
        return Value(g.reshape(g.transpose(end, 1, 0, 2), layer.units * len(nodes)))
    return Value(g.reshape(g.transpose(f"{end}.0", 2, 0, 1, 3), time, layer.units * len(nodes)))


def _turned(node: Node, name: str, gates: tuple[int, ...]) -> np.ndarray:
    """Return the transpose of W or U with the gates in ONNX's order."""
    return np.concatenate([np.split(node.arrays[name].T, len(gates))[i] for i in gates])


def _biases(node: Node, gates: tuple[int, ...]) -> np.ndarray:
    """Return b, and the second bias of ONNX, which is 0 except for c."""
    second = np.zeros_like(node.arrays["b"])
    if "c" in node.arrays:
        second[-node.layer.units :] = node.arrays["c"]
    return np.concatenate([np.split(b, len(gates))[i] for b in (node.arrays["b"], second) for i in gates])


EXPORTS: dict[type, Export] = {
    of.Chain: _chain,
    of.Residual: _residual,
    of.Dense: _dense,
    of.ReLU: _function("Relu"),
    of.LeakyReLU: _function("LeakyRelu", "slope"),
    of.ELU: _function("Elu", "alpha"),
    of.SELU: _function("Selu"),
    of.Sigmoid: _function("Sigmoid"),
    of.Tanh: _function("Tanh"),
    of.Softplus: _function("Softplus"),
    of.GELU: _gelu,
    of.GELUTanh: _gelu_tanh,
    of.SiLU: _silu,
    of.PReLU: _prelu,
    of.Maxout: _maxout,
    of.Dropout: _same,
    of.SpatialDropout: _same,
    of.Flatten: _reshaped,
    of.Reshape: _reshaped,
    of.Slice: _slice,
    of.Conv2D: _convolution,
    of.ConvTranspose2D: _transposed_convolution,
    of.MaxPool2D: _pool("MaxPool"),
    of.AvgPool2D: _pool("AveragePool"),
    of.GlobalAvgPool2D: _global_mean,
    of.Upsample: _upsample,
    of.ZeroPad: _zero_pad,
    of.PatchEmbedding: _patches,
    of.BatchNorm: _batch_norm,
    of.LayerNorm: _layer_norm,
    of.GroupNorm: _group_norm,
    of.InstanceNorm: _group_norm,
    of.Embedding: _embedding,
    of.TiedEmbedding: _tied,
    of.PositionalEncoding: _positions,
    of.SelfAttention: _attention,
    of.CrossAttention: _across,
    of.RNN: _recurrent,
    of.LSTM: _recurrent,
    of.GRU: _recurrent,
    of.ChoGRU: _recurrent,
    of.Bidirectional: _bidirectional,
    of.InitialState: _from_state,
}
