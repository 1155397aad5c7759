"""The example of population based training compares searches and draws the schedules found."""


def test_one_search_of_each_kind_is_compared_and_drawn(run_example, tmp_path):
    done = run_example("population.py", "--searches", "1", "--out", str(tmp_path))
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "searches: 1 of each kind, of 8 runs of 300 steps; losses, 95 % intervals"
    selected, kept = (float(lines[i].split()[-4]) for i in (1, 5))
    assert 0 < selected < 0.5
    assert -0.5 < kept < 0.5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["population.csv", "population.png"]
