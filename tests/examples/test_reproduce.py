"""The main job's table is computed, its cheapest claims hold, and faults refute them.

The main job itself puts all claims to the test; ``.ci/run`` looks at its verdicts.
"""

import importlib
import math
import subprocess
import sys
from pathlib import Path

import pytest

import minnet as mn

SCRIPT = Path(__file__).parents[2] / "examples" / "reproduce.py"


@pytest.fixture
def reproduce(monkeypatch):
    """The script as a module; its claims lie in a package beside it."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    yield importlib.import_module("reproduce")
    for name in [name for name in sys.modules if name == "reproduce" or name.split(".")[0] == "claims"]:
        del sys.modules[name]


QUICK = ["N1", "N9", "B3", "L2", "L3", "L4", "L5", "C1"]  # with all that a fault refutes below


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_claim_holds(reproduce, name, tmp_path):
    chosen = next(c for c in reproduce.CLAIMS if c.name == name)
    row = chosen.test(tmp_path)
    assert row.verdict == "holds", row
    assert all((tmp_path / figure).stat().st_size > 5000 for figure in row.figures)


def test_a_claim_is_refuted_where_the_code_is_wrong(reproduce, tmp_path, monkeypatch):
    # With weights twenty times larger the first loss is not that of chance.
    normal = reproduce.mn.initializers.Normal
    monkeypatch.setattr(reproduce.mn.initializers, "Normal", lambda std: normal(20 * std))
    chosen = next(c for c in reproduce.CLAIMS if c.name == "N9")
    assert chosen.test(tmp_path).verdict == "does not hold"


def misplaced(self, t):
    """The height of a triangle with the 1 of floor(1 + t / (2 s)) where a source has it."""
    cycle = math.floor(1 + t) / (2 * self.half_cycle)
    return max(0.0, 1 - abs(t / self.half_cycle - 2 * cycle + 1)) * self.amplitude(cycle, t)


def late_by_one(cls, name):
    """The schedule one step late."""
    real = getattr(cls, name)
    return lambda self, t: real(self, max(0, t - 1))


def too_late(self, params, grads, state, *, lr, t, decay, real=mn.Adam.apply):
    """Adam that takes its first step for its second."""
    real(self, params, grads, state, lr=lr, t=t + 1, decay=decay)


FAULTS = [
    ("L3", mn.schedules.Triangular, "height", misplaced),
    ("L4", mn.schedules.Triangular2, "amplitude", lambda self, cycle, t: 0.5**cycle),
    ("C1", mn.schedules.ExpRange, "amplitude", lambda self, cycle, t: self.gamma**cycle),
    ("L2", mn.schedules.Step, "at", late_by_one(mn.schedules.Step, "at")),
    ("L5", mn.schedules.WarmRestarts, "at", late_by_one(mn.schedules.WarmRestarts, "at")),
    ("B3", mn.Adam, "apply", too_late),
]


@pytest.mark.parametrize(("name", "cls", "method", "fault"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_fault_in_a_rule_or_schedule_refutes_its_claim(reproduce, tmp_path, monkeypatch, name, cls, method, fault):
    monkeypatch.setattr(cls, method, fault)
    chosen = next(c for c in reproduce.CLAIMS if c.name == name)
    assert chosen.test(tmp_path).verdict == "does not hold"


def test_every_claim_on_rules_and_rates_has_one_row(reproduce):
    names = [c.name for c in reproduce.CLAIMS]
    assert len(names) == len(set(names))
    wanted = {f"N{i}" for i in range(17, 23)} | {f"L{i}" for i in range(1, 6)}
    wanted |= {f"C{i}" for i in range(1, 4)} | {f"B{i}" for i in range(1, 6)}
    assert wanted <= set(names)


def test_the_script_writes_table_page_and_figures(tmp_path):
    (tmp_path / "index.html").write_text("the page of all claims")
    command = [sys.executable, str(SCRIPT), "N9", "N10", "--out", str(tmp_path), "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "N9: with small weights" in done.stdout
    assert "2 claims in" in done.stdout
    assert done.stderr == ""  # no progress bar where nobody watches
    assert done.stdout.startswith(f"minnet {mn.__version__}: 2 of ")
    assert "[2 of 2] N10: " in done.stdout
    page = (tmp_path / "N9_N10.html").read_text()
    assert "<td>N10</td>" in page
    assert '<meta name="viewport"' in page
    assert (tmp_path / "N9_N10.md").read_text().count("\n") == 4
    assert (tmp_path / "index.html").read_text() == "the page of all claims"


def test_an_unknown_claim_is_named(run_example):
    done = run_example("reproduce.py", "N99")
    assert done.returncode == 2
    assert "expected claims of N1, N2" in done.stderr
    assert "got N99" in done.stderr
