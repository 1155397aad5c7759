"""Every kernel against a naive twin: the same arguments, plain Python loops in double precision.

A twin takes its kernel's arguments and is written from the formula. Both get the same numbers, rounded to the
precision under test, so what is left between them is the kernel's own round-off. The table is checked for
completeness: a new kernel without a twin is a failure.
"""

import importlib
import inspect
import math
import os
import pkgutil
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import minnet.kernels
from minnet.kernels import (
    activation,
    batch_norm,
    borders,
    conv,
    dense,
    flat,
    gather,
    gradients,
    group_norm,
    layer_norm,
    loss,
    means,
    pool,
    product,
    residual,
    update,
    update_adam,
    update_schedule_free,
    update_tensor,
    winograd,
)
from minnet.kernels.channels import PARTS, SUMS, work_size
from minnet.kernels.compile import FAST
from minnet.kernels.dropout import dropout, dropout_channels
from minnet.layers.convolution import DirectConvolution, Geometry

PACKAGE = Path(minnet.__file__).parent
MODULES = [
    importlib.import_module(f"minnet.kernels.{info.name}") for info in pkgutil.iter_modules(minnet.kernels.__path__)
]
KERNELS = {
    f"{module.__name__.rsplit('.', 1)[-1]}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if hasattr(value, "py_func")
}
EPS32 = float(np.finfo(np.float32).eps)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])

SCRATCH = {"partial", "panels", "work", "offsets", "factors", "U"}  # arguments that only lend memory
ROWS = [(1, 1), (3, 5), (131, 9)]  # one element; odd; two blocks of 64 rows and a remainder
FLAT = [(1,), (33,), (8201,)]  # one element; vector registers and a remainder; two blocks of 4096 and a remainder

TWINS = []  # (kernel's name, twin, make, shape, terms of its longest sum)


def sizes(shape):
    """The numbers of a shape, without signs; of two, for rows and columns, the first."""
    return [abs(n[0] if isinstance(n, tuple) else n) for n in shape]


def twin_of(kernel, make, shapes=ROWS, sums=False):
    """Register a twin; ``make(rng, shape)`` gives the arguments in double precision, outputs filled with NaN."""
    name = f"{kernel.py_func.__module__.rsplit('.', 1)[-1]}.{kernel.py_func.__name__}"

    def register(twin):
        for shape in shapes:
            terms = math.prod(n or 1 for n in sizes(shape)) if sums else 1
            TWINS.append(pytest.param(name, twin, make, shape, terms, id=f"{name}-{shape}"))
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


@DTYPES
@pytest.mark.parametrize(("name", "twin", "make", "shape", "terms"), TWINS)
def test_a_kernel_equals_its_naive_twin(name, twin, make, shape, terms, dtype):
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


def test_every_kernel_has_a_twin():
    public = {name for name, kernel in KERNELS.items() if kernel._cache.cache_path}  # all but helpers
    assert public == {param.values[0] for param in TWINS}


# Activations -------------------------------------------------------------------------------------------------


def sigmoid(v):
    return math.exp(v) / (1 + math.exp(v)) if v < 0 else 1 / (1 + math.exp(-v))


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


def with_zeros(rng, shape):
    """Random numbers with some zeros among them, where a kink has to take a side."""
    x = rng.standard_normal(shape)
    x.reshape(-1)[1::5] = 0
    return x


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


# Convolution and pooling -------------------------------------------------------------------------------------

# (images, height, width, channels, filters, kernel height and width, stride, dilation, groups, border, spread); stride,
# dilation and spread are two numbers where they differ between rows and columns
CONVOLUTIONS = [
    (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1),
    (3, 5, 6, 3, 2, 2, 3, 2, 1, 1, 1, 1),
    (9, 6, 5, 2, 34, 3, 2, 1, 1, 1, 0, 1),  # more images than parts, more filters than a panel
    (2, 7, 6, 4, 6, 2, 3, 2, 2, 2, 2, 1),
    (2, 4, 5, 17, 1, 1, 2, 3, 1, 1, 0, 1),  # a stride beyond the kernel
    (3, 3, 4, 17, 17, 3, 2, 1, 1, 17, 1, 1),  # a filter for each channel
    (1, 5, 7, 3, 33, 2, 2, 1, 3, 1, 3, 1),  # dilated, with a filter more than a panel
    (2, 6, 5, 3, 32, 3, 3, 1, 1, 1, -1, 1),  # cropped
    (2, 3, 4, 5, 7, 3, 3, 1, 1, 1, 2, 2),  # spread, as of the gradient of a stride
    (2, 3, 2, 3, 34, 1, 2, 1, 1, 1, 0, 2),  # ... with outputs that meet no tap
    (1, 4, 3, 16, 16, 1, 1, 1, 1, 1, 0, 3),
    (9, 3, 3, 4, 6, 4, 5, 1, 2, 2, 3, 2),  # ... dilated by as much, in groups
    (2, 4, 3, 3, 5, 3, 2, 1, 2, 1, 1, 4),  # ... dilated by half as much
    (2, 3, 4, 17, 17, 3, 4, 1, 3, 17, 4, 2),  # ... where no factor is common
    (3, 1, 1, 2, 3, 2, 3, 1, 1, 1, 1, 5),  # ... by more than there are outputs
    (2, 7, 6, 3, 34, 3, 2, (2, 3), 1, 1, 1, 1),  # other strides down than across
    (2, 8, 6, 3, 5, 3, 2, (1, 2), (2, 1), 1, 1, 1),  # ... dilated along the rows only, whose patches stay whole
    (2, 6, 9, 4, 6, 2, 3, (3, 1), (1, 3), 2, 2, 1),  # ... along the columns only, in groups
    (2, 3, 4, 5, 7, 3, 3, (1, 1), 1, 1, 2, (1, 2)),  # spread across only
    (2, 4, 3, 3, 34, 2, 3, 1, (3, 2), 1, 3, (2, 1)),  # spread down only, dilated by another number
    (9, 3, 2, 4, 6, 4, 2, 1, (2, 1), 2, 3, (2, 3)),
]


def each_axis(value):
    """Of the rows and of the columns."""
    return value if isinstance(value, tuple) else (value, value)


def geometry(shape):
    n, rows, columns, channels, filters, kh, kw, stride, dilation, groups, border, spread = shape
    stride, dilation, spread = each_axis(stride), each_axis(dilation), each_axis(spread)
    reach = (kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1
    bordered = [(size - 1) * s + 1 + 2 * border for size, s in zip((rows, columns), spread, strict=True)]
    out = [(size - r) // s + 1 for size, r, s in zip(bordered, reach, stride, strict=True)]
    size = tuple((length - 1) * s + r for length, r, s in zip(out, reach, stride, strict=True))
    return (n, rows, columns, channels), (kh, kw, channels // groups, filters), (n, *out, filters), size


def with_borders(x, top, left, size):
    """x with zeros around, cut to size."""
    out = np.zeros((x.shape[0], *size, x.shape[3]))
    for n, i, j, c in np.ndindex(x.shape):
        row, column = top + i, left + j
        if 0 <= row < size[0] and 0 <= column < size[1]:
            out[n, row, column, c] = x[n, i, j, c]
    return out


def make_conv(floor):
    def make(rng, shape):
        x_shape, W_shape, y_shape, _ = geometry(shape)
        groups, border = shape[9:11]
        stride, dilation, spread = (each_axis(shape[i]) for i in (7, 8, 11))
        g = Geometry(x_shape[1:], y_shape[1:], W_shape[:2], border, border, stride, spread, dilation, groups)
        (top, rows), (left, columns) = g.borders(0), g.borders(1)
        step = tuple(conv.tap_step(s, d) for s, d in zip(spread, dilation, strict=True))
        distance = tuple(d * t // s for s, d, t in zip(spread, dilation, step, strict=True))
        panels = DirectConvolution(g).scratch
        work, _ = product.new_work(np.dtype(np.float32), DirectConvolution(g).work)
        table = conv.phase_table(g.phases(0), g.phases(1), (top, left), columns, x_shape[3])
        pixels = conv.pixel_offsets(*g.grid, stride, columns, x_shape[3])
        x, *weights = (rng.standard_normal(shape) for shape in (x_shape, W_shape, y_shape[3]))
        options = [groups, spread, step, distance, table, pixels]
        scratch = [np.zeros(panels), np.zeros(work.shape)]
        return [x, top, left, (rows, columns), *weights, floor, empty(y_shape), *options, *scratch]

    return make


def convolution(x, top, left, size, W, bias, floor, y, groups, spread, step, dilation, table, pixels, *scratch):
    images, (inputs, filters), across = with_borders(x, top, left, size), W.shape[2:], -(-y.shape[2] // spread[1])
    for n, i, j, f in np.ndindex(y.shape):
        row_tap, column_tap, kh, kw, start = table[i % spread[0] * spread[1] + j % spread[1]]
        weights = W[row_tap :: step[0], column_tap :: step[1], :, f][:kh, :kw]
        row, column = divmod((start + pixels[i // spread[0] * across + j // spread[1]]) // x.shape[3], size[1])
        first = f // (filters // groups) * inputs
        patch = images[n, row :: dilation[0], column :: dilation[1], first : first + inputs][:kh, :kw]
        y[n, i, j, f] = max(floor, bias[f] + math.fsum((patch * weights).reshape(-1)))


for _floor in (-math.inf, 0.0):
    twin_of(conv.conv, make_conv(_floor), shapes=CONVOLUTIONS, sums=True)(convolution)


def make_conv_weights(rng, shape):
    x_shape, W_shape, y_shape, size = geometry(shape)
    stride, dilation, (groups, border) = each_axis(shape[7]), each_axis(shape[8]), shape[9:11]
    dW, db = empty(W_shape), empty(shape[4])
    elements = conv.work_size(math.prod(y_shape[1:3]), math.prod(size) * shape[3])
    work, _ = product.new_work(np.dtype(np.float32), elements)
    table = conv.tap_offsets(*W_shape[:3], dilation, size[1], shape[3])
    dy, partial = rng.standard_normal(y_shape), np.zeros((conv.PARTS, dW.size + 3 * db.size))
    arrays = [dy, dW, db, groups, stride, table, partial, np.zeros(work.shape)]
    return [rng.standard_normal(x_shape), border, border, size, *arrays]


@twin_of(conv.conv_backward_weights, make_conv_weights, shapes=[s for s in CONVOLUTIONS if s[-1] == 1], sums=True)
def conv_backward_weights(x, top, left, size, dy, dW, db, groups, stride, table, *scratch):
    images, (_, _, inputs, filters) = with_borders(x, top, left, size), dW.shape
    down, across = stride[0] * dy.shape[1], stride[1] * dy.shape[2]
    for tap, f in np.ndindex(dW[..., 0].size, filters):
        place, c = divmod(table[tap], x.shape[3])
        row, column = divmod(place, size[1])
        values = images[:, row : row + down : stride[0], column : column + across : stride[1]]
        factors = values[..., c + f // (filters // groups) * inputs]
        dW.reshape(-1, filters)[tap, f] = math.fsum((factors * dy[..., f]).reshape(-1))
    for f in range(db.size):
        db[f] = math.fsum(dy[..., f].reshape(-1))


# (images, height, width, channels, filters, size of the kernel, border, images at a time)
WINOGRADS = [
    (1, 1, 1, 16, 16, 3, 1, 1),
    (3, 5, 7, 16, 32, 3, 1, 2),
    (9, 4, 6, 32, 16, 3, 0, 1),  # more images than parts
    (2, 5, 6, 48, 16, 5, 2, 3),
    (1, 6, 5, 16, 96, 5, 0, 1),
]


def make_winograd(floor):
    def make(rng, shape):
        n, rows, columns, channels, filters, r, border, images = shape
        y = empty((n, rows + 2 * border - r + 1, columns + 2 * border - r + 1, filters))
        grid = winograd.grid(*y.shape[1:3], r)
        tiles = images * math.prod(grid)
        work, _ = product.new_work(np.dtype(np.float32), winograd.work_size(*grid, r, channels, filters, images))
        U = np.zeros((winograd.PARTS, winograd.weights_size(channels, filters) + 3 * filters))
        x, W, bias = (rng.standard_normal(s) for s in (shape[:4], (r, r, channels, filters), filters))
        tables = lambda dtype: winograd.offsets(tiles, channels, np.dtype(dtype).itemsize)  # noqa: E731
        if floor is None:  # for the weights' gradient
            dy, starts = rng.standard_normal(y.shape), lambda dtype: tables(dtype)[1]
            return [
                x,
                border,
                border,
                dy,
                empty(W.shape),
                empty(filters),
                grid,
                images,
                starts,
                U,
                np.zeros(work.shape),
            ]
        starts = lambda dtype: tables(dtype)[0]  # noqa: E731
        return [x, border, border, W, bias, floor, y, grid, images, starts, U.reshape(-1), np.zeros(work.shape)]

    return make


def winograd_twin(x, top, left, W, bias, floor, y, *_):
    size = y.shape[1] + W.shape[0] - 1, y.shape[2] + W.shape[1] - 1
    images, y[:] = with_borders(x, top, left, size), bias
    for a, b in np.ndindex(W.shape[:2]):
        y += images[:, a : a + y.shape[1], b : b + y.shape[2]] @ W[a, b]
    y[:] = np.maximum(y, floor)


for _floor in (-math.inf, 0.0):
    twin_of(winograd.winograd_conv, make_winograd(_floor), shapes=WINOGRADS, sums=True)(winograd_twin)


@twin_of(winograd.winograd_backward_weights, make_winograd(None), shapes=WINOGRADS, sums=True)
def winograd_weights_twin(x, top, left, dy, dW, db, *scratch):
    size = dy.shape[1] + dW.shape[0] - 1, dy.shape[2] + dW.shape[1] - 1
    images = with_borders(x, top, left, size)
    for a, b in np.ndindex(dW.shape[:2]):
        window = images[:, a : a + dy.shape[1], b : b + dy.shape[2]]
        dW[a, b] = np.einsum("nijc,nijf->cf", window, dy)
    for f in range(db.size):
        db[f] = math.fsum(dy[..., f].reshape(-1))


@pytest.mark.parametrize("r", winograd.SIZES)
def test_winograds_matrices_satisfy_the_identity_exactly(r):
    points = [Fraction(n) for n in (0, 1, -1, 3, Fraction(2, 7))]
    B, G, A = winograd.matrices(r, points)
    m = len(A)
    assert (len(B), len(G), m) == (6, 6, 7 - r)
    rng = np.random.default_rng(0)
    d, g = ([Fraction(int(n)) for n in rng.integers(-9, 10, size)] for size in (6, r))
    dot = lambda row, values: sum(a * b for a, b in zip(row, values, strict=True))  # noqa: E731
    products = [dot(G_row, g) * dot(B_row, d) for G_row, B_row in zip(G, B, strict=True)]
    assert [dot(row, products) for row in A] == [dot(g, d[i : i + r]) for i in range(m)]


PADS = [(1, 1, 1, 1, 0, 0), (2, 3, 4, 3, 2, 1), (1, 4, 3, 2, -1, -2)]


def make_pad(rng, shape):
    n, rows, columns, channels, top, left = shape
    return [rng.standard_normal(shape[:4]), top, left, empty((n, rows + top + 1, columns + left + 2, channels))]


@twin_of(borders.pad, make_pad, shapes=PADS)
def pad(x, top, left, out):
    out[:] = with_borders(x, top, left, out.shape[1:3])


def make_turn(rng, shape):
    kh, kw, inputs, filters, groups = shape
    return [rng.standard_normal(shape[:4]), groups, empty((kh, kw, filters // groups, inputs * groups))]


@twin_of(conv.turn, make_turn, shapes=[(1, 1, 1, 1, 1), (2, 3, 4, 5, 1), (3, 2, 2, 6, 3)])
def turn(W, groups, out):
    each = W.shape[3] // groups
    for a, b, c, f in np.ndindex(W.shape):
        out[W.shape[0] - 1 - a, W.shape[1] - 1 - b, f % each, f // each * W.shape[2] + c] = W[a, b, c, f]


# (images, height, width, channels, size, stride, padding before, padding behind); two numbers where they differ between
# rows and columns
POOLS = [
    (1, 1, 1, 1, 1, 1, 0, 0),
    (2, 1, 1, 17, 3, 1, 1, 1),
    (2, 5, 4, 3, 2, 2, 0, 0),
    (3, 6, 5, 17, 3, 2, 1, 1),
    (2, 4, 5, 2, 3, 1, 2, 2),
    (2, 6, 5, 1, 2, 3, 0, 0),  # a stride beyond the window
    (2, 5, 5, 49, 3, 2, 1, 1),  # three vectors of channels and one channel
    (2, 6, 5, 17, (3, 2), (2, 1), (1, 0), (2, 1)),
    (3, 5, 7, 2, (1, 4), (1, 3), (0, 2), (0, 1)),
]
# Windows of up to 11 x 11 positions, the middle one of more than a block of the sum, those at the border of fewer.
WIDE_POOL = (2, 13, 13, 3, 11, 4, 5, 5)


def make_pool(rng, shape):
    n, *lengths, channels = shape[:4]
    out = [
        (length + before + behind - size) // stride + 1
        for length, size, stride, before, behind in zip(lengths, *map(each_axis, shape[4:]), strict=True)
    ]
    x = rng.permutation(math.prod(shape[:4])).reshape(shape[:4]).astype(float)
    return [x, empty((n, *out, channels))]


def window_of(shape):
    """Size, stride and corner as the kernels take them."""
    return np.array([each_axis(value) for value in shape[4:7]]).reshape(-1)


def windows(x_shape, y_shape, window):
    """(index into y, the indices into x of its window, those of the window) for every output."""
    size, stride, corner = window.reshape(3, 2).tolist()
    for n, i, j, c in np.ndindex(y_shape):
        rows, columns = (
            range(k * step - before, k * step - before + length)
            for k, step, before, length in zip((i, j), stride, corner, size, strict=True)
        )
        whole = [(n, a, b, c) for a in rows for b in columns]
        yield (n, i, j, c), [p for p in whole if 0 <= p[1] < x_shape[1] and 0 <= p[2] < x_shape[2]], whole


@twin_of(pool.max_pool, lambda rng, s: [*make_pool(rng, s), window_of(s)], shapes=POOLS)
def max_pool(x, y, window):
    for out, places, _ in windows(x.shape, y.shape, window):
        y[out] = max(x[place] for place in places)


def make_max_pool_backward(rng, shape):
    x, y = make_pool(rng, shape)
    max_pool(x, y, window_of(shape))
    # In half of the cases, half of the values count as cut off by a ReLU.
    floor = -math.inf if shape[0] % 2 else float(np.median(x))
    return [x, y, rng.standard_normal(y.shape), empty(x.shape), window_of(shape), floor]


@twin_of(pool.max_pool_backward, make_max_pool_backward, shapes=POOLS)
def max_pool_backward(x, y, dy, dx, window, floor):
    dx[:] = 0
    for out, places, _ in windows(x.shape, y.shape, window):
        best = max(places, key=lambda place: x[place])
        dx[best] += dy[out] if x[best] > floor else 0


def shares_of(shape, with_padding):
    """1 / number of positions that the mean of each window counts."""
    y, before, behind = make_pool(np.random.default_rng(0), shape)[1], each_axis(shape[6]), each_axis(shape[7])
    rows, columns = shape[1:3]
    padded = -before[0], rows + behind[0], -before[1], columns + behind[1]
    top, bottom, left, right = padded if with_padding else (0, rows, 0, columns)
    shares = np.empty(y.shape[1:3])
    for (_, i, j, _), _, whole in windows(shape[:4], y.shape, window_of(shape)):
        shares[i, j] = 1 / sum(top <= a < bottom and left <= b < right for _, a, b, _ in whole)
    return shares


for _padded in (True, False):

    @twin_of(
        pool.mean_pool,
        lambda rng, s, p=_padded: [*make_pool(rng, s), window_of(s), shares_of(s, p)],
        shapes=[*POOLS, WIDE_POOL],
    )
    def mean_pool(x, y, window, shares):
        for out, places, _ in windows(x.shape, y.shape, window):
            y[out] = math.fsum(x[place] for place in places) * shares[out[1:3]]

    def make_mean_pool_backward(rng, shape, padded=_padded):
        dy = rng.standard_normal(make_pool(rng, shape)[1].shape)
        return [dy, empty(shape[:4]), window_of(shape), shares_of(shape, padded)]

    @twin_of(pool.mean_pool_backward, make_mean_pool_backward, shapes=POOLS)
    def mean_pool_backward(dy, dx, window, shares):
        dx[:] = 0
        for out, places, _ in windows(dx.shape, dy.shape, window):
            for place in places:
                dx[place] += dy[out] * shares[out[1:3]]


IMAGES = [(1, 1, 1, 1), (2, 3, 5, 4), (3, 2, 1, 17)]


@twin_of(
    pool.global_mean,
    lambda rng, s: [rng.standard_normal(s), empty((s[0], s[3]))],
    shapes=[*IMAGES, (2, 9, 19, 5)],
    sums=True,
)
def global_mean(x, y):
    for n, c in np.ndindex(y.shape):
        y[n, c] = math.fsum(x[n, :, :, c].reshape(-1)) / x[n, :, :, c].size


@twin_of(pool.global_mean_backward, lambda rng, s: [rng.standard_normal((s[0], s[3])), empty(s)], shapes=IMAGES)
def global_mean_backward(dy, dx):
    for n, i, j, c in np.ndindex(dx.shape):
        dx[n, i, j, c] = dy[n, c] / (dx.shape[1] * dx.shape[2])


def scaled_images(shape):
    return (shape[0], 3 * shape[1], 3 * shape[2], shape[3])


@twin_of(pool.upsample, lambda rng, s: [rng.standard_normal(s), 3, empty(scaled_images(s))], shapes=IMAGES)
def upsample(x, factor, y):
    for n, i, j, c in np.ndindex(y.shape):
        y[n, i, j, c] = x[n, i // factor, j // factor, c]


@twin_of(pool.upsample_backward, lambda rng, s: [rng.standard_normal(scaled_images(s)), 3, empty(s)], shapes=IMAGES)
def upsample_backward(dy, factor, dx):
    dx[:] = 0
    for n, i, j, c in np.ndindex(dy.shape):
        dx[n, i // factor, j // factor, c] += dy[n, i, j, c]


# Dense, dropout, gathering -----------------------------------------------------------------------------------


# (M, K, N): one of everything; odd and smaller than a block; more rows, columns and depth than one tile takes.
# The last ones are shared between threads; columns beyond a panel are few in the one, many in the other.
PRODUCTS = [(1, 1, 1), (5, 7, 3), (15, 2, 33), (31, 300, 70), (270, 260, 35), (40, 513, 125)]


def make_product(transposed, floored):
    def make(rng, shape):
        M, K, N = shape
        A = (rng.standard_normal((M, K)), K, 1) if "A" not in transposed else (rng.standard_normal((K, M)), 1, M)
        B = (rng.standard_normal((K, N)), N, 1) if "B" not in transposed else (rng.standard_normal((N, K)), 1, K)
        bias = rng.standard_normal(N if not transposed else 0)
        work, offsets = product.new_work(np.dtype(np.float32))  # the larger of the two precisions
        return [
            *A,
            *B,
            bias,
            0.0 if floored else -math.inf,
            empty((M, N)),
            K,
            np.zeros((len(work), max(work.shape[1], K * N))),
            offsets,
        ]

    return make


def product_twin(A, a_row, a_col, B, b_row, b_col, bias, floor, C, K, *scratch):
    a, b = A.reshape(-1), B.reshape(-1)
    k = np.arange(K)
    for i, j in np.ndindex(C.shape):
        terms = a[i * a_row + k * a_col] * b[k * b_row + j * b_col]
        C[i, j] = max(floor, math.fsum([*terms, *bias[j : j + 1]]))


for _transposed in ("", "A", "B"):
    for _kernel in (product.small_matmul, product.matmul):
        for _floored in (False, True):
            twin_of(_kernel, make_product(_transposed, _floored), shapes=PRODUCTS, sums=True)(product_twin)


@twin_of(dense.column_sums, lambda rng, s: [rng.standard_normal(s), empty(s[1]), empty(2 * s[1])], sums=True)
def column_sums(dy, db, work):
    for c in range(db.size):
        db[c] = math.fsum(dy[:, c])


MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
STREAM = np.uint64(0xFEDCBA9876543210)


def splitmix64(seed, count):
    """The published generator, stepped (Steele, Lea, Flood 2014, figure 17), in Python's unbounded integers."""
    for _ in range(count):
        seed = (seed + GOLDEN) & MASK
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def mixed(z):
    """SplitMix64's finaliser alone: what a generator puts out that stands one increment before z."""
    return next(splitmix64((z - GOLDEN) & MASK, 1))


def test_the_twin_of_the_noise_is_splitmix64():
    # The first outputs for this seed as other implementations print them.
    assert list(splitmix64(1234567, 5)) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def below(rate):
    """The noise below which an element is dropped."""
    return np.uint64(int(rate * 2.0**64))


@twin_of(dropout, lambda rng, s: [rng.standard_normal(s), STREAM, 7, below(0.4), 1 / 0.6, empty(s)])
def dropout_by_the_element(x, stream, step, threshold, scale, y):
    base = mixed((int(stream) + mixed(step * GOLDEN & MASK)) & MASK)
    for place, draw in zip(np.ndindex(x.shape), splitmix64(base, x.size), strict=True):
        y[place] = scale * x[place] if draw >= int(threshold) else 0.0


@twin_of(
    dropout_channels,
    lambda rng, s: [rng.standard_normal(s), STREAM, 7, below(0.4), 1 / 0.6, np.zeros(s[-1]), empty(s)],
    shapes=[*ROWS, *IMAGES],
)
def dropout_by_the_channel(x, stream, step, threshold, scale, factors, y):
    base = mixed((int(stream) + mixed(step * GOLDEN & MASK)) & MASK)
    pairs = np.ndindex(x.shape[0], x.shape[-1])
    for (n, c), draw in zip(pairs, splitmix64(base, x.shape[0] * x.shape[-1]), strict=True):
        y[n, ..., c] = scale * x[n, ..., c] if draw >= int(threshold) else 0.0


def make_gather(of_bytes, flip):
    def make(rng, shape):
        n, rows, columns, channels, crop = shape
        image = (rows, columns, channels)
        x = rng.standard_normal((11, *image)) if not of_bytes else rng.integers(0, 256, (11, *image)).astype(np.uint8)
        mean, std = rng.standard_normal(math.prod(image)), rng.uniform(0.5, 2, math.prod(image))
        options = [STREAM, below(flip), crop, 255.0 if of_bytes else 1.0, mean, std]
        return [x, rng.integers(0, 11, n), 7, *options, empty((n, *image))]

    return make


def gather_twin(x, order, epoch, stream, flip, crop, scale, mean, std, out):
    _, rows, columns, channels = x.shape
    base = mixed((int(stream) + mixed(epoch * GOLDEN & MASK)) & MASK)
    draws = list(splitmix64(base, 3 * len(x)))
    for place, i in enumerate(order):
        down, right, side = draws[3 * i : 3 * i + 3]
        top, left = ((d >> 32) * (2 * crop + 1) >> 32 for d in (down, right))
        window = np.pad(x[i], ((crop, crop), (crop, crop), (0, 0)))[top : top + rows, left : left + columns]
        if side < int(flip):
            window = window[:, ::-1]
        for at in np.ndindex(rows, columns, channels):
            j = np.ravel_multi_index(at, (rows, columns, channels))
            out[(place, *at)] = (float(window[at]) / scale - mean[j]) / std[j]


# (samples, H, W, C, crop): one number; a sample that is no image; images with more, as much and less border than size.
GATHERED = [(1, 1, 1, 1, 0), (3, 1, 1, 37, 0), (9, 6, 5, 3, 2), (17, 3, 4, 1, 3), (2, 4, 20, 5, 1)]
for _kernel in (gather.gather, gather.gather_parallel):
    for _of_bytes in (True, False):
        twin_of(_kernel, make_gather(_of_bytes, 0.5), GATHERED)(gather_twin)
    twin_of(_kernel, make_gather(True, 0.0), GATHERED[2:3])(gather_twin)


LARGE = (70_001,)  # beyond what one thread does alone, and no multiple of a chunk


@twin_of(
    activation.relu_mask, lambda rng, s: [np.maximum(rng.standard_normal(s), 0), rng.standard_normal(s)], [*ROWS, LARGE]
)
def relu_mask(y, dy):
    dy[y <= 0] = 0


def make_sum(rng, shape):
    return [rng.standard_normal(shape), rng.standard_normal(shape), 0.25, empty(shape)]


@twin_of(residual.add, make_sum, [*ROWS, LARGE])
def add(a, b, floor, y):
    y[:] = np.maximum(a + b, floor)


@twin_of(residual.accumulate, lambda rng, s: [rng.standard_normal(s), rng.standard_normal(s)], [*ROWS, LARGE])
def accumulate(total, x):
    total += x


# Flat vectors ------------------------------------------------------------------------------------------------


@twin_of(flat.all_finite, lambda rng, s: [rng.standard_normal(s)])
def all_finite(x):
    return all(math.isfinite(v) for v in x.reshape(-1))


@twin_of(flat.sum_of_squares, lambda rng, s: [rng.standard_normal(s)], FLAT, sums=True)
def sum_of_squares(x):
    return math.fsum(v * v for v in x)


@twin_of(flat.scale, lambda rng, s: [rng.standard_normal(s), 0.3], FLAT)
def scale(x, factor):
    for i in range(x.size):
        x[i] = x[i] * factor


@twin_of(flat.add_l2, lambda rng, s: [rng.standard_normal(s), 0.3, rng.standard_normal(s)], FLAT, sums=True)
def add_l2(w, strength, dw):
    for i in range(w.size):
        dw[i] += strength * w[i]
    return math.fsum(v * v for v in w)


def make_add_l1(rng, shape):
    w = rng.standard_normal(shape)
    w[1::5] = 0  # where the penalty has no slope
    return [w, 0.3, rng.standard_normal(shape)]


@twin_of(flat.add_l1, make_add_l1, FLAT, sums=True)
def add_l1(w, strength, dw):
    for i in range(w.size):
        if w[i] != 0:
            dw[i] += math.copysign(strength, w[i])
    return math.fsum(abs(v) for v in w)


# Units on both sides of the bound; the net gives it as a Python float, so it is a double in both precisions.
@twin_of(flat.limit_unit_norms, lambda rng, s: [rng.standard_normal(s), np.float64(math.sqrt(s[0]))], sums=True)
def limit_unit_norms(W, bound):
    for u in range(W.shape[1]):
        norm = math.sqrt(math.fsum(v * v for v in W[:, u]))
        for i in range(W.shape[0]):
            W[i, u] = W[i, u] * min(1.0, bound / norm)


# Losses ------------------------------------------------------------------------------------------------------
# The value is the weighted mean; the gradient is written from the derivative of one sample's loss.


def shares(rng, n):
    weights = rng.uniform(0.1, 2.0, n)
    return weights / weights.sum()


def make_classes(*scalars):
    def make(rng, shape):
        n, outputs = shape
        scores = 2 * rng.standard_normal(shape)
        return [scores, rng.integers(0, outputs, n), shares(rng, n), *scalars, empty(shape)]

    return make


def make_numbers(*scalars, targets=np.random.Generator.standard_normal):
    def make(rng, shape):
        scores = 2 * rng.standard_normal(shape)
        return [scores, targets(rng, size=shape), shares(rng, shape[0]), *scalars, empty(shape)]

    return make


def make_softmax(rng, shape):
    scores, labels, weights, dscores = make_classes()(rng, shape)
    return [scores, labels, weights, rng.uniform(0.5, 2, shape[1]), 0.1, dscores]


@twin_of(loss.softmax_cross_entropy, make_softmax, sums=True)
def softmax_cross_entropy(scores, labels, weights, class_weights, smoothing, dscores):
    n, outputs = scores.shape
    value = 0.0
    for i in range(n):
        total = math.fsum(math.exp(s) for s in scores[i])
        wanted = class_weights * (smoothing / outputs + (1 - smoothing) * (np.arange(outputs) == labels[i]))
        for j in range(outputs):
            value -= weights[i] * wanted[j] * math.log(math.exp(scores[i, j]) / total)
            dscores[i, j] = weights[i] * (wanted.sum() * math.exp(scores[i, j]) / total - wanted[j])
    return value


def make_soft(rng, shape):
    scores, _, weights, class_weights, smoothing, dscores = make_softmax(rng, shape)
    targets = rng.uniform(0.1, 1, shape)
    return [scores, targets / targets.sum(axis=1, keepdims=True), weights, class_weights, smoothing, dscores]


@twin_of(loss.soft_cross_entropy, make_soft, sums=True)
def soft_cross_entropy(scores, targets, weights, class_weights, smoothing, dscores):
    n, outputs = scores.shape
    value = 0.0
    for i in range(n):
        total = math.fsum(math.exp(s) for s in scores[i])
        wanted = class_weights * (smoothing / outputs + (1 - smoothing) * targets[i])
        for j in range(outputs):
            value -= weights[i] * wanted[j] * math.log(math.exp(scores[i, j]) / total)
            dscores[i, j] = weights[i] * (wanted.sum() * math.exp(scores[i, j]) / total - wanted[j])
    return value


def hinge(scores, labels, weights, margin, dscores, power):
    value = 0.0
    dscores[...] = 0
    for i, j in np.ndindex(scores.shape):
        violation = max(0.0, scores[i, j] - scores[i, labels[i]] + margin)
        if j != labels[i] and violation > 0:
            value += weights[i] * violation**power
            dscores[i, j] += weights[i] * power * violation ** (power - 1)
            dscores[i, labels[i]] -= weights[i] * power * violation ** (power - 1)
    return value


@twin_of(loss.multiclass_hinge, make_classes(0.8), sums=True)
def multiclass_hinge(scores, labels, weights, margin, dscores):
    return hinge(scores, labels, weights, margin, dscores, 1)


@twin_of(loss.squared_hinge, make_classes(0.8), sums=True)
def squared_hinge(scores, labels, weights, margin, dscores):
    return hinge(scores, labels, weights, margin, dscores, 2)


@twin_of(loss.logistic, make_numbers(targets=np.random.Generator.random), sums=True)
def logistic(scores, targets, weights, dscores):
    value = 0.0
    for i, j in np.ndindex(scores.shape):
        p, t = sigmoid(scores[i, j]), targets[i, j]
        value -= weights[i] * (t * math.log(p) + (1 - t) * math.log(1 - p))
        dscores[i, j] = weights[i] * (p - t)
    return value


def regression(scores, targets, weights, dscores, function, derivative):
    value = 0.0
    for i, j in np.ndindex(scores.shape):
        d = scores[i, j] - targets[i, j]
        value += weights[i] * function(d)
        dscores[i, j] = weights[i] * derivative(d)
    return value


@twin_of(loss.squared_error, make_numbers(), sums=True)
def squared_error(scores, targets, weights, dscores):
    return regression(scores, targets, weights, dscores, lambda d: d * d, lambda d: 2 * d)


@twin_of(loss.absolute_error, make_numbers(), sums=True)
def absolute_error(scores, targets, weights, dscores):
    return regression(scores, targets, weights, dscores, abs, lambda d: math.copysign(1, d))


@twin_of(loss.huber, make_numbers(0.8), sums=True)
def huber(scores, targets, weights, delta, dscores):
    return regression(
        scores,
        targets,
        weights,
        dscores,
        lambda d: d * d / 2 if abs(d) <= delta else delta * (abs(d) - delta / 2),
        lambda d: d if abs(d) <= delta else math.copysign(delta, d),
    )


def make_counted(rng, shape):
    scores = rng.integers(0, 4, shape).astype(float)  # many ties: the first of equals counts
    return [scores, rng.integers(0, shape[1], shape[0]), rng.random(shape[0]) < 0.5]


@twin_of(loss.hits, make_counted)
def hits(scores, labels, out):
    out[:] = [list(row).index(max(row)) == label for row, label in zip(scores, labels, strict=True)]


def make_soft_counted(rng, shape):
    numbers = rng.integers(0, 4, (2, *shape)).astype(float)
    return [*numbers, rng.random(shape[0]) < 0.5]


@twin_of(loss.soft_hits, make_soft_counted)
def soft_hits(scores, targets, out):
    out[:] = [list(s).index(max(s)) == list(t).index(max(t)) for s, t in zip(scores, targets, strict=True)]


def make_logistic_counted(rng, shape):
    return [rng.standard_normal(shape), rng.random(shape), rng.random(shape[0]) < 0.5]


@twin_of(loss.logistic_hits, make_logistic_counted)
def logistic_hits(scores, targets, out):
    out[:] = [
        all((s > 0) == (t > 0.5) for s, t in zip(*rows, strict=True)) for rows in zip(scores, targets, strict=True)
    ]


def make_class_weights(rng, shape):
    return [rng.integers(0, 5, shape[0]), rng.random(5), rng.random(shape[0])]


@twin_of(loss.weight_of_labels, make_class_weights, sums=True)
def weight_of_labels(labels, class_weights, weights):
    return math.fsum(w * class_weights[label] for w, label in zip(weights, labels, strict=True))


def make_labels(*numbers):
    return lambda rng, shape: [rng.integers(-1, 5, shape[0]), *numbers]


@twin_of(loss.leave_out, lambda rng, s: [rng.integers(-1, 5, s[0]), -1, rng.random(s[0])])
def leave_out(labels, ignored, weights):
    weights[:] = [0 if label == ignored else w for w, label in zip(weights, labels, strict=True)]


@twin_of(loss.labels_beyond, make_labels(4, -1))
def labels_beyond(labels, classes, ignored):
    return sum(label not in range(classes) and label != ignored for label in labels)


@twin_of(loss.occurrences, make_labels(3))
def occurrences(labels, label):
    return list(labels).count(label)


@twin_of(loss.first_no_distribution, lambda rng, s: [rng.random(s) * (rng.random((s[0], 1)) < 0.5), 2.0])
def first_no_distribution(targets, slack):
    return next((i for i, row in enumerate(targets) if row.min() < 0 or abs(row.sum() - 1) > slack), -1)


def make_weights(rng, shape):
    return [rng.random(shape), 1.7, empty(shape)]


@twin_of(loss.normalise, make_weights, shapes=FLAT)
def normalise(weights, total, out):
    out[:] = [w / total for w in weights]


def test_the_gradient_at_a_losss_kink_is_that_of_the_flat_side():
    scores, weights, gradient = np.array([[1.0, 0.5, 1.0]]), np.ones(1), empty((1, 3))
    assert loss.absolute_error(scores, scores.copy(), weights, gradient) == 0
    np.testing.assert_array_equal(gradient, 0)
    # Right by the margin exactly: against the second score it holds, against the third it does not.
    assert loss.multiclass_hinge(scores, np.array([0]), weights, 0.5, gradient) == 0.5
    np.testing.assert_array_equal(gradient, [[-1, 0, 1]])


# Normalisation -----------------------------------------------------------------------------------------------


def moments(values, eps=0.0):
    """Mean, (biased) variance and 1 / sqrt(variance + eps) of one row or column."""
    mean = math.fsum(values) / len(values)
    var = math.fsum((v - mean) ** 2 for v in values) / len(values)
    return mean, var, 1 / math.sqrt(var + eps) if var + eps > 0 else math.inf


def as_rounded(mean, axis):
    """A mean as kernels take it: rounded, and what that lost, which is added here as much as taken away."""
    return np.stack([mean + 0.125, np.full_like(mean, -0.125)], axis=axis)


# (rows, channels): (rows side by side, parts). One element; odd; parts that do not divide the rows; blocks of 32 wide
# rows and a remainder in each part, with sums by lane that are to be folded.
CUTS = {(1, 1): (1, 1), (3, 5): (1, 1), (10, 17): (1, 3), (131, 9): (1, 4), (264, 3): (8, 5), (1072, 2): (16, 2)}


def wide(x, shape):
    """Rows laid side by side as the kernels take them."""
    return x.reshape(-1, CUTS[shape][0] * shape[-1])


def norm_scratch(channels):
    return np.zeros((PARTS, SUMS, channels)), np.zeros((64, work_size(channels)))


def both(module, name, make, shapes, sums=False):
    """Register a twin for a kernel and its parallel form, which are to do the same."""

    def register(twin):
        for kernel in (getattr(module, name), getattr(module, f"{name}_parallel")):
            twin_of(kernel, make, shapes, sums)(twin)
        return twin

    return register


def make_moments(rng, shape):
    x = 3 + rng.standard_normal(shape)
    return [wide(x, shape), CUTS[shape][1], empty((2, shape[1])), empty(shape[1]), *norm_scratch(shape[1])]


@both(batch_norm, "batch_moments", make_moments, CUTS, sums=True)
def batch_moments(x, parts, mean, var, partial, work):
    x = x.reshape(-1, var.size)
    for c in range(var.size):
        (mean[0, c], var[c], _), mean[1, c] = moments(x[:, c]), 0


@twin_of(batch_norm.running_average, lambda rng, s: [rng.standard_normal(s), 0.9, rng.standard_normal(s)], FLAT)
def running_average(running, momentum, value):
    for c in range(running.size):
        running[c] = momentum * running[c] + (1 - momentum) * value[c]


def make_batch_norm(rng, shape):
    c = shape[1]
    mean, gamma, beta = rng.standard_normal((3, c))
    x, y = wide(rng.standard_normal(shape), shape), wide(empty(shape), shape)
    numbers = as_rounded(mean, 0), rng.uniform(0.5, 2, c), 1e-3, gamma, beta
    return [x, CUTS[shape][1], *numbers, empty(c), -0.5, y, norm_scratch(c)[1]]


@both(batch_norm, "batch_norm", make_batch_norm, CUTS)
def normalise_batch(x, parts, mean, var, eps, gamma, beta, inv_std, floor, y, work):
    x, y, mean = x.reshape(-1, var.size), y.reshape(-1, var.size), mean.sum(0)
    for r, c in np.ndindex(x.shape):
        inv_std[c] = 1 / math.sqrt(var[c] + eps)
        y[r, c] = max(floor, gamma[c] * (x[r, c] - mean[c]) / math.sqrt(var[c] + eps) + beta[c])


def make_batch_norm_backward(training):
    def make(rng, shape):
        x, dy, dx, (rows, c) = rng.standard_normal(shape), rng.standard_normal(shape), empty(shape), shape
        mean, inv_std = x.mean(axis=0), 1 / np.sqrt(x.var(axis=0) + 1e-3)
        share = 1 / rows if training else 0.0
        state = [
            as_rounded(mean, 0),
            inv_std,
            rng.standard_normal(c),
            share,
            wide(dy, shape),
            empty(c),
            empty(c),
            wide(dx, shape),
        ]
        return [wide(x, shape), CUTS[shape][1], *state, *norm_scratch(c)]

    return make


@both(batch_norm, "batch_norm_backward", make_batch_norm_backward(training=False), CUTS, sums=True)
@both(batch_norm, "batch_norm_backward", make_batch_norm_backward(training=True), CUTS, sums=True)
def batch_norm_backward(x, parts, mean, inv_std, gamma, share, dy, dgamma, dbeta, dx, partial, work):
    # Through the chain of Ioffe and Szegedy's section 3: d xhat, d var, d mean, dx, column by column. Mean and variance
    # depend on each x by a share of 1 / rows, or do not.
    x, dy, dx, mean = *(array.reshape(-1, inv_std.size) for array in (x, dy, dx)), mean.sum(0)
    for c in range(mean.size):
        column, d_xhat = x[:, c] - mean[c], dy[:, c] * gamma[c]
        d_var = math.fsum(d * v for d, v in zip(d_xhat, column, strict=True)) * -0.5 * inv_std[c] ** 3
        d_mean = -inv_std[c] * math.fsum(d_xhat) - d_var * 2 * math.fsum(column) * share
        for r in range(len(x)):
            dx[r, c] = d_xhat[r] * inv_std[c] + d_var * 2 * column[r] * share + d_mean * share
        dgamma[c] = math.fsum(dy[:, c] * column * inv_std[c])
        dbeta[c] = math.fsum(dy[:, c])


def make_layer_norm(rng, shape):
    n, c = shape
    gamma, beta = rng.standard_normal((2, c))
    return [rng.standard_normal(shape), CUTS[shape][1], 1e-3, gamma, beta, *map(empty, ((n, 2), n, shape))]


@both(layer_norm, "layer_norm", make_layer_norm, CUTS, sums=True)
def normalise_rows(x, parts, eps, gamma, beta, mean, inv_std, y):
    for r, c in np.ndindex(x.shape):
        (mean[r, 0], _, inv_std[r]), mean[r, 1] = moments(x[r], eps), 0
        y[r, c] = gamma[c] * (x[r, c] - mean[r, 0]) * inv_std[r] + beta[c]


def make_layer_norm_backward(rng, shape):
    x, dy, c = rng.standard_normal(shape), rng.standard_normal(shape), shape[1]
    mean, inv_std, gamma = x.mean(axis=1), 1 / np.sqrt(x.var(axis=1) + 1e-3), rng.standard_normal(c)
    outputs = [empty(c), empty(c), empty(shape), norm_scratch(c)[0]]
    return [x, CUTS[shape][1], as_rounded(mean, 1), inv_std, gamma, dy, *outputs]


@both(layer_norm, "layer_norm_backward", make_layer_norm_backward, CUTS, sums=True)
def layer_norm_backward(x, parts, mean, inv_std, gamma, dy, dgamma, dbeta, dx, partial):
    mean = mean.sum(1)
    for r in range(len(x)):
        dx[r] = gradient_of_normalised(x[r], mean[r], inv_std[r], dy[r] * gamma)
    for c in range(gamma.size):
        dgamma[c] = math.fsum(dy[r, c] * (x[r, c] - mean[r]) * inv_std[r] for r in range(len(x)))
        dbeta[c] = math.fsum(dy[:, c])


def gradient_of_normalised(values, mean, inv_std, d_xhat):
    """Through the same chain as batch norm's: of any set of numbers brought to mean 0 and variance 1 together."""
    centred = values - mean
    d_var = math.fsum((d_xhat * centred).reshape(-1)) * -0.5 * inv_std**3
    d_mean = -inv_std * math.fsum(d_xhat.reshape(-1)) - d_var * 2 * math.fsum(centred.reshape(-1)) / values.size
    return d_xhat * inv_std + d_var * 2 * centred / values.size + d_mean / values.size


# (n, positions, channels): (groups, positions side by side, parts).
GROUPED = {
    (1, 1, 1): (1, 1, 1),
    (3, 1, 17): (17, 1, 2),
    (2, 5, 17): (1, 1, 1),
    (5, 48, 6): (3, 4, 2),
    (2, 272, 4): (2, 4, 2),
}


def wide_samples(x):
    return x.reshape(len(x), -1, GROUPED[x.shape][1] * x.shape[2])


def by_group(x, groups, channels):
    """A view (n, positions, groups, channels of a group)."""
    return x.reshape(len(x), -1, groups, channels // groups)


def make_group_norm(rng, shape):
    (n, _, c), (groups, _, parts) = shape, GROUPED[shape]
    x, y, (gamma, beta) = 2 + rng.standard_normal(shape), empty(shape), rng.standard_normal((2, c))
    statistics = [empty((n, groups, 2)), empty((n, groups))]
    return [wide_samples(x), parts, 1e-3, gamma, beta, *statistics, -0.5, wide_samples(y), norm_scratch(c)[1]]


@both(group_norm, "group_norm", make_group_norm, GROUPED, sums=True)
def normalise_groups(x, parts, eps, gamma, beta, mean, inv_std, floor, y, work):
    n, groups = inv_std.shape
    x, y = by_group(x, groups, gamma.size), by_group(y, groups, gamma.size)
    for i, g in np.ndindex(n, groups):
        (mean[i, g, 0], _, inv_std[i, g]), mean[i, g, 1] = moments(x[i, :, g].reshape(-1), eps), 0
        gain, shift = gamma.reshape(groups, -1)[g], beta.reshape(groups, -1)[g]
        y[i, :, g] = np.maximum(gain * (x[i, :, g] - mean[i, g, 0]) * inv_std[i, g] + shift, floor)


def make_group_norm_backward(rng, shape):
    c, (groups, _, parts) = shape[2], GROUPED[shape]
    x, dy, dx = rng.standard_normal(shape), rng.standard_normal(shape), empty(shape)
    values = by_group(x, groups, c)
    mean, inv_std = values.mean(axis=(1, 3)), 1 / np.sqrt(values.var(axis=(1, 3)) + 1e-3)
    outputs = [empty(c), empty(c), wide_samples(dx), *norm_scratch(c)]
    return [wide_samples(x), parts, as_rounded(mean, 2), inv_std, rng.standard_normal(c), wide_samples(dy), *outputs]


@both(group_norm, "group_norm_backward", make_group_norm_backward, GROUPED, sums=True)
def group_norm_backward(x, parts, mean, inv_std, gamma, dy, dgamma, dbeta, dx, partial, work):
    (n, groups), mean = inv_std.shape, mean.sum(2)
    x, dy, dx = (by_group(array, groups, gamma.size) for array in (x, dy, dx))
    gain = gamma.reshape(groups, -1)
    for i, g in np.ndindex(n, groups):
        dx[i, :, g] = gradient_of_normalised(x[i, :, g], mean[i, g], inv_std[i, g], dy[i, :, g] * gain[g])
    for g, c in np.ndindex(gain.shape):
        xhat = (x[:, :, g, c] - mean[:, g, None]) * inv_std[:, g, None]
        dgamma.reshape(gain.shape)[g, c] = math.fsum((dy[:, :, g, c] * xhat).reshape(-1))
        dbeta.reshape(gain.shape)[g, c] = math.fsum(dy[:, :, g, c].reshape(-1))


# Update rules ------------------------------------------------------------------------------------------------


def make_update(*kinds):
    """Parameters and gradients, then what ``kinds`` says: state that is "any", "positive" or "zero", or a number."""

    def make(rng, shape):
        state = {"any": rng.standard_normal, "positive": lambda size: rng.uniform(0.1, 1, size), "zero": np.zeros}
        arrays = [rng.standard_normal(shape), rng.standard_normal(shape)]
        return arrays + [state[kind](shape) if isinstance(kind, str) else kind for kind in kinds]

    return make


@twin_of(update.sgd, make_update(-0.1, -0.2), [*FLAT, LARGE])
def sgd(p, g, rate, pull):
    for i in range(p.size):
        p[i] = (1 - rate * pull) * p[i] + rate * g[i]
    return True


@twin_of(update.momentum, make_update("any", 0.2, -0.1, 0.5, 0.2), [*FLAT, LARGE])
def momentum(p, g, v, rest, gain, rate, pull):
    for i in range(p.size):
        v[i] = (1 - rest) * v[i] + gain * g[i]
        p[i] = (1 - rate * pull) * p[i] + rate * v[i]
    return True


@twin_of(update.nesterov, make_update("any", 0.2, -0.1, 0.5, 0.2), [*FLAT, LARGE])
def nesterov(p, g, v, rest, gain, rate, pull):
    for i in range(p.size):
        v[i] = (1 - rest) * v[i] + gain * g[i]
        p[i] = (1 - rate * pull) * p[i] + rate * ((1 - rest) * v[i] + gain * g[i])
    return True


@twin_of(update.nesterov_look_ahead, make_update("any", "any", 0.2, 0.1, 0.01), [*FLAT, LARGE])
def nesterov_look_ahead(p, g, v, x, rest, lr, decay):
    for i in range(p.size):
        v[i] = (1 - rest) * v[i] - lr * g[i]
        x[i] = (1 - decay) * x[i] + v[i]
        p[i] = x[i] + (1 - rest) * v[i]
    return True


@twin_of(update.adagrad, make_update("positive", 0.1, 0.02, 0.03, 0.01), [*FLAT, LARGE])
def adagrad(p, g, s, lr, eps_root, eps, decay):
    for i in range(p.size):
        s[i] = s[i] + g[i] ** 2
        p[i] = (1 - decay) * p[i] - lr * g[i] / (math.sqrt(s[i] + eps_root) + eps)
    return True


@twin_of(update.rmsprop, make_update("positive", 0.2, 0.1, 0.02, 0.03, 0.01), [*FLAT, LARGE])
def rmsprop(p, g, s, rest, lr, eps_root, eps, decay):
    for i in range(p.size):
        s[i] = (1 - rest) * s[i] + rest * g[i] ** 2
        p[i] = (1 - decay) * p[i] - lr * g[i] / (math.sqrt(s[i] + eps_root) + eps)
    return True


@twin_of(update.adadelta, make_update("positive", "positive", 0.2, 0.5, 0.02, 0.01), [*FLAT, LARGE])
def adadelta(p, g, s, d, rest, lr, eps, decay):
    for i in range(p.size):
        s[i] = (1 - rest) * s[i] + rest * g[i] ** 2
        change = math.sqrt(d[i] + eps) / math.sqrt(s[i] + eps) * g[i]
        d[i] = (1 - rest) * d[i] + rest * change**2
        p[i] = (1 - decay) * p[i] - lr * change
    return True


@twin_of(
    update_adam.adam,
    make_update("any", "positive", 0.1, 0.02, 0.1, 1.5, 0.02, 0.02),
    [*FLAT, LARGE],
)
def adam(p, g, m, v, rest1, rest2, rate, root_fix, eps, decay):
    for i in range(p.size):
        m[i] = (1 - rest1) * m[i] + rest1 * g[i]
        v[i] = (1 - rest2) * v[i] + rest2 * g[i] ** 2
        p[i] = (1 - decay) * p[i] - rate * m[i] / (root_fix * math.sqrt(v[i]) + eps)
    return True


@twin_of(
    update.rmsprop_momentum,
    make_update("positive", "any", 0.2, 0.3, 0.7, -0.1, 0.02, 0.03, 0.01),
    [*FLAT, LARGE],
)
def rmsprop_momentum(p, g, s, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    for i in range(p.size):
        s[i] = (1 - rest) * s[i] + rest * g[i] ** 2
        v[i] = (1 - mu_rest) * v[i] + gain * g[i] / (math.sqrt(s[i] + eps_root) + eps)
        p[i] = (1 - decay) * p[i] + rate * v[i]
    return True


@twin_of(
    update.rmsprop_centred,
    make_update("positive", "any", 0.2, 0.1, 0.02, 0.03, 0.01),
    [*FLAT, LARGE],
)
def rmsprop_centred(p, g, s, m, rest, lr, eps_root, eps, decay):
    for i in range(p.size):
        s[i] = (1 - rest) * s[i] + (1 - rest) * rest * (g[i] - m[i]) ** 2
        m[i] = (1 - rest) * m[i] + rest * g[i]
        p[i] = (1 - decay) * p[i] - lr * g[i] / (math.sqrt(s[i] + eps_root) + eps)
    return True


@twin_of(
    update.rmsprop_centred_momentum,
    make_update("positive", "any", "any", 0.2, 0.3, 0.7, -0.1, 0.02, 0.03, 0.01),
    [*FLAT, LARGE],
)
def rmsprop_centred_momentum(p, g, s, m, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    for i in range(p.size):
        s[i] = (1 - rest) * s[i] + (1 - rest) * rest * (g[i] - m[i]) ** 2
        m[i] = (1 - rest) * m[i] + rest * g[i]
        v[i] = (1 - mu_rest) * v[i] + gain * g[i] / (math.sqrt(s[i] + eps_root) + eps)
        p[i] = (1 - decay) * p[i] + rate * v[i]
    return True


@twin_of(
    update_adam.amsgrad,
    make_update("any", "positive", "positive", 0.1, 0.2, 0.1, 1.5, 0.02, 0.02),
    [*FLAT, LARGE],
)
def amsgrad(p, g, m, v, w, rest1, rest2, rate, root_fix, eps, decay):
    for i in range(p.size):
        m[i] = (1 - rest1) * m[i] + rest1 * g[i]
        v[i] = (1 - rest2) * v[i] + rest2 * g[i] ** 2
        w[i] = v[i] if v[i] > w[i] else w[i]
        p[i] = (1 - decay) * p[i] - rate * m[i] / (root_fix * math.sqrt(w[i]) + eps)
    return True


@twin_of(update_adam.adamax, make_update("any", "positive", 0.1, 0.2, 0.1, 0.02, 0.03, 0.02), [*FLAT, LARGE])
def adamax(p, g, m, u, rest1, rest2, rate, eps_norm, eps, decay):
    for i in range(p.size):
        m[i] = (1 - rest1) * m[i] + rest1 * g[i]
        size = math.fabs(g[i]) + eps_norm
        u[i] = max(size, (1 - rest2) * u[i])
        p[i] = (1 - decay) * p[i] - rate * m[i] / (u[i] + eps)
    return True


@twin_of(
    update_adam.nadam,
    make_update("any", "positive", 0.1, 0.02, 0.1, 0.3, 1.5, 0.02, 0.02),
    [*FLAT, LARGE],
)
def nadam(p, g, m, v, rest1, rest2, rate_m, rate_g, root_fix, eps, decay):
    for i in range(p.size):
        m[i] = (1 - rest1) * m[i] + rest1 * g[i]
        v[i] = (1 - rest2) * v[i] + rest2 * g[i] ** 2
        p[i] = (1 - decay) * p[i] - (rate_m * m[i] + rate_g * g[i]) / (root_fix * math.sqrt(v[i]) + eps)
    return True


@twin_of(update_adam.lion, make_update("any", 0.1, 0.3, 0.1, 0.02), [*FLAT, LARGE])
def lion(p, g, m, rest1, rest2, lr, decay):
    for i in range(p.size):
        p[i] = (1 - decay) * p[i] - lr * np.sign((1 - rest1) * m[i] + rest1 * g[i])
        m[i] = (1 - rest2) * m[i] + rest2 * g[i]
    return True


@twin_of(update_schedule_free.schedule_free_sgd, make_update("any", 0.1, 0.2, 0.05, 0.3), [*FLAT, LARGE])
def schedule_free_sgd(p, g, z, rate, pull, push, decay):
    for i in range(p.size):
        d = g[i] + decay * p[i]
        p[i] = (1 - pull) * p[i] + pull * z[i] - push * d
        z[i] = z[i] - rate * d
    return True


@twin_of(
    update_schedule_free.schedule_free_adamw,
    make_update("any", "positive", 0.02, 0.1, 0.2, 0.05, 1.5, 0.02, 0.3),
    [*FLAT, LARGE],
)
def schedule_free_adamw(p, g, z, v, rest2, rate, pull, push, root_fix, eps, decay):
    for i in range(p.size):
        v[i] = (1 - rest2) * v[i] + rest2 * g[i] ** 2
        d = g[i] / (root_fix * math.sqrt(v[i]) + eps) + decay * p[i]
        p[i] = (1 - pull) * p[i] + pull * z[i] - push * d
        z[i] = z[i] - rate * d
    return True


# What combinators do -----------------------------------------------------------------------------------------


@twin_of(gradients.combine, lambda rng, s: [rng.standard_normal(s), 0.8, rng.standard_normal(s), 0.3], [*FLAT, LARGE])
def combine(x, a, y, b):
    for i in range(x.size):
        x[i] = a * x[i] + b * y[i]


@twin_of(
    gradients.mix,
    lambda rng, s: [rng.standard_normal(s), rng.standard_normal(s), 0.3],
    [*FLAT, LARGE],
)
def mix(average, values, share):
    for i in range(average.size):
        average[i] = (1 - share) * average[i] + share * values[i]


@twin_of(gradients.look_ahead, make_update(0.3), [*FLAT, LARGE])
def look_ahead(p, slow, share):
    slow[:] = (1 - share) * slow + share * p
    p[:] = slow


@twin_of(gradients.scaled, lambda rng, s: [rng.standard_normal(s), 0.3, empty(s)], [*FLAT, LARGE])
def scaled(x, factor, y):
    y[:] = factor * x


@twin_of(gradients.clip_values, lambda rng, s: [rng.standard_normal(s), 0.3], [*FLAT, LARGE])
def clip_values(x, bound):
    for i in range(x.size):
        x[i] = min(max(x[i], -bound), bound)


@twin_of(gradients.add_norm, lambda rng, s: [rng.standard_normal(s), np.zeros(3)], FLAT, sums=True)
def add_norm(x, sums):
    sums[0] = math.fsum(x**2)
    sums[2] = math.sqrt(sums[0])
    sums[1] = sums[0] * (2.0**-80) ** 2  # tiny beside the bound, in either precision
    return True


@twin_of(gradients.limit, lambda rng, s: [rng.standard_normal(s), np.full(3, 0.8), np.float64(0.3)], FLAT)
def limit(x, sums, bound):
    x *= bound / sums[2]


@twin_of(means.squares_fit, lambda rng, s: [rng.standard_normal(s)], FLAT)
def squares_fit(g):
    return True


@twin_of(gradients.square, lambda rng, s: [rng.standard_normal(s), 0.3], [*FLAT, LARGE])
def square(x, factor):
    for i in range(x.size):
        x[i] = factor * x[i] ** 2


def make_noise(rng, shape):
    return [rng.standard_normal(shape), STREAM, 7, 1000, np.float64(0.3)]


@twin_of(gradients.add_noise, make_noise, [*FLAT, LARGE])
def add_noise(g, stream, step, first, scale):
    base = mixed((int(stream) + mixed(step * GOLDEN & MASK)) & MASK)
    for i, bits in enumerate(list(splitmix64(base, first + g.size))[first:]):
        # Box and Muller 1958, equation 1, with the upper and the lower half of the bits.
        upper, lower = ((bits >> 32) + 1) / 2**32, (bits % 2**32) / 2**32
        g[i] = g[i] + scale * math.sqrt(-2 * math.log(upper)) * math.cos(2 * math.pi * lower)


@twin_of(
    gradients.clip_units,
    lambda rng, s: [
        *(rng.standard_normal(s) * np.logspace(-3, 1, s[1]), rng.standard_normal(s)),
        *(np.float64(0.7), np.float64(0.5)),
    ],
    sums=True,
)
def clip_units(W, G, share, least):
    for u in range(W.shape[1]):
        bound = share * max(math.sqrt(math.fsum(v * v for v in W[:, u])), least)
        norm = math.sqrt(math.fsum(v * v for v in G[:, u]))
        for i in range(W.shape[0]):
            G[i, u] = G[i, u] * min(1.0, bound / norm)
    return True


# Update rules that look at a whole tensor ----------------------------------------------------------------------

MATRICES = [(1, 1, 1), (2, 33, 5), (1, 70, 1003)]  # one element; two matrices of two tasks; several threads


def flat_scratch(shape, columns):
    return empty((update_tensor.flat_parts(shape[0]), columns))


def make_tensor_update(*kinds, columns=0):
    """As ``make_update``, with ``partial`` of so many columns behind."""

    def make(rng, shape):
        return make_update(*kinds)(rng, shape) + ([flat_scratch(shape, columns)] if columns else [])

    return make


def norm(x):
    return math.sqrt(math.fsum(float(v) ** 2 for v in x))


def with_rate(make):
    """``make``, with an array of one element behind: a rate or a factor for the next kernel."""
    return lambda rng, shape: [*make(rng, shape), empty((1,))]


RATES = tuple(map(np.float64, (0.7, 0.3, 0.2, 0.1)))  # in double precision for any arrays


@twin_of(update_tensor.lars_rate, with_rate(make_tensor_update(0.3, *RATES, columns=3)), [*FLAT, LARGE], sums=True)
def lars_rate(p, g, inside, beside, lr, trust, eps, partial, rate):
    rate[0] = lr * trust * norm(p) / (norm(g + inside * p) + beside * norm(p) + eps)
    return True


@twin_of(update_tensor.lars, make_update("any", 0.2, np.full(1, 0.1), 0.3), [*FLAT, LARGE])
def lars(p, g, v, rest, rate, decay):
    for i in range(p.size):
        v[i] = (1 - rest) * v[i] + rate[0] * (g[i] + decay * p[i])
        p[i] = p[i] - v[i]


LAMB = ("any", "positive", 0.1, 0.02, 1.2, 1.5, 0.02, 0.3)


def lamb_direction(p, m, v, mean_fix, root_fix, eps, decay):
    return [mean_fix * m[i] / (root_fix * math.sqrt(v[i]) + eps) + decay * p[i] for i in range(p.size)]


@twin_of(
    update_tensor.lamb_moments, with_rate(make_tensor_update(*LAMB, *RATES[:2], columns=3)), [*FLAT, LARGE], sums=True
)
def lamb_moments(p, g, m, v, rest1, rest2, mean_fix, root_fix, eps, decay, shrunk, lr, partial, rate):
    for i in range(p.size):
        m[i] = (1 - rest1) * m[i] + rest1 * g[i]
        v[i] = (1 - rest2) * v[i] + rest2 * g[i] ** 2
    rate[0] = lr * shrunk * norm(p) / norm(lamb_direction(p, m, v, mean_fix, root_fix, eps, decay))
    return True


@twin_of(
    update_tensor.lamb,
    lambda rng, shape: (
        [array for i, array in enumerate(make_update(*LAMB[:2])(rng, shape)) if i != 1]
        + [1.2, 1.5, 0.02, 0.3, np.full(1, 0.1), 0.02]
    ),
    [*FLAT, LARGE],
)
def lamb(p, m, v, mean_fix, root_fix, eps, inside, rate, decay):
    p[:] = (1 - decay) * p - rate[0] * np.array(lamb_direction(p, m, v, mean_fix, root_fix, eps, inside))


def make_factor_sums(rng, shape):
    k, n, m = shape
    p, g, rows, cols = rng.standard_normal(shape), rng.standard_normal(shape), rng.random((k, n)), rng.random((k, m))
    partial = empty((k * update_tensor.row_parts(n), m + 1))
    return [p, g, 0.2, 0.05, 0.3, rows, cols, empty((k, n)), empty((k, m)), partial]


@twin_of(update_tensor.factor_sums, make_factor_sums, MATRICES, sums=True)
def factor_sums(p, g, rest, eps, least, rows, cols, row_roots, col_roots, partial):
    k, n, m = g.shape
    for matrix in range(k):
        for i in range(n):
            rows[matrix, i] = (1 - rest) * rows[matrix, i] + rest * (math.fsum(g[matrix, i] ** 2) / m + eps)
        for j in range(m):
            cols[matrix, j] = (1 - rest) * cols[matrix, j] + rest * (math.fsum(g[matrix, :, j] ** 2) / n + eps)
        row_roots[matrix] = np.sqrt(max(math.fsum(rows[matrix]) / n, least) / rows[matrix])
        col_roots[matrix] = 1 / np.sqrt(cols[matrix])
    return True


def make_factored(*numbers):
    def make(rng, shape):
        k, n, m = shape
        arrays = [rng.standard_normal(shape), rng.uniform(1, 3, (k, n)), rng.uniform(1, 3, (k, m))]
        return [*arrays, 4.0, *(number(shape) if callable(number) else number for number in numbers)]

    return make


def inverse_root(row_roots, col_roots, top):
    return np.minimum(row_roots[:, :, None] * col_roots[:, None, :], top)


def clipped_rate(lr, by_size, least, clip, p_squares, u_squares):
    size, length = (math.sqrt(np.mean(squares)) for squares in (p_squares, u_squares))
    return lr * max(least, by_size * size) / max(1, length / clip)


def squares_of_p(shape):
    return np.full((shape[0] * update_tensor.row_parts(shape[1]), shape[2] + 1), 0.4)


@twin_of(update_tensor.factored_rate, with_rate(make_factored(*RATES, squares_of_p)), MATRICES, sums=True)
def factored_rate(g, row_roots, col_roots, top, lr, by_size, least, clip, partial, rate):
    u = g * inverse_root(row_roots, col_roots, top)
    rate[0] = clipped_rate(lr, by_size, least, clip, partial[:, -1].sum() / g.size, u**2)


@twin_of(update_tensor.row_means, lambda rng, s: [rng.standard_normal(s[:2]), empty((s[0], 1))], MATRICES, sums=True)
def row_means(x, means):
    means[:, 0] = [math.fsum(row) / row.size for row in x]


@twin_of(
    update_tensor.factored,
    lambda rng, shape: [rng.standard_normal(shape), *make_factored(np.full(1, 0.1), 0.02)(rng, shape)],
    MATRICES,
)
def factored(p, g, row_roots, col_roots, top, rate, decay):
    p[:] = (1 - decay) * p - rate[0] * g * inverse_root(row_roots, col_roots, top)


@twin_of(
    update_tensor.whole_squares,
    with_rate(make_tensor_update("positive", 0.2, 0.05, 0.3, *RATES, columns=2)),
    [*FLAT, LARGE],
    sums=True,
)
def whole_squares(p, g, v, rest, eps, floor, lr, by_size, least, clip, partial, rate):
    for i in range(p.size):
        v[i] = (1 - rest) * v[i] + rest * (g[i] ** 2 + eps)
    rate[0] = clipped_rate(lr, by_size, least, clip, p**2, g**2 / np.maximum(v, floor))


@twin_of(update_tensor.whole, make_update("positive", 0.3, np.full(1, 0.1), 0.02), [*FLAT, LARGE])
def whole(p, g, v, floor, rate, decay):
    for i in range(p.size):
        p[i] = (1 - decay) * p[i] - rate[0] * g[i] / math.sqrt(max(v[i], floor))


def make_smooth(rng, shape):
    arrays = [rng.standard_normal(shape), rng.standard_normal(shape)]
    return [*arrays, 0.2, 0.7, 0.3, *RATES[2:], empty(shape), flat_scratch(shape, 2), empty((1,))]


@twin_of(update_tensor.smooth, make_smooth, [*FLAT, LARGE], sums=True)
def smooth(g, m, rest, of_mean, of_gradient, least, beside, x, partial, factor):
    for i in range(g.size):
        m[i] = (1 - rest) * m[i] + rest * g[i]
        x[i] = of_mean * m[i] + of_gradient * g[i]
    factor[0] = 1 / (max(norm(x), least) + beside)
    return True


@twin_of(update_tensor.scale_by, lambda rng, shape: [rng.standard_normal(shape), np.full(1, 0.3)], FLAT)
def scale_by(x, factor):
    x *= factor[0]


@twin_of(
    update_tensor.quadratic,
    lambda rng, shape: [rng.standard_normal(shape), 3.4, -4.8, 2.0, rng.standard_normal(shape)],
    [(1, 1), (7, 7)],
)
def quadratic(A, a, b, c, S):
    for i, j in np.ndindex(A.shape):
        S[i, j] = (a if i == j else 0.0) + b * A[i, j] + c * S[i, j]


@twin_of(update_tensor.inner, make_tensor_update(columns=1), [*FLAT, LARGE], sums=True)
def inner(x, y, partial):
    return math.fsum(x * y)


@twin_of(update_tensor.same, lambda rng, shape: [np.ones(shape), np.ones(shape)], FLAT)
def same(x, y):
    return True


@twin_of(
    update_tensor.along,
    lambda rng, shape: [rng.standard_normal(shape), 0.3, rng.standard_normal(shape), empty(shape)],
    [*FLAT, LARGE],
)
def along(x, a, y, z):
    for i in range(x.size):
        z[i] = x[i] + a * y[i]


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


@DTYPES
@pytest.mark.parametrize("name", sorted(n for n in KERNELS if n.startswith("activation.") and n.endswith("_parallel")))
def test_a_parallel_activation_gives_the_bits_of_the_serial_one(name, dtype):
    x = (3 * np.random.default_rng(0).standard_normal((3, 50_001))).astype(dtype)  # several parts and a remainder
    arguments = [x, x[::-1].copy()] if name.endswith("backward_parallel") else [x]
    serial, parallel = np.empty_like(x), np.empty_like(x)
    KERNELS[name.removesuffix("_parallel")](*arguments, serial)
    KERNELS[name](*arguments, parallel)
    np.testing.assert_array_equal(serial, parallel)


def test_only_large_arrays_wake_a_second_thread():
    assert activation.for_size(249_999, activation.gelu, activation.gelu_parallel) is activation.gelu
    assert activation.for_size(250_000, activation.gelu, activation.gelu_parallel) is activation.gelu_parallel


@DTYPES
def test_softmax_is_right_for_more_classes_than_a_block_holds(dtype):
    scores = np.random.default_rng(0).standard_normal((3, 3001)).astype(dtype)
    labels, weights, gradient = np.array([0, 3000, 7]), np.full(3, 1 / 3, dtype), np.empty_like(scores)
    value = loss.softmax_cross_entropy(scores, labels, weights, None, dtype(0), gradient)
    p = np.exp(scores.astype(float)) / np.exp(scores.astype(float)).sum(axis=1, keepdims=True)
    expected = (p - (np.arange(3001) == labels[:, np.newaxis])) / 3
    bound = tolerance(dtype, scores[0].size)
    assert value == pytest.approx(-np.log(p[range(3), labels]).mean(), rel=bound)
    np.testing.assert_allclose(gradient, expected, rtol=bound)


def test_the_far_left_of_gelu_keeps_its_digits():
    # x * (1 + erf) / 2 would have none left here: erf is -1 to the last bit of float32 from about -4.
    x = np.array([[-4.0, -6.0, -9.0]], np.float32)
    expected = apply(ELEMENTWISE["gelu"][1], x)
    assert (np.abs(run_forward("gelu", x) / expected - 1) < 3 * EPS32).all()


def test_softmax_is_right_at_extreme_scores_in_float32():
    scores = np.array([[1000.0, -1000.0, 0.0], [1000.0, 1000.0, 1000.0], [-1000.0, 0.0, -1000.0]], np.float32)
    labels, weights = np.array([1, 2, 1]), np.array([0.5, 0.25, 0.25], np.float32)
    gradient = np.full_like(scores, np.nan)
    value = loss.softmax_cross_entropy(scores, labels, weights, None, np.float32(0), gradient)
    assert value == pytest.approx(0.5 * 2000 + 0.25 * math.log(3), rel=1e-6)
    expected = [[0.5, -0.5, 0.0], [1 / 12, 1 / 12, -1 / 6], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=4 * EPS32)


def test_smoothed_softmax_is_right_at_extreme_scores_in_float32():
    # In closed form, as the first score is the whole sum: 0.9 * 2000 + 0.1 / 3 * (0 + 2000 + 1000).
    scores, alike = np.array([[1000.0, -1000.0, 0.0]], np.float32), np.ones(3, np.float32)
    gradient = np.full_like(scores, np.nan)
    value = loss.softmax_cross_entropy(scores, np.array([1]), alike[:1], alike, np.float32(0.1), gradient)
    assert value == pytest.approx(1900, rel=1e-6)
    np.testing.assert_allclose(gradient, [[29 / 30, -28 / 30, -1 / 30]], rtol=4 * EPS32)


@pytest.mark.parametrize(
    ("score", "target", "value", "slope"),
    [
        (1000.0, 1.0, 0.0, 0.0),
        (1000.0, 0.0, 1000.0, 1.0),
        (-1000.0, 1.0, 1000.0, -1.0),
        (-1000.0, 0.0, 0.0, 0.0),
        (1000.0, 0.25, 750.0, 0.75),
        (0.0, 0.5, math.log(2), 0.0),
    ],
)
def test_logistic_is_right_at_extreme_scores_in_float32(score, target, value, slope):
    scores, targets = np.array([[score]], np.float32), np.array([[target]], np.float32)
    gradient = np.full_like(scores, np.nan)
    assert loss.logistic(scores, targets, np.ones(1, np.float32), gradient) == pytest.approx(value, rel=1e-6)
    assert gradient[0, 0] == pytest.approx(slope, rel=1e-6)


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


@DTYPES
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_number_anywhere_is_found(bad, dtype):
    # Sizes from part of a vector register to several unrolled ones with a remainder.
    for size in (1, 2, 7, 16, 67, 131):
        x = np.ones((1, size), dtype)
        for place in range(size):
            x[0, place] = bad
            assert not flat.all_finite(x), (size, place)
            x[0, place] = 1


@DTYPES
def test_infinities_that_cancel_are_found(dtype):
    assert not flat.all_finite(np.array([[np.inf, -np.inf, 1.0]], dtype))


@DTYPES
def test_the_largest_and_smallest_numbers_are_finite(dtype):
    info = np.finfo(dtype)
    # Enough of the largest to overflow any sum of them.
    assert flat.all_finite(np.full((2, 67), info.max, dtype))
    assert flat.all_finite(np.array([[info.max, info.min, info.tiny, info.smallest_subnormal, -0.0]], dtype))


@DTYPES
@pytest.mark.parametrize(
    ("kernel", "scalars"),
    [
        (loss.softmax_cross_entropy, [np.ones(5), 0.1]),
        (loss.multiclass_hinge, [1.0]),
        (loss.squared_hinge, [1.0]),
        (loss.logistic, []),
        (loss.squared_error, []),
        (loss.absolute_error, []),
        (loss.huber, [1.0]),
    ],
    ids=lambda value: value.py_func.__name__ if hasattr(value, "py_func") else "",
)
def test_a_nan_score_anywhere_makes_the_loss_nan(kernel, scalars, dtype):
    labelled = kernel in (loss.softmax_cross_entropy, loss.multiclass_hinge, loss.squared_hinge)
    wanted = np.array([1, 3]) if labelled else np.full((2, 5), 0.5, dtype)
    for i, j in np.ndindex(2, 5):
        scores = np.zeros((2, 5), dtype)
        scores[i, j] = np.nan
        rest = (in_precision(value, dtype) for value in scalars)
        value = kernel(scores, wanted, np.full(2, 0.5, dtype), *rest, np.empty_like(scores))
        assert math.isnan(value), (i, j)


@DTYPES
def test_a_nan_or_overflowing_gradient_shows_in_its_norm(dtype):
    x = np.ones(5000, dtype)
    for bad in (np.nan, np.inf, -np.inf):
        x[4321] = bad
        assert not math.isfinite(flat.sum_of_squares(x))


# Accuracy of long sums ---------------------------------------------------------------------------------------


def test_a_float32_sum_of_squares_of_a_million_numbers_is_accurate():
    x = np.full(1_000_003, 0.1, np.float32)
    expected = x.size * float(np.float32(0.1)) ** 2
    # Blocks of 4096 in float32 err by sqrt(4096) roundings at the very most, in float64 the blocks add none.
    assert flat.sum_of_squares(x) == pytest.approx(expected, rel=64 * EPS32)


# Dropout's noise ---------------------------------------------------------------------------------------------


def kept(shape, rate=0.5, stream=STREAM, step=0, dtype=np.float32):
    """Which elements dropout keeps."""
    y = empty(shape).astype(dtype)
    dropout(np.ones(shape, dtype), stream, step, below(rate), dtype(1), y)
    return y == 1


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9])
def test_dropout_drops_at_its_rate(rate):
    dropped = np.count_nonzero(~kept((400, 500), rate))
    # A binomial count: five standard deviations.
    assert abs(dropped - 200_000 * rate) < 5 * math.sqrt(200_000 * rate * (1 - rate))


def test_dropout_at_rate_0_keeps_all():
    assert kept((400, 500), 0.0).all()


def test_the_same_stream_and_step_give_the_same_noise():
    np.testing.assert_array_equal(kept((67, 9), step=3), kept((67, 9), step=3))


@pytest.mark.parametrize(
    "other",
    [{"step": 4}, {"step": 2**40}, {"stream": STREAM + np.uint64(1)}, {"stream": np.uint64(0)}],
    ids=["next step", "far step", "next stream", "zero stream"],
)
def test_another_stream_or_step_gives_unrelated_noise(other):
    first, second = kept((400, 500), step=3), kept((400, 500), **{"step": 3, **other})
    # Two fair coins agree half of the time: five standard deviations.
    assert abs(np.count_nonzero(first == second) - 100_000) < 5 * math.sqrt(200_000 / 4)


def test_neighbouring_elements_are_unrelated():
    noise = kept((400, 500)).reshape(-1)
    for distance in (1, 2, 3, 500):
        agree = np.count_nonzero(noise[distance:] == noise[:-distance])
        pairs = noise.size - distance
        assert abs(agree - pairs / 2) < 5 * math.sqrt(pairs / 4), distance


def test_the_noise_does_not_depend_on_shape_or_precision():
    expected = kept((6, 35)).reshape(-1)
    np.testing.assert_array_equal(kept((5, 42)).reshape(-1), expected)
    np.testing.assert_array_equal(kept((2, 3, 35), dtype=np.float64).reshape(-1), expected)
    np.testing.assert_array_equal(kept((6, 35), dtype=np.float64).reshape(-1), expected)
    # A longer array starts with the same noise.
    np.testing.assert_array_equal(kept((67, 9)).reshape(-1)[: expected.size], expected)


@DTYPES
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_of_a_dropped_channel_comes_through(bad, dtype):
    y = np.full((4, 3, 50), 7, dtype)
    dropout_channels(np.full_like(y, bad), STREAM, 0, below(0.5), dtype(2), np.empty(50, dtype), y)
    np.testing.assert_array_equal(np.isfinite(y), ~kept((4, 50))[:, None].repeat(3, axis=1))
    assert not y[np.isfinite(y)].any()


# Normal noise ------------------------------------------------------------------------------------------------


def normal(size, stream=STREAM, step=0, first=0, dtype=np.float64):
    g = np.zeros(size, dtype)
    gradients.add_noise(g, stream, step, first, 1.0)
    return g


def test_noise_is_normal():
    z = np.sort(normal(400_000))
    # Kolmogorov and Smirnov's distance from the normal distribution: 1.95 / sqrt(n) is exceeded once in a thousand.
    share = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in z[::40]])
    assert np.abs(share - (np.arange(z.size)[::40] + 0.5) / z.size).max() < 1.95 / math.sqrt(z.size)
    assert 4.5 < np.abs(z).max() < 6.7  # 400 000 deviates reach 4.5 all but surely


def test_noise_of_neighbours_steps_and_streams_is_uncorrelated():
    z, bound = normal(400_000), 5 / math.sqrt(400_000)
    others = [np.roll(z, 1), np.roll(z, 2), normal(400_000, step=1), normal(400_000, STREAM + np.uint64(1))]
    for other in others:
        assert abs(np.mean(z * other)) < bound
        assert abs(np.mean((z * z - 1) * (other * other - 1))) < 2 * bound


@DTYPES
def test_noise_is_that_of_the_element_wherever_the_array_begins(dtype):
    whole = normal(70_000, dtype=dtype)
    np.testing.assert_array_equal(normal(40_000, first=29_000, dtype=dtype), whole[29_000:69_000])
    np.testing.assert_array_equal(whole, normal(70_000).astype(dtype))


@DTYPES
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clipping_a_unit_that_is_not_finite_says_so_and_leaves_it(bad, dtype):
    W, G = np.ones((5, 3), dtype), np.full((5, 3), 9, dtype)
    G[2, 1] = bad
    before = G.copy()
    assert not gradients.clip_units(W, G, 0.1, 1e-3)
    np.testing.assert_array_equal(G[:, 1], before[:, 1])
    assert (G[:, [0, 2]] < 1).all()


# How kernels are compiled ------------------------------------------------------------------------------------


def test_every_kernel_is_cached_and_keeps_nan_and_infinity():
    # "nnan" and "ninf", which fastmath=True implies, would let isnan and 0 * x be optimised away.
    assert not FAST & {"nnan", "ninf", "fast"}
    for name, kernel in KERNELS.items():
        assert kernel.targetoptions["fastmath"] <= FAST, name
        assert kernel.targetoptions["error_model"] == "numpy", name
        shared = kernel.py_func.__module__.endswith(
            ("channels", "chunks", "elementary", "means", "noise", "simd", "sums")
        )
        is_helper = (
            (shared and name != "means.squares_fit")
            or kernel.py_func.__name__.startswith("_")
            or name.endswith(".with_borders")
        )
        assert bool(kernel._cache.cache_path) != is_helper, name


def test_a_change_in_a_helpers_file_is_noticed(tmp_path):
    # Numba itself looks only at the file of the kernel when it decides whether kept code is still good.
    package = tmp_path / "minnet"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    helper, kernel = package / "kernels" / "first.py", package / "kernels" / "second.py"
    helper.write_text("from .compile import helper\n\n@helper\ndef number():\n    return 20\n")
    kernel.write_text(
        "from .compile import kernel\nfrom .first import number\n\n@kernel\ndef twice():\n    return 2 * number()\n"
    )

    def run():
        program = "from minnet.kernels.second import twice; print(twice(), sum(twice.stats.cache_hits.values()))"
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert run() == ["40", "0"]
    assert run() == ["40", "1"], "code that is still good is compiled again"
    helper.write_text(helper.read_text().replace("20", "505"))
    assert run() == ["1010", "0"]
