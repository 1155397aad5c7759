"""Variance of activations and of gradients by layer, before training, beside what theory expects."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks, streams
from ..layers import Chain, Layer, Residual
from ..layers.memory import Memory
from ..layers.spec import Plan, Shape
from ..net.net import Net
from ..storage.files import write_json
from .gains import Gains, expected_gains
from .rewire import rewired


@dataclass(frozen=True)
class LayerVariance:
    """What one layer does to the scale of what passes through it.

    Attributes:
        name, kind: place in the net (``"2.layers.0"``) and class; ``"input"`` for the data.
        shape: of one sample of the output.
        mean, variance: of the output, over samples and elements.
        gain: E[y^2] / E[x^2] of output and input; ``expected_gain`` is what theory says of it, None if nothing.
        gradient_variance: of the gradient at the output.
        gradient_gain: E[dx^2] / E[dy^2] of the gradients at input and output; ``expected_gradient_gain`` likewise.

    A gain is None where it would be 0 / 0.
    """

    name: str
    kind: str
    shape: Shape
    mean: float
    variance: float
    gradient_variance: float
    gain: float | None = None
    expected_gain: float | None = None
    gradient_gain: float | None = None
    expected_gradient_gain: float | None = None


@dataclass(frozen=True)
class VarianceByLayer:
    """The table of ``variance_by_layer``: ``print`` it, ``plot`` it, ``save`` it.

    Attributes:
        layers: one entry for the input, then one a layer, in the order of the forward pass; a Residual comes after
            the layers inside it, a Chain inside the net has no entry of its own.
        samples: number of samples that went through.
    """

    layers: tuple[LayerVariance, ...]
    samples: int

    def __getitem__(self, name: str) -> LayerVariance:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"variance_by_layer: expected one of {[layer.name for layer in self.layers]}; got {name!r}")

    def __str__(self) -> str:
        head = ("layer", "output", "mean", "variance", "gain", "theory", "gradient variance", "gain", "theory")
        rows: list[tuple[str, ...]] = [head]
        for layer in self.layers:
            title = layer.kind if layer.name == "input" else f"{layer.name} {layer.kind}"
            numbers = (layer.mean, layer.variance, layer.gain, layer.expected_gain)
            gradients = (layer.gradient_variance, layer.gradient_gain, layer.expected_gradient_gain)
            shape = " x ".join(map(str, layer.shape)) or "1"
            rows.append((title, shape, *("" if v is None else f"{v:.3g}" for v in (*numbers, *gradients))))
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        sides = [str.ljust] * 2 + [str.rjust] * (len(head) - 2)
        return "\n".join("  ".join(map(_pad, sides, row, widths)) for row in rows)

    def to_dict(self) -> dict[str, Any]:
        """All that the table holds, as JSON knows it."""
        return {"samples": self.samples, "layers": [asdict(layer) for layer in self.layers]}

    def save(self, path: str | Path) -> None:
        """Write the table to ``path`` as JSON, whole or not at all; null for what is not finite."""
        write_json(path, self.to_dict())

    def plot(self, path: Any = None) -> Any:
        """Draw variances and gains by layer into an image file, with the data beside it.

        ``path``: a file's path, an open binary file, or None, for which the Matplotlib figure is returned.
        """
        from .. import plots

        return plots.variance_by_layer(path, {"": [self]})


class Tap(Layer):
    """A layer that does what the one inside it does, and notes the scale of all that passes.

    It neither floors nor masks, so no ReLU works in place behind it, and the input of each is there to be seen.
    """

    def __init__(self, name: str, layer: Layer) -> None:
        self.name, self.layer = name, layer

    def plan(self, in_shape: Shape) -> Plan:
        return self.layer.plan(in_shape)

    def bind(self, m: Any) -> None:
        self.layer.bind(m)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        self.layer.forward(m, x, y)
        self.seen = y.shape[1:], float(y.mean(dtype=np.float64)), float(y.var(dtype=np.float64))
        self.squares = mean_square(x), mean_square(y)
        self.expected = expected_gains(self.layer, m, x)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        self.gradient_variance, square = float(dy.var(dtype=np.float64)), mean_square(dy)
        self.layer.backward(m, x, y, dy, dx)
        self.gradient_squares = square, mean_square(dx) if dx is not None else 0.0


def mean_square(values: np.ndarray) -> float:
    """Mean of the squares, in double precision."""
    return float(np.square(values, dtype=np.float64).mean())


def tapped(net: Net) -> Net:
    """A twin of ``net`` with a ``Tap`` around every layer, at any depth."""
    return rewired(net, Tap)


def taps(layer: Any) -> Iterator[Tap]:
    """The taps in a tapped layer, in the order of the forward pass, each after those inside it."""
    if isinstance(layer, Tap):
        yield from taps(layer.layer)
        yield layer
    elif isinstance(layer, Chain):
        for inner in layer.layers:
            yield from taps(inner)
    elif isinstance(layer, Residual):
        yield from taps(layer.layers)
        yield from taps(layer.shortcut)


def variance_by_layer(net: Net, x: Any, y: Any = None, *, seed: int = 0) -> VarianceByLayer:
    """Variances of activations and gradients of each layer in one training pass, beside what theory expects.

    A twin does the work: the net is left alone. See ``diagnostics.gains`` for the theory; a Residual is expected to add
    the mean squares of its two paths.

    Args:
        net: any network, with weights as they are.
        x: samples (n, *input_shape).
        y: targets, if the gradients are to be those of the net's loss; None sends standard normal numbers back.
        seed: of those numbers.
    """
    if not isinstance(net, Net):
        raise TypeError(f"variance_by_layer: expected a Net; got {net!r}")
    twin = tapped(net)
    x = twin.as_input(x)
    dx = np.empty_like(x)
    if y is None:
        rng = streams.generator(checks.count("variance_by_layer", "seed", seed, least=0), "gradient at the scores")
        scores = twin.forward(x, training=True)
        twin.backward(rng.standard_normal(scores.shape).astype(twin.dtype), dx)
    else:
        twin.loss_and_grads(x, y, dx=dx)
    moments = float(x.mean(dtype=np.float64)), float(x.var(dtype=np.float64)), float(dx.var(dtype=np.float64))
    data = LayerVariance("input", "input", x.shape[1:], *moments)
    rows = [_row(tap) for tap in taps(twin.layers) if type(tap.layer) is not Chain]
    return VarianceByLayer((data, *rows), len(x))


def _pad(side: Callable[[str, int], str], cell: str, width: int) -> str:
    return side(cell, width)


def _row(tap: Tap) -> LayerVariance:
    expected = _of_composite(tap)
    (before, after), (above, below) = tap.squares, tap.gradient_squares
    return LayerVariance(
        tap.name,
        type(tap.layer).__name__,
        *tap.seen,
        tap.gradient_variance,
        after / before if before else None,
        expected[0],
        below / above if above else None,
        expected[1],
    )


def _of_composite(tap: Tap) -> Gains:
    """Expected gains of any layer: those of a chain multiply, those of a residual's two paths add."""
    layer = tap.layer
    if isinstance(layer, Chain):
        inner = [_of_composite(t) for t in layer.layers if isinstance(t, Tap)]
        return _product([f for f, _ in inner]), _product([b for _, b in inner])
    if isinstance(layer, Residual):
        paths = [
            _of_composite(path) if isinstance(path, Tap) else (1.0, 1.0) for path in (layer.layers, layer.shortcut)
        ]
        (forward, backward), (other, other_backward) = paths
        return _sum(forward, other), _sum(backward, other_backward)
    return tap.expected


def _product(gains: Sequence[float | None]) -> float | None:
    known = [gain for gain in gains if gain is not None]
    return float(np.prod(known)) if len(known) == len(gains) else None


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second
