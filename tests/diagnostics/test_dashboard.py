"""One page about a run: what it says of good and bad runs, when it is written, and its figures' data."""

import base64
import csv
import importlib
import io
import re

import numpy as np
import pytest
from matplotlib.image import imread

import minnet as mn
from minnet import plots
from minnet.diagnostics import (
    Dashboard,
    DeadUnits,
    NoiseScale,
    Saturation,
    Sharpness,
    Statistics,
    UpdateRatios,
    Verdict,
    log_spaced,
    verdicts,
)
from minnet.diagnostics.chance import Baseline, baseline


def make_data(n=60, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5)


def make_net(**arguments):
    layers = [mn.Dense(12), mn.ReLU(), mn.Dense(8), mn.Tanh(), mn.Dense(3)]
    return mn.Net(layers, 4, mn.SoftmaxCrossEntropy(), **{"seed": 1} | arguments)


def run(net, callbacks=(), **arguments):
    options = {"rule": mn.Momentum(), "lr": 0.01, "batch_size": 10, "epochs": 12, "progress": False} | arguments
    try:
        return mn.fit(net, make_data(), callbacks=callbacks, **options)
    except mn.DivergenceError as error:
        return error.history


def parts(path):
    """(text without images, images as arrays) of a page that must stand alone."""
    text = path.read_text()
    images = [
        imread(io.BytesIO(base64.b64decode(data)), format="png")
        for data in re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    ]
    assert text.count("<img") == len(images)
    assert "http:" not in text
    assert "https:" not in text
    return re.sub(r'src="[^"]+"', "", text), images


# The page ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def without_figures(monkeypatch):
    """Pages without figures, whose drawing takes seconds."""
    monkeypatch.setattr(plots, "run_figures", lambda *_: {})


@pytest.fixture
def figures_at_the_end(monkeypatch):
    """Pages without figures, but for the last one of a run."""
    real = plots.run_figures
    monkeypatch.setattr(plots, "run_figures", lambda history, *m: real(history, *m) if history.stopped else {})


@pytest.mark.usefixtures("figures_at_the_end")
@pytest.mark.parametrize("validation", [None, make_data(30, seed=1)], ids=["without", "with validation"])
def test_a_page_stands_alone_and_says_what_its_figures_show(tmp_path, validation):
    path = tmp_path / "run.html"
    dashboard = Dashboard(path, title="<digits>")
    history = run(make_net(), [dashboard], validation=validation)
    text, images = parts(path)
    assert text.startswith("<!doctype html>")
    assert "<h1>&lt;digits&gt;</h1>" in text
    assert "12 of 12 epochs, 72 of 72 steps" in text
    assert "Momentum(" in text
    assert "http-equiv" not in text  # the run is over
    titles = ["Loss", "Accuracy", "Learning rate", "Updates", "Units", "Weights", "Gradients", "Activations"]
    assert re.findall(r"<h2>([^<]+)</h2>", text) == titles
    assert len(images) == len(titles) == text.count("<figcaption>")
    assert all(image.shape[1] > 400 and image[..., :3].std() > 0.05 for image in images)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    levels = [v.level for v in dashboard.verdicts]
    for level in set(levels):
        assert f'<span class="{level}">{levels.count(level)} {level}</span>' in text
    net = make_net()
    level = baseline(net, make_data()[1])
    assert dashboard.verdicts == verdicts(history, dashboard.monitors, 10, level)
    assert len(dashboard.verdicts) >= 6
    for verdict in dashboard.verdicts:
        assert f'<li class="{verdict.level}">' in text
    gap = [v for v in dashboard.verdicts if "points apart" in v.text]
    assert len(gap) == (validation is not None)
    assert ("There is no validation" in text) == (validation is None)


@pytest.mark.usefixtures("without_figures")
def test_a_page_is_written_after_the_first_epoch_every_so_many_and_at_the_end(tmp_path, monkeypatch):
    """During the run it asks the browser to come back."""
    written = []
    room = importlib.import_module("minnet.diagnostics.dashboard")
    monkeypatch.setattr(room, "write_whole", lambda path, text: written.append(text))
    run(make_net(), [Dashboard(tmp_path / "run.html", every=5, monitors=[UpdateRatios()])])
    counts = [re.search(r"(\d+) of 12 epochs, \d+ of 72 steps</p><p>(\w+)", text).groups() for text in written]
    assert counts == [("1", "running"), ("5", "running"), ("10", "running"), ("12", "finished")]
    assert [text.count("http-equiv") for text in written] == [1, 1, 1, 0]


def test_a_page_tells_of_a_run_that_diverged_before_its_first_epoch_was_over(tmp_path):
    path = tmp_path / "run.html"
    history = run(make_net(l2=1.0), [Dashboard(path)], rule=mn.SGD(), lr=1e30)
    assert len(history) == 0
    text, images = parts(path)
    assert re.search(r'class="bad"><b>bad</b>The run ended early: loss (nan|inf) at step \d', text)
    assert 2 <= len(images) == text.count("<figcaption>")


@pytest.mark.usefixtures("figures_at_the_end")
def test_a_loss_that_does_not_classify_gets_a_page(tmp_path):
    x = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    net = mn.Net([mn.Dense(2)], 4, mn.SquaredError())
    dashboard = Dashboard(tmp_path / "run.html")
    mn.fit(net, (x, x[:, :2]), rule=mn.SGD(), lr=0.01, epochs=2, validation=(x, x[:, 2:]), callbacks=[dashboard])
    text, images = parts(tmp_path / "run.html")
    assert "<h2>Accuracy</h2>" not in text
    assert len(images) == text.count("<figcaption>") > 3
    assert not any("units" in v.text or "saturated" in v.text for v in dashboard.verdicts)


@pytest.mark.usefixtures("without_figures")
def test_a_run_with_a_dashboard_of_everything_ends_with_the_bits_of_one_without(tmp_path):
    states = []
    everything = [kind(at=log_spaced(5)) for kind in (UpdateRatios, Statistics, Saturation, DeadUnits, Sharpness)]
    dashboard = Dashboard(tmp_path / "run.html", every=1, monitors=[*everything, NoiseScale(5, 4, at=7)])
    for callbacks in ([], [dashboard]):
        net = make_net()
        options = {"rule": mn.Adam(), "batch_size": 7, "epochs": 3, "validation": make_data(20), "callbacks": callbacks}
        trainer = mn.Trainer(net, make_data(), lr=0.01, seed=3, **options)
        rows = list(trainer)
        optimizer = trainer.optimizer
        order = trainer.batches.epoch_index, trainer.batches.position, trainer.batches._order.tobytes()
        states.append((net.params.tobytes(), net.buffers.tobytes(), net.step, optimizer.state.tobytes(), order, rows))
        states[-1] += (trainer.history.steps.rows, trainer.history.epochs.rows)
    assert states[0] == states[1]
    assert all(len(monitor) for monitor in dashboard.monitors)


@pytest.mark.usefixtures("without_figures")
def test_a_dashboard_goes_on_from_its_state(tmp_path):
    first, second = (
        Dashboard(tmp_path / "run.html", monitors=[UpdateRatios(at=9), Saturation(at=4)]) for _ in range(2)
    )
    run(make_net(), [first])
    second.restore(first.state())
    for one, other in zip(first.monitors, second.monitors, strict=True):
        assert other.steps.tolist() == one.steps.tolist()
        assert other.names() == one.names()
        np.testing.assert_array_equal(other[one.names()[0]], one[one.names()[0]])
    with pytest.raises(ValueError, match="Dashboard: expected a state of"):
        second.restore({"2 steps": np.arange(3)})


def test_two_dashboards_with_one_page_are_refused_before_the_first_step(tmp_path):
    boards = [Dashboard(tmp_path / "run.html", monitors=[]), Dashboard(tmp_path / "." / "run.html", monitors=[])]
    with pytest.raises(
        ValueError, match=r"^Dashboard: expected a page for each Dashboard of a run; got two with .*run"
    ):
        run(make_net(), boards)
    assert not list(tmp_path.iterdir())


def test_what_is_no_monitor_is_refused(tmp_path):
    with pytest.raises(TypeError, match="Dashboard: expected monitors such as UpdateRatios"):
        Dashboard(tmp_path / "run.html", monitors=[mn.EarlyStopping()])


# Verdicts ------------------------------------------------------------------------------------------------------------


def history_of(losses, per_epoch=5, **columns):
    """A history with these losses of the steps, and these columns of the epochs."""
    history = mn.History()
    for i, loss in enumerate(losses):
        history.steps.rows.append({"step": i + 1, "epoch": i // per_epoch + 1, "loss": loss, "lr": 0.1})
    for i in range(len(losses) // per_epoch):
        row = {
            "epoch": i + 1,
            "step": (i + 1) * per_epoch,
            "loss": np.mean(losses[i * per_epoch : (i + 1) * per_epoch]),
        }
        history.epochs.rows.append(row | {name: values[i] for name, values in columns.items()})
    return history


def said(history, *monitors, level=None):
    return {verdict.text: verdict.level for verdict in verdicts(history, monitors, 8, level)}


def only(found, words):
    (level,) = [level for text, level in found.items() if words in text]
    return level


FALLING = np.linspace(2, 0.1, 20)


@pytest.mark.parametrize(
    ("losses", "words", "level"),
    [
        (FALLING, "is still falling", "good"),
        (np.exp(-np.arange(20.0)), "has levelled off", "good"),
        (2 + 0.01 * np.sin(np.arange(20)), "hardly moved", "bad"),
        (np.linspace(2, 3, 20), "has risen", "bad"),
    ],
)
def test_the_course_of_the_loss_is_named(losses, words, level):
    assert only(said(history_of(losses)), words) == level


def test_overfitting_is_seen_in_the_gap_and_in_a_validation_loss_that_rises():
    near = history_of(
        FALLING, val_loss=[1.9, 1.2, 0.7, 0.4], accuracy=[0.5, 0.6, 0.8, 0.9], val_accuracy=[0.5, 0.6, 0.8, 0.88]
    )
    assert only(said(near), "2.0 points apart: no overfitting") == "good"
    far = history_of(
        FALLING, val_loss=[1.9, 1.2, 1.5, 1.6], accuracy=[0.5, 0.6, 0.8, 0.99], val_accuracy=[0.5, 0.6, 0.7, 0.7]
    )
    assert only(said(far), "29.0 points apart: the net overfits") == "watch"
    assert only(said(far), "lowest in epoch 2 (1.2) and has risen to 1.6") == "watch"
    assert not any("lowest in epoch" in text for text in said(near))


@pytest.mark.parametrize(
    ("ratio", "level", "words"), [(2e-5, "watch", "too low"), (2e-3, "good", "suits"), (0.05, "bad", "too high")]
)
def test_the_rate_is_judged_by_the_last_ratios_of_the_weights(ratio, level, words):
    monitor = UpdateRatios()
    for step in range(1, 9):
        monitor.record(step, {"0.W": ratio if step > 6 else 1.0, "0.b": 10.0})
    monitor.labels = {"0.W": "weights"}
    assert (
        only(said(history_of(FALLING), monitor), f"the learning rate {'' if words == 'suits' else 'is likely '}{words}")
        == level
    )


def test_dead_units_and_saturation_are_judged_by_the_worst_layer():
    dead, saturation = DeadUnits(), Saturation()
    dead.record(1, {"1": [True, False, False, False], "3": [False] * 10})
    dead.record(5, {"1": [False, True, True, True], "3": [False] * 10})
    saturation.record(5, {"4": 0.2, "6": 0.05})
    found = said(history_of(FALLING), dead, saturation)
    words = "3 of 14 ReLU units are dead over the whole data set (1 dead at the start, 3 died, 1 revived), and 75%"
    assert only(found, words) == "bad"
    assert only(found, "Of the outputs of layer 4, 20% are saturated") == "watch"


def test_gradients_that_vanish_are_seen():
    layers = [layer for _ in range(8) for layer in (mn.Dense(10, init=mn.initializers.Normal(0.01)), mn.Tanh())]
    net = mn.Net([*layers, mn.Dense(3)], 4, mn.SoftmaxCrossEntropy())
    bad, good = Statistics(at=20), Statistics(at=20)
    assert only(said(run(net, [bad]), bad), "vanish or explode on the way") == "watch"
    assert only(said(run(make_net(), [good]), good), "neither vanish nor explode") == "good"


def test_verdicts_stand_worst_first_and_a_monitor_without_records_is_silent():
    found = verdicts(history_of(np.linspace(2, 3, 20)), [UpdateRatios(), DeadUnits(), NoiseScale(), Sharpness()])
    assert [verdict.level for verdict in found] == ["bad", "watch"]
    assert isinstance(found[0], Verdict)


def test_noise_and_sharpness_are_put_into_words():
    noise, curve = NoiseScale(), Sharpness()
    for step, gradient in enumerate((3.0, 2.0, 1.0, 0.5)):
        noise.record(step + 1, {"gradient": gradient, "noise": 10.0})
    curve.record(4, {"sharpness": 8.0, "residual": 0.01, "lr": 0.1})
    found = said(history_of(FALLING), noise, curve)
    assert "Noise and gradient are of one size in batches of 20 samples. The run's batches have 8 samples." in found
    assert "Sharpness is 8: plain gradient descent is stable up to a rate of 0.25. The rate is 0.1." in found
    curve.record(5, {"sharpness": 8.0, "residual": 3.0, "lr": 0.1})
    assert only(said(history_of(FALLING), curve), "Sharpness was not found in 50 iterations") == "watch"
    noise.record(5, {"gradient": -1.0, "noise": 10.0})
    assert only(said(history_of(FALLING), noise), "cannot be told from its noise") == "watch"


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """The verdicts of a run on digits, in words; the page's figures are left out."""
    monkeypatch.setattr(importlib.import_module("minnet.diagnostics.dashboard"), "page", lambda *_: "")
    train, validation = mn.data.split(mn.datasets.digits(), (0.8, 0.2), seed=0)

    def judge(layers, lr, *, loss=None, scale=1.0, rule=None, epochs=4, validate=True):
        dashboard = Dashboard(tmp_path / "run.html")
        net = mn.Net([mn.Flatten(), *layers], (8, 8, 1), loss or mn.SoftmaxCrossEntropy())
        data, others = (
            (scale * x, y if loss is None else y[:, None].astype(np.float32)) for x, y in (train, validation)
        )
        options = {"batch_size": 50, "epochs": epochs, "validation": others if validate else None, "progress": False}
        mn.fit(net, data, rule=rule or mn.Momentum(0.9), lr=lr, callbacks=[dashboard], **options)
        return [str(verdict) for verdict in dashboard.verdicts]

    return judge


CLASSIFIER = [mn.Dense(50), mn.ReLU(), mn.Dense(10)]
REGRESSION = {"layers": [mn.Dense(5), mn.ReLU(), mn.Dense(1)], "loss": mn.SquaredError(), "rule": mn.Adam()}
RUINED = {
    "all units died": {"layers": CLASSIFIER, "lr": 50.0, "epochs": 6},
    "huge weights": {"layers": CLASSIFIER, "lr": 1e3, "scale": 1e3, "rule": mn.SGD(), "epochs": 3},
    "regression with dead units": {**REGRESSION, "lr": 1.0, "epochs": 2, "validate": False},
    "tiny rate": {"layers": CLASSIFIER, "lr": 1e-6, "epochs": 6},
}


@pytest.mark.parametrize("name", RUINED)
def test_a_ruined_run_is_not_called_good(judged, name):
    found = judged(**RUINED[name])
    report = "\n".join(found)
    assert found[0].startswith("bad: "), report
    flattery = ("no overfitting", "rate suits", "neither vanish", "overfitting. Stop", "larger net")
    if name == "tiny rate":  # whose gradients are sound
        assert "nothing is learned yet" in report
        assert "hardly moved" in report
        assert "the learning rate is likely too low" in report
        flattery = (*flattery[:2], *flattery[3:])
    else:
        assert re.match(r"bad: (\d+) of \1 ReLU units are dead", found[0]), report
        assert "are all 0" in report
        assert "says nothing of the learning rate" in report
        assert "too low" not in report
        assert not any(line.startswith("good: The training loss") for line in found), report
    assert not any(words in report for words in flattery), report


@pytest.mark.parametrize(
    "options",
    [
        {"layers": CLASSIFIER, "lr": 0.02, "epochs": 6},
        {**REGRESSION, "layers": [mn.Dense(50), mn.Tanh(), mn.Dense(1)], "lr": 3e-3, "epochs": 6},
    ],
    ids=["classifier", "regression"],
)
def test_a_healthy_run_is_called_good(judged, options):
    found = judged(**options)
    assert not any(line.startswith("bad: ") for line in found), "\n".join(found)
    assert any(line.startswith("good: The training loss has fallen") for line in found), "\n".join(found)


def test_a_loss_below_that_of_one_answer_for_all_is_what_counts():
    """A loss that falls from far above to where a net that knows nothing would be has fallen, and is no good."""
    found = said(history_of(np.exp(-np.arange(20.0)) + 3), level=Baseline(2.3))
    assert only(found, "one and the same answer to every sample gives 2.3") == "bad"
    assert only(said(history_of(np.exp(-np.arange(20.0)) + 3), level=Baseline(4.0)), "has levelled off.") == "good"


def test_the_baseline_is_that_of_a_net_that_knows_nothing():
    x, y = make_data()
    net = make_net(l2=0.1)
    penalty = sum(net.penalties())
    assert penalty > 0
    assert baseline(net, y) == Baseline(
        pytest.approx(np.log(3) + penalty), pytest.approx(np.bincount(y).max() / len(y))
    )
    net = mn.Net([mn.Dense(2)], 4, mn.SquaredError())
    expected = np.square(x[:, :2] - x[:, :2].mean(axis=0)).sum(axis=1).mean()
    assert baseline(net, x[:, :2]) == Baseline(pytest.approx(expected, rel=1e-5), None)


def test_a_folder_that_is_missing_is_named_before_the_run(tmp_path):
    for write in (Dashboard, run(make_net(), epochs=1).plot):
        with pytest.raises(FileNotFoundError, match=r"expected the folder .*nowhere to exist, to write run\.png in it"):
            write(tmp_path / "nowhere" / "run.png")


# Figures -------------------------------------------------------------------------------------------------------------


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def drawn(monkeypatch):
    """The figures as Matplotlib has them, instead of image files; their data are written."""
    kept, room = [], importlib.import_module("minnet.plots.watching")

    def keep(figure, path, beside):
        kept.append(figure)
        path.with_suffix(beside.suffix).write_bytes(beside.content())

    monkeypatch.setattr(room, "save", keep)
    return kept


def test_curves_show_the_gap_and_keep_their_data(tmp_path, drawn):
    history = run(make_net(), validation=make_data(30, seed=1))
    plots.training_curves(tmp_path / "c.png", history)
    loss, accuracy = drawn[0].axes
    assert [len(line.get_xdata()) for line in loss.lines] == [72, 12, 12]
    np.testing.assert_allclose(accuracy.lines[1].get_ydata(), 100 * np.array(history["val_accuracy"]))
    gap = 100 * (history["accuracy"][-1] - history["val_accuracy"][-1])
    assert f"gap, {gap:.1f} points at the end" in [text.get_text() for text in accuracy.get_legend().get_texts()]
    rows = rows_of(tmp_path / "c.csv")
    assert [float(row["val_loss"]) for row in rows] == history["val_loss"]


def test_rates_are_compared_and_a_run_that_diverged_ends_in_a_cross(tmp_path, drawn):
    runs = {str(lr): run(make_net(l2=1e-3), rule=mn.SGD(), lr=lr) for lr in (1e-4, 0.1, 1e30)}
    plots.compare_rates(tmp_path / "r.png", runs)
    (axis,) = drawn[0].axes
    crosses = [line for line in axis.lines if line.get_marker() == "X"]
    assert len(crosses) == 1
    curves = [line for line in axis.lines if line.get_marker() != "X"]
    assert [line.get_label() for line in curves] == list(runs)
    np.testing.assert_allclose(curves[1].get_ydata(), [runs["0.1"].steps["loss"][0], *runs["0.1"]["loss"]])
    rows = rows_of(tmp_path / "r.csv")
    assert sum(row["run"] == "0.1" for row in rows) == 72


def test_batch_sizes_are_compared_on_one_scale(tmp_path, drawn):
    runs = {f"batches of {size}": run(make_net(), batch_size=size) for size in (5, 30)}
    plots.compare_batch_sizes(tmp_path / "b.png", runs)
    assert [axis.get_title() for axis in drawn[0].axes] == list(runs)
    assert drawn[0].axes[0].get_ylim() == drawn[0].axes[1].get_ylim()
    assert [axis.lines[0].get_xdata()[-1] for axis in drawn[0].axes] == [12, 12]  # epochs, however many steps
    assert len(rows_of(tmp_path / "b.csv")) == 12 * (12 + 2)


def test_ratio_series_stand_side_by_side(tmp_path, drawn):
    runs = {str(lr): UpdateRatios(at=6) for lr in (1e-3, 1e-1)}
    for lr, monitor in runs.items():
        run(make_net(), [monitor], lr=float(lr))
    plots.update_ratios(tmp_path / "u.png", runs)
    for axis, monitor in zip(drawn[0].axes, runs.values(), strict=True):
        series = [line.get_ydata().tolist() for line in axis.lines if len(line.get_xdata()) == len(monitor)]
        assert series == [monitor[name].tolist() for name in ("0.W", "2.W", "4.W")]
    rows = rows_of(tmp_path / "u.csv")
    assert len(rows) == 2 * 3 * 12


def test_histograms_over_time_have_the_same_bins_for_all_records(tmp_path, drawn):
    monitor = Statistics(at=10)
    run(make_net(), [monitor])
    plots.histograms(tmp_path / "h.png", monitor)
    shown = [axis.get_title() for axis in drawn[0].axes if axis.get_visible()]
    assert shown[:6] == [f"{kind} {i}.W" for kind in ("weights", "gradients") for i in (0, 2, 4)]
    assert shown[6:] == [
        "activations 1 (ReLU)",
        "activations 2 (Dense)",
        "activations 3 (Tanh)",
        "activations 4 (Dense)",
    ]
    rebinned = importlib.import_module("minnet.plots.watching").rebinned
    steps, shares, borders = rebinned(monitor, "weights 0.W")
    assert steps.tolist() == monitor.steps.tolist()
    assert shares.shape == (len(steps), len(borders) - 1)
    assert ((shares.sum(axis=1) > 0.9) & (shares.sum(axis=1) < 1 + 1e-9)).all()
    assert len(rows_of(tmp_path / "h.csv")) == 10 * len(steps) * 60


def test_a_histogram_put_into_other_bins_keeps_what_falls_into_each():
    """Values of one record on a grid, so that each new bin of two old ones holds just what those held."""
    monitor = Statistics(bins=8)
    monitor.record(1, {"weights w": [0, 0, -4, 4, 0], "weights w counts": [1, 1, 2, 30, 40, 20, 5, 1]})
    rebinned = importlib.import_module("minnet.plots.watching").rebinned
    _, shares, borders = rebinned(monitor, "weights w", bins=4)
    ends = np.interp(borders, [-4, -3, -2, -1, 0, 1, 2, 3, 4], np.cumsum([0, 1, 1, 2, 30, 40, 20, 5, 1]) / 100)
    np.testing.assert_allclose(shares[0], np.diff(ends), atol=1e-12)
    assert ends[0] == pytest.approx(0.005, abs=5e-4)
    assert ends[-1] == pytest.approx(0.995, abs=5e-4)
