"""Checkpoints that are damaged, missing or hostile."""

import sys

import numpy as np
import pytest
from resuming import DAMAGES, names, resume, wider
from stress_resume import CASES, result

import minnet as mn
from minnet.storage import archive

pytestmark = pytest.mark.filterwarnings("ignore:Trainer. expected a schedule that suits")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_and_the_next_older_one_taken(damage, tmp_path):
    case = CASES["mlp"]
    expected = case.start(mn.Checkpoint(tmp_path, at=5, keep=9))
    expected.run(progress=False)
    newest, older = tmp_path / "step-00000030.ckpt", tmp_path / "step-00000025.ckpt"
    spoil, message = DAMAGES[damage]
    spoil(newest)
    with pytest.raises(mn.CheckpointError, match=rf"(?s){message}.*The next older one is .*{older.name}"):
        case.resume(newest)
    with pytest.warns(UserWarning, match=rf"{message}.*Going on from the older {older.name}"):
        trainer = case.resume(tmp_path)
    assert trainer.step == 25
    trainer.run(progress=False)
    assert result(trainer) == result(expected)
    for path in set(tmp_path.glob("*.ckpt")) - {newest}:
        spoil(path)
    with pytest.raises(mn.CheckpointError, match="expected a whole checkpoint in"):
        case.resume(tmp_path)


def test_the_older_one_is_offered_whatever_is_wrong_with_the_one_asked_for(tmp_path):
    CASES["mlp"].start(mn.Checkpoint(tmp_path, best="val_loss")).run(progress=False)
    newest, older = tmp_path / "step-00000030.ckpt", tmp_path / "step-00000024.ckpt"
    for path in (newest, tmp_path):  # of another architecture
        with pytest.raises(mn.CheckpointError, match=rf"net layers 0 is .*The next older one is .*{older.name}"):
            resume(path, net=wider())
    (tmp_path / "best.ckpt").write_bytes(b"")
    with pytest.raises(mn.CheckpointError, match=rf"damaged.*The newest one beside it is .*{newest.name}"):
        resume(tmp_path / "best.ckpt")


def test_what_is_no_file_or_may_not_be_read_is_passed_over(tmp_path, monkeypatch):
    case = CASES["mlp"]
    expected = case.start(mn.Checkpoint(tmp_path, keep=9))
    expected.run(progress=False)
    (tmp_path / "step-00000099.ckpt").mkdir()
    (tmp_path / "step-00000098.ckpt").symlink_to(tmp_path / "gone")
    read = archive.read

    def refused(path, *kind):
        if path.name == "step-00000030.ckpt":
            raise PermissionError(13, "Permission denied", str(path))  # whoever runs the tests may read anything
        return read(path, *kind)

    monkeypatch.setattr(archive, "read", refused)
    with pytest.warns(UserWarning, match="Going on from the older step-00000024") as warned:
        trainer = case.resume(tmp_path, mn.Checkpoint(tmp_path, keep=9))
    assert len([w for w in warned if "Going on" in str(w.message)]) == 3
    trainer.run(progress=False)
    assert result(trainer) == result(expected)
    assert (tmp_path / "step-00000099.ckpt").is_dir()


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        resume(tmp_path / "none.ckpt")
    with pytest.raises(FileNotFoundError, match="expected checkpoints"):
        resume(tmp_path)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"best": {1, 2}}, "got {1, 2} at /callbacks/1/state/best"),
        ({1: 2}, "expected keys that are text"),
        ({"$array": 2}, "expected keys that are text"),
        ({"when": np.array(["2020"], "M8[Y]")}, "expected arrays of numbers"),
    ],
)
def test_a_state_that_no_file_can_hold_is_refused_by_name(state, message, tmp_path):
    class Odd(mn.Callback):
        def state(self):
            return state

    case = CASES["SGD"]
    trainer = case.start(mn.EarlyStopping("loss"), Odd())
    next(trainer)
    with pytest.raises(TypeError, match=message):
        trainer.save(tmp_path / "x.ckpt")
    assert list(tmp_path.iterdir()) == []


class Talkative(mn.Callback):
    """A state that is larger than what a file's header may hold, or that would be read as very many dicts."""

    bystander = True

    def __init__(self, words):
        self.words = words

    def state(self):
        return {"words": self.words}

    def restore(self, state):
        pass


@pytest.mark.parametrize(
    "words", ["x" * 101_000_000, "x" * 2_000_000, [{"a": 0}] * 20_000], ids=["very long", "long", "dicts"]
)
def test_a_document_too_large_is_an_error_of_the_disks_kind(words, tmp_path):
    with pytest.raises(OSError, match="expected a minnet checkpoint with a document that readers can hold"):
        CASES["SGD"].start(Talkative(words), mn.Checkpoint(tmp_path)).run(progress=False)
    trainer = CASES["SGD"].start(Talkative(words), mn.Checkpoint(tmp_path, must_save=False))
    with pytest.warns(RuntimeWarning, match="is not saved"):
        trainer.run(progress=False)
    assert trainer.history.stopped == "finished"
    assert names(tmp_path) == []


# Hostile files -----------------------------------------------------------------------------------------------


def test_hostile_files_are_refused_or_read_without_harm():
    import hostile_files

    outcomes = hostile_files.torture(200, seed=1)
    assert {name: outcome.bad for name, outcome in outcomes.items() if outcome.bad} == {}
    assert all(outcome.refused > 5 for outcome in outcomes.values())


def test_the_watch_over_hostile_files_would_see_code_and_memory(tmp_path):
    import tracemalloc

    import hostile_files

    class Careless(hostile_files.Files):
        def read(self, path):
            exec("pass")

    class Greedy(hostile_files.Files):
        def read(self, path):
            np.zeros(10**7)

    class Confused(hostile_files.Files):
        def read(self, path):
            raise KeyError("x")

    sys.addaudithook(hostile_files._audit)
    tracemalloc.start()
    for kind, said in ((Careless, "ran"), (Greedy, "bytes of memory"), (Confused, "KeyError")):
        outcome = hostile_files.Outcome()
        reader = kind(tmp_path, {"x": b"1234"}, None)
        hostile_files.attempt(reader, np.random.default_rng(0), outcome)
        assert said in outcome.bad[0]
    tracemalloc.stop()
