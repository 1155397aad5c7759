"""Copies of a net with some of its layers replaced."""

from collections.abc import Callable
from dataclasses import replace

from ..layers import Chain, CrossAttention, InitialState, Layer, Residual, TiedEmbedding
from ..layers.changed import changed
from ..layers.recurrent import Recurrent
from ..net.losses import Loss
from ..net.net import Net

Change = Callable[[str, Layer], Layer]

# Composites and their paths whose layers are replaced. Other inner layers must be of a certain class.
PATHS = {
    Residual: ("layers", "shortcut"),
    InitialState: ("state", "inputs"),
    CrossAttention: ("memory", "queries"),
    TiedEmbedding: ("layers",),
}


def rewire(layer: Layer, change: Change, name: str = "") -> Layer:
    """Replace every layer inside ``layer``, and then ``layer`` itself, by ``change(name, layer)``.

    Names are those of the net's parameters without the last part, such as ``"2.layers.0"``. Only layers inside
    Chain and the paths of ``PATHS`` are replaced, not those inside composites of a user.
    """
    if type(layer) is Chain:
        layer = Chain([rewire(inner, change, _join(name, str(i))) for i, inner in enumerate(layer.layers)])
    elif type(layer) in PATHS:
        inner = {path: getattr(layer, path) for path in PATHS[type(layer)]}
        paths = {p: rewire(way, change, _join(name, p)) for p, way in inner.items() if isinstance(way, Layer)}
        layer = replace(layer, **paths)  # type: ignore[type-var]
    return change(name, layer) if name else layer


def rewired(net: Net, change: Change, loss: Loss | None = None) -> Net:
    """Return a twin of ``net`` without penalties, with its layers replaced by ``rewire``.

    The new layers must have the same parameters and buffers. ``loss`` replaces the net's loss if it is given.
    """
    layers = rewire(net.layers, change)
    twin = Net(layers, net.input_shape, loss or net.loss_function, dtype=net.dtype, seed=net.seed)
    twin.params, twin.buffers, twin.step, twin.frozen = net.params, net.buffers, net.step, net.frozen
    return twin


def first_layers(net: Net, count: int) -> Net:
    """Return a net of the first top-level layers of ``net``, without a loss, with copies of their arrays."""
    part = Net(Chain(net.layers.layers[:count]), net.input_shape, dtype=net.dtype, seed=net.seed)
    for mine, theirs in (
        (part.named_parameters(), net.named_parameters()),
        (part.named_buffers(), net.named_buffers()),
    ):
        for name, values in mine.items():
            values[...] = theirs[name]
    return part


def without_streams(net: Net) -> Net:
    """Return a twin of a net whose states start at 0 in every pass; the net itself if it carries none on.

    Such a twin takes samples of its training data in any order and number.
    """
    if not net.streams:
        return net
    layers = changed(net.layers, _without_streams)
    options = {name: getattr(net, name) for name in ("l2", "l1", "max_norm", "dtype", "seed")}
    twin = Net(layers, net.input_shape, net.loss_function, **options)
    twin.params, twin.step, twin.frozen = net.params, net.step, net.frozen
    buffers = net.named_buffers()
    for name, values in twin.named_buffers().items():
        values[...] = buffers[name]
    return twin


def _without_streams(layer: Layer) -> Layer:
    # A subclass of Recurrent is a dataclass.
    return replace(layer, streams=None) if isinstance(layer, Recurrent) else layer  # type: ignore[type-var]


def _join(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part
