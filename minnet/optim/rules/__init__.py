"""Update rules: frozen hyper-parameters and one fused pass over flat arrays.

A rule has no learning rate; ``lr`` is an argument of the step. ``decay`` is decoupled weight decay: p *= 1 - lr * decay
before the update (Loshchilov and Hutter 2019; it turns Adam into AdamW). The L2 penalty of the objective belongs to the
net and is a part of the gradient. In the formulas g is the gradient, p are the parameters, and t counts steps from 1.

Each docstring gives the formula, its source, the state, the bytes that a step moves, and the parameters that give the
forms of PyTorch, Keras, scikit-learn and CS231n.
"""

from .adafactor import Adafactor
from .adam import Adam, AdaMax, AMSGrad, NAdam, RAdam
from .adaptive import Adadelta, Adagrad
from .base import Hyper, Rule, Run, State
from .clipping import AdaptiveClip, ClipNorm, ClipTensorNorm, ClipValue
from .combinators import Accumulate, Around, CoupledDecay, GradientNoise, LookAhead
from .lbfgs import LBFGS
from .libraries import conventions
from .lion import Lion
from .muon import Muon
from .rmsprop import RMSprop, RMSpropCentred, RMSpropCentredMomentum, RMSpropMomentum
from .schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from .sgd import SGD, Momentum, Nesterov, NesterovLookAhead
from .trust import LAMB, LARS

__all__ = [
    "LAMB",
    "LARS",
    "LBFGS",
    "SGD",
    "AMSGrad",
    "Accumulate",
    "AdaMax",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdaptiveClip",
    "Around",
    "ClipNorm",
    "ClipTensorNorm",
    "ClipValue",
    "CoupledDecay",
    "GradientNoise",
    "Hyper",
    "Lion",
    "LookAhead",
    "Momentum",
    "Muon",
    "NAdam",
    "Nesterov",
    "NesterovLookAhead",
    "RAdam",
    "RMSprop",
    "RMSpropCentred",
    "RMSpropCentredMomentum",
    "RMSpropMomentum",
    "Rule",
    "Run",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "State",
    "conventions",
]
