"""What people write who know other libraries: the errors say what to write in minnet, and that exists."""

import copy
import inspect
import pickle
import re

import numpy as np
import pytest

import minnet as mn
from minnet.base import guide
from minnet.diagnostics import Dashboard

X, Y = np.zeros((6, 4), np.float32), np.arange(6) % 3
NET = mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy())
GIVEN = {"rule": mn.SGD(), "lr": 0.1, "batch_size": 2, "epochs": 1}


def trainer(**arguments):
    return mn.Trainer(NET, (X, Y), **GIVEN | arguments)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AdamW", r"Adam\(\) with decoupled decay"),
        ("Linear", r"Dense\(units\), or schedules.Linear"),
        ("CrossEntropyLoss", r"SoftmaxCrossEntropy\(\), which takes scores"),
        ("BatchNorm2d", r"BatchNorm\(\)"),
        ("Conv2d", "Conv2D$"),
        ("relu", "ReLU$"),
        ("softmax_cross_entropy", "SoftmaxCrossEntropy$"),
        ("Sequential", r"Net\(\[layer"),
        ("Cosine", r"schedules\.Cosine$"),
        ("Batches", r"data\.Batches$"),
        ("Dashboard", r"diagnostics\.Dashboard$"),
        ("HeNormal", r"initializers\.HeNormal$"),
        ("DataLoader", r"data\.Batches\(\(x, y\), batch_size\)"),
        ("EarlyStoping", "EarlyStopping$"),
        ("Conv1D", "no such layer"),
    ],
)
def test_a_name_of_another_library_leads_on(name, words):
    with pytest.raises(AttributeError, match=f"^module 'minnet' has no attribute '{name}'; in minnet: {words}"):
        getattr(mn, name)


def test_a_name_that_nobody_knows_gets_no_hint():
    with pytest.raises(AttributeError, match=r"^module 'minnet' has no attribute 'xyzzy'$"):
        _ = mn.xyzzy
    with pytest.raises(AttributeError, match=r"^'Net' object has no attribute 'xyzzy'$"):
        _ = NET.xyzzy


@pytest.mark.parametrize(
    ("subject", "name", "words"),
    [
        (NET, "fit", r"minnet\.fit\(net, \(x, y\)"),
        (NET, "parameters", r"net\.params .* net\.named_parameters\(\)"),
        (NET, "zero_grad", "nothing is needed"),
        (NET, "state_dict", "save_weights"),
        (NET, "evalute", "evaluate$"),
        (mn.Optimizer(NET, mn.SGD()), "zero_grad", "nothing is needed"),
        (mn.Momentum(0.9), "lr", "the rate comes with the step"),
        (mn.Momentum(0.9), "step", "Optimizer"),
        (mn.Dense(3), "W", r"net\.named_parameters\(\)"),
        (mn.SoftmaxCrossEntropy(), "backward", "value_and_gradient"),
        (mn.History(), "history", r"history\['loss'\]"),
        (trainer(), "train", r"run\(\)"),
        (mn.schedules.Cosine(0.1, 9), "lenght", "length$"),
        (mn.data.Batches((X, Y), 2), "batchsize", "batch_size$"),
        (mn.EMA(), "aplied", "applied$"),
    ],
)
def test_an_attribute_of_another_library_leads_on(subject, name, words):
    with pytest.raises(AttributeError, match=f"^'{type(subject).__name__}' object has no attribute '{name}'.*{words}"):
        getattr(subject, name)
    assert not hasattr(subject, name)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: mn.fit(NET, (X, Y), rule=mn.SGD(), learning_rate=0.1),
            r"^fit: .* got learning_rate; it is called lr",
        ),
        (lambda: mn.fit(NET, (X, Y), **GIVEN, num_epochs=1), r"^fit: .* got num_epochs; it is called epochs here"),
        (lambda: mn.fit(NET, (X, Y), optimizer=mn.SGD(), lr=0.1), r"^fit: .* got optimizer; it is called rule here"),
        (lambda: mn.fit(NET, (X, Y), **GIVEN, momentum=0.9), r"^fit: .* got momentum; .*rule=Momentum\(0\.9\)"),
        (lambda: mn.fit(NET, (X, Y), **GIVEN, reg=0.9), r"^fit: .* got reg; Net\(\.\.\., l2=1e-4\)"),
        (lambda: mn.fit(NET, x=X, y=Y, **GIVEN), r"^fit: .* got x; data are one pair, \(x, y\)"),
        (lambda: mn.fit(NET, (X, Y), **GIVEN, evaluate_trainig=True), r"^fit: .* it is called evaluate_training here"),
        (
            lambda: mn.fit(NET, (X, Y), rule=mn.SGD()),
            r"^fit: expected lr as well: lr=0\.001 or .*; got net, data, rule",
        ),
        (lambda: mn.fit(NET, (X, Y)), r"^fit: expected rule and lr as well: rule=Adam\(\), lr=0\.001"),
        (lambda: mn.fit(NET, X, Y, **GIVEN), r"^fit: expected data as one pair, fit\(net, \(x, y\), \.\.\.\)"),
        (lambda: mn.fit(NET, X, **GIVEN), r"got ndarray; x and y are one argument"),
        (lambda: trainer(batchsize=2), r"^Trainer: .* got batchsize; it is called batch_size here"),
        (
            lambda: mn.Trainer(NET, X, Y, **GIVEN),
            r"^Trainer: expected data as one pair, Trainer\(net, \(x, y\)",
        ),
        (lambda: mn.data.Batches(X, Y, 2), r"^Batches: expected data as one pair, Batches\(\(x, y\), \.\.\.\)"),
        (lambda: mn.data.Batches(X, Y), r"^Batches: expected data as a pair \(x, y\); got ndarray; x and y are one"),
        (lambda: mn.data.split(X, Y, (0.8, 0.2)), r"^split: expected data as one pair, split\(\(x, y\), \.\.\.\)"),
        (lambda: mn.data.split(X, Y), r"^split: expected data as a pair \(x, y\); got ndarray; x and y are one"),
        (lambda: mn.data.split((X, Y), test_size=0.2), r"^split: .* got test_size; it is called fractions here"),
        (lambda: mn.data.Augment(hflip=True), r"^Augment: .* it is called flip here"),
        (lambda: mn.Dense(3, activation="relu"), r"^Dense: .* got activation; an activation is a layer of its own"),
        (lambda: mn.Dense(3, 4, 5, 6), r"^Dense: expected at most 3 arguments without a name; got 1 more"),
        (lambda: mn.Conv2D(3, kernel_size=3), r"^Conv2D: .* it is called kernel here"),
        (lambda: mn.MaxPool2D(pool_size=2), r"^MaxPool2D: .* it is called size here"),
        (lambda: mn.Dropout(p=0.5), r"^Dropout: .* it is called rate here"),
        (lambda: mn.ReLU(inplace=True), r"^ReLU: expected no arguments; got inplace; "),
        (lambda: mn.SoftmaxCrossEntropy(ignore_index=-1), r"^SoftmaxCrossEntropy: .* it is called ignored here"),
        (lambda: mn.Net([mn.Dense(3)], 4, lr=0.1), r"^Net: .* got lr; fit\("),
        (lambda: mn.Net([mn.Dense(3)]), r"^Net: expected input_shape as well: input_shape=784"),
        (lambda: mn.EarlyStopping(restore_best_weights=True), r"^EarlyStopping: .* it is called restore here"),
        (lambda: mn.ReduceOnPlateau(min_lr=0.1), r"^ReduceOnPlateau: .* it is called floor here"),
        (lambda: Dashboard(filepath="x"), r"^Dashboard: expected arguments among path, "),
        (lambda: mn.schedules.Cosine(0.1, T_max=9), r"^Cosine: .* it is called steps here"),
        (lambda: mn.EMA(beta=0.9), r"^EMA: .* it is called decay here"),
        (lambda: mn.lr_range_test(NET, (X, Y), batchsize=3), r"^lr_range_test: .* it is called batch_size here"),
    ],
)
def test_an_argument_of_another_library_leads_on(call, words):
    before = NET.params.copy()
    with pytest.raises(TypeError, match=words):
        call()
    assert np.array_equal(NET.params, before)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("val_acc", "val_accuracy"),
        ("acc", "accuracy"),
        ("validation_loss", "val_loss"),
        ("valaccuracy", "val_accuracy"),
    ],
)
@pytest.mark.parametrize(
    "make",
    [
        *(mn.KeepBest, mn.EarlyStopping, mn.ReduceOnPlateau, mn.HalveOnStall),
        lambda name, **mode: mn.Checkpoint("folder", best=name, **mode),
    ],
)
def test_a_misspelt_column_is_answered_with_the_columns(make, name, meant):
    with pytest.raises(
        ValueError, match=rf"figures, accuracy, loss, .*; got '{name}' without a mode \(is '{meant}' meant"
    ):
        make(name)
    run = trainer(callbacks=[make(name, mode="max")], validation=(X, Y))
    with pytest.raises(ValueError, match=rf"the columns \['epoch', .*; got '{name}' \(is '{meant}' meant\?\)"):
        run.run(progress=False)


class Own(mn.Layer):
    """A layer of a user, whose property fails."""

    def __init__(self, units=3):
        self.units = units

    @property
    def size(self):
        return self.missing


def test_classes_of_ones_own_keep_their_signature_and_their_errors():
    assert Own(units=4).units == 4
    with pytest.raises(
        TypeError, match=r"^Own: expected arguments among units; got out_features; it is called units here"
    ):
        Own(out_features=4)
    with pytest.raises(AttributeError, match=r"^'Own' object has no attribute 'missing'"):
        _ = Own().size


def test_copies_and_signatures_are_what_they_were():
    for value in (mn.Dense(3), mn.schedules.Cosine(0.1, 9), mn.SoftmaxCrossEntropy(ignored=3), mn.data.Augment(crop=1)):
        assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == copy.copy(value) == value
    assert list(inspect.signature(mn.fit).parameters)[:4] == ["net", "data", "rule", "lr"]
    assert list(inspect.signature(mn.Dense).parameters) == ["units", "init", "bias"]


# The tables ---------------------------------------------------------------------------------------------------------

TEXTS = {text for table in guide.NAMES.values() for text in table.values()} | set(guide.PLACES.values())
METHODS = {name for kind in (mn.Net, mn.Optimizer, mn.Trainer, mn.Loss) for name in dir(kind)} | {"argmax", "help"}


def exists(path):
    """Whether a name that a text calls is one of minnet, of its modules, or a method of its objects."""
    found = mn
    for part in path.removeprefix("minnet.").split("."):
        if not hasattr(found, part):
            return path.rpartition(".")[2] in METHODS
        found = getattr(found, part)
    return True


@pytest.mark.parametrize("text", sorted(TEXTS))
def test_what_a_text_calls_exists(text):
    for path in re.findall(r"([A-Za-z_][\w.]*)\(", text):
        assert exists(path), path


@pytest.mark.parametrize("owner", guide.NAMES)
def test_no_entry_hides_a_name_that_exists(owner):
    known = mn.__all__ if owner == "minnet" else dir(getattr(mn, owner))
    assert not {guide.plain(name) for name in known} & set(guide.NAMES[owner])


def test_entries_have_no_case_and_no_underscores():
    for table in (*guide.NAMES.values(), guide.SAME, guide.PLACES):
        assert all(name == guide.plain(name) for name in table)


def test_what_an_argument_is_called_is_an_argument_of_something():
    kinds = [value for name in mn.__all__ if callable(value := getattr(mn, name)) and not name.endswith("Error")]
    kinds += [mn.data.Batches, mn.data.split, Dashboard, *vars(mn.schedules).values()]
    names = {name for kind in kinds if callable(kind) for name in inspect.signature(kind).parameters}
    assert {name for called in guide.SAME.values() for name in called} <= names
    assert set(guide.EXAMPLES) <= names
