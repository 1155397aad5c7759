"""The summary of a net: shapes, counts and memory."""

import re
import tracemalloc

import numpy as np
import pytest

import minnet as mn
import minnet.kernels


def test_the_summary_shows_shapes_and_counts_that_add_up():
    layers = [
        mn.Flatten(),
        mn.Dense(20),
        mn.BatchNorm(),
        mn.ReLU(),
        mn.Residual([mn.Dense(20), mn.Maxout(2), mn.Dense(7)], shortcut=[mn.Dense(7, bias=False)]),
        mn.Reshape((7, 1)),
    ]
    net = mn.Net(layers, (4, 3), dtype=np.float64)
    text = net.summary()
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    table = [row for row in rows if len(row) == 3][1:]
    assert table == [
        ["0 Flatten", "(12,)", "-"],
        ["1 Dense", "(20,)", "260"],
        ["2 BatchNorm", "(20,)", "40"],
        ["3 ReLU", "(20,)", "-"],
        ["4 Residual", "(7,)", "-"],
        ["layers Chain", "(7,)", "-"],
        ["0 Dense", "(20,)", "420"],
        ["1 Maxout", "(10,)", "-"],
        ["2 Dense", "(7,)", "77"],
        ["shortcut Chain", "(7,)", "-"],
        ["0 Dense", "(7,)", "140"],
        ["5 Reshape", "(7, 1)", "-"],
    ]
    total = sum(int(row[2]) for row in table if row[2] != "-")
    assert total == net.params.size == 937
    assert "937 parameters, 14.64 KiB with their gradients; 40 buffer values" in text  # 937 * 2 * 8 bytes
    assert "input (4, 3), output (7, 1), float64" in text


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_the_summary_counts_the_memory_of_a_pass(dtype):
    # By hand, a sample: outputs of the first four layers, of which batch norm and ReLU share one, 3 * 100, the two
    # places that gradients take turns in, 2 * 100, the scores and their gradient, 2 * 10. Besides, in the batch norm:
    # two arrays of 100, and one of 200 for the means and what their rounding lost; and for each of 16 parts of the
    # batch two sums, what rounding took of them, and a block of terms. Each rounded up to 16 elements.
    layers = [mn.Dense(100), mn.BatchNorm(), mn.ReLU(), mn.Dense(100), mn.Dense(10)]
    net = mn.Net(layers, 30, mn.SoftmaxCrossEntropy(), dtype=dtype)
    size = np.dtype(dtype).itemsize
    one, hundred = (5 * 112 + 20 + 432 + 9600) * size, (520 * 100 + 432 + 9600) * size
    words = f"activations and scratch: {one / 1024:.4g} KiB for one sample, {hundred / 1024:.4g} KiB for a batch of 100"
    assert words in net.summary()
    # And as the interpreter counts it: the first pass over n samples makes just that, and a weight a sample.
    n = 256
    x, y = np.zeros((n, 30), dtype), np.zeros(n, int)
    net.twin().loss_and_grads(x, y)  # loads the kernels, which takes memory too
    tracemalloc.start()
    try:
        net.loss_and_grads(x, y)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    expected = (521 * n + 10032) * size
    assert expected <= held < 1.02 * expected + 20_000
