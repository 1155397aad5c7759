"""Products of few numbers, rows or columns: every size and way, memory beyond the arrays, tasks, and long sums."""

import os
import subprocess
import sys

import guarded_products
import numpy as np
import pytest
from numba import njit

from minnet.kernels.vector import product, simd, small

WIDTHS = [width for width in (16, 32, 64) if width <= simd.VECTOR_BYTES]
both_precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.mark.skipif(sys.platform == "win32", reason="mprotect is not there")
@pytest.mark.parametrize("width", WIDTHS)
def test_every_way_equals_numpy_for_all_sizes_and_stays_within_its_arrays(width):
    environment = os.environ | {"MINNET_VECTOR_BYTES": str(width)}
    command = [sys.executable, guarded_products.__file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:] or f"ended by signal {-done.returncode}"
    assert all(int(count) > 500 for count in done.stdout.split())


@both_precisions
def test_each_way_is_the_quickest_for_some_layer_by_the_model(dtype):
    @njit
    def way(M, N, K, a_row, a_col, b_row, b_col, lanes):
        return small._way(M, N, K, a_row, a_col, b_row, b_col, False, lanes)

    lanes = simd.VECTOR_BYTES // np.dtype(dtype).itemsize
    # 64 samples of 64 inputs to 10 units; 300 of 512 to 3 units; the gradient of the weights of 96 inputs to 3 units.
    assert way(64, 10, 64, 64, 1, 10, 1, lanes) == guarded_products.WAYS["strips"]
    assert way(300, 3, 512, 512, 1, 3, 1, lanes) == guarded_products.WAYS["dots"]
    assert way(96, 3, 300, 1, 96, 3, 1, lanes) == guarded_products.WAYS["exchanged"]


# The quickest ways and strips of a row and of a column, by (M, N, K) and whether A is transposed.
CUT = [(300, 10, 40, False), (200, 4, 300, False), (333, 7, 500, True), (401, 1, 50, True), (401, 1, 50, False)]


@both_precisions
@pytest.mark.parametrize(("M", "N", "K", "transposed"), CUT)
def test_parts_of_the_rows_have_the_bits_of_the_whole(M, N, K, transposed, dtype):
    @njit
    def run(parts, a, a_row, a_col, b, bias, floor, c, work):
        for part in range(parts):
            small.narrow(part, parts, a, a_row, a_col, b, 0, N, 1, bias, 0, floor, c, 0, N, M, N, K, work)

    rng = np.random.default_rng(0)
    A, B = rng.standard_normal(M * K).astype(dtype), rng.standard_normal(K * N).astype(dtype)
    steps, work = (1, M) if transposed else (K, 1), product.new_work(np.dtype(dtype))[0][0]
    found = []
    for parts in (1, 2, 3, 7, 50):
        C = np.full(M * N, np.nan, dtype)
        run(parts, A, *steps, B, np.empty(0, dtype), dtype(-np.inf), C, work)
        found.append(C)
    exact = (A.reshape(K, M).T if transposed else A.reshape(M, K)).astype(float) @ B.reshape(K, N)
    np.testing.assert_allclose(found[0].reshape(M, N), exact, rtol=0, atol=8 * K * np.finfo(dtype).eps)
    for C in found[1:]:
        np.testing.assert_array_equal(C, found[0])


@pytest.mark.parametrize("kind", ["equal", "random"])
@pytest.mark.parametrize(("M", "N"), [(20, 40), (3, 1), (40, 3), (1, 70)])
@pytest.mark.parametrize("way", guarded_products.WAYS)
def test_a_sum_of_many_terms_keeps_its_digits(way, M, N, kind):
    lanes, K = simd.VECTOR_BYTES // 4, 20_000
    if way == "dots":  # of few terms for each lane
        K, N = 256 * lanes, min(N, lanes)
    rng = np.random.default_rng(0)
    A, B = (
        np.full(shape, 0.1, np.float32) if kind == "equal" else rng.uniform(0.05, 0.15, shape).astype(np.float32)
        for shape in ((M, K), (K, N))
    )
    C, work = np.empty(M * N, np.float32), np.empty(product.least_work(), np.float32)
    a, steps = (A.T.copy(), (1, M)) if way == "exchanged" else (A, (K, 1))
    nothing, floor = np.empty(0, np.float32), np.float32(-np.inf)
    number = guarded_products.WAYS[way]
    guarded_products.run(
        number, a.reshape(-1), *steps, B.reshape(-1), N, 1, nothing, floor, C, 0, N, M, N, K, lanes, work
    )
    # At the most 256 roundings within a block, and one for each block, each of half a unit of a partial sum.
    bound = (256 + K / 64) / 2 * np.finfo(np.float32).eps
    np.testing.assert_allclose(C.reshape(M, N), A.astype(float) @ B.astype(float), rtol=bound)
