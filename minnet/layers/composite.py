"""Composite layers: chains of layers, and residual blocks."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..kernels.passes.activation import relu_mask
from ..kernels.passes.residual import accumulate, add
from .activation import ReLU
from .base import Layer, Observer, Pass, plan_layer
from .memory import Memory
from .spec import Child, Plan, Scratch, Shape


@dataclass(frozen=True)
class Chain(Layer):
    """Apply layers one after the other. A network is a Chain with memory.

    The outputs of all layers but the last are kept for the backward pass. Of the gradients between layers, only two
    exist at a time, so they use two places in turn. A layer that ``floors`` takes over a ReLU that follows it: the ReLU
    is computed in place, and its input is not kept.

    Args:
        layers: at least one layer.

    Shapes: input (n, ...), as the first layer takes it; output (n, ...), as the last layer gives it.
    Trained: those of the layers, as 0.W, 1.W and so on.
    """

    layers: Sequence[Layer]

    def __post_init__(self) -> None:
        if isinstance(self.layers, Layer) or not isinstance(self.layers, Iterable):
            raise TypeError(f"Chain: expected a list of layers; got {self.layers!r}")
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ValueError("Chain: expected at least one layer; got an empty list")

    def plan(self, in_shape: Shape) -> Plan:
        children, shape = [], in_shape
        for i, layer in enumerate(self.layers):
            plan = plan_layer(layer, shape, str(i), takes_words=i == 0)
            children.append(Child(str(i), layer, shape, plan))
            shape = plan.out
        outputs, gradients, place = [], [], 0
        for i, child in enumerate(children[:-1]):
            place += not self.fused(i)
            outputs.append(Scratch(f"y{i}", child.plan.out, share=f"output{place}"))
            gradients.append(Scratch(f"dy{i}", child.plan.out, share=f"gradient{place % 2}", brief=True))
        vocabulary = children[0].plan.vocabulary
        return Plan(shape, scratch=(*outputs, *gradients), children=tuple(children), vocabulary=vocabulary)

    def fused(self, i: int) -> bool:
        """Return whether layer i is a ReLU that the layer before it takes over. The last layer never is one.

        Args:
            i: index of the layer, from 0.

        Returns:
            True if the chain skips the layer and its neighbour computes it.
        """
        within = 0 < i < len(self.layers) - 1
        # A subclass of ReLU may compute something else.
        return within and type(self.layers[i]) is ReLU and _declares("floors", "forward", self.layers[i - 1])

    def bind(self, m: Any) -> None:
        between = range(len(self.layers) - 1)
        m.outputs = [getattr(m, f"y{i}") for i in between]
        m.gradients = [getattr(m, f"dy{i}") for i in between]
        m.fused = [self.fused(i) for i in range(len(self.layers))]
        m.masked = [m.fused[i] and _declares("masks", "backward", self.layers[i + 1]) for i in range(len(self.layers))]
        m.steps = [(*m.children[i], m.outputs[i]) for i in between if not m.fused[i]]
        for i in between:
            if m.fused[i]:
                m.children[i - 1][1].floor = m.zero
                m.children[i + 1][1].input_floor = m.zero
        trained = [i for i, (_, child) in enumerate(m.children) if _has_gradients(child)]
        m.first_trained = trained[0] if trained else len(self.layers)
        # For the backward pass: a layer, its input, the gradient there, and whether the ReLU below it must mask that.
        m.steps_back = [
            (i, *m.children[i], m.outputs[i - 1], m.gradients[i - 1], m.fused[i - 1] and not m.masked[i - 1])
            if i > 0
            else (i, *m.children[i], None, None, False)
            for i in reversed(range(len(self.layers)))
            if not m.fused[i]
        ]

    def passes(self, m: Any, x: np.ndarray, y: np.ndarray) -> Iterator[Pass]:
        """Yield the layers' passes, without layers whose output a ReLU has overwritten. Such a ReLU has its y as x."""
        for i, ((layer, memory), output) in enumerate(zip(m.children, [*m.outputs, y], strict=True)):
            last = i + 1 == len(m.children)
            for seen in _passes(str(i), layer, memory, x, output):
                if last or not m.fused[i + 1] or seen[0] != str(i):
                    yield seen
            x = output

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        for layer, memory, output in m.steps:
            layer.forward(memory, x, output)
            x = output
        last, child = m.children[-1]
        last.forward(child, x, y)

    def winners(self, m: Memory, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        found = []
        for i, ((layer, memory), output) in enumerate(zip(m.children, [*m.outputs, y], strict=True)):
            # A ReLU that works in place has overwritten its input; its output tells the sign.
            found.append(output > 0 if m.fused[i] else layer.winners(memory, x, output))
            x = output
        return join_winners(found)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        self.backward_observed(m, x, y, dy, dx, None)

    def backward_observed(
        self,
        m: Memory,
        x: np.ndarray,
        y: np.ndarray,
        dy: np.ndarray,
        dx: np.ndarray | None,
        observe: Observer | None,
    ) -> None:
        """Run ``backward``, and call ``observe(name, dy)`` with the gradient at each layer's output.

        A ReLU that works in place has no call of its own. The layer before it gets the gradient at its own output.

        Args:
            m, x, y, dy, dx: as in ``backward``.
            observe: called with the place of a layer, such as ``"0"``, and the gradient with respect to its output,
                (n, *plan.out), which is valid during the call; None to observe nothing.
        """
        # No gradient is needed below the first layer with parameters, unless dx is requested.
        stop = 0 if dx is not None else m.first_trained
        for i, layer, memory, before, d_before, masks in m.steps_back:
            if i < stop:
                break
            if observe is not None:
                observe(str(i), dy)
            if i == stop:
                layer.backward(memory, before if i > 0 else x, y, dy, None if i > 0 else dx)
                break
            layer.backward(memory, before, y, dy, d_before)
            if masks:
                relu_mask(before, d_before)
            y, dy = before, d_before


def _passes(place: str, layer: Layer, m: Memory, x: np.ndarray, y: np.ndarray) -> Iterator[Pass]:
    """Yield the passes inside a layer, then that of the layer itself, unless it is a Chain."""
    for inner, inside, before, after in layer.passes(m, x, y):
        yield f"{place}.{inner}", inside, before, after
    if not isinstance(layer, Chain):
        yield place, layer, x, y


def _declares(promise: str, method: str, layer: Layer) -> bool:
    """Return whether ``promise`` holds for a layer's method. A class that overrides the method must repeat it."""
    kind = next(kind for kind in type(layer).__mro__ if promise in vars(kind) or method in vars(kind))
    return bool(vars(kind).get(promise, False))


def join_winners(found: Iterable[np.ndarray | None]) -> np.ndarray | None:
    """Join the winners of several layers into one array; return None if no layer has any."""
    flat = [winners.reshape(-1) for winners in found if winners is not None]
    return np.concatenate(flat) if flat else None


def _has_gradients(m: Memory) -> bool:
    return m.trained or any(_has_gradients(child) for _, child in m.children)


@dataclass(frozen=True)
class Residual(Layer):
    """Residual block, y = layers(x) + shortcut(x).

    No activation follows the sum. Both paths must have the same output shape.

    Args:
        layers: layer or list of layers of the main path.
        shortcut: layer or list of layers of the shortcut; None for the identity. By keyword only.

    Shapes: input (n, ...), as both paths take it; output (n, ...), as both give it.
    Trained: those of the paths, as layers.0.W, shortcut.0.W and so on.
    Source: He et al. 2016, equations 1 and 2, without the ReLU after the sum.
    """

    floors = True

    layers: Sequence[Layer] | Layer
    # By keyword only, because Residual(Dense(8), ReLU()) would take the ReLU as its shortcut.
    shortcut: Sequence[Layer] | Layer | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", as_chain("Residual", "layers", self.layers))
        if self.shortcut is not None:
            object.__setattr__(self, "shortcut", as_chain("Residual", "shortcut", self.shortcut))

    def plan(self, in_shape: Shape) -> Plan:
        paths = [("layers", self.layers)] + ([("shortcut", self.shortcut)] if self.shortcut is not None else [])
        children = tuple(Child(name, layer, in_shape, plan_layer(layer, in_shape, name)) for name, layer in paths)
        out = children[0].plan.out
        other = children[1].plan.out if self.shortcut is not None else in_shape
        if out != other:
            raise ValueError(
                f"expected both paths to end in one shape; got {out} from layers, {other} from the shortcut"
            )
        scratch = [Scratch("y_layers", out)]
        if self.shortcut is not None:
            scratch += [Scratch("y_shortcut", out), Scratch("dx_shortcut", in_shape, brief=True)]
        return Plan(out, scratch=tuple(scratch), children=children)

    def passes(self, m: Any, x: np.ndarray, y: np.ndarray) -> Iterator[Pass]:
        layers, memory = m.children[0]
        yield from _passes("layers", layers, memory, x, m.y_layers)
        if self.shortcut is not None:
            shortcut, memory = m.children[1]
            yield from _passes("shortcut", shortcut, memory, x, m.y_shortcut)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        layers, memory = m.children[0]
        layers.forward(memory, x, m.y_layers)
        if self.shortcut is None:
            add(m.y_layers, x, m.floor, y)
        else:
            shortcut, memory = m.children[1]
            shortcut.forward(memory, x, m.y_shortcut)
            add(m.y_layers, m.y_shortcut, m.floor, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        layers, memory = m.children[0]
        layers.backward(memory, x, m.y_layers, dy, dx)
        if self.shortcut is not None:
            shortcut, memory = m.children[1]
            d_shortcut = m.dx_shortcut if dx is not None else None
            shortcut.backward(memory, x, m.y_shortcut, dy, d_shortcut)
        if dx is not None:
            accumulate(dx, dy if self.shortcut is None else m.dx_shortcut)

    def winners(self, m: Memory, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        outputs = [m.y_layers] if self.shortcut is None else [m.y_layers, m.y_shortcut]
        paths = zip(m.children, outputs, strict=True)
        return join_winners([layer.winners(memory, x, output) for (layer, memory), output in paths])


def as_chain(who: str, name: str, layers: Sequence[Layer] | Layer) -> Layer:
    """Return layers as one Layer: a Chain, if they are a list."""
    if not isinstance(layers, Iterable) and not isinstance(layers, Layer):
        raise TypeError(f"{who}: expected {name} as a layer or a list of layers; got {layers!r}")
    return layers if isinstance(layers, Layer) else Chain(layers)
