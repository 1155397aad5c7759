"""The example with texts measures what it says, and writes its figure."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

import minnet as mn
from minnet.data import Text

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("char_lstm")


def test_the_example_compares_networks_with_counts(run_example, tmp_path):
    done = run_example("char_lstm.py", "--epochs", "1", "--units", "8", "--characters", "9000", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "8,100 characters to learn from, 900 held out" in done.stdout
    assert "counts of 5 characters" in done.stdout
    assert "LSTM, " in done.stdout
    assert (tmp_path / "char_lstm.png").stat().st_size > 5000


def test_counts_are_those_of_witten_and_bell_and_sum_to_1(example):
    text = Text("abab", "abc")
    counts = example.Counts(text, 2)
    # Without context: a and b came twice each, so N = 4 and T = 2; after a, only b came, twice, so N = 2 and T = 1.
    without = {"a": (2 + 2 / 3) / 6, "b": (2 + 2 / 3) / 6, "c": (2 / 3) / 6}
    after_a = {"a": without["a"] / 3, "b": (2 + without["b"]) / 3, "c": without["c"] / 3}
    for character in "abc":
        assert counts.probability(character, "") == pytest.approx(without[character])
        assert counts.probability(character, "a") == pytest.approx(after_a[character])
        assert counts.probability(character, "c") == counts.probability(character, "")  # never seen
    assert sum(after_a.values()) == pytest.approx(1)
    bits = -(math.log2(without["a"]) + math.log2(after_a["b"])) / 2
    assert counts.bits(Text("ab", "abc")) == pytest.approx(bits)


def test_bits_of_a_net_are_those_of_one_long_pass(example):
    text = Text("the quick brown fox jumps over the lazy dog")
    size = len(text.vocabulary)
    layers = [mn.Embedding(size, 4), mn.GRU(5), mn.Dense(size)]
    net, long = (mn.Net(layers, time, mn.SoftmaxCrossEntropy(), dtype=np.float64) for time in (7, 21))
    x, y = text.streams(2, 21)
    assert example.bits_of(net, text, 2) == pytest.approx(long.loss(x, y) / math.log(2), rel=1e-12)
