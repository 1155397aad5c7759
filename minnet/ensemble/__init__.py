"""Ensembles: several networks of one architecture that answer together."""

from .members import Ensemble
from .selection import mixture_weights, select_greedily
from .snapshots import Snapshots

__all__ = ["Ensemble", "Snapshots", "mixture_weights", "select_greedily"]
