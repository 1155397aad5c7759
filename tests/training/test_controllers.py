"""Controllers of the rate, against PyTorch's and against a plain loop in Keras's order; their state in mid-run."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

import minnet as mn
from minnet.schedules import Piecewise, Triangular


class Script(mn.Callback):
    """Writes given figures into the epochs' rows, as if they had been measured."""

    def __init__(self, column, values):
        self.column, self.values = column, values

    def on_epoch(self, trainer, row):
        row[self.column] = self.values[row["epoch"] - 1]


def rates(controller, figures, start=0.5):
    """The rate of every epoch of a run that measures these figures, and that of the epoch after."""
    trainer, found = SimpleNamespace(lr_factor=1.0), []
    for epoch, figure in enumerate(figures, 1):
        found.append(start * trainer.lr_factor)
        controller.on_epoch(trainer, {"epoch": epoch, "lr": found[-1], controller.monitor: figure})
    return [*found, start * trainer.lr_factor]


def keras_rates(figures, start, larger, factor, patience, min_delta, cooldown, min_lr):
    """Keras 3's callback, epoch by epoch, in the order of its source."""
    best, wait, cooling, lr, found = (-math.inf if larger else math.inf), 0, 0, start, [start]
    for figure in figures:
        if cooling > 0:
            cooling -= 1
            wait = 0
        if figure > best + min_delta if larger else figure < best - min_delta:
            best, wait = figure, 0
        elif cooling <= 0:
            wait += 1
            if wait >= patience and lr > min_lr:
                lr = max(lr * factor, min_lr)
                cooling, wait = cooldown, 0
        found.append(lr)
    return found, (wait, cooling)


def series(seed):
    """Figures that fall, stall, tie, jump, and are not always numbers."""
    rng = np.random.default_rng(seed)
    figures = np.round(1 + np.cumsum(rng.normal(-0.02, 0.08, 60)), 2)
    figures[rng.random(60) < 0.3] = np.round(figures.mean(), 2)
    figures[rng.random(60) < 0.05] = [math.nan, math.inf, -1.5][seed % 3]
    return figures.tolist()


def settings(seed):
    """Arguments of both worlds: factor, patience, threshold, cooldown, floor; and whether larger is better."""
    rng = np.random.default_rng(1000 + seed)
    return (
        float(rng.choice([0.1, 0.5, 0.7])),
        int(rng.integers(0, 5)),
        float(rng.choice([0.0, 1e-4, 0.03])),
        int(rng.integers(0, 4)),
        float(rng.choice([0.0, 0.01, 0.2])),
        bool(rng.random() < 0.5),
    )


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["rel", "abs"])
@pytest.mark.parametrize("seed", range(60))
def test_pytorchs_counting_is_pytorchs(seed, mode):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    factor, patience, threshold, cooldown, floor, larger = settings(seed)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max" if larger else "min", factor, patience, threshold, mode, cooldown, floor, eps=0.0
    )
    # Below 0 PyTorch's relative threshold lies on the wrong side; see test_direction.py for ours.
    figures = [abs(figure) for figure in series(seed)] if mode == "rel" else series(seed)
    theirs = [0.5]
    for figure in figures:
        scheduler.step(figure)
        theirs.append(optimizer.param_groups[0]["lr"])
    monitor = "val_accuracy" if larger else "val_loss"
    ours = mn.ReduceOnPlateau(monitor, factor, patience, cooldown, threshold, mode, floor, "pytorch")
    np.testing.assert_allclose(rates(ours, figures), theirs, rtol=1e-13)
    # Not of the rates alone: where PyTorch counts, we do.
    assert (ours.bad, ours.cooling) == (scheduler.num_bad_epochs, scheduler.cooldown_counter)


@pytest.mark.parametrize("seed", range(60))
def test_kerass_counting_is_kerass(seed):
    factor, patience, threshold, cooldown, floor, larger = settings(seed)
    theirs, counts = keras_rates(series(seed), 0.5, larger, factor, patience, threshold, cooldown, floor)
    monitor = "val_accuracy" if larger else "val_loss"
    ours = mn.ReduceOnPlateau(monitor, factor, patience, cooldown, threshold, "abs", floor, "keras")
    np.testing.assert_allclose(rates(ours, series(seed)), theirs, rtol=1e-13)
    assert (ours.bad, ours.cooling) == counts


def test_the_series_of_these_tests_do_reduce_rates():
    drops = [len(set(rates(mn.ReduceOnPlateau("val_loss", 0.5, 2), series(seed)))) - 1 for seed in range(60)]
    assert np.median(drops) >= 5


STALL = [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]


@pytest.mark.parametrize(
    ("counting", "patience", "cooldown", "reduced"),
    [
        # The best epoch is the second, so bad ones are 3, 4, ...; a reduction after epoch e is seen in e + 1.
        ("keras", 2, 0, [4, 6, 8, 10]),
        ("pytorch", 2, 0, [5, 8]),
        ("keras", 2, 1, [4, 6, 8, 10]),
        ("keras", 2, 2, [4, 7, 10]),
        ("pytorch", 2, 1, [5, 9]),
        ("keras", 1, 0, [3, 4, 5, 6, 7, 8, 9, 10]),
        ("pytorch", 0, 0, [3, 4, 5, 6, 7, 8, 9, 10]),
    ],
)
def test_epochs_after_which_a_stalled_run_slows_down(counting, patience, cooldown, reduced):
    found = rates(mn.ReduceOnPlateau("val_loss", 0.5, patience, cooldown, counting=counting), STALL)
    assert [epoch for epoch in range(1, 11) if found[epoch] < found[epoch - 1]] == reduced


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize("cooldown", [1, 4])
def test_kerass_patience_and_cooldown_are_pytorchs_and_one(seed, patience, cooldown):
    keras = mn.ReduceOnPlateau("val_loss", 0.5, patience, cooldown, counting="keras")
    pytorch = mn.ReduceOnPlateau("val_loss", 0.5, patience - 1, cooldown - 1, counting="pytorch")
    assert rates(keras, series(seed)) == rates(pytorch, series(seed))


def test_a_rate_halves_whenever_accuracy_stalls_and_stops_at_no_floor():
    accuracy = [0.5, 0.6, 0.6, 0.59, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]
    found = rates(mn.HalveOnStall(patience=3), accuracy, start=0.8)
    assert found == [0.8] * 5 + [0.4] * 4 + [0.2] * 3 + [0.1]
    assert rates(mn.HalveOnStall("val_loss", patience=1), [3.0, 2.0, 2.0, 1.0, 1.5], start=0.8)[-3:] == [0.4, 0.4, 0.2]


def test_the_floor_is_reached_and_kept():
    found = rates(mn.ReduceOnPlateau("val_loss", 0.1, 0, floor=0.02), [1.0] * 8, start=0.5)
    np.testing.assert_allclose(found, [0.5, 0.5, 0.05] + [0.02] * 6, rtol=1e-15)
    assert len(set(found)) == 3


# In a run ----------------------------------------------------------------------------------------------------


def make_trainer(callbacks, epochs=8, **arguments):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((12, 3)).astype(np.float32), rng.integers(0, 2, 12)
    net = mn.Net([mn.Dense(4), mn.BatchNorm(), mn.ReLU(), mn.Dense(2)], 3, mn.SoftmaxCrossEntropy(), seed=1)
    defaults = {"rule": mn.SGD(), "lr": 0.8, "batch_size": 4}
    return mn.Trainer(net, data, epochs=epochs, callbacks=callbacks, **defaults | arguments)


def test_the_history_shows_the_reduced_rates_of_every_schedule():
    figures = [1.0, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8]
    schedule = mn.schedules.Linear(0.8, 0.2, 24)
    controller = mn.ReduceOnPlateau("figure", 0.5, patience=1, counting="pytorch", mode="min")
    trainer = make_trainer([Script("figure", figures), controller], lr=schedule)
    list(trainer)
    # Two bad epochs: 3 and 4, then 6 and 7.
    factors = [1.0] * 12 + [0.5] * 9 + [0.25] * 3
    assert trainer.history.steps["lr"] == [schedule(step) * factors[step] for step in range(24)]
    assert trainer.lr_factor == 0.25


def test_a_reduction_reaches_groups_with_a_rate_of_their_own():
    """As PyTorch's ReduceLROnPlateau reduces the rates of all groups."""
    figures = [1.0, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8]
    cycle, factors = Triangular(0.1, 0.2, 2), Piecewise((12, 21), (1.0, 0.5, 0.25))

    def groups(cycle, number):
        return [
            mn.Group(lambda tensor: tensor.name == "0.W", lr=cycle, name="first"),
            mn.Group(lambda tensor: tensor.name == "0.b", lr=number),
        ]

    plateau = [Script("figure", figures), mn.ReduceOnPlateau("figure", 0.5, patience=1, mode="min")]
    reduced = make_trainer(plateau, lr=0.8, groups=groups(cycle, 0.3))
    by_hand = make_trainer([], lr=0.8 * factors, groups=groups(cycle * factors, 0.3 * factors))
    list(reduced), list(by_hand)
    assert reduced.history.steps["first lr"] == [cycle(step) * factors(step) for step in range(24)]
    assert reduced.net.params.tolist() == by_hand.net.params.tolist()


def test_a_controller_used_again_starts_anew():
    controller = mn.ReduceOnPlateau("figure", 0.5, patience=1, mode="min")
    runs = []
    for _ in range(2):
        trainer = make_trainer([Script("figure", STALL), controller])
        list(trainer)
        runs.append(trainer.history["lr"])
    assert runs[0] == runs[1]


def test_a_figure_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"^ReduceOnPlateau: expected one of the columns .*'loss'.*; got 'val_loss'"):
        list(make_trainer([mn.ReduceOnPlateau()]))
    with pytest.raises(ValueError, match=r"^HalveOnStall: expected one of the columns .*'loss'.*; got 'val_accuracy'"):
        list(make_trainer([mn.HalveOnStall()]))


FIGURES = [1.0, 0.5, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6]
STATEFUL = {
    "plateau, PyTorch": lambda: mn.ReduceOnPlateau("figure", 0.5, patience=1, cooldown=1, mode="min"),
    "plateau, Keras": lambda: mn.ReduceOnPlateau("figure", 0.5, patience=2, cooldown=2, counting="keras", mode="min"),
    "halve": lambda: mn.HalveOnStall("figure", patience=1, mode="min"),
    "the best alone": lambda: mn.KeepBest("figure", mode="max"),
    "early stopping": lambda: mn.EarlyStopping("figure", patience=6, mode="min"),
    "early stopping, larger is better": lambda: mn.EarlyStopping("figure", patience=9, mode="max"),
}


def through_a_file(state):
    """A state as a file would give it back: text for numbers, arrays as they are."""
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    plain = {name: value for name, value in state.items() if name not in arrays}
    return json.loads(json.dumps(plain, allow_nan=False)) | {name: array.copy() for name, array in arrays.items()}


def run_with(make, after=None, restore=True):
    """A run in which the callback gives way to a new one after some epochs, restored or not; what is left of it."""
    callback = make()
    trainer = make_trainer([Script(callback.monitor, FIGURES), callback])
    for record in trainer:
        if after is not None and record.step == 3 * after:
            trainer.callbacks[1] = make()
            if restore:
                trainer.callbacks[1].restore(through_a_file(callback.state()))
    net = trainer.net
    return trainer.history.steps.rows, trainer.history.stopped, net.params.tobytes(), net.buffers.tobytes()


@pytest.mark.parametrize("make", STATEFUL.values(), ids=STATEFUL.keys())
def test_a_callback_restored_in_mid_run_goes_on_as_if_nothing_had_been(make):
    expected = run_with(make)
    assert [run_with(make, after) == expected for after in range(1, 8)] == [True] * 7
    # What a fresh object would do is something else, so the line above can fail.
    assert not all(run_with(make, after, restore=False) == expected for after in range(1, 8))


def test_a_state_is_a_copy():
    stopping = mn.EarlyStopping("loss")
    trainer = make_trainer([stopping], epochs=2)
    list(trainer)
    state = stopping.state()
    assert set(state) == {"best", "best_epoch", "params", "buffers"}
    state["params"][:] = 0
    assert np.abs(stopping.state()["params"]).max() > 0
    other = mn.EarlyStopping("loss")
    other.restore(state)
    state["params"][:] = 1
    assert np.abs(other.state()["params"]).max() == 0


def test_a_callback_without_state_has_none_and_takes_none():
    callback = mn.Callback()
    assert callback.state() == {}
    callback.restore({})
    for one in (callback, mn.EarlyStopping(), mn.ReduceOnPlateau()):
        with pytest.raises(ValueError, match=rf"^{type(one).__name__}: expected a state of \[.*\]; got \['momentum'\]"):
            one.restore({"momentum": 3})


# Bad arguments -------------------------------------------------------------------------------------------------

BAD = [
    (lambda: mn.ReduceOnPlateau(factor=1.0), "ReduceOnPlateau: expected 0 < factor < 1; got 1.0"),
    (lambda: mn.ReduceOnPlateau(factor=0.0), "ReduceOnPlateau: expected 0 < factor < 1; got 0.0"),
    (lambda: mn.ReduceOnPlateau(factor="0.1"), "ReduceOnPlateau: expected factor to be a number; got '0.1'"),
    (lambda: mn.ReduceOnPlateau(patience=-1), "ReduceOnPlateau: expected patience of at least 0; got -1"),
    (lambda: mn.ReduceOnPlateau(patience=1.5), "ReduceOnPlateau: expected patience to be a whole number; got 1.5"),
    (lambda: mn.ReduceOnPlateau(cooldown=-1), "ReduceOnPlateau: expected cooldown of at least 0; got -1"),
    (lambda: mn.ReduceOnPlateau(threshold=math.nan), "ReduceOnPlateau: expected threshold to be finite; got nan"),
    (
        lambda: mn.ReduceOnPlateau(threshold=1.0),
        "ReduceOnPlateau: expected threshold below 1, a share of val_loss, with threshold_mode='rel'; got 1.0",
    ),
    (
        lambda: mn.ReduceOnPlateau(threshold_mode="relative"),
        "ReduceOnPlateau: expected threshold_mode to be 'rel' or 'abs'; got 'relative'",
    ),
    (lambda: mn.ReduceOnPlateau(floor=-0.1), "ReduceOnPlateau: expected floor of at least 0; got -0.1"),
    (
        lambda: mn.ReduceOnPlateau(counting="torch"),
        "ReduceOnPlateau: expected counting to be 'pytorch' or 'keras'; got 'torch'",
    ),
    (lambda: mn.HalveOnStall(patience=0), "HalveOnStall: expected patience of at least 1; got 0"),
]


@pytest.mark.parametrize(("build", "said"), BAD, ids=[said for _, said in BAD])
def test_a_controller_says_who_what_and_which_value_it_refuses(build, said):
    with pytest.raises((TypeError, ValueError)) as caught:
        build()
    assert str(caught.value) == said


def test_a_threshold_of_more_than_a_whole_is_one_where_larger_is_better_or_it_is_absolute():
    assert rates(mn.ReduceOnPlateau("val_accuracy", 0.5, 0, threshold=1.0), [0.1, 0.3, 0.5]) == [0.5, 0.5, 0.5, 0.25]
    assert rates(mn.ReduceOnPlateau("val_loss", 0.5, 0, threshold=1.0, threshold_mode="abs"), [5, 3, 2.5])[-1] == 0.25
