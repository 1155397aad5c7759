"""What ranks exchange at a step: a row of bytes for each shard."""

import numpy as np

from ..kernels.arrays import aligned_empty

_LINE = 64  # bytes; each row and its vector start at a cache line


class Rows:
    """Memory for the results of all shards.

    Attributes:
        memory: the rows, bytes of shape (shards, width).
        losses: for each shard, its part of the data loss, float64 (shards,).
        right: for each shard, the number of targets that were classified correctly, or the sum of their weights; NaN if
            the loss does not classify. float64 (shards,).
        grads: for each shard, its part of the gradient, (shards, parameters), in the dtype of the net.
        statistics: for each shard, the statistics that its pass measured, (shards, statistics), in the same dtype.
    """

    def __init__(self, shards: int, parameters: int, statistics: int, dtype: np.dtype) -> None:
        width = -(-(_LINE + (parameters + statistics) * dtype.itemsize) // _LINE) * _LINE
        self.memory = aligned_empty((shards, width), np.uint8)
        self.memory.fill(0)  # rows of empty shards travel, too
        self.losses, self.right = self.memory[:, :16].view(np.float64).T
        end = _LINE + (parameters + statistics) * dtype.itemsize
        values = self.memory[:, _LINE:end].view(dtype)
        self.grads, self.statistics = values[:, :parameters], values[:, parameters:]
