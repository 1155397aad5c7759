"""Kill real studies again and again, and see that what is left goes on to the table of one that was not killed.

    python tests/shared/stress_study.py 1000
    python tests/shared/stress_study.py 100 --workers 2

starts a study of 200 trials again and again on the same store, in a process of its own, until so many processes have
been killed by SIGKILL: the coordinator at a random moment or amid a commit, and with workers also these, up to three in
the life of a coordinator. A study that came to its end is begun anew. Prints what it did; the exit status is 1 if a
table differs.
"""

import argparse
import os
import signal
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import trials_to_run as built

from minnet.experiments import Log, Random, Space, Store, Study, digest

SPACE = Space(lr=Log(1e-3, 1.0))
PATIENCE = 300.0  # seconds without a new trial after which a study counts as one that hangs


def run(path, trials, workers):
    """Run the study, and return the digest of its table."""
    with Study(path, SPACE, built.plain, "val_loss") as study:
        study.run(Random(trials), workers=workers)
        assert len(study.table) == trials, "a trial was stored twice, or not at all"
        return digest(study.table)


def die_amid_a_commit(number):
    """Let this process die in its commit with this number, after the row was written and before it is committed."""
    put, left = Store.put, [number]

    def dying(store, unit, outcome):
        left[0] -= 1
        if left[0] == 0:
            store._file.execute("BEGIN IMMEDIATE")
        put(store, unit, outcome)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    Store.put = dying


def started(path, trials, workers, dies_in=0):
    """Start a study in a fork of this process, which uses no threads; return its pid and what it prints to."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    os.close(reader)
    try:
        if dies_in:
            die_amid_a_commit(dies_in)
        os.write(writer, run(path, trials, workers).encode())
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def ended(study):
    """Wait for a study; return what it printed, None if it was killed."""
    pid, reader = study
    with os.fdopen(reader) as file:
        out = file.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("a study ended with an error")
    return None if os.WIFSIGNALED(status) else out


def workers_of(pid):
    """Pids of the workers of a coordinator."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == pid and b"spawn_main" in command:
            found.append(int(path.parent.name))
    return found


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def wait_for_progress(path, pid, before):
    """Wait until a study has stored another trial, or has ended; return the number of trials."""
    begun = time.monotonic()
    while (stored := _stored(path)) <= before:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        if time.monotonic() - begun > PATIENCE:
            raise RuntimeError(f"a study hangs after {stored} trials")
        time.sleep(0.01)
    return stored


def kill_often(kills, trials, workers, seed, say=print):
    """Kill studies so many times; return the numbers of kills by victim, and of studies that ended with their table."""
    rng = np.random.default_rng(seed)
    expected = ended(started(None, trials, 0))
    done, whole = Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        out = None
        while out is None or done.total() < kills:
            path = Path(folder) / f"study{whole}.db"
            amid = done.total() < kills and rng.random() < 0.5
            study = started(path, trials, workers, int(rng.integers(1, 9)) if amid else 0)
            if workers:
                done["worker"] += kill_workers(path, trials, study[0], min(rng.integers(4), kills - done.total()), rng)
            if done.total() < kills and not amid:
                wait_for_progress(path, study[0], _stored(path))
                time.sleep(rng.uniform(0, 0.1))
                kill(study[0])
            out = ended(study)
            if out is None:
                done["coordinator amid a commit" if amid else "coordinator"] += 1
                continue
            if out != expected:
                raise RuntimeError(f"another table after {done.total()} kills")
            whole += 1
            say(f"{done.total()} kills, {dict(done)}; {whole} studies ended with the same table", flush=True)
    return done, whole


def kill_workers(path, trials, pid, number, rng):
    """Kill a random worker so many times, each after some progress; not near the end, where lost units are retried."""
    killed = 0
    for _ in range(number):
        stored = wait_for_progress(path, pid, _stored(path))
        time.sleep(rng.uniform(0, 0.1))
        if stored < trials - 30 and (found := workers_of(pid)):
            killed += kill(int(rng.choice(found)))
    return killed


def _stored(path):
    try:
        return len(Store.reading(path)[1])
    except OSError:
        return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", type=int, nargs="?", default=1000)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(kill_often(given.kills, given.trials, given.workers, given.seed))
