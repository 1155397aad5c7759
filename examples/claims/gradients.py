"""N1 to N8: gradient checks."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots

from .base import Effort, Figure, Row, claim, flat_digits, verdict


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
    "relative error tells a right gradient from a wrong one",
    "Compare the analytic and the numerical gradient by their relative error. Above 1e-2 the gradient is probably "
    "wrong. From 1e-2 to 1e-4 it should make you uncomfortable. Below 1e-4 is fine if the loss has kinks. Below 1e-7 "
    "you can be happy.",
)
def relative_error_tells_right_from_wrong(out: Path, effort: Effort) -> Row:
    x, y = mn.datasets.iris()
    x = mn.data.Standardizer.fit(x)(x)[::30]
    # What the notes call each size of error, and the checker's verdict, on mistakes of that size.
    cases = {
        "right": (mn.Dense(4), 0, 1e-7, "happy", "correct"),
        "factor 1.00001": (Factor(4, factor=1.00001), 1e-7, 1e-4, "fine with kinks", "suspicious"),
        "factor 1.001": (Factor(4, factor=1.001), 1e-4, 1e-2, "doubtful", "suspicious"),
        "lost transpose": (LostTranspose(4), 1e-2, math.inf, "wrong", "wrong"),
    }
    short, words, holds = [], [], True
    for kind, (layer, low, high, notes, verdict_) in cases.items():
        net = mn.Net([layer, mn.Tanh(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), dtype=np.float64)
        worst = mn.check_net(net, x, y[::30]).worst
        short.append(f"{kind} {worst.error:.0e}")
        words.append(f"{kind}: {worst.error:.0e}, {worst.cs231n} ({worst.verdict})")
        holds &= low <= worst.error < high and (worst.cs231n, worst.verdict) == (notes, verdict_)
    return Row(
        "> 1e-2 wrong; < 1e-7 happy",
        f"errors: {', '.join(short)}",
        verdict(holds),
        "What the notes call each error, and in brackets the verdict of the checker: " + "; ".join(words) + ".",
    )


@claim(
    "N2",
    "single precision spoils the check",
    "Check gradients in double precision. The relative error of a right gradient may be as high as 1e-2 in single "
    "precision, and fall to 1e-8 in double precision.",
)
def double_precision_mends_the_check(out: Path, effort: Effort) -> Row:
    x, y = flat_digits()
    errors = {}
    for dtype in (np.float32, np.float64):
        net = mn.Net([mn.Dense(10)], 64, mn.SoftmaxCrossEntropy(), dtype=dtype)
        checked = mn.check_net(net, x[:5], y[:5], dtype=dtype, inputs=False, h=1e-5)
        errors[dtype.__name__] = checked["0.b"].error
    return Row(
        "1e-2 to 1e-8",
        f"{errors['float32']:.0e} to {errors['float64']:.0e}",
        verdict(errors["float32"] >= 1e-3 and errors["float64"] <= 1e-7),
        "Bias of a softmax classifier on five digits, step h = 1e-5 in both precisions.",
    )


@claim(
    "N3",
    "very small gradients mislead a check",
    "Gradients below about 1e-10 in size are worrying, because their comparison is numerically inexact. Scale the loss "
    "by a constant to bring them towards 1.",
)
def tiny_gradients_mislead(out: Path, effort: Effort) -> Row:
    x = np.random.default_rng(0).uniform(0.5, 1.5, 20)

    def cubes(x: np.ndarray, scale: float) -> np.floating:
        """A sum of which every partial result is rounded to x's precision."""
        total = x.dtype.type(0)
        for v in x:
            total += v**3 * x.dtype.type(scale)
        return total

    words, errors = [], {}
    for kind, dtype, h, scale in (
        ("float64, loss of 1e-12", np.float64, 1e-5, 1e-12),
        ("float64, scaled to 1", np.float64, 1e-5, 1.0),
        ("float32, loss of 1e-42", np.float32, 1e-2, 1e-42),
        ("float32, scaled to 1", np.float32, 1e-2, 1.0),
    ):
        at = x.astype(dtype)
        gradient = 3 * at.astype(np.float64) ** 2 * float(dtype(scale))
        (tensor,) = mn.check_gradient(lambda x, s=scale: cubes(x, s), at, gradient, h=h).tensors
        errors[kind] = tensor.error
        words.append(f"{kind}: error {tensor.error:.0e}, {tensor.tiny} of {tensor.checked} flagged")
    spoilt, mended = errors["float32, loss of 1e-42"], errors["float32, scaled to 1"]
    double = errors["float64, loss of 1e-12"] < 1e-7
    return Row(
        "below 1e-10 is worrying",
        f"float32 at 1e-42: error {spoilt:.0e}, scaled {mended:.0e}; float64 at 1e-12: "
        f"{errors['float64, loss of 1e-12']:.0e}",
        "depends: holds where numbers are denormal; in double precision at 1e-12 the size alone does no harm"
        if spoilt > 3 * mended and double
        else verdict(False),
        "Sum of 20 cubes, with every partial result rounded; the checker flags coordinates below 1e-10: "
        + "; ".join(words)
        + ".",
    )


@claim(
    "N4",
    "kinks spoil a numerical gradient",
    "The numerical gradient is wrong if its step crosses a kink of a ReLU, a hinge or a maximum, as that of a ReLU at "
    "x = -1e-6 with a larger step. Watch who wins each max. A check with few data points crosses fewer kinks.",
)
def kinks_are_crossed(out: Path, effort: Effort) -> Row:
    x = np.array([[-1e-6]])
    plain = float(mn.numerical_gradient(lambda: np.maximum(x, 0).sum(), x, h=1e-5)[0][0, 0])
    tensor = mn.check_net(_one_relu(), x, np.array([[-1.0]]))["input"]
    images, labels = flat_digits()
    images = images.astype(np.float64)
    # All three kinds of kinks: a ReLU, the maximum of each four units, a hinge.
    layers = [mn.Dense(64), mn.ReLU(), mn.Reshape((8, 8, 1)), mn.MaxPool2D(2), mn.Flatten(), mn.Dense(10)]
    net = mn.Net(layers, 64, mn.MulticlassHinge(), dtype=np.float64)
    sizes: tuple[int, ...] = (2, 8, 32, 128)
    counts: list[float] = []
    passed: list[bool] = []
    for n in sizes:
        crossed = taken = 0
        for start in range(0, 4 * n, n):  # four sets of n images each
            batch = images[start : start + n], labels[start : start + n]
            how = {"mode": "sample", "samples": 20, "inputs": False, "burn_in": 5}
            tensors = mn.check_net(net, *batch, h=1e-3, **how).tensors
            crossed += sum(t.crossed for t in tensors)
            taken += sum(t.checked + t.excluded for t in tensors)
            passed.append(mn.check_net(net, *batch, **how).passed)
        counts.append(100 * crossed / taken)
    plots.curves(
        out / "n4_kinks.png",
        {"steps of 1e-3": (sizes, counts)},
        title="Coordinates whose step crosses a kink",
        xlabel="images in the check",
        ylabel="coordinates (%)",
    )
    shares = ", ".join(f"{n}: {count:.0f} %" for n, count in zip(sizes, counts, strict=True))
    holds = plain > 0.1 and tensor.passed and tensor.crossed == 1 and counts == sorted(counts) and all(passed)
    return Row(
        "numerical gradient not 0 at x = -1e-6",
        f"plain difference {plain:.2f}, check {tensor.numeric:.0f}; kinks crossed with {sizes[0]} images "
        f"{counts[0]:.0f} %, with {sizes[-1]} {counts[-1]:.0f} %",
        verdict(holds),
        f"A ReLU at -1e-6 has derivative 0. Coordinates of a network with ReLU, max and hinge whose step of 1e-3 "
        f"crosses a kink, by number of images: {shares}. minnet's check leaves them out, and passes for each number.",
        [Figure("n4_kinks.png", "The more images are in the check, the more of its coordinates cross a kink.")],
    )


def _one_relu() -> mn.Net:
    layers = [mn.ReLU(), mn.Dense(1, init=mn.initializers.Constant(1.0))]
    return mn.Net(layers, 1, mn.SquaredError(), dtype=np.float64)


@claim(
    "N5",
    "the step of a check may be too small",
    "A smaller step h is not always better: below some size the check runs into rounding errors. If a gradient does "
    "not pass, a step of 1e-4 or 1e-6 sometimes mends it.",
)
def steps_have_two_ends(out: Path, effort: Effort) -> Row:
    x, y = flat_digits()
    net = mn.Net([mn.Dense(20), mn.ReLU(), mn.Dense(10)], 64, mn.SoftmaxCrossEntropy(), dtype=np.float64)
    wrong = mn.Net([mn.Dense(20), mn.ReLU(), Factor(10, factor=1.1)], 64, mn.SoftmaxCrossEntropy(), dtype=np.float64)
    how = {"mode": "sample", "samples": 12, "sweep": True, "inputs": False, "burn_in": 5}
    sweep, spoilt = (mn.check_net(n, x[:10], y[:10], **how).sweep for n in (net, wrong))
    right, bad = (next(c for c in s.curves if c.name == "2.W") for s in (sweep, spoilt))
    both = mn.StepSweep(sweep.steps, (replace(right, name="right"), replace(bad, name="10 % too large")))
    plots.step_sweep(both, out / "n5_steps.png", title="Error of a gradient against the step")
    best = min(right.errors)
    low, high = (sweep.steps[i] for i in (-1, 0))
    return Row(
        "1e-4 or 1e-6 may mend it",
        f"error {right.errors[0]:.0e} at h = {high:.0e}, {best:.0e} at best, {right.errors[-1]:.0e} at {low:.0e}; "
        f"surest step {right.best:.0e}",
        verdict(right.errors[0] > 1e3 * best < right.errors[-1] and min(bad.errors) > 1e-2),
        f"The large step suffers from {right.labels[0]}, the small one from {right.labels[-1]}. A gradient 10 % too "
        f"large is {bad.verdict} at every step: its error is {min(bad.errors):.0e} at best.",
        [
            Figure(
                "n5_steps.png",
                "The error of the right gradient has a valley; that of the wrong one does not fall at any step.",
            )
        ],
    )


@claim(
    "N6",
    "regularisation may hide a wrong gradient",
    "Do not let the regularisation overwhelm the data loss: the check would then see mostly the gradient of the "
    "penalty. Check the data loss alone first.",
)
def penalties_hide_mistakes(out: Path, effort: Effort) -> Row:
    x, y = mn.datasets.iris()
    net = mn.Net([Factor(3, factor=1.1)], 4, mn.SoftmaxCrossEntropy(), l2=1e5, dtype=np.float64)
    check = mn.check_net(net, x[::10], y[::10], part="each")
    together, data, penalties = (check[f"{part}: 0.W"] for part in ("together", "data", "penalties"))
    holds = together.error < 1e-2 <= data.error and data.verdict == "wrong" and penalties.passed
    return Row(
        "regularisation may overwhelm the data loss",
        f"error of a wrong gradient: {together.error:.0e} with the penalty, {data.error:.0e} for the data loss alone",
        verdict(holds),
        f"The gradient of the data loss is 10 % too large; L2 is 1e5. Together: {together.error:.0e} "
        f"({together.cs231n}); data loss: {data.error:.0e} ({data.verdict}); penalty: {penalties.error:.0e} "
        f"({penalties.verdict}).",
    )


class ForgetfulDropout(mn.Dropout):
    def backward(self, m, x, y, dy, dx):
        np.copyto(dx, dy)


@claim(
    "N7",
    "fix the seed of dropout in a check",
    "Turn off dropout and augmentation in a check, or they add errors. Then they are not checked themselves: it is "
    "better to force one random seed before each evaluation.",
)
def noise_is_replayed(out: Path, effort: Effort) -> Row:
    x, y = mn.datasets.iris()
    words, passed = [], []
    for dropout in (mn.Dropout(0.5), ForgetfulDropout(0.5), ForgetfulDropout(0.0)):
        net = mn.Net([mn.Dense(8), mn.Tanh(), dropout, mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), dtype=np.float64)
        check = mn.check_net(net, x[::30], y[::30])
        passed.append(check.passed)
        kind = "right" if type(dropout) is mn.Dropout else "mask forgotten in backward"
        words.append(f"{kind}, rate {dropout.rate}: {check.verdict} ({check.error:.0e})")
    noise = np.random.default_rng(0)
    point = np.arange(1.0, 5.0)
    free = mn.check_gradient(lambda v: float((v**2 * noise.binomial(1, 0.5, v.shape)).sum()), point, 2 * point)
    words.append(f"noise that is not replayed: two evaluations differ by {free.nondeterminism:.0f}, {free.verdict}")
    return Row(
        "fix the seed",
        f"dropout that forgets its mask: {'passes' if passed[1] else 'wrong'} with its noise replayed, "
        f"{'passes' if passed[2] else 'wrong'} switched off",
        verdict(passed == [True, False, True] and free.nondeterminism > 0 and not free.passed),
        "; ".join(words) + ". Augmentation comes before the network, in the batches.",
    )


@claim(
    "N8",
    "check some coordinates of every parameter tensor",
    "It is enough to check some coordinates, but of every parameter tensor. A draw from the whole vector may leave out "
    "small tensors such as biases.",
)
def every_tensor_is_sampled(out: Path, effort: Effort) -> Row:
    x, y = flat_digits()

    class NoBias(mn.Dense):
        def backward(self, m, x, y, dy, dx):
            super().backward(m, x, y, dy, dx)
            m.db *= 2

    net = mn.Net([NoBias(100), mn.Tanh(), mn.Dense(10)], 64, mn.SoftmaxCrossEntropy(), dtype=np.float64)
    tensor = net.layout.places["0.b"]
    seeds, samples, stratified, uniform = effort.repeats(20, 100), 20, 0, 0
    for seed in range(seeds):
        drawn = np.random.default_rng(seed).choice(net.layout.size, samples, replace=False)
        uniform += bool(((drawn >= tensor.start) & (drawn < tensor.stop)).any())
        how = {"mode": "sample", "samples": samples // 4, "inputs": False, "seed": seed}
        stratified += mn.check_net(net, x[:5], y[:5], **how).worst.name == "0.b"
    return Row(
        "a few of each",
        f"mistake in the biases found: {stratified} of {seeds} times by tensor, {uniform} of {seeds} from the whole "
        "vector",
        verdict(stratified == seeds > uniform),
        f"A mistake in 100 biases of {net.layout.size} parameters; {samples} coordinates in all, 5 of each tensor or "
        f"drawn from the whole vector; {seeds} seeds.",
    )
