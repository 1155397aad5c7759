"""What to look at before, during and after training. Nothing here but ``lsuv`` touches the net that it is shown."""

from .evaluation import Confusion, Mistake, confusion_matrix, worst_mistakes
from .lsuv import lsuv
from .preflight import Finding, Preflight, preflight
from .surface import LossSurface, filter_normalised_direction, loss_line, loss_surface
from .variance import LayerVariance, VarianceByLayer, variance_by_layer

__all__ = [
    "Confusion",
    "Finding",
    "LayerVariance",
    "LossSurface",
    "Mistake",
    "Preflight",
    "VarianceByLayer",
    "confusion_matrix",
    "filter_normalised_direction",
    "loss_line",
    "loss_surface",
    "lsuv",
    "preflight",
    "variance_by_layer",
    "worst_mistakes",
]
