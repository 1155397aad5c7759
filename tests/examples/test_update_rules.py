"""The comparison of update rules: its choices, its statistics, and that it runs to the end."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from figure_cases import only_a_mark
from matplotlib.figure import Figure

SCRIPT = Path(__file__).parents[2] / "examples" / "update_rules.py"


@pytest.fixture
def example(monkeypatch):
    """The script as a module; what it shares with the main job lies in a package beside it."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    yield importlib.import_module("update_rules")
    for name in [name for name in sys.modules if name == "update_rules" or name.split(".")[0] == "claims"]:
        del sys.modules[name]


def test_bootstrap_intervals_are_those_of_the_normal_distribution_for_many_seeds(example):
    interval = importlib.import_module("claims.base").interval
    values = np.random.default_rng(0).normal(3, 2, size=400)
    half = 1.96 * values.std() / np.sqrt(400)
    np.testing.assert_allclose(interval(values), (values.mean() - half, values.mean() + half), atol=0.1 * half)


def test_ranks_are_certain_where_no_seed_disagrees_and_shared_where_seeds_do(example):
    noise = np.random.default_rng(0).normal(size=20)
    alike = np.random.default_rng(1).normal(size=20)
    # Far apart, though noise that all share is larger; then two that only noise tells apart; then one that diverged.
    ranks = example.c.rank_intervals(
        np.stack([10 * noise, 10 * noise + 1, noise - 90, alike - 90, np.full(20, np.inf)])
    )
    assert ranks == [(3, 3), (4, 4), (1, 2), (1, 2), (5, 5)]


def test_a_path_that_diverged_is_the_worst(example):
    landscape = example.c.LANDSCAPES["Rosenbrock"]
    good = example.paths(landscape, example.c.RULES["Adam"], 0.1, 20)
    lost = example.paths(landscape, example.c.RULES["SGD"], 1.0, 20)
    assert example.reached(landscape, good) < example.reached(landscape, lost) == np.inf


def test_a_training_run_that_diverges_counts_as_infinite_loss(example):
    lost = example.c.train(example.c.RULES["SGD"], 1e30, 0, 1, 2)
    assert lost.loss.tolist() == [np.inf, np.inf]
    assert lost.accuracy.tolist() == [0, 0]


def test_rates_too_low_and_too_high(example, tmp_path):
    assert example.rates_too_low_and_too_high(tmp_path).verdict == "holds"
    assert (tmp_path / "b1_valley.png").exists()


def test_the_script_writes_tables_and_figures(example, tmp_path, monkeypatch, capsys):
    few = {"first": ("Nesterov", "Adam", "SignMomentum"), "later": ("Adam", "L-BFGS")}
    families = {kind: {label: example.FAMILIES[kind][label] for label in labels} for kind, labels in few.items()}
    monkeypatch.setattr(example, "FAMILIES", families)
    monkeypatch.setattr(example, "GRID", (0.001, 0.01))
    three = {name: example.c.LANDSCAPES[name] for name in ("Beale", "Saddle", "Long valley")}
    monkeypatch.setattr(example.c, "LANDSCAPES", three)
    monkeypatch.setattr(Figure, "savefig", only_a_mark)  # other tests draw these kinds of figures
    options = ["--out", str(tmp_path), "--steps", "5", "--frames", "3", "--tuning", "1", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *options, "--problem", "digits_softmax"])
    example.main()
    printed = capsys.readouterr()
    assert printed.err == ""  # no progress bar where nobody watches
    assert "| rule | Beale | Saddle | Long valley |" in printed.out
    (own,) = (line for line in printed.out.splitlines() if "| SignMomentum |" in line and "digits_softmax" in line)
    assert "Python takes every step" in own
    document = json.loads((tmp_path / "update_rules.json").read_text())
    assert [row["claim"] for row in document["claims"]] == ["B1"]
    assert list(document["landscapes"]["Beale"]) == ["Nesterov", "Adam", "SignMomentum", "L-BFGS"]
    assert "SignMomentum" in (tmp_path / "rules.html").read_text(encoding="utf-8")
    for picture in [*tmp_path.glob("*.png"), *tmp_path.glob("*.gif")]:
        assert picture.stat().st_size < 1.5e6
        assert picture.with_suffix(".csv").exists()


def test_the_script_says_what_it_takes(run_example):
    assert "--seeds" in run_example("update_rules.py", "--help").stdout
