"""Which layers read a sequence step by step."""

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
from .cho_gru import ChoGRU
from .composite import Chain, Residual
from .dense import Dense
from .embedding import Embedding
from .gru import GRU
from .kept import KeptAttention, KeptPlace
from .lstm import LSTM
from .noise import Dropout, SpatialDropout
from .norm import BatchNorm, LayerNorm
from .recurrent import Recurrent
from .rnn import RNN
from .tied import TiedEmbedding

# Layers that act on each position by itself in passes that do not train, and composites of such layers. A subclass may
# do something else, so it is not taken for its base.
_AT_EACH_POSITION = {
    *(Chain, Residual, TiedEmbedding, Embedding, Dense, Dropout, SpatialDropout, BatchNorm, LayerNorm),
    *(ReLU, LeakyReLU, PReLU, ELU, SELU, GELU, GELUTanh, SiLU, Sigmoid, Tanh, Softplus, Maxout),
}


def reads_by_steps(layer: Layer) -> bool:
    """Return whether a pass over some steps, and one that goes on from its state, are one pass over all steps.

    This concerns passes that do not train. Inner layers are not looked at.
    """
    if isinstance(layer, Recurrent) and type(layer) in (RNN, LSTM, GRU, ChoGRU):
        return not layer.reverse
    if isinstance(layer, KeptAttention | KeptPlace):
        return True
    return type(layer) in _AT_EACH_POSITION
