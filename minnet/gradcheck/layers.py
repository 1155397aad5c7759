"""``check_layer`` and ``check_loss``: checks of minnet's layers and losses, and tables of such checks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..base import checks, streams
from ..layers import Layer
from ..layers.base import plan_layer
from ..layers.spec import Shape
from ..net.losses import Loss
from ..net.net import Net
from .contract import NOT_WRITTEN, Watch
from .domain import run_inside
from .modes import How, Problem
from .numeric import Function
from .result import GradientCheck, unjudged
from .side_effects import changed


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

    The layer receives standard normal input, or random words if it takes words. Its output is weighted with fixed
    random numbers and summed. Outputs and gradients are filled with NaN beforehand, to detect elements that a pass does
    not write or only adds to. Noise is replayed, so every evaluation sees the same dropout. Its input and dy belong to
    neighbouring layers; a layer that writes to them is wrong, and the result then has a row ``"0.x"`` or ``"0.dy"``.

    Args:
        layer: the layer to check.
        input_shape: shape of one sample, without the batch axis.
        batch: number of samples.
        training: whether passes train (batch statistics, noise).
        dtype: float64, or float32 to see how single precision affects a check.
        seed: seed of weights, input, output weights, sample and directions.
        options: ``mode``, ``samples``, ``directions``, ``h``, ``method``, ``sweep`` as in ``check_gradient``.

    Returns:
        A ``GradientCheck`` with a row for each parameter and for ``"input"``, which words do not have.

    Raises:
        TypeError, ValueError: for bad arguments, or a layer that cannot take the input shape.
    """
    how = real("check_layer", seed, options)
    if not isinstance(layer, Layer) and hasattr(layer, "backward"):
        raise TypeError(
            f"check_layer: expected a minnet Layer; got {layer!r} (a layer with forward(x) and backward(dy) that keeps "
            "its weights as self.W is checked by check_module)"
        )
    net, x, cotangent = _random_case(layer, input_shape, batch, dtype, seed)
    buffers = net.buffers.copy()
    watch = Watch(net, batch)
    net.forward(x, training)
    net.buffers = buffers
    net.poison()
    scores = net.forward(x, training)
    if np.isnan(scores).any():
        index = tuple(int(i) for i in np.argwhere(np.isnan(scores))[0])
        return GradientCheck((unjudged("output", scores.size, NOT_WRITTEN, index),), how.mode)
    dx, differing = _backward_passes(net, x, cotangent)

    def weighted_output() -> np.ndarray:
        net.buffers = buffers
        return net.forward(x, training).astype(np.float64) * cotangent

    function = Function(weighted_output, net.winners, float(np.finfo(net.dtype).eps))
    values, gradients = net.named_parameters(), net.named_gradients()
    if dx is not None:
        values, gradients = {**values, "input": x}, {**gradients, "input": dx}
    return watch.completed(run_inside(Problem(function, values, gradients, differing), how))


def _random_case(
    layer: Layer, input_shape: Shape, batch: int, dtype: Any, seed: int
) -> tuple[Net, np.ndarray, np.ndarray]:
    """Return a net of this one layer, its input, and the weights of its output, all random."""
    net = Net([layer], input_shape, dtype=dtype, seed=seed)
    rng = streams.generator(seed, "check of a layer")
    # Parameters such as shifts start at a constant, which would hide mistakes that vanish there.
    net.params += (0.1 * rng.standard_normal(net.params.size)).astype(net.dtype)
    shape = (checks.count("check_layer", "batch", batch), *net.input_shape)
    x = net.random_words(rng, batch) if net.vocabulary else rng.standard_normal(shape).astype(net.dtype)
    cotangent = rng.standard_normal((batch, *net.output_shape)).astype(net.dtype)
    return net, x, cotangent


def _backward_passes(net: Net, x: np.ndarray, cotangent: np.ndarray) -> tuple[np.ndarray | None, float]:
    """Return dx, and the largest difference between two passes; parameter gradients stay in the net.

    dx is None for words.

    Gradients start as NaN, and elements that a pass does not write stay NaN.
    """
    # A net may ask for the gradients of the parameters without dx. They must not depend on that.
    net.backward(cotangent)
    alone = net.grads.copy()
    dx, passes = None if net.vocabulary else np.empty_like(x), []
    for _ in range(2):
        net.grads.fill(np.nan)
        if dx is not None:
            dx.fill(np.nan)
        net.backward(cotangent, dx)
        passes.append(net.grads.copy() if dx is None else np.concatenate([net.grads, dx.reshape(-1)]))
    if not np.array_equal(alone, net.grads):
        net.grads = alone
    return dx, float(np.nanmax(np.abs(passes[0] - passes[1]), initial=0.0))


def real(who: str, seed: int, options: dict[str, Any]) -> How:
    """Return the options of a check whose function takes no complex numbers."""
    how = How.checked(who, seed=seed, **options)
    if how.method == "complex":
        raise ValueError(f'{who}: expected method "central" or "richardson", as kernels are real; got "complex"')
    return how


@dataclass(frozen=True)
class LayerCase:
    """One row of a table of layer checks. ``str(case)`` names it.

    Attributes:
        layer: the layer to check.
        input_shape: shape of one sample, without the batch axis.
        batch: number of samples.
        training: whether passes train.
    """

    layer: Layer
    input_shape: Shape
    batch: int = 3
    training: bool = True

    def check(self, **options: Any) -> GradientCheck:
        """Return ``check_layer`` of this case.

        If training passes of the layer need more samples than ``batch``, they get as many as they need. A BatchNorm of
        features needs two. A layer whose state goes on from pass to pass gets one sample of each stream.

        Args:
            options: further options of ``check_layer``, such as ``mode`` and ``seed``.
        """
        plan = plan_layer(self.layer, self.input_shape, "0", takes_words=True)
        batch = max(self.batch, plan.least_batch() if self.training else 1)
        if self.training:
            batch = max(plan.all_streams(), default=batch)
        return check_layer(self.layer, self.input_shape, batch=batch, training=self.training, **options)

    def __str__(self) -> str:
        passes = "training" if self.training else "evaluation"
        return f"{self.layer}-{self.input_shape}-{self.batch}-{passes}"


def layer_cases(
    rows: Iterable[tuple[Layer, Shape]], *, batches: Iterable[int] = (1, 3), training: Iterable[bool] = (True, False)
) -> list[LayerCase]:
    """Combine every layer of a table with every batch size, in training and in evaluation passes.

    Args:
        rows: pairs (layer, shape of one sample).
        batches: batch sizes.
        training: whether passes train.

    Returns:
        One ``LayerCase`` for each combination, for example for pytest::

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
        scores: array of floats of shape (n, outputs); use float64.
        targets: targets of length n, of the kind that the loss takes.
        sample_weight: weights of shape (n,), or None for equal weights.
        seed: seed of the sample and the directions.
        options: ``mode``, ``samples``, ``directions``, ``h``, ``method``, ``sweep`` as in ``check_gradient``.

    Returns:
        A ``GradientCheck`` with a row ``"scores"``, and one for each argument that the loss writes to.
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
