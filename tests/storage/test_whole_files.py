"""Every file that minnet writes is written whole or not at all, on a disk that has no room as well."""

import resource
from contextlib import contextmanager

import numpy as np
import pytest
from figure_cases import paths

import minnet as mn
from minnet import plots
from minnet.training.history import History

ROOM = 700  # bytes that a file may have: less than any of these has


@contextmanager
def full_disk():
    """Within it the system refuses to write more than some bytes into a file, as a disk without room does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def history(epochs=60):
    found = History()
    for i in range(1, epochs + 1):
        found.steps.rows.append({"step": i, "epoch": i, "loss": 1 / i, "lr": 0.1})
        found.epochs.rows.append({"epoch": i, "step": i, "loss": 1 / i, "accuracy": 0.5, "lr": 0.1})
    return found


def monitor():
    found = mn.diagnostics.UpdateRatios()
    net = mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy())
    data = np.eye(4, dtype=np.float32), np.array([0, 1, 2, 0])
    mn.fit(net, data, rule=mn.SGD(), lr=0.1, steps=60, callbacks=[found], progress=False)
    return found


def curves(path):
    plots.curves(path, {"a": ([1, 2], [1, 2])}, title="", xlabel="", ylabel="")


WRITERS = {
    **{f"curves{ending}": curves for ending in (".png", ".svg", ".pdf", "")},
    "images.png": lambda path: plots.images(path, np.random.default_rng(0).random((2, 32, 32, 3)), columns=2, title=""),
    "history.png": lambda path: history().plot(path),
    "paths.gif": lambda path: plots.animation(path, paths(), frames=2),
    "history.csv": lambda path: history().save(path),
    "history.json": lambda path: history().save(path),
    **{f"monitor.{ending}": lambda path: monitor().save(path) for ending in ("csv", "json", "npz")},
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_what_was_there(name, tmp_path):
    write = WRITERS[name]
    write(tmp_path / name)  # the first time anything may write a cache of fonts
    (tmp_path / name).write_bytes(b"from before")
    files = sorted(tmp_path.iterdir())
    with full_disk(), pytest.raises(OSError, match=f"File too large: .*{tmp_path}"):
        write(tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"from before"
    assert sorted(tmp_path.iterdir()) == files  # a small table beside a figure may have found room


PLACES = {
    "no format": (
        "figure.docx",
        ValueError,
        "plots: expected a path that ends in one of .*, png, .*; got 'figure.docx'",
    ),
    "no folder": ("nowhere/figure.png", FileNotFoundError, r"nowhere to exist, to write figure\.png in it"),
}
FIGURES = {
    "rows": curves,
    "arrays": lambda path: plots.images(path, np.zeros((1, 4, 4, 1)), columns=1, title=""),
    "history": lambda path: history().plot(path),
}


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("place", PLACES)
def test_of_a_figure_that_cannot_be_nothing_is_written(place, figure, tmp_path):
    name, error, words = PLACES[place]
    with pytest.raises(error, match=words):
        FIGURES[figure](tmp_path / name)
    assert list(tmp_path.iterdir()) == []
