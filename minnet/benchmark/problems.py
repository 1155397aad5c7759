"""Problems: data, a network, the length of a run and the steps at which it is measured."""

import hashlib
import math
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ..base import checks, streams
from ..data import Data
from ..layers import Layer
from ..net.losses import Loss, SoftmaxCrossEntropy
from ..net.net import Net
from ..optim.landscapes import Landscape, descend
from ..optim.rules import Rule
from ..schedules import Schedule
from ..training.callbacks import Callback, Record, Run
from ..training.divergence import DivergenceError
from ..training.trainer import Trainer
from .curves import Curve

Part = Literal["validation", "test"]
_SPENT = "the gradient evaluations of the problem are spent"


class _Counting(Trainer):
    """A run that counts its training passes. ``Net.step`` does not: all passes of a line search are one step."""

    extra = 0

    def _again(self, x: Any, y: Any, weights: np.ndarray | None) -> float:
        self.extra += 1
        return super()._again(x, y, weights)


class _Measure(Callback):
    """Evaluate the net at every n-th step, whatever the rule, until ``budget`` gradient evaluations are spent."""

    def __init__(self, data: Data, every: int, budget: int) -> None:
        self._data, self._every, self._budget, self.taken = data, every, budget, 0
        points = budget // every
        self.evaluations, self.losses = np.full(points, math.inf), np.full(points, math.inf)
        self.accuracies = np.full(points, math.nan)

    def looks_at(self, trainer: Run, step: int) -> bool:
        return step % self._every == 0

    def on_step(self, trainer: Run, record: Record) -> None:
        if record.step % self._every:
            return
        spent = record.step + getattr(trainer, "extra", 0)
        if spent > self._budget:
            trainer.stop(_SPENT)
            return
        with trainer.optimizer.evaluating():
            found = trainer.net.evaluate(*self._data)
        i, self.taken = self.taken, self.taken + 1
        self.evaluations[i] = spent
        self.losses[i] = found["data_loss"]
        self.accuracies[i] = found.get("accuracy", math.nan)

    def on_end(self, trainer: Run) -> None:
        if trainer.history.stopped == _SPENT and self.taken:
            # A line search has spent the budget in fewer steps: the run ends with what it had reached by then.
            self.evaluations[self.taken :] = self._budget
            for values in (self.losses, self.accuracies):
                values[self.taken :] = values[self.taken - 1]


@dataclass(frozen=True, eq=False)
class Problem:
    """A network to train.

    Args:
        name: name, which is unique among the problems of a benchmark.
        data: training data (x, y).
        layers: layers of the network.
        batch: samples per batch.
        steps: steps of a run.
        every: steps between two measurements. The last step must be one of them.
        validation: data (x, y) on which trials are chosen; None for the training data.
        test: data (x, y) on which chosen trials are reported; None for those of ``validation``.
        loss: loss of the network.
        l2: strength of the penalty on the weights. It is not part of the measured loss.
        target: loss to reach on the test data; None for none.
        validation_target: loss to reach on the validation data, by which trials are chosen; None for ``target``.
        dtype: precision of the network.
    """

    name: str
    data: Data
    layers: Sequence[Layer]
    batch: int
    steps: int
    every: int
    validation: Data | None = None
    test: Data | None = None
    loss: Loss = field(default_factory=SoftmaxCrossEntropy)
    l2: float = 0.0
    target: float | None = None
    validation_target: float | None = None
    dtype: Any = np.float32

    def __post_init__(self) -> None:
        for name in ("batch", "steps", "every"):
            checks.count(f"Problem {self.name}", name, getattr(self, name))
        check_length(self.name, self.steps, self.every)

    @property
    def points(self) -> int:
        """Number of measurements of a run."""
        return self.steps // self.every

    def digest(self) -> str:
        """Return a text that differs for problems of which any run may differ. Targets are not part of it."""
        return self._digest

    @cached_property
    def _digest(self) -> str:  # once, since each run has it in its key
        crcs = [" ".join(map(_crc, part)) if part else "none" for part in (self.data, self.validation, self.test)]
        parts = (tuple(self.layers), self.batch, self.steps, self.every, self.loss, self.l2, np.dtype(self.dtype).name)
        return digest_of(repr(parts), *crcs)

    def takes(self, rule: Rule) -> bool:
        """Return whether a rule can run here. One that searches along a line needs batches of all samples.

        Args:
            rule: the rule.
        """
        return not rule.searches or self.batch >= len(self.data[0])

    def measured_on(self, part: Part) -> Data:
        """Return the data (x, y) on which a run is measured.

        Args:
            part: ``"validation"`` or ``"test"``. Without test data these are the validation data, and without those the
                training data.
        """
        validation = self.validation or self.data
        return self.test or validation if part == "test" else validation

    def run(self, rule: Rule, lr: float | Schedule, seed: int, part: Part = "test") -> Curve:
        """Train once and return the measurements on one part of the data.

        Weights and order of the batches depend on the seed alone. A run ends after ``steps`` gradient evaluations, in
        fewer steps if the rule searches along a line.

        Args:
            rule: the rule, with fresh state.
            lr: the learning rate, a number or a schedule.
            seed: seed of the weights, the order of the batches and the layers' noise.
            part: the data on which it is measured, see ``measured_on``.

        Returns:
            The measurements. A run that diverges has infinity from there on.
        """
        net = Net(tuple(self.layers), self.data[0].shape[1:], self.loss, l2=self.l2, dtype=self.dtype, seed=seed)
        measure = _Measure(self.measured_on(part), self.every, self.steps)
        trainer = _Counting(
            net, self.data, rule=rule, lr=lr, batch_size=self.batch, steps=self.steps, seed=seed, callbacks=[measure]
        )
        start, status = time.process_time(), "done"
        try:
            # NumPy warns in rules of plain NumPy and in measurements where a run diverges.
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                trainer.run(progress=False)
        except DivergenceError:
            status = "diverged"
        if not np.isfinite(measure.losses[-1]):
            status = "diverged"
        seconds = time.process_time() - start
        return Curve(
            measure.evaluations,
            measure.losses,
            measure.accuracies,
            seconds,
            status,
            slow=trainer.recorded.reason or "",
        )


@dataclass(frozen=True)
class Surface:
    """A function of two variables. The seed moves the start by a normal number of deviation 0.1 on each axis.

    Args:
        name: name, which is unique among the problems of a benchmark.
        landscape: the function, from ``minnet.landscapes``.
        steps, every, target, validation_target: as for ``Problem``. The loss is the value above the minimum.
    """

    name: str
    landscape: Landscape
    steps: int
    every: int
    target: float | None = None
    validation_target: float | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "every"):
            checks.count(f"Surface {self.name}", name, getattr(self, name))
        check_length(self.name, self.steps, self.every)

    @property
    def points(self) -> int:
        """Number of measurements of a run."""
        return self.steps // self.every

    def digest(self) -> str:
        """Return a text that differs for problems of which any run may differ. Targets are not part of it."""
        return digest_of(repr((self.landscape, self.steps, self.every)))

    def takes(self, rule: Rule) -> bool:
        """Return whether a rule can run here. One that searches along a line cannot.

        Args:
            rule: the rule.
        """
        return not rule.searches

    def run(self, rule: Rule, lr: float | Schedule, seed: int, part: Part = "test") -> Curve:
        """Descend once and return the measurements, which are the same for both parts.

        Args:
            rule: the rule, with fresh state.
            lr: the learning rate, a number or a schedule.
            seed: seed of the start, near the first one of the landscape, and of the noise.
            part: which part of the data a problem would be measured on; it does not matter here.

        Returns:
            The measurements: the value of the surface above its lowest; infinity where it is not finite.

        Raises:
            ValueError: the rule searches along a line.
        """
        if rule.searches:
            raise ValueError(f"Surface {self.name}: expected a rule that evaluates one gradient per step; got {rule}")
        start = np.array(self.landscape.starts[0])
        start += 0.1 * streams.generator(seed, "start on a surface").standard_normal(2)
        before = time.process_time()
        path = descend(self.landscape, rule, start, lr=lr, steps=self.steps, seed=seed)
        with np.errstate(over="ignore", invalid="ignore"):
            losses = self.landscape.value(path[self.every :: self.every]) - self.landscape.lowest
        seconds, finite = time.process_time() - before, np.isfinite(losses)
        at = np.arange(1, self.points + 1, dtype=np.float64) * self.every
        status = "done" if finite[-1] else "diverged"
        return Curve(at, np.where(finite, losses, math.inf), np.full(self.points, math.nan), seconds, status)


AnyProblem = Problem | Surface


def goal(problem: AnyProblem) -> float | None:
    """Return the loss to reach on the data on which trials are chosen."""
    return problem.target if problem.validation_target is None else problem.validation_target


def check_length(name: str, steps: int, every: int) -> None:
    """Raise ValueError unless the last step of a run is measured."""
    if steps % every:
        raise ValueError(f"Problem {name}: expected steps to be a multiple of every; got {steps} and {every}")


def _crc(values: Any) -> str:
    """Describe an array. Doubles count in single precision, since their last digits differ between processors."""
    array = np.asarray(values)
    counted = array.astype(np.float32) if array.dtype == np.float64 else array
    return f"{array.dtype} {array.shape} {zlib.crc32(np.ascontiguousarray(counted).data):08x}"


def digest_of(*texts: str) -> str:
    """Return 16 hexadecimal digits that differ for different texts."""
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()
