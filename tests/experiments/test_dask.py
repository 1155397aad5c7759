"""A study over Dask: a scheduler and two worker processes on the loopback give the digest of one process."""

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


def test_dask_gives_the_digest_of_one_process_though_a_worker_is_killed(tmp_path):
    expected = dask_study.run(None)
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
                "--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path),
            )
            for i in range(2)
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": f"{SHARED}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        store = tmp_path / "study.db"
        with subprocess.Popen(
            [sys.executable, SHARED / "dask_study.py", file, store],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        ) as study:  # fmt: skip
            until = time.monotonic() + 120
            while time.monotonic() < until and study.poll() is None:
                if store.exists() and _stored(store) >= 3:
                    os.killpg(workers[0].pid, signal.SIGKILL)
                    break
                time.sleep(0.05)
            out, errors = study.communicate(timeout=120)
    assert out.strip() == expected, errors
    assert len(Store.reading(store)[1]) == 27


def _stored(path):
    try:
        return len(Store.reading(path)[1])
    except OSError:  # it is being made
        return 0
