"""A recurrent layer whose first state is the output of other layers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.passes.residual import accumulate
from .base import Layer, Pass, plan_layer
from .composite import _passes, as_chain, join_winners
from .recurrent import Recurrent
from .spec import Child, Plan, Scratch, Shape


@dataclass(frozen=True)
class InitialState(Layer):
    """A recurrent layer that starts from the output of other layers: h_0 = state(x), and y = layer(inputs(x)).

    CS231n's captions start so from the features of an image. Both paths get the same x, so an x
    of two parts, such as features and words, is cut by a ``Slice`` at the start of each path. Words within such an x
    are rows of the identity matrix (``numpy.eye(vocabulary)[words]``), which ``Dense(width, bias=False)`` embeds. The
    cell of an LSTM starts at 0.

    Args:
        layer: an ``RNN``, ``LSTM``, ``GRU`` or ``ChoGRU``, without streams.
        state: layer or list of layers that give the state, of shape (units,).
        inputs: layer or list of layers that give the sequence, of shape (time, features); None for x itself.

    Shapes: input (n, ...), as both paths take it; output (n, time, units), or (n, units) with ``last`` of the layer.
    Trained: those of the paths and of the layer, as state.0.W, inputs.0.W, layer.W and so on.
    Source: CS231n, after Vinyals et al. 2015, who give the features of the image as the first input instead.
    """

    layer: Recurrent
    state: Sequence[Layer] | Layer
    inputs: Sequence[Layer] | Layer | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.layer, Recurrent) or self.layer.streams:
            raise TypeError(f"InitialState: expected layer as an RNN, LSTM or GRU without streams; got {self.layer!r}")
        object.__setattr__(self, "state", as_chain("InitialState", "state", self.state))
        if self.inputs is not None:
            object.__setattr__(self, "inputs", as_chain("InitialState", "inputs", self.inputs))

    def plan(self, in_shape: Shape) -> Plan:
        paths = {"state": self.state} | ({} if self.inputs is None else {"inputs": self.inputs})
        children = [Child(name, path, in_shape, plan_layer(path, in_shape, name)) for name, path in paths.items()]
        first = children[0].plan.out
        if first != (self.layer.units,):
            raise ValueError(f"expected state to end in shape ({self.layer.units},), the units of layer; got {first}")
        steps = children[-1].plan.out if self.inputs is not None else in_shape
        children.append(Child("layer", self.layer, steps, plan_layer(self.layer, steps, "layer")))
        scratch = [Scratch("y_state", first), Scratch("d_state", first, brief=True)]
        scratch.append(Scratch("dx_state", in_shape, brief=True))
        if self.inputs is not None:
            scratch += [Scratch("y_inputs", steps), Scratch("d_inputs", steps, brief=True)]
        return Plan(children[-1].plan.out, scratch=tuple(scratch), children=tuple(children))

    def bind(self, m: Any) -> None:
        _, memory = m.children[-1]
        memory.first, memory.dfirst = m.y_state, m.d_state

    def passes(self, m: Any, x: np.ndarray, y: np.ndarray) -> Iterator[Pass]:
        for (name, path, memory), output in zip(self._paths(m), self._outputs(m), strict=True):
            yield from _passes(name, path, memory, x, output)
        layer, memory = m.children[-1]
        yield from _passes("layer", layer, memory, self._steps(m, x), y)

    def _paths(self, m: Any) -> list[tuple[str, Layer, Any]]:
        return [(name, *child) for name, child in zip(("state", "inputs"), m.children[:-1], strict=False)]

    def _outputs(self, m: Any) -> list[np.ndarray]:
        return [m.y_state] if self.inputs is None else [m.y_state, m.y_inputs]

    def _steps(self, m: Any, x: np.ndarray) -> np.ndarray:
        """Return the sequence through which the layer steps."""
        return x if self.inputs is None else m.y_inputs

    def forward(self, m: Any, x: np.ndarray, y: np.ndarray) -> None:
        for (_, path, memory), output in zip(self._paths(m), self._outputs(m), strict=True):
            path.forward(memory, x, output)
        layer, memory = m.children[-1]
        layer.forward(memory, self._steps(m, x), y)

    def backward(self, m: Any, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        layer, memory = m.children[-1]
        layer.backward(memory, self._steps(m, x), y, dy, dx if self.inputs is None else m.d_inputs)
        if self.inputs is not None:
            inputs, memory = m.children[1]
            inputs.backward(memory, x, m.y_inputs, m.d_inputs, dx)
        state, memory = m.children[0]
        state.backward(memory, x, m.y_state, m.d_state, None if dx is None else m.dx_state)
        if dx is not None:
            accumulate(dx, m.dx_state)

    def winners(self, m: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        found = [
            path.winners(memory, x, output)
            for (_, path, memory), output in zip(self._paths(m), self._outputs(m), strict=True)
        ]
        layer, memory = m.children[-1]
        return join_winners([*found, layer.winners(memory, self._steps(m, x), y)])
