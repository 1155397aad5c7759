"""Activation functions. All but Maxout and PReLU are applied to each element, whatever the shape of the input."""

from dataclasses import dataclass

import numpy as np

from ..base import checks
from ..kernels.passes import activation as kernels
from .base import Layer
from .initializers import Constant
from .memory import Memory
from .spec import Param, Plan, Shape


class Elementwise(Layer):
    """Base of layers without parameters whose output has the shape of the input."""

    def plan(self, in_shape: Shape) -> Plan:
        return Plan(in_shape)


@dataclass(frozen=True)
class ReLU(Elementwise):
    """Rectified linear unit, y = max(x, 0). The gradient at 0 is 0.

    Shapes: input and output (n, ...), with any number of axes.
    Source: Nair and Hinton 2010.
    """

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.relu(x, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.relu_backward(x, dy, dx)

    def winners(self, m: Memory, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        return x > 0


@dataclass(frozen=True)
class LeakyReLU(Elementwise):
    """Leaky ReLU: y = x where x > 0, slope * x elsewhere.

    Args:
        slope: derivative where x <= 0.

    Shapes: input and output (n, ...), with any number of axes.
    Source: Maas, Hannun, Ng 2013.
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        checks.number("LeakyReLU", "slope", self.slope)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.leaky_relu(x, x.dtype.type(self.slope), y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.leaky_relu_backward(x, x.dtype.type(self.slope), dy, dx)

    def winners(self, m: Memory, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        return x > 0


@dataclass(frozen=True)
class PReLU(Layer):
    """Parametric ReLU: y = x where x > 0, a * x elsewhere, with a learned slope a.

    There is one slope for each feature of the last axis. As in the paper, weight decay does not apply to a.

    Args:
        start: initial value of a; 0.25 in the paper.

    Shapes: input and output (n, ..., C).
    Trained: a (C,).
    Source: He et al. 2015, equation 1.
    """

    start: float = 0.25

    def __post_init__(self) -> None:
        checks.number("PReLU", "start", self.start)

    def plan(self, in_shape: Shape) -> Plan:
        if not in_shape:
            raise ValueError(f"expected at least one axis; got input shape {in_shape}")
        return Plan(in_shape, (Param("a", in_shape[-1:], Constant(self.start), decay=False),), work=2 * in_shape[-1])

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.prelu(x, m.a, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        kernels.prelu_backward_slope(x, dy, m.da, m.work[0])
        if dx is not None:
            kernels.prelu_backward_input(x, m.a, dy, dx)

    def winners(self, m: Memory, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        return x > 0


@dataclass(frozen=True)
class ELU(Elementwise):
    """Exponential linear unit: y = x where x > 0, alpha * (exp(x) - 1) elsewhere.

    Args:
        alpha: minus the limit of y for x to minus infinity.

    Shapes: input and output (n, ...), with any number of axes.
    Source: Clevert, Unterthiner, Hochreiter 2016, section 3.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        checks.number("ELU", "alpha", self.alpha)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.elu(x, x.dtype.type(self.alpha), x.dtype.type(1), y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.elu_backward(x, x.dtype.type(self.alpha), x.dtype.type(1), dy, dx)

    def winners(self, m: Memory, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        return x > 0


# Klambauer et al. 2017, eq. 14, for the fixed point with mean 0 and variance 1.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@dataclass(frozen=True)
class SELU(Elementwise):
    """Scaled ELU: y = scale * x where x > 0, scale * alpha * (exp(x) - 1) elsewhere.

    With alpha = 1.6733 and scale = 1.0507, given here to five digits, and with ``LeCunNormal`` weights, the layers of a
    net keep mean 0 and variance 1.

    Shapes: input and output (n, ...), with any number of axes.
    Source: Klambauer et al. 2017, equation 2.
    """

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.elu(x, x.dtype.type(_SELU_ALPHA), x.dtype.type(_SELU_SCALE), y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.elu_backward(x, x.dtype.type(_SELU_ALPHA), x.dtype.type(_SELU_SCALE), dy, dx)

    def winners(self, m: Memory, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        return x > 0


@dataclass(frozen=True)
class GELU(Elementwise):
    """Gaussian error linear unit: y = x * Phi(x), where Phi is the standard normal distribution function.

    Shapes: input and output (n, ...), with any number of axes.
    Source: Hendrycks and Gimpel 2016, section 2.
    """

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.for_size(x.size, kernels.gelu, kernels.gelu_parallel)(x, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.for_size(x.size, kernels.gelu_backward, kernels.gelu_backward_parallel)(x, dy, dx)


@dataclass(frozen=True)
class GELUTanh(Elementwise):
    """GELU with an approximation of Phi: y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))).

    This is the form of GPT-2, and PyTorch's ``GELU(approximate="tanh")``.

    Shapes: input and output (n, ...), with any number of axes.
    Source: Hendrycks and Gimpel 2016, section 2.
    """

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.gelu_tanh(x, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.gelu_tanh_backward(x, dy, dx)


@dataclass(frozen=True)
class SiLU(Elementwise):
    """Sigmoid-weighted linear unit, also called swish: y = x * sigmoid(x).

    Shapes: input and output (n, ...), with any number of axes.
    Source: Elfwing, Uchibe, Doya 2018.
    """

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.silu(x, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.silu_backward(x, dy, dx)


@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """Logistic function, y = 1 / (1 + exp(-x)).

    Shapes: input and output (n, ...), with any number of axes.
    """

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.for_size(x.size, kernels.sigmoid, kernels.sigmoid_parallel)(x, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.sigmoid_backward(y, dy, dx)


@dataclass(frozen=True)
class Tanh(Elementwise):
    """Hyperbolic tangent, y = tanh(x).

    Shapes: input and output (n, ...), with any number of axes.
    """

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.for_size(x.size, kernels.tanh, kernels.tanh_parallel)(x, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.tanh_backward(y, dy, dx)


@dataclass(frozen=True)
class Softplus(Elementwise):
    """Smooth form of a ReLU, y = log(1 + exp(x)).

    Shapes: input and output (n, ...), with any number of axes.
    Source: Dugas et al. 2001.
    """

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.softplus(x, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.softplus_backward(x, dy, dx)


@dataclass(frozen=True)
class Maxout(Layer):
    """Maximum over groups of features: y[..., u] = max(x[..., u * pieces : (u + 1) * pieces]).

    ``Chain([Dense(pieces * units), Maxout(pieces)])`` is the paper's layer, including its affine maps. If several
    features are equal, the first of them receives the gradient.

    Args:
        pieces: number of neighbouring features per output; must divide the last axis.

    Shapes: input (n, ..., pieces * units), output (n, ..., units).
    Source: Goodfellow et al. 2013, section 3.
    """

    pieces: int = 2

    def __post_init__(self) -> None:
        checks.count("Maxout", "pieces", self.pieces)

    def plan(self, in_shape: Shape) -> Plan:
        if not in_shape or in_shape[-1] % self.pieces:
            raise ValueError(f"expected a last axis divisible by pieces={self.pieces}; got input shape {in_shape}")
        return Plan((*in_shape[:-1], in_shape[-1] // self.pieces))

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        kernels.maxout(x, y)

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None:
            kernels.maxout_backward(x, y, dy, dx)

    def winners(self, m: Memory, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        return x.reshape(*y.shape, self.pieces).argmax(axis=-1)
