"""The example of a search reports, draws its figures, and goes on from its store."""


def test_a_search_ends_with_a_report_and_figures(run_example, tmp_path):
    arguments = [
        "--trials",
        "4",
        "--fresh-seeds",
        "0",
        "--out",
        str(tmp_path / "out"),
        "--store",
        str(tmp_path / "s.db"),
    ]
    done = run_example("search.py", *arguments)
    assert done.returncode == 0
    assert "leaders by val_accuracy (max)" in done.stdout
    assert "measured once: 9" in done.stdout
    figures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert figures == {"search_values.png", "search_plane.png", "search_halving.png"}
    assert run_example("search.py", *arguments).stdout == done.stdout


def test_cifar10_needs_its_folder(run_example, monkeypatch):
    monkeypatch.delenv("MINNET_DATA", raising=False)
    done = run_example("search.py", "--data")
    assert done.returncode == 1
    assert "expected MINNET_DATA to name a folder" in done.stderr
