"""Several networks: ensembles, which predict together, and comparisons, with intervals.

``members`` has the ensemble; ``judgements``, ``intervals`` and ``comparison`` judge networks on the same data;
``averages`` compares averages of weights. This room may know nets, averages and files.
"""

from .averages import compare_averages
from .comparison import Comparison
from .measures import calibration_error
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
