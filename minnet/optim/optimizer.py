"""An update rule at work: its state, its step counter, parameter groups and gradient clipping."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from .. import checks
from ..kernels.updates.means import squares_fit
from ..layers.spec import Layout, Shape, Tensor
from ..net.net import Net
from ..schedules import Schedule
from ..schedules.length import telling_steps
from .groups import Group, hyper_at, names_of, split
from .rules import Hyper, Rule, Run, State
from .rules.base import by_choice
from .rules.clipping import limit_norm
from .rules.spikes import SHORT, refusal, too_large


class _Part:
    """The runs of one group that one rule updates, and with what numbers.

    ``rule``, ``lr`` (None for that of the step), ``factor`` and ``decay`` are those of the step last asked for.
    """

    def __init__(self, group: Group, source: Rule, weight_decay: Hyper, tensors: list[Tensor]) -> None:
        self.group, self.source, self.weight_decay, self.tensors = group, source, weight_decay, tensors
        self.rule = source.choose(tensors[0])
        values = (group.lr, group.lr_factor, weight_decay)
        self.varies = bool(self.rule.scheduled()) or any(isinstance(value, Schedule) for value in values)
        self.lr: float | None = None
        self.runs: list[Run] = []
        self.calls: list[tuple[np.ndarray, np.ndarray, State, bool]] = []  # of each run, with whether it decays
        self.ask(0)

    def ask(self, step: int) -> None:
        """Ask every schedule for a step from 0; ValueError for a value out of its range."""
        group = self.group
        self.rule = self.rule_at(step)
        if group.lr is not None:
            self.lr = hyper_at("Group", "lr", group.lr, step)
        self.factor = hyper_at("Group", "lr_factor", group.lr_factor, step)
        self.decay = hyper_at("Optimizer", "weight_decay", self.weight_decay, step)

    def rule_at(self, step: int) -> Rule:
        """The rule of a step from 0."""
        return self.source.at(step).choose(self.tensors[0]) if self.varies else self.rule

    def rate(self, rate: float, lr_factor: float) -> float:
        """The part's own rate where the step's, which has ``lr_factor`` in it, is ``rate``."""
        return rate * self.factor if self.lr is None else self.lr * lr_factor

    def spans(self) -> list[tuple[int, int, bool, tuple[Tensor, ...]]]:
        """(start, stop, whether it decays, tensors) of each run: whole tensors, or as many in a row as are alike."""
        spares = self.group.weight_decay is None and self.weight_decay  # whether the tag makes a difference
        found: list[tuple[int, int, bool, tuple[Tensor, ...]]] = []
        for tensor in self.tensors:
            decays = tensor.decay if spares else bool(self.weight_decay)
            if found and not self.rule.is_shaped() and found[-1][1:3] == (tensor.start, decays):
                start, _, _, before = found.pop()
                found.append((start, tensor.stop, decays, (*before, tensor)))
            else:
                found.append((tensor.start, tensor.stop, decays, (tensor,)))
        return [span for span in found if span[0] < span[1]]

    def named(self, error: FloatingPointError) -> FloatingPointError:
        """The error of ``apply``, or one that names the tensors if a gradient was too large: a rule knows no names."""
        for run in self.runs if self.rule.refuses_spikes() else ():
            if too_large(run.grads).any():
                return refusal(type(self.rule).__name__, run.grads, run.tensors)
        return error

    def add_run(self, run: Run, decays: bool) -> None:
        """Start the rule's state for a run."""
        self.rule.start(run.params, run.state)
        self.runs.append(run)
        self.calls.append((run.params, run.grads, run.state, decays))


class Optimizer:
    """Applies a rule to a net's parameters, or to any two flat arrays (``Optimizer.over``).

    Args:
        net: its ``params`` are updated from its ``grads``; decay spares what is not tagged ``decay``, and the net's
            norm bound is applied after each step, to what the step was to move. ``net.frozen`` becomes the tensors of
            frozen groups: of two optimizers of one net the one made last says what it is.
        rule: an update rule, such as ``Adam()``.
        weight_decay: decoupled decay: each step multiplies by 1 - lr * weight_decay as well.
        clip_norm: bound on the Euclidean norm of the whole gradient; a longer one is scaled down to it (Pascanu,
            Mikolov, Bengio 2013, algorithm 1). None for no bound; ``math.inf`` for ``grad_norm`` without one.
        groups: tensors with a rate, decay or rule of their own, or frozen; see ``Group``.

    ``weight_decay``, ``clip_norm``, and the hyper-parameters of rules and groups may be schedules of the step.

    Attributes:
        steps: number of steps taken.
        schedules: the hyper-parameters that are schedules, by name; a group's by its name as well.
        state: array of shape (slots, P); ``named_state()`` gives it by name.
        searches: whether a step needs ``loss`` and ``evaluate``, because the rule searches along a line.
        numbers: array (runs, n) of float64, the rules' single numbers; empty for most rules.
        frozen: names of the tensors in frozen groups, in the order of the net's.
        grouped: names of the tensors of each group, by the group's name.
        is_evaluating: whether params are now a point that the rule hands out and does not train at (``evaluating``).
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
        """An optimizer of any two flat, contiguous arrays of one size and dtype (float32 or float64).

        ``shapes`` names the tensors that lie in them end to end, such as ``{"W": (4, 3), "b": (3,)}``, for groups and
        for rules that look at whole tensors; without it all is one tensor of one axis, named "params". A rule that
        would leave all tensors to another, as Muon leaves vectors to Adam, is a ValueError.
        """
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
        if np.may_share_memory(params, grads):
            raise ValueError("Optimizer: expected params and grads with memory of their own; got arrays that overlap")
        shapes = {"params": params.shape} if shapes is None else shapes
        if not isinstance(shapes, Mapping) or not all(isinstance(shape, tuple) for shape in shapes.values()):
            raise TypeError(f'Optimizer: expected shapes such as {{"W": (4, 3), "b": (3,)}}; got {shapes!r}')
        for length in (length for shape in shapes.values() for length in shape):
            checks.count("Optimizer", "each length in shapes", length, least=0)
        layout = Layout(shapes.items())
        if layout.size != params.size:
            raise ValueError(f"Optimizer: expected shapes of {params.size} elements in all; got {shapes}")
        tensors = tuple(Tensor(place.name, place.shape, place.start, place.stop) for place in layout.places.values())
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
        if not isinstance(groups, Iterable):
            raise TypeError(f"Optimizer: expected groups as a list; got {groups!r}")
        groups = tuple(groups)
        for group in groups:
            if not isinstance(group, Group):
                raise TypeError(f"Optimizer: expected groups that are Group objects; got {group!r}")
        hyper_at("Optimizer", "weight_decay", weight_decay, 0)
        self.rule = rule
        self.groups = groups
        self.weight_decay = weight_decay if isinstance(weight_decay, Schedule) else float(weight_decay)
        if clip_norm is not None and not isinstance(clip_norm, Schedule):
            clip_norm = clip_norm if clip_norm == math.inf else checks.positive("Optimizer", "clip_norm", clip_norm)
        self.clip_norm = clip_norm
        self.steps = 0
        self._varying: list[_Part] = []
        self._ask(0)
        self.schedules = self._schedules()
        self.grad_norm = math.nan
        self._params, self._grads, self._tensors = params, grads, tensors
        self._parts: list[_Part] = []
        self.is_evaluating = False
        sources: list[tuple[Rule, list[_Part]]] = [(rule, [])]  # what was given as a rule, and all parts that it is for
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
                _refuse_to_stand_by(source, inside)
            parts = [_Part(group, source, decay, chosen) for _, chosen in by_choice(source, inside, lambda t: t)]
            if group.rule is None:
                sources[0][1].extend(parts)
            else:
                sources.append((source, parts))
            self._parts += parts
        self._own_state()
        self._changers = [
            (source, bool(source.scheduled()), [run for part in parts for run in part.runs])
            for source, parts in sources
            if any(_overrides(part.rule, "change_gradients") for part in parts)
        ]

    def _own_state(self) -> None:
        """Make the rules' state, and the views of each run."""
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
        alone = len(spans) == 1 and self.clip_norm is None and not any(decays for _, (_, _, decays, _) in spans)
        if self.searches and not alone:
            raise ValueError(
                "Optimizer: expected a rule that searches to have all parameters to itself, without weight decay or "
                f"clipping; got {self.rule} with {len(self.groups)} groups, weight decay {self.weight_decay}, "
                f"clip_norm {self.clip_norm}"
            )
        self._varying = [part for part in self._parts if part.varies]
        # Gradients to look at for spikes before any rule moves; of longer ones the kernels see as they go.
        guarded = [(part.rule, run) for part in self._parts if part.rule.refuses_spikes() for run in part.runs]
        self._looked_at = [
            (run.grads.reshape(-1), type(rule).__name__, run.tensors)
            for rule, run in guarded
            if run.grads.size <= SHORT
        ]
        self._prepares = any(_overrides(part.rule, "prepare") for part in self._parts)
        # What clipping looks at: all, but for frozen tensors.
        trained = sorted((start, stop) for _, (start, stop, _, _) in spans)
        whole = sum(stop - start for start, stop in trained) == self._params.size
        self._clipped = [self._grads] if whole else [self._grads[start:stop] for start, stop in trained]

    def __reduce__(self) -> NoReturn:
        # A copy would update arrays that no net sees.
        raise TypeError(
            "Optimizer: expected to stay with its arrays; copy the net, then state and steps of its optimizer"
        )

    @property
    def state(self) -> np.ndarray:
        """The rules' whole state (slots, P). Assigning copies into place."""
        return self._state

    @state.setter
    def state(self, values: np.ndarray) -> None:
        if np.shape(values) != self._state.shape:
            raise ValueError(f"Optimizer: expected state of shape {self._state.shape}; got {np.shape(values)}")
        np.copyto(self._state, values, casting="same_kind")

    @property
    def numbers(self) -> np.ndarray:
        """The rules' single numbers (runs, n), float64. Assigning copies into place."""
        return self._numbers

    @numbers.setter
    def numbers(self, values: np.ndarray) -> None:
        if np.shape(values) != self._numbers.shape:
            raise ValueError(f"Optimizer: expected numbers of shape {self._numbers.shape}; got {np.shape(values)}")
        np.copyto(self._numbers, values, casting="same_kind")

    def named_state(self) -> dict[str, np.ndarray]:
        """Views into the state: by slot, each of shape (P,); by tensor and slot (``"0.W.mean"``) if rules differ."""
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
        """Values of all ``schedules`` at the next step, by name; groups' rates times ``lr_factor``, as in ``step``.

        ValueError for one out of its range.
        """
        self._ask(self.steps)
        rates = {f"{name} lr" for name in names_of(self.groups)}
        return {
            name: float(schedule(self.steps)) * (lr_factor if name in rates else 1.0)
            for name, schedule in self.schedules.items()
        }

    def look_ahead(self, steps: int) -> None:
        """ValueError if a schedule leaves its range within ``steps`` steps.

        Looked at are the first and the last step, and every event's and its neighbours' (see ``telling_steps``).
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
        """One update with learning rate ``lr``: a number, or a schedule, which is asked for this step (from 0).

        ``lr_factor`` multiplies it, and the rates of groups that have their own.

        Rules that search along a line (L-BFGS) need ``loss``, that of the present parameters and gradient, and
        ``evaluate``, a function without arguments that computes loss and gradient anew for the parameters as they are.

        ValueError for a rate or hyper-parameter out of its range changes nothing. FloatingPointError if clipping meets
        a gradient that is not finite changes neither parameters nor state, and the gradient itself only if combinators
        had changed it before. FloatingPointError if a rule meets a gradient that is too large to be squared or not
        finite: of tensors with more than 2,048 elements, others may have moved by then.
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
                    rule.search(run, loss, evaluate, lr=own, t=t)  # type: ignore[arg-type]  # seen to above
            else:
                try:
                    for params, grads, state, decays in part.calls:
                        rule.apply(params, grads, state, lr=own, t=t, decay=decay if decays else 0.0)
                except FloatingPointError as error:
                    raise part.named(error) from None
            if self._limit is not None and own > 0:  # what stands still may lie beyond the bound
                self._limit(part.tensors)
        self.steps += 1

    def updates(self, steps: int) -> int:
        """In how many of the first so many steps parameters move; fewer where ``Accumulate`` adds up gradients."""
        return max((part.rule.updates(steps) for part in self._parts), default=steps)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within it, params are the point that the rule hands out, where it trains at another (``ScheduleFreeSGD``)."""
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
        """Put the point that the rule hands out into params for good: the run has ended."""
        for params, point in self._handed_out():
            np.copyto(params, point)

    def _handed_out(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(params, point) of all runs whose rule hands out another point than params."""
        found = []
        for part in self._parts:
            rule = part.rule_at(max(0, self.steps - 1))  # as of the last step
            for run in part.runs:
                point = rule.evaluated(run.params, run.state)
                if point is not None:
                    found.append((run.params, point))
        return found

    def _ask(self, step: int) -> float | None:
        """Ask every schedule for a step from 0; returns the bound on the gradient's norm, if there is one."""
        for part in self._varying:
            part.ask(step)
        bound = self.clip_norm
        return checks.positive("Optimizer", "clip_norm", bound(step)) if isinstance(bound, Schedule) else bound


def _refuse_to_stand_by(source: Rule, tensors: Sequence[Tensor]) -> None:
    """ValueError if a rule leaves all of its tensors to others, as Muon does with vectors."""
    chosen = [source.choose(tensor) for tensor in tensors]
    if not any(rule is source for rule in chosen):
        names = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in tensors[:3])
        more = f" and {len(tensors) - 3} more" if len(tensors) > 3 else ""
        raise ValueError(
            f"Optimizer: expected a tensor that {type(source).__name__} updates itself; got {names}{more}, which it "
            f"leaves to {type(chosen[0]).__name__}. For flat arrays give shapes, such as {{'W': (4, 3), 'b': (3,)}}; "
            "where this is meant, give that rule"
        )


def _overrides(rule: Rule, method: str) -> bool:
    return getattr(type(rule), method) is not getattr(Rule, method)
