"""A study over Dask with 26 plain trials, and one in their midst that always kills its worker.

    python tests/shared/dask_study.py scheduler.json study.db

prints status and figure of each trial as JSON.
"""

import json
import sys

import trials_to_run as built

from minnet.experiments import Choice, Grid, Log, Space, Study
from minnet.experiments.trials import train

KILLS = 1
SPACE = Space(trouble=Choice(*range(4, 17), KILLS, *range(17, 30)), lr=Log(1e-2, 1.0))
SEARCH = Grid({"lr": 1})


def alone():
    """Figures of the plain trials, by number, without any engine."""
    return {
        trial.config.trouble: train(built.troubled, trial.config, trial.seed, 4, "val_loss", None, False)[0]["figure"]
        for trial in SEARCH.trials(SPACE, 0)
        if trial.config.trouble != KILLS
    }


def main():
    from distributed import Client

    with Client(scheduler_file=sys.argv[1]) as client:
        client.wait_for_workers(2, timeout=120)
        with (
            client.get_executor(pure=False) as executor,
            Study(sys.argv[2], SPACE, built.troubled, "val_loss") as study,
        ):
            study.run(SEARCH, executor=executor)
            print(json.dumps({row["trouble"]: [row["status"], row["val_loss"]] for row in study.table}), flush=True)


if __name__ == "__main__":
    main()
