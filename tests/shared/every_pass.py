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


def _step(layers: list, x: np.ndarray, loss: mn.Loss, y: np.ndarray | None = None) -> np.ndarray:
    net = mn.Net(layers, x.shape[1:], loss, dtype=x.dtype, l2=1e-3, seed=3)
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
        for n, inputs, units in ((1, 1, 1), (37, 65, 33), (31, 150, 40)):
            rows = rng.standard_normal((n, inputs)).astype(dtype)
            layers = [mn.Dense(units), mn.ReLU(), mn.Dense(3)]
            for loss in (mn.SoftmaxCrossEntropy(), mn.MulticlassHinge()):
                found[f"{loss} {rows.shape} {dtype.__name__}"] = _step(layers, rows, loss, rng.integers(0, 3, n))
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **results())
