"""Protocols of the objects that figures draw. Minnet's histories, monitors and results fulfil them.

A figure can be drawn of any object with these attributes. Their meaning is documented at minnet's own classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np


class Rows(Protocol):
    """A table, whose columns are lists."""

    rows: list[dict[str, Any]]

    def __getitem__(self, column: str) -> list[Any]: ...

    def columns(self) -> list[str]: ...


class History(Protocol):
    """``minnet.History``: the record of a run."""

    @property
    def steps(self) -> Rows: ...

    @property
    def epochs(self) -> Rows: ...

    def __getitem__(self, column: str) -> list[Any]: ...

    def __contains__(self, column: str) -> bool: ...

    def __len__(self) -> int: ...

    def training(self, figure: str) -> str: ...

    def to_csv(self) -> str: ...


class Monitor(Protocol):
    """A monitor of ``minnet.diagnostics``: series of numbers, and the steps at which they were taken."""

    @property
    def steps(self) -> np.ndarray: ...

    @property
    def labels(self) -> Mapping[str, str]: ...

    def __getitem__(self, name: str) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def names(self) -> list[str]: ...


class DeadUnits(Monitor, Protocol):
    """``diagnostics.DeadUnits``."""

    def share(self) -> Mapping[str, np.ndarray]: ...


class Statistics(Monitor, Protocol):
    """``diagnostics.Statistics``."""

    def of(self, kind: str, statistic: str) -> Mapping[str, np.ndarray]: ...

    def histogram(self, name: str, record: int) -> tuple[np.ndarray, np.ndarray]: ...


class Mistake(Protocol):
    """``diagnostics.Mistake``: a sample that a net takes for one of another class."""

    @property
    def index(self) -> int: ...

    @property
    def label(self) -> int: ...

    @property
    def predicted(self) -> int: ...

    @property
    def loss(self) -> float: ...


class LayerTable(Protocol):
    """``diagnostics.VarianceByLayer``, with a ``LayerVariance`` for each layer."""

    @property
    def layers(self) -> Sequence[Any]: ...


class GradientsThroughTime(Protocol):
    """``diagnostics.GradientsThroughTime``: norms by distance in time, by state."""

    @property
    def norms(self) -> Mapping[str, np.ndarray]: ...


class Net(Protocol):
    """A net with named weights."""

    @property
    def input_shape(self) -> tuple[int, ...]: ...

    def named_parameters(self) -> Mapping[str, np.ndarray]: ...


class Event(Protocol):
    """Something that happens in a schedule."""

    @property
    def step(self) -> int: ...

    @property
    def kind(self) -> str: ...


class Schedule(Protocol):
    """``schedules.Schedule``."""

    def preview(self, steps: int) -> np.ndarray: ...

    def events(self, steps: int) -> Iterable[Event]: ...


class RangeTest(Protocol):
    """``RangeTest``, the result of ``lr_range_test``."""

    @property
    def rates(self) -> np.ndarray: ...

    @property
    def at(self) -> np.ndarray: ...

    @property
    def readings(self) -> np.ndarray: ...

    @property
    def monitor(self) -> str: ...

    @property
    def smooth(self) -> float: ...

    @property
    def rule(self) -> str: ...

    @property
    def curve_rates(self) -> np.ndarray: ...

    @property
    def median(self) -> np.ndarray: ...

    @property
    def regimes(self) -> Mapping[str, tuple[float, float]]: ...

    def band(self, share: float) -> np.ndarray: ...


class StepCurve(Protocol):
    """``gradcheck.StepCurve``: the errors of one tensor."""

    @property
    def name(self) -> str: ...

    @property
    def verdict(self) -> str: ...

    @property
    def errors(self) -> Sequence[float]: ...

    @property
    def round_off(self) -> Sequence[float]: ...

    @property
    def crossed(self) -> Sequence[int]: ...

    @property
    def labels(self) -> Sequence[str]: ...


class StepSweep(Protocol):
    """``gradcheck.StepSweep``."""

    @property
    def steps(self) -> Sequence[float]: ...

    @property
    def curves(self) -> Sequence[StepCurve]: ...


class Landscape(Protocol):
    """``landscapes.Landscape``: a function of two variables."""

    @property
    def lowest(self) -> float: ...

    @property
    def minima(self) -> Sequence[tuple[float, float]]: ...

    @property
    def window(self) -> tuple[tuple[float, float], tuple[float, float]]: ...

    def value(self, points: Any) -> Any: ...


class PopulationResult(Protocol):
    """``minnet.experiments.PopulationResult``: a population's settings and its members in all generations."""

    @property
    def population(self) -> Any: ...

    @property
    def metric(self) -> str: ...

    @property
    def lineage(self) -> Sequence[Any]: ...

    @property
    def best(self) -> Any: ...

    def ancestors(self) -> Sequence[Any]: ...
