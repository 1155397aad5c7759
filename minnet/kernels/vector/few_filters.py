"""Convolution with few filters, such as the gradient of the pixels of an RGB image.

The micro-kernel has filters in the lanes of a vector, and would use 3 of 16. Here the lanes are numbers of a row of a
patch, which are contiguous with channels last, and each output is a dot product.
"""

from numba import get_thread_id, prange

from ..compile import helper, parallel_kernel
from .borders import with_borders
from .patch_dots import patch_dots
from .simd import VECTOR_BYTES

_FILTERS = 4  # at the most
_LENGTH = 40  # numbers of a row of a patch, at least


def suits(filters: int, length: int) -> bool:
    """Return whether this is faster than the micro-kernel for so many filters and numbers of a row of a patch.

    In shorter registers, filters leave fewer lanes empty, and ``patch_dots`` takes fewer of them at a time.
    """
    return VECTOR_BYTES == 64 and filters <= _FILTERS and length >= _LENGTH


def _layout(length, lanes):
    """Return the numbers of a row of the kernel, rounded up to whole vectors, and the filters of a ``patch_dots``."""
    return (length + lanes - 1) // lanes * lanes, max(1, lanes // 4)


_sizes = helper(_layout)


def panels_size(kh: int, length: int, filters: int) -> int:
    """Return the elements of ``panels`` for kernels of kh rows of ``length`` numbers; float32 needs as many or more."""
    padded, together = _layout(length, VECTOR_BYTES // 4)
    return kh * padded * (filters + together)


def work_size(image: int) -> int:
    """Return the elements of ``work`` that a thread needs for an image of so many, with borders."""
    return image + VECTOR_BYTES // 4


@helper
def _arrange(W, panels):
    """panels[f, i] = the numbers of row i of the kernel of filter f, then zeros; filters beyond are zeros."""
    kh, kw, inputs, filters = W.shape
    length = kw * inputs
    padded, together = _sizes(length, VECTOR_BYTES // W.itemsize)
    flat = W.reshape(-1)
    for f in range((filters + together - 1) // together * together):
        for i in range(kh):
            row = panels[(f * kh + i) * padded :]
            for k in range(padded):
                row[k] = flat[(i * length + k) * filters + f] if f < filters and k < length else W.dtype.type(0)


@parallel_kernel
def conv_few_filters(x, top, left, size, W, bias, floor, y, down, pixels, panels, work):
    """y[n, p, f] = max(floor, bias[f] + sum of the products of W[:, :, :, f] and the patch of pixel p of x[n]).

    x has zeros around it; with them it has ``size`` rows and columns, and x[n, 0, 0] is at (top, left). The patch of
    pixel p starts at pixels[p], and its rows are ``down`` apart. bias may be empty. panels and work are scratch memory.
    """
    kh, kw, inputs, filters = W.shape
    channels, zero, length = x.shape[3], y.dtype.type(0), kw * inputs
    padded, together = _sizes(length, VECTOR_BYTES // x.itemsize)
    _arrange(W, panels)
    bordered = size[0] != x.shape[1] or size[1] != x.shape[2] or top != 0 or left != 0
    count = y.shape[1] * y.shape[2]
    for image in prange(x.shape[0]):
        place = work[get_thread_id()]
        source, target = x[image].reshape(-1), y[image].reshape(-1)
        elements = size[0] * size[1] * channels
        if bordered:
            source = place[:elements]
            with_borders(x[image], top, left, source.reshape((size[0], size[1], channels)))
        sums = place[elements:]
        for p in range(0, count, 2):
            near, far = pixels[p], pixels[min(p + 1, count - 1)]
            for first in range(0, filters, together):
                many = min(together, filters - first)
                patch_dots(source, near, far, kh, down, length, panels, first * kh * padded, kh * padded, sums)
                for each in range(min(2, count - p)):
                    for f in range(many):
                        total = sums[each * together + f] + (bias[first + f] if bias.size > 0 else zero)
                        target[(p + each) * filters + first + f] = floor if total < floor else total
