"""Ctrl-C and SIGTERM: a run saves and stops."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import stress_resume as stress
from resuming import Interrupt, names, resume, whole, wider
from stress_resume import CASES, result

import minnet as mn
from minnet.storage import archive

pytestmark = pytest.mark.filterwarnings("ignore:Trainer. expected a schedule that suits")


@pytest.mark.parametrize(("at", "step"), [("on_step", 1), ("on_step", 8), ("on_step", 12), ("on_epoch", 12)])
def test_ctrl_c_saves_and_stops_and_the_run_goes_on_with_the_same_bits(at, step, tmp_path):
    case = CASES["mlp"]
    expected = whole(case)
    trainer = case.start(Interrupt(signal.SIGINT, step, at), mn.Checkpoint(tmp_path, at=1000))
    history = trainer.run(progress=False)
    assert (history.stopped, trainer.step) == ("interrupted", step)
    assert names(tmp_path) == [f"step-{step:08}.ckpt"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = case.resume(tmp_path)
    assert again.history.stopped is None
    again.run(progress=False)
    assert result(again) == result(expected)


def test_ctrl_c_between_the_parts_of_an_optimizer_step_saves_nothing_half_done(tmp_path, monkeypatch):
    case = CASES["groups"]  # several parts, one after the other
    expected = whole(case)
    trainer = case.start(mn.Checkpoint(tmp_path, at=1000))
    trainer.recorded.reason = "the signal comes in Python"
    part = trainer.optimizer._parts[1]
    real = part.rate

    def rate(*values):
        if trainer.step == 8 and trainer.optimizer.steps == 8:
            signal.raise_signal(signal.SIGINT)
        return real(*values)

    monkeypatch.setattr(part, "rate", rate)
    history = trainer.run(progress=False)
    assert (history.stopped, trainer.step) == ("interrupted", 9)
    again = case.resume(tmp_path)
    again.run(progress=False)
    assert result(again) == result(expected)


class InterruptLate(mn.Callback):
    """Sends Ctrl-C to its own process when the callbacks before it have been asked whether to save."""

    bystander = True

    def between_steps(self, trainer):
        if trainer.step == 8:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("first", [True, False], ids=["before it saves", "after"])
def test_a_signal_between_the_callbacks_is_not_too_late_to_be_saved(first, tmp_path):
    case = CASES["mlp"]
    expected = whole(case)
    late, saving = InterruptLate(), mn.Checkpoint(tmp_path, at=1000)
    trainer = case.start(*([late, saving] if first else [saving, late]))
    assert trainer.run(progress=False).stopped == "interrupted"
    assert f"step-{trainer.step:08}.ckpt" in names(tmp_path)
    again = case.resume(tmp_path)
    assert again.step == trainer.step
    again.run(progress=False)
    assert result(again) == result(expected)


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    class Twice(mn.Callback):
        def on_step(self, trainer, record):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    trainer = CASES["SGD"].start(Twice(), mn.Checkpoint(tmp_path))
    assert trainer.run(progress=False).stopped == "interrupted"
    assert list(tmp_path.iterdir()) == []


def test_a_handler_of_the_users_own_stays():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("term"))
    try:
        history = CASES["SGD"].start(Interrupt(signal.SIGTERM, 3)).run(progress=False)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (history.stopped, seen) == ("finished", ["term"])


TERMINATED = """
import sys
import stress_resume as stress
import minnet as mn
from pathlib import Path

class Say(mn.Callback):
    bystander = True
    def on_step(self, trainer, record):
        print(record.step, flush=True)
        if record.step == 4:
            sys.stdin.readline()  # so that the signal comes in mid-run

stress.CASES["mlp"].start(mn.Checkpoint(Path(sys.argv[1]), at=1000), Say()).run(progress=False)
print("after the run")
"""


def test_sigterm_saves_and_then_ends_the_process(tmp_path):
    case = CASES["mlp"]
    expected = whole(case)
    paths = os.pathsep.join([str(Path(stress.__file__).parent), str(Path(mn.__file__).parent.parent)])
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", TERMINATED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line == "4\n":
            break
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate("\n")
    assert process.returncode == -signal.SIGTERM
    assert "after the run" not in said
    (path,) = tmp_path.iterdir()
    assert path.name in ("step-00000004.ckpt", "step-00000005.ckpt")
    again = case.resume(tmp_path)
    again.run(progress=False)
    assert result(again) == result(expected)


def test_sigterm_says_why_it_could_not_save(tmp_path):
    paths = os.pathsep.join([str(Path(stress.__file__).parent), str(Path(mn.__file__).parent.parent)])
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FAILING, str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == -signal.SIGTERM
    assert process.stderr.splitlines()[-1].startswith("NotADirectoryError: expected ")
    assert "between_steps" in process.stderr


FAILING = """
import shutil, signal, sys
from pathlib import Path
import stress_resume as stress
import minnet as mn

class Signal(mn.Callback):
    bystander = True
    def on_step(self, trainer, record):
        if record.step == 4:
            shutil.rmtree(sys.argv[1])
            Path(sys.argv[1]).write_text("no folder")
            signal.raise_signal(signal.SIGTERM)

stress.CASES["SGD"].start(Signal(), mn.Checkpoint(sys.argv[1], at=1000)).run(progress=False)
"""


def test_a_resume_that_fails_does_not_free_the_folder_for_another_run(tmp_path):
    case = CASES["mlp"]
    case.start(mn.Checkpoint(tmp_path)).run(progress=False)
    saving = mn.Checkpoint(tmp_path)
    with pytest.raises(mn.CheckpointError):
        resume(tmp_path, net=wider(), callbacks=[saving])
    newest = max(tmp_path.glob("step-*.ckpt"))
    document, arrays = archive.read(newest)
    document["callbacks"][-1]["state"] = {}
    archive.write(newest, document, arrays)
    with pytest.raises(mn.CheckpointError, match="states of the callbacks"):
        resume(newest, callbacks=[saving, *CASES["mlp"].given()["callbacks"]])
    with pytest.raises(FileExistsError, match="no checkpoints of another run"):
        CASES["SGD"].start(saving).run(progress=False)
