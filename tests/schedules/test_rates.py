"""What a rate may be given as: a function, a schedule in epochs of the run, and another one in mid-run."""

import math

import numpy as np
import pytest

import minnet as mn
from minnet import schedules
from minnet.schedules import Cosine, Join, Linear, Piecewise, Repeat, Step, Warmup

PER_EPOCH, EPOCHS = 4, 3


def data(n=16):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 3)).astype(np.float32), rng.integers(0, 2, n)


def trainer_of(lr, **given):
    net = mn.Net([mn.Dense(5), mn.BatchNorm(), mn.Tanh(), mn.Dense(2)], 3, mn.SoftmaxCrossEntropy(), seed=1)
    given = {"rule": mn.SGD(), "batch_size": 4, "epochs": EPOCHS} | given
    return mn.Trainer(net, data(), lr=lr, **given)


def finished(lr, **given):
    trainer = trainer_of(lr, **given)
    trainer.run(progress=False)
    return trainer


def bits(trainer):
    return trainer.net.params.tobytes(), trainer.history.steps.rows, trainer.history.epochs.rows


# A function of the step --------------------------------------------------------------------------------------

RATES = [0.3 / (step + 1) for step in range(PER_EPOCH * EPOCHS)]


class Half:
    def __init__(self, start):
        self.start = start

    def __call__(self, step):
        return np.float32(self.start * 0.5**step)


FUNCTIONS = {
    "a lambda": lambda step: 0.3 / (step + 1),
    "a list, which wants whole numbers": lambda step: RATES[step],
    "a method": RATES.__getitem__,
    "an array's element": lambda step: np.array(RATES)[step],
    "an object": Half(0.5),
    "nothing but whole numbers": lambda step: 1 if step % 2 else 0,
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_rate_may_be_a_function_of_the_step(kind):
    function = FUNCTIONS[kind]
    trainer = finished(function)
    expected = [float(function(step)) for step in range(PER_EPOCH * EPOCHS)]
    assert trainer.history.steps["lr"] == expected
    by_hand = trainer_of(0.1)
    optimizer = by_hand.optimizer  # which takes functions in its step
    for _ in range(PER_EPOCH * EPOCHS):
        by_hand.net.loss_and_grads(*by_hand.batches.next())
        optimizer.step(function)
    assert by_hand.net.params.tobytes() == trainer.net.params.tobytes()


def test_fit_takes_a_function():
    net = trainer_of(0.1).net
    history = mn.fit(net, data(), rule=mn.SGD(), lr=FUNCTIONS["a lambda"], batch_size=4, epochs=3, progress=False)
    assert history.steps["lr"] == RATES


def test_a_function_out_of_its_range_is_refused_before_the_step():
    for wrong in (-0.1, math.nan, math.inf):
        for at in (0, PER_EPOCH * EPOCHS - 1):  # the first and the last are seen at the start
            with pytest.raises(ValueError, match=rf"^Trainer: expected lr .*; got {wrong} at step {at} of Function"):
                trainer_of(lambda step, at=at, wrong=wrong: wrong if step == at else 0.1)
        trainer = trainer_of(lambda step, wrong=wrong: wrong if step == 5 else 0.1)
        with pytest.raises(ValueError, match=rf"^Trainer: expected lr .*; got {wrong} at step 5"):
            trainer.run(progress=False)
        assert (trainer.step, trainer.net.step) == (5, 5)
    with pytest.raises(TypeError, match=r"^Trainer: expected lr to be a number; got None"):
        trainer_of(lambda step: None)


@pytest.mark.parametrize("wrong", [Cosine, "0.1", None, [0.1, 0.2], True], ids=str)
def test_what_is_no_rate_is_refused(wrong):
    with pytest.raises(TypeError, match=r"^Trainer: expected lr to be a number; got"):
        trainer_of(wrong)
    trainer = trainer_of(0.1)
    with pytest.raises(TypeError, match=r"^Trainer: expected lr to be a number; got"):
        trainer.lr = wrong
    assert trainer.lr == schedules.Constant(0.1)


def falling(step):
    return 0.3 / (step + 1)


def rising(step):
    return 0.1


def test_a_run_with_a_function_is_resumed_with_the_function(tmp_path):
    trainer = trainer_of(falling)
    for record in trainer:
        if record.step == 5:
            break
    trainer.save(tmp_path / "5.ckpt")
    net = trainer_of(0.1).net
    with pytest.raises(mn.CheckpointError, match=r"expected lr=.*falling.*got none"):
        mn.Trainer.resume(tmp_path / "5.ckpt", net, data(), rule=mn.SGD())
    with pytest.raises(mn.CheckpointError, match=r"lr is .*falling.* in the file, .*rising.* here.*set trainer\.lr"):
        mn.Trainer.resume(tmp_path / "5.ckpt", net, data(), rule=mn.SGD(), lr=rising)
    again = mn.Trainer.resume(tmp_path / "5.ckpt", net, data(), rule=mn.SGD(), lr=falling)
    again.run(progress=False)
    assert bits(again) == bits(finished(falling))


# Epochs of the run -------------------------------------------------------------------------------------------

IN_EPOCHS = {
    "cosine": lambda *n: Cosine(0.3, 3).in_epochs(*n),
    "in stairs": lambda *n: Cosine(0.3, 3).in_epochs(*n, staircase=True),
    "a warm-up in epochs": lambda *n: Warmup(1, Cosine(0.3, 2)).in_epochs(*n),
    "a warm-up in steps": lambda *n: Warmup(4, Cosine(0.3, 2).in_epochs(*n)),
    "joined": lambda *n: Join([(Linear(0.1, 0.3, 1).in_epochs(*n), 4), Step(0.3, 1, 0.5).in_epochs(*n)]),
    "times a number": lambda *n: 0.5 * Cosine(0.3, 3).in_epochs(*n),
    "a product": lambda *n: Cosine(0.3, 3).in_epochs(*n) * Piecewise([6], [1.0, 0.5]),
    "a sum, moved": lambda *n: (Linear(0.3, 0.1, 2).in_epochs(*n) + 0.1).offset(4),
    "repeated": lambda *n: Repeat(Cosine(0.3, 1).in_epochs(*n), 4),
}


@pytest.mark.parametrize("kind", IN_EPOCHS)
def test_epochs_of_the_run_are_steps_of_its_epochs(kind):
    make = IN_EPOCHS[kind]
    ours, theirs = finished(make()), finished(make(PER_EPOCH))
    assert ours.lr == theirs.lr
    assert bits(ours) == bits(theirs)
    assert len(set(ours.history.steps["lr"])) > 2
    # Of an epoch of another length, too: the last batch of 16 in sixes is short.
    assert trainer_of(make(), batch_size=6, epochs=4).lr == make(3)


def test_a_schedule_in_epochs_serves_runs_of_different_batch_sizes():
    schedule = Cosine(0.3, 3).in_epochs()
    for batch_size, per_epoch in ((4, 4), (8, 2), (7, 3), (16, 1)):
        assert trainer_of(schedule, batch_size=batch_size).lr == Cosine(0.3, 3).in_epochs(per_epoch)
    trainer = trainer_of(0.1)
    trainer.lr = schedule
    assert trainer.lr == Cosine(0.3, 3).in_epochs(PER_EPOCH)


def test_all_hyper_parameters_may_be_in_epochs_of_the_run():
    def given(*n):
        falls = Linear(0.3, 0.1, 3).in_epochs(*n)
        first = mn.Group(lambda tensor: tensor.name == "0.W", lr=falls, weight_decay=falls)
        second = mn.Group(lambda tensor: tensor.name == "0.b", rule=mn.Momentum(0.9 * falls))
        return {
            "rule": mn.LookAhead(mn.Adam(beta1=falls), 2),
            "weight_decay": falls,
            "clip_norm": falls,
            "groups": (group for group in (first, second)),
        }

    ours, theirs = finished(0.1, **given()), finished(0.1, **given(PER_EPOCH))
    assert ours.optimizer.rule == theirs.optimizer.rule
    assert list(ours.optimizer.schedules) == list(theirs.optimizer.schedules)
    assert len(ours.optimizer.schedules) == 6
    assert bits(ours) == bits(theirs)


def test_a_resumed_run_may_be_given_epochs_of_the_run_again(tmp_path):
    trainer = trainer_of(Cosine(0.3, 3).in_epochs())
    for record in trainer:
        if record.step == 5:
            break
    trainer.save(tmp_path / "5.ckpt")
    for lr in (Cosine(0.3, 3).in_epochs(), Cosine(0.3, 3).in_epochs(PER_EPOCH)):
        again = mn.Trainer.resume(tmp_path / "5.ckpt", trainer_of(0.1).net, data(), rule=mn.SGD(), lr=lr)
        again.run(progress=False)
        assert bits(again) == bits(finished(Cosine(0.3, 3).in_epochs(PER_EPOCH)))


def test_events_come_in_epochs_of_the_run():
    snapshots = mn.Snapshots()
    finished(schedules.WarmRestarts(0.3, 1).in_epochs(), callbacks=[snapshots])
    assert snapshots.steps == [4, 8, 12]


def test_without_a_run_the_number_is_asked_for():
    schedule = Cosine(0.3, 3).in_epochs()
    assert schedule(0) == 0.3
    asked = r"^in_epochs: expected the number of steps in an epoch, as in in_epochs\(100\).*; got none for Cosine"
    for ask in (
        *(lambda: schedule(1), lambda: schedule.preview(3), lambda: schedule.events(3), lambda: schedule.length),
        *(lambda: Repeat(schedule), lambda: (0.5 * schedule)(1), lambda: Warmup(2, schedule)(5)),
    ):
        with pytest.raises(ValueError, match=asked):
            ask()
    params = np.ones(2)
    optimizer = mn.Optimizer.over(params, np.ones(2), mn.SGD())
    optimizer.step(schedule)
    with pytest.raises(ValueError, match=asked):
        optimizer.step(schedule)
    assert optimizer.steps == 1


def test_lengths_are_read_as_epochs_once():
    inside = Warmup(1, Cosine(0.3, 3).in_epochs())
    for twice in (lambda: inside.in_epochs(), lambda: inside.in_epochs(4), lambda: (0.5 * inside).in_epochs()):
        with pytest.raises(ValueError, match=r"^in_epochs: expected lengths that are steps so far; got some"):
            twice()


# Another rate in mid-run -------------------------------------------------------------------------------------


def interrupted(lr, at, path=None, net=None):
    trainer = trainer_of(lr)
    for record in trainer:
        if record.step == at:
            break
    if path is None:
        return trainer
    trainer.save(path)
    return mn.Trainer.resume(path, trainer_of(0.1).net, data(), rule=mn.SGD(), lr=lr)


@pytest.mark.parametrize("resumed", [False, True], ids=["in mid-run", "resumed"])
@pytest.mark.parametrize("at", [4, 6])
@pytest.mark.parametrize(
    ("value", "rates"),
    [
        (0.01, lambda step: 0.01),
        (np.float32(0.5), lambda step: 0.5),
        (Linear(0.3, 0.1, 12), Linear(0.3, 0.1, 12)),
        (lambda step: 0.1 * (step + 1), lambda step: 0.1 * (step + 1)),
        (Cosine(0.3, 3).in_epochs(), Cosine(0.3, 12)),
    ],
)
def test_a_rate_that_is_set_counts_from_the_next_step_on(value, rates, at, resumed, tmp_path):
    trainer = interrupted(0.2, at, tmp_path / "run.ckpt" if resumed else None)
    trainer.lr = value
    trainer.run(progress=False)
    expected = finished(lambda step: 0.2 if step < at else rates(step))
    np.testing.assert_allclose(trainer.history.steps["lr"], expected.history.steps["lr"], rtol=1e-15)
    np.testing.assert_allclose(trainer.net.params, expected.net.params, rtol=1e-5, atol=1e-7)


def test_a_rate_that_was_set_is_saved_and_resumed(tmp_path):
    trainer = interrupted(Cosine(0.3, 12), 5, tmp_path / "5.ckpt")
    trainer.lr = 0.01
    next(trainer)
    trainer.save(tmp_path / "6.ckpt")
    trainer.run(progress=False)
    again = mn.Trainer.resume(tmp_path / "6.ckpt", trainer_of(0.1).net, data(), rule=mn.SGD())
    assert again.lr == schedules.Constant(0.01)
    again.run(progress=False)
    assert bits(again) == bits(trainer)


def test_a_rate_that_is_set_is_multiplied_by_what_controllers_say():
    trainer = interrupted(0.2, 4)
    trainer.lr_factor = 0.5
    trainer.lr = 0.1
    assert next(trainer).lr == 0.05


def test_a_bad_rate_changes_nothing():
    trainer = interrupted(0.2, 5)
    for wrong, error in ((-0.1, ValueError), (math.nan, ValueError), (lambda step: 5.0 - step, ValueError)):
        with pytest.raises(error, match=r"^(Trainer|Constant): expected lr"):
            trainer.lr = wrong
        assert trainer.lr == schedules.Constant(0.2)
    trainer.lr = lambda step: step - 5.0  # which is below 0 only where the run has been
    assert next(trainer).lr == 0.0


def test_a_schedule_that_is_set_and_does_not_suit_the_run_gets_a_warning():
    trainer = interrupted(0.2, 5)
    with pytest.warns(UserWarning, match="one of 3 steps, as many as the run has epochs"):
        trainer.lr = Cosine(0.3, 3)


def test_a_resumed_run_that_is_given_another_rate_says_how(tmp_path):
    interrupted(0.2, 5, tmp_path / "5.ckpt")
    net = trainer_of(0.1).net
    with pytest.raises(mn.CheckpointError, match=r"lr is 0.2 in the file, 0.01 here\. To change the rate.*trainer\.lr"):
        mn.Trainer.resume(tmp_path / "5.ckpt", net, data(), rule=mn.SGD(), lr=0.01)
    with pytest.raises(mn.CheckpointError) as caught:
        mn.Trainer.resume(tmp_path / "5.ckpt", net, data(), rule=mn.Momentum(0.9))
    assert "trainer.lr" not in str(caught.value)
