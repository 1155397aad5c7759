"""Averages that differ in how much each point counts."""

from typing import Any

import numpy as np

from .. import checks
from ..net.net import Net
from ..training.callbacks import check_state
from ..training.moments import When
from .base import Average, Point, copied, mix


class EMA(Average):
    """Exponential moving average of the weights, after every step, corrected for its start.

    Point t (from 1) enters with decay d_t; the mean is the sum of (1 - d_t) * d_(t+1) ... d_T * params_t over the sum
    of these weights, as Adam corrects its moments: from the first step on a mean of points, without a trace of where
    memory began. ``corrected=False`` takes the first point in full instead, so that it counts 1 / (1 - d) times as much
    as any later one: mean = d * mean + (1 - d) * params from the second point on. That is PyTorch's
    ``AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(d))`` and Keras' ``use_ema=True, ema_momentum=d``.

    A step of ``Accumulate`` that only adds up a gradient does not move the weights and is no point.

    d_t is ``decay``; with ``warm_up`` min(decay, (1 + t) / (10 + t)), TensorFlow's, which forgets the first steps of a
    run sooner. Several decays at once are several of these in the list of callbacks.

    Cost of a point: one pass that reads two vectors of P and writes one. Where that shows, as it may where products are
    small beside the weights, ``every=n`` takes one point in n, with decay d^n, which remembers as many steps.

    Args:
        decay: d, such as 0.999, which remembers some 1 / (1 - d) = 1,000 steps.
        warm_up: see above; t then counts points, not steps.
        start: nothing is taken in during the first so many steps.
        every: steps that move the weights from one point to the next.
        corrected: see above.
    """

    def __init__(
        self, decay: float = 0.999, warm_up: bool = False, start: int = 0, every: int = 1, corrected: bool = True
    ) -> None:
        super().__init__(checks.count("EMA", "every", every), start)
        self.decay = checks.fraction("EMA", "decay", decay)
        if not isinstance(warm_up, bool):
            raise TypeError(f"EMA: expected warm_up to be True or False; got {warm_up!r}")
        self.warm_up, self.every = warm_up, every
        self.corrected = checks.truth("EMA", "corrected", corrected)
        self._left = 1.0  # product of all decays so far: what is left of the memory's first value

    def share(self) -> float:
        if self.count == 1:
            self._left = 1.0
        decay = self.decay**self.every
        if self.warm_up:
            decay = min(decay, (1 + self.count) / (10 + self.count))
        self._left *= decay
        if not self.corrected:
            return 1.0 if self.count == 1 else 1 - decay
        return (1 - decay) / (1 - self._left)

    def state(self) -> dict[str, Any]:
        state = super().state()
        return state | {"left": self._left} if state else state

    def restore(self, state: dict[str, Any]) -> None:
        check_state(self, state, self._state_names())
        left = checks.fraction("EMA", "left", state["left"]) if state else 1.0
        super().restore(state)
        self._left = left

    def _state_names(self) -> tuple[str, ...]:
        return *super()._state_names(), "left"

    def __repr__(self) -> str:
        every = f", every={self.every}" if self.every > 1 else ""
        corrected = "" if self.corrected else ", corrected=False"
        return f"EMA({self.decay!r}{', warm_up=True' if self.warm_up else ''}{self._started()}{every}{corrected})"


class SWA(Average):
    """Stochastic weight averaging, the plain mean of points that lie apart. Izmailov et al. 2018.

    The paper trains most of the run as usual, then takes points at the end of each epoch at a constant rate
    (``at="epoch", start=...``), or at the lowest rate of each cycle of a cyclical one (``at="trough"``). Algorithm
    1 there counts the weights at ``start`` as the first point; here the first is what is taken first after ``start``.
    Batch norm needs ``refresh`` where the average is used.

    Args:
        at: when a point is taken: a number n for every n-th step, ``"epoch"``, an event of the schedule, a list of
            steps or a function of the step, see ``Moments``.
        start: nothing is taken in the first so many steps.
    """

    def __init__(self, at: When = "epoch", start: int = 0) -> None:
        super().__init__(at, start)

    def share(self) -> float:
        return 1 / self.count

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._moments.at!r}{self._started()})"


class PolyakRuppert(SWA):
    """The mean of all points from a step on. Polyak and Juditsky 1992; Ruppert 1988.

    In theory for rates that decay more slowly than 1 / t; in practice ``start`` leaves out where the run began.
    """

    def __init__(self, start: int = 0) -> None:
        super().__init__(1, start)

    def __repr__(self) -> str:
        return f"PolyakRuppert(start={self._moments.start})"


class LAWA(Average):
    """The mean of the last k points, LAtest Weight Averaging. Kaddour 2022, who takes one an epoch and k = 6.

    Holds k vectors: taking a point is one copy, and the mean is formed when asked for.

    Args:
        k: number of points.
        at, start: as in ``SWA``.
    """

    def __init__(self, k: int = 6, at: When = "epoch", start: int = 0) -> None:
        super().__init__(at, start)
        self.k = checks.count("LAWA", "k", k)
        self._ring = np.zeros((self.k, 0)), np.zeros((self.k, 0))  # (k, P) and (k, B) from the first point on

    def _begin(self, net: Net) -> None:
        super()._begin(net)
        self._ring = np.zeros((self.k, net.params.size), net.dtype), np.zeros((self.k, net.buffers.size), net.dtype)

    def _take(self, net: Net) -> None:
        place = (self.count - 1) % self.k
        self._ring[0][place], self._ring[1][place] = net.params, net.buffers

    def _point(self) -> Point:
        params, buffers = super()._point()
        held = min(self.count, self.k)
        for mean, ring in ((params, self._ring[0]), (buffers, self._ring[1])):
            for i in range(held):
                mix(mean, ring[i], 1 / (i + 1))
        return params, buffers

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"params": self._ring[0], "buffers": self._ring[1]}

    def _shapes(self, net: Net) -> dict[str, tuple[int, ...]]:
        return {name: (self.k, *shape) for name, shape in super()._shapes(net).items()}

    def restore(self, state: dict[str, Any]) -> None:
        check_state(self, state, self._state_names())
        if state and np.shape(state["params"])[:1] != (self.k,):
            raise ValueError(f"{self!r}: expected a state of {self.k} points; got {np.shape(state['params'])[:1]}")
        count = checks.count("LAWA", "count", state["count"]) if state else 0
        ring, mean = self._ring, self._mean
        if state:
            ring = np.array(state["params"]), np.array(state["buffers"])
            mean = copied(ring[0][0], ring[1][0])
        self.count, self._ring, self._mean = count, ring, mean

    def __repr__(self) -> str:
        return f"LAWA({self.k}, {self._moments.at!r}{self._started()})"
