"""minnet: a neural-network training engine for the CPU, from scratch.

Layers describe, a ``Net`` owns the memory, and a training step is a few compiled kernels over flat arrays.
"""

from . import data, datasets, initializers, losses, rules, schedules
from .callbacks import Callback, EarlyStopping
from .gradcheck import GradientCheck, check_gradient, check_layer, check_net, numerical_gradient, relative_error
from .history import History
from .layers import (
    ELU,
    GELU,
    SELU,
    BatchNorm,
    Chain,
    Dense,
    Dropout,
    Flatten,
    GELUTanh,
    Layer,
    LayerNorm,
    LeakyReLU,
    Maxout,
    PReLU,
    ReLU,
    Reshape,
    Residual,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from .losses import (
    AbsoluteError,
    Huber,
    Logistic,
    Loss,
    MulticlassHinge,
    SoftmaxCrossEntropy,
    SquaredError,
    SquaredHinge,
)
from .net import Net, Objective
from .optimizer import Optimizer
from .rules import SGD, Adadelta, Adagrad, Adam, Momentum, Nesterov, NesterovLookAhead, RMSprop, Rule
from .spec import Buffer, Param, Plan, Scratch
from .threads import get_num_threads, set_num_threads
from .train import DivergenceError, Record, Trainer, fit

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "SGD",
    "AbsoluteError",
    "Adadelta",
    "Adagrad",
    "Adam",
    "BatchNorm",
    "Buffer",
    "Callback",
    "Chain",
    "Dense",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "Flatten",
    "GELUTanh",
    "GradientCheck",
    "History",
    "Huber",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Logistic",
    "Loss",
    "Maxout",
    "Momentum",
    "MulticlassHinge",
    "Nesterov",
    "NesterovLookAhead",
    "Net",
    "Objective",
    "Optimizer",
    "PReLU",
    "Param",
    "Plan",
    "RMSprop",
    "ReLU",
    "Record",
    "Reshape",
    "Residual",
    "Rule",
    "Scratch",
    "SiLU",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Softplus",
    "SquaredError",
    "SquaredHinge",
    "Tanh",
    "Trainer",
    "check_gradient",
    "check_layer",
    "check_net",
    "data",
    "datasets",
    "fit",
    "get_num_threads",
    "initializers",
    "losses",
    "numerical_gradient",
    "relative_error",
    "rules",
    "schedules",
    "set_num_threads",
]
