"""A training run: the loop, its history, and what can be attached to it.

``trainer`` has Trainer, ``loop`` its steps, ``fit`` a run in one call; ``callbacks`` says what a callback is and may
ask of a run; ``checkpoint``, ``saved`` and ``resume`` are about files of a run; ``tracker`` hands its figures to
``trackers``. This room may know nets, optimizers,
data and files.
"""

from .callbacks import Callback, Record
from .checkpoint import Checkpoint
from .controllers import HalveOnStall, ReduceOnPlateau
from .divergence import DivergenceError
from .fit import fit
from .history import History
from .precompiling import precompile
from .stopping import EarlyStopping, KeepBest
from .tracker import Tracker
from .trackers import MLflow, TensorBoard, WandB
from .trainer import Trainer
from .weights import load_weights, save_weights

__all__ = [
    "Callback",
    "Checkpoint",
    "DivergenceError",
    "EarlyStopping",
    "HalveOnStall",
    "History",
    "KeepBest",
    "MLflow",
    "Record",
    "ReduceOnPlateau",
    "TensorBoard",
    "Tracker",
    "Trainer",
    "WandB",
    "fit",
    "load_weights",
    "precompile",
    "save_weights",
]
