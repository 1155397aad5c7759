"""Gradient ascent on images, with jitter, blur and bounds."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...base import checks, streams
from ...layers.spec import Shape

# images (n, *input_shape) -> (what is climbed, (n,); its gradient, of the images' shape)
Climbed = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Bounds = tuple[np.ndarray, np.ndarray] | None


@dataclass(frozen=True, eq=False)
class Ascent:
    """The result of a gradient ascent. It can be plotted if the samples are images.

    Attributes:
        x: what the ascent ended with, of shape (n, *input_shape), in the net's dtype.
        start: what it began with, of the same shape.
        before, after: the climbed value of each sample of ``start`` and of ``x``, float64 (n,).
    """

    x: np.ndarray
    start: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def plot(self, path: Any = None) -> Any:
        """Draw start and end in two rows, each image scaled by itself.

        Args:
            path: path of an image file, beside which the data are written too; an open binary file; or None to return
                the Matplotlib figure.

        Returns:
            The figure if ``path`` is None, else None.

        Raises:
            ValueError: if the samples are no images (H, W, 1 or 3).
        """
        from ... import plots

        return plots.image_rows(path, {"start": self.start, "end": self.x})


@dataclass(frozen=True)
class Steps:
    """How an ascent goes; the arguments are those of ``visualise_classes``."""

    steps: int
    rate: float
    l2: float
    jitter: int
    blur: float
    blur_every: int
    seed: int

    def check(self, who: str, shape: Shape) -> None:
        """Raise an error for bad settings, or for those that need images if the samples are none."""
        checks.count(who, "steps", self.steps)
        checks.positive(who, "rate", self.rate)
        checks.non_negative(who, "l2", self.l2)
        checks.count(who, "jitter", self.jitter, least=0)
        checks.non_negative(who, "blur", self.blur)
        checks.count(who, "blur_every", self.blur_every)
        checks.count(who, "seed", self.seed, least=0)
        if len(shape) != 3 and (self.jitter or self.blur):
            raise ValueError(
                f"{who}: expected images (H, W, channels) for jitter={self.jitter} and blur={self.blur}; got input "
                f"shape {shape} (a net that starts with Flatten() takes images; jitter=0, blur=0 need none)"
            )


def climb(climbed: Climbed, start: np.ndarray, settings: Steps, bounds: Bounds) -> Ascent:
    """Climb the value of each sample of ``start`` by itself, see ``visualise_classes``."""
    x = start.copy()
    moves = streams.generator(settings.seed, "jitter of an ascent")
    for step in range(1, settings.steps + 1):
        dy, dx = moves.integers(-settings.jitter, settings.jitter, size=2, endpoint=True)
        moved = np.roll(x, (dy, dx), axis=(1, 2)) if settings.jitter else x
        gradient = climbed(moved)[1] - 2 * settings.l2 * moved
        change = normalised(gradient) * settings.rate
        x += np.roll(change, (-dy, -dx), axis=(1, 2)) if settings.jitter else change
        if settings.blur and step % settings.blur_every == 0:
            x = blurred(x, settings.blur)
        if bounds is not None:
            x = np.clip(x, *bounds)
    penalties = (settings.l2 * np.square(a.reshape(len(a), -1), dtype=np.float64).sum(axis=1) for a in (start, x))
    before, after = (climbed(a)[0] - penalty for a, penalty in zip((start, x), penalties, strict=True))
    return Ascent(x, start, before, after)


def normalised(gradient: np.ndarray) -> np.ndarray:
    """Return the gradient of each sample, divided by the root of its mean square; 0 remains 0."""
    axes = tuple(range(1, gradient.ndim))
    size = np.sqrt(np.square(gradient, dtype=np.float64).mean(axis=axes, keepdims=True))
    return np.divide(gradient, size, out=np.zeros_like(gradient), where=size > 0, casting="same_kind")


def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    """Return images (n, H, W, channels), blurred by a Gaussian with a standard deviation of ``sigma`` pixels.

    The Gaussian ends at four deviations. Beyond the border, images are mirrored.
    """
    radius = math.ceil(4 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(images.dtype)
    for axis in (1, 2):
        size = images.shape[axis]
        ends = [(0, 0)] * 4
        ends[axis] = (radius, radius)
        wide = np.moveaxis(np.pad(images, ends, mode="symmetric"), axis, 0)
        images = np.moveaxis(sum(weight * wide[i : i + size] for i, weight in enumerate(weights)), 0, axis)
    return np.ascontiguousarray(images)


def as_bounds(who: str, bounds: Any, shape: Shape, dtype: np.dtype) -> Bounds:
    """Return bounds (low, high) in the dtype of the samples, or None; raise an error unless they fit a sample."""
    if bounds is None:
        return None
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise TypeError(f"{who}: expected bounds as (low, high) or None; got {bounds!r}")
    edges = [checks.array(who, "bounds", edge) for edge in bounds]
    if any(edge.dtype.kind not in "iuf" for edge in edges):
        raise TypeError(f"{who}: expected bounds as numbers or arrays of numbers; got {bounds!r}")
    low, high = (edge.astype(dtype) for edge in edges)
    try:
        np.broadcast_to(low, shape), np.broadcast_to(high, shape)
    except ValueError:
        raise ValueError(
            f"{who}: expected bounds as numbers or arrays that fit samples of shape {shape}; got shapes {low.shape} "
            f"and {high.shape}"
        ) from None
    if not (low < high).all():
        raise ValueError(f"{who}: expected bounds with low < high everywhere; got {bounds!r}")
    return low, high
