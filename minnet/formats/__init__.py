"""Weights and networks in the forms of other libraries: state dicts of PyTorch, files of ONNX.

This room knows nets and layers; other packages are imported within its functions.
"""

from .onnx import to_onnx
from .torch import from_torch, in_order, to_torch

__all__ = ["from_torch", "in_order", "to_onnx", "to_torch"]
