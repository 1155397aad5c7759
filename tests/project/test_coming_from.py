"""The tables of docs/coming-from.md: their code runs, and what they say of penalties is so."""

import re
from pathlib import Path

import numpy as np
import pytest

import minnet as mn

PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"


def entries():
    """The code in the columns "here"."""
    for heading, table in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        for row in re.findall(r"^\|(.*)\|$", table, re.MULTILINE):
            cells = [cell.replace("\x00", "|").strip() for cell in row.replace("\\|", "\x00").split("|")]
            if len(cells) == 3 and (code := re.fullmatch(r"`(.*)`", cells[1])):
                yield heading, code[1]
            else:
                assert len(cells) != 3 or cells[1] in ("", "here", "---"), f"no code: {row}"


ENTRIES = list(entries())
RETURN_NOTHING = "optimizer.step", "mn.set_num_threads", "mn.from_torch"


@pytest.fixture(scope="module")
def names():
    """What the head of the page says that the code uses."""
    x, y = mn.datasets.iris()
    train = val = x, y
    net = mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy())
    history = mn.fit(
        net, train, rule=mn.SGD(), lr=0.1, epochs=1, validation=val, evaluate_training=True, progress=False
    )
    x64 = x[:3].astype(np.float64)
    passes = {"forward": lambda x: (2 * x, None), "backward": lambda dout, cache: 2 * dout}
    optimizer = mn.Optimizer(net, mn.SGD())
    given = {"x": x, "y": y, "train": train, "val": val, "net": net, "history": history, "x64": x64, "reg": 0.1}
    given |= {"state": mn.to_torch(net, arrays=True), "memory": mn.Dense(32), "queries": mn.Dense(32)}
    return {"mn": mn, "np": np, "optimizer": optimizer, **given, **passes}


def test_the_tables_are_found():
    assert len(ENTRIES) > 80
    assert {heading for heading, _ in ENTRIES} >= {"CS231n", "Penalties", "PyTorch", "Keras"}


@pytest.mark.parametrize("code", [code for _, code in ENTRIES])
def test_the_code_of_a_row_runs(code, names, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert eval(code, dict(names)) is not None or code.startswith(RETURN_NOTHING)


REG = 0.1
OTHERS = {  # the gradient that the penalty of each library adds to that of a weight W, from its formula
    "CS231n's assignments": lambda W: REG * W,
    "CS231n's assignment 1": lambda W: 2 * REG * W,
    "Keras: `kernel_regularizer=L2": lambda W: 2 * REG * W,
    "Keras: `kernel_regularizer=L1": lambda W: REG * np.sign(W),
    "scikit-learn": lambda W: REG * W / 100,
}


@pytest.mark.parametrize("library", OTHERS)
def test_a_penalty_of_the_table_adds_the_gradient_of_the_other_library(library, names):
    (row,) = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith(f"| {library}")]
    net = eval(row.split("|")[2].strip().strip("`"), dict(names))
    plain = mn.Net(net.layers, 4, mn.SoftmaxCrossEntropy())
    x, y = names["train"]
    net.loss_and_grads(x, y)
    plain.loss_and_grads(x, y)
    W = plain.named_parameters()["0.W"]
    added = net.named_gradients()["0.W"] - plain.named_gradients()["0.W"]
    np.testing.assert_allclose(added, OTHERS[library](W), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(net.named_gradients()["0.b"], plain.named_gradients()["0.b"])
