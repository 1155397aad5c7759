"""Checks before a long run, in one call and one report.

They follow CS231n's "Neural Networks Part 3", gradient checks and sanity checks before learning. Every check is a
function of a ``Case`` that returns a ``Finding``. All checks work on twins of the net. ``look`` has the list of checks,
``data``, ``losses``, ``scales`` and ``training`` have the checks, and ``report`` has the results.
"""

from .look import preflight
from .report import Finding, Preflight

__all__ = ["Finding", "Preflight", "preflight"]
