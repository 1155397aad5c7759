"""``check_backward``: the check of a pair of functions, forward and backward, in the style of CS231n's assignments."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..base import streams
from .arguments import Replay, eps_of, gradients_of, is_discrete, is_floats, names, no_floats, paired, replayer
from .domain import run_inside
from .modes import How, Problem
from .numeric import Function
from .reading import ignores, unread
from .result import GradientCheck
from .side_effects import accumulates, accumulating, changed, changes
from .subject import quiet

_WHO = "check_backward"


def check_backward(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *arguments: Any,
    replay: Replay = None,
    seed: int = 0,
    **options: Any,
) -> GradientCheck:
    """Check a pair of functions in the style of CS231n's assignments: ``check_backward(forward, backward, x, w, b)``.

    Args:
        forward: ``forward(*arguments) -> (out, cache)``, or ``(out, other, ..., cache)`` with several outputs.
        backward: ``backward(dout, cache) -> grads``, or ``backward(dout, dother, ..., cache) -> grads``. The result
            has one gradient for each argument that is an array of floats, or for each that is an array, or for each
            argument, in the order of the arguments. A single gradient is returned without a tuple. The result may
            also be a dict with one gradient for each array of floats. Its keys are the arguments' names, with or
            without a leading d. None stands for a gradient that is not to be checked.
        arguments: arguments of forward. Arrays of floats are checked; arrays of integers, such as labels, are not. All
            arguments are copied for every call. In-place changes by forward, such as those of running means or of a
            cache in a dict of settings, therefore do not carry over to the next call.
        replay, seed, options: as in ``check_gradient``, except ``in_place``. To check a layer that keeps its weights
            as ``self.W``, use ``check_module``.

    Returns:
        A ``GradientCheck``. Its ``remark`` names the arguments or dout if a pass changes them in place.

    Raises:
        TypeError, ValueError: if arguments do not fit each other.
        FloatingPointError: if forward's output is not finite.
    """
    how = How.checked(_WHO, seed=seed, **options)
    if how.method == "complex":
        raise ValueError(f'{_WHO}: expected method "central" or "richardson"; got "complex" (see check_gradient)')
    pair = _Pair(forward, backward, arguments, replay, seed)
    once, nondeterminism, adding = accumulating(pair.gradients)
    function = Function(quiet(pair.weighted_outputs), eps=pair.eps, guessed=True)
    checked = {name: pair.points[name] for name in once}
    problem = Problem(function, checked, once, nondeterminism, poisoned=False)
    check = run_inside(problem, how).explained(accumulates("backward", adding))
    ignored = unread(problem, check) if not check.passed and not check.nondeterminism else []
    return check.remarked(*([ignores(problem, ignored)] if ignored else []), *pair.remarks)


class _Pair:
    """Forward and backward passes of a pair of functions, each on fresh copies of the arguments.

    Attributes:
        everything: the arguments, by name. Arrays of floats are copies, which the check moves in place.
        points: those that are arrays of floats.
        cotangents: for each output, the random weights of its elements.
        eps: machine epsilon of the coarsest dtype among arguments and outputs.
        remarks: what the passes change in place, in the order of discovery, each once.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        arguments: tuple[Any, ...],
        replay: Replay,
        seed: int,
    ) -> None:
        self.forward, self.backward = forward, backward
        given = zip(names(forward, len(arguments)), arguments, strict=True)
        self.everything = {name: np.array(a, order="C") if is_floats(a) else a for name, a in given}
        self.points = {name: a for name, a in self.everything.items() if is_floats(a)}
        if not self.points:
            raise no_floats(_WHO, "at least one argument as an array of floats", arguments)
        self._replayed = replayer(replay)
        first = self._outputs()
        rng = streams.generator(seed, "weights of a pair's outputs")
        self.cotangents = [rng.standard_normal(out.shape) for out in first]
        self.eps = eps_of([*self.points.values(), *first])
        self.remarks: dict[str, None] = {}

    def weighted_outputs(self) -> np.ndarray:
        """The terms of the sum that is differentiated."""
        weighted = [(out * c).reshape(-1) for out, c in zip(self._outputs(), self.cotangents, strict=True)]
        return np.concatenate(weighted)

    def gradients(self) -> dict[str, np.ndarray]:
        """The gradients that a backward pass returns for arrays of floats, by the arguments' names."""
        fresh = copy.deepcopy(self.everything)
        _, cache = self._passed(fresh)
        self.remarks[changes("forward", changed(_arrays(fresh), self.everything))] = None
        douts = self._douts()
        handed = {**_arrays(fresh), **douts}
        kept = {name: a.copy() for name, a in handed.items()}
        given = self.backward(*douts.values(), cache)
        self.remarks[changes("backward", changed(handed, kept))] = None
        self._remark_on_discrete(paired(_WHO, list(self.points), self.everything, given))
        return gradients_of(_WHO, list(self.points), self.everything, given)

    def _douts(self) -> dict[str, np.ndarray]:
        """The gradients of the outputs that backward is called with, in the dtype of the first array of floats."""
        dtype = next(iter(self.points.values())).dtype
        if len(self.cotangents) == 1:
            return {"dout": self.cotangents[0].astype(dtype)}
        return {f"dout {i}": c.astype(dtype) for i, c in enumerate(self.cotangents, 1)}

    def _remark_on_discrete(self, gradients: Mapping[str, Any]) -> None:
        discrete = [name for name, g in gradients.items() if g is not None and is_discrete(self.everything[name])]
        if discrete:
            self.remarks[
                f"{discrete[0]} is an array of {self.everything[discrete[0]].dtype}, which are discrete: its gradient "
                f"was not checked. If it is to have one, give {discrete[0]}.astype(float)."
            ] = None

    def _outputs(self) -> list[np.ndarray]:
        return self._passed(copy.deepcopy(self.everything))[0]

    def _passed(self, fresh: dict[str, Any]) -> tuple[list[np.ndarray], Any]:
        """The outputs and the cache of a forward pass, with the noise put back beforehand."""
        self._replayed()
        made = self.forward(*fresh.values())
        if not isinstance(made, tuple) or len(made) < 2:
            raise TypeError(
                f"{_WHO}: expected forward to give (out, cache); got {type(made).__name__} (a layer that keeps its "
                "cache as self.x is checked by check_module, a function alone by check_gradient)"
            )
        return [np.array(out) for out in made[:-1]], made[-1]


def _arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: a for name, a in values.items() if isinstance(a, np.ndarray)}
