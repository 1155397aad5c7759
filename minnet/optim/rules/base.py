"""What an update rule is."""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from ... import checks
from ...layers.spec import Tensor
from ...schedules import Schedule
from .names import check_names

Item = TypeVar("Item")
State = Sequence[np.ndarray]
Hyper = Any  # float | Schedule: ``apply`` and ``check`` see numbers only, which such a union could not say


@dataclass(frozen=True)
class Run:
    """Elements that one call of ``Rule.apply`` updates.

    ``params`` and ``grads`` are flat views of shape (n,), or one tensor in its own shape for a rule that is ``shaped``;
    ``state`` is what the rule keeps for them, ``tensors`` what lies in them, placed from the run's own start, which is
    element ``start`` of the optimizer's vectors.
    """

    params: np.ndarray
    grads: np.ndarray
    state: State
    tensors: tuple[Tensor, ...]
    start: int = 0


class Rule:
    """What an update rule is: a frozen dataclass with named state ``slots`` and an in-place ``apply``.

    A rule of one's own overrides both, in plain NumPy if one likes. State starts at 0 unless ``start`` says otherwise.

    Class attributes:
        slots: names of the arrays kept beside the parameters, each of their size and dtype.
        numbers: names of single numbers kept with them (float64), such as a running product.
        shaped: whether ``apply`` needs one whole tensor at a time, in its own shape, for its norms or its rows. Others
            work element by element and get the longest runs of elements that are treated alike.
        searches: whether the rule tries several points a step (a line search) and defines ``search`` for ``apply``.

    A rule has no rate: it comes with the step. Hyper-parameters of minnet's own rules are given by name, but for the
    momentum of ``Momentum(0.9)`` and its kind, and what a combinator is around.

    A hyper-parameter may be a schedule of the step: ``Momentum(Linear(0.5, 0.99, 1000))``. ``apply`` sees numbers only.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    numbers: ClassVar[tuple[str, ...]] = ()
    shaped: ClassVar[bool] = False
    searches: ClassVar[bool] = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Words for what the constructor would refuse with less. Rules of one's own may have another.
        if cls.__module__.startswith("minnet.optim.rules.") and (args or kwargs):
            check_names(cls, args, kwargs)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name, field in getattr(self, "__dataclass_fields__", {}).items():
            if field.type in (bool, "bool"):
                checks.truth(type(self).__name__, name, getattr(self, name))
        first = self.at(0)
        if first is self:  # else building it has checked the values of step 0
            self.check()

    def check(self) -> None:
        """Raise a clear error for a hyper-parameter out of its range; only numbers stand in their places here."""

    def start(self, params: np.ndarray, state: State) -> None:
        """Fill the state of a run, which comes as zeros, before the first step."""

    def change_gradients(self, runs: Sequence[Run], *, t: int) -> None:
        """Once a step and before all else: change the gradients in place, as clipping does.

        ``runs`` is all that the rule was given, whatever group it is in and whichever rule ``choose`` gives it, so
        only what the rule's own slots hold is known to be in ``state``.
        """
        for rule, theirs in by_choice(self, runs, lambda run: run.tensors[0]):
            if rule is not self:
                rule.change_gradients(theirs, t=t)

    def prepare(self, runs: Sequence[Run], *, lr: float, t: int) -> None:
        """Once a step and before ``apply``, with all that this rule updates in one group: what needs all of it."""

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        """Update params and state in place, given grads, for step t = 1, 2, ...

        ``state`` is one array a slot, of the shape of params (see ``Run``), and behind them, if the rule has
        ``numbers``, one array of these. The rule itself applies ``decay``. The optimizer calls once for every run of
        elements that are treated alike, and has checked sizes, dtypes and memory order of all arrays when it was built;
        ``apply`` itself does not, and kernels would read past the end of one that is too short.
        """
        raise NotImplementedError(f"{type(self).__name__} must define apply(params, grads, state, *, lr, t, decay)")

    def search(self, run: Run, loss: float, evaluate: Callable[[], float], *, lr: float, t: int) -> None:
        """In place of ``apply``: ``loss`` is that of params, ``evaluate()`` computes loss and grads for new ones."""
        raise NotImplementedError(f"{type(self).__name__} must define search(run, loss, evaluate, *, lr, t)")

    def evaluated(self, params: np.ndarray, state: State) -> np.ndarray | None:
        """The point that this rule hands out, where that is not ``params``, at which it takes gradients."""
        return None

    def choose(self, tensor: Tensor) -> "Rule":
        """The rule for this tensor: this one, unless it leaves some to another."""
        return self

    def is_shaped(self) -> bool:
        """Whether ``apply`` needs one whole tensor at a time; not only by ``shaped`` where a rule contains another."""
        return self.shaped

    def refuses_spikes(self) -> bool:
        """Whether the gradient must be small enough for its squares, as for all of minnet's own (``GuardedRule``)."""
        return False

    def updates(self, steps: int) -> int:
        """In how many of so many steps the parameters move."""
        return steps

    def slot_names(self) -> tuple[str, ...]:
        """Names of all slots; more than ``slots`` where a rule contains another."""
        return self.slots

    def number_names(self) -> tuple[str, ...]:
        """Names of all numbers; more than ``numbers`` where a rule contains another."""
        return self.numbers

    def scheduled(self) -> dict[str, Schedule]:
        """The hyper-parameters that are schedules, by name, and those of rules inside this one."""
        values = self._values()
        found = {name: value for name, value in values.items() if isinstance(value, Schedule)}
        for inner in values.values():
            if isinstance(inner, Rule):
                for name, schedule in inner.scheduled().items():
                    found[inside(name, found)] = schedule
        return found

    def at(self, step: int) -> Self:
        """This rule at a step from 0: every schedule replaced by its value there."""
        changed = {}
        for name, value in self._values().items():
            now = value(step) if isinstance(value, Schedule) else value.at(step) if isinstance(value, Rule) else value
            if now is not value:
                changed[name] = now
        return replace(self, **changed) if changed else self  # type: ignore[type-var]  # rules are dataclasses

    def _values(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in getattr(self, "__dataclass_fields__", ())}


def by_choice(rule: Rule, items: Iterable[Item], tensor_of: Callable[[Item], Tensor]) -> list[tuple[Rule, list[Item]]]:
    """``items`` by the rule that ``rule`` chooses for their tensors, in order."""
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
    """The name of something in a rule inside another, where the outer one has ``taken`` some names already."""
    while name in taken:
        name = f"inner {name}"
    return name
