"""Small nets and data of the tests of nets."""

import dataclasses

import numpy as np
import pytest

import minnet as mn
import minnet.kernels

EPS = {np.float32: float(np.finfo(np.float32).eps), np.float64: float(np.finfo(np.float64).eps)}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
CLASSES = 3


def small_layers():
    """Parameters with and without decay, buffers, noise, nesting: every kind of memory in one small net."""
    return [
        mn.Dense(6),
        mn.BatchNorm(),
        mn.PReLU(),
        mn.Dropout(0.3),
        mn.Residual([mn.Dense(6), mn.Chain([mn.LayerNorm(), mn.Tanh()])], shortcut=[mn.Dense(6, bias=False)]),
        mn.Dense(CLASSES),
    ]


def small_net(dtype=np.float64, **options):
    return mn.Net(small_layers(), 5, mn.SoftmaxCrossEntropy(), dtype=dtype, **options)


def small_data(n=7, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 5)).astype(dtype), rng.integers(0, CLASSES, n)


# A net without noise and without anything that looks at the whole batch.
PLAIN = [
    mn.Dense(6),
    mn.PReLU(),
    mn.LayerNorm(),
    mn.Residual([mn.Dense(6), mn.GELU()]),
    mn.Dense(8),
    mn.Maxout(2),
    mn.Dense(CLASSES),
]


def plain_net(dtype=np.float64, **options):
    return mn.Net(PLAIN, 5, mn.SoftmaxCrossEntropy(), dtype=dtype, **options)


@dataclasses.dataclass(frozen=True)
class Spy(mn.Layer):
    """The identity, which writes down whether its backward pass ran and whether dx was asked for."""

    seen: list

    def plan(self, in_shape):
        return mn.Plan(in_shape)

    def forward(self, m, x, y):
        np.copyto(y, x)

    def backward(self, m, x, y, dy, dx):
        self.seen.append(dx is not None)
        if dx is not None:
            np.copyto(dx, dy)
