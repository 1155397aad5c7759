"""Trials per second: a plain serial loop, a study in one process and in two, the standard pool, and Dask if installed.

    python bench/trials.py [trials]

A trial is Iris with 60 steps. The time of the first trial of each worker is left out, as it has the start and imports.
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context

import minnet as mn
from minnet.experiments import Config, Engine, Log, Random, Space, Store, Unit
from minnet.experiments.trials import train

SPACE = Space(lr=Log(1e-3, 1.0))


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


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    print("| engine | trials/s | ms of the coordinator's processor time a trial |\n|---|---|---|")

    def show(name: str, figures: tuple[float, float]) -> None:
        print(f"| {name} | {figures[0]:.0f} | {figures[1]:.2f} |", flush=True)

    show("plain loop", serial(trials))
    show("study, this process", timed(trials, Engine()))
    show("study, workers=2", timed(trials, Engine(2)))
    with ProcessPoolExecutor(2, get_context("spawn"), mn.set_num_threads, (1,)) as pool:
        show("study, standard pool of 2", timed(trials, Engine(executor=pool)))
    if find_spec("distributed"):
        from distributed import Client, LocalCluster

        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as own:
            show("study, Dask with 2 processes", timed(trials, Engine(executor=own.get_executor(pure=False))))


if __name__ == "__main__":
    main()
