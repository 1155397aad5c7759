"""The example with a transformer measures what it says."""

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
    return importlib.import_module("transformer")


def test_the_example_compares_a_transformer_with_an_lstm(run_example, tmp_path):
    small = ("--epochs", "1", "--width", "8", "--blocks", "1", "--characters", "9000")
    done = run_example("transformer.py", *small, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "8,100 characters to learn from, 900 held out" in done.stdout
    assert "  LSTM " in done.stdout
    assert "  RNN " in done.stdout
    assert "  counts of 5 characters " in done.stdout
    assert (tmp_path / "transformer.png").stat().st_size > 5000


def test_bits_of_windows_count_each_character_behind_the_first_half_window_once(example):
    text = Text("the quick brown fox jumps over the lazy dog. " * 6)
    size, half = len(text.vocabulary), example.WINDOW // 2
    net = mn.Net([mn.Embedding(size, 4), mn.Dense(size)], example.WINDOW, mn.SoftmaxCrossEntropy(), dtype=np.float64)
    end = len(text) - 1 - (len(text) - 1) % half
    each = mn.Net(net.layers, end - half, mn.SoftmaxCrossEntropy(), dtype=np.float64)  # it looks at one word at a time
    each.params = net.params
    expected = each.loss(text.words[None, half:end], text.words[None, half + 1 : end + 1]) / math.log(2)
    assert example.bits_of(net, text) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("kind", "gates"), [(mn.LSTM, 4), (mn.RNN, 1)])
def test_a_recurrent_net_has_the_least_number_of_units_for_as_many_parameters(example, kind, gates):
    def parameters(units):
        return mn.Net([mn.Embedding(61, 32), kind(units), mn.Dense(61)], 2).params.size

    units = example.units_for(100_000, 61, gates)
    assert parameters(units - 1) < 100_000 <= parameters(units)
