"""A study over Dask, with a scheduler and two worker processes on the loopback, and without it.

    python tests/shared/dask_study.py scheduler.json study.db

prints the pids of the workers when the first trial is done, and the digest of the table at the end.
"""

import sys

import trials_to_run as built

from minnet.experiments import Grid, Integer, Log, Space, Study, digest

SPACE = Space(trouble=Integer(4, 30), lr=Log(1e-2, 1.0))


def run(path, **options):
    """27 trials; returns the digest of their table."""
    with Study(path, SPACE, built.troubled, "val_loss") as study:
        study.run(Grid({"trouble": 27, "lr": 1}), progress=False, **options)
        return digest(study.table)


def main():
    from distributed import Client

    with Client(scheduler_file=sys.argv[1]) as client:
        client.wait_for_workers(2, timeout=120)
        with client.get_executor(pure=False) as executor:
            print(run(sys.argv[2], executor=executor), flush=True)


if __name__ == "__main__":
    main()
