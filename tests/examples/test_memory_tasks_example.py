"""The example of tasks with memory: its tasks are the published ones, and it writes its figures."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

import minnet as mn

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("memory_tasks")


def test_the_answers_of_the_tasks_are_right(example):
    rng = np.random.default_rng(0)
    x, y = example.adding(7).make(rng, 50)
    assert (x[..., 1].sum(axis=1) == 2).all()
    assert (x[:, :3, 1].sum(axis=1) == 1).all()  # one of the marks is in the first half
    np.testing.assert_allclose(y[:, 0], (x[..., 0] * x[..., 1]).sum(axis=1), rtol=1e-6)
    x, y = example.copy(5).make(rng, 50)
    assert x.shape == (50, 25)
    for sequence, answer in zip(x.tolist(), y.tolist(), strict=True):
        symbols = sequence[:10]
        assert max(symbols) < 8
        assert sequence[10:] == [8] * 4 + [9] + [8] * 10  # the mark is T = 5 steps after the last symbol
        assert answer == [8] * 15 + symbols
    x, y = example.parity(9).make(rng, 50)
    assert all(answer[t] == sum(bits[: t + 1]) % 2 for bits, answer in zip(x, y, strict=True) for t in range(9))


def test_the_losses_without_memory_are_those_of_the_best_constant_answers(example):
    rng = np.random.default_rng(1)
    task = example.adding(20)
    _, y = task.make(rng, 20_000)
    assert mn.SquaredError()(np.ones_like(y), y) == pytest.approx(task.chance, rel=0.03)
    for task, classes in ((example.copy(20), 8), (example.parity(30), 2)):
        _, y = task.make(rng, 100)
        shares = np.full((*y.shape, classes + 1), -1e3)
        shares[..., :classes] = 0  # all symbols are as likely
        if classes == 8:
            shares[:, :-10, 8] = 1e3  # where blanks are due, they are certain
        assert task.loss(shares, y) == pytest.approx(task.chance)
    assert example.copy(20).chance == pytest.approx(10 * math.log(8) / 40)


def test_the_share_of_right_answers_is_of_those_that_need_memory(example):
    class Copier:
        def predict(self, x):
            said = np.full_like(x, 0)  # wrong where blanks are due
            said[:, -10:] = 8  # wrong where symbols are due
            said[:, -5:] = x[:, 5:10]
            return np.eye(9)[said]

    class Counter:
        def predict(self, x):
            return np.eye(2)[x.cumsum(axis=1) % 2]

    assert example.right(example.copy(10), Copier()) == 0.5  # five of the ten symbols
    assert example.right(example.parity(9), Counter()) == 1


def test_attention_looks_back_at_no_later_position(example):
    task = example.copy(5)
    net = task.net(example.kinds(8, last=False)["attention"])
    x, _ = task.make(np.random.default_rng(0), 20)
    before = net.predict(x)
    x[:, 9] = (x[:, 9] + 1) % 8
    after = net.predict(x)
    np.testing.assert_array_equal(after[:, :9], before[:, :9])
    assert (after[:, 9:] != before[:, 9:]).any(axis=(0, 2)).all()


def test_the_example_compares_layers_and_draws_their_gradients(run_example, tmp_path):
    arguments = "--time", "6", "--units", "5", "--steps", "4", "--out", str(tmp_path)
    done = run_example("memory_tasks.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert "adding, T = 6: loss without memory 0.1667" in done.stdout
    assert done.stdout.count("attention ") == 2  # in copying and in parity, whose answers are at each position
    assert done.stdout.count("of the answers are right") == 2 * 5
    assert "factor by which the norm of the gradient changes in a step backwards, after training" in done.stdout
    names = "memory_tasks", "memory_gradients_before", "memory_gradients_after"
    assert {path.stem for path in tmp_path.glob("*.png")} == set(names)
    lines = (tmp_path / "memory_gradients_before.csv").read_text().splitlines()
    assert len(lines) == 1 + 6 * 6  # five layers, of which the LSTM has two states
