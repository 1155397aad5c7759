"""Networks beside each other: ensembles, which answer together, and comparisons with intervals.

``members`` has the ensemble, ``comparison`` networks on the same data, ``averages`` a comparison of averaged weights.
This room may know nets, averages and files.
"""

from .averages import compare_averages
from .comparison import Comparison, calibration_error
from .members import Ensemble
from .selection import mixture_weights, select_greedily
from .snapshots import Snapshots

__all__ = [
    "Comparison",
    "Ensemble",
    "Snapshots",
    "calibration_error",
    "compare_averages",
    "mixture_weights",
    "select_greedily",
]
