"""The base class of all layers."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..base.guide import Guided
from .memory import Memory
from .spec import Plan, Shape


class Layer(Guided):
    """Base class of layers. Subclasses are frozen dataclasses and own no arrays.

    ``plan(in_shape)`` is pure and describes what the layer needs. ``forward(m, x, y)`` fills every element of y.
    ``backward(m, x, y, dy, dx)`` overwrites every parameter gradient and, unless dx is None, every element of dx.

    ``m`` is the layer's memory, and x and y are the arrays of the last forward pass. All arrays belong to the network.
    They are C-contiguous and have the net's dtype, float32 or float64; only words, which the first layer may take, are
    int64. The first axis of x and y is the batch. Shapes in plans have no batch axis.

    The docstring of each layer states its shapes, where n is the number of samples and ... stands for any further axes,
    and the names and shapes of its parameters, which are attributes of ``m``: ``m.W`` and its gradient ``m.dW``.
    """

    #: Whether forward computes max(m.floor, y), so that a ReLU that follows costs nothing.
    floors = False
    #: Whether the layer takes images of shape (H, W, C).
    images = False
    #: Whether backward sets dx to 0 where x equals m.input_floor, so that backward of a ReLU before it costs nothing.
    masks = False

    def plan(self, in_shape: Shape) -> Plan:
        """Describe what this layer needs for an input shape.

        Args:
            in_shape: shape of one sample, without the batch axis.

        Returns:
            The output shape, parameters, buffers and scratch memory, as a ``Plan``.

        Raises:
            ValueError: the layer cannot take this shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must define plan(in_shape)")

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        """Compute the output.

        Args:
            m: memory of the layer.
            x: input of shape (n, *in_shape), in the net's dtype; int64 for words.
            y: output of shape (n, *plan.out), in the net's dtype; every element is overwritten.

        Raises:
            NotImplementedError: the class does not define it. A net has checked all arrays, so layers do not.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(m, x, y)")

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        """Compute gradients of the parameters and of the input.

        Args:
            m: memory of the layer; every parameter gradient in it, such as ``m.dW``, is overwritten.
            x, y: input and output of the last forward pass, (n, *in_shape) and (n, *plan.out).
            dy: gradient with respect to y, of its shape and dtype. Neither dy nor x may be written to.
            dx: gradient with respect to x, of its shape and dtype; every element is overwritten. None if it is not
                needed.

        Raises:
            NotImplementedError: the class does not define it. A net has checked all arrays, so layers do not.
        """
        raise NotImplementedError(f"{type(self).__name__} must define backward(m, x, y, dy, dx)")

    def statistics(self, m: Memory) -> tuple[np.ndarray, ...]:
        """Return what the last training pass measured: for each buffer that is not carried, an array of its shape.

        A layer with such buffers defines this method and ``keep`` to be trained in shards (``distributed.MPI``).

        Args:
            m: memory of the layer.
        """
        raise NotImplementedError(f"{type(self).__name__} must define statistics(m) and keep(m, ...)")

    def keep(self, m: Memory, *statistics: np.ndarray) -> None:
        """Update the buffers by statistics of a training pass, given in the order of ``statistics``.

        ``forward`` does the same with its own; nothing else in a pass may change the buffers.

        Args:
            m: memory of the layer.
            statistics: arrays as ``statistics`` returns them.
        """
        raise NotImplementedError(f"{type(self).__name__} must define statistics(m) and keep(m, ...)")

    def winners(self, m: Memory, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        """Return which smooth pieces the last forward pass was on, for gradient checks.

        These are the decisions that the backward pass uses, such as the sign of a ReLU's input or the position of a
        pool's largest value. If one changes when a gradient check moves a value, the check has crossed a kink.

        Args:
            m: memory of the layer.
            x, y: input and output of the last forward pass, (n, *in_shape) and (n, *plan.out).

        Returns:
            Integers or booleans of any shape; None for a smooth layer.
        """
        return None

    def bind(self, m: Any) -> None:
        """Prepare new memory; called once for each batch size. Composites arrange their inner layers here.

        Args:
            m: memory of the layer, with arrays for this batch size.
        """

    def passes(self, m: Any, x: np.ndarray, y: np.ndarray) -> "Iterator[Pass]":
        """Yield the inner layers' parts of the last forward pass. Composites override this.

        Args:
            m: memory of the layer.
            x, y: input and output of the last forward pass, (n, *in_shape) and (n, *plan.out).

        Yields:
            (place, layer, x, y) for each inner layer: the name within this layer, such as ``"0"``, and its arrays.
        """
        return iter(())


def plan_layer(layer: Any, in_shape: Shape, name: str, *, takes_words: bool = False) -> Plan:
    """Return ``layer.plan(in_shape)``; errors name the layer's class and its place in the network.

    A layer whose input is words is refused unless ``takes_words``: other layers output floating-point numbers.
    """
    if not isinstance(layer, Layer):
        hint = " (give an instance, not the class)" if isinstance(layer, type) else ""
        if isinstance(layer, (list, tuple)):
            hint = " (put all layers into one list, or these into a Chain)"
        raise TypeError(f"layer {name}: expected a Layer; got {layer!r}{hint}")
    try:
        plan = layer.plan(in_shape)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{type(layer).__name__} {name}: {error}") from error
    if plan.vocabulary and not takes_words:
        raise ValueError(
            f"{type(layer).__name__} {name}: expected to be the first layer of the net, as its input is words, which "
            "are whole numbers; got a place where the input is floating-point numbers"
        )
    return plan


Observer = Callable[[str, np.ndarray], None]
Pass = tuple[str, Layer, np.ndarray, np.ndarray]  # (place, layer, x, y)
