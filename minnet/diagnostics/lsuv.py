"""Layer-sequential unit variance: initial weights scaled by the variance of outputs on data."""

import math
from typing import Any

import numpy as np

from ..base import checks, streams
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
    """Scale the net's weights until each linear layer's output has variance 1 on the samples x.

    Mishkin and Matas 2016, "All you need is a good init", algorithm 1. Weights start as orthonormal matrices. From the
    first layer to the last, the weights are then divided by the standard deviation of the layer's output, until its
    variance is within ``tolerance`` of 1. Linear layers are Dense and the convolutions, also inside other layers.
    Biases and all other parameters do not change. Unlike all other diagnostics, this changes ``net.params``.

    Args:
        net: network before training.
        x: samples of shape (n, *input_shape); a few hundred suffice.
        tolerance: tolerance of the variance, Tol_var in the paper.
        iterations: largest number of divisions per layer, T_max in the paper.
        orthonormal: whether to start from orthonormal matrices. False starts from the net's present weights.
        seed: seed of the orthonormal matrices.

    Returns:
        The final variance of each linear layer's output, by the layer's name.

    Raises:
        TypeError, ValueError: for bad arguments.
        ValueError: if a layer's output is constant or not finite. The net then does not change.
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
