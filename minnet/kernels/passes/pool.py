"""Pooling over windows of images (n, H, W, C), channels last. Windows may overlap and stick out over the border.

``size`` and ``stride`` are pairs: along the rows, along the columns. ``corner`` is how many rows and columns the first
window starts above and to the left of the image.
"""

from numba import get_thread_id, prange, types
from numba.core import cgutils

from .. import plain
from ..compile import helper, kernel, parallel_kernel, vector_code
from ..vector.simd import VECTOR_BYTES, Emitter
from ..vector.sums import add_rows, finish, start

_FEW = 64  # positions of a window up to which their sum is taken in a plain loop


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


@vector_code(plain.to_largest(VECTOR_BYTES))
def _to_largest(typingctx, X, x, row, column, rows, columns, Y, DY, y, DX, floor):
    """Add the vector DY[y:] to DX where X first equals Y[y:] in the window, unless that is floor or less."""
    n = types.intp

    def codegen(context, builder, signature, args):
        e = Emitter(context, builder, signature, args, X.dtype, VECTOR_BYTES)
        _, x, row, column, rows, columns, _, _, y, _, floor = args
        source, target, row, column = e.address(0, x), e.address(9, x), e.scaled(row), e.scaled(column)
        best, gradient = e.load(e.address(6, y)), e.load(e.address(7, y))
        free = cgutils.alloca_once_value(builder, builder.fcmp_ordered(">", best, e.broadcast(floor)))
        with cgutils.for_range(builder, rows) as outer, cgutils.for_range(builder, columns) as inner:
            here = builder.add(builder.mul(outer.index, row), builder.mul(inner.index, column))
            place, left = builder.add(target, here), builder.load(free)
            equal = builder.fcmp_ordered("==", e.load(builder.add(source, here)), best)
            held = e.load(place)
            e.store(builder.select(builder.and_(left, equal), builder.fadd(held, gradient), held), place)
            builder.store(builder.and_(left, builder.not_(equal)), free)
        return context.get_dummy_value()

    return types.void(X, n, n, n, n, n, Y, DY, n, DX, X.dtype), codegen


@parallel_kernel
def max_pool(x, y, size, stride, corner):
    """y = largest value of each window; a NaN wins. Positions outside of the image never do."""
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


@parallel_kernel
def max_pool_backward(x, y, dy, dx, size, stride, corner, floor):
    """Each dy goes to the first position of its window that holds the largest value, if that is above floor."""
    channels = x.shape[3]
    whole = channels - channels % (VECTOR_BYTES // x.itemsize)
    for image in prange(x.shape[0]):
        dx[image] = dx.dtype.type(0)
        source, best, gradient = x[image].reshape(-1), y[image].reshape(-1), dy[image].reshape(-1)
        target = dx[image].reshape(-1)
        for i in range(y.shape[1]):
            top, bottom = _span(i, size[0], stride[0], corner[0], 0, x.shape[1])
            for j in range(y.shape[2]):
                left, right = _span(j, size[1], stride[1], corner[1], 0, x.shape[2])
                at, to = (top * x.shape[2] + left) * channels, (i * y.shape[2] + j) * channels
                rows, columns, step = bottom - top, right - left, x.shape[2] * channels
                for c in range(0, whole, VECTOR_BYTES // x.itemsize):
                    _to_largest(source, at + c, step, channels, rows, columns, best, gradient, to + c, target, floor)
                for c in range(whole, channels):
                    free = best[to + c] > floor
                    for a in range(top, bottom):
                        for b in range(left, right):
                            wins = free and x[image, a, b, c] == best[to + c]
                            dx[image, a, b, c] += gradient[to + c] if wins else dx.dtype.type(0)
                            free = free and not wins


@helper
def _positions(i, j, size, stride, corner, counted):
    """How many positions the mean of window (i, j) counts: those in the rows and columns ``counted``."""
    top, bottom = _span(i, size[0], stride[0], corner[0], counted[0], counted[1])
    left, right = _span(j, size[1], stride[1], corner[1], counted[2], counted[3])
    return (bottom - top) * (right - left)


@helper
def _add_large_window(image, top, bottom, left, right, out, rests, block):
    """out = sum of a window of many positions."""
    start(out, rests)
    for a in range(top, bottom):
        add_rows(image[a, left:right], out, rests, block)
    finish(out, rests)


@parallel_kernel
def mean_pool(x, y, size, stride, corner, counted, work):
    """y = mean of each window over its positions in rows counted[0] to counted[1] and columns counted[2] to counted[3]
    (exclusive). What of them is outside of the image counts as zeros.
    work holds 2 C numbers for each thread.
    """
    channels = x.shape[3]
    for image in prange(x.shape[0]):
        source, rests = x[image], work[get_thread_id(), :channels]
        block = work[get_thread_id(), channels : 2 * channels]
        for i in range(y.shape[1]):
            top, bottom = _span(i, size[0], stride[0], corner[0], 0, x.shape[1])
            for j in range(y.shape[2]):
                left, right = _span(j, size[1], stride[1], corner[1], 0, x.shape[2])
                share = x.dtype.type(1) / x.dtype.type(_positions(i, j, size, stride, corner, counted))
                out = y[image, i, j]
                if (bottom - top) * (right - left) <= _FEW:
                    out[:] = x.dtype.type(0)
                    for a in range(top, bottom):
                        for b in range(left, right):
                            values = x[image, a, b]
                            for c in range(out.size):
                                out[c] += values[c]
                else:
                    _add_large_window(source, top, bottom, left, right, out, rests, block)
                for c in range(out.size):
                    out[c] *= share


@parallel_kernel
def mean_pool_backward(dy, dx, size, stride, corner, counted):
    """Each dy goes to the positions of its window in equal shares; arguments as in ``mean_pool``."""
    for image in prange(dx.shape[0]):
        dx[image] = dx.dtype.type(0)
        for i in range(dy.shape[1]):
            top, bottom = _span(i, size[0], stride[0], corner[0], 0, dx.shape[1])
            for j in range(dy.shape[2]):
                left, right = _span(j, size[1], stride[1], corner[1], 0, dx.shape[2])
                share = dx.dtype.type(1) / dx.dtype.type(_positions(i, j, size, stride, corner, counted))
                gradient = dy[image, i, j]
                for a in range(top, bottom):
                    for b in range(left, right):
                        target = dx[image, a, b]
                        for c in range(gradient.size):
                            target[c] += share * gradient[c]


@kernel
def global_mean(x, y, work):
    """y[n, c] = mean of x[n, :, :, c]; work holds 2 C numbers."""
    n, rows, columns, channels = x.shape
    flat, rests, block = x.reshape((n, rows * columns, channels)), work[:channels], work[channels : 2 * channels]
    share = x.dtype.type(1) / x.dtype.type(rows * columns)
    for image in range(n):
        start(y[image], rests)
        add_rows(flat[image], y[image], rests, block)
        finish(y[image], rests)
        for c in range(channels):
            y[image, c] *= share


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
