"""How an optimizer divides the tensors of a net among rules and groups."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..layers.spec import Tensor
from .groups import Group, names_of, split
from .part import Part, refuse_to_stand_by
from .rules import Hyper, Rule
from .rules.base import by_choice


@dataclass(frozen=True)
class Division:
    """The parts of an optimizer.

    Attributes:
        parts: all parts, those without a group first.
        sources: each rule as it was given, with all parts that it is for. The rule of the optimizer comes first.
        grouped: names of the tensors of each group, by the name of the group.
        frozen: names of the tensors in frozen groups, in the order of the tensors.
    """

    parts: list[Part]
    sources: list[tuple[Rule, list[Part]]]
    grouped: dict[str, list[str]]
    frozen: tuple[str, ...]


def divide(rule: Rule, weight_decay: Hyper, groups: Sequence[Group], tensors: Sequence[Tensor]) -> Division:
    """Divide the tensors into parts. A part has the tensors of one group that one rule updates.

    Args:
        rule, weight_decay: those of tensors in no group, and of groups that have none of their own.
        groups: the groups.
        tensors: all tensors.

    Raises:
        ValueError: a group has no tensors, two groups share a tensor or a name, or a rule leaves all of its tensors
            to another rule.
    """
    rest, *members = split(tensors, groups)
    sources: list[tuple[Rule, list[Part]]] = [(rule, [])]
    every: list[Part] = []
    for group, inside in ((Group(lambda tensor: True), rest), *zip(groups, members, strict=True)):
        if group.frozen:
            continue
        decay = weight_decay if group.weight_decay is None else group.weight_decay
        source = rule if group.rule is None else group.rule
        if inside and (group.rule is not None or not groups):
            refuse_to_stand_by(source, inside)
        parts = [Part(group, source, decay, chosen) for _, chosen in by_choice(source, inside, lambda t: t)]
        if group.rule is None:
            sources[0][1].extend(parts)
        else:
            sources.append((source, parts))
        every += parts
    grouped = {name: [tensor.name for tensor in inside] for name, inside in zip(names_of(groups), members, strict=True)}
    still = {tensor for group, inside in zip(groups, members, strict=True) if group.frozen for tensor in inside}
    return Division(every, sources, grouped, tuple(tensor.name for tensor in tensors if tensor in still))


def checked_groups(groups: Any) -> tuple[Group, ...]:
    """Return groups as a tuple; TypeError for anything else than groups."""
    if not isinstance(groups, Iterable):
        raise TypeError(f"Optimizer: expected groups as a list; got {groups!r}")
    found = tuple(groups)
    for group in found:
        if not isinstance(group, Group):
            raise TypeError(f"Optimizer: expected groups that are Group objects; got {group!r}")
    return found
