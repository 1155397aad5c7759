"""The time of a training step of each rule over that of a step of SGD, measured on one thread of this machine."""

import time
from collections.abc import Sequence

import numpy as np

from ..base import checks
from ..kernels.threads import get_num_threads, set_num_threads
from ..net.net import Net
from ..optim.rules import SGD, Rule
from ..training.callbacks import Callback, Record, Run
from ..training.trainer import Trainer
from .entries import Entry
from .problems import AnyProblem, Problem
from .tables import ResultTable

_BEGIN, _END = 50, 250  # the steps that are timed lie between these two


class _Clock(Callback):
    """Reads the processor time after two steps, and looks at no other."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def looks_at(self, trainer: Run, step: int) -> bool:
        return step in (_BEGIN, _END)

    def on_step(self, trainer: Run, record: Record) -> None:
        if record.step in (_BEGIN, _END):
            self.times.append(time.process_time())


def step_seconds(problem: Problem, rule: Rule) -> float:
    """Return the processor time of a step, without measurements; it includes Python where Python takes the steps."""
    net = Net(
        tuple(problem.layers), problem.data[0].shape[1:], problem.loss, l2=problem.l2, dtype=problem.dtype, seed=0
    )
    clock = _Clock()
    # The rate is so low that no rule diverges; it does not matter for the time.
    Trainer(net, problem.data, rule=rule, lr=1e-6, batch_size=problem.batch, steps=_END, seed=0, callbacks=[clock]).run(
        progress=False
    )
    return (clock.times[1] - clock.times[0]) / (_END - _BEGIN)


def overhead(problems: Sequence[AnyProblem], entries: Sequence[Entry], rounds: int = 7) -> ResultTable:
    """Return one row for each entry, with the time of a step on each problem over that of a step of SGD.

    In each round all rules are measured once, in turn, and every second round in the opposite order. A figure is the
    median over the rounds of the ratio to SGD in the same round. The time is processor time on one thread.

    Args:
        problems: the problems; those without a network are left out.
        entries: the entries; NaN where a problem does not take one.
        rounds: number of rounds; one more comes before them, which compiles what is needed.

    Raises:
        ValueError: ``rounds`` is below 1.
    """
    checks.count("overhead", "rounds", rounds)
    rules = {entry.name: entry.rule for entry in entries}
    rows: list[dict[str, object]] = [{"rule": name} for name in rules]
    threads = get_num_threads()
    set_num_threads(1)
    try:
        for problem in problems:
            if not isinstance(problem, Problem):
                continue
            found = np.array([_round(problem, list(rules.values()), bool(i % 2)) for i in range(rounds + 1)])[1:]
            ratios, micro = np.median(found[:, 1:] / found[:, :1], axis=0), 1e6 * np.median(found[:, 0])
            for row, ratio in zip(rows, ratios, strict=True):
                row[f"{problem.name} (SGD: {micro:.0f} us)"] = float(ratio)
    finally:
        set_num_threads(threads)
    return ResultTable(rows)


def _round(problem: Problem, rules: list[Rule], backwards: bool) -> list[float]:
    """Return the seconds of SGD and of each rule."""
    order = [SGD(), *rules]
    times = [np.nan] * len(order)
    for i in reversed(range(len(order))) if backwards else range(len(order)):
        if problem.takes(order[i]):
            times[i] = step_seconds(problem, order[i])
    return times
