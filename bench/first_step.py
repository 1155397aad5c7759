"""Seconds from the start of Python to the end of the first training step, import included, in new processes.

    python bench/first_step.py

Cold: no kernel has been compiled before (an empty folder for Numba's cache). Warm: the same again, with the kernels on
disk. A dense network (784-1000-10) and a convolutional one (28x28 images: conv 32 5x5, pool, dense 500, dense 10).

A second table has the processor time of ``import minnet`` in a new process, apart from that of NumPy and Numba.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from minnet.storage.files import write_whole

OUT = Path(__file__).parent / "out"
LIMITS = {"dense": 15.0, "convolutional": 40.0}  # cold; what minnet promises
WARM_LIMIT = 1.0

PROGRAM = """
import numpy as np
import minnet as mn

net = mn.Net({layers}, {input_shape}, mn.SoftmaxCrossEntropy())
optimizer = mn.Optimizer(net, mn.Adam())
x = np.zeros((128, *net.input_shape), np.float32)
net.loss_and_grads(x, np.zeros(128, np.int64))
optimizer.step(1e-3)
"""
IMPORT = """
import time

start = time.process_time()
import numba
middle = time.process_time()
import minnet
print(middle - start, time.process_time() - middle)
"""
NETWORKS = {
    "dense": ("[mn.Dense(1000), mn.ReLU(), mn.Dense(10)]", "784"),
    "convolutional": (
        "[mn.Conv2D(32, 5), mn.ReLU(), mn.MaxPool2D(2), mn.Flatten(), mn.Dense(500), mn.ReLU(), mn.Dense(10)]",
        "(28, 28, 1)",
    ),
}


def import_seconds() -> tuple[float, float]:
    """Processor time of importing NumPy and Numba, and of importing minnet after them."""
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    run = subprocess.run([sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True, check=True)
    numba, minnet = map(float, run.stdout.split())
    return numba, minnet


def seconds(network: str, cache: str) -> float:
    """Wall time of a Python process that takes one step, its exit included."""
    layers, input_shape = NETWORKS[network]
    program = PROGRAM.format(layers=layers, input_shape=input_shape)
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="of the warm start; the median counts")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of first_step.json")
    arguments = parser.parse_args()
    print("| network | cold, s | at most | warm, s | at most |\n|---|---|---|---|---|")
    results = {}
    for network, limit in LIMITS.items():
        with tempfile.TemporaryDirectory() as cache:
            cold = seconds(network, cache)
            warm = [seconds(network, cache) for _ in range(arguments.repeats)]
        results[network] = {"cold": cold, "cold limit": limit, "warm": warm, "warm limit": WARM_LIMIT}
        print(
            f"| {network} | {cold:.1f} | {limit:.0f} | {statistics.median(warm):.2f} | {WARM_LIMIT:.0f} |", flush=True
        )
    import_seconds()  # writes the bytecode
    imports = np.median([import_seconds() for _ in range(arguments.repeats)], axis=0)
    results["import"] = {"numba": imports[0], "minnet": imports[1]}
    print("\n| processor time of import | s |\n|---|---|")
    print(f"| NumPy and Numba | {imports[0]:.2f} |\n| minnet, after them | {imports[1]:.2f} |", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out / "first_step.json", json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
