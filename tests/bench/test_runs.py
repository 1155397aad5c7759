"""The benchmark of whole runs trains what it says, and counts as it says."""

import json
from dataclasses import replace

import numpy as np
import pytest
import runs
from engine_minnet import Minnet
from engines import ENGINES
from trainings import PROBLEMS, data_of


def test_the_command_reports_runs_of_minnet(tmp_path, capsys):
    options = "--engines minnet --threads 1 --runs 2 --rounds 2 --share 0.05 --starts 0 --markdown --out"
    runs.main(["iris", *options.split(), str(tmp_path)])
    found = json.loads((tmp_path / "runs.json").read_text())
    iris = found["runs"]["iris"]
    assert iris["steps of a run"] == 3 * 24
    row = iris["threads"]["1"]["minnet"]
    assert len(row["seconds a run"]) == 2
    assert row["time / minnet"] == 1
    assert row["step"] == pytest.approx(np.median(row["seconds a run"]) / 72)
    assert row["accuracies"].keys() == {"0", "1"}
    printed = capsys.readouterr().out
    assert "| iris | 1 | minnet |" in printed


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_have_whole_batches_and_data_of_their_sizes(name):
    problem, data = PROBLEMS[name], data_of(name)
    assert data.x.shape == (problem.samples, problem.units[0])
    assert data.x.dtype == np.float32
    assert problem.samples % problem.batch == 0
    assert set(data.y) == set(data.held_y) == set(range(problem.units[-1]))
    assert problem.steps == problem.epochs * problem.samples // problem.batch


@pytest.mark.parametrize("name", PROBLEMS)
def test_runs_have_rates_and_orders_of_their_own(name):
    problem = PROBLEMS[name].shortened(0)
    every = np.arange(32)
    rates = problem.rate(every)
    assert len(set(rates.tolist())) == 32
    assert (rates.min(), rates.max()) == pytest.approx(problem.rates)
    orders = problem.orders(every[:2]).reshape(2, -1)
    assert not np.array_equal(*orders)
    assert np.array_equal(np.sort(orders), [range(problem.samples)] * 2)


def test_side_by_side_in_threads_gives_the_accuracies_of_one_by_one():
    problem, data = PROBLEMS["iris"].shortened(0.1), data_of("iris")
    alone, together = (Minnet(problem, data, threads).train(np.arange(4)) for threads in (1, 2))
    assert np.array_equal(alone, together)
    assert len(set(alone)) > 1


def test_a_slow_engine_trains_other_runs_in_each_round():
    slow = ENGINES["scikit-learn"]
    parts = [runs.runs_of(slow, 32, turn, 2) for turn in range(16)]
    assert sorted(np.concatenate(parts)) == list(range(32))
    assert np.array_equal(runs.runs_of(ENGINES["JAX"], 32, 3, 2), range(32))


def test_accuracies_beyond_noise_are_reported():
    def row(accuracy):
        return {"accuracy": accuracy, "standard error": 0.01}

    assert runs.differences({"a": row(0.9), "b": row(0.92), "c": row(0.8)}) == ["c has 0.800, a 0.900"]


@pytest.mark.torch
@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam"])
def test_stacked_runs_are_those_of_one_by_one_in_pytorch(rule):
    pytest.importorskip("torch", reason="PyTorch is not installed: its runs are not compared")
    from engine_torch import OneByOne, Stacked

    iris = PROBLEMS["iris"]
    problem, data = replace(iris, batch=iris.samples, epochs=20, rule=rule), data_of("iris")  # of one order only
    one, stacked = (kind(problem, data, 1).train(np.arange(8)) for kind in (OneByOne, Stacked))
    np.testing.assert_allclose(one, stacked, atol=1e-6)
    assert len(set(one)) > 1
