"""A study over Dask: a scheduler and two worker processes on the loopback, and what kills these."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

pytest.importorskip("distributed")

import dask_study

from minnet.experiments import Store

SHARED = Path(dask_study.__file__).parent


def started(stack, folder, name, *arguments):
    """A process of Dask's command line that ends with the test."""
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    environment = {
        **os.environ,
        "PYTHONPATH": f"{SHARED}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "NUMBA_NUM_THREADS": "1",
        # Dask gives up a trial when a worker dies that had it, so minnet has to hand out again what lay beside it.
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True
    )

    def end():
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    stack.callback(end)
    return process


def test_every_other_trial_is_right_though_a_worker_is_killed_and_one_trial_always_kills_its_worker(tmp_path):
    with ExitStack() as stack:
        file = tmp_path / "scheduler.json"
        host = ("--host", "127.0.0.1")
        started(
            stack, tmp_path, "scheduler", "distributed.cli.dask_scheduler", *host, "--port", "0",
            "--scheduler-file", str(file), "--no-dashboard",
        )  # fmt: skip
        workers = [
            started(
                stack, tmp_path, f"worker{i}", "distributed.cli.dask_worker", "--scheduler-file", str(file), *host,
                "--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path), nanny,
            )
            for i, nanny in enumerate(("--no-nanny", "--nanny"))  # which starts a worker again that has died
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": f"{SHARED}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        store = tmp_path / "study.db"
        with subprocess.Popen(
            [sys.executable, SHARED / "dask_study.py", file, store],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        ) as study:  # fmt: skip
            expected = {str(number): ["done", figure] for number, figure in dask_study.alone().items()}
            until = time.monotonic() + 120
            while time.monotonic() < until and study.poll() is None:
                if _stored(store) >= 3:
                    os.killpg(workers[0].pid, signal.SIGKILL)
                    break
                time.sleep(0.05)
            out, errors = study.communicate(timeout=240)
    assert study.returncode == 0, errors
    assert json.loads(out) == expected | {str(dask_study.KILLS): ["died", None]}
    (died,) = (row for row in Store.reading(store)[1] if row.outcome.status == "died")
    assert "its engine failed, twice: KilledWorker" in died.outcome.words


def _stored(path):
    try:
        return len(Store.reading(path)[1])
    except OSError:  # it is being made
        return 0
