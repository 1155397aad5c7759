"""Who trains in ``runs.py``, and with which settings.

An engine is a class with ``__init__(problem, data, threads)`` and ``train(runs)``, which trains the runs with these
numbers from new weights and returns the accuracy of each on the held-out data.
"""

import importlib
import importlib.util
import os
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from trainings import PROBLEMS, Data, Problem


class Trains(Protocol):
    """An engine with its problem."""

    def train(self, runs: np.ndarray) -> np.ndarray:
        """Accuracies of these runs, shape (len(runs),)."""


@dataclass(frozen=True)
class Engine:
    """A library and how it trains.

    Attributes:
        library: the module that must be installed.
        trains: "module.Class".
        divides: whether several threads are as many processes with one processor each, which share the runs.
        slow: whether a round trains a few of the runs only. Each round then trains others.
        keeps: whether the library keeps compiled code on disk, so that a cold start differs from a warm one.
        several: whether it is measured on several threads only.
    """

    library: str
    trains: str
    divides: bool = False
    slow: bool = False
    keeps: bool = False
    several: bool = False

    def is_there(self) -> bool:
        return importlib.util.find_spec(self.library) is not None

    def start(self, problem: Problem, data: Data, threads: int) -> Trains:
        module, name = self.trains.split(".")
        made: Trains = getattr(importlib.import_module(module), name)(problem, data, threads)
        return made


ENGINES = {
    "minnet": Engine("minnet", "engine_minnet.Minnet", keeps=True),
    "JAX": Engine("jax", "engine_jax.Jax", keeps=True),
    "JAX, processes": Engine("jax", "engine_jax.Jax", divides=True, several=True),
    "PyTorch, stacked": Engine("torch", "engine_torch.Stacked", divides=True),
    "PyTorch": Engine("torch", "engine_torch.OneByOne", divides=True, slow=True),
    "scikit-learn": Engine("sklearn", "engine_sklearn.Sklearn", divides=True, slow=True),
}


def limit(processors: list[int]) -> None:
    """Give this process these processors, before its library is imported."""
    os.sched_setaffinity(0, processors)
    if len(processors) == 1:
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()


def first_result(name: str, problem: str, share: float, path: str) -> None:
    """Train one run on one thread, and print its accuracy: the whole program whose time to a first result counts."""
    limit(sorted(os.sched_getaffinity(0))[:1])
    arrays: Any = np.load(path)
    data = Data(*(arrays[field] for field in Data._fields))
    print(ENGINES[name].start(PROBLEMS[problem].shortened(share), data, 1).train(np.arange(1))[0])
