"""The notebooks in docs/: their code runs in order, they were executed, and they are small."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def cells(notebook):
    """The code cells: (code, outputs)."""
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [("".join(cell["source"]), cell["outputs"]) for cell in found if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_the_code_of_a_notebook_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = tmp_path / f"{notebook.stem}.py"
    program.write_text("\n".join(code for code, _ in cells(notebook)), encoding="utf-8")
    names = {"__name__": "notebook"}
    for code, _ in cells(notebook):
        exec(compile(code, str(program), "exec"), names)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_was_executed_and_is_small(notebook):
    assert notebook.stat().st_size < 200_000
    outputs = [output for _, shown in cells(notebook) for output in shown]
    assert not [output for output in outputs if output["output_type"] in ("error", "stream")]
    kinds = set().union(*(output["data"] for output in outputs))
    assert {"text/html", "image/png"} <= kinds  # tables, and figures


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 2
