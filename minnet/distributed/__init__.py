"""Data-parallel training: several processes share the work of each batch, and all of them keep the same weights.

``fit(..., exchange=MPI(shards=4))`` cuts each batch into shards. The bits do not depend on the number of processes.
"""

from .mpi import MPI

__all__ = ["MPI"]
