"""Parameter groups: tensors that an optimizer treats differently."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base import checks
from ..base.guide import Guided
from ..layers.spec import Tensor
from ..schedules import Schedule
from .rules import Hyper, Rule


@dataclass(frozen=True)
class Group(Guided):
    """Tensors for which ``where(tensor)`` is True, and the settings that differ for them.

    ``Group(lambda tensor: tensor.name.startswith("0."), lr_factor=0.1)`` trains the first layer with a tenth of the
    learning rate.

    Args:
        where: a predicate. It is given ``tensor.name`` (``"0.W"``), ``.shape`` and ``.decay`` (the tag, False for
            biases and gains).
        lr_factor: factor of the learning rate of the step.
        lr: replaces the learning rate of the step, for example by a cyclical schedule. Controllers scale it as well.
        weight_decay: replaces that of the optimizer. It also applies to biases and gains in the group.
        rule: replaces that of the optimizer.
        frozen: whether these tensors are not trained. Their gradients do not count for the optimizer's clip_norm. A
            BatchNorm whose gamma and beta are both frozen is frozen as a whole: its running statistics do not change,
            and training passes normalise by them, as with Keras's ``trainable = False``. (PyTorch's
            ``requires_grad = False`` does not stop the statistics; ``.eval()`` does.) A learning rate of 0 does not
            freeze statistics.
        name: name of the group's hyper-parameters in the history; ``"group 0"`` and so on by default.

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
        """Return whether the tensor is in the group.

        Args:
            tensor: name, shape and tag of a parameter, as in ``Net.tensors``.

        Raises:
            ValueError: ``where`` raised an error.
            TypeError: ``where`` did not return a bool.
        """
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
    """Return the value, at least 0, of a hyper-parameter or schedule at a step, counted from 0."""
    return checks.non_negative(who, name, value(step) if isinstance(value, Schedule) else value)


def names_of(groups: Sequence[Group]) -> list[str]:
    """Return the name of each group in the history and in errors; ValueError if two have the same name."""
    names = [f"group {i}" if group.name is None else group.name for i, group in enumerate(groups)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Optimizer: expected groups of different names; got {name!r} twice")
    return names


def split(tensors: Sequence[Tensor], groups: Sequence[Group]) -> list[list[Tensor]]:
    """Return the tensors in no group, then those of each group.

    Raises:
        ValueError: a group has no tensors, or a tensor is in two groups.
    """
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
