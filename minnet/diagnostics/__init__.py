"""Diagnostics before, during and after training. Only ``lsuv`` changes the net; all others work on copies or read it.

Before a run: ``preflight`` (a report of checks), ``range_test`` (learning rates), ``variance`` with the theory in
``gains``, and ``lsuv``. During a run, monitors: ``ratios``, ``statistics``, ``units``, ``noise_scale`` and
``sharpness``, all on ``monitor``; ``dashboard`` writes a page with their figures and the sentences of ``verdicts``.
After a run: ``evaluation`` (mistakes of a classifier), ``surface`` (the loss around the weights), ``looking`` (what the
net sees in its input) and ``through_time`` (gradients of recurrent layers by distance in time).
This room may import everything that trains a net, and the gradient check.
"""

from ..training.moments import log_spaced
from .dashboard import Dashboard
from .evaluation import Confusion, Mistake, confusion_matrix, worst_mistakes
from .looking import Ascent, Fooling, amplify, fooling_images, saliency, visualise_classes
from .lsuv import lsuv
from .monitor import Monitor
from .noise_scale import NoiseScale, noise_scale
from .preflight import Finding, Preflight, preflight
from .range_test import RangeTest, lr_range_test
from .ratios import UpdateRatios
from .sharpness import Sharpness, hessian_vector_product, sharpness
from .statistics import Statistics
from .surface import LossSurface, filter_normalised_direction, loss_line, loss_surface
from .through_time import GradientsThroughTime, gradients_through_time
from .units import DeadUnits, Saturation, UnitEvent, dead_units
from .variance import LayerVariance, VarianceByLayer, variance_by_layer
from .verdicts import Verdict, verdicts

__all__ = [
    "Ascent",
    "Confusion",
    "Dashboard",
    "DeadUnits",
    "Finding",
    "Fooling",
    "GradientsThroughTime",
    "LayerVariance",
    "LossSurface",
    "Mistake",
    "Monitor",
    "NoiseScale",
    "Preflight",
    "RangeTest",
    "Saturation",
    "Sharpness",
    "Statistics",
    "UnitEvent",
    "UpdateRatios",
    "VarianceByLayer",
    "Verdict",
    "amplify",
    "confusion_matrix",
    "dead_units",
    "filter_normalised_direction",
    "fooling_images",
    "gradients_through_time",
    "hessian_vector_product",
    "log_spaced",
    "loss_line",
    "loss_surface",
    "lr_range_test",
    "lsuv",
    "noise_scale",
    "preflight",
    "saliency",
    "sharpness",
    "variance_by_layer",
    "verdicts",
    "visualise_classes",
    "worst_mistakes",
]
