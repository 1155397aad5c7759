"""Figures that show something one can count."""

import importlib

import numpy as np
import pytest
from matplotlib.image import imread

import minnet as mn
from minnet import plots


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_name_says_the_format(tmp_path, suffix):
    path = tmp_path / f"grid{suffix}"
    plots.images(path, np.zeros((3, 4, 5, 1)), columns=2, title="nothing")
    assert path.read_bytes().startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")


def test_images_are_stretched_each_by_itself_and_put_side_by_side(tmp_path):
    """Halves of red and black, of green and black at a thousandth of that scale, and an image that is all the same."""
    pictures = np.zeros((3, 8, 8, 3), np.float32)
    pictures[0, :4, :, 0], pictures[1, :, :4, 1], pictures[2] = 5, 5e-3, -7
    pictures[1] -= 3
    plots.images(tmp_path / "grid.png", pictures, columns=2, title="")
    pixels = np.rint(255 * imread(tmp_path / "grid.png")[..., :3]).astype(int)

    def places(colour):
        return np.argwhere((pixels == colour).all(axis=-1))

    red, green, black = places((255, 0, 0)), places((0, 255, 0)), places((0, 0, 0))
    assert len(red) == pytest.approx(len(green), rel=0.2)
    assert len(black) == pytest.approx(4 * len(red), rel=0.2)  # two halves and one whole
    assert red[:, 1].max() < green[:, 1].min()  # the second image is right of the first,
    assert black[:, 0].max() > max(red[:, 0].max(), green[:, 0].max())  # the third below


# Schedules ---------------------------------------------------------------------------------------------------------

SERIES = {
    "one cycle": mn.schedules.OneCycle(0.1, 40),
    "cycles": mn.schedules.WarmRestarts(0.05, 20),
    "stairs": mn.schedules.Step(0.1, 15),
}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been written."""
    figures = []
    panels = importlib.import_module("minnet.plots.panels")
    monkeypatch.setattr(panels, "save", lambda figure, path, beside: figures.append(figure))
    return figures


def lines_of(axis):
    """Lines and marks of a panel as (what joins or marks the points, x, y)."""
    return [
        (line.get_linestyle() if line.get_marker() == "None" else line.get_marker(), *map(list, line.get_data()))
        for line in axis.get_lines()
    ]


def expected_lines(schedule, steps):
    values = schedule.preview(steps)
    marks = []
    for kind, marker in (("boundary", "|"), ("peak", "^"), ("trough", "v"), ("restart", "o"), ("end", "s")):
        at = [event.step for event in schedule.events(steps) if event.kind == kind]
        if at:
            marks.append((marker, at, [values[step] for step in at]))
    return [("-", list(range(steps)), list(values)), *marks]


def test_a_schedule_draws_its_values_and_marks_its_events(drawn):
    mn.schedules.OneCycle(0.1, 40, phases=3).plot("ignored.png", 50)
    (axis,) = drawn[0].axes
    assert lines_of(axis) == expected_lines(mn.schedules.OneCycle(0.1, 40, phases=3), 50)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["OneCycle", "boundary", "peak", "end"]


def test_schedules_are_drawn_over_one_another_with_a_legend(drawn):
    plots.schedules("ignored.png", SERIES, 50, log=True, ylabel="learning rate")
    (axis,) = drawn[0].axes
    assert lines_of(axis) == [line for schedule in SERIES.values() for line in expected_lines(schedule, 50)]
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == [*SERIES, "boundary", "peak", "trough", "restart", "end"]
    assert (axis.get_yscale(), axis.get_ylabel()) == ("log", "learning rate")


def test_schedules_are_drawn_side_by_side(drawn):
    plots.schedules("ignored.png", SERIES, 50, together=False)
    assert [axis.get_title() for axis in drawn[0].axes] == list(SERIES)
    for axis, schedule in zip(drawn[0].axes, SERIES.values(), strict=True):
        assert lines_of(axis) == expected_lines(schedule, 50)
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["boundary", "peak", "trough", "restart", "end"]


def test_more_schedules_than_colours_differ_all_the_same(drawn):
    plots.schedules("ignored.png", {str(i): mn.schedules.Constant(i) for i in range(20)}, 5)
    looks = {(line.get_color(), line.get_linestyle()) for line in drawn[0].axes[0].get_lines()}
    assert len(looks) == 20


@pytest.mark.parametrize("together", [True, False])
def test_the_figure_of_schedules_is_written(tmp_path, together):
    plots.schedules(tmp_path / "schedules.png", SERIES, 50, together=together)
    assert imread(tmp_path / "schedules.png")[..., :3].min() < 0.5
