"""Trackers: which figures they get, once each, also of runs that were interrupted, broken off and resumed."""

import json
import math
import signal
import struct
import sys
from threading import Event, Thread
from types import ModuleType

import numpy as np
import pytest

import minnet as mn
from minnet.training import Tracker


class Sheet:
    """A store in memory: what it has of each step, and how often it was opened and closed."""

    def __init__(self, fails_at=None):
        self.figures, self.opened, self.closed, self.fails_at = {}, [], 0, fails_at
        self.ended = None

    def begin(self, run, step):
        assert len(self.opened) == self.closed, "it was open"
        self.opened.append((run, step))
        self.figures = {at: figures for at, figures in self.figures.items() if at <= step}

    def __call__(self, step, figures):
        assert len(self.opened) == self.closed + 1, "it was not open"
        assert step >= max(self.figures, default=0), "steps grow"
        have = self.figures.setdefault(step, {})
        assert not set(have) & set(figures), "each figure comes once"
        if step == self.fails_at:
            raise OSError("no space left")
        have |= figures

    def close(self, ended):
        self.closed, self.ended = self.closed + 1, ended
        assert len(self.opened) == self.closed


def data(seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((16, 3)).astype(np.float32), rng.integers(0, 2, 16)


def trainer_of(*callbacks, **given):
    """A run of 12 steps in 3 epochs."""
    net = mn.Net([mn.Dense(4), mn.ReLU(), mn.Dense(2)], 3, mn.SoftmaxCrossEntropy(), seed=0)
    given = {"rule": mn.Adam(), "lr": mn.schedules.Linear(0.1, 0.01, 12), "batch_size": 4, "epochs": 3} | given
    return mn.Trainer(net, data(), validation=data(1), callbacks=callbacks, **given)


def resumed(path, *callbacks):
    net = mn.Net([mn.Dense(4), mn.ReLU(), mn.Dense(2)], 3, mn.SoftmaxCrossEntropy(), seed=0)
    schedule = mn.schedules.Linear(0.1, 0.01, 12)
    return mn.Trainer.resume(path, net, data(), rule=mn.Adam(), lr=schedule, validation=data(1), callbacks=callbacks)


def expected(history, at=lambda step: True):
    """What a tracker gets of a history, from its columns."""
    found = {}
    for kind, rows in (("step", history.steps), ("epoch", history.epochs)):
        for row in rows:
            if kind == "epoch" or at(row["step"]):
                figures = {f"{kind}/{name}": value for name, value in row.items() if name not in ("step", "epoch")}
                found.setdefault(row["step"], {}).update(figures)
    return dict(sorted(found.items()))


class Act(mn.Callback):
    """Does something after a step, in the method of this name."""

    bystander = True

    def __init__(self, step, act, where="on_step"):
        self.step, self.act, self.where = step, act, where

    def on_step(self, trainer, record):
        if self.where == "on_step" and record.step == self.step:
            self.act(trainer)

    def between_steps(self, trainer):
        if self.where == "between_steps" and trainer.step == self.step:
            self.act(trainer)


def fail(trainer):
    raise RuntimeError("a mistake elsewhere")


def interrupt(trainer):
    signal.raise_signal(signal.SIGINT)


# Which figures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "chosen"),
    [
        ("epoch", lambda step: False),
        (1, lambda step: True),
        (5, lambda step: step % 5 == 0),
        ([2, 3, 12], lambda step: step in (2, 3, 12)),
        (lambda step: step % 4 == 1, lambda step: step % 4 == 1),
        ("boundary", lambda step: step == 9),
    ],
    ids=["epoch", "every", "every fifth", "a list", "a function", "an event"],
)
def test_a_tracker_gets_the_rows_of_the_history_at_its_steps(at, chosen):
    sheet = Sheet()
    rate = mn.schedules.Piecewise([8], [0.1, 0.01])
    trainer = trainer_of(Tracker(sheet, at), lr=rate, clip_norm=math.inf)
    history = trainer.run(progress=False)
    assert sheet.figures == expected(history, chosen)
    assert sheet.figures[12]["epoch/val_accuracy"] == history["val_accuracy"][-1]
    assert (sheet.opened, sheet.closed) == ([(trainer.identity, 0)], 1)


def test_a_plain_function_will_do():
    seen = []
    history = trainer_of(Tracker(lambda step, figures: seen.append((step, figures)))).run(progress=False)
    assert seen == list(expected(history, lambda step: False).items())
    assert all(type(value) is float for _, figures in seen for value in figures.values())


def test_columns_of_callbacks_after_it_are_there_and_what_is_no_number_is_left_out():
    class Adds(mn.Callback):
        columns = ("norm", "note", "nothing", "worst")

        def on_epoch(self, trainer, row):
            row |= {"norm": np.float32(0.5), "note": "text", "nothing": None, "worst": math.nan}

    sheet = Sheet()
    trainer_of(Tracker(sheet), Adds()).run(progress=False)
    last = sheet.figures[12]
    assert last["epoch/norm"] == 0.5
    assert math.isnan(last["epoch/worst"])
    assert not {"epoch/note", "epoch/nothing"} & set(last)


def test_a_tracker_changes_nothing_in_a_run():
    plain = trainer_of()
    plain.run(progress=False)
    tracked = trainer_of(Tracker(Sheet(), 2))
    tracked.run(progress=False)
    assert np.array_equal(plain.net.params, tracked.net.params)
    assert plain.history.steps.rows == tracked.history.steps.rows


def test_steps_between_two_that_it_looks_at_may_be_taken_at_one_go():
    tracker = Tracker(Sheet(), 4)
    trainer = trainer_of(tracker)
    assert [step for step in range(1, 13) if tracker.looks_at(trainer, step)] == [4, 8, 12]


@pytest.mark.parametrize(("log", "at"), [(None, 1), ("runs", 1), (Sheet(), "peak-ish"), (Sheet(), 0)])
def test_bad_arguments_are_refused(log, at):
    with pytest.raises((TypeError, ValueError), match=r"^Tracker: expected (log|at) (to be|of)"):
        Tracker(log, at)


def test_an_event_that_the_schedule_does_not_have_is_refused_before_anything_is_opened():
    sheet = Sheet()
    with pytest.raises(ValueError, match=r"^Tracker: expected a schedule with a restart"):
        trainer_of(Tracker(sheet, "restart")).run(progress=False)
    assert sheet.opened == []


# Runs that end otherwise --------------------------------------------------------------------------------


def test_a_run_that_is_left_and_goes_on_hands_over_each_figure_once():
    sheet = Sheet()
    trainer = trainer_of(Tracker(sheet, 1), Act(6, interrupt))
    trainer.run(progress=False)
    assert max(sheet.figures) == 6
    assert sheet.closed == 1
    history = trainer.run(progress=False)
    assert sheet.figures == expected(history)
    assert sheet.opened == [(trainer.identity, 0), (trainer.identity, 6)]
    assert sheet.closed == 2


@pytest.mark.parametrize("first", [True, False], ids=["checkpoint first", "tracker first"])
@pytest.mark.parametrize("at", [3, 4, 6, 10])
def test_a_resumed_run_goes_on_where_its_checkpoint_was_whatever_the_store_has(at, first, tmp_path):
    """The killed run had gone on after the checkpoint; the store forgets those steps, since they are taken again."""
    sheet = Sheet()
    saving = Act(at, lambda trainer: trainer.save(tmp_path / "saved"), "between_steps")
    tracker = Tracker(sheet, 1)
    killed = trainer_of(*((saving, tracker) if first else (tracker, saving)))
    for record in killed:
        if record.step == 11:
            break
    assert max(sheet.figures) == 11
    left = Sheet()
    left.figures = sheet.figures  # in another process
    again = resumed(tmp_path / "saved", Tracker(left, 1))
    history = again.run(progress=False)
    assert left.figures == expected(history)
    assert again.identity == killed.identity == left.opened[-1][0]
    assert left.opened[-1][1] in (at - 1, at)


def test_a_tracker_that_a_run_gets_when_it_is_resumed_hands_over_all_of_its_history(tmp_path):
    trainer_of(Act(7, lambda trainer: trainer.save(tmp_path / "saved"), "between_steps")).run(progress=False)
    sheet = Sheet()
    history = resumed(tmp_path / "saved", Tracker(sheet, 2)).run(progress=False)
    assert sheet.figures == expected(history, lambda step: step % 2 == 0)


def test_a_state_that_is_not_its_own_is_refused():
    tracker = Tracker(Sheet())
    for state in ({"step": -1}, {"step": "1"}, {"step": True}, {"other": 1}):
        with pytest.raises(ValueError, match=r"^Tracker: expected a state"):
            tracker.check(state, None)


@pytest.mark.parametrize("where", ["on_step", "between_steps"])
@pytest.mark.parametrize("first", [True, False], ids=["before it", "after it"])
def test_an_exception_of_another_callback_closes_the_store(where, first):
    sheet = Sheet()
    tracker, other = Tracker(sheet, 1), Act(6, fail, where)
    trainer = trainer_of(*((other, tracker) if first else (tracker, other)))
    with pytest.raises(RuntimeError, match="a mistake elsewhere"):
        trainer.run(progress=False)
    assert (len(sheet.opened), sheet.closed, sheet.ended) == (1, 1, False)


def test_a_store_hears_that_a_run_ended():
    sheet = Sheet()
    trainer_of(Tracker(sheet)).run(progress=False)
    assert sheet.ended is True


def test_an_exception_in_a_loop_of_ones_own_closes_the_store_if_it_came_from_the_run():
    sheet = Sheet()
    with pytest.raises(RuntimeError, match="a mistake elsewhere"):
        for _ in trainer_of(Tracker(sheet, 1), Act(3, fail)):
            pass
    assert (len(sheet.opened), sheet.closed) == (1, 1)


def test_an_error_at_the_start_closes_the_store():
    class Refuses(mn.Callback):
        def on_start(self, trainer):
            raise ValueError("not like this")

    sheet = Sheet()
    with pytest.raises(ValueError, match="not like this"):
        trainer_of(Tracker(sheet), Refuses()).run(progress=False)
    assert (len(sheet.opened), sheet.closed) == (1, 1)


def test_a_learning_rate_that_turns_bad_closes_the_store():
    sheet = Sheet()
    trainer = trainer_of(Tracker(sheet, 1), lr=lambda step: 0.1 if step != 5 or not trainer.step else math.nan)
    with pytest.raises(ValueError, match="lr"):
        trainer.run(progress=False)
    assert (len(sheet.opened), sheet.closed) == (1, 1)


def test_a_run_that_goes_on_after_an_error_between_steps_goes_on_in_the_store():
    sheet = Sheet()
    trainer = trainer_of(Tracker(sheet, 1), Act(5, fail, "between_steps"))
    with pytest.raises(RuntimeError, match="a mistake elsewhere"):
        trainer.run(progress=False)
    history = trainer.run(progress=False)
    assert sheet.figures == expected(history)
    assert (len(sheet.opened), sheet.closed) == (2, 2)


def test_a_run_that_diverges_hands_over_the_steps_that_it_has_and_closes_the_store():
    def spoil(trainer):
        trainer.net.params[:] = np.nan

    sheet = Sheet()
    trainer = trainer_of(Tracker(sheet, 1), Act(6, spoil))
    with pytest.raises(mn.DivergenceError):
        trainer.run(progress=False)
    assert sheet.figures == expected(trainer.history)
    assert (len(sheet.opened), sheet.closed) == (1, 1)


def test_an_error_of_the_store_ends_the_run_and_closes_it():
    sheet = Sheet(fails_at=7)
    with pytest.raises(OSError, match="no space left"):
        trainer_of(Tracker(sheet, 1)).run(progress=False)
    assert (len(sheet.opened), sheet.closed) == (1, 1)


def test_a_run_that_broke_off_does_not_close_the_store_of_another():
    sheet = Sheet()
    tracker = Tracker(sheet, 1)
    broken = trainer_of(tracker, Act(3, fail))
    with pytest.raises(RuntimeError, match="a mistake elsewhere"):
        broken.run(progress=False)
    other = trainer_of(tracker)
    next(iter(other))
    with pytest.raises(RuntimeError, match="expected whole steps"):
        next(broken)
    assert (len(sheet.opened), sheet.closed) == (2, 1)
    other.run(progress=False)
    assert sheet.figures == expected(other.history)


# Two trackers --------------------------------------------------------------------------------------------


def test_two_trackers_of_a_run_with_one_log_are_refused_before_it_is_opened():
    sheet, seen = Sheet(), []
    for log in (sheet, seen.append):
        trainer = trainer_of(Tracker(log), Tracker(log, 1))
        with pytest.raises(ValueError, match=r"^Tracker: expected a log for each Tracker of a run; got two with <"):
            trainer.run(progress=False)
        assert trainer.step == 0
    assert (sheet.opened, seen) == ([], [])
    other = Sheet()
    history = trainer_of(Tracker(sheet), Tracker(other, 1)).run(progress=False)
    assert other.figures == expected(history)
    assert sheet.figures == expected(history, lambda step: False)


class Shelf(Sheet):
    """A store of a place."""

    place = "shelf"


def test_two_stores_of_one_place_are_refused():
    first = Shelf()
    with pytest.raises(ValueError, match=r"^Tracker: expected a log for each Tracker of a run; got two with shelf"):
        trainer_of(Tracker(first), Tracker(Shelf())).run(progress=False)
    assert first.opened == []


def test_of_two_runs_by_turns_the_later_gets_the_store_and_the_earlier_says_so():
    sheet = Sheet()
    earlier, later = trainer_of(Tracker(sheet, 1)), trainer_of(Tracker(sheet, 1))
    next(earlier)
    next(later)
    assert [run for run, _ in sheet.opened] == [earlier.identity, later.identity]
    assert sheet.closed == 1
    with pytest.raises(RuntimeError, match=r"^Tracker: expected a log that no other run has open; got .*Sheet"):
        next(earlier)
    history = later.run(progress=False)
    assert sheet.figures == expected(history)
    next(earlier)  # the store is free again
    assert sheet.opened[-1] == (earlier.identity, 1)
    earlier.end("enough")


def test_a_store_that_failed_to_open_is_not_held():
    class Fails(Sheet):
        def begin(self, run, step):
            super().begin(run, step)
            if len(self.opened) == 1:
                self.closed = 1
                raise OSError("no such server")

    sheet = Fails()
    first = trainer_of(Tracker(sheet))

    def fails():
        with pytest.raises(OSError, match="no such server"):
            first.run(progress=False)
        opened.set()
        done.wait(60)

    opened, done = Event(), Event()
    thread = Thread(target=fails)
    thread.start()
    try:
        assert opened.wait(60)
        trainer_of(Tracker(sheet)).run(progress=False)
    finally:
        done.set()
        thread.join()


def test_a_store_of_a_run_in_another_thread_is_refused():
    sheet, started, done = Sheet(), Event(), Event()

    def wait(trainer):
        started.set()
        done.wait(60)

    longer = trainer_of(Tracker(sheet, 1), Act(2, wait))
    thread = Thread(target=longer.run, kwargs={"progress": False})
    thread.start()
    try:
        assert started.wait(60)
        with pytest.raises(RuntimeError, match=r"^Tracker: expected a log that no other run has open"):
            trainer_of(Tracker(sheet, 1)).run(progress=False)
    finally:
        done.set()
        thread.join()
    assert sheet.figures == expected(longer.history)
    trainer_of(Tracker(sheet, 1)).run(progress=False)


# TensorBoard, MLflow, Weights & Biases -------------------------------------------------------------------


def read_events(folder):
    """Scalars in a folder by name, as TensorBoard shows them: {step: value}."""
    reason = "tensorboard is not installed: event files are not read back"
    module = "tensorboard.backend.event_processing.event_accumulator"
    events = pytest.importorskip(module, reason=reason).EventAccumulator(str(folder))
    events.Reload()
    found = {}
    for name in events.Tags()["scalars"]:
        steps = [event.step for event in events.Scalars(name)]
        assert len(set(steps)) == len(steps), f"{name} has a step twice"
        found[name] = {event.step: event.value for event in events.Scalars(name)}
    return found


def by_name(figures, dtype=float):
    """{step: {name: value}} as {name: {step: value}}."""
    names = {name for row in figures.values() for name in row}
    return {name: {step: float(dtype(row[name])) for step, row in figures.items() if name in row} for name in names}


@pytest.fixture
def tensorboard(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed: TensorBoard is not tested")
    return lambda: mn.training.TensorBoard(tmp_path / "runs" / "first")


def test_event_files_have_the_figures_of_the_run(tensorboard, tmp_path):
    history = trainer_of(Tracker(tensorboard(), 1)).run(progress=False)
    assert read_events(tmp_path / "runs" / "first") == by_name(expected(history), np.float32)  # which the format has


def test_event_files_of_a_resumed_run_have_each_step_once(tensorboard, tmp_path):
    saving = Act(6, lambda trainer: trainer.save(tmp_path / "saved"), "between_steps")
    killed = trainer_of(saving, Tracker(tensorboard(), 1), Act(10, fail))
    with pytest.raises(RuntimeError, match="a mistake elsewhere"):
        killed.run(progress=False)
    assert max(read_events(tmp_path / "runs" / "first")["step/loss"]) == 9
    history = resumed(tmp_path / "saved", Tracker(tensorboard(), 1)).run(progress=False)
    assert len(list((tmp_path / "runs" / "first").iterdir())) == 2
    assert read_events(tmp_path / "runs" / "first") == by_name(expected(history), np.float32)


def test_event_files_of_a_run_that_was_left_have_each_step_once(tensorboard, tmp_path):
    trainer = trainer_of(Tracker(tensorboard(), 1), Act(6, interrupt))
    trainer.run(progress=False)
    trainer.run(progress=False)
    assert read_events(tmp_path / "runs" / "first") == by_name(expected(trainer.history), np.float32)


ALIKE = {  # two stores of each package that would write to one place, and what the error says of it
    "tensorboardX": (lambda: mn.training.TensorBoard("runs"), lambda: mn.training.TensorBoard("./runs"), "TensorBoard"),
    "mlflow": (lambda: mn.training.MLflow("digits"), lambda: mn.training.MLflow("digits", name="again"), "MLflow"),
    "wandb": (lambda: mn.training.WandB("digits"), lambda: mn.training.WandB("other", mode="offline"), "WandB"),
}


@pytest.mark.parametrize("package", ALIKE)
def test_two_stores_of_a_package_that_write_to_one_place_are_refused(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, ModuleType(package))  # nothing of it is used
    one, other, place = ALIKE[package]
    with pytest.raises(
        ValueError, match=rf"^Tracker: expected a log for each Tracker of a run; got two with .*{place}"
    ):
        trainer_of(Tracker(one()), Tracker(other(), 1)).run(progress=False)
    assert not list(tmp_path.iterdir())


@pytest.fixture(params=["files", "sqlite"])
def mlflow(request, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow is not installed: MLflow is not tested")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    if request.param == "files":
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        store = (tmp_path / "store").as_uri()
    else:
        pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: MLflow's SQLite store is not tested")
        store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    return lambda: mn.training.MLflow("digits", store, "first")


def read_mlflow(log, status="FINISHED"):
    """Metrics of the only run of a store."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=log.store)
    (run,) = client.search_runs([client.get_experiment_by_name(log.experiment).experiment_id])
    assert (run.info.status, run.info.run_name) == (status, "first")
    found = {}
    for name in run.data.metrics:
        history = client.get_metric_history(run.info.run_id, name)
        steps = [metric.step for metric in history]
        assert len(set(steps)) == len(steps), f"{name} has a step twice"
        found[name] = {metric.step: metric.value for metric in history}
    return found


def test_mlflow_has_the_figures_of_the_run(mlflow):
    log = mlflow()
    history = trainer_of(Tracker(log, 3)).run(progress=False)
    assert read_mlflow(log) == by_name(expected(history, lambda step: step % 3 == 0))


def test_mlflow_has_each_step_of_a_resumed_run_once_and_in_one_run(mlflow, tmp_path):
    saving = Act(6, lambda trainer: trainer.save(tmp_path / "saved"), "between_steps")
    with pytest.raises(RuntimeError, match="a mistake elsewhere"):
        trainer_of(saving, Tracker(mlflow(), 1), Act(10, fail)).run(progress=False)
    log = mlflow()
    read_mlflow(log, "FAILED")
    history = resumed(tmp_path / "saved", Tracker(log, 1)).run(progress=False)
    assert read_mlflow(log) == by_name(expected(history))


def records_of(raw):
    """Records of a log in LevelDB's format, after a header of 7 bytes: blocks of 32 KiB with parts of records."""
    place, record = 7, b""
    while place + 7 <= len(raw):
        left = 2**15 - place % 2**15
        if left < 7:  # too few for a part, so the writer has left them
            place += left
            continue
        length, kind = struct.unpack("<HB", raw[place + 4 : place + 7])
        record += raw[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield record
            record = b""


def read_wandb(folder):
    """Figures in the file of a run that was not sent to a server."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.rglob("*.wandb")
    found = {}
    for raw in records_of(path.read_bytes()):
        record = Record()
        record.ParseFromString(raw)
        values = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        if values:
            found[values["_step"]] = {name: value for name, value in values.items() if not name.startswith("_")}
    return found


def test_weights_and_biases_has_the_figures_of_the_run(tmp_path):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed: Weights & Biases is not tested")
    settings = wandb.Settings(silent=True, x_disable_stats=True, x_disable_machine_info=True, console="off")
    log = mn.training.WandB("digits", mode="offline", dir=str(tmp_path), settings=settings)
    trainer = trainer_of(Tracker(log, 3))
    history = trainer.run(progress=False)
    wandb.teardown()  # waits for the process that writes the file
    assert [path.name for path in tmp_path.rglob("*.wandb")] == [f"run-{trainer.identity}.wandb"]
    assert read_wandb(tmp_path) == expected(history, lambda step: step % 3 == 0)
    assert wandb.run is None, "the run has ended"


@pytest.mark.parametrize(
    ("make", "package", "extra"),
    [
        (lambda: mn.training.TensorBoard("runs"), "tensorboardX", "tensorboard"),
        (lambda: mn.training.MLflow("digits"), "mlflow", "mlflow"),
        (lambda: mn.training.WandB("digits"), "wandb", "wandb"),
        (lambda: mn.History().to_pandas(), "pandas", "pandas"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(make, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"expected {package}.* to be installed; .*minnet\[{extra}\]"):
        make()
