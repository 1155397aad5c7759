"""What all averages share: adding points, replacing the weights of a net, and the state."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..base import checks
from ..data import Batches, Data
from ..kernels.arrays import aligned_empty
from ..kernels.updates import gradients as kernels
from ..net.net import Net
from ..training.callbacks import Callback, Record, Run, check_arrays, check_buffers, check_state
from ..training.moments import Moments, When
from .refresh import refreshed_buffers

Point = tuple[np.ndarray, np.ndarray]  # params (P,) and buffers (B,)


def mix(average: np.ndarray, values: np.ndarray, share: float) -> None:
    """Compute average = (1 - share) * average + share * values in one pass.

    In float32, 1 - share would be rounded by up to 3e-8: an average over 100,000 steps would cover 300 steps more or
    less, and converge to a wrong value. The kernel does not round it.
    """
    if average.size:
        kernels.mix(average, values, average.dtype.type(share))


class Average(Callback):
    """A mean of the weights during a run. Subclasses define ``share()``, the share of the next point.

    Attributes:
        count: number of points so far. It becomes 0 at the start of a new run, and at the end of a run that diverged if
            the mean is not finite.
        params, buffers: the mean, arrays (P,) and (B,), which change with the next point; ValueError before the first.
    """

    def __init__(self, at: When = 1, start: int = 0) -> None:
        self._moments = Moments(type(self).__name__, at, start)
        self.count = 0
        self._mean: Point | None = None
        self._standardized = False  # whether the run standardises its batches

    def share(self) -> float:
        """Return the share of point number ``count``, counted from 1, in the new mean; 1 for the first point."""
        raise NotImplementedError(f"{type(self).__name__} must define share()")

    def on_start(self, trainer: Run) -> None:
        self._moments.expect(trainer)
        self._standardized = trainer.batches.standardize is not None
        if trainer.step == 0:
            self.count, self._mean = 0, None

    def looks_at(self, trainer: Run, step: int) -> bool:
        return self._moments.ahead(trainer, step)

    def on_step(self, trainer: Run, record: Record) -> None:
        if self._is_time(trainer, record.step):
            self.update(trainer.net)

    def _is_time(self, trainer: Run, step: int) -> bool:
        """Return whether a step gives a point; "every n-th" counts only steps that change the parameters."""
        at, start = self._moments.at, self._moments.start
        if not isinstance(at, int) or step <= start:
            return self._moments.now(trainer, step)
        updates = trainer.optimizer.updates
        return updates(step) > updates(step - 1) and (updates(step) - updates(start)) % at == 0

    def on_end(self, trainer: Run) -> None:
        """Reset a mean that is not finite: the run diverged, and its net was restored to an earlier state.

        Args:
            trainer: the run.
        """
        if self.count and not all(np.isfinite(array).all() for array in self._arrays().values()):
            self.count = 0

    def update(self, net: Net) -> None:
        """Add the present weights of the net; for loops of your own, without a trainer.

        Args:
            net: the net, of the same parameters at every call.
        """
        if self.count == 0:
            self._begin(net)
        else:
            self._check_size(net)
        self.count += 1
        self._take(net)

    def _begin(self, net: Net) -> None:
        """Allocate memory for the first point."""
        params = aligned_empty(net.params.size, net.dtype)
        params.fill(0)  # values that are not finite would remain even with a share of 1
        self._mean = params, np.zeros_like(net.buffers)

    def _take(self, net: Net) -> None:
        params, buffers = self._point()
        share = self.share()
        mix(params, net.params, share)
        mix(buffers, net.buffers, share)

    def _point(self) -> Point:
        """Return the mean without a copy."""
        if self._mean is None or self.count == 0:
            raise ValueError(f"{self!r}: expected at least one point of a run; got none so far")
        return self._mean

    def _arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays of the state, without copies, by name."""
        params, buffers = self._point()
        return {"params": params, "buffers": buffers}

    def _shapes(self, net: Net) -> dict[str, tuple[int, ...]]:
        """Return the shapes of ``_arrays`` for this net."""
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
        """Return copies of the averaged params and buffers.

        Args:
            net: the net of the run.
            refresh: training data for ``refreshed_buffers``, in the form that the net sees; None for averaged buffers.

        Raises:
            ValueError: ``refresh`` is uint8, but the run standardises its data. This is not noticed for
                floating-point data, nor if the average was restored and its run has not continued.
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
        """Within this context the net has the averaged weights; afterwards its own again, also after an error.

        Args:
            net: the net of the run.
            refresh: training data to measure the statistics of batch norm again, see ``refreshed_buffers``; None to use
                the averaged ones.

        Yields:
            The net.
        """
        with applied(net, *self.point(net, refresh)):
            yield net

    def evaluate(self, net: Net, x: Any, y: Any, refresh: "Data | Batches | None" = None) -> dict[str, float]:
        """Return ``net.evaluate(x, y)`` with the averaged weights.

        Args:
            net: the net of the run.
            x, y: data, as ``Net.evaluate`` takes them.
            refresh: as in ``applied``.

        Returns:
            Loss, and for losses of classes accuracy, by name.
        """
        with self.applied(net, refresh):
            return net.evaluate(x, y)

    def state(self) -> dict[str, Any]:
        if self.count == 0:
            return {}
        return {"count": self.count, **{name: array.copy() for name, array in self._arrays().items()}}

    def check(self, state: dict[str, Any], net: Net) -> None:
        if state:
            check_arrays(self, state, self._shapes(net), net.dtype)
            check_buffers(self, state["buffers"], net)

    def restore(self, state: dict[str, Any]) -> None:
        check_state(self, state, self._state_names())
        count = checks.count(type(self).__name__, "count", state["count"]) if state else 0
        mean = copied(state["params"], state["buffers"]) if state else None
        self.count, self._mean = count, mean

    def _started(self) -> str:
        """Return the argument ``start`` for ``repr``, which a resumed run compares."""
        return f", start={self._moments.start}" if self._moments.start else ""

    def _state_names(self) -> tuple[str, ...]:
        return "count", "params", "buffers"


def _is_raw(data: Data | Batches) -> bool:
    """Return whether data are image bytes that are not standardised."""
    x = (data.data if isinstance(data, Batches) else data)[0]
    standardized = isinstance(data, Batches) and data.standardize is not None
    return getattr(x, "dtype", None) == np.uint8 and not standardized


def copied(params: np.ndarray, buffers: np.ndarray) -> Point:
    """Return copies of both; that of params starts at a cache line."""
    kept = aligned_empty(np.size(params), np.asarray(params).dtype)
    np.copyto(kept, params)
    return kept, np.array(buffers)


@contextmanager
def applied(net: Net, params: np.ndarray, buffers: np.ndarray) -> Iterator[Net]:
    """Within this context the net has these params and buffers; afterwards its own again, also after an error."""
    kept, before = (net.params.copy(), net.buffers.copy()), net.on_loan
    try:
        net.params, net.buffers, net.on_loan = params, buffers, True
        yield net
    finally:
        net.params, net.buffers = kept
        net.on_loan = before
