"""What a loss is."""

from typing import Any

import numpy as np

from ...base import checks
from ...base.guide import Guided
from ...kernels.passes.flat import fill
from ...kernels.passes.losses.targets import share_out
from ...layers.spec import Shape


class Loss(Guided):
    """Base class of losses. A loss is a frozen dataclass that overrides the methods below.

    ``loss(scores, targets)`` returns the value; ``value_and_gradient`` computes the gradient as well. The value is the
    mean of the losses of n samples, or the mean with the weights of the samples: sum(w_i * l_i) / sum(w_i).

    Scores are the output of the net, of shape (n, outputs), in its dtype, float32 or float64. A loss may score each
    position of a sample, such as each step of a sequence: scores (n, ..., outputs), and targets and weights for
    n * positions elements.
    """

    def check_outputs(self, out_shape: Shape) -> None:
        """Check that the loss can score a net with these outputs.

        Args:
            out_shape: output shape of the net, without the batch axis.

        Raises:
            ValueError: the loss cannot score such outputs.
        """
        if len(out_shape) != 1:
            raise ValueError(f"{self}: expected the layers to end in one axis of outputs; got shape {out_shape}")

    def positions(self, out_shape: Shape) -> int:
        """Return how many targets a sample has: 1, unless the loss scores each position of a sequence or an image.

        Args:
            out_shape: output shape of the net, without the batch axis.

        Returns:
            The number of targets of a sample.
        """
        return 1

    def check_targets(self, targets: Any, out_shape: Shape, dtype: np.dtype) -> np.ndarray:
        """Return the targets as the C-contiguous array that the kernel takes.

        Args:
            targets: targets of n samples; the docstring of the loss states shape and dtype.
            out_shape: output shape of the net, without the batch axis.
            dtype: dtype of the scores.

        Returns:
            An array (n, ...): int64 labels, or numbers of this dtype. It may be ``targets`` itself.

        Raises:
            TypeError, ValueError: the targets do not fit the loss.
        """
        raise NotImplementedError(f"{type(self).__name__} must define check_targets(targets, out_shape, dtype)")

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        """Return the value of the loss and overwrite ``dscores`` with its gradient.

        A sample of weight 0 is left out: it adds nothing to the value, even if its loss is infinite, and its gradient
        is 0.

        Args:
            scores: shape (n, outputs), or (n, ..., outputs) for a loss of positions.
            targets: as ``check_targets`` returns them.
            weights: shape (n * positions,), in the dtype of the scores, as ``weigh`` fills them.
            dscores: an array of the shape and dtype of the scores; every element is overwritten.

        Returns:
            The value, sum(weights_i * l_i).

        Raises:
            NotImplementedError: the class does not define it. The arrays are not checked here.
        """
        raise NotImplementedError(f"{type(self).__name__} must define apply(scores, targets, weights, dscores)")

    def weigh(self, targets: np.ndarray, sample_weight: Any, out: np.ndarray) -> None:
        """Fill ``out`` with the weights of the samples, scaled to sum to 1.

        Args:
            targets: as ``check_targets`` returns them.
            sample_weight: n numbers of at least 0; None for equal weights.
            out: shape (n * positions,), in the dtype of the scores. All positions of a sample share its weight.

        Raises:
            TypeError, ValueError: the weights do not fit, or no sample counts.
        """
        if sample_weight is None:
            fill(out, out.dtype.type(1.0 / out.size))
            return
        checks.dense(self, "sample weights", sample_weight)
        try:
            weights = np.asarray(sample_weight, np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"{self}: expected sample weights as numbers; got {sample_weight!r}") from None
        if weights.shape != (len(targets),):
            raise ValueError(f"{self}: expected sample weights of shape {(len(targets),)}; got shape {weights.shape}")
        if not share_out(weights, out):
            if not np.isfinite(weights.sum()) or weights.min() < 0:
                raise ValueError(f"{self}: expected finite weights of at least 0; got {weights}")
            raise self.undefined(len(weights))

    def uncounted(self) -> str:
        """Return, for errors, which samples add nothing to the value.

        Returns:
            A text such as "of weight 0".
        """
        return "of weight 0"

    def undefined(self, n: int) -> ValueError:
        """Return the error for samples of which none counts.

        Args:
            n: number of samples.

        Returns:
            A ValueError, which the caller raises.
        """
        return ValueError(
            f"{self}: expected samples that count, as the mean loss of none is undefined; got {n}, all "
            f"{self.uncounted()}"
        )

    def counting(self, targets: np.ndarray, sample_weight: Any, positions: int) -> np.ndarray:
        """Return which samples add to the value, at one position at least.

        Args:
            targets: as ``check_targets`` returns them.
            sample_weight: shape (n,); None for equal weights.
            positions: number of targets of a sample.

        Returns:
            Booleans of shape (n,).

        Raises:
            ValueError: no sample counts.
        """
        weights = np.empty(len(targets) * positions)
        self.weigh(targets, None if sample_weight is None else np.asarray(sample_weight) > 0, weights)
        return np.logical_or.reduce(weights.reshape(len(targets), -1) > 0, axis=1)

    def hits(self, scores: np.ndarray, targets: np.ndarray, out: np.ndarray) -> bool:
        """Fill ``out`` with whether each sample, or position, is classified correctly.

        What does not count is marked False.

        Args:
            scores: shape (n, outputs), or (n, ..., outputs) for a loss of positions.
            targets: as ``check_targets`` returns them.
            out: booleans (n * positions,); unchanged if the loss does not classify.

        Returns:
            False if the loss does not classify, else True.
        """
        return False

    def leave_out(self, targets: np.ndarray, weights: np.ndarray) -> None:
        """Set ``weights`` to 0 for what does not count.

        The accuracy, and the share of a batch in the mean of an epoch, follow from what is left.

        Args:
            targets: as ``check_targets`` returns them.
            weights: numbers or booleans of shape (n * positions,), which are changed in place.
        """

    def leaves_out(self) -> bool:
        """Return whether there may be targets that do not count, which ``leave_out`` then knows."""
        return type(self).leave_out is not Loss.leave_out

    def winners(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """Return on which smooth piece of the loss each score is, as the gradient decides it. See ``Layer.winners``.

        Args:
            scores: shape (n, outputs).
            targets: as ``check_targets`` returns them.

        Returns:
            Numbers or booleans of the shape of the scores; None for a smooth loss.
        """
        return None

    def value_and_gradient(
        self, scores: np.ndarray, targets: Any, dscores: np.ndarray, sample_weight: Any = None
    ) -> float:
        """Return the value of the loss and overwrite ``dscores`` with its gradient, after checking all arguments.

        Args:
            scores: shape (n, outputs), float32 or float64; for a loss of positions (n, ..., outputs).
            targets: as the loss takes them.
            dscores: an array of the shape and dtype of ``scores``.
            sample_weight: shape (n,); None for equal weights.

        Returns:
            The value.

        Raises:
            TypeError, ValueError: scores, targets or weights do not fit; ``dscores`` is unchanged.
        """
        for name, array in (("scores", scores), ("dscores", dscores)):
            if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
                raise TypeError(f"{self}: expected {name} as an array of float32 or float64; got {array!r}")
            if array.ndim == 0 or len(array) == 0 or not array.flags.c_contiguous:
                raise ValueError(f"{self}: expected C-contiguous {name} of at least one row; got shape {array.shape}")
        if dscores.shape != scores.shape or dscores.dtype != scores.dtype or not dscores.flags.writeable:
            raise ValueError(
                f"{self}: expected a writeable dscores of shape {scores.shape} and dtype {scores.dtype}; "
                f"got shape {dscores.shape}, dtype {dscores.dtype}"
            )
        self.check_outputs(scores.shape[1:])
        checked = self.check_targets(targets, scores.shape[1:], scores.dtype)
        _check_length(self, checked, scores.shape[0])
        weights = np.empty(len(scores) * self.positions(scores.shape[1:]), scores.dtype)
        self.weigh(checked, sample_weight, weights)
        return self.apply(scores, checked, weights, dscores)

    def __call__(self, scores: np.ndarray, targets: Any, sample_weight: Any = None) -> float:
        scores = np.ascontiguousarray(scores)  # also takes a list of floats
        return self.value_and_gradient(scores, targets, np.empty_like(scores), sample_weight)


def _check_length(who: object, targets: np.ndarray, n: int) -> None:
    if targets.shape[0] != n:
        raise ValueError(f"{who}: expected as many targets as samples, {n}; got {targets.shape[0]}")


def with_outputs(who: object, values: np.ndarray, out_shape: Shape) -> np.ndarray:
    """Return targets as (n, outputs); they may be (n,) for one output."""
    if values.ndim == 1 and out_shape == (1,):
        values = values[:, np.newaxis]
    if values.ndim == 0 or values.shape[1:] != out_shape:
        raise ValueError(f"{who}: expected targets of shape (n, {out_shape[0]}); got shape {values.shape}")
    return values
