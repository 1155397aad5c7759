"""What a layer is."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .memory import Memory
from .spec import Plan, Shape


class Layer:
    """A frozen description of one layer: subclasses are frozen dataclasses and own no arrays.

    ``plan(in_shape)`` is pure and says what the layer needs (shapes without the batch axis);
    ``forward(m, x, y)`` fills every element of y; ``backward(m, x, y, dy, dx)`` overwrites every parameter gradient
    and, unless dx is None, every element of dx. ``m`` is the layer's memory; x and y are what forward saw.
    All arrays are C-contiguous, of the net's dtype, with the batch axis first, and belong to the network.
    """

    #: Whether forward raises what is below m.floor to it, which makes a ReLU that follows free.
    floors = False
    #: Whether the layer takes images, (H, W, C).
    images = False
    #: Whether backward leaves dx 0 where x is m.input_floor, which makes the backward pass of a ReLU before it free.
    masks = False

    def plan(self, in_shape: Shape) -> Plan:
        """What this layer needs for an input of ``in_shape``; ValueError if it can't take that shape."""
        raise NotImplementedError(f"{type(self).__name__} must define plan(in_shape)")

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        """Fill y, of shape (n, *plan.out), from x, of shape (n, *in_shape)."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(m, x, y)")

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        """Overwrite the parameter gradients in m and, unless it is None, dx, given dy."""
        raise NotImplementedError(f"{type(self).__name__} must define backward(m, x, y, dy, dx)")

    def winners(self, m: Memory, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        """Which of its smooth pieces the last forward pass, from x to y, was on: integers or booleans of any shape.

        They are what backward goes by (the sign of a ReLU's input, the place of a pool's largest value), so a gradient
        check that moves something and sees one change has crossed a kink. None for a layer that is smooth.
        """
        return None

    def bind(self, m: Any) -> None:
        """Called once for each batch size, when the memory is made; composites arrange their children here."""

    def passes(self, m: Any, x: np.ndarray, y: np.ndarray) -> "Iterator[Pass]":
        """What the layers inside saw and made in the last forward pass, in their order; composites say so."""
        return iter(())


def plan_layer(layer: Any, in_shape: Shape, name: str) -> Plan:
    """``layer.plan(in_shape)``, with the layer's class and place put in front of an error's text."""
    if not isinstance(layer, Layer):
        hint = " (give an instance, not the class)" if isinstance(layer, type) else ""
        if isinstance(layer, (list, tuple)):
            hint = " (put all layers into one list, or these into a Chain)"
        raise TypeError(f"layer {name}: expected a Layer; got {layer!r}{hint}")
    try:
        return layer.plan(in_shape)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{type(layer).__name__} {name}: {error}") from error


Observer = Callable[[str, np.ndarray], None]
Pass = tuple[str, Layer, np.ndarray, np.ndarray]  # place, layer, its x and y
