"""Initial values: ``initializer(rng, shape) -> float64 array``.

Fan-in and fan-out follow from the parameter's shape. The last axis is the number of units (fan-out), and the axis
before it is the number of inputs (fan-in). All axes in front of these two, such as a convolution's window, multiply
both. An array with at most one axis has fan-in and fan-out equal to its size.

Values are drawn in float64 and cast later, so one seed gives the same network in both precisions. Normal distributions
are not truncated, unlike those of Keras.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from ..base import checks
from .spec import Shape


def fans(shape: Shape) -> tuple[int, int]:
    """Return the numbers of inputs and outputs of a unit, by which initializers scale.

    Args:
        shape: shape of a weight: (inputs, outputs), or (kh, kw, C, F) of a convolution.

    Returns:
        (fan_in, fan_out): (inputs, outputs), or (kh * kw * C, kh * kw * F).
    """
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def _normal(rng: np.random.Generator, std: float, shape: Shape) -> np.ndarray:
    values = rng.standard_normal(shape)
    values *= std  # in place, because these are the largest arrays that a net creates
    return values


@dataclass(frozen=True)
class Constant:
    """Initialize every element to ``value``.

    Args:
        value: the value.
    """

    value: float

    def __post_init__(self) -> None:
        checks.number("Constant", "value", self.value)

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return np.full(shape, float(self.value))


@dataclass(frozen=True)
class Zeros(Constant):
    """Initialize every element to 0, as for biases and shifts."""

    value: float = field(default=0.0, init=False)


@dataclass(frozen=True)
class Normal:
    """Draw from N(0, std^2). CS231n's "small random numbers" are ``Normal(0.01)``.

    Args:
        std: standard deviation.
    """

    std: float = 0.01

    def __post_init__(self) -> None:
        checks.non_negative("Normal", "std", self.std)

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return _normal(rng, self.std, shape)


@dataclass(frozen=True)
class Uniform:
    """Draw from U(-bound, bound).

    Args:
        bound: largest absolute value.
    """

    bound: float = 0.05

    def __post_init__(self) -> None:
        checks.non_negative("Uniform", "bound", self.bound)

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return rng.uniform(-self.bound, self.bound, shape)


@dataclass(frozen=True)
class GlorotNormal:
    """Draw from N(0, gain^2 * 2 / (fan_in + fan_out)).

    Args:
        gain: factor for the activation function that follows.

    Source: Glorot and Bengio 2010, eq. 12, with a gain.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        checks.non_negative("GlorotNormal", "gain", self.gain)

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return _normal(rng, self.gain * math.sqrt(2 / sum(fans(shape))), shape)


@dataclass(frozen=True)
class GlorotUniform:
    """Draw from U(-r, r), r = gain * sqrt(6 / (fan_in + fan_out)).

    Args:
        gain: factor for the activation function that follows.

    Source: Glorot and Bengio 2010, eq. 16, with a gain.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        checks.non_negative("GlorotUniform", "gain", self.gain)

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        bound = self.gain * math.sqrt(6 / sum(fans(shape)))
        return rng.uniform(-bound, bound, shape)


@dataclass(frozen=True)
class HeNormal:
    """Draw from N(0, 2 / fan_in), which preserves the scale through ReLU layers. He et al. 2015, eq. 10."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return _normal(rng, math.sqrt(2 / fans(shape)[0]), shape)


@dataclass(frozen=True)
class HeUniform:
    """Draw from U(-r, r) with r = sqrt(6 / fan_in), which has the variance of ``HeNormal``."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        bound = math.sqrt(6 / fans(shape)[0])
        return rng.uniform(-bound, bound, shape)


@dataclass(frozen=True)
class LeCunNormal:
    """Draw from N(0, 1 / fan_in), as SELU needs. LeCun, Bottou, Orr, Mueller 1998, Efficient BackProp, eq. 16."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return _normal(rng, math.sqrt(1 / fans(shape)[0]), shape)


@dataclass(frozen=True)
class LeCunUniform:
    """Draw from U(-r, r) with r = sqrt(3 / fan_in), which has the variance of ``LeCunNormal``."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        bound = math.sqrt(3 / fans(shape)[0])
        return rng.uniform(-bound, bound, shape)


@dataclass(frozen=True)
class Orthogonal:
    """Draw a random orthogonal matrix and multiply it by ``gain``.

    All axes but the last form the rows. The factor Q of a Gaussian matrix is uniformly distributed only if the diagonal
    of R is positive, so the signs are adjusted (Mezzadri 2007).

    Args:
        gain: factor for the activation function that follows.

    Source: Saxe, McClelland, Ganguli 2014.
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
    """Connect each unit to ``connections`` random inputs with weights from N(0, std^2).

    Args:
        connections: number of inputs of a unit with weights other than 0.
        std: standard deviation of these weights.

    Source: Martens 2010, section 5.
    """

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
