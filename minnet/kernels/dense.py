"""What a dense layer needs beside its matrix products."""

from .compile import kernel


@kernel
def column_sums(dy, db):
    """db[j] = sum over i of dy[i, j]."""
    db[:] = dy.dtype.type(0)
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            db[j] += dy[i, j]
