"""Schedules of learning rates, and of any other hyper-parameter: frozen, pure functions of the step.

``schedule(step)`` takes a step counted from 0 and gives the value of that step, a number of at least 0: a rate, a
momentum, a decay, a bound on a norm. It is defined for every step and constant past its end. Nothing is remembered
between calls: to resume at step k is to call it with k. Lengths are in steps; ``schedule.in_epochs()`` reads the same
lengths as epochs of the run that it is given to, ``schedule.in_epochs(100)`` as epochs of 100 steps. After
``schedule.length`` steps all is constant.

``schedule.events(steps)`` lists what happens within the first ``steps`` steps, for snapshots and averages to hang on.
A cycle's last step is a ``"trough"``, the step after it a ``"restart"``. ``schedule.preview(steps)`` gives the values,
``schedule.plot(path, steps)`` draws them.

Schedules compose: ``Warmup``, ``Join``, ``Repeat``, ``Offset``, ``first * second``, ``first + second``,
``.staircase(every)``. What listens to a metric is no schedule but a controller: see ``ReduceOnPlateau``.
"""

from .cyclic import Cyclic, Cyclical, ExpRange, Mirrored, Triangular, Triangular2
from .decay import Cosine, Exponential, InverseSqrt, InverseTime, Linear, Noam, Polynomial
from .one_cycle import OneCycle
from .order import Join, Repeat, Warmup
from .pieces import Piecewise, PiecewiseLinear, Step
from .restarts import WarmRestarts
from .schedule import Constant, Event, InEpochs, Offset, Product, Scaled, Schedule, Staircase, Sum
from .trapezoid import Trapezoid

__all__ = [
    "Constant",
    "Cosine",
    "Cyclic",
    "Cyclical",
    "Event",
    "ExpRange",
    "Exponential",
    "InEpochs",
    "InverseSqrt",
    "InverseTime",
    "Join",
    "Linear",
    "Mirrored",
    "Noam",
    "Offset",
    "OneCycle",
    "Piecewise",
    "PiecewiseLinear",
    "Polynomial",
    "Product",
    "Repeat",
    "Scaled",
    "Schedule",
    "Staircase",
    "Step",
    "Sum",
    "Trapezoid",
    "Triangular",
    "Triangular2",
    "WarmRestarts",
    "Warmup",
]
