"""What kernels of losses share: rows of scores, summed in blocks.

A row is summed in blocks of 1024 outputs in its own dtype, and over blocks in double precision. Most rows are one
block. They take a code path without the loop over blocks, which would take longer than the few outputs themselves.
"""

import numpy as np

from ...compile import helper

BLOCK = 1024  # outputs


@helper
def clear(row):
    """row = 0, which is the gradient of a sample that is left out."""
    for j in range(row.size):
        row[j] = row.dtype.type(0)


@helper
def sum_of_block(block):
    """Return the sum of a block in its own dtype."""
    total = block.dtype.type(0)
    for j in range(block.size):
        total += block[j]
    return total


@helper
def sum_of_row(row):
    """Return the sum of a row as float64."""
    if row.size <= BLOCK:
        return np.float64(sum_of_block(row))
    total = 0.0
    for start in range(0, row.size, BLOCK):
        total += sum_of_block(row[start : start + BLOCK])
    return total


@helper
def sum_of_errors(of_block, scores, targets, weights, bound, dscores):
    """Return the sum over the rows of weights[i] * (sum of an error over the outputs), and fill dscores.

    ``of_block(s, t, weight, bound, d)`` fills d with the gradient of a block of a row and returns the sum of the block.
    """
    outputs, zero = scores.shape[1], scores.dtype.type(0)
    loss = 0.0
    for i in range(len(scores)):
        weight = weights[i]
        if not weight > zero:
            clear(dscores[i])
        elif outputs <= BLOCK:
            loss += weight * of_block(scores[i], targets[i], weight, bound, dscores[i])
        else:
            for start in range(0, outputs, BLOCK):
                end = start + BLOCK
                s, t, d = scores[i, start:end], targets[i, start:end], dscores[i, start:end]
                loss += weight * of_block(s, t, weight, bound, d)
    return loss
