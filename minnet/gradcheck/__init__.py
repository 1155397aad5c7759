"""Backward passes against numerical gradients: results with verdicts, for minnet's layers and for anybody's functions.

The numerical gradient is the central difference (f(x + h) - f(x - h)) / 2h, and the error the course's relative one,
|a - n| / max(|a|, |n|), 0 where both are 0. What round-off, truncation and kinks explain of a difference is not counted
against the analytic gradient. docs/gradcheck.md says how to read a verdict and what the checks catch.
"""

from .functions import check_backward, check_gradient
from .layers import LayerCase, check_layer, check_loss, layer_cases
from .modules import check_module
from .nets import check_net, compare_precisions
from .numeric import numerical_gradient, relative_error
from .result import GradientCheck, TensorCheck
from .sweep import StepCurve, StepSweep
from .thresholds import cs231n

__all__ = [
    "GradientCheck",
    "LayerCase",
    "StepCurve",
    "StepSweep",
    "TensorCheck",
    "check_backward",
    "check_gradient",
    "check_layer",
    "check_loss",
    "check_module",
    "check_net",
    "compare_precisions",
    "cs231n",
    "layer_cases",
    "numerical_gradient",
    "relative_error",
]
