"""What a run shows while it lasts: a bar on a terminal, lines elsewhere, nothing if so asked."""

import io
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import minnet as mn
from minnet.training.progress import chosen

N, BATCH, PER_EPOCH = 22, 8, 3
TIME = r"\d+\.\d s"


def make_data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int)


def make_trainer(loss=None, **arguments):
    x, y = make_data()
    net = mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy() if loss is None else loss, seed=1)
    y = y if loss is None else x[:, :3].copy()
    return mn.Trainer(net, (x, y), **{"rule": mn.SGD(), "lr": 0.25, "batch_size": BATCH, "epochs": 3} | arguments)


class Terminal(io.StringIO):
    def isatty(self):
        return True


# Which of them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("progress", "on_terminal", "elsewhere"),
    [
        *((None, "bar", "lines"), (True, "bar", "bar"), (False, "nothing", "nothing")),
        *(("bar", "bar", "bar"), ("lines", "lines", "lines")),
    ],
)
def test_progress_chooses_a_bar_or_lines_or_nothing(monkeypatch, capsys, progress, on_terminal, elsewhere):
    for stream, expected in ((Terminal(), on_terminal), (io.StringIO(), elsewhere)):
        monkeypatch.setattr(sys, "stderr", stream)
        make_trainer().run(progress)
        text = stream.getvalue()
        assert ("9/9" in text) == (expected == "bar")
        assert text.count("\nepoch ") + text.startswith("epoch ") == (3 if expected == "lines" else 0)
        assert (text == "") == (expected == "nothing")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("shell", "expected"), [(SimpleNamespace(kernel=object()), "bar"), (None, "lines")])
def test_a_notebook_shows_a_bar(monkeypatch, shell, expected):
    """``IPython`` is loaded in both; outside of a notebook it has no kernel."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert chosen("fit", None) == expected


@pytest.mark.parametrize("progress", ["line", "", "none", 1, 0, [], "Bar"])
def test_anything_else_is_refused_before_the_first_step(progress):
    trainer = make_trainer()
    with pytest.raises(ValueError, match="expected progress to be 'bar', 'lines', True, False or None; got"):
        trainer.run(progress)
    assert (trainer.step, len(trainer.history.steps)) == (0, 0)


def test_all_of_them_give_the_same_bits(capsys):
    def weights(progress):
        trainer = make_trainer()
        trainer.run(progress)
        return trainer.net.params.tobytes(), str(trainer.history)

    assert len({weights(progress) for progress in (None, "bar", "lines", False)}) == 1


# Lines ----------------------------------------------------------------------------------------------------


def of_epochs(text):
    """The lines without the one of a process that compiles kernels."""
    return [line for line in text.splitlines() if not line.startswith("compiling kernels")]


def lines_of(capsys, trainer, progress="lines"):
    history = trainer.run(progress)
    return history, of_epochs(capsys.readouterr().err)


def test_a_line_has_loss_accuracy_validation_rate_and_time(capsys):
    history, lines = lines_of(capsys, make_trainer(validation=make_data()))
    for i, (line, row) in enumerate(zip(lines, history, strict=True), 1):
        shown = (f"{name} {row[name]:.4g}" for name in ("loss", "accuracy", "val_loss", "val_accuracy", "lr"))
        assert re.fullmatch(re.escape(f"epoch {i}/3: {', '.join(shown)}, ") + TIME, line)


def test_a_line_has_what_the_run_has(capsys):
    class Adds(mn.Callback):
        def on_epoch(self, trainer, row):
            row |= {"dead": np.int64(7), "norm": np.float32(0.5), "note": "words", "nothing": None}

    _, lines = lines_of(capsys, make_trainer(mn.SquaredError(), epochs=1, callbacks=[Adds()]))
    assert len(lines) == 1
    assert re.fullmatch(rf"epoch 1/1: loss \S+, lr 0.25, dead 7, norm 0.5, {TIME}", lines[0])


def test_an_epoch_that_is_cut_short_has_a_line_and_one_without_a_row_has_none(capsys):
    _, lines = lines_of(capsys, make_trainer(epochs=None, steps=PER_EPOCH + 1))
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]

    class Leaves(mn.Callback):
        def on_step(self, trainer, record):
            if record.step == PER_EPOCH + 1:
                trainer.leave("for now")

    trainer = make_trainer(callbacks=[Leaves()])
    _, lines = lines_of(capsys, trainer)
    assert [line.split(":")[0] for line in lines] == ["epoch 1/3"]
    # One that goes on writes the lines that are left.
    _, lines = lines_of(capsys, trainer)
    assert [line.split(":")[0] for line in lines] == ["epoch 2/3", "epoch 3/3"]


class Gone(io.StringIO):
    def write(self, text):
        raise BrokenPipeError("nobody reads")


@pytest.mark.parametrize("stream", [None, Gone()])
def test_a_run_does_not_end_because_nobody_reads(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    assert make_trainer().run("lines").stopped == "finished"


SCRIPT = """
import numpy as np, minnet as mn
x = np.eye(4, dtype=np.float32)
net = mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy())
print("before")
history = mn.fit(net, (x, np.array([0, 1, 2, 0])), rule=mn.SGD(), lr=0.25, epochs=2)
print(history["epoch"])
"""


def test_a_script_prints_what_it_prints_and_the_lines_go_to_standard_error():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["before", "[1, 2]"]
    lines = of_epochs(done.stderr)
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]


# The bar --------------------------------------------------------------------------------------------------


def test_the_bar_of_a_run_that_goes_on_starts_where_it_was(capsys):
    trainer = make_trainer()
    for _ in trainer:
        if trainer.step == 4:
            break
    trainer.run("bar")
    assert "4/9" in capsys.readouterr().err
