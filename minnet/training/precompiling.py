"""Kernels that a net needs, compiled before a run."""

import sys
from typing import Any

import numpy as np

from ..base import checks
from ..data import Data
from ..kernels import announce
from ..net.net import Net, as_net
from ..net.passes import CHUNK
from ..optim.rules import Rule
from .fit import fit
from .progress import Progress, chosen

_BATCHES = 3  # after the first, steps are recorded


def precompile(
    net: Net,
    rule: Rule | None = None,
    *,
    data: Data | None = None,
    batch_size: int = 100,
    progress: Progress = None,
    **options: Any,
) -> int:
    """Compile the kernels of a net's passes and of its rule, and keep them on disk; the net does not change.

    A kernel is compiled when it is first used, for seconds. This uses them all, on a copy of the net: evaluation, the
    training pass and, given a rule, the steps of a run. Which kernels a pass takes depends on the sizes of the arrays
    too, so give the ``batch_size`` of the run and, if its samples are no floats of the net's dtype, the ``data``. A
    ``fit`` with the same arguments then compiles nothing.

    Args:
        net: the net.
        rule: the update rule of the run; None for the passes alone.
        data: (x, y), of which the first samples are used; None for samples that are made up.
        batch_size: number of samples of a batch.
        progress: what is written to standard error, as in ``fit``: a line that says what is compiled.
        options: other arguments of ``fit``, such as ``weight_decay``, ``clip_norm`` or ``augment``, but ``callbacks``.

    Returns:
        The number of kernels that were compiled: 0 if the disk had them all.

    Raises:
        TypeError, ValueError: an argument does not fit the net, as in ``fit``; or there are ``options`` and no rule.
    """
    as_net("precompile", net)
    checks.count("precompile", "batch_size", batch_size)
    if options.get("callbacks"):
        raise TypeError("precompile: expected no callbacks, which would act, and write their files, as in a run")
    if options and rule is None:
        raise TypeError(f"precompile: expected arguments of fit with a rule only; got {', '.join(options)} without one")
    kind = chosen("precompile", progress)
    before, seconds = announce.compiled()
    with announce.said(None if kind == "bar" else kind):
        _use(net.twin(), rule, data, batch_size, options)
    count, after = announce.compiled()
    if kind != "nothing" and sys.stderr is not None:
        print(f"{count - before} kernels compiled in {after - seconds:.1f} s", file=sys.stderr, flush=True)
    return count - before


def _use(net: Net, rule: Rule | None, data: Data | None, batch_size: int, options: dict[str, Any]) -> None:
    """Call every kernel that a run of a net calls."""
    batch_size = net.streams or batch_size
    if net.loss_function is None:
        net.predict(_samples(net, max(batch_size, CHUNK)))
        return
    whole = _made_up(net, max(_BATCHES, -(-CHUNK // batch_size)) * batch_size) if data is None else data
    rest = len(whole[0]) % batch_size if data is not None else 0  # the last batch of an epoch
    x, y = (part[: min(len(part), _BATCHES * batch_size + rest)] for part in whole)
    if rule is None:
        net.loss_and_grads(_floats(net, x[:batch_size]), y[:batch_size])
        net.evaluate(_floats(net, whole[0][:CHUNK]), whole[1][:CHUNK])
        return
    seen = tuple(part[:CHUNK] for part in whole)
    run = {"validation": seen, "epochs": 2, "lr": 1e-3, **options}
    fit(net, (x, y), rule=rule, batch_size=batch_size, progress=False, **run)


def _floats(net: Net, x: Any) -> Any:
    """Return samples as a net takes them: bytes are divided by 255, as in batches."""
    return (x / 255).astype(net.dtype) if not net.vocabulary and np.asarray(x).dtype == np.uint8 else x


def _made_up(net: Net, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return samples, and targets that the loss takes: labels, or numbers."""
    assert net.loss_function is not None
    labels = np.zeros((n, *net.output_shape[:-1]), np.int64)
    try:
        net.loss_function.check_targets(labels, net.output_shape, net.dtype)
    except (TypeError, ValueError):
        return _samples(net, n), np.zeros((n, *net.output_shape), net.dtype)
    return _samples(net, n), labels


def _samples(net: Net, n: int) -> np.ndarray:
    return np.repeat(net.any_input(), n, axis=0)
