"""What the kernels of all recurrent layers share: how samples are divided among threads, and parts of cells.

Samples do not depend on one another, so a task is a few samples through all steps: no thread waits for another between
two steps, and the state of its samples stays in its cache. The weights are packed once in a pass.

A state has shape (n, units), and gates lie side by side in (n, gates * units). ``gates`` enters as x @ W + b. ``dy`` is
the gradient with respect to the state that comes from the output of the step, and ``carry`` the one that comes from the
next step. A step at a word that is ``padding`` changes no state: step s reads position place + s * stride of words
(n, time), which has no elements if there are none. Loops write to one array each, because the compiler must prove for
vector code that it differs from all arrays that the loop reads.
"""

from ..compile import helper
from ..vector.elementary import sigmoid, tanh

_FEW, _MANY = 16, 32  # samples of a task at the most: with weights that stay in the second-level cache, and with more
_LARGE = 1_000_000  # bytes of such weights
_SERIAL = 200_000  # multiply-adds of all steps up to which waking a second thread costs more than it brings


@helper
def tasks_for(samples, steps, weights):
    """Return the number of tasks, for ``weights``, an array. There is one if the work is small."""
    if samples < 2 or samples * steps * weights.size <= _SERIAL:
        return 1
    most = _FEW if weights.size * weights.itemsize <= _LARGE else _MANY
    return 2 * ((samples + 2 * most - 1) // (2 * most))


@helper
def samples_of(task, tasks, samples):
    """Return the first and the last (exclusive) sample of a task."""
    return task * samples // tasks, (task + 1) * samples // tasks


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
