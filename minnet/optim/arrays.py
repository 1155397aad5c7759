"""Checks of the flat arrays that an optimizer updates, and the tensors that are stored in them."""

from collections.abc import Mapping

import numpy as np

from ..base import checks
from ..layers.spec import Layout, Shape, Tensor


def check_arrays(params: np.ndarray, grads: np.ndarray) -> None:
    """Raise TypeError or ValueError unless both are flat, contiguous arrays of one size and dtype, without overlap."""
    for name, array in (("params", params), ("grads", grads)):
        if not isinstance(array, np.ndarray):
            raise TypeError(f"Optimizer: expected {name} as a flat array; got {type(array).__name__}")
        if array.ndim != 1 or array.dtype not in (np.float32, np.float64):
            raise ValueError(
                f"Optimizer: expected {name} as a flat array of float32 or float64; "
                f"got shape {array.shape}, dtype {array.dtype}"
            )
        if not array.flags.c_contiguous or not array.flags.writeable:
            raise ValueError(f"Optimizer: expected {name} contiguous and writeable; got strides {array.strides}")
    if params.shape != grads.shape or params.dtype != grads.dtype:
        raise ValueError(
            f"Optimizer: expected params and grads of one shape and dtype; got {params.shape} {params.dtype} "
            f"and {grads.shape} {grads.dtype}"
        )
    if np.may_share_memory(params, grads):
        raise ValueError("Optimizer: expected params and grads with memory of their own; got arrays that overlap")


def tensors_of(params: np.ndarray, shapes: Mapping[str, Shape] | None) -> tuple[Tensor, ...]:
    """Return the tensors in ``params``, stored one after the other; one tensor of one axis if ``shapes`` is None."""
    shapes = {"params": params.shape} if shapes is None else shapes
    if not isinstance(shapes, Mapping) or not all(isinstance(shape, tuple) for shape in shapes.values()):
        raise TypeError(f'Optimizer: expected shapes such as {{"W": (4, 3), "b": (3,)}}; got {shapes!r}')
    for length in (length for shape in shapes.values() for length in shape):
        checks.count("Optimizer", "each length in shapes", length, least=0)
    layout = Layout(shapes.items())
    if layout.size != params.size:
        raise ValueError(f"Optimizer: expected shapes of {params.size} elements in all; got {shapes}")
    return tuple(Tensor(place.name, place.shape, place.start, place.stop) for place in layout.places.values())
