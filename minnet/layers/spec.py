"""Frozen descriptions: what a layer needs from the network, and where each parameter is in the flat vector.

Shapes have no batch axis. No class here owns an array.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Initializer = Callable[[np.random.Generator, Shape], np.ndarray]


@dataclass(frozen=True)
class Param:
    """A parameter of a layer.

    Attributes:
        name: name within the layer, such as ``"W"``.
        shape: shape of the array.
        init: initializer of its values.
        decay: whether penalties, weight decay and norm limits apply. False for biases and gains.
    """

    name: str
    shape: Shape
    init: Initializer
    decay: bool = True


@dataclass(frozen=True)
class Buffer:
    """An array that persists but is not trained, such as a running mean.

    Args:
        name: name of the array in the memory of the layer.
        shape: its shape.
        fill: value of all elements at the start.
        carried: whether the array is a state that goes on from one training pass to the next, instead of a statistic.
            ``Net.reset_state`` fills it again.
        least: smallest value that an element can have, such as 0 of a variance. Files and state dicts with a smaller
            one are refused.
    """

    name: str
    shape: Shape
    fill: float = 0.0
    carried: bool = False
    least: float = -math.inf


@dataclass(frozen=True)
class Scratch:
    """Working memory of a layer, in the net's dtype.

    Attributes:
        name: name in the layer's memory.
        shape: shape of the array, without the batch axis.
        per_sample: whether the array has a batch axis in front.
        share: entries of one plan with the same ``share`` use the same memory. The layer must never need two of them
            at once.
        brief: whether the contents are needed within one call of ``forward`` or ``backward`` only. Brief entries of
            different layers use the same memory.
    """

    name: str
    shape: Shape
    per_sample: bool = True
    share: str | None = None
    brief: bool = False


@dataclass(frozen=True)
class Child:
    """A layer inside a composite layer, with its input shape and its plan."""

    name: str
    layer: Any
    in_shape: Shape
    plan: "Plan"


@dataclass(frozen=True)
class Hidden:
    """A word whose positions a layer does not see.

    Attributes:
        word: the word.
        time: number of positions that the layer has; the input of the net must be as many words.
        within: every sample must have another word among its first ``within`` positions, so that something is seen; 0
            if samples may have none.
        first: place of the word of the first position, if the positions are a part of the net's words.
    """

    word: int
    time: int
    within: int = 0
    first: int | None = None

    @property
    def start(self) -> int:
        """Place of the word of the first position."""
        return self.first or 0

    def fits(self, shape: Shape) -> bool:
        """Return whether each position has a word in a net's input of this shape."""
        if self.first is None:
            return shape == (self.time,)
        return len(shape) == 1 and self.first + self.time <= shape[0]


@dataclass(frozen=True)
class Plan:
    """What a layer needs for one input shape.

    Attributes:
        out: output shape.
        params, buffers, scratch: the layer's arrays.
        children: inner layers of a composite.
        work: elements of ``m.work`` that each thread needs, if that may exceed the need of a matrix product.
        least: least number of samples in a training pass, such as 2 for statistics over the batch.
        vocabulary: above 0 if the input is words instead of floating-point numbers: int64 from 0 to vocabulary - 1.
            Such an input has no gradient, so ``dx`` is None.
        streams: above 0 if every training pass has exactly this number of samples, because each sample goes on from the
            state that the same row of the pass before ended in.
        hidden: word of the net's input whose positions the layer does not see; None if it sees all.
    """

    out: Shape
    params: tuple[Param, ...] = ()
    buffers: tuple[Buffer, ...] = ()
    scratch: tuple[Scratch, ...] = ()
    children: tuple[Child, ...] = ()
    work: int = 0
    least: int = 1
    vocabulary: int = 0
    streams: int = 0
    hidden: Hidden | None = None

    def kept(self) -> tuple[Buffer, ...]:
        """Return the buffers that statistics of training passes update: all but the states that go on."""
        return tuple(buffer for buffer in self.buffers if not buffer.carried)

    def least_batch(self) -> int:
        """Return the largest ``least`` of this plan and its children."""
        return max([self.least, *(child.plan.least_batch() for child in self.children)])

    def all_streams(self) -> set[int]:
        """Return the numbers of streams of this plan and its children."""
        inner = (child.plan.all_streams() for child in self.children)
        return set().union(*inner, {self.streams} if self.streams else set())

    def most_work(self) -> int:
        """Return the largest ``work`` of this plan and its children."""
        return max([self.work, *(child.plan.most_work() for child in self.children)])


@dataclass(frozen=True)
class Tensor:
    """A parameter as rules and groups see it: a part of the flat vector.

    Attributes:
        name: name with the number of the layer, such as ``"0.W"``.
        shape: its shape.
        start, stop: its elements in the flat vector.
        decay: whether weight decay applies to it.
    """

    name: str
    shape: Shape
    start: int
    stop: int
    decay: bool = True


@dataclass(frozen=True)
class Place:
    """The place of a named array in a flat vector: elements start to stop, in C order."""

    name: str
    shape: Shape
    start: int
    stop: int


class Layout:
    """The places of named arrays in one flat vector, one after the other in the given order."""

    def __init__(self, entries: Iterable[tuple[str, Shape]]) -> None:
        self.places: dict[str, Place] = {}
        self.size = 0
        for name, shape in entries:
            stop = self.size + math.prod(shape)
            self.places[name] = Place(name, shape, self.size, stop)
            self.size = stop

    def views(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Return named views into ``flat``, a vector of shape (size,)."""
        return {p.name: flat[p.start : p.stop].reshape(p.shape) for p in self.places.values()}
