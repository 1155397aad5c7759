"""Monitors of saturated units and of dead units."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..base import checks
from ..data import Data, check_data
from ..layers import ELU, SELU, Layer, LeakyReLU, PReLU, ReLU, Sigmoid, Tanh
from ..net.net import Net
from ..training.callbacks import Record, Run
from ..training.moments import When
from .monitor import OFTEN, SELDOM, Monitor, Twin, a_pass, chunks

_RELUS = (ReLU, LeakyReLU, PReLU, ELU, SELU)


class Saturation(Monitor):
    """Record the share of saturated outputs of each Tanh and Sigmoid layer, in the batch of the step.

    An output is saturated if the slope is less than ``slope`` times the largest one. The relative slope is 1 - y^2 for
    tanh and 4 y (1 - y) for the sigmoid. For 0.05, saturated means |y| > 0.975, or y < 0.0127 or y > 0.9873. Glorot and
    Bengio 2010 observe the same quantity.

    There is one array per layer, named by its place, of shape (records,).

    Args:
        at: see ``Monitor``.
        slope: limit of the slope, as a share of the largest one.
    """

    def __init__(self, at: When = OFTEN, slope: float = 0.05) -> None:
        super().__init__(at)
        self.slope = checks.share("Saturation", "slope", slope)

    def before_update(self, trainer: Run, record: Record) -> None:
        """Record the outputs of the forward pass."""
        if self.due(trainer, record.step):
            seen = {place: (layer, y) for place, layer, _, y in trainer.net.layer_passes()}
            slopes = {
                place: _slope(layer, y) for place, (layer, y) in seen.items() if isinstance(layer, Tanh | Sigmoid)
            }
            self.record(record.step, {place: np.mean(slope < self.slope) for place, slope in slopes.items()})

    def shapes(self, net: Net) -> dict[str, tuple[int, ...]]:
        return {place: () for place, layer, _, _ in a_pass(net) if isinstance(layer, Tanh | Sigmoid)}


def _slope(layer: Layer, y: np.ndarray) -> np.ndarray:
    """Return the slope at each output, as a share of the largest slope."""
    return 1 - y * y if isinstance(layer, Tanh) else 4 * y * (1 - y)


@dataclass(frozen=True)
class UnitEvent:
    """The death or revival of a unit.

    Attributes:
        step: recorded step at which it was first seen.
        layer: place of the layer.
        unit: index of the unit.
        kind: ``"dead at the start"`` (at the first record), ``"died"`` or ``"revived"``.
    """

    step: int
    layer: str
    unit: int
    kind: str


class DeadUnits(Monitor):
    """Record dead units: those of ReLU-like layers whose input is not above 0 for any sample (or pixel) of the data.

    The gradient of a dead ReLU is 0 for all samples, so its weights no longer learn. A dead unit of LeakyReLU, PReLU,
    ELU or SELU is always on its lower branch. A unit is an index of the last axis. ReLUs that another layer computes in
    place are included. The state after the step's update is measured on a copy of the net, in evaluation passes. Each
    record costs a forward pass over the data.

    There is one array per layer, named by its place, of shape (records, units), True for dead units.

    Args:
        data: data (x, y) in the form that the net takes; None for the training data.
        at: see ``Monitor``.
    """

    def __init__(self, data: Data | None = None, at: When = SELDOM) -> None:
        super().__init__(at)
        self.data = None if data is None else check_data("DeadUnits", data)
        self._twin = Twin()

    def on_step(self, trainer: Run, record: Record) -> None:
        """Record dead units of the copy, over all data."""
        if self.due(trainer, record.step):
            twin = self._twin.of(trainer.net)
            self.record(record.step, dead_units(twin, (x for x, _ in chunks(trainer, self.data))))

    def shapes(self, net: Net) -> dict[str, tuple[int, ...]]:
        return {place: x.shape[-1:] for place, layer, x, _ in a_pass(net) if isinstance(layer, _RELUS)}

    def share(self) -> dict[str, np.ndarray]:
        """Return the share of dead units of each layer, by place, of shape (records,)."""
        return {place: self[place].mean(axis=1) for place in self.names()}

    def events(self) -> list[UnitEvent]:
        """Return every death and revival, ordered by step, layer and unit."""
        found = []
        for place in self.names():
            dead = self[place]
            found += [
                UnitEvent(self._steps[0], place, int(unit), "dead at the start") for unit in np.flatnonzero(dead[0])
            ]
            for i, unit in np.argwhere(dead[1:] != dead[:-1]):
                kind = "died" if dead[i + 1, unit] else "revived"
                found.append(UnitEvent(self._steps[i + 1], place, int(unit), kind))
        order = self.names()
        return sorted(found, key=lambda event: (event.step, order.index(event.layer), event.unit))


def dead_units(net: Net, inputs: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Find the units of ReLU-like layers whose input is not above 0 for any sample.

    Args:
        net: the net; its forward pass runs on each part.
        inputs: parts of the data, in the form that ``net.forward`` takes.

    Returns:
        For each such layer, by place, an array of bool of shape (units,), True for dead units.
    """
    dead: dict[str, np.ndarray] = {}
    for part in inputs:
        net.forward(part)
        for place, layer, x, _ in net.layer_passes():
            if isinstance(layer, _RELUS):
                silent: np.ndarray = np.all(x.reshape(-1, x.shape[-1]) <= 0, axis=0)
                dead[place] = dead[place] & silent if place in dead else silent
    return dead
