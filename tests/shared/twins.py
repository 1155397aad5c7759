"""Kernels beside naive twins: plain Python loops in double precision, written from the formula.

A twin takes its kernel's arguments. Both get the same numbers, rounded to the precision under test, so what is left
between them is the kernel's own round-off.
"""

import importlib
import inspect
import math
import pkgutil

import numpy as np
import pytest

import minnet.kernels

MODULES = [
    importlib.import_module(info.name) for info in pkgutil.walk_packages(minnet.kernels.__path__, "minnet.kernels.")
]
KERNELS = {
    f"{module.__name__.rsplit('.', 1)[-1]}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if hasattr(value, "py_func")
}
EPS32 = float(np.finfo(np.float32).eps)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])

SCRATCH = {"partial", "panels", "work", "offsets", "factors", "U", "rests"}  # arguments that only lend memory
ROWS = [(1, 1), (3, 5), (131, 9)]  # one element; odd; two blocks of 64 rows and a remainder
FLAT = [(1,), (33,), (8201,)]  # one element; vector registers and a remainder; two blocks of 4096 and a remainder
LARGE = (70_001,)  # beyond what one thread does alone, and no multiple of a chunk
IMAGES = [(1, 1, 1, 1), (2, 3, 5, 4), (3, 2, 1, 17)]


def sizes(shape):
    """The numbers of a shape, without signs; of two, for rows and columns, the first."""
    return [abs(n[0] if isinstance(n, tuple) else n) for n in shape]


class Table(list):
    """The twins of one file, for pytest: kernel's name, twin, what makes arguments, shape, terms of a sum, precision.

    Each kernel is compared in both precisions, but for parallel forms: they are the loops of the serial ones, cut into
    tasks, so that single precision shows what they add. To compile them takes seconds.
    """

    names = ("name", "twin", "make", "shape", "terms", "dtype")

    def twin_of(self, kernel, make, shapes=ROWS, sums=False):
        """Register a twin; ``make(rng, shape)`` gives the arguments in double precision, outputs filled with NaN."""
        name = f"{kernel.py_func.__module__.rsplit('.', 1)[-1]}.{kernel.py_func.__name__}"
        precisions = [np.float32] if name.endswith("_parallel") else [np.float32, np.float64]

        def register(twin):
            for shape in shapes:
                terms = math.prod(n or 1 for n in sizes(shape)) if sums else 1
                for dtype in precisions:
                    label = f"{name}-{shape}-{dtype.__name__}"
                    self.append(pytest.param(name, twin, make, shape, terms, dtype, id=label))
            return twin

        return register


def empty(shape):
    return np.full(shape, np.nan)


def in_precision(value, dtype):
    """The argument in the precision under test; NumPy scalars, integers and integer arrays stay as they are."""
    if isinstance(value, np.ndarray):
        return value.astype(dtype) if value.dtype == np.float64 else value
    if callable(value):  # a table that depends on the precision
        return value(dtype)
    return dtype(value) if type(value) is float else value


def in_double(value):
    """The same number, exactly, in double precision."""
    if isinstance(value, np.ndarray):
        return value.astype(np.float64) if value.dtype.kind == "f" else value
    return float(value) if isinstance(value, np.floating) else value


def tolerance(dtype, terms):
    """Relative bound: a few roundings for each step of a formula, times the square root of a sum's terms.

    Rounding errors are as good as independent, so a sum of n terms is off by about sqrt(n) of them (Higham and
    Mary 2019).
    """
    return 12 * math.sqrt(terms) * float(np.finfo(dtype).eps)


def largest(values):
    return max((float(np.abs(v[np.isfinite(v)]).max(initial=0.0)) for v in values), default=0.0)


def check_twin(name, twin, make, shape, terms, dtype):
    """Give the kernel of that name and its twin the same arguments, and compare all that they write and return."""
    given = [in_precision(value, dtype) for value in make(np.random.default_rng(sizes(shape)), shape)]
    kernel_args = [value.copy() if isinstance(value, np.ndarray) else value for value in given]
    twin_args = [in_double(value) for value in given]
    expected_value, value = twin(*twin_args), KERNELS[name](*kernel_args)
    arrays = [v for v in twin_args if isinstance(v, np.ndarray)]
    # The absolute part of the bound is for terms that cancel: relative to the largest number in play.
    bound, size = tolerance(dtype, terms), max(1.0, largest(arrays))
    labels = inspect.signature(KERNELS[name].py_func).parameters
    for label, before, actual, expected in zip(labels, given, kernel_args, twin_args, strict=True):
        if not isinstance(before, np.ndarray) or label in SCRATCH:
            continue
        if np.array_equal(before, expected):
            np.testing.assert_array_equal(actual, before, err_msg=f"{name} changed its input {label}")
        else:
            assert np.isfinite(expected).all(), f"the twin of {name} left some of {label} unwritten"
            np.testing.assert_allclose(actual, expected, rtol=bound, atol=bound * size, err_msg=f"{name}: {label}")
    if expected_value is None:
        assert value is None
    else:
        np.testing.assert_allclose(value, expected_value, rtol=bound, atol=bound * size, err_msg=f"{name}: value")


# What several families share -----------------------------------------------------------------------------------


def sigmoid(v):
    return math.exp(v) / (1 + math.exp(v)) if v < 0 else 1 / (1 + math.exp(-v))


def with_zeros(rng, shape):
    """Random numbers with some zeros among them, where a kink has to take a side."""
    x = rng.standard_normal(shape)
    x.reshape(-1)[1::5] = 0
    return x


def each_axis(value):
    """Of the rows and of the columns."""
    return value if isinstance(value, tuple) else (value, value)


def make_update(*kinds):
    """Parameters and gradients, then what ``kinds`` says: state that is "any", "positive" or "zero", or a number."""

    def make(rng, shape):
        state = {"any": rng.standard_normal, "positive": lambda size: rng.uniform(0.1, 1, size), "zero": np.zeros}
        arrays = [rng.standard_normal(shape), rng.standard_normal(shape)]
        return arrays + [state[kind](shape) if isinstance(kind, str) else kind for kind in kinds]

    return make


def norm(x):
    return math.sqrt(math.fsum(float(v) ** 2 for v in x))
