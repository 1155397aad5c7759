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
"""What to look at before and during training. Nothing here disturbs a run."""

from .dashboard import Dashboard
from .monitor import Monitor
from .noise_scale import NoiseScale, noise_scale
from .ratios import UpdateRatios
from .sharpness import Sharpness, hessian_vector_product, sharpness
from .statistics import Statistics
from .units import DeadUnits, Saturation, UnitEvent, dead_units
from .verdicts import Verdict, verdicts
from .when import log_spaced

__all__ = [
    "Dashboard",
    "DeadUnits",
    "Monitor",
    "NoiseScale",
    "Saturation",
    "Sharpness",
    "Statistics",
    "UnitEvent",
    "UpdateRatios",
    "Verdict",
    "dead_units",
    "hessian_vector_product",
    "log_spaced",
    "noise_scale",
    "sharpness",
    "verdicts",
]
