"""The flat vectors of a net: parameters, gradients and buffers, and the penalties over the parameters."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..base import streams
from ..kernels.arrays import aligned_empty
from ..kernels.passes import flat as kernels
from ..layers.memory import Node
from ..layers.spec import Layout, Param, Tensor


class Vectors:
    """Flat vectors of parameters, gradients and buffers, and views into them by name."""

    dtype: np.dtype
    seed: int
    l2: float
    l1: float
    max_norm: float | None
    _root: Node

    def _own_vectors(self) -> None:
        """Lay out and fill the flat vectors, and give every node views by name."""
        declared: list[tuple[str, Node, Param]] = [
            (f"{node.name}.{param.name}", node, param) for node in self._root.walk() for param in node.plan.params
        ]
        drawn = list(declared)  # in the order of the layers, which keys the random numbers
        declared.sort(key=lambda entry: not entry[2].decay)  # decaying parameters first, so that they are one slice
        self.layout = Layout((name, param.shape) for name, _, param in declared)
        self.decaying = sum(math.prod(param.shape) for _, _, param in declared if param.decay)
        self.tensors = tuple(
            Tensor(place.name, place.shape, place.start, place.stop, param.decay)
            for place, (_, _, param) in zip(self.layout.places.values(), declared, strict=True)
        )
        self._params, self._grads = (aligned_empty(self.layout.size, self.dtype) for _ in range(2))
        self._grads.fill(0)
        params, grads = self.layout.views(self._params), self.layout.views(self._grads)
        for name, node, param in declared:
            node.arrays[param.name] = params[name]
            node.arrays[f"d{param.name}"] = grads[name]
        for i, (name, _, param) in enumerate(drawn):
            params[name][...] = self._draw(i, name, param)
        kept = [
            (f"{node.name}.{buffer.name}", node, buffer) for node in self._root.walk() for buffer in node.plan.buffers
        ]
        self.buffer_layout = Layout((name, buffer.shape) for name, _, buffer in kept)
        self._buffers = np.zeros(self.buffer_layout.size, self.dtype)
        buffers = self.buffer_layout.views(self._buffers)
        for name, node, buffer in kept:
            buffers[name].fill(buffer.fill)
            node.arrays[buffer.name] = buffers[name]
        self._carried = [(buffers[name], buffer.fill) for name, _, buffer in kept if buffer.carried]
        self._least = {name: buffer.least for name, _, buffer in kept}
        self._limited = {
            name: params[name].reshape(-1, param.shape[-1])
            for name, _, param in declared
            if param.decay and param.shape
        }

    def _draw(self, index: int, name: str, param: Param) -> np.ndarray:
        """Draw the initial values of a parameter."""
        values = np.asarray(param.init(streams.generator(self.seed, "initial weights", index), param.shape))
        if values.shape != param.shape or not np.isfinite(values).all():
            raise ValueError(
                f"{name}: expected {param.init} to give finite values of shape {param.shape}; got {values}"
            )
        return values

    @property
    def params(self) -> np.ndarray:
        """Flat vector (P,) of all trained values. Assignment copies the values, so views stay valid."""
        return self._params

    @params.setter
    def params(self, values: np.ndarray) -> None:
        _copy_into(self._params, values, "params")

    @property
    def grads(self) -> np.ndarray:
        """Flat vector (P,) of the gradient of the last backward pass. Assignment copies the values."""
        return self._grads

    @grads.setter
    def grads(self, values: np.ndarray) -> None:
        _copy_into(self._grads, values, "grads")

    @property
    def buffers(self) -> np.ndarray:
        """Flat vector of values that are kept but not trained, such as running means. Assignment copies the values."""
        return self._buffers

    @buffers.setter
    def buffers(self, values: np.ndarray) -> None:
        _copy_into(self._buffers, values, "buffers")

    def named_parameters(self) -> dict[str, np.ndarray]:
        """Return views into ``params`` by name (``"0.W"``). They are valid as long as the net exists."""
        return self.layout.views(self._params)

    def named_gradients(self) -> dict[str, np.ndarray]:
        """Return views into ``grads`` by name. They are valid as long as the net exists."""
        return self.layout.views(self._grads)

    def named_buffers(self) -> dict[str, np.ndarray]:
        """Return views into ``buffers`` by name. They are valid as long as the net exists."""
        return self.buffer_layout.views(self._buffers)

    def too_low(self, buffers: np.ndarray) -> str | None:
        """Return which value no training can have left in buffers, such as a variance below 0, for an error.

        Args:
            buffers: what ``buffers`` is to become, shape (B,), or several of them, shape (k, B).

        Returns:
            The name, the least value and the one found, ``"2.running_var of at least 0; got -0.5"``; None if all
            values are possible.
        """
        for place in self.buffer_layout.places.values():
            found, least = buffers[..., place.start : place.stop].min(initial=math.inf), self._least[place.name]
            if found < least:
                return f"{place.name} of at least {least:g}; got {found:g}"
        return None

    def reset_state(self) -> None:
        """Let the next training pass start from the state 0, as at the beginning of a text.

        This concerns layers that carry a state on, such as ``LSTM(units, streams=batch_size)``. Others do not change.
        A Trainer does it at the start of every epoch.
        """
        for array, start in self._carried:
            array.fill(start)

    def add_penalties(self) -> tuple[float, float]:
        """Add the gradients of the penalties to ``grads``.

        Returns:
            (L2, L1): l2 / 2 * sum(w^2) and l1 * sum(|w|) over the parameters that decay; 0 for a penalty of strength 0.
        """
        weights, grads = self._params[: self.decaying], self._grads[: self.decaying]
        l2 = l1 = 0.0
        if self.l2:
            l2 = 0.5 * self.l2 * kernels.add_l2(weights, self.dtype.type(self.l2), grads)
        if self.l1:
            l1 = self.l1 * kernels.add_l1(weights, self.dtype.type(self.l1), grads)
        return l2, l1

    def penalties(self) -> tuple[float, float]:
        """Return the values (L2, L1) of the penalties at the current weights."""
        weights = self._params[: self.decaying]
        l2 = 0.5 * self.l2 * kernels.sum_of_squares(weights) if self.l2 else 0.0
        return l2, self.l1 * float(np.abs(weights).sum(dtype=np.float64)) if self.l1 else 0.0

    def apply_constraints(self, among: Iterable[Tensor] | None = None) -> None:
        """Scale down the incoming weights of units whose norm is above ``max_norm``.

        The optimizer calls this after a step, for the tensors that the step was to update.

        Args:
            among: tensors to look at; all if None.
        """
        if self.max_norm is not None:
            for tensor in self.tensors if among is None else among:
                if tensor.name in self._limited:
                    kernels.limit_unit_norms(self._limited[tensor.name], self.max_norm)


def _copy_into(target: np.ndarray, values: Any, name: str) -> None:
    if np.shape(values) != target.shape:
        raise ValueError(f"Net: expected {name} of shape {target.shape}; got shape {np.shape(values)}")
    values = np.asarray(values)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"Net: expected {name} as real numbers; got dtype {values.dtype}")
    np.copyto(target, values, casting="same_kind")
