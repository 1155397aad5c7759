"""Figures of paths and of runs: lines one can count."""

import csv
import importlib
import itertools

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

import minnet as mn
from minnet import plots
from minnet.optim.landscapes import NoisyQuadratic, Rosenbrock, descend


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def panels():
    """One rule that goes straight to the minimum from two starts, one that diverges, on two landscapes."""
    bowl, steep = NoisyQuadratic(condition=1.0, scale=0.0), Rosenbrock()
    straight = [descend(bowl, mn.SGD(), start, lr=0.5, steps=20) for start in ((2.0, 1.0), (-2.0, 1.0))]
    return {
        "bowl": (bowl, {"straight": straight}),
        "steep": (steep, {"lost": [descend(steep, mn.SGD(), (-1.2, 1.0), lr=1.0, steps=20)]}),
    }


@pytest.fixture
def drawn(monkeypatch):
    """The figures as Matplotlib has them, instead of image files; their data are written."""
    kept = []

    def keep(figure, path, beside):
        kept.append(figure)
        path.with_suffix(beside.suffix).write_bytes(beside.content())

    for room in ("paths", "runs"):
        monkeypatch.setattr(importlib.import_module(f"minnet.plots.{room}"), "save", keep)
    return kept


def test_trajectories_show_every_path_and_say_which_diverged(tmp_path, panels, drawn):
    plots.trajectories(tmp_path / "t.png", panels, title="two")
    contours, other, values, other_values = drawn[0].axes
    assert [axis.get_title() for axis in (contours, other, values, other_values)] == [
        *("bowl", "steep", "", "diverged: lost")
    ]
    points = {tuple(line.get_xydata()[0]) for line in contours.lines if len(line.get_xydata()) == 21}
    assert points == {(2.0, 1.0), (-2.0, 1.0)}
    (curve,) = (line for line in values.lines if len(line.get_xydata()) == 21)
    np.testing.assert_allclose(curve.get_ydata(), 2.5 * 0.25 ** np.arange(21))
    assert values.get_yscale() == "log"
    assert other_values.get_ylim()[1] < 1e4  # a path that leaves does not stretch the axis


def test_trajectories_keep_their_points_beside_the_figure(tmp_path, panels):
    plots.trajectories(tmp_path / "t.png", panels)
    assert (tmp_path / "t.png").stat().st_size > 20_000
    rows = rows_of(tmp_path / "t.csv")
    straight = [row for row in rows if row["label"] == "straight"]
    assert [row["start"] for row in straight] == ["0"] * 21 + ["1"] * 21
    assert [float(straight[23][name]) for name in ("step", "x", "y", "value")] == [2, -0.5, 0.25, 0.15625]
    lost = [row for row in rows if row["label"] == "lost"]
    assert 3 < len(lost) < 12
    assert all(np.isfinite(float(row["x"])) for row in lost)


def test_an_animation_grows_and_rests_on_its_last_frame(tmp_path, panels):
    path = tmp_path / "t.gif"
    plots.animation(path, panels, frames=6, fps=5)
    with Image.open(path) as gif:
        frames, durations = [], []
        for i in range(gif.n_frames):
            gif.seek(i)
            durations.append(gif.info["duration"])
            frames.append(np.asarray(gif.convert("RGB")).astype(int))
    assert durations[0] == 200
    assert durations[-1] >= 2000
    blue = [int((np.abs(frame - (0, 0x72, 0xB2)).sum(axis=-1) < 30).sum()) for frame in frames]
    assert blue[0] < blue[1] < blue[-1]
    assert path.stat().st_size < 100_000
    assert len(rows_of(tmp_path / "t.csv")) > 42


def test_an_animation_ends_with_the_still_figure(tmp_path, panels):
    """Lines are drawn over a picture of the rest: in the same places as in a figure drawn as a whole."""
    plots.animation(tmp_path / "t.gif", panels, frames=2)
    with Image.open(tmp_path / "t.gif") as gif:
        gif.seek(gif.n_frames - 1)
        last = np.asarray(gif.convert("RGB")).astype(int)
    paths = importlib.import_module("minnet.plots.paths")
    whole, lines = paths._draw(panels, "")
    for line in lines:
        line.show(10**6)
    whole.savefig(tmp_path / "whole.png", dpi=84)
    still = np.rint(255 * imread(tmp_path / "whole.png")[..., :3]).astype(int)
    assert last.shape == still.shape
    assert (np.abs(last - still).max(axis=-1) > 100).mean() < 2e-3  # the palette is coarse, and stars lie underneath


def test_a_comparison_draws_medians_and_quartiles_of_runs(tmp_path, drawn):
    values = np.array([[5.0, 50.0], [1.0, 10.0], [4.0, np.inf], [2.0, np.inf], [3.0, np.inf]])
    plots.comparison(
        tmp_path / "c.png",
        {"one": {"a": ([10, 20], values)}, "other": {"b": ([10, 20], np.ones((5, 2))), "a": ([10, 20], values)}},
        xlabel="step",
        ylabel="loss",
    )
    left, right = drawn[0].axes
    (line,) = left.lines
    assert line.get_xdata().tolist() == [10, 20]
    assert line.get_ydata()[0] == 3  # of 1 to 5
    assert np.isnan(line.get_ydata()[1])  # three of five have diverged
    band = left.collections[0].get_paths()[0].vertices
    assert {2.0, 4.0} <= set(band[band[:, 0] == 10, 1])
    assert line.get_color() == right.lines[1].get_color() != right.lines[0].get_color()
    assert left.get_ylim() == right.get_ylim()
    rows = rows_of(tmp_path / "c.csv")
    assert len(rows) == 30
    assert rows[5] == {"panel": "one", "label": "a", "run": "2", "step": "20", "loss": "inf"}


def test_fourteen_lines_look_different_and_neighbours_that_coincide_both_show():
    looks = [plots.look(rank) for rank in range(14)]
    assert len({(one["color"], one["linestyle"]) for one in looks}) == 14
    for one, other in itertools.pairwise(looks):
        upper, lower = sorted((one, other), key=lambda look: -look["zorder"])
        assert upper["linestyle"] != "-"
        assert lower["linestyle"] == "-"
