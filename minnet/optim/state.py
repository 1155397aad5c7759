"""The arrays that the rules of an optimizer keep between two steps."""

from collections.abc import Sequence

import numpy as np

from ..layers.spec import Tensor
from .part import Part, Span
from .rules import Rule, Run
from .rules.base import kind_of


class RuleState:
    """State of all rules of an optimizer: one row per slot, and the single numbers of each run.

    Args:
        rule: the rule of the optimizer. It names the slots if there are no parts.
        parts: the parts. Each is given its runs, with views into the state.
        params, grads: flat arrays (P,).

    Attributes:
        spans: each run as its part and its span.
    """

    def __init__(self, rule: Rule, parts: Sequence[Part], params: np.ndarray, grads: np.ndarray) -> None:
        self._rule, self._parts = rule, parts
        self.spans: list[tuple[Part, Span]] = [(part, span) for part in parts for span in part.spans()]
        slots = max([len(part.rule.slot_names()) for part in parts], default=len(rule.slot_names()))
        numbers = max([len(part.rule.number_names()) for part in parts], default=0)
        self._slots = np.zeros((slots, params.size), params.dtype)
        self._numbers = np.zeros((len(self.spans), numbers))
        for (part, span), own in zip(self.spans, self._numbers, strict=True):
            part.add_run(self._run(part.rule, span, params, grads, own), decays=span[2])

    def _run(self, rule: Rule, span: Span, params: np.ndarray, grads: np.ndarray, numbers: np.ndarray) -> Run:
        """Return the views of one run."""
        start, stop, _, tensors = span
        shape = tensors[0].shape if rule.is_shaped() else (stop - start,)
        slots, names = len(rule.slot_names()), rule.number_names()
        state = tuple(slot[start:stop].reshape(shape) for slot in self._slots[:slots])
        return Run(
            params[start:stop].reshape(shape),
            grads[start:stop].reshape(shape),
            (*state, numbers[: len(names)]) if names else state,
            tuple(Tensor(t.name, t.shape, t.start - start, t.stop - start, t.decay) for t in tensors),
            start,
        )

    @property
    def slots(self) -> np.ndarray:
        """Array of shape (slots, P) in the dtype of the parameters. Assignment copies the values."""
        return self._slots

    @slots.setter
    def slots(self, values: np.ndarray) -> None:
        if np.shape(values) != self._slots.shape:
            raise ValueError(f"Optimizer: expected state of shape {self._slots.shape}; got {np.shape(values)}")
        np.copyto(self._slots, values, casting="same_kind")

    @property
    def numbers(self) -> np.ndarray:
        """Float64 array of shape (runs, n). Assignment copies the values."""
        return self._numbers

    @numbers.setter
    def numbers(self, values: np.ndarray) -> None:
        if np.shape(values) != self._numbers.shape:
            raise ValueError(f"Optimizer: expected numbers of shape {self._numbers.shape}; got {np.shape(values)}")
        np.copyto(self._numbers, values, casting="same_kind")

    def named(self) -> dict[str, np.ndarray]:
        """Return views by slot, each of shape (P,); by tensor and slot if rules have different slots."""
        names = {part.rule.slot_names() for part in self._parts} or {self._rule.slot_names()}
        if len(names) == 1:
            return dict(zip(*names, self._slots, strict=True))
        return {
            f"{tensor.name}.{slot}": values[tensor.start : tensor.stop].reshape(tensor.shape)
            for part in self._parts
            for tensor in part.tensors
            for slot, values in zip(part.rule.slot_names(), self._slots, strict=False)
        }

    def contents(self) -> dict[str, str]:
        """Return what the state is of, as text, whatever the hyper-parameters: names of tensors by ``kind`` of rule.

        Two optimizers with the same contents can take each other's state. Rules that keep ``numbers`` keep them by run,
        so their runs are part of the contents.
        """
        found: dict[str, str] = {}
        for part, (_, _, _, tensors) in self.spans:
            names = ", ".join(tensor.name for tensor in tensors)
            kind = kind_of(part.rule)
            together = f"{found[kind]}{'; ' if part.rule.number_names() else ', '}{names}" if kind in found else names
            found[kind] = together
        return found

    def trained(self, array: np.ndarray) -> list[np.ndarray]:
        """Return views of a flat array (P,) that hold everything except frozen tensors."""
        ranges = sorted((start, stop) for _, (start, stop, _, _) in self.spans)
        whole = sum(stop - start for start, stop in ranges) == array.size
        return [array] if whole else [array[start:stop] for start, stop in ranges]
