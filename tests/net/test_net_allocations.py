"""A training step allocates no array, and the second step compiles nothing."""

import dataclasses
import pkgutil
import tracemalloc
from importlib import import_module

import numpy as np
import pytest
from net_cases import DTYPES, Spy

import minnet as mn
import minnet.kernels
from minnet.kernels.passes import gather

# What a training step allocates ------------------------------------------------------------------------------

# (width, batch): in the wide net a number a feature takes 4096 bytes, in the long one a number a sample does.
TINY, WIDE, LONG = (8, 9), (1024, 30), (16, 1024)
ROOM = 512  # bytes by which peaks may differ from the tiny net's for reasons of Python's own


def peak(step):
    """Bytes that ``step()`` had allocated at its worst moment, beyond what was there before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        step()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def growth(make_step):
    """Bytes that a training step allocates in a wide or long net beyond those that it does in a tiny one.

    ``make_step(width, batch)`` gives a function step(n), which trains on n samples. What Python itself allocates,
    numbers and views of arrays, is the same in all nets, so any array shows.
    """
    peaks = []
    for width, batch in (TINY, WIDE, LONG):
        step = make_step(width, batch)
        for n in (batch, batch // 3, batch, batch // 3):
            step(n)  # the first pass of each length makes its views, the second fills Python's own caches
        # What the step itself allocates it does every time; the least of three leaves out what happens by chance.
        rounds = [[peak(lambda step=step, n=n: step(n)) for n in (batch, batch // 3)] for _ in range(3)]
        peaks.append([min(same) for same in zip(*rounds, strict=True)])
    tiny, *large = peaks
    return max(a - b for measured in large for a, b in zip(measured, tiny, strict=True))


def many_layers(width):
    return [
        mn.Dense(width),
        mn.BatchNorm(),
        mn.ReLU(),
        mn.Dropout(0.3),
        mn.Dense(width),
        mn.LayerNorm(),
        mn.GELU(),
        mn.PReLU(),
        mn.Residual([mn.Chain([mn.Dense(2 * width), mn.Maxout(2)]), mn.Tanh()]),
        mn.Residual([mn.Dense(width), mn.ELU()], shortcut=[mn.Dense(width)]),
        mn.Reshape((width // 2, 2)),
        mn.LayerNorm(),
        mn.GroupNorm(1),
        mn.InstanceNorm(),
        mn.Flatten(),
        mn.LeakyReLU(),
        mn.SELU(),
        mn.GELUTanh(),
        mn.SiLU(),
        mn.Softplus(),
        mn.Sigmoid(),
        mn.Dense(width),
    ]


def labels(rng, n, width):
    return rng.integers(0, width, n)


def numbers(rng, n, width):
    return rng.random((n, width), np.float32)


def stepper(make_layers, loss=None, targets=labels, rule=None, weighted=False, **options):
    """For ``growth``: a net of ``make_layers(width)`` and an optimizer, trained by hand."""

    def make_step(width, batch):
        rng = np.random.default_rng(0)
        net = mn.Net(make_layers(width), width, loss(width) if loss else mn.SoftmaxCrossEntropy(), **options)
        optimizer = mn.Optimizer(net, rule or mn.Adam(), weight_decay=1e-3, clip_norm=1.0)
        x, y = numbers(rng, batch, width), targets(rng, batch, width)
        weights = rng.random(batch) if weighted else None

        def step(n):
            net.loss_and_grads(x[:n], y[:n], sample_weight=None if weights is None else weights[:n])
            optimizer.step(1e-3)
            net.correct(y[:n])  # what a training loop keeps its accuracy by

        return step

    return make_step


def test_a_training_step_allocates_no_array():
    assert growth(stepper(many_layers, l2=1e-4, l1=1e-5, max_norm=3.0)) < ROOM


def layers_of_sequences(width):
    return [
        mn.Reshape((4, width // 4)),
        mn.PositionalEncoding(),
        mn.PositionalEncoding(learned=True),
        mn.RNN(width // 4),
        mn.LSTM(width // 4),
        mn.GRU(width // 4, reverse=True),
        mn.Bidirectional(mn.RNN(width // 8, relu=True)),
        mn.SelfAttention(2, causal=True, dropout=0.1),
        mn.CrossAttention(2, memory=[mn.Slice(0, 3), mn.Dense(3)], dropout=0.1),
        mn.Dense(width),
    ]


def labels_at_positions(rng, n, width):
    return rng.integers(0, width, (n, 4))


@pytest.mark.parametrize("summed", [False, True])
def test_a_training_step_on_sequences_allocates_no_array(summed):
    loss = mn.SoftmaxCrossEntropy(ignored=0, summed=summed)
    assert growth(stepper(layers_of_sequences, lambda width: loss, labels_at_positions)) < ROOM


RULES = [mn.SGD(), mn.Momentum(), mn.Nesterov(), mn.NesterovLookAhead(), mn.Adagrad(), mn.RMSprop(), mn.Adadelta()]
RULES += [mn.RMSpropMomentum(), mn.RMSpropCentred(), mn.RMSpropCentredMomentum(), mn.AMSGrad(), mn.AdaMax()]
RULES += [mn.NAdam(), mn.RAdam(), mn.Lion(), mn.ScheduleFreeSGD(), mn.ScheduleFreeAdamW()]
RULES += [mn.LARS(), mn.LAMB(), mn.Adafactor(), mn.Muon()]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_no_update_rule_allocates_an_array(rule):
    assert growth(stepper(lambda width: [mn.Dense(width)], rule=rule)) < ROOM


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (lambda width: mn.SoftmaxCrossEntropy(label_smoothing=0.1), labels),
        (lambda width: mn.SoftmaxCrossEntropy(class_weights=[1.0] * width), labels),
        (lambda width: mn.MulticlassHinge(), labels),
        (lambda width: mn.SquaredHinge(), labels),
        (lambda width: mn.Logistic(), numbers),
        (lambda width: mn.SquaredError(), numbers),
        (lambda width: mn.AbsoluteError(), numbers),
        (lambda width: mn.Huber(), numbers),
    ],
    ids=["smoothing", "class weights", "hinge", "squared hinge", "logistic", "squared", "absolute", "huber"],
)
def test_no_loss_allocates_an_array(loss, targets):
    assert growth(stepper(lambda width: [mn.Dense(width)], loss, targets)) < ROOM


def test_no_sample_weight_makes_a_step_allocate_an_array():
    assert growth(stepper(lambda width: [mn.Dense(width)], weighted=True)) < ROOM


def trainer_stepper(batches):
    """For ``growth``: steps of a Trainer whose epochs have so many whole batches and a short one at the end."""

    def make_step(width, batch):
        rng = np.random.default_rng(0)
        n = batches * batch + batch // 3
        net = mn.Net(many_layers(width), width, mn.SoftmaxCrossEntropy())
        data = numbers(rng, n, width), labels(rng, n, width)
        trainer = mn.Trainer(net, data, rule=mn.Adam(), lr=1e-3, batch_size=batch, epochs=9, clip_norm=1.0)
        return lambda _: next(trainer)

    return make_step


def test_a_step_of_a_trainer_allocates_no_array():
    assert growth(trainer_stepper(batches=9)) < ROOM


def test_a_step_of_a_trainer_that_ends_an_epoch_allocates_no_array():
    assert growth(trainer_stepper(batches=1)) < ROOM


@pytest.mark.parametrize("serial", [True, False], ids=["serial", "parallel"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32], ids=["bytes", "floats"])
def test_a_step_on_augmented_images_allocates_no_array(dtype, serial, monkeypatch):
    monkeypatch.setattr(gather, "_SERIAL", 10**9 if serial else 0)

    def make_step(width, batch):
        rng = np.random.default_rng(0)
        n = 9 * batch + batch // 3
        x, y = (255 * numbers(rng, n, width)).astype(dtype).reshape(n, width // 2, 2, 1), labels(rng, n, 3)
        net = mn.Net([mn.Flatten(), mn.Dense(3)], (width // 2, 2, 1), mn.SoftmaxCrossEntropy())
        options = {"augment": mn.data.Augment(flip=True, crop=1), "standardize": mn.data.Standardizer.fit(x)}
        trainer = mn.Trainer(net, (x, y), rule=mn.SGD(), lr=1e-3, batch_size=batch, epochs=9, **options)
        return lambda _: next(trainer)

    assert growth(make_step) < ROOM


@dataclasses.dataclass(frozen=True)
class Wasteful(Spy):
    """A scratch layer that allocates what ``waste(x)`` makes."""

    waste: object = None

    def forward(self, m, x, y):
        self.waste(x)
        np.copyto(y, x)


@pytest.mark.parametrize(
    ("waste", "size"),
    [
        (lambda x: x + 1, 4 * WIDE[0] * WIDE[1]),
        (lambda x: x.sum(axis=0), 4 * WIDE[0]),
        (lambda x: x[:, 0].copy(), 4 * LONG[1]),
        (lambda x: x > 0, WIDE[0] * WIDE[1]),
    ],
    ids=["an array of the batch", "a number a feature", "a number a sample", "a mask"],
)
def test_an_allocation_in_a_layer_would_show(waste, size):
    make_step = stepper(lambda width: [mn.Dense(width), Wasteful([], waste), mn.Dense(width)])
    # Half, because it need not fall together with the worst moment of Python's own.
    assert growth(make_step) > size / 2 > ROOM


def signatures():
    """How many versions of each kernel have been compiled or loaded in this process."""
    modules = [import_module(i.name) for i in pkgutil.walk_packages(minnet.kernels.__path__, "minnet.kernels.")]
    return {
        f"{module.__name__}.{name}": len(value.signatures)
        for module in modules
        for name, value in vars(module).items()
        if hasattr(value, "py_func")
    }


@DTYPES
def test_the_second_step_compiles_nothing(dtype):
    rng = np.random.default_rng(0)
    net = mn.Net(many_layers(8), 8, mn.SoftmaxCrossEntropy(), l2=1e-4, l1=1e-5, max_norm=3.0, dtype=dtype)
    data = rng.standard_normal((24, 8)), rng.integers(0, 8, 24)
    trainer = mn.Trainer(net, data, rule=mn.Adam(), lr=1e-3, batch_size=11, epochs=3, clip_norm=1.0)
    next(trainer)
    after_one = signatures()
    assert sum(after_one.values()) > 30
    assert trainer.batches.position == 11
    history = [record.step for record in trainer]  # the last batch of each epoch has two samples
    assert history == list(range(2, 10))
    assert signatures() == after_one
