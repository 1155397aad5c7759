"""Layers: frozen dataclasses with a forward and a backward pass, one file per family.

``spec`` has the plans by which layers describe parameters, buffers and scratch memory, ``memory`` allocates what a plan
describes, ``initializers`` has initial values, and ``convolution`` chooses the algorithm of a convolution.
This room knows kernels and random streams, and nothing of networks, losses or training.
"""

from .activation import ELU, GELU, SELU, GELUTanh, LeakyReLU, Maxout, PReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from .attention import PositionalEncoding, SelfAttention
from .base import Layer
from .bidirectional import Bidirectional
from .cho_gru import ChoGRU
from .composite import Chain, Residual
from .conv import Conv2D
from .conv_transpose import ConvTranspose2D
from .cross_attention import CrossAttention
from .dense import Dense
from .embedding import Embedding
from .gru import GRU
from .initial_state import InitialState
from .lstm import LSTM
from .noise import Dropout, SpatialDropout
from .norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from .patches import PatchEmbedding
from .pool import AvgPool2D, GlobalAvgPool2D, MaxPool2D, Upsample, ZeroPad
from .rnn import RNN
from .shape import Flatten, Reshape, Slice
from .spec import Buffer, Param, Plan, Scratch, Tensor
from .tied import TiedEmbedding

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "SELU",
    "AvgPool2D",
    "BatchNorm",
    "Bidirectional",
    "Buffer",
    "Chain",
    "ChoGRU",
    "Conv2D",
    "ConvTranspose2D",
    "CrossAttention",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GELUTanh",
    "GlobalAvgPool2D",
    "GroupNorm",
    "InitialState",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "MaxPool2D",
    "Maxout",
    "PReLU",
    "Param",
    "PatchEmbedding",
    "Plan",
    "PositionalEncoding",
    "ReLU",
    "Reshape",
    "Residual",
    "Scratch",
    "SelfAttention",
    "SiLU",
    "Sigmoid",
    "Slice",
    "Softplus",
    "SpatialDropout",
    "Tanh",
    "Tensor",
    "TiedEmbedding",
    "Upsample",
    "ZeroPad",
]
