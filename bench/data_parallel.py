"""What data-parallel training costs: an exchange of gradients, and whole steps in shards.

    python bench/data_parallel.py                                        one process
    mpiexec -n 2 python -m mpi4py bench/data_parallel.py                 two ranks
    mpiexec -n 2 python -m mpi4py bench/data_parallel.py mnist_mlp

Each process has one thread. First the exchange of 75,010 parameters in float32, in four shards: gathering all shards
and adding them in order, beside MPI's all-reduce of one vector, whose order of additions depends on the number of
ranks. Then, for each workload, a step without an exchange and one with ``MPI(shards=4)``, both taken by Python. The
figures are medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
from workloads import LEARNING_RATE, WORKLOADS

import minnet as mn
from minnet.distributed.rows import Rows
from minnet.kernels.updates.gradients import combine

EXCHANGE, PARAMETERS = mn.distributed.MPI(shards=4), 75_010


class Watch(mn.Callback):
    """Looks at every step, so that Python takes it."""

    def on_step(self, trainer: mn.Trainer, record: mn.Record) -> None:
        pass


def seconds(call: Callable[[], object], count: int) -> float:
    """The median time of a call; the first tenth is not counted."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times[count // 10 :])


def ways_to_exchange() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield a name and the exchange of one step."""
    ranks, rows, one = EXCHANGE.connect(), Rows(EXCHANGE.shards, PARAMETERS, 0, np.dtype(np.float32)), np.float32(1)
    total = np.zeros(PARAMETERS, np.float32)

    def gather_and_add() -> None:
        ranks.gather(rows.memory)
        np.copyto(total, rows.grads[0])
        for row in rows.grads[1:]:
            combine(total, one, row, one)

    yield "gather and add in order", gather_and_add
    if ranks.count > 1:
        from mpi4py import MPI

        yield "all-reduce", lambda: MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, total)


def step_of(name: str, exchange: mn.distributed.MPI | None, count: int) -> Callable[[], object]:
    """The next step of a run on the workload's random batch."""
    work = WORKLOADS[name]
    run = {"rule": work.rule, "lr": LEARNING_RATE, "batch_size": work.batch, "steps": count}
    return mn.Trainer(work.net(), work.data(), **run, callbacks=[Watch()], exchange=exchange).__next__


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=["mnist_2c2d"])
    parser.add_argument("--count", type=int, default=100, help="exchanges and steps, each")
    arguments = parser.parse_args()
    mn.set_num_threads(1)
    found = [(f"exchange, {kind}", seconds(exchange, arguments.count)) for kind, exchange in ways_to_exchange()]
    for name in arguments.workloads:
        for kind, exchange in (("without an exchange", None), (str(EXCHANGE), EXCHANGE)):
            step = step_of(name, exchange, arguments.count)
            found.append((f"step of {name}, {kind}", seconds(step, arguments.count)))
    if EXCHANGE.rank == 0:
        print(f"| {EXCHANGE.ranks} ranks | ms |\n|---|---|")
        for kind, median in found:
            print(f"| {kind} | {1e3 * median:.2f} |")


if __name__ == "__main__":
    main()
