"""What CS231n's notes say to look at before a long run, in one call and one report.

"Neural Networks Part 3", gradient checks and sanity checks before learning. Every check is a function that takes a
``Case`` and gives a ``Finding``; all work on twins of the net.
"""

from .look import preflight
from .report import Finding, Preflight

__all__ = ["Finding", "Preflight", "preflight"]
