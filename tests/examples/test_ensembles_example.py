"""The examples of N24, N25 and L6: every way spends the same steps, and the script runs."""

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def claims(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    yield importlib.import_module("claims.ensembles")
    for name in [name for name in sys.modules if name.split(".")[0] == "claims"]:
        del sys.modules[name]


def test_every_way_of_making_an_ensemble_spends_the_same_steps(claims, monkeypatch):
    task = dataclasses.replace(claims.digits_task(1500), steps=60, members=3)
    spent = []
    run = claims.Task.run

    def counted(self, seed, steps, *arguments):
        spent.append(steps)
        return run(self, seed, steps, *arguments)

    monkeypatch.setattr(claims.Task, "run", counted)
    study = claims.study(task, 0)
    steps = study.comparison.steps
    assert set(steps) == set(study.comparison.names)
    assert {n for name, n in steps.items() if "all of these" not in name} == {60}
    # The long run, three starts, six trials, one run of cycles: four ways.
    assert sum(spent) == steps["greedy selection from all of these"] == 4 * 60
    assert len(spent) == 1 + 3 + 6 + 1
    again = claims.study(task, 0)
    assert np.array_equal(again.comparison.predicted, study.comparison.predicted)


def test_the_correlation_is_that_of_gains_and_disagreement(claims):
    def made(slope, noise, seed):
        rng = np.random.default_rng(seed)
        apart = dict(zip("abcd", (0.01, 0.02, 0.03, 0.04), strict=True))
        gain = {name: slope * value + noise * rng.standard_normal() for name, value in apart.items()}
        return claims.Study(None, {}, apart, gain)

    assert claims.correlation_of_gain([made(0.2, 0, seed) for seed in range(5)]) == pytest.approx((1, 1, 1))
    middle, low, high = claims.correlation_of_gain([made(0, 0.01, seed) for seed in range(30)])
    assert low < 0 < high
    assert abs(middle) < 0.4


def test_the_script_on_cifar10_says_what_it_needs(run_example, monkeypatch):
    monkeypatch.delenv("MINNET_DATA", raising=False)
    assert "--seeds" in run_example("ensembles.py", "--help").stdout
    assert "expected MINNET_DATA to name a folder" in run_example("ensembles.py").stderr
