"""Variances of activations and gradients by layer, compared with theory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..base import checks, streams
from ..layers import Chain, Layer, Residual
from ..layers.memory import Memory
from ..layers.spec import Plan, Shape
from ..net.net import Net
from ..storage.files import write_json
from .gains import Gains, expected_gains
from .rewire import PATHS, rewired


@dataclass(frozen=True)
class LayerVariance:
    """Effect of one layer on the scale of activations and gradients.

    Attributes:
        name: place in the net, such as ``"2.layers.0"``; ``"input"`` for the data.
        kind: class of the layer; ``"input"`` for the data.
        shape: shape of one sample of the output.
        mean, variance: mean and variance of the output, over samples and elements.
        gradient_variance: variance of the gradient at the output.
        gain: E[y^2] / E[x^2] for output y and input x; None if it is not defined.
        expected_gain: gain according to theory; None if there is no theory.
        gradient_gain: E[dx^2] / E[dy^2] for the gradients at input and output; None if it is not defined.
        expected_gradient_gain: gradient gain according to theory; None if there is no theory.
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
    """The result of ``variance_by_layer``. It can be printed, plotted and saved.

    Attributes:
        layers: one entry for the input, unless it is words, and one for each layer, in the order of the forward pass. A
            Residual comes after its inner layers. A Chain has no entry of its own.
        samples: number of samples.
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
        """Return the table as numbers, strings, lists and dicts, for JSON."""
        return {"samples": self.samples, "layers": [asdict(layer) for layer in self.layers]}

    def save(self, path: str | Path) -> None:
        """Write the table to a JSON file, completely or not at all, with null for NaN and infinity.

        Args:
            path: path of the file.

        Raises:
            OSError: the file cannot be written.
        """
        write_json(path, self.to_dict())

    def plot(self, path: Any = None) -> Any:
        """Draw variances by layer.

        Args:
            path: path of an image file, beside which the data are written too; an open binary file; or None to return
                the Matplotlib figure.

        Returns:
            The figure if ``path`` is None, else None.
        """
        from .. import plots

        return plots.variance_by_layer(path, {"": [self]})


class Tap(Layer):
    """A wrapper around a layer that records the scale of activations and gradients.

    It neither floors nor masks, so ReLUs do not work in place, and the inputs of all layers are available.
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
        self.squares = 0.0 if x.dtype.kind == "i" else mean_square(x), mean_square(y)  # words have no scale
        self.expected = expected_gains(self.layer, m, x)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        self.gradient_variance, square = float(dy.var(dtype=np.float64)), mean_square(dy)
        self.layer.backward(m, x, y, dy, dx)
        self.gradient_squares = square, mean_square(dx) if dx is not None else None


def mean_square(values: np.ndarray) -> float:
    """Return the mean of the squares, in double precision."""
    return float(np.square(values, dtype=np.float64).mean())


def tapped(net: Net) -> Net:
    """Return a twin of ``net`` with a ``Tap`` around every layer, also inside other layers."""
    return rewired(net, Tap)


def taps(layer: Any) -> Iterator[Tap]:
    """Yield the taps in a tapped layer, in the order of the forward pass, each after those inside it."""
    if isinstance(layer, Tap):
        yield from taps(layer.layer)
        yield layer
    elif isinstance(layer, Chain):
        for inner in layer.layers:
            yield from taps(inner)
    else:
        for path in PATHS.get(type(layer), ()):
            yield from taps(getattr(layer, path))


def variance_by_layer(net: Net, x: Any, y: Any = None, *, seed: int = 0) -> VarianceByLayer:
    """Measure the variances of each layer's activations and gradients in one training pass, and compare with theory.

    The pass runs on a twin; the net does not change. ``diagnostics.gains`` has the theory. A Residual is expected to
    add the mean squares of its two paths.

    Args:
        net: any network.
        x: samples of shape (n, *input_shape).
        y: targets, for gradients of the net's loss. None to start the backward pass with standard normal numbers.
        seed: seed of these numbers.

    Returns:
        A ``VarianceByLayer``.

    Raises:
        TypeError, ValueError: for bad arguments.
    """
    if not isinstance(net, Net):
        raise TypeError(f"variance_by_layer: expected a Net; got {net!r}")
    twin = tapped(net)
    x = twin.as_input(x)
    dx = None if twin.vocabulary else np.empty_like(x)
    if y is None:
        rng = streams.generator(checks.count("variance_by_layer", "seed", seed, least=0), "gradient at the scores")
        scores = twin.forward(x, training=True)
        twin.backward(rng.standard_normal(scores.shape).astype(twin.dtype), dx)
    else:
        twin.loss_and_grads(x, y, dx=dx)
    rows = [_row(tap) for tap in taps(twin.layers) if type(tap.layer) is not Chain]
    if dx is not None:
        moments = float(x.mean(dtype=np.float64)), float(x.var(dtype=np.float64)), float(dx.var(dtype=np.float64))
        rows.insert(0, LayerVariance("input", "input", x.shape[1:], *moments))
    return VarianceByLayer(tuple(rows), len(x))


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
        below / above if above and below is not None else None,
        expected[1],
    )


def _of_composite(tap: Tap) -> Gains:
    """Return the expected gains of any layer. Those of a chain multiply; those of a residual's two paths add up."""
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
