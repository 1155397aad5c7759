"""The warmup-stable-decay schedule."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..base import checks
from .schedule import Schedule
from .shapes import SHAPES, check_shape
from .times import check_range, late, mix, once


@dataclass(frozen=True)
class Trapezoid(Schedule):
    """Warm up to the peak, stay there, and decay to the floor.

    Also called warmup-stable-decay: Zhai et al. 2022; Hu et al. 2024; Haegele et al. 2024. The warm-up equals that of
    ``Warmup``, so step 0 has the value peak / (warmup + 1). For another decay, use
    ``Warmup(warmup, Join([(Constant(peak), stable), other]))``.

    Args:
        peak: highest value.
        warmup, stable, decay: number of steps of each phase.
        floor: value after the decay.
        shape: shape of the decay after a share s of its steps: ``"linear"`` (1 - s), ``"cosine"``
            ((1 + cos(pi s)) / 2) or ``"1-sqrt"`` (1 - sqrt(s)).
    """

    peak: float
    warmup: float
    stable: float
    decay: float
    floor: float = 0.0
    shape: str = "linear"

    def __post_init__(self) -> None:
        check_range("Trapezoid", "floor", self.floor, "peak", self.peak)
        checks.non_negative("Trapezoid", "warmup", self.warmup)
        checks.non_negative("Trapezoid", "stable", self.stable)
        checks.positive("Trapezoid", "decay", self.decay)
        check_shape("Trapezoid", "shape", self.shape)

    @property
    def length(self) -> float:
        if self.peak == self.floor:
            return float(self.warmup) if self.peak > 0 else 0.0
        return float(self.warmup + self.stable + self.decay)

    def at(self, t: float) -> float:
        if late(t) < self.warmup:
            return self.peak * (t + 1) / (self.warmup + 1)
        passed = min(max(0.0, t - self.warmup - self.stable) / self.decay, 1.0)
        return mix(self.floor, self.peak, SHAPES[self.shape](passed))

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        plateau, fall = self.warmup, self.warmup + self.stable
        yield from once(plateau, "boundary", until)
        yield from once(fall, "boundary", until)
        yield from once(fall + self.decay, "end", until)

    def _stretched(self, factor: int) -> Schedule:  # the first step of the warm-up stays one step, not one epoch
        lengths = (self.warmup * factor, self.stable * factor, self.decay * factor)
        return Trapezoid(self.peak, *lengths, self.floor, self.shape)
