"""Sums over a whole tensor, computed in parts and then in total.

A first kernel adds up chunk by chunk into ``partial``, then over the chunks in their order in float64, so the bits of
the sum depend on the size alone. It writes what follows from the sums, a rate or a factor, to an array of one element,
which the next kernel reads. Rates and the factors that make them are float64; all other numbers have the dtype of the
arrays. The first kernel returns whether the step may go on.
"""

from ..chunks import CHUNK
from ..compile import exact_helper, helper

# Elements whose sum is taken in the precision of the arrays. Loops run over slices of this size: an index that does not
# start at 0 might be negative, and Python's meaning of negative indices keeps a loop from becoming vector code.
BLOCK = 4096


def flat_parts(size: int) -> int:
    """Rows of ``partial`` for a flat array of so many elements."""
    return -(-size // CHUNK)


@helper
def total_of(partial, parts, column):
    """Return the sum of a column over the rows of ``partial``, in float64 and in order."""
    total = 0.0
    for part in range(parts):
        total += partial[part, column]
    return total


@exact_helper
def ratio(above, below):
    """above / below; 1 where either is 0, so that a tensor of zeros can leave them."""
    return above / below if above > 0 and below > 0 else 1.0
