"""Kernels of convolutions, borders and Winograd's transforms against naive twins."""

import math
from fractions import Fraction

import numpy as np
import pytest
from twins import Table, check_twin, each_axis, empty

from minnet.kernels.vector import borders, conv, few_filters, product, winograd
from minnet.layers.convolution import DirectConvolution, FewFiltersConvolution, Geometry

TWINS = Table()
twin_of = TWINS.twin_of


@pytest.mark.parametrize(TWINS.names, TWINS)
def test_a_kernel_equals_its_naive_twin(name, twin, make, shape, terms, dtype):
    check_twin(name, twin, make, shape, terms, dtype)


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


def make_few_filters(floor):
    def make(rng, shape):
        x_shape, W_shape, y_shape, _ = geometry(shape)
        g = Geometry(x_shape[1:], y_shape[1:], W_shape[:2], *[shape[10]] * 2, *map(each_axis, (shape[7], 1, shape[8])))
        run = FewFiltersConvolution(g)
        (top, rows), (left, columns) = g.borders(0), g.borders(1)
        work, _ = product.new_work(np.dtype(np.float32), run.work)
        x, *weights = (rng.standard_normal(shape) for shape in (x_shape, W_shape, y_shape[3]))
        start = ((top - g.top) * columns + left - g.left) * x_shape[3]
        pixels = start + conv.pixel_offsets(*y_shape[1:3], g.stride, columns, x_shape[3])
        down = g.dilation[0] * columns * x_shape[3]
        scratch = [np.zeros(run.scratch), np.zeros(work.shape)]
        return [x, top, left, (rows, columns), *weights, floor, empty(y_shape), down, pixels, *scratch]

    return make


def few_filters_convolution(x, top, left, size, W, bias, floor, y, down, pixels, *scratch):
    images, (kh, kw) = with_borders(x, top, left, size), W.shape[:2]
    for n, i, j, f in np.ndindex(y.shape):
        row, column = divmod(pixels[i * y.shape[2] + j] // x.shape[3], size[1])
        patch = images[n, row :: down // (size[1] * x.shape[3]), column:][:kh, :kw]
        y[n, i, j, f] = max(floor, bias[f] + math.fsum((patch * W[..., f]).reshape(-1)))


FEW_FILTERS = [
    (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1),
    (3, 5, 6, 3, 2, 2, 3, 2, 1, 1, 1, 1),
    (2, 4, 5, 33, 3, 3, 2, 1, 1, 1, 1, 1),  # three filters, rows of two vectors and a half
    (2, 5, 4, 16, 4, 2, 3, 1, 1, 1, 0, 1),  # whole vectors
    (9, 6, 5, 17, 1, 5, 5, 1, 1, 1, 2, 1),
    (2, 7, 6, 12, 3, 3, 3, (2, 3), (2, 1), 1, 1, 1),  # strides, dilated along the rows
    (2, 6, 5, 8, 4, 3, 3, 1, 1, 1, -1, 1),  # cropped
]
for _floor in (-math.inf, 0.0):
    twin_of(few_filters.conv_few_filters, make_few_filters(_floor), shapes=FEW_FILTERS, sums=True)(
        few_filters_convolution
    )


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
