"""Sums of many numbers in their own precision, without the error of adding them one after another.

Terms are added in blocks. The sum of a block is added to a total, and what the rounding of this addition lost is added
to a second number, the *rest* (Neumaier 1974; the lost part is from Knuth, The Art of Computer Programming 2, section
4.2.2). The error of total + rest is about that of a single block, for any number of blocks.

Sums are arrays, one element for each column. Totals and rests have one shape. The order of additions depends on sizes
only.
"""

from ..compile import exact_helper, helper

DEPTH = 32  # terms of a block


@exact_helper
def two_sum(a, b):
    """Return (s, e): s = a + b, rounded, and s + e = a + b exactly."""
    total = a + b
    moved = total - a
    return total, (a - (total - moved)) + (b - moved)


@exact_helper
def difference(a, b):
    """Return a - b, which the compiler does not combine with a sum around it."""
    return a - b


@helper
def start(totals, rests):
    """Set sums to 0."""
    for j in range(totals.size):
        totals[j], rests[j] = totals.dtype.type(0), totals.dtype.type(0)


@helper
def add_block(totals, rests, block):
    """Add block[j], the sum of some terms, to sum j."""
    for j in range(totals.size):
        totals[j], lost = two_sum(totals[j], block[j])
        rests[j] += lost


@helper
def finish(totals, rests):
    """totals = the sums. The rest of an infinite sum is NaN, and is left out."""
    for j in range(totals.size):
        value = totals[j] + rests[j]
        totals[j] = value if value == value else totals[j]


@helper
def _add_eight(rows, first, block):
    """block += sum of eight rows. An addition to a sum in memory waits for the previous one, so eight are joined."""
    for j in range(block.size):
        near = (rows[first, j] + rows[first + 1, j]) + (rows[first + 2, j] + rows[first + 3, j])
        far = (rows[first + 4, j] + rows[first + 5, j]) + (rows[first + 6, j] + rows[first + 7, j])
        block[j] += near + far


@helper
def add_rows(rows, totals, rests, block):
    """Add rows[i, j] over all i to sum j. ``block`` is scratch like totals."""
    for first in range(0, len(rows), DEPTH):
        last = min(first + DEPTH, len(rows))
        eights = last - (last - first) % 8
        for j in range(block.size):
            block[j] = block.dtype.type(0)
        for i in range(first, eights, 8):
            _add_eight(rows, i, block)
        for i in range(eights, last):
            for j in range(block.size):
                block[j] += rows[i, j]
        add_block(totals, rests, block)
