"""The loss around a net's weights, along one or two random directions, filter-normalised.

Li, Xu, Taylor, Studer, Goldstein 2018, "Visualizing the Loss Landscape of Neural Nets". A network of ReLUs or with
batch normalisation computes the same when a filter is scaled and the next layer undoes it, so a step of a given length
means nothing. A direction whose every filter is as long as the net's own makes pictures of different nets comparable.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks, streams
from ..data import check_data
from ..net.net import Net
from ..storage.files import write_json

_TINY = 1e-10  # keeps a filter of zeros at zero, as the authors' code does


def filter_normalised_direction(net: Net, seed: int = 0) -> np.ndarray:
    """A random direction (P,) each of whose filters has the norm of the net's own (Li et al. 2018, section 4).

    A filter is what feeds one unit: an index of the last axis. Arrays with fewer than two axes, which are biases and
    the gains and shifts of normalisations, get 0, as in the paper. Values are standard normal before scaling.
    """
    return _filter_normalised(net, checks.count("filter_normalised_direction", "seed", seed, least=0), 0)


def _filter_normalised(net: Net, seed: int, index: int) -> np.ndarray:
    rng = streams.generator(seed, "filter-normalised direction", index)
    direction = np.zeros(net.params.size)
    for name, place in net.layout.places.items():
        if len(place.shape) > 1:
            values = rng.standard_normal(place.shape).reshape(-1, place.shape[-1])
            own = np.linalg.norm(net.named_parameters()[name].reshape(values.shape).astype(np.float64), axis=0)
            values *= own / (np.linalg.norm(values, axis=0) + _TINY)
            direction[place.start : place.stop] = values.ravel()
    return direction


@dataclass(frozen=True, eq=False)
class LossSurface:
    """The data loss around a net's weights: ``plot`` it, ``save`` it.

    Attributes:
        x, y: steps along the first and the second direction, (nx,) and (ny,); y is None for a line.
        losses: (nx,), or (ny, nx): the row is the step along the second direction. Infinite where it overflows.
        seed: of the directions.
    """

    x: np.ndarray
    y: np.ndarray | None
    losses: np.ndarray
    seed: int

    @property
    def concavity(self) -> float:
        """How far from convex: the mean over all inner points of max(0, -l) / |k|, from 0 to 1.

        k is the curvature of largest size and l the smallest (of two, or the only one, of a line) at the point, from
        second differences. It is the sampled surface's counterpart of |l_min / l_max| of the whole Hessian in figure 7
        of the paper; where the surface of two dimensions is concave, so is the loss itself in that direction. Points
        next to an infinite loss are left out; NaN if none is left.
        """
        low, high = _curvatures(self.losses)
        size = np.maximum(np.abs(low), np.abs(high))
        known = np.isfinite(size) & (size > 0)
        return float((np.maximum(0, -low[known]) / size[known]).mean()) if known.any() else np.nan

    def save(self, path: str | Path) -> None:
        """Write steps, losses and concavity to ``path`` as JSON; infinite losses become null."""
        document = {
            "seed": self.seed,
            "concavity": self.concavity,
            "x": self.x,
            "y": self.y,
            "losses": self.losses,
        }
        write_json(path, document)

    def plot(self, path: Any = None, *, title: str = "") -> Any:
        """Draw the line, or the contours of the surface, into an image file, with the data beside it.

        ``path``: a file's path, an open binary file, or None, for which the Matplotlib figure is returned.
        """
        from .. import plots

        if self.y is None:
            return plots.loss_lines(path, {title: [(self.x, self.losses)]})
        return plots.loss_surfaces(path, {title: (self.x, self.y, self.losses)})


def loss_line(
    net: Net,
    x: np.ndarray,
    y: np.ndarray,
    *,
    span: float = 1.0,
    points: int = 51,
    seed: int = 0,
    direction: np.ndarray | None = None,
    progress: bool | None = None,
) -> LossSurface:
    """The data loss at ``points`` steps from -span to span along one direction from the net's weights.

    Args:
        net: a trained net; a twin does the work. Batch norms use the running statistics as they are, as in the paper.
        x, y: samples on which the loss is measured, without penalties.
        span: the largest step; 1 adds a filter as long as the net's own.
        points: number of steps, odd, so that the net itself is the middle one.
        seed: of the direction.
        direction: (P,) to take in place of a random one, such as the difference of two nets' weights.
        progress: True shows a progress bar, False none, None one on a terminal only.
    """
    steps = _steps("loss_line", span, points)
    along = filter_normalised_direction(net, seed) if direction is None else _direction(net, direction)
    losses = _losses("loss_line", net, x, y, along[np.newaxis], steps[:, np.newaxis], progress)
    return LossSurface(steps, None, losses, seed)


def loss_surface(
    net: Net,
    x: np.ndarray,
    y: np.ndarray,
    *,
    span: float = 1.0,
    points: int = 25,
    seed: int = 0,
    progress: bool | None = None,
) -> LossSurface:
    """The data loss on a square of points x points steps along two random filter-normalised directions.

    Arguments are those of ``loss_line``. The two directions are not made orthogonal: in so many dimensions they nearly
    are.
    """
    steps = _steps("loss_surface", span, points)
    checks.count("loss_surface", "seed", seed, least=0)
    along = np.stack([_filter_normalised(net, seed, 0), _filter_normalised(net, seed, 1)])
    places = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    losses = _losses("loss_surface", net, x, y, along, places, progress)
    return LossSurface(steps, steps.copy(), losses.reshape(points, points), seed)


def _steps(who: str, span: Any, points: Any) -> np.ndarray:
    checks.positive(who, "span", span)
    if checks.count(who, "points", points, least=3) % 2 == 0:
        raise ValueError(f"{who}: expected an odd number of points, so that the net is the middle one; got {points}")
    return np.linspace(-span, span, points)


def _direction(net: Net, direction: Any) -> np.ndarray:
    values = np.asarray(direction, np.float64)
    if values.shape != net.params.shape or not np.isfinite(values).all():
        raise ValueError(
            f"loss_line: expected a finite direction of shape {net.params.shape}; got shape {values.shape}"
        )
    return values


def _losses(
    who: str, net: Net, x: Any, y: Any, along: np.ndarray, places: np.ndarray, progress: bool | None
) -> np.ndarray:
    """Data loss at net.params + place @ along for every place (n, directions)."""
    from tqdm import tqdm

    if not isinstance(net, Net) or net.loss_function is None:
        raise TypeError(f"{who}: expected a Net with a loss; got {net!r}")
    x, y = check_data(who, (x, y), net.dtype)
    twin = net.twin()
    x, start = twin.as_input(x), net.params.astype(np.float64)
    losses = np.empty(len(places))
    bar = tqdm(places, unit="point", disable=None if progress is None else not progress)
    for i, place in enumerate(bar):
        with np.errstate(over="ignore", invalid="ignore"):  # far out a loss may overflow, and is then infinite
            twin.params = (start + place @ along).astype(net.dtype)
            losses[i] = twin.evaluate(x, y)["data_loss"]
    return np.where(np.isnan(losses), np.inf, losses)


def _curvatures(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest curvature at all inner points, from second differences; NaN next to an infinite loss."""
    f = np.where(np.isfinite(losses), losses, np.nan)
    if f.ndim == 1:
        second = f[2:] - 2 * f[1:-1] + f[:-2]
        return second, second
    xx = f[1:-1, 2:] - 2 * f[1:-1, 1:-1] + f[1:-1, :-2]
    yy = f[2:, 1:-1] - 2 * f[1:-1, 1:-1] + f[:-2, 1:-1]
    xy = (f[2:, 2:] - f[2:, :-2] - f[:-2, 2:] + f[:-2, :-2]) / 4
    middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return middle - spread, middle + spread
