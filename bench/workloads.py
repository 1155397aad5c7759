"""The networks that are timed: layers, batch, loss and update rule, on random data in float32.

The loss is softmax cross-entropy, unless a workload has another. Nets of words have a target at each position.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import minnet as mn
from minnet.layers.conv import Padding
from minnet.layers.spec import Plan

LEARNING_RATE = 1e-4
SOFTMAX = mn.SoftmaxCrossEntropy()


@dataclass(frozen=True)
class Workload:
    """A network with its batch and update rule. ``l2`` is the strength of the penalty l2 / 2 * sum(w^2) on weights."""

    layers: list[mn.Layer]
    input_shape: tuple[int, ...]  # of one sample; images are (H, W, C), words (time,)
    batch: int
    rule: mn.Rule
    classes: int = 10
    l2: float = 0.0
    loss: mn.Loss = SOFTMAX

    def net(self, dtype: type = np.float32) -> mn.Net:
        return mn.Net(self.layers, self.input_shape, self.loss, l2=self.l2, dtype=dtype, seed=0)

    def data(self, batch: int | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Random samples (batch, *input_shape), float32, and labels (batch,); the workload's own batch unless told.

        Words are int64, and have labels (batch, time). SquaredError has numbers (batch, 1) instead of labels.
        """
        rng = np.random.default_rng(seed)
        n = batch or self.batch
        if self.vocabulary:
            shape = n, *self.input_shape
            return rng.integers(0, self.vocabulary, shape), rng.integers(0, self.classes, shape)
        x = rng.standard_normal((n, *self.input_shape), np.float32)
        if isinstance(self.loss, mn.SquaredError):
            return x, rng.standard_normal((n, 1), np.float32)
        return x, rng.integers(0, self.classes, n)

    @property
    def has_images(self) -> bool:
        return len(self.input_shape) == 3

    @property
    def vocabulary(self) -> int:
        """Number of words that the net takes; 0 if its input is no words."""
        return self._plan.vocabulary

    @property
    def _plan(self) -> Plan:
        return mn.Chain(self.layers).plan(self.input_shape)

    def multiply_adds(self) -> int:
        """Of a step's products: outputs, gradient of weights and, for all but the first layer, of inputs."""
        each = [self.batch * uses for uses in _uses_of_weights(self._plan)]
        return 3 * sum(each) - (0 if self.vocabulary else each[0])  # an Embedding has no products


def _uses_of_weights(plan: Plan) -> Iterator[int]:
    """Multiply-adds of each product for one sample: every weight serves every output pixel, or position, once.

    Attention also has a product of two numbers for each feature and pair of positions, hidden or not, and another.
    """
    for child in plan.children:
        if isinstance(child.layer, mn.Dense | mn.Conv2D | mn.RNN | mn.LSTM | mn.SelfAttention):
            places = child.plan.out if isinstance(child.layer, mn.Conv2D) else child.in_shape
            for param in child.plan.params:
                if param.name in ("W", "U", "W_in", "W_out"):
                    yield math.prod(param.shape) * math.prod(places[:-1])
        if isinstance(child.layer, mn.SelfAttention):
            time, width = child.in_shape
            yield 2 * time * time * width
        yield from _uses_of_weights(child.plan)


def dense(*units: int, norm: bool = False) -> list[mn.Layer]:
    hidden = [[mn.Dense(n), *([mn.BatchNorm()] if norm else []), mn.ReLU()] for n in units[:-1]]
    return [layer for part in hidden for layer in part] + [mn.Dense(units[-1])]


def conv(filters: int, kernel: int, padding: Padding, pool: mn.Layer) -> list[mn.Layer]:
    return [mn.Conv2D(filters, kernel, padding=padding), mn.ReLU(), pool]


def residual(filters: int, stride: int) -> list[mn.Layer]:
    """Two 3x3 convolutions with batch norm around a shortcut: the identity, or a projection where the size changes."""
    body = [
        mn.Conv2D(filters, 3, stride, padding=1, bias=False), mn.BatchNorm(), mn.ReLU(),
        mn.Conv2D(filters, 3, padding=1, bias=False), mn.BatchNorm(),
    ]  # fmt: skip
    projection = [mn.Conv2D(filters, 1, stride, padding="valid", bias=False), mn.BatchNorm()]
    return [mn.Residual(body, shortcut=projection if stride > 1 else None), mn.ReLU()]


def resnet(blocks: int) -> list[mn.Layer]:
    """ResNet for CIFAR-10 with 6 * blocks + 2 layers: He et al. 2016, section 4.2, shortcuts of option B."""
    stages = [(16, 1), (32, 2), (64, 2)]
    body = [residual(filters, stride if i == 0 else 1) for filters, stride in stages for i in range(blocks)]
    first = [mn.Conv2D(16, 3, padding=1, bias=False), mn.BatchNorm(), mn.ReLU()]
    return [*first, *(layer for part in body for layer in part), mn.GlobalAvgPool2D(), mn.Dense(10)]


def transformer(vocabulary: int, width: int, heads: int, blocks: int) -> list[mn.Layer]:
    """Radford et al. 2019, GPT-2, with output embeddings of its own and without dropout."""
    body: list[mn.Layer] = []
    for _ in range(blocks):
        body.append(mn.Residual([mn.LayerNorm(), mn.SelfAttention(heads, causal=True)]))
        body.append(mn.Residual([mn.LayerNorm(), mn.Dense(4 * width), mn.GELUTanh(), mn.Dense(width)]))
    first = [mn.Embedding(vocabulary, width), mn.PositionalEncoding(learned=True)]
    return [*first, *body, mn.LayerNorm(), mn.Dense(vocabulary)]


def characters(layer: mn.Layer) -> list[mn.Layer]:
    return [mn.Embedding(65, 65), layer, mn.Dense(65)]


WORKLOADS = {
    "iris_mlp": Workload(dense(4, 6, 3), (4,), 5, mn.Momentum(), classes=3),
    "spiral_mlp": Workload(dense(100, 3), (2,), 300, mn.SGD(), classes=3),
    "digits_mlp": Workload(dense(64, 10), (64,), 64, mn.Adam()),
    "cs231n_two_layer": Workload(dense(100, 10), (3072,), 200, mn.Momentum()),
    "cs231n_five_layer_bn": Workload(dense(100, 100, 100, 100, 10, norm=True), (3072,), 100, mn.Adam()),
    "mnist_mlp": Workload(dense(1000, 500, 100, 10), (784,), 128, mn.Adam()),
    "cs231n_three_layer_conv": Workload(
        [*conv(32, 7, 3, mn.MaxPool2D(2)), mn.Flatten(), *dense(500, 10)], (32, 32, 3), 50, mn.Adam()
    ),
    "mnist_2c2d": Workload(
        [*conv(32, 5, 2, mn.MaxPool2D(2)), *conv(64, 5, 2, mn.MaxPool2D(2)), mn.Flatten(), *dense(1024, 10)],
        (28, 28, 1), 128, mn.Momentum(),
    ),
    "cifar10_3c3d": Workload(
        [
            *conv(64, 5, "valid", mn.MaxPool2D(3, 2, 1)), *conv(96, 3, "valid", mn.MaxPool2D(3, 2, 1)),
            *conv(128, 3, 1, mn.MaxPool2D(3, 2, 1)), mn.Flatten(), *dense(512, 256, 10),
        ],
        (32, 32, 3), 128, mn.Momentum(),
    ),
    "cifar10_resnet20": Workload(resnet(3), (32, 32, 3), 128, mn.Momentum(), l2=1e-4),
    # Characters of a play: the sizes of Karpathy's min-char-rnn, then those of his char-rnn, with one layer.
    "min_char_rnn": Workload(characters(mn.RNN(100)), (25,), 1, mn.Adam(), classes=65),
    "char_lstm": Workload(characters(mn.LSTM(128)), (100,), 50, mn.Adam(), classes=65),
    "char_lstm_512": Workload(characters(mn.LSTM(512)), (100,), 50, mn.Adam(), classes=65),
    "adding_lstm": Workload(
        [mn.LSTM(64, last=True), mn.Dense(1)], (100, 2), 64, mn.Adam(), loss=mn.SquaredError()
    ),
    "transformer": Workload(transformer(65, 128, 4, 4), (128,), 32, mn.Adam(), classes=65),
}  # fmt: skip
