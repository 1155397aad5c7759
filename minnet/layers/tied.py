"""A net of words whose scores are products with the embeddings of the words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.arrays import rows
from ..kernels.passes.residual import accumulate
from .base import Layer, Pass, plan_layer
from .composite import _passes, as_chain, join_winners
from .embedding import Embedding
from .memory import Memory
from .products import product, product_of_transpose, product_with_transpose
from .spec import Child, Plan, Scratch, Shape


@dataclass(frozen=True)
class TiedEmbedding(Layer):
    """Embed words, apply layers, and score each word by its embedding: y = layers(W[x]) @ W.T.

    One matrix serves as input and as output embeddings, as in GPT-2. The layer must be the first of a net, and usually
    is the only one. An ``init`` such as ``Normal(0.02)`` keeps the first scores near 0.

    Args:
        embedding: the ``Embedding``, with ``padding=None``, as the row of a padding word would be trained as an output.
        layers: layer or list of layers between both uses of W, whose output has the width of the embedding.

    Shapes: input (n, time), integers; output (n, time, vocabulary).
    Trained: embedding.W (vocabulary, width), and those of ``layers``.
    Source: Press and Wolf 2017, section 3.
    """

    embedding: Embedding
    layers: Sequence[Layer] | Layer

    def __post_init__(self) -> None:
        if not isinstance(self.embedding, Embedding) or self.embedding.padding is not None:
            raise TypeError(f"TiedEmbedding: expected an Embedding with padding=None; got {self.embedding!r}")
        object.__setattr__(self, "layers", as_chain("TiedEmbedding", "layers", self.layers))

    def plan(self, in_shape: Shape) -> Plan:
        embedded = plan_layer(self.embedding, in_shape, "embedding", takes_words=True)
        inner = plan_layer(self.layers, embedded.out, "layers")
        if inner.out != embedded.out:
            raise ValueError(f"expected layers to end in shape {embedded.out}, that of the words; got {inner.out}")
        children = (
            Child("embedding", self.embedding, in_shape, embedded),
            Child("layers", self.layers, embedded.out, inner),
        )
        vocabulary, width = self.embedding.vocabulary, self.embedding.width
        kept = Scratch("y_words", embedded.out), Scratch("y_layers", embedded.out)
        brief = Scratch("d_words", embedded.out, brief=True), Scratch("d_layers", embedded.out, brief=True)
        of_scores = Scratch("dW_scores", (vocabulary, width), per_sample=False, brief=True)
        scratch = (*kept, *brief, of_scores)
        return Plan((*in_shape, vocabulary), scratch=scratch, children=children, vocabulary=vocabulary)

    def passes(self, m: Any, x: np.ndarray, y: np.ndarray) -> Iterator[Pass]:
        (embedding, words), (layers, inner) = m.children
        yield from _passes("embedding", embedding, words, x, m.y_words)
        yield from _passes("layers", layers, inner, m.y_words, m.y_layers)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        (embedding, words), (layers, inner) = m.children
        embedding.forward(words, x, m.y_words)
        layers.forward(inner, m.y_words, m.y_layers)
        product_with_transpose(m, rows(m.y_layers), words.W, rows(y))

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        (embedding, words), (layers, inner) = m.children
        product_of_transpose(m, rows(dy), rows(m.y_layers), m.dW_scores)
        product(m, rows(dy), words.W, m.nothing, rows(m.d_layers))
        layers.backward(inner, m.y_words, m.y_layers, m.d_layers, m.d_words)
        embedding.backward(words, x, m.y_words, m.d_words, None)
        accumulate(words.dW, m.dW_scores)

    def winners(self, m: Memory, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        _, (layers, inner) = m.children
        return join_winners([layers.winners(inner, m.y_words, m.y_layers)])
