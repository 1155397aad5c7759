"""Saliency: which elements of an input the score of its class depends on."""

from typing import Any

import numpy as np

from ...base import checks
from ...net.net import Net
from ...net.passes import CHUNK
from .gradients import copy_of_classifier, for_each, of_scores


def saliency(net: Net, x: Any, labels: Any = None, *, batch_size: int = CHUNK) -> np.ndarray:
    """Compute |ds/dx|, where s is the score of a class, before any softmax; for images, its maximum over channels.

    A change of an element with a large value changes the score most. The pass is one of evaluation, on a twin; the net
    does not change.

    Args:
        net: net with scores (classes,).
        x: samples of shape (n, *input_shape).
        labels: class of each sample, integers (n,), or one class for all samples. None for the class that the net
            predicts.
        batch_size: number of samples in a pass.

    Returns:
        Array in the net's dtype, of shape (n, H, W) for images (H, W, channels), otherwise (n, *input_shape).

    Raises:
        TypeError, ValueError: for bad arguments, and for a net of words.

    Source: Simonyan, Vedaldi, Zisserman 2014, "Deep inside convolutional networks", section 3.1.
    """
    twin = copy_of_classifier("saliency", net)
    batch_size = checks.count("saliency", "batch_size", batch_size)
    x = twin.as_input(x)
    if labels is None:
        labels = twin.predict(x, batch_size=batch_size).argmax(axis=1)
    classes = for_each("saliency", "labels", labels, twin.output_shape[0], len(x))
    parts = range(0, len(x), batch_size)
    gradients = [of_scores(twin, x[i : i + batch_size], classes[i : i + batch_size])[1] for i in parts]
    found = np.abs(np.concatenate(gradients))
    return found.max(axis=-1) if len(twin.input_shape) == 3 else found
