"""Tensors of PyTorch as arrays, and back. What NumPy cannot take is refused, with what to do about it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..base import checks


def shape_of(name: str, value: Any) -> tuple[int, ...]:
    """Return the shape of a tensor or array; TypeError for what has none, such as nested and lazy tensors."""
    try:
        return tuple(np.shape(value))
    except (RuntimeError, ValueError, TypeError) as error:
        raise TypeError(f"from_torch: expected {name} as a tensor with a shape; {_got(value, error)}") from None


def as_array(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """Return a tensor or array as a finite array of the dtype of a net."""
    if hasattr(value, "detach"):
        try:
            copy = value.detach().cpu()
            value = (copy.double() if copy.is_floating_point() else copy).numpy()  # NumPy has no bfloat16
        except (RuntimeError, TypeError) as error:
            words = f"from_torch: expected {name} as a dense tensor of real numbers; {_got(value, error)}"
            raise TypeError(words) from None
    array = checks.array("from_torch", name, value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"from_torch: expected {name} as a tensor of real numbers; got dtype {array.dtype}")
    with np.errstate(over="ignore"):
        array = array.astype(dtype)
    if not np.isfinite(array).all():
        raise ValueError(f"from_torch: expected {name} to be finite in {dtype}; got NaN or infinity")
    return array


def _got(value: Any, error: Exception) -> str:
    """Say what a tensor is that NumPy cannot take, and what to do about it if that is known."""
    if getattr(value, "is_quantized", False):
        return "got a quantised one (its .dequantize() has numbers)"
    if getattr(value, "is_meta", False):
        return "got one on the device meta, which has none (load the weights into the model first)"
    layout = str(getattr(value, "layout", "torch.strided"))
    if layout != "torch.strided":
        return f"got one of layout {layout} (its .to_dense() is dense)"
    first, *_ = str(error).splitlines() or [""]
    return f"got {type(value).__name__} ({first:.200})"


def as_tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return arrays as tensors of PyTorch, which keep their memory; ImportError if it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"to_torch: expected PyTorch to be installed, to make tensors; got {error}. to_torch(net, arrays=True) "
            "returns arrays",
            name=error.name,
        ) from error
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
