"""A study over MPI has the table of one process."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import mpi_study
import pytest


@pytest.mark.skipif(
    find_spec("mpi4py") is None or shutil.which("mpiexec") is None,
    reason="needs mpi4py and mpiexec: pip install mpi4py mpich",
)
def test_two_workers_of_mpi_give_the_digest_of_one_process():
    path = os.pathsep.join([os.path.dirname(mpi_study.__file__), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "NUMBA_NUM_THREADS": "1"}
    program = ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", mpi_study.__file__]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    workers, found, expected = done.stdout.split()
    assert (workers, found) == ("2", expected)
