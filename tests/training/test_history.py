"""The history of a run: its rows, its files, its figure."""

import csv
import json
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import minnet as mn
from minnet.training.history import History

# Numbers that text formats tend to bend: not finite, tiny, negative zero, thirds, integers beyond 2^53.
AWKWARD = [math.nan, math.inf, -math.inf, 0.1, 1 / 3, -0.0, 5e-324, 1.7976931348623157e308, 1e22, 3.0]


def made_by_hand():
    """A history of steps with awkward losses and of two epochs, of which only the second was validated."""
    history = History()
    for i, loss in enumerate(AWKWARD):
        history.steps.rows.append({"step": i + 1, "epoch": 1 + i // 5, "loss": loss, "lr": 1e-3})
    history.epochs.rows.append({"epoch": 1, "step": 5, "loss": math.nan, "lr": 1e-3})
    history.epochs.rows.append({"epoch": 2, "step": 10, "loss": -math.inf, "val_loss": 2**53 + 1, "lr": 1e-3})
    history.stopped = "finished"
    return history


def trained(validation=True, loss=None, epochs=2):
    """A real run of ``epochs`` times 3 steps."""
    rng = np.random.default_rng(0)
    loss = mn.SoftmaxCrossEntropy() if loss is None else loss
    x = rng.standard_normal((11, 4)).astype(np.float32)
    y = x[:, :3].copy() if isinstance(loss, mn.SquaredError) else rng.integers(0, 3, 11)
    net = mn.Net(mn.Dense(3), 4, loss)
    data = (x, y)
    return mn.fit(
        net, data, rule=mn.SGD(), lr=0.1, batch_size=4, epochs=epochs, validation=data if validation else None
    )


def exact(rows):
    """Rows as text that tells int from float, 0.0 from -0.0, and lets NaN equal NaN."""
    return [
        [(column, repr(float(value) if isinstance(value, float) else value)) for column, value in row.items()]
        for row in rows.rows
    ]


# Rows ---------------------------------------------------------------------------------------------------


def test_a_run_leaves_one_row_a_step_and_one_an_epoch():
    history = trained(epochs=2)
    assert history.steps["step"] == [1, 2, 3, 4, 5, 6]
    assert history.steps["epoch"] == [1, 1, 1, 2, 2, 2]
    assert history["epoch"] == [1, 2]
    assert history["step"] == [3, 6]
    assert (len(history), len(history.steps), history.stopped) == (2, 6, "finished")


def test_the_rows_of_a_run_hold_plain_numbers():
    history = trained()
    for row in history.steps.rows + history.epochs.rows:
        assert {column: type(value) for column, value in row.items() if type(value) not in (int, float)} == {}


def test_a_column_has_a_place_for_every_row():
    history = made_by_hand()
    assert history["val_loss"] == [None, 2**53 + 1]
    assert history.epochs.columns() == ["epoch", "step", "loss", "lr", "val_loss"]
    assert "val_loss" in history
    assert "val_loss" not in history.steps
    assert "val_accuracy" not in history


@pytest.mark.parametrize("rows", ["epochs", "steps"])
def test_an_unknown_column_names_those_that_exist(rows):
    with pytest.raises(KeyError, match=r"history: expected one of the columns \['.*'loss'.*\]; got 'los'"):
        getattr(made_by_hand(), rows)["los"]


def test_histories_and_their_rows_are_gone_through_row_by_row():
    history = made_by_hand()
    assert [row["epoch"] for row in history] == [1, 2]
    assert list(history) == history.epochs.rows
    assert [row["step"] for row in history.steps] == list(range(1, 11))
    assert list(History()) == list(History().steps) == []
    assert "loss" in history  # which is still asked of the columns


def test_a_history_prints_as_a_table_of_its_epochs():
    assert repr(History()) == str(History()) == "History of 0 epochs, 0 steps"
    assert str(made_by_hand()).splitlines() == [
        "History of 2 epochs, 10 steps",
        "epoch  step  loss     lr          val_loss",
        "    1     5   nan  0.001",
        "    2    10  -inf  0.001  9007199254740993",
    ]
    history = made_by_hand()
    history.stopped = "interrupted"
    assert repr(history).splitlines()[0] == "History of 2 epochs, 10 steps; stopped: interrupted"
    assert str(history.steps).splitlines()[3] == "   3      1        -inf  0.001"
    assert str(History().steps) == "no rows yet"


def test_a_long_history_prints_its_first_and_last_rows():
    history = History()
    history.epochs.rows += [{"epoch": i, "loss": 1 / i} for i in range(1, 21)]
    assert len(str(history).splitlines()) == 22
    history.epochs.rows += [{"epoch": i, "loss": 1 / i} for i in range(21, 501)]
    words = [text.split() for text in str(history).splitlines()[2:]]
    assert [cells[0] for cells in words] == [*map(str, range(1, 11)), "...", *map(str, range(491, 501))]
    assert words[-1] == ["500", "0.002"]


def test_a_table_takes_what_callbacks_add_of_any_kind():
    history = History()
    added = {"note": "a <b>\nline", "norm": np.float32(0.1), "dead": np.int64(7), "long": "x" * 99, "none": None}
    history.epochs.rows.append({"epoch": 1, **added})
    _heading, names, cells = str(history).splitlines()
    assert names.split() == ["epoch", *added]
    assert cells.split() == ["1", "a", "<b>", "line", "0.1", "7", "x" * 21 + "...", "None"]


def test_a_notebook_gets_the_table_as_html():
    history = made_by_hand()
    history.epochs.rows[0]["<i>"] = "<b>&"
    history.stopped = "a < b"
    text = history._repr_html_()
    assert text.startswith("<p>History of 2 epochs, 10 steps; stopped: a &lt; b</p><table><tr><th>epoch</th>")
    assert "<th>&lt;i&gt;</th>" in text
    assert "<td>&lt;b&gt;&amp;</td>" in text
    assert text.count("<tr>") == 3
    assert history.steps._repr_html_().count("<tr>") == 11
    assert History()._repr_html_() == "<p>History of 0 epochs, 0 steps</p>"


def test_the_columns_of_a_run_are_those_that_the_docstring_lists():
    listed = set(re.findall(r"``(\w+)``", History.__doc__))
    for loss in (mn.SoftmaxCrossEntropy(), mn.SquaredError()):
        history = trained(loss=loss)
        assert {*history.epochs.columns(), *history.steps.columns()} <= listed
        assert listed >= set(history.epochs.columns())


# Files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".json"])
@pytest.mark.parametrize("make", [made_by_hand, trained, History])
def test_what_is_saved_is_loaded_again_to_the_last_bit(tmp_path, make, suffix):
    history, path = make(), tmp_path / f"run{suffix}"
    history.save(path)
    loaded = History.load(path)
    # A CSV file has one order of columns for both kinds of rows, so only JSON keeps each row's own.
    order = sorted if suffix == ".csv" else list
    for rows in ("steps", "epochs"):
        ours, theirs = exact(getattr(history, rows)), exact(getattr(loaded, rows))
        assert [order(row) for row in theirs] == [order(row) for row in ours]
    assert loaded.stopped == history.stopped


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_saving_what_was_loaded_writes_the_same_file(tmp_path, suffix):
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    made_by_hand().save(str(first))
    History.load(str(first)).save(second)
    assert second.read_text() == first.read_text()


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_numbers_of_numpy_that_a_callback_adds_are_saved(tmp_path, suffix):
    history, path = made_by_hand(), tmp_path / f"run{suffix}"
    row = history.epochs.rows[0]
    row |= {"norm": np.float32(0.1), "ratio": np.float64(1 / 3), "dead": np.int64(7), "worst": np.float32("nan")}
    history.save(path)
    loaded = History.load(path)
    assert np.float32(loaded["norm"][0]) == np.float32(0.1)
    assert (loaded["ratio"][0], loaded["dead"][0]) == (1 / 3, 7)
    assert math.isnan(loaded["worst"][0])


def test_the_csv_file_can_be_read_by_others(tmp_path):
    history = trained()
    history.save(tmp_path / "run.csv")
    with open(tmp_path / "run.csv", newline="") as file:
        header, *lines = csv.reader(file)
    assert header[:5] == ["row", "step", "epoch", "loss", "lr"]
    assert [line[header.index("stopped")] for line in lines] == [""] * 7 + ["finished"]
    assert [line[0] for line in lines] == ["step"] * 6 + ["epoch"] * 2
    assert all(len(line) == len(header) for line in lines)
    assert [float(line[header.index("loss")]) for line in lines[:6]] == history.steps["loss"]
    assert [float(line[header.index("val_accuracy")]) for line in lines[6:]] == history["val_accuracy"]
    assert {line[header.index("val_loss")] for line in lines[:6]} == {""}


REASONS = ["interrupted", 'no better "val_loss", in 5 epochs\nor so\r', "3", None]


@pytest.mark.parametrize("suffix", [".csv", ".json"])
@pytest.mark.parametrize("validated", [True, False], ids=["epochs", "steps only"])
@pytest.mark.parametrize("reason", REASONS)
def test_a_file_keeps_why_the_run_ended(tmp_path, reason, validated, suffix):
    history, path = made_by_hand(), tmp_path / f"run{suffix}"
    history.stopped = reason
    if not validated:
        history.epochs.rows.clear()
    history.save(path)
    loaded = History.load(path)
    assert loaded.stopped == reason
    assert "stopped" not in [*loaded.epochs.columns(), *loaded.steps.columns()]
    assert exact(loaded.steps) == exact(history.steps)


def test_a_column_called_stopped_is_refused_in_csv(tmp_path):
    history = made_by_hand()
    history.epochs.rows[0]["stopped"] = 1.0
    with pytest.raises(ValueError, match=r"^History: expected no column called 'stopped', .*; got \['step'"):
        history.save(tmp_path / "run.csv")
    assert not list(tmp_path.iterdir())


def test_the_json_file_is_json_by_the_standard(tmp_path):
    made_by_hand().save(tmp_path / "run.json")

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    document = json.loads((tmp_path / "run.json").read_text(), parse_constant=refuse)
    assert document["stopped"] == "finished"
    assert document["steps"][3] == {"step": 4, "epoch": 1, "loss": 0.1, "lr": 0.001}
    assert len(document["epochs"]) == 2


@pytest.mark.parametrize("suffix", [".csv", ".json"])
@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "ctrl-c"])
def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch, suffix, failing, error):
    path = tmp_path / f"run{suffix}"
    made_by_hand().save(path)
    before = path.read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(type(error)):
        trained().save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path], "something was left lying about"


def test_a_value_that_no_file_can_hold_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "run.json"
    made_by_hand().save(path)
    before = path.read_bytes()
    history = made_by_hand()
    history.epochs.rows[0]["weights"] = np.zeros(3)
    with pytest.raises(TypeError, match=r"^History: expected .*weights.*; got"):
        history.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saving_replaces_an_older_file(tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("something long and old\n" * 100)
    made_by_hand().save(path)
    assert "old" not in path.read_text()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["run.txt", "run", "run.csv.gz"])
def test_an_unknown_ending_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"^History.save: expected .*\.csv or \.json; got '{name}'"):
        made_by_hand().save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=rf"^History.load: expected .*\.csv or \.json; got '{name}'"):
        History.load(tmp_path / name)


FOREIGN = {
    "other JSON": (".json", '{"loss": [1, 2]}'),
    "a JSON list": (".json", "[1, 2]"),
    "half a JSON file": (".json", '{"stopped": null, "epochs": [{"epoch": 1'),
    "JSON rows that are none": (".json", '{"epochs": [1, 2], "steps": []}'),
    "JSON rows under one name": (".json", '{"epochs": 3, "steps": []}'),
    "an empty CSV file": (".csv", ""),
    "another table": (".csv", "a,b\n1,2\n"),
    "another table without rows": (".csv", "a,b\n"),
    "rows of another kind": (".csv", "row,loss\nbatch,2\n"),
    "a row with too many cells": (".csv", "row,loss\nstep,1,2\n"),
    "a row cut short": (".csv", "row,step,loss\nstep,1\n"),
    "words for numbers": (".csv", "row,loss\nstep,low\n"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_file_that_is_no_history_is_refused_by_name(tmp_path, case):
    suffix, text = FOREIGN[case]
    path = tmp_path / f"other{suffix}"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^History.load: expected .*other{suffix}"):
        History.load(path)


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_a_missing_file_is_named(tmp_path, suffix):
    with pytest.raises(FileNotFoundError, match=f"run{suffix}"):
        History.load(tmp_path / f"run{suffix}")


# Figure -------------------------------------------------------------------------------------------------


def broken_off():
    """A run that diverged before its first epoch ended."""
    history = History()
    for i, loss in enumerate([1.0, 1e30, math.inf, math.nan]):
        history.steps.rows.append({"step": i + 1, "epoch": 1, "loss": loss, "lr": 0.1})
    return history


CURVES = {
    "with validation": trained,
    "without validation": lambda: trained(validation=False),
    "without accuracy": lambda: trained(loss=mn.SquaredError()),
    "diverged": broken_off,
}


@pytest.mark.parametrize("case", CURVES)
def test_plot_writes_an_image(tmp_path, case):
    path = tmp_path / "curves.png"
    CURVES[case]().plot(path)
    from matplotlib.image import imread

    image = imread(path)
    assert min(image.shape[:2]) > 200, "pixels"
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 10, "an empty sheet"


def test_plot_takes_the_format_from_the_ending(tmp_path):
    trained().plot(str(tmp_path / "curves.svg"))
    assert "<svg" in (tmp_path / "curves.svg").read_text()


def test_plotting_leaves_matplotlib_as_it_was(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    trained().plot(tmp_path / "curves.png")
    assert dict(matplotlib.rcParams) == before


def test_a_history_without_steps_cannot_be_plotted(tmp_path):
    with pytest.raises(ValueError, match=r"^History.plot: expected at least one step; got"):
        History().plot(tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())


def test_a_format_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match="xyz"):
        trained().plot(tmp_path / "curves.xyz")
    assert not list(tmp_path.iterdir())


# Reads and writes names that ASCII has not; a text file without an encoding of its own raises EncodingWarning.
ELSEWHERE = """
import sys
import minnet as mn

history = mn.History()
history.epochs.rows.append({"epoch": 1, "größe": 0.5, "損失": 2.0})
for name in ("run.csv", "run.json"):
    history.save(f"{sys.argv[1]}/{name}")
    assert mn.History.load(f"{sys.argv[1]}/{name}").epochs.rows == history.epochs.rows
mn.datasets.iris(), mn.datasets.digits()
"""


def test_text_is_utf_8_whatever_the_machine_prefers(tmp_path):
    environment = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    options = ["-X", "warn_default_encoding", "-W", "error::EncodingWarning:minnet"]
    program = tmp_path / "elsewhere.py"
    program.write_text(ELSEWHERE, encoding="utf-8")
    subprocess.run([sys.executable, *options, program, tmp_path], env=environment, check=True)
    assert "größe" in (tmp_path / "run.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("bound", [math.inf, 1e-3, mn.schedules.Constant(1e-3), None])
def test_the_norm_of_the_gradient_is_recorded_wherever_it_is_measured(bound):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 3)).astype(np.float32), np.arange(8) % 2
    net, norms = mn.Net([mn.Dense(2)], 3, mn.SoftmaxCrossEntropy()), []

    class Norms(mn.Callback):
        def before_update(self, trainer, record):
            norms.append(np.linalg.norm(trainer.net.grads))

    given = {"rule": mn.SGD(), "lr": 0.1, "steps": 3, "batch_size": 4, "clip_norm": bound, "callbacks": [Norms()]}
    history = mn.fit(net, (x, y), **given, progress=False)
    assert ("grad_norm" in history.steps) == (bound is not None)
    if bound is not None:
        np.testing.assert_allclose(history.steps["grad_norm"], norms, rtol=1e-5)


# pandas -------------------------------------------------------------------------------------------------


def test_a_data_frame_tells_figures_that_are_nan_from_those_that_are_missing():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: data frames are not tested")
    history = made_by_hand()
    history.epochs.rows[1]["val_accuracy"] = math.nan
    frame = history.to_pandas()
    assert list(frame.columns) == history.epochs.columns()
    kinds = {"epoch": "int64", "step": "int64", "loss": "float64", "lr": "float64"}
    assert frame.dtypes.astype(str).to_dict() == {**kinds, "val_loss": "Int64", "val_accuracy": "Float64"}
    assert frame["val_loss"][0] is pandas.NA
    assert frame["val_loss"][1] == 2**53 + 1
    assert frame["val_accuracy"][0] is pandas.NA
    assert math.isnan(frame["val_accuracy"][1])
    assert math.isnan(frame["loss"][0])
    assert frame["loss"][1] == -math.inf


def test_a_data_frame_has_the_numbers_of_the_steps_to_the_last_bit():
    pytest.importorskip("pandas", reason="pandas is not installed: data frames are not tested")
    history = made_by_hand()
    frame = history.steps.to_pandas()
    assert list(map(repr, frame["loss"].tolist())) == list(map(repr, AWKWARD))
    assert frame["step"].tolist() == history.steps["step"]
    run = trained()
    assert run.to_pandas().to_dict("records") == run.epochs.rows


def test_a_data_frame_takes_what_callbacks_add_of_any_kind():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: data frames are not tested")
    history = History()
    history.epochs.rows += [{"note": "a", "dead": np.int64(7), "huge": 2**70, "yes": True}, {"norm": np.float32(0.5)}]
    frame = history.to_pandas()
    assert frame["note"].tolist() == ["a", pandas.NA]
    assert frame["dead"].tolist() == [7, pandas.NA]
    assert frame["norm"].tolist() == [pandas.NA, 0.5]
    assert frame["huge"][0] == 2.0**70
    assert frame["yes"][0] is True
    assert History().to_pandas().shape == (0, 0)


def test_the_text_of_a_file_can_be_had_without_the_file(tmp_path):
    history = made_by_hand()
    for suffix, text in ((".json", history.to_json()), (".csv", history.to_csv())):
        history.save(tmp_path / f"run{suffix}")
        assert (tmp_path / f"run{suffix}").read_text(encoding="utf-8") == text
