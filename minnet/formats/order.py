"""The order of features that were, or become, an image: rows, columns, channels here, and channels first in PyTorch."""

import math
from collections.abc import Iterator

import numpy as np

from ..layers import (
    BatchNorm,
    Chain,
    Dense,
    Dropout,
    Flatten,
    InstanceNorm,
    LayerNorm,
    PReLU,
    Reshape,
    SpatialDropout,
)
from ..layers.activation import Elementwise
from ..layers.memory import Node
from ..layers.spec import Shape

# Layers that treat all features alike, so that their output has the order of their input.
_ALIKE = Elementwise, PReLU, Dropout, SpatialDropout, BatchNorm, LayerNorm, InstanceNorm

Order = np.ndarray | None
"""Indices of features here, in the order that they have there; None where both orders are the same."""


def orders(root: Node) -> dict[str, tuple[Order, Order]]:
    """Return, by place of a layer, the orders of its input and of its output, where one of them differs.

    An image that is flattened has its channels last here, and first in PyTorch. The order lasts until a ``Dense``,
    whose rows are then in another order there. Towards a ``Reshape`` into images it begins at a ``Dense``, whose
    columns are.

    Raises:
        ValueError: a layer between mixes features whose order differs, so no order of its arrays is the same layer.
    """
    found = {}
    for chain in _chains(root):
        images = _images(chain)
        for node, before, after in zip(chain, images, images[1:], strict=False):
            if before or after:
                found[node.name] = _order(before), _order(after)
    return found


def _chains(node: Node) -> Iterator[list[Node]]:
    """Yield the layers that follow each other, without the chains that hold them, also those within other layers."""
    leaves = list(_leaves(node))
    yield leaves
    for leaf in leaves:
        for child in leaf.children:
            yield from _chains(child)


def _leaves(node: Node) -> Iterator[Node]:
    if isinstance(node.layer, Chain):
        for child in node.children:
            yield from _leaves(child)
    else:
        yield node


def _images(chain: list[Node]) -> list[Shape | None]:
    """Return, for the input of the chain and each output, the shape of the image whose order the features have."""
    images: list[Shape | None] = [None]
    for node in chain:
        images.append(_passed_on(node, images[-1]))
    wanted: Shape | None = None
    for i, node in reversed(list(enumerate(chain))):
        if images[i + 1] == wanted:
            wanted = None
        images[i + 1] = images[i + 1] or wanted
        wanted = _asked_for(node, wanted)
    images[0] = wanted
    return images


def _passed_on(node: Node, before: Shape | None) -> Shape | None:
    """Return the image whose order the output has, from that of the input."""
    layer = node.layer
    if isinstance(layer, Flatten | Reshape) and len(node.plan.out) == 1:
        return before or _image(node.in_shape)
    if before is None or isinstance(layer, Dense) or (isinstance(layer, Reshape) and node.plan.out == before):
        return None
    if isinstance(layer, _ALIKE):
        return before
    raise ValueError(
        f"{type(layer).__name__} {node.name}: expected features in an order that PyTorch has, too; got those of a "
        f"flattened image {before}, whose channels come first there (put a Dense before this layer)"
    )


def _asked_for(node: Node, after: Shape | None) -> Shape | None:
    """Return the image whose order the input must have, from that of the output."""
    layer = node.layer
    if isinstance(layer, Reshape) and len(node.in_shape) == 1:
        return _image(node.plan.out)
    if after is None or isinstance(layer, Dense):
        return None
    if isinstance(layer, _ALIKE):
        return after
    raise ValueError(
        f"{type(layer).__name__} {node.name}: expected a Dense before features become an image {after}, since channels "
        "come first in PyTorch; got this layer, whose outputs have no other order"
    )


def _image(shape: Shape) -> Shape | None:
    """Return the shape of an image whose elements have different orders here and there; None for other shapes."""
    return shape if len(shape) == 3 and shape[2] > 1 and shape[0] * shape[1] > 1 else None


def _order(image: Shape | None) -> Order:
    return None if image is None else np.arange(math.prod(image)).reshape(image).transpose(2, 0, 1).reshape(-1)
