"""Pooling over windows of images (n, H, W, C), channels last. Windows may overlap and stick out over the border.

``window`` holds six whole numbers, since an array takes less time to hand over than tuples do: size, stride, and
corner, each along the rows and along the columns. corner is how many rows and columns the first window starts above and
to the left of the image.
"""

from typing import Any

from llvmlite import ir
from numba import prange, types
from numba.core import cgutils

from .. import plain
from ..compile import exact_helper, helper, kernel, parallel_kernel, vector_code
from ..vector.simd import VECTOR_BYTES, Emitter
from ..vector.sums import DEPTH


@helper
def _span(i, size, stride, corner, first, last):
    """Where window i starts and ends (exclusive) along an axis, within positions from first to last (exclusive)."""
    start = i * stride - corner
    return max(start, first), min(start + size, last)


@vector_code(plain.largest(VECTOR_BYTES))
def _largest(typingctx, X, x, row, column, rows, columns, Y, y):
    """One vector Y[y:] = largest of the vectors X[x + a * row + b * column:], a < rows, b < columns; a NaN wins."""
    n = types.intp

    def codegen(context, builder, signature, args):
        e = Emitter(context, builder, signature, args, X.dtype, VECTOR_BYTES)
        _, x, row, column, rows, columns, _, y = args
        source, row, column = e.address(0, x), e.scaled(row), e.scaled(column)
        best = cgutils.alloca_once_value(builder, e.load(source))
        with cgutils.for_range(builder, rows) as outer, cgutils.for_range(builder, columns) as inner:
            here = builder.add(builder.mul(outer.index, row), builder.mul(inner.index, column))
            value, before = e.load(builder.add(source, here)), builder.load(best)
            larger = builder.select(builder.fcmp_ordered(">", value, before), value, before)
            # LLVM's own maximum, in which a NaN wins as well, is unknown to older versions on x86.
            builder.store(builder.select(builder.fcmp_unordered("uno", value, value), value, larger), best)
        e.store(builder.load(best), e.address(6, y))
        return context.get_dummy_value()

    return types.void(X, n, n, n, n, n, Y, n), codegen


def _make_to_largest(whole: bool, apart: bool) -> Any:
    """Vector code that adds DY[y:] to DX where X first equals Y[y:] in the window, unless that is floor or less.

    For a vector of channels, or for the first ``lanes`` of one. If windows are apart, DX counts as 0 before.
    """

    @vector_code(plain.to_largest_apart if apart else plain.to_largest)
    def to_largest(typingctx, X, x, row, column, rows, columns, Y, DY, y, DX, lanes, floor):
        n = types.intp

        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, X.dtype, VECTOR_BYTES)
            _, x, row, column, rows, columns, _, _, y, _, lanes, floor = args

            def load(place):
                return e.load(place) if whole else e.load_first(lanes, place)

            source, target, row, column = e.address(0, x), e.address(9, x), e.scaled(row), e.scaled(column)
            best, gradient = load(e.address(6, y)), load(e.address(7, y))
            free = cgutils.alloca_once_value(builder, builder.fcmp_ordered(">", best, e.broadcast(floor)))
            with cgutils.for_range(builder, rows) as outer, cgutils.for_range(builder, columns) as inner:
                here = builder.add(builder.mul(outer.index, row), builder.mul(inner.index, column))
                place, left = builder.add(target, here), builder.load(free)
                equal = builder.fcmp_ordered("==", load(builder.add(source, here)), best)
                held = ir.Constant(e.vector, None) if apart else load(place)
                added = gradient if apart else builder.fadd(held, gradient)
                value = builder.select(builder.and_(left, equal), added, held)
                if whole:
                    e.store(value, place)
                else:
                    e.store_first(lanes, value, place)
                builder.store(builder.and_(left, builder.not_(equal)), free)
            return context.get_dummy_value()

        return types.void(X, n, n, n, n, n, Y, DY, n, DX, n, X.dtype), codegen

    return to_largest


_to_largest, _to_largest_in_part = _make_to_largest(True, False), _make_to_largest(False, False)
_to_largest_apart, _to_largest_in_part_apart = _make_to_largest(True, True), _make_to_largest(False, True)


@parallel_kernel
def max_pool(x, y, window):
    """y = largest value of each window; a NaN wins. Positions outside of the image never do."""
    size, stride, corner = (window[0], window[1]), (window[2], window[3]), (window[4], window[5])
    channels = x.shape[3]
    whole = channels - channels % (VECTOR_BYTES // x.itemsize)  # what vector code takes
    for image in prange(x.shape[0]):
        source, target = x[image].reshape(-1), y[image].reshape(-1)
        for i in range(y.shape[1]):
            top, bottom = _span(i, size[0], stride[0], corner[0], 0, x.shape[1])
            for j in range(y.shape[2]):
                left, right = _span(j, size[1], stride[1], corner[1], 0, x.shape[2])
                at, to = (top * x.shape[2] + left) * channels, (i * y.shape[2] + j) * channels
                for c in range(0, whole, VECTOR_BYTES // x.itemsize):
                    _largest(
                        source, at + c, x.shape[2] * channels, channels, bottom - top, right - left, target, to + c
                    )
                for c in range(whole, channels):
                    best = x[image, top, left, c]
                    for a in range(top, bottom):
                        for b in range(left, right):
                            v = x[image, a, b, c]
                            best = v if v > best or v != v else best
                    target[to + c] = best


@helper
def _inside(i, j, size, stride, corner, height, width):
    """Of window (i, j): its first position inside of the image, counted row by row, and its rows and columns there."""
    top, bottom = _span(i, size[0], stride[0], corner[0], 0, height)
    left, right = _span(j, size[1], stride[1], corner[1], 0, width)
    return top * width + left, bottom - top, right - left


@parallel_kernel
def max_pool_backward(x, y, dy, dx, window, floor):
    """Each dy goes to the first position of its window that holds the largest value, if that is above floor."""
    size, stride, corner = (window[0], window[1]), (window[2], window[3]), (window[4], window[5])
    height, width, channels, lanes = x.shape[1], x.shape[2], x.shape[3], VECTOR_BYTES // x.itemsize
    whole, row = channels - channels % lanes, width * channels
    for image in prange(x.shape[0]):
        dx[image] = dx.dtype.type(0)
        source, best, gradient = x[image].reshape(-1), y[image].reshape(-1), dy[image].reshape(-1)
        target = dx[image].reshape(-1)
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                at, rows, columns = _inside(i, j, size, stride, corner, height, width)
                at, to = at * channels, (i * y.shape[2] + j) * channels
                for c in range(0, whole, lanes):
                    _to_largest(
                        source, at + c, row, channels, rows, columns, best, gradient, to + c, target, lanes, floor
                    )
        if whole < channels:
            left = channels - whole
            for i in range(y.shape[1]):
                for j in range(y.shape[2]):
                    at, rows, columns = _inside(i, j, size, stride, corner, height, width)
                    at, to = at * channels + whole, (i * y.shape[2] + j) * channels + whole
                    _to_largest_in_part(
                        source, at, row, channels, rows, columns, best, gradient, to, target, left, floor
                    )


@parallel_kernel
def max_pool_backward_apart(x, y, dy, dx, window, floor):
    """``max_pool_backward`` for windows that lie side by side and cover the image: each position is written once."""
    rows, columns, row = window[0], window[1], x.shape[2] * x.shape[3]
    channels, lanes = x.shape[3], VECTOR_BYTES // x.itemsize
    whole = channels - channels % lanes
    for image in prange(x.shape[0]):
        source, best, gradient = x[image].reshape(-1), y[image].reshape(-1), dy[image].reshape(-1)
        target = dx[image].reshape(-1)
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                at, to = i * rows * row + j * columns * channels, (i * y.shape[2] + j) * channels
                for c in range(0, whole, lanes):
                    _to_largest_apart(
                        source, at + c, row, channels, rows, columns, best, gradient, to + c, target, lanes, floor
                    )
                if whole < channels:
                    _to_largest_in_part_apart(
                        source, at + whole, row, channels, rows, columns, best, gradient, to + whole, target,
                        channels - whole, floor,
                    )  # fmt: skip


def _add_blocks(builder, totals, rests, blocks):
    """Add blocks to totals, and what the rounding loses to rests, as ``sums.add_block`` does."""
    for total, rest, block in zip(totals, rests, blocks, strict=True):
        old, new = builder.load(total), builder.load(block)
        both = builder.fadd(old, new)
        moved = builder.fsub(both, old)
        lost = builder.fadd(builder.fsub(old, builder.fsub(both, moved)), builder.fsub(new, moved))
        builder.store(both, total)
        builder.store(builder.fadd(builder.load(rest), lost), rest)


def _finished(builder, total, rest):
    """total + rest, or total where it is infinite, as ``sums.finish`` has it."""
    value = builder.fadd(builder.load(total), builder.load(rest))
    return builder.select(builder.fcmp_unordered("uno", value, value), builder.load(total), value)


def _make_mean(vectors: int, whole: bool) -> Any:
    """Vector code for the mean over a large window in several channels: in ``vectors`` vectors, or some lanes of one.

    ``mean(X, x, row, column, rows, columns, Y, y, lanes, share)``: Y[y:] = share * sum of X[x + a * row + b * column:],
    a < rows, b < columns. Up to DEPTH terms of a row are a block in the sense of ``sums``.
    """

    @vector_code(plain.window_mean(vectors))
    def mean(typingctx, X, x, row, column, rows, columns, Y, y, lanes, share):
        n = types.intp

        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, X.dtype, VECTOR_BYTES)
            _, x, row, column, rows, columns, _, y, lanes, share = args
            row, column, zero, depth = e.scaled(row), e.scaled(column), ir.Constant(e.vector, None), e.const(DEPTH)
            starts = [e.address(0, builder.add(x, e.const(v * e.lanes))) for v in range(vectors)]
            totals, rests, blocks = ([cgutils.alloca_once_value(builder, zero) for _ in starts] for _ in range(3))
            with (
                cgutils.for_range(builder, rows) as outer,
                cgutils.for_range_slice(builder, e.const(0), columns, depth) as (first, _),
            ):
                for block in blocks:
                    builder.store(zero, block)
                left = builder.sub(columns, first)
                terms = builder.select(builder.icmp_signed("<", left, depth), left, depth)
                with cgutils.for_range(builder, terms) as inner:
                    across = builder.mul(builder.add(first, inner.index), column)
                    here = builder.add(builder.mul(outer.index, row), across)
                    for start, block in zip(starts, blocks, strict=True):
                        place = builder.add(start, here)
                        value = e.load(place) if whole else e.load_first(lanes, place)
                        builder.store(builder.fadd(builder.load(block), value), block)
                _add_blocks(builder, totals, rests, blocks)
            for v in range(vectors):
                value = builder.fmul(_finished(builder, totals[v], rests[v]), e.broadcast(share))
                place = e.address(6, builder.add(y, e.const(v * e.lanes)))
                if whole:
                    e.store(value, place)
                else:
                    e.store_first(lanes, value, place)
            return context.get_dummy_value()

        return types.void(X, n, n, n, n, n, Y, n, n, X.dtype), codegen

    return mean


_mean_in_two, _mean_in_one, _mean_in_part = _make_mean(2, True), _make_mean(1, True), _make_mean(1, False)


@exact_helper
def _large_mean(x, at, row, channels, rows, columns, y, to, share):
    """y[to + c] = share * sum over a window of x, from the element ``at`` on; its rows lie ``row`` elements apart."""
    if row == columns * channels:  # the window is as wide as the image
        rows, columns = 1, rows * columns
    lanes = VECTOR_BYTES // x.itemsize
    two, one = channels - channels % (2 * lanes), channels - channels % lanes
    for c in range(0, two, 2 * lanes):
        _mean_in_two(x, at + c, row, channels, rows, columns, y, to + c, lanes, share)
    if two < one:
        _mean_in_one(x, at + two, row, channels, rows, columns, y, to + two, lanes, share)
    if one < channels:
        _mean_in_part(x, at + one, row, channels, rows, columns, y, to + one, channels - one, share)


def _make_small_mean(whole: bool) -> Any:
    """As ``_make_mean``, for one vector of a small window, whose positions are added one by one."""

    @vector_code(plain.window_mean(1))
    def mean(typingctx, X, x, row, column, rows, columns, Y, y, lanes, share):
        n = types.intp

        def codegen(context, builder, signature, args):
            e = Emitter(context, builder, signature, args, X.dtype, VECTOR_BYTES)
            _, x, row, column, rows, columns, _, y, lanes, share = args
            source, row, column = e.address(0, x), e.scaled(row), e.scaled(column)
            total = cgutils.alloca_once_value(builder, ir.Constant(e.vector, None))
            with cgutils.for_range(builder, rows) as outer, cgutils.for_range(builder, columns) as inner:
                here = builder.add(builder.mul(outer.index, row), builder.mul(inner.index, column))
                place = builder.add(source, here)
                value = e.load(place) if whole else e.load_first(lanes, place)
                builder.store(builder.fadd(builder.load(total), value), total)
            value = builder.fmul(builder.load(total), e.broadcast(share))
            if whole:
                e.store(value, e.address(6, y))
            else:
                e.store_first(lanes, value, e.address(6, y))
            return context.get_dummy_value()

        return types.void(X, n, n, n, n, n, Y, n, n, X.dtype), codegen

    return mean


_small_mean, _small_mean_in_part = _make_small_mean(True), _make_small_mean(False)
_FEW = 64  # positions of a window up to which they are added one by one


@parallel_kernel
def mean_pool(x, y, window, shares):
    """y = mean of each window: shares[i, j] times the sum of its positions inside of the image."""
    size, stride, corner = (window[0], window[1]), (window[2], window[3]), (window[4], window[5])
    few, width, channels = window[0] * window[1] <= _FEW, x.shape[2], x.shape[3]
    lanes, row = VECTOR_BYTES // x.itemsize, width * channels
    whole = channels - channels % lanes
    for image in prange(x.shape[0]):
        source, target = x[image].reshape(-1), y[image].reshape(-1)
        for i in range(y.shape[1]):
            top, bottom = _span(i, size[0], stride[0], corner[0], 0, x.shape[1])
            for j in range(y.shape[2]):
                left, right = _span(j, size[1], stride[1], corner[1], 0, width)
                share, rows, columns = shares[i, j], bottom - top, right - left
                at, to = (top * width + left) * channels, (i * y.shape[2] + j) * channels
                if few:
                    for c in range(0, whole, lanes):
                        _small_mean(source, at + c, row, channels, rows, columns, target, to + c, lanes, share)
                    if whole < channels:
                        last = channels - whole
                        _small_mean_in_part(
                            source, at + whole, row, channels, rows, columns, target, to + whole, last, share
                        )
                else:
                    _large_mean(source, at, row, channels, rows, columns, target, to, share)


@parallel_kernel
def mean_pool_backward(dy, dx, window, shares):
    """shares[i, j] times dy goes to each position of window (i, j)."""
    size, stride, corner = (window[0], window[1]), (window[2], window[3]), (window[4], window[5])
    for image in prange(dx.shape[0]):
        dx[image] = dx.dtype.type(0)
        for i in range(dy.shape[1]):
            top, bottom = _span(i, size[0], stride[0], corner[0], 0, dx.shape[1])
            for j in range(dy.shape[2]):
                left, right = _span(j, size[1], stride[1], corner[1], 0, dx.shape[2])
                share, gradient = shares[i, j], dy[image, i, j]
                for a in range(top, bottom):
                    for b in range(left, right):
                        target = dx[image, a, b]
                        for c in range(gradient.size):
                            target[c] += share * gradient[c]


@kernel
def global_mean(x, y):
    """y[n, c] = mean of x[n, :, :, c]."""
    n, rows, columns, channels = x.shape
    source, target, row = x.reshape(-1), y.reshape(-1), columns * channels
    share = x.dtype.type(1) / x.dtype.type(rows * columns)
    for image in range(n):
        _large_mean(source, image * rows * row, row, channels, rows, columns, target, image * channels, share)


@kernel
def global_mean_backward(dy, dx):
    """dx[n, :, :, c] = dy[n, c] / (H * W)."""
    n, rows, columns, channels = dx.shape
    flat = dx.reshape((n, rows * columns, channels))
    share = dx.dtype.type(1) / dx.dtype.type(rows * columns)
    for image in range(n):
        for p in range(rows * columns):
            for c in range(channels):
                flat[image, p, c] = share * dy[image, c]


@kernel
def upsample(x, factor, y):
    """y[n, i, j] = x[n, i // factor, j // factor]."""
    for image in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for c in range(y.shape[3]):
                    y[image, i, j, c] = x[image, i // factor, j // factor, c]


@kernel
def upsample_backward(dy, factor, dx):
    """dx = sum of dy over the factor x factor positions that each input went to."""
    dx[:] = dx.dtype.type(0)
    for image in range(dy.shape[0]):
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                for c in range(dy.shape[3]):
                    dx[image, i // factor, j // factor, c] += dy[image, i, j, c]
