"""The expected effect of a layer on the scale of activations and gradients, according to theory.

A gain is a ratio of mean squares: E[y^2] / E[x^2] forward, E[dx^2] / E[dy^2] backward. Mean squares are used instead of
variances, because they multiply from layer to layer even if activations have a mean, as those of a ReLU do (He et al.
2015, eq. 7). If weights have mean 0 and are independent of the input, the output of a linear layer has the mean square
fan_in * E[W^2] * E[x^2], and the gradient at its input has fan_out * E[W^2] * E[dy^2] (Glorot and Bengio 2010, section
4.2).
"""

from dataclasses import fields
from typing import Any

import numpy as np

from ..layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    PReLU,
    Reshape,
    SpatialDropout,
)
from ..layers.activation import Elementwise
from ..layers.initializers import Constant
from ..net.net import Net

Gains = tuple[float | None, float | None]
LINEAR = (Dense, Conv2D, ConvTranspose2D)
# A standard normal distribution as points and weights. No point is at 0, where kinks are.
_POINTS = (np.arange(2000) - 999.5) / 125
_WEIGHTS = np.exp(-0.5 * _POINTS**2) / np.exp(-0.5 * _POINTS**2).sum()


def expected_gains(layer: Layer, m: Any, x: np.ndarray) -> Gains:
    """Return the (forward, backward) gain of a layer, each None if there is no theory.

    Elementwise functions have E[f(x)^2] and E[f'(x)^2] for normally distributed x of the measured mean and variance;
    both are 1/2 for a ReLU whose input has mean 0. Outputs of normalisations have the mean square
    E[gain^2] + E[shift^2], and their gradient is divided by the standard deviation and loses 2 of N dimensions. There
    is no theory for pooling, whose effect depends on the similarity of neighbours.

    Args:
        layer: the layer.
        m: its memory after a training pass over x.
        x: its input, shape (n, *in_shape).
    """
    scale = 0.0 if x.dtype.kind == "i" else _mean_square(x)  # words have no scale
    if scale == 0:
        return None, None
    if isinstance(layer, LINEAR):
        inputs, outputs = _connections(layer, m.in_shape, x.dtype)
        weights, shift = _mean_square(m.W), _mean_square(m.b) if layer.bias else 0.0
        return inputs * weights + shift / scale, outputs * weights
    if isinstance(layer, Elementwise):
        return _of_function(layer, float(x.mean(dtype=np.float64)), float(x.std(dtype=np.float64)), x.dtype)
    if isinstance(layer, PReLU):
        gain = (1 + _mean_square(m.a)) / 2  # He et al. 2015, eq. 15
        return gain, gain
    if isinstance(layer, (Dropout, SpatialDropout)):
        return 1 / (1 - layer.rate), 1 / (1 - layer.rate)
    if isinstance(layer, (Flatten, Reshape)):
        return 1.0, 1.0
    if isinstance(layer, (BatchNorm, LayerNorm, GroupNorm, InstanceNorm)):
        gain, precision = _mean_square(m.gamma), _mean_square(m.inv_std)
        left = 1 - 2 * m.inv_std.size / x.size
        return (gain * (1 - layer.eps * precision) + _mean_square(m.beta)) / scale, gain * precision * left
    return None, None


def _mean_square(values: np.ndarray) -> float:
    return float(np.square(values, dtype=np.float64).mean())


def _connections(layer: Any, in_shape: tuple[int, ...], dtype: np.dtype) -> tuple[float, float]:
    """Return the mean number of inputs per output and of outputs per input, with borders and strides.

    They are counted by a layer of the same kind with all weights and inputs 1.
    """
    kind = next(kind for kind in LINEAR if isinstance(layer, kind))  # a subclass may compute something else
    options = {f.name: getattr(layer, f.name) for f in fields(kind)} | {"init": Constant(1.0)}
    net = Net([kind(**options)], in_shape, dtype=dtype)
    x = np.ones((1, *net.input_shape), dtype)
    dx = np.empty_like(x)
    inputs = float(net.forward(x).mean(dtype=np.float64))
    net.backward(np.ones((1, *net.output_shape), dtype), dx)
    return inputs, float(dx.mean(dtype=np.float64))


def _of_function(layer: Layer, mean: float, std: float, dtype: np.dtype) -> Gains:
    """Return the gains of an elementwise function for normally distributed input."""
    x = (mean + std * _POINTS).astype(dtype)[:, np.newaxis]
    net = Net([layer], 1, dtype=dtype)
    y, dx = net.forward(x, training=True).copy(), np.empty_like(x)
    net.backward(np.ones_like(x), dx)
    squares = (float(_WEIGHTS @ np.square(values[:, 0], dtype=np.float64)) for values in (y, dx))
    return next(squares) / (mean**2 + std**2), next(squares)
