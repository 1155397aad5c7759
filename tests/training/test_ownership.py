"""One callback object serves one run at a time, once."""

import gc
from dataclasses import dataclass
from threading import Thread

import numpy as np
import pytest

import minnet as mn
from minnet import diagnostics

X = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
Y = np.arange(12) % 2
TAKEN = r"^Trainer: expected callbacks that no other unfinished run uses; got "


def trainer(*callbacks, seed=0, epochs=3):
    net = mn.Net([mn.Dense(2)], 3, mn.SoftmaxCrossEntropy(), seed=seed)
    given = {"rule": mn.SGD(), "lr": 0.1, "batch_size": 4, "epochs": epochs, "validation": (X, Y)}
    return mn.Trainer(net, (X, Y), **given, callbacks=callbacks)


class Failing(mn.Callback):
    """Raises in one of its methods."""

    def __init__(self, where):
        self.where = where

    def on_start(self, trainer):
        self._fail("on_start")

    def on_step(self, trainer, record):
        self._fail("on_step")

    def _fail(self, here):
        if here == self.where:
            raise ZeroDivisionError(here)


@dataclass
class Equal(mn.Callback):
    """A callback that cannot be hashed, and is equal to all of its kind."""

    seen: int = 0

    def on_step(self, trainer, record):
        self.seen += 1


def test_two_runs_by_turns_do_not_get_each_others_weights():
    stopping = mn.EarlyStopping("val_loss", patience=1)
    first, second = trainer(stopping), trainer(stopping, seed=1)
    next(first)
    with pytest.raises(RuntimeError, match=TAKEN + r"EarlyStopping\(.* after step 1 of 9.*end\("):
        next(second)
    first.end("enough")
    second.run(progress=False)
    assert second.step > 0


def test_equal_objects_are_different_ones():
    first, second = trainer(Equal(), Equal()), trainer(Equal())
    next(first)
    next(second)
    assert [callback.seen for callback in (*first.callbacks, *second.callbacks)] == [1, 1, 1]
    shared = first.callbacks[0]
    with pytest.raises(RuntimeError, match=TAKEN):
        next(trainer(shared))


@pytest.mark.parametrize(
    "callbacks",
    [
        lambda one: [one, one],
        lambda one: [one, mn.EMA(0.9), one],
        lambda one: [one, diagnostics.Dashboard("page.html", monitors=[one])],
        lambda one: [diagnostics.Dashboard("page.html", monitors=[one, one])],
        lambda one: [diagnostics.Dashboard(name, monitors=[one]) for name in ("a.html", "b.html")],
    ],
)
def test_an_object_is_in_the_list_once(callbacks):
    net = mn.Net([mn.Dense(2)], 3, mn.SoftmaxCrossEntropy())
    given = {"rule": mn.SGD(), "lr": 0.1, "epochs": 1, "callbacks": callbacks(diagnostics.UpdateRatios(at=2))}
    with pytest.raises(ValueError, match=r"^Trainer: expected each callback once; got one object twice, UpdateRatios"):
        mn.fit(net, (X, Y), **given)
    assert net.step == 0


def test_two_dashboards_do_not_share_a_monitor_in_two_runs():
    monitor = diagnostics.UpdateRatios(at=2)
    first = trainer(diagnostics.Dashboard("a.html", monitors=[monitor]))
    next(first)
    for callback in (monitor, diagnostics.Dashboard("b.html", monitors=[monitor])):
        with pytest.raises(RuntimeError, match=TAKEN + "UpdateRatios"):
            next(trainer(callback))


def test_another_thread_waits_too():
    keep, found = mn.KeepBest(), []

    class Meanwhile(mn.Callback):
        def on_step(self, trainer, record):
            if record.step == 2:
                thread = Thread(target=attempt)
                thread.start()
                thread.join()

    def attempt():
        try:
            next(trainer(keep))
        except RuntimeError as error:
            found.append(str(error))

    trainer(keep, Meanwhile()).run(progress=False)
    assert len(found) == 1
    assert "KeepBest" in found[0]


@pytest.mark.parametrize("where", ["on_start", "on_step"])
def test_a_run_that_an_error_has_ended_lets_its_callbacks_go(where):
    keep = mn.KeepBest()
    first = trainer(keep, Failing(where))
    with pytest.raises(ZeroDivisionError):
        first.run(progress=False)
    second = trainer(keep, seed=1)
    second.run(progress=False)
    before = first.net.params.copy()
    if where == "on_step":  # the first has a state that is lost
        with pytest.raises(
            RuntimeError, match=r"^Trainer: expected callbacks with the state of this run; got KeepBest"
        ):
            first.end("enough")
        assert np.array_equal(first.net.params, before)


def test_a_run_that_nobody_has_any_more_lets_its_callbacks_go():
    keep = mn.KeepBest()
    first = trainer(keep)
    next(first)
    del first
    gc.collect()
    trainer(keep).run(progress=False)


@pytest.mark.parametrize("forgotten", [True, False])
def test_a_run_that_was_left_goes_on_only_with_what_it_knew(forgotten):
    keep = mn.KeepBest()
    first = trainer(keep)
    next(first)
    first.leave("for now")
    first.run(progress=False)
    assert first.history.stopped == "for now"
    second = trainer(keep, seed=1)
    second.run(progress=False)
    if forgotten:
        del second
        gc.collect()
    before = first.net.params.copy()
    with pytest.raises(RuntimeError, match=r"^Trainer: expected callbacks with the state of this run; got KeepBest"):
        first.run(progress=False)
    assert np.array_equal(first.net.params, before)


def test_resuming_leaves_the_callbacks_of_another_run_alone(tmp_path):
    saved = trainer(mn.KeepBest())
    for _ in range(4):
        next(saved)
    saved.save(tmp_path / "saved")
    keep = mn.KeepBest()
    other = trainer(keep, seed=1)
    for _ in range(4):
        next(other)
    net, given = trainer().net, {"rule": mn.SGD(), "validation": (X, Y)}
    best, params = keep.best, net.params.copy()
    with pytest.raises(RuntimeError, match=TAKEN + "KeepBest"):
        mn.Trainer.resume(tmp_path / "saved", net, (X, Y), **given, callbacks=[keep])
    assert keep.best == best
    assert np.array_equal(net.params, params)
    fresh = mn.KeepBest()
    resumed = mn.Trainer.resume(tmp_path / "saved", net, (X, Y), **given, callbacks=[fresh])
    with pytest.raises(RuntimeError, match=TAKEN):
        next(trainer(fresh))
    resumed.run(progress=False)
    trainer(fresh).run(progress=False)
