"""The embedding of words, which are whole numbers, in vectors."""

from dataclasses import dataclass, field

import numpy as np

from ..base import checks
from ..kernels.passes.embedding import embed, embed_backward
from .base import Layer
from .initializers import Normal
from .memory import Memory
from .spec import Initializer, Param, Plan, Scratch, Shape


@dataclass(frozen=True)
class _ExceptRow:
    """An initializer that sets one row to 0, and the others as another initializer does."""

    init: Initializer
    row: int

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        values = self.init(rng, shape)
        values[self.row] = 0
        return values


@dataclass(frozen=True)
class Embedding(Layer):
    """Replace each word by its row of W, y[...] = W[x[...]]: CS231n's word embedding.

    It must be the first layer of a net, whose input then is integers from 0 to vocabulary - 1, of any integer dtype.
    The gradient of a row is the sum over all places of its word, in the order of the batch. The input has no gradient.

    Args:
        vocabulary: number of words.
        width: number of features of a word.
        init: initializer of W. ``Normal(1.0)`` by default, as in PyTorch.
        padding: a word that fills up short sequences, or None. Its output is 0, its row of W starts at 0 and has no
            gradient.

    Shapes: input (n, ...), such as (n, time); output (n, ..., width).
    Trained: W (vocabulary, width).
    Source: Bengio et al. 2003, section 2, whose matrix C is W.
    """

    vocabulary: int
    width: int
    init: Initializer = field(default_factory=lambda: Normal(1.0))
    padding: int | None = None

    def __post_init__(self) -> None:
        checks.count("Embedding", "vocabulary", self.vocabulary)
        checks.count("Embedding", "width", self.width)
        if not callable(self.init) or isinstance(self.init, type):
            raise TypeError(f"Embedding: expected init to be an initializer such as Normal(0.01); got {self.init!r}")
        if self.padding is not None and checks.count("Embedding", "padding", self.padding, 0) >= self.vocabulary:
            raise ValueError(f"Embedding: expected padding from 0 to {self.vocabulary - 1}; got {self.padding}")

    def plan(self, in_shape: Shape) -> Plan:
        init = self.init if self.padding is None else _ExceptRow(self.init, self.padding)
        shape = (self.vocabulary, self.width)
        rests = Scratch("rests", shape, per_sample=False, brief=True)
        W = Param("W", shape, init)
        return Plan((*in_shape, self.width), params=(W,), scratch=(rests,), vocabulary=self.vocabulary)

    @property
    def _padding(self) -> int:
        return -1 if self.padding is None else self.padding  # no word is -1

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        embed(x.reshape(-1), m.W, self._padding, y.reshape(-1, self.width))

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        embed_backward(x.reshape(-1), self._padding, dy.reshape(-1, self.width), m.dW, m.rests)
