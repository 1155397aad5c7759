"""The memory that a network hands to its layers.

A ``Node`` holds one layer's arrays for as long as the network lives; a ``Memory`` is what the layer sees in a pass:
those arrays as attributes, with the scratch cut to the batch at hand.
"""

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from .. import streams
from ..kernels.arrays import aligned_empty
from ..kernels.vector.product import new_work
from .spec import Plan, Shape

_ALIGN = 16  # elements, so that every array starts at a cache line


class Run:
    """What the passes of one network share: whether this pass trains, which training pass it is, and working memory.

    ``work`` and ``offsets`` are what matrix products need; they hold nothing between two kernels.
    """

    def __init__(self, dtype: np.dtype, work: int) -> None:
        self.training = False
        self.step = 0
        self.resting: frozenset[str] = frozenset()  # places of layers that are frozen with all that they keep
        self.work, self.offsets = new_work(dtype, work)
        self.nothing = np.empty(0, dtype)
        self.no_floor, self.zero = dtype.type(-np.inf), dtype.type(0)


class Memory:
    """One layer's memory for one batch size.

    Attributes: each parameter by its name and its gradient with a ``d`` in front (``m.W``, ``m.dW``), buffers and
    scratch by name, ``m.children`` (pairs of layer and memory), ``m.stream`` (uint64 key of this layer's noise),
    ``m.training`` and ``m.step`` (the number of the training pass, which also keys the noise), ``m.work`` and
    ``m.offsets`` (what products need), ``m.nothing`` (an empty array in the net's dtype), ``m.floor`` (what a layer
    that ``floors`` raises its output to: 0 where it takes a ReLU over, else -infinity, ``m.no_floor``),
    ``m.input_floor`` (the same of the input).
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
        self.trained = False  # whether this layer itself has parameters
        self.__dict__.update(arrays)

    @property
    def training(self) -> bool:
        """Whether this layer trains in this pass: noise is drawn and statistics are those of the batch.

        A layer that keeps buffers does not train while all of its parameters are frozen (see ``Net.frozen``).
        """
        return self._run.training and self._place not in self._run.resting

    @property
    def step(self) -> int:
        """Number of the current training pass, from 0."""
        return self._run.step

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"layer memory has no {name!r}; the plan declares {sorted(self.__dict__)}")


class Node:
    """One layer of a network with all the memory that it owns, and the nodes of the layers inside it."""

    def __init__(self, layer: Any, plan: Plan, in_shape: Shape, name: str, run: Run, seed: int) -> None:
        self.layer, self.plan, self.in_shape, self.name, self.run = layer, plan, in_shape, name, run
        # Noise is keyed by the layer's place, so that no two layers see the same.
        self.stream = streams.key(seed, "noise of a layer", *name.encode())
        self.arrays: dict[str, np.ndarray] = {}
        self.storage: dict[str, np.ndarray] = {}
        self.children = [
            Node(child.layer, child.plan, child.in_shape, f"{name}.{child.name}" if name else child.name, run, seed)
            for child in plan.children
        ]

    def walk(self) -> list["Node"]:
        """This node and all below it, in the order of the layers."""
        return [self, *(node for child in self.children for node in child.walk())]

    def rests(self, frozen: Collection[str]) -> bool:
        """Whether this layer keeps buffers and has all of its own parameters among the ``frozen`` names."""
        own = [f"{self.name}.{param.name}" for param in self.plan.params]
        return bool(self.plan.buffers and own) and all(name in frozen for name in own)

    def _sizes(self, capacity: int, brief: bool) -> dict[str, int]:
        """Elements of each place of this layer's scratch; entries that share one get the largest one's size."""
        sizes: dict[str, int] = {}
        for scratch in self.plan.scratch:
            if scratch.brief == brief:
                size = math.prod(scratch.shape) * (capacity if scratch.per_sample else 1)
                key = scratch.share or scratch.name
                sizes[key] = max(sizes.get(key, 0), -(-size // _ALIGN) * _ALIGN)
        return sizes

    def kept_size(self, capacity: int) -> int:
        """Elements of scratch of this layer and all below it, but for what is brief."""
        return sum(sum(node._sizes(capacity, brief=False).values()) for node in self.walk())

    def brief_size(self, capacity: int) -> int:
        """Elements of brief scratch that are in use at one time: this layer's, and those of one layer inside it."""
        inside = max([child.brief_size(capacity) for child in self.children], default=0)
        return sum(self._sizes(capacity, brief=True).values()) + inside

    def allocate(self, capacity: int, dtype: np.dtype) -> None:
        """Make scratch for batches of up to ``capacity``."""
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
        """What this layer sees in a pass over ``n`` samples."""
        arrays = dict(self.arrays)
        for scratch in self.plan.scratch:
            shape = (n, *scratch.shape) if scratch.per_sample else scratch.shape
            arrays[scratch.name] = self.storage[scratch.share or scratch.name][: math.prod(shape)].reshape(shape)
        m = Memory(self.run, self.name, self.stream, self.in_shape, self.plan.out, arrays)
        m.children = [(child.layer, child.memory(n)) for child in self.children]
        m.trained = bool(self.plan.params)
        self.layer.bind(m)
        return m
