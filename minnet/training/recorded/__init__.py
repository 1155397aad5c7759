"""Training steps that are recorded once and replayed by compiled code.

``steps`` explains how a step is recorded and replayed, and why it has the bits of a step that Python takes. ``ahead``
says how many steps may be taken at one go.
"""

from .ahead import Ahead, Forecast
from .steps import Block, RecordedSteps, Update

__all__ = ["Ahead", "Block", "Forecast", "RecordedSteps", "Update"]
