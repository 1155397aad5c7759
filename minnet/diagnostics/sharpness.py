"""Sharpness of the loss: products with the Hessian, and its largest eigenvalue."""

from collections.abc import Callable

import numpy as np

from ..base import checks, streams
from ..data import Data, check_data
from ..net.net import Net
from ..training.callbacks import Record, Run
from ..training.moments import When
from .monitor import SELDOM, Monitor, Twin, places_that_count, samples

# Step of the central difference of gradients. Its errors, h^2 and eps / h, are small in double precision, and few ReLUs
# change sides within this distance.
_STEP = 1e-5


class Sharpness(Monitor):
    """Record the largest eigenvalue of the objective's Hessian over some samples, by Lanczos's iteration.

    Gradient descent on a quadratic function diverges with a learning rate above 2 / sharpness. In practice, full-batch
    training moves to a sharpness of 2 / rate and stays there (Cohen et al. 2021, arXiv:2103.00065). The monitor works
    on a float64 copy of the net, with constant dropout noise, and with the samples as the batch of batch norms. The
    curvature is that of training passes, including penalties. A record costs two training passes over the samples per
    iteration, and the memory of a float64 net.

    Arrays of shape (records,), for the state after the step's update:

    * ``"sharpness"``: the largest eigenvalue s found.
    * ``"residual"``: |H v - s v| / |s| for the unit vector v found. Some eigenvalue is within this relative distance of
      s. Above 1 the result means nothing, and more iterations are needed.
    * ``"lr"``: the learning rate of the step.

    Args:
        data: data (x, y), of which all samples are used; None for ``samples`` of the training data.
        samples: number of training samples, drawn once with ``seed``; at most all.
        at: see ``Monitor``.
        iterations, tolerance: see ``sharpness``.
        seed: seed of the samples and of the start vector.
    """

    def __init__(
        self,
        data: Data | None = None,
        samples: int = 256,
        at: When = SELDOM,
        iterations: int = 50,
        tolerance: float = 1e-2,
        seed: int = 0,
    ) -> None:
        super().__init__(at)
        self.data = None if data is None else check_data("Sharpness", data)
        self.samples = checks.count("Sharpness", "samples", samples)
        self.iterations = checks.count("Sharpness", "iterations", iterations)
        self.tolerance = checks.positive("Sharpness", "tolerance", tolerance)
        self.seed = checks.count("Sharpness", "seed", seed, least=0)
        self._twin = Twin(np.float64)

    def on_start(self, trainer: Run) -> None:
        super().on_start(trainer)
        places_that_count(trainer, self.data)  # raises an error if there are none

    def on_step(self, trainer: Run, record: Record) -> None:
        """Record the sharpness of the copy."""
        if self.due(trainer, record.step):
            places = places_that_count(trainer, self.data)
            few = min(len(places), self.samples) if self.data is None else len(places)
            drawn = streams.generator(self.seed, "samples of Sharpness").choice(places, few, replace=False)
            value, residual = sharpness(
                self._twin.of(trainer.net),
                *samples(trainer, self.data, drawn),
                iterations=self.iterations,
                tolerance=self.tolerance,
                seed=self.seed,
            )
            self.record(record.step, {"sharpness": value, "residual": residual, "lr": record.lr})

    def shapes(self, net: Net) -> dict[str, tuple[int, ...]]:
        return {"sharpness": (), "residual": (), "lr": ()}


def hessian_vector_product(net: Net, x: np.ndarray, y: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Compute H v for the Hessian H of the objective at the net's weights, as (g(w + h v) - g(w - h v)) / 2h.

    Pearlmutter 1994, "Fast exact multiplication by the Hessian", has the one-sided form.

    Args:
        net: float64 net, such as ``net.twin(np.float64)``. Its weights, buffers and step are restored; its gradients
            change.
        x: the batch, shape (n, *input_shape). The noise is that of the net's step.
        y: its targets, as the loss takes them, such as labels (n,).
        v: vector of shape (P,), where P is the number of parameters.

    Returns:
        A float64 vector of shape (P,).

    Raises:
        ValueError: if the net is not float64.
    """
    if net.dtype != np.float64:
        raise ValueError(f"hessian_vector_product: expected a float64 net (net.twin(np.float64)); got {net.dtype}")
    length = float(np.linalg.norm(v))
    if length == 0:
        return np.zeros(net.params.size)
    weights, buffers, step = net.params.copy(), net.buffers.copy(), net.step
    h = _STEP * max(1.0, float(np.linalg.norm(weights))) / length
    sides = []
    try:
        for sign in (1, -1):
            net.params, net.buffers, net.step = weights + sign * h * v, buffers, step
            net.loss_and_grads(x, y)
            sides.append(net.grads.copy())
    finally:
        net.params, net.buffers, net.step = weights, buffers, step
    return (sides[0] - sides[1]) / (2 * h)


def sharpness(
    net: Net, x: np.ndarray, y: np.ndarray, *, iterations: int = 50, tolerance: float = 1e-2, seed: int = 0
) -> tuple[float, float]:
    """Compute the largest eigenvalue of the objective's Hessian.

    Args:
        net, x, y: see ``hessian_vector_product``; the net must be float64.
        iterations: largest number of iterations, of one product each.
        tolerance: residual |H v - s v| / |s| at which the iteration ends.
        seed: seed of the start vector.

    Returns:
        (largest eigenvalue s, residual).
    """
    start = streams.generator(seed, "start of Lanczos's iteration").standard_normal(net.params.size)
    return largest_eigenvalue(lambda v: hessian_vector_product(net, x, y, v), start, iterations, tolerance)


def largest_eigenvalue(
    product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, iterations: int, tolerance: float
) -> tuple[float, float]:
    """Compute (largest eigenvalue, residual) of a symmetric matrix by Lanczos's iteration (Lanczos 1950).

    Products of the matrix with a vector build a tridiagonal matrix. Its largest eigenvalue approaches that of the
    matrix from below. Only three vectors are kept, so rounding makes eigenvalues appear again, but the largest one
    stays correct (Paige 1972). The residual is the next off-diagonal element times the last element of the eigenvector
    of the tridiagonal matrix.
    """
    before, v, link = np.zeros_like(start), start / np.linalg.norm(start), 0.0
    diagonal: list[float] = []
    links: list[float] = []
    value, residual = 0.0, 0.0
    for _ in range(iterations):
        image = product(v) - link * before
        diagonal.append(float(v @ image))
        image -= diagonal[-1] * v
        link = float(np.linalg.norm(image))
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(links, 1) + np.diag(links, -1))
        value, missing = float(values[-1]), link * abs(float(vectors[-1, -1]))
        residual = missing / abs(value) if value else (np.inf if missing else 0.0)
        if residual <= tolerance:
            break
        links.append(link)
        before, v = v, image / link
    return value, residual
