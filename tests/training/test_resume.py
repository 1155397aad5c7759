"""A run that is saved and resumed is the run that was never interrupted, to the last bit."""

from dataclasses import replace

import numpy as np
import pytest
import stress_resume as stress
from public_rules import public_rules
from resuming import SaveAt, checksum, save_at, whole
from stress_resume import CASES, result

import minnet as mn
from minnet.storage import archive

pytestmark = pytest.mark.filterwarnings("ignore:Trainer. expected a schedule that suits")


# The same bits -----------------------------------------------------------------------------------------------


def test_every_public_rule_is_put_to_the_test():
    assert set(stress.RULES) | {"LBFGS"} == public_rules()


@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_ends_with_the_same_bits(name, tmp_path):
    case = CASES[name]
    expected = whole(case)
    last = expected.step
    rng = np.random.default_rng(list(CASES).index(name))
    epoch = -(-len(case.data()[0]) // case.kept["batch_size"])  # a step from which an epoch has just ended
    steps = {1, epoch, last - 1, int(rng.integers(1, last))} - {last}
    saving = save_at(case, tmp_path, *steps)
    assert result(saving) == result(expected), "saving has disturbed the run"
    for step in steps:
        trainer = case.resume(tmp_path / f"{step}.ckpt")
        assert trainer.step == step
        trainer.run(progress=False)
        assert result(trainer) == result(expected), f"resumed from step {step}"


@pytest.mark.parametrize("name", CASES)
def test_what_was_saved_and_loaded_saves_to_the_same_content(name, tmp_path):
    case = CASES[name]
    save_at(case, tmp_path, 7)
    case.resume(tmp_path / "7.ckpt", SaveAt(tmp_path, ())).save(tmp_path / "again.ckpt")
    assert checksum(tmp_path / "again.ckpt") == checksum(tmp_path / "7.ckpt")


def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path):
    tally, rng = stress.Tally(), np.random.default_rng(0)
    stress.torment("mlp", tmp_path, 2, rng, tally)
    assert tally.finished == 1
    assert tally.kills >= 1
    assert tally.wrong == []


@pytest.mark.parametrize("forgotten", ["slots", "buffers", "net_step", "position", "good", "lr_factor", "callbacks"])
def test_the_comparison_would_see_what_is_forgotten(forgotten, tmp_path, monkeypatch):
    case = CASES["mlp"]
    expected = whole(case)
    save_at(case, tmp_path, 17)
    document, arrays = archive.read(tmp_path / "17.ckpt")
    changes = {
        "slots": lambda: document["optimizer"]["state"].fill(0),
        "buffers": lambda: arrays["1.running_mean"].fill(0),
        "net_step": lambda: document["at"].update(net_step=16),
        "position": lambda: document["at"].update(position=0),
        "good": lambda: document["good"].update(steps=0),
        "lr_factor": lambda: document.update(lr_factor=0.5),
        "callbacks": lambda: document["callbacks"][-1]["state"]["seen"].pop(),
    }
    for array in (*arrays.values(), document["optimizer"]["state"]):
        array.setflags(write=True)
    changes[forgotten]()
    archive.write(tmp_path / "spoilt.ckpt", document, arrays)
    trainer = case.resume(tmp_path / "spoilt.ckpt")
    if forgotten == "good":  # shows only when the run diverges
        assert trainer.good.steps == 0
        return
    trainer.run(progress=False)
    assert result(trainer) != result(expected)


class Spoil(mn.Callback):
    """Makes a weight NaN after a step, so that the run diverges at the next."""

    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, record):
        if record.step == self.step:
            trainer.net.params[3] = np.nan


# In mid-epoch, at the end of one, and after its first step; saved before.
SPOILT = [(spoilt, saved) for spoilt in (9, 12, 13) for saved in (1, 6, 7, 8, 9, 11) if saved < spoilt]


@pytest.mark.parametrize(("spoilt", "saved"), SPOILT)
def test_a_resumed_run_diverges_as_the_whole_one_does(spoilt, saved, tmp_path):
    case = CASES["schedules"]  # 6 steps an epoch
    case = replace(case, given=lambda: CASES["schedules"].given() | {"callbacks": [Spoil(spoilt)]})

    def diverge(trainer):
        with pytest.raises(mn.DivergenceError) as error:
            trainer.run(progress=False)
        return str(error.value), result(trainer)

    expected = diverge(case.start(SaveAt(tmp_path, [saved])))
    assert diverge(case.resume(tmp_path / f"{saved}.ckpt")) == expected
    assert "The net is as it was after step" in expected[0]


def test_a_run_that_has_ended_stays_ended(tmp_path):
    case = CASES["mlp"]
    trainer = whole(case)
    trainer.save(tmp_path / "end.ckpt")
    again = case.resume(tmp_path / "end.ckpt")
    assert result(again) == result(trainer)
    assert list(again) == []
    assert result(again) == result(trainer)


def test_a_run_that_early_stopping_ends_is_over_when_resumed_from_its_last_file(tmp_path):
    case = CASES["early stopping"]
    saver = mn.Checkpoint(tmp_path)
    trainer = case.start(saver)
    history = trainer.run(progress=False)
    assert history.stopped.startswith("no better")
    again = case.resume(tmp_path, mn.Checkpoint(tmp_path))
    again.run(progress=False)
    assert result(again) == result(trainer)


def test_bystanders_may_come_and_go(tmp_path):
    case = CASES["mlp"]
    expected = whole(case)
    case.start(SaveAt(tmp_path, [9]), SaveAt(tmp_path, [])).run(progress=False)
    trainer = case.resume(tmp_path / "9.ckpt", mn.Checkpoint(tmp_path / "new"))
    trainer.run(progress=False)
    assert result(trainer) == result(expected)


class Figures(mn.Callback):
    """Adds to the epochs' rows."""

    def __init__(self, **figures):
        self.figures = figures

    def on_epoch(self, trainer, row):
        row |= {name: figure(row["epoch"]) for name, figure in self.figures.items() if figure(row["epoch"]) is not None}


FIGURES = {  # what is added at an epoch
    "NumPy's": {"a": np.float64, "b": np.float32, "c": np.int64},
    "in some rows": {"a": lambda i: i / 3 if i % 2 else None, "b": lambda i: np.float64(i) if i > 2 else None},
    "NaN and infinity": {"a": lambda i: float("nan"), "b": lambda i: -np.inf if i == 1 else np.nan},
    "text": {"a": str},
    "kinds that differ": {"a": lambda i: i / 3 if i % 2 else i},
    "True": {"a": bool},
    "large": {"a": lambda i: 2**64 + i},
}


@pytest.mark.parametrize("kind", FIGURES)
def test_a_history_of_any_columns_is_the_same_when_resumed(kind, tmp_path):
    case = replace(CASES["Adam"], given=lambda: CASES["Adam"].given() | {"callbacks": [Figures(**FIGURES[kind])]})
    expected = whole(case)
    assert len(expected.history) > 4
    for step in (1, expected.step // 2, expected.step):
        (tmp_path / str(step)).mkdir()
        save_at(case, tmp_path / str(step), step)
        trainer = case.resume(tmp_path / str(step) / f"{step}.ckpt")
        trainer.run(progress=False)
        assert result(trainer) == result(expected)
    document, _ = archive.read(tmp_path / str(expected.step) / f"{expected.step}.ckpt")
    assert isinstance(document["history"]["epochs"]["loss"], np.ndarray)


def test_columns_in_another_order_stay_rows(tmp_path):
    class Turns(mn.Callback):
        def on_epoch(self, trainer, row):
            row |= {"a": 1, "b": 2} if row["epoch"] % 2 else {"b": 2, "a": 1}

    case = replace(CASES["Adam"], given=lambda: CASES["Adam"].given() | {"callbacks": [Turns()]})
    expected = save_at(case, tmp_path, 20)
    trainer = case.resume(tmp_path / "20.ckpt")
    trainer.run(progress=False)
    assert result(trainer) == result(expected)
