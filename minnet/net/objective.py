"""The value that training minimises, in parts."""

from typing import NamedTuple


class Objective(NamedTuple):
    """The parts of the objective: the data loss and the penalties. Training minimises ``total``.

    Attributes:
        data, l2, l1: the data loss, and the penalties with their strengths.
    """

    data: float
    l2: float = 0.0
    l1: float = 0.0

    @property
    def total(self) -> float:
        """data + l2 + l1."""
        return self.data + self.l2 + self.l1
