"""What a dense layer needs beside its matrix products."""

from .channels import add_rows
from .compile import kernel


@kernel
def column_sums(dy, db):
    """db[j] = sum over i of dy[i, j]."""
    db[:] = dy.dtype.type(0)
    add_rows(dy, db)
