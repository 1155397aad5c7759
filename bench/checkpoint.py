"""What a checkpoint costs a run of mnist_mlp with Adam.

    python bench/checkpoint.py
    python bench/checkpoint.py --epochs 128     epochs of the long history

Medians of whole calls: a training step, ``Trainer.save`` and reading, with the history of a few steps and with one of
so many epochs, whose rows are made up; and the share of an epoch that one file at its end takes. The time to flush to
the disk is in it, and disks differ.
"""

import argparse
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from workloads import WORKLOADS

import minnet as mn
from minnet.storage import archive

SAMPLES = 46_900  # an epoch of 469 steps of 100, as MNIST has


def median(call, times: int) -> float:
    """Median of the seconds that a call takes."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=128, help="of the long history")
    parser.add_argument("--times", type=int, default=9, help="files written and read, of each kind")
    arguments = parser.parse_args()
    net, rng = WORKLOADS["mnist_mlp"].net(), np.random.default_rng(0)
    data = rng.random((SAMPLES, *net.input_shape), np.float32), rng.integers(0, 10, SAMPLES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        trainer = mn.Trainer(net, data, rule=mn.Adam(), lr=1e-3, batch_size=100, epochs=arguments.epochs)
    for _ in range(10):
        next(trainer)
    step, epoch = median(lambda: next(trainer), 50), len(trainer.batches)
    print(f"{net.params.size:,} parameters, a step of {1e3 * step:.1f} ms, {epoch} steps an epoch")
    print("| history | file, MB | save, ms | of an epoch | read, ms |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.ckpt"
        for name in (f"{trainer.step} steps", f"{arguments.epochs} epochs"):
            trainer.save(path)  # which measures the data's checksum the first time
            save, read = (
                median(call, arguments.times) for call in (lambda: trainer.save(path), lambda: archive.read(path))
            )
            cells = name, f"{os.path.getsize(path) / 1e6:.1f}", f"{1e3 * save:.0f}", f"{save / (epoch * step):.1%}"
            print(f"| {' | '.join(cells)} | {1e3 * read:.0f} |", flush=True)
            rows = trainer.history.steps.rows
            rows += [rows[-1] | {"step": i} for i in range(len(rows), arguments.epochs * epoch)]
            trainer.history.epochs.rows = [
                {"epoch": i + 1, "step": (i + 1) * epoch, "loss": 1 / (i + 3), "accuracy": 1 / 3, "lr": 1e-3}
                for i in range(arguments.epochs)
            ]


if __name__ == "__main__":
    main()
