"""Monitor of the gradient's noise scale."""

import numpy as np

from ..base import checks, streams
from ..data import Data, check_data
from ..net.net import Net
from ..training.callbacks import Record, Run
from ..training.moments import When
from .monitor import SELDOM, Monitor, Twin, places_that_count, samples
from .range_test import moving_average


class NoiseScale(Monitor):
    """Record the simple noise scale tr(S) / |G|^2 of McCandlish, Kaplan, Amodei 2018 (arXiv:1812.06162), eq. 2.9.

    G is the gradient of the data loss over all data, and S is the covariance of one sample's gradient. The noise scale
    is the batch size at which noise and gradient are equally large. Much smaller batches are dominated by noise, and
    much larger ones gain little. It is estimated from two batch sizes (appendix A.1), ``parts`` small batches of b
    samples and the large batch of B samples that they form together:

        |G|^2 = (B |g_B|^2 - b |g_b|^2) / (B - b),    tr(S) = (|g_b|^2 - |g_B|^2) / (1/b - 1/B),

    |g_b|^2 is the mean over the small batches. Both estimates are unbiased, except that samples are drawn without
    replacement. Their quotient is not, and the first may be below 0. Noise of dropout counts as noise of the samples.
    With batch norm, the gradient of a batch is not a mean over samples, and the estimate describes how it depends on
    the batch size. The monitor works on a copy of the net; each record costs ``parts`` training passes.

    Arrays of shape (records,), for the state after the step's update: ``"gradient"``, the estimate of |G|^2, and
    ``"noise"``, the estimate of tr(S).

    Args:
        batch_size: number of samples b in a small batch.
        parts: number of small batches per record, at least 2; B = parts * b.
        data: data (x, y); None for the training data.
        at: see ``Monitor``.
        seed: seed of the samples, which depend on it and on the step.
    """

    def __init__(
        self, batch_size: int = 32, parts: int = 8, data: Data | None = None, at: When = SELDOM, seed: int = 0
    ) -> None:
        super().__init__(at)
        self.batch_size = checks.count("NoiseScale", "batch_size", batch_size)
        self.parts = checks.count("NoiseScale", "parts", parts, least=2)
        self.data = None if data is None else check_data("NoiseScale", data)
        self.seed = checks.count("NoiseScale", "seed", seed, least=0)
        self._twin = Twin()

    def on_start(self, trainer: Run) -> None:
        super().on_start(trainer)
        size, large = len(places_that_count(trainer, self.data)), self.parts * self.batch_size
        if large > size:
            raise ValueError(f"NoiseScale: expected parts * batch_size of at most {size} samples; got {large}")

    def on_step(self, trainer: Run, record: Record) -> None:
        """Record the estimates for random samples, with the copy."""
        if not self.due(trainer, record.step):
            return
        places = places_that_count(trainer, self.data)
        stream = streams.generator(self.seed, "samples of NoiseScale", record.step)
        drawn = stream.choice(places, self.parts * self.batch_size, replace=False)
        x, y = samples(trainer, self.data, drawn)
        gradient, noise = noise_scale(self._twin.of(trainer.net), x, y, self.parts)
        self.record(record.step, {"gradient": gradient, "noise": noise})

    def shapes(self, net: Net) -> dict[str, tuple[int, ...]]:
        return {"gradient": (), "noise": ()}

    def scale(self, smooth: float = 0.0) -> np.ndarray:
        """Return the noise scale tr(S) / |G|^2, in samples.

        Args:
            smooth: weight of the past in the moving averages of tr(S) and of |G|^2 over records. Use it only if records
                are close together: |G|^2 falls by orders of magnitude in a run, so old values would dominate.

        Returns:
            An array of shape (records,). It is NaN where |G|^2 is not above 0, that is, where there were too few
            samples to tell the gradient from noise.
        """
        checks.fraction("NoiseScale.scale", "smooth", smooth)
        gradient, noise = (moving_average(self[name], smooth) for name in ("gradient", "noise"))
        return np.divide(noise, gradient, out=np.full_like(noise, np.nan), where=gradient > 0)


def noise_scale(net: Net, x: np.ndarray, y: np.ndarray, parts: int) -> tuple[float, float]:
    """Estimate (|G|^2, tr(S)) of ``NoiseScale``, without penalties.

    Args:
        net: a copy of the net, such as ``net.twin()``, because each part takes a training pass.
        x: samples, shape (n, *input_shape); n must be divisible by ``parts``.
        y: their targets, as the loss takes them, such as labels (n,).
        parts: number of equal parts.

    Returns:
        Estimates of (|G|^2, tr(S)).

    Raises:
        ValueError: if the samples cannot be divided into equal parts.
    """
    if len(x) % parts:
        raise ValueError(f"noise_scale: expected samples that {parts} parts share evenly; got {len(x)}")
    small, large = len(x) // parts, len(x)
    mean, square = np.zeros(net.params.size), 0.0
    for part in np.arange(large).reshape(parts, small):
        net.loss_and_grads(x[part], y[part])
        gradient = net.grads.astype(np.float64)
        gradient[: net.decaying] -= penalty_gradient(net)
        mean += gradient / parts
        square += float(gradient @ gradient) / parts
    square_of_mean = float(mean @ mean)
    gradient_square = (large * square_of_mean - small * square) / (large - small)
    return gradient_square, (square - square_of_mean) / (1 / small - 1 / large)


def penalty_gradient(net: Net) -> np.ndarray:
    """Return the gradient of the penalties with respect to the tensors tagged ``decay``."""
    weights = net.params[: net.decaying].astype(np.float64)
    return net.l2 * weights + net.l1 * np.sign(weights)
