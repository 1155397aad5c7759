"""Grids of images with names."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .style import figure

_INCHES = 0.62  # of an image's longer side


def image_grid(panels: Mapping[str, np.ndarray], columns: int, names: Sequence[Any] | None = None) -> Any:
    """Return a figure of panels side by side, each a grid of images.

    Each image is scaled from its smallest to its largest value, so that faint images are visible too. Channels are
    drawn side by side unless there are one or three.

    Args:
        panels: title -> images of shape (n, H, W, C).
        columns: number of images in a row of a panel.
        names: names of the images in each panel; None for their indices.
    """
    shown = {title: stretched(pictures) for title, pictures in panels.items()}
    rows = max(-(-len(pictures) // columns) for pictures in shown.values())
    width, height = _size(next(iter(shown.values())))
    drawn, axes = figure(
        len(panels), width=columns * (width + 0.08) + 0.15, height=rows * (height + 0.2) + (0.3 if any(panels) else 0.1)
    )
    for axis, (title, pictures) in zip(axes, shown.items(), strict=True):
        axis.set_axis_off()
        axis.set_title(title)
        for i, picture in enumerate(pictures):
            place = (i % columns / columns, 1 - (i // columns + 1) / rows, 0.92 / columns, 0.78 / rows)
            cell = axis.inset_axes(place)
            cell.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            cell.set_title(str(i if names is None else names[i]), fontsize=6.5, pad=1.5)
            cell.set(xticks=[], yticks=[])
            cell.grid(False)
            cell.spines[:].set_visible(False)
    return drawn


def _size(pictures: np.ndarray) -> tuple[float, float]:
    """Return width and height of an image in inches. Wide images have the area of square ones."""
    height, width = pictures.shape[1:3]
    return _INCHES * (width / height) ** 0.5, _INCHES * (height / width) ** 0.5


def stretched(pictures: np.ndarray) -> np.ndarray:
    """Return images scaled to [0, 1], with channels that are not colours side by side."""
    if pictures.shape[3] not in (1, 3):
        pictures = np.concatenate(np.moveaxis(pictures[..., np.newaxis], 3, 0), axis=2)
    low, high = (edge(axis=(1, 2, 3), keepdims=True) for edge in (pictures.min, pictures.max))
    return (pictures - low) / np.where(high > low, high - low, 1)
