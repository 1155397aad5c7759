"""Recorded steps have the bits of steps that Python takes: for every layer, loss, rule, combinator and option."""

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
from public_rules import public_rules
from stress_resume import CASES, result

import minnet as mn
from minnet import schedules
from minnet.data import Augment, Standardizer
from minnet.training import replaying
from minnet.training.loop import Loop
from minnet.training.recorded import programs
from minnet.training.recorded import steps as recorded_steps


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """No steps in Python before the first recorded one."""
    monkeypatch.setattr(recorded_steps, "PATIENCE", 0)


IMAGE, ROW = (6, 6, 4), (9,)


def data(shape, outputs=3, n=37, seed=0, kind="labels"):
    """Samples of a shape with targets of one kind; 37 samples in batches of 8 leave a short last batch."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, *shape)).astype(np.float32)
    targets = {
        "labels": lambda: rng.integers(0, outputs, n),
        "numbers": lambda: rng.standard_normal((n, outputs)).astype(np.float32),
        "yes or no": lambda: rng.integers(0, 2, (n, outputs)),
        "probabilities": lambda: rng.dirichlet(np.ones(outputs), n).astype(np.float32),
        "bytes": lambda: rng.integers(0, outputs, n),
    }
    if kind == "bytes":
        x = rng.integers(0, 256, x.shape).astype(np.uint8)
    return x, targets[kind]()


def run(layers, pairs, *, python=False, loss=None, net_options=None, lr=0.05, rule=None, **given):
    """Return the trainer of a run over 3 epochs in batches of 8."""
    net = mn.Net(layers, pairs[0].shape[1:], loss or mn.SoftmaxCrossEntropy(), seed=2, **(net_options or {}))
    given = {"batch_size": 8, "epochs": 3} | given
    trainer = mn.Trainer(net, pairs, rule=rule or mn.Momentum(), lr=lr, **given)
    trainer.run(progress=False) if not python else run_in_python(trainer)
    return trainer


def run_in_python(trainer):
    trainer.recorded.reason = "Python is to take the steps"
    trainer.run(progress=False)


@pytest.fixture
def taken(monkeypatch):
    """The steps that Python takes."""
    steps, take = [], Loop._take_step

    def counted(trainer):
        steps.append(trainer.step + 1)
        return take(trainer)

    monkeypatch.setattr(Loop, "_take_step", counted)
    return steps


def check(taken, make):
    """Compare a run of recorded steps with one of steps that Python takes; ``make(python)`` runs it."""
    recorded = make(False)
    assert recorded.recorded.reason is None
    assert taken == []
    expected = make(True)
    assert len(taken) == expected.step == recorded.step
    assert result(recorded) == result(expected)
    assert np.array_equal(recorded.net.grads, expected.net.grads, equal_nan=True)
    assert recorded.net.objective == expected.net.objective
    assert np.array_equal(recorded.optimizer.grad_norm, expected.optimizer.grad_norm, equal_nan=True)


# Layers --------------------------------------------------------------------------------------------------------

ELEMENTWISE = [
    *(mn.ReLU(), mn.LeakyReLU(), mn.ELU(), mn.SELU(), mn.GELU(), mn.GELUTanh(), mn.SiLU(), mn.Sigmoid(), mn.Tanh()),
    *(mn.Softplus(), mn.PReLU(), mn.Maxout(2)),
]
OTHERS = [
    *(mn.Conv2D(5, 3, padding=1), mn.Conv2D(8, 3, stride=2, groups=2), mn.ConvTranspose2D(5, 3, stride=2)),
    *(mn.Dropout(0.3), mn.SpatialDropout(0.3), mn.BatchNorm(), mn.LayerNorm(), mn.GroupNorm(2), mn.InstanceNorm()),
    *(mn.MaxPool2D(2), mn.AvgPool2D(2), mn.Upsample(2), mn.ZeroPad(1), mn.Reshape((36, 4)), mn.Slice(1, 4)),
    mn.Chain([mn.PatchEmbedding(4, 3), mn.Reshape((2, 2, 4))]),
    *(mn.Residual(mn.Conv2D(4, 3, padding=1)), mn.Chain([mn.ReLU(), mn.Dropout(0.5)]), mn.BatchNorm(momentum=1)),
]


def in_images(layer):
    """A net in which a layer's gradients go both to its parameters and to a layer before it."""
    before = [mn.Conv2D(4, 3, padding=1)]
    after = [mn.GlobalAvgPool2D()] if not isinstance(layer, mn.Reshape) else [mn.Flatten()]
    return [*before, layer, *after, mn.Dense(3)]


@pytest.mark.parametrize("layer", [*ELEMENTWISE, *OTHERS], ids=str)
def test_every_layer(taken, layer):
    check(taken, lambda python: run(in_images(layer), data(IMAGE), python=python, net_options={"l2": 1e-3}))


ON_SEQUENCES = [
    *(mn.Dense(4), mn.LayerNorm(), mn.Dropout(0.3), mn.RNN(4), mn.RNN(4, relu=True), mn.LSTM(4), mn.GRU(4)),
    *(mn.ChoGRU(4), mn.InitialState(mn.GRU(4), state=[mn.Slice(1, 2), mn.Flatten(), mn.Dense(4)])),
    *(mn.Bidirectional(mn.LSTM(3)), mn.PositionalEncoding(), mn.PositionalEncoding(learned=True)),
    *(mn.SelfAttention(2, causal=True, dropout=0.3), mn.SelfAttention(2, padding=0)),
    mn.CrossAttention(2, memory=[mn.Slice(1, 5), mn.GRU(4)], dropout=0.3, padding=4, first=1),
    *(mn.RNN(4, padding=0), mn.Bidirectional(mn.LSTM(3, padding=0)), mn.GRU(4, padding=0), mn.ChoGRU(4, padding=0)),
]


@pytest.mark.parametrize("layer", ON_SEQUENCES, ids=str)
@pytest.mark.parametrize("summed", [False, True], ids=["mean", "summed"])
def test_every_layer_on_words_with_targets_at_positions(taken, layer, summed):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 7, (37, 5)), rng.integers(0, 4, (37, 5))
    layers = [mn.Embedding(7, 6, padding=0), layer, mn.Tanh(), mn.Dense(3)]
    loss = mn.SoftmaxCrossEntropy(ignored=3, summed=summed)
    check(taken, lambda python: run(layers, (x, y), python=python, loss=loss))


def test_tied_embeddings(taken):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 7, (37, 5)), rng.integers(0, 7, (37, 5))
    layers = [mn.TiedEmbedding(mn.Embedding(7, 6), [mn.LSTM(6), mn.LayerNorm()])]
    check(taken, lambda python: run(layers, (x, y), python=python, loss=mn.SoftmaxCrossEntropy()))


def test_no_layer_is_left_out():
    kinds = {
        value
        for value in (*vars(mn).values(), *vars(mn.layers).values())
        if inspect.isclass(value) and issubclass(value, mn.Layer) and not inspect.isabstract(value)
    }
    own = {kind for kind in kinds if kind.forward is not mn.Layer.forward and not kind.__name__.startswith("_")}
    shown = {type(layer) for layer in (*ELEMENTWISE, *OTHERS, *ON_SEQUENCES)}
    shown |= {mn.Dense, mn.Embedding, mn.TiedEmbedding, mn.PatchEmbedding, mn.Flatten, mn.GlobalAvgPool2D}
    assert {kind.__name__ for kind in own - shown} <= {"Elementwise", "ConvolutionLayer", "Recurrent"}


def test_a_norm_that_is_frozen(taken):
    still = mn.Group(lambda tensor: tensor.name.startswith("1."), frozen=True)
    layers = [mn.Dense(6), mn.BatchNorm(), mn.ReLU(), mn.Dense(3)]
    check(taken, lambda python: run(layers, data(ROW), python=python, groups=[still]))


@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_threads(taken, threads):
    """A net whose passes run in parallel."""
    layers = [mn.Conv2D(32, 3, padding=1), mn.BatchNorm(), mn.ReLU(), mn.MaxPool2D(2), mn.Flatten(), mn.Dense(3)]
    before = mn.get_num_threads()
    mn.set_num_threads(min(threads, before))
    try:
        pairs = data((16, 16, 3), n=96)
        check(taken, lambda python: run(layers, pairs, python=python, batch_size=32, rule=mn.Adam(), epochs=2))
    finally:
        mn.set_num_threads(before)


# Losses --------------------------------------------------------------------------------------------------------

LOSSES = {
    "softmax": (mn.SoftmaxCrossEntropy(), "labels"),
    "softmax, smoothed": (mn.SoftmaxCrossEntropy(label_smoothing=0.1), "labels"),
    "softmax, weighted": (mn.SoftmaxCrossEntropy(class_weights=[0.2, 1.0, 3.0]), "labels"),
    "softmax, ignored": (mn.SoftmaxCrossEntropy(ignored=2), "labels"),
    "softmax, probabilities": (mn.SoftmaxCrossEntropy(), "probabilities"),
    "hinge": (mn.MulticlassHinge(), "labels"),
    "squared hinge": (mn.SquaredHinge(), "labels"),
    "logistic": (mn.Logistic(), "yes or no"),
    "squared error": (mn.SquaredError(), "numbers"),
    "absolute error": (mn.AbsoluteError(), "numbers"),
    "Huber": (mn.Huber(), "numbers"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(taken, name):
    loss, kind = LOSSES[name]
    layers, pairs = [mn.Dense(5), mn.Tanh(), mn.Dense(3)], data(ROW, kind=kind)
    options = {"l2": 1e-2, "l1": 1e-3, "max_norm": 1.0}
    check(taken, lambda python: run(layers, pairs, python=python, loss=loss, net_options=options))


def test_no_loss_is_left_out():
    kinds = {v for v in vars(mn).values() if inspect.isclass(v) and issubclass(v, mn.Loss) and v is not mn.Loss}
    assert kinds == {type(loss) for loss, _ in LOSSES.values()}


# Rules, schedules, groups, callbacks -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CASES if name != "LBFGS"])
def test_every_rule_and_callback(taken, name):
    """Callbacks may look at every step, and functions of the user's own may be called there."""

    def make(python):
        trainer = CASES[name].start()
        if python:
            run_in_python(trainer)
        else:
            trainer.run(progress=False)
        return trainer

    recorded = make(False)
    assert recorded.recorded.reason is None
    if name not in ("mlp", "monitors", "dashboard"):  # in which callbacks look within steps
        assert taken == []
    assert result(recorded) == result(make(True))


def test_no_rule_is_left_out():
    shown = {type(rule).__name__ for case in CASES.values() for rule in [case.start().optimizer.rule]}
    assert public_rules() - shown <= {"LBFGS"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_augmented_and_standardised_bytes(taken, dtype):
    pairs = data((6, 6, 3), kind="bytes")
    given = {"augment": Augment(flip=True, crop=2), "standardize": Standardizer.fit(pairs[0])}
    layers = [mn.Flatten(), mn.Dense(3)]
    check(taken, lambda python: run(layers, pairs, python=python, net_options={"dtype": dtype}, **given))


@pytest.mark.parametrize(
    "given", [{"drop_last": True}, {"batch_size": 37}, {"batch_size": 1}, {"epochs": None, "steps": 7}]
)
def test_batches_of_every_form(taken, given):
    check(taken, lambda python: run([mn.Dense(3)], data(ROW), python=python, rule=mn.Adam(), **given))


MANY = {"steps": 400, "epochs": None}  # most of them in goes of several epochs


@pytest.mark.parametrize("batch_size", [8, 37], ids=["a short last batch", "full batches"])
@pytest.mark.parametrize("rule", [mn.Momentum(), mn.Adam(), mn.NAdam()], ids=str)
def test_many_epochs_at_one_go(taken, batch_size, rule):
    layers = [mn.Dense(5), mn.BatchNorm(), mn.ReLU(), mn.Dropout(0.1), mn.Dense(3)]
    check(taken, lambda python: run(layers, data(ROW), python=python, batch_size=batch_size, rule=rule, **MANY))


@pytest.mark.parametrize("batch_size", [8, 37], ids=["a short last batch", "full batches"])
@pytest.mark.parametrize("rule", [mn.SGD(), mn.NAdam()], ids=str)
def test_a_run_that_diverges_among_many_epochs(batch_size, rule):
    """The loss grows by a factor at each step, until it overflows; all is undone up to the right epoch."""

    def make(python):
        net = mn.Net([mn.Dense(3)], ROW, mn.SquaredError(), seed=3)
        pairs = data(ROW, kind="numbers")
        lr = 0.5 if rule == mn.SGD() else schedules.Piecewise([300], [0.01, 1e25])
        trainer = mn.Trainer(net, pairs, rule=rule, lr=lr, batch_size=batch_size, steps=600)
        with pytest.raises(mn.DivergenceError) as caught:
            trainer.run(progress=False) if not python else run_in_python(trainer)
        return str(caught.value), trainer.step, result(trainer), trainer.net.objective.total

    recorded, python = make(False), make(True)
    assert recorded == python
    assert recorded[1] > 6 * 37 // batch_size  # several epochs came before it


@pytest.mark.parametrize(
    ("loss", "kind"),
    [(mn.SoftmaxCrossEntropy(), "labels"), (mn.SoftmaxCrossEntropy(ignored=2), "labels"), (mn.Huber(), "numbers")],
    ids=str,
)
def test_weights_of_samples(taken, loss, kind):
    """Some are 0. Sums of the others are no whole numbers, so another order of additions would show."""
    weights = np.random.default_rng(5).choice([0.0, 0.1, 0.7, 3.3], 37)
    layers = [mn.Dense(5), mn.ReLU(), mn.Dense(3)]
    given = {"loss": loss, "sample_weight": weights, "epochs": 8}
    check(taken, lambda python: run(layers, data(ROW, kind=kind), python=python, **given))


VECTORISED = [
    *(mn.SGD(), mn.Momentum(0.9, dampening=0.5), mn.Momentum(0.9, lr_in_velocity=False), mn.Nesterov()),
    *(mn.NesterovLookAhead(), mn.RMSprop(), mn.RMSpropMomentum(), mn.RMSpropMomentum(lr_in_velocity=True)),
    *(mn.RMSpropCentred(), mn.RMSpropCentredMomentum(), mn.Adagrad(), mn.Adadelta(), mn.Lion(), mn.Muon()),
    *(mn.Adam(), mn.Adam(bias_correction=False), mn.Adam(eps_on_corrected=False), mn.AMSGrad(bias_correction=True)),
    *(mn.AdaMax(), mn.ClipNorm(mn.Adam(), 0.1), mn.ClipTensorNorm(mn.SGD(), 0.1), mn.ClipValue(mn.SGD(), 0.1)),
    *(mn.AdaptiveClip(mn.Momentum()), mn.CoupledDecay(mn.Adam(), 0.01)),
]


class Factors(mn.Callback):
    """Looks at every fifth step; there it changes the rate for a while, and once moves the memory of the net."""

    def looks_at(self, trainer, step):
        return step % 5 == 0

    def on_step(self, trainer, record):
        trainer.lr_factor = 0.3 if 20 <= record.step < 40 else 1.0
        if record.step == 85:
            trainer.net.predict(np.zeros((100, *ROW), np.float32))
        if record.step == 60:
            trainer.lr = schedules.Linear(0.02, 0.0, 95)


@pytest.mark.parametrize("rule", VECTORISED, ids=str)
def test_numbers_of_many_steps_at_once(taken, rule, monkeypatch):
    """Rates fall from step to step, batches have two sizes, and one group has a rate of its own."""
    updates, update = [], mn.Optimizer.update

    def counted(optimizer, *arguments, **named):
        updates.append(np.size(optimizer.steps))
        return update(optimizer, *arguments, **named)

    def make(python):
        layers, of_biases = [mn.Dense(5), mn.ReLU(), mn.Dense(3)], lambda tensor: tensor.name.endswith("b")
        slower = mn.Group(of_biases, lr=0.003) if not isinstance(rule, mn.Muon) else mn.Group(of_biases, lr_factor=0.3)
        given = {"groups": [slower], "weight_decay": 0.01, "callbacks": [Factors()], "epochs": 20}
        return run(layers, data(ROW), python=python, rule=rule, lr=schedules.Cosine(0.05, 90), **given)

    check(taken, make)
    monkeypatch.setattr(replaying, "_AT_ONE_GO", 3600)  # however slow the machine is
    monkeypatch.setattr(mn.Optimizer, "update", counted)
    make(False)
    assert sum(updates) >= 100
    assert len(updates) <= 100 / 4, (
        updates
    )  # four steps each on average; Python takes the first, and those after a move


def test_no_vectorised_rule_is_left_out():
    shown = {type(rule) for rule in VECTORISED}
    assert {name for name in public_rules() if getattr(mn, name).vectorised} == {kind.__name__ for kind in shown}


def test_clipping_shows_its_norm(taken):
    layers = [mn.Dense(5), mn.ReLU(), mn.Dense(3)]
    check(taken, lambda python: run(layers, data(ROW), python=python, clip_norm=0.1, weight_decay=1e-2))


def test_steps_of_both_kinds_follow_one_another(taken):
    """Recorded steps, steps in Python, and recorded steps again."""

    def make(python):
        net = mn.Net([mn.Dense(5), mn.Dropout(0.2), mn.Dense(3)], ROW, mn.SoftmaxCrossEntropy())
        trainer = mn.Trainer(net, data(ROW), rule=mn.NAdam(), lr=schedules.Cosine(0.01, 30), batch_size=8, epochs=6)
        for record in trainer:
            if not python and record.step in (7, 20):
                trainer.recorded.reason = "Python" if record.step == 7 else None
            elif python:
                trainer.recorded.reason = "Python"
        return trainer

    assert result(make(False)) == result(make(True))
    assert 13 < len(taken) < 60


def test_a_denormal_objective_is_that_of_python():
    def losses(recorded):
        net = mn.Net([mn.Dense(2)], 6, mn.SquaredError(), l2=1e-3, dtype=np.float64, seed=0)
        net.params = net.params * 1e-154
        data = np.zeros((20, 6)), np.zeros((20, 2))
        trainer = mn.Trainer(net, data, rule=mn.Momentum(), lr=0.1, batch_size=10, epochs=3)
        trainer.recorded.reason = None if recorded else "for comparison"
        return trainer.run(progress=False).steps["loss"]

    np.testing.assert_array_equal(losses(True), losses(False))
    assert 0 < losses(True)[0] < np.finfo(np.float64).tiny


def test_rows_that_differ_anywhere_are_run_apart():
    class Row:
        def __init__(self, step):
            self.step = step

    a, b = Row("one size"), Row("another")
    for rows in ([a], [a, a], [b, a, a], [a, b], [a, b, a], [a, a, b, a], [a, a, b]):
        ends = programs._ends_of_programs(rows)
        parts = [rows[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        assert [row for part in parts for row in part] == rows
        assert all(len({row.step for row in part}) == 1 for part in parts)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_run_that_goes_on_in_a_forked_child_has_the_bits_of_the_parent(tmp_path):
    program = """
import os, sys
import numpy as np
import minnet as mn

x, y = mn.datasets.iris()

class Fork(mn.Callback):
    child = None

    def on_epoch(self, trainer, row):
        if row["epoch"] == 20:
            Fork.child = os.fork()

net = mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), seed=0)
rate = mn.schedules.Cosine(0.01, 160)
mn.fit(net, (x, y), rule=mn.Adam(), lr=rate, batch_size=40, epochs=40, callbacks=[Fork()], progress=False)
np.save(sys.argv[1] if Fork.child else sys.argv[2], net.params)
if Fork.child:
    os.waitpid(Fork.child, 0)
"""
    environment = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue"}  # its threads may be started again in a child
    paths = [tmp_path / "parent.npy", tmp_path / "child.npy"]
    subprocess.run([sys.executable, "-c", program, *map(str, paths)], env=environment, check=True, timeout=120)
    np.testing.assert_array_equal(*map(np.load, paths))
