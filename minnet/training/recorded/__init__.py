"""Training steps that are recorded once and replayed by compiled code.

``steps`` explains how a step is recorded and replayed, and why it has the bits of a step that Python takes;
``programs`` has the program that is made of it. ``ahead`` says how many steps may be taken at one go.
"""

from .ahead import Ahead, Forecast
from .programs import Block
from .steps import RecordedSteps, Update

__all__ = ["Ahead", "Block", "Forecast", "RecordedSteps", "Update"]
