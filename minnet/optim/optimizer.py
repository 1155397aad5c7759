"""The optimizer: applies an update rule, keeps its state and step counter, and clips gradients."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from .. import checks
from ..guide import Guided
from ..kernels.updates.means import squares_fit
from ..layers.spec import Shape, Tensor
from ..net.net import Net
from ..schedules import Schedule
from ..schedules.length import telling_steps
from .arrays import check_arrays, tensors_of
from .groups import Group, hyper_at, names_of, split
from .part import Part, Span, refuse_to_stand_by
from .rules import Hyper, Rule, Run
from .rules.base import by_choice
from .rules.clipping import limit_norm
from .rules.spikes import SHORT, refusal


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
        is_evaluating: whether params are now the point to predict with, of a rule that trains at another
            (``evaluating``).
        grad_norm: norm of the last gradient before clipping; NaN unless clip_norm is set.
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
        self.rule, self.groups = rule, _checked_groups(groups)
        hyper_at("Optimizer", "weight_decay", weight_decay, 0)
        self.weight_decay = weight_decay if isinstance(weight_decay, Schedule) else float(weight_decay)
        if clip_norm is not None and not isinstance(clip_norm, Schedule):
            clip_norm = clip_norm if clip_norm == math.inf else checks.positive("Optimizer", "clip_norm", clip_norm)
        self.clip_norm = clip_norm
        self.steps = 0
        self._varying: list[Part] = []
        self._ask(0)
        self.schedules = self._schedules()
        self.grad_norm = math.nan
        self._params, self._grads, self._tensors = params, grads, tensors
        self.is_evaluating = False
        sources = self._make_parts()
        self._own_state()
        self._changers = [
            (source, bool(source.scheduled()), [run for part in parts for run in part.runs])
            for source, parts in sources
            if any(_overrides(part.rule, "change_gradients") for part in parts)
        ]

    def _make_parts(self) -> list[tuple[Rule, list[Part]]]:
        """Divide the tensors among parts.

        Returns:
            Each rule as it was given, with all parts that it is for.
        """
        rule, groups, tensors = self.rule, self.groups, self._tensors
        self._parts: list[Part] = []
        sources: list[tuple[Rule, list[Part]]] = [(rule, [])]
        rest, *members = split(tensors, groups)
        self.grouped = {
            name: [tensor.name for tensor in inside] for name, inside in zip(names_of(groups), members, strict=True)
        }
        still = {tensor for group, inside in zip(groups, members, strict=True) if group.frozen for tensor in inside}
        self.frozen = tuple(tensor.name for tensor in tensors if tensor in still)
        for group, inside in ((Group(lambda tensor: True), rest), *zip(groups, members, strict=True)):
            if group.frozen:
                continue
            decay = self.weight_decay if group.weight_decay is None else group.weight_decay
            source = rule if group.rule is None else group.rule
            if inside and (group.rule is not None or not groups):
                refuse_to_stand_by(source, inside)
            parts = [Part(group, source, decay, chosen) for _, chosen in by_choice(source, inside, lambda t: t)]
            if group.rule is None:
                sources[0][1].extend(parts)
            else:
                sources.append((source, parts))
            self._parts += parts
        return sources

    def _own_state(self) -> None:
        """Allocate the state of the rules and make the views of each run."""
        spans = [(part, span) for part in self._parts for span in part.spans()]
        slots = max([len(part.rule.slot_names()) for part in self._parts], default=len(self.rule.slot_names()))
        numbers = max([len(part.rule.number_names()) for part in self._parts], default=0)
        self._state = np.zeros((slots, self._params.size), self._params.dtype)
        self._numbers = np.zeros((len(spans), numbers))
        for (part, (start, stop, decays, tensors)), own in zip(spans, self._numbers, strict=True):
            shape = tensors[0].shape if part.rule.is_shaped() else (stop - start,)
            names = part.rule.number_names()
            state = tuple(slot[start:stop].reshape(shape) for slot in self._state[: len(part.rule.slot_names())])
            run = Run(
                self._params[start:stop].reshape(shape),
                self._grads[start:stop].reshape(shape),
                (*state, own[: len(names)]) if names else state,
                tuple(Tensor(t.name, t.shape, t.start - start, t.stop - start, t.decay) for t in tensors),
                start,
            )
            part.add_run(run, decays)
        self.searches = any(part.rule.searches for part in self._parts)
        if self.searches:
            self._expect_to_be_alone(spans)
        self._varying = [part for part in self._parts if part.varies]
        self._prepares = any(_overrides(part.rule, "prepare") for part in self._parts)
        # Gradients that are checked for spikes before any rule runs; kernels check longer ones as they read them.
        guarded = [(part.rule, run) for part in self._parts if part.rule.refuses_spikes() for run in part.runs]
        self._looked_at = [
            (run.grads.reshape(-1), type(rule).__name__, run.tensors)
            for rule, run in guarded
            if run.grads.size <= SHORT
        ]
        # Clipping uses all gradients except those of frozen tensors.
        trained = sorted((start, stop) for _, (start, stop, _, _) in spans)
        whole = sum(stop - start for start, stop in trained) == self._params.size
        self._clipped = [self._grads] if whole else [self._grads[start:stop] for start, stop in trained]

    def _expect_to_be_alone(self, spans: list[tuple[Part, Span]]) -> None:
        """ValueError if a rule that searches along a line does not have all parameters to itself."""
        if len(spans) > 1 or self.clip_norm is not None or any(decays for _, (_, _, decays, _) in spans):
            raise ValueError(
                "Optimizer: expected a rule that searches to have all parameters to itself, without weight decay or "
                f"clipping; got {self.rule} with {len(self.groups)} groups, weight decay {self.weight_decay}, "
                f"clip_norm {self.clip_norm}"
            )

    def __reduce__(self) -> NoReturn:
        # A copy would update arrays that belong to no net.
        raise TypeError(
            "Optimizer: expected to stay with its arrays; copy the net, then state and steps of its optimizer"
        )

    @property
    def state(self) -> np.ndarray:
        """The state of all rules, shape (slots, P). Assignment copies the values."""
        return self._state

    @state.setter
    def state(self, values: np.ndarray) -> None:
        if np.shape(values) != self._state.shape:
            raise ValueError(f"Optimizer: expected state of shape {self._state.shape}; got {np.shape(values)}")
        np.copyto(self._state, values, casting="same_kind")

    @property
    def numbers(self) -> np.ndarray:
        """The single numbers that rules keep, float64, shape (runs, n). Assignment copies the values."""
        return self._numbers

    @numbers.setter
    def numbers(self, values: np.ndarray) -> None:
        if np.shape(values) != self._numbers.shape:
            raise ValueError(f"Optimizer: expected numbers of shape {self._numbers.shape}; got {np.shape(values)}")
        np.copyto(self._numbers, values, casting="same_kind")

    def named_state(self) -> dict[str, np.ndarray]:
        """Return views into the state by slot, each of shape (P,).

        If parts have rules with different slots, the views are by tensor and slot (``"0.W.mean"``).
        """
        rules = {part.rule.slot_names() for part in self._parts} or {self.rule.slot_names()}
        if len(rules) == 1:
            return dict(zip(*rules, self._state, strict=True))
        return {
            f"{tensor.name}.{slot}": values[tensor.start : tensor.stop].reshape(tensor.shape)
            for part in self._parts
            for tensor in part.tensors
            for slot, values in zip(part.rule.slot_names(), self._state, strict=False)
        }

    def hyperparameters(self, *, lr_factor: float = 1.0) -> dict[str, float]:
        """Return the values of all ``schedules`` at the next step, by name.

        Learning rates of groups are multiplied by ``lr_factor``, as in ``step``.

        Raises:
            ValueError: a value is out of its range.
        """
        self._ask(self.steps)
        rates = {f"{name} lr" for name in names_of(self.groups)}
        return {
            name: float(schedule(self.steps)) * (lr_factor if name in rates else 1.0)
            for name, schedule in self.schedules.items()
        }

    def look_ahead(self, steps: int) -> None:
        """Raise ValueError if a schedule leaves its range within ``steps`` steps.

        The first and the last step are checked, and the steps of events and their neighbours (see ``telling_steps``).
        """
        telling = {step for schedule in self.schedules.values() for step in telling_steps(schedule, steps)}
        for step in sorted(telling):
            try:
                self._ask(step)
            except ValueError as error:
                given = ", ".join(f"{name}={schedule!r}" for name, schedule in self.schedules.items())
                raise ValueError(f"{error} at step {step} of {given}") from None
        self._ask(self.steps)

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
        bound = self._ask(self.steps) if self._varying or isinstance(self.clip_norm, Schedule) else self.clip_norm
        if self.searches and (loss is None or evaluate is None):
            raise ValueError(
                f"Optimizer.step: expected loss=... and evaluate=... for {self.rule}; got {loss}, {evaluate}"
            )
        t = self.steps + 1
        if bound is not None:
            self.grad_norm = limit_norm("Optimizer", self._clipped, bound)
        for source, varies, runs in self._changers:
            (source.at(self.steps) if varies else source).change_gradients(runs, t=t)
        for grads, name, tensors in self._looked_at:
            if not squares_fit(grads):
                raise refusal(name, grads, tensors)
        if self._prepares:
            for part in self._parts:
                part.rule.prepare(part.runs, lr=part.rate(rate, lr_factor), t=t)
        for part in self._parts:
            rule, own, decay = part.rule, part.rate(rate, lr_factor), part.decay
            if rule.searches:
                for run in part.runs:
                    rule.search(run, loss, evaluate, lr=own, t=t)  # type: ignore[arg-type]  # checked above
            else:
                try:
                    for params, grads, state, decays in part.calls:
                        rule.apply(params, grads, state, lr=own, t=t, decay=decay if decays else 0.0)
                except FloatingPointError as error:
                    raise part.named(error) from None
            if self._limit is not None and own > 0:  # with a rate of 0, weights beyond the bound must not change
                self._limit(part.tensors)
        self.steps += 1

    def updates(self, steps: int) -> int:
        """Return in how many of the first ``steps`` steps parameters change; fewer if ``Accumulate`` sums gradients."""
        return max((part.rule.updates(steps) for part in self._parts), default=steps)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within this context, params are the point to predict with, of a rule that trains at another point.

        ``ScheduleFreeSGD`` is such a rule; for other rules nothing changes.
        """
        kept = [(params, params.copy()) for params, _ in self._handed_out()]
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
        for params, point in self._handed_out():
            np.copyto(params, point)

    def _handed_out(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return (params, point) of all runs whose rule predicts at another point than params."""
        found = []
        for part in self._parts:
            rule = part.rule_at(max(0, self.steps - 1))  # with the hyper-parameters of the last step
            for run in part.runs:
                point = rule.evaluated(run.params, run.state)
                if point is not None:
                    found.append((run.params, point))
        return found

    def _ask(self, step: int) -> float | None:
        """Evaluate every schedule at a step, counted from 0, and return the bound on the gradient's norm, or None."""
        for part in self._varying:
            part.ask(step)
        bound = self.clip_norm
        return checks.positive("Optimizer", "clip_norm", bound(step)) if isinstance(bound, Schedule) else bound


def _checked_groups(groups: Any) -> tuple[Group, ...]:
    """Return groups as a tuple; TypeError for anything else than groups."""
    if not isinstance(groups, Iterable):
        raise TypeError(f"Optimizer: expected groups as a list; got {groups!r}")
    found = tuple(groups)
    for group in found:
        if not isinstance(group, Group):
            raise TypeError(f"Optimizer: expected groups that are Group objects; got {group!r}")
    return found


def _overrides(rule: Rule, method: str) -> bool:
    return getattr(type(rule), method) is not getattr(Rule, method)
