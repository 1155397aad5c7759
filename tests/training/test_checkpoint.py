"""A folder of checkpoints is one run's; what a run lacks is told before its first step; one that was left goes on."""

import contextlib
import re
import signal
import warnings

import numpy as np
import pytest
import stress_resume as stress
from resuming import DAMAGES, Full, Interrupt, contents, go_on, names, start, whole
from stress_resume import CASES, result

import minnet as mn
from minnet.storage import archive
from minnet.training.table import rows_of

pytestmark = pytest.mark.filterwarnings("ignore:Trainer. expected a schedule that suits")

FIGURES = [0.5, 0.9, 0.8, 0.7, 0.95]


class Figures(mn.Callback):
    """A column of given figures."""

    bystander = True

    def __init__(self, figures=FIGURES, column="score_accuracy"):
        self.figures, self.column = figures, column

    def on_epoch(self, trainer, row):
        row[self.column] = self.figures[row["epoch"] - 1]


def step_of(path):
    return archive.read(path)[0]["at"]["step"]


# Whose files they are ----------------------------------------------------------------------------------------


def test_a_run_has_a_name_that_no_other_has_and_that_stays_when_it_is_resumed(tmp_path):
    first, second = start(), start()
    assert first.identity != second.identity
    first.save(tmp_path / "0.ckpt")
    assert go_on(tmp_path / "0.ckpt").identity == first.identity


def test_a_resumed_run_does_not_write_among_the_files_of_another(tmp_path):
    start(mn.Checkpoint(tmp_path / "a", keep=9)).run(progress=False)
    start(mn.Checkpoint(tmp_path / "b", best="loss"), seed=1).run(progress=False)
    before, net = contents(tmp_path / "b"), stress.mlp()
    trainer = go_on(tmp_path / "a" / "step-00000012.ckpt", mn.Checkpoint(tmp_path / "b"), net=net)
    params = net.params.copy()
    with pytest.raises(FileExistsError, match=r"Checkpoint: expected no checkpoints of another run in .*b; got step-"):
        next(trainer)
    assert contents(tmp_path / "b") == before
    assert trainer.step == 12
    assert np.array_equal(net.params, params)


@pytest.mark.parametrize("foreign", [None, b"precious"], ids=["a checkpoint", "not readable"])
def test_the_best_of_another_run_is_not_overwritten(foreign, tmp_path):
    if foreign is None:
        start().save(tmp_path / "best.ckpt")
    else:
        (tmp_path / "best.ckpt").write_bytes(foreign)
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=r"another run in .*; got best\.ckpt"):
        start(mn.Checkpoint(tmp_path, best="loss")).run(progress=False)
    assert contents(tmp_path) == before


def test_files_of_later_steps_stay_until_the_run_has_passed_them(tmp_path):
    start(mn.Checkpoint(tmp_path, keep=3)).run(progress=False)
    assert names(tmp_path) == [f"step-{step:08}.ckpt" for step in (18, 24, 30)]
    trainer = go_on(tmp_path / "step-00000018.ckpt", mn.Checkpoint(tmp_path, at=1, keep=2))
    next(trainer)
    assert names(tmp_path) == [f"step-{step:08}.ckpt" for step in (18, 19, 24, 30)]
    trainer.run(progress=False)
    assert names(tmp_path) == [f"step-{step:08}.ckpt" for step in (29, 30)]


def test_a_damaged_file_beside_those_of_the_run_is_left_alone(tmp_path):
    start(mn.Checkpoint(tmp_path, keep=9)).run(progress=False)
    (tmp_path / "step-00000012.ckpt").write_bytes(b"half")
    trainer = go_on(tmp_path / "step-00000024.ckpt", mn.Checkpoint(tmp_path, keep=1))
    trainer.run(progress=False)
    assert names(tmp_path) == ["step-00000012.ckpt", "step-00000030.ckpt"]


# The best ----------------------------------------------------------------------------------------------------


def test_an_epoch_that_could_not_be_saved_is_not_the_best_so_far(tmp_path, monkeypatch):
    trainer = start(
        Figures([0.5, 0.9, 0.8, 0.7, 0.6]), mn.Checkpoint(tmp_path, best="score_accuracy", mode="max", must_save=False)
    )
    for record in trainer:
        if record.step == 11:
            Full(monkeypatch, after=0)
        elif record.step == 12:
            monkeypatch.undo()
        warnings.filterwarnings("ignore", "Checkpoint: step 12 is not saved", RuntimeWarning)
    assert step_of(tmp_path / "best.ckpt") == 18


def test_a_best_that_cannot_be_saved_does_not_keep_the_newest_from_it(tmp_path, monkeypatch):
    saver = mn.Checkpoint(tmp_path, keep=9, best="loss", must_save=False)
    trainer, real = start(saver), archive.write

    def refused(path, *content):
        if path.name == "best.ckpt":
            raise OSError(28, "No space left on device")
        real(path, *content)

    monkeypatch.setattr(archive, "write", refused)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trainer.run(progress=False)
    assert str(warned[0].message).startswith("Checkpoint: step 6 is not saved")
    assert names(tmp_path) == [f"step-{step:08}.ckpt" for step in (6, 12, 18, 24, 30)]


def test_a_file_that_cannot_be_removed_is_not_called_unsaved(tmp_path, monkeypatch):
    def refused(path, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(path))

    trainer = start(mn.Checkpoint(tmp_path, keep=4))
    monkeypatch.setattr("pathlib.Path.unlink", refused)
    with pytest.warns(RuntimeWarning, match=r"Checkpoint: .*step-00000006\.ckpt is not removed: .*denied"):
        trainer.run(progress=False)
    assert trainer.history.stopped == "finished"


def test_nan_is_never_the_best(tmp_path):
    figures = [float("nan"), 0.5, float("nan"), 0.4, 0.3]
    start(Figures(figures), mn.Checkpoint(tmp_path, best="score_accuracy", mode="max")).run(progress=False)
    assert step_of(tmp_path / "best.ckpt") == 12


def test_the_figure_to_beat_is_that_of_the_file_in_the_folder(tmp_path):
    saver = mn.Checkpoint(tmp_path / "a", keep=9, best="score_accuracy", mode="max")
    history = start(Figures([0.1, 0.9, 0.8, 0.7, 0.6]), saver).run(progress=False)
    assert step_of(tmp_path / "a" / "best.ckpt") == 12

    def resumed(folder, best):
        saver = mn.Checkpoint(tmp_path / folder, best=best, mode="min" if best == "loss" else "max")
        go_on(tmp_path / "a" / "step-00000018.ckpt", Figures([0.1, 0.9, 0.8, 0.7, 0.6]), saver).run(progress=False)
        return step_of(tmp_path / folder / "best.ckpt")

    assert resumed("new", "score_accuracy") == 24, "a new folder has the best of what is left"
    assert resumed("a", "score_accuracy") == 12, "none of what is left is better"
    # Another column: the figure to beat is its own in the file, of epoch 2.
    losses = {step: loss for step, loss in zip(history["step"], history["loss"], strict=True) if step in (12, 24, 30)}
    assert resumed("a", "loss") == min(losses, key=losses.__getitem__) != 12


def test_the_best_column_may_come_from_a_callback_behind(tmp_path):
    start(mn.Checkpoint(tmp_path, best="score_accuracy", mode="max"), Figures()).run(progress=False)
    assert step_of(tmp_path / "best.ckpt") == 30


def test_a_folder_with_nothing_but_the_best_is_gone_on_with_from_there(tmp_path):
    """As a kill leaves it between the first best and the first file."""
    whole = start()
    whole.run(progress=False)
    trainer = start(mn.Checkpoint(tmp_path, best="loss"))
    for record in trainer:
        if record.step == 6:
            break
    (tmp_path / "step-00000006.ckpt").unlink()
    again = go_on(tmp_path, mn.Checkpoint(tmp_path, best="loss"))
    assert again.step == 6
    again.run(progress=False)
    assert result(again) == result(whole)


# What is told before the first step --------------------------------------------------------------------------

VALIDATION = stress.flat_data(20, seed=1)
BAD = {
    "no such event": (lambda _: mn.SWA("trough", start=5), r"SWA: expected a schedule with a trough after step 5"),
    "no trough for snapshots": (lambda _: mn.Snapshots(), "Snapshots: expected a schedule with a trough"),
    "start beyond the run": (lambda _: mn.SWA(start=1000), r"SWA: expected start within the run's 30 steps; got 1000"),
    "steps too far apart": (
        lambda _: mn.LAWA(at=31),
        r"LAWA: expected at to come after step 0 of the run's 30; got 31",
    ),
    "listed too late": (
        lambda _: mn.Snapshots([3, 40], start=4),
        r"Snapshots: expected at to come after step 4 .*40\]",
    ),
    "monitor": (lambda _: mn.diagnostics.UpdateRatios("trough"), "UpdateRatios: expected a schedule with a trough"),
    "checkpoint's event": (lambda folder: mn.Checkpoint(folder, "restart"), "Checkpoint: expected a schedule with"),
    "misspelt best": (
        lambda folder: mn.Checkpoint(folder, best="acuracy", mode="max"),
        r"Checkpoint: expected one of the columns \['epoch', 'step', 'loss', 'accuracy', 'lr'\] to .*; got 'acuracy'",
    ),
    "best without validation": (lambda folder: mn.Checkpoint(folder, best="val_loss"), "got 'val_loss'"),
    "early stopping without validation": (lambda _: mn.EarlyStopping(), "EarlyStopping: expected one of the columns"),
    "plateau without validation": (lambda _: mn.ReduceOnPlateau(), "ReduceOnPlateau: expected one of the columns"),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_a_callback_lacks_is_told_before_anything_moves(bad, tmp_path):
    make, message = BAD[bad]
    net = stress.mlp()
    before = net.params.copy(), net.buffers.copy(), net.step
    trainer = start(mn.EMA(0.9), make(tmp_path / "run"), net=net)
    for _ in range(2):  # also the second time
        with pytest.raises(ValueError, match=message):
            trainer.run(progress=False)
    assert trainer.step == 0
    assert np.array_equal(net.params, before[0])
    assert np.array_equal(net.buffers, before[1])
    assert net.step == before[2]
    assert not len(trainer.history.steps)


def test_monitors_of_a_dashboard_are_asked_too(tmp_path):
    page = mn.diagnostics.Dashboard(tmp_path / "page.html", monitors=[mn.diagnostics.UpdateRatios("peak")])
    trainer = start(page)
    with pytest.raises(ValueError, match="UpdateRatios: expected a schedule with a peak"):
        next(trainer)
    assert trainer.step == 0


@pytest.mark.parametrize("validation", [None, VALIDATION])
@pytest.mark.parametrize("loss", [mn.SoftmaxCrossEntropy(), mn.SquaredError()])
def test_the_columns_are_those_that_the_rows_have(validation, loss):
    def targets(data):
        x, y = data
        return x, y if isinstance(loss, mn.SoftmaxCrossEntropy) else np.eye(3, dtype=np.float32)[y]

    given = {"rule": mn.SGD(), "lr": 0.1, "batch_size": 8, "epochs": 1}
    net, validation = mn.Net([mn.Dense(3)], 6, loss), None if validation is None else targets(validation)
    trainer = mn.Trainer(net, targets(stress.flat_data()), **given, validation=validation)
    columns = trainer.columns
    assert list(trainer.run(progress=False).epochs.rows[0]) == columns


def test_a_class_of_ones_own_may_say_which_columns_it_adds(tmp_path):
    class Says(Figures):
        columns = ("score_accuracy",)

        def on_epoch(self, trainer, row):
            super().on_epoch(trainer, row)

    start(Says(), mn.Checkpoint(tmp_path / "a", best="score_accuracy", mode="max")).run(progress=False)
    assert step_of(tmp_path / "a" / "best.ckpt") == 30
    trainer = start(Says(), mn.Checkpoint(tmp_path / "b", best="score", mode="max"))
    with pytest.raises(ValueError, match=r"'lr', 'score_accuracy'\] to monitor; got 'score'"):
        next(trainer)

    class Silent(mn.EarlyStopping):  # what its base says does not count
        def on_epoch(self, trainer, row):
            row["more"] = 1.0
            super().on_epoch(trainer, row)

    start(Silent("more", mode="min"), mn.Checkpoint(tmp_path / "c", best="more", mode="min")).run(progress=False)
    assert (tmp_path / "c" / "best.ckpt").exists()


@pytest.mark.parametrize("bad", ["a file", "nowhere"])
def test_a_folder_that_cannot_be_is_told_before_the_first_step(bad, tmp_path):
    (tmp_path / "file").write_text("x")
    folder = tmp_path / "file" / ("" if bad == "a file" else "x")
    message = "Checkpoint: expected a folder that can be made and written in; got "
    trainer = start(mn.Checkpoint(folder))
    with pytest.raises(OSError, match=rf"{message}.*file"):
        next(trainer)
    assert trainer.step == 0
    trainer = start(mn.Checkpoint(folder, must_save=False))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trainer.run(progress=False)
    assert str(warned[0].message).startswith(message)
    words = ".*file to be a folder, .* got a file" if bad == "a file" else "the folder .* to exist"
    assert re.search(f"step 6 is not saved: expected {words}", str(warned[1].message))
    assert trainer.history.stopped == "finished"


def test_a_folder_that_takes_no_files_is_told_before_the_first_step(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")  # whoever runs the tests may be allowed to write anywhere

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    trainer = start(mn.Checkpoint(tmp_path))
    with pytest.raises(PermissionError, match=r"Checkpoint: expected a folder .* got Permission denied"):
        next(trainer)
    assert trainer.step == 0


def test_a_missing_folder_is_named_plainly(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        start().save(tmp_path / "none" / "x.ckpt")
    assert str(error.value) == f"expected the folder {tmp_path / 'none'} to exist, to write x.ckpt in it"


# Groups ------------------------------------------------------------------------------------------------------


def test_groups_that_choose_other_tensors_are_refused(tmp_path):
    def groups(prefix):
        return [mn.Group(lambda tensor: tensor.name.startswith(prefix), frozen=True)]

    start(groups=groups("0.")).save(tmp_path / "0.ckpt")
    go_on(tmp_path / "0.ckpt", groups=groups("0."))
    with pytest.raises(mn.CheckpointError, match=r"tensors of group 0 is 0\.W, 0\.b in the file, 4\.W, 4\.b here"):
        go_on(tmp_path / "0.ckpt", groups=groups("4."))


# Left, and gone on with --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlp", "groups", "averages, schedule-free", "early stopping"])
@pytest.mark.parametrize("how", ["run", "iterate", "save"])
def test_a_run_that_was_interrupted_goes_on_without_a_checkpoint(name, how, tmp_path):
    case = CASES[name]
    expected = whole(case)
    trainer = case.start(Interrupt(signal.SIGINT, 8))
    assert trainer.run(progress=False).stopped == "interrupted"
    left = trainer.net.params.copy()
    if how == "save":
        trainer.save(tmp_path / "x.ckpt")
        assert np.array_equal(trainer.net.params, left)
        assert (trainer.history.stopped, trainer.ended) == ("interrupted", True)
        trainer = case.resume(tmp_path / "x.ckpt")
        assert (trainer.history.stopped, trainer.ended) == (None, False)
    assert trainer.step == 8
    if how != "save":
        trainer.net.params *= 2  # by whoever has looked at the net in between
    if how == "iterate":
        assert len(list(trainer)) == expected.step - 8
    else:
        trainer.run(progress=False)
    assert result(trainer) == result(expected)


def test_a_run_may_be_left_more_than_once():
    case = CASES["mlp"]
    expected = whole(case)
    trainer = case.start(Interrupt(signal.SIGINT, 8), Interrupt(signal.SIGINT, 9))
    assert [trainer.run(progress=False).stopped for _ in range(3)] == [
        "interrupted",
        "interrupted",
        expected.history.stopped,
    ]
    assert result(trainer) == result(expected)


def test_an_interruption_between_two_steps_that_does_not_wait_is_no_loss():
    class Impatient(mn.Callback):
        bystander = True

        def between_steps(self, trainer):
            if trainer.step == 8:
                raise KeyboardInterrupt

    case = CASES["early stopping"]
    expected = whole(case)
    trainer = case.start(Impatient())
    assert trainer.run(progress=False).stopped == "interrupted"
    assert trainer.run(progress=False).stopped == expected.history.stopped
    assert result(trainer) == result(expected)


def test_a_run_that_stopped_by_itself_does_not_go_on():
    trainer = CASES["early stopping"].start()
    stopped = trainer.run(progress=False).stopped
    assert stopped.startswith("no better")
    assert trainer.run(progress=False).stopped == stopped
    assert list(trainer) == []


def test_a_longer_run_is_one_that_was_as_long_from_the_start(tmp_path):
    expected = start(epochs=8)
    expected.run(progress=False)
    start(mn.Checkpoint(tmp_path)).run(progress=False)
    trainer = go_on(tmp_path)
    trainer.steps = 48
    assert trainer.run(progress=False).stopped == "finished"
    assert result(trainer) == result(expected)


@pytest.mark.parametrize("within", ["an average", "what the rule hands out"])
def test_saving_other_weights_as_the_runs_is_refused(within, tmp_path):
    average = mn.EMA(0.5)
    trainer = start(average, rule=mn.ScheduleFreeSGD())
    for record in trainer:
        if record.step == 8:
            break
    with pytest.raises(RuntimeError, match=r"Trainer\.save: expected the net to have the run's own weights"):  # noqa: SIM117
        with average.applied(trainer.net) if within == "an average" else trainer.optimizer.evaluating():
            trainer.save(tmp_path / "x.ckpt")
    assert names(tmp_path) == []
    trainer.save(tmp_path / "x.ckpt")


# Weights alone -----------------------------------------------------------------------------------------------


def test_weights_alone_predict_as_the_run_did(tmp_path):
    trainer = start(mn.Checkpoint(tmp_path, best="val_accuracy"), validation=VALIDATION)
    history = trainer.run(progress=False)
    row = history.epochs.rows[int(np.argmax(history["val_accuracy"]))]
    net = mn.Net(stress.mlp().layers, 6, seed=9)  # no loss, another seed, no penalties
    mn.load_weights(net, tmp_path / "best.ckpt")
    classes = net.predict(VALIDATION[0]).argmax(1)
    assert float((classes == VALIDATION[1]).mean()) == row["val_accuracy"]
    mn.load_weights(net, tmp_path)  # the newest
    assert np.array_equal(net.predict(VALIDATION[0]), trainer.net.predict(VALIDATION[0]))


def test_weights_alone_are_those_that_the_rule_hands_out(tmp_path):
    trainer = start(mn.Checkpoint(tmp_path, keep=9), rule=mn.ScheduleFreeSGD(), lr=0.1, validation=VALIDATION)
    history = trainer.run(progress=False)
    net = stress.mlp()
    for row in history.epochs.rows:
        mn.load_weights(net, tmp_path / f"step-{row['step']:08}.ckpt")
        assert net.evaluate(*VALIDATION)["loss"] == row["val_loss"]
    trainer.save(tmp_path / "end.ckpt")
    mn.load_weights(net, tmp_path / "end.ckpt")
    assert np.array_equal(net.params, trainer.net.params)


@pytest.mark.parametrize("damage", ["truncated", "foreign", "architecture"])
def test_weights_of_another_net_are_refused_with_what_differs(damage, tmp_path):
    net = stress.mlp()
    start().save(tmp_path / "x.ckpt")
    message = r"net layers 0 is Dense\(units=12.*in the file, Dense\(units=13"
    if damage == "architecture":
        net = mn.Net([mn.Dense(13), *stress.mlp().layers.layers[1:]], 6)
    else:
        spoil, message = DAMAGES[damage]
        spoil(tmp_path / "x.ckpt")
    before = net.params.copy(), net.buffers.copy()
    with pytest.raises(mn.CheckpointError, match=message):
        mn.load_weights(net, tmp_path / "x.ckpt")
    assert np.array_equal(net.params, before[0])
    assert np.array_equal(net.buffers, before[1])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("1.running_var", -0.5, r"expected in .* 1\.running_var of at least 0; got -0\.5"),
        ("1.running_var", np.nan, r"expected a finite 1\.running_var in .*; got NaN or infinity"),
        ("0.W", np.inf, r"expected a finite 0\.W in .*; got NaN or infinity"),
        ("handed_out", np.nan, r"expected a finite 0\.W in .*; got NaN or infinity"),
    ],
)
def test_weights_that_no_net_predicts_with_are_refused(name, value, words, tmp_path):
    rule = mn.ScheduleFreeSGD() if name == "handed_out" else mn.SGD()
    start(rule=rule, lr=0.1).save(tmp_path / "step-00000001.ckpt")
    document, arrays = archive.read(tmp_path / "step-00000001.ckpt")
    (document if name == "handed_out" else arrays)[name].flat[0] = value
    archive.write(tmp_path / "step-00000002.ckpt", document, arrays)
    net = stress.mlp()
    before = net.params.copy(), net.buffers.copy()
    with pytest.raises(mn.CheckpointError, match=rf"{words}.* The next older one is .*step-00000001\.ckpt"):
        mn.load_weights(net, tmp_path / "step-00000002.ckpt")
    assert np.array_equal(net.params, before[0])
    assert np.array_equal(net.buffers, before[1])


# A run that diverges -----------------------------------------------------------------------------------------


class Count(mn.Callback):
    """Keeps the last point."""

    def on_step(self, trainer, record):
        self.last = trainer.net.params.copy()


def test_averages_and_snapshots_keep_nothing_that_is_not_finite():
    averages, snapshots = [mn.EMA(0.9), mn.SWA(1), mn.LAWA(2, at=1), mn.SWAG(1, rank=2)], mn.Snapshots(1)
    net = mn.Net([mn.Dense(5), mn.ReLU(), mn.Dense(3)], 6, mn.SoftmaxCrossEntropy())
    x, y = stress.flat_data()
    given = {"rule": mn.SGD(), "lr": 1e38, "batch_size": 8, "epochs": 3, "callbacks": [*averages, snapshots, Count()]}
    trainer = mn.Trainer(net, (x * np.float32(1e3), y), **given)
    with np.errstate(all="ignore"), pytest.raises(mn.DivergenceError):
        trainer.run(progress=False)
    assert not np.isfinite(given["callbacks"][-1].last).all()
    assert np.isfinite(net.params).all()
    for average in averages:
        with pytest.raises(ValueError, match="expected at least one point of a run; got none so far"):
            raise AssertionError(average, average.params)
    assert all(np.isfinite(params).all() for params, _ in snapshots.members)
    assert len(snapshots.members) == len(snapshots.steps)


# What asks late, and what breaks off ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stop", "leave"])
def test_a_loop_that_ends_its_run_has_it_saved_at_that_step(tmp_path, how):
    trainer = start(mn.Checkpoint(tmp_path, at=100))
    for record in trainer:
        if record.step == 6:
            getattr(trainer, how)("enough")
    assert (trainer.step, trainer.history.stopped) == (6, "enough")
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["step-00000006.ckpt"]


@pytest.mark.parametrize("how", ["stop", "leave"])
def test_a_callback_behind_the_one_that_saves_ends_a_run_that_is_saved_there(tmp_path, how):
    class Late(mn.Callback):
        def between_steps(self, trainer):
            if trainer.step == 6:
                getattr(trainer, how)("enough")

    trainer = start(mn.Checkpoint(tmp_path, at=100), Late())
    trainer.run(progress=False)
    assert (trainer.step, trainer.history.stopped) == (6, "enough")
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["step-00000006.ckpt"]


def test_a_step_that_an_exception_broke_off_is_not_passed_over():
    class Once(mn.Callback):
        def on_step(self, trainer, record):
            if record.step == 3 and not hasattr(self, "raised"):
                self.raised = True
                raise KeyError("by chance")

    trainer = start(Once())
    with pytest.raises(KeyError, match="by chance"):
        trainer.run(progress=False)
    with pytest.raises(RuntimeError, match="expected whole steps; that after step 3 was broken off"):
        trainer.run(progress=False)


def test_an_error_at_the_end_keeps_nobody_from_putting_weights_back():
    class Bad(mn.Callback):
        def on_end(self, trainer):
            raise KeyError("at the end")

    def weights(*callbacks):
        trainer = start(
            Figures([0.9, 0.5, 0.4, 0.3, 0.2]), *callbacks, mn.EarlyStopping("score_accuracy", patience=9, mode="max")
        )
        with contextlib.suppress(KeyError):
            trainer.run(progress=False)
        return trainer.net.params

    np.testing.assert_array_equal(weights(Bad()), weights())


def test_a_finished_run_with_more_steps_says_how_to_go_on():
    trainer = start()
    trainer.run(progress=False)
    trainer.steps += 4
    with pytest.raises(RuntimeError, match="expected steps to be raised before the run has ended"):
        trainer.run(progress=False)


def test_two_checkpoints_want_two_folders(tmp_path):
    with pytest.raises(ValueError, match="Checkpoint: expected a folder for each Checkpoint of a run; got two with"):
        start(mn.Checkpoint(tmp_path, 2), mn.Checkpoint(tmp_path / "." / "", 4)).run(progress=False)


def test_columns_of_a_class_and_of_an_object_are_known():
    class Base(mn.Callback):
        columns = ("a",)

        def on_epoch(self, trainer, row):
            row |= dict.fromkeys(self.columns, 1.0)

    class Sub(Base):
        columns = ("a", "b")

    class Own(mn.Callback):
        def __init__(self):
            self.columns = ["c"]

        def on_epoch(self, trainer, row):
            row["c"] = 1.0

    for callback, column in ((Sub(), "b"), (Own(), "c")):
        start(callback, mn.EarlyStopping(column, patience=9, mode="min")).run(progress=False)
    with pytest.raises(ValueError, match="expected one of the columns"):
        start(Base(), mn.EarlyStopping("b", mode="min")).run(progress=False)


def test_odd_columns_of_a_history_come_back_and_take_little_room(tmp_path):
    class Odd(mn.Callback):
        def on_epoch(self, trainer, row):
            row |= {"ok": row["epoch"] > 1, "mixed": 0 if row["epoch"] == 1 else 0.5, "none": None}

    trainer = start(Odd())
    trainer.run(progress=False)
    rows = trainer.history.epochs.rows
    rows += [dict(rows[-1]) for _ in range(20_000)]
    trainer.save(tmp_path / "long.ckpt")
    document = archive.read(tmp_path / "long.ckpt")[0]
    again = rows_of(document["history"]["epochs"])
    assert again == rows
    assert [type(value) for value in again[0].values()] == [type(value) for value in rows[0].values()]


def test_a_loss_that_gives_a_number_of_numpys_can_be_resumed(tmp_path):
    class Mine(mn.SoftmaxCrossEntropy):
        def apply(self, *arguments):
            return np.float64(super().apply(*arguments))

    def net():
        return mn.Net([mn.Dense(3)], stress.mlp().input_shape, Mine())

    trainer = start(net=net())
    next(iter(trainer))
    trainer.save(tmp_path / "one.ckpt")
    assert go_on(tmp_path / "one.ckpt", net=net()).step == 1


def test_weights_of_any_net_are_saved_and_loaded(tmp_path):
    net, other = stress.mlp(), stress.mlp()
    start(net=net).run(progress=False)
    mn.save_weights(net, tmp_path / "net.safetensors")
    mn.load_weights(other, tmp_path / "net.safetensors")
    np.testing.assert_array_equal(other.params, net.params)
    np.testing.assert_array_equal(other.buffers, net.buffers)
    with pytest.raises(mn.CheckpointError):
        go_on(tmp_path / "net.safetensors")
