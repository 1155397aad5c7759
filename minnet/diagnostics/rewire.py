"""A twin of a net with some of its layers exchanged."""

from collections.abc import Callable
from dataclasses import replace

from ..layers import Chain, Layer, Residual
from ..net.losses import Loss
from ..net.net import Net

Change = Callable[[str, Layer], Layer]


def rewire(layer: Layer, change: Change, name: str = "") -> Layer:
    """``layer`` with every layer in it, and then itself, replaced by ``change(name, layer)``.

    Names are those of the net's parameters without the last part (``"2.layers.0"``). Of composites only Chain and
    Residual are looked into: what a layer of a user's own holds is its own affair.
    """
    if type(layer) is Chain:
        layer = Chain([rewire(inner, change, _join(name, str(i))) for i, inner in enumerate(layer.layers)])
    elif type(layer) is Residual:
        paths = {
            path: rewire(inner, change, _join(name, path))
            for path, inner in (("layers", layer.layers), ("shortcut", layer.shortcut))
            if isinstance(inner, Layer)
        }
        layer = replace(layer, **paths)
    return change(name, layer) if name else layer


def rewired(net: Net, change: Change, loss: Loss | None = None) -> Net:
    """A twin of ``net``, without penalties, whose layers went through ``rewire``; they must ask for the same memory.

    ``loss`` takes the place of the net's own if it is given.
    """
    layers = rewire(net.layers, change)
    twin = Net(layers, net.input_shape, loss or net.loss_function, dtype=net.dtype, seed=net.seed)
    twin.params, twin.buffers, twin.step, twin.frozen = net.params, net.buffers, net.step, net.frozen
    return twin


def _join(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part
