"""Kernels of activations against naive twins, at extreme inputs, and with NaN."""

import math

import numpy as np
import pytest
from twins import DTYPES, EPS32, KERNELS, Table, check_twin, empty, sigmoid, with_zeros

from minnet.kernels.passes import (
    activation,
)

TWINS = Table()
twin_of = TWINS.twin_of


@pytest.mark.parametrize(TWINS.names, TWINS)
def test_a_kernel_equals_its_naive_twin(name, twin, make, shape, terms, dtype):
    check_twin(name, twin, make, shape, terms, dtype)


def normal_cdf(v):
    return math.erfc(-v / math.sqrt(2)) / 2


def normal_pdf(v):
    return math.exp(-v * v / 2) / math.sqrt(2 * math.pi)


def gelu_tanh_argument(v):
    return math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)


def gelu_tanh_inner(v):
    return math.tanh(gelu_tanh_argument(v))


# name: (scalars, function of one number, its derivative)
ELEMENTWISE = {
    "relu": ([], lambda v: max(v, 0.0), lambda v: float(v > 0)),
    "leaky_relu": ([0.2], lambda v, a: v if v > 0 else a * v, lambda v, a: 1.0 if v > 0 else a),
    "elu": (
        [0.7, 1.3],
        lambda v, alpha, scale: scale * v if v > 0 else scale * alpha * math.expm1(v),
        lambda v, alpha, scale: scale if v > 0 else scale * alpha * math.exp(v),
    ),
    "sigmoid": ([], sigmoid, lambda v: sigmoid(v) * sigmoid(-v)),
    "tanh": ([], math.tanh, lambda v: 4 * sigmoid(2 * v) * sigmoid(-2 * v)),  # 1 - tanh^2 without its loss of digits
    "softplus": ([], lambda v: max(v, 0.0) + math.log1p(math.exp(-abs(v))), sigmoid),
    "silu": ([], lambda v: v * sigmoid(v), lambda v: sigmoid(v) + v * sigmoid(v) * sigmoid(-v)),
    "gelu": ([], lambda v: v * normal_cdf(v), lambda v: normal_cdf(v) + v * normal_pdf(v)),
    "gelu_tanh": (
        [],
        lambda v: v * sigmoid(2 * gelu_tanh_argument(v)),  # (1 + tanh z) / 2 without its loss of digits
        lambda v: (
            (1 + gelu_tanh_inner(v)) / 2
            + v * (1 - gelu_tanh_inner(v) ** 2) / 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * v * v)
        ),
    ),
}
FORWARD = sorted(ELEMENTWISE)
# Backward kernels that read the output instead of the input, with the input that gave an output.
INVERSE = {"sigmoid": lambda y: math.log(y) - math.log1p(-y), "tanh": math.atanh}


def apply(function, x, *scalars):
    return np.array([function(float(v), *scalars) for v in x.reshape(-1)]).reshape(x.shape)


def register_elementwise(name, scalars, function, derivative):
    def make_forward(rng, shape):
        return [rng.standard_normal(shape), *scalars, empty(shape)]

    def make_backward(rng, shape):
        x = with_zeros(rng, shape)
        read = apply(function, x) if name in INVERSE else x
        return [read, *scalars, rng.standard_normal(shape), empty(shape)]

    def forward(x, *rest):
        *numbers, y = rest
        y[...] = apply(function, x, *numbers)

    def backward(read, *rest):
        *numbers, dy, dx = rest
        x = apply(INVERSE[name], read) if name in INVERSE else read
        dx[...] = apply(derivative, x, *numbers) * dy

    for suffix in ("", "_parallel"):
        if hasattr(activation, name + suffix):
            twin_of(getattr(activation, name + suffix), make_forward)(forward)
        if hasattr(activation, f"{name}_backward{suffix}"):
            twin_of(getattr(activation, f"{name}_backward{suffix}"), make_backward)(backward)


for _name, _entry in ELEMENTWISE.items():
    register_elementwise(_name, *_entry)


@twin_of(activation.prelu, lambda rng, s: [rng.standard_normal(s), rng.standard_normal(s[1]), empty(s)])
def prelu(x, a, y):
    for r, c in np.ndindex(x.shape):
        y[r, c] = max(x[r, c], 0) + a[c] * min(x[r, c], 0)


@twin_of(
    activation.prelu_backward_slope,
    lambda rng, s: [rng.standard_normal(s), rng.standard_normal(s), empty(s[1]), empty(2 * s[1])],
    sums=True,
)
def prelu_backward_slope(x, dy, da, work):
    for c in range(x.shape[1]):
        da[c] = math.fsum(dy[r, c] * min(x[r, c], 0) for r in range(x.shape[0]))


@twin_of(
    activation.prelu_backward_input,
    lambda rng, s: [with_zeros(rng, s), rng.standard_normal(s[1]), rng.standard_normal(s), empty(s)],
)
def prelu_backward_input(x, a, dy, dx):
    for r, c in np.ndindex(x.shape):
        dx[r, c] = dy[r, c] * (1 if x[r, c] > 0 else a[c])


PIECES = 3


@twin_of(activation.maxout, lambda rng, s: [rng.standard_normal((s[0], s[1] * PIECES)), empty(s)])
def maxout(x, y):
    for r, u in np.ndindex(y.shape):
        y[r, u] = max(x[r, u * PIECES : (u + 1) * PIECES])


def make_maxout_backward(rng, shape):
    x = rng.integers(0, 3, (shape[0], shape[1] * PIECES)).astype(float)  # many ties
    return [x, x.reshape(*shape, PIECES).max(axis=2), rng.standard_normal(shape), empty(x.shape)]


@twin_of(activation.maxout_backward, make_maxout_backward)
def maxout_backward(x, y, dy, dx):
    dx[...] = 0
    for r, u in np.ndindex(y.shape):
        pieces = list(x[r, u * PIECES : (u + 1) * PIECES])
        dx[r, u * PIECES + pieces.index(max(pieces))] = dy[r, u]


# Extreme and bad numbers -------------------------------------------------------------------------------------

EXTREME = [-1000.0, -104.0, -88.5, -30.0, -8.0, -5.0, -1e-6, 0.0, 1e-6, 5.0, 20.0, 88.5, 104.0, 1000.0]


def run_forward(name, x):
    y = np.full_like(x, np.nan)
    getattr(activation, name)(x, *(x.dtype.type(s) for s in ELEMENTWISE[name][0]), y)
    return y


@pytest.mark.parametrize("name", FORWARD)
def test_an_activation_is_right_at_extreme_inputs_in_float32(name):
    x = np.array([EXTREME], np.float32)
    scalars, function, _ = ELEMENTWISE[name]
    expected = apply(function, x, *(float(np.float32(s)) for s in scalars))
    # The sigmoid's tail magnifies the rounding of its argument by the argument.
    rtol = EPS32 * (4 + (2 * abs(gelu_tanh_argument(x)) if name == "gelu_tanh" else 0))
    # A sigmoid below the smallest normal number is 0 in a kernel, and x multiplies what is lost.
    atol = float(np.finfo(np.float32).tiny) * np.maximum(1, np.abs(x))
    error = np.abs(run_forward(name, x) - expected)
    assert (error <= rtol * np.abs(expected) + atol).all(), error


@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_an_activations_gradient_is_right_at_extreme_inputs_in_float32(name):
    x = np.array([EXTREME], np.float32)
    scalars, _, derivative = ELEMENTWISE[name]
    scalars = [float(np.float32(s)) for s in scalars]
    dx = np.full_like(x, np.nan)
    read = run_forward(name, x) if name in INVERSE else x
    getattr(activation, f"{name}_backward")(read, *map(np.float32, scalars), np.ones_like(x), dx)
    # Slopes are of order one; terms such as x * density, at most a few units, cancel to what is left of them.
    np.testing.assert_allclose(dx, apply(derivative, x, *scalars), rtol=0, atol=16 * EPS32)


@pytest.mark.parametrize("name", sorted(n for n in KERNELS if n.startswith("activation.") and n.endswith("_parallel")))
def test_a_parallel_activation_gives_the_bits_of_the_serial_one(name):
    x = (3 * np.random.default_rng(0).standard_normal((3, 50_001))).astype(np.float32)  # several parts and a remainder
    arguments = [x, x[::-1].copy()] if name.endswith("backward_parallel") else [x]
    serial, parallel = np.empty_like(x), np.empty_like(x)
    KERNELS[name.removesuffix("_parallel")](*arguments, serial)
    KERNELS[name](*arguments, parallel)
    np.testing.assert_array_equal(serial, parallel)


def test_only_large_arrays_wake_a_second_thread():
    assert activation.for_size(249_999, activation.gelu, activation.gelu_parallel) is activation.gelu
    assert activation.for_size(250_000, activation.gelu, activation.gelu_parallel) is activation.gelu_parallel


def test_the_far_left_of_gelu_keeps_its_digits():
    # x * (1 + erf) / 2 would have none left here: erf is -1 to the last bit of float32 from about -4.
    x = np.array([[-4.0, -6.0, -9.0]], np.float32)
    expected = apply(ELEMENTWISE["gelu"][1], x)
    assert (np.abs(run_forward("gelu", x) / expected - 1) < 3 * EPS32).all()


@DTYPES
@pytest.mark.parametrize("name", [*FORWARD, "prelu", "maxout"])
def test_a_nan_passes_through_an_activation(name, dtype):
    # Wide enough for whole vector registers; a NaN at every place in turn.
    x = np.random.default_rng(0).standard_normal((1, 36)).astype(dtype)
    for place in range(x.size):
        spoiled = x.copy()
        spoiled[0, place] = np.nan
        if name == "maxout":
            y = np.zeros((1, x.size // PIECES), dtype)
            activation.maxout(spoiled, y)
            place //= PIECES
        elif name == "prelu":
            y = np.zeros_like(x)
            activation.prelu(spoiled, np.full(x.size, 0.25, dtype), y)
        else:
            y = run_forward(name, spoiled)
        assert np.flatnonzero(np.isnan(y)).tolist() == [place]


@DTYPES
@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_a_nan_gradient_passes_back_where_the_slope_is_not_0(name, dtype):
    scalars, _, _ = ELEMENTWISE[name]
    x = np.full((1, 36), 0.5, dtype)
    for place in range(x.size):
        dy, dx = np.ones_like(x), np.zeros_like(x)
        dy[0, place] = np.nan
        getattr(activation, f"{name}_backward")(x, *map(dtype, scalars), dy, dx)  # 0.5 is an output as well
        assert np.flatnonzero(np.isnan(dx)).tolist() == [place]
