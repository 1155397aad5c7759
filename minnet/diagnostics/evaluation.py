"""Mistakes of a classifier: the confusion matrix, and the samples with the largest losses."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..base import checks
from ..net.losses import Loss
from ..net.net import Net
from ..storage.files import write_json
from .chance import counting


@dataclass(frozen=True, eq=False)
class Confusion:
    """A confusion matrix. It can be printed, plotted and saved.

    Attributes:
        counts: numbers of samples, integers of shape (classes, classes). Rows are true classes, columns are predicted
            classes.
        names: names of the classes.
    """

    counts: np.ndarray
    names: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """Share of samples whose class was predicted correctly."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def recall(self) -> np.ndarray:
        """Share of each true class that was predicted as such, shape (classes,); NaN for a class without samples."""
        return _share(np.diag(self.counts), self.counts.sum(axis=1))

    @property
    def precision(self) -> np.ndarray:
        """Share of correct predictions of each class, shape (classes,); NaN for a class that was never predicted."""
        return _share(np.diag(self.counts), self.counts.sum(axis=0))

    def __str__(self) -> str:
        head = ["true \\ predicted", *self.names, "recall"]
        rows = [head]
        for name, counts, recall in zip(self.names, self.counts, self.recall, strict=True):
            rows.append([name, *map(str, counts), f"{recall:.1%}"])
        rows.append(["precision", *(f"{p:.1%}" for p in self.precision), f"{self.accuracy:.1%}"])
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)

    def save(self, path: str | Path) -> None:
        """Write names and counts to a JSON file. The file is written completely or not at all.

        Args:
            path: path of the file.

        Raises:
            OSError: the file cannot be written.
        """
        write_json(path, {"names": self.names, "counts": self.counts})

    def plot(self, path: Any = None, *, title: str = "Confusion matrix") -> Any:
        """Draw the matrix.

        Args:
            path: path of an image file, beside which the data are written too; an open binary file; or None to return
                the Matplotlib figure.
            title: title of the figure.

        Returns:
            The figure if ``path`` is None, else None.
        """
        from .. import plots

        return plots.confusion(path, self.counts, self.names, title=title)


@dataclass(frozen=True)
class Mistake:
    """A misclassified sample.

    Attributes:
        index: index in the data.
        label: true class.
        predicted: predicted class.
        loss: loss of the sample.
    """

    index: int
    label: int
    predicted: int
    loss: float


def confusion_matrix(net: Net, x: Any, y: Any, *, names: Sequence[str] | None = None) -> Confusion:
    """Count the predictions for the samples of each class, with a twin of the net.

    Args:
        net: net whose loss takes integer labels.
        x, y: samples of shape (n, *input_shape) and labels of shape (n,).
        names: names of the classes; None for their numbers.

    Returns:
        A ``Confusion``.

    Raises:
        TypeError, ValueError: for other arguments.
    """
    loss, labels, scores = _scores("confusion_matrix", net, x, y)
    counted = counting(loss, labels)
    labels, scores = labels[counted], scores[counted]
    classes = scores.shape[1]
    names = tuple(map(str, range(classes) if names is None else names))
    if len(names) != classes:
        raise ValueError(f"confusion_matrix: expected {classes} names; got {len(names)}")
    counts = np.bincount(labels * classes + scores.argmax(axis=1), minlength=classes**2)
    return Confusion(counts.reshape(classes, classes), names)


def worst_mistakes(net: Net, x: Any, y: Any, *, count: int = 20) -> list[Mistake]:
    """Find the misclassified samples with the largest losses, with a twin of the net.

    Args:
        net: net whose loss takes integer labels.
        x, y: samples of shape (n, *input_shape) and labels of shape (n,).
        count: largest number of samples to return.

    Returns:
        A list of ``Mistake``, the largest loss first.
    """
    checks.count("worst_mistakes", "count", count)
    loss, labels, scores = _scores("worst_mistakes", net, x, y)
    predicted = scores.argmax(axis=1)
    mistakes = [
        Mistake(int(i), int(labels[i]), int(predicted[i]), loss(scores[i : i + 1], labels[i : i + 1]))
        for i in counting(loss, labels)
        if predicted[i] != labels[i]
    ]
    return sorted(mistakes, key=lambda mistake: -mistake.loss)[:count]


def _scores(who: str, net: Any, x: Any, y: Any) -> tuple[Loss, np.ndarray, np.ndarray]:
    """Return (the net's loss, labels (n,), scores (n, classes))."""
    if not isinstance(net, Net):
        raise TypeError(f"{who}: expected a Net; got {net!r}")
    if net.loss_function is None:
        raise ValueError(f"{who}: expected a net built with loss=...; this one has none")
    labels = net.loss_function.check_targets(y, net.output_shape, net.dtype)
    if labels.dtype.kind != "i" or labels.ndim != 1:
        raise ValueError(
            f"{who}: expected integer labels, and a loss that takes them, such as SoftmaxCrossEntropy; got targets of "
            f"dtype {labels.dtype}, shape {labels.shape} for {net.loss_function}"
        )
    scores = net.twin().predict(x)
    if len(scores) != len(labels):
        raise ValueError(f"{who}: expected x and y of one length; got {len(scores)} and {len(labels)}")
    return net.loss_function, labels, scores


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
