"""Trials per second, what a trial costs beside its training, and how long worker processes take to start.

    python bench/trials.py [trials]

A trial is Iris with 60 steps: in a plain serial loop, in studies of one process and of two, with the standard library's
pool, and with Dask if it is installed. The first trials of each worker are left out, as they have the start and
imports. Then come units of work that do nothing: their processor time, of all processes together, is that of the engine
and the store. Takes 2 minutes.
"""

import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import minnet as mn
from minnet.experiments import Config, Engine, Log, Random, Space, Store, Study, Unit
from minnet.experiments.trials import train

SPACE = Space(lr=Log(1e-3, 1.0))
FEW, MANY = 200, 1200  # units that do nothing


def build(config: Config, seed: int) -> mn.Trainer:
    x, y = mn.datasets.iris()
    net = mn.Net([mn.Dense(8), mn.ReLU(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), seed=seed)
    data = x[::2], y[::2]
    return mn.Trainer(
        net, data, rule=mn.Momentum(), lr=config.lr, batch_size=25, steps=60, validation=(x[1::2], y[1::2]), seed=seed
    )


def units(trials: int, prefix: str) -> list[Unit]:
    return [
        Unit(f"{prefix} {t.name}", train, (build, t.config, t.seed, 60, "val_loss", None, False))
        for t in Random(trials).trials(SPACE, 0)
    ]


def timed(trials: int, engine: Engine) -> tuple[float, float]:
    """Return (trials per second, milliseconds of this process's processor time per trial)."""
    with Store(None, {}) as store, engine:
        list(engine.run(units(4, "warm"), store))
        begun, processor = time.perf_counter(), time.process_time()
        list(engine.run(units(trials, "timed"), store))
        spent = time.perf_counter() - begun, time.process_time() - processor
    return trials / spent[0], 1000 * spent[1] / trials


def serial(trials: int) -> tuple[float, float]:
    drawn = Random(trials).trials(SPACE, 0)
    build(drawn[0].config, 0).run(progress=False)
    begun, processor = time.perf_counter(), time.process_time()
    for trial in drawn:
        build(trial.config, trial.seed).run(progress=False)
    return trials / (time.perf_counter() - begun), 1000 * (time.process_time() - processor) / trials


def nothing(number: int) -> tuple[dict[str, Any], None]:
    return {"figure": float(number)}, None


def processor_time() -> float:
    """Seconds of this process and of those of its processes that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in spent)


def spent_on_nothing(number: int, workers: int) -> float:
    """Seconds of processor time of all processes for so many units, with a store in a file."""
    begun = processor_time()
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "a.db", {}) as store, Engine(workers) as engine:
        list(engine.run([Unit(f"{i}", nothing, (i,), {"config": {"lr": 0.1 * i}}) for i in range(number)], store))
    return processor_time() - begun


def spent_by_a_study(number: int) -> float:
    """Seconds of processor time for so many trials in this process that are stored already, read and listed."""
    with Study(None, SPACE, build, "val_loss") as study:
        study.run(Random(number), steps=1)
        begun = processor_time()
        study.run(Random(number), steps=1)
        return processor_time() - begun


def start(workers: int) -> float:
    """Seconds until each of the workers has answered."""
    begun = time.perf_counter()
    with Store(None, {}) as store, Engine(workers) as engine:
        list(engine.run([Unit(f"{i}", time_of, (i,)) for i in range(workers)], store))
        return time.perf_counter() - begun


def time_of(number: int) -> tuple[dict[str, Any], None]:
    time.sleep(0.5)  # so that no worker takes the unit of another
    return {"figure": float(number)}, None


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    print("| engine | trials/s | ms of the coordinator's processor time a trial |\n|---|---|---|")

    def show(name: str, figures: tuple[float, float]) -> None:
        print(f"| {name} | {figures[0]:.0f} | {figures[1]:.2f} |", flush=True)

    show("plain loop", serial(trials))
    show("study, this process", timed(trials, Engine()))
    show("study, `workers=2`", timed(trials, Engine(2)))
    with ProcessPoolExecutor(2, get_context("spawn"), mn.set_num_threads, (1,)) as pool:
        show("study, the standard library's pool of 2", timed(trials, Engine(executor=pool)))
    if find_spec("distributed"):
        from distributed import Client, LocalCluster

        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as own:
            show("study, Dask with 2 processes", timed(trials, Engine(executor=own.get_executor(pure=False))))

    print("\nMilliseconds of processor time of all processes, for a unit that does nothing and is stored in a file:")
    for workers in (0, 2):
        more = spent_on_nothing(MANY, workers) - spent_on_nothing(FEW, workers)
        print(f"workers={workers}: {1000 * more / (MANY - FEW):.2f}", flush=True)
    print(f"a stored trial of a study, looked up again: {1000 * spent_by_a_study(FEW) / FEW:.2f}")
    print(f"\nSeconds until two workers have answered: {start(2) - 0.5:.2f}")


if __name__ == "__main__":
    main()
