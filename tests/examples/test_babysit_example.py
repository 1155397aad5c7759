"""The example with everything attached writes its page, data and figures, and says what it saw."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "babysit.py"


def test_the_example_writes_page_data_and_figures(tmp_path):
    command = [sys.executable, str(SCRIPT), "--epochs", "2", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()  # no progress bar where nobody watches, but a line an epoch
    assert [line[:10] for line in lines] == ["epoch 1/2:", "epoch 2/2:"]
    assert "58 steps in" in done.stdout
    assert "verdicts:\n" in done.stdout
    written = {path.name for path in tmp_path.iterdir()}
    assert {"babysit.html", "curves.png", "curves.csv", "ratios.png", "histograms.png", "history.csv"} <= written
    assert {"DeadUnits.json", "NoiseScale.json", "Saturation.json", "Sharpness.json", "UpdateRatios.csv"} <= written
