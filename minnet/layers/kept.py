"""Attention and positions that read one step at a time, for a net that writes. Earlier keys and values are kept.

Such a layer has the parameters of the layer that it stands for, and reads the step after those of the passes before.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.arrays import rows
from ..kernels.passes.attention import attend_step
from ..kernels.passes.residual import add_row
from .attention import PositionalEncoding, SelfAttention, waves
from .base import Layer
from .memory import Memory
from .products import product
from .spec import Plan, Scratch, Shape


@dataclass(frozen=True)
class KeptAttention(Layer):
    """One step of a causal ``SelfAttention`` over at most ``context`` steps. It has no backward pass."""

    layer: SelfAttention
    context: int

    def plan(self, in_shape: Shape) -> Plan:
        (_, width), heads = in_shape, self.layer.heads
        params = self.layer.plan((self.context, width)).params
        scratch = (
            Scratch("qkv", (1, 3 * width)),
            Scratch("keys", (self.context, width)),
            Scratch("values", (self.context, width)),
            Scratch("weights", (heads, self.context)),
            Scratch("mixed", (1, width)),
        )
        return Plan(in_shape, params=params, scratch=scratch)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        product(m, rows(x), m.W_in, m.b_in, rows(m.qkv))
        attend_step(rows(m.qkv), m.place, m.keys, m.values, m.weights, rows(m.mixed))
        product(m, rows(m.mixed), m.W_out, m.b_out, rows(y))


@dataclass(frozen=True)
class KeptPlace(Layer):
    """One step of a ``PositionalEncoding`` of ``context`` steps. It has no backward pass."""

    layer: PositionalEncoding
    context: int

    def plan(self, in_shape: Shape) -> Plan:
        return Plan(in_shape, params=self.layer.plan((self.context, in_shape[1])).params)

    def bind(self, m: Any) -> None:
        places = m.P if self.layer.learned else waves(self.context, m.in_shape[1], m.zero.dtype)
        m.places = places.reshape(self.context, -1)

    def forward(self, m: Any, x: np.ndarray, y: np.ndarray) -> None:
        add_row(rows(x), m.places[m.place], rows(y))


def kept(layer: Layer, context: int) -> Layer:
    """Return the layer, or what reads one step at a time in its place."""
    if type(layer) is SelfAttention and layer.causal and layer.padding is None:
        return KeptAttention(layer, context)
    return KeptPlace(layer, context) if type(layer) is PositionalEncoding else layer
