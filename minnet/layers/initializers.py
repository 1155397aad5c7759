"""Initial values: ``initializer(rng, shape) -> float64 array``.

Fan-in and fan-out come from the declared shape: the last axis counts the units (fan-out), the axis before it the
inputs (fan-in), and every axis in front of those two, such as a convolution's window, multiplies both. An array
with one axis or none has fan-in and fan-out equal to its size. Draws are float64 and are cast later, so that one seed
gives the same network in both precisions. Normal distributions are not truncated (Keras truncates its own).
"""

import math
from dataclasses import dataclass, field

import numpy as np

from .. import checks
from .spec import Shape


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a parameter: (in, out) -> in, out; (kh, kw, C, F) -> kh*kw*C, kh*kw*F."""
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def _normal(rng: np.random.Generator, std: float, shape: Shape) -> np.ndarray:
    values = rng.standard_normal(shape)
    values *= std  # in place: these are the largest arrays that a net ever makes
    return values


@dataclass(frozen=True)
class Constant:
    """Every element ``value``."""

    value: float

    def __post_init__(self) -> None:
        checks.number("Constant", "value", self.value)

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return np.full(shape, float(self.value))


@dataclass(frozen=True)
class Zeros(Constant):
    """Every element 0: for biases and shifts."""

    value: float = field(default=0.0, init=False)


@dataclass(frozen=True)
class Normal:
    """N(0, std^2). CS231n's "small random numbers" are ``Normal(0.01)``."""

    std: float = 0.01

    def __post_init__(self) -> None:
        checks.non_negative("Normal", "std", self.std)

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return _normal(rng, self.std, shape)


@dataclass(frozen=True)
class Uniform:
    """U(-bound, bound)."""

    bound: float = 0.05

    def __post_init__(self) -> None:
        checks.non_negative("Uniform", "bound", self.bound)

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return rng.uniform(-self.bound, self.bound, shape)


@dataclass(frozen=True)
class GlorotNormal:
    """Variance 2 / (fan_in + fan_out). Glorot and Bengio 2010, eq. 12, with gain."""

    gain: float = 1.0

    def __post_init__(self) -> None:
        checks.non_negative("GlorotNormal", "gain", self.gain)

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return _normal(rng, self.gain * math.sqrt(2 / sum(fans(shape))), shape)


@dataclass(frozen=True)
class GlorotUniform:
    """U(-r, r) with r = sqrt(6 / (fan_in + fan_out)). Glorot and Bengio 2010, eq. 16, with gain."""

    gain: float = 1.0

    def __post_init__(self) -> None:
        checks.non_negative("GlorotUniform", "gain", self.gain)

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        bound = self.gain * math.sqrt(6 / sum(fans(shape)))
        return rng.uniform(-bound, bound, shape)


@dataclass(frozen=True)
class HeNormal:
    """Variance 2 / fan_in, which keeps the scale through ReLU layers. He et al. 2015, eq. 10."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return _normal(rng, math.sqrt(2 / fans(shape)[0]), shape)


@dataclass(frozen=True)
class HeUniform:
    """U(-r, r) with r = sqrt(6 / fan_in): He et al.'s variance from a uniform distribution."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        bound = math.sqrt(6 / fans(shape)[0])
        return rng.uniform(-bound, bound, shape)


@dataclass(frozen=True)
class LeCunNormal:
    """Variance 1 / fan_in. LeCun, Bottou, Orr, Mueller 1998, Efficient BackProp, eq. 16; SELU needs it."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return _normal(rng, math.sqrt(1 / fans(shape)[0]), shape)


@dataclass(frozen=True)
class LeCunUniform:
    """U(-r, r) with r = sqrt(3 / fan_in): LeCun et al.'s variance from a uniform distribution."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        bound = math.sqrt(3 / fans(shape)[0])
        return rng.uniform(-bound, bound, shape)


@dataclass(frozen=True)
class Orthogonal:
    """A random orthogonal matrix times gain. Saxe, McClelland, Ganguli 2014.

    All axes but the last form the rows. The Q of a Gaussian matrix is uniformly distributed only
    once the signs of R's diagonal are made positive (Mezzadri 2007).
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        checks.non_negative("Orthogonal", "gain", self.gain)

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: expected at least two axes; got shape {shape}")
        rows, cols = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.standard_normal((max(rows, cols), min(rows, cols))))
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)
        return self.gain * (q if rows >= cols else q.T).reshape(shape)


@dataclass(frozen=True)
class Sparse:
    """Each unit takes ``connections`` of its inputs with N(0, std^2) weights, all others 0. Martens 2010, section 5."""

    connections: int = 15
    std: float = 1.0

    def __post_init__(self) -> None:
        checks.count("Sparse", "connections", self.connections)
        checks.non_negative("Sparse", "std", self.std)

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        if len(shape) < 2:
            raise ValueError(f"Sparse: expected at least two axes; got shape {shape}")
        inputs, units = math.prod(shape[:-1]), shape[-1]
        weights = np.zeros((inputs, units))
        for unit in range(units):
            chosen = rng.choice(inputs, size=min(self.connections, inputs), replace=False)
            weights[chosen, unit] = self.std * rng.standard_normal(chosen.size)
        return weights.reshape(shape)
