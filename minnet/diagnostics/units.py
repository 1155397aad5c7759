"""Units that have stopped learning: saturated ones, and dead ones with the times of their deaths and revivals."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .. import checks
from ..data import Data, check_data
from ..layers import ELU, SELU, Layer, LeakyReLU, PReLU, ReLU, Sigmoid, Tanh
from ..net.net import Net
from ..training.callbacks import Record, Run
from ..training.moments import When
from .monitor import OFTEN, SELDOM, Monitor, Twin, a_pass, chunks

_RELUS = (ReLU, LeakyReLU, PReLU, ELU, SELU)


class Saturation(Monitor):
    """The share of the outputs of each Tanh and Sigmoid at which its slope is nearly 0, in the step's batch.

    An output is saturated where the slope is less than ``slope`` times its largest: 1 - y^2 for tanh, 4 y (1 - y) for
    the sigmoid. With 0.05 that is |y| > 0.975, and y < 0.0127 or y > 0.9873. Glorot and Bengio 2010 watch the same.

    Arrays: one a layer, by place, of shape (records,).

    Args:
        at: see ``Monitor``.
        slope: what counts as nearly 0, as a share of the largest slope.
    """

    def __init__(self, at: When = OFTEN, slope: float = 0.05) -> None:
        super().__init__(at)
        self.slope = checks.share("Saturation", "slope", slope)

    def before_update(self, trainer: Run, record: Record) -> None:
        """Record what the forward pass left."""
        if self.due(trainer, record.step):
            seen = {place: (layer, y) for place, layer, _, y in trainer.net.layer_passes()}
            slopes = {
                place: _slope(layer, y) for place, (layer, y) in seen.items() if isinstance(layer, Tanh | Sigmoid)
            }
            self.record(record.step, {place: np.mean(slope < self.slope) for place, slope in slopes.items()})

    def shapes(self, net: Net) -> dict[str, tuple[int, ...]]:
        return {place: () for place, layer, _, _ in a_pass(net) if isinstance(layer, Tanh | Sigmoid)}


def _slope(layer: Layer, y: np.ndarray) -> np.ndarray:
    """The slope at each output, as a share of the largest one."""
    return 1 - y * y if isinstance(layer, Tanh) else 4 * y * (1 - y)


@dataclass(frozen=True)
class UnitEvent:
    """A death or a revival: the recorded step at which it was first seen, the layer's place and the unit.

    ``kind`` is ``"dead at the start"``, which is the first record, ``"died"`` or ``"revived"``.
    """

    step: int
    layer: str
    unit: int
    kind: str


class DeadUnits(Monitor):
    """Units of the ReLU family whose input is above 0 for no sample of the whole data set (and at no pixel of it).

    A ReLU's gradient is 0 there, so its weights no longer learn from any sample; a unit of LeakyReLU, PReLU, ELU or
    SELU that is counted only ever shows its lower branch. A unit is an index of the last axis. ReLUs that work in place
    of the layer before them are seen as well. What is measured is the state after the step's update, in a pass that
    does not train, on a copy of the net: each record costs a forward pass over the data.

    Arrays: one a layer, by place, of shape (records, units), True for dead units.

    Args:
        data: (x, y) to look at, such as the net takes them; the training data if None.
        at: see ``Monitor``.
    """

    def __init__(self, data: Data | None = None, at: When = SELDOM) -> None:
        super().__init__(at)
        self.data = None if data is None else check_data("DeadUnits", data)
        self._twin = Twin()

    def on_step(self, trainer: Run, record: Record) -> None:
        """Run the copy over the data."""
        if self.due(trainer, record.step):
            twin = self._twin.of(trainer.net)
            self.record(record.step, dead_units(twin, (x for x, _ in chunks(trainer, self.data))))

    def shapes(self, net: Net) -> dict[str, tuple[int, ...]]:
        return {place: x.shape[-1:] for place, layer, x, _ in a_pass(net) if isinstance(layer, _RELUS)}

    def share(self) -> dict[str, np.ndarray]:
        """Share of each layer's units that are dead, by place, shape (records,)."""
        return {place: self[place].mean(axis=1) for place in self.names()}

    def events(self) -> list[UnitEvent]:
        """Every death and revival, in the order of steps, layers and units."""
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
    """Which units of each layer of the ReLU family get an input above 0 from no sample, by place, shape (units,).

    ``inputs`` are parts of the data, each as ``net.forward`` takes it, which is called for each.
    """
    dead: dict[str, np.ndarray] = {}
    for part in inputs:
        net.forward(part)
        for place, layer, x, _ in net.layer_passes():
            if isinstance(layer, _RELUS):
                silent: np.ndarray = np.all(x.reshape(-1, x.shape[-1]) <= 0, axis=0)
                dead[place] = dead[place] & silent if place in dead else silent
    return dead
