"""Figures of a classifier's mistakes: the confusion matrix, and the worst mistakes as images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .style import Place, Table, draws, figure, save
from .subjects import Mistake


@draws("counts")
def confusion(path: Place, counts: np.ndarray, names: Sequence[str], *, title: str = "Confusion matrix") -> Any:
    """Draw a confusion matrix, with colours for the share of the true class. A CSV file has the counts.

    Args:
        path: see ``save``.
        counts: integers of shape (classes, classes), with true classes in rows.
        names: names of the classes.
        title: title of the figure.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    classes = len(names)
    size = max(3.2, 0.42 * classes)
    drawn, (axis,) = figure(width=size + 0.9, height=size)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    mesh = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axis.text(
                column, row, str(count), ha="center", va="center", fontsize=7,
                color="white" if shares[row, column] > 55 else "black",
            )  # fmt: skip
    axis.set(title=title, xlabel="predicted class", ylabel="true class")
    slanted = max(map(len, names)) > 3
    axis.set_xticks(range(classes), names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    axis.set_yticks(range(classes), names)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    drawn.colorbar(mesh, ax=axis, shrink=0.8, label="share of the true class (%)")
    rows = ((names[i], names[j], int(count)) for (i, j), count in np.ndenumerate(counts))
    return save(drawn, path, Table(("true", "predicted", "count"), rows))


@draws("mistakes")
def worst_mistakes(
    path: Place,
    mistakes: Sequence[Mistake],
    x: np.ndarray,
    *,
    names: Sequence[str] | None = None,
    columns: int = 8,
    title: str = "Worst mistakes",
) -> Any:
    """Draw misclassified images with their true class, predicted class and loss. A CSV file lists them.

    Args:
        path: see ``save``.
        mistakes: the mistakes, at least one.
        x: images of shape (n, H, W, 1 or 3), to which the mistakes' indices refer. Each is scaled from its smallest to
            its largest value.
        names: names of the classes; None for their numbers.
        columns: number of images in a row.
        title: title of the figure.

    Returns:
        None, or the Matplotlib figure if ``path`` is None.
    """
    if x.ndim != 4 or x.shape[3] not in (1, 3):
        raise ValueError(f"worst_mistakes: expected images (n, H, W, 1 or 3); got shape {x.shape}")
    rows = -(-len(mistakes) // columns)
    drawn, axes = figure(min(columns, len(mistakes)), width=1.05, height=[1.35] * rows)
    words = [str(i) if names is None else names[i] for i in range(1 + max(max(m.label, m.predicted) for m in mistakes))]
    for axis in axes:
        axis.set_axis_off()
    for axis, mistake in zip(axes, mistakes, strict=False):
        image = x[mistake.index].astype(np.float64)
        low, high = image.min(), image.max()
        axis.imshow(
            (image - low) / (high - low if high > low else 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest"
        )
        axis.set_title(f"{words[mistake.label]}, not {words[mistake.predicted]}\nloss {mistake.loss:.2g}", fontsize=7)
    drawn.suptitle(title, fontsize=10)
    found = ((m.index, words[m.label], words[m.predicted], m.loss) for m in mistakes)
    return save(drawn, path, Table(("index", "true", "predicted", "loss"), found))
