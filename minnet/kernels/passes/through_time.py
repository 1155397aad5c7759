"""The product of a state with weights that stay the same through time, and how samples are shared among threads.

The weights of a recurrent layer are packed once in a pass, in the panels that the micro-kernel reads. Samples do not
depend on one another, so a task is a few samples through all steps: no thread waits for another between two steps, and
the state of its samples stays in its cache.
"""

import numpy as np

from ..compile import helper, kernel, routine
from ..vector.block import ROWS, tile
from ..vector.moves import pack
from ..vector.simd import VECTOR_BYTES
from ..views import flat

_DEPTH = 256  # terms of a sum that are taken at a time, as in ``product``
_FEW, _MANY = 16, 32  # samples of a task at the most: with weights that stay in the second-level cache, and with more
_LARGE = 1_000_000  # bytes of such weights
_SERIAL = 200_000  # multiply-adds of all steps up to which waking a second thread costs more than it brings


def panels_for(depth, columns, itemsize):
    """Return the elements of the panels of weights (depth, columns). float32 needs as many as float64, or more."""
    lanes = VECTOR_BYTES // itemsize
    return (depth + lanes - 1) // lanes * lanes * ((columns + 2 * lanes - 1) // (2 * lanes)) * 2 * lanes


panel_size = helper(panels_for)  # the same within kernels


@helper
def _panel(depth, lanes):
    """Return the elements from the start of a panel to that of the next."""
    return (depth + lanes - 1) // lanes * lanes * 2 * lanes


@kernel
def pack_weights(W, at, row_step, column_step, depth, columns, packed, to):
    """Pack B at packed[to:], with B[k, j] = W's element at + k * row_step + j * column_step, for ``add_product``.

    Elements of W count in C order. One of the steps is 1. A panel has two vectors of columns, or one if no more are
    left, and all terms.
    """
    w, lanes, start = flat(W), VECTOR_BYTES // W.itemsize, to
    for j in range(0, columns, 2 * lanes):
        cols = min(2 * lanes, columns - j)
        width = 2 * lanes if cols > lanes else lanes
        to = start + j // (2 * lanes) * _panel(depth, lanes)
        pack(w, at + j * column_step, row_step, column_step, depth, cols, width, lanes, packed, to)


@helper
def _rows_of_block(left):
    """Return how many of the rows that are left to process next: two blocks of 8, rather than 14 and 2."""
    return ROWS[1] if ROWS[0] < left <= 2 * ROWS[1] else min(left, ROWS[0])


@routine
def add_product(A, a, a_row, rows, panels, depth, C, c, c_row, columns, spare, offsets):
    """C[c + r * c_row + j] += sum over k of A[a + r * a_row + k] * B[k, j], for flat A and C and a packed B."""
    lanes = VECTOR_BYTES // C.itemsize
    for k in range(0, depth, _DEPTH):
        for r in range(rows + ROWS[0]):
            offsets[r] = a + min(r, rows - 1) * a_row + k
        for j in range(0, columns, 2 * lanes):
            cols = min(2 * lanes, columns - j)
            width = 2 * lanes if cols > lanes else lanes
            panel, r = j // (2 * lanes) * _panel(depth, lanes) + k * width, 0
            while r < rows:
                many, to = _rows_of_block(rows - r), c + r * c_row + j
                tile(
                    many, cols, lanes, A, offsets, r, panels, panel, width, C, to, c_row, C, to, c_row,
                    1, 0, min(_DEPTH, depth - k), 1, -C.dtype.type(np.inf), spare,
                )  # fmt: skip
                r += many


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
