"""Weights and networks in the forms of other libraries: state dicts of PyTorch, one file for each library.

This room knows nets and layers; other packages are imported within its functions.
"""

from .torch import from_torch, in_order, to_torch

__all__ = ["from_torch", "in_order", "to_torch"]
