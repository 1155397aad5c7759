"""What a run does with its data: weights of samples, training data that are evaluated, scales, data given again."""

import numpy as np
import pytest

import minnet as mn
from minnet import diagnostics
from minnet.diagnostics import verdicts
from minnet.training.history import History

N, BATCH = 22, 8  # batches of 8, 8 and 6


def make_data(n=N, dtype=np.float32):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 4)).astype(dtype)
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5)


def make_net(extra=(), dtype=np.float32):
    return mn.Net([mn.Dense(6), mn.ReLU(), *extra, mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), l2=1e-3, dtype=dtype)


def make_trainer(net=None, data=None, **arguments):
    net = make_net() if net is None else net
    given = {"rule": mn.Momentum(), "lr": 0.1, "batch_size": BATCH, "seed": 2}
    if "steps" not in arguments:
        given["epochs"] = 3
    return mn.Trainer(net, make_data(dtype=net.dtype) if data is None else data, **given | arguments)


def weights_of(n=N):
    return np.random.default_rng(1).integers(1, 4, n) / 2


def images():
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (N, 4, 4, 1)).astype(np.uint8), rng.integers(0, 2, N)


def image_net():
    return mn.Net([mn.Flatten(), mn.Dense(2)], (4, 4, 1), mn.SoftmaxCrossEntropy())


class Evaluates(mn.Callback):
    """What ``net.evaluate`` gives after each epoch for some data."""

    bystander, columns = True, ()

    def __init__(self, *data, **options):
        self.data, self.options, self.found = data, options, []

    def on_epoch(self, trainer, row):
        self.found.append(trainer.net.evaluate(*self.data, **self.options))


def column(history, part):
    names = "loss", "data_loss", "accuracy"
    return [{name: row[f"{part}_{name}"] for name in names} for row in history]


# Training data that are evaluated ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["floats", "floats, augmented", "bytes", "bytes, standardised"])
@pytest.mark.parametrize("how", [True, N])
def test_training_data_are_evaluated_as_validation_data_are(kind, how):
    if kind == "floats":
        net, data, options = make_net([mn.Dropout(0.5)]), make_data(), {}
        seen = data[0]
    else:
        net, data, options = image_net(), images(), {}
        if kind == "floats, augmented":
            data = data[0].astype(np.float32) / 255, data[1]
            options = {"augment": mn.data.Augment(flip=True, crop=1)}
            seen = data[0]
        elif kind == "bytes":
            seen = data[0]
        else:
            options = {"standardize": mn.data.Standardizer.fit(data[0]), "augment": mn.data.Augment(flip=True)}
            seen = options["standardize"](data[0])
    beside = Evaluates(seen, data[1])
    trainer = make_trainer(net, data, evaluate_training=how, validation=data, callbacks=[beside], **options)
    history = trainer.run(progress=False)
    assert history.epochs.columns() == trainer.columns
    for expected, row in zip(beside.found, column(history, "train"), strict=True):
        assert row == pytest.approx(expected, rel=1e-6)
    assert [row["accuracy"] for row in column(history, "train")] == history["val_accuracy"]


def test_some_training_samples_are_the_same_ones_throughout_the_run():
    x, y = make_data()
    trainer = make_trainer(lr=0.0, evaluate_training=5, epochs=3)
    losses = trainer.run(progress=False)["train_data_loss"]
    assert len(set(losses)) == 1
    each = [trainer.net.evaluate(x[i : i + 1], y[i : i + 1])["data_loss"] for i in range(N)]
    one = make_trainer(trainer.net, lr=0.0, evaluate_training=1, epochs=1).run(progress=False)["train_data_loss"][0]
    assert min(abs(loss - one) for loss in each) < 1e-6
    # Another seed has others.
    some = {
        make_trainer(lr=0.0, evaluate_training=5, epochs=1, seed=s).run(progress=False)["train_loss"][0]
        for s in range(4)
    }
    assert len(some) == 4


def test_evaluating_changes_no_bit_of_a_run():
    def run(**options):
        trainer = make_trainer(make_net([mn.BatchNorm(), mn.Dropout(0.3)]), **options)
        trainer.run(progress=False)
        return trainer.net.params.tobytes(), trainer.net.buffers.tobytes(), trainer.history.steps.rows

    assert run() == run(evaluate_training=True) == run(evaluate_training=7)


def test_without_it_there_are_no_such_columns():
    for how in (False, 0):
        trainer = make_trainer(evaluate_training=how)
        assert not [name for name in trainer.run(progress=False).epochs.columns() if name.startswith("train_")]
        assert trainer.columns == trainer.history.epochs.columns()


@pytest.mark.parametrize("how", [-1, N + 1, 0.5, "all", None])
def test_what_is_to_be_evaluated_is_checked(how):
    with pytest.raises((TypeError, ValueError), match="Trainer: expected evaluate_training"):
        make_trainer(evaluate_training=how)


@pytest.mark.parametrize(
    ("name", "mode"), [("train_loss", "min"), ("train_data_loss", "min"), ("train_accuracy", "max")]
)
def test_the_columns_tell_which_figures_are_better(name, mode):
    keeper = mn.KeepBest(name)
    assert keeper.mode == mode
    make_trainer(evaluate_training=True, callbacks=[keeper]).run(progress=False)
    assert keeper.best is not None
    with pytest.raises(ValueError, match=f"got '{name}'"):
        make_trainer(callbacks=[mn.KeepBest(name)]).run(progress=False)


def overfitted(**evaluated):
    """A net with dropout: its running mean hides that it overfits."""
    history = History()
    for i in range(1, 11):
        history.steps.rows.append({"step": i, "epoch": i, "loss": 2 / i, "lr": 0.1})
        row = {
            "epoch": i,
            "step": i,
            "loss": 2 / i,
            "accuracy": 0.55,
            **evaluated,
            "val_loss": 0.5,
            "val_accuracy": 0.8,
        }
        history.epochs.rows.append(row)
    return history


def test_verdicts_take_the_evaluated_accuracy_where_it_is_there():
    def gap(history):
        (found,) = [v for v in verdicts(history) if v.text.startswith("Accuracy is")]
        return found.level, found.text.split(", in")[0].split(" in training")[0]

    assert gap(overfitted()) == ("good", "Accuracy is 55.0%")
    assert gap(overfitted(train_loss=0.1, train_accuracy=0.99)) == ("watch", "Accuracy is 99.0%")


def test_figures_take_the_evaluated_figures_where_they_are_there():
    from minnet.plots import style, watching

    for evaluated, label, gap in (
        ({}, "training, epoch mean", "-25.0"),
        ({"train_loss": 0.125, "train_accuracy": 0.99}, "training", "19.0"),
    ):
        history = overfitted(**evaluated)
        _, (loss, accuracy) = style.figure(2)
        watching.loss_panel(loss, history)
        watching.accuracy_panel(accuracy, history)
        lines = {line.get_label(): line.get_ydata() for line in loss.lines}
        assert lines[label][-1] == evaluated.get("train_loss", 0.2)
        texts = [text.get_text() for text in accuracy.get_legend().get_texts()]
        assert texts[0] == label
        assert f"gap, {gap} points at the end" in texts


# Weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [mn.SGD(), mn.LBFGS()], ids=["SGD", "L-BFGS"])
def test_a_sample_of_weight_2_counts_as_two_samples(rule):
    (x, y), double = make_data(dtype=np.float64), np.arange(N) % 3 == 0
    ours = make_trainer(make_net(dtype=np.float64), (x, y), rule=rule, lr=0.5, batch_size=N, sample_weight=1.0 + double)
    twice = np.concatenate([x, x[double]]), np.concatenate([y, y[double]])
    theirs = make_trainer(make_net(dtype=np.float64), twice, rule=rule, lr=0.5, batch_size=len(twice[0]))
    for trainer in (ours, theirs):
        trainer.run(progress=False)
    np.testing.assert_allclose(ours.net.params, theirs.net.params, rtol=1e-9, atol=1e-12)
    for name in ("loss", "accuracy"):
        assert ours.history[name] == pytest.approx(theirs.history[name], rel=1e-9)


def test_batches_take_the_weights_of_their_own_samples():
    (x, y), weights = make_data(), weights_of()
    ours = make_trainer(sample_weight=weights)
    ours.run(progress=False)
    # A loop by hand, in which each y carries the place of its sample.
    net = make_net()
    optimizer, batches = mn.Optimizer(net, mn.Momentum()), mn.data.Batches((x, np.arange(N)), BATCH, seed=2)
    for _ in range(9):
        xb, places = batches.next()
        net.loss_and_grads(xb, y[places], sample_weight=weights[places])
        optimizer.step(0.1)
    assert net.params.tobytes() == ours.net.params.tobytes()


def test_figures_of_epochs_are_weighted_means():
    data, weights = make_data(), weights_of()
    other = weights[::-1].copy()
    trainer = make_trainer(lr=0.0, epochs=1, sample_weight=weights, evaluate_training=True, validation=(*data, other))
    (row,) = trainer.run(progress=False)
    by_weights, by_others = (trainer.net.evaluate(*data, sample_weight=w) for w in (weights, other))
    assert row["loss"] == pytest.approx(by_weights["loss"], rel=1e-6)
    assert row["accuracy"] == pytest.approx(by_weights["accuracy"], rel=1e-12)
    for name in by_weights:
        assert row[f"train_{name}"] == by_weights[name]
        assert row[f"val_{name}"] == by_others[name]
    assert row["val_accuracy"] != row["train_accuracy"]


def test_equal_weights_are_none():
    ours, theirs = make_trainer(sample_weight=np.full(N, 3)), make_trainer()
    for trainer in (ours, theirs):
        trainer.run(progress=False)
    np.testing.assert_allclose(ours.net.params, theirs.net.params, rtol=1e-5, atol=1e-7)
    assert ours.history["accuracy"] == theirs.history["accuracy"]


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones(N - 1), "22 numbers, one a sample; got float64, shape"),
        (np.ones((N, 1)), "22 numbers, one a sample"),
        (2.0, "22 numbers, one a sample"),
        (np.full(N, "a"), "22 numbers, one a sample"),
        (np.full(N, np.nan), "finite and of at least 0"),
        (np.r_[np.ones(N - 1), np.inf], "finite and of at least 0"),
        (np.r_[np.ones(N - 1), -1], "finite and of at least 0"),
        (np.zeros(N), "expected samples that count, as the mean loss of none is undefined; got 22, all of weight 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, words):
    with pytest.raises(ValueError, match=words):
        make_trainer(sample_weight=weights)
    with pytest.raises(ValueError, match=f"^Trainer validation.*{words}"):
        make_trainer(validation=(*make_data(), weights))


# Samples that do not count ------------------------------------------------------------------------------------------

IDLE = {
    "weights": (None, "of weight 0:"),
    "ignored": ({"ignored": -1}, "of weight 0, or with the ignored label -1:"),
    "class": ({"class_weights": (1, 1, 0)}, "of weight 0, or of a class of weight 0:"),
    "both": ({"ignored": -1, "class_weights": (1, 1, 0)}, "with the ignored label -1, or of a class of weight 0:"),
}


def with_idle(how, idle, **arguments):
    """A trainer for data of which ``idle`` samples add nothing to the loss, for one reason or another."""
    (x, y), weights = make_data(), None
    y = np.minimum(y, 1)
    places = np.arange(idle)
    if how == "weights":
        weights = np.where(np.arange(N) < idle, 0.0, 1.0)
    elif how == "both":
        y[places[::2]], y[places[1::2]] = -1, 2
    else:
        y[places] = -1 if how == "ignored" else 2
    net = mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(**IDLE[how][0] or {}))
    return make_trainer(net, (x, y), sample_weight=weights, **arguments)


def first_idle_step(idle, steps, **arguments):
    """The first step of a run whose batch consists of the first ``idle`` samples only, found by walking through it."""
    batches = make_trainer(steps=steps, **arguments).batches
    for step in range(steps):
        if (batches.coming < idle).all():
            return step + 1
        batches.next()
    return None


@pytest.mark.parametrize("how", IDLE)
def test_a_run_is_refused_just_if_a_batch_of_it_counts_nothing(how):
    words, refused = IDLE[how][1], []
    for idle in (5, 12, 18):
        for seed in range(6):
            options = {"steps": 7, "batch_size": 4, "seed": seed}
            step = first_idle_step(idle, **options)
            refused.append(step)
            if step is None:
                assert np.isfinite(with_idle(how, idle, **options).run(progress=False)["loss"]).all()
                continue
            expected = (
                rf"^Trainer: expected a sample that counts in every batch, .*; got none in the batch of step {step} "
            )
            with pytest.raises(ValueError, match=rf"{expected}\(epoch {-(-step // 6)}\). {idle} of 22 .*{words} leave"):
                with_idle(how, idle, **options)
    assert None in refused
    assert {step for step in refused if step} > {1}


@pytest.mark.parametrize("how", IDLE)
def test_what_is_evaluated_counts_something(how):
    trainer = with_idle(how, 5)
    x, y = trainer.batches.data
    idle = x[:5], y[:5]
    held_out = (*idle, np.zeros(5)) if how == "weights" else idle
    words = r"expected samples that count, as the mean loss of none is undefined; got 5, all of weight 0"
    with pytest.raises(ValueError, match="^Trainer validation: .*" + words):
        make_trainer(trainer.net, (x, y), validation=held_out)

    def evaluate_one():
        for seed in range(9):  # one of which evaluates a sample that does not count
            with_idle(how, 10, seed=seed, batch_size=N, evaluate_training=1)

    with pytest.raises(ValueError, match=r"^Trainer evaluate_training: SoftmaxCrossEntropy\("):
        evaluate_one()


@pytest.mark.parametrize("monitor", ["NoiseScale", "Sharpness"])
def test_monitors_leave_out_what_does_not_count(monitor):
    make = {
        "NoiseScale": lambda: diagnostics.NoiseScale(1, 5, at=1),
        "Sharpness": lambda: diagnostics.Sharpness(samples=2, at=1, iterations=2),
    }[monitor]
    watcher = make()
    with_idle("ignored", 14, batch_size=N, epochs=5, callbacks=[watcher]).run(progress=False)
    assert len(watcher) == 5
    idle = make_data()[0][:6], np.full(6, -1)
    watcher = make()
    watcher.data = idle
    trainer = with_idle("ignored", 5, callbacks=[watcher])
    with pytest.raises(ValueError, match="expected samples that count"):
        next(trainer)
    assert trainer.net.step == 0


def test_the_order_of_an_epoch_is_the_one_that_it_takes():
    for options in ({}, {"shuffle": False}, {"drop_last": True}):
        batches = mn.data.Batches(make_data(), 4, seed=3, **options)
        batches.next()
        orders = [batches.order_of(epoch) for epoch in range(3)]
        assert (batches.epoch_index, batches.position) == (0, 4)
        for epoch, order in enumerate(orders):
            batches.seek(epoch)
            assert len(order) == batches.per_epoch
            for start in range(0, len(order), 4):
                np.testing.assert_array_equal(batches.coming, order[start : start + 4])
                batches.next()


# Scales -----------------------------------------------------------------------------------------------------------


def test_data_of_two_scales_are_refused():
    x, y = images()
    for dtype in (np.float32, np.float64, np.float16):
        for training, validation, words in (
            (x, x.astype(dtype), "expected validation data from 0 to 1 beside training data of uint8"),
            (x.astype(dtype), x, "expected training data from 0 to 1 beside validation data of uint8"),
            (x, x.astype(dtype) / 128 - 1, "expected validation data from 0 to 1.* got float.* from -1 to 0.99"),
        ):
            with pytest.raises(ValueError, match=f"^Trainer: {words}"):
                make_trainer(image_net(), (training, y), validation=(validation, y))
    for training, validation in ((x, x / 255), (x / 255, x), (x, x), (x.astype(np.float32), x.astype(np.float32))):
        make_trainer(image_net(), (training, y), validation=(validation, y))


# Data that are given again ----------------------------------------------------------------------------------------


def saved(path, steps=4, net=None, data=None, **options):
    trainer = make_trainer(net, data, **options)
    for record in trainer:
        if record.step == steps:
            break
    trainer.save(path)
    return trainer


def resumed(path, net=None, data=None, **options):
    return mn.Trainer.resume(path, net or make_net(), data or make_data(), **{"rule": mn.Momentum()} | options)


def test_a_run_with_weights_goes_on_with_the_same_bits(tmp_path):
    data, weights = make_data(), weights_of()
    options = {"sample_weight": weights, "validation": (*data, weights[::-1])}
    whole = saved(tmp_path / "4.ckpt", evaluate_training=7, **options)
    whole.run(progress=False)
    again = resumed(tmp_path / "4.ckpt", **options)
    assert again.evaluate_training == 7
    again.run(progress=False)
    assert again.net.params.tobytes() == whole.net.params.tobytes()
    assert again.history.epochs.rows == whole.history.epochs.rows
    for other in (
        options | {"sample_weight": None},
        options | {"sample_weight": weights[::-1]},
        options | {"validation": data},
        options | {"validation": (*data, weights)},
    ):
        with pytest.raises(mn.CheckpointError, match="sample_weight"):
            resumed(tmp_path / "4.ckpt", **other)
    saved(tmp_path / "none.ckpt")
    with pytest.raises(mn.CheckpointError, match="sample_weight"):
        resumed(tmp_path / "none.ckpt", sample_weight=weights)


def test_a_file_that_says_nothing_of_evaluating_is_of_a_run_that_did_not(tmp_path):
    from minnet.storage import archive

    saved(tmp_path / "a.ckpt")
    document, arrays = archive.read(tmp_path / "a.ckpt")
    del document["arguments"]["evaluate_training"]
    archive.write(tmp_path / "b.ckpt", document, arrays)
    assert resumed(tmp_path / "b.ckpt").evaluate_training == 0
    for wrong in (-1, 0.5, True, "all", None, []):
        document, arrays = archive.read(tmp_path / "a.ckpt")
        document["arguments"]["evaluate_training"] = wrong
        archive.write(tmp_path / "b.ckpt", document, arrays)
        with pytest.raises(mn.CheckpointError, match="expected arguments evaluate_training"):
            resumed(tmp_path / "b.ckpt")


def last_bits(x):
    return np.nextafter(x, np.array(np.inf, x.dtype))


def test_data_that_differ_by_rounding_may_be_trusted(tmp_path):
    (x, y), weights, path = make_data(), weights_of(), tmp_path / "4.ckpt"
    saved(path, sample_weight=weights, validation=(x, y))
    fits = {"sample_weight": weights, "validation": (x, y)}
    rounded = {
        "x": ((last_bits(x), y), fits),
        "validation x": ((x, y), fits | {"validation": (last_bits(x), y)}),
        "weights": ((x, y), fits | {"sample_weight": last_bits(weights)}),
        "all": ((last_bits(x), y), {"sample_weight": last_bits(weights), "validation": (last_bits(x), y)}),
    }
    for data, options in rounded.values():
        with pytest.raises(mn.CheckpointError, match=r"crc32.*differ by rounding only, resume with trust_data=True"):
            resumed(path, data=data, **options)
        trainer = resumed(path, data=data, **options, trust_data=True)
        trainer.save(tmp_path / "next.ckpt")  # which is of these data
        assert trainer.run(progress=False).stopped == "finished"
        resumed(tmp_path / "next.ckpt", data=data, **options)
    other = y.copy()
    other[0] = (y[0] + 1) % 3
    for data, options in (
        ((x, other), fits),
        ((x[:-1], y[:-1]), fits | {"sample_weight": weights[:-1]}),
        ((x, y), fits | {"validation": (x, other)}),
        ((x, y), fits | {"validation": None}),
    ):
        for trust in (False, True):
            with pytest.raises(mn.CheckpointError) as caught:
                resumed(path, data=data, **options, trust_data=trust)
            assert "trust_data" not in str(caught.value)


def test_bytes_of_images_cannot_differ_by_rounding(tmp_path):
    x, y = images()
    saved(tmp_path / "4.ckpt", net=image_net(), data=(x, y))
    with pytest.raises(mn.CheckpointError, match="crc32"):
        resumed(tmp_path / "4.ckpt", image_net(), (x ^ 1, y), trust_data=True)
