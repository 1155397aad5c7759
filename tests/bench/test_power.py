"""The benchmark of the gradient check's power counts what it says it counts."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
from mistakes import Mistake

import minnet as mn

power = importlib.import_module("gradcheck")  # bench/gradcheck.py


def test_misses_and_false_alarms_are_counted(monkeypatch):
    class Right(mn.Dense):
        """No mistake at all: what lets it pass has missed nothing, but the table must say so."""

    class Broken(mn.Dense):
        """Called right, and is not."""

        def backward(self, m, x, y, dy, dx):
            super().backward(m, x, y, dy, dx)
            m.db *= 2

    rows = [Mistake(Right(3), mn.Dense(3), (4,), "none"), Mistake(Broken(3), Broken(3), (4,), "doubled")]
    monkeypatch.setattr(power, "MISTAKES", rows)
    monkeypatch.setattr(power, "NETS", power.NETS[:1])
    monkeypatch.setattr(power, "CASES", {})
    monkeypatch.setattr(power, "PLAIN", {})
    monkeypatch.setattr(power, "MODES", {"everything": {"mode": "all"}})
    found = power.measure(2)
    assert found["caught"] == {"none": {"everything": "missed"}, "doubled": {"everything": "wrong"}}
    # Two layers in two kinds of pass and a net, with two seeds; of them those of the broken layer.
    assert len(found["costs"]["everything"]) == 10
    assert len(found["alarms"]["everything"]) == 4
    first = power.tables(found).splitlines()[2]
    assert first.startswith("| everything | 1 of 2 | ")
    assert first.endswith(" | 4 of 10 | - |")


def test_tables_go_between_the_marks_of_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- power: begin -->\nold\n<!-- power: end -->\nafter\n")
    for text in ("new\n", "newer\n"):
        power.put_into(page, text)
        assert page.read_text() == f"before\n<!-- power: begin -->\n{text}<!-- power: end -->\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="expected the marks"):
        power.put_into(page, "new")


def test_the_table_of_families_counts_verdicts(monkeypatch):
    class Named:
        """A case whose gradients are names of verdicts."""

        def __init__(self, seed):
            self.right = "kink" if seed == 0 else "wrong" if seed == 2 else "correct"
            self.wrong = {"a": "wrong", "b": "correct" if seed == 1 else "suspicious", "c": "round-off"}

        def check(self, verdict):
            return mn.GradientCheck((replace(RIGHT, verdict=verdict),))

    RIGHT = mn.check_gradient(lambda x: x.sum(), np.ones(1), np.ones(1)).tensors[0]
    monkeypatch.setattr(power, "FAMILIES", {"named": Named})
    found = power.measure_families(6)
    assert power.family_table(found).splitlines()[-1] == "| all | 4 | 1 | 1 | 3 | 2 | 1 |"
    assert [len(found["alarms"]), len(found["missed"])] == [1, 1]
