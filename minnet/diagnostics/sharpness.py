"""How sharply the loss curves: products with the Hessian, and its largest eigenvalue."""

from collections.abc import Callable

import numpy as np

from .. import checks, streams
from ..data import Data, check_data
from ..net.net import Net
from ..training.callbacks import Record, Run
from ..training.moments import When
from .monitor import SELDOM, Monitor, Twin, samples

# Of a central difference of gradients: the error of both its parts, h^2 and eps / h, is small in double precision, and
# few ReLUs change sides over so short a way.
_STEP = 1e-5


class Sharpness(Monitor):
    """The largest eigenvalue of the objective's Hessian over some samples, by Lanczos's iteration.

    Gradient descent with a rate above 2 / sharpness leaves a quadratic bowl; in practice full-batch training moves to
    where sharpness is 2 / rate and stays there (Cohen et al. 2021, arXiv:2103.00065). Works on a copy of the net in
    double precision, with dropout's noise held still and, for batch norm, the samples as the batch. The curvature is
    that of training passes, penalties included. A record costs two training passes over the samples for each iteration,
    and takes as much memory as a float64 net.

    Arrays, of shape (records,), of the state after the step's update: ``"sharpness"``; ``"residual"``, |H v - s v| /
    |s| for the unit vector v that was found, by which some eigenvalue lies that near (above 1 it says nothing: more
    iterations); ``"lr"``, the rate of the step.

    Args:
        data: (x, y), of which all samples are used; if None, ``samples`` of the training data.
        samples: how many, drawn once with ``seed``; all if there are fewer.
        at: see ``Monitor``.
        iterations, tolerance: see ``sharpness``.
        seed: of samples and starting vector.
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

    def on_step(self, trainer: Run, record: Record) -> None:
        """Iterate on the copy."""
        if self.due(trainer, record.step):
            size = trainer.batches.size if self.data is None else len(self.data[0])
            few = min(size, self.samples) if self.data is None else size
            drawn = streams.generator(self.seed, "samples of Sharpness").choice(size, few, replace=False)
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
    """H v for the Hessian H of the objective at the net's weights: (g(w + h v) - g(w - h v)) / 2h, shape (P,).

    Pearlmutter 1994, "Fast exact multiplication by the Hessian", names the one-sided form of it. ``net`` must be a
    float64 one, such as ``net.twin(np.float64)``; weights, buffers and step are put back, gradients are not. The batch
    is all of x and y, the noise that of the net's step.
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
    """(largest eigenvalue of the objective's Hessian, residual), for a float64 net: see ``hessian_vector_product``.

    It ends after so many ``iterations``, each of one product, or when the residual |H v - s v| / |s| <= tolerance.
    """
    start = streams.generator(seed, "start of Lanczos's iteration").standard_normal(net.params.size)
    return largest_eigenvalue(lambda v: hessian_vector_product(net, x, y, v), start, iterations, tolerance)


def largest_eigenvalue(
    product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, iterations: int, tolerance: float
) -> tuple[float, float]:
    """(largest eigenvalue of a symmetric matrix, residual) by Lanczos's iteration (Lanczos 1950).

    Products of the matrix with a vector build a tridiagonal matrix, whose largest eigenvalue comes near that of the
    whole from below. Three vectors are kept, so rounding lets eigenvalues that were found come up again; the largest
    stays right (Paige 1972). The residual is the next off-diagonal element times the last of the small eigenvector.
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
