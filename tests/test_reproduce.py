"""The main job's table is computed, and its quick claims hold."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "examples" / "reproduce.py"


@pytest.fixture
def reproduce(monkeypatch):
    """The script as a module; its claims lie in a package beside it."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    yield importlib.import_module("reproduce")
    for name in [name for name in sys.modules if name == "reproduce" or name.split(".")[0] == "claims"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["N1", "N2", "N4", "N5", "N6", "N7", "N8", "N9", "N10", "N15", "N18", "N20"])
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


def test_the_script_writes_table_page_and_figures(tmp_path):
    command = [sys.executable, str(SCRIPT), "N9", "N10", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "N9: with small weights" in done.stdout
    assert "2 claims in" in done.stdout
    assert done.stderr == ""  # no progress bar where nobody watches
    page = (tmp_path / "index.html").read_text()
    assert "<td>N10</td>" in page
    assert (tmp_path / "table.md").read_text().count("\n") == 4


def test_an_unknown_claim_is_named():
    done = subprocess.run([sys.executable, str(SCRIPT), "N99"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "expected claims of N1, N2" in done.stderr
    assert "got N99" in done.stderr
