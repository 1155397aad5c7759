"""The example of loss surfaces runs, and writes what it says."""

import csv
import json


def test_the_example_measures_both_kinds_and_keeps_the_data(run_example, tmp_path):
    options = ["--blocks", "1", "--width", "8", "--epochs", "1", "--seeds", "1", "--points", "5"]
    done = run_example("loss_surface.py", *options, "--out", str(tmp_path))
    assert done.returncode == 0
    assert "less concave with shortcuts in" in done.stdout
    assert done.stderr == ""  # no progress bar where nobody watches
    measures = json.loads((tmp_path / "l7_measures.json").read_text())
    assert list(measures) == ["with shortcuts", "without"]
    assert all(0 <= runs["concavity"][0] <= 1 for runs in measures.values())
    with (tmp_path / "l7_surfaces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 5 * 5
    # In the middle stands the net itself.
    assert float(rows[12]["data loss"]) == measures["with shortcuts"]["training loss"][0]
    assert (tmp_path / "l7_lines.png").stat().st_size > 5000
