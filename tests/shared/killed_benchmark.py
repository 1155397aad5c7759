"""A small benchmark that ``tests/benchmark`` runs, here and in a process that is killed.

    python tests/shared/killed_benchmark.py runs.db

ends itself by SIGKILL, which leaves no time to put anything in order, after its fifteenth run.
"""

import os
import signal
import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import minnet as mn
from minnet import benchmark as b

QUADRATIC = replace(b.quadratic(10, steps=40, every=5), target=0.05)
NOISY = replace(b.quadratic(10, noise=0.1, batch=8, steps=40, every=5), target=0.5)
RATES = b.Space(lr=b.Log(1e-3, 0.3))
SGD, MOMENTUM, ADAM = (
    b.Entry(rule.__class__.__name__, rule, RATES) for rule in (mn.SGD(), mn.Momentum(0.9), mn.Adam())
)
SHORT = b.Protocol(tuning=4, choosing=(0,), reporting=range(100, 106))


@dataclass(frozen=True)
class Uphill(mn.Rule):
    """Momentum with the wrong sign of its moment, in plain NumPy."""

    slots: ClassVar[tuple[str, ...]] = ("mean",)

    def apply(self, params, grads, state, *, lr, t, decay):
        (mean,) = state
        mean *= 0.9
        mean -= grads
        params -= lr * mean


@dataclass(frozen=True)
class Raises(mn.Rule):
    """A rule with an error that comes in mid-run."""

    def apply(self, params, grads, state, *, lr, t, decay):
        if t == 20:
            raise OSError("the disk of this rule is full")


def main():
    done = []

    def kill(unit, outcome):
        done.append(unit.key)
        if len(done) == 15:
            os.kill(os.getpid(), signal.SIGKILL)

    b.run([QUADRATIC, NOISY], [SGD, MOMENTUM, ADAM], SHORT, store=sys.argv[1], progress=kill)


if __name__ == "__main__":
    main()
