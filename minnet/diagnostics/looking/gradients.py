"""Gradients with respect to the input: of the score of a class, and of the activations of a layer."""

from typing import Any

import numpy as np

from ...base import checks
from ...net.net import Net
from ...net.planning import where_words_have_gradients


def copy_with_gradient(who: str, net: Any) -> Net:
    """Return a twin of a net; raise an error if its input has no gradient."""
    if not isinstance(net, Net):
        raise TypeError(f"{who}: expected a Net; got {net!r}")
    if net.vocabulary:
        raise ValueError(
            f"{who}: expected a net of numbers, whose input has a gradient; got one of words, with a vocabulary of "
            f"{net.vocabulary}{where_words_have_gradients(net.nodes()[0])}"
        )
    return net.twin()


def copy_of_classifier(who: str, net: Any) -> Net:
    """Return a twin of a net; raise an error unless it has one score for each class, and its input a gradient."""
    twin = copy_with_gradient(who, net)
    if len(twin.output_shape) != 1:
        raise ValueError(f"{who}: expected a net with one axis of scores, (classes,); got {twin.output_shape}")
    return twin


def class_numbers(who: str, name: str, values: Any, classes: int) -> np.ndarray:
    """Return one or more class numbers as an integer array; raise an error if one is not among the classes."""
    numbers = checks.array(who, name, values)
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"{who}: expected {name} as class numbers, which are integers; got dtype {numbers.dtype}")
    if numbers.size == 0 or numbers.ndim > 1:
        raise ValueError(f"{who}: expected {name} as one class or as an array (n,); got shape {numbers.shape}")
    if numbers.min() < 0 or numbers.max() >= classes:
        wrong = numbers[(numbers < 0) | (numbers >= classes)].flat[0]
        raise ValueError(f"{who}: expected {name} from 0 to {classes - 1}, the classes of the net; got {wrong}")
    return numbers.astype(np.int64)


def for_each(who: str, name: str, values: Any, classes: int, n: int) -> np.ndarray:
    """Return class numbers of shape (n,), of one class for all samples or of one for each."""
    numbers = class_numbers(who, name, values, classes)
    if numbers.ndim and len(numbers) != n:
        raise ValueError(f"{who}: expected {name} as one class or one for each of {n} samples; got {len(numbers)}")
    return np.broadcast_to(numbers, n)


def of_scores(net: Net, x: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (scores, dx): all scores of each sample, and the gradient of the score of its class."""
    scores = net.forward(x).copy()
    dscores, dx = np.zeros_like(scores), np.empty_like(x)
    dscores[np.arange(len(x)), classes] = 1
    net.backward(dscores, dx)
    return scores, dx


def of_activations(net: Net, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (half the sum of squares of each sample's outputs, its gradient), of shapes (n,) and x's."""
    outputs, dx = net.forward(x).copy(), np.empty_like(x)
    net.backward(outputs, dx)
    return np.square(outputs.reshape(len(x), -1), dtype=np.float64).sum(axis=1) / 2, dx
