"""A run that diverges, in a module that worker processes can import."""

import numpy as np

import minnet as mn


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((8, 3)).astype(np.float32), rng.integers(0, 2, 8)


def net() -> mn.Net:
    return mn.Net([mn.Dense(2)], 3, mn.SoftmaxCrossEntropy())


def diverge() -> mn.History:
    """Raise DivergenceError at the second step."""
    x, y = data()
    return mn.fit(net(), (1e3 * x, y), rule=mn.SGD(), lr=1e38, steps=9, batch_size=4)
