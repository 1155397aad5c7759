"""N1 to N8: gradient checks."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import minnet as mn

from .base import Row, claim, flat_digits, verdict


class LostTranspose(mn.Dense):
    def backward(self, m, x, y, dy, dx):
        super().backward(m, x, y, dy, dx)
        m.dW[...] = (x.T @ dy).T


@dataclass(frozen=True)
class Factor(mn.Dense):
    """Every weight's gradient times ``factor``."""

    factor: float = 1.0

    def backward(self, m, x, y, dy, dx):
        super().backward(m, x, y, dy, dx)
        m.dW *= self.factor


@claim(
    "N1",
    "relative error of a gradient: above 1e-2 wrong, to 1e-4 doubtful, below fine with kinks, below 1e-7 happy",
)
def relative_error_tells_right_from_wrong(out: Path) -> Row:
    x, y = mn.datasets.iris()
    x = mn.data.Standardizer.fit(x)(x)[::30]
    # What the notes call each size of error, on mistakes of that size.
    cases = {
        "right": (mn.Dense(4), 0, 1e-7, "correct"),
        "factor 1.00001": (Factor(4, factor=1.00001), 1e-7, 1e-4, "fine with kinks"),
        "factor 1.001": (Factor(4, factor=1.001), 1e-4, 1e-2, "doubtful"),
        "lost transpose": (LostTranspose(4), 1e-2, math.inf, "wrong"),
    }
    words, holds = [], True
    for kind, (layer, low, high, verdict_) in cases.items():
        net = mn.Net([layer, mn.Tanh(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), dtype=np.float64)
        worst = mn.check_net(net, x, y[::30]).worst
        words.append(f"{kind}: {worst.error:.0e}, {worst.verdict}")
        holds &= low <= worst.error < high and worst.verdict == verdict_
    return Row("> 1e-2 wrong; < 1e-7 happy", "; ".join(words), verdict(holds))


@claim("N2", "going from single to double precision, the relative error of a right gradient falls from 1e-2 to 1e-8")
def double_precision_mends_the_check(out: Path) -> Row:
    x, y = flat_digits()
    errors = {}
    for dtype in (np.float32, np.float64):
        net = mn.Net([mn.Dense(10)], 64, mn.SoftmaxCrossEntropy(), dtype=dtype)
        checked = mn.check_net(net, x[:5], y[:5], dtype=dtype, inputs=False)
        errors[dtype.__name__] = next(tensor.error for tensor in checked.tensors if tensor.name == "0.b")
    return Row(
        "1e-2 to 1e-8",
        f"{errors['float32']:.0e} to {errors['float64']:.0e} (bias of a softmax classifier, h = 1e-5)",
        verdict(errors["float32"] >= 1e-3 and errors["float64"] <= 1e-7),
    )
