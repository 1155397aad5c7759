"""The 1cycle policy."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..base import checks
from .cyclic import Cyclic
from .shapes import SHAPES, check_shape
from .times import late, mix, once


@dataclass(frozen=True)
class OneCycle(Cyclic):
    """One cycle: rise from peak / div to the peak, and fall to peak / final_div. Smith 2018; Smith and Topin 2018.

    The last value is reached at t = steps. ``one_cycle.mirrored(0.85, 0.95)`` is the schedule of a momentum cycled
    against it.

    PyTorch's OneCycleLR reaches its last value at the last of N steps, t = N - 1, and its peak one step before
    pct_start * N. With default values otherwise, it equals ``OneCycle(max_lr, N - 1, rise=(pct_start * N - 1) /
    (N - 1))``. Its final_div_factor is relative to the start: final_div = div_factor * final_div_factor. fastai's
    fit_one_cycle has ``rise=0.25, final_div=1e5``. The slanted triangular rates of ULMFiT (Howard and Ruder 2018,
    eq. 3) have ``rise=0.1, div=32, final_div=32, shape="linear"``.

    Args:
        peak: highest value.
        steps: number of steps of the whole cycle.
        rise: share of the steps in the rise.
        div: the first value is peak / div.
        final_div: the last value is peak / final_div.
        phases: 2 for a fall to peak / final_div in the remaining steps. 3 for a fall to peak / div that takes as long
            as the rise, and a third phase down to peak / final_div, as in the paper.
        shape: shape of every phase, ``"cosine"``, or ``"linear"`` as in the paper.
    """

    peak: float
    steps: float
    rise: float = 0.3
    div: float = 25.0
    final_div: float = 25e4
    phases: int = 2
    shape: str = "cosine"

    def __post_init__(self) -> None:
        checks.non_negative("OneCycle", "peak", self.peak)
        checks.positive("OneCycle", "steps", self.steps)
        checks.fraction("OneCycle", "rise", self.rise)
        for name, divisor in (("div", self.div), ("final_div", self.final_div)):
            if checks.number("OneCycle", name, divisor) < 1:
                raise ValueError(f"OneCycle: expected {name} of at least 1; got {divisor!r}")
        if self.final_div < self.div and self.rise > 0:  # without a rise the schedule starts at the peak
            raise ValueError(f"OneCycle: expected final_div of at least div; got {self.final_div!r} and {self.div!r}")
        if checks.count("OneCycle", "phases", self.phases) not in (2, 3):
            raise ValueError(f"OneCycle: expected 2 or 3 phases; got {self.phases!r}")
        if self.phases == 3 and self.rise > 0.5:
            raise ValueError(f"OneCycle: expected rise of at most one half with 3 phases; got {self.rise!r}")
        check_shape("OneCycle", "shape", self.shape)

    @property
    def length(self) -> float:
        return 0.0 if self.peak == 0 or self.div == self.final_div == 1 else float(self.steps)

    @property
    def settles(self) -> float:
        return self._bottom

    @property
    def _top(self) -> float:
        return self.rise * self.steps

    @property
    def _bottom(self) -> float:
        return 2 * self._top if self.phases == 3 else float(self.steps)

    def height(self, t: float) -> float:
        if late(t) >= self._bottom:
            return 0.0
        left = SHAPES[self.shape]
        if late(t) < self._top:
            return 1 - left(t / self._top)
        return left(max(0.0, t - self._top) / (self._bottom - self._top))

    def at(self, t: float) -> float:
        start, end = self.peak / self.div, self.peak / self.final_div
        if late(t) >= self.steps:
            return end
        if late(t) < self._bottom:
            foot = end if self.phases == 2 and late(t) >= self._top else start
            return mix(foot, self.peak, self.height(t))
        return mix(end, start, SHAPES[self.shape](max(0.0, t - self._bottom) / (self.steps - self._bottom)))

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        yield from once(self._top, "peak", until)
        if self._bottom < self.steps:
            yield from once(self._bottom, "boundary", until)
        yield from once(self.steps, "end", until)
