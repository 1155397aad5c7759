"""Rules around a rule: what several rules can share is said once and composes, instead of being a flag of each.

``LookAhead(ClipNorm(Adam(), bound=1.0), k=5)`` is read from the outside: a gradient passes through the outermost first.
Costs are bytes moved for a parameter of float32, beyond those of the rule inside.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np

from ... import checks, streams
from ...kernels.updates import gradients as kernels
from ...kernels.updates.means import squares_fit
from ...layers.spec import Tensor
from .base import Hyper, Rule, Run, State, inside
from .sgd import NesterovLookAhead
from .spikes import SHORT, refusal


@dataclass(frozen=True)
class Around(Rule):
    """A rule around another, to which it passes everything on; subclasses override what they change.

    State: the combinator's own ``slots``, and behind them all that the rule inside keeps.
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
    """Every k steps: slow += alpha * (p - slow); p = slow. Zhang, Lucas, Hinton, Ba 2019, algorithm 1.

    ``slow`` starts as the parameters. It is what the rule hands out (the paper returns and evaluates it), so validation
    sees it, and a run that ends between two synchronisations loses the steps since the last one. The state of the rule
    inside is left alone at a synchronisation, the paper's default. The paper uses k 5 or 10, alpha 0.5 or 0.8.

    A rule that computes the parameters anew from its state (``NesterovLookAhead``, or one that hands out a point of its
    own) cannot stand inside: it would undo the move.

    Conventions: PyTorch, Keras, scikit-learn and CS231n have none.
    State: ``slow``. Cost: 16 bytes every k steps: slow and p read, both written.
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
    """The rule inside takes one step every k, with the mean of the last k gradients: k micro-batches make a batch.

    Between its steps parameters and its state stay as they are. With micro-batches of one size, and no noise or batch
    statistics in the net, the steps are those of batches k times as large.

    What counts what: ``optimizer.steps``, the history and every schedule count micro-batches; the rate and the
    hyper-parameters of a step are those of its last micro-batch. The rule inside, its bias correction and what stands
    inside with it count its own steps; decay is applied once in each. The optimizer's ``clip_norm`` and
    combinators around this one see each micro-batch's gradient, combinators inside see the mean. The last micro-batch's
    gradient is overwritten by the mean; gradients left over at the end of a run are dropped.

    Source: none; it is common practice.
    Conventions: PyTorch: ``backward()`` of loss / k, k times, before a step. Keras: ``gradient_accumulation_steps=k``,
    where schedules count steps. scikit-learn and CS231n have none.
    State: ``sum``, of gradients divided by k. Cost: 12 bytes a micro-batch.
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
        """Add to the sum of the gradients ``before``; the last time into grads, so that an error spoils no state."""
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
    """g += strength * p: weight decay inside the gradient, which is an L2 penalty of strength / 2 * |p|^2.

    The rule inside takes it for a part of the gradient, as it takes the net's ``l2``. The difference is the order: the
    net's penalty is in the gradient when it is clipped; this is added after the optimizer's ``clip_norm``, and after
    combinators around. PyTorch's ``clip_grad_norm_`` followed by an optimizer with ``weight_decay`` is ``clip_norm``
    with this. The net's objective, and with it the loss in the history, does not have the penalty.

    ``spare=False`` decays biases and gains too, which are not tagged ``decay``.

    Conventions: PyTorch: ``spare=False``, weight_decay of all its optimizers but AdamW, Adafactor and Muon. Keras and
    scikit-learn penalise the loss (``Net(l2=...)``), CS231n too.
    State: none. Cost: 12 bytes.
    """

    strength: Hyper
    spare: bool = True

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
    """g += normal noise of variance eta / (1 + step)^gamma, with steps from 0. Neelakantan et al. 2015, section 3.

    The paper takes gamma 0.55 and the best eta of 0.01, 0.3 and 1. The noise is a function of seed, step and the
    element's place in the optimizer's vector: the same for any number of threads and any groups, to rounding the same
    in both precisions, and nothing has to be saved.

    Conventions: PyTorch, Keras, scikit-learn and CS231n have none.
    State: none. Cost: 8 bytes, and some 15 ns a parameter on each thread, which is more.
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
