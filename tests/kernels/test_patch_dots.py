"""Dot products of two patches with a few filters, for vectors of 2 to 16 lanes."""

import itertools

import numpy as np
import pytest
from numba import njit

from minnet.kernels.vector.patch_dots import make_patch_dots

EPS = {np.float32: 2**-23, np.float64: 2**-52}
LANES = [(16, np.float64), (16, np.float32), (32, np.float32), (64, np.float32)]


@pytest.mark.parametrize(("vector_bytes", "dtype"), LANES)
def test_dot_products_of_two_patches_at_any_width(vector_bytes, dtype):
    patch_dots = make_patch_dots(vector_bytes)

    @njit
    def run(A, a1, a2, n1, step, n2, B, b, ldb, sums):
        patch_dots(A, a1, a2, n1, step, n2, B, b, ldb, sums)

    lanes = vector_bytes // np.dtype(dtype).itemsize
    columns, rng = max(1, lanes // 4), np.random.default_rng(0)
    for n1, n2 in itertools.product((1, 3), (1, lanes - 1, lanes, 3 * lanes + 1)):
        length, step = -(-n2 // lanes) * lanes, n2 + 2  # a NaN would come from what lies between stretches
        A, B = np.full(2000, np.nan, dtype), np.zeros((columns, n1, length), dtype)
        parts = rng.standard_normal((2, n1, n2)).astype(dtype)
        for start, part in zip((3, 1000), parts, strict=True):
            for i in range(n1):
                A[start + i * step : start + i * step + n2] = part[i]
        B[..., :n2] = rng.standard_normal((columns, n1, n2))
        sums, before = np.full(lanes + 1, np.nan, dtype), np.zeros(5, dtype)
        apart = np.concatenate([B.reshape(columns, -1), np.zeros((columns, 2), dtype)], 1)
        run(A, 3, 1000, n1, step, n2, np.concatenate([before, apart.reshape(-1)]), 5, n1 * length + 2, sums)
        expected = np.einsum("pik,jik->pj", parts.astype(float), B[..., :n2].astype(float)).reshape(-1)
        np.testing.assert_allclose(sums[: 2 * columns], expected, atol=100 * EPS[dtype])
        assert np.isnan(sums[lanes])
