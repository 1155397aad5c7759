"""Parameter groups: which tensors an optimizer treats in a way of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks
from ..layers.spec import Tensor
from ..schedules import Schedule
from .rules import Hyper, Rule


@dataclass(frozen=True)
class Group:
    """Tensors for which ``where(tensor)`` holds, and what is different for them; all else is as for the others.

    A predicate sees ``tensor.name`` (``"0.W"``), ``.shape`` and ``.decay`` (the tag: False for biases and gains).
    ``Group(lambda tensor: tensor.name.startswith("0."), lr_factor=0.1)`` is the first layer at a tenth of the rate.

    Args:
        where: the predicate.
        lr_factor: times the rate of the step.
        lr: in place of the rate of the step, such as a cyclical range of the group's own. Controllers scale it as well.
        weight_decay: in place of the optimizer's; given here, it does reach biases and gains that are in the group.
        rule: in place of the optimizer's.
        frozen: whether these tensors stay as they are. Their gradients do not count in the optimizer's clip_norm. A
            BatchNorm whose gamma and beta are both frozen is frozen as a whole: its running statistics stay as they
            are, and training passes normalise by them, as with Keras's ``trainable = False``. (PyTorch's
            ``requires_grad = False`` leaves the statistics moving; there ``.eval()`` stops them.) A rate of 0 freezes
            no statistics.
        name: of its hyper-parameters in the history; ``"group 0"`` and so on unless given.

    All numbers may be schedules of the step.
    """

    where: Callable[[Tensor], bool]
    lr_factor: Hyper = 1.0
    lr: Hyper = None
    weight_decay: Hyper = None
    rule: Rule | None = None
    frozen: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.where):
            raise TypeError(f"Group: expected where as a function of a tensor; got {self.where!r}")
        for name in ("lr_factor", "lr", "weight_decay"):
            if name == "lr_factor" or getattr(self, name) is not None:
                hyper_at("Group", name, getattr(self, name), 0)
        checks.truth("Group", "frozen", self.frozen)
        if self.rule is not None and not isinstance(self.rule, Rule):
            raise TypeError(f"Group: expected a Rule, such as Adam(); got {self.rule!r}")
        if not (self.name is None or isinstance(self.name, str)):
            raise TypeError(f"Group: expected name as text; got {self.name!r}")
        if self.lr is not None and self.lr_factor != 1.0:
            raise ValueError(f"Group: expected lr or lr_factor, not both; got {self.lr!r} and {self.lr_factor!r}")
        if self.frozen and (self.rule, self.lr, self.weight_decay, self.lr_factor) != (None, None, None, 1.0):
            raise ValueError(f"Group: expected nothing beside frozen=True; got {self!r}")

    def holds(self, tensor: Tensor) -> bool:
        """Whether the tensor is in the group; ValueError if ``where`` raises, TypeError if it gives no bool."""
        expected = "where(tensor) to be True or False for a tensor, with its name, shape and decay"
        try:
            found = self.where(tensor)
        except Exception as error:
            came = f"{type(error).__name__}: {error} for {tensor.name}"
            raise ValueError(f"Group: expected {expected}; got {came}") from error
        if not isinstance(found, (bool, np.bool_)):
            raise TypeError(f"Group: expected {expected}; got {found!r} for {tensor.name}")
        return bool(found)


def hyper_at(who: str, name: str, value: Any, step: int) -> float:
    """A hyper-parameter's number at a step from 0, of at least 0; it may be a schedule."""
    return checks.non_negative(who, name, value(step) if isinstance(value, Schedule) else value)


def names_of(groups: Sequence[Group]) -> list[str]:
    """What each is called in the history and in errors; ValueError for two of one name."""
    names = [f"group {i}" if group.name is None else group.name for i, group in enumerate(groups)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Optimizer: expected groups of different names; got {name!r} twice")
    return names


def split(tensors: Sequence[Tensor], groups: Sequence[Group]) -> list[list[Tensor]]:
    """Tensors of no group, then those of each; ValueError for a group without any, or a tensor in two."""
    names = names_of(groups)
    rest, members = [], [[] for _ in groups]  # type: tuple[list[Tensor], list[list[Tensor]]]
    for tensor in tensors:
        found = [i for i, group in enumerate(groups) if group.holds(tensor)]
        if len(found) > 1:
            both = " and ".join(names[i] for i in found)
            raise ValueError(f"Optimizer: expected groups that do not overlap; got {tensor.name} in {both}")
        (members[found[0]] if found else rest).append(tensor)
    for name, inside in zip(names, members, strict=True):
        if not inside:
            among = ", ".join(tensor.name for tensor in tensors)
            raise ValueError(f"Optimizer: expected {name} to match a tensor; got none of {among}")
    return [rest, *members]
