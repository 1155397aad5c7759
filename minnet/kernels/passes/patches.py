"""Images (n, H, W, C) as patches (n, patches, rows * columns * C), row by row, and back."""

from ..compile import kernel


@kernel
def patches_of(x, rows, columns, out):
    """out[i, p] = patch p of image i, its numbers in the order (row, column, channel)."""
    across, length = x.shape[2] // columns, columns * x.shape[3]
    for i in range(out.shape[0]):
        lines = x[i].reshape((x.shape[1], across, length))
        for p in range(out.shape[1]):
            patch = out[i, p].reshape((rows, length))
            for r in range(rows):
                source, row = lines[p // across * rows + r, p % across], patch[r]
                for j in range(length):
                    row[j] = source[j]


@kernel
def images_of(patches, rows, columns, out):
    """The reverse of ``patches_of``: put each patch in its place."""
    across, length = out.shape[2] // columns, columns * out.shape[3]
    for i in range(patches.shape[0]):
        lines = out[i].reshape((out.shape[1], across, length))
        for p in range(patches.shape[1]):
            patch = patches[i, p].reshape((rows, length))
            for r in range(rows):
                row, source = lines[p // across * rows + r, p % across], patch[r]
                for j in range(length):
                    row[j] = source[j]
