"""``mn.sklearn``: scikit-learn's tools around the estimators, and minnet's runs inside of them."""

import copy
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: minnet.sklearn is not tested")

from numba.core import event
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import minnet as mn
from minnet.sklearn import Classifier, Regressor

SMALL = {"layers": (8,), "lr": 0.05, "epochs": 20}
X, Y = mn.datasets.iris()
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]


# The runs are minnet's ---------------------------------------------------------------------------------------


def by_hand(loss, y, outputs, *, epochs=20, seed=3, rule=None, lr=0.05, l2=1e-3, batch_size=40, layers=()):
    layers = layers or [mn.Dense(8), mn.ReLU()]
    net = mn.Net([*layers, mn.Dense(outputs)], 4, loss, l2=l2, seed=seed)
    history = mn.fit(
        net, (X, y), rule=rule or mn.Adam(), lr=lr, batch_size=batch_size, epochs=epochs, seed=seed, progress=False
    )
    return net, history


GIVEN = {"l2": 1e-3, "batch_size": 40, "random_state": 3}


def test_fit_has_the_bits_of_a_run_by_hand():
    net, history = by_hand(mn.SoftmaxCrossEntropy(), Y, 3)
    classifier = Classifier(**SMALL, **GIVEN).fit(X, NAMES)
    assert np.array_equal(classifier.net_.params, net.params)
    assert classifier.loss_curve_ == history["loss"]
    assert classifier.n_iter_ == 20
    assert np.array_equal(
        classifier.predict(X), np.array(["setosa", "versicolor", "virginica"])[net.predict(X).argmax(1)]
    )

    targets = X[:, :2] - 1
    net, _ = by_hand(mn.SquaredError(), targets, 2)
    regressor = Regressor(**SMALL, **GIVEN).fit(X, targets)
    assert np.array_equal(regressor.predict(X), net.predict(X))


@pytest.mark.parametrize("rule", [mn.Adam(), mn.ScheduleFreeSGD(), mn.Momentum(0.9)])
def test_calls_of_partial_fit_have_the_bits_of_one_run(rule):
    rate = mn.schedules.Cosine(0.05, 12)  # 3 epochs of 4 steps
    net, history = by_hand(mn.SoftmaxCrossEntropy(), Y, 3, epochs=3, rule=rule, lr=rate)
    classifier = Classifier(**SMALL | {"lr": rate}, rule=rule, **GIVEN)
    classifier.partial_fit(X, NAMES, classes=np.unique(NAMES))
    classifier = pickle.loads(pickle.dumps(classifier)).partial_fit(X, NAMES)
    other = copy.deepcopy(classifier).partial_fit(X, NAMES)
    classifier.partial_fit(X, NAMES)
    assert np.array_equal(classifier.net_.params, net.params)
    assert np.array_equal(other.net_.params, net.params)
    assert classifier.loss_curve_ == pytest.approx(history["loss"], rel=1e-12)


def test_partial_fit_goes_on_from_the_weights_of_fit():
    regressor = Regressor(**SMALL).fit(X, X[:, 0])
    before, twin = regressor.net_.params.copy(), clone(regressor).set_params(epochs=1)
    regressor.partial_fit(X, X[:, 0])
    assert not np.array_equal(regressor.net_.params, before)
    assert regressor.n_iter_ == len(regressor.loss_curve_) == 21
    assert regressor.loss_curve_[-1] < twin.fit(X, X[:, 0]).loss_curve_[0]
    regressor.fit(X, X[:, 0])
    assert np.array_equal(regressor.net_.params, before)


def test_layers_may_be_any_and_a_last_batch_that_is_too_short_is_left_out():
    layers = [mn.Reshape((2, 2, 1)), mn.Flatten(), 8, mn.Dense(6), mn.BatchNorm(), mn.ReLU()]
    classifier = Classifier(layers, batch_size=149, epochs=60, lr=0.05).fit(X, Y)
    assert classifier.net_.step == 60
    assert classifier.score(X, Y) > 0.9
    assert Classifier([], batch_size=149, epochs=2).fit(X, Y).net_.step == 4


def test_the_precision_is_that_of_the_features_unless_it_is_given():
    assert Classifier(**SMALL).fit(X, Y).net_.dtype == np.float32
    assert Classifier(**SMALL).fit(X.astype(np.float64), Y).net_.dtype == np.float64
    assert Classifier(**SMALL).fit((X * 10).astype(np.int64), Y).net_.dtype == np.float64
    classifier = Classifier(**SMALL, dtype="float32").fit(X.astype(np.float64), Y)
    assert np.array_equal(classifier.net_.params, Classifier(**SMALL).fit(X, Y).net_.params)
    probabilities = classifier.predict_proba(X.astype(np.float64))
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-14)
    scores = classifier.net_.predict(X).astype(np.float64)
    np.testing.assert_allclose(probabilities, np.exp(scores) / np.exp(scores).sum(1, keepdims=True), rtol=1e-12)


def test_early_stopping_holds_out_samples_of_every_class_and_keeps_the_best_weights(monkeypatch):
    seen = {}
    from minnet.sklearn import estimators

    def fit(net, data, **arguments):
        seen.update(arguments, data=data)
        return mn.fit(net, data, **arguments)

    monkeypatch.setattr(estimators, "fit", fit)
    weights = np.random.default_rng(0).integers(0, 3, 150).astype(float)
    classifier = Classifier((8,), lr=0.3, epochs=200, early_stopping=True, validation_fraction=0.2, patience=3)
    classifier.fit(X, NAMES, sample_weight=weights)
    assert classifier.n_iter_ < 200
    assert classifier.history_.stopped == "no better val_loss in 3 epochs"
    held_x, held_y, held_weights = seen["validation"]
    assert len(held_x) == round(0.2 * np.count_nonzero(weights))
    assert len(held_x) + len(seen["data"][0]) == np.count_nonzero(weights)
    assert set(held_y) == {0, 1, 2}
    measured = classifier.net_.evaluate(held_x, held_y, sample_weight=held_weights)["loss"]
    assert measured == min(classifier.history_["val_loss"])
    parts = np.concatenate([seen["data"][0], held_x])
    assert sorted(map(tuple, parts)) == sorted(map(tuple, X[weights > 0]))


def test_weights_multiply_the_losses_of_samples():
    weights = np.where(Y == 0, 3.0, 1.0)
    classifier = Classifier(**SMALL, **GIVEN).fit(X, Y, sample_weight=weights)
    net = mn.Net([mn.Dense(8), mn.ReLU(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), l2=1e-3, seed=3)
    given = {"rule": mn.Adam(), "lr": 0.05, "batch_size": 40, "epochs": 20, "seed": 3, "progress": False}
    mn.fit(net, (X, Y), sample_weight=weights, **given)
    assert np.array_equal(classifier.net_.params, net.params)
    passes = Classifier(**SMALL, **GIVEN).partial_fit(X, Y, classes=[0, 1, 2], sample_weight=weights)
    one = mn.Net([mn.Dense(8), mn.ReLU(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), l2=1e-3, seed=3)
    history = mn.fit(one, (X, Y), sample_weight=weights, **given | {"epochs": 1})
    assert np.array_equal(passes.net_.params, one.params)
    assert passes.loss_curve_ == pytest.approx(history["loss"], rel=1e-12)


def test_random_state_is_a_seed_or_draws_one():
    def first(state):
        return Classifier(**SMALL, random_state=state).fit(X, Y).net_.params

    assert np.array_equal(first(5), first(np.int64(5)))
    assert not np.array_equal(first(5), first(6))
    state = np.random.RandomState(0)
    assert not np.array_equal(first(state), first(state))


# scikit-learn around them ------------------------------------------------------------------------------------


def test_a_search_over_a_pipeline_gives_the_same_in_one_process_and_in_two():
    pipeline = make_pipeline(StandardScaler(), Classifier((8,), epochs=10, batch_size=30))
    grid = {"classifier__rule": [mn.Adam(), mn.Nesterov(0.9)], "classifier__lr": [0.001, 0.1]}
    one, two = (GridSearchCV(pipeline, grid, cv=3, n_jobs=jobs).fit(X, NAMES) for jobs in (1, 2))
    assert np.array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert one.best_params_["classifier__lr"] == 0.1
    assert two.score(X, NAMES) > 0.9
    assert np.array_equal(pickle.loads(pickle.dumps(two)).predict(X), two.predict(X))


def test_cross_validation_and_scaled_targets():
    targets = 1000 * X[:, 2]
    scaled = TransformedTargetRegressor(Regressor((16,), lr=0.02, epochs=60), transformer=StandardScaler())
    assert (
        cross_val_score(
            make_pipeline(StandardScaler(), scaled), X, targets, cv=KFold(3, shuffle=True, random_state=0)
        ).min()
        > 0.8
    )


def test_tables_with_names_keep_them():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: tables with names are not tested")
    table = pandas.DataFrame(X, columns=list("abcd"))
    classifier = Classifier(**SMALL).fit(table, pandas.Series(NAMES))
    assert list(classifier.feature_names_in_) == list("abcd")
    assert np.array_equal(classifier.predict(table), Classifier(**SMALL).fit(X, NAMES).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(table[["b", "a", "c", "d"]])
    assert list(Regressor(**SMALL).fit(table, table[["a"]]).predict(table).shape) == [150, 1]


def test_a_second_problem_compiles_nothing():
    # A function of recorded steps is compiled for a run of more than 64 steps; these runs have fewer.
    Classifier(**SMALL).fit(X, Y).predict_proba(X)
    x = np.random.default_rng(0).standard_normal((61, 7)).astype(np.float32)
    with event.install_recorder("numba:compile") as compiled:
        classifier = Classifier(**SMALL | {"layers": (5, 6)}).fit(x, np.arange(61) % 4)
        x.setflags(write=False)  # as memory maps are
        classifier.predict_proba(x)
    assert compiled.buffer == []


# What goes wrong ---------------------------------------------------------------------------------------------

WITH_NAN = X.copy()
WITH_NAN[3, 1] = np.nan


@pytest.mark.parametrize(
    ("arguments", "x", "y", "error", "words"),
    [
        ({}, sparse.csr_array(X), Y, TypeError, "(?i)sparse data was passed"),
        ({}, WITH_NAN, Y, ValueError, "contains NaN"),
        ({}, X, np.zeros(150), ValueError, r"^Classifier: expected at least two classes in y; got one class"),
        ({}, X, X[:, 0], ValueError, "Unknown label type: continuous"),
        ({}, X.reshape(150, 2, 2), Y, ValueError, "with dim 3"),
        ({}, X[:-1], Y, ValueError, "inconsistent numbers of samples"),
        ({"layers": 100}, X, Y, TypeError, r"^Classifier: expected layers as a sequence .*; got 100"),
        ({"layers": mn.Dense(3)}, X, Y, TypeError, r"^Classifier: expected layers as a sequence"),
        ({"layers": "100"}, X, Y, TypeError, r"^Classifier: expected layers as a sequence .*; got '100'"),
        ({"layers": (8, "relu")}, X, Y, TypeError, r"got 'relu' among them"),
        ({"layers": (0,)}, X, Y, ValueError, "Dense: expected units"),
        ({"layers": [mn.Reshape((2, 2))]}, X, Y, ValueError, r"^Classifier: expected layers that end in one axis"),
        ({"rule": "adam"}, X, Y, TypeError, r"expected a Rule, such as Adam\(\); got 'adam'"),
        ({"lr": -1}, X, Y, ValueError, "expected lr of at least 0"),
        ({"epochs": 0}, X, Y, ValueError, "expected epochs of at least 1"),
        ({"batch_size": 0.5}, X, Y, TypeError, "expected batch_size to be a whole number"),
        ({"dtype": "float16"}, X, Y, ValueError, "expected dtype float32 or float64"),
        ({"random_state": -1}, X, Y, ValueError, "expected random_state of at least 0"),
        ({"early_stopping": 1}, X, Y, TypeError, "expected early_stopping to be True or False"),
        ({"early_stopping": True, "validation_fraction": 0.001}, X, Y, ValueError, "samples to stop by; got 150"),
        ({"early_stopping": True, "validation_fraction": 1.0}, X, Y, ValueError, "0 <= validation_fraction < 1"),
    ],
)
def test_bad_input_is_refused_and_the_net_stays(arguments, x, y, error, words):
    classifier = Classifier(**SMALL).fit(X, Y)
    net, params = classifier.net_, classifier.net_.params.copy()
    classifier.set_params(**arguments)
    with pytest.raises(error, match=words):
        classifier.fit(x, y)
    assert classifier.net_ is net
    assert np.array_equal(net.params, params)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.zeros(150), "expected a sample_weight above zero; got 150 weights, all of them zero"),
        (-np.ones(150), "finite and of at least 0"),
        (np.ones(3), "as 150 numbers"),
        (np.full(150, np.nan), "finite"),
    ],
)
def test_bad_weights_are_refused(weights, words):
    with pytest.raises(ValueError, match=rf"^Classifier: .*{words}"):
        Classifier(**SMALL).fit(X, Y, sample_weight=weights)


def test_partial_fit_refuses_what_does_not_go_on():
    classifier = Classifier(**SMALL)
    with pytest.raises(ValueError, match=r"expected classes=\.\.\. in the first call"):
        classifier.partial_fit(X, NAMES)
    with pytest.raises(ValueError, match=r"at least two classes; got \['a'\]"):
        classifier.partial_fit(X, NAMES, classes=["a"])
    with pytest.raises(ValueError, match=r"expected labels among the classes .*; got virginica in sample 100"):
        classifier.partial_fit(X, NAMES, classes=["setosa", "versicolor"])
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    classifier.partial_fit(X, NAMES, classes=np.unique(NAMES))
    params = classifier.net_.params.copy()
    with pytest.raises(ValueError, match="expected the classes of the calls before"):
        classifier.partial_fit(X, NAMES, classes=["setosa", "other"])
    with pytest.raises(ValueError, match="features"):
        classifier.partial_fit(X[:, :3], NAMES)
    assert np.array_equal(classifier.net_.params, params)
    regressor = Regressor(**SMALL).partial_fit(X, X[:, :2])
    with pytest.raises(ValueError, match="expected targets with 2 outputs, as before; got 3"):
        regressor.partial_fit(X, X[:, :3])


@pytest.mark.parametrize("arguments", [{"lr": -1}, {"lr": 1e30, "rule": mn.SGD(), "epochs": 50}])
@pytest.mark.parametrize("kind", [mn.sklearn.Classifier, mn.sklearn.Regressor])
def test_a_refused_fit_with_other_features_leaves_the_fitted_estimator(kind, arguments):
    rng = np.random.default_rng(0)
    x, other, y = rng.standard_normal((20, 3)), 100 * rng.standard_normal((20, 5)), np.arange(20) % 2
    model = kind((4,), epochs=1).fit(x, y)
    before = model.predict(x)
    with pytest.raises((ValueError, mn.DivergenceError)):
        model.set_params(**arguments).fit(other, y)
    np.testing.assert_array_equal(model.predict(x), before)


def test_a_refused_first_part_leaves_the_estimator_as_it_was():
    model = mn.sklearn.Classifier((4,))
    with pytest.raises(ValueError, match=r"expected classes=\.\.\. in the first call"):
        model.partial_fit(np.zeros((4, 5)), [0, 1, 0, 1])
    assert not hasattr(model, "n_features_in_")


def test_a_pass_that_diverges_leaves_the_weights_and_the_state_as_they_were():
    regressor, twin = (Regressor((8,), rule=mn.Momentum(0.9), lr=0.01).partial_fit(X, X[:, 0]) for _ in range(2))
    with pytest.raises(
        mn.DivergenceError, match=r"^Regressor\.partial_fit: expected a finite loss.*lower learning rate"
    ):
        regressor.partial_fit(1e30 * X, X[:, 0])
    assert np.array_equal(regressor.partial_fit(X, X[:, 0]).net_.params, twin.partial_fit(X, X[:, 0]).net_.params)
    assert regressor.n_iter_ == 2


def interrupting(step):
    """A learning rate during which Ctrl-C comes."""
    if step == 10:
        signal.raise_signal(signal.SIGINT)
    return 0.05


def test_ctrl_c_ends_more_than_the_run_and_leaves_a_fitted_estimator():
    classifier = Classifier((8,), lr=interrupting, epochs=100)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, NAMES)
    assert 9 <= classifier.n_iter_ <= 12
    assert set(classifier.predict(X)) <= set(NAMES)


def test_names_of_scikit_learns_network_lead_on():
    for theirs, here in (
        ("hidden_layer_sizes", "layers"),
        ("max_iter", "epochs"),
        ("learning_rate_init", "lr"),
        ("solver", "rule"),
        ("alpha", "l2"),
        ("n_iter_no_change", "patience"),
        ("verbose", "progress"),
    ):
        with pytest.raises(TypeError, match=rf"^Classifier: .*it is called {here} here"):
            Classifier(**{theirs: 1})


WITHOUT = """
import sys

import minnet as mn

assert "sklearn" not in sys.modules and "minnet.sklearn" not in sys.modules
sys.modules["sklearn"] = None  # as where it is not installed
print(dir(mn.sklearn))
assert not hasattr(mn.sklearn, "MLPClassifier")
try:
    mn.sklearn.Classifier
except ImportError as error:
    print(error)
"""


def test_without_scikit_learn_an_error_names_the_extra():
    run = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    names, error = run.stdout.splitlines()
    assert names == "['Classifier', 'Regressor']"
    assert error.startswith("minnet.sklearn: expected scikit-learn 1.6 or newer to be installed; got ")
    assert error.endswith("pip install 'minnet[sklearn]' installs it")
