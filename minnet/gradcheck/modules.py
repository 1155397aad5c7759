"""``check_module``: the check of a layer written as a class that keeps weights, gradients and cache as attributes."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..base import streams
from .arguments import Replay, eps_of, is_discrete, is_floats, no_floats, replayer
from .attributes import Path, arrays_of, find, pairs_of, put
from .domain import run_inside
from .modes import How, Problem
from .numeric import Function
from .result import GradientCheck
from .side_effects import accumulates, accumulating, changed, changes
from .subject import quiet

_WHO = "check_module"


def check_module(
    module: Any,
    x: np.ndarray,
    *,
    gradients: Mapping[str, str] | None = None,
    replay: Replay = None,
    seed: int = 0,
    **options: Any,
) -> GradientCheck:
    """Check a layer written as a class, for its parameters and its input: ``check_module(layer, x)``.

    Such a layer has ``forward(x) -> out`` and ``backward(dout) -> dx``, and backward leaves the gradients of the
    parameters on the layer. Every pass runs on a deep copy, so the layer itself does not change. Running means and
    generators of noise that the layer holds start from the same state in every pass. The output is weighted with
    random numbers and summed. If the layer has ``zero_grad()``, it is called before each backward pass.

    Args:
        module: the layer, or an object that holds such layers, also in lists and dicts.
        x: the input. An array of floats is checked; an array of integers, such as indices of embeddings, is not.
        gradients: name of the attribute with the gradient of each parameter, such as ``{"weight": "delta"}``. None to
            find them after a backward pass: ``dW``, ``grad_W`` or ``W_grad`` is the gradient of ``W``, and
            ``grads["W"]`` is that of ``params["W"]``. Parameters of inner layers are named by their path, such as
            ``layers.0.W``. An array that the output depends on and that has no gradient is named in the remark.
        replay, seed, options: as in ``check_gradient``, except ``in_place`` and the complex step.

    Returns:
        A ``GradientCheck`` with a row for each parameter and, if backward returns its gradient, for ``input``.

    Raises:
        TypeError, ValueError: if the passes or the gradients are not as described.
        FloatingPointError: if the output is not finite.
    """
    how = How.checked(_WHO, seed=seed, **options)
    if how.method == "complex":
        raise ValueError(f'{_WHO}: expected method "central" or "richardson"; got "complex" (see check_gradient)')
    if isinstance(module, type) or not (hasattr(module, "forward") and hasattr(module, "backward")):
        hint = " (give an instance, not the class)" if isinstance(module, type) else ""
        raise TypeError(f"{_WHO}: expected a layer with forward(x) and backward(dout); got {module!r}{hint}")
    if not is_floats(x) and not is_discrete(x):
        raise no_floats(_WHO, "x as an array of floats, or of integers", [x])
    passes = _Passes(module, x, replay, seed)
    passes.find_parameters(gradients)
    once, differing, adding = accumulating(passes.gradients)
    values = {name: passes.values[name] for name in once}
    eps = eps_of([*values.values(), passes.cotangent])
    function = Function(quiet(passes.weighted_output), eps=eps, guessed=True)
    check = run_inside(Problem(function, values, once, differing, poisoned=False), how)
    return check.explained(accumulates("backward", adding)).remarked(*passes.remarks)


class _Passes:
    """Forward and backward passes of copies of a module, with its parameters and its input in ``values``."""

    def __init__(self, module: Any, x: np.ndarray, replay: Replay, seed: int) -> None:
        self.module, self.x = module, np.array(x, order="C")
        self.values: dict[str, np.ndarray] = {"input": self.x}
        self.pairs: dict[str, tuple[Path, Path]] = {}  # paths of each parameter and of its gradient
        self.left: dict[str, Any] = {}  # gradients of the previous pass, from which the next one starts
        self.remarks: dict[str, None] = {}  # in the order of discovery, each once
        self._replayed = replayer(replay)
        _, _, out = self._forward()
        if not isinstance(out, np.ndarray) or out.dtype.kind != "f":
            raise TypeError(
                f"{_WHO}: expected forward(x) to give an array of floats; got {type(out).__name__} (a forward that "
                "gives (out, cache) is checked by check_backward)"
            )
        weights = streams.generator(seed, "weights of a module's output").standard_normal(out.shape)
        self.cotangent = np.asarray(weights, out.dtype)

    def find_parameters(self, given: Mapping[str, str] | None) -> None:
        """Fill ``pairs`` and ``values``, from given names or from what a backward pass leaves on the module."""
        twin, dx = self._passed()
        if given is not None:
            found: dict[str, tuple[Path, Path]] = {n: ((n,), (gradient,)) for n, gradient in given.items()}
            for name, paths in found.items():
                for path in paths:
                    if not is_floats(find(twin, path)):
                        raise ValueError(
                            f"{_WHO}: expected {path[0]} of {name} as an array of floats after a backward pass"
                        )
        else:
            pairs, lacking = pairs_of(twin)
            found = {name: paths for name, paths in pairs.items() if is_floats(find(self.module, paths[0]))}
            lacking += self._weights_beside(pairs, lacking)
            self.remarks.update(
                dict.fromkeys(f"{name} was not checked: backward leaves no gradient of it." for name in lacking)
            )
        values = {name: np.array(find(self.module, where), order="C") for name, (where, _) in found.items()}
        # A cache, such as self.x beside self.dx, is rewritten by every forward pass; a parameter is not.
        self.pairs, self.values = found, {name: a + 1 for name, a in values.items()}
        twin, _, _ = self._forward()
        kept = {name for name in found if np.array_equal(find(twin, found[name][0]), self.values[name])}
        self.pairs = {name: paths for name, paths in found.items() if name in kept}
        self.values = {name: values[name] for name in self.pairs}
        if is_floats(self.x) and dx is not None:
            self.values["input"] = self.x
        if not self.values:
            raise ValueError(
                f"{_WHO}: expected parameters with gradients, such as W and dW, or a gradient of x from backward; "
                f"found none on {type(self.module).__name__} (give gradients={{'W': 'its gradient'}})"
            )

    def _weights_beside(self, pairs: Mapping[str, tuple[Path, Path]], lacking: Sequence[str]) -> list[str]:
        """Return the names of other arrays that the output depends on, without caches, which forward rewrites."""
        known = {*lacking, *(".".join(map(str, path)) for paths in pairs.values() for path in paths)}
        others = {".".join(map(str, path)): path for path in arrays_of(self.module)}
        out, again = self._forward()[2], self._forward()[2]
        if not np.array_equal(out, again, equal_nan=True):  # noise that was not put back
            return []
        return [name for name, path in others.items() if name not in known and self._depends_on(path, out)]

    def _depends_on(self, path: Path, out: np.ndarray) -> bool:
        self._replayed()
        twin = copy.deepcopy(self.module)
        find(twin, path)[...] += 1
        moved, found = find(twin, path).copy(), twin.forward(self.x.copy())
        return np.array_equal(find(twin, path), moved) and not np.array_equal(found, out, equal_nan=True)

    def weighted_output(self) -> np.ndarray:
        """The terms of the sum that is differentiated."""
        return self._forward()[2] * self.cotangent

    def gradients(self) -> dict[str, np.ndarray]:
        """Return all gradients of a backward pass, which starts with the gradients that the previous pass left."""
        twin, dx = self._passed()
        self.left = {name: copy.deepcopy(find(twin, where)) for name, (_, where) in self.pairs.items()}
        found = {**self.left, "input": dx}
        gradients = {name: np.asarray(found[name]) for name in self.values}
        for name, gradient in gradients.items():
            shape = self.values[name].shape
            if gradient.shape != shape:
                raise ValueError(f"{_WHO}: expected a gradient of {name}'s shape {shape}; got {gradient.shape}")
        return gradients

    def _forward(self) -> tuple[Any, np.ndarray, Any]:
        """Run a forward pass; return the copy of the module, its input and its output."""
        self._replayed()
        twin, given = copy.deepcopy(self.module), self.x.copy()
        for name, (where, gradient) in self.pairs.items():
            find(twin, where)[...] = self.values[name]
            if name in self.left:
                put(twin, gradient, copy.deepcopy(self.left[name]))
        return twin, given, twin.forward(given)

    def _passed(self) -> tuple[Any, Any]:
        """Run both passes; return the copy of the module and the result of backward."""
        twin, given, _ = self._forward()
        self.remarks[changes("forward", changed({"x": given}, {"x": self.x}))] = None
        if hasattr(twin, "zero_grad"):
            twin.zero_grad()
        dout, seen = self.cotangent.copy(), given.copy()
        dx = twin.backward(dout)
        touched = changed({"dout": dout, "x": given}, {"dout": self.cotangent, "x": seen})
        self.remarks[changes("backward", touched)] = None
        return twin, dx
