"""How a run exchanges gradients with the other processes of an MPI program."""

from dataclasses import dataclass

from ..base import checks
from ..base.guide import Guided
from .ranks import Ranks, connect


@dataclass(frozen=True)
class MPI(Guided):
    """Exchange of gradients between the processes (ranks) that ``mpiexec`` has started.

    ``mpiexec -n 4 python -m mpi4py train.py`` runs the same program in four processes. With
    ``exchange=MPI(shards=4)``, each batch is cut into four shards of consecutive samples. Each rank computes the
    gradients of its shards. They are gathered on all ranks and added in the order of the shards, so the bits are the
    same for 1, 2 and 4 ranks. Each rank then makes the same update.

    * The loss and its gradient are those of the whole batch, also with weights of samples or classes, ignored labels,
      and shards of different sizes. Penalties are added once, and ``clip_norm`` gets the sum.
    * A shard is a training pass of its own: a layer takes its statistics over the shard, and draws its noise by the
      number of the pass, which is ``shards * step + shard``. The running statistics are updated by the statistics of
      all shards, in their order, on all ranks. A step is therefore one of ``Accumulate(rule, k=shards)`` with batches
      of a shard's size, up to the rounding of 1 / shards, which is exact for 2, 4 and 8 shards.
    * A batch with fewer samples than shards leaves the last shards empty.

    One process needs no mpi4py and has the same bits, so a program with an exchange runs without ``mpiexec``, too.

    Args:
        shards: number of parts of each batch, a multiple of the number of ranks.

    Each rank needs memory for the gradients of all shards.
    """

    shards: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "shards", checks.count("MPI", "shards", self.shards))

    @property
    def rank(self) -> int:
        """Number of this process, counted from 0. Rank 0 alone writes files and shows progress."""
        return self.connect().rank

    @property
    def ranks(self) -> int:
        """Number of processes."""
        return self.connect().count

    def connect(self) -> Ranks:
        """Return the ranks of this program.

        Raises:
            ImportError: a launcher such as ``mpiexec`` has started several processes, and mpi4py is not installed.
            RuntimeError: mpi4py uses another MPI than the launcher.
            ValueError: the number of ranks does not divide ``shards``.
        """
        ranks = connect()
        if self.shards % ranks.count:
            raise ValueError(
                f"MPI: expected a number of ranks that divides shards={self.shards}; got {ranks.count} ranks. Start "
                "another number of them (mpiexec -n), or give other shards"
            )
        return ranks
