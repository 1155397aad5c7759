"""Averages that differ in the share of each point."""

from typing import Any

import numpy as np

from ..base import checks
from ..net.net import Net
from ..training.callbacks import check_state
from ..training.moments import When
from .base import Average, Point, copied, mix


class EMA(Average):
    """Exponential moving average of the weights, after every step, corrected for its start.

    Point t, counted from 1, has decay d_t. The mean is the sum of (1 - d_t) * d_(t+1) ... d_T * params_t divided by the
    sum of these coefficients, as Adam corrects its moments. It is a mean of points from the first step on, and does not
    depend on an initial value. With ``corrected=False`` the first point has share 1, so it counts 1 / (1 - d) times as
    much as any later point: mean = d * mean + (1 - d) * params from the second point on. This is PyTorch's
    ``AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(d))`` and Keras' ``use_ema=True, ema_momentum=d``.

    A step of ``Accumulate`` that only adds to the gradient does not change the weights and gives no point.

    d_t is ``decay``; with ``warm_up`` it is min(decay, (1 + t) / (10 + t)), as in TensorFlow, which forgets the first
    steps of a run sooner. For several decays, use several objects in the list of callbacks.

    Cost of a point: one pass that reads two vectors of size P and writes one. If this is too slow, as it may be if the
    products are small compared with the weights, ``every=n`` takes one point in n, with decay d^n, which covers the
    same number of steps.

    Args:
        decay: d, such as 0.999, which covers about 1 / (1 - d) = 1,000 steps.
        warm_up: see above; t then counts points, not steps.
        start: number of steps at the beginning without points.
        every: number of steps that change the weights from one point to the next.
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
        self._left = 1.0  # product of all decays so far, the coefficient of the initial value

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
    """Stochastic weight averaging: the mean of points with equal weights. Izmailov et al. 2018.

    In the paper, most of the run is as usual. Then points are taken at the end of each epoch with a constant learning
    rate (``at="epoch", start=...``), or at the lowest rate of each cycle of a cyclical one (``at="trough"``). Algorithm
    1 of the paper counts the weights at ``start`` as the first point; here the first point comes after ``start``. Batch
    norm needs ``refresh`` when the average is used.

    Args:
        at: when a point is taken: a number n for every n-th step, ``"epoch"``, an event of the schedule, a list of
            steps or a function of the step, see ``Moments``.
        start: number of steps at the beginning without points.
    """

    def __init__(self, at: When = "epoch", start: int = 0) -> None:
        super().__init__(at, start)

    def share(self) -> float:
        return 1 / self.count

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._moments.at!r}{self._started()})"


class PolyakRuppert(SWA):
    """The mean of the weights after every step. Polyak and Juditsky 1992; Ruppert 1988.

    The theory is for learning rates that decay more slowly than 1 / t. In practice, ``start`` leaves out the beginning
    of the run.

    Args:
        start: number of steps at the beginning without points.
    """

    def __init__(self, start: int = 0) -> None:
        super().__init__(1, start)

    def __repr__(self) -> str:
        return f"PolyakRuppert(start={self._moments.start})"


class LAWA(Average):
    """The mean of the last k points, LAtest Weight Averaging. Kaddour 2022, with one point per epoch and k = 6.

    Memory: k vectors. Adding a point is one copy; the mean is computed when it is asked for.

    Args:
        k: number of points.
        at, start: as in ``SWA``.
    """

    def __init__(self, k: int = 6, at: When = "epoch", start: int = 0) -> None:
        super().__init__(at, start)
        self.k = checks.count("LAWA", "k", k)
        self._ring = np.zeros((self.k, 0)), np.zeros((self.k, 0))  # (k, P) and (k, B) after the first point

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
