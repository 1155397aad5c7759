"""Long short-term memory."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..base import checks
from ..kernels.passes import lstm as kernels
from ..kernels.passes.flat import fill
from .initializers import GlorotUniform, Orthogonal
from .recurrent import Recurrent
from .spec import Initializer, Scratch, Shape


@dataclass(frozen=True)
class _ForgetBias:
    """An initializer of an LSTM's bias: ``value`` for the forget gate, which is the second of four, and 0 elsewhere."""

    value: float

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return np.repeat([0.0, self.value, 0.0, 0.0], shape[0] // 4)


@dataclass(frozen=True)
class LSTM(Recurrent):
    """Long short-term memory, with forget gates.

    With a = x_t @ W + h_(t-1) @ U + b, whose columns are the gates i, f, g, o in this order::

        i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o);  g = tanh(a_g)
        c_t = f * c_(t-1) + i * g
        h_t = o * tanh(c_t)

    The output is h. h and c start at 0, see ``streams``.

    Args:
        units: number of features of the state.
        init: initializer of the columns of each gate in W. ``GlorotUniform`` by default.
        recurrent_init: initializer of the columns of each gate in U. ``Orthogonal`` by default, as in Keras.
        forget_bias: initial b of the forget gate; the others start at 0. 1 as in Keras, so that the cell forgets little
            at the start (Gers et al. 2000); 0 is CS231n's.
        last: whether to output the state after the last step only, (n, units).
        reverse: whether to step from the last position to the first. Outputs stay at the positions of their inputs.
        streams: number of samples of every training pass, each of which goes on from the state that the same row of the
            training pass before ended in, with no gradient between them (``Text.streams``, ``Net.reset_state``). None
            to start every pass from 0. Passes that do not train start from 0 in any case.
        padding: a word that fills up short sequences, as in ``Embedding``, or None. A step at this word does not change
            the state, so ``last`` gives the state after the last other word, and ``reverse`` starts there. The input of
            the net must be words, one for each position.

    Shapes: input (n, time, features), output (n, time, units), or (n, units) with ``last``.
    Trained: W (features, 4 * units), U (units, 4 * units), b (4 * units,).
    Source: Hochreiter and Schmidhuber 1997; forget gates, Gers et al. 2000.
    """

    gates = 4
    states = "h", "c"

    units: int
    init: Initializer = field(default_factory=GlorotUniform)
    recurrent_init: Initializer = field(default_factory=Orthogonal)
    forget_bias: float = 1.0
    last: bool = False
    reverse: bool = False
    streams: int | None = None
    padding: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("LSTM", "forget_bias", self.forget_bias)

    def _bias(self) -> Initializer:
        return _ForgetBias(self.forget_bias)

    def _more_scratch(self, time: int) -> tuple[Scratch, ...]:
        c, tanh_c = Scratch("c", (time + 1, self.units)), Scratch("tanh_c", (time, self.units))
        return c, tanh_c, Scratch("dc", (self.units,), brief=True)

    def _by_step(self) -> tuple[str, ...]:
        return *super()._by_step(), "c", "tanh_c"

    def bind(self, m: Any) -> None:
        super().bind(m)
        m.squashed = list(m.tanh_c)

    def _start_backward(self, m: Any) -> None:
        fill(m.dc.reshape(-1), m.zero)

    def _steps(self, m: Any, first: int, last: int) -> None:
        kernels.lstm(m.U, m.activated, m.c, m.tanh_c, m.h, first, last, *self._in_time(m))

    def _steps_backward(self, m: Any, first: int, last: int) -> None:
        kernels.lstm_backward(
            m.U, m.activated, m.c, m.tanh_c, m.dy_by_step, first, last, self._least(m), m.carry, m.dc, m.d_activated,
            *self._in_time(m),
        )  # fmt: skip
