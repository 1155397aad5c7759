"""The loss around a net's weights, along one or two filter-normalised random directions.

Li, Xu, Taylor, Studer, Goldstein 2018, "Visualizing the Loss Landscape of Neural Nets". In a network with ReLUs or
batch normalisation, filters can be scaled without any change of the output, if the next layer compensates. The length
of a step alone therefore means nothing. Directions whose filters have the norms of the net's filters make figures of
different nets comparable.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..base import checks, streams
from ..data import check_data
from ..net.net import Net
from ..storage.files import write_json

_TINY = 1e-10  # keeps filters of zeros at zero, as in the authors' code


def filter_normalised_direction(net: Net, seed: int = 0) -> np.ndarray:
    """Draw a random direction whose filters have the norms of the net's filters. Li et al. 2018, section 4.

    A filter has the weights of one unit, an index of the last axis. Values are standard normal before scaling. Arrays
    with fewer than two axes, such as biases, gains and shifts, are 0, as in the paper.

    Args:
        net: the net.
        seed: seed of the direction.

    Returns:
        A float64 vector of shape (P,), where P is the number of parameters.
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
    """The data loss around a net's weights. It can be plotted and saved.

    Attributes:
        x, y: steps along the first and the second direction, of shape (nx,) and (ny,). y is None for a line.
        losses: losses of shape (nx,), or (ny, nx) with rows for steps along the second direction. Infinite where the
            loss overflows.
        seed: seed of the directions.
    """

    x: np.ndarray
    y: np.ndarray | None
    losses: np.ndarray
    seed: int

    @property
    def concavity(self) -> float:
        """Measure of non-convexity: the mean of max(0, -l) / |k| over all inner points, from 0 to 1.

        At each point, l is the smallest curvature and k is the curvature of largest absolute value, from second
        differences. A line has one curvature, a surface has two. This is the counterpart, for the sampled surface, of
        |l_min / l_max| of the whole Hessian in figure 7 of the paper. Where the surface is concave, the loss itself is
        concave in that direction. Points next to an infinite loss are left out. NaN if no point is left.
        """
        low, high = _curvatures(self.losses)
        size = np.maximum(np.abs(low), np.abs(high))
        known = np.isfinite(size) & (size > 0)
        return float((np.maximum(0, -low[known]) / size[known]).mean()) if known.any() else np.nan

    def save(self, path: str | Path) -> None:
        """Write steps, losses and concavity to a JSON file, completely or not at all, with null for infinite losses.

        Args:
            path: path of the file.

        Raises:
            OSError: the file cannot be written.
        """
        document = {
            "seed": self.seed,
            "concavity": self.concavity,
            "x": self.x,
            "y": self.y,
            "losses": self.losses,
        }
        write_json(path, document)

    def plot(self, path: Any = None, *, title: str = "") -> Any:
        """Draw the line, or the contours of the surface.

        Args:
            path: path of an image file, beside which the data are written too; an open binary file; or None to return
                the Matplotlib figure.
            title: title of the figure.

        Returns:
            The figure if ``path`` is None, else None.
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
    """Measure the data loss along one direction from the net's weights.

    Args:
        net: trained net. A twin is evaluated, with the present running statistics of batch norms, as in the paper.
        x: samples on which the loss is measured, without penalties; shape (n, *input_shape).
        y: their targets, as the loss takes them, such as labels (n,).
        span: steps are from -span to span. A step of 1 adds filters with the norms of the net's filters.
        points: number of steps, odd, so that the net itself is the middle one.
        seed: seed of the direction.
        direction: vector of shape (P,) to use instead of a random direction, such as the difference of two nets'
            weights.
        progress: whether to show a progress bar; None shows one on a terminal and in a
            notebook.

    Returns:
        A ``LossSurface`` with ``y=None``.

    Raises:
        TypeError, ValueError: for bad arguments.
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
    """Measure the data loss on a grid of points x points steps along two random filter-normalised directions.

    The directions are not made orthogonal, because in so many dimensions they nearly are.

    Args:
        net, x, y, span, points, seed, progress: as in ``loss_line``.

    Returns:
        A ``LossSurface``.
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
    """Return the data loss at net.params + place @ along for every place; places have shape (n, directions)."""
    from tqdm.auto import tqdm

    if not isinstance(net, Net) or net.loss_function is None:
        raise TypeError(f"{who}: expected a Net with a loss; got {net!r}")
    x, y = check_data(who, (x, y), net.input_dtype)
    twin = net.twin()
    x, start = twin.as_input(x), net.params.astype(np.float64)
    losses = np.empty(len(places))
    bar = tqdm(places, unit="point", disable=None if progress is None else not progress)
    for i, place in enumerate(bar):
        with np.errstate(over="ignore", invalid="ignore"):  # far away, a loss may overflow to infinity
            twin.params = (start + place @ along).astype(net.dtype)
            losses[i] = twin.evaluate(x, y)["data_loss"]
    return np.where(np.isnan(losses), np.inf, losses)


def _curvatures(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and largest curvature at all inner points, by second differences; NaN next to infinity."""
    f = np.where(np.isfinite(losses), losses, np.nan)
    if f.ndim == 1:
        second = f[2:] - 2 * f[1:-1] + f[:-2]
        return second, second
    xx = f[1:-1, 2:] - 2 * f[1:-1, 1:-1] + f[1:-1, :-2]
    yy = f[2:, 1:-1] - 2 * f[1:-1, 1:-1] + f[:-2, 1:-1]
    xy = (f[2:, 2:] - f[2:, :-2] - f[:-2, 2:] + f[:-2, :-2]) / 4
    middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return middle - spread, middle + spread
