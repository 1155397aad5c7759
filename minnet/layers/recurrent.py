"""Recurrent layers: whole sequences forward, and backward through time.

The input has shape (n, time, features). The product of all inputs with W is one matrix product, and so are the
gradients of W, U and the input. In between, each step takes one product with U and one kernel. Arrays of the layers
have the step as first axis, so that what a step reads is contiguous; ``bind`` makes the views of all steps.

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

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ..base import checks
from ..kernels.arrays import rows
from ..kernels.passes import recurrent as kernels
from ..kernels.passes.dense import column_sums
from ..kernels.passes.flat import copy, fill
from ..kernels.passes.residual import accumulate
from .base import Layer, Pass, plan_layer
from .composite import _passes, join_winners
from .initializers import GlorotUniform, Orthogonal, Zeros
from .products import PerGate, product, product_of_transpose, product_with_transpose
from .spec import Buffer, Child, Initializer, Param, Plan, Scratch, Shape


@dataclass(frozen=True)
class _ForgetBias:
    """An initializer of an LSTM's bias: ``value`` for the forget gate, which is the second of four, and 0 elsewhere."""

    value: float

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return np.repeat([0.0, self.value, 0.0, 0.0], shape[0] // 4)


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
            "recurrent": (width,),
            "carry": (self.units,),
        }
        more = tuple(Scratch(name, shape, brief=True) for name, shape in brief.items())
        out = (self.units,) if self.last else (time, self.units)
        biases = Param("b", (width,), self._bias(), decay=False), *self._more_params()
        scratch, streams = (*kept, *more, *self._more_scratch(time)), self.streams or 0
        carried = [Buffer(f"carried_{name}", (2, streams, self.units), carried=True) for name in self.states if streams]
        return Plan(out, (W, U, *biases), tuple(carried), scratch, work=2 * width, streams=streams)

    def _bias(self) -> Initializer:
        return Zeros()

    def _more_params(self) -> tuple[Param, ...]:
        return ()

    def _more_scratch(self, time: int) -> tuple[Scratch, ...]:
        return ()

    def bind(self, m: Any) -> None:
        """View scratch memory with the step first, and make the views of all steps."""
        n = len(m.h)
        for name in self._by_step():
            a = getattr(m, name)
            setattr(m, name, a.reshape(a.shape[1], n, *a.shape[2:]))
        m.before, m.after = list(m.h[:-1]), list(m.h[1:])
        m.ends = [(a[0], a[-1]) for a in (getattr(m, name) for name in self.states)]
        m.carried = [getattr(m, f"carried_{name}") for name in self.states if self.streams]
        m.times = range(len(m.after))
        m.first = m.dfirst = None  # InitialState sets them
        m.gates, m.dgates, m.dys = list(m.activated), list(m.d_activated), list(m.dy_by_step)

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
        for s in m.times:
            self._from_state(m, s)
            self._step(m, s)
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
        for s in reversed(m.times):
            self._step_backward(m, s)
            if s > 0 or m.first is not None:
                self._to_state(m, s)
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

    def _from_state(self, m: Any, s: int) -> None:
        """Compute the product of the state before step s with U."""
        product(m, m.before[s], m.U, m.nothing, m.recurrent)

    def _to_state(self, m: Any, s: int) -> None:
        """Compute ``m.carry``, the gradient with respect to the state before step s through the product with U."""
        product_with_transpose(m, m.dgates[s], m.U, m.carry)

    def _first_gradient(self, m: Any) -> None:
        """Compute the gradient with respect to the state before the first step."""
        copy(m.carry, m.dfirst)

    def _step(self, m: Any, s: int) -> None:
        """Compute the state after step s from ``m.recurrent``, its product with U, and the gates."""
        raise NotImplementedError

    def _step_backward(self, m: Any, s: int) -> None:
        """Compute the gradients with respect to the gates of step s."""
        raise NotImplementedError

    def _recurrent_gradients(self, m: Any) -> None:
        """Compute the gradients of U and of further parameters."""
        product_of_transpose(m, rows(m.h[:-1]), rows(m.d_activated), m.dU)


@dataclass(frozen=True)
class RNN(Recurrent):
    """h_t = tanh(x_t @ W + h_(t-1) @ U + b): a recurrent layer without gates. Elman 1990.

    x has shape (n, time, features), y has (n, time, units). The state starts at 0, see ``streams``.

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
    """

    gates = 1

    units: int
    init: Initializer = field(default_factory=GlorotUniform)
    recurrent_init: Initializer = field(default_factory=Orthogonal)
    relu: bool = False
    last: bool = False
    reverse: bool = False
    streams: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.truth("RNN", "relu", self.relu)

    def _step(self, m: Any, s: int) -> None:
        step: Callable[..., None] = kernels.relu_step if self.relu else kernels.tanh_step
        step(m.gates[s], m.recurrent, m.after[s])

    def _step_backward(self, m: Any, s: int) -> None:
        step: Callable[..., None] = kernels.relu_step_backward if self.relu else kernels.tanh_step_backward
        step(m.after[s], m.dys[s], m.carry, m.dgates[s])

    def winners(self, m: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        return m.h[1:] > 0 if self.relu else None


@dataclass(frozen=True)
class LSTM(Recurrent):
    """Long short-term memory. Hochreiter and Schmidhuber 1997; with forget gates, Gers et al. 2000.

    With a = x_t @ W + h_(t-1) @ U + b, whose columns are the gates i, f, g, o in this order::

        i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o);  g = tanh(a_g)
        c_t = f * c_(t-1) + i * g
        h_t = o * tanh(c_t)

    x has shape (n, time, features), y = h has (n, time, units). h and c start at 0, see ``streams``.

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
        m.cells, m.squashed = list(m.c), list(m.tanh_c)

    def _start_backward(self, m: Any) -> None:
        fill(m.dc.reshape(-1), m.zero)

    def _step(self, m: Any, s: int) -> None:
        kernels.lstm_step(m.gates[s], m.recurrent, m.cells[s], m.cells[s + 1], m.squashed[s], m.after[s])

    def _step_backward(self, m: Any, s: int) -> None:
        kernels.lstm_step_backward(m.gates[s], m.cells[s], m.squashed[s], m.dys[s], m.carry, m.dc, m.dgates[s])


@dataclass(frozen=True)
class GRU(Recurrent):
    """Gated recurrent unit. Cho et al. 2014, with the reset gate after the product, as in PyTorch and Keras.

    With a = x_t @ W + b and u = h_(t-1) @ U, whose columns are the gates r, z, n in this order::

        r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
        n = tanh(a_n + r * (u_n + c))
        h_t = (1 - z) * n + z * h_(t-1)

    x has shape (n, time, features), y = h has (n, time, units). h starts at 0, see ``streams``. Cho et al. multiply
    the state with r before the product (``ChoGRU``). Here all products with the state are one.

    Args:
        units: number of features of the state.
        init: initializer of the columns of each gate in W. ``GlorotUniform`` by default.
        recurrent_init: initializer of the columns of each gate in U. ``Orthogonal`` by default, as in Keras.
        last: whether to output the state after the last step only, (n, units).
        reverse: whether to step from the last position to the first. Outputs stay at the positions of their inputs.
        streams: number of samples of every training pass, each of which goes on from the state that the same row of the
            training pass before ended in, with no gradient between them (``Text.streams``, ``Net.reset_state``). None
            to start every pass from 0. Passes that do not train start from 0 in any case.
    """

    gates = 3

    units: int
    init: Initializer = field(default_factory=GlorotUniform)
    recurrent_init: Initializer = field(default_factory=Orthogonal)
    last: bool = False
    reverse: bool = False
    streams: int | None = None

    def _more_params(self) -> tuple[Param, ...]:
        return (Param("c", (self.units,), Zeros(), decay=False),)

    def _more_scratch(self, time: int) -> tuple[Scratch, ...]:
        width = self.gates * self.units
        return (
            Scratch("inner", (time, self.units)),
            Scratch("d_recurrent", (time, width), brief=True),
            Scratch("dbefore", (self.units,), brief=True),
            Scratch("sums", (width,), per_sample=False, brief=True),
        )

    def _by_step(self) -> tuple[str, ...]:
        return *super()._by_step(), "inner", "d_recurrent"

    def bind(self, m: Any) -> None:
        super().bind(m)
        m.inners, m.drecurrents = list(m.inner), list(m.d_recurrent)

    def _start_backward(self, m: Any) -> None:
        fill(m.dbefore.reshape(-1), m.zero)

    def _step(self, m: Any, s: int) -> None:
        kernels.gru_step(m.gates[s], m.recurrent, m.c, m.before[s], m.inners[s], m.after[s])

    def _step_backward(self, m: Any, s: int) -> None:
        kernels.gru_step_backward(
            m.gates[s], m.inners[s], m.before[s], m.dys[s], m.carry, m.dbefore, m.dgates[s], m.drecurrents[s]
        )

    def _to_state(self, m: Any, s: int) -> None:
        product_with_transpose(m, m.drecurrents[s], m.U, m.carry)

    def _first_gradient(self, m: Any) -> None:
        super()._first_gradient(m)
        accumulate(m.dfirst, m.dbefore)

    def _recurrent_gradients(self, m: Any) -> None:
        d = rows(m.d_recurrent)
        product_of_transpose(m, rows(m.h[:-1]), d, m.dU)
        column_sums(d, m.sums, m.work[0])
        copy(m.sums[2 * self.units :], m.dc)


@dataclass(frozen=True)
class Bidirectional(Layer):
    """Two recurrent layers, one in each direction of time, with their outputs side by side. Schuster and Paliwal 1997.

    The output has 2 * units features: those of the layer, then those of its reverse, as in PyTorch and Keras. With
    ``last``, they are the states after the last step of each: at the last position, and at the first.

    Args:
        layer: an ``RNN``, ``LSTM`` or ``GRU``.
    """

    layer: Recurrent

    def __post_init__(self) -> None:
        if not isinstance(self.layer, Recurrent):
            raise TypeError(f"Bidirectional: expected layer as an RNN, LSTM or GRU; got {self.layer!r}")
        if self.layer.reverse or self.layer.streams:
            raise ValueError(f"Bidirectional: expected a layer with reverse=False and no streams; got {self.layer!r}")

    def plan(self, in_shape: Shape) -> Plan:
        both = {"ahead": self.layer, "back": replace(self.layer, reverse=True)}  # type: ignore[type-var]
        children = tuple(
            Child(name, layer, in_shape, plan_layer(layer, in_shape, name)) for name, layer in both.items()
        )
        out = children[0].plan.out
        kept = Scratch("y_ahead", out), Scratch("y_back", out)
        brief = Scratch("dy_ahead", out, brief=True), Scratch("dy_back", out, brief=True)
        scratch = (*kept, *brief, Scratch("dx_back", in_shape, brief=True))
        return Plan((*out[:-1], 2 * out[-1]), scratch=scratch, children=children)

    def passes(self, m: Any, x: np.ndarray, y: np.ndarray) -> Iterator[Pass]:
        for name, (layer, memory), output in zip(("ahead", "back"), m.children, (m.y_ahead, m.y_back), strict=True):
            yield from _passes(name, layer, memory, x, output)

    def forward(self, m: Any, x: np.ndarray, y: np.ndarray) -> None:
        for (layer, memory), output in zip(m.children, (m.y_ahead, m.y_back), strict=True):
            layer.forward(memory, x, output)
        kernels.join(rows(m.y_ahead), rows(m.y_back), rows(y))

    def backward(self, m: Any, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        kernels.part(rows(dy), rows(m.dy_ahead), rows(m.dy_back))
        (ahead, memory), (back, memory_back) = m.children
        ahead.backward(memory, x, m.y_ahead, m.dy_ahead, dx)
        back.backward(memory_back, x, m.y_back, m.dy_back, None if dx is None else m.dx_back)
        if dx is not None:
            accumulate(dx, m.dx_back)

    def winners(self, m: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        outputs = zip(m.children, (m.y_ahead, m.y_back), strict=True)
        return join_winners([layer.winners(memory, x, output) for (layer, memory), output in outputs])
