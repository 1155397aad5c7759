"""Runs of recorded steps that end in an error end as runs in Python do; what cannot be recorded; who may look on."""

import threading

import numpy as np
import pytest
from stress_resume import result

import minnet as mn
from minnet.kernels.replay import program
from minnet.training.loop import Loop
from minnet.training.recorded import steps as recorded_steps


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """No steps in Python before the first recorded one."""
    monkeypatch.setattr(recorded_steps, "PATIENCE", 0)


rng = np.random.default_rng(0)
X, Y = rng.standard_normal((40, 6)).astype(np.float32), rng.integers(0, 3, 40)


def trainer_of(python=False, layers=None, rule=None, lr=0.1, x=X, y=Y, loss=None, net_options=None, **given):
    net = mn.Net(layers or [mn.Dense(5), mn.ReLU(), mn.Dense(3)], x.shape[1:], loss or mn.SoftmaxCrossEntropy(), seed=1)
    trainer = mn.Trainer(net, (x, y), rule=rule or mn.Momentum(), lr=lr, **({"batch_size": 8, "epochs": 4} | given))
    if python:
        trainer.recorded.reason = "Python is to take the steps"
    return trainer


def left_by(make, kind):
    """The text of the error that ends a run, what is left of it, and how many steps Python took."""
    found = []
    for python in (False, True):
        trainer = make(python)
        if not python:
            assert trainer.recorded.reason is None
        with pytest.raises(kind) as caught:
            trainer.run(progress=False)
        found.append((str(caught.value), trainer.step, trainer.net.grads.tobytes(), result(trainer)))
    return found


class After(mn.Callback):
    """Does something to the run at the end of an epoch."""

    def __init__(self, epoch, action):
        self.epoch, self.action = epoch, action

    def on_epoch(self, trainer, row):
        if row["epoch"] == self.epoch:
            self.action(trainer)


def spoil(index, value):
    def action(trainer):
        trainer.batches.data[index][17] = value

    return action


# Errors ----------------------------------------------------------------------------------------------------------

WIDE = [mn.Dense(700), mn.ReLU(), mn.Dense(3)]  # tensors so large that kernels look for spikes as they go
DIVERGING = {
    "a loss": {"lr": 1e4, "layers": [mn.Dense(5), mn.Dense(5), mn.Dense(3)]},
    "a spike in short tensors": {"lr": 1e9},
    "a spike in long tensors": {"lr": 1e10, "layers": WIDE, "rule": mn.SGD()},
    "a spike in a rule's own kernel": {
        "lr": 1e9,
        "layers": [mn.Dense(700), mn.Dense(5), mn.Dense(3)],
        "rule": mn.Adam(),
    },
    "a gradient to be clipped": {"lr": 1e30, "clip_norm": 1e30, "rule": mn.SGD()},
    "parameters": {"lr": 1e38, "batch_size": 40, "rule": mn.SGD(), "clip_norm": 10.0},
    "within a norm": {"lr": 1e6, "layers": [mn.Dense(5), mn.BatchNorm(), mn.ReLU(), mn.Dense(3)], "rule": mn.SGD()},
    "with numbers of the rule": {"lr": 1e30, "rule": mn.NAdam()},
}


@pytest.mark.parametrize("name", DIVERGING)
def test_a_run_diverges_in_the_same_way(name):
    recorded, python = left_by(lambda python: trainer_of(python, **DIVERGING[name]), mn.DivergenceError)
    assert recorded == python


@pytest.mark.parametrize(
    ("index", "value", "words"),
    [(0, np.nan, "finite input"), (0, np.inf, "finite input"), (1, 3, "labels from 0 to 2"), (1, -1, "labels from 0")],
)
def test_data_that_are_spoilt_during_a_run_are_refused_at_the_same_step(index, value, words):
    def make(python):
        return trainer_of(python, x=X.copy(), y=Y.copy(), callbacks=[After(2, spoil(index, value))])

    recorded, python = left_by(make, ValueError)
    assert recorded == python
    assert words in recorded[0]


class Sinks(mn.schedules.Schedule):
    """A schedule of the user's own that leaves its range."""

    def at(self, t):
        return 0.1 if t != 13 else -1.0


@pytest.mark.parametrize("lr", [Sinks(), lambda step: 0.1 if step != 13 else -1.0], ids=["schedule", "function"])
def test_a_rate_out_of_its_range_is_refused_at_its_step(lr):
    recorded, python = left_by(lambda python: trainer_of(python, lr=lr), ValueError)
    assert recorded == python
    assert "at step 13" in recorded[0]
    assert recorded[1] == 13


# What cannot be recorded -------------------------------------------------------------------------------------------


class Doubled(mn.Layer):
    """A layer of the user's own."""

    def plan(self, in_shape):
        return mn.Plan(in_shape)

    def forward(self, m, x, y):
        np.multiply(x, 2, out=y)

    def backward(self, m, x, y, dy, dx):
        if dx is not None:
            np.multiply(dy, 2, out=dx)


class Plain(mn.Rule):
    """A rule of the user's own."""

    def apply(self, params, grads, state, *, lr, t, decay):
        params -= lr * grads


class Cubed(mn.SquaredError):
    """A loss of the user's own."""


NUMBERS = {"y": rng.standard_normal((40, 3)).astype(np.float32)}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"layers": [mn.Dense(4), mn.Residual(Doubled()), mn.Dense(3)]}, "Doubled is not one of minnet's own"),
        ({"rule": Plain()}, "Plain is not one of minnet's own"),
        ({"rule": mn.LookAhead(Plain())}, "Plain is not one of minnet's own"),
        ({"groups": [mn.Group(lambda tensor: tensor.name == "0.W", rule=Plain())]}, "Plain is not one"),
        ({"loss": Cubed(), **NUMBERS}, "Cubed is not one of minnet's own"),
        ({"rule": mn.LBFGS(), "batch_size": 40}, "searches along a line"),
    ],
)
def test_what_cannot_be_recorded_runs_in_python_and_says_why(given, words):
    trainer = trainer_of(**given)
    trainer.run(progress=False)
    assert trainer.step == trainer.steps
    assert words in trainer.recorded.reason
    assert words in trainer.summary()


def test_the_summary_says_that_steps_are_recorded():
    text = trainer_of().summary()
    assert text.startswith(trainer_of().net.summary())
    assert "20 steps, 0 of them done; 5 an epoch, with batches of 8 of 40 samples" in text
    assert "recorded once and replayed" in text


# Who looks on -------------------------------------------------------------------------------------------------------


def test_a_function_of_the_users_own_is_asked_once_for_each_step_when_its_turn_comes():
    asked = []

    def lr(step):
        asked.append((step, trainer.step if "trainer" in names else None))
        return 0.1

    names = {}
    trainer = trainer_of(lr=lr)
    names["trainer"] = True
    asked.clear()
    trainer.run(progress=False)
    assert sorted(set(asked)) == [(step, step) for step in range(20)]


class EveryStep(mn.diagnostics.Statistics):
    """A subclass that acts at every step, though its base does not."""

    def __init__(self):
        super().__init__(at=1000)
        self.seen = []

    def on_step(self, trainer, record):
        self.seen.append((record, trainer.net.params[0]))


def test_a_callback_that_acts_at_steps_sees_every_one_of_them():
    runs = []
    for python in (False, True):
        trainer = trainer_of(python, callbacks=[EveryStep()])
        trainer.run(progress=False)
        runs.append(trainer.callbacks[0].seen)
    assert [record.step for record, _ in runs[0]] == list(range(1, 21))
    assert runs[0] == runs[1]


def test_iteration_shows_every_step():
    seen = []
    for python in (False, True):
        trainer = trainer_of(python, rule=mn.Adam())
        seen.append([(record, trainer.net.params.tobytes(), trainer.net.grads.tobytes()) for record in trainer])
    assert len(seen[0]) == 20
    assert seen[0] == seen[1]


def test_steps_that_nobody_looks_at_are_taken_at_one_go(monkeypatch):
    goes, tell = [], Loop._tell
    monkeypatch.setattr(
        Loop, "_tell", lambda self, record, looking: (goes.append(record.step), tell(self, record, looking))
    )
    trainer_of(epochs=None, steps=100, batch_size=1, callbacks=[mn.diagnostics.Statistics(at=[20, 33])]).run(
        progress=False
    )
    assert {20, 33, 40, 80, 100} <= set(goes)  # looks, ends of epochs, the end
    assert len(goes) < 20  # the first goes are short


# Programs and threads -----------------------------------------------------------------------------------------------


def test_runs_of_one_structure_share_their_compiled_function(monkeypatch):
    trainer_of(rule=mn.Adam()).run(progress=False)

    def emit(*_):
        raise AssertionError("compiled again")

    monkeypatch.setattr(program, "emit", emit)
    trainer_of(rule=mn.Adam(beta1=0.8), lr=0.01, seed=3).run(progress=False)


def test_runs_in_threads_have_the_bits_of_runs_one_after_the_other():
    def make(seed):
        layers = [mn.Dense(40), mn.BatchNorm(), mn.ReLU(), mn.Dropout(0.3), mn.Dense(3)]
        return trainer_of(layers=layers, rule=mn.LAMB(), lr=0.01, seed=seed, epochs=30, clip_norm=1.0)

    alone = [make(seed) for seed in range(4)]
    for trainer in alone:
        trainer.run(progress=False)
    together = [make(seed) for seed in range(4)]
    threads = [threading.Thread(target=trainer.run, kwargs={"progress": False}) for trainer in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result(trainer) for trainer in together] == [result(trainer) for trainer in alone]


def test_a_run_that_goes_on_in_another_thread_records_anew():
    """Scratch memory of rules belongs to a thread."""
    expected, trainer = trainer_of(rule=mn.Adafactor()), trainer_of(rule=mn.Adafactor())
    expected.run(progress=False)
    for _ in range(7):
        next(trainer)
    before = trainer.recorded._depends
    thread = threading.Thread(target=trainer.run, kwargs={"progress": False})
    thread.start()
    thread.join()
    assert trainer.recorded._depends != before
    assert result(trainer) == result(expected)


@pytest.mark.parametrize("change", ["l2", "max_norm", "clip_norm", "frozen"])
def test_what_is_changed_between_two_steps_counts_from_the_next_one(change):
    def make(python):
        trainer = trainer_of(python)
        for record in trainer:
            if record.step == 8:
                if change == "clip_norm":
                    trainer.optimizer.clip_norm = 0.01
                elif change == "frozen":
                    trainer.optimizer.frozen = ("0.W", "0.b")
                else:
                    setattr(trainer.net, change, 0.5)
        return result(trainer)

    assert make(False) == make(True)


def test_a_run_of_a_new_kind_takes_its_first_steps_in_python(monkeypatch):
    """Recording takes as long as some hundred steps, so a short run would only lose by it."""
    monkeypatch.setattr(recorded_steps, "PATIENCE", 10)
    monkeypatch.setattr(recorded_steps, "_known_kinds", {})
    taken, take = [], Loop._take_step
    monkeypatch.setattr(Loop, "_take_step", lambda self: (taken.append(self.step), take(self))[1])
    trainer_of(rule=mn.Adam()).run(progress=False)
    assert taken == list(range(10))
    trainer_of(rule=mn.Adam(beta1=0.5), seed=8).run(progress=False)
    assert len(taken) == 10  # the kind is known
    trainer_of(rule=mn.SGD()).run(progress=False)
    assert len(taken) == 20
