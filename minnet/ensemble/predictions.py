"""Predictions of several networks of one architecture, each by itself and combined.

The parameters of the members are rows of one array (K, P), their buffers rows of a second one. The members take turns
in the memory of one net: each chunk of the data passes through all members before the next chunk. There is therefore
one set of activations for any K.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..base import checks
from ..net.losses import Loss
from ..net.net import Net
from . import answers

_CHUNK = 256  # samples per chunk


class Predictions:
    """Base class of ``Ensemble``: members and what they predict.

    Attributes:
        params, buffers: arrays (K, P) and (K, B).
        weights: float64 (K,), which sum to 1.
    """

    params: np.ndarray
    buffers: np.ndarray
    weights: np.ndarray
    _net: Net  # its memory is that of all members

    def __len__(self) -> int:
        return len(self.params)

    def member(self, i: int) -> Net:
        """Return a member as a net with memory of its own.

        Args:
            i: number of the member, from 0 to K - 1; negative ones count from the end.
        """
        net = self._net.twin()
        net.params, net.buffers = self.params[i], self.buffers[i]
        return net

    def scores(self, x: Any, *, batch_size: int = _CHUNK) -> np.ndarray:
        """Return the scores of every member in a new array.

        Args:
            x: samples, shape (n, *input_shape).
            batch_size: number of samples of a pass, which decides the memory.

        Returns:
            Scores (K, n, *output_shape) in the dtype of the nets.
        """
        result = np.empty((len(self), *np.shape(x)[:1], *self._net.output_shape), self._net.dtype)
        with self._net.lock:
            for part, k, scores in self._passes(x, batch_size):
                result[k, part] = scores
        return result

    def probabilities(self, x: Any, *, batch_size: int = _CHUNK) -> np.ndarray:
        """Return the probabilities of every member.

        Args:
            x, batch_size: as in ``scores``.

        Returns:
            Float64 (K, n, outputs).

        Raises:
            ValueError: the nets have another loss than SoftmaxCrossEntropy or Logistic.
        """
        way = answers.check_way("Ensemble", self._loss, "probabilities")
        return answers.in_way(way, self.scores(x, batch_size=batch_size), self._loss)

    def predict(self, x: Any, how: str | None = None, *, batch_size: int = _CHUNK) -> np.ndarray:
        """Return the combined prediction of the members, float64 (n, *output_shape), in one pass over x.

        Args:
            x: samples, shape (n, *input_shape).
            how: ``"probabilities"`` for the weighted mean of the members' probabilities: of classes with
                SoftmaxCrossEntropy, of each output by itself with Logistic. ``"scores"`` for the weighted mean of the
                members' outputs, with any loss. With SoftmaxCrossEntropy these are logits, and their softmax is the
                geometric mean of the probabilities, up to a factor. ``"votes"``, for nets that choose among classes,
                also by a hinge loss, for the share of weights whose members choose each class. If several classes have
                the largest share, ``classify`` decides between them; argmax does not. None means
                ``"probabilities"`` for nets that have them and ``"scores"`` for all others.
            batch_size: samples per pass.
        """
        return self._together(x, answers.check_way("Ensemble", self._loss, how), batch_size)[0]

    def classify(self, x: Any, how: str | None = None, *, batch_size: int = _CHUNK) -> np.ndarray:
        """Return the classes that the members choose together.

        If votes are equal, up to 1e-9 of all weights, the tied class with the largest mean probability is chosen, or
        with the largest mean score if there are no probabilities. If these are equal too, the lowest class is chosen.

        Args:
            x, batch_size: as in ``scores``.
            how: the way of ``predict``; None for the first that the nets have.

        Returns:
            Classes, int64 (n,) or (n, *positions).

        Raises:
            ValueError: the nets do not choose among classes, or do not have this way.
        """
        how = answers.check_way("Ensemble", self._loss, how)
        if "votes" not in answers.ways(self._loss):
            raise ValueError(f"Ensemble.classify: expected nets that choose among classes; got some with {self._loss}")
        together, means = self._together(x, how, batch_size)
        if how == "votes":
            tied = together >= together.max(axis=-1, keepdims=True) - 1e-9
            together = np.where(tied, means, -np.inf)
        return together.argmax(axis=-1)

    def _together(self, x: Any, how: str, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the result of ``predict``, and for votes also the means that decide ties."""
        averaged = answers.ways(self._loss)[0] if how == "votes" else how
        total = np.zeros((*np.shape(x)[:1], *self._net.output_shape))
        means = np.zeros_like(total) if how == "votes" else total
        with self._net.lock:
            for part, k, scores in self._passes(x, batch_size):
                means[part] += self.weights[k] * answers.in_way(averaged, scores, self._loss)
                if how == "votes":
                    votes = np.arange(scores.shape[-1]) == scores.argmax(axis=-1)[..., np.newaxis]
                    total[part] += self.weights[k] * votes
        return total, means

    def _passes(self, x: Any, batch_size: int) -> Iterable[tuple[slice, int, np.ndarray]]:
        """Iterate over (samples, member, scores), chunk by chunk and member by member.

        The scores are valid until the next pass. The caller holds the lock of the net, so threads take turns.
        """
        checks.count("Ensemble", "batch_size", batch_size)
        checks.dense("Ensemble", "x", x)
        net = self._net
        for start in range(0, max(len(x), 1), batch_size):  # for no samples, the net raises the error
            chunk = net.as_input(x[start : start + batch_size])
            for k in range(len(self)):
                net.params, net.buffers = self.params[k], self.buffers[k]
                yield slice(start, start + len(chunk)), k, net.forward(chunk)

    @property
    def _loss(self) -> Loss | None:
        return self._net.loss_function

    def disagreement(self, x: Any) -> np.ndarray:
        """Return how often two members make different choices.

        Args:
            x: samples, shape (n, *input_shape).

        Returns:
            Shares of the samples, from 0 to 1, shape (K, K).
        """
        chosen = answers.choices("Ensemble", self.scores(x), self._loss)
        chosen = chosen.reshape(*chosen.shape[:2], -1)
        return np.array([[(a != b).any(axis=1).mean() for b in chosen] for a in chosen])
