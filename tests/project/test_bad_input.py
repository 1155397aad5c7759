"""What bad input gets: an error that says who, what was expected and what came, and nothing changed."""

import math
import re

import numpy as np
import pytest

import minnet as mn

N = 6


def good():
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, 4)).astype(np.float32), np.array([0, 2, 1, 1, 0, 2])


def build(loss, outputs):
    """A trainer some steps into its run: weights, running statistics, noise and momentum are all under way."""
    x, y = good()
    if not isinstance(loss, mn.SoftmaxCrossEntropy):
        y = x[:, :outputs].copy() if isinstance(loss, mn.SquaredError) else (x[:, :outputs] > 0).astype(np.float32)
    net = mn.Net([mn.Dense(5), mn.BatchNorm(), mn.ReLU(), mn.Dropout(0.2), mn.Dense(outputs)], 4, loss, seed=1)
    trainer = mn.Trainer(net, (x, y), rule=mn.Momentum(0.9), lr=0.1, batch_size=4, steps=100)
    for _ in range(3):
        next(trainer)
    return trainer


LOSSES = {"classes": (mn.SoftmaxCrossEntropy(), 3), "numbers": (mn.SquaredError(), 2), "answers": (mn.Logistic(), 2)}


@pytest.fixture(scope="module")
def trainers():
    return {name: build(*arguments) for name, arguments in LOSSES.items()}


@pytest.fixture
def trainer(trainers):
    """One run for all tests: that no test changes it is what each of them asserts."""
    return trainers["classes"]


def everything(trainer):
    """All that a run holds, by name."""
    net, optimizer, history, batches = trainer.net, trainer.optimizer, trainer.history, trainer.batches
    return {
        "params": net.params.tobytes(),
        "grads": net.grads.tobytes(),
        "buffers": net.buffers.tobytes(),
        "optimizer state": optimizer.state.tobytes(),
        "steps": (net.step, optimizer.steps, trainer.step),
        "place in the data": (batches.epoch_index, batches.position),
        "objective": repr(net.objective),
        "history": repr((history.steps.rows, history.epochs.rows, history.stopped)),
    }


class Unchanged:
    """Asserts that a block raises ``error`` with all of ``texts`` in its message and leaves the run as it was."""

    def __init__(self, trainer, error, *texts):
        self.trainer, self.error, self.texts = trainer, error, texts

    def __enter__(self):
        self.before = everything(self.trainer)
        self.raises = pytest.raises(self.error, match="(?s)" + ".*".join(re.escape(text) for text in self.texts))
        self.raises.__enter__()

    def __exit__(self, *error):
        accepted = self.raises.__exit__(*error)
        after = everything(self.trainer)
        assert [name for name in after if after[name] != self.before[name]] == [], "the error came too late"
        return accepted


def fit(trainer, data, **arguments):
    defaults = {"rule": mn.SGD(), "lr": 0.1, "batch_size": 4, "steps": 2}
    return mn.fit(trainer.net, data, **defaults | arguments)


def make_trainer(trainer, data, **arguments):
    defaults = {"rule": mn.SGD(), "lr": 0.1, "batch_size": 4, "steps": 2}
    return mn.Trainer(trainer.net, data, **defaults | arguments)


# Ways in that know the net, and so its shapes; of these, three take no targets.
OF_NET = {
    "loss_and_grads": lambda t, x, y: t.net.loss_and_grads(x, y),
    "loss": lambda t, x, y: t.net.loss(x, y),
    "evaluate": lambda t, x, y: t.net.evaluate(x, y),
    "predict": lambda t, x, y: t.net.predict(x),
    "forward": lambda t, x, y: t.net.forward(x),
    "forward, training": lambda t, x, y: t.net.forward(x, training=True),
}
WITH_TARGETS = [way for way in OF_NET if way in ("loss_and_grads", "loss", "evaluate")]
# Ways in that take a whole data set.
OF_RUN = {
    "Trainer": lambda t, x, y: make_trainer(t, (x, y)),
    "fit": lambda t, x, y: fit(t, (x, y)),
    "validation": lambda t, x, y: make_trainer(t, good(), validation=(x, y)),
}
OF_DATA = {
    "Batches": lambda t, x, y: mn.data.Batches((x, y), 4),
    "split": lambda t, x, y: mn.data.split((x, y), (0.5, 0.5)),
}


def with_value(value, dtype=np.float32):
    x = good()[0].astype(dtype)
    x[5, 2] = value
    return x


# Samples ------------------------------------------------------------------------------------------------

# name: (x, error, what the net says, what those say that take data; None where they can't know better)
X = good()[0]
BAD_X = {
    "a feature less": (X[:, :3], ValueError, "input of shape (n, 4); got shape (6, 3)", "shape (4,); got (3,)"),
    "an axis more": (X[..., None], ValueError, "input of shape (n, 4); got shape (6, 4, 1)", "shape (4,); got (4, 1)"),
    "one sample alone": (X[0], ValueError, "input of shape (n, 4); got shape (4,)", "got"),
    "a number": (np.float32(1), ValueError, "input of shape (n, 4); got shape ()", "got x of shape ()"),
    "None": (None, ValueError, "got shape ()", "got x of shape ()"),
    "nothing": (
        X[:0],
        ValueError,
        "at least one sample; got shape (0, 4)",
        "at least one sample; got x of shape (0, 4)",
    ),
    "NaN": (with_value(math.nan), ValueError, "finite input; got NaN or infinity", "finite x; got NaN"),
    "infinity": (with_value(math.inf), ValueError, "finite input; got NaN or infinity", "finite x; got NaN"),
    "minus infinity": (with_value(-math.inf), ValueError, "finite input; got", "finite x; got NaN"),
    "NaN in double": (with_value(math.nan, float), ValueError, "finite input; got", "finite x; got NaN"),
    "integers": (
        X.astype(int),
        TypeError,
        "floating-point or uint8 input; got dtype int64",
        "uint8 values; got dtype int64",
    ),
    "yes and no": (X > 0, TypeError, "uint8 input; got dtype bool", "uint8 values; got dtype bool"),
    "complex": (X.astype(complex), TypeError, "uint8 input; got dtype complex", "uint8 values; got dtype complex"),
    "objects": (X.astype(object), TypeError, "uint8 input; got dtype object", "uint8 values; got dtype object"),
    "words": (np.full((N, 4), "a"), TypeError, "uint8 input; got dtype <U1", "uint8 values; got dtype <U1"),
    "rows of two lengths": ([[1.0] * 4] * 5 + [[1.0]], ValueError, "; got", "; got"),
}
SHAPE_ONLY = ("a feature less", "an axis more", "one sample alone")  # fine for who knows no net


@pytest.mark.parametrize("way", OF_NET)
@pytest.mark.parametrize("case", BAD_X)
def test_bad_samples_are_refused_by_the_net(trainer, case, way):
    x, error, text, _ = BAD_X[case]
    with Unchanged(trainer, error, "Net: expected", text):
        OF_NET[way](trainer, x, good()[1])


WHO = {"fit": "Trainer", "validation": "Trainer validation"}
# split knows no net, for which integers may be words.
DATA_CASES = [(way, case) for way in OF_RUN | OF_DATA for case in BAD_X if way in OF_RUN or case not in SHAPE_ONLY]
DATA_CASES.remove(("split", "integers"))


@pytest.mark.parametrize(("way", "case"), DATA_CASES)
def test_bad_samples_are_refused_by_what_takes_data(trainer, case, way):
    x, error, _, text = BAD_X[case]
    who = "Trainer" if case in SHAPE_ONLY else f"{WHO.get(way, way)}: "
    with Unchanged(trainer, error, who, "expected", text):
        (OF_RUN | OF_DATA)[way](trainer, x, good()[1])


@pytest.mark.parametrize("way", ["evaluate", "loss", "predict"])
def test_a_bad_sample_far_into_the_data_is_found(trainer, way):
    x = np.zeros((1000, 4), np.float32)
    x[999, 3] = math.nan
    with Unchanged(trainer, ValueError, "Net: expected finite input; got NaN or infinity"):
        OF_NET[way](trainer, x, np.zeros(1000, int))


@pytest.mark.parametrize("way", [*OF_NET, *OF_RUN])
def test_a_double_too_large_for_single_precision_is_refused(trainer, way):
    x = with_value(1e300, float)
    with Unchanged(trainer, ValueError, ": expected finite", "; got"):
        (OF_NET | OF_RUN)[way](trainer, x, good()[1])


@pytest.mark.parametrize("where", ["x", "y"])
@pytest.mark.parametrize("way", ["Trainer", "fit", "Batches", "split"])
def test_the_sample_that_is_not_finite_is_named(trainer, way, where):
    x, y = with_value(math.nan), np.array([0.0, 1, 2, 3, 4, math.inf])
    data = (x, good()[1]) if where == "x" else (good()[0], y)
    with Unchanged(trainer, ValueError, f": expected finite {where}; got NaN or infinity in sample 5"):
        (OF_RUN | OF_DATA)[way](trainer, *data)


# Data that is no pair -----------------------------------------------------------------------------------

BAD_PAIRS = {
    "x alone": (X, "ndarray"),
    "a dict": ({"x": X, "y": good()[1]}, "dict"),
    "a number": (3, "int"),
    "one thing": ((X,), ""),
    "three things": ((*good(), X), ""),
}


@pytest.mark.parametrize("case", BAD_PAIRS)
@pytest.mark.parametrize("way", ["Trainer", "fit", "validation", "Batches", "split"])
def test_data_that_is_no_pair_is_refused(trainer, way, case):
    data, got = BAD_PAIRS[case]
    if way == "validation" and case == "three things":  # x, y and weights
        with pytest.raises(ValueError, match=r"Trainer validation: expected sample_weight as \d+ numbers"):
            make_trainer(trainer, good(), validation=data)
        return
    calls = {
        "Trainer": lambda: make_trainer(trainer, data),
        "fit": lambda: fit(trainer, data),
        "validation": lambda: make_trainer(trainer, good(), validation=data),
        "Batches": lambda: mn.data.Batches(data, 4),
        "split": lambda: mn.data.split(data, (0.5, 0.5)),
    }
    with Unchanged(trainer, TypeError, f"{WHO.get(way, way)}: expected data as a pair (x, y); got {got}"):
        calls[way]()


@pytest.mark.parametrize("way", [*WITH_TARGETS, *OF_RUN, *OF_DATA])
@pytest.mark.parametrize("length", [1, N - 1, N + 1])
def test_x_and_y_of_different_lengths_are_refused(trainer, way, length):
    y = np.zeros(length, int)
    with Unchanged(trainer, ValueError, ": expected x and y of one length; got 6", str(length)):
        (OF_NET | OF_RUN | OF_DATA)[way](trainer, good()[0], y)


# Targets ------------------------------------------------------------------------------------------------

Y = good()[1]
YR, YL = X[:, :2], (X[:, :2] > 0).astype(np.float32)
# name: (targets, error, what is said after the loss's own name)
BAD_TARGETS = {
    "classes": {
        "a label below 0": (Y - 1, ValueError, "labels from 0 to 2; got -1 to 1"),
        "a label too high": (Y + 1, ValueError, "labels from 0 to 2; got 1 to 3"),
        "a label beyond int64": (Y.astype(np.uint64) + np.uint64(2**63), ValueError, "labels from 0 to 2; got 9223"),
        "floats": (
            Y.astype(float),
            TypeError,
            "integer labels; got dtype float64, shape (6,) (for whole numbers, give",
        ),
        "yes and no": (Y > 0, TypeError, "integer labels; got dtype bool"),
        "objects": (Y.astype(object), TypeError, "integer labels; got dtype object"),
        "words": (np.array(["a"] * N), TypeError, "integer labels; got dtype <U1"),
        "a column": (
            Y[:, None],
            ValueError,
            "labels of shape (n,); got shape (6, 1) (for a column of labels, give y[:, 0",
        ),
        "a column of floats": (
            Y[:, None].astype(float),
            TypeError,
            "shape (6, 1) (for a column of labels, give y[:, 0]",
        ),
        "one-hot": (np.eye(3, dtype=int)[Y], ValueError, "got shape (6, 3) (for one-hot rows, give y.argmax(1))"),
        "one-hot floats of other classes": (
            np.eye(4)[Y],
            TypeError,
            "shape (6, 4) (for one-hot rows, give y.argmax(1))",
        ),
    },
    "numbers": {
        "integers": (np.ones((N, 2), int), TypeError, "floating-point targets; got dtype int64"),
        "bytes": (np.ones((N, 2), np.uint8), TypeError, "floating-point targets; got dtype uint8"),
        "yes and no": (YR > 0, TypeError, "floating-point targets; got dtype bool"),
        "objects": (YR.astype(object), TypeError, "floating-point targets; got dtype object"),
        "complex": (YR.astype(complex), TypeError, "floating-point targets; got dtype complex128"),
        "one for two outputs": (YR[:, 0], ValueError, "targets of shape (n, 2); got shape (6,)"),
        "a column too many": (X[:, :3], ValueError, "targets of shape (n, 2); got shape (6, 3)"),
        "an axis too many": (YR[..., None], ValueError, "targets of shape (n, 2); got shape (6, 2, 1)"),
        "NaN": (YR * np.float32(math.nan), ValueError, "finite"),
        "infinity": (YR + np.float32(math.inf), ValueError, "finite"),
        "too large for single precision": (YR.astype(float) * 1e300, ValueError, "finite"),
    },
    "answers": {
        "above 1": (YL + 1, ValueError, "targets from 0 to 1; got 1.0 to 2.0"),
        "below 0": (YL - 1, ValueError, "targets from 0 to 1; got -1.0 to 0.0"),
        "words": (np.full((N, 2), "a"), TypeError, "numbers from 0 to 1; got dtype <U1"),
        "objects": (YL.astype(object), TypeError, "numbers from 0 to 1; got dtype object"),
        "one for two outputs": (YL[:, 0], ValueError, "targets of shape (n, 2); got shape (6,)"),
        "NaN": (YL * np.float32(math.nan), ValueError, "; got"),
    },
}
TARGET_CASES = [(kind, case) for kind, cases in BAD_TARGETS.items() for case in cases]


@pytest.mark.parametrize("way", [*WITH_TARGETS, "Trainer", "fit"])
@pytest.mark.parametrize(("kind", "case"), TARGET_CASES)
def test_bad_targets_are_refused(trainers, kind, case, way):
    targets, error, text = BAD_TARGETS[kind][case]
    trainer = trainers[kind]
    with Unchanged(trainer, error, ": expected", text):
        (OF_NET | OF_RUN)[way](trainer, X, targets)


@pytest.mark.parametrize(("kind", "case"), TARGET_CASES)
def test_bad_targets_of_the_validation_data_are_refused(trainers, kind, case):
    targets, error, text = BAD_TARGETS[kind][case]
    trainer = trainers[kind]
    fine = {"classes": Y, "numbers": YR, "answers": YL}[kind]
    with Unchanged(trainer, error, ": expected", text):
        make_trainer(trainer, (X, fine), validation=(X, targets))


@pytest.mark.parametrize("loss", [mn.AbsoluteError(), mn.Huber(), mn.SquaredError()], ids=str)
def test_every_regression_loss_refuses_integers(loss):
    net = mn.Net(mn.Dense(2), 4, loss)
    with pytest.raises(TypeError, match=rf"^{re.escape(str(loss))}: expected floating-point targets; got dtype int64"):
        net.loss_and_grads(X, np.ones((N, 2), int))


@pytest.mark.parametrize("loss", [mn.SoftmaxCrossEntropy(), mn.MulticlassHinge(), mn.SquaredHinge()], ids=str)
def test_every_classification_loss_names_itself(loss):
    net = mn.Net(mn.Dense(3), 4, loss)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(loss))}: expected labels from 0 to 2; got 0 to 3"):
        net.loss_and_grads(X, np.array([0, 1, 2, 3, 0, 1]))


@pytest.mark.parametrize("y", [np.array(1), None, 1], ids=["0-d", "None", "a number"])
@pytest.mark.parametrize("way", [*WITH_TARGETS, *OF_RUN, *OF_DATA])
def test_targets_that_are_no_array_are_refused(trainer, way, y):
    with Unchanged(trainer, (TypeError, ValueError), ": expected", "; got"):
        (OF_NET | OF_RUN | OF_DATA)[way](trainer, X, y)


BAD_WEIGHTS = {
    "too few": (np.ones(3), ValueError, "weights of shape (6,); got shape (3,)"),
    "a column": (np.ones((N, 1)), ValueError, "weights of shape (6,); got shape (6, 1)"),
    "one number": (1.0, ValueError, "weights of shape (6,); got shape ()"),
    "below 0": (np.array([1.0, 1, 1, 1, 1, -1]), ValueError, "finite weights of at least 0"),
    "NaN": (np.array([1.0, 1, 1, 1, 1, math.nan]), ValueError, "finite weights of at least 0"),
    "infinity": (np.array([1.0, 1, 1, 1, 1, math.inf]), ValueError, "finite weights of at least 0"),
    "all 0": (
        np.zeros(N),
        ValueError,
        "samples that count, as the mean loss of none is undefined; got 6, all of weight 0",
    ),
    "words": (["a"] * N, (TypeError, ValueError), "weights"),
}


@pytest.mark.parametrize("way", ["loss_and_grads", "loss", "evaluate"])
@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_bad_sample_weights_are_refused(trainer, case, way):
    weights, error, text = BAD_WEIGHTS[case]
    with Unchanged(trainer, error, "SoftmaxCrossEntropy(", ": expected", text):
        getattr(trainer.net, way)(*good(), sample_weight=weights)


# Numbers ------------------------------------------------------------------------------------------------

BAD_COUNTS = [
    (0, ValueError, "of at least 1; got 0"),
    (-3, ValueError, "of at least 1; got -3"),
    (2.0, TypeError, "to be a whole number; got 2.0"),
    (True, TypeError, "to be a whole number; got True"),
    ("8", TypeError, "to be a whole number; got '8'"),
    (math.nan, TypeError, "to be a whole number; got nan"),
]
COUNTS = {
    "batch_size of Batches": lambda t, v: mn.data.Batches(good(), v),
    "batch_size of Trainer": lambda t, v: make_trainer(t, good(), batch_size=v),
    "batch_size of fit": lambda t, v: fit(t, good(), batch_size=v),
    "batch_size of predict": lambda t, v: t.net.predict(X, batch_size=v),
    "batch_size of evaluate": lambda t, v: t.net.evaluate(*good(), batch_size=v),
    "steps of fit": lambda t, v: fit(t, good(), steps=v),
    "epochs of fit": lambda t, v: fit(t, good(), steps=None, epochs=v),
}


@pytest.mark.parametrize(("value", "error", "text"), BAD_COUNTS, ids=[repr(row[0]) for row in BAD_COUNTS])
@pytest.mark.parametrize("what", COUNTS)
def test_bad_counts_are_refused(trainer, what, value, error, text):
    with Unchanged(trainer, error, f": expected {what.split()[0]} {text}"):
        COUNTS[what](trainer, value)


BAD_RATES = [
    (-0.1, ValueError, "of at least 0; got -0.1"),
    (-1, ValueError, "of at least 0; got -1"),
    (math.nan, ValueError, "to be finite; got nan"),
    (math.inf, ValueError, "to be finite; got inf"),
    ("0.1", TypeError, "to be a number; got '0.1'"),
    (None, TypeError, "to be a number; got None"),
    (True, TypeError, "to be a number; got True"),
    (np.array([0.1]), TypeError, "to be a number; got array([0.1])"),
]
RATES = {
    "fit": lambda t, v: fit(t, good(), lr=v),
    "Trainer": lambda t, v: make_trainer(t, good(), lr=v),
    "Optimizer.step": lambda t, v: t.optimizer.step(v),
    "Optimizer.step with a function": lambda t, v: t.optimizer.step(lambda step: v),
    "Constant": lambda t, v: mn.schedules.Constant(v),
}


@pytest.mark.parametrize(("value", "error", "text"), BAD_RATES, ids=[repr(row[0]) for row in BAD_RATES])
@pytest.mark.parametrize("way", RATES)
def test_bad_learning_rates_are_refused(trainer, way, value, error, text):
    name = "value" if way == "Constant" else "lr"
    with Unchanged(trainer, error, f": expected {name}", text):
        RATES[way](trainer, value)


@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_a_schedule_that_turns_bad_in_mid_run_changes_nothing(value):
    class Turning(mn.schedules.Schedule):
        def at(self, t):
            return value if 3 <= t < 90 else 0.1  # bad at its ends, it would be refused before the run

    net = mn.Net([mn.Dense(5), mn.BatchNorm(), mn.Dropout(0.2), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy())
    trainer = mn.Trainer(net, good(), rule=mn.Momentum(0.9), lr=Turning(), batch_size=4, steps=100)
    for _ in range(3):
        next(trainer)
    with Unchanged(trainer, ValueError, ": expected lr", f"; got {value}"):
        next(trainer)


BAD_RECIPES = {
    "neither epochs nor steps": ({"steps": None}, ValueError, "Trainer: expected either epochs or steps; got"),
    "epochs and steps": ({"epochs": 2}, ValueError, "Trainer: expected either epochs or steps; got epochs=2, steps=2"),
    "the class of a rule": ({"rule": mn.SGD}, TypeError, "Optimizer: expected a Rule, such as Adam(); got <class"),
    "the name of a rule": ({"rule": "adam"}, TypeError, "Optimizer: expected a Rule, such as Adam(); got 'adam'"),
    "a seed below 0": ({"seed": -1}, ValueError, "expected seed of at least 0; got -1"),
    "no seed": ({"seed": None}, TypeError, "expected seed to be a whole number; got None"),
    "decay below 0": ({"weight_decay": -1}, ValueError, "expected weight_decay of at least 0; got -1"),
    "decay not finite": ({"weight_decay": math.inf}, ValueError, "expected weight_decay to be finite; got inf"),
    "clipping to 0": ({"clip_norm": 0}, ValueError, "expected clip_norm above 0; got 0"),
    "clipping to NaN": ({"clip_norm": math.nan}, ValueError, "expected clip_norm to be finite; got nan"),
    "augmenting what is no image": ({"augment": mn.data.Augment()}, ValueError, "Batches: expected images (H, W, C)"),
    "augmenting by name": (
        {"augment": "flip"},
        TypeError,
        "Batches: expected augment to be an Augment or None; got 'f",
    ),
    "standardizing: yes": ({"standardize": True}, TypeError, "Batches: expected standardize to be a Standardizer or"),
    "a standardizer of others": (
        {"standardize": mn.data.Standardizer.fit(np.ones((2, 5)))},
        ValueError,
        "Batches: expected a Standardizer of samples of shape (4,); got one of shape (5,)",
    ),
    "validation of another kind": (
        {
            "standardize": mn.data.Standardizer.fit(good()[0]),
            "validation": (np.zeros((N, 4), np.uint8), good()[1]),
        },
        ValueError,
        "Trainer validation: expected raw data like the training data (float32), as standardize is for both; got uint8",
    ),
    "one callback, no list": ({"callbacks": mn.EarlyStopping()}, TypeError, "Trainer: expected callbacks"),
    "callbacks of another kind": ({"callbacks": [print]}, TypeError, "Trainer: expected callbacks"),
    "the class of a callback": ({"callbacks": [mn.EarlyStopping]}, TypeError, "Trainer: expected callbacks"),
}


@pytest.mark.parametrize("way", [make_trainer, fit])
@pytest.mark.parametrize("case", BAD_RECIPES)
def test_a_bad_recipe_is_refused(trainer, case, way):
    arguments, error, text = BAD_RECIPES[case]
    with Unchanged(trainer, error, text):
        way(trainer, good(), **arguments)


@pytest.mark.parametrize("callback", [mn.EarlyStopping(), mn.ReduceOnPlateau(), mn.HalveOnStall()], ids=repr)
def test_what_listens_to_validation_says_that_there_is_none(callback):
    who, net = type(callback).__name__, mn.Net(mn.Dense(3), 4, mn.SoftmaxCrossEntropy())
    with pytest.raises(
        ValueError, match=rf"^{who}: expected one of .*; got 'val_.*no validation data: give validation="
    ):
        mn.fit(net, good(), rule=mn.SGD(), lr=0.1, batch_size=4, epochs=2, callbacks=[callback])


def test_what_listens_to_a_column_that_does_not_exist_names_those_that_do():
    net = mn.Net(mn.Dense(3), 4, mn.SoftmaxCrossEntropy())
    callbacks = [mn.EarlyStopping("val_los", mode="min")]
    with pytest.raises(
        ValueError, match=r"^EarlyStopping: .*'val_loss'.* to monitor; got 'val_los' .is 'val_loss' meant.*$"
    ):
        mn.fit(net, good(), rule=mn.SGD(), lr=0.1, batch_size=4, epochs=2, validation=good(), callbacks=callbacks)


@pytest.mark.parametrize("net", [None, [mn.Dense(3)], mn.Dense(3)], ids=["None", "a list", "a layer"])
@pytest.mark.parametrize("way", [mn.Trainer, mn.fit])
def test_what_is_no_net_cannot_be_trained(way, net):
    with pytest.raises(TypeError, match=r"^Trainer: expected a Net; got "):
        way(net, good(), rule=mn.SGD(), lr=0.1, batch_size=4, steps=1)


def test_what_is_no_net_has_no_optimizer():
    with pytest.raises(TypeError, match=r"^Optimizer: expected a Net.*; got (int|3)"):
        mn.Optimizer(3, mn.SGD())


def test_a_net_without_a_loss_cannot_be_trained_or_evaluated():
    net = mn.Net(mn.Dense(3), 4)
    before = net.params.tobytes(), net.step
    for way in (net.loss_and_grads, net.evaluate, net.loss):
        with pytest.raises(ValueError, match=r"^Net: expected a net built with loss=...; this one has none"):
            way(*good())
    with pytest.raises(ValueError, match=r"^Trainer: expected a net built with loss=...; this one has none"):
        mn.Trainer(net, good(), rule=mn.SGD(), lr=0.1, batch_size=4, steps=1)
    assert net.predict(X).shape == (N, 3)
    assert (net.params.tobytes(), net.step) == before


# Building -----------------------------------------------------------------------------------------------

SOFTMAX = mn.SoftmaxCrossEntropy()
ONE_AXIS = "expected the layers to end in one axis of outputs; got shape (2, 2)"
BAD_NETS = {
    "softmax on one output": (
        {"layers": mn.Dense(1), "loss": SOFTMAX},
        ValueError,
        "at least two outputs, one a class; got 1",
    ),
    "hinge on one output": (
        {"layers": mn.Dense(1), "loss": mn.MulticlassHinge()},
        ValueError,
        "two outputs, one a class; got 1",
    ),
    "softmax on one class a position": (
        {"layers": mn.Reshape((4, 1)), "loss": SOFTMAX},
        ValueError,
        "two outputs, one a class; got 1",
    ),
    "squared error on images": ({"layers": mn.Reshape((2, 2)), "loss": mn.SquaredError()}, ValueError, ONE_AXIS),
    "logistic on images": ({"layers": mn.Reshape((2, 2)), "loss": mn.Logistic()}, ValueError, ONE_AXIS),
    "a class weight too few": (
        {"loss": mn.SoftmaxCrossEntropy(class_weights=(1, 2))},
        ValueError,
        "3 class weights; got 2",
    ),
    "the class of a loss": ({"loss": mn.SquaredError}, TypeError, "Net: expected loss to be a Loss", "; got <class"),
    "the name of a loss": ({"loss": "mse"}, TypeError, "Net: expected loss to be a Loss", "; got 'mse'"),
    "no layers": ({"layers": []}, ValueError, "expected at least one layer; got an empty list"),
    "None for layers": ({"layers": None}, TypeError, "expected a list of layers; got None"),
    "the class of a layer": ({"layers": [mn.ReLU]}, TypeError, "layer 0: expected a Layer; got <class", "instance"),
    "a function for a layer": ({"layers": [mn.Dense(3), np.tanh]}, TypeError, "layer 1: expected a Layer; got <ufunc"),
    "dense on images": (
        {"input_shape": (2, 2, 1)},
        ValueError,
        "Dense 0: expected one axis of features, or (time, features); got input shape (2, 2, 1)",
    ),
    "no features": ({"input_shape": 0}, ValueError, "Net: expected", "at least 1; got 0"),
    "an empty axis": ({"input_shape": (4, 0)}, ValueError, "Net: expected", "at least 1; got 0"),
    "half a feature": ({"input_shape": (4.5,)}, TypeError, "Net: expected", "a whole number; got 4.5"),
    "a float for a shape": ({"input_shape": 4.0}, TypeError, "Net: expected", "input_shape", "; got 4.0"),
    "no shape": ({"input_shape": None}, TypeError, "Net: expected", "input_shape", "; got None"),
    "l2 below 0": ({"l2": -1e-3}, ValueError, "Net: expected l2 of at least 0; got -0.001"),
    "l1 not finite": ({"l1": math.nan}, ValueError, "Net: expected l1 to be finite; got nan"),
    "max_norm of 0": ({"max_norm": 0}, ValueError, "Net: expected max_norm above 0; got 0"),
    "a seed below 0": ({"seed": -1}, ValueError, "Net: expected seed of at least 0; got -1"),
}


@pytest.mark.parametrize("case", BAD_NETS)
def test_a_net_that_cannot_be_is_refused_when_it_is_built(case):
    arguments, error, *texts = BAD_NETS[case]
    with pytest.raises(error, match=".*".join(re.escape(text) for text in texts)):
        mn.Net(**{"layers": [mn.Dense(3)], "input_shape": 4} | arguments)


BAD_DTYPES = ["float16", np.float16, int, "foo", "float33", 32, None, object, ">f4", np.longdouble, complex, [], {}]


@pytest.mark.parametrize("dtype", BAD_DTYPES, ids=repr)
def test_a_net_has_no_other_dtypes(dtype):
    with pytest.raises(ValueError, match=rf"^Net: expected dtype float32 or float64; got {re.escape(repr(dtype))}"):
        mn.Net(mn.Dense(3), 4, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float16", int, "foo", None, 3, ">f4"], ids=repr)
def test_batches_have_no_other_dtypes(dtype):
    with pytest.raises(ValueError, match=rf"^Batches: expected dtype float32 or float64; got {re.escape(repr(dtype))}"):
        mn.data.Batches(good(), 4, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float16", ">f4", np.longdouble, int], ids=repr)
def test_an_optimizer_has_no_other_dtypes(dtype):
    with pytest.raises(ValueError, match=r"^Optimizer: expected params .*float"):
        mn.Optimizer.over(np.zeros(3, dtype), np.ones(3, dtype), mn.SGD())


# Arrays that are handed in to be kept or filled ---------------------------------------------------------


@pytest.mark.parametrize("name", ["params", "grads", "buffers"])
def test_a_flat_vector_takes_no_other_shape(trainer, name):
    size = getattr(trainer.net, name).size
    for values in (np.zeros(size + 1), np.zeros((size, 1)), 0.0, None, [0.0] * (size - 1)):
        with Unchanged(trainer, ValueError, f"Net: expected {name} of shape ({size},); got shape"):
            setattr(trainer.net, name, values)


@pytest.mark.parametrize(
    "values", [np.zeros(3, complex), np.full(3, "a"), np.full(3, None)], ids=["complex", "words", "None"]
)
def test_a_flat_vector_takes_nothing_but_real_numbers(values):
    net = mn.Net(mn.Dense(1), 2)
    before = net.params.tobytes()
    with pytest.raises(TypeError, match=f"^Net: expected params .*; got dtype {re.escape(str(values.dtype))}"):
        net.params = values
    assert net.params.tobytes() == before


def read_only(shape):
    array = np.zeros(shape, np.float32)
    array.flags.writeable = False
    return array


BAD_DX = {
    "another shape": (np.zeros((N, 3), np.float32), "(6, 4) and dtype float32; got shape (6, 3)"),
    "another dtype": (np.zeros((N, 4)), "(6, 4) and dtype float32; got shape (6, 4), dtype float64"),
    "not contiguous": (np.zeros((4, N), np.float32).T, "C-contiguous"),
    "read-only": (read_only((N, 4)), "writ"),
    "a list": ([[0.0] * 4] * N, "got"),
}


@pytest.mark.parametrize("case", BAD_DX)
def test_a_place_for_the_inputs_gradient_that_does_not_fit_is_refused(trainer, case):
    dx, text = BAD_DX[case]
    with Unchanged(trainer, (ValueError, TypeError), "loss_and_grads: expected dx", text):
        trainer.net.loss_and_grads(*good(), dx=dx)


@pytest.mark.parametrize("case", [case for case in BAD_DX if case != "read-only"])
def test_a_gradient_at_the_scores_that_does_not_fit_is_refused(case):
    net = mn.Net(mn.Dense(4), 4)
    net.forward(X)
    before = net.grads.tobytes()
    with pytest.raises((ValueError, TypeError), match=r"^backward: expected dscores .*; got"):
        net.backward(BAD_DX[case][0])
    assert net.grads.tobytes() == before


def test_what_needs_a_forward_pass_says_so():
    net = mn.Net(mn.Dense(3), 4, SOFTMAX)
    for name, call in {
        "backward": lambda: net.backward(np.zeros((N, 3), np.float32)),
        "activations": net.activations,
        "correct": lambda: net.correct(Y),
    }.items():
        with pytest.raises(ValueError, match=f"^{name}: expected a forward pass first; got none"):
            call()


# Unusual input that is fine -----------------------------------------------------------------------------


def locked(array):
    array = array.copy()
    array.flags.writeable = False
    return array


SAME_X = {
    "lists": X.tolist(),
    "tuples": tuple(map(tuple, X.tolist())),
    "double": X.astype(float),
    "long double": X.astype(np.longdouble),
    "big-endian": X.astype(">f4"),
    "Fortran order": np.asfortranarray(X),
    "every other row": np.repeat(X, 2, axis=0)[::2],
    "backwards twice": X[::-1].copy()[::-1],
    "read-only": locked(X),
    "a subclass": X.view(np.ma.MaskedArray),
}
SAME_Y = {
    "a list": Y.tolist(),
    "bytes": Y.astype(np.uint8),
    "int32": Y.astype(np.int32),
    "uint64": Y.astype(np.uint64),
    "big-endian": Y.astype(">i8"),
    "every other": np.repeat(Y, 2)[::2],
    "read-only": locked(Y),
}


def outcomes(x, y):
    """What each way in makes of the data, from the same start."""
    net = build(SOFTMAX, 3).net
    result = [
        net.predict(x).tobytes(),
        tuple(net.evaluate(x, y).values()),
        net.loss_and_grads(x, y),
        net.grads.tobytes(),
    ]
    batch_x, batch_y = mn.data.Batches((x, y), 4, seed=3).next()
    result += [batch_x.tobytes(), batch_y.tolist()]
    parts = mn.data.split((x, y), (0.5, 0.5))
    result += [[part.tolist() for part in pair] for pair in parts]
    history = mn.fit(net, (x, y), rule=mn.SGD(), lr=0.1, batch_size=4, steps=3, validation=(x, y))
    return [*result, history.steps.rows, history.epochs.rows, net.params.tobytes()]


@pytest.fixture(scope="module")
def usual():
    return outcomes(X, Y)


@pytest.mark.parametrize("case", SAME_X)
def test_samples_in_another_form_give_the_same_bits(usual, case):
    assert outcomes(SAME_X[case], Y) == usual


@pytest.mark.parametrize("case", SAME_Y)
def test_labels_in_another_form_give_the_same_bits(usual, case):
    assert outcomes(X, SAME_Y[case]) == usual


def test_half_precision_samples_are_taken_at_their_value():
    half = X.astype(np.float16)
    assert outcomes(half, Y)[:6] == outcomes(half.astype(np.float32), Y)[:6]


def test_a_run_goes_on_as_if_nothing_had_been_refused():
    def go_on(disturb):
        trainer = build(SOFTMAX, 3)
        for i in range(4):
            if disturb:
                for case in ("a feature less", "NaN", "nothing", "objects"):
                    for way in OF_NET.values():
                        with pytest.raises((TypeError, ValueError)):
                            way(trainer, BAD_X[case][0], Y)
                with pytest.raises(ValueError, match="lr"):
                    trainer.optimizer.step(-1)
                with pytest.raises(ValueError, match="label"):
                    trainer.net.loss_and_grads(X, Y + i + 1)
            next(trainer)
        return everything(trainer)

    assert go_on(disturb=True) == go_on(disturb=False)


# What only looks like an array ---------------------------------------------------------------------------

# SciPy is no dependency: a class that NumPy treats as it treats SciPy's, as one object.
Sparse = type("csr_matrix", (), {"__module__": "scipy.sparse._csr", "nnz": 3, "shape": (N, 4), "__len__": None})


def masked(values):
    mask = np.zeros(np.shape(values), bool)
    mask.flat[1] = True
    return np.ma.MaskedArray(values, mask)


def takers():
    """Calls that take arrays from outside, with one of them left open."""
    x, y = good()
    net = mn.Net(mn.Dense(3), 4, mn.SoftmaxCrossEntropy())
    ensemble = mn.Ensemble(net, [net])
    scores = np.zeros((N, 3))
    return {
        "predict": net.predict,
        "forward": net.forward,
        "evaluate": lambda bad: net.evaluate(bad, y),
        "loss_and_grads, labels": lambda bad: net.loss_and_grads(x, bad),
        "loss_and_grads, weights": lambda bad: net.loss_and_grads(x, y, sample_weight=bad),
        "fit": lambda bad: mn.fit(net, (bad, y), rule=mn.SGD(), lr=0.1, steps=1),
        "fit, labels": lambda bad: mn.fit(net, (x, bad), rule=mn.SGD(), lr=0.1, steps=1),
        "fit, validation": lambda bad: mn.fit(net, (x, y), rule=mn.SGD(), lr=0.1, steps=1, validation=(bad, y)),
        "split": lambda bad: mn.data.split((bad, y), (0.5, 0.5)),
        "Batches": lambda bad: mn.data.Batches((bad, y), 2),
        "Standardizer.fit": mn.data.Standardizer.fit,
        "Standardizer": mn.data.Standardizer.fit(x),
        "Ensemble.predict": ensemble.predict,
        "preflight": lambda bad: mn.preflight(net, (bad, y)),
        "Logistic": lambda bad: mn.Logistic()(scores, bad),
        "SquaredError": lambda bad: mn.SquaredError()(scores, bad),
        "Comparison": lambda bad: mn.Comparison({"one": bad}, y),
        "check_gradient": lambda bad: mn.check_gradient(np.sum, bad, x),
    }


@pytest.mark.parametrize("name", list(takers()))
def test_a_masked_array_is_refused_by_its_name(name):
    values = good()[1] if "labels" in name else np.ones(N) if "weights" in name else good()[0].astype(float)
    with pytest.raises(ValueError, match=r": expected .* without masked elements; got 1 masked of .*filled"):
        takers()[name](masked(values))


@pytest.mark.parametrize("name", list(takers()))
def test_a_sparse_matrix_is_refused_by_its_name(name):
    with pytest.raises(TypeError, match=r": expected .* as a dense array; got a sparse csr_matrix .*toarray"):
        takers()[name](Sparse())


def test_a_masked_array_without_masked_elements_is_an_array():
    x, y = good()
    net = mn.Net(mn.Dense(3), 4, mn.SoftmaxCrossEntropy())
    np.testing.assert_array_equal(net.predict(np.ma.MaskedArray(x)), net.predict(x))
    assert net.evaluate(x, np.ma.MaskedArray(y)) == net.evaluate(x, y)


@pytest.mark.parametrize("who", ["fit", "Trainer", "lr_range_test", "preflight"])
def test_x_and_y_that_are_given_one_by_one_are_told_to_be_a_pair(who):
    net = mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy())
    options = {"rule": mn.SGD(), "lr": 0.1, "batch_size": 5, "epochs": 1} if who in ("fit", "Trainer") else {}
    before = net.params.copy()
    with pytest.raises(TypeError, match=rf"{who}: expected data as one pair, {who}\(net, \(x, y\), \.\.\.\)"):
        getattr(mn, who)(net, *mn.datasets.iris(), **options)
    assert np.array_equal(net.params, before)
