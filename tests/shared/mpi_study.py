"""A study over MPI.

    mpiexec -n 3 python -m mpi4py.futures tests/shared/mpi_study.py

prints the number of workers, and the digests of its table and of that of one process.
"""

import trials_to_run as built

from minnet.experiments import Halving, Log, Random, Space, Study, digest


def search(**options):
    with Study(None, Space(lr=Log(1e-3, 1.0)), built.plain, "val_loss") as study:
        study.run(Random(12), steps=2, **options)
        study.run(Halving(8, rungs=(1, 2, 4)), **options)
        return digest(study.table)


def main():
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as executor:
        print(executor.num_workers, search(executor=executor), search())


if __name__ == "__main__":
    main()
