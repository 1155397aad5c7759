"""Layer-sequential unit variance: initial weights scaled by what the data make of them."""

import math
from typing import Any

import numpy as np

from .. import checks, streams
from ..layers.initializers import Orthogonal
from ..net.net import Net
from .gains import LINEAR
from .variance import Tap, tapped, taps


def lsuv(
    net: Net,
    x: Any,
    *,
    tolerance: float = 0.1,
    iterations: int = 10,
    orthonormal: bool = True,
    seed: int = 0,
) -> dict[str, float]:
    """Scale the net's weights, layer by layer, until each linear layer's output has variance 1 on the samples x.

    Mishkin and Matas 2016, "All you need is a good init", algorithm 1: weights start as orthonormal matrices, then
    each layer's are divided by the standard deviation of its output, from the first layer to the last, until the
    variance is within ``tolerance`` of 1 or ``iterations`` are over. Linear layers are Dense and the convolutions, at
    any depth. Biases and all other parameters stay. Unlike the rest of this room, this changes ``net.params``.

    Args:
        net: a network before training.
        x: a batch of samples (n, *input_shape); a few hundred will do.
        tolerance: the paper's Tol_var.
        iterations: the paper's T_max, at most so many divisions a layer.
        orthonormal: False keeps the weights' directions as the net's initialisers drew them.
        seed: of the orthonormal matrices.

    Returns:
        the variance of each linear layer's output by the layer's name, as the net now has it.

    ValueError if a layer's output does not vary, so that no scale could make it; the net is left as it was.
    """
    checks.positive("lsuv", "tolerance", tolerance)
    checks.count("lsuv", "iterations", iterations)
    checks.count("lsuv", "seed", seed, least=0)
    if not isinstance(net, Net):
        raise TypeError(f"lsuv: expected a Net; got {net!r}")
    twin = tapped(net)
    x, parameters = twin.as_input(x), twin.named_parameters()
    linear = [tap for tap in taps(twin.layers) if isinstance(tap.layer, LINEAR)]
    if orthonormal:
        for i, tap in enumerate(linear):
            W = parameters[f"{tap.name}.W"]
            W[...] = Orthogonal()(streams.generator(seed, "orthonormal weights of lsuv", i), W.shape)
    for tap in linear:
        W = parameters[f"{tap.name}.W"]
        for _ in range(iterations):
            variance = _variance(twin, tap, x)
            if abs(variance - 1) <= tolerance:
                break
            W /= twin.dtype.type(math.sqrt(variance))
    final = {tap.name: _variance(twin, tap, x) for tap in linear}
    net.params = twin.params
    return final


def _variance(twin: Net, tap: Tap, x: np.ndarray) -> float:
    twin.forward(x, training=True)
    variance = tap.seen[2]
    if not variance > 0 or not math.isfinite(variance):
        raise ValueError(
            f"lsuv: expected the output of layer {tap.name} to vary over the samples; got variance {variance}"
        )
    return variance
