"""Combinators: rules around another rule. A feature that several rules can share is defined once.

``LookAhead(ClipNorm(Adam(), bound=1.0), k=5)`` reads from the outside in: the outermost combinator receives the
gradient first. A cost is stated in bytes moved per parameter in float32, in addition to those of the inner rule.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np

from ...base import checks, streams
from ...kernels.updates import gradients as kernels
from ...kernels.updates.means import squares_fit
from ...layers.spec import Tensor
from .base import Hyper, Rule, Run, State, inside
from .sgd import NesterovLookAhead
from .spikes import SHORT, refusal


@dataclass(frozen=True)
class Around(Rule):
    """Base class of combinators. It delegates everything to the inner rule; subclasses override what they change.

    Args:
        rule: the inner rule.

    State: the ``slots`` of the combinator, followed by the state of the inner rule.
    """

    rule: Rule

    def check(self) -> None:
        who = type(self).__name__
        if not isinstance(self.rule, Rule):
            raise TypeError(f"{who}: expected a Rule inside, such as Adam(); got {self.rule!r}")
        if self.rule.searches:
            raise ValueError(f"{who}: expected a rule that takes one gradient a step; got {self.rule!r}")

    def is_shaped(self) -> bool:
        return self.rule.is_shaped()

    def refuses_spikes(self) -> bool:
        return self.rule.refuses_spikes()

    def updates(self, steps: int) -> int:
        return self.rule.updates(steps)

    def slot_names(self) -> tuple[str, ...]:
        names = list(self.slots)
        for name in self.rule.slot_names():
            names.append(inside(name, names))
        return tuple(names)

    def number_names(self) -> tuple[str, ...]:
        return self.rule.number_names()

    def choose(self, tensor: Tensor) -> Rule:
        chosen = self.rule.choose(tensor)
        return self if chosen is self.rule else replace(self, rule=chosen)

    def start(self, params: np.ndarray, state: State) -> None:
        self.rule.start(params, self._inner(state))

    def change_gradients(self, runs: Sequence[Run], *, t: int) -> None:
        self.rule.change_gradients(self._inner_runs(runs), t=t)

    def prepare(self, runs: Sequence[Run], *, lr: float, t: int) -> None:
        self.rule.prepare(self._inner_runs(runs), lr=lr, t=t)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        self.rule.apply(params, grads, self._inner(state), lr=lr, t=t, decay=decay)

    def evaluated(self, params: np.ndarray, state: State) -> np.ndarray | None:
        return self.rule.evaluated(params, self._inner(state))

    def _inner(self, state: State) -> State:
        return state[len(self.slots) :]

    def _inner_runs(self, runs: Sequence[Run]) -> Sequence[Run]:
        return [replace(run, state=self._inner(run.state)) for run in runs] if self.slots else runs


@dataclass(frozen=True)
class LookAhead(Around):
    """Look-ahead: every k steps, slow weights move towards the parameters, and the parameters continue from there.

        slow += alpha * (p - slow)
        p = slow

    ``slow`` starts as the parameters. As in the paper, it is the point to predict with, so validation uses it. A run
    that ends between two synchronisations loses the steps since the last one. A synchronisation does not change the
    state of the inner rule, which is the default of the paper.

    A rule that computes the parameters from its state (``NesterovLookAhead``, or a rule that predicts at a point of its
    own) cannot be the inner rule, because it would undo the synchronisation.

    Args:
        rule: the inner rule.
        k: number of steps between two synchronisations; 5 or 10 in the paper.
        alpha: share of the way to the parameters, in (0, 1]; 0.5 or 0.8 in the paper.

    State: ``slow``. Cost: 16 bytes every k steps; slow and p are read and written.
    Source: Zhang, Lucas, Hinton, Ba 2019, algorithm 1.
    Conventions: PyTorch, Keras, scikit-learn and CS231n do not have it.
    """

    k: int = 5
    alpha: Hyper = 0.5
    slots: ClassVar[tuple[str, ...]] = ("slow",)

    def check(self) -> None:
        super().check()
        checks.count("LookAhead", "k", self.k)
        checks.share("LookAhead", "alpha", self.alpha)
        innermost = self.rule
        while type(innermost).evaluated is Around.evaluated:
            innermost = innermost.rule  # type: ignore[attr-defined]  # which only an Around has
        if isinstance(innermost, NesterovLookAhead) or type(innermost).evaluated is not Rule.evaluated:
            raise ValueError(f"LookAhead: expected a rule whose parameters may be moved; got {innermost!r}")

    def start(self, params: np.ndarray, state: State) -> None:
        np.copyto(state[0], params)
        super().start(params, state)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        super().apply(params, grads, state, lr=lr, t=t, decay=decay)
        if t % self.k == 0:
            kernels.look_ahead(params.reshape(-1), state[0].reshape(-1), params.dtype.type(self.alpha))

    def evaluated(self, params: np.ndarray, state: State) -> np.ndarray | None:
        return state[0]


@dataclass(frozen=True)
class Accumulate(Around):
    """Gradient accumulation: one step every k micro-batches, with the mean of their gradients.

    Between two such steps, the parameters and the state of the inner rule do not change. If all micro-batches have the
    same size, and the net has no noise and no batch statistics, the steps equal those with batches k times as large.

    * ``optimizer.steps``, the history and all schedules count micro-batches. A step uses the learning rate and the
      hyper-parameters of its last micro-batch.
    * The inner rule, its bias correction and combinators inside count their own steps. Decay is applied once per step.
    * ``clip_norm`` of the optimizer and combinators outside receive the gradient of each micro-batch. Combinators
      inside receive the mean.
    * The mean overwrites the gradient of the last micro-batch. Gradients that remain at the end of a run are not used.

    Args:
        rule: the inner rule.
        k: number of micro-batches per step.

    State: ``sum``, the sum of the gradients divided by k. Cost: 12 bytes per micro-batch.
    Source: common practice.
    Conventions: PyTorch: k calls of ``backward()`` on loss / k before a step. Keras: ``gradient_accumulation_steps=k``,
        where schedules count steps. scikit-learn and CS231n do not have it.
    """

    k: int
    slots: ClassVar[tuple[str, ...]] = ("sum",)

    def check(self) -> None:
        super().check()
        checks.count("Accumulate", "k", self.k)

    def change_gradients(self, runs: Sequence[Run], *, t: int) -> None:
        if self.refuses_spikes():  # before the sum holds what no later step could take
            for run in runs:
                if run.grads.size <= SHORT and not squares_fit(run.grads.reshape(-1)):
                    raise refusal(type(self).__name__, run.grads, run.tensors)
        for run in runs:
            self._add(run.state[0].reshape(-1), run.grads.reshape(-1), (t - 1) % self.k)
        if t % self.k == 0:
            super().change_gradients(runs, t=t // self.k)

    def updates(self, steps: int) -> int:
        return self.rule.updates(steps // self.k)

    def _add(self, total: np.ndarray, grads: np.ndarray, before: int) -> None:
        """Add the gradients to the sum of the ``before`` gradients before them.

        The last sum is written to ``grads``, so that an error in the step does not change the state.
        """
        one, share = grads.dtype.type(1), grads.dtype.type(1 / self.k)
        if before == self.k - 1:
            if before:
                kernels.combine(grads, share, total, one)
        elif before:
            kernels.combine(total, one, grads, share)
        else:
            kernels.scaled(grads, share, total)

    def prepare(self, runs: Sequence[Run], *, lr: float, t: int) -> None:
        if t % self.k == 0:
            super().prepare(runs, lr=lr, t=t // self.k)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        if t % self.k == 0:
            super().apply(params, grads, state, lr=lr, t=t // self.k, decay=decay)


@dataclass(frozen=True)
class CoupledDecay(Around):
    """Weight decay as a part of the gradient: an L2 penalty of strength / 2 * |p|^2.

        g += strength * p

    The inner rule treats it like any part of the gradient, as it does with the penalty ``l2`` of the net. The
    difference is the order. The penalty of the net is part of the gradient when the gradient is clipped. This decay is
    added after ``clip_norm`` of the optimizer and after combinators outside. ``clip_norm`` with this combinator
    therefore equals ``clip_grad_norm_`` followed by an optimizer with ``weight_decay`` in PyTorch. The decay is not
    part of the objective of the net, and therefore not part of the loss in the history.

    Args:
        rule: the inner rule.
        strength: factor of p, at least 0.
        spare: whether biases and gains, which are not tagged ``decay``, are left out.

    State: none. Cost: 12 bytes.
    Conventions: PyTorch: ``spare=False`` equals ``weight_decay`` of all its optimizers except AdamW, Adafactor and
        Muon. Keras, scikit-learn and CS231n add a penalty to the loss (``Net(l2=...)``).
    """

    strength: Hyper
    spare: bool = True
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        super().check()
        checks.non_negative("CoupledDecay", "strength", self.strength)

    def change_gradients(self, runs: Sequence[Run], *, t: int) -> None:
        for run in runs:
            params, grads = run.params.reshape(-1), run.grads.reshape(-1)
            one, strength = grads.dtype.type(1), grads.dtype.type(self.strength)
            for tensor in run.tensors:
                if tensor.decay or not self.spare:
                    part = slice(tensor.start, tensor.stop)
                    kernels.combine(grads[part], one, params[part], strength)
        super().change_gradients(runs, t=t)


@cache
def _stream(seed: int) -> np.uint64:
    return streams.key(seed, "gradient noise")


@dataclass(frozen=True)
class GradientNoise(Around):
    """Gradient noise: normal noise whose variance decreases from step to step.

        g += N(0, eta / (1 + step)^gamma)    with steps counted from 0

    The noise is a function of the seed, the step and the place of the element in the vector of the optimizer. It does
    not depend on the number of threads or on groups, it is the same in both precisions except for rounding, and it
    needs no state.

    Args:
        rule: the inner rule.
        eta: variance in the first step; the best of 0.01, 0.3 and 1 in the paper.
        gamma: exponent of the decrease; 0.55 in the paper.
        seed: seed of the noise.

    State: none. Cost: 8 bytes, and about 15 ns per parameter on each thread, which takes longer.
    Source: Neelakantan et al. 2015, section 3.
    Conventions: PyTorch, Keras, scikit-learn and CS231n do not have it.
    """

    eta: Hyper = 0.01
    gamma: Hyper = 0.55
    seed: int = 0

    def check(self) -> None:
        super().check()
        checks.non_negative("GradientNoise", "eta", self.eta)
        checks.non_negative("GradientNoise", "gamma", self.gamma)
        checks.count("GradientNoise", "seed", self.seed, least=0)

    def change_gradients(self, runs: Sequence[Run], *, t: int) -> None:
        deviation = math.sqrt(self.eta * t**-self.gamma)
        for run in runs:
            kernels.add_noise(run.grads.reshape(-1), _stream(self.seed), t - 1, run.start, deviation)
        super().change_gradients(runs, t=t)
