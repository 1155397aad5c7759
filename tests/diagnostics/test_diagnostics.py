"""Variance by layer, LSUV, loss surfaces and mistakes, each against something computed another way."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest
from matplotlib.image import imread

import minnet as mn
from minnet import plots
from minnet.diagnostics import (
    Confusion,
    LossSurface,
    Mistake,
    confusion_matrix,
    filter_normalised_direction,
    loss_line,
    loss_surface,
    lsuv,
    variance_by_layer,
    worst_mistakes,
)
from minnet.layers.initializers import Constant, GlorotUniform, HeNormal, LeCunNormal, Normal, Orthogonal


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# Variance by layer -------------------------------------------------------------------------------------------


def test_variances_are_those_of_a_pass_written_in_numpy():
    net = mn.Net([mn.Dense(7), mn.ReLU(), mn.Dense(5)], 6, mn.SoftmaxCrossEntropy(), dtype=np.float64)
    x, y = normal(9, 6).astype(np.float64), np.arange(9) % 5
    p = net.named_parameters()
    before = x @ p["0.W"]
    hidden = np.maximum(before, 0)
    scores = hidden @ p["2.W"]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    dscores = (shares - np.eye(5)[y]) / 9
    dhidden = dscores @ p["2.W"].T
    dbefore = dhidden * (before > 0)
    table = variance_by_layer(net, x, y)
    outputs, gradients = (x, before, hidden, scores), (dbefore @ p["0.W"].T, dbefore, dhidden, dscores)
    assert [layer.name for layer in table.layers] == ["input", "0", "1", "2"]
    for layer, values, gradient in zip(table.layers, outputs, gradients, strict=True):
        assert layer.mean == pytest.approx(values.mean())
        assert layer.variance == pytest.approx(values.var())
        assert layer.gradient_variance == pytest.approx(gradient.var())
    for layer, (into, out), (d_in, d_out) in zip(
        table.layers[1:],
        [(x, before), (before, hidden), (hidden, scores)],
        [(gradients[0], dbefore), (dbefore, dhidden), (dhidden, dscores)],
        strict=True,
    ):
        assert layer.gain == pytest.approx((out**2).mean() / (into**2).mean())
        assert layer.gradient_gain == pytest.approx((d_in**2).mean() / (d_out**2).mean())


def test_looking_leaves_the_net_alone():
    net = mn.Net([mn.Dense(7), mn.BatchNorm(), mn.ReLU(), mn.Dropout(), mn.Dense(5)], 6, mn.SoftmaxCrossEntropy())
    before = net.params.tobytes(), net.buffers.tobytes(), net.grads.tobytes(), net.step
    variance_by_layer(net, normal(9, 6), np.arange(9) % 5)
    assert before == (net.params.tobytes(), net.buffers.tobytes(), net.grads.tobytes(), net.step)


# Wide layers on standard normal input; the initialisers' published variances, times the connections.
@pytest.mark.parametrize(
    ("init", "forward", "backward"),
    [
        (Normal(0.05), 400 * 0.0025, 600 * 0.0025),
        (GlorotUniform(), 400 * 2 / 1000, 600 * 2 / 1000),
        (HeNormal(), 2.0, 600 * 2 / 400),
        (LeCunNormal(), 1.0, 600 / 400),
        (Orthogonal(), 400 / 600, 1.0),  # rows of norm 1, and more columns than rows
    ],
)
def test_a_dense_layer_gains_what_its_initialiser_promises(init, forward, backward):
    layer = variance_by_layer(mn.Net([mn.Dense(600, init=init)], 400), normal(300, 400))["0"]
    assert layer.expected_gradient_gain == pytest.approx(backward, rel=0.02)
    assert layer.gradient_gain == pytest.approx(backward, rel=0.03)
    assert layer.expected_gain == pytest.approx(forward, rel=0.02)
    assert layer.gain == pytest.approx(forward, rel=0.03)


@pytest.mark.parametrize(
    ("layer", "forward", "backward"),
    [
        (mn.ReLU(), 1 / 2, 1 / 2),  # He et al. 2015
        (mn.LeakyReLU(0.2), (1 + 0.04) / 2, (1 + 0.04) / 2),
        (mn.PReLU(0.25), (1 + 0.0625) / 2, (1 + 0.0625) / 2),  # eq. 15
        (mn.SELU(), 1.0, 1.071),  # Klambauer et al. 2017: the fixed point
        (mn.Tanh(), 0.3943, 0.4644),  # by numerical integration in double precision
        (mn.Dropout(0.2), 1.25, 1.25),
        (mn.Flatten(), 1.0, 1.0),
    ],
)
def test_a_function_of_normal_input_gains_what_theory_says(layer, forward, backward):
    found = variance_by_layer(mn.Net([layer], 500), normal(1000, 500))["0"]
    for gain in (found.expected_gain, found.gain):
        assert gain == pytest.approx(forward, rel=0.02)
    for gain in (found.expected_gradient_gain, found.gradient_gain):
        assert gain == pytest.approx(backward, rel=0.02)


@pytest.mark.parametrize(
    "layer",
    [
        mn.Conv2D(24, 3),
        mn.Conv2D(24, 3, stride=2, padding="valid"),
        mn.Conv2D(24, 3, groups=4, dilation=2),
        mn.ConvTranspose2D(24, 4, stride=2),
        mn.Residual([mn.Conv2D(12, 3), mn.BatchNorm(), mn.ReLU(), mn.Conv2D(12, 3)]),
        mn.Residual([mn.Conv2D(24, 3)], shortcut=mn.Conv2D(24, 1)),
        mn.BatchNorm(),
        mn.LayerNorm(),
        mn.GroupNorm(3),
        mn.InstanceNorm(),
    ],
    ids=repr,
)
def test_convolutions_norms_and_residuals_gain_what_theory_expects(layer):
    """Over seeds, since few filters are a small sample."""
    found = [
        variance_by_layer(mn.Net([layer], (8, 8, 12), seed=s), normal(40, 8, 8, 12, seed=s))["0"] for s in range(8)
    ]
    ratios = [(f.gain / f.expected_gain, f.gradient_gain / f.expected_gradient_gain) for f in found]
    np.testing.assert_allclose(np.mean(ratios, axis=0), 1, atol=0.06)


def test_theory_is_silent_where_it_knows_nothing():
    net = mn.Net([mn.MaxPool2D(2), mn.Residual([mn.AvgPool2D(1)])], (4, 4, 2))
    table = variance_by_layer(net, normal(5, 4, 4, 2))
    assert [layer.expected_gain for layer in table.layers] == [None] * 4
    dead = variance_by_layer(mn.Net([mn.Dense(3, init=Constant(0.0)), mn.ReLU()], 4), normal(5, 4))
    assert (dead["0"].expected_gain, dead["1"].gain, dead["1"].expected_gain) == (0.0, None, None)


def test_a_wrong_scale_shows_as_a_gap_between_measured_and_expected():
    class Doubled(mn.Dense):
        def forward(self, m, x, y):
            super().forward(m, x, y)
            y *= 2

    layer = variance_by_layer(mn.Net([Doubled(300)], 300), normal(100, 300))["0"]
    assert layer.gain == pytest.approx(4 * layer.expected_gain, rel=0.05)


def test_the_table_prints_saves_and_draws(tmp_path):
    net = mn.Net([mn.Dense(7), mn.ReLU(), mn.Residual([mn.Dense(7)]), mn.Dense(5)], 6, mn.SoftmaxCrossEntropy())
    table = variance_by_layer(net, normal(9, 6), np.arange(9) % 5)
    lines = str(table).splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [
        *("input", "0 Dense", "1 ReLU", "2.layers.0 Dense", "2 Residual", "3 Dense")
    ]
    table.save(tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["layers"][1]["variance"] == table["0"].variance
    dataclasses.replace(table, layers=(dataclasses.replace(table["0"], variance=np.inf),)).save(tmp_path / "inf.json")
    assert json.loads((tmp_path / "inf.json").read_text())["layers"][0]["variance"] is None
    table.plot(tmp_path / "t.png")
    rows = rows_of(tmp_path / "t.csv")
    assert [float(row["variance"]) for row in rows] == [layer.variance for layer in table.layers]
    # Of the expected variance, the gain takes the mean square that came in.
    came_in = table["0"].variance + table["0"].mean ** 2
    wanted = came_in * table["1"].expected_gain - table["1"].mean ** 2
    assert float(rows[2]["expected variance"]) == pytest.approx(wanted)
    assert imread(tmp_path / "t.png").shape[0] > 200
    with pytest.raises(KeyError, match="expected one of"):
        table["9"]


# LSUV --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [1e-3, 30.0])
def test_lsuv_gives_every_linear_layer_variance_one(start):
    init = Normal(start)
    inner = [mn.Conv2D(4, 3, init=init), mn.Tanh(), mn.Conv2D(4, 3, init=init)]
    layers = [mn.Conv2D(4, 3, init=init), mn.ReLU(), mn.Residual(inner), mn.Flatten(), mn.Dense(9, init=init)]
    net = mn.Net(layers, (6, 6, 2))
    x = 5 * normal(50, 6, 6, 2)
    found = lsuv(net, x, orthonormal=False, tolerance=0.01)
    assert list(found) == ["0", "2.layers.0", "2.layers.2", "4"]
    table = variance_by_layer(net, x)
    for name, variance in found.items():
        assert variance == pytest.approx(1, abs=0.011)
        assert table[name].variance == pytest.approx(variance, rel=1e-4)


def test_lsuv_starts_from_orthonormal_matrices():
    net = mn.Net([mn.Dense(20, init=Normal(1.0)), mn.ReLU(), mn.Dense(20)], 20)
    lsuv(net, normal(100, 20))
    for name in ("0.W", "2.W"):
        W = net.named_parameters()[name].astype(np.float64)
        scale = np.linalg.norm(W[0])
        np.testing.assert_allclose(W @ W.T / scale**2, np.eye(20), atol=1e-5)
    assert not net.named_parameters()["0.b"].any()


def test_lsuv_refuses_what_no_scale_can_mend_and_changes_nothing():
    net = mn.Net([mn.Dense(3), mn.ReLU(), mn.Dense(3)], 4)
    net.named_parameters()["0.b"][...] = -100
    before = net.params.tobytes()
    with pytest.raises(ValueError, match="lsuv: expected the output of layer 2 to vary"):
        lsuv(net, normal(10, 4))
    assert before == net.params.tobytes()


# Loss surfaces -----------------------------------------------------------------------------------------------


def test_a_direction_has_the_norm_of_every_filter_and_leaves_biases_and_norms_alone():
    net = mn.Net([mn.Conv2D(5, 3), mn.BatchNorm(), mn.ReLU(), mn.Flatten(), mn.Dense(4)], (4, 4, 2), seed=3)
    net.named_parameters()["0.W"][..., 2] = 0
    direction = net.layout.views(filter_normalised_direction(net, seed=1))
    for name, values in net.named_parameters().items():
        if name in ("0.W", "4.W"):
            norms = np.linalg.norm(values.reshape(-1, values.shape[-1]), axis=0)
            np.testing.assert_allclose(
                np.linalg.norm(direction[name].reshape(-1, len(norms)), axis=0), norms, rtol=1e-6
            )
        else:
            assert not direction[name].any()
    assert not np.array_equal(filter_normalised_direction(net, 1), filter_normalised_direction(net, 2))


@pytest.fixture(scope="module")
def regression():
    """A linear net with one weight a unit of its two inputs, and its data: the loss is a parabola."""
    net = mn.Net([mn.Dense(1, bias=False)], 2, mn.SquaredError(), dtype=np.float64, l2=7.0)
    x = normal(30, 2).astype(np.float64)
    return net, x, x @ np.array([[1.0], [-2.0]]) + 0.1


def test_a_line_is_the_data_loss_along_the_direction(regression):
    net, x, y = regression
    before = net.params.tobytes()
    line = loss_line(net, x, y, span=2.0, points=11, seed=4, progress=False)
    direction = filter_normalised_direction(net, 4).reshape(2, 1)
    wanted = [np.square(x @ (net.params.reshape(2, 1) + t * direction) - y).mean() for t in line.x]
    np.testing.assert_allclose(line.losses, wanted)
    assert line.losses[5] == pytest.approx(net.evaluate(x, y)["data_loss"])
    assert line.concavity == 0
    assert before == net.params.tobytes()
    given = loss_line(net, x, y, points=3, direction=np.array([1.0, 0.0]), progress=False)
    wanted = [np.square(x @ (net.params + np.array([t, 0]))[:, None] - y).mean() for t in (-1, 0, 1)]
    np.testing.assert_allclose(given.losses, wanted)


def test_a_surface_has_the_line_in_its_middle_row(regression):
    net, *data = regression
    surface = loss_surface(net, *data, points=7, seed=4, progress=False)
    line = loss_line(net, *data, points=7, seed=4, progress=False)
    np.testing.assert_allclose(surface.losses[3], line.losses)
    assert surface.losses.shape == (7, 7)
    assert surface.concavity == pytest.approx(0, abs=1e-9)


def test_concavity_is_that_of_known_surfaces():
    steps = np.linspace(-1, 1, 41)
    a, b = np.meshgrid(steps, steps)

    def concavity(values):
        return LossSurface(steps, steps, values, 0).concavity

    assert concavity(a**2 + b**2) == 0
    assert concavity(3 * a**2 + b**2 + a * b) == 0
    assert concavity(a**2 - b**2) == pytest.approx(1)
    assert concavity(4 * a**2 - b**2) == pytest.approx(1 / 4)
    assert concavity(2 * a * b) == pytest.approx(1)
    assert concavity(-(a**2) - 0.1 * b**2) == pytest.approx(1)
    fine = np.linspace(-1, 1, 401)
    assert LossSurface(fine, None, np.cos(fine * np.pi * 8), 0).concavity == pytest.approx(0.5, abs=0.02)
    holed = a**2 - b**2
    holed[:20] = np.inf
    assert concavity(holed) == pytest.approx(1)
    assert math.isnan(concavity(np.full((41, 41), np.inf)))


def test_overflow_far_out_is_infinite_and_saved_as_null(tmp_path):
    net = mn.Net([mn.Dense(2)], 2, mn.SquaredError())
    line = loss_line(net, normal(4, 2), normal(4, 2), span=1e30, points=5, progress=False)
    assert np.isinf(line.losses[[0, -1]]).all()
    assert np.isfinite(line.losses[2])
    line.save(tmp_path / "line.json")
    assert json.loads((tmp_path / "line.json").read_text())["losses"][0] is None
    line.plot(tmp_path / "line.png")


@pytest.mark.parametrize("points", [7, 9])
def test_figures_of_surfaces_keep_their_data(tmp_path, regression, points):
    surface = loss_surface(*regression, points=points, progress=False)
    surface.plot(tmp_path / "s.png", title="bowl")
    rows = rows_of(tmp_path / "s.csv")
    assert len(rows) == points**2
    assert float(rows[1]["data loss"]) == surface.losses[0, 1]
    assert float(rows[1]["first step"]) == surface.x[1]
    assert imread(tmp_path / "s.png").shape[0] > 200


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"points": 8}, "odd number of points"),
        ({"span": 0.0}, "span above 0"),
        ({"direction": np.zeros(3)}, "finite direction of shape"),
    ],
)
def test_bad_arguments_of_a_line_are_named(regression, options, words):
    with pytest.raises(ValueError, match=words):
        loss_line(*regression, **options)


# Mistakes ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge():
    """A net whose scores are its input: what it says is there to be read."""
    net = mn.Net([mn.Dense(3, bias=False)], 3, mn.SoftmaxCrossEntropy(class_weights=(1.0, 2.0, 3.0)))
    net.named_parameters()["0.W"][...] = np.eye(3)
    x = np.array([[2, 0, 0], [0, 1, 0], [0, 3, 1], [5, 0, 0], [0, 0, 1], [1, 0, 0]], np.float32)
    return net, x, np.array([0, 1, 2, 2, 2, 0])


def test_the_confusion_matrix_counts_by_true_and_predicted_class(judge, tmp_path):
    found = confusion_matrix(*judge, names=("a", "b", "c"))
    assert found.counts.tolist() == [[2, 0, 0], [0, 1, 0], [1, 1, 1]]
    assert found.accuracy == pytest.approx(4 / 6)
    np.testing.assert_allclose(found.recall, [1, 1, 1 / 3])
    np.testing.assert_allclose(found.precision, [2 / 3, 1 / 2, 1])
    lines = str(found).splitlines()
    assert lines[3].split() == ["c", "1", "1", "1", "33.3%"]
    found.save(tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text())["counts"] == found.counts.tolist()
    found.plot(tmp_path / "c.png")
    assert [int(row["count"]) for row in rows_of(tmp_path / "c.csv")] == found.counts.ravel().tolist()


def test_a_class_without_samples_has_no_recall():
    assert np.isnan(Confusion(np.array([[2, 1], [0, 0]]), ("a", "b")).recall[1])


def test_the_worst_mistakes_come_first_with_their_losses(judge):
    net, x, y = judge
    found = worst_mistakes(net, x, y)
    wanted = [np.log(np.exp(x[i]).sum()) - x[i, 2] for i in (3, 2)]
    assert [(m.index, m.label, m.predicted) for m in found] == [(3, 2, 0), (2, 2, 1)]
    np.testing.assert_allclose([m.loss for m in found], wanted, rtol=1e-5)
    assert worst_mistakes(net, x, y, count=1) == found[:1]


def test_the_worst_mistakes_are_drawn_with_their_data(tmp_path):
    mistakes = [Mistake(3, 1, 0, 4.0), Mistake(0, 0, 1, 2.5)]
    plots.worst_mistakes(
        tmp_path / "m.png", mistakes, np.random.default_rng(0).random((5, 6, 6, 3)), names=("cat", "dog")
    )
    assert [(row["index"], row["true"], row["predicted"]) for row in rows_of(tmp_path / "m.csv")] == [
        *(("3", "dog", "cat"), ("0", "cat", "dog"))
    ]
    with pytest.raises(ValueError, match=r"^plots.worst_mistakes: expected something to draw; got an empty mistakes"):
        plots.worst_mistakes(tmp_path / "m.png", [], np.zeros((5, 6, 6, 3)))


@pytest.mark.parametrize("who", [confusion_matrix, worst_mistakes])
def test_evaluation_needs_a_classifier(who):
    net = mn.Net([mn.Dense(2)], 3, mn.SquaredError())
    with pytest.raises(ValueError, match=f"{who.__name__}: expected integer labels, and a loss that takes them"):
        who(net, normal(4, 3), normal(4, 2))
    with pytest.raises(ValueError, match="expected a net built with loss"):
        who(mn.Net([mn.Dense(2)], 3), normal(4, 3), np.zeros(4, int))


# Filters -----------------------------------------------------------------------------------------------------


def test_filters_are_the_weights_as_images(tmp_path):
    dense = mn.Net([mn.Flatten(), mn.Dense(5), mn.ReLU()], (4, 3, 2))
    np.testing.assert_array_equal(plots.filters_of(dense)[2], dense.named_parameters()["1.W"][:, 2].reshape(4, 3, 2))
    conv = mn.Net([mn.Conv2D(6, 3)], (4, 4, 2))
    np.testing.assert_array_equal(plots.filters_of(conv)[5], conv.named_parameters()["0.W"][..., 5])
    plots.first_layer_filters(tmp_path / "f.png", conv, columns=3, title="filters")
    rows = rows_of(tmp_path / "f.csv")
    assert len(rows) == 6 * 3 * 3 * 2
    assert float(rows[1]["weight"]) == conv.named_parameters()["0.W"][0, 0, 1, 0]
    with pytest.raises(ValueError, match="expected images"):
        plots.filters_of(mn.Net([mn.Dense(5)], 4))
    with pytest.raises(ValueError, match="expected a net with a Dense"):
        plots.filters_of(mn.Net([mn.ReLU()], 4))
