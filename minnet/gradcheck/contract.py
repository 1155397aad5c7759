"""The contract of layers: do not write to x or dy, and overwrite every gradient.

A layer that writes to its input x or to dy may have a correct gradient, but it spoils arrays that its neighbours read.
A gradient that a layer adds to the old contents is wrong too, because no pass clears gradients beforehand.
"""

from typing import Any

import numpy as np

from ..layers import Layer
from ..net.net import Net
from .result import GradientCheck, TensorCheck, unjudged

NOT_WRITTEN = "not written"


class Watch:
    """Watch whether the layers of a net keep the contract, for batches of n samples. The net should be a twin.

    Arrays that a layer must not change are restored, so the rest of the check judges the layer's numbers alone.

    Attributes:
        trespasses: one verdict for each layer and array, such as ``"2.x"`` or ``"2.dy"``.
        notes: for each gradient that was not overwritten, such as ``"2.W"`` or ``"2.dx"``, what the layer did instead.
    """

    def __init__(self, net: Net, n: int) -> None:
        self.trespasses: dict[str, TensorCheck] = {}
        self.notes: dict[str, str] = {}
        self._watch(net._root, net._batch(n).memory)

    def _watch(self, node: Any, m: Any) -> None:
        """Replace the layers in m, and those inside them, by watched ones."""
        exchanged = {}
        for k, (inner, (layer, memory)) in enumerate(zip(node.children, m.children, strict=True)):
            exchanged[id(memory)] = _Watched(layer, inner.name, [p.name for p in inner.plan.params], self)
            m.children[k] = exchanged[id(memory)], memory
            self._watch(inner, memory)
        if hasattr(m, "steps"):  # a Chain keeps its layers also in the order of its passes
            m.steps = [(exchanged[id(memory)], memory, y) for _, memory, y in m.steps]
            m.steps_back = [(i, exchanged[id(memory)], memory, *rest) for i, _, memory, *rest in m.steps_back]

    def trespass(self, who: str, place: str, name: str, array: np.ndarray, kept: np.ndarray) -> None:
        """Record a pass that has changed an array, and restore the array."""
        if np.array_equal(array, kept, equal_nan=True):
            return
        same = (array == kept) | (np.isnan(array) & np.isnan(kept))
        at = tuple(int(i) for i in np.argwhere(~same)[0])
        note = f"{who} writes to {'its input x' if name == 'x' else 'dy'}, which is not its own: work on a copy"
        self.trespasses.setdefault(f"{place}.{name}", unjudged(f"{place}.{name}", array.size, note, at))
        array[...] = kept

    def completed(self, check: GradientCheck, first: str = "0") -> GradientCheck:
        """Add the findings to a check; ``first`` is the place of the layer whose dx is the input's gradient."""
        notes = {("input" if name == f"{first}.dx" else name): note for name, note in self.notes.items()}
        tensors = tuple(_noted(t, notes) for t in check.tensors)
        named = {t.name for t in tensors}
        inside = [unjudged(name, 0, note) for name, note in notes.items() if name not in named and name.endswith(".dx")]
        found = [*self.trespasses.values(), *inside]
        remarks = [f"{t.name}: {t.note}." for t in found]
        remarks += [f"{name}: {note}." for name, note in notes.items() if name in named and note != NOT_WRITTEN]
        return GradientCheck(
            (*found, *tensors), check.mode, check.evaluations, check.nondeterminism, check.sweep
        ).remarked(*remarks, check.remark)


def _noted(tensor: TensorCheck, notes: dict[str, str]) -> TensorCheck:
    """Replace the note of a tensor that was not written by a more precise one."""
    if tensor.note != NOT_WRITTEN or tensor.name not in notes:
        return tensor
    return unjudged(tensor.name, tensor.size, notes[tensor.name], tensor.worst)


class _Watched:
    """A layer with the interface that composites call, which reports to a ``Watch``."""

    def __init__(self, layer: Layer, place: str, params: list[str], watch: Watch) -> None:
        self.layer, self.place, self.params, self.watch = layer, place, params, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)

    def _who(self, method: str) -> str:
        return f"{type(self.layer).__name__}.{method}"

    def forward(self, m: Any, x: np.ndarray, y: np.ndarray) -> None:
        kept = x.copy()
        self.layer.forward(m, x, y)
        self.watch.trespass(self._who("forward"), self.place, "x", x, kept)

    def backward(self, m: Any, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        given = {"x": (x, x.copy()), "dy": (dy, dy.copy())}

        def passed() -> None:
            self.layer.backward(m, x, y, dy, dx)
            for name, (array, kept) in given.items():
                self.watch.trespass(self._who("backward"), self.place, name, array, kept)

        places = {name: getattr(m, f"d{name}") for name in self.params}
        if dx is not None:
            places["dx"] = dx
        if not self.params and dx is None:
            passed()
            return
        for place in places.values():
            place.fill(np.nan)
        passed()
        unwritten = {name: np.isnan(place) for name, place in places.items() if np.isnan(place).any()}
        if unwritten and not any(np.isnan(a).any() for a in (x, y, dy)):
            self._tell_why(places, unwritten, passed)

    def _tell_why(self, places: dict[str, np.ndarray], unwritten: dict[str, np.ndarray], passed: Any) -> None:
        """Find out whether gradients that stay NaN are added to old contents, by running the pass on zeros and ones."""
        left = {name: place.copy() for name, place in places.items()}
        made = []
        for start in (0.0, 1.0):
            for place in places.values():
                place.fill(start)
            passed()
            made.append({name: places[name][where] for name, where in unwritten.items()})
        for name, place in places.items():
            place[...] = left[name]
        zeros, ones = made
        for name in unwritten:
            adds = zeros[name].any() and np.allclose(ones[name] - zeros[name], 1.0, atol=1e-3)
            kept = not zeros[name].any() and (ones[name] == 1).all()
            lost = np.isnan(zeros[name]).any()
            self.watch.notes[f"{self.place}.{name}"] = (
                f"{self._who('backward')} adds to what was in d{name.removeprefix('d')}: overwrite it, every pass"
                if adds
                else NOT_WRITTEN
                if kept or lost
                else f"{self._who('backward')} depends on what was in d{name.removeprefix('d')}: overwrite it"
            )
