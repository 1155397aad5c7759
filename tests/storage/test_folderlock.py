"""One run at a time in a folder of checkpoints: in two processes, two threads, one session, and without locks."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import resuming
from resuming import contents, go_on, names, start

import minnet as mn
from minnet.storage import folderlock
from minnet.storage.folderlock import FolderLock

REFUSED = r"Checkpoint: expected no other run at work in .*; got that of process \d+ on .*\. Each run needs a folder"


def refused(trainer):
    """The trainer, which has not been let in and has taken no step."""
    step, params = trainer.step, trainer.net.params.copy()
    with pytest.raises(FileExistsError, match=REFUSED):
        next(trainer)
    assert trainer.step == step
    assert np.array_equal(trainer.net.params, params)


# Two processes -----------------------------------------------------------------------------------------------

OTHER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from resuming import go_on, mn, start
ours, theirs = map(Path, sys.argv[1:])
for make in (lambda: start(mn.Checkpoint(ours)), lambda: go_on(ours, mn.Checkpoint(ours))):
    trainer = make()
    step = trainer.step
    try:
        next(trainer)
    except FileExistsError as error:
        assert trainer.step == step
        print(error)
trainer = start(mn.Checkpoint(theirs, at=1))
next(trainer)
print("at work")
sys.stdout.flush()
sys.stdin.read()
"""


def test_a_second_process_is_refused_before_its_first_step_and_a_killed_one_locks_nobody_out(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    trainer = start(mn.Checkpoint(ours, at=1, keep=9))
    next(trainer)
    command = [sys.executable, "-c", OTHER.format(tests=str(Path(resuming.__file__).parent)), str(ours), str(theirs)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        lines = [other.stdout.readline() for _ in range(3)]
        # Refused as a new run and as one that goes on with ours; both by the name of this process.
        assert all(
            f"expected no other run at work in {ours}; got that of process {os.getpid()} on" in w for w in lines[:2]
        )
        assert lines[2] == "at work\n"
        refused(start(mn.Checkpoint(theirs)))
        refused(go_on(theirs, mn.Checkpoint(theirs)))
        refused(start(mn.Checkpoint(theirs, must_save=False)))
        other.send_signal(signal.SIGKILL)
    assert (theirs / ".lock").exists()
    again = go_on(theirs, mn.Checkpoint(theirs))
    assert again.run(progress=False).stopped == "finished"
    assert trainer.run(progress=False).stopped == "finished"  # and ours was not disturbed
    assert not (theirs / ".lock").exists()
    assert len([name for name in names(ours) if name.startswith("step-")]) == 9


CONTEND = """
import importlib.util, os, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("folderlock", sys.argv[1])
room = importlib.util.module_from_spec(spec)
spec.loader.exec_module(room)
folder, had = Path(sys.argv[2]), 0
while had < 60:
    try:
        lock = room.FolderLock(folder)
    except FileExistsError:
        continue
    os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))  # fails if somebody else is inside
    os.unlink(folder / "inside")
    lock.release()
    had += 1
"""


def test_processes_that_take_and_leave_a_folder_are_never_in_it_together(tmp_path):
    command = [sys.executable, "-S", "-c", CONTEND, folderlock.__file__, str(tmp_path)]
    others = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [other.communicate()[1] for other in others] == [""] * 3
    assert list(tmp_path.iterdir()) == []


# One process -------------------------------------------------------------------------------------------------


def test_a_second_thread_is_refused(tmp_path):
    first = start(mn.Checkpoint(tmp_path, at=1))
    next(first)
    found = []

    def other():
        try:
            next(start(mn.Checkpoint(tmp_path)))
        except FileExistsError as error:
            found.append(str(error))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert "expected no other run at work in" in found[0]
    assert first.run(progress=False).stopped == "finished"


def test_a_run_that_broke_off_is_gone_on_with_in_the_same_session(tmp_path):
    broken = start(mn.Checkpoint(tmp_path, at=1))
    next(broken)  # and never again: nobody tells it of its end
    go_on(tmp_path, mn.Checkpoint(tmp_path)).run(progress=False)
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match="another run"):
        next(start(mn.Checkpoint(tmp_path)))
    assert contents(tmp_path) == before


def test_the_one_that_was_displaced_is_refused_at_its_next_file(tmp_path):
    first = start(mn.Checkpoint(tmp_path, at=1))
    next(first)
    second = go_on(tmp_path, mn.Checkpoint(tmp_path, at=1, keep=9))
    next(second)
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=REFUSED):
        next(first)
    assert contents(tmp_path) == before
    assert second.run(progress=False).stopped == "finished"


@pytest.mark.parametrize("how", ["finished", "diverged", "left", "refused"])
def test_a_run_that_has_ended_leaves_the_folder_to_others(how, tmp_path):
    if how == "diverged":
        with pytest.raises(mn.DivergenceError):
            start(mn.Checkpoint(tmp_path), lr=1e30).run(progress=False)
    elif how == "left":
        trainer = start(mn.Checkpoint(tmp_path))
        for _ in trainer:
            trainer.leave("for now")
    elif how == "refused":
        (tmp_path / "best.ckpt").write_bytes(b"precious")
        with pytest.raises(FileExistsError, match="expected no checkpoints of another run"):
            next(start(mn.Checkpoint(tmp_path)))
    else:
        start(mn.Checkpoint(tmp_path)).run(progress=False)
    assert not (tmp_path / ".lock").exists()
    FolderLock(tmp_path).release()
    if how == "left":  # and takes it again if it goes on, unless another run is there by then
        other = FolderLock(tmp_path)
        with pytest.raises(FileExistsError, match="expected no other run at work"):
            run_in_thread(trainer)
        other.release()


def run_in_thread(trainer):
    found = []

    def target():
        try:
            trainer.run(progress=False)
        except FileExistsError as error:
            found.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    raise found[0]


def test_a_folder_that_is_emptied_under_a_run_is_taken_again(tmp_path):
    trainer = start(mn.Checkpoint(tmp_path, at=1))
    next(trainer)
    for path in tmp_path.iterdir():
        path.unlink()
    next(trainer)
    assert names(tmp_path) == ["step-00000002.ckpt"]
    assert (tmp_path / ".lock").exists()


# Disks without locks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["no module", "refused by the disk"])
def test_without_locks_the_first_run_finds_the_second_at_its_next_file(how, tmp_path, monkeypatch):
    if how == "no module":
        monkeypatch.setattr(folderlock, "fcntl", None)
    else:

        def flock(handle, how):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(folderlock.fcntl, "flock", flock)
    first = start(mn.Checkpoint(tmp_path, at=1))
    first._begin()  # it has saved nothing yet when the second looks around
    monkeypatch.setattr(folderlock, "_held", {})  # as another process has it
    second = start(mn.Checkpoint(tmp_path, at=1, keep=9))
    next(second)
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=REFUSED):
        next(first)
    assert contents(tmp_path) == before
    assert second.run(progress=False).stopped == "finished"


# Where it is -------------------------------------------------------------------------------------------------


def test_a_relative_folder_and_page_stay_where_they_were(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    trainer = start(mn.Checkpoint("run", at=1, keep=9), mn.diagnostics.Dashboard("page.html", monitors=[]), epochs=1)
    monkeypatch.chdir(tmp_path / "elsewhere")
    next(trainer)
    monkeypatch.chdir("/")
    trainer.run(progress=False)
    assert names(tmp_path / "elsewhere") == []
    assert names(tmp_path) == ["elsewhere", "page.html", "run"]
    assert len(names(tmp_path / "run")) == 6
