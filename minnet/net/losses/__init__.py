"""Losses: the value that training minimises, and its gradient, computed in one pass.

Scores have shape (n, outputs) and sample weights shape (n,); None gives all samples the same weight. With weights w the
value is sum(w_i * l_i) / sum(w_i): a sample of weight 2 counts as two samples. This folder may know kernels and shapes.
"""

from .base import Loss
from .hinge import MulticlassHinge, SquaredHinge
from .logistic import Logistic
from .regression import AbsoluteError, Huber, SquaredError
from .softmax import SoftmaxCrossEntropy

__all__ = [
    "AbsoluteError",
    "Huber",
    "Logistic",
    "Loss",
    "MulticlassHinge",
    "SoftmaxCrossEntropy",
    "SquaredError",
    "SquaredHinge",
]
