"""A network: its memory, its forward and backward pass, and its objective.

``net`` has Net, ``vectors`` its flat vectors, ``passes`` its passes, memory and lock. ``losses`` has the losses,
``summary`` and ``description`` describe a net as text, and ``generation`` lets a net write a text. This room may know
layers and kernels, and nothing of training.
"""

from .generation import generate
from .net import Net
from .objective import Objective

__all__ = ["Net", "Objective", "generate"]
