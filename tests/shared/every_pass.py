"""One step through every layer, loss and kind of vector code, for comparisons between processes.

``python tests/shared/every_pass.py FILE`` writes the results to a file of NumPy's.
"""

import sys

import numpy as np

import minnet as mn

IMAGES = [
    *(mn.Conv2D(8, 3), mn.Conv2D(33, 3), mn.Conv2D(5, (3, 2), stride=2, bias=False), mn.Conv2D(8, 4, groups=2)),
    *(mn.ConvTranspose2D(5, 3, stride=2), mn.MaxPool2D(2), mn.MaxPool2D(3, stride=1), mn.AvgPool2D(2)),
    *(mn.GlobalAvgPool2D(), mn.BatchNorm(), mn.LayerNorm(), mn.GroupNorm(2), mn.ZeroPad(1), mn.Dropout(0.5)),
    *(mn.ReLU(), mn.LeakyReLU(), mn.ELU(), mn.SELU(), mn.GELU(), mn.SiLU(), mn.Sigmoid(), mn.Tanh(), mn.Softplus()),
    mn.Residual(mn.Conv2D(18, 3, padding=1)),
]


SEQUENCES = [
    *(mn.Dense(5), mn.RNN(5), mn.RNN(5, relu=True, reverse=True), mn.LSTM(5), mn.GRU(5), mn.Bidirectional(mn.GRU(3))),
    *(mn.PositionalEncoding(), mn.PositionalEncoding(learned=True), mn.SelfAttention(2, causal=True, dropout=0.3)),
    mn.CrossAttention(3, memory=[mn.Slice(1, 4), mn.Dense(5)], dropout=0.3),
]


def _step(
    layers: list, x: np.ndarray, loss: mn.Loss, y: np.ndarray | None = None, dtype: np.dtype | None = None
) -> np.ndarray:
    net = mn.Net(layers, x.shape[1:], loss, dtype=dtype or x.dtype, l2=1e-3, seed=3)
    rng = np.random.default_rng(4)
    if y is None:
        y = rng.standard_normal(net.predict(x).shape).astype(x.dtype)
    value = net.loss_and_grads(x, y)
    mn.Optimizer(net, mn.Momentum(0.9)).step(lr=0.1)
    return np.concatenate([[value], net.grads, net.params, net.predict(x).ravel()])


def results() -> dict[str, np.ndarray]:
    """By name, the loss, gradients, parameters after a step, and predictions."""
    found = {}
    for dtype in (np.float32, np.float64):
        rng = np.random.default_rng(0)
        images = rng.standard_normal((2, 7, 7, 18)).astype(dtype)
        for layer in IMAGES:
            found[f"{layer} {dtype.__name__}"] = _step([layer, mn.Flatten()], images, mn.SquaredError())
        words, following = rng.integers(0, 7, (3, 4)), rng.integers(0, 3, (3, 4))
        for layer in SEQUENCES:
            layers, loss = [mn.Embedding(7, 6, padding=0), layer, mn.Dense(3)], mn.SoftmaxCrossEntropy(ignored=2)
            found[f"{layer} {dtype.__name__}"] = _step(layers, words, loss, following, dtype)
        for n, inputs, units in ((1, 1, 1), (37, 65, 33), (31, 150, 40)):
            rows = rng.standard_normal((n, inputs)).astype(dtype)
            layers = [mn.Dense(units), mn.ReLU(), mn.Dense(3)]
            for loss in (mn.SoftmaxCrossEntropy(), mn.MulticlassHinge()):
                found[f"{loss} {rows.shape} {dtype.__name__}"] = _step(layers, rows, loss, rng.integers(0, 3, n))
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **results())
