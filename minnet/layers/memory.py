"""The memory that a network allocates for its layers.

A ``Node`` holds the arrays of one layer during the whole life of the network. A ``Memory`` is the view of them that a
layer receives in a pass: arrays as attributes, with scratch memory of the size of the batch.
"""

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from ..base import streams
from ..kernels.arrays import aligned_empty
from ..kernels.vector.product import new_work
from .spec import Plan, Shape

_ALIGN = 16  # elements; every array starts at a cache line

NO_WORDS = np.empty((0, 0), np.int64)


class Run:
    """State that all layers of a network share in a pass.

    Attributes:
        training: whether the pass trains.
        continues: whether the pass starts from the states that the pass before ended in.
        step: number of the training pass.
        words: input of the pass, if it is words; otherwise ``NO_WORDS``.
        place: number of steps of the sequence that the passes before have read, if this one goes on from them.
        resting: places of layers whose parameters and statistics are frozen.
        work, offsets: working memory of kernels. Its contents do not matter between them.
        nothing: empty array in the net's dtype.
        no_floor, zero: minus infinity and 0 in the net's dtype.
    """

    def __init__(self, dtype: np.dtype, work: int) -> None:
        self.training = self.continues = False
        self.step = 0
        self.words = NO_WORDS
        self.place = 0
        self.resting: frozenset[str] = frozenset()
        self.work, self.offsets = new_work(dtype, work)
        self.nothing = np.empty(0, dtype)
        self.no_floor, self.zero = dtype.type(-np.inf), dtype.type(0)


class Memory:
    """One layer's memory for one batch size.

    Parameters, buffers and scratch memory are attributes by name, and gradients have a ``d`` in front: ``m.W``,
    ``m.dW``.

    Attributes:
        children: pairs (layer, memory) of the inner layers.
        stream: uint64 key of this layer's noise.
        training: whether this layer trains in this pass.
        continues: whether recurrent layers start from the states that the pass before ended in.
        step: number of the training pass, which also keys the noise.
        words: input of the net in this pass, if it is words.
        place: number of steps of the sequence that the passes before have read, if this one goes on from them.
        work, offsets: working memory of kernels.
        nothing: empty array in the net's dtype.
        floor: lower bound of the output, for a layer that ``floors``: 0 if it takes over a ReLU, else minus infinity
            (``no_floor``).
        input_floor: the same bound of the input.
    """

    def __init__(
        self, run: Run, place: str, stream: np.uint64, in_shape: Shape, out: Shape, arrays: dict[str, np.ndarray]
    ) -> None:
        self._run, self._place = run, place
        self.stream, self.in_shape, self.out = stream, in_shape, out
        self.work, self.offsets, self.nothing = run.work, run.offsets, run.nothing
        self.no_floor, self.zero = run.no_floor, run.zero
        self.floor = self.input_floor = run.no_floor
        self.children: list[tuple[Any, Memory]] = []
        self.trained = False  # whether this layer itself has parameters, apart from its children
        self.__dict__.update(arrays)

    @property
    def training(self) -> bool:
        """Whether this layer trains in this pass, and so draws noise and uses the statistics of the batch.

        A layer with buffers does not train while all of its parameters are frozen (see ``Net.frozen``).
        """
        return self._run.training and self._place not in self._run.resting

    @property
    def continues(self) -> bool:
        """Whether this pass, which does not train, starts from the states that the pass before ended in."""
        return self._run.continues

    @property
    def step(self) -> int:
        """Number of the current training pass, counted from 0."""
        return self._run.step

    @property
    def words(self) -> np.ndarray:
        """Input of the net in this pass, if it is words."""
        return self._run.words

    @property
    def place(self) -> int:
        """Number of steps of the sequence that the passes before have read, if this one goes on from them."""
        return self._run.place

    def walk(self) -> list["Memory"]:
        """Return this memory and that of all inner layers, in the order of ``Node.walk``."""
        return [self, *(memory for _, child in self.children for memory in child.walk())]

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"layer memory has no {name!r}; the plan declares {sorted(self.__dict__)}")


class Node:
    """One layer of a network with its memory, and the nodes of its inner layers."""

    def __init__(self, layer: Any, plan: Plan, in_shape: Shape, name: str, run: Run, seed: int) -> None:
        self.layer, self.plan, self.in_shape, self.name, self.run = layer, plan, in_shape, name, run
        # Noise is keyed by the layer's place, so that each layer draws other noise.
        self.stream = streams.key(seed, "noise of a layer", *name.encode())
        self.arrays: dict[str, np.ndarray] = {}
        self.storage: dict[str, np.ndarray] = {}
        self.children = [
            Node(child.layer, child.plan, child.in_shape, f"{name}.{child.name}" if name else child.name, run, seed)
            for child in plan.children
        ]

    def walk(self) -> list["Node"]:
        """Return this node and all nodes below it, in the order of the layers."""
        return [self, *(node for child in self.children for node in child.walk())]

    def rests(self, frozen: Collection[str]) -> bool:
        """Return whether this layer keeps statistics, and all of its own parameters are among the ``frozen`` names."""
        own = [f"{self.name}.{param.name}" for param in self.plan.params]
        return bool(self.plan.kept()) and bool(own) and all(name in frozen for name in own)

    def _sizes(self, capacity: int, brief: bool) -> dict[str, int]:
        """Return the elements of each place of scratch memory; a shared place has the size of its largest entry."""
        sizes: dict[str, int] = {}
        for scratch in self.plan.scratch:
            if scratch.brief == brief:
                size = math.prod(scratch.shape) * (capacity if scratch.per_sample else 1)
                key = scratch.share or scratch.name
                sizes[key] = max(sizes.get(key, 0), -(-size // _ALIGN) * _ALIGN)
        return sizes

    def kept_size(self, capacity: int) -> int:
        """Return the elements of scratch memory of this layer and all below it, without brief entries."""
        return sum(sum(node._sizes(capacity, brief=False).values()) for node in self.walk())

    def brief_size(self, capacity: int) -> int:
        """Return the elements of brief scratch memory in use at one time: of this layer and of one of its children."""
        inside = max([child.brief_size(capacity) for child in self.children], default=0)
        return sum(self._sizes(capacity, brief=True).values()) + inside

    def allocate(self, capacity: int, dtype: np.dtype) -> None:
        """Allocate scratch memory for batches of up to ``capacity`` samples."""
        self._allocate(capacity, aligned_empty(self.brief_size(capacity), dtype))

    def _allocate(self, capacity: int, brief: np.ndarray) -> None:
        self.storage = {
            key: aligned_empty(size, brief.dtype) for key, size in self._sizes(capacity, brief=False).items()
        }
        start = 0
        for key, size in self._sizes(capacity, brief=True).items():
            self.storage[key] = brief[start : start + size]
            start += size
        for child in self.children:
            child._allocate(capacity, brief[start:])

    def memory(self, n: int) -> Memory:
        """Return this layer's memory for a pass over ``n`` samples."""
        arrays = dict(self.arrays)
        for scratch in self.plan.scratch:
            shape = (n, *scratch.shape) if scratch.per_sample else scratch.shape
            arrays[scratch.name] = self.storage[scratch.share or scratch.name][: math.prod(shape)].reshape(shape)
        m = Memory(self.run, self.name, self.stream, self.in_shape, self.plan.out, arrays)
        m.children = [(child.layer, child.memory(n)) for child in self.children]
        m.trained = bool(self.plan.params)
        self.layer.bind(m)
        return m
