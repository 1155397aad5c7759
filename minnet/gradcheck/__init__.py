"""Gradient checks: backward passes against numerical gradients, for minnet's layers and for any function.

The numerical gradient is the central difference (f(x + h) - f(x - h)) / 2h. The error is CS231n's relative error
|a - n| / max(|a|, |n|), and 0 where both gradients are 0. Differences that round-off, truncation or kinks explain do
not count against the analytic gradient. docs/gradcheck.md explains verdicts and what the checks detect.

What a user calls, one file for each kind of subject::

    functions     check_gradient: any function
    pairs         check_backward: a forward and a backward function, as in CS231n
    modules       check_module: a layer written as a class; attributes finds its parameters
    layers        check_layer, check_loss: minnet's layers and losses; contract watches what they overwrite
    nets          check_net, compare_precisions: a whole net

How these are called, and what they do besides computing::

    arguments     the forms of arguments and gradients
    subject       a function with its arguments
    conventions   whether a gradient function takes x or the cotangent
    reading       whether a function depends on what is moved
    side_effects  changes in place, accumulated gradients

From numbers to a verdict, in this order::

    modes         which derivatives are compared: all, a sample, directions; domain leaves out boundaries
    numeric       one derivative with bounds on its errors; listening measures noise for them
    judge         the verdict; ladder (many steps) and second (shorter steps) look closer for it
    thresholds    the limits of errors
    result        GradientCheck, TensorCheck, and what each verdict advises
    sweep         the error as a function of the step

This room may import layers, nets and optimizers (for ``burn_in``), and figures within functions.
"""

from .functions import check_gradient
from .layers import LayerCase, check_layer, check_loss, layer_cases
from .modules import check_module
from .nets import check_net, compare_precisions
from .numeric import numerical_gradient, relative_error
from .pairs import check_backward
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
