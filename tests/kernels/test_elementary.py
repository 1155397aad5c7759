"""Elementary functions: error in units in the last place, values at the ends, and that loops become vector code.

float32 is compared with NumPy in float64, float64 with the 80-bit long double of x86 processors. NumPy has no normal
distribution: its reference is a series near 0 and Laplace's continued fraction elsewhere.
"""

import re
from functools import cache

import numpy as np
import pytest
from numba import njit

from minnet.kernels.compile import FAST
from minnet.kernels.passes import activation
from minnet.kernels.passes.losses import logistic, softmax
from minnet.kernels.vector import elementary

WIDER = {np.float32: np.float64, np.float64: np.longdouble}
DTYPES = pytest.mark.parametrize(
    "dtype",
    [
        np.float32,
        pytest.param(
            np.float64,
            marks=pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="long double is no wider than double"),
        ),
    ],
    ids=["float32", "float64"],
)


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x > 0, 1, e) / (1 + e)


def normal_density(x):
    x = np.clip(x, -40, 40)
    rough = np.round(x * 1024) / 1024  # its square is exact
    rest = np.exp(-(x - rough) * (x + rough) / 2)
    return np.exp(-rough * rough / 2) * rest / np.sqrt(2 * np.acos(x.dtype.type(-1)))


def normal_cdf(x):
    a = np.minimum(np.abs(x), 40)
    term = total = np.where(a < 1.5, a, 0)
    for k in range(1, 40):  # Phi(a) - 1/2 = phi(a) * (a + a^3 / 3 + a^5 / (3 * 5) + ...)
        term = term * a * a / (2 * k + 1)
        total = total + term
    fraction = np.maximum(a, 1.5)
    for k in range(600, 0, -1):  # Phi(-a) = phi(a) / (a + 1 / (a + 2 / (a + 3 / ...)))
        fraction = np.maximum(a, 1.5) + k / fraction
    density = normal_density(a)
    tail = np.where(a < 1.5, 0.5 - density * total, density / fraction)
    return np.where(np.isnan(x), x, np.where(x > 0, 1 - tail, tail))


FUNCTIONS = {
    "exp": (elementary.exp, np.exp),
    "expm1": (elementary.expm1, np.expm1),
    "log": (elementary.log, np.log),
    "log1p": (elementary.log1p, np.log1p),
    "tanh": (elementary.tanh, np.tanh),
    "sigmoid": (elementary.sigmoid, sigmoid),
    "normal_cdf": (njit(lambda x: elementary.normal_cdf_and_density(x)[0]), normal_cdf),
    "normal_density": (njit(lambda x: elementary.normal_cdf_and_density(x)[1]), normal_density),
}


PARTIAL = {
    "exp_left": njit(lambda x: elementary.exp_and_expm1_left(x)[0]),
    "expm1_left": njit(lambda x: elementary.exp_and_expm1_left(x)[1]),
    "log1p_of_moderate": elementary.log1p_of_moderate,
}


@cache
def loop(name):
    """The function of that name over arrays; it is compiled once for each precision."""
    function = PARTIAL[name] if name in PARTIAL else FUNCTIONS[name][0]

    @njit(fastmath=FAST, error_model="numpy")  # the flags of a kernel, which must not reach into the function
    def run(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    return run


def apply(name, x):
    y = np.empty_like(x)
    loop(name)(x, y)
    return y


def errors(y, expected, dtype):
    """Distance in units in the last place of the expected number; infinite where one is NaN or infinite, other not."""
    info = np.finfo(dtype)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        exponent = np.maximum(np.frexp(expected)[1] - 1, info.minexp)
        distance = np.abs(y.astype(expected.dtype) - expected) / np.ldexp(np.ones_like(expected), exponent - info.nmant)
        rounded = expected.astype(dtype)
    same = (np.isnan(y) & np.isnan(rounded)) | (y == rounded)
    finite = np.isfinite(y) & np.isfinite(rounded)
    return np.where(same & ~finite, 0, np.where(finite, distance, np.inf))


def arguments(dtype, count):
    """All exponents and both signs, infinities, NaN and subnormal numbers among them; then where functions bend."""
    rng = np.random.default_rng(0)
    integer = np.uint32 if dtype is np.float32 else np.uint64
    bits = rng.integers(0, np.iinfo(integer).max, count, dtype=integer, endpoint=True).view(dtype)
    reach = 110 if dtype is np.float32 else 760
    spread = [rng.uniform(-w, w, count).astype(dtype) for w in (1, 5, 40, reach)]
    ends = np.array([0, np.inf, np.nan, np.finfo(dtype).max, np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal])
    return np.concatenate([bits, *spread, ends.astype(dtype), -ends.astype(dtype), np.array([1, -1], dtype)])


@DTYPES
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_the_error_is_at_most_2_units_in_the_last_place_everywhere(name, dtype):
    x = arguments(dtype, 20_000 if name == "normal_cdf" else 100_000)
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name][1](x.astype(WIDER[dtype]))
    y = apply(name, x)
    error = errors(y, expected, dtype)
    worst = error.argmax()
    assert error[worst] <= 2, f"{name}({x[worst]!r}) is {y[worst]!r}, expected {expected[worst]!r}"


@DTYPES
def test_functions_for_a_part_of_the_range_are_right_there(dtype):
    wide, limits = WIDER[dtype], np.finfo(dtype)
    left = -np.geomspace(limits.tiny, -np.log(limits.tiny / limits.eps), 20_001).astype(dtype)
    left = np.concatenate([left, dtype([0.0, -1e4, -np.inf, np.nan])])
    with np.errstate(under="ignore"):
        assert errors(apply("exp_left", left), np.exp(left.astype(wide)), dtype).max() <= 2
        assert errors(apply("expm1_left", left), np.expm1(left.astype(wide)), dtype).max() <= 2
    right = np.append(np.geomspace(limits.tiny, 2.0**100, 20_001), [0.0, np.nan]).astype(dtype)
    np.testing.assert_array_equal(apply("log1p_of_moderate", right), apply("log1p", right))


def test_an_error_of_3_units_would_be_seen():
    x = np.array([1.5, 1e-42, np.inf, np.nan, 1.0, np.inf], np.float32)
    expected = x.astype(np.float64)
    y = x.copy()
    y[0] += 3 * np.float32(2**-23)
    y[1] += 3 * np.finfo(np.float32).smallest_subnormal
    y[4], y[5] = np.nan, np.finfo(np.float32).max
    np.testing.assert_array_equal(errors(y, expected, np.float32), [3, 3, 0, 0, np.inf, np.inf])


@DTYPES
def test_the_ends(dtype):
    inf, nan = np.inf, np.nan
    points = np.array([0.0, -0.0, inf, -inf, nan, -2.0], dtype)
    for name, expected in {
        "exp": [1, 1, inf, 0, nan],
        "expm1": [0.0, -0.0, inf, -1, nan],
        "log": [-inf, -inf, inf, nan, nan, nan],
        "log1p": [0.0, -0.0, inf, nan, nan, nan],
        "tanh": [0.0, -0.0, 1, -1, nan],
        "sigmoid": [0.5, 0.5, 1, 0, nan],
        "normal_cdf": [0.5, 0.5, 1, 0, nan],
    }.items():
        y = apply(name, points)[: len(expected)]
        np.testing.assert_array_equal(y, np.array(expected, dtype), err_msg=name)
        numbers = ~np.isnan(y)
        np.testing.assert_array_equal(np.signbit(y[numbers]), np.signbit(expected)[numbers], err_msg=name)


def compiled(kernel, arguments):
    """The optimised code of a kernel, compiled anew: what comes from the cache cannot be looked at."""
    function = njit(kernel.py_func, fastmath=FAST, error_model="numpy")
    function(*arguments)
    return function.inspect_llvm(function.signatures[0])


def scalar_calls(code):
    """Functions of the C library that are called number by number."""
    return set(
        re.findall(r"call [^@\n]*@(?:llvm\.)?((?:exp|expm1|log|log1p|tanh|erfc?|pow)f?)(?:\.f32|\.f64)?\(", code)
    )


IN_SINGLE = [
    *("elu", "sigmoid", "tanh", "softplus", "softplus_backward", "silu", "silu_backward"),
    *("gelu", "gelu_backward", "gelu_tanh", "gelu_tanh_backward"),
]
IN_DOUBLE = ["elu", "sigmoid", "tanh", "softplus", "gelu"]  # each elementary function that activations call


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, np.float32) for name in IN_SINGLE), *((name, np.float64) for name in IN_DOUBLE)]
)
def test_an_activations_loop_is_vector_code(name, dtype):
    array = np.zeros((3, 70), dtype)
    arrays = [array] * (3 if name.endswith("backward") else 2)
    code = compiled(getattr(activation, name), [array, dtype(1), dtype(1), array] if name == "elu" else arrays)
    kind = "float" if dtype is np.float32 else "double"
    assert re.search(rf"call [^@\n]*<\d+ x {kind}> @llvm\.fma\.v", code)
    assert not scalar_calls(code)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "logistic"])
def test_a_losss_exponentials_are_vector_code(name, dtype):
    scores, weights = np.zeros((3, 70), dtype), np.ones(3, dtype)
    last = [scores, weights] if name == "logistic" else [np.zeros(3, np.int64), weights, None, dtype(0)]
    code = compiled(getattr(logistic if name == "logistic" else softmax, name), [scores, *last, scores.copy()])
    kind = "float" if dtype is np.float32 else "double"
    assert re.search(rf"call [^@\n]*<\d+ x {kind}> @llvm\.fma\.v", code)
    assert not scalar_calls(code)


def test_a_scalar_call_would_be_seen():
    code = compiled(njit(lambda x, y: np.tanh(x, y)), [np.zeros(70, np.float32)] * 2)
    assert not re.search(r"<\d+ x float> @llvm\.fma\.v", code)
    assert scalar_calls(code)
