"""The example of the range test computes its table and its figures."""


def test_a_quick_claim_is_put_to_the_test(run_example, tmp_path):
    done = run_example("learning_rate.py", "B1", "--out", str(tmp_path))
    assert done.returncode == 0
    assert done.stderr == ""  # no progress bar where nobody watches
    row = next(line for line in done.stdout.splitlines() if line.startswith("| B1 |"))
    assert row.endswith(("| holds |", "| does not hold here |"))
    assert row.count(" | ") == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b1_rates.csv", "b1_rates.png"]


def test_an_unknown_claim_is_named(run_example):
    done = run_example("learning_rate.py", "Z9")
    assert done.returncode == 2
    assert "expected claims of L1, L8, C2, B1; got Z9" in done.stderr
