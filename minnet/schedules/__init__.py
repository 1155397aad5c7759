"""Schedules of learning rates and other hyper-parameters: frozen dataclasses, and pure functions of the step.

``schedule(step)`` takes a step, counted from 0, and returns the value at that step, a number of at least 0. The value
may be a learning rate, a momentum, a weight decay or a bound on a norm. A schedule is defined for every step, and
constant after ``schedule.length`` steps. It has no state, so a run resumes at step k by calling it with k.

Lengths are in steps. ``schedule.in_epochs()`` reads the same lengths as epochs of the run that the schedule is given
to, and ``schedule.in_epochs(100)`` as epochs of 100 steps.

``schedule.events(steps)`` lists the events of the first ``steps`` steps, which snapshots and averages use. The last
step of a cycle is a ``"trough"``, and the step after it is a ``"restart"``. ``schedule.preview(steps)`` returns the
values, and ``schedule.plot(path, steps)`` draws them.

Schedules compose: ``Warmup``, ``Join``, ``Repeat``, ``Offset``, ``first * second``, ``first + second``,
``.staircase(every)``. An object that reacts to a metric is not a schedule but a controller, such as
``ReduceOnPlateau``. This room knows nothing of networks, rules or training.
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
