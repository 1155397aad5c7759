"""The example with everything attached writes its page, data and figures, and says what it saw."""


def test_the_example_writes_page_data_and_figures(run_example, tmp_path):
    done = run_example("babysit.py", "--epochs", "1", "--out", str(tmp_path))
    assert done.returncode == 0
    # No progress bar where nobody watches, but a line an epoch.
    lines = [line for line in done.stderr.splitlines() if not line.startswith("compiling kernels")]
    assert [line[:10] for line in lines] == ["epoch 1/1:"]
    assert "29 steps in" in done.stdout
    assert "verdicts:\n" in done.stdout
    written = {path.name for path in tmp_path.iterdir()}
    assert {"babysit.html", "curves.png", "curves.csv", "ratios.png", "histograms.png", "history.csv"} <= written
    assert {"DeadUnits.json", "NoiseScale.json", "Saturation.json", "Sharpness.json", "UpdateRatios.csv"} <= written
