"""Class visualisation: images that a network takes for a class as surely as it can."""

from typing import Any

import numpy as np

from ...base import streams
from ...net.net import Net
from .ascent import Ascent, Steps, as_bounds, climb
from .gradients import class_numbers, copy_of_classifier, of_scores


def visualise_classes(
    net: Net,
    classes: Any,
    *,
    start: Any = None,
    steps: int = 100,
    rate: float = 0.1,
    l2: float = 1e-3,
    jitter: int = 2,
    blur: float = 0.5,
    blur_every: int = 10,
    bounds: Any = None,
    seed: int = 0,
) -> Ascent:
    """Climb s - l2 * sum(x^2) with respect to x, where s is the score of a class, before any softmax.

    Each step adds ``rate * g / sqrt(mean(g^2))`` to the image, where g is the gradient. Jitter, blur and the penalty
    hold back patterns of high frequency, which raise a score most but look like noise. The passes are those of
    evaluation, on a twin; the net does not change. The values of the result include the penalty.

    Args:
        net: net with scores (classes,).
        classes: the classes, integers (n,); one image for each.
        start: images of shape (n, *input_shape) to begin with; None for standard normal noise.
        steps: number of steps.
        rate: root mean square of the change of the elements in a step, in the units of the input.
        l2: strength of the penalty.
        jitter: largest number of pixels by which the images are rolled in both directions, at random, during a step.
        blur: standard deviation in pixels of a Gaussian that blurs the images; 0 for none.
        blur_every: number of steps from one blur to the next.
        bounds: (low, high), numbers or arrays that broadcast to a sample, to which the images are clipped after each
            step, such as the values of black and white; None for no bounds.
        seed: seed of start and jitter.

    Returns:
        An ``Ascent``.

    Raises:
        TypeError, ValueError: for bad arguments, and for a net of words. Jitter and blur need images (H, W, channels).

    Source: Simonyan, Vedaldi, Zisserman 2014, section 2; blur and jitter as in CS231n's third assignment, after
    Yosinski, Clune, Nguyen, Fuchs, Lipson 2015, "Understanding neural networks through deep visualization", and
    Mordvintsev, Olah, Tyka 2015, "Inceptionism".
    """
    who = "visualise_classes"
    twin = copy_of_classifier(who, net)
    numbers = np.atleast_1d(class_numbers(who, "classes", classes, twin.output_shape[0]))
    settings = Steps(steps, rate, l2, jitter, blur, blur_every, seed)
    settings.check(who, twin.input_shape)
    edges = as_bounds(who, bounds, twin.input_shape, twin.dtype)
    images = _beginning(who, twin, start, len(numbers), seed)
    if edges is not None:
        images = np.clip(images, *edges)

    def climbed(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores, gradient = of_scores(twin, x, numbers)
        return scores[np.arange(len(x)), numbers].astype(np.float64), gradient

    return climb(climbed, images, settings, edges)


def _beginning(who: str, net: Net, start: Any, count: int, seed: int) -> np.ndarray:
    """Return the images (count, *input_shape) to begin with: those given, or standard normal noise."""
    if start is None:
        noise = streams.generator(seed, "start of an ascent").standard_normal((count, *net.input_shape))
        start = noise.astype(net.dtype)
    images = net.as_input(start)
    if len(images) != count:
        raise ValueError(f"{who}: expected one image to start with for each of {count} classes; got {len(images)}")
    return images
