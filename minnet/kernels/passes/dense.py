"""The kernel of a dense layer besides its matrix products."""

from ..compile import kernel
from ..vector.sums import add_rows, finish, start


@kernel
def column_sums(dy, db, work):
    """db[j] = sum over i of dy[i, j]. work has twice as many elements as db."""
    rests, block = work[: db.size], work[db.size : 2 * db.size]
    start(db, rests)
    add_rows(dy, db, rests, block)
    finish(db, rests)
