"""Copies of a net with some of its layers replaced."""

from collections.abc import Callable
from dataclasses import replace

from ..layers import Chain, Layer, Residual
from ..net.losses import Loss
from ..net.net import Net

Change = Callable[[str, Layer], Layer]


def rewire(layer: Layer, change: Change, name: str = "") -> Layer:
    """Replace every layer inside ``layer``, and then ``layer`` itself, by ``change(name, layer)``.

    Names are those of the net's parameters without the last part, such as ``"2.layers.0"``. Only layers inside Chain
    and Residual are replaced, not those inside composites of a user.
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
    """Return a twin of ``net`` without penalties, with its layers replaced by ``rewire``.

    The new layers must have the same parameters and buffers. ``loss`` replaces the net's loss if it is given.
    """
    layers = rewire(net.layers, change)
    twin = Net(layers, net.input_shape, loss or net.loss_function, dtype=net.dtype, seed=net.seed)
    twin.params, twin.buffers, twin.step, twin.frozen = net.params, net.buffers, net.step, net.frozen
    return twin


def _join(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part
