"""The processes of an MPI program, which are called ranks, and what they tell each other."""

import os
import sys
import time
from functools import cache
from types import TracebackType
from typing import Any

import numpy as np

from ..base.extras import extra

# Variables in which launchers tell a process how many there are: MPICH and Intel MPI, Open MPI, MVAPICH.
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_PASSED_ON = 0.5  # seconds before all ranks end, because a launcher drops what it has not yet passed on of their output


class Ranks:
    """One process alone. Every method is called on all ranks, in the same order.

    Attributes:
        rank: number of this process, counted from 0.
        count: number of processes.
    """

    rank, count = 0, 1

    def gather(self, rows: np.ndarray) -> None:
        """Complete ``rows``, bytes of shape (n, width), of which each rank has filled its share of n / count rows."""

    def share(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in their order."""
        return [value]

    def first(self, *values: Any) -> tuple[Any, ...]:
        """Return, for each of the values, that of the first rank on which it is not None."""
        return values


class Connected(Ranks):
    """The processes of an MPI communicator."""

    def __init__(self, communicator: Any, in_place: Any) -> None:
        self.rank, self.count = communicator.rank, communicator.size
        self._communicator, self._in_place = communicator, in_place
        self._marks = np.zeros(self.count, np.uint8)

    def gather(self, rows: np.ndarray) -> None:
        self._communicator.Allgather(self._in_place, rows)

    def share(self, value: Any) -> list[Any]:
        return self._communicator.allgather(value)

    def first(self, *values: Any) -> tuple[Any, ...]:
        # Asked at every step, where all values are None almost always: one byte of each rank says so.
        self._marks[self.rank] = any(value is not None for value in values)
        self._communicator.Allgather(self._in_place, self._marks)
        if not self._marks.any():
            return values
        of_all = zip(*self.share(values), strict=True)
        return tuple(next((value for value in several if value is not None), None) for several in of_all)


@cache
def connect() -> Ranks:
    """Return the ranks of this program: those of mpi4py's world, or this process alone.

    With several ranks, an exception that nobody catches ends all of them from now on. Otherwise the others would wait
    for the lost one for ever.

    Raises:
        ImportError: a launcher has started several processes, and mpi4py is not installed.
        RuntimeError: mpi4py uses another MPI than the launcher, or finds none.
    """
    launched = next((int(os.environ[name]) for name in _SIZES if os.environ.get(name, "").isdecimal()), 1)
    try:
        with extra("MPI", "mpi4py 4.1", "mpi"):
            from mpi4py import MPI
    except (ImportError, RuntimeError):  # not installed, or it finds no MPI to load
        if launched > 1:
            raise
        return Ranks()
    world = MPI.COMM_WORLD
    if world.size == 1 < launched:
        raise RuntimeError(
            f"MPI: expected mpi4py to see the {launched} processes that a launcher has started; it sees one. It uses "
            f"{MPI.Get_library_version().splitlines()[0]}: start the program with the mpiexec of that MPI"
        )
    if world.size == 1:
        return Ranks()
    _end_all_on_errors(world)
    return Connected(world.Dup(), MPI.IN_PLACE)  # a copy, so that messages of the program do not mix with these


def _end_all_on_errors(world: Any) -> None:
    """Let an exception that nobody catches end all ranks, as ``python -m mpi4py`` does."""
    show = sys.excepthook

    def show_and_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        try:
            show(kind, error, trace)
            sys.stdout.flush()
            sys.stderr.flush()
            time.sleep(_PASSED_ON)
        finally:  # also after another Ctrl-C
            world.Abort(1)

    sys.excepthook = show_and_end
