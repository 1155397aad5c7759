"""Update rules: frozen hyper-parameters and one fused pass over flat arrays.

A rule holds no learning rate: ``lr`` comes with the step. ``decay`` is decoupled weight decay, p *= 1 - lr * decay in
front of the update (Loshchilov and Hutter 2019, which makes Adam into AdamW); the L2 penalty of the objective
is the net's business and reaches a rule inside the gradient. In the formulas g is the gradient, p the
parameters, and t counts steps from 1.

Each docstring names the parameters that give the forms of CS231n, Keras and PyTorch.
"""

from .adam import Adam
from .adaptive import Adadelta, Adagrad, RMSprop
from .base import Hyper, Rule, Run, State
from .clipping import AdaptiveClip, ClipNorm, ClipTensorNorm, ClipValue
from .combinators import Accumulate, Around, GradientNoise, LookAhead
from .libraries import conventions
from .sgd import SGD, Momentum, Nesterov, NesterovLookAhead

__all__ = [
    "SGD",
    "Accumulate",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdaptiveClip",
    "Around",
    "ClipNorm",
    "ClipTensorNorm",
    "ClipValue",
    "GradientNoise",
    "Hyper",
    "LookAhead",
    "Momentum",
    "Nesterov",
    "NesterovLookAhead",
    "RMSprop",
    "Rule",
    "Run",
    "State",
    "conventions",
]
