"""Fooling images: small changes after which a network predicts another class."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...base import checks
from ...net.net import Net
from .ascent import as_bounds, normalised
from .gradients import copy_of_classifier, for_each, of_scores


@dataclass(frozen=True, eq=False)
class Fooling:
    """The result of ``fooling_images``. It can be printed, and plotted if the samples are images.

    Attributes:
        x: the changed samples, of shape (n, *input_shape), in the net's dtype.
        originals: the samples as they were.
        targets: class that each sample was to be taken for, (n,).
        before, after: class that the net predicts for ``originals`` and for ``x``, (n,).
        steps: number of steps that each sample took, (n,).
    """

    x: np.ndarray
    originals: np.ndarray
    targets: np.ndarray
    before: np.ndarray
    after: np.ndarray
    steps: np.ndarray

    @property
    def fooled(self) -> np.ndarray:
        """Whether the net predicts the target for the changed sample, (n,)."""
        return self.after == self.targets

    @property
    def distances(self) -> np.ndarray:
        """Euclidean norm of the change of each sample, float64 (n,)."""
        return np.sqrt(np.square(self._changes()).sum(axis=1))

    @property
    def relative(self) -> np.ndarray:
        """Norm of the change relative to the norm of the sample, (n,); infinity for a changed sample of zeros."""
        norms = np.sqrt(np.square(self.originals.reshape(len(self.x), -1), dtype=np.float64).sum(axis=1))
        distances = self.distances
        return np.divide(distances, norms, out=np.where(distances > 0, np.inf, 0.0), where=norms > 0)

    @property
    def largest(self) -> np.ndarray:
        """Largest absolute change of an element of each sample, float64 (n,)."""
        return np.abs(self._changes()).max(axis=1)

    def _changes(self) -> np.ndarray:
        return self.x.reshape(len(self.x), -1).astype(np.float64) - self.originals.reshape(len(self.x), -1)

    def __str__(self) -> str:
        lines = ["predicted  target  then  steps  distance  relative  largest change"]
        for row in zip(
            self.before, self.targets, self.after, self.steps, self.distances, self.relative, self.largest, strict=True
        ):
            lines.append("{:>9}  {:>6}  {:>4}  {:>5}  {:>8.3g}  {:>8.2%}  {:>14.3g}".format(*row))
        return "\n".join(lines)

    def plot(self, path: Any = None) -> Any:
        """Draw samples, changed samples and changes in three rows, each image scaled by itself.

        Args:
            path: path of an image file, beside which the data are written too; an open binary file; or None to return
                the Matplotlib figure.

        Returns:
            The figure if ``path`` is None, else None.

        Raises:
            ValueError: if the samples are no images (H, W, 1 or 3).
        """
        from ... import plots

        pairs = zip(self.before, self.after, strict=True)
        rows = {"image": self.originals, "changed": self.x, "change": self.x - self.originals}
        return plots.image_rows(path, rows, names=[f"{a} to {b}" for a, b in pairs])


def fooling_images(
    net: Net, x: Any, targets: Any, *, steps: int = 100, rate: float = 0.01, bounds: Any = None
) -> Fooling:
    """Climb the score of another class with respect to a sample, until the net predicts that class.

    Each step adds ``rate * g / sqrt(mean(g^2))``, where g is the gradient of the score before any softmax. A sample
    that is fooled changes no more, so the changes are small. The passes are those of evaluation, on a twin; the net
    does not change.

    Args:
        net: net with scores (classes,).
        x: samples of shape (n, *input_shape).
        targets: class that each sample is to be taken for, integers (n,), or one class for all samples.
        steps: largest number of steps.
        rate: root mean square of the change of the elements in a step, in the units of the input.
        bounds: as in ``visualise_classes``. The samples must be within them.

    Returns:
        A ``Fooling``. Some samples may need more steps: ``fooled`` says which are done.

    Raises:
        TypeError, ValueError: for bad arguments, and for a net of words.

    Source: Szegedy et al. 2014, "Intriguing properties of neural networks"; the steps are those of CS231n's third
    assignment.
    """
    who = "fooling_images"
    twin = copy_of_classifier(who, net)
    checks.count(who, "steps", steps)
    checks.positive(who, "rate", rate)
    edges = as_bounds(who, bounds, twin.input_shape, twin.dtype)
    originals = twin.as_input(x)
    wanted = for_each(who, "targets", targets, twin.output_shape[0], len(originals))
    if edges is not None and not ((edges[0] <= originals) & (originals <= edges[1])).all():
        raise ValueError(f"{who}: expected samples within bounds; got {originals.min():.4g} to {originals.max():.4g}")
    x, taken = originals.copy(), np.zeros(len(originals), np.int64)
    for _ in range(steps):
        scores, gradient = of_scores(twin, x, wanted)
        going = scores.argmax(axis=1) != wanted
        if not going.any():
            break
        x[going] += rate * normalised(gradient[going])
        if edges is not None:
            x = np.clip(x, *edges)
        taken += going
    before, after = (twin.predict(a).argmax(axis=1) for a in (originals, x))
    return Fooling(x, originals, wanted.copy(), before, after, taken)
