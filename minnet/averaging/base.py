"""What averages share: taking points in, standing in for the net's weights, state."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import checks
from ..data import Batches, Data
from ..kernels.arrays import aligned_empty
from ..kernels.updates import gradients as kernels
from ..net.net import Net
from ..training.callbacks import Callback, Record, Run, check_arrays, check_state
from ..training.moments import Moments, When
from .refresh import refreshed_buffers

Point = tuple[np.ndarray, np.ndarray]  # params (P,) and buffers (B,)


def mix(average: np.ndarray, values: np.ndarray, share: float) -> None:
    """average = (1 - share) * average + share * values, in one pass.

    float32 would round 1 - share by up to 3e-8, and an average that remembers 100,000 steps would remember 300 more or
    less, and settle off the mark; the kernel takes it for what it is.
    """
    if average.size:
        kernels.mix(average, values, average.dtype.type(share))


class Average(Callback):
    """A mean of the points of a run. Subclasses say by ``share()`` how much the next point counts.

    Attributes:
        count: points taken in so far. The start of a new run sets it back to 0, and so does the end of a run that
            diverged if it left the mean NaN or infinite.
        params, buffers: the mean, arrays (P,) and (B,) that change with the next point. ValueError before the first.
    """

    def __init__(self, at: When = 1, start: int = 0) -> None:
        self._moments = Moments(type(self).__name__, at, start)
        self.count = 0
        self._mean: Point | None = None
        self._standardized = False  # whether the run that calls standardises its data as it takes them

    def share(self) -> float:
        """Share of the point number ``count`` (from 1) in the new mean. That of the first is 1."""
        raise NotImplementedError(f"{type(self).__name__} must define share()")

    def on_start(self, trainer: Run) -> None:
        self._moments.expect(trainer)
        self._standardized = trainer.batches.standardize is not None
        if trainer.step == 0:
            self.count, self._mean = 0, None

    def on_step(self, trainer: Run, record: Record) -> None:
        if self._is_time(trainer, record.step):
            self.update(trainer.net)

    def _is_time(self, trainer: Run, step: int) -> bool:
        """Whether a step gives a point; every n-th one counts those that move the parameters, unlike micro-batches."""
        at, start = self._moments.at, self._moments.start
        if not isinstance(at, int) or step <= start:
            return self._moments.now(trainer, step)
        updates = trainer.optimizer.updates
        return updates(step) > updates(step - 1) and (updates(step) - updates(start)) % at == 0

    def on_end(self, trainer: Run) -> None:
        """Forget a mean that is not finite: the run has diverged, and its net was put back to a point before."""
        if self.count and not all(np.isfinite(array).all() for array in self._arrays().values()):
            self.count = 0

    def update(self, net: Net) -> None:
        """Take in the net's present point: for loops written by hand, where no trainer calls."""
        if self.count == 0:
            self._begin(net)
        else:
            self._check_size(net)
        self.count += 1
        self._take(net)

    def _begin(self, net: Net) -> None:
        """Make memory for the first point."""
        params = aligned_empty(net.params.size, net.dtype)
        params.fill(0)  # what is not finite would outlast a share of 1
        self._mean = params, np.zeros_like(net.buffers)

    def _take(self, net: Net) -> None:
        params, buffers = self._point()
        share = self.share()
        mix(params, net.params, share)
        mix(buffers, net.buffers, share)

    def _point(self) -> Point:
        """The mean, without a copy."""
        if self._mean is None or self.count == 0:
            raise ValueError(f"{self!r}: expected at least one point of a run; got none so far")
        return self._mean

    def _arrays(self) -> dict[str, np.ndarray]:
        """All arrays that hold what is known of the points, without a copy, by the names that they have in a state."""
        params, buffers = self._point()
        return {"params": params, "buffers": buffers}

    def _shapes(self, net: Net) -> dict[str, tuple[int, ...]]:
        """Shapes of ``_arrays`` for this net."""
        return {"params": net.params.shape, "buffers": net.buffers.shape}

    def _check_size(self, net: Net) -> None:
        try:
            check_arrays(self, self._arrays(), self._shapes(net), net.dtype)
        except ValueError as error:
            raise ValueError(f"{self!r}: expected the net that it averages; got another: {error}") from None

    @property
    def params(self) -> np.ndarray:
        """Mean of the parameters (P,)."""
        return self._point()[0]

    @property
    def buffers(self) -> np.ndarray:
        """Mean of the buffers (B,)."""
        return self._point()[1]

    def point(self, net: Net, refresh: "Data | Batches | None" = None) -> Point:
        """Copies of the averaged params and buffers; with ``refresh``, buffers as ``refreshed_buffers`` has them.

        ValueError for bytes as ``refresh`` if the run standardises its data, which has to be asked of whoever gives
        floats, or an average that was restored and whose run has not gone on.
        """
        params, buffers = self._point()
        self._check_size(net)
        if refresh is None:
            return params.copy(), buffers.copy()
        if self._standardized and _is_raw(refresh):
            raise ValueError(
                f"{self!r}: expected refresh as the net sees it, standardised, such as trainer.batches; got raw uint8"
            )
        return params.copy(), refreshed_buffers(net, refresh, params=params)

    @contextmanager
    def applied(self, net: Net, refresh: "Data | Batches | None" = None) -> Iterator[Net]:
        """Within it the net has the averaged weights; afterwards its own again, whatever was raised.

        ``refresh``: training data over which the statistics of batch norm are measured anew, see ``refreshed_buffers``.
        """
        with applied(net, *self.point(net, refresh)):
            yield net

    def evaluate(self, net: Net, x: Any, y: Any, refresh: "Data | Batches | None" = None) -> dict[str, float]:
        """``net.evaluate(x, y)`` with the averaged weights."""
        with self.applied(net, refresh):
            return net.evaluate(x, y)

    def state(self) -> dict[str, Any]:
        if self.count == 0:
            return {}
        return {"count": self.count, **{name: array.copy() for name, array in self._arrays().items()}}

    def check(self, state: dict[str, Any], net: Net) -> None:
        if state:
            check_arrays(self, state, self._shapes(net), net.dtype)

    def restore(self, state: dict[str, Any]) -> None:
        check_state(self, state, self._state_names())
        count = checks.count(type(self).__name__, "count", state["count"]) if state else 0
        mean = copied(state["params"], state["buffers"]) if state else None
        self.count, self._mean = count, mean

    def _started(self) -> str:
        """The argument ``start`` for a ``repr``, which shows all that a resumed run has to have again."""
        return f", start={self._moments.start}" if self._moments.start else ""

    def _state_names(self) -> tuple[str, ...]:
        return "count", "params", "buffers"


def _is_raw(data: Data | Batches) -> bool:
    """Whether these are image bytes that nothing standardises."""
    x = (data.data if isinstance(data, Batches) else data)[0]
    standardized = isinstance(data, Batches) and data.standardize is not None
    return getattr(x, "dtype", None) == np.uint8 and not standardized


def copied(params: np.ndarray, buffers: np.ndarray) -> Point:
    """Copies of both, params at a cache line."""
    kept = aligned_empty(np.size(params), np.asarray(params).dtype)
    np.copyto(kept, params)
    return kept, np.array(buffers)


@contextmanager
def applied(net: Net, params: np.ndarray, buffers: np.ndarray) -> Iterator[Net]:
    """Within it the net has these params and buffers; afterwards its own again, whatever was raised."""
    kept, before = (net.params.copy(), net.buffers.copy()), net.on_loan
    try:
        net.params, net.buffers, net.on_loan = params, buffers, True
        yield net
    finally:
        net.params, net.buffers = kept
        net.on_loan = before
