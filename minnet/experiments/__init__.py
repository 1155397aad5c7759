"""Experiments: many runs, on one machine or several, stored so that nothing is computed twice."""

from .edges import Edge, edges
from .evolution import Member
from .lineage import PopulationResult, Winner
from .population import Population, pbt
from .processes import EngineError
from .report import Leader, Report
from .search import Grid, Halving, Random, Trial
from .spaces import Choice, Config, Integer, Log, Range, Space, Uniform, When
from .store import Row, Store, StoreError
from .study import Study
from .units import Outcome, Shared, Unit, attempt, digest
from .workers import Engine, run

__all__ = [
    "Choice",
    "Config",
    "Edge",
    "Engine",
    "EngineError",
    "Grid",
    "Halving",
    "Integer",
    "Leader",
    "Log",
    "Member",
    "Outcome",
    "Population",
    "PopulationResult",
    "Random",
    "Range",
    "Report",
    "Row",
    "Shared",
    "Space",
    "Store",
    "StoreError",
    "Study",
    "Trial",
    "Uniform",
    "Unit",
    "When",
    "Winner",
    "attempt",
    "digest",
    "edges",
    "pbt",
    "run",
]
