"""The number of threads that kernels use. Results have the same bits for any number."""

from numba import config
from numba import get_num_threads as _get
from numba import set_num_threads as _set

from ..base import checks


def set_num_threads(n: int) -> None:
    """Set the number of threads of kernels that this Python thread calls.

    Numba keeps the number for each Python thread. The default is the number of cores, or that of the environment
    variable ``NUMBA_NUM_THREADS``. Call this function in each thread, for example in the ``initializer`` of a
    ThreadPoolExecutor.

    Args:
        n: number of threads.

    Raises:
        ValueError: n is less than 1, or larger than the default.
    """
    most = config.NUMBA_NUM_THREADS
    if checks.count("set_num_threads", "n", n) > most:
        raise ValueError(f"set_num_threads: expected at most {most} threads; got {n}")
    _set(n)


def get_num_threads() -> int:
    """Return the number of threads of kernels that this Python thread calls.

    Returns:
        The number, at least 1.
    """
    return int(_get())
