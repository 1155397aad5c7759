"""The plan of a net's layers, with a hint for images whose channels come first."""

import warnings
from collections.abc import Iterable

from ..layers import Chain
from ..layers.memory import Node
from ..layers.spec import Hidden, Plan, Shape


def _channels_last(shape: Shape) -> str:
    """Return a hint for a shape that looks like images with channels first, such as (3, 32, 32); else ""."""
    if len(shape) != 3 or shape[0] not in (1, 3) or not shape[1] == shape[2] >= 8:
        return ""
    return f"images are (H, W, C), channels last: input_shape={(*shape[1:], shape[0])} and x.transpose(0, 2, 3, 1)"


def planned(layers: Chain, shape: Shape) -> Plan:
    """Return the layers' plan; the error for a wrong shape has a hint if the shape looks like channels first."""
    try:
        return layers.plan(shape)
    except ValueError as error:
        hint = _channels_last(shape)
        if hint:
            raise ValueError(f"{error}; {hint}?") from error
        raise


def warn_of_channels_first(nodes: Iterable[Node], shape: Shape) -> None:
    """Warn if a layer for images takes input whose shape looks like channels first."""
    hint = _channels_last(shape)
    takers = [type(node.layer).__name__ for node in nodes if node.layer.images and node.in_shape == shape]
    if hint and takers:
        warnings.warn(
            f"Net: expected images with channels last for {takers[0]}; got input shape {shape}, which looks like "
            f"channels first; {hint}",
            stacklevel=3,
        )


def where_words_have_gradients(root: Node) -> str:
    """Return, for an error, which gradient a net of words has in place of that of its input: "(...)", or "" if none.

    ``observe`` sees the outputs of top-level layers, from the first one with parameters on. A layer that takes words
    inside another, as in a TiedEmbedding, can be seen by the gradients of its own parameters only.
    """
    node = root
    while inner := [child for child in node.children if child.plan.vocabulary]:
        node = inner[0]
    if not node.plan.params:
        return ""
    if node in root.children:
        who = f"layer {node.name}, {type(node.layer).__name__}"
        return f" (backward(..., observe=...) gives the gradient at the output of {who})"
    names = ", ".join(f"{node.name}.{param.name}" for param in node.plan.params)
    return f" (after backward, named_gradients() has {names}, of the {type(node.layer).__name__} that takes the words)"


def hidden_words(nodes: Iterable[Node], shape: Shape, vocabulary: int) -> list[Hidden]:
    """Return which words the layers of a net do not see; raise ValueError if its input is no such words."""
    found = []
    for node in nodes:
        hidden, who = node.plan.hidden, f"{type(node.layer).__name__} {node.name}"
        if hidden is None:
            continue
        if not vocabulary or not hidden.fits(shape):
            several = f"{hidden.time} words" + ("" if hidden.first is None else f" from place {hidden.first} on")
            raise ValueError(
                f"{who}: expected a net whose input is {several}, one for each position, as padding="
                f"{hidden.word} is one of them; got a net with input shape {shape}"
                f"{'' if vocabulary else ' of floating-point numbers'}"
            )
        if hidden.word >= vocabulary:
            raise ValueError(f"{who}: expected padding from 0 to {vocabulary - 1}; got {hidden.word}")
        found.append(hidden)
    return found
