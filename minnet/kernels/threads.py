"""How many threads the kernels use. Results are the same bits for any number."""

from numba import config
from numba import get_num_threads as _get
from numba import set_num_threads as _set

from .. import checks


def set_num_threads(n: int) -> None:
    """Let kernels that this Python thread calls use up to ``n`` threads.

    Numba keeps the number for each Python thread: those that have not called this use all of the machine's cores, or
    as many as the environment variable ``NUMBA_NUM_THREADS`` says. Call it in each thread, such as in the
    ``initializer`` of a ThreadPoolExecutor. ValueError for less than 1 or more than there are.
    """
    most = config.NUMBA_NUM_THREADS
    if checks.count("set_num_threads", "n", n) > most:
        raise ValueError(f"set_num_threads: expected at most {most} threads; got {n}")
    _set(n)


def get_num_threads() -> int:
    """Number of threads that kernels may use which this Python thread calls."""
    return int(_get())
