"""The recurrent layer without gates."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..base import checks
from ..kernels.passes import rnn as kernels
from .initializers import GlorotUniform, Orthogonal
from .recurrent import Recurrent
from .spec import Initializer


@dataclass(frozen=True)
class RNN(Recurrent):
    """Recurrent layer without gates, h_t = tanh(x_t @ W + h_(t-1) @ U + b).

    The output is h. The state starts at 0, see ``streams``.

    Args:
        units: number of features of the state.
        init: initializer of W. ``GlorotUniform`` by default.
        recurrent_init: initializer of U. ``Orthogonal`` by default, which keeps the norm of a gradient over many steps
            as long as the activation is near linear (Saxe et al. 2014).
        relu: whether the activation function is a ReLU instead of tanh (Le, Jaitly, Hinton 2015).
        last: whether to output the state after the last step only, (n, units).
        reverse: whether to step from the last position to the first. Outputs stay at the positions of their inputs.
        streams: number of samples of every training pass, each of which goes on from the state that the same row of the
            training pass before ended in, with no gradient between them (``Text.streams``, ``Net.reset_state``). None
            to start every pass from 0. Passes that do not train start from 0 in any case.
        padding: a word that fills up short sequences, as in ``Embedding``, or None. A step at this word does not change
            the state, so ``last`` gives the state after the last other word, and ``reverse`` starts there. The input of
            the net must be words, one for each position.

    Shapes: input (n, time, features), output (n, time, units), or (n, units) with ``last``.
    Trained: W (features, units), U (units, units), b (units,).
    Source: Elman 1990.
    """

    gates = 1

    units: int
    init: Initializer = field(default_factory=GlorotUniform)
    recurrent_init: Initializer = field(default_factory=Orthogonal)
    relu: bool = False
    last: bool = False
    reverse: bool = False
    streams: int | None = None
    padding: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.truth("RNN", "relu", self.relu)

    def _steps(self, m: Any, first: int, last: int) -> None:
        run: Callable[..., None] = kernels.relu_rnn if self.relu else kernels.tanh_rnn
        run(m.U, m.activated, m.h, first, last, *self._in_time(m))

    def _steps_backward(self, m: Any, first: int, last: int) -> None:
        run: Callable[..., None] = kernels.relu_rnn_backward if self.relu else kernels.tanh_rnn_backward
        least = self._least(m)
        run(m.U, m.h, m.dy_by_step, first, last, least, m.carry, m.d_activated, *self._in_time(m))

    def winners(self, m: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        return m.h[1:] > 0 if self.relu else None
