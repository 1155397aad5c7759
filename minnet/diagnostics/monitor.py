"""The base class of monitors, which record arrays at chosen steps of a run.

Cost, measured on two cores: six monitors together take 1 us at a step without a record. A record of a
784-1000-500-100-10 net (1.3 million parameters, batches of 100, 5 ms per step) takes 12 ms with UpdateRatios, 27 ms
with Statistics, 200 ms with DeadUnits over 12,800 samples, 250 ms with NoiseScale with 8 batches of 100, and 120 ms per
iteration with Sharpness.
"""

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..base import checks
from ..data import Data
from ..layers.base import Pass
from ..net.net import Net
from ..storage.files import plain, write_whole
from ..training.callbacks import Callback, Run, check_state
from ..training.moments import Moments, When, log_spaced

# Default steps of monitors that read what a step leaves, and of those that run passes of their own. Both include the
# first step, with which later ones are compared.
OFTEN, SELDOM = log_spaced(20), log_spaced(5)

_CHUNK = 256  # samples in a pass over data


class Monitor(Callback):
    """Base class of callbacks that record values at chosen steps of a run, without any effect on the run.

    ``monitor["name"]`` is an array of shape (records, ...) with one row for each recorded step. ``names()`` lists the
    arrays, and ``steps`` has the steps. A monitor that is used in a second run starts without records.

    Args:
        at: steps to record. A number n for every n-th step; a list of steps, such as ``[1, *range(10, 500, 10)]``; a
            function of the step, such as ``log_spaced()``; ``"epoch"`` for the last step of each epoch; or an event of
            the schedule, see ``Moments``.

    Attributes:
        due: function of trainer and step that returns whether to record, for subclasses.
        labels: descriptions of some of the arrays, by name.
    """

    def __init__(self, at: When) -> None:
        self._moments = Moments(type(self).__name__, at)
        self.due, self._at = self._moments.now, self._moments.at  # the latter for repr
        self._clear()

    def on_start(self, trainer: Run) -> None:
        self._moments.find(trainer)
        if trainer.step == 0:
            self._clear()

    def looks_at(self, trainer: Run, step: int) -> bool:
        return self._moments.ahead(trainer, step)

    def _clear(self) -> None:
        self._steps: list[int] = []
        self._rows: dict[str, list[np.ndarray]] = {}
        self.labels: dict[str, str] = {}

    @property
    def steps(self) -> np.ndarray:
        """The recorded steps, int64 of shape (records,)."""
        return np.array(self._steps, np.int64)

    def names(self) -> list[str]:
        """Return the names of the arrays."""
        return list(self._rows)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._rows:
            raise KeyError(f"{type(self).__name__}: expected one of {self.names()}; got {name!r}")
        return np.array(self._rows[name])

    def __len__(self) -> int:
        return len(self._steps)

    def record(self, step: int, values: dict[str, Any]) -> None:
        """Add a row to each array.

        Args:
            step: the step.
            values: numbers or arrays by name, with the same names and shapes at every step.
        """
        self._steps.append(step)
        for name, value in values.items():
            self._rows.setdefault(name, []).append(np.array(value))

    def state(self) -> dict[str, Any]:
        if not self._steps:
            return {}
        rows = {f"rows {name}": self[name] for name in self._rows}
        return {"steps": self.steps, **rows, **{f"label {name}": label for name, label in self.labels.items()}}

    def shapes(self, net: Net) -> dict[str, tuple[int, ...]] | None:
        """Return the shape of a row of each array in a run of this net, by name; None if it is not known.

        Args:
            net: the net of the run.

        Returns:
            name -> shape, without the axis of the records; None if the shapes are not known.
        """
        return None

    def check(self, state: dict[str, Any], net: Net) -> None:
        shapes = self.shapes(net)
        if state and shapes is not None:
            check_state(
                self, {name: 0 for name in state if name.startswith("rows ")}, [f"rows {name}" for name in shapes]
            )
            for name, shape in shapes.items():
                rows = state[f"rows {name}"]
                if np.shape(rows)[1:] != shape:
                    raise ValueError(f"{self!r}: expected rows {name} of {shape}; got {np.shape(rows)[1:]}")

    def restore(self, state: dict[str, Any]) -> None:
        who, rows, labels, steps = type(self).__name__, {}, {}, []
        check_state(self, state, {"steps", *(name for name in state if name.startswith(("rows ", "label ")))})
        if state:
            steps = [checks.count(who, "each of steps", step) for step in state["steps"]]
            if steps != sorted(set(steps)):
                raise ValueError(f"{who}: expected steps in their order; got {steps[:20]}")
        for key, value in state.items():
            kind, _, name = key.partition(" ")
            if kind == "rows":
                if not isinstance(value, np.ndarray) or value.ndim == 0 or len(value) != len(steps):
                    raise ValueError(f"{who}: expected {key} as an array with {len(steps)} rows; got {value!r:.200}")
                rows[name] = list(value.copy())
            elif kind == "label":
                labels[name] = str(value)
        self._steps, self._rows, self.labels = steps, rows, labels

    def save(self, path: str | Path) -> None:
        """Write steps and arrays to a file. The file is written completely or not at all.

        Args:
            path: path ending in ``.npz`` for arrays, ``.json`` for lists, with null for NaN and infinity, or ``.csv``
                for a table with one line per step, and one column per element, such as ``name[3]``.

        Raises:
            ValueError: for another ending.
        """
        path, arrays = Path(path), {"step": self.steps, **{name: self[name] for name in self._rows}}
        if path.suffix == ".npz":
            packed = io.BytesIO()
            np.savez(packed, **arrays)  # type: ignore[arg-type]  # its stubs take the names for its own arguments
            write_whole(path, packed.getvalue())
        elif path.suffix == ".json":
            write_whole(path, json.dumps(plain(arrays), allow_nan=False))
        elif path.suffix == ".csv":
            text = io.StringIO()
            table = csv.writer(text, lineterminator="\n")
            table.writerow([column for name, values in arrays.items() for column in _columns(name, values)])
            flat = [values.reshape(len(values), math.prod(values.shape[1:])) for values in arrays.values()]
            table.writerows([value for values in flat for value in values[i].tolist()] for i in range(len(self)))
            write_whole(path, text.getvalue())
        else:
            who = type(self).__name__
            raise ValueError(f"{who}.save: expected a path ending in .csv, .json or .npz; got {path.name!r}")


def _columns(name: str, values: np.ndarray) -> list[str]:
    """Return the names of an array's columns in a table, in C order."""
    return [f"{name}[{', '.join(map(str, i))}]" if i else name for i in np.ndindex(*values.shape[1:])]


class Twin:
    """A copy of a run's net in memory of its own, for passes that must not affect the run."""

    def __init__(self, dtype: Any = None) -> None:
        self._dtype = dtype
        self._pair: tuple[Net, Net] | None = None

    def of(self, net: Net) -> Net:
        """Return the copy, with the net's present weights, buffers and step."""
        if self._pair is None or self._pair[0] is not net:
            self._pair = net, net.twin(self._dtype)
        twin = self._pair[1]
        twin.params, twin.buffers, twin.step = net.params, net.buffers, net.step
        return twin


def a_pass(net: Net) -> Iterator[Pass]:
    """Yield the passes of a copy of the net over one sample, for their shapes (see ``Net.layer_passes``)."""
    twin = net.twin()
    twin.forward(net.any_input())
    return twin.layer_passes()


def chunks(trainer: Run, data: Data | None) -> Iterator[Data]:
    """Yield ``data``, or the training data if it is None, in parts, standardised but not augmented."""
    size = trainer.batches.size if data is None else len(data[0])
    for start in range(0, size, _CHUNK):
        yield samples(trainer, data, np.arange(start, min(start + _CHUNK, size)))


def samples(trainer: Run, data: Data | None, places: np.ndarray) -> Data:
    """Return new arrays with some samples of ``data``, or of the training data if it is None."""
    return trainer.batches.samples(places) if data is None else (data[0][places], data[1][places])


def places_that_count(trainer: Run, data: Data | None) -> np.ndarray:
    """Return the indices of the samples of ``data``, or of the training data, that are not left out of the loss."""
    net, y = trainer.net, trainer.batches.data[1] if data is None else data[1]
    return np.flatnonzero(net.counting(y))
