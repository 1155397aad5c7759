"""Images as sequences of patches."""

from dataclasses import dataclass, field

import numpy as np

from ..base import checks
from ..kernels.arrays import rows
from ..kernels.passes.dense import column_sums
from ..kernels.passes.patches import images_of, patches_of
from .base import Layer
from .conv import pair
from .convolution import Pair
from .initializers import GlorotUniform, Zeros
from .memory import Memory
from .products import product, product_of_transpose, product_with_transpose
from .spec import Initializer, Param, Plan, Scratch, Shape


@dataclass(frozen=True)
class PatchEmbedding(Layer):
    """Cut images into patches and embed each: y_p = patch_p @ W + b.

    The patches are in order row by row. The numbers of a patch are in the order (row, column, channel), so W is that of
    a ``Conv2D(width, patch, stride=patch, padding="valid")`` of shape (patch, patch, C, width), with its first three
    axes as one. ``Reshape((rows, columns, width))``, for so many rows and columns of patches, puts the patches back in
    their places, where ``GlobalAvgPool2D`` takes their mean.

    Args:
        width: number of features of a patch.
        patch: number of pixels of a patch in each direction, or (rows, columns); must divide the size of the images.
        init: initializer of W. ``GlorotUniform`` by default.

    Shapes: input (n, H, W, C), output (n, patches, width).
    Trained: W (ph * pw * C, width) for patches of ph x pw pixels, b (width,).
    Source: Dosovitskiy et al. 2021, equation 1.
    """

    images = True

    width: int
    patch: int | Pair
    init: Initializer = field(default_factory=GlorotUniform)

    def __post_init__(self) -> None:
        checks.count("PatchEmbedding", "width", self.width)
        pair("PatchEmbedding", "patch", self.patch)
        if not callable(self.init) or isinstance(self.init, type):
            raise TypeError(f"PatchEmbedding: expected init to be an initializer such as Normal(); got {self.init!r}")

    def plan(self, in_shape: Shape) -> Plan:
        if len(in_shape) != 3:
            raise ValueError(f"expected images (H, W, C); got input shape {in_shape}")
        size = pair("PatchEmbedding", "patch", self.patch)
        if in_shape[0] % size[0] or in_shape[1] % size[1]:
            raise ValueError(f"expected images whose size is a multiple of patch={self.patch}; got shape {in_shape}")
        count, inputs = in_shape[0] // size[0] * (in_shape[1] // size[1]), size[0] * size[1] * in_shape[2]
        params = Param("W", (inputs, self.width), self.init), Param("b", (self.width,), Zeros(), decay=False)
        scratch = Scratch("patches", (count, inputs)), Scratch("d_patches", (count, inputs), brief=True)
        return Plan((count, self.width), params=params, scratch=scratch, work=2 * self.width)

    def forward(self, m: Memory, x: np.ndarray, y: np.ndarray) -> None:
        patches_of(x, *pair("PatchEmbedding", "patch", self.patch), m.patches)
        product(m, rows(m.patches), m.W, m.b, rows(y))

    def backward(self, m: Memory, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        product_of_transpose(m, rows(m.patches), rows(dy), m.dW)
        column_sums(rows(dy), m.db, m.work[0])
        if dx is not None:
            product_with_transpose(m, rows(dy), m.W, rows(m.d_patches))
            images_of(m.d_patches, *pair("PatchEmbedding", "patch", self.patch), dx)
