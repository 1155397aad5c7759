"""``precompile`` compiles what a run needs, and what is said meanwhile."""

import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba.core import event

import minnet as mn
from minnet.kernels import announce
from minnet.kernels.compile import kernel

ROOT = Path(mn.__file__).parents[1]

SCRIPT = """
import numpy as np
from numba.core import event
import minnet as mn

x, y = mn.datasets.iris()
net = mn.Net([mn.Dense(8), mn.ReLU(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), l2=1e-3)
before = net.params.copy()
count = mn.precompile(net, mn.Momentum(0.9), data=(x, y), batch_size=40, progress="lines")
assert (net.params == before).all() and net.step == 0
with event.install_recorder("numba:compile") as later:
    mn.fit(
        net, (x, y), rule=mn.Momentum(0.9), lr=0.1, batch_size=40, epochs=3, validation=(x, y), progress=False
    )
    net.evaluate(x, y), net.predict(x)
print(count, len(later.buffer), mn.precompile(net, mn.Momentum(0.9), data=(x, y), batch_size=40, progress=False))
"""


def test_after_it_a_fit_compiles_nothing(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, later, again = map(int, done.stdout.split())
    assert count > 5
    assert (later, again) == (0, 0)
    first, last = done.stderr.splitlines()
    assert first.startswith("compiling kernels for ")
    assert last.startswith(f"{count} kernels compiled in ")


NETS = {
    "without a loss": (mn.Net([mn.Dense(3)], 4), None),
    "words": (
        mn.Net([mn.Embedding(5, 3, padding=0), mn.LSTM(3, padding=0, last=True), mn.Dense(2)], 4, mn.MulticlassHinge()),
        mn.SGD(),
    ),
    "numbers": (mn.Net([mn.Dense(2)], 4, mn.SquaredError()), mn.SGD()),
    "positions": (mn.Net([mn.Dense(3)], (5, 4), mn.SoftmaxCrossEntropy()), None),
    "streams": (mn.Net([mn.RNN(3, streams=4)], (5, 4), mn.SoftmaxCrossEntropy()), mn.SGD()),
}


@pytest.mark.parametrize(("net", "rule"), NETS.values(), ids=NETS)
def test_it_takes_any_net_and_changes_none(net, rule, capsys):
    params, buffers = net.params.copy(), net.buffers.copy()
    assert mn.precompile(net, rule, batch_size=8, progress=False) >= 0
    np.testing.assert_array_equal(net.params, params)
    np.testing.assert_array_equal(net.buffers, buffers)
    assert net.step == 0
    assert capsys.readouterr().err == ""


def test_bytes_are_taken_as_batches_take_them():
    images = np.arange(20 * 16, dtype=np.int64).reshape(20, 4, 4, 1).astype(np.uint8)
    net = mn.Net([mn.Flatten(), mn.Dense(2)], (4, 4, 1), mn.SoftmaxCrossEntropy())
    for rule in (None, mn.SGD()):
        mn.precompile(net, rule, data=(images, np.zeros(20, int)), batch_size=8, progress=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"batch_size": 0}, "precompile: expected batch_size"), ({"progress": "x"}, "precompile: expected progress")],
)
def test_bad_arguments_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        mn.precompile(mn.Net([mn.Dense(3)], 4), **options)


def test_arguments_of_a_run_without_a_rule_are_refused():
    with pytest.raises(TypeError, match=r"^precompile: expected arguments of fit with a rule only; got epohcs without"):
        mn.precompile(mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy()), epohcs=3, progress=False)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def double(x):
    for i in range(x.size):
        x[i] = 2 * x[i]


@pytest.fixture
def listener(monkeypatch, tmp_path):
    """A listener that hears of one kernel, which is compiled anew in each test."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(announce, "_listener", listener := announce._Listener())
    compiled = kernel(double)
    event.register("numba:compile", listener)
    yield listener, compiled
    event.unregister("numba:compile", listener)


def test_a_terminal_gets_one_line_that_is_erased(listener, monkeypatch):
    hears, compiled = listener
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    compiled(np.ones(3, np.int16))
    assert terminal.getvalue() == "\r\x1b[2Kcompiling kernels for double, once: 0 s\r\x1b[2K"
    assert hears.count == 1
    compiled(np.ones(5, np.int16))
    assert hears.count == 1


def test_a_log_gets_one_line_a_process(listener, capsys):
    hears, compiled = listener
    hears.way = "lines"
    compiled(np.ones(3, np.int32))
    compiled(np.ones(3, np.int64))
    assert capsys.readouterr().err == "compiling kernels for double, once; they are kept for later runs\n"
    assert hears.count == 2


@pytest.mark.parametrize("way", [None, "nothing"])
def test_elsewhere_nothing_is_said(listener, way, capsys):
    hears, compiled = listener
    hears.way = way
    compiled(np.ones(3, np.uint8))
    assert capsys.readouterr().err == ""
    assert hears.count == 1


def test_the_line_names_the_layer_that_calls(monkeypatch):
    asked = SimpleNamespace(data={"dispatcher": SimpleNamespace(__name__="add_row")})
    names = {"__name__": "minnet.layers.dense", "_purpose": announce._purpose, "asked": asked}
    exec("class Dense:\n    plan = None\n    def forward(self):\n        return _purpose(asked)", names)
    assert names["Dense"]().forward() == "Dense"
    assert announce._purpose(asked) == "add row"


def test_callbacks_are_refused_since_they_would_act(tmp_path):
    net = mn.Net([mn.Dense(2)], 3, mn.SoftmaxCrossEntropy())
    with pytest.raises(TypeError, match="precompile: expected no callbacks"):
        mn.precompile(net, mn.SGD(), callbacks=[mn.Checkpoint(tmp_path / "run")])
    assert not list(tmp_path.iterdir())
