"""Kill real studies at random moments and see that what is left goes on to the table of one that was not killed.

    python tests/shared/stress_study.py 1000

starts a study of 200 trials again and again on the same store, in a process of its own, and ends it or one of its two
workers by SIGKILL at a random moment, often in the middle of a commit, until so many have been killed. A study that
came to its end is begun anew. Prints what it did; the exit status is 1 if a table differs.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import trials_to_run as built

from minnet.experiments import Log, Random, Space, Store, Study, digest

SPACE = Space(lr=Log(1e-3, 1.0))


def run(path, trials, workers):
    """Run the study, and return the digest of its table."""
    with Study(path, SPACE, built.plain, "val_loss") as study:
        study.run(Random(trials), workers=workers, progress=False)
        assert len(study.table) == trials, "a trial was stored twice, or not at all"
        return digest(study.table)


def children(pid):
    """Pids of the processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def kill_often(kills, trials, workers, seed, say=print):
    """Kill studies so many times; return the numbers of kills and of studies that came to their end right."""
    rng = np.random.default_rng(seed)
    expected = run(None, trials, 0)
    done, ended = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        path, number = Path(folder) / "study0.db", 0
        while done < kills or ended == 0:
            command = [sys.executable, __file__, "--run", str(path), "--trials", str(trials), "--workers", str(workers)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as study:
                stored = _stored(path)
                # From the first commit on, within the time of a few trials.
                while study.poll() is None and _stored(path) == stored and done < kills:
                    time.sleep(0.01)
                time.sleep(rng.uniform(0, 0.2))
                if done < kills and study.poll() is None:
                    below = children(study.pid)
                    of_worker = workers and below and rng.random() < 0.5
                    victim = int(rng.choice(below)) if of_worker else study.pid
                    try:
                        os.kill(victim, signal.SIGKILL)
                        done += 1
                    except ProcessLookupError:
                        pass
                    if victim != study.pid and rng.random() < 0.5:
                        study.kill()
                out = study.communicate()[0].strip()
            if study.returncode == 0:
                ended += 1
                if out != expected:
                    say(f"after {done} kills: another table")
                    return done, -1
                number += 1
                path = Path(folder) / f"study{number}.db"
                say(f"{done} kills, {ended} studies came to their end with the same table", flush=True)
    return done, ended


def _stored(path):
    try:
        return len(Store.reading(path)[1])
    except OSError:
        return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", type=int, nargs="?", default=1000)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.run:
        print(run(given.run, given.trials, given.workers))
    else:
        sys.exit(kill_often(given.kills, given.trials, given.workers, given.seed)[1] < 0)
