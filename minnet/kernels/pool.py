"""Pooling over windows of images (n, H, W, C), channels last. Windows may overlap and stick out over the border."""

from numba import get_thread_id, prange

from .compile import helper, kernel, parallel_kernel


@helper
def _span(i, size, stride, padding, length):
    """First and last (exclusive) position of window i that lies in the image."""
    start = i * stride - padding
    return max(start, 0), min(start + size, length)


@parallel_kernel
def max_pool(x, y, size, stride, padding):
    """y = largest value of each window; a NaN wins. Positions outside of the image never do."""
    for image in prange(x.shape[0]):
        for i in range(y.shape[1]):
            top, bottom = _span(i, size, stride, padding, x.shape[1])
            for j in range(y.shape[2]):
                left, right = _span(j, size, stride, padding, x.shape[2])
                out = y[image, i, j]
                out[:] = x[image, top, left]
                for a in range(top, bottom):
                    for b in range(left, right):
                        values = x[image, a, b]
                        for c in range(out.size):
                            v = values[c]
                            out[c] = out[c] if v <= out[c] else (v if v > out[c] or v != v else out[c])


@parallel_kernel
def max_pool_backward(x, y, dy, dx, size, stride, padding, work):
    """Each dy goes to the first position of its window that holds the largest value; work keeps who has been served."""
    for image in prange(x.shape[0]):
        free = work[get_thread_id()]
        dx[image] = dx.dtype.type(0)
        one, zero = dx.dtype.type(1), dx.dtype.type(0)
        for i in range(y.shape[1]):
            top, bottom = _span(i, size, stride, padding, x.shape[1])
            for j in range(y.shape[2]):
                left, right = _span(j, size, stride, padding, x.shape[2])
                best, gradient = y[image, i, j], dy[image, i, j]
                for c in range(best.size):
                    free[c] = one
                for a in range(top, bottom):
                    for b in range(left, right):
                        values, target = x[image, a, b], dx[image, a, b]
                        for c in range(best.size):
                            wins = values[c] == best[c]
                            target[c] += gradient[c] * free[c] if wins else zero
                            free[c] = zero if wins else free[c]


@helper
def _share(top, bottom, left, right, size, counted, dtype_one):
    """1 over the number of positions that a window's mean counts."""
    inside = (bottom - top) * (right - left)
    return dtype_one / type(dtype_one)(size * size if counted else inside)


@parallel_kernel
def mean_pool(x, y, size, stride, padding, counted):
    """y = mean of each window; ``counted``: whether positions outside of the image count as zeros."""
    for image in prange(x.shape[0]):
        for i in range(y.shape[1]):
            top, bottom = _span(i, size, stride, padding, x.shape[1])
            for j in range(y.shape[2]):
                left, right = _span(j, size, stride, padding, x.shape[2])
                share = _share(top, bottom, left, right, size, counted, x.dtype.type(1))
                out = y[image, i, j]
                out[:] = x.dtype.type(0)
                for a in range(top, bottom):
                    for b in range(left, right):
                        values = x[image, a, b]
                        for c in range(out.size):
                            out[c] += values[c]
                for c in range(out.size):
                    out[c] *= share


@parallel_kernel
def mean_pool_backward(dy, dx, size, stride, padding, counted):
    """Each dy goes to the positions of its window in equal shares."""
    for image in prange(dx.shape[0]):
        dx[image] = dx.dtype.type(0)
        for i in range(dy.shape[1]):
            top, bottom = _span(i, size, stride, padding, dx.shape[1])
            for j in range(dy.shape[2]):
                left, right = _span(j, size, stride, padding, dx.shape[2])
                share = _share(top, bottom, left, right, size, counted, dx.dtype.type(1))
                gradient = dy[image, i, j]
                for a in range(top, bottom):
                    for b in range(left, right):
                        target = dx[image, a, b]
                        for c in range(gradient.size):
                            target[c] += share * gradient[c]


@kernel
def global_mean(x, y):
    """y[n, c] = mean of x[n, :, :, c]."""
    n, rows, columns, channels = x.shape
    flat = x.reshape((n, rows * columns, channels))
    share = x.dtype.type(1) / x.dtype.type(rows * columns)
    for image in range(n):
        for c in range(channels):
            y[image, c] = x.dtype.type(0)
        for p in range(rows * columns):
            for c in range(channels):
                y[image, c] += flat[image, p, c]
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
