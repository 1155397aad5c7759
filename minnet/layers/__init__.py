"""Layers: frozen descriptions with a forward and a backward pass, one file per family."""

from .activation import (
    ELU,
    GELU,
    SELU,
    GELUTanh,
    LeakyReLU,
    Maxout,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from .base import Layer
from .composite import Chain, Residual
from .dense import Dense
from .noise import Dropout
from .norm import BatchNorm, LayerNorm
from .shape import Flatten, Reshape

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "BatchNorm",
    "Chain",
    "Dense",
    "Dropout",
    "Flatten",
    "GELUTanh",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Maxout",
    "PReLU",
    "ReLU",
    "Reshape",
    "Residual",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Tanh",
]
