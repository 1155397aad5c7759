"""Members of an ensemble from one run."""

from typing import Any

import numpy as np

from ..base import checks
from ..net.net import Net
from ..training.callbacks import Callback, Record, Run, check_arrays, check_buffers, check_state
from ..training.moments import Moments, When
from .members import Ensemble


class Snapshots(Callback):
    """Copies the net during its run, by default at the end of each cycle of the schedule.

    Huang et al. 2017, "Snapshot ensembles: train 1, get M for free", use cosine cycles with restarts
    (``schedules.WarmRestarts``) and copy the net at the end of each. If the rule trains at one point and predicts at
    another, the latter is copied.

    Args:
        at: ``"trough"``, another event of the schedule, ``"epoch"`` for the end of each epoch, a number n for every
            n-th step, a list of steps or a function of the step, see ``Moments``.
        start: number of steps at the beginning without copies.
        last: number of copies to keep, the latest ones; None for all.

    Attributes:
        members: pairs (params, buffers), the earliest first.
        steps: the steps, counted from 1, after which the copies were made.
    """

    def __init__(self, at: When = "trough", start: int = 0, last: int | None = None) -> None:
        self._moments = Moments("Snapshots", at, start)
        self._at, self._start = self._moments.at, self._moments.start  # for repr
        self.last = None if last is None else checks.count("Snapshots", "last", last)
        self.members: list[tuple[np.ndarray, np.ndarray]] = []
        self.steps: list[int] = []

    def on_start(self, trainer: Run) -> None:
        self._moments.expect(trainer)
        if trainer.step == 0:
            self.members, self.steps = [], []

    def looks_at(self, trainer: Run, step: int) -> bool:
        return self._moments.ahead(trainer, step)

    def on_step(self, trainer: Run, record: Record) -> None:
        if not self._moments.now(trainer, record.step):
            return
        if len(self.steps) == self.last:
            del self.members[0], self.steps[0]
        with trainer.optimizer.evaluating():
            self.members.append((trainer.net.params.copy(), trainer.net.buffers.copy()))
        self.steps.append(record.step)

    def on_end(self, trainer: Run) -> None:
        """Drop copies that are not finite: the run diverged, and its net was restored to an earlier state."""
        whole = [all(np.isfinite(part).all() for part in member) for member in self.members]
        self.members = [member for member, is_whole in zip(self.members, whole, strict=True) if is_whole]
        self.steps = [step for step, is_whole in zip(self.steps, whole, strict=True) if is_whole]

    def ensemble(self, net: Net, *, last: int | None = None) -> Ensemble:
        """Return an ensemble of the snapshots.

        Statistics of batch norm need not be refreshed: each snapshot has the running statistics of its step.

        Args:
            net: the net of the run.
            last: number of snapshots to take, the latest ones; None for all.
        """
        if not self.members:
            raise ValueError("Snapshots: expected at least one snapshot; got none so far")
        count = len(self.members) if last is None else checks.count("Snapshots", "last", last)
        members, steps = self.members[-count:], self.steps[-count:]
        names = [f"snapshot at step {step}" for step in steps]
        return Ensemble(net, members, names=names, steps=steps, all_steps=steps[-1])

    def state(self) -> dict[str, Any]:
        if not self.members:
            return {}
        params, buffers = (np.stack([member[part] for member in self.members]) for part in (0, 1))
        return {"steps": np.array(self.steps), "params": params, "buffers": buffers}

    def check(self, state: dict[str, Any], net: Net) -> None:
        if state:
            held = len(state["steps"])
            check_arrays(self, state, {"steps": (held,)}, np.int64)
            shapes = {"params": (held, *net.params.shape), "buffers": (held, *net.buffers.shape)}
            check_arrays(self, state, shapes, net.dtype)
            check_buffers(self, state["buffers"], net)

    def restore(self, state: dict[str, Any]) -> None:
        check_state(self, state, ("steps", "params", "buffers"))
        steps, members = [], []
        if state:
            steps = [checks.count("Snapshots", "each of steps", step) for step in state["steps"]]
            if steps != sorted(set(steps)) or (self.last is not None and len(steps) > self.last):
                raise ValueError(f"{self!r}: expected a state of different steps in their order; got {steps[:20]}")
            points = zip(steps, state["params"], state["buffers"], strict=True)
            members = [(np.array(params), np.array(buffers)) for _, params, buffers in points]
        self.steps, self.members = steps, members
