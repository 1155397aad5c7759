"""Attention of the positions of a sequence to one another, and what tells the positions apart."""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from ..base import checks
from ..kernels.arrays import rows
from ..kernels.passes import attention as kernels
from ..kernels.passes.dense import column_sums
from ..kernels.passes.flat import copy
from ..kernels.passes.residual import add_row
from .base import Layer
from .initializers import GlorotUniform, Normal, Zeros
from .memory import NO_WORDS, Memory
from .products import PerGate, product, product_of_transpose, product_with_transpose
from .spec import Hidden, Initializer, Param, Plan, Scratch, Shape


class Attention(Layer):
    """Base of layers of attention: what their weights depend on."""

    heads: int
    dropout: float
    init: Initializer
    padding: int | None

    def __post_init__(self) -> None:
        who = type(self).__name__
        checks.count(who, "heads", self.heads)
        checks.fraction(who, "dropout", self.dropout)
        if not callable(self.init) or isinstance(self.init, type):
            raise TypeError(f"{who}: expected init to be an initializer such as Normal(); got {self.init!r}")
        if self.padding is not None:
            checks.count(who, "padding", self.padding, 0)

    def _weighing(self, m: Memory, ahead: int, word_at: int = 0) -> tuple[Any, ...]:
        """Return the arguments of the kernels from ``ahead`` to ``log_sums``."""
        words, padding = (NO_WORDS, -1) if self.padding is None else (m.words, self.padding)
        rate = self.dropout if m.training else 0.0
        threshold, keep = np.uint64(int(rate * 2.0**64)), m.zero.dtype.type(1 / (1 - rate))
        return ahead, words, word_at, padding, m.stream, m.step, threshold, keep, m.log_sums


@dataclass(frozen=True)
class SelfAttention(Attention):
    """Multi-head scaled dot-product attention of a sequence to itself.

    For each head, with queries Q, keys K and values V of depth width / heads, which are columns of x @ W_in + b_in in
    this order, all heads of Q first::

        y_head = softmax(Q @ K.T / sqrt(depth)) @ V

    The outputs of the heads lie side by side, and y is their product with W_out, plus b_out. This is PyTorch's
    ``MultiheadAttention`` of x with itself and ``batch_first=True``. Its ``in_proj_weight`` and ``out_proj.weight`` are
    the transposes of W_in and W_out. The backward pass computes the attention weights again, so that no array of
    (time, time) numbers for each head and sample is kept.

    Args:
        heads: number of heads; must divide the width.
        causal: whether a position sees only itself and those before it.
        dropout: probability in [0, 1) with which a training pass drops an attention weight. The others are divided by
            1 - dropout.
        init: initializer of the columns of queries, keys and values in W_in, each by themselves, and of W_out.
            ``GlorotUniform`` by default.
        padding: a word that fills up short sequences, as in ``Embedding``, or None. No position sees one of this word.
            The input of the net must be words, one for each position. Samples in which a position would see nothing are
            refused: those of nothing but padding and, if ``causal``, those that begin with it.

    Shapes: input and output (n, time, width).
    Trained: W_in (width, 3 * width), b_in (3 * width,), W_out (width, width), b_out (width,).
    Source: Vaswani et al. 2017, section 3.2, equation 1.
    """

    heads: int
    causal: bool = False
    dropout: float = 0.0
    init: Initializer = field(default_factory=GlorotUniform)
    padding: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.truth("SelfAttention", "causal", self.causal)

    def plan(self, in_shape: Shape) -> Plan:
        if len(in_shape) != 2:
            raise ValueError(f"expected sequences (time, width); got input shape {in_shape}")
        time, width = in_shape
        if width % self.heads:
            raise ValueError(f"expected a width divisible by heads={self.heads}; got input shape {in_shape}")
        params = (
            Param("W_in", (width, 3 * width), PerGate(self.init, 3)),
            Param("W_out", (width, width), self.init),
            Param("b_in", (3 * width,), Zeros(), decay=False),
            Param("b_out", (width,), Zeros(), decay=False),
        )
        scratch = (
            Scratch("qkv", (time, 3 * width)),
            Scratch("mixed", (time, width)),
            Scratch("log_sums", (self.heads, time)),
            Scratch("d_qkv", (time, 3 * width), brief=True),
            Scratch("d_mixed", (time, width), brief=True),
        )
        work = max(kernels.work_for(time, time, width // self.heads, 4), 6 * width)
        hidden = None if self.padding is None else Hidden(self.padding, time, 1 if self.causal else time)
        return Plan(in_shape, params=params, scratch=scratch, work=work, hidden=hidden)

    def _options(self, m: Memory) -> tuple[Any, ...]:
        """Return the arguments of the kernels from ``queries`` to ``log_sums``."""
        width = m.in_shape[1]
        ahead = 0 if self.causal else m.in_shape[0]
        return m.qkv, m.qkv, width, 2 * width, self.heads, *self._weighing(m, ahead)

    def forward(self, m: Any, x: np.ndarray, y: np.ndarray) -> None:
        product(m, rows(x), m.W_in, m.b_in, rows(m.qkv))
        kernels.attention(*self._options(m), m.mixed, m.work, m.offsets)
        product(m, rows(m.mixed), m.W_out, m.b_out, rows(y))

    def backward(self, m: Any, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        product_of_transpose(m, rows(m.mixed), rows(dy), m.dW_out)
        column_sums(rows(dy), m.db_out, m.work[0])
        product_with_transpose(m, rows(dy), m.W_out, rows(m.d_mixed))
        kernels.attention_backward(*self._options(m), m.d_mixed, m.d_qkv, m.d_qkv, m.work, m.offsets)
        product_of_transpose(m, rows(x), rows(m.d_qkv), m.dW_in)
        column_sums(rows(m.d_qkv), m.db_in, m.work[0])
        if dx is not None:
            product_with_transpose(m, rows(m.d_qkv), m.W_in, rows(dx))


@lru_cache(maxsize=64)
def waves(time: int, width: int, dtype: np.dtype) -> np.ndarray:
    """Return sines and cosines of the positions, (time * width,)."""
    frequencies = 10000.0 ** (-2 * (np.arange(width) // 2) / width)
    angles = np.arange(time)[:, np.newaxis] * frequencies
    return np.where(np.arange(width) % 2 == 0, np.sin(angles), np.cos(angles)).astype(dtype).reshape(-1)


@dataclass(frozen=True)
class PositionalEncoding(Layer):
    """Add to each position of a sequence what tells its place: y_t = x_t + p_t.

    By default, element 2i of p_t is sin(t / 10000^(2i / width)), and element 2i + 1 is the cosine.

    Args:
        learned: whether p is trained instead, as a parameter P.
        init: initializer of P; ``Normal(0.02)`` by default, as in GPT-2.

    Shapes: input and output (n, time, width).
    Trained: P (time, width) with ``learned``.
    Source: Vaswani et al. 2017, section 3.5; CS231n.
    """

    learned: bool = False
    init: Initializer = field(default_factory=lambda: Normal(0.02))

    def __post_init__(self) -> None:
        checks.truth("PositionalEncoding", "learned", self.learned)
        if not callable(self.init) or isinstance(self.init, type):
            raise TypeError(f"PositionalEncoding: expected init to be an initializer; got {self.init!r}")

    def plan(self, in_shape: Shape) -> Plan:
        if len(in_shape) != 2:
            raise ValueError(f"expected sequences (time, width); got input shape {in_shape}")
        params = (Param("P", in_shape, self.init, decay=False),) if self.learned else ()
        return Plan(in_shape, params=params, work=2 * math.prod(in_shape))

    def bind(self, m: Any) -> None:
        m.places = m.P.reshape(-1) if self.learned else waves(*m.in_shape, m.zero.dtype)

    def forward(self, m: Any, x: np.ndarray, y: np.ndarray) -> None:
        add_row(x.reshape(len(x), -1), m.places, y.reshape(len(y), -1))

    def backward(self, m: Any, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if self.learned:
            column_sums(dy.reshape(len(dy), -1), m.dP.reshape(-1), m.work[0])
        if dx is not None:
            copy(dy, dx)
