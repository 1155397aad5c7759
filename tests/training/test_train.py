"""The training loop: what a run does, how it ends, and what it leaves behind, to the last bit."""

import math
import re
import signal
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

import minnet as mn

N, BATCH, PER_EPOCH = 22, 8, 3  # batches of 8, 8 and 6: the last one is short


def make_data(seed=0, n=N, dtype=np.float32):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4)).astype(dtype)
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5)


def make_net(extra=(), **arguments):
    """A small net that has everything that moves: weights, running statistics, noise."""
    layers = [mn.Dense(6), mn.BatchNorm(), mn.ReLU(), *extra, mn.Dropout(0.2), mn.Dense(3)]
    return mn.Net(layers, 4, mn.SoftmaxCrossEntropy(), **{"l2": 1e-3, "seed": 1} | arguments)


def make_trainer(net=None, **arguments):
    defaults = {"rule": mn.Adam(), "lr": 0.01, "batch_size": BATCH, "seed": 2}
    if "steps" not in arguments:
        defaults["epochs"] = 3
    net = make_net() if net is None else net
    return mn.Trainer(net, make_data(dtype=net.dtype), **defaults | arguments)


def run(net=None, **arguments):
    defaults = {"rule": mn.Adam(), "lr": 0.01, "batch_size": BATCH, "seed": 2}
    if "steps" not in arguments:
        defaults["epochs"] = 3
    net = make_net() if net is None else net
    return net, mn.fit(net, make_data(dtype=net.dtype), **defaults | arguments)


def state(net, optimizer=None):
    """All that a net, and an optimizer, hold between two steps, as bytes."""
    parts = [net.params.tobytes(), net.buffers.tobytes(), net.step]
    if optimizer is not None:
        parts += [optimizer.state.tobytes(), optimizer.steps]
    return parts


def weights(net):
    return net.params.tobytes(), net.buffers.tobytes()


class Log(mn.Callback):
    """Notes every call, with the weights after every epoch."""

    def __init__(self, events=None, name=""):
        self.events = [] if events is None else events
        self.name = name
        self.weights, self.states = [], []

    def on_step(self, trainer, record):
        self.events.append((self.name, "step", record.step))

    def on_epoch(self, trainer, row):
        self.events.append((self.name, "epoch", row["epoch"]))
        self.weights.append(weights(trainer.net))
        self.states.append(state(trainer.net, trainer.optimizer))

    def on_end(self, trainer):
        self.events.append((self.name, "end", trainer.history.stopped))


class AtStep(mn.Callback):
    """Does something after one step."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_step(self, trainer, record):
        if record.step == self.step:
            self.act(trainer)


class Script(mn.Callback):
    """Writes given figures into the epochs' rows, as if they had been measured."""

    def __init__(self, column, values):
        self.column, self.values = column, values

    def on_epoch(self, trainer, row):
        row[self.column] = self.values[row["epoch"] - 1]


# A run --------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits():
    (first, history), (second, again) = (run(validation=make_data(1)) for _ in range(2))
    assert state(first) == state(second)
    assert history.steps.rows == again.steps.rows
    assert history.epochs.rows == again.epochs.rows


UNSUITED = [  # of runs of 3 epochs of 3 steps
    (mn.schedules.Cosine(0.1, 10), "one of 10 steps, of which the run leaves out the last"),
    (mn.schedules.Warmup(2, mn.schedules.Cosine(0.1, 9)), "one of 11 steps, of which the run leaves out the last"),
    (mn.schedules.Cosine(0.1, 3.5).in_epochs(3), "one of 10.5 steps, of which the run leaves out the last"),
    (mn.schedules.Cosine(0.1, 3), "one of 3 steps, as many as the run has epochs"),
    (mn.schedules.Piecewise([1, 3], [0.1, 0.01, 0.001]), "one of 3 steps, as many as the run has epochs"),
    (mn.schedules.Cosine(0.1, 2.9), "one of 2.9 steps, fewer than the run has epochs"),
    (mn.schedules.Piecewise([1, 2], [0.1, 0.01, 0.001]), "one of 2 steps, fewer than the run has epochs"),
    (mn.schedules.Warmup(1, mn.schedules.Cosine(0.1, 1)), "one of 2 steps, fewer than the run has epochs"),
    (mn.schedules.Step(0.1, 9), "one whose first event comes after the run's last step"),
    (mn.schedules.Step(0.1, 10_000), "one whose first event comes after the run's last step"),
    (mn.schedules.Triangular(0.01, 0.1, 10_000), "one whose first event comes after the run's last step"),
    (mn.schedules.WarmRestarts(0.1, 10_000), "one whose first event comes after the run's last step"),
    (mn.schedules.Noam(512), "one whose first event comes after the run's last step"),
    (
        mn.schedules.Warmup(100, mn.schedules.InverseTime(0.1, 0.1)),
        "one whose first event comes after the run's last step",
    ),
]


@pytest.mark.parametrize(("schedule", "came"), UNSUITED, ids=str)
@pytest.mark.parametrize("length", [{"epochs": 3}, {"steps": 9}], ids=str)
def test_a_schedule_that_does_not_suit_its_run_gets_a_word(schedule, came, length):
    # A schedule that is too long for the run would be longer in epochs.
    advice = "Lengths are in steps; schedule.in_epochs(3) reads them as epochs."
    if "leaves out" in came:
        advice = "Give the schedule the length of the run, or train longer."
    elif "first event" in came:
        advice = "Give the schedule shorter lengths, or train longer."
    expected = (
        "Trainer: expected a schedule of lr that suits a run of 9 steps (3 epochs of 3); got "
        f"{came}: {schedule!r}. {advice}"
    )
    with pytest.warns(UserWarning, match="expected a schedule of lr that suits") as caught:
        make_trainer(lr=schedule, **length)
    assert [str(warning.message) for warning in caught] == [expected]
    assert caught[0].filename == __file__  # where the trainer was made


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("momentum", lambda schedule: {"rule": mn.Momentum(schedule)}),
        ("weight_decay", lambda schedule: {"weight_decay": schedule}),
        ("clip_norm", lambda schedule: {"clip_norm": schedule}),
        ("group 0 lr", lambda schedule: {"groups": [mn.Group(lambda tensor: tensor.decay, lr=schedule)]}),
    ],
)
def test_so_does_a_schedule_of_anything_but_the_rate(name, options):
    for length in (3, 10):
        with pytest.warns(UserWarning, match=f"expected a schedule of {name} that suits.*{length} steps"):
            make_trainer(**options(mn.schedules.Linear(0.9, 0.5, length)))


SUITED = [
    0.1,
    mn.schedules.Constant(0.1),
    mn.schedules.Cosine(0.1, 9),
    mn.schedules.Cosine(0.1, 3).in_epochs(3),
    mn.schedules.OneCycle(0.1, 8),
    mn.schedules.Join([(mn.schedules.Cosine(0.1, 0.9), 0.9), mn.schedules.Cosine(0.1, 2.1)]).in_epochs(3),
    mn.schedules.Exponential(0.1, 0.1),
    mn.schedules.Exponential(0.1, 1.0).staircase(3),
    mn.schedules.InverseTime(0.1, 0.1),
    mn.schedules.WarmRestarts(0.1, 9),  # one whole cycle
    mn.schedules.WarmRestarts(0.1, 2, lengthen=2),
    mn.schedules.Triangular(0.01, 0.1, 3),
    mn.schedules.Triangular(0.01, 0.1, 8),  # the peak at the last step
    mn.schedules.Step(0.1, 3),
    mn.schedules.Step(0.1, 8),
    mn.schedules.Warmup(2, mn.schedules.Constant(0.1)),
    mn.schedules.Warmup(2, mn.schedules.InverseTime(0.1, 0.1)),
    mn.schedules.Linear(0.01, 0.1, 2),
    mn.schedules.InverseSqrt(0.1, 4),
]


@pytest.mark.parametrize("lr", SUITED, ids=str)
def test_a_schedule_that_suits_its_run_gets_none(lr):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_trainer(lr=lr)


def test_where_an_epoch_is_one_step_epochs_are_steps():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_trainer(lr=mn.schedules.Cosine(0.1, 3), batch_size=N)


def test_the_factor_of_the_trainer_multiplies_every_rate():
    trainer = make_trainer(lr=mn.schedules.Linear(0.1, 0.01, 9), callbacks=[AtStep(4, halve)])
    records = list(trainer)
    expected = [mn.schedules.Linear(0.1, 0.01, 9)(step) * (1 if step < 4 else 0.5) for step in range(9)]
    assert [record.lr for record in records] == trainer.history.steps["lr"] == expected
    assert trainer.history["lr"] == expected[2::3]


def halve(trainer):
    trainer.lr_factor /= 2


def test_another_seed_gives_another_order():
    first, second = run(seed=2)[1], run(seed=3)[1]
    assert first.steps["loss"] != second.steps["loss"]


def test_fit_is_what_the_trainer_does():
    trainer = make_trainer()
    for _ in trainer:
        pass
    net, history = run()
    assert state(trainer.net) == state(net)
    assert trainer.history.steps.rows == history.steps.rows
    assert trainer.history.epochs.rows == history.epochs.rows
    assert trainer.history.stopped == history.stopped == "finished"


RECIPES = [
    ({"rule": mn.SGD(), "lr": 0.1}, {}),
    ({"rule": mn.Nesterov(0.9), "lr": mn.schedules.Cosine(0.1, steps=7)}, {"l1": 1e-3}),
    ({"rule": mn.Adam(), "lr": 1e-2, "weight_decay": 0.1, "clip_norm": 0.5}, {"max_norm": 1.0}),
    ({"rule": mn.NesterovLookAhead(), "lr": 1e-2}, {"dtype": np.float64}),
]


@pytest.mark.parametrize(("recipe", "arguments"), RECIPES, ids=[type(row[0]["rule"]).__name__ for row in RECIPES])
def test_the_trainer_equals_a_loop_written_by_hand(recipe, arguments):
    trainer = make_trainer(make_net(**arguments), **recipe)
    records = list(trainer)

    net = make_net(**arguments)
    lr = recipe["lr"] if callable(recipe["lr"]) else lambda step: recipe["lr"]
    rest = {name: value for name, value in recipe.items() if name not in ("rule", "lr")}
    optimizer = mn.Optimizer(net, recipe["rule"], **rest)
    batches = mn.data.Batches(make_data(dtype=net.dtype), BATCH, seed=2, dtype=net.dtype)
    step = 0
    for epoch in range(1, 4):
        for x, y in batches.epoch():
            loss = net.loss_and_grads(x, y)
            optimizer.step(lr(step))
            step += 1
            assert records[step - 1] == mn.Record(step, epoch, loss, lr(step - 1))
    assert len(records) == step == 9
    assert state(trainer.net, trainer.optimizer) == state(net, optimizer)
    assert trainer.net.grads.tobytes() == net.grads.tobytes()


LENGTHS = [
    ({"epochs": 1}, 3, [3]),
    ({"epochs": 3}, 9, [3, 6, 9]),
    ({"steps": 6}, 6, [3, 6]),
    ({"steps": 7}, 7, [3, 6, 7]),
]


@pytest.mark.parametrize(("length", "steps", "ends"), LENGTHS, ids=[str(row[0]) for row in LENGTHS])
def test_a_run_is_as_long_as_asked(length, steps, ends):
    trainer = make_trainer(**length)
    assert trainer.steps == steps
    assert [(record.step, record.epoch) for record in trainer] == [(i + 1, i // 3 + 1) for i in range(steps)]
    assert trainer.net.step == trainer.optimizer.steps == steps
    assert trainer.history["step"] == ends
    assert trainer.history["epoch"] == list(range(1, len(ends) + 1))


def test_a_finished_trainer_stays_finished():
    trainer = make_trainer(epochs=1)
    assert len(list(trainer)) == PER_EPOCH
    before = state(trainer.net, trainer.optimizer)
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(trainer)
    assert state(trainer.net, trainer.optimizer) == before


def test_the_schedule_is_asked_from_step_0():
    schedule = mn.schedules.Linear(0.1, 0.01, steps=8)
    trainer = make_trainer(lr=schedule)
    assert [record.lr for record in trainer] == [schedule(i) for i in range(9)]
    assert trainer.history.steps["lr"] == [schedule(i) for i in range(9)]
    assert trainer.history["lr"] == [schedule(i) for i in (2, 5, 8)]


@pytest.mark.parametrize("length", [{"epochs": 2}, {"steps": 5}], ids=str)
def test_an_epochs_loss_and_accuracy_are_means_over_its_samples(length):
    """By hand, from predictions in front of each step; without noise, training and evaluation agree."""
    net = mn.Net([mn.Dense(6), mn.Tanh(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), seed=1)
    trainer = mn.Trainer(net, make_data(), rule=mn.SGD(), lr=0.5, batch_size=BATCH, seed=2, **length)
    batches = mn.data.Batches(make_data(), BATCH, seed=2)
    seen: dict[int, list[tuple[float, bool]]] = {}
    for _ in range(trainer.steps):
        epoch = batches.epoch_index + 1
        x, y = batches.next()
        for scores, label in zip(net.predict(x).astype(float), y, strict=True):
            loss = math.log(sum(math.exp(s) for s in scores)) - scores[label]
            seen.setdefault(epoch, []).append((loss, bool(scores.argmax() == label)))
        next(trainer)
    for row in trainer.history.epochs.rows:
        losses, right = zip(*seen[row["epoch"]], strict=True)
        # Single precision through two layers of 4 and 6 terms, an exponential and a mean over the batch.
        assert row["loss"] == pytest.approx(sum(losses) / len(losses), rel=32 * float(np.finfo(np.float32).eps))
        assert row["accuracy"] == sum(right) / len(right)


def test_validation_is_measured_after_every_epoch():
    validation = make_data(5, n=13)
    measured = []

    class Measure(mn.Callback):
        def on_epoch(self, trainer, row):
            measured.append(trainer.net.evaluate(*validation))

    _, history = run(steps=7, validation=validation, callbacks=[Measure()])
    columns = {column for column in history.epochs.columns() if column.startswith("val_")}
    assert columns == {"val_loss", "val_data_loss", "val_accuracy"}
    for name in ("loss", "data_loss", "accuracy"):
        assert history[f"val_{name}"] == [result[name] for result in measured]
    assert len(measured) == 3


def test_without_validation_there_are_no_such_columns():
    assert run()[1].epochs.columns() == ["epoch", "step", "loss", "accuracy", "lr"]


def test_a_regression_has_no_accuracy():
    x, _ = make_data()
    net = mn.Net(mn.Dense(2), 4, mn.SquaredError())
    data = x, x[:, :2].copy()
    history = mn.fit(net, data, rule=mn.SGD(), lr=0.01, batch_size=BATCH, epochs=2, validation=data)
    assert history.epochs.columns() == ["epoch", "step", "loss", "val_loss", "val_data_loss", "lr"]


def test_training_leaves_the_data_alone():
    x, y = make_data()
    before = x.copy(), y.copy()
    mn.fit(make_net(), (x, y), rule=mn.Adam(), lr=0.1, batch_size=BATCH, epochs=1, validation=(x, y))
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_augment_and_standardize_reach_the_batches():
    x, y = byte_images()
    options = {"augment": mn.data.Augment(flip=True, crop=1), "standardize": mn.data.Standardizer.fit(x, per="channel")}
    net = image_net()
    mn.fit(net, (x, y), rule=mn.SGD(), lr=0.1, batch_size=BATCH, epochs=2, seed=2, **options)
    expected = image_net()
    optimizer, batches = mn.Optimizer(expected, mn.SGD()), mn.data.Batches((x, y), BATCH, seed=2, **options)
    for _ in range(2):
        for batch in batches.epoch():
            expected.loss_and_grads(*batch)
            optimizer.step(0.1)
    assert weights(net) == weights(expected)


def byte_images(seed=0, n=N):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 4, 5, 3)).astype(np.uint8), rng.integers(0, 3, n)


def image_net():
    return mn.Net([mn.Flatten(), mn.Dense(3)], (4, 5, 3), mn.SoftmaxCrossEntropy(), seed=1)


@pytest.mark.parametrize("floats", [False, True], ids=["bytes", "floats"])
def test_validation_is_standardized_once_as_the_training_data_are(floats):
    """The same run, with everything standardised beforehand by hand: the same bits."""
    data, validation = ([x.astype(np.float32) if floats else x, y] for x, y in (byte_images(0), byte_images(1, n=13)))
    standardize = mn.data.Standardizer.fit(data[0], per="channel")
    recipe = {"rule": mn.SGD(), "lr": 0.1, "batch_size": BATCH, "epochs": 3}
    stopping = mn.EarlyStopping("val_accuracy", patience=9)
    net, by_hand = image_net(), image_net()
    history = mn.fit(net, data, standardize=standardize, validation=validation, callbacks=[stopping], **recipe)
    ready = [(standardize(x), y) for x, y in (data, validation)]
    stopping_too = mn.EarlyStopping("val_accuracy", patience=9)
    expected = mn.fit(by_hand, ready[0], validation=ready[1], callbacks=[stopping_too], **recipe)
    assert history.epochs.rows == expected.epochs.rows
    assert weights(net) == weights(by_hand)
    assert net.evaluate(*ready[1])["accuracy"] == stopping.best == stopping_too.best
    np.testing.assert_array_equal(validation[0], byte_images(1, n=13)[0])  # the user's own array stays raw


def test_validation_images_are_not_augmented():
    x, y = byte_images()
    net = image_net()
    options = {"augment": mn.data.Augment(flip=True, crop=2), "validation": (x, y)}
    history = mn.fit(net, (x, y), rule=mn.SGD(), lr=0.1, batch_size=BATCH, epochs=1, **options)
    assert history["val_loss"] == [net.evaluate(x, y)["loss"]]


class Probe(mn.Callback):
    """Looks at everything, between any two steps and in larger batches than the run's."""

    def on_step(self, trainer, record):
        x, y = make_data(7, n=300)
        net = trainer.net
        net.evaluate(x, y)
        net.loss(x[:5], y[:5])
        net.predict(x[:1], batch_size=7)
        net.forward(x[:3])
        net.twin().loss_and_grads(x[:9], y[:9])
        net.summary()
        net.penalties()
        trainer.history.steps["loss"]


def test_probing_in_mid_run_leaves_the_run_bit_identical():
    plain, history = run()
    probed, again = run(callbacks=[Probe()])
    assert state(plain) == state(probed)
    assert history.steps.rows == again.steps.rows
    assert history.epochs.rows == again.epochs.rows


def test_a_gradient_check_in_mid_run_leaves_the_run_bit_identical():
    def check(trainer):
        x, y = make_data(7, n=5)
        mn.check_net(trainer.net, x, y)

    plain, probed = run(steps=5)[0], run(steps=5, callbacks=[AtStep(3, check)])[0]
    assert state(plain) == state(probed)


# Callbacks ----------------------------------------------------------------------------------------------


def test_callbacks_are_told_of_everything_in_order():
    events = []
    run(steps=4, callbacks=[Log(events, "a"), Log(events, "b")])
    expected = [("step", 1), ("step", 2), ("step", 3), ("epoch", 1), ("step", 4), ("epoch", 2), ("end", "finished")]
    assert events == [(name, *event) for event in expected for name in "ab"]


def test_a_callback_may_add_to_the_row_of_an_epoch():
    _, history = run(epochs=2, callbacks=[Script("mine", [5, 6])])
    assert history["mine"] == [5, 6]


@pytest.mark.parametrize("step", [1, 3, 4])
def test_a_callback_may_stop_the_run(step):
    log = Log()
    net, history = run(callbacks=[AtStep(step, lambda trainer: trainer.stop("enough")), log])
    assert history.steps["step"] == list(range(1, step + 1))
    assert history.stopped == "enough"
    assert net.step == step
    assert [event for event in log.events if event[1] == "end"] == [("", "end", "enough")]


def test_the_first_reason_to_stop_is_kept():
    stops = [AtStep(2, lambda trainer, reason=reason: trainer.stop(reason)) for reason in ("first", "second")]
    assert run(callbacks=stops)[1].stopped == "first"


def test_stopping_from_the_loop_body_ends_the_run_for_the_callbacks_too():
    log = Log()
    trainer = make_trainer(callbacks=[log])
    for record in trainer:
        if record.step == 2:
            trainer.stop("seen enough")
    assert trainer.history.stopped == "seen enough"
    assert trainer.step == 2
    assert log.events[-1] == ("", "end", "seen enough")


# Early stopping -----------------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf
# (column, its values, patience, min_delta, epochs run, best epoch)
STOPS = {
    "a loss that turns": ("val_loss", [3, 2, 1, 2, 3, 0, 0], 2, 0, 5, 3),
    "patience of one": ("val_loss", [3, 2, 2.5, 1, 1, 1, 1], 1, 0, 3, 2),
    "a tie is no improvement": ("val_loss", [3, 3, 3, 1, 1, 1, 1], 2, 0, 3, 1),
    "a loss below zero": ("val_data_loss", [0, -1, -0.5, -0.9, 5, 5, 5], 2, 0, 4, 2),
    "improving in the last moment": ("val_loss", [3, 4, 2, 4, 1, 4, 4], 2, 0, 7, 5),
    "an accuracy that turns": ("val_accuracy", [0.1, 0.5, 0.4, 0.5, 0.9, 1, 1], 2, 0, 4, 2),
    "training accuracy": ("accuracy", [0.9, 0.8, 0.7, 1, 1, 1, 1], 2, 0, 3, 1),
    "too little to count": ("val_loss", [1.0, 0.95, 0.92, 0.5, 0.5, 0.5, 0.5], 2, 0.125, 3, 1),
    "little by little it counts": ("val_loss", [1.0, 0.9375, 0.75, 0.7, 0.7, 0.7, 0.7], 2, 0.125, 5, 3),
    "exactly min_delta is not more": ("val_loss", [1.0, 0.875, 0.875, 0, 0, 0, 0], 2, 0.125, 3, 1),
    "not a number later": ("val_loss", [2, 1, NAN, NAN, 0, 0, 0], 2, 0, 4, 2),
    "not a number first": ("val_loss", [NAN, 2, 3, 4, 0, 0, 0], 2, 0, 4, 2),
    "infinity first": ("val_loss", [INF, 2, 3, 4, 0, 0, 0], 2, 0, 4, 2),
    "the run just ends": ("val_loss", [3, 1, 2, 2, 2, 2, 2], 6, 0, 7, 2),
    "always better": ("val_loss", [7, 6, 5, 4, 3, 2, 1], 2, 0, 7, 7),
}


@pytest.mark.parametrize("restore", [True, False], ids=["restore", "keep"])
@pytest.mark.parametrize("case", STOPS)
def test_early_stopping_ends_at_the_right_epoch_with_the_right_weights(case, restore):
    column, values, patience, min_delta, epochs, best = STOPS[case]
    log = Log()
    stopping = mn.EarlyStopping(column, patience=patience, min_delta=min_delta, restore=restore)
    net, history = run(epochs=len(values), callbacks=[Script(column, values), log, stopping])
    assert len(history) == epochs
    assert (stopping.best_epoch, stopping.best) == (best, values[best - 1])
    assert len(set(log.weights)) == epochs, "the epochs must differ for this test to say anything"
    assert weights(net) == log.weights[best - 1 if restore else -1]
    early = epochs < len(values) or case == "improving in the last moment"
    assert history.stopped == (f"no better {column} in {patience} epochs" if early else "finished")


def test_early_stopping_on_a_real_run_restores_the_best_validation_loss():
    validation = make_data(3, n=40)
    stopping = mn.EarlyStopping(patience=3)
    net, history = run(lr=0.3, epochs=40, validation=validation, callbacks=[stopping])
    best = int(np.argmin(history["val_loss"]))
    assert len(history) == best + 1 + 3 < 40, "the run was meant to be stopped"
    assert stopping.best_epoch == best + 1
    assert net.evaluate(*validation)["loss"] == history["val_loss"][best]


@pytest.mark.parametrize("restore", [True, False], ids=["restore", "keep"])
def test_early_stopping_restores_the_best_epoch_after_ctrl_c(restore):
    log = Log()
    interrupt = AtStep(8, lambda trainer: signal.raise_signal(signal.SIGINT))
    stopping = mn.EarlyStopping("val_loss", patience=5, restore=restore)
    net, history = run(callbacks=[Script("val_loss", [1, 2, 3]), log, stopping, interrupt])
    assert (history.stopped, len(history), net.step) == ("interrupted", 2, 8)
    assert (weights(net) == log.weights[0]) == restore
    assert weights(net) != log.weights[1]


def test_early_stopping_keeps_a_copy_of_its_own():
    stopping = mn.EarlyStopping("val_loss")
    net, _ = run(epochs=2, callbacks=[Script("val_loss", [1, 2]), stopping])
    kept = weights(net)
    mn.fit(net, make_data(), rule=mn.SGD(), lr=0.1, batch_size=BATCH, epochs=1)
    assert weights(net) != kept
    stopping.on_end(make_trainer(net))
    assert weights(net) == kept


def test_early_stopping_starts_afresh_in_a_second_run():
    stopping = mn.EarlyStopping("val_loss", patience=2)
    run(epochs=2, callbacks=[Script("val_loss", [0.1, 0.2]), stopping])
    log = Log()
    net, history = run(make_net(seed=9), epochs=4, callbacks=[Script("val_loss", [3, 2, 2.5, 2.5]), log, stopping])
    assert len(history) == 4
    assert (stopping.best, stopping.best_epoch) == (2, 2)
    assert weights(net) == log.weights[1], "the weights of another run were put back"


def test_a_column_to_monitor_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"^EarlyStopping: expected .*'loss', 'accuracy'.*; got 'val_loss'"):
        run(callbacks=[mn.EarlyStopping()])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"patience": 0}, ValueError, "patience of at least 1; got 0"),
        ({"patience": 1.5}, TypeError, "patience to be a whole number; got 1.5"),
        ({"min_delta": -1}, ValueError, "min_delta of at least 0; got -1"),
        ({"min_delta": math.nan}, ValueError, "min_delta to be finite; got nan"),
    ],
)
def test_bad_arguments_of_early_stopping_are_refused(arguments, error, text):
    with pytest.raises(error, match=f"^EarlyStopping: expected {text}"):
        mn.EarlyStopping(**arguments)


# A loss that is not finite ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spoil(mn.Layer):
    """The identity, but in the training pass ``at`` (counted from 0) all it gives is ``value``."""

    at: int
    value: float = math.nan
    in_backward: bool = False

    def plan(self, in_shape):
        return mn.Plan(in_shape)

    def forward(self, m, x, y):
        y[...] = x
        if m.training and m.step == self.at and not self.in_backward:
            y[...] = self.value

    def backward(self, m, x, y, dy, dx):
        if dx is not None:
            dx[...] = dy
            if m.step == self.at and self.in_backward:
                dx[...] = self.value


def poison(name):
    def act(trainer):
        trainer.net.named_parameters()[name].flat[-1] = math.nan

    return act


@dataclass(frozen=True)
class Spike(mn.schedules.Schedule):
    """An absurd rate in one step."""

    step: int

    def at(self, t):
        return 1e30 if t == self.step else 0.01


def fail_at(step, place, net=None, **arguments):
    """Run until the loss of ``step`` is not finite; returns the trainer and the states after each epoch."""
    log = Log()
    trainer = make_trainer(net, **arguments | {"callbacks": [*arguments.get("callbacks", ()), log]})
    log.states.append(state(trainer.net, trainer.optimizer))
    with pytest.raises(FloatingPointError, match=f"^Trainer: expected a finite loss; got .*{place}"):
        for _ in trainer:
            pass
    assert trainer.step == step - 1
    return trainer, log


@pytest.mark.parametrize("step", [2, 3, 5, 9])
@pytest.mark.parametrize("name", ["0.W", "1.gamma", "4.b"])
def test_the_parameter_at_fault_is_named_and_the_epochs_start_put_back(name, step):
    trainer, log = fail_at(step, rf"step {step} .*parameter {name}\.", callbacks=[AtStep(step - 1, poison(name))])
    # log.states[k] is the state after k epochs; a value spoilt after an epoch's last step was never good.
    assert state(trainer.net, trainer.optimizer) == log.states[(step - 1) // PER_EPOCH]


@pytest.mark.parametrize("step", [1, 3, 5, 8])
def test_the_layer_at_fault_is_named_and_the_epochs_start_put_back(step):
    net = make_net(extra=[Spoil(step - 1)])
    trainer, log = fail_at(step, rf"step {step} \(epoch {(step - 1) // 3 + 1}\).*output of layer 3 \(Spoil\)", net)
    assert state(trainer.net, trainer.optimizer) == log.states[(step - 1) // PER_EPOCH]
    assert np.isfinite(trainer.net.params).all()


def test_a_failed_run_tells_its_history_and_its_callbacks():
    trainer, log = fail_at(5, "layer 3", make_net(extra=[Spoil(4)]))
    assert trainer.history.steps["step"] == [1, 2, 3, 4]
    assert "loss nan at step 5 (epoch 2)" in trainer.history.stopped
    assert [event for event in log.events if event[1] == "end"] == [("", "end", trainer.history.stopped)]
    with pytest.raises(StopIteration):
        next(trainer)


def test_the_error_says_after_which_step_the_net_now_is():
    with pytest.raises(FloatingPointError, match="as it was after step 3"):
        run(make_net(extra=[Spoil(4)]))


def test_after_a_failure_with_early_stopping_the_error_tells_the_truth_about_the_net():
    """Early stopping puts back the best epoch, for whatever reason the run ends: that was after step 3, not 6."""
    log = Log()
    net = make_net(extra=[Spoil(7)])
    callbacks = [Script("val_loss", [1, 2, 3]), log, mn.EarlyStopping("val_loss")]
    with pytest.raises(FloatingPointError) as caught:
        run(net, callbacks=callbacks)
    assert weights(net) == log.weights[0]
    assert "as it was after step 6" not in str(caught.value)


def test_the_run_can_go_on_by_hand_after_a_failure():
    trainer, _ = fail_at(5, "layer 3", make_net(extra=[Spoil(4)]))
    x, y = make_data()
    assert math.isfinite(trainer.net.evaluate(x, y)["loss"])
    # The noise's step went back too: the pass that failed would fail again, the one before it does not.
    assert math.isfinite(trainer.net.loss_and_grads(x, y))
    assert math.isnan(trainer.net.loss_and_grads(x, y))


@pytest.mark.parametrize("epochs_before", [0, 2])
@pytest.mark.parametrize("batch_size", [BATCH, N], ids=["batches", "one batch an epoch"])
def test_a_run_that_blows_up_leaves_weights_with_a_finite_loss(batch_size, epochs_before):
    """A rate of 1e30 in the last step of an epoch: what that step leaves is finite, and worthless."""
    per_epoch = math.ceil(N / batch_size)
    start = epochs_before * per_epoch + per_epoch - 1
    layers = [mn.Dense(6), mn.ReLU(), mn.Dense(6), mn.ReLU(), mn.Dense(3)]
    net = mn.Net(layers, 4, mn.SoftmaxCrossEntropy(), seed=1)
    log = Log()
    with pytest.raises(FloatingPointError, match=f"step {start + 2} "):
        mn.fit(net, make_data(), rule=mn.SGD(), lr=Spike(start), batch_size=batch_size, epochs=5, callbacks=[log])
    assert math.isfinite(net.loss(*make_data()))
    expected = [weights(mn.Net(layers, 4, seed=1)), *log.weights][epochs_before]
    assert weights(net) == expected


def test_a_last_step_that_makes_a_weight_infinite_is_an_error():
    """No loss follows the last step, so nothing but a look at the weights can tell."""

    @dataclass(frozen=True)
    class Explode(mn.Rule):
        def apply(self, params, grads, state, *, lr, t, decay):
            params[0] = math.inf if t == 9 else params[0]

    net = make_net()
    with pytest.raises(FloatingPointError, match=r"^Trainer: expected .*parameter 0\.W"):
        run(net, rule=Explode())
    assert np.isfinite(net.params).all()


@pytest.mark.parametrize(
    ("rule", "clip_norm"), [(mn.Adam(), 1.0), (mn.Adam(), None), (mn.SGD(), None), (mn.Momentum(), None)]
)
def test_a_gradient_that_is_not_finite_ends_the_run_at_its_step(rule, clip_norm):
    """The loss of that step is finite; clipping or the rule notices. The run ends as it does for a loss."""
    log = Log()
    net = make_net(extra=[Spoil(4, in_backward=True)])
    trainer = make_trainer(net, rule=rule, clip_norm=clip_norm, callbacks=[log])
    with pytest.raises(FloatingPointError, match="expected a finite gradient"):
        for _ in trainer:
            pass
    assert np.isfinite(net.params).all()
    assert state(net, trainer.optimizer) == log.states[0]
    assert log.events[-1][1] == "end"
    assert trainer.history.stopped not in (None, "finished")


# Ctrl-C -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 3, 7])
def test_ctrl_c_returns_the_history_so_far(step):
    log = Log()
    interrupt = AtStep(step, lambda trainer: signal.raise_signal(signal.SIGINT))
    net, history = run(callbacks=[log, interrupt])
    whole = run()[1]
    assert history.stopped == "interrupted"
    assert history.steps.rows == whole.steps.rows[:step]
    assert history.epochs.rows == whole.epochs.rows[: step // PER_EPOCH]  # the step at hand is finished
    assert log.events[-1] == ("", "end", "interrupted")
    assert [event[1] for event in log.events].count("end") == 1
    assert net.step == step


def test_ctrl_c_before_the_first_step_returns_an_empty_history(monkeypatch):
    net = make_net()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(net, "loss_and_grads", interrupted)
    before = state(net)
    _, history = run(net)
    assert (len(history), len(history.steps), history.stopped) == (0, 0, "interrupted")
    assert state(net) == before


def test_other_errors_of_a_callback_come_through():
    def fail(trainer):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        run(callbacks=[AtStep(2, fail)])


def test_a_run_that_diverges_keeps_its_history():
    net = make_net()
    with pytest.raises(mn.DivergenceError) as caught:
        mn.fit(net, make_data(), rule=mn.SGD(), lr=1e30, batch_size=8, epochs=50, progress=False)
    assert len(caught.value.history.steps) >= 1
    assert caught.value.history.stopped in str(caught.value)


def test_validation_makes_no_array_in_mid_run():
    net = make_net()
    trainer = mn.Trainer(net, make_data(), rule=mn.SGD(), lr=0.01, batch_size=8, epochs=2, validation=make_data())
    memory = net._capacity
    for _ in trainer:
        assert net._capacity == memory


# Schedules that leave their range -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Dip(mn.schedules.Schedule):
    """0.5, but another value from ``start`` to before ``stop``, which may be said or not."""

    value: float
    start: int
    stop: int
    said: bool = True

    def at(self, t):
        return self.value if self.start <= t < self.stop else 0.5

    def marks(self, until):
        return [(self.start, "boundary")] if self.said else []


LEAVING = {  # in runs of 9 steps
    "at the end": (Dip(1.0, 8, 99, said=False), 8),
    "at an event": (Dip(1.0, 3, 4), 3),
    "beside an event": (Dip(1.0, 4, 5, said=False) + 0.0 * Dip(0.5, 3, 4), 4),
    "after the end of a line": (mn.schedules.Linear(0.5, 1.2, 5), 4),
    "at a peak": (mn.schedules.Triangular(0.5, 1.0, 3), 3),
}


@pytest.mark.parametrize(("schedule", "step"), LEAVING.values(), ids=LEAVING)
def test_a_schedule_that_leaves_its_range_is_refused_before_the_run(schedule, step):
    value = schedule(step)
    said = f"Momentum: expected 0 <= momentum < 1; got {value!r} at step {step} of momentum={schedule!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        make_trainer(rule=mn.Momentum(schedule))


def negative(cycle):
    return -3.0 if cycle == 2 else 1.0


def test_a_rate_that_leaves_its_range_is_refused_before_the_run():
    schedule = Dip(-1.0, 3, 4)
    said = f"Trainer: expected lr of at least 0; got -1.0 at step 3 of {schedule!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        make_trainer(lr=schedule)
    for bad, came in ((negative, "at least 0; got -3.0"), (lambda cycle: math.nan, "finite; got nan")):
        schedule = mn.schedules.Cyclical(0.1, 0.2, 2, bad)
        with pytest.raises(ValueError, match=rf"^Cyclical: expected scale\(\d\).*{came} at step \d of Cyclical"):
            make_trainer(lr=schedule)


def test_looking_ahead_changes_nothing_and_does_not_take_long():
    momentum = mn.schedules.Triangular(0.5, 0.9, 1)
    trainer = make_trainer(rule=mn.Momentum(momentum), epochs=1_000_000)
    next(trainer)
    assert trainer.history.steps["momentum"] == [0.5]
