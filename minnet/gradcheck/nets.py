"""``check_net`` and ``compare_precisions``: checks of a whole network, for its data loss and its penalties."""

from dataclasses import replace
from typing import Any

import numpy as np

from ..base import checks
from ..layers.composite import join_winners
from ..net.net import Net
from ..optim.optimizer import Optimizer
from ..optim.rules import Adam
from .contract import Watch
from .domain import run_inside
from .layers import real
from .modes import Problem
from .numeric import Function
from .result import GradientCheck, TensorCheck, merge
from .thresholds import WRONG

PARTS = ("together", "data", "penalties", "each")
_ROUNDINGS = 100  # that sums of some hundred terms leave in a gradient, in units of its tensor's largest


def check_net(
    net: Net,
    x: np.ndarray,
    y: np.ndarray,
    *,
    dtype: Any = np.float64,
    inputs: bool = True,
    part: str = "together",
    burn_in: int = 0,
    seed: int = 0,
    **options: Any,
) -> GradientCheck:
    """Check a network's gradient of its objective for every parameter and for the input.

    The check runs on a twin in ``dtype`` with the same weights, buffers and noise; the net itself does not change.
    Dropout is replayed, and running statistics are frozen. In mode ``"all"`` each coordinate costs two forward passes,
    so check a small net on few samples. ``"sample"`` and ``"directions"`` suit nets of any size. With few samples,
    fewer coordinates cross kinks. A layer that writes to its input or to dy is wrong, and the result has a row such as
    ``"2.x"`` or ``"2.dy"``. A row such as ``"2.dx"`` is of a layer that does not fill its dx, or only adds to it.

    Args:
        net: a network built with a loss.
        x: a few samples, shape (n, *input_shape). Every evaluation uses them unchanged, as augmentation is done by
            ``Batches``.
        y: their targets, as the loss takes them, such as labels (n,).
        dtype: dtype of the twin. float32 shows how single precision affects a check.
        inputs: whether to check the gradient with respect to x too. Words have none.
        part: part of the objective: data loss and penalties ``"together"``, ``"data"`` alone, ``"penalties"`` alone,
            or ``"each"`` for all three. A large penalty may hide a small mistake in the data loss.
        burn_in: number of steps of Adam with learning rate 1e-3 that the twin takes on x and y before the check. At
            the start, gradients may differ from those in training, and units with zero input and zero bias are at
            their kinks.
        seed: seed of the sample and the directions.
        options: ``mode``, ``samples``, ``directions``, ``h``, ``method``, ``sweep`` as in ``check_gradient``.

    Returns:
        A ``GradientCheck`` with a row for each parameter and, with ``inputs``, for ``"input"``.

    Raises:
        TypeError, ValueError: for bad arguments, or a net without a loss.
        FloatingPointError: if the objective is not finite.
    """
    how = real("check_net", seed, options)
    _check_loss("check_net", net)
    if part not in PARTS:
        raise ValueError(f"check_net: expected part of {', '.join(PARTS)}; got {part!r}")
    inputs = inputs and not net.vocabulary
    if not net.params.size and not inputs:
        raise ValueError(f"check_net: expected a net with parameters, or inputs=True; got {net!r}")
    twin = _burned_in(net.twin(dtype), x, y, checks.count("check_net", "burn_in", burn_in, least=0))
    chosen = PARTS[:-1] if part == "each" else (part,)
    made = {"together": _objective, "data": _data_loss, "penalties": _penalties}
    found = []
    for name in chosen:
        problem, watch = made[name](twin, x, y, inputs)
        check = run_inside(problem, how)
        found.append(check if watch is None else watch.completed(check))
    if part == "each":
        found = [merge([c.renamed(f"{name}: ") for c, name in zip(found, chosen, strict=True)])]
    return replace(found[0], burns_in=True)


def _check_loss(who: str, net: Net) -> None:
    if net.loss_function is None:
        raise ValueError(f"{who}: expected a net built with loss=...; this one has none (see check_layer)")


def _burned_in(twin: Net, x: np.ndarray, y: np.ndarray, steps: int) -> Net:
    optimizer = Optimizer(twin, Adam())
    for _ in range(steps):
        twin.loss_and_grads(x, y)
        optimizer.step(lr=1e-3)
    return twin


def _passes(twin: Net, point: np.ndarray, y: np.ndarray) -> tuple[np.ndarray | None, float]:
    """Return the gradient with respect to the input, None for words, and the largest difference between two passes.

    The gradients of the parameters stay in the twin. Elements that no pass writes stay NaN. The twin's step and buffers
    do not change.
    """
    buffers, step = twin.buffers.copy(), twin.step
    twin.loss_and_grads(point, y)  # makes the memory that poison() fills
    passes, dx = [], None if twin.vocabulary else np.empty_like(point)
    for _ in range(2):
        twin.poison()
        if dx is not None:
            dx.fill(np.nan)
        twin.buffers, twin.step = buffers, step
        twin.loss_and_grads(point, y, dx=dx)
        passes.append(twin.grads.copy() if dx is None else np.concatenate([twin.grads, dx.reshape(-1)]))
    twin.buffers, twin.step = buffers, step
    return dx, float(np.nanmax(np.abs(passes[0] - passes[1]), initial=0.0))


def _objective(twin: Net, x: np.ndarray, y: np.ndarray, inputs: bool) -> tuple[Problem, Watch | None]:
    loss = twin.loss_function
    assert loss is not None
    point = np.array(twin.as_input(x))
    buffers = twin.buffers.copy()
    watch = Watch(twin, len(point))
    dx, differing = _passes(twin, point, y)
    targets = loss.check_targets(y, twin.output_shape, twin.dtype)
    unused = np.empty((len(point), *twin.output_shape), twin.dtype)
    scores = unused

    def objective() -> float:
        nonlocal scores
        twin.buffers = buffers
        scores = twin.forward(point, training=True)
        return loss.value_and_gradient(scores, y, unused) + sum(twin.penalties())

    def winners() -> np.ndarray | None:
        return join_winners([twin.winners(), loss.winners(scores, targets), _signs(twin)])

    values, gradients = twin.named_parameters(), {k: g.copy() for k, g in twin.named_gradients().items()}
    if inputs and dx is not None:
        values, gradients = {**values, "input": point}, {**gradients, "input": dx}
    return Problem(Function(objective, winners, _eps(twin)), values, gradients, differing), watch


def _signs(twin: Net) -> np.ndarray | None:
    """Return the linear pieces of the L1 penalty that the weights are on."""
    return np.sign(twin.params[: twin.decaying]) if twin.l1 else None


def _data_loss(twin: Net, x: np.ndarray, y: np.ndarray, inputs: bool) -> tuple[Problem, Watch | None]:
    bare = twin.twin()
    bare.l2 = bare.l1 = 0.0
    return _objective(bare, x, y, inputs)


def _penalties(twin: Net, x: np.ndarray, y: np.ndarray, inputs: bool) -> tuple[Problem, Watch | None]:
    twin.grads.fill(0)
    twin.add_penalties()
    gradients = {name: g.copy() for name, g in twin.named_gradients().items()}
    once = twin.grads.copy()
    twin.grads.fill(0)
    twin.add_penalties()
    differing = float(np.nanmax(np.abs(twin.grads - once), initial=0.0))
    function = Function(lambda: sum(twin.penalties()), lambda: _signs(twin), _eps(twin))
    return Problem(function, twin.named_parameters(), gradients, differing), None


def _eps(twin: Net) -> float:
    return float(np.finfo(twin.dtype).eps)


def compare_precisions(net: Net, x: np.ndarray, y: np.ndarray, *, burn_in: int = 0) -> GradientCheck:
    """Compare a net's gradients in float32 with those in float64, element by element.

    No numerical differences are taken. An element may be off by some roundings of the tensor's largest element, since
    sums round relative to their terms. If a sample is so near a kink that the two precisions are on different sides,
    the verdict on tensors that disagree is ``"kink"``.

    Args:
        net: a network built with a loss.
        x: samples, shape (n, *input_shape).
        y: their targets, as the loss takes them, such as labels (n,).
        burn_in: as in ``check_net``.

    Returns:
        A ``GradientCheck`` with the float32 gradient as ``analytic`` and the float64 gradient as ``numeric``.
    """
    _check_loss("compare_precisions", net)
    exact = _burned_in(net.twin(np.float64), x, y, checks.count("compare_precisions", "burn_in", burn_in, least=0))
    single = exact.twin(np.float32)
    exact = single.twin(np.float64)  # with exactly the weights that float32 holds
    problems = [
        _objective(twin, np.asarray(x).astype(np.float32) if np.asarray(x).dtype.kind == "f" else x, y, True)[0]
        for twin in (single, exact)
    ]
    pieces = [problem.function.base.winners for problem in problems]
    same = pieces[0] is None or pieces[1] is None or np.array_equal(pieces[0], pieces[1])
    rough, fine = (problem.gradients for problem in problems)
    overall = max(float(np.abs(g).max(initial=0.0)) for g in fine.values())
    tensors = [_beside(name, rough[name], fine[name], overall, same) for name in fine]
    return GradientCheck(tuple(tensors), "float32 against float64", 2, burns_in=True)


def _beside(name: str, single: np.ndarray, exact: np.ndarray, overall: float, same: bool) -> TensorCheck:
    """Compare one tensor. ``overall``: largest gradient of all; ``same``: whether both are on the same pieces."""
    eps, largest = float(np.finfo(np.float32).eps), float(np.abs(exact).max(initial=0.0))
    # Gradients that cancel to 0 keep the rounding errors of the terms that cancelled.
    scale = max(largest, 1e-2 * overall) or 1.0
    bound = eps * (_ROUNDINGS * largest + 4 * overall)
    difference = np.abs(single.astype(np.float64) - exact)
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(difference)), exact.shape))
    excess = max(float(difference[at]) - bound, 0.0) / scale
    return TensorCheck(
        name=name,
        verdict="correct" if excess == 0 else "kink" if not same else "wrong" if excess >= WRONG else "suspicious",
        error=float(difference[at]) / scale,
        absolute=float(difference[at]),
        excess=excess,
        worst=at,
        analytic=float(single[at]),
        numeric=float(exact[at]),
        uncertainty=bound,
        step=0.0,
        checked=exact.size,
        size=exact.size,
        note="analytic: float32, numeric: float64",
    )
