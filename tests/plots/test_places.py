"""Where figures go: a path, an open file, or nothing, for which the figure comes back."""

import inspect
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from figure_cases import PNG, POINTS, only_a_mark, population
from matplotlib.figure import Figure

import minnet as mn
from minnet import plots

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def run():
    """A trained net with all that is drawn of a run."""
    data = mn.datasets.iris()
    net = mn.Net([mn.Dense(4), mn.ReLU(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy())
    ratios, statistics = mn.diagnostics.UpdateRatios(at=2), mn.diagnostics.Statistics(at=2)
    history = mn.fit(
        net, data, rule=mn.SGD(), lr=0.1, steps=8, batch_size=50, validation=data, callbacks=[ratios, statistics]
    )
    return net, data, history, ratios, statistics


def drawn(run):
    """Each function of ``plots`` that takes a place, with arguments: name -> function of a place."""
    net, (x, y), history, ratios, statistics = run
    square = np.array([-1.0, 0.0, 1.0]), np.array([-1.0, 0.0, 1.0]), 1 + rng.random((3, 3))
    bowl = mn.landscapes.NoisyQuadratic()
    paths = {"Bowl": (bowl, {"SGD": [np.array([[1.0, 1.0], [0.5, 0.5]])]})}
    net2 = mn.Net([mn.Dense(2)], 2, seed=1)
    pictures, mistake = rng.random((3, 4, 5, 1)), mn.diagnostics.Mistake(1, 0, 1, 2.0)
    range_test = mn.lr_range_test(net.twin(), (x, y), rule=mn.SGD(), low=1e-3, high=1.0, steps=30, batch_size=50)
    f = np.array([1.0, 2.0])
    sweep = mn.check_gradient(lambda v: float((v**2).sum()), f, 2 * f, sweep=True).sweep
    variances = mn.diagnostics.variance_by_layer(net, x)
    return {
        "learning_curves": lambda place: plots.learning_curves(history, place),
        "range_test": lambda place: plots.range_test(range_test, place),
        "step_sweep": lambda place: plots.step_sweep(sweep, place),
        "variance_by_layer": lambda place: plots.variance_by_layer(place, {"net": [variances]}),
        "filter_grid": lambda place: plots.filter_grid(place, {"net": pictures}, columns=2),
        "first_layer_filters": lambda place: plots.first_layer_filters(
            place, mn.Net([mn.Conv2D(3, 3)], (6, 6, 1)), columns=3
        ),
        "confusion": lambda place: plots.confusion(place, np.eye(2, dtype=int), ["a", "b"]),
        "worst_mistakes": lambda place: plots.worst_mistakes(place, [mistake], pictures),
        "curves": lambda place: plots.curves(place, {"a": ([1, 2], [3, 4])}, title="", xlabel="x", ylabel="y"),
        "schedules": lambda place: plots.schedules(place, {"a": mn.schedules.Cosine(1.0, 5)}, 7),
        "regions": lambda place: plots.regions(place, {"net": net2}, rng.random((6, 2)), y[:6] * 0 + 1, resolution=5),
        "histogram": lambda place: plots.histogram(place, {"a": [1, 2]}, {"m": 1.5}, title="", xlabel="x"),
        "image_rows": lambda place: plots.image_rows(place, {"a": pictures}, names=["p", "q", "r"]),
        "gradients_through_time": lambda place: plots.gradients_through_time(
            place, {"a": mn.diagnostics.GradientsThroughTime({"0 RNN h": f}, 1)}
        ),
        "images": lambda place: plots.images(place, pictures, columns=2, names=["p", "q", "r"]),
        "trajectories": lambda place: plots.trajectories(place, paths),
        "comparison": lambda place: plots.comparison(
            place, {"a": {"SGD": ([1, 2], rng.random((3, 2)))}}, xlabel="step", ylabel="loss"
        ),
        "loss_lines": lambda place: plots.loss_lines(place, {"a": [(square[0], square[2][0])]}),
        "loss_surfaces": lambda place: plots.loss_surfaces(place, {"a": square}),
        "training_curves": lambda place: plots.training_curves(place, history),
        "compare_rates": lambda place: plots.compare_rates(place, {"a": history}),
        "compare_batch_sizes": lambda place: plots.compare_batch_sizes(place, {"a": history}),
        "update_ratios": lambda place: plots.update_ratios(place, {"a": ratios}),
        "histograms": lambda place: plots.histograms(place, statistics),
        "study_values": lambda place: plots.study_values(POINTS, place, log=["lr"]),
        "study_plane": lambda place: plots.study_plane(POINTS, place, x="lr", y="decay"),
        "study_rungs": lambda place: plots.study_rungs(POINTS, place),
        "population_lineage": lambda place: plots.population_lineage(population(), place),
        "PopulationResult.plot": population().plot,
        "History.plot": history.plot,
        "Schedule.plot": mn.schedules.Cosine(1.0, 5).plot,
        "RangeTest.plot": range_test.plot,
        "StepSweep.plot": sweep.plot,
        "VarianceByLayer.plot": variances.plot,
        "Confusion.plot": mn.diagnostics.confusion_matrix(net, x, y).plot,
    }


def test_every_figure_goes_to_a_path_an_open_file_or_back(run, tmp_path, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", only_a_mark)  # other tests draw every figure
    figures = drawn(run)
    takes = {
        name
        for name, value in vars(plots).items()
        if inspect.isfunction(value) and "path" in inspect.signature(value).parameters
    }
    assert takes - set(figures) == {"animation", "save"}
    for name, draw in figures.items():
        assert isinstance(draw(None), Figure), name
        file = io.BytesIO()
        assert draw(file) is None, name
        assert file.getvalue().startswith(PNG), name
        assert draw(tmp_path / f"{name}.png") is None, name
        assert (tmp_path / f"{name}.png").read_bytes().startswith(PNG), name
        beside = [path for path in tmp_path.glob(f"{name}.*") if path.suffix in (".csv", ".npz")]
        assert len(beside) == 1, name


def test_plots_are_there_when_asked_for():
    code = "import sys, minnet as mn; assert 'minnet.plots' not in sys.modules; mn.plots.schedules; mn.not_there"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "module 'minnet' has no attribute 'not_there'" in ran.stderr


def test_a_plot_without_arguments_gives_the_figure():
    assert isinstance(mn.schedules.Cosine(1.0, 5).plot(), Figure)
    with pytest.raises(ValueError, match=r"Noam\.plot: expected steps=\.\.\., as the schedule has no end"):
        mn.schedules.Noam(64, warmup=10).plot()


def test_an_animation_goes_to_an_open_file():
    film = io.BytesIO()
    paths = {"Bowl": (mn.landscapes.NoisyQuadratic(), {"SGD": [np.array([[1.0, 1.0], [0.5, 0.5]])]})}
    plots.animation(film, paths, frames=2)
    assert film.getvalue().startswith(b"GIF8")


@pytest.mark.parametrize("form", ["svg", "pdf", "png"])
def test_the_ending_names_the_format(tmp_path, form):
    plots.curves(tmp_path / f"a.{form}", {"a": ([1, 2], [3, 4])}, title="", xlabel="x", ylabel="y")
    assert (tmp_path / f"a.{form}").read_bytes()[:5] in (b"%PDF-", b"<?xml", b"\x89PNG\r")


def test_an_unknown_format_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"expected a path that ends in one of .*; got 'a\.what'"):
        plots.curves(tmp_path / "a.what", {"a": ([1, 2], [3, 4])}, title="", xlabel="x", ylabel="y")
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    plots.curves(path, {"a": ([1, 2], [3, 4])}, title="", xlabel="x", ylabel="y")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        plots.curves(path, {"b": ([1, 2], [4, 3])}, title="", xlabel="x", ylabel="y")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.glob("*") if p.suffix not in (".png", ".csv")] == []


def test_panels_of_a_comparison_have_scales_and_labels_of_their_own():
    panels = {
        "loss": {"SGD": ([1, 2], np.array([[1e-3, 1e-4]]))},
        "accuracy": {"SGD": ([1, 2], np.array([[50.0, 90]]))},
    }
    labels = {"loss": "loss (nats)", "accuracy": "correct (%)"}
    figure = plots.comparison(None, panels, xlabel="step", ylabel=labels, log_y={"loss": True, "accuracy": False})
    loss, accuracy = figure.axes
    assert [axis.get_ylabel() for axis in figure.axes] == list(labels.values())
    assert [axis.get_yscale() for axis in figure.axes] == ["log", "linear"]
    assert loss.get_ylim()[1] < 1 < accuracy.get_ylim()[0]
    one = plots.comparison(None, panels, xlabel="step", ylabel="value")
    assert one.axes[0].get_ylim() == one.axes[1].get_ylim()
    bounds = {"loss": (0, 1), "accuracy": (0, 100)}
    given = plots.comparison(None, panels, xlabel="step", ylabel=labels, ylim=bounds)
    assert [axis.get_ylim() for axis in given.axes] == [(0, 1), (0, 100)]


def test_curves_have_logarithmic_axes_and_a_legend_beside_the_lines():
    figure = plots.curves(None, {"a": ([1, 100], [1, 10])}, title="", xlabel="x", ylabel="y", log=True, log_x=True)
    (axis,) = figure.axes
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    figure.canvas.draw()
    assert axis.get_legend().get_window_extent().x0 >= axis.get_window_extent().x1


def test_each_image_of_a_grid_has_a_name_above_it_and_is_large_enough_to_see():
    figure = plots.images(None, rng.random((3, 4, 4, 1)), columns=2, names=["cat", "dog", "frog"])
    figure.canvas.draw()
    cells = figure.axes[0].child_axes
    assert [cell.get_title() for cell in cells] == ["cat", "dog", "frog"]
    assert min(cell.get_window_extent().width / figure.dpi for cell in cells) > 0.4
    filters = plots.filter_grid(None, {"a": rng.random((3, 3, 3, 2))}, columns=3)
    assert [cell.get_title() for cell in filters.axes[0].child_axes] == ["0", "1", "2"]


EMPTY = {
    "animation": lambda place: plots.animation(place, {}),
    "trajectories": lambda place: plots.trajectories(place, {}),
    "trajectories, no labels": lambda place: plots.trajectories(place, {"a": (mn.landscapes.Beale(), {})}),
    "trajectories, no paths": lambda place: plots.trajectories(place, {"a": (mn.landscapes.Beale(), {"SGD": []})}),
    "trajectories, no points": lambda place: plots.trajectories(
        place, {"a": (mn.landscapes.Beale(), {"SGD": [np.zeros((0, 2))]})}
    ),
    "compare_rates": lambda place: plots.compare_rates(place, {}),
    "compare_rates, no steps": lambda place: plots.compare_rates(place, {"a": mn.History()}),
    "compare_batch_sizes": lambda place: plots.compare_batch_sizes(place, {}),
    "comparison": lambda place: plots.comparison(place, {}, xlabel="", ylabel=""),
    "comparison, no lines": lambda place: plots.comparison(place, {"a": {}}, xlabel="", ylabel=""),
    "confusion": lambda place: plots.confusion(place, np.zeros((0, 0), int), []),
    "curves": lambda place: plots.curves(place, {}, title="", xlabel="", ylabel=""),
    "curves, no points": lambda place: plots.curves(place, {"a": ([], [])}, title="", xlabel="", ylabel=""),
    "filter_grid": lambda place: plots.filter_grid(place, {}),
    "histogram": lambda place: plots.histogram(place, {}, {}, title="", xlabel=""),
    "image_rows": lambda place: plots.image_rows(place, {}),
    "image_rows, no images": lambda place: plots.image_rows(place, {"a": np.zeros((0, 3, 3, 1))}),
    "gradients_through_time": lambda place: plots.gradients_through_time(place, {}),
    "images": lambda place: plots.images(place, np.zeros((0, 3, 3, 1)), columns=2),
    "learning_curves": lambda place: plots.learning_curves(mn.History(), place),
    "training_curves": lambda place: plots.training_curves(place, mn.History()),
    "schedules": lambda place: plots.schedules(place, {}, 5),
    "loss_lines": lambda place: plots.loss_lines(place, {}),
    "loss_surfaces": lambda place: plots.loss_surfaces(place, {}),
    "regions": lambda place: plots.regions(place, {}, np.zeros((3, 2)), np.zeros(3, int)),
    "variance_by_layer": lambda place: plots.variance_by_layer(place, {}),
    "worst_mistakes": lambda place: plots.worst_mistakes(place, [], np.zeros((3, 4, 4, 1))),
    "histograms": lambda place: plots.histograms(place, mn.diagnostics.Statistics()),
    "update_ratios": lambda place: plots.update_ratios(place, {"a": mn.diagnostics.UpdateRatios()}),
    "step_sweep": lambda place: plots.step_sweep(mn.StepSweep((), ()), place),
}


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_to_draw_is_told_before_anything_is_written(name, tmp_path):
    words = rf"^plots\.{name.partition(',')[0]}: expected something to draw; got an empty "
    for place in (tmp_path / "a.gif", io.BytesIO(), None):
        with pytest.raises(ValueError, match=words):
            EMPTY[name](place)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_open_for_text_is_refused_and_so_is_what_is_no_place(run, tmp_path):
    figures = drawn(run)
    panels = {"a": (mn.landscapes.Beale(), {"SGD": [np.ones((2, 2))]})}
    figures["animation"] = lambda place: plots.animation(place, panels)
    for draw in figures.values():
        for place in (io.StringIO(), sys.stdout, 3, ["a.png"]):
            with pytest.raises(TypeError, match=r"^plots: expected a path, an open binary file or None; got "):
                draw(place)
    with (tmp_path / "a.png").open("w", encoding="utf-8") as file, pytest.raises(TypeError, match='mode "wb"'):
        figures["curves"](file)
    with pytest.raises(TypeError, match="expected a path or an open binary file; got None"):
        plots.animation(None, panels)


def test_a_figure_and_its_data_are_written_together_or_not_at_all(run, tmp_path, monkeypatch):
    figures = drawn(run)
    for name in ("curves", "images", "learning_curves", "trajectories"):
        (tmp_path / f"{name}.png").mkdir()  # where no file can be written
        with pytest.raises(OSError, match=f"{name}.png"):
            figures[name](tmp_path / f"{name}.png")
        assert [path.name for path in tmp_path.iterdir()] == [f"{name}.png"]
        (tmp_path / f"{name}.png").rmdir()
        (tmp_path / f"{name}.png").write_text("old")
        monkeypatch.setattr(os, "fsync", full_disk_at(2))  # the first file is on the disk, the second is not
        with pytest.raises(OSError, match="No space left"):
            figures[name](tmp_path / f"{name}.png")
        monkeypatch.undo()
        assert [path.name for path in tmp_path.iterdir()] == [f"{name}.png"]
        assert (tmp_path / f"{name}.png").read_text() == "old"
        (tmp_path / f"{name}.png").unlink()


def full_disk_at(call):
    """A ``fsync`` whose call of this number finds the disk full."""
    calls = []

    def fsync(handle):
        calls.append(handle)
        if len(calls) == call:
            raise OSError(28, "No space left on device")

    return fsync
