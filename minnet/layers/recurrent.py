"""Recurrent layers: whole sequences forward, and backward through time.

The input has shape (n, time, features). The product of all inputs with W is one matrix product, and so are the
gradients of W, U and the input. In between, one kernel takes all steps: a thread takes its samples through time. Arrays
of the layers have the step as first axis, so that what a step reads is contiguous; ``bind`` makes the views of all
steps.

W has shape (features, gates * units), U (units, gates * units) and b (gates * units,), with the gates side by side.
Compared with other libraries:

* PyTorch keeps the transposes, ``weight_ih = W.T`` and ``weight_hh = U.T``, and two biases, which are added: b is their
  sum. Of a GRU, b has the sum for r and z, and ``bias_ih`` for n; c is ``bias_hh`` for n. The order of gates is the
  same.
* Keras has W, U and b as ``kernel``, ``recurrent_kernel`` and ``bias``. Its LSTM has the same order of gates, and
  ``forget_bias=1``. Its GRU has z, r, n, and with ``reset_after=True`` a bias of two rows, which are as PyTorch's two.
  With ``reset_after=False`` it is ``ChoGRU``, with one bias.
* CS231n has ``Wx``, ``Wh`` and ``b`` in the shapes of W, U and b. Its LSTM has the gates i, f, o, g.
"""

from typing import Any, ClassVar

import numpy as np

from ..base import checks
from ..kernels.arrays import rows
from ..kernels.passes import recurrent as kernels
from ..kernels.passes.dense import column_sums
from ..kernels.passes.flat import copy, fill
from ..kernels.passes.packed import panels_for
from .base import Layer
from .initializers import Zeros
from .memory import NO_WORDS
from .products import PerGate, product, product_of_transpose, product_with_transpose
from .spec import Buffer, Hidden, Initializer, Param, Plan, Scratch, Shape


class Recurrent(Layer):
    """Base of recurrent layers. A subclass says how many gates it has, and computes a step and its gradients.

    The state before the first step is 0. With ``streams``, that of a training pass is the state after the last step of
    the training pass before: backpropagation through time is truncated between them (Williams and Peng 1990). The state
    is kept twice, for passes of even and of odd number. A pass reads one and writes the other, so that it can be made
    again, by a gradient check or a line search, from the same state.
    """

    gates: ClassVar[int]
    states: ClassVar[tuple[str, ...]] = ("h",)  # names of the arrays that the next step reads
    units: int
    init: Initializer
    recurrent_init: Initializer
    last: bool
    reverse: bool
    streams: int | None
    padding: int | None

    def __post_init__(self) -> None:
        who = type(self).__name__
        checks.count(who, "units", self.units)
        for name in ("init", "recurrent_init"):
            given = getattr(self, name)
            if not callable(given) or isinstance(given, type):
                raise TypeError(f"{who}: expected {name} to be an initializer such as Orthogonal(); got {given!r}")
        checks.truth(who, "last", self.last)
        checks.truth(who, "reverse", self.reverse)
        if self.streams is not None:
            checks.count(who, "streams", self.streams)
            if self.reverse:
                raise ValueError(f"{who}: expected reverse=False, as a state goes on forwards in time; got {self!r}")
        if self.padding is not None:
            checks.count(who, "padding", self.padding, 0)

    def plan(self, in_shape: Shape) -> Plan:
        if len(in_shape) != 2:
            hint = " (last=True of the layer before gives one state)" if len(in_shape) == 1 else ""
            raise ValueError(f"expected sequences (time, features); got input shape {in_shape}{hint}")
        (time, inputs), width = in_shape, self.gates * self.units
        W = Param("W", (inputs, width), PerGate(self.init, self.gates))
        U = Param("U", (self.units, width), PerGate(self.recurrent_init, self.gates))
        kept = Scratch("activated", (time, width)), Scratch("h", (time + 1, self.units))
        brief = {
            "x_by_step": (time, inputs),
            "dy_by_step": (time, self.units),
            "d_activated": (time, width),
            "carry": (self.units,),
        }
        more = [Scratch(name, shape, brief=True) for name, shape in brief.items()]
        more.append(Scratch("panels", (self._panels(),), per_sample=False, brief=True))
        out = (self.units,) if self.last else (time, self.units)
        biases = Param("b", (width,), self._bias(), decay=False), *self._more_params()
        scratch, streams = (*kept, *more, *self._more_scratch(time)), self.streams or 0
        carried = [Buffer(f"carried_{name}", (2, streams, self.units), carried=True) for name in self.states if streams]
        hidden = None if self.padding is None else Hidden(self.padding, time)
        return Plan(out, (W, U, *biases), tuple(carried), scratch, work=2 * width, streams=streams, hidden=hidden)

    def _bias(self) -> Initializer:
        return Zeros()

    def _more_params(self) -> tuple[Param, ...]:
        return ()

    def _more_scratch(self, time: int) -> tuple[Scratch, ...]:
        return ()

    def _panels(self) -> int:
        """Return the elements that U takes for a pass, packed, or its transpose."""
        width = self.gates * self.units
        return max(panels_for(self.units, width, 4), panels_for(width, self.units, 4))

    def bind(self, m: Any) -> None:
        """View scratch memory with the step first, and make the views of all steps.

        Args:
            m: memory of the layer, with arrays for this batch size.
        """
        n = len(m.h)
        for name in self._by_step():
            a = getattr(m, name)
            setattr(m, name, a.reshape(a.shape[1], n, *a.shape[2:]))
        m.before, m.after = list(m.h[:-1]), list(m.h[1:])
        m.ends = [(a[0], a[-1]) for a in (getattr(m, name) for name in self.states)]
        m.carried = [getattr(m, f"carried_{name}") for name in self.states if self.streams]
        m.first = m.dfirst = None  # InitialState sets them
        m.gates, m.dys = list(m.activated), list(m.dy_by_step)

    def _by_step(self) -> tuple[str, ...]:
        """Return the names of the scratch memory that has an axis of steps."""
        return "activated", "h", "x_by_step", "dy_by_step", "d_activated"

    def _way(self, time: int) -> tuple[int, int]:
        """Return the position of the first step, and the distance to the next."""
        return (time - 1, -1) if self.reverse else (0, 1)

    def forward(self, m: Any, x: np.ndarray, y: np.ndarray) -> None:
        way = self._way(x.shape[1])
        kernels.by_step(x, *way, m.x_by_step)
        product(m, rows(m.x_by_step), m.W, m.b, rows(m.activated))
        self._start(m)
        self._pack(m)
        self._steps(m, 0, len(m.after))
        self._leave(m)
        if self.last:
            copy(m.after[-1], y)
        else:
            kernels.by_sample(m.h[1:], *way, y)

    def backward(self, m: Any, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        way = self._way(x.shape[1])
        if self.last:
            fill(m.dy_by_step.reshape(-1), m.zero)
            copy(dy, m.dys[-1])
        else:
            kernels.by_step(dy, *way, m.dy_by_step)
        fill(m.carry.reshape(-1), m.zero)
        self._start_backward(m)
        self._pack_transposed(m)
        self._steps_backward(m, 0, len(m.after))
        if m.first is not None:
            self._first_gradient(m)
        kernels.by_step(x, *way, m.x_by_step)
        d = rows(m.d_activated)
        product_of_transpose(m, rows(m.x_by_step), d, m.dW)
        column_sums(d, m.db, m.work[0])
        self._recurrent_gradients(m)
        if dx is not None:
            product_with_transpose(m, d, m.W, rows(m.x_by_step))  # x itself is no longer needed there
            kernels.by_sample(m.x_by_step, *way, dx)

    def _start(self, m: Any) -> None:
        """Set the state before the first step."""
        if m.training and self.streams:
            for (first, _), carried in zip(m.ends, m.carried, strict=True):
                kernels.recall(carried, m.step, first)
            return
        for first, last in m.ends:
            if m.continues:
                copy(last, first)
            else:
                fill(first.reshape(-1), m.zero)
        if m.first is not None:
            copy(m.first, m.before[0])

    def _leave(self, m: Any) -> None:
        """Leave the state after the last step to the next training pass."""
        if m.training and self.streams:
            for (_, last), carried in zip(m.ends, m.carried, strict=True):
                kernels.remember(last, m.step, carried)

    def _start_backward(self, m: Any) -> None:
        """Set what the steps carry backwards, besides ``m.carry``, to 0."""

    def _pack(self, m: Any) -> None:
        """Pack U for the product with the state."""
        width = m.U.shape[1]
        kernels.pack_weights(m.U, 0, width, 1, self.units, width, m.panels, 0)

    def _pack_transposed(self, m: Any) -> None:
        """Pack the transpose of U, for the gradient with respect to the state."""
        width = m.U.shape[1]
        kernels.pack_weights(m.U, 0, 1, width, width, self.units, m.panels, 0)

    def _in_time(self, m: Any) -> tuple[Any, ...]:
        """Return the arguments of the kernels from ``words`` to ``offsets``."""
        words, padding = (NO_WORDS, -1) if self.padding is None else (m.words, self.padding)
        return words, padding, *self._way(m.in_shape[0]), m.panels, m.work, m.offsets

    def _least(self, m: Any) -> int:
        """Return the first step for whose state before a gradient is wanted: that before step 0 may be a parameter."""
        return 1 if m.first is None else 0

    def _first_gradient(self, m: Any) -> None:
        """Compute the gradient with respect to the state before the first step."""
        copy(m.carry, m.dfirst)

    def _steps(self, m: Any, first: int, last: int) -> None:
        """Compute the states after the steps from ``first`` to ``last`` (exclusive)."""
        raise NotImplementedError

    def _steps_backward(self, m: Any, first: int, last: int) -> None:
        """Compute the gradients with respect to the gates of these steps, and what is carried on to those before."""
        raise NotImplementedError

    def _recurrent_gradients(self, m: Any) -> None:
        """Compute the gradients of U and of further parameters."""
        product_of_transpose(m, rows(m.h[:-1]), rows(m.d_activated), m.dU)
