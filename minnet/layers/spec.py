"""Frozen descriptions: what a layer asks of the network, and where each parameter lies in the flat vector.

Shapes carry no batch axis. Nothing here owns an array.
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
    """A trained array. ``decay``: whether penalties, weight decay and norm limits apply; not to biases and gains."""

    name: str
    shape: Shape
    init: Initializer
    decay: bool = True


@dataclass(frozen=True)
class Buffer:
    """An array that is kept but not trained, such as a running mean; starts filled with ``fill``."""

    name: str
    shape: Shape
    fill: float = 0.0


@dataclass(frozen=True)
class Scratch:
    """Working memory of one pass, in the net's dtype, with a batch axis in front if ``per_sample``.

    Entries of one plan that name the same ``share`` lie in the same memory: the layer promises never to
    need two of them at once. What is ``brief`` keeps nothing from one call of ``forward`` or ``backward`` to the next,
    and lies where other layers of the net have theirs.
    """

    name: str
    shape: Shape
    per_sample: bool = True
    share: str | None = None
    brief: bool = False


@dataclass(frozen=True)
class Child:
    """A layer inside a composite layer, planned for the shape that reaches it."""

    name: str
    layer: Any
    in_shape: Shape
    plan: "Plan"


@dataclass(frozen=True)
class Plan:
    """What a layer needs for one input shape, and the shape that it makes of it.

    ``work`` is how many elements of ``m.work`` each thread needs, where that may be more than a matrix product does.
    ``least`` is how many samples a training pass needs, such as 2 for statistics over the batch.
    """

    out: Shape
    params: tuple[Param, ...] = ()
    buffers: tuple[Buffer, ...] = ()
    scratch: tuple[Scratch, ...] = ()
    children: tuple[Child, ...] = ()
    work: int = 0
    least: int = 1

    def least_batch(self) -> int:
        """The largest ``least`` of this plan and all below it."""
        return max([self.least, *(child.plan.least_batch() for child in self.children)])

    def most_work(self) -> int:
        """The largest ``work`` of this plan and all below it."""
        return max([self.work, *(child.plan.most_work() for child in self.children)])


@dataclass(frozen=True)
class Tensor:
    """A trained array as rules and groups see it: its elements lie from start to stop; ``decay`` is its tag."""

    name: str
    shape: Shape
    start: int
    stop: int
    decay: bool = True


@dataclass(frozen=True)
class Place:
    """One named array's place in a flat vector: elements start to stop, in C order."""

    name: str
    shape: Shape
    start: int
    stop: int


class Layout:
    """Where named arrays lie in one flat vector, end to end in the order given."""

    def __init__(self, entries: Iterable[tuple[str, Shape]]) -> None:
        self.places: dict[str, Place] = {}
        self.size = 0
        for name, shape in entries:
            stop = self.size + math.prod(shape)
            self.places[name] = Place(name, shape, self.size, stop)
            self.size = stop

    def views(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Named views into ``flat`` (shape (size,)); writing to one writes to the vector."""
        return {p.name: flat[p.start : p.stop].reshape(p.shape) for p in self.places.values()}
