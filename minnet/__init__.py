"""minnet: a neural-network training engine for the CPU, from scratch.

Layers describe, a ``Net`` owns the memory, and a training step is a few compiled kernels over flat arrays.

``dir(minnet)`` lists what a training run needs, and the rooms ``averaging``, ``data``, ``diagnostics``,
``distributed``, ``ensemble``, ``formats``, ``gradcheck``, ``layers``, ``plots`` and ``training``, which have
everything else. ``experiments`` searches, ``benchmark`` compares, ``sklearn`` has estimators for scikit-learn; these
are imported when they are first asked for.
"""

from importlib import import_module

from . import averaging, data, diagnostics, distributed, ensemble, formats, gradcheck, layers, schedules, training
from .averaging import EMA, LAWA, SWA, SWAG, Average, PolyakRuppert, refreshed_buffers
from .data import datasets
from .diagnostics import preflight
from .diagnostics.range_test import RangeTest, lr_range_test
from .ensemble import (
    Comparison,
    Ensemble,
    Snapshots,
    calibration_error,
    compare_averages,
    mixture_weights,
    select_greedily,
)
from .formats import from_torch, to_onnx, to_torch
from .gradcheck import (
    GradientCheck,
    LayerCase,
    StepSweep,
    TensorCheck,
    check_backward,
    check_gradient,
    check_layer,
    check_loss,
    check_module,
    check_net,
    compare_precisions,
    cs231n,
    layer_cases,
    numerical_gradient,
    relative_error,
)
from .kernels.threads import get_num_threads, set_num_threads
from .layers import (
    ELU,
    GELU,
    GRU,
    LSTM,
    RNN,
    SELU,
    AvgPool2D,
    BatchNorm,
    Bidirectional,
    Chain,
    ChoGRU,
    Conv2D,
    ConvTranspose2D,
    CrossAttention,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GELUTanh,
    GlobalAvgPool2D,
    GroupNorm,
    InitialState,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    Maxout,
    MaxPool2D,
    PatchEmbedding,
    PositionalEncoding,
    PReLU,
    ReLU,
    Reshape,
    Residual,
    SelfAttention,
    Sigmoid,
    SiLU,
    Slice,
    Softplus,
    SpatialDropout,
    Tanh,
    TiedEmbedding,
    Upsample,
    ZeroPad,
    initializers,
)
from .layers.spec import Buffer, Param, Plan, Scratch, Tensor
from .net import losses
from .net.generation import generate
from .net.losses import (
    AbsoluteError,
    Huber,
    Logistic,
    Loss,
    MulticlassHinge,
    SoftmaxCrossEntropy,
    SquaredError,
    SquaredHinge,
)
from .net.net import Net
from .net.objective import Objective
from .optim import landscapes, rules
from .optim.groups import Group
from .optim.optimizer import Optimizer
from .optim.rules import (
    LAMB,
    LARS,
    LBFGS,
    SGD,
    Accumulate,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    AdaMax,
    AdaptiveClip,
    AMSGrad,
    ClipNorm,
    ClipTensorNorm,
    ClipValue,
    CoupledDecay,
    GradientNoise,
    Lion,
    LookAhead,
    Momentum,
    Muon,
    NAdam,
    Nesterov,
    NesterovLookAhead,
    RAdam,
    RMSprop,
    RMSpropCentred,
    RMSpropCentredMomentum,
    RMSpropMomentum,
    Rule,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
)
from .storage.archive import CheckpointError
from .training.callbacks import Callback, Record
from .training.checkpoint import Checkpoint
from .training.controllers import HalveOnStall, ReduceOnPlateau
from .training.divergence import DivergenceError
from .training.fit import fit
from .training.history import History
from .training.precompiling import precompile
from .training.stopping import EarlyStopping, KeepBest
from .training.trainer import Trainer
from .training.weights import load_weights, save_weights

__version__ = "0.2.0"

__all__ = [
    "ELU",
    "EMA",
    "GELU",
    "GRU",
    "LAMB",
    "LARS",
    "LAWA",
    "LBFGS",
    "LSTM",
    "RNN",
    "SELU",
    "SGD",
    "SWA",
    "SWAG",
    "AMSGrad",
    "AbsoluteError",
    "Accumulate",
    "AdaMax",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdaptiveClip",
    "Average",
    "AvgPool2D",
    "BatchNorm",
    "Bidirectional",
    "Buffer",
    "Callback",
    "Chain",
    "Checkpoint",
    "CheckpointError",
    "ChoGRU",
    "ClipNorm",
    "ClipTensorNorm",
    "ClipValue",
    "Comparison",
    "Conv2D",
    "ConvTranspose2D",
    "CoupledDecay",
    "CrossAttention",
    "Dense",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "Ensemble",
    "Flatten",
    "GELUTanh",
    "GlobalAvgPool2D",
    "GradientCheck",
    "GradientNoise",
    "Group",
    "GroupNorm",
    "HalveOnStall",
    "History",
    "Huber",
    "InitialState",
    "InstanceNorm",
    "KeepBest",
    "Layer",
    "LayerCase",
    "LayerNorm",
    "LeakyReLU",
    "Lion",
    "Logistic",
    "LookAhead",
    "Loss",
    "MaxPool2D",
    "Maxout",
    "Momentum",
    "MulticlassHinge",
    "Muon",
    "NAdam",
    "Nesterov",
    "NesterovLookAhead",
    "Net",
    "Objective",
    "Optimizer",
    "PReLU",
    "Param",
    "PatchEmbedding",
    "Plan",
    "PolyakRuppert",
    "PositionalEncoding",
    "RAdam",
    "RMSprop",
    "RMSpropCentred",
    "RMSpropCentredMomentum",
    "RMSpropMomentum",
    "RangeTest",
    "ReLU",
    "Record",
    "ReduceOnPlateau",
    "Reshape",
    "Residual",
    "Rule",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Scratch",
    "SelfAttention",
    "SiLU",
    "Sigmoid",
    "Slice",
    "Snapshots",
    "SoftmaxCrossEntropy",
    "Softplus",
    "SpatialDropout",
    "SquaredError",
    "SquaredHinge",
    "StepSweep",
    "Tanh",
    "Tensor",
    "TensorCheck",
    "TiedEmbedding",
    "Trainer",
    "Upsample",
    "ZeroPad",
    "averaging",
    "calibration_error",
    "check_backward",
    "check_gradient",
    "check_layer",
    "check_loss",
    "check_module",
    "check_net",
    "compare_averages",
    "compare_precisions",
    "cs231n",
    "data",
    "datasets",
    "diagnostics",
    "distributed",
    "ensemble",
    "fit",
    "formats",
    "from_torch",
    "generate",
    "get_num_threads",
    "gradcheck",
    "initializers",
    "landscapes",
    "layer_cases",
    "layers",
    "load_weights",
    "losses",
    "lr_range_test",
    "mixture_weights",
    "numerical_gradient",
    "precompile",
    "preflight",
    "refreshed_buffers",
    "relative_error",
    "rules",
    "save_weights",
    "schedules",
    "select_greedily",
    "set_num_threads",
    "to_onnx",
    "to_torch",
    "training",
]


_LATER = ("benchmark", "experiments", "plots", "sklearn")  # imported when they are first asked for


def __getattr__(name: str) -> object:
    """The rooms that are imported when they are first asked for; an error for other names."""
    if name in _LATER:
        return import_module(f".{name}", __name__)
    if name.startswith("_"):
        raise AttributeError(f"module 'minnet' has no attribute {name!r}")
    from .base.guide import no_attribute

    rooms = {"schedules": schedules, "data": data, "diagnostics": diagnostics, "initializers": initializers}
    inner = [f"{room}.{known}" for room, module in rooms.items() for known in dir(module)]
    raise no_attribute("module 'minnet'", ["minnet"], name, [*__all__, *_LATER, *inner])


def __dir__() -> list[str]:
    """Names to type after ``mn.``; other names of ``__all__`` are shown by their rooms, and work here too."""
    rooms = (averaging, diagnostics, ensemble, gradcheck)
    elsewhere = {name for room in rooms for name in room.__all__ if not name.startswith("check_")}
    elsewhere |= {"Buffer", "Objective", "Param", "Plan", "Record", "Scratch", "Tensor"}
    return sorted({*__all__, *_LATER, "__version__"} - elsewhere)
