"""A network: its memory, its forward and backward pass, and its objective.

``net`` has Net, ``vectors`` its flat vectors, ``passes`` its passes, memory and lock. ``losses`` has the losses, and
``summary`` and ``description`` describe a net as text. This room may know layers and kernels, and nothing of
training.
"""

from .net import Net
from .objective import Objective

__all__ = ["Net", "Objective"]
