"""Who is timed, and the processes in which they run.

Each peer has a process of its own, so that each library gets the settings that it reads at import. Worker threads of
OpenMP and OpenBLAS wait in a loop for a while before they sleep, and would take a processor from whoever comes next
(PyTorch after NumPy took twice its time), so a process hands over only when all its threads are asleep.
"""

import importlib
import importlib.util
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from workloads import WORKLOADS, Workload


class Runner(Protocol):
    """A workload in some library, ready to run."""

    def loss_and_gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        """Loss without penalties; gradients with them, by minnet's names and in its layouts."""

    def step(self) -> float:
        """Forward, loss, backward, update; the loss is known when it returns. If it has ``steps_a_call``, so many."""


@dataclass(frozen=True)
class Peer:
    """A library, the class that runs workloads in it, and settings of that class."""

    library: str
    runner: str  # "module.Class"
    settings: dict[str, Any] = field(default_factory=dict)
    images_only: bool = False  # the settings make no difference where there are none
    most: float = float("inf")  # multiply-adds of a step

    def suits(self, workload: str) -> bool:
        """Whether to run a workload with this peer."""
        work = WORKLOADS[workload]
        return (work.has_images or not self.images_only) and work.multiply_adds() <= self.most

    def is_there(self) -> bool:
        compiles = self.settings.get("compiled", False)
        return importlib.util.find_spec(self.library) is not None and (not compiles or shutil.which("g++") is not None)

    def start(self, work: Workload, batch: int | None = None) -> Runner:
        """The workload at its own batch unless told, with the weights that a new minnet net has."""
        module, name = self.runner.split(".")
        runner: type = getattr(importlib.import_module(module), name)
        return runner(work, work.net().params, *work.data(batch), **self.settings)


FIT = "minnet fit"  # minnet again, by another program
PEERS = {
    "minnet": Peer("minnet", "peer_minnet.Minnet"),
    FIT: Peer("minnet", "peer_minnet.Fit", most=1e7),
    "NumPy": Peer("numpy", "peer_numpy.NumPy"),
    "PyTorch": Peer("torch", "peer_torch.Torch"),
    "PyTorch, channels last": Peer("torch", "peer_torch.Torch", {"channels": "last"}, images_only=True),
    "PyTorch compiled": Peer("torch", "peer_torch.Torch", {"compiled": True}),
    "PyTorch compiled, channels last": Peer(
        "torch", "peer_torch.Torch", {"channels": "last", "compiled": True}, images_only=True
    ),
    "JAX": Peer("jax", "peer_jax.Jax", {"channels": "last"}),
    "JAX, channels first": Peer("jax", "peer_jax.Jax", {"channels": "first"}, images_only=True),
}


def limit_threads(library: str, threads: int) -> None:
    """Give this process ``threads`` processors and tell its library so. JAX knows no other setting than the first."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if library == "torch":
        import torch

        torch.set_num_threads(threads)


@contextmanager
def thread_variables(threads: int) -> Iterator[None]:
    """Environment for processes started within: what libraries read when they are imported."""
    names = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(threads)))
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def serve(pipe: Any, name: str, threads: int) -> None:
    """The life of a peer's process: load a workload, run rounds of it, until there is nothing more to do."""
    peer = PEERS[name]
    limit_threads(peer.library, threads)
    runner: Runner | None = None
    while (request := pipe.recv()) is not None:
        kind, argument = request
        if kind == "load":
            runner = None  # gives its memory back first
            runner = peer.start(WORKLOADS[argument])
            pipe.send(runner.loss_and_gradients())
        else:
            assert runner is not None
            steps = getattr(runner, "steps_a_call", 1)
            seconds = seconds_each(runner.step, max(1, argument // steps)) / steps
            fall_asleep()
            pipe.send(seconds)


def fall_asleep() -> None:
    """Wait until no thread of this process works, for a second at most."""
    for _ in range(50):
        before = time.process_time()  # of all threads
        time.sleep(0.02)
        if time.process_time() - before < 0.001:
            return


def seconds_each(run: Callable[[], object], count: int) -> float:
    """Mean time of ``count`` calls in a row after one that wakes threads and caches."""
    run()
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count


class Process:
    """``target(pipe, *arguments)`` in a process of its own, which answers each request that it is sent."""

    def __init__(self, threads: int, target: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        with thread_variables(threads):
            self._process = context.Process(target=target, args=(other, *arguments), daemon=True)
            self._process.start()
        other.close()

    def ask(self, *request: Any) -> Any:
        self.send(*request)
        return self.answer()

    def send(self, *request: Any) -> None:
        self._pipe.send(request)

    def answer(self) -> Any:
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join()
