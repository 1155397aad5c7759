"""Units that succeed, fail, hang and die, in a module, so that worker processes can import them."""

import os
import signal
import time
from pathlib import Path

import numpy as np


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


def hanging(x):
    time.sleep(600)


def waiting(x, seconds):
    time.sleep(seconds)
    return {"figure": float(x)}, b"state"
