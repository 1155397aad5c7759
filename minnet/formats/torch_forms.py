"""How the arrays of each layer are named and turned in the module of PyTorch that computes the same.

``FORMS`` has one entry for each kind of layer. A layer that is not in it has no such module, and keeps the names and
the layout that its arrays have here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..layers import (
    GRU,
    LSTM,
    RNN,
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    CrossAttention,
    Dense,
    Embedding,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    PatchEmbedding,
    PReLU,
    SelfAttention,
)
from ..layers.conv import pair
from ..layers.memory import Node

Arrays = dict[str, np.ndarray]
Turn = Callable[[Node, np.ndarray], np.ndarray]
TRACKED = "num_batches_tracked"  # in PyTorch's batch norm; nothing here depends on it


@dataclass(frozen=True)
class Form:
    """The names and the layout of a layer's arrays in PyTorch.

    Attributes:
        there: returns PyTorch's arrays, given the node of the layer and its arrays by name.
        here: the inverse.
    """

    there: Callable[[Node, Arrays], Arrays]
    here: Callable[[Node, Arrays], Arrays]


def form_of(layer: Any) -> Form:
    """Return the form of a layer's kind, or of the kind that it inherits from."""
    return next((FORMS[kind] for kind in type(layer).__mro__ if kind in FORMS), _AS_HERE)


def _same(node: Node, array: np.ndarray) -> np.ndarray:
    return array


def _transposed(node: Node, array: np.ndarray) -> np.ndarray:
    return array.T


def _renamed(**arrays: tuple[str, Turn, Turn]) -> Form:
    """Return a form in which each array has another name and layout: here=(there, turn, turn back)."""

    def there(node: Node, own: Arrays) -> Arrays:
        return {name: turn(node, own[k]) for k, (name, turn, _) in arrays.items() if k in own}

    def here(node: Node, theirs: Arrays) -> Arrays:
        return {k: back(node, theirs[name]) for k, (name, _, back) in arrays.items() if name in theirs}

    return Form(there, here)


def _filters(node: Node, W: np.ndarray) -> np.ndarray:
    """(rows, columns, channels, filters) becomes (filters, channels, rows, columns)."""
    return W.transpose(3, 2, 0, 1)


def _filters_back(node: Node, weight: np.ndarray) -> np.ndarray:
    return weight.transpose(2, 3, 1, 0)


def _reversed_filters(node: Node, W: np.ndarray) -> np.ndarray:
    """Return the weights of the convolution that goes the other way, (channels, filters / groups, rows, columns).

    Its window is turned by 180 degrees, and channels and filters of each group are exchanged.
    """
    turned, groups = W[::-1, ::-1].transpose(3, 2, 0, 1), node.layer.groups
    return _exchanged(turned, groups)


def _reversed_filters_back(node: Node, weight: np.ndarray) -> np.ndarray:
    return _exchanged(weight, node.layer.groups).transpose(2, 3, 1, 0)[::-1, ::-1]


def _exchanged(weight: np.ndarray, groups: int) -> np.ndarray:
    """Exchange the first two axes within each group: (groups * a, b, ...) becomes (groups * b, a, ...)."""
    first, second, *window = weight.shape
    split = weight.reshape(groups, first // groups, second, *window)
    return split.swapaxes(1, 2).reshape(groups * second, first // groups, *window)


def _patches(node: Node, W: np.ndarray) -> np.ndarray:
    """(rows * columns * channels, width) becomes the weights of a convolution."""
    rows, columns = pair("PatchEmbedding", "patch", node.layer.patch)
    return W.reshape(rows, columns, -1, W.shape[1]).transpose(3, 2, 0, 1)


def _patches_back(node: Node, weight: np.ndarray) -> np.ndarray:
    return weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))


def _recurrent(node: Node, own: Arrays) -> Arrays:
    """Two transposes and two biases, of which the second is 0 except for a GRU's c."""
    second = np.zeros_like(own["b"])
    if "c" in own:
        second[-len(own["c"]) :] = own["c"]
    names = {"weight_ih_l0": own["W"].T, "weight_hh_l0": own["U"].T, "bias_ih_l0": own["b"], "bias_hh_l0": second}
    return names


def _recurrent_back(node: Node, theirs: Arrays) -> Arrays:
    first, second = theirs["bias_ih_l0"], theirs["bias_hh_l0"]
    return {"W": theirs["weight_ih_l0"].T, "U": theirs["weight_hh_l0"].T, "b": first + second}


def _gru_back(node: Node, theirs: Arrays) -> Arrays:
    """The biases of the gates r and z are added; that of n is apart, since r multiplies it."""
    own, units = _recurrent_back(node, theirs), node.layer.units
    own["b"][-units:] = theirs["bias_ih_l0"][-units:]
    return {**own, "c": theirs["bias_hh_l0"][-units:]}


def _across(node: Node, own: Arrays) -> Arrays:
    """Projections of queries, keys and values, in one array if the memory has as many features as the queries."""
    width = len(own["b_q"])
    parts = dict(zip("qkv", (own["W_q"].T, *np.split(own["W_kv"].T, 2)), strict=True))
    names = {"in_proj_bias": np.concatenate([own["b_q"], own["b_kv"]])}
    names |= {"out_proj.weight": own["W_out"].T, "out_proj.bias": own["b_out"]}
    if own["W_kv"].shape[0] == width:
        return names | {"in_proj_weight": np.concatenate([*parts.values()])}
    return names | {f"{part}_proj_weight": W for part, W in parts.items()}


def _across_back(node: Node, theirs: Arrays) -> Arrays:
    names = "q_proj_weight", "k_proj_weight", "v_proj_weight"
    packed = theirs.get("in_proj_weight")
    q, k, v = (theirs[name] for name in names) if packed is None else np.split(packed, 3)
    b_q, b_kv = np.split(theirs["in_proj_bias"], [len(q)])
    own = {"W_q": q.T, "W_kv": np.concatenate([k, v]).T, "b_q": b_q, "b_kv": b_kv}
    return own | {"W_out": theirs["out_proj.weight"].T, "b_out": theirs["out_proj.bias"]}


_BIAS = {"b": ("bias", _same, _same)}
_GAIN = {"gamma": ("weight", _same, _same), "beta": ("bias", _same, _same)}
_STATISTICS = {name: (name, _same, _same) for name in ("running_mean", "running_var")}
_NORM = _renamed(**_GAIN)
_BATCH_NORM = _renamed(**_GAIN, **_STATISTICS)
_AS_HERE = Form(lambda node, own: own, lambda node, theirs: theirs)


def _batch_norm(node: Node, own: Arrays) -> Arrays:
    return {**_BATCH_NORM.there(node, own), TRACKED: np.array(node.run.step, np.int64)}


FORMS: dict[type, Form] = {
    Dense: _renamed(W=("weight", _transposed, _transposed), **_BIAS),
    Conv2D: _renamed(W=("weight", _filters, _filters_back), **_BIAS),
    ConvTranspose2D: _renamed(W=("weight", _reversed_filters, _reversed_filters_back), **_BIAS),
    PatchEmbedding: _renamed(W=("weight", _patches, _patches_back), **_BIAS),
    BatchNorm: Form(_batch_norm, _BATCH_NORM.here),
    LayerNorm: _NORM,
    GroupNorm: _NORM,
    InstanceNorm: _NORM,
    PReLU: _renamed(a=("weight", _same, _same)),
    Embedding: _renamed(W=("weight", _same, _same)),
    RNN: Form(_recurrent, _recurrent_back),
    LSTM: Form(_recurrent, _recurrent_back),
    GRU: Form(_recurrent, _gru_back),
    SelfAttention: _renamed(
        W_in=("in_proj_weight", _transposed, _transposed),
        W_out=("out_proj.weight", _transposed, _transposed),
        b_in=("in_proj_bias", _same, _same),
        b_out=("out_proj.bias", _same, _same),
    ),
    CrossAttention: Form(_across, _across_back),
}
