"""Checks of minnet's layers and losses, and of tables of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import checks, streams
from ..layers import Layer
from ..layers.base import plan_layer
from ..layers.spec import Shape
from ..net.losses import Loss
from ..net.net import Net
from .contract import NOT_WRITTEN, Watch
from .edges import run_inside
from .modes import How, Problem
from .numeric import Function
from .reading import changed
from .result import GradientCheck, unjudged


def check_layer(
    layer: Layer,
    input_shape: Shape,
    *,
    batch: int = 3,
    training: bool = True,
    dtype: Any = np.float64,
    seed: int = 0,
    **options: Any,
) -> GradientCheck:
    """Check a layer's backward pass for every parameter and for its input.

    The layer runs on standard normal input; its output is weighted with fixed random numbers and summed. Outputs and
    gradients are filled with NaN beforehand, so an element that a pass does not write, or only adds to, is found.
    Noise is replayed: every evaluation sees the same dropout. A layer that writes to its input or to dy, which are its
    neighbours', is wrong: there is a row ``"0.x"`` or ``"0.dy"``.

    Args:
        layer: the layer to check.
        input_shape: of one sample.
        batch: samples.
        training: whether passes train (batch statistics, noise).
        dtype: float64, unless to see what float32 does to a check.
        seed: of weights, input, output weights, sample and directions.
        options: ``mode``, ``samples``, ``directions``, ``h``, ``method``, ``sweep`` as in ``check_gradient``.
    """
    how = real("check_layer", seed, options)
    if not isinstance(layer, Layer) and hasattr(layer, "backward"):
        raise TypeError(
            f"check_layer: expected a minnet Layer; got {layer!r} (a layer with forward(x) and backward(dy) that keeps "
            "its weights as self.W is checked by check_module)"
        )
    net = Net([layer], input_shape, dtype=dtype, seed=seed)
    rng = streams.generator(seed, "check of a layer")
    # Parameters such as shifts start at a constant, which would hide mistakes that vanish there.
    net.params += (0.1 * rng.standard_normal(net.params.size)).astype(net.dtype)
    x = rng.standard_normal((checks.count("check_layer", "batch", batch), *net.input_shape)).astype(net.dtype)
    buffers = net.buffers.copy()
    cotangent = rng.standard_normal((batch, *net.output_shape)).astype(net.dtype)

    watch = Watch(net, batch)
    net.forward(x, training)
    net.buffers = buffers
    net.poison()
    scores = net.forward(x, training)
    if np.isnan(scores).any():
        index = tuple(int(i) for i in np.argwhere(np.isnan(scores))[0])
        return GradientCheck((unjudged("output", scores.size, NOT_WRITTEN, index),), how.mode)
    # A layer may be asked for its parameters' gradients alone. They must not depend on that.
    net.backward(cotangent)
    alone = net.grads.copy()
    dx, passes = np.empty_like(x), []
    for _ in range(2):
        net.grads.fill(np.nan)
        dx.fill(np.nan)
        net.backward(cotangent, dx)
        passes.append(np.concatenate([net.grads, dx.reshape(-1)]))
    if not np.array_equal(alone, net.grads):
        net.grads = alone

    def weighted_output() -> np.ndarray:
        net.buffers = buffers
        return net.forward(x, training).astype(np.float64) * cotangent

    function = Function(weighted_output, net.winners, float(np.finfo(net.dtype).eps))
    differing = np.abs(passes[0] - passes[1])
    values, gradients = {**net.named_parameters(), "input": x}, {**net.named_gradients(), "input": dx}
    problem = Problem(function, values, gradients, float(np.nanmax(differing, initial=0.0)))
    return watch.completed(run_inside(problem, how))


def real(who: str, seed: int, options: dict[str, Any]) -> How:
    """The options of a check whose function knows no complex numbers."""
    how = How.checked(who, seed=seed, **options)
    if how.method == "complex":
        raise ValueError(f'{who}: expected method "central" or "richardson", as kernels are real; got "complex"')
    return how


@dataclass(frozen=True)
class LayerCase:
    """One line of a table of checks: a layer, the shape of a sample, the batch, and whether passes train.

    ``str(case)`` names it; ``case.check(**options)`` is ``check_layer`` of it.
    """

    layer: Layer
    input_shape: Shape
    batch: int = 3
    training: bool = True

    def check(self, **options: Any) -> GradientCheck:
        """Check this line; options as in ``check_layer``.

        A training pass gets as many samples as the layer needs at least, such as two for a BatchNorm of features.
        """
        least = plan_layer(self.layer, self.input_shape, "0").least_batch() if self.training else 1
        batch = max(self.batch, least)
        return check_layer(self.layer, self.input_shape, batch=batch, training=self.training, **options)

    def __str__(self) -> str:
        passes = "training" if self.training else "evaluation"
        return f"{self.layer}-{self.input_shape}-{self.batch}-{passes}"


def layer_cases(
    rows: Iterable[tuple[Layer, Shape]], *, batches: Iterable[int] = (1, 3), training: Iterable[bool] = (True, False)
) -> list[LayerCase]:
    """Every layer of a table (layer, shape of one sample) with every batch, in passes that train and that do not.

    For pytest::

        @pytest.mark.parametrize("case", mn.layer_cases([(mn.Dense(4), (5,)), (Mine(), (3, 3, 2))]), ids=str)
        def test_backward(case):
            case.check().assert_passed()
    """
    sizes, kinds = list(batches), list(training)

    def lines() -> Iterator[LayerCase]:
        for layer, shape in rows:
            for size in sizes:
                for train in kinds:
                    yield LayerCase(layer, shape, size, train)

    return list(lines())


def check_loss(
    loss: Loss, scores: np.ndarray, targets: Any, *, sample_weight: Any = None, seed: int = 0, **options: Any
) -> GradientCheck:
    """Check the gradient of a loss with respect to its scores.

    Args:
        loss: the loss.
        scores: (n, outputs), floats; use float64.
        targets: what the loss takes, of length n.
        sample_weight: (n,), or None for all alike.
        seed: of sample and directions.
        options: ``mode``, ``samples``, ``directions``, ``h``, ``method``, ``sweep`` as in ``check_gradient``.
    """
    how = real("check_loss", seed, options)
    point = np.array(scores, order="C")
    dscores, again, unused = np.full_like(point, np.nan), np.full_like(point, np.nan), np.empty_like(point)
    given = {"scores": point, "targets": np.asarray(targets), "sample_weight": np.asarray(sample_weight)}
    kept, written = {name: a.copy() for name, a in given.items()}, []
    for gradient in (dscores, again):
        loss.value_and_gradient(point, targets, gradient, sample_weight)
        written += changed(given, kept)
        for name in set(written):
            given[name][...] = kept[name]
    differing = float(np.nanmax(np.abs(dscores - again), initial=0.0))
    checked = loss.check_targets(targets, point.shape[1:], point.dtype)
    function = Function(
        lambda: loss.value_and_gradient(point, targets, unused, sample_weight),
        lambda: loss.winners(point, checked),
        float(np.finfo(point.dtype).eps),
    )
    check = run_inside(Problem(function, {"scores": point}, {"scores": dscores}, differing), how)
    note = f"{type(loss).__name__} writes to them, which are not its own: work on a copy"
    trespasses = tuple(unjudged(name, given[name].size, note) for name in dict.fromkeys(written))
    return replace(check, tensors=(*trespasses, *check.tensors)).remarked(*(f"{t.name}: {t.note}." for t in trespasses))
