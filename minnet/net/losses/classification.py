"""Losses of classes: targets that are integer labels."""

from typing import Any

import numpy as np

from ...base import checks
from ...kernels.arrays import flat
from ...kernels.passes.losses.hits import hits
from ...kernels.passes.losses.targets import are_labels
from ...layers.spec import Shape
from .base import Loss


def _remedy(labels: np.ndarray, expected_axes: int) -> str:
    """Return a hint, for an error, how to convert values that resemble labels."""
    if expected_axes > 1:
        return " (for one label a sample, the layers end in one axis of classes)" if labels.ndim == 1 else ""
    if labels.ndim == 2 and labels.shape[1] == 1:
        return " (for a column of labels, give y[:, 0])"
    if labels.ndim == 2:
        return " (for one-hot rows, give y.argmax(1))"
    if labels.ndim == 1 and labels.dtype.kind in "fb":
        return " (for whole numbers, give y.astype(int))"
    return ""


class Classification(Loss):
    """A loss whose targets are integer labels of shape (n,), each one of ``outputs`` classes."""

    def check_outputs(self, out_shape: Shape) -> None:
        super().check_outputs(out_shape)
        if out_shape[0] < 2:
            raise ValueError(f"{self}: expected at least two outputs, one a class; got {out_shape[0]} (see Logistic)")

    def check_targets(self, targets: Any, out_shape: Shape, dtype: np.dtype) -> np.ndarray:
        labels = self._integers(targets, out_shape)
        if not are_labels(flat(labels), out_shape[-1], 0):
            raise ValueError(
                f"{self}: expected labels from 0 to {out_shape[-1] - 1}; got {labels.min()} to {labels.max()}"
            )
        return labels

    def _integers(self, targets: Any, out_shape: Shape) -> np.ndarray:
        """Return labels as C-contiguous int64 of shape (n, *positions); ``out_shape`` is (*positions, classes)."""
        labels, classes = checks.array(self, "targets", targets), out_shape[-1]
        fits = labels.ndim > 0 and labels.shape[1:] == out_shape[:-1]
        if labels.dtype == np.int64 and fits and labels.flags.c_contiguous:
            return labels  # as a Trainer gives them, at every step
        if labels.dtype.kind not in "iu":
            came = f"dtype {labels.dtype}, shape {labels.shape}"
            raise TypeError(f"{self}: expected integer labels; got {came}{_remedy(labels, len(out_shape))}")
        if not fits:
            shape = f"(n, {', '.join(map(str, out_shape[:-1]))})" if out_shape[:-1] else "(n,)"
            hint = _remedy(labels, len(out_shape))
            raise ValueError(f"{self}: expected labels of shape {shape}; got shape {labels.shape}{hint}")
        if labels.size and labels.max() > np.iinfo(np.int64).max:  # such a uint64 would become negative
            raise ValueError(f"{self}: expected labels from 0 to {classes - 1}; got {labels.min()} to {labels.max()}")
        return np.ascontiguousarray(labels, np.int64)

    def hits(self, scores: np.ndarray, targets: np.ndarray, out: np.ndarray) -> bool:
        hits(scores, targets, out)
        return True
