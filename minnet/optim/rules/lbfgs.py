"""L-BFGS."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...base import checks
from ...kernels.passes.flat import scale
from ...kernels.updates import lines as kernels
from ...kernels.updates.partials import flat_parts
from .base import Hyper, Rule, Run
from .line_search import Point, strong_wolfe
from .scratch import scratch

_SLOTS = ("start", "gradient", "direction")


@dataclass(frozen=True, kw_only=True)
class LBFGS(Rule):
    """Limited-memory BFGS with a line search for the strong Wolfe conditions, on full batches.

        d = -H g
        p += t d    with f(t) <= f(0) + decrease * t * g d  and  |g(t) d| <= curvature * |g d|

    H follows from the last ``history`` pairs s = change of p and y = change of g by the two-loop recursion, which
    starts from gamma = s y / y y times the identity (eq. 7.20). The first t to try is lr, which is usually 1. If there
    are no pairs, d is -g, and the first t is lr * min(1, 1 / |g|_1).

        optimizer = mn.Optimizer.over(params, grads, mn.LBFGS())
        loss = evaluate()  # fills grads
        while np.abs(grads).max() > 1e-8:
            optimizer.step(1.0, loss=loss, evaluate=evaluate)
            loss = evaluate()

    The function must not change during a run. Each batch has all data; the ``Trainer`` raises an error for smaller
    batches and for augmentation. Weight decay, clipping and groups raise an error in the optimizer; use the penalty
    ``l2`` of the net for weight decay. Dropout is the same for all evaluations of a step. Each evaluation is a training
    pass and therefore updates the running means of BatchNorm.

    Rounding has these consequences:

    * Values count as equal within 8 units in the last place of the loss. Between equal values, slopes guide the search.
    * A pair without positive curvature, s y <= eps * |s| |y|, is not stored. This is a bound on an angle, so it does
      not depend on the units of p and f.
    * If d is not a direction of descent, or the search finds no lower point, the pairs are dropped and -g is tried. If
      this finds no lower point either, p does not change, and ``stalls`` is increased: the loss cannot be seen to
      decrease further. Another step from there with the same gradient only increases ``stalls``.
    * If the loss at a trial point is not finite, the step was too long.

    Args:
        history: number of pairs.
        decrease, curvature: constants of the two conditions, 0 < decrease < curvature < 1.
        evaluations: largest number of evaluations in one search.

    State: 3 + 2 * history slots. The numbers are ``pairs``, the number of pairs; ``newest``, the index of the newest;
        ``stalls``, the number of steps in a row without a lower point; ``evaluations``, the total; and s y of each
        pair. A step moves 84 bytes per parameter in float32, 40 more for each pair, and 20 and a training pass for each
        evaluation.
    Source: Nocedal and Wright 2006, algorithms 7.4 and 7.5; the line search is algorithms 3.5 and 3.6, with cubic
        interpolation.
    Conventions: PyTorch: ``torch.optim.LBFGS(line_search_fn="strong_wolfe", history_size=history, max_iter=1,
        max_eval=26)``. Its search keeps another distance from the ends of an interval, and it drops pairs with s y <=
        1e-10, which depends on the units. Its form without a line search has no counterpart here. SciPy, and
        scikit-learn, which uses it: L-BFGS-B with another search and 10 pairs. Keras and CS231n do not have it.
    """

    history: int = 10
    decrease: Hyper = 1e-4
    curvature: Hyper = 0.9
    evaluations: int = 25
    searches: ClassVar[bool] = True

    def check(self) -> None:
        checks.count("LBFGS", "history", self.history)
        checks.count("LBFGS", "evaluations", self.evaluations)
        checks.positive("LBFGS", "decrease", self.decrease)
        checks.fraction("LBFGS", "decrease", self.decrease)
        checks.fraction("LBFGS", "curvature", self.curvature)
        if self.curvature <= self.decrease:
            raise ValueError(f"LBFGS: expected curvature above decrease ({self.decrease}); got {self.curvature}")

    def slot_names(self) -> tuple[str, ...]:
        return (*_SLOTS, *(f"{kind}{i}" for i in range(self.history) for kind in ("s", "y")))

    def number_names(self) -> tuple[str, ...]:
        return ("pairs", "newest", "stalls", "evaluations", *(f"sy{i}" for i in range(self.history)))

    def search(self, run: Run, loss: float, evaluate: Callable[[], float], *, lr: float, t: int) -> None:
        numbers, grads = run.state[-1], run.grads
        largest = max(float(grads.max()), -float(grads.min()))
        if not math.isfinite(loss) or not math.isfinite(largest):
            raise FloatingPointError(f"LBFGS: expected a finite loss and gradient; got {loss}, largest {largest}")
        if largest == 0:
            return
        memory = _Memory(run)
        if numbers[2] > 0 and memory.is_where_it_was():
            numbers[2] += 1
            return
        np.copyto(memory.start, run.params)
        np.copyto(memory.gradient, grads)
        noise = 8 * float(np.finfo(run.params.dtype).eps) * abs(loss)
        step, least = None, -math.inf  # by which the loss has to fall
        while True:
            slope = memory.aim()
            if slope < 0:
                step = self._along(run, memory, slope, loss, evaluate, lr, noise, least)
            if step is not None or numbers[0] == 0:
                break
            numbers[0], least = 0, noise
        if step is None:
            numbers[2] += 1
        else:
            numbers[2] = 0
            memory.remember(step)

    def _along(
        self,
        run: Run,
        memory: "_Memory",
        slope: float,
        loss: float,
        evaluate: Callable[[], float],
        lr: float,
        noise: float,
        least: float,
    ) -> float | None:
        """Move along the direction and return the step.

        If the search finds no point that is lower by more than ``least``, nothing changes and None is returned.
        """
        first, last = lr, 0.0
        if run.state[-1][0] == 0:
            np.abs(memory.gradient, out=run.params)  # as scratch memory, since they change anyway
            first = lr * min(1.0, 1 / float(run.params.sum()))

        def at(step: float) -> Point | None:
            nonlocal last
            last = step
            memory.move(step)
            if not memory.has_moved():
                return None
            run.state[-1][3] += 1
            with np.errstate(over="ignore", invalid="ignore"):  # a step too long may overflow
                value = float(evaluate())
            return Point(step, value, memory.dot(run.grads, memory.direction))

        point = strong_wolfe(
            at,
            loss,
            slope,
            first,
            decrease=self.decrease,
            curvature=self.curvature,
            noise=noise,
            most=self.evaluations,
        )
        if point is not None and point.step != last:
            at(point.step)  # so that grads are those of params
        if point is not None and memory.has_moved() and loss - point.value > least:
            return point.step
        np.copyto(run.params, memory.start)
        np.copyto(run.grads, memory.gradient)
        return None


class _Memory:
    """The state of a run by name, and vector operations on it."""

    def __init__(self, run: Run) -> None:
        self.params, self.grads = run.params, run.grads
        self.start, self.gradient, self.direction = run.state[:3]
        self.s, self.y, self.numbers = run.state[3:-1:2], run.state[4:-1:2], run.state[-1]
        (self.partial,) = scratch(run.params.dtype, (flat_parts(run.params.size), 1))
        self.cast = run.params.dtype.type

    def dot(self, x: np.ndarray, y: np.ndarray) -> float:
        """Return the sum of x * y, in double precision if the products are too large or too small for the dtype."""
        value = float(kernels.inner(x, y, self.partial))
        if math.isfinite(value) and abs(value) > float(np.finfo(x.dtype).tiny) / float(np.finfo(x.dtype).eps):
            return value
        return float(np.dot(x.astype(np.float64), y.astype(np.float64)))

    def move(self, step: float) -> None:
        """Set params to start + step * direction."""
        kernels.along(self.start, self.cast(step), self.direction, self.params)

    def has_moved(self) -> bool:
        """Return whether params differ from those at the start."""
        return not kernels.same(self.params, self.start)

    def is_where_it_was(self) -> bool:
        """Return whether params and gradient are those at the start of the last search."""
        return bool(kernels.same(self.params, self.start) and kernels.same(self.grads, self.gradient))

    def aim(self) -> float:
        """Set direction to -H gradient by the two-loop recursion (alg. 7.4); return its slope, gradient * direction."""
        pairs, newest = int(self.numbers[0]), int(self.numbers[1])
        q, cast, curvatures = self.direction, self.cast, self.numbers[4:]
        np.negative(self.gradient, out=q)  # the recursion is linear, so it may start from -g
        order = [(newest - i) % len(self.s) for i in range(pairs)]  # newest first
        alphas = {}
        for i in order:
            alphas[i] = self.dot(self.s[i], q) / curvatures[i]
            kernels.along(q, cast(-alphas[i]), self.y[i], q)
        if pairs:
            gamma = curvatures[newest] / self.dot(self.y[newest], self.y[newest])
            scale(q, cast(gamma))
        for i in reversed(order):
            beta = self.dot(self.y[i], q) / curvatures[i]
            kernels.along(q, cast(alphas[i] - beta), self.s[i], q)
        return self.dot(self.gradient, q)

    def remember(self, step: float) -> None:
        """Store the pair of this step in place of the oldest one, unless its curvature is not positive."""
        newest = (int(self.numbers[1]) + 1) % len(self.s)
        s, y = self.s[newest], self.y[newest]
        np.copyto(s, self.direction)
        scale(s, self.cast(step))
        kernels.along(self.grads, self.cast(-1), self.gradient, y)
        curvature = self.dot(s, y)
        if curvature > float(np.finfo(s.dtype).eps) * math.sqrt(self.dot(s, s)) * math.sqrt(self.dot(y, y)):
            self.numbers[0] = min(self.numbers[0] + 1, len(self.s))
            self.numbers[1], self.numbers[4 + newest] = newest, curvature
        elif self.numbers[0] == len(self.s):  # it has overwritten the oldest pair
            self.numbers[0] -= 1
