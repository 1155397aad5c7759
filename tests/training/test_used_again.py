"""One object in several runs: every callback that minnet has begins anew in each, and keeps what a resumed run had."""

import importlib
import pkgutil
import signal
from dataclasses import dataclass, field

import numpy as np
import pytest

import minnet as mn
from minnet import diagnostics


@dataclass
class Notes:
    """A log outside of the run: what it has does not belong to what the run leaves."""

    figures: list = field(default_factory=list, repr=False, compare=False)

    def begin(self, run, step):
        self.figures.append((run, step))

    def __call__(self, step, figures):
        self.figures.append((step, figures))

    def close(self, ended):
        pass


CALLBACKS = {
    "KeepBest": lambda folder: mn.KeepBest("val_accuracy"),
    "EarlyStopping": lambda folder: mn.EarlyStopping("val_accuracy", patience=2),
    "ReduceOnPlateau": lambda folder: mn.ReduceOnPlateau("loss", 0.5, patience=0, threshold=0.5),
    "HalveOnStall": lambda folder: mn.HalveOnStall(patience=1),
    "Checkpoint": lambda folder: mn.Checkpoint(folder / "run", 2, keep=9, best="val_accuracy"),
    "EMA": lambda folder: mn.EMA(0.9),
    "SWA": lambda folder: mn.SWA(2),
    "PolyakRuppert": lambda folder: mn.PolyakRuppert(start=1),
    "LAWA": lambda folder: mn.LAWA(3, at=2),
    "SWAG": lambda folder: mn.SWAG(2, rank=3),
    "Snapshots": lambda folder: mn.Snapshots(3),
    "UpdateRatios": lambda folder: diagnostics.UpdateRatios(at=3),
    "Statistics": lambda folder: diagnostics.Statistics(at=3, bins=4),
    "Saturation": lambda folder: diagnostics.Saturation(at=3),
    "DeadUnits": lambda folder: diagnostics.DeadUnits(at=3),
    "NoiseScale": lambda folder: diagnostics.NoiseScale(4, 2, at=3),
    "Sharpness": lambda folder: diagnostics.Sharpness(samples=8, at=6, iterations=2),
    "Dashboard": lambda folder: diagnostics.Dashboard(
        folder / "page.html", every=9, monitors=[diagnostics.UpdateRatios(at=3), diagnostics.Saturation(at=3)]
    ),
    "Tracker": lambda folder: mn.training.Tracker(Notes(), at=3),
}
ABSTRACT = {"Average", "Monitor"}


def all_callbacks():
    """Names of all subclasses of Callback in minnet's modules, but for private ones, which their makers use once."""
    for module in pkgutil.walk_packages(mn.__path__, "minnet."):
        if not f"{module.name}.".startswith(("minnet.plots.", "minnet.sklearn.")):
            importlib.import_module(module.name)
    found, classes = set(), [mn.Callback]
    while classes:
        below = classes.pop().__subclasses__()
        classes += below
        found |= {kind.__name__ for kind in below if kind.__module__.startswith("minnet.")}
    return {name for name in found if not name.startswith("_")}


def test_the_table_has_every_callback():
    assert set(CALLBACKS) | ABSTRACT == all_callbacks()


def data(seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((16, 3)).astype(np.float32), rng.integers(0, 2, 16)


class Act(mn.Callback):
    """Does something to the run after one of its steps."""

    bystander = True

    def __init__(self, step=None, act=None):
        self.step, self.act = step, act

    def on_step(self, trainer, record):
        if record.step == self.step:
            self.act(trainer)


def trainer_of(seed, *callbacks, rate=0.3, width=5, epochs=4):
    """A run of four epochs of four steps, whose net, data and width are others for each seed."""
    layers = [mn.Dense(width), mn.BatchNorm(), mn.Tanh(), mn.Dense(2)]
    net = mn.Net(layers, 3, mn.SoftmaxCrossEntropy(), seed=seed)
    given = {"rule": mn.Adam(), "lr": rate, "batch_size": 4, "epochs": epochs, "seed": seed}
    return mn.Trainer(net, data(seed), validation=data(seed + 1), **given, callbacks=callbacks)


def plain(value):
    """A state, so that == compares it to the last bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def outcome(trainer, callback, folder):
    """All that a run leaves: the net, the history, and what the callback knows and shows."""
    shown = {name: value for name, value in vars(callback).items() if not name.startswith("_") and name != "due"}
    if "monitors" in shown:
        shown["monitors"] = [monitor.state() for monitor in callback.monitors]
    if "data" in shown:
        shown["data"] = None
    net, history = trainer.net, trainer.history
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    pages = [path.read_text() for path in folder.glob("*.html")]
    return plain(
        [
            *(net.params, net.buffers, net.step, history.epochs.rows, history.steps.rows, history.stopped),
            *(trainer.lr_factor, callback.state(), repr(callback), shown, files, pages),
        ]
    )


def emptied(folder):
    """The folder without what a run left in it, as a second run of ``Checkpoint`` needs it."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    return folder


def whole(callback):
    trainer = trainer_of(7, callback, width=4)
    trainer.run(progress=False)
    return trainer


def stopped_before_its_first_step(callback):
    trainer = trainer_of(7, callback, width=4)
    trainer.stop("enough")
    trainer.run(progress=False)
    return trainer


def ended_by_hand_before_its_first_step(callback):
    trainer = trainer_of(7, callback, width=4)
    trainer.end("enough")
    return trainer


def stopped_in_its_first_epoch(callback):
    trainer = trainer_of(7, callback, Act(1, lambda trainer: trainer.stop("enough")), width=4)
    trainer.run(progress=False)
    return trainer


def interrupted_in_its_first_epoch(callback):
    trainer = trainer_of(7, callback, Act(2, lambda trainer: signal.raise_signal(signal.SIGINT)), width=4)
    trainer.run(progress=False)
    return trainer


def diverged_in_its_first_step(callback):
    trainer = trainer_of(7, callback, width=4)
    trainer.net.params = np.full_like(trainer.net.params, np.nan)
    with pytest.raises(mn.DivergenceError):
        trainer.run(progress=False)
    return trainer


def diverged_later(callback):
    def spoil(trainer):
        trainer.net.params[:] = np.nan

    trainer = trainer_of(7, callback, Act(6, spoil), width=4)
    with pytest.raises(mn.DivergenceError):
        trainer.run(progress=False)
    return trainer


SECOND = [
    *(whole, stopped_before_its_first_step, ended_by_hand_before_its_first_step, stopped_in_its_first_epoch),
    *(interrupted_in_its_first_epoch, diverged_in_its_first_step, diverged_later),
]


@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("kind", CALLBACKS)
def test_a_callback_used_again_gives_what_a_new_one_does(kind, second, tmp_path, monkeypatch):
    monkeypatch.setattr(diagnostics.dashboard, "page", lambda title, words, *_: " ".join(words))  # no figures
    used, new = CALLBACKS[kind](tmp_path), CALLBACKS[kind](tmp_path)
    first = trainer_of(1, used)
    first.run(progress=False)
    kept, before = outcome(first, used, tmp_path), first.net.params.copy()
    emptied(tmp_path)
    again = outcome(second(used), used, tmp_path)
    emptied(tmp_path)
    assert again == outcome(second(new), new, tmp_path)
    assert again != kept
    assert np.array_equal(first.net.params, before), "the first run's net has changed"


@pytest.mark.parametrize("kind", CALLBACKS)
def test_a_resumed_run_keeps_what_it_had_whatever_the_object_saw_before(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(diagnostics.dashboard, "page", lambda title, words, *_: " ".join(words))

    def finished(*, resumed_with=None, at=6):
        callback = CALLBACKS[kind](tmp_path)
        trainer = trainer_of(7, callback)
        if resumed_with is None:
            trainer.run(progress=False)
            return outcome(trainer, callback, tmp_path)
        for record in trainer:
            if record.step == at:
                break
        emptied(tmp_path)
        trainer.save(tmp_path / "saved")
        net = trainer_of(7).net
        given = {"rule": mn.Adam(), "validation": data(8), "callbacks": [resumed_with]}
        again = mn.Trainer.resume(tmp_path / "saved", net, data(7), **given)
        (tmp_path / "saved").unlink()
        again.run(progress=False)
        return outcome(again, resumed_with, tmp_path)

    used = CALLBACKS[kind](tmp_path)
    trainer_of(1, used, width=4).run(progress=False)
    emptied(tmp_path)
    expected = finished()
    emptied(tmp_path)
    found = finished(resumed_with=used)
    if kind == "Checkpoint":  # whose files of before were taken away
        expected, found = (part[:6] for part in (expected, found))
    assert found == expected


@pytest.mark.parametrize("kind", CALLBACKS)
def test_a_run_that_was_left_and_goes_on_keeps_what_it_knew(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(diagnostics.dashboard, "page", lambda title, words, *_: " ".join(words))
    found = []
    for interrupt in (None, lambda trainer: signal.raise_signal(signal.SIGINT)):
        callback = CALLBACKS[kind](tmp_path)
        trainer = trainer_of(7, callback, Act(None if interrupt is None else 6, interrupt))
        trainer.run(progress=False)
        if interrupt is not None:
            assert (trainer.step, trainer.history.stopped) == (6, "interrupted")
            trainer.run(progress=False)
        found.append(outcome(trainer, callback, tmp_path))
        emptied(tmp_path)
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", CALLBACKS)
def test_a_second_run_waits_until_the_first_has_ended(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(diagnostics.dashboard, "page", lambda title, words, *_: " ".join(words))
    callback = CALLBACKS[kind](tmp_path)
    first, second = trainer_of(7, callback), trainer_of(2, callback)
    for _ in range(5):
        next(first)
    before, start = plain(callback.state()), second.net.params.copy()
    for attempt in (lambda: next(second), second.run, lambda: second.end("enough")):
        with pytest.raises(RuntimeError, match=rf"^Trainer: expected callbacks .*; got {kind}\(.* after step 5 of 16"):
            attempt()
    assert plain(callback.state()) == before
    assert np.array_equal(second.net.params, start)
    first.run(progress=False)
    found = outcome(first, callback, tmp_path)
    emptied(tmp_path)
    alone = CALLBACKS[kind](tmp_path)
    trainer = trainer_of(7, alone)
    trainer.run(progress=False)
    assert found == outcome(trainer, alone, tmp_path)
    emptied(tmp_path)
    third = trainer_of(2, callback)
    third.run(progress=False)
    assert third.step > 0


def test_a_second_fold_that_is_cut_short_has_its_own_weights():
    """The case that made this a table: cross-validation with one EarlyStopping."""
    stopping = mn.EarlyStopping("val_accuracy")
    trainer_of(1, stopping).run(progress=False)
    other = trainer_of(2, stopping)
    start = other.net.params.copy()
    other.stop("no time")
    other.run(progress=False)
    assert np.array_equal(other.net.params, start)


def test_a_callback_of_ones_own_begins_anew_by_the_contract():
    class Losses(mn.Callback):
        def __init__(self):
            self.seen = []

        def on_start(self, trainer):
            if trainer.step == 0:
                self.seen = []

        def on_step(self, trainer, record):
            self.seen.append(record.loss)

    used = Losses()
    for seed in (1, 2):
        trainer = trainer_of(seed, used)
        trainer.run(progress=False)
        assert used.seen == trainer.history.steps["loss"]


def test_what_a_callback_refuses_at_the_start_is_also_told_at_an_end_before_it():
    trainer = trainer_of(1, mn.EarlyStopping("f1", mode="max"))
    trainer.stop("enough")
    with pytest.raises(ValueError, match=r"^EarlyStopping: expected one of the columns .*; got 'f1'"):
        trainer.run(progress=False)
