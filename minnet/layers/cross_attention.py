"""Attention of one sequence to another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..base import checks
from ..kernels.arrays import rows
from ..kernels.passes import attention as kernels
from ..kernels.passes.dense import column_sums
from ..kernels.passes.residual import accumulate
from .attention import Attention
from .base import Layer, Pass, plan_layer
from .composite import _passes, as_chain, join_winners
from .initializers import GlorotUniform, Zeros
from .products import PerGate, product, product_of_transpose, product_with_transpose
from .spec import Child, Hidden, Initializer, Param, Plan, Scratch, Shape


@dataclass(frozen=True)
class CrossAttention(Attention):
    """Multi-head scaled dot-product attention of a sequence to another one, the memory.

    Both are computed from x, as in ``InitialState``: queries(x) has shape (n, time, width), and memory(x) has shape
    (n, others, features). An x of two parts is cut by a ``Slice`` at the start of each path. For each head, with Q its
    columns of queries(x) @ W_q + b_q, and K and V its columns of memory(x) @ W_kv + b_kv, all heads of K first::

        y_head = softmax(Q @ K.T / sqrt(depth)) @ V

    y is the product of the heads side by side with W_out, plus b_out. This is PyTorch's
    ``MultiheadAttention(width, heads, kdim=features, vdim=features, batch_first=True)`` of queries, memory and memory.
    Its ``q_proj_weight``, ``k_proj_weight`` beside ``v_proj_weight``, and ``out_proj.weight`` are the transposes of
    W_q, W_kv and W_out, and its ``in_proj_bias`` is b_q followed by b_kv. In the block of a decoder, the shortcut is
    the queries: ``Residual(CrossAttention(8, memory, queries), shortcut=queries)``.

    Args:
        heads: number of heads; must divide the width.
        memory: layer or list of layers that give the sequence which is attended to.
        queries: layer or list of layers that give the sequence which attends; None for x itself.
        dropout, init: as in ``SelfAttention``.
        padding: a word that fills up short memories, or None. Positions of it are not seen. The input of the net must
            be words, and each memory must have another word.
        first: place of the word of the memory's first position among the words of the net's input, for ``padding``.

    Shapes: input (n, ...), as both paths take it; output (n, time, width), that of ``queries``.
    Trained: W_q (width, width), b_q (width,), W_kv (features, 2 * width), b_kv (2 * width,), W_out (width, width),
        b_out (width,), and those of the paths, as memory.0.W, queries.0.W and so on.
    Source: Vaswani et al. 2017, section 3.2.3.
    """

    heads: int
    memory: Sequence[Layer] | Layer
    queries: Sequence[Layer] | Layer | None = None
    dropout: float = 0.0
    init: Initializer = field(default_factory=GlorotUniform)
    padding: int | None = None
    first: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.count("CrossAttention", "first", self.first, 0)
        object.__setattr__(self, "memory", as_chain("CrossAttention", "memory", self.memory))
        if self.queries is not None:
            object.__setattr__(self, "queries", as_chain("CrossAttention", "queries", self.queries))

    def plan(self, in_shape: Shape) -> Plan:
        paths = {"memory": self.memory} | ({} if self.queries is None else {"queries": self.queries})
        children = [Child(name, path, in_shape, plan_layer(path, in_shape, name)) for name, path in paths.items()]
        source, target = children[0].plan.out, in_shape if self.queries is None else children[1].plan.out
        for name, shape in (("memory", source), ("queries", target)):
            if len(shape) != 2:
                raise ValueError(f"expected {name} as sequences (time, width); got shape {shape}")
        (others, features), (time, width) = source, target
        if width % self.heads:
            raise ValueError(f"expected queries of a width divisible by heads={self.heads}; got shape {target}")
        params = (
            Param("W_q", (width, width), self.init),
            Param("W_kv", (features, 2 * width), PerGate(self.init, 2)),
            Param("W_out", (width, width), self.init),
            Param("b_q", (width,), Zeros(), decay=False),
            Param("b_kv", (2 * width,), Zeros(), decay=False),
            Param("b_out", (width,), Zeros(), decay=False),
        )
        kept = {"y_memory": source, "q": target, "kv": (others, 2 * width), "mixed": target}
        kept |= {"log_sums": (self.heads, time)} | ({} if self.queries is None else {"y_queries": target})
        brief = {"d_memory": source, "d_q": target, "d_kv": (others, 2 * width), "d_mixed": target}
        brief |= {"dx_memory": in_shape} | ({} if self.queries is None else {"d_queries": target})
        scratch = [Scratch(name, shape) for name, shape in kept.items()]
        scratch += [Scratch(name, shape, brief=True) for name, shape in brief.items()]
        work = max(kernels.work_for(time, others, width // self.heads, 4), 4 * width)
        hidden = None if self.padding is None else Hidden(self.padding, others, others, self.first)
        return Plan(target, params, scratch=tuple(scratch), children=tuple(children), work=work, hidden=hidden)

    def _paths(self, m: Any) -> list[tuple[str, Layer, Any, np.ndarray]]:
        """Return (name, layer, memory, output) of both paths, or of the first if x itself is the queries."""
        outputs = [m.y_memory] if self.queries is None else [m.y_memory, m.y_queries]
        names = "memory", "queries"
        return [(name, *child, y) for name, child, y in zip(names, m.children, outputs, strict=False)]

    def _asking(self, m: Any, x: np.ndarray) -> np.ndarray:
        """Return the sequence that attends."""
        return x if self.queries is None else m.y_queries

    def _options(self, m: Any) -> tuple[Any, ...]:
        """Return the arguments of the kernels from ``queries`` to ``log_sums``: all see all of the memory."""
        others, width = m.y_memory.shape[1], m.q.shape[2]
        return m.q, m.kv, 0, width, self.heads, *self._weighing(m, others, self.first)

    def passes(self, m: Any, x: np.ndarray, y: np.ndarray) -> Iterator[Pass]:
        for name, path, memory, output in self._paths(m):
            yield from _passes(name, path, memory, x, output)

    def forward(self, m: Any, x: np.ndarray, y: np.ndarray) -> None:
        for _, path, memory, output in self._paths(m):
            path.forward(memory, x, output)
        product(m, rows(self._asking(m, x)), m.W_q, m.b_q, rows(m.q))
        product(m, rows(m.y_memory), m.W_kv, m.b_kv, rows(m.kv))
        kernels.attention(*self._options(m), m.mixed, m.work, m.offsets)
        product(m, rows(m.mixed), m.W_out, m.b_out, rows(y))

    def backward(self, m: Any, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        product_with_transpose(m, rows(dy), m.W_out, rows(m.d_mixed))
        kernels.attention_backward(*self._options(m), m.d_mixed, m.d_q, m.d_kv, m.work, m.offsets)
        for inputs, slopes, dW, db in (
            (m.mixed, dy, m.dW_out, m.db_out),
            (self._asking(m, x), m.d_q, m.dW_q, m.db_q),
            (m.y_memory, m.d_kv, m.dW_kv, m.db_kv),
        ):
            product_of_transpose(m, rows(inputs), rows(slopes), dW)
            column_sums(rows(slopes), db, m.work[0])
        self._backward_paths(m, x, dx)

    def _backward_paths(self, m: Any, x: np.ndarray, dx: np.ndarray | None) -> None:
        """Take the gradients of queries, keys and values on to both paths, and to x, which both read."""
        d_asking = dx if self.queries is None else m.d_queries
        if d_asking is not None:
            product_with_transpose(m, rows(m.d_q), m.W_q, rows(d_asking))
        if self.queries is not None:
            queries, memory = m.children[1]
            queries.backward(memory, x, m.y_queries, m.d_queries, dx)
        source, memory = m.children[0]
        product_with_transpose(m, rows(m.d_kv), m.W_kv, rows(m.d_memory))
        source.backward(memory, x, m.y_memory, m.d_memory, None if dx is None else m.dx_memory)
        if dx is not None:
            accumulate(dx, m.dx_memory)

    def winners(self, m: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        return join_winners([path.winners(memory, x, output) for _, path, memory, output in self._paths(m)])
