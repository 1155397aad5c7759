"""Backward passes against numerical gradients.

The numerical gradient is the central difference (f(x + h) - f(x - h)) / 2h, and the error the course's relative one,
|a - n| / max(|a|, |n|), 0 where both are 0. Subtracting two nearly equal values leaves round-off of about
eps * |f| / h in n; a difference below that bound says nothing and is not counted against the analytic gradient.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import checks
from .layers import Layer
from .net import Net
from .spec import Shape

Index = tuple[int, ...]

# CS231n, "Neural Networks Part 3", gradient checks: what a relative error means.
_WRONG, _DOUBTFUL, _CORRECT = 1e-2, 1e-4, 1e-7
# Round-off, in units of eps * |f| / h, that sums of a few hundred terms leave in practice.
_ROUND_OFF = 32.0
# A numerical gradient whose round-off is above this cannot judge anything: single precision.
_BLUNT = 1e-4


@dataclass(frozen=True)
class TensorCheck:
    """One tensor's analytic gradient beside its numerical one.

    Attributes:
        name: of the parameter, or ``"input"``.
        error: largest relative error over the coordinates, as the course defines it.
        excess: the same without the part of each difference that round-off explains.
        verdict: from the excess: ``"correct"`` (below 1e-7), ``"fine with kinks"`` (below 1e-4), ``"doubtful"`` (below
            1e-2), ``"wrong"``; ``"unwritten"`` if an element was not written. Where the whole tensor lies within
            round-off, the check has no power: ``"zero"`` if it cannot be told from 0 in double precision (it passes: a
            bias in front of a batch norm is such a case), ``"round-off"`` in single precision (it does not).
        worst: index of the coordinate that decided, with its analytic and numeric value.
        round_off: bound on the round-off in the numerical gradient.
        count: coordinates compared.
    """

    name: str
    error: float
    excess: float
    verdict: str
    worst: Index
    analytic: float
    numeric: float
    round_off: float
    count: int

    @property
    def passed(self) -> bool:
        """Whether the verdict is correct, fine with kinks, or zero."""
        return self.verdict in ("correct", "fine with kinks", "zero")

    def __str__(self) -> str:
        at = ", ".join(map(str, self.worst))
        return (
            f"{self.name}: {self.verdict}, relative error {self.error:.2e}, {self.excess:.2e} beyond round-off; "
            f"worst at [{at}]: analytic {self.analytic:.10g}, numeric {self.numeric:.10g} +- {self.round_off:.1e} "
            f"({self.count} coordinates)"
        )


_SEVERITY = ("correct", "zero", "fine with kinks", "round-off", "doubtful", "wrong", "unwritten")


@dataclass(frozen=True)
class GradientCheck:
    """The outcome of a check: one ``TensorCheck`` a tensor."""

    tensors: tuple[TensorCheck, ...]

    @property
    def worst(self) -> TensorCheck:
        """The tensor with the worst verdict, and of those the largest error."""
        return max(self.tensors, key=lambda t: (_SEVERITY.index(t.verdict), t.error))

    @property
    def verdict(self) -> str:
        """The worst tensor's verdict."""
        return self.worst.verdict

    @property
    def error(self) -> float:
        """Largest relative error of all tensors."""
        return max(t.error for t in self.tensors)

    @property
    def passed(self) -> bool:
        """Whether every tensor passed."""
        return all(t.passed for t in self.tensors)

    def assert_passed(self) -> None:
        """AssertionError, with the whole table, unless every tensor passed."""
        if not self.passed:
            raise AssertionError(f"gradient check: {self.verdict}\n{self}")

    def __str__(self) -> str:
        return "\n".join(str(t) for t in self.tensors)


def relative_error(analytic: Any, numeric: Any) -> np.ndarray:
    """|a - n| / max(|a|, |n|) by element, 0 where both are 0 (CS231n); ValueError for arrays of two shapes."""
    a, n = np.asarray(analytic, np.float64), np.asarray(numeric, np.float64)
    if a.shape != n.shape:
        raise ValueError(f"relative_error: expected arrays of one shape; got {a.shape} and {n.shape}")
    size = np.maximum(np.abs(a), np.abs(n))
    return np.abs(a - n) / np.where(size == 0, 1.0, size)


def numerical_gradient(f: Callable[[], Any], x: np.ndarray, h: float = 1e-5) -> tuple[np.ndarray, np.ndarray]:
    """Central differences of f() with respect to x, which is changed in place and put back.

    Args:
        f: called without arguments; gives a number, or an array whose elements' sum is what is differentiated.
            An array keeps more digits: elements that x[i] does not touch cancel exactly.
        x: float array, C-contiguous and writeable, that f reads.
        h: the step.

    TypeError or ValueError for another x or h; FloatingPointError if f gives NaN or infinity.

    Returns:
        (gradient, round_off): arrays of x's shape, float64; the second bounds the first's round-off.
    """
    checks.positive("numerical_gradient", "h", h)
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        raise TypeError(f"numerical_gradient: expected x as an array of floats; got {x!r}")
    flat = x.reshape(-1)
    if not np.shares_memory(flat, x):
        raise ValueError("numerical_gradient: expected a C-contiguous x")
    gradient, round_off = np.empty(x.size), np.empty(x.size)
    eps = float(np.finfo(x.dtype).eps)
    for i in range(x.size):
        kept = flat[i]
        try:
            flat[i] = kept + h
            above_at, above = float(flat[i]), np.array(f(), np.float64)
            flat[i] = kept - h
            below_at, below = float(flat[i]), np.array(f(), np.float64)
        finally:
            flat[i] = kept
        width = above_at - below_at
        if width == 0:
            raise ValueError(f"numerical_gradient: expected h to change x; h={h} vanishes beside {kept!r} in {x.dtype}")
        if not (np.isfinite(above).all() and np.isfinite(below).all()):
            raise FloatingPointError(
                f"numerical_gradient: expected finite values; got NaN or infinity at coordinate {i}"
            )
        gradient[i] = (above - below).sum() / width
        round_off[i] = _ROUND_OFF * eps * np.maximum(np.abs(above), np.abs(below)).sum() / width
    return gradient.reshape(x.shape), round_off.reshape(x.shape)


def compare(name: str, analytic: np.ndarray, numeric: np.ndarray, round_off: np.ndarray | float = 0.0) -> TensorCheck:
    """Judge one tensor; all arrays of one shape."""
    a, n = np.asarray(analytic, np.float64), np.asarray(numeric, np.float64)
    if a.shape != n.shape:
        raise ValueError(f"{name}: expected an analytic gradient of shape {n.shape}; got shape {a.shape}")
    noise = np.broadcast_to(np.asarray(round_off, np.float64), a.shape)
    if not np.isfinite(a).all():
        worst = int(np.argmin(np.isfinite(a)))
        verdict, largest, unexplained = "unwritten" if np.isnan(a.flat[worst]) else "wrong", math.inf, math.inf
    else:
        error = relative_error(a, n)
        size = np.maximum(np.abs(a), np.abs(n))
        excess = np.maximum(np.abs(a - n) - noise, 0.0) / np.where(size == 0, 1.0, size)
        # Where the excess is 0 everywhere, the plain error names the worst coordinate.
        worst = int(np.argmax(excess if excess.any() else error))
        largest, unexplained = float(error.max()), float(excess.max())
        verdict = _verdict(unexplained, float(noise.max()), float(size.max()))
    index = tuple(int(i) for i in np.unravel_index(worst, a.shape))
    values = float(a[index]), float(n[index])
    return TensorCheck(name, largest, unexplained, verdict, index, *values, float(noise.max()), a.size)


def _verdict(excess: float, noise: float, size: float) -> str:
    if excess >= _WRONG:
        return "wrong"
    if noise > _BLUNT and noise > _DOUBTFUL * size:
        return "round-off"
    if noise > size > 0:
        return "zero"
    if excess < _CORRECT:
        return "correct"
    return "fine with kinks" if excess < _DOUBTFUL else "doubtful"


def check_gradient(
    f: Callable[[np.ndarray], Any], x: np.ndarray, analytic: np.ndarray, h: float = 1e-5
) -> GradientCheck:
    """Check the gradient of anybody's function.

    Args:
        f: takes an array like x and gives a number.
        x: where to check; not changed. Use float64: float32 leaves too few digits for a difference.
        analytic: the gradient of f at x, of x's shape.
        h: step of the central difference.
    """
    x = np.asarray(x)
    if x.dtype.kind != "f":
        raise TypeError(f"check_gradient: expected x of floating-point values; got dtype {x.dtype}")
    if np.shape(analytic) != x.shape:
        raise ValueError(f"check_gradient: expected analytic of x's shape {x.shape}; got {np.shape(analytic)}")
    point = np.array(x, order="C")
    numeric, round_off = numerical_gradient(lambda: f(point), point, h)
    return GradientCheck((compare("x", analytic, numeric, round_off),))


def check_layer(
    layer: Layer,
    input_shape: Shape,
    *,
    batch: int = 3,
    training: bool = True,
    dtype: Any = np.float64,
    seed: int = 0,
    h: float = 1e-5,
) -> GradientCheck:
    """Check a layer's backward pass for every parameter and for its input.

    The layer runs on standard normal input; its output is weighted with fixed random numbers and summed. Outputs and
    gradients are filled with NaN beforehand, so an element that a pass does not write is found. Noise is
    replayed: every evaluation sees the same dropout.

    Args:
        layer: the layer to check.
        input_shape: of one sample.
        batch: samples.
        training: whether passes train (batch statistics, noise).
        dtype: float64, unless to see what float32 does to a check.
        seed: of weights, input and output weights.
        h: step of the central difference.
    """
    net = Net([layer], input_shape, dtype=dtype, seed=seed)
    rng = np.random.default_rng((seed, 1))
    # Parameters such as shifts start at a constant, which would hide mistakes that vanish there.
    net.params += (0.1 * rng.standard_normal(net.params.size)).astype(net.dtype)
    x = rng.standard_normal((checks.count("check_layer", "batch", batch), *net.input_shape)).astype(net.dtype)
    buffers = net.buffers.copy()
    cotangent = rng.standard_normal((batch, *net.output_shape)).astype(net.dtype)

    net.forward(x, training)
    net.buffers = buffers
    net.poison()
    scores = net.forward(x, training)
    if np.isnan(scores).any():
        index = tuple(int(i) for i in np.argwhere(np.isnan(scores))[0])
        return GradientCheck(
            (TensorCheck("output", math.inf, math.inf, "unwritten", index, math.nan, math.nan, 0.0, scores.size),)
        )
    # A layer may be asked for its parameters' gradients alone. They must not depend on that.
    net.backward(cotangent)
    alone = net.grads.copy()
    net.grads.fill(np.nan)
    dx = np.full_like(x, np.nan)
    net.backward(cotangent, dx)
    if not np.array_equal(alone, net.grads):
        net.grads = alone

    def weighted_output() -> np.ndarray:
        net.buffers = buffers
        return net.forward(x, training).astype(np.float64) * cotangent

    return _check_tensors(net, x, dx, weighted_output, h)


def check_net(
    net: Net, x: np.ndarray, y: np.ndarray, *, dtype: Any = np.float64, inputs: bool = True, h: float = 1e-5
) -> GradientCheck:
    """Check a network's gradient of its whole objective, penalties included, for every parameter and for the input.

    A twin in ``dtype`` with the same weights, buffers and noise does the work: the net itself is not touched. Each
    coordinate costs two forward passes, so check a small net on few samples.

    Args:
        net: a network built with a loss.
        x, y: a few samples.
        dtype: of the twin; float32 shows what single precision does to a check.
        inputs: whether to check the gradient with respect to x too.
        h: step of the central difference.
    """
    loss = net.loss_function
    if loss is None:
        raise ValueError("check_net: expected a net built with loss=...; this one has none (see check_layer)")
    twin = net.twin(dtype)
    point = np.array(twin.as_input(x))
    buffers, step = twin.buffers.copy(), net.step
    twin.loss_and_grads(point, y)  # makes the memory that poison() fills
    twin.poison()
    twin.buffers, twin.step = buffers, step
    dx = np.full_like(point, np.nan)
    twin.loss_and_grads(point, y, dx=dx)
    unused = np.empty((len(point), *twin.output_shape), twin.dtype)

    twin.step = step

    def objective() -> float:
        twin.buffers = buffers
        scores = twin.forward(point, training=True)
        return loss.value_and_gradient(scores, y, unused) + sum(twin.penalties())

    checked = _check_tensors(twin, point, dx, objective, h)
    return checked if inputs else GradientCheck(tuple(t for t in checked.tensors if t.name != "input"))


def _check_tensors(
    net: Net,
    x: np.ndarray,
    dx: np.ndarray,
    f: Callable[[], Any],
    h: float,
) -> GradientCheck:
    """Compare each named gradient of the net, and dx, with differences of f, which reads net.params and x."""
    analytic = net.named_gradients()
    pairs: Iterable[tuple[str, np.ndarray, np.ndarray]] = [
        *((name, values, analytic[name]) for name, values in net.named_parameters().items()),
        ("input", x, dx),
    ]
    return GradientCheck(
        tuple(compare(name, gradient, *numerical_gradient(f, values, h)) for name, values, gradient in pairs)
    )
