"""The checks that scikit-learn has for estimators."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: minnet.sklearn is not tested")

import sklearn
from sklearn.utils.estimator_checks import parametrize_with_checks

from minnet.sklearn import Classifier, Regressor

SMALL = {"layers": (8,), "lr": 0.05, "epochs": 20}


@parametrize_with_checks([Classifier(**SMALL), Regressor(**SMALL)])
def test_a_check_of_scikit_learn(estimator, check):
    check(estimator)


ARRAY_API = """
from minnet.sklearn import Classifier, Regressor
from sklearn.utils.estimator_checks import estimator_checks_generator

run = 0
for estimator in (Classifier(layers=(8,), epochs=20), Regressor(layers=(8,), epochs=20)):
    for instance, check in estimator_checks_generator(estimator):
        if "array_api" in str(check):
            check(instance)
            run += 1
print(run)
"""


def test_the_check_that_scikit_learn_skips_unless_a_variable_is_set():
    # SciPy reads the variable when it is imported.
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    run = subprocess.run([sys.executable, "-c", ARRAY_API], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    if tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9):
        assert int(run.stdout) > 0  # older ones have no such check
