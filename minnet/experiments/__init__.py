"""Experiments: many runs, on one machine or several, stored so that nothing is computed twice."""

from .spaces import Choice, Config, Integer, Log, Range, Space, Uniform, When
from .store import Row, Store, StoreError
from .units import Outcome, Unit, attempt, digest
from .workers import Engine, EngineError, run

__all__ = [
    "Choice",
    "Config",
    "Engine",
    "EngineError",
    "Integer",
    "Log",
    "Outcome",
    "Range",
    "Row",
    "Space",
    "Store",
    "StoreError",
    "Uniform",
    "Unit",
    "When",
    "attempt",
    "digest",
    "run",
]
