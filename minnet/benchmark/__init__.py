"""The benchmark of update rules: problems, entries, a protocol, and what can be said of the result.

``run`` tunes every entry on every problem with the same number of trials, chooses the best trial on some seeds, and
reports it on others. ``python -m minnet.benchmark`` does so from the command line.
"""

from ..experiments.spaces import Choice, Integer, Log, Space, Uniform
from .curves import Curve
from .entries import Entry, chosen, constant, cosine, published
from .problems import Problem, Surface
from .protocol import Protocol
from .results import Cell, Notice, Result
from .running import run
from .sets import problems, quadratic
from .tables import ResultTable

__all__ = [
    "Cell",
    "Choice",
    "Curve",
    "Entry",
    "Integer",
    "Log",
    "Notice",
    "Problem",
    "Protocol",
    "Result",
    "ResultTable",
    "Space",
    "Surface",
    "Uniform",
    "chosen",
    "constant",
    "cosine",
    "problems",
    "published",
    "quadratic",
    "run",
]
