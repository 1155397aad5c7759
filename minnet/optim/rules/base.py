"""The base class of update rules."""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import Field, dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from ...base import checks
from ...base.guide import Guided
from ...layers.spec import Tensor
from ...schedules import Schedule
from .names import check_names

Item = TypeVar("Item")
State = Sequence[np.ndarray]
Hyper = Any  # float | Schedule: ``apply`` and ``check`` see numbers only, which such a union could not say


@dataclass(frozen=True)
class Run:
    """Elements that one call of ``Rule.apply`` updates.

    Attributes:
        params, grads: flat views of shape (n,), or one tensor in its own shape for a rule that is ``shaped``.
        state: the state of the rule for these elements.
        tensors: the tensors in these elements, with places relative to the start of the run.
        start: start of the run in the vectors of the optimizer.
    """

    params: np.ndarray
    grads: np.ndarray
    state: State
    tensors: tuple[Tensor, ...]
    start: int = 0


class Rule(Guided):
    """Base class of update rules. A rule is a frozen dataclass with named state ``slots`` and an in-place ``apply``.

    A rule of your own overrides both, for example in plain NumPy. The state starts at 0 unless ``start`` fills it.

    Class attributes:
        slots: names of the arrays of state, each of the size and dtype of the parameters.
        numbers: names of single float64 numbers of state, such as a running product.
        shaped: whether ``apply`` needs one whole tensor at a time, in its own shape, for example for its norm or its
            rows. Other rules work element by element and are given the longest runs of elements that are treated alike.
        steady: whether ``apply`` hands the same numbers to its kernels in all steps after the first that have the same
            ``lr`` and ``decay``, which saves time when steps are replayed.
        vectorised: whether ``apply`` also takes arrays of ``lr`` and ``t``, with one element for each of several steps,
            and hands its kernels arrays with the bits of the numbers of each step. Calls are only noted then, and the
            numbers of many recorded steps are computed at once.
        searches: whether the rule evaluates several points per step (a line search) and defines ``search`` instead of
            ``apply``.

    A rule has no learning rate, which is an argument of the step. Hyper-parameters of minnet's rules are given by name,
    except for the momentum of ``Momentum(0.9)`` and similar rules, and the inner rule of a combinator.

    A hyper-parameter may be a schedule of the step: ``Momentum(Linear(0.5, 0.99, 1000))``. ``apply`` is given numbers
    only.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    numbers: ClassVar[tuple[str, ...]] = ()
    shaped: ClassVar[bool] = False
    steady: ClassVar[bool] = False
    vectorised: ClassVar[bool] = False
    searches: ClassVar[bool] = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Gives clearer errors than the constructor. A user's own rules may have another constructor.
        if cls.__module__.startswith("minnet.optim.rules.") and (args or kwargs):
            check_names(cls, args, kwargs)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name, field in getattr(self, "__dataclass_fields__", {}).items():
            if field.type in (bool, "bool"):
                checks.truth(type(self).__name__, name, getattr(self, name))
        first = self.at(0)
        if first is self:  # otherwise the constructor of ``first`` has called ``check``
            self.check()

    def check(self) -> None:
        """Raise an error for a hyper-parameter that is out of its range; schedules are replaced by numbers here."""

    def start(self, params: np.ndarray, state: State) -> None:
        """Fill the state of a run before the first step; it contains zeros.

        Args:
            params: the parameters, as in ``apply``.
            state: one array per slot, of the shape of params, followed by an array of ``numbers`` if there are any.
        """

    def change_gradients(self, runs: Sequence[Run], *, t: int) -> None:
        """Change the gradients in place, as clipping does; called first in each step.

        ``runs`` are all runs that the rule was given for, in any group and with any rule that ``choose`` returns, so
        ``state`` contains only the rule's own slots for certain.

        Args:
            runs: elements that are treated alike, with gradients and state, see ``Run``.
            t: number of the step, counted from 1.
        """
        for rule, theirs in by_choice(self, runs, lambda run: run.tensors[0]):
            if rule is not self:
                rule.change_gradients(theirs, t=t)

    def prepare(self, runs: Sequence[Run], *, lr: float, t: int) -> None:
        """Prepare a step; called before ``apply`` with all runs that this rule updates in one group.

        Args:
            runs: elements that are treated alike, with gradients and state, see ``Run``.
            lr: learning rate.
            t: number of the step, counted from 1.
        """

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        """Update params and state in place.

        The optimizer calls this method once for every run of elements that are treated alike. It has checked sizes,
        dtypes and memory order of all arrays. ``apply`` does not check them, and kernels would read past the end of an
        array that is too short.

        Args:
            params, grads: arrays of one shape, see ``Run``.
            state: one array per slot, of the shape of params, followed by an array of ``numbers`` if there are any.
            lr: learning rate.
            t: number of the step, counted from 1.
            decay: decoupled weight decay, which the rule applies itself.
        """
        raise NotImplementedError(f"{type(self).__name__} must define apply(params, grads, state, *, lr, t, decay)")

    def search(self, run: Run, loss: float, evaluate: Callable[[], float], *, lr: float, t: int) -> None:
        """Called instead of ``apply`` if the rule ``searches``.

        Args:
            run: the parameters, their gradient and the state.
            loss: loss of the present parameters.
            evaluate: computes loss and gradient for changed parameters.
            lr: learning rate.
            t: number of the step, counted from 1.
        """
        raise NotImplementedError(f"{type(self).__name__} must define search(run, loss, evaluate, *, lr, t)")

    def evaluated(self, params: np.ndarray, state: State) -> np.ndarray | None:
        """Return the point to predict with, if the rule trains at another point.

        Args:
            params: the parameters, as in ``apply``.
            state: the state, as in ``apply``.

        Returns:
            An array of the shape of params; None if that point is params.
        """
        return None

    def choose(self, tensor: Tensor) -> "Rule":
        """Return the rule for a tensor: this rule, unless it leaves the tensor to another.

        Args:
            tensor: name, shape and tag ``decay`` of the tensor.
        """
        return self

    def is_shaped(self) -> bool:
        """Return whether ``apply`` needs one whole tensor at a time; a rule inside this one may need it too."""
        return self.shaped

    def refuses_spikes(self) -> bool:
        """Return whether the rule raises an error for gradients whose squares overflow (``GuardedRule``)."""
        return False

    def updates(self, steps: int) -> int:
        """Return in how many of the first ``steps`` steps the parameters change.

        Args:
            steps: number of steps, at least 0.
        """
        return steps

    def slot_names(self) -> tuple[str, ...]:
        """Return the names of all slots, including those of a rule inside this one."""
        return self.slots

    def number_names(self) -> tuple[str, ...]:
        """Return the names of all numbers, including those of a rule inside this one."""
        return self.numbers

    def scheduled(self) -> dict[str, Schedule]:
        """Return the hyper-parameters that are schedules, by name, including those of rules inside this one."""
        values = self._values()
        found = {name: value for name, value in values.items() if isinstance(value, Schedule)}
        for inner in values.values():
            if isinstance(inner, Rule):
                for name, schedule in inner.scheduled().items():
                    found[inside(name, found)] = schedule
        return found

    def at(self, step: int) -> Self:
        """Return the rule with every schedule replaced by its value at a step, counted from 0.

        Args:
            step: the step.
        """
        changed = {}
        for name, value in self._values().items():
            now = value(step) if isinstance(value, Schedule) else value.at(step) if isinstance(value, Rule) else value
            if now is not value:
                changed[name] = now
        return replace(self, **changed) if changed else self  # type: ignore[type-var]  # rules are dataclasses

    def _values(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in getattr(self, "__dataclass_fields__", ())}


def kind_of(rule: Rule) -> str:
    """Return what decides the meaning of a rule's state, as text.

    This is its class, its slots and numbers, and its parameters without those that are hyper-parameters: numbers of
    type float, and whatever may be a schedule. Conventions such as ``lr_in_velocity`` and counts such as ``k`` remain.
    """
    return f"{_kind(rule)}, which keeps {', '.join((*rule.slot_names(), *rule.number_names())) or 'nothing'}"


def _kind(rule: Rule) -> str:
    settings = []
    described: tuple[Field[Any], ...] = fields(rule) if is_dataclass(rule) else ()
    for field in described:
        value = getattr(rule, field.name)
        if isinstance(value, Rule):
            settings.append(f"{field.name}={_kind(value)}")
        elif not (isinstance(value, float | Schedule) or field.type in (Hyper, "Hyper")):
            settings.append(f"{field.name}={value!r}")
    return f"{type(rule).__name__}({', '.join(settings)})"


def by_choice(rule: Rule, items: Iterable[Item], tensor_of: Callable[[Item], Tensor]) -> list[tuple[Rule, list[Item]]]:
    """Group ``items`` by the rule that ``rule`` chooses for their tensors, in order."""
    found: list[tuple[Rule, list[Item]]] = []
    for item in items:
        chosen = rule.choose(tensor_of(item))
        for known, theirs in found:
            if known is chosen or known == chosen:
                theirs.append(item)
                break
        else:
            found.append((chosen, [item]))
    return found


def inside(name: str, taken: Container[str]) -> str:
    """Return a name for something in a rule inside another, different from the names ``taken`` by the outer rule."""
    while name in taken:
        name = f"inner {name}"
    return name
