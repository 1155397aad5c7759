"""Combinators that bound the gradient before the inner rule uses it.

They change the gradient in place, as ``Optimizer(clip_norm=...)`` does, which is the usual way to get ``ClipNorm``. All
except ``ClipValue`` raise FloatingPointError for a gradient that is not finite, before parameters or state change.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...base import checks
from ...kernels.passes.flat import fill
from ...kernels.updates import gradients as kernels
from .base import Hyper, Run
from .combinators import Around


class _Sums(threading.local):
    """Scratch memory of ``add_norm``, for each thread."""

    def __init__(self) -> None:
        self.array = np.zeros(3)


_sums = _Sums()


@dataclass(frozen=True)
class ClipValue(Around):
    """Clip each element of the gradient by itself.

        g = min(max(g, -bound), bound)

    NaN stays NaN.

    Args:
        rule: the inner rule.
        bound: largest absolute value, above 0.

    State: none. Cost: 8 bytes.
    Source: Mikolov 2012.
    Conventions: PyTorch: ``clip_grad_value_``. Keras: ``clipvalue``. scikit-learn and CS231n do not have it.
    """

    bound: Hyper
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        super().check()
        checks.positive("ClipValue", "bound", self.bound)

    def refuses_spikes(self) -> bool:
        return False  # it has bounded the gradient

    def change_gradients(self, runs: Sequence[Run], *, t: int) -> None:
        for run in runs:
            kernels.clip_values(run.grads.reshape(-1), run.grads.dtype.type(self.bound))
        super().change_gradients(runs, t=t)


@dataclass(frozen=True)
class ClipTensorNorm(Around):
    """Scale down the gradient of each tensor whose norm is above ``bound``.

        g *= bound / |g|    if |g| > bound

    Args:
        rule: the inner rule.
        bound: largest Euclidean norm of the gradient of one tensor, above 0.

    State: none. Cost: 4 bytes, and 8 more if the norm is above the bound.
    Source: Pascanu, Mikolov, Bengio 2013, algorithm 1, for each tensor by itself. ``ClipNorm`` is the algorithm for
        all.
    Conventions: Keras: ``clipnorm``. PyTorch: ``clip_grad_norm_`` of one tensor, which divides by |g| + 1e-6.
        scikit-learn and CS231n do not have it.
    """

    bound: Hyper
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        super().check()
        checks.positive("ClipTensorNorm", "bound", self.bound)

    def refuses_spikes(self) -> bool:
        return False  # it has bounded the gradient

    def change_gradients(self, runs: Sequence[Run], *, t: int) -> None:
        for run in runs:
            flat_grads = run.grads.reshape(-1)
            for tensor in run.tensors:
                limit_norm("ClipTensorNorm", [flat_grads[tensor.start : tensor.stop]], self.bound)
        super().change_gradients(runs, t=t)


@dataclass(frozen=True)
class ClipNorm(Around):
    """Scale down the gradient of all tensors that the rule updates if its norm is above ``bound``.

        g *= bound / |g|    if |g| > bound

    As the rule of an optimizer, it uses the gradient of all tensors that are neither frozen nor in a group with a rule
    of its own. As the rule of a group, it uses the gradient of the group.

    Args:
        rule: the inner rule.
        bound: largest Euclidean norm, above 0.

    State: none. Cost: 4 bytes, and 8 more if the norm is above the bound.
    Source: Pascanu, Mikolov, Bengio 2013, algorithm 1.
    Conventions: PyTorch: ``clip_grad_norm_``, which divides by |g| + 1e-6. Keras: ``global_clipnorm``. scikit-learn and
        CS231n do not have it.
    """

    bound: Hyper
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        super().check()
        checks.positive("ClipNorm", "bound", self.bound)

    def refuses_spikes(self) -> bool:
        return False  # it has bounded the gradient

    def change_gradients(self, runs: Sequence[Run], *, t: int) -> None:
        limit_norm("ClipNorm", [run.grads.reshape(-1) for run in runs], self.bound)
        super().change_gradients(runs, t=t)


@dataclass(frozen=True)
class AdaptiveClip(Around):
    """Adaptive gradient clipping: the gradient G of a unit is at most ``clipping`` times as long as its weights W.

        G *= clipping * max(|W|, eps) / |G|    if |G| is larger than that

    A unit has all weights that lead to one output, that is, those of one index of the last axis. A tensor of one axis,
    such as biases, is one unit. The paper leaves out the last layer; use a group with a rule of its own for this.

    Args:
        rule: the inner rule.
        clipping: largest ratio of the norms, above 0.
        eps: least norm of the weights, above 0.

    State: none. Cost: 8 bytes, and 8 more if a norm is above its bound.
    Source: Brock et al. 2021, equation 3.
    Conventions: PyTorch, Keras, scikit-learn and CS231n do not have it.
    """

    clipping: Hyper = 0.01
    eps: Hyper = 1e-3
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        super().check()
        checks.positive("AdaptiveClip", "clipping", self.clipping)
        checks.positive("AdaptiveClip", "eps", self.eps)

    def change_gradients(self, runs: Sequence[Run], *, t: int) -> None:
        for run in runs:
            params, grads = run.params.reshape(-1), run.grads.reshape(-1)
            for tensor in run.tensors:
                by_unit = (-1, tensor.shape[-1]) if len(tensor.shape) > 1 and tensor.start < tensor.stop else (-1, 1)
                W, G = (array[tensor.start : tensor.stop].reshape(by_unit) for array in (params, grads))
                if not kernels.clip_units(W, G, float(self.clipping), float(self.eps)):
                    raise FloatingPointError(f"AdaptiveClip: expected finite weights and gradients; got {tensor.name}")
        super().change_gradients(runs, t=t)


def limit_norm(who: str, grads: Sequence[np.ndarray], bound: float, sums: np.ndarray | None = None) -> None:
    """Scale down flat arrays if their common Euclidean norm is above ``bound``.

    Args:
        who: name for error messages.
        grads: flat arrays, which are changed in place.
        bound: largest norm.
        sums: float64 array (3,), whose last element is set to the norm before scaling; scratch memory if None.

    Raises:
        FloatingPointError: the norm is not finite. The arrays have not changed.
    """
    sums = _sums.array if sums is None else sums
    fill(sums, 0.0)
    finite = True
    for array in grads:
        finite = kernels.add_norm(array, sums)
    if not finite:
        raise FloatingPointError(f"{who}: expected a finite gradient to clip; got norm {float(sums[2])}")
    for array in grads:
        kernels.limit(array, sums, float(bound))
