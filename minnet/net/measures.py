"""What is measured with a net: its loss on data, its accuracy, its scores."""

from typing import Any

import numpy as np

from ..base import checks
from ..kernels.passes.flat import count, fill
from ..kernels.passes.losses.targets import weight_of
from .losses import Loss
from .objective import Objective
from .passes import CHUNK, Passes


class Measures(Passes):
    """Figures of data, some samples at a time, so that memory does not grow with the data."""

    loss_function: Loss | None

    def loss(self, x: np.ndarray, y: np.ndarray, *, sample_weight: Any = None) -> float:
        """Return the objective (data loss + penalties) of x and y in evaluation mode.

        Args:
            x: samples, shape (n, *input_shape), of a dtype that the net's can hold.
            y: targets, as the loss takes them, such as labels (n,).
            sample_weight: shape (n,); None for equal weights.
        """
        self.objective, _ = self._measure(x, y, sample_weight, CHUNK)
        return self.objective.total

    def evaluate(
        self, x: np.ndarray, y: np.ndarray, *, sample_weight: Any = None, batch_size: int = CHUNK
    ) -> dict[str, float]:
        """Evaluate the net on x and y, ``batch_size`` samples at a time.

        Args:
            x: samples, shape (n, *input_shape), of a dtype that the net's can hold.
            y: targets, as the loss takes them, such as labels (n,).
            sample_weight: shape (n,); None for equal weights.
            batch_size: number of samples of a pass. It decides the memory, and hardly the figures.

        Returns:
            ``"loss"`` (data loss + penalties), ``"data_loss"``, and ``"accuracy"`` if the loss classifies.
        """
        objective, accuracy = self._measure(x, y, sample_weight, batch_size)
        result = {"loss": objective.total, "data_loss": objective.data}
        if accuracy is not None:
            result["accuracy"] = accuracy
        return result

    def correct(self, y: np.ndarray, *, sample_weight: np.ndarray | None = None) -> float | None:
        """Return how many samples, or positions, the last forward pass classified as in y.

        None if the loss does not classify. With weights (n,), return the sum of the weights of these samples.

        Args:
            y: targets of that pass, as the loss takes them, such as labels (n,).
            sample_weight: weight of each target, shape (n * positions,); None to count.

        Raises:
            ValueError: there was no forward pass.
        """
        if self._seen is None:
            raise ValueError("correct: expected a forward pass first; got none")
        _, batch = self._seen
        if not self._loss().hits(batch.scores, self._check_targets(y, len(batch.scores)), batch.hits):
            return None
        if sample_weight is None:
            return int(count(batch.hits))
        return float(weight_of(batch.hits, np.asarray(sample_weight, np.float64)))

    def counted(self, y: Any, *, sample_weight: np.ndarray | None = None) -> float:
        """Return how many targets count in loss and accuracy: all except those with a label that the loss ignores.

        Args:
            y: targets, as the loss takes them, such as labels (n,).
            sample_weight: weight of each sample, shape (n,); None to count.

        Returns:
            A whole number of up to n * positions; with weights, the sum of the weights of the targets that count.
        """
        loss = self._loss()
        targets = loss.check_targets(y, self.output_shape, self.dtype)
        if sample_weight is None and not loss.leaves_out():
            return len(targets) * self.positions
        with self.lock:
            marks = self._batch(len(targets)).counts
            fill(marks, True)
            loss.leave_out(targets, marks)
            if sample_weight is None:
                return int(count(marks))
            return float(weight_of(marks, np.asarray(sample_weight, np.float64)))

    def counting(self, y: Any, *, sample_weight: Any = None) -> np.ndarray:
        """Return which samples add to the loss, booleans of shape (n,): not those of weight 0 or with ignored labels.

        Args:
            y: targets, as the loss takes them, such as labels (n,).
            sample_weight: shape (n,), at least 0; None for equal weights.

        Raises:
            TypeError, ValueError: an argument does not fit, or no sample counts.
        """
        targets = self._loss().check_targets(y, self.output_shape, self.dtype)
        return self._loss().counting(targets, sample_weight, self.positions)

    def predict(self, x: np.ndarray, *, batch_size: int = CHUNK) -> np.ndarray:
        """Return the scores in a new array, computed ``batch_size`` samples at a time.

        Args:
            x: samples, shape (n, *input_shape), of a dtype that the net's can hold.
            batch_size: number of samples of a pass, which decides the memory.

        Returns:
            Scores of shape (n, *output_shape), in the dtype of the net.
        """
        self._check_shape(x)
        checks.count("predict", "batch_size", batch_size)
        self.warn_of_bytes(checks.array("Net", "input", x))
        scores = np.empty((len(x), *self.output_shape), self.dtype)
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            with self.lock:
                scores[part] = self._forward(self.as_input(x[part]), training=False)
        return scores

    def _measure(self, x: np.ndarray, y: Any, sample_weight: Any, batch_size: int) -> tuple[Objective, float | None]:
        loss = self._loss()
        self._check_shape(x)
        self.warn_of_bytes(checks.array("Net", "input", x))
        checks.count("evaluate", "batch_size", batch_size)
        targets = self._check_targets(y, len(x))
        weights = np.empty((len(x), self.positions), np.float64)
        loss.weigh(targets, sample_weight, weights.reshape(-1))
        # The accuracy uses the sample weights without the class weights. Without weights, hits are only counted.
        counted = None
        if sample_weight is not None:
            counted = np.repeat(np.array(sample_weight, np.float64), self.positions)
            loss.leave_out(targets, counted)
        data, right, counts = 0.0, 0.0, False
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            with self.lock:
                scores = self._forward(self.as_input(x[part]), training=False)
                batch = self._batch(len(scores))
                # Weights sum to 1 within the chunk, which keeps small weights exact in float32.
                share = float(weights[part].sum())
                if share > 0:
                    np.divide(weights[part].reshape(-1), share, out=batch.weights, casting="same_kind")
                    data += share * float(loss.apply(scores, targets[part], batch.weights, batch.dscores))
                counts = loss.hits(scores, targets[part], batch.hits)
                if not counts:
                    continue
                if counted is None:
                    right += count(batch.hits)
                else:
                    right += float(counted.reshape(weights.shape)[part].reshape(-1) @ batch.hits)
        if not counts:
            return Objective(data, *self.penalties()), None
        if counted is None:
            marks = np.ones(weights.size, np.bool_)
            loss.leave_out(targets, marks)
            return Objective(data, *self.penalties()), right / int(count(marks))
        return Objective(data, *self.penalties()), right / float(counted.sum())

    def _loss(self) -> Loss:
        if self.loss_function is None:
            raise ValueError("Net: expected a net built with loss=...; this one has none")
        return self.loss_function

    def _check_targets(self, y: Any, n: int) -> np.ndarray:
        targets = self._loss().check_targets(y, self.output_shape, self.dtype)
        if len(targets) != n:
            raise ValueError(f"Net: expected x and y of one length; got {n} samples in x, {len(targets)} in y")
        return targets
