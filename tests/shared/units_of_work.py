"""Units that succeed, fail, hang and die, in a module, so that worker processes can import them."""

import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

import minnet as mn


def square(x, **_):
    return {"figure": float(x * x), "curve": np.arange(3) / (x + 1)}, None


def no_number(x):
    raise FloatingPointError(f"trial {x} is NaN")


def failing(x):
    raise ValueError(f"no trial {x}")


def dying(x):
    os.kill(os.getpid(), signal.SIGKILL)


def dying_once(path):
    """Dies the first time that it is called with this path."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"figure": 1.0}, None


def dying_amid_its_answer(x):
    """Returns, and dies when half of what it returned is written."""

    def half(connection, content, write=None):
        os.write(connection.fileno(), bytes(content)[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    Connection._send = half
    return {"figure": 1.0}, bytes(100_000)


def leaving(x):
    sys.exit(f"no trial {x}")


class Unpicklable(Exception):  # noqa: N818
    def __init__(self, one, other):
        super().__init__(lambda: one)


def raising_what_cannot_be_pickled(x):
    raise Unpicklable(1, 2)


def returning_what_cannot_be_pickled(x):
    return {"figure": lambda: x}, None


def threads_of_this_process(x):
    """Number of threads after Numba, OpenMP and BLAS have had work for many."""
    net = mn.Net([mn.Dense(600)], 600, mn.SoftmaxCrossEntropy(), seed=0)
    net.evaluate(np.zeros((600, 600), np.float32), np.zeros(600, int))
    np.zeros((600, 600)) @ np.zeros((600, 600))
    return {"figure": len(list(Path("/proc/self/task").iterdir()))}, None


def hanging(x):
    time.sleep(600)


def waiting(x, seconds):
    time.sleep(seconds)
    return {"figure": float(x)}, b"state"
