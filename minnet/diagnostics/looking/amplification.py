"""Amplification of what a layer sees in an image, as in DeepDream."""

from typing import Any

from ...base import checks
from ...net.net import Net
from ..rewire import first_layers
from .ascent import Ascent, Steps, as_bounds, climb
from .gradients import copy_with_gradient, of_activations


def amplify(
    net: Net,
    x: Any,
    layer: int,
    *,
    steps: int = 20,
    rate: float = 0.05,
    jitter: int = 2,
    blur: float = 0.0,
    blur_every: int = 10,
    bounds: Any = None,
    seed: int = 0,
) -> Ascent:
    """Climb half the sum of squares of a layer's output, with respect to the input.

    The gradient at the output of the layer is then the output itself, so whatever the layer responds to becomes more
    visible. Images keep one size; DeepDream also works on smaller copies of an image ("octaves"). The passes are those
    of evaluation, on a net of the layers up to this one; the net does not change.

    Args:
        net: any network, except one of words.
        x: samples of shape (n, *input_shape) to begin with.
        layer: place of the layer among the net's top-level layers, counted from 0. If it is followed by a ReLU, what
            counts is the output before the ReLU.
        steps, rate, jitter, blur, blur_every, bounds, seed: as in ``visualise_classes``.

    Returns:
        An ``Ascent``.

    Raises:
        TypeError, ValueError: for bad arguments, and for a net of words. Jitter and blur need images (H, W, channels).

    Source: Mordvintsev, Olah, Tyka 2015, "Inceptionism: Going deeper into neural networks".
    """
    twin = copy_with_gradient("amplify", net)
    last = len(twin.layers.layers) - 1
    if checks.count("amplify", "layer", layer, least=0) > last:
        raise ValueError(f"amplify: expected layer from 0 to {last}, a place in the net; got {layer}")
    settings = Steps(steps, rate, 0.0, jitter, blur, blur_every, seed)
    settings.check("amplify", twin.input_shape)
    edges = as_bounds("amplify", bounds, twin.input_shape, twin.dtype)
    part = first_layers(twin, layer + 1)
    return climb(lambda images: of_activations(part, images), part.as_input(x), settings, edges)
