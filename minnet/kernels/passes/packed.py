"""Products with a matrix that is packed once and then multiplied several times, by one thread, in parts.

B is packed in the panels that the micro-kernel reads: two vectors of columns, or one if no more are left, with all
terms.
"""

import numpy as np

from ..compile import helper, routine
from ..vector.block import ROWS, tile
from ..vector.moves import pack
from ..vector.simd import VECTOR_BYTES

_DEPTH = 256  # terms of a sum that are taken at a time, as in ``product``


def panels_for(depth, columns, itemsize):
    """Return the elements of the panels of B (depth, columns). float32 needs as many as float64, or more."""
    lanes = VECTOR_BYTES // itemsize
    return (depth + lanes - 1) // lanes * lanes * ((columns + 2 * lanes - 1) // (2 * lanes)) * 2 * lanes


panel_size = helper(panels_for)  # the same within kernels


def spare_for(itemsize):
    """Return the elements of ``spare``, a block that does not fit where it belongs."""
    return ROWS[0] * 2 * (VECTOR_BYTES // itemsize)


spare_size = helper(spare_for)


@helper
def _panel(depth, lanes):
    """Return the elements from the start of a panel to that of the next."""
    return (depth + lanes - 1) // lanes * lanes * 2 * lanes


@routine
def pack_matrix(W, at, row_step, column_step, depth, columns, panels):
    """Pack B with B[k, j] = W[at + k * row_step + j * column_step], for flat W. One of the steps is 1."""
    lanes = VECTOR_BYTES // W.itemsize
    for j in range(0, columns, 2 * lanes):
        cols = min(2 * lanes, columns - j)
        width = 2 * lanes if cols > lanes else lanes
        to = j // (2 * lanes) * _panel(depth, lanes)
        pack(W, at + j * column_step, row_step, column_step, depth, cols, width, lanes, panels, to)


@helper
def _rows_of_block(left):
    """Return how many of the rows that are left to process next: two blocks of 8, rather than 14 and 2."""
    return ROWS[1] if ROWS[0] < left <= 2 * ROWS[1] else min(left, ROWS[0])


@routine
def add_product(A, a, a_row, a_col, rows, panels, depth, first, terms, C, c, c_row, columns, spare, offsets):
    """C[c + r * c_row + j] += the sum over k < terms of A[a + r * a_row + k * a_col] * B[first + k, j].

    A and C are flat. ``panels`` has a B of ``depth`` terms. ``columns`` are all columns of B, or those of whole panels.
    """
    lanes = VECTOR_BYTES // C.itemsize
    for k in range(0, terms, _DEPTH):
        for j in range(0, columns, 2 * lanes):
            cols = min(2 * lanes, columns - j)
            width = 2 * lanes if cols > lanes else lanes
            panel, r = j // (2 * lanes) * _panel(depth, lanes) + (first + k) * width, 0
            while r < rows:
                many, to = _rows_of_block(rows - r), c + r * c_row + j
                for i in range(ROWS[0]):
                    offsets[i] = a + min(r + i, rows - 1) * a_row + k * a_col
                tile(
                    many, cols, lanes, A, offsets, 0, panels, panel, width, C, to, c_row, C, to, c_row,
                    1, 0, min(_DEPTH, terms - k), a_col, -C.dtype.type(np.inf), spare,
                )  # fmt: skip
                r += many


@helper
def whole_panels(columns, all_columns, itemsize):
    """Return the columns of the panels that the first ``columns`` are in."""
    width = 2 * (VECTOR_BYTES // itemsize)
    return min(all_columns, (columns + width - 1) // width * width)
