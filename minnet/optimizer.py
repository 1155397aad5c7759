"""An update rule at work: its state, its step counter, decay exemptions and gradient clipping."""

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from . import checks
from .kernels import flat as kernels
from .net import Net
from .rules import Rule


class Optimizer:
    """Applies a rule to a net's parameters, or to any two flat arrays (``Optimizer.over``).

    Args:
        net: its ``params`` are updated from its ``grads``; decay spares what is not tagged ``decay``, and the net's
            norm bound is applied after each step.
        rule: an update rule, such as ``Adam()``.
        weight_decay: decoupled decay: each step multiplies by 1 - lr * weight_decay as well.
        clip_norm: bound on the Euclidean norm of the whole gradient; a longer one is scaled down to it (Pascanu,
            Mikolov, Bengio 2013, algorithm 1). None for no bound.

    Attributes:
        steps: number of steps taken.
        state: array of shape (slots, P); ``named_state()`` gives it by name.
        grad_norm: norm of the last gradient before clipping; NaN unless clip_norm is set.
    """

    def __init__(self, net: Net, rule: Rule, *, weight_decay: float = 0.0, clip_norm: float | None = None) -> None:
        if not isinstance(net, Net):
            raise TypeError(f"Optimizer: expected a Net (see Optimizer.over for arrays); got {type(net).__name__}")
        self._set_up(net.params, net.grads, net.decaying, rule, weight_decay, clip_norm)
        self._after_step: Callable[[], None] | None = net.apply_constraints if net.max_norm is not None else None

    @classmethod
    def over(
        cls,
        params: np.ndarray,
        grads: np.ndarray,
        rule: Rule,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> "Optimizer":
        """An optimizer of any two flat, contiguous arrays of one size and dtype (float32 or float64)."""
        for name, array in (("params", params), ("grads", grads)):
            if not isinstance(array, np.ndarray):
                raise TypeError(f"Optimizer: expected {name} as a flat array; got {type(array).__name__}")
            if array.ndim != 1 or array.dtype not in (np.float32, np.float64):
                raise ValueError(
                    f"Optimizer: expected {name} as a flat array of float32 or float64; "
                    f"got shape {array.shape}, dtype {array.dtype}"
                )
            if not array.flags.c_contiguous or not array.flags.writeable:
                raise ValueError(f"Optimizer: expected {name} contiguous and writeable; got strides {array.strides}")
        if params.shape != grads.shape or params.dtype != grads.dtype:
            raise ValueError(
                f"Optimizer: expected params and grads of one shape and dtype; got {params.shape} {params.dtype} "
                f"and {grads.shape} {grads.dtype}"
            )
        optimizer = cls.__new__(cls)
        optimizer._set_up(params, grads, params.size, rule, weight_decay, clip_norm)
        optimizer._after_step = None
        return optimizer

    def _set_up(
        self,
        params: np.ndarray,
        grads: np.ndarray,
        decaying: int,
        rule: Rule,
        weight_decay: float,
        clip_norm: float | None,
    ) -> None:
        if not isinstance(rule, Rule):
            raise TypeError(f"Optimizer: expected a Rule, such as Adam(); got {rule!r}")
        self.rule = rule
        self.weight_decay = checks.non_negative("Optimizer", "weight_decay", weight_decay)
        self.clip_norm = None if clip_norm is None else checks.positive("Optimizer", "clip_norm", clip_norm)
        self.steps = 0
        self.grad_norm = math.nan
        self._params, self._grads = params, grads
        self._state = np.zeros((len(rule.slots), params.size), params.dtype)
        rule.start(params, self._state)
        # Each run of elements with one decay is a pass of its own; without decay there is one.
        runs = [(slice(0, decaying), self.weight_decay), (slice(decaying, None), 0.0)]
        if not self.weight_decay:
            runs = [(slice(None), 0.0)]
        self._runs = [
            (params[part], grads[part], self._state[:, part], decay) for part, decay in runs if params[part].size
        ]

    def __reduce__(self) -> NoReturn:
        # A copy would update arrays that no net sees.
        raise TypeError(
            "Optimizer: expected to stay with its arrays; copy the net, then state and steps of its optimizer"
        )

    @property
    def state(self) -> np.ndarray:
        """The rule's whole state (slots, P). Assigning copies into place."""
        return self._state

    @state.setter
    def state(self, values: np.ndarray) -> None:
        if np.shape(values) != self._state.shape:
            raise ValueError(f"Optimizer: expected state of shape {self._state.shape}; got {np.shape(values)}")
        np.copyto(self._state, values, casting="same_kind")

    def named_state(self) -> dict[str, np.ndarray]:
        """Views into the state by the rule's slot names, each of shape (P,)."""
        return dict(zip(self.rule.slots, self._state, strict=True))

    def step(self, lr: Any) -> None:
        """One update with learning rate ``lr``: a number, or a schedule, which is asked for this step (from 0).

        ValueError for a rate that is negative or not finite; FloatingPointError if clipping meets a gradient that is
        not finite. Neither changes anything.
        """
        rate = checks.non_negative("Optimizer.step", "lr", lr(self.steps) if callable(lr) else lr)
        if self.clip_norm is not None:
            self._clip(self.clip_norm)
        for params, grads, state, decay in self._runs:
            self.rule.apply(params, grads, state, lr=rate, t=self.steps + 1, decay=decay)
        self.steps += 1
        if self._after_step is not None:
            self._after_step()

    def _clip(self, bound: float) -> None:
        norm = math.sqrt(kernels.sum_of_squares(self._grads))
        if not math.isfinite(norm):
            largest = np.abs(self._grads).max()
            if not math.isfinite(largest):
                raise FloatingPointError(f"Optimizer: expected a finite gradient to clip; got norm {norm}")
            # The squares overflowed, not the gradient itself.
            norm = float(largest) * math.sqrt(kernels.sum_of_squares(self._grads / largest))
        self.grad_norm = norm
        if norm > bound:
            kernels.scale(self._grads, self._grads.dtype.type(bound / norm))
