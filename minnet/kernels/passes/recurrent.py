"""What all recurrent layers share: the exchange of the axes of samples and time, states that go on, and parts of cells.

Within the layers the first axis is the step and the second the sample, so that all arrays of a step are contiguous.
A state has shape (n, units), and gates lie side by side in (n, gates * units). ``gates`` enters as x @ W + b. ``dy`` is
the gradient with respect to the state that comes from the output of the step, and ``carry`` the one that comes from the
next step. A step at a word that is ``padding`` changes no state: step s reads position place + s * stride of words
(n, time), which has no elements if there are none. Loops write to one array each, because the compiler must prove for
vector code that it differs from all arrays that the loop reads.
"""

from ..compile import helper, kernel
from ..vector.elementary import sigmoid, tanh


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


# Cells ----------------------------------------------------------------------------------------------------------------


@helper
def sigmoid_of(a):
    """a = sigmoid(a)."""
    for j in range(a.size):
        a[j] = sigmoid(a[j])


@helper
def tanh_of(a):
    """a = tanh(a)."""
    for j in range(a.size):
        a[j] = tanh(a[j])


@helper
def is_padding(words, padding, i, s, place, stride):
    """Return whether step s of sample i, which is at position place + s * stride, has the word ``padding``."""
    return words.size > 0 and words[i, place + s * stride] == padding


@helper
def put(source, target):
    """Copy one row to another."""
    for j in range(target.size):
        target[j] = source[j]


@helper
def clear(row):
    """Set a row to 0."""
    for j in range(row.size):
        row[j] = row.dtype.type(0)


@helper
def add(source, target):
    """Add one row to another."""
    for j in range(target.size):
        target[j] += source[j]
