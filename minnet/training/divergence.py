"""The error of a run that diverged."""

from typing import Any

from .history import History


class DivergenceError(FloatingPointError):
    """A loss, gradient or parameter became NaN or infinite.

    Attributes:
        history: the ``History`` of the run so far.
    """

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history

    def __reduce__(self) -> tuple[Any, ...]:
        # A copied or pickled exception is rebuilt from ``args``, which do not contain the history.
        return type(self), (str(self), self.history), self.__dict__
