"""What to look at before, during and after training. Nothing here but ``lsuv`` touches the net that it is shown."""

from ..training.moments import log_spaced
from .dashboard import Dashboard
from .evaluation import Confusion, Mistake, confusion_matrix, worst_mistakes
from .lsuv import lsuv
from .monitor import Monitor
from .noise_scale import NoiseScale, noise_scale
from .preflight import Finding, Preflight, preflight
from .ratios import UpdateRatios
from .sharpness import Sharpness, hessian_vector_product, sharpness
from .statistics import Statistics
from .surface import LossSurface, filter_normalised_direction, loss_line, loss_surface
from .units import DeadUnits, Saturation, UnitEvent, dead_units
from .variance import LayerVariance, VarianceByLayer, variance_by_layer
from .verdicts import Verdict, verdicts

__all__ = [
    "Confusion",
    "Dashboard",
    "DeadUnits",
    "Finding",
    "LayerVariance",
    "LossSurface",
    "Mistake",
    "Monitor",
    "NoiseScale",
    "Preflight",
    "Saturation",
    "Sharpness",
    "Statistics",
    "UnitEvent",
    "UpdateRatios",
    "VarianceByLayer",
    "Verdict",
    "confusion_matrix",
    "dead_units",
    "filter_normalised_direction",
    "hessian_vector_product",
    "log_spaced",
    "loss_line",
    "loss_surface",
    "lsuv",
    "noise_scale",
    "preflight",
    "sharpness",
    "variance_by_layer",
    "verdicts",
    "worst_mistakes",
]
