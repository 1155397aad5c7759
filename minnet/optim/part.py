"""A part of an optimizer: the tensors of one group that one rule updates."""

from collections.abc import Sequence

import numpy as np

from ..layers.spec import Tensor
from ..schedules import Schedule
from .groups import Group, hyper_at
from .rules import Hyper, Rule, Run, State
from .rules.spikes import refusal, too_large

# Of a run: (start, stop, whether it decays, tensors).
Span = tuple[int, int, bool, tuple[Tensor, ...]]


class Part:
    """The tensors of one group that one rule updates, as runs of adjacent elements, with the hyper-parameters.

    ``rule``, ``lr`` (None for the learning rate of the step), ``factor`` and ``decay`` have the values of the step that
    ``ask`` was last called for.
    """

    def __init__(self, group: Group, source: Rule, weight_decay: Hyper, tensors: list[Tensor]) -> None:
        self.group, self.source, self.weight_decay, self.tensors = group, source, weight_decay, tensors
        self.rule = source.choose(tensors[0])
        values = (group.lr, group.lr_factor, weight_decay)
        self.varies = bool(self.rule.scheduled()) or any(isinstance(value, Schedule) for value in values)
        self.lr: float | None = None
        self.runs: list[Run] = []
        self.calls: list[tuple[np.ndarray, np.ndarray, State, bool]] = []  # for each run, and whether it decays
        self.ask(0)

    def ask(self, step: int) -> None:
        """Evaluate every schedule at a step, counted from 0; ValueError if a value is out of its range."""
        group = self.group
        self.rule = self.rule_at(step)
        if group.lr is not None:
            self.lr = hyper_at("Group", "lr", group.lr, step)
        self.factor = hyper_at("Group", "lr_factor", group.lr_factor, step)
        self.decay = hyper_at("Optimizer", "weight_decay", self.weight_decay, step)

    def rule_at(self, step: int) -> Rule:
        """Return the rule with its hyper-parameters at a step, counted from 0."""
        return self.source.at(step).choose(self.tensors[0]) if self.varies else self.rule

    def rate(self, rate: float, lr_factor: float) -> float:
        """Return the learning rate of this part; ``rate`` is that of the step and includes ``lr_factor``."""
        return rate * self.factor if self.lr is None else self.lr * lr_factor

    def spans(self) -> list[Span]:
        """Return the span of each run: one tensor if the rule uses shapes, else adjacent tensors that decay alike."""
        spares = self.group.weight_decay is None and self.weight_decay  # whether the tag ``decay`` matters
        found: list[Span] = []
        for tensor in self.tensors:
            decays = tensor.decay if spares else bool(self.weight_decay)
            if found and not self.rule.is_shaped() and found[-1][1:3] == (tensor.start, decays):
                start, _, _, before = found.pop()
                found.append((start, tensor.stop, decays, (*before, tensor)))
            else:
                found.append((tensor.start, tensor.stop, decays, (tensor,)))
        return [span for span in found if span[0] < span[1]]

    def add_run(self, run: Run, decays: bool) -> None:
        """Add a run and initialise the state of the rule for it."""
        self.rule.start(run.params, run.state)
        self.runs.append(run)
        self.calls.append((run.params, run.grads, run.state, decays))

    def apply(self, rate: float, t: int) -> None:
        """Let the rule update all runs at a learning rate, in step ``t``, counted from 1.

        Raises:
            FloatingPointError: the rule refused a gradient; the message names the tensors, which a rule does not know.
        """
        apply, decay = self.rule.apply, self.decay
        try:
            for params, grads, state, decays in self.calls:
                apply(params, grads, state, lr=rate, t=t, decay=decay if decays else 0.0)
        except FloatingPointError as error:
            for run in self.runs if self.rule.refuses_spikes() else ():
                if too_large(run.grads).any():
                    raise refusal(type(self.rule).__name__, run.grads, run.tensors) from None
            raise error from None


def refuse_to_stand_by(source: Rule, tensors: Sequence[Tensor]) -> None:
    """Raise ValueError if a rule leaves all of its tensors to another rule, as Muon does with vectors."""
    chosen = [source.choose(tensor) for tensor in tensors]
    if not any(rule is source for rule in chosen):
        names = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in tensors[:3])
        more = f" and {len(tensors) - 3} more" if len(tensors) > 3 else ""
        own, other = (type(_innermost(rule)).__name__ for rule in (source, chosen[0]))
        raise ValueError(
            f"Optimizer: expected a tensor that {own} updates itself; got {names}{more}, which it leaves to {other}. "
            "For flat arrays give shapes, such as {'W': (4, 3), 'b': (3,)}; where this is meant, give that rule"
        )


def _innermost(rule: Rule) -> Rule:
    """Return the rule inside all combinators, such as Muon in ``LookAhead(Muon())``."""
    while isinstance(inner := getattr(rule, "rule", None), Rule):
        rule = inner
    return rule
