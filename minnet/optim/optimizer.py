"""The optimizer: applies an update rule, keeps its state and step counter, and clips gradients."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from ..base import checks
from ..base.guide import Guided
from ..kernels.updates.means import squares_fit
from ..layers.spec import Shape, Tensor
from ..net.net import Net
from ..schedules import Schedule
from ..schedules.length import telling_steps
from .arrays import check_arrays, tensors_of
from .division import Division, checked_groups, divide
from .groups import Group, hyper_at, names_of
from .part import Part
from .rules import Hyper, Rule
from .rules.clipping import limit_norm
from .rules.spikes import SHORT, refusal
from .state import RuleState


class Optimizer(Guided):
    """Applies an update rule to the parameters of a net, or to two flat arrays (``Optimizer.over``).

    Args:
        net: its ``params`` are updated from its ``grads``. Weight decay applies to tensors tagged ``decay`` only. After
            each step the net's norm bound is applied to the tensors that the step was to update. ``net.frozen`` is set
            to the tensors of frozen groups; if a net has two optimizers, the one made last decides.
        rule: an update rule, such as ``Adam()``.
        weight_decay: decoupled decay: each step also multiplies by 1 - lr * weight_decay.
        clip_norm: bound on the Euclidean norm of the whole gradient; a gradient with a larger norm is scaled down to
            it (Pascanu, Mikolov, Bengio 2013, algorithm 1). None for no bound; ``math.inf`` to measure ``grad_norm``
            without a bound.
        groups: tensors with a learning rate, decay or rule of their own, or frozen tensors; see ``Group``.

    ``weight_decay``, ``clip_norm``, and the hyper-parameters of rules and groups may be schedules of the step.

    Attributes:
        steps: number of steps taken.
        schedules: the hyper-parameters that are schedules, by name; those of a group include the name of the group.
        state: array of shape (slots, P); ``named_state()`` returns it by name.
        searches: whether a step needs ``loss`` and ``evaluate``, because the rule searches along a line.
        numbers: float64 array (runs, n) with the single numbers that rules keep; empty for most rules.
        frozen: names of the tensors in frozen groups, in the order of the net's tensors.
        grouped: names of the tensors of each group, by the name of the group.
        norm_sums: float64 array (3,) that clipping fills; its last element is ``grad_norm``.
        is_evaluating: whether params are now the point to predict with, of a rule that trains at another
            (``evaluating``).
    """

    def __init__(
        self,
        net: Net,
        rule: Rule,
        *,
        weight_decay: Hyper = 0.0,
        clip_norm: Hyper = None,
        groups: Iterable[Group] = (),
    ) -> None:
        if not isinstance(net, Net):
            raise TypeError(f"Optimizer: expected a Net (see Optimizer.over for arrays); got {type(net).__name__}")
        self._set_up(net.params, net.grads, net.tensors, rule, weight_decay, clip_norm, groups)
        net.frozen = self.frozen
        self._limit: Callable[[list[Tensor]], None] | None = net.apply_constraints if net.max_norm is not None else None

    @classmethod
    def over(
        cls,
        params: np.ndarray,
        grads: np.ndarray,
        rule: Rule,
        *,
        shapes: Mapping[str, Shape] | None = None,
        weight_decay: Hyper = 0.0,
        clip_norm: Hyper = None,
        groups: Iterable[Group] = (),
    ) -> "Optimizer":
        """Make an optimizer for two flat arrays.

        Args:
            params, grads: contiguous arrays of one axis, of the same size and dtype (float32 or float64).
            rule, weight_decay, clip_norm, groups: as for a net.
            shapes: names and shapes of the tensors that are stored in the arrays one after the other, such as
                ``{"W": (4, 3), "b": (3,)}``; for groups, and for rules that use whole tensors. None for one tensor of
                one axis, named "params".

        Returns:
            An optimizer that updates ``params`` in place; ``step`` reads ``grads``, which the caller has filled.

        Raises:
            TypeError, ValueError: the arrays or shapes do not fit, or the rule would leave all tensors to another rule,
                as Muon leaves vectors to Adam.
        """
        check_arrays(params, grads)
        tensors = tensors_of(params, shapes)
        optimizer = cls.__new__(cls)
        optimizer._set_up(params, grads, tensors, rule, weight_decay, clip_norm, groups)
        optimizer._limit = None
        return optimizer

    def _set_up(
        self,
        params: np.ndarray,
        grads: np.ndarray,
        tensors: Sequence[Tensor],
        rule: Rule,
        weight_decay: Hyper,
        clip_norm: Hyper,
        groups: Iterable[Group],
    ) -> None:
        if not isinstance(rule, Rule):
            raise TypeError(f"Optimizer: expected a Rule, such as Adam(); got {rule!r}")
        self.rule, self.groups = rule, checked_groups(groups)
        hyper_at("Optimizer", "weight_decay", weight_decay, 0)
        self.weight_decay = weight_decay if isinstance(weight_decay, Schedule) else float(weight_decay)
        if clip_norm is not None and not isinstance(clip_norm, Schedule):
            clip_norm = clip_norm if clip_norm == math.inf else checks.positive("Optimizer", "clip_norm", clip_norm)
        self.clip_norm = clip_norm
        self.steps = 0
        self._varying: list[Part] = []
        self._evaluate_schedules(0)
        self.schedules = self._schedules()
        self.norm_sums = np.full(3, math.nan)  # sums, and the norm, of the last gradient that was clipped
        self.is_evaluating = False
        division = divide(rule, self.weight_decay, self.groups, tensors)
        self.grouped, self.frozen = division.grouped, division.frozen
        self._parts = division.parts
        self._params = params
        self._state = RuleState(rule, self._parts, params, grads)
        self.searches = any(part.rule.searches for part in self._parts)
        if self.searches:
            self._expect_to_be_alone()
        self._plan_step(division, grads)

    def _expect_to_be_alone(self) -> None:
        """ValueError if a rule that searches along a line does not have all parameters to itself."""
        spans = self._state.spans
        if len(spans) > 1 or self.clip_norm is not None or any(decays for _, (_, _, decays, _) in spans):
            raise ValueError(
                "Optimizer: expected a rule that searches to have all parameters to itself, without weight decay or "
                f"clipping; got {self.rule} with {len(self.groups)} groups, weight decay {self.weight_decay}, "
                f"clip_norm {self.clip_norm}"
            )

    def _plan_step(self, division: Division, grads: np.ndarray) -> None:
        """Find out what each step has to do, so that it does no more."""
        self._varying = [part for part in self._parts if part.varies]
        self._prepares = any(_overrides(part.rule, "prepare") for part in self._parts)
        # Rules that change gradients before any parameter changes, such as clipping.
        self._changers = [
            (source, bool(source.scheduled()), [run for part in parts for run in part.runs])
            for source, parts in division.sources
            if any(_overrides(part.rule, "change_gradients") for part in parts)
        ]
        # Gradients that are checked for spikes before any rule runs; kernels check longer ones as they read them.
        guarded = [(part.rule, run) for part in self._parts if part.rule.refuses_spikes() for run in part.runs]
        self._checked_first = [
            (run.grads.reshape(-1), type(rule).__name__, run.tensors)
            for rule, run in guarded
            if run.grads.size <= SHORT
        ]
        self._clipped = self._state.trained(grads)

    def __reduce__(self) -> NoReturn:
        # A copy would update arrays that belong to no net.
        raise TypeError(
            "Optimizer: expected to stay with its arrays; copy the net, then state and steps of its optimizer"
        )

    @property
    def state(self) -> np.ndarray:
        """The state of all rules, shape (slots, P). Assignment copies the values."""
        return self._state.slots

    @state.setter
    def state(self, values: np.ndarray) -> None:
        self._state.slots = values

    @property
    def numbers(self) -> np.ndarray:
        """The single numbers that rules keep, float64, shape (runs, n). Assignment copies the values."""
        return self._state.numbers

    @numbers.setter
    def numbers(self, values: np.ndarray) -> None:
        self._state.numbers = values

    def contents(self) -> dict[str, str]:
        """Return what ``state`` and ``numbers`` are of: names of tensors by kind of rule (``RuleState.contents``)."""
        return self._state.contents()

    def named_state(self) -> dict[str, np.ndarray]:
        """Return views into the state by slot, each of shape (P,).

        If parts have rules with different slots, the views are by tensor and slot (``"0.W.mean"``).
        """
        return self._state.named()

    def hyperparameters(self, *, lr_factor: float = 1.0, step: int | None = None) -> dict[str, float]:
        """Return the values of all ``schedules`` by name.

        Args:
            lr_factor: factor of the learning rates of groups, as in ``Optimizer.step``.
            step: step, counted from 0; None for the next one.

        Raises:
            ValueError: a value is out of its range.
        """
        if not self.schedules:
            return {}
        step = self.steps if step is None else step
        self._evaluate_schedules(step)
        rates = {f"{name} lr" for name in names_of(self.groups)}
        return {
            name: float(schedule(step)) * (lr_factor if name in rates else 1.0)
            for name, schedule in self.schedules.items()
        }

    def look_ahead(self, steps: int) -> None:
        """Raise ValueError if a schedule leaves its range within ``steps`` steps.

        The first and the last step are checked, and the steps of events and their neighbours (see ``telling_steps``).

        Args:
            steps: number of steps of the run, counted from its first.

        Raises:
            ValueError: a rate or hyper-parameter is out of its range; the error names the step and the schedules.
        """
        telling = {step for schedule in self.schedules.values() for step in telling_steps(schedule, steps)}
        for step in sorted(telling):
            try:
                self._evaluate_schedules(step)
            except ValueError as error:
                given = ", ".join(f"{name}={schedule!r}" for name, schedule in self.schedules.items())
                raise ValueError(f"{error} at step {step} of {given}") from None
        self._evaluate_schedules(self.steps)

    def _schedules(self) -> dict[str, Schedule]:
        found: dict[str, Any] = dict(self.rule.scheduled())
        found |= {"weight_decay": self.weight_decay, "clip_norm": self.clip_norm}
        for name, group in zip(names_of(self.groups), self.groups, strict=True):
            own = {key: getattr(group, key) for key in ("lr", "lr_factor", "weight_decay")}
            own |= group.rule.scheduled() if group.rule is not None else {}
            found |= {f"{name} {key}": value for key, value in own.items()}
        return {name: value for name, value in found.items() if isinstance(value, Schedule)}

    def step(
        self,
        lr: Any,
        *,
        lr_factor: float = 1.0,
        loss: float | None = None,
        evaluate: Callable[[], float] | None = None,
    ) -> None:
        """Update the parameters once.

        Args:
            lr: learning rate: a number, or a schedule, which is evaluated at this step, counted from 0.
            lr_factor: factor of ``lr``, and of the learning rates of groups that have their own.
            loss: loss of the present parameters; rules that search along a line (L-BFGS) need it.
            evaluate: function without arguments that computes loss and gradient again for the present parameters; rules
                that search along a line need it.

        Raises:
            ValueError: a rate or hyper-parameter is out of its range. Nothing has changed.
            FloatingPointError: clipping met a gradient that is not finite. Parameters and state have not changed, and
                the gradient has changed only if combinators changed it before. Or a rule met a gradient that is not
                finite, or too large to be squared. Of tensors with more than 2,048 elements, others may have been
                updated by then.
        """
        rate = checks.non_negative("Optimizer.step", "lr", lr(self.steps) if callable(lr) else lr)
        if lr_factor != 1.0:
            rate *= checks.non_negative("Optimizer.step", "lr_factor", lr_factor)
        if self.searches and (loss is None or evaluate is None):
            raise ValueError(
                f"Optimizer.step: expected loss=... and evaluate=... for {self.rule}; got {loss}, {evaluate}"
            )
        self.update(rate, lr_factor, loss, evaluate)
        self.steps += 1

    def update(
        self,
        rate: float,
        lr_factor: float = 1.0,
        loss: float | None = None,
        evaluate: Callable[[], float] | None = None,
    ) -> None:
        """Do what ``step`` does, without checking the arguments and without counting the step.

        Args:
            rate: the learning rate times ``lr_factor``.
            lr_factor, loss, evaluate: as in ``step``.
        """
        bound = self.clip_norm
        if self._varying or isinstance(bound, Schedule):
            bound = self._evaluate_schedules(self.steps)
        t = self.steps + 1
        self._change_gradients(bound, t)
        if self._prepares:
            for part in self._parts:
                part.rule.prepare(part.runs, lr=part.rate(rate, lr_factor), t=t)
        for part in self._parts:
            own = part.rate(rate, lr_factor)
            if part.rule.searches:
                for run in part.runs:
                    part.rule.search(run, loss, evaluate, lr=own, t=t)  # type: ignore[arg-type]  # checked above
            else:
                part.apply(own, t)
            if self._limit is not None and own > 0:  # with a rate of 0, weights beyond the bound must not change
                self._limit(part.tensors)

    def all_rules(self) -> list[Rule]:
        """Return every rule in use, including those inside others."""
        found: list[Rule] = [part.rule for part in self._parts]
        for rule in found:
            found += [value for value in vars(rule).values() if isinstance(value, Rule)]
        return found

    def is_steady(self) -> bool:
        """Return whether all updates with the same learning rate do the same, apart from the first."""
        varying = isinstance(self.clip_norm, Schedule) or any(part.varies for part in self._parts)
        return not varying and all(part.rule.steady for part in self._parts)

    def takes_many(self) -> bool:
        """Return whether ``update`` takes an array of rates, one for each of several steps, while calls are noted.

        ``steps`` is an array then too. See ``Rule.vectorised``.
        """
        varying = isinstance(self.clip_norm, Schedule) or any(part.varies for part in self._parts)
        return not varying and self._limit is None and all(rule.vectorised for rule in self.all_rules())

    @property
    def grad_norm(self) -> float:
        """Norm of the last gradient before clipping; NaN unless ``clip_norm`` is set."""
        return float(self.norm_sums[2])

    def _change_gradients(self, bound: float | None, t: int) -> None:
        """Clip the gradients, let combinators change them, and refuse spikes in short ones.

        Raises:
            FloatingPointError: a gradient is not finite, or too large to be squared.
        """
        if bound is not None:
            before = self.grad_norm
            try:
                limit_norm("Optimizer", self._clipped, bound, self.norm_sums)
            except FloatingPointError:
                self.norm_sums[2] = before
                raise
        for source, varies, runs in self._changers:
            (source.at(self.steps) if varies else source).change_gradients(runs, t=t)
        for grads, name, tensors in self._checked_first:
            if not squares_fit(grads):
                raise refusal(name, grads, tensors)

    def updates(self, steps: int) -> int:
        """Return in how many of the first ``steps`` steps parameters change; fewer if ``Accumulate`` sums gradients.

        Args:
            steps: number of steps, from the first of the optimizer on.
        """
        return max((part.rule.updates(steps) for part in self._parts), default=steps)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within this context, params are the point to predict with, of a rule that trains at another point.

        ``ScheduleFreeSGD`` is such a rule; for other rules nothing changes.

        Yields:
            Nothing. Afterwards the parameters are those to train at again, also after an error.
        """
        kept = [(params, params.copy()) for params, _ in self._points_to_predict_with()]
        before, self.is_evaluating = self.is_evaluating, bool(kept)
        try:
            self.settle()
            yield
        finally:
            for params, values in kept:
                np.copyto(params, values)
            self.is_evaluating = before

    def settle(self) -> None:
        """Copy the point to predict with into params, at the end of a run."""
        for params, point in self._points_to_predict_with():
            np.copyto(params, point)

    def _points_to_predict_with(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return (params, point) of all runs whose rule predicts at another point than params."""
        found = []
        for part in self._parts:
            rule = part.rule_at(max(0, self.steps - 1))  # with the hyper-parameters of the last step
            for run in part.runs:
                point = rule.evaluated(run.params, run.state)
                if point is not None:
                    found.append((run.params, point))
        return found

    def _evaluate_schedules(self, step: int) -> float | None:
        """Evaluate every schedule at a step, counted from 0, and return the bound on the gradient's norm, or None."""
        for part in self._varying:
            part.ask(step)
        bound = self.clip_norm
        return checks.positive("Optimizer", "clip_norm", bound(step)) if isinstance(bound, Schedule) else bound


def _overrides(rule: Rule, method: str) -> bool:
    return getattr(type(rule), method) is not getattr(Rule, method)
