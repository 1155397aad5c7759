"""Random functions with right and wrong gradients, of the kinds that are hard on a gradient check.

Each family is a function of a seed that gives a ``Case``. Gradients are written out by hand, so that nothing here
depends on what is measured.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minnet as mn

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Case:
    """``f(*x)`` with its right gradients, and wrong ones by name; ``how`` are options of the check."""

    f: Callable[..., Any]
    x: Arrays
    right: Arrays
    wrong: dict[str, Arrays]
    how: dict[str, Any] = field(default_factory=dict)

    def check(self, gradients: Arrays, **how: Any) -> mn.GradientCheck:
        """The verdict on these gradients."""
        return mn.check_gradient(self.f, self.x, gradients, **{**self.how, **how})


def _mistakes(rng: np.random.Generator, right: Arrays, least: float = 0.0) -> dict[str, Arrays]:
    """Mistakes that any gradient may have; those that change nothing here, or less than ``least``, are left out."""
    largest = [int(np.argmax(np.abs(g))) for g in right]
    factor = 1 + 10 ** rng.uniform(-2, 0)
    made: dict[str, list[np.ndarray]] = {
        "factor of 1.01 to 2": [factor * g for g in right],
        "sign": [-g for g in right],
        "zero": [0 * g for g in right],
    }
    lost = [g.copy() for g in right]
    for g, i in zip(lost, largest, strict=True):
        g.reshape(-1)[i] = 0
    made["one element lost"] = lost
    if any(g.ndim == 2 and g.shape[0] == g.shape[1] for g in right):
        made["transposed"] = [g.T.copy() if g.ndim == 2 and g.shape[0] == g.shape[1] else g for g in right]

    def differs(wrong: list[np.ndarray]) -> bool:
        return any(np.abs(w - g).max() > max(5e-3 * np.abs(g).max(), least) for w, g in zip(wrong, right, strict=True))

    return {name: tuple(wrong) for name, wrong in made.items() if differs(wrong)}


def steep(seed: int) -> Case:
    """Sums of sines, hyperbolic tangents and bumps with slopes of 10 to 1e6, at 0 or anywhere."""
    rng = np.random.default_rng((seed, 10))
    n = int(rng.integers(1, 6))
    slope = 10 ** rng.uniform(1, 6, n)
    weight = rng.standard_normal(n)
    x = np.zeros(n) if rng.random() < 0.3 else rng.uniform(-1, 1, n) * (1.0 if rng.random() < 0.5 else 1 / slope)
    kind = rng.integers(0, 4, n)

    def pieces(t: np.ndarray) -> np.ndarray:
        root = np.sqrt(1 + np.minimum(t * t, 1e100))
        return np.choose(kind, [np.sin(t), np.tanh(t), t / root, np.log1p(np.minimum(t * t, 1e100))])

    def slopes(t: np.ndarray) -> np.ndarray:
        tangent = 1 - np.tanh(t) ** 2
        return np.choose(kind, [np.cos(t), tangent, (1 + t * t) ** -1.5, 2 * t / (1 + t * t)])

    right = (weight * slope * slopes(slope * x) + x,)
    return Case(
        lambda x: float((weight * pieces(slope * x)).sum() + 0.5 * (x * x).sum()), (x,), right, _mistakes(rng, right)
    )


def kinks(seed: int) -> Case:
    """Sums of kinks at 1e-10 to 0.1 from x, on either side, and a parabola."""
    rng = np.random.default_rng((seed, 11))
    n, k = int(rng.integers(1, 5)), int(rng.integers(1, 6))
    x = np.zeros(n) if rng.random() < 0.5 else rng.standard_normal(n)
    far = 10 ** rng.uniform(-10, -1, (n, k))
    place = far * rng.choice((-1.0, 1.0), (n, k))
    left, rise = rng.standard_normal((2, n, k))
    offset = 0.0 if rng.random() < 0.5 else 10 ** rng.uniform(-2, 3)

    def f(v: np.ndarray) -> float:
        t = (v - x)[:, None] - place
        return float(offset + (left * t + rise * np.maximum(t, 0)).sum() + (v * v).sum())

    def slope(where: np.ndarray) -> np.ndarray:
        return (left + rise * (where[:, None] > place)).sum(axis=1) + 2 * x

    right = (slope(np.zeros(n)),)
    wrong = _mistakes(rng, right)
    for name, where in (("slope to the right", 0.2), ("slope to the left", -0.2)):
        wrong[name] = (slope(np.full(n, where)),)
    wrong["mean of the outer slopes"] = ((slope(np.full(n, 0.2)) + slope(np.full(n, -0.2))) / 2,)
    differs = {name: w for name, w in wrong.items() if np.abs(w[0] - right[0]).max() > 1e-2 * np.abs(right[0]).max()}
    return Case(f, (x,), right, differs)


def deep_nets(seed: int) -> Case:
    """ReLU nets of 3 to 9 layers in plain NumPy, weights of 1e-3 to 0.3, with several losses."""
    rng = np.random.default_rng((seed, 12))
    depth, width, samples = int(rng.integers(3, 10)), int(rng.integers(4, 9)), int(rng.integers(1, 4))
    scale = 10 ** rng.uniform(-3, np.log10(0.3))
    biased = rng.random() < 0.5
    weights = [scale * rng.standard_normal((width, width)) for _ in range(depth)]
    biases = [(scale * rng.standard_normal(width) if biased else np.zeros(width)) for _ in range(depth)]
    x = rng.standard_normal((samples, width))
    target = rng.integers(0, width, samples)
    kind = ("sum", "squares", "softmax")[int(rng.integers(0, 3))]
    cotangent = rng.standard_normal((samples, width))

    def loss(parameters: Arrays) -> tuple[float, list[np.ndarray]]:
        h, kept = x, []
        for i in range(depth):
            z = h @ parameters[2 * i] + parameters[2 * i + 1]
            kept.append((h, z))
            h = np.maximum(z, 0) if i + 1 < depth else z
        if kind == "sum":
            value, d = (h * cotangent).sum(), cotangent
        elif kind == "squares":
            value, d = ((h - cotangent) ** 2).sum(), 2 * (h - cotangent)
        else:
            shifted = h - h.max(axis=1, keepdims=True)
            p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
            rows = np.arange(samples)
            value, d = -np.log(p[rows, target]).mean(), p / samples
            d[rows, target] -= 1 / samples
        gradients: list[np.ndarray] = []
        for i in reversed(range(depth)):
            h, z = kept[i]
            d = d * (z > 0) if i + 1 < depth else d
            gradients = [h.T @ d, d.sum(axis=0), *gradients]
            d = d @ parameters[2 * i].T
        return float(value), gradients

    parameters = tuple(array for pair in zip(weights, biases, strict=True) for array in pair)
    right = tuple(loss(parameters)[1])
    if seed % 4 == 0:
        return Case(
            lambda *p: loss(p)[0], parameters, right, {"sign": tuple(-g for g in right)}, {"mode": "directions"}
        )
    # All coordinates of one layer.
    layer = 2 * int(rng.integers(0, depth))

    def fill(gradients: Arrays) -> Arrays:
        return tuple(gradients[i - layer] if i - layer in (0, 1) else None for i in range(2 * depth))  # type: ignore

    mine = right[layer : layer + 2]
    # Less than that is hidden by round-off where kinks are near.
    least = 1e-6 * max(1.0, abs(loss(parameters)[0]))
    wrong = {name: fill(w) for name, w in _mistakes(rng, mine, least).items()}
    return Case(lambda *p: loss(p)[0], parameters, fill(mine), wrong)


def encodings(seed: int) -> Case:
    """Positional encodings sin(2^k pi x), cos(2^k pi x) with k up to 5 to 14, and weights behind them."""
    rng = np.random.default_rng((seed, 13))
    x = rng.uniform(-1, 1, int(rng.integers(1, 4)))
    if rng.random() < 0.3:
        x = np.round(x * 8) / 8
    omega = np.pi * 2.0 ** np.arange(int(rng.integers(5, 15)))
    weights = rng.standard_normal((2, len(x), len(omega)))

    def f(x: np.ndarray) -> float:
        t = x[:, None] * omega
        return float((weights[0] * np.sin(t) + weights[1] * np.cos(t)).sum())

    t = x[:, None] * omega
    right = ((omega * (weights[0] * np.cos(t) - weights[1] * np.sin(t))).sum(axis=1),)
    return Case(f, (x,), right, _mistakes(rng, right))


def saturated(seed: int) -> Case:
    """tanh or logistic layers whose units are nearly constant: arguments of 3 to 300."""
    rng = np.random.default_rng((seed, 14))
    n, m = int(rng.integers(2, 6)), int(rng.integers(1, 5))
    x = rng.standard_normal((3, n))
    w = rng.standard_normal((n, m)) * 10 ** rng.uniform(0.5, 2.5)
    cotangent = rng.standard_normal((3, m))

    def f(w: np.ndarray) -> float:
        return float((np.tanh(x @ w) * cotangent).sum())

    # 1 - tanh^2 loses all its digits where tanh is 1 within rounding; this does not.
    e = np.exp(-2 * np.abs(x @ w))
    right = (x.T @ (cotangent * 4 * e / (1 + e) ** 2),)
    # Where every unit is saturated the gradient is far below round-off, and so is any mistake.
    return Case(f, (w,), right, _mistakes(rng, right) if np.abs(right[0]).max() > 1e-6 else {})


def flat_rows(seed: int) -> Case:
    """Normalisation of rows that are nearly constant, about 0 to 1e3, and of short vectors to length 1."""
    rng = np.random.default_rng((seed, 15))
    n = int(rng.integers(3, 7))
    spread = 10 ** rng.uniform(-6, 0)
    x = spread * rng.standard_normal((2, n))
    cotangent = rng.standard_normal((2, n))
    eps = 10 ** rng.uniform(-12, -3)
    if rng.random() < 0.3:
        # x / |x|
        def f(x: np.ndarray) -> float:
            return float((x / np.sqrt((x * x).sum(axis=1, keepdims=True) + eps) * cotangent).sum())

        length = np.sqrt((x * x).sum(axis=1, keepdims=True) + eps)
        right = ((cotangent - x * (x * cotangent).sum(axis=1, keepdims=True) / length**2) / length,)
        return Case(f, (x,), right, _mistakes(rng, right))
    x = x + (0.0 if rng.random() < 0.5 else 10 ** rng.uniform(0, 3))

    def normed(x: np.ndarray) -> float:
        centred = x - x.mean(axis=1, keepdims=True)
        return float((centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps) * cotangent).sum())

    centred = x - x.mean(axis=1, keepdims=True)
    std = np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)
    y, d = centred / std, cotangent - cotangent.mean(axis=1, keepdims=True)
    right = ((d - y * (y * cotangent).mean(axis=1, keepdims=True)) / std,)
    return Case(normed, (x,), right, _mistakes(rng, right))


def pooled(seed: int) -> Case:
    """Largest values, clipped values, absolute values and hinges of near ties, without anybody to tell the winners."""
    rng = np.random.default_rng((seed, 16))
    n, k = int(rng.integers(2, 5)), int(rng.integers(2, 5))
    near = 10 ** rng.uniform(-9, -1, (n, k))
    x = rng.standard_normal((n, 1)) * rng.integers(0, 2) + near * rng.choice((-1.0, 1.0), (n, k))
    a, b, c = rng.standard_normal((3, n))
    rows, bound = np.arange(n), 10 ** rng.uniform(-8, 0)

    def f(x: np.ndarray) -> float:
        return float((a * x.max(axis=1) + b * np.clip(x, -bound, bound).sum(axis=1) + c * np.abs(x).sum(axis=1)).sum())

    right_x = b[:, None] * (np.abs(x) < bound) + c[:, None] * np.sign(x)
    right_x[rows, x.argmax(axis=1)] += a
    # The second largest in place of the largest, and clipping forgotten.
    second = b[:, None] * (np.abs(x) < bound) + c[:, None] * np.sign(x)
    second[rows, np.argsort(x, axis=1)[:, -2]] += a
    wrong = {**_mistakes(rng, (right_x,)), "second in place of the largest": (second,)}
    return Case(f, (x,), (right_x,), wrong)


def _pieces(kind: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(values, slopes) of sine, hyperbolic tangent, t / sqrt(1 + t^2), and a bump's shoulder, by kind."""
    root = np.sqrt(1 + np.minimum(t * t, 1e100))
    tangent = np.tanh(t)
    bump = np.exp(-np.minimum((t - 0.7) ** 2, 700))
    return (
        np.choose(kind, [np.sin(t), tangent, t / root, bump]),
        np.choose(kind, [np.cos(t), 1 - tangent**2, root**-3, -2 * (t - 0.7) * bump]),
    )


def _without(right: np.ndarray, parts: np.ndarray) -> dict[str, Arrays]:
    """Gradients that lack one of the terms, whose own are ``parts`` along the first axis."""
    return {f"term {i + 1} missing": (right - part,) for i, part in enumerate(parts)}


def _seen(wrong: dict[str, Arrays], right: Arrays, least: float = 5e-3) -> dict[str, Arrays]:
    """Those mistakes that change an element by more than that share of the largest."""
    largest = max(np.abs(g).max() for g in right)
    return {
        name: w for name, w in wrong.items() if max(map(lambda a, b: np.abs(a - b).max(), w, right)) > least * largest
    }


def scales(seed: int) -> Case:
    """Sums of two or three terms of every element, whose scales lie up to 1e7 apart, at 0 or on a term's own scale."""
    rng = np.random.default_rng((seed, 17))
    n, k = int(rng.integers(1, 4)), int(rng.integers(2, 4))
    slope, weight = 10 ** rng.uniform(0, 7, (k, n)), 10 ** rng.uniform(-1, 0.5, (k, n))
    shift, kind = rng.uniform(-1, 1, (k, n)), rng.integers(0, 4, (k, n))
    x = np.zeros(n) if rng.random() < 0.5 else rng.uniform(-1, 1, n) / slope.max(axis=0)

    def f(x: np.ndarray) -> float:
        return float((weight * _pieces(kind, slope * x + shift)[0]).sum())

    parts = weight * slope * _pieces(kind, slope * x + shift)[1]
    right = parts.sum(axis=0)
    return Case(f, (x,), (right,), _seen({**_mistakes(rng, (right,)), **_without(right, parts)}, (right,)))


def sine_and_tanh(seed: int) -> Case:
    """sin(w x) + b tanh(v x + o) at 0 and elsewhere: w of 10 to 1e5, v of 1e3 to 1e6."""
    rng = np.random.default_rng((seed, 18))
    w, v, b, o = 10 ** rng.uniform(1, 5), 10 ** rng.uniform(3, 6), rng.uniform(0.1, 3), rng.uniform(-1, 1)
    x = np.zeros(1) if rng.random() < 0.5 else rng.uniform(-2, 2, 1) / v

    def f(x: np.ndarray) -> float:
        return float((np.sin(w * x) + b * np.tanh(v * x + o)).sum())

    parts = np.array([w * np.cos(w * x), b * v / np.cosh(v * x + o) ** 2])
    right = parts.sum(axis=0)
    return Case(f, (x,), (right,), _seen({**_mistakes(rng, (right,)), **_without(right, parts)}, (right,)))


def bumps(seed: int) -> Case:
    """Gaussian bumps of widths down to 1e-9 beside a ramp with a slope of about 1, in one element of several."""
    rng = np.random.default_rng((seed, 19))
    n = int(rng.integers(1, 8))
    x = np.zeros(n) if rng.random() < 0.5 else rng.uniform(-2, 2, n)
    width, height = 10 ** rng.uniform(-9, -2), rng.uniform(0.1, 2) * rng.choice((-1.0, 1.0))
    place, which = rng.uniform(-1.5, 1.5) * width, int(rng.integers(0, n))
    ramp, bend = rng.uniform(0.5, 2, n), rng.uniform(-1, 1, n)
    at = x[which] - place  # as it is after rounding

    def f(x: np.ndarray) -> float:
        away = (x[which] - at) / width
        return float((ramp * x + np.sin(bend * x)).sum() + height * np.exp(-min(away * away, 700.0)))

    away = (x[which] - at) / width
    parts = np.array([ramp + bend * np.cos(bend * x), np.zeros(n)])
    parts[1, which] = -2 * height * away / width * np.exp(-away * away)
    right = parts.sum(axis=0)
    return Case(f, (x,), (right,), _seen({**_mistakes(rng, (right,)), **_without(right, parts)}, (right,)))


def many_elements(seed: int) -> Case:
    """Sums over 20 to 200 elements, whose slopes range from 1e-2 to 1e6 and whose terms from 1e-3 to 1."""
    rng = np.random.default_rng((seed, 20))
    n = int(rng.integers(20, 200))
    slope, weight = 10 ** rng.uniform(-2, 6, n), 10 ** rng.uniform(-3, 0, n)
    kind, x = rng.integers(0, 4, n), rng.uniform(-1, 1, n) / np.maximum(slope, 1)

    def f(x: np.ndarray) -> float:
        return float((weight * _pieces(kind, slope * x)[0]).sum())

    right = weight * slope * _pieces(kind, slope * x)[1]
    wrong = _mistakes(rng, (right,))
    if seed % 3 == 0:
        return Case(f, (x,), (right,), {"sign": (-right,)}, {"mode": "directions"})
    return Case(f, (x,), (right,), wrong)


def single_precision(seed: int) -> Case:
    """Small nets and sums of terms that compute in float32 inside, or take it; mistakes of half and more."""
    rng = np.random.default_rng((seed, 21))
    inside = rng.random() < 0.6
    n, m = int(rng.integers(2, 6)), int(rng.integers(1, 5))
    x = rng.standard_normal((3, n))
    w = rng.standard_normal((n, m)) * 10 ** rng.uniform(-1, 0.7)
    cotangent = rng.standard_normal((3, m))
    penalty = rng.choice((0.0, 0.01, 0.5)) if inside else 0.0

    def f(w: np.ndarray) -> float:
        h = np.sin(x.astype(np.float32) @ w.astype(np.float32))
        value = (np.tanh(2 * h) * cotangent.astype(np.float32)).sum()
        return float(value) + penalty * float((w * w).sum()) if inside else value

    w = w if inside else w.astype(np.float32)
    z = x @ w
    right = (x.T @ (cotangent * 2 * np.cos(z) / np.cosh(2 * np.sin(z)) ** 2) + 2 * penalty * w,)
    wrong = {"sign": (-right[0],), "zero": (0 * right[0],), "factor 2": (2 * right[0],)}
    return Case(f, (w,), right, wrong)


FAMILIES: dict[str, Callable[[int], Case]] = {
    "steep sums": steep,
    "kinks on both sides": kinks,
    "deep ReLU nets": deep_nets,
    "positional encodings": encodings,
    "saturated tanh": saturated,
    "rows nearly constant": flat_rows,
    "near ties": pooled,
    "sine and tanh": sine_and_tanh,
    "two or three scales": scales,
    "bumps beside a ramp": bumps,
    "many elements": many_elements,
    "single precision": single_precision,
}
