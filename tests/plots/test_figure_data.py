"""Every public function that writes a figure writes what it shows beside it."""

import csv

import numpy as np
import pytest
from figure_cases import POINTS, paths, population

import minnet as mn
from minnet import diagnostics, plots
from minnet.diagnostics.range_test import RangeTest

# Parts of figures, and what figures are made with.
NO_FIGURES = {
    *(
        "COLOURS",
        "figure",
        "filters_of",
        "legend",
        "look",
        "range_test_panel",
        "run_figures",
        "save",
        "Arrays",
        "Table",
    ),
}


@pytest.fixture(scope="module")
def seen():
    """A short run and what watched it."""
    x, y = (part[:200] for part in mn.datasets.digits())
    net = mn.Net([mn.Flatten(), mn.Dense(8), mn.ReLU(), mn.Dense(10)], (8, 8, 1), mn.SoftmaxCrossEntropy())
    ratios, statistics = diagnostics.UpdateRatios(at=2), diagnostics.Statistics(at=2)
    options = {"rule": mn.Adam(), "lr": 1e-3, "batch_size": 50, "epochs": 2, "progress": False}
    history = mn.fit(net, (x, y), validation=(x, y), callbacks=[ratios, statistics], **options)
    return net, x, y, history, ratios, statistics


def range_test():
    rates, losses = np.geomspace(1e-3, 1, 40), np.linspace(2, 1, 40)[np.newaxis]
    return RangeTest(rates, losses, "loss", np.arange(40), losses, (None,))


def through_time():
    return diagnostics.GradientsThroughTime({"0 RNN h": np.array([1.0, 0.5, 0.0])}, 2)


class Halves:
    def predict(self, x):
        return np.stack([x[:, 0], -x[:, 0]], axis=1)


AXES = {"xlabel": "a", "ylabel": "b"}
# path, (net, x, y, history, ratios, statistics) -> the figure at path; rows or arrays that the file beside it holds
WRITERS = {
    "animation": (lambda path, *_: plots.animation(path.with_suffix(".gif"), paths(), frames=2), 6),
    "compare_batch_sizes": (lambda path, net, x, y, h, *_: plots.compare_batch_sizes(path, {"50": h}), 8),
    "compare_rates": (lambda path, net, x, y, h, *_: plots.compare_rates(path, {"0.1": h}), 8),
    "comparison": (lambda path, *_: plots.comparison(path, {"t": {"a": ([1, 2], np.ones((3, 2)))}}, **AXES), 6),
    "confusion": (lambda path, *_: plots.confusion(path, np.eye(3, dtype=int), ["a", "b", "c"]), 9),
    "curves": (lambda path, *_: plots.curves(path, {"a": ([1, 2], [3, 4])}, title="t", **AXES), 2),
    "filter_grid": (lambda path, *_: plots.filter_grid(path, {"a": np.ones((2, 3, 3, 1))}), 18),
    "first_layer_filters": (lambda path, net, *_: plots.first_layer_filters(path, net), 8 * 64),
    "gradients_through_time": (
        lambda path, *_: plots.gradients_through_time(path, {"a": through_time(), "b": through_time()}),
        2 * 3,
    ),
    "histogram": (lambda path, *_: plots.histogram(path, {"a": [1, 2]}, {"b": 3}, title="t", xlabel="x"), 3),
    "histograms": (lambda path, net, x, y, h, r, statistics: plots.histograms(path, statistics), 6 * 4 * 60),
    "image_rows": (
        lambda path, net, x, *_: plots.image_rows(path, {"image": x[:3], "map": x[:3, ..., 0]}),
        {"image": (3, 8, 8, 1), "map": (3, 8, 8)},
    ),
    "images": (lambda path, net, x, *_: plots.images(path, x[:3], columns=2, title="t"), {"images": (3, 8, 8, 1)}),
    "learning_curves": (lambda path, net, x, y, h, *_: plots.learning_curves(h, path), 8 + 2),
    "loss_lines": (lambda path, *_: plots.loss_lines(path, {"a": [(np.arange(3), np.ones(3))]}), 3),
    "loss_surfaces": (
        lambda path, *_: plots.loss_surfaces(path, {"a": (np.arange(3), np.arange(3), np.arange(9.0).reshape(3, 3))}),
        9,
    ),
    "population_lineage": (lambda path, *_: plots.population_lineage(population(), path), 4),
    "study_plane": (lambda path, *_: plots.study_plane(POINTS, path, x="lr", y="decay"), 2),
    "study_rungs": (lambda path, *_: plots.study_rungs(POINTS, path), 2),
    "study_values": (lambda path, *_: plots.study_values(POINTS, path), 2),
    "range_test": (lambda path, *_: plots.range_test(range_test(), path), 40),
    "regions": (
        lambda path, *_: plots.regions(path, {"t": Halves()}, np.eye(2), np.arange(2), resolution=5),
        {"x": (2, 2), "y": (2,), "grid": (5, 5, 2), "titles": (1,), "regions": (1, 5, 5)},
    ),
    "schedules": (lambda path, *_: plots.schedules(path, {"a": mn.schedules.Step(0.1, 3)}, 7), 7),
    "step_sweep": (
        lambda path, *_: plots.step_sweep(
            mn.check_gradient(lambda x: (x**2).sum(), np.ones(2), 2 * np.ones(2), sweep=True).sweep, path
        ),
        None,
    ),
    "training_curves": (lambda path, net, x, y, h, *_: plots.training_curves(path, h), 2),
    "trajectories": (lambda path, *_: plots.trajectories(path, paths()), 6),
    "update_ratios": (lambda path, net, x, y, h, ratios, _: plots.update_ratios(path, {"a": ratios}), 2 * 4),
    "variance_by_layer": (
        lambda path, net, x, *_: plots.variance_by_layer(path, {"a": [diagnostics.variance_by_layer(net, x)]}),
        5,
    ),
    "worst_mistakes": (
        lambda path, net, x, y, *_: plots.worst_mistakes(path, diagnostics.worst_mistakes(net, x, y, count=3), x),
        3,
    ),
}


def test_every_public_function_is_here():
    assert set(WRITERS) | NO_FIGURES == set(plots.__all__)


@pytest.mark.parametrize("name", WRITERS)
def test_a_figure_has_its_data_beside_it(tmp_path, seen, name):
    write, expected = WRITERS[name]
    write(tmp_path / "figure.png", *seen)
    suffix = ".npz" if isinstance(expected, dict) else ".csv"
    assert {path.name for path in tmp_path.iterdir()} == {
        f"figure{'.gif' if name == 'animation' else '.png'}",
        f"figure{suffix}",
    }
    if isinstance(expected, dict):
        with np.load(tmp_path / "figure.npz") as arrays:
            assert {key: arrays[key].shape for key in arrays.files} == expected
    else:
        with (tmp_path / "figure.csv").open(newline="") as file:
            head, *rows = csv.reader(file)
        assert {len(row) for row in rows} == {len(head)}
        assert len(rows) == (expected or len(rows)) > 0


def test_the_data_of_images_and_regions_are_those_shown(tmp_path, seen):
    x = seen[1]
    plots.images(tmp_path / "i.png", x[:3], columns=2, title="t")
    with np.load(tmp_path / "i.npz") as arrays:
        np.testing.assert_array_equal(arrays["images"], x[:3])
    plots.regions(tmp_path / "r.png", {"t": Halves()}, np.array([[-1.0, 0], [1, 1]]), np.arange(2), resolution=6)
    with np.load(tmp_path / "r.npz") as arrays:
        np.testing.assert_array_equal(arrays["regions"][0], arrays["grid"][..., 0] < 0)


def test_a_plot_of_a_history_and_what_it_saves_under_one_name_are_one(tmp_path, seen):
    history = seen[3]
    history.plot(tmp_path / "run.png")
    assert mn.History.load(tmp_path / "run.csv").steps.rows == history.steps.rows
    drawn = (tmp_path / "run.csv").read_bytes()
    history.save(tmp_path / "run.csv")
    assert (tmp_path / "run.csv").read_bytes() == drawn
