"""Checks of scales: variance of activations and gradients by layer, and ratio of the first update to the weights."""

import numpy as np

from ...optim.optimizer import Optimizer
from ..gains import LINEAR
from ..variance import variance_by_layer
from .case import Case
from .report import FAILED, SKIPPED, WARNING, Finding, graded


def variances(case: Case) -> Finding:
    """Check that neither activations nor gradients vanish or explode."""
    name, table = "variance by layer", variance_by_layer(case.net, *case.part(256))
    kinds = {kind.__name__ for kind in LINEAR}
    linear = [layer for layer in table.layers if layer.kind in kinds]
    if not linear:
        return Finding(name, SKIPPED, "no Dense or convolution")
    forward = [table.layers[0].variance, *(layer.variance for layer in linear)]
    backward = [layer.gradient_variance for layer in linear]
    numbers = {"forward": forward, "backward": backward, "layers": [layer.name for layer in linear]}
    expected = "activations within a factor 100, gradients 10,000"
    constant = [layer.name for layer in table.layers if not layer.variance > 0]
    if constant == [linear[-1].name] and not np.any(case.net.named_parameters()[f"{constant[0]}.W"]):
        advice = "the last layer starts at 0, so what is below learns from the second step on"
        return Finding(name, WARNING, "the last layer's weights are 0", expected, advice, numbers)
    if constant:
        measured = f"layer {constant[0]} gives the same for all samples"
        return Finding(name, FAILED, measured, expected, "a dead layer: look at its weights, biases and input", numbers)
    if min(backward) == 0:
        place = next(layer.name for layer in reversed(linear) if layer.gradient_variance == 0)
        advice = "nothing below it learns: dead units, or a backward pass that fills in zeros"
        return Finding(name, FAILED, f"no gradient reaches layer {place}", expected, advice, numbers)
    if not np.isfinite([*forward, *backward]).all():
        return Finding(name, FAILED, "variances overflow", expected, "smaller weights or input", numbers)
    (low, high), (least, most) = ((min(values), max(values)) for values in (forward, backward))
    measured = f"activations {low:.2g} to {high:.2g}, gradients {least:.2g} to {most:.2g}"
    wide, deep = high / low, most / least
    mend = "He's or Glorot's initialisers, LSUV or normalisation mend it"
    advice = f"see diagnostics.variance_by_layer(net, x, y); {mend}"
    good, tolerable = wide <= 100 and deep <= 1e4, wide <= 1e4 and deep <= 1e8
    return graded(name, measured, expected, advice, numbers, good=good, tolerable=tolerable)


def first_update_ratio(case: Case) -> Finding:
    """Check that the first update is about a thousandth of the weights."""
    name, aim, twin = "first update ratio", "about 1e-3", case.net.twin()
    before = twin.params.astype(np.float64)
    twin.loss_and_grads(*case.part(100))
    if not np.isfinite(twin.grads).all():
        return Finding(name, FAILED, "gradients not finite", aim, "smaller weights or input")
    try:
        Optimizer(twin, case.rule).step(case.lr)
    except FloatingPointError as error:
        return Finding(name, FAILED, str(error), aim, "smaller weights or input")
    moved = twin.params - before
    ratios = {
        tensor.name: float(np.linalg.norm(moved[part]) / size)
        for tensor in twin.tensors
        if tensor.decay and (size := np.linalg.norm(before[part := slice(tensor.start, tensor.stop)]))
    }
    if not ratios:
        return Finding(name, SKIPPED, "no weights that differ from 0", aim)
    still = [t.name for t in twin.tensors if t.name in ratios and not twin.grads[t.start : t.stop].any()]
    if still:
        measured, advice = f"no gradient for {', '.join(still)}", "whatever the rate: see variance by layer"
        return Finding(name, WARNING, measured, aim, advice, {"ratios": ratios})
    low, high = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    least, most = ratios[low], ratios[high]
    measured = f"{least:.1e} ({low}) to {most:.1e} ({high}) with {type(case.rule).__name__} at {case.lr:g}"
    advice = "try a lower rate" if most > 1e-2 else "try a higher rate, unless a warm-up starts low"
    good, bad = least >= 1e-4 and most <= 1e-2, most > 0.1 or least < 1e-6
    expected = f"{aim}, 1e-4 to 1e-2"
    return graded(name, measured, expected, advice, {"ratios": ratios}, good=good, tolerable=not bad)
