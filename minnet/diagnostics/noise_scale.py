"""How noisy the gradient of a batch is."""

import numpy as np

from .. import checks, streams
from ..data import Data, check_data
from ..net.net import Net
from ..training.callbacks import Record, Run
from ..training.moments import When
from .monitor import SELDOM, Monitor, Twin, samples
from .range_test import moving_average


class NoiseScale(Monitor):
    """The simple noise scale tr(S) / |G|^2 of McCandlish, Kaplan, Amodei 2018 (arXiv:1812.06162), eq. 2.9.

    G is the gradient of the data loss over all data, S the covariance of one sample's gradient: the batch size at which
    noise and gradient are of one size. Much smaller batches average little of what they could, much larger ones add
    little. It is estimated from two batch sizes (appendix A.1): ``parts`` small batches and the large one that they
    make together,

        |G|^2 = (B |g_B|^2 - b |g_b|^2) / (B - b),    tr(S) = (|g_b|^2 - |g_B|^2) / (1/b - 1/B),

    with the mean over the small batches for |g_b|^2. Both are unbiased (but for samples drawn without replacement from
    few data), their quotient is not, and the first may come out below 0. Dropout's noise counts as part of the
    samples'; with batch norm a batch's gradient is no mean over its samples, and the estimate is one of how it depends
    on the batch size. Works on a copy of the net; each record costs ``parts`` training passes.

    Arrays: ``"gradient"``, |G|^2, and ``"noise"``, tr(S), of shape (records,), as estimated after the step's update.

    Args:
        batch_size: b, samples in a small batch.
        parts: small batches a record, at least 2; B = parts * b.
        data: (x, y); the training data if None.
        at: see ``Monitor``.
        seed: of the samples, which are a function of it and of the step.
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

    def on_step(self, trainer: Run, record: Record) -> None:
        """Draw the samples and compare the gradients of the copy."""
        if not self.due(trainer, record.step):
            return
        size = trainer.batches.size if self.data is None else len(self.data[0])
        large = self.parts * self.batch_size
        if large > size:
            raise ValueError(f"NoiseScale: expected parts * batch_size of at most {size} samples; got {large}")
        drawn = streams.generator(self.seed, "samples of NoiseScale", record.step).choice(size, large, replace=False)
        x, y = samples(trainer, self.data, drawn)
        gradient, noise = noise_scale(self._twin.of(trainer.net), x, y, self.parts)
        self.record(record.step, {"gradient": gradient, "noise": noise})

    def shapes(self, net: Net) -> dict[str, tuple[int, ...]]:
        return {"gradient": (), "noise": ()}

    def scale(self, smooth: float = 0.0) -> np.ndarray:
        """tr(S) / |G|^2 in samples, shape (records,), each averaged over the records with this weight of the past.

        Averages make sense where the records are near one another: |G|^2 falls by orders of magnitude in a run, and
        the past would drown the present. NaN where |G|^2 is not above 0: too few samples to tell a gradient from noise.
        """
        checks.fraction("NoiseScale.scale", "smooth", smooth)
        gradient, noise = (moving_average(self[name], smooth) for name in ("gradient", "noise"))
        return np.divide(noise, gradient, out=np.full_like(noise, np.nan), where=gradient > 0)


def noise_scale(net: Net, x: np.ndarray, y: np.ndarray, parts: int) -> tuple[float, float]:
    """Estimates (|G|^2, tr(S)) from the samples cut into so many equal parts; see ``NoiseScale``.

    Takes a training pass of the net for each part, so give it a copy: ``net.twin()``. Penalties are left out.
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
    """The penalties' part of the gradient, of the tensors tagged ``decay``."""
    weights = net.params[: net.decaying].astype(np.float64)
    return net.l2 * weights + net.l1 * np.sign(weights)
