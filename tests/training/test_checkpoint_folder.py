"""A folder of checkpoints: which files are kept, and errors of the disk."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import stress_resume as stress
from resuming import Full, names, whole
from stress_resume import CASES, result

import minnet as mn
from minnet.storage import archive

pytestmark = pytest.mark.filterwarnings("ignore:Trainer. expected a schedule that suits")


# The folder --------------------------------------------------------------------------------------------------


def test_the_newest_and_the_best_are_kept(tmp_path):
    case = CASES["mlp"]
    trainer = case.start(mn.Checkpoint(tmp_path / "a" / "b", keep=2, best="val_accuracy"))
    history = trainer.run(progress=False)
    assert names(tmp_path / "a" / "b") == ["best.ckpt", "step-00000024.ckpt", "step-00000030.ckpt"]
    best = history.epochs.rows[int(np.argmax(history["val_accuracy"]))]
    document, _ = archive.read(tmp_path / "a" / "b" / "best.ckpt")
    assert document["at"]["step"] == best["step"]
    again = case.resume(tmp_path / "a" / "b" / "best.ckpt")
    again.run(progress=False)
    assert result(again) == result(trainer)


@pytest.mark.parametrize(
    ("case", "at", "steps"),
    [
        ("Adam", 7, [7, 14, 21, 28, 30]),
        ("Adam", [2, 11], [2, 11, 30]),
        ("Adam", mn.diagnostics.log_spaced(2), [1, 3, 10, 30]),
        ("averages", "trough", [8, 16, 24, 30]),
    ],
)
def test_moments_of_files_may_be_chosen_and_the_last_step_is_always_saved(case, at, steps, tmp_path):
    CASES[case].start(mn.Checkpoint(tmp_path, at, keep=9)).run(progress=False)
    assert names(tmp_path) == [f"step-{step:08}.ckpt" for step in steps]


def test_files_at_events_want_a_schedule_that_has_them(tmp_path):
    with pytest.raises(ValueError, match=r"Checkpoint: expected a schedule with a trough .* got Constant"):
        CASES["Adam"].start(mn.Checkpoint(tmp_path, "trough")).run(progress=False)
    with pytest.raises(ValueError, match="Checkpoint: expected at to be a number of steps, 'epoch' or one of"):
        mn.Checkpoint(tmp_path, "epochs")


def test_the_best_so_far_is_remembered_when_a_run_is_resumed(tmp_path):
    case = CASES["mlp"]
    case.start(mn.Checkpoint(tmp_path / "whole", keep=9, best="val_loss")).run(progress=False)
    expected = (tmp_path / "whole" / "best.ckpt").read_bytes()
    for path in sorted((tmp_path / "whole").glob("step-*.ckpt"))[:-1]:
        other = mn.Checkpoint(tmp_path / path.stem, keep=9, best="val_loss")
        (tmp_path / path.stem).mkdir()
        (tmp_path / path.stem / "best.ckpt").write_bytes(expected)
        case.resume(path, other).run(progress=False)
        document, arrays = archive.read(tmp_path / path.stem / "best.ckpt")
        wanted, values = archive.read(tmp_path / "whole" / "best.ckpt")
        assert document["at"] == wanted["at"]
        assert all(np.array_equal(arrays[name], values[name]) for name in values)


def test_a_new_run_does_not_write_among_the_files_of_another(tmp_path):
    case = CASES["Adam"]
    case.start(mn.Checkpoint(tmp_path)).run(progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FileExistsError, match=r"no checkpoints of another run in .*step-00000030.ckpt"):
        case.start(mn.Checkpoint(tmp_path)).run(progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    (tmp_path / ".step-00000006.ckpt.123.tmp").write_bytes(b"half")
    (tmp_path / ".best.ckpt.123.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    CASES["Adam"].start(mn.Checkpoint(tmp_path)).run(progress=False)
    assert [name for name in names(tmp_path) if not name.endswith(".ckpt")] == ["notes.txt"]


# Errors of the disk ------------------------------------------------------------------------------------------


def test_a_full_disk_stops_the_run_and_leaves_the_former_checkpoint_whole(tmp_path, monkeypatch):
    case = CASES["mlp"]
    expected = whole(case)
    trainer = case.start(mn.Checkpoint(tmp_path, at=5))
    Full(monkeypatch, after=2)
    with pytest.raises(
        OSError, match=r"expected to write a minnet checkpoint of [\d,]+ bytes; got No space left on device"
    ):
        trainer.run(progress=False)
    assert names(tmp_path) == ["step-00000005.ckpt", "step-00000010.ckpt"]
    monkeypatch.undo()
    again = case.resume(tmp_path)
    again.run(progress=False)
    assert result(again) == result(expected)
    trainer.run(progress=False)  # and the run itself is whole: with room again it goes on
    assert result(trainer) == result(expected)


def test_a_full_disk_is_a_warning_if_asked_and_the_run_goes_on(tmp_path, monkeypatch):
    case = CASES["mlp"]
    expected = whole(case)
    trainer = case.start(mn.Checkpoint(tmp_path, at=5, must_save=False))
    Full(monkeypatch, after=2)
    with pytest.warns(RuntimeWarning, match="is not saved: .*No space left on device") as warned:
        trainer.run(progress=False)
    assert [str(w.message)[:20] for w in warned] == [f"Checkpoint: step {step} " for step in (15, 20, 25, 30)]
    assert names(tmp_path) == ["step-00000005.ckpt", "step-00000010.ckpt"]
    assert result(trainer) == result(expected)


LIMITED = """
import resource, signal, sys
import stress_resume as stress
import minnet as mn
from pathlib import Path

folder = Path(sys.argv[1])
trainer = stress.CASES["mlp"].start(mn.Checkpoint(folder, at=5))
for record in trainer:
    if record.step == 7:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
"""


def test_a_missing_folder_is_a_clear_error(tmp_path):
    trainer = CASES["Adam"].start()
    with pytest.raises(FileNotFoundError) as error:
        trainer.save(tmp_path / "none" / "x.ckpt")
    assert str(error.value) == f"expected the folder {tmp_path / 'none'} to exist, to write x.ckpt in it"


def test_the_real_error_of_a_file_that_may_not_grow(tmp_path):
    pytest.importorskip("resource", reason="needs limits of a Unix process")
    paths = os.pathsep.join([str(Path(stress.__file__).parent), str(Path(mn.__file__).parent.parent)])
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIMITED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "expected to write a minnet checkpoint of" in run.stderr.splitlines()[-1]
    assert "File too large" in run.stderr.splitlines()[-1]
    assert names(tmp_path) == ["step-00000005.ckpt"]
    archive.read(tmp_path / "step-00000005.ckpt")


@pytest.mark.parametrize("must_save", [True, False])
def test_a_read_only_folder_is_a_clear_error(tmp_path, must_save, monkeypatch):
    real = Path.open

    def refused(path, *mode, **options):
        if path.suffix == ".tmp":  # whoever runs the tests may be allowed to write anywhere
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *mode, **options)

    monkeypatch.setattr(Path, "open", refused)
    trainer = CASES["Adam"].start(mn.Checkpoint(tmp_path, must_save=must_save))
    if must_save:
        with pytest.raises(
            PermissionError, match=r"expected to write a minnet checkpoint .* got Permission denied.*step-00000006"
        ):
            trainer.run(progress=False)
    else:
        with pytest.warns(RuntimeWarning, match="is not saved: .*Permission denied") as warned:
            trainer.run(progress=False)
        assert len(warned) == trainer.history["epoch"][-1]
        assert trainer.history.stopped == "finished"
    assert list(tmp_path.iterdir()) == []
