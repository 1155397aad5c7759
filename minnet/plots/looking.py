"""Figures of what a network sees in images: rows of images and of maps of numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .grid import stretched
from .style import Arrays, Place, draws, figure, save


@draws("rows")
def image_rows(
    path: Place, rows: Mapping[str, np.ndarray], *, names: Sequence[Any] | None = None, title: str = ""
) -> Any:
    """Draw rows of images, such as images, their saliency and what fools a net, one column for each sample.

    Each image is scaled from its smallest to its largest value. An NPZ file beside the figure has the given arrays,
    named as their rows.

    Args:
        path: see ``save``.
        rows: name of the row -> images of shape (n, H, W, 1 or 3), or (n, H, W) for numbers that are drawn as colours.
        names: names above the columns; None for none.
        title: title of the figure.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    count = len(next(iter(rows.values())))
    for name, pictures in rows.items():
        if pictures.ndim not in (3, 4) or (pictures.ndim == 4 and pictures.shape[3] not in (1, 3)):
            raise ValueError(
                f"image_rows: expected images (n, H, W, 1 or 3) or maps (n, H, W); got shape {pictures.shape} for "
                f"{name!r}"
            )
        if len(pictures) != count or (names is not None and len(names) != count):
            raise ValueError(f"image_rows: expected as many images in each row, and names; got {len(pictures)}")
    drawn, axes = figure(count, width=0.85, height=[0.92] * len(rows))
    for row, (name, pictures) in enumerate(rows.items()):
        maps = pictures.ndim == 3
        shown = stretched(pictures[..., np.newaxis] if maps else pictures)
        for column, picture in enumerate(shown):
            axis = axes[row * count + column]
            axis.imshow(picture, cmap="inferno" if maps else "gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(False)
            if column == 0:
                axis.set_ylabel(name, fontsize=7)
            if row == 0 and names is not None:
                axis.set_title(str(names[column]), fontsize=7)
    drawn.suptitle(title or None, fontsize=10)
    return save(drawn, path, Arrays(**rows))
