"""What surrounds the steps of recurrent layers: exchanged axes of samples and time, states that go on, packed weights.

Within the layers the first axis is the step and the second the sample, so that all arrays of a step are contiguous.
"""

from ..compile import kernel
from ..views import flat
from .packed import pack_matrix


@kernel
def by_step(x, first, stride, out):
    """out[s, i] = x[i, first + s * stride], for x (n, time, features)."""
    for s in range(out.shape[0]):
        for i in range(out.shape[1]):
            row, to = x[i, first + s * stride], out[s, i]
            for j in range(to.size):
                to[j] = row[j]


@kernel
def by_sample(x, first, stride, out):
    """out[i, first + s * stride] = x[s, i], for x (time, n, features)."""
    for s in range(x.shape[0]):
        for i in range(x.shape[1]):
            row, to = x[s, i], out[i, first + s * stride]
            for j in range(to.size):
                to[j] = row[j]


@kernel
def recall(carried, number, h):
    """h = the state before the pass of this number, for carried (2, n, units)."""
    a, out = carried[number % 2].reshape(-1), h.reshape(-1)
    for k in range(out.size):
        out[k] = a[k]


@kernel
def remember(h, number, carried):
    """Keep h as the state before the pass that follows the one of this number."""
    a, out = h.reshape(-1), carried[(number + 1) % 2].reshape(-1)
    for k in range(out.size):
        out[k] = a[k]


@kernel
def join(a, b, out):
    """out[i] = a[i] and b[i] side by side, for rows."""
    for i in range(out.shape[0]):
        left, right = out[i, : a.shape[1]], out[i, a.shape[1] :]
        for j in range(left.size):
            left[j] = a[i, j]
        for j in range(right.size):
            right[j] = b[i, j]


@kernel
def part(both, a, b):
    """a[i] and b[i] = the left and the right part of both[i], for rows."""
    for i in range(both.shape[0]):
        left, right = both[i, : a.shape[1]], both[i, a.shape[1] :]
        for j in range(left.size):
            a[i, j] = left[j]
        for j in range(right.size):
            b[i, j] = right[j]


@kernel
def pack_weights(W, at, row_step, column_step, depth, columns, packed, to):
    """Pack B at packed[to:], with B[k, j] = W's element at + k * row_step + j * column_step, for ``add_product``.

    Elements of W count in C order. One of the steps is 1.
    """
    pack_matrix(flat(W), at, row_step, column_step, depth, columns, packed[to:])
