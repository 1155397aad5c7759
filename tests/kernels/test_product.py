"""Matrix products: the micro-kernel at every width of vector, whole networks at narrower ones, and the threads."""

import inspect
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit

import minnet as mn
from minnet.kernels.passes import gather
from minnet.kernels.vector import block as blocks
from minnet.kernels.vector import dot_tiles, moves, panel_block, product, simd, strips
from minnet.kernels.vector import transform as transforms
from minnet.kernels.vector import turn as turns

EPS = {np.float32: 2**-23, np.float64: 2**-52}
# Vectors of 2, 4, 8 and 16 lanes. Every pass elsewhere uses those of this processor in both precisions.
LANES = [(16, np.float64), (16, np.float32), (32, np.float32), (64, np.float32)]
every_number_of_lanes = pytest.mark.parametrize(("vector_bytes", "dtype"), LANES)


@pytest.mark.parametrize(
    ("rows", "vectors", "vector_bytes", "dtype"),
    [
        *((14, 2, 64, np.float32), (1, 1, 64, np.float64), (6, 2, 32, np.float64)),
        *((4, 1, 32, np.float32), (14, 2, 16, np.float32), (2, 2, 16, np.float64)),
    ],
)
def test_a_block_sums_over_both_steps_at_any_width(rows, vectors, vector_bytes, dtype):
    block = blocks.make_block(rows, vectors, vector_bytes)

    @njit
    def run(A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor):
        block(A, offsets, o, B, b, ldb, D, d, ldd, C, c, ldc, n1, step1, n2, step2, floor)

    rng = np.random.default_rng(0)
    width = vectors * vector_bytes // np.dtype(dtype).itemsize
    n1, step1, n2, step2, ldb, ldc, ldd = 3, 17, 5, 2, width + 1, width + 3, width + 2
    A, B = rng.standard_normal(200).astype(dtype), rng.standard_normal((n1 * n2, ldb)).astype(dtype)
    offsets, D = rng.integers(0, 100, rows + 2), rng.standard_normal((rows + 1, ldd)).astype(dtype)
    exact_A, exact_B = A.astype(np.float64), B.astype(np.float64)[:, :width]
    products = np.zeros((rows, width))
    for i in range(rows):
        for a, b in np.ndindex(n1, n2):
            products[i] += exact_A[offsets[i + 2] + a * step1 + b * step2] * exact_B[a * n2 + b]
    steps = n1, step1, n2, step2
    for first_row, step in ((D[1:], ldd), (np.repeat(D[1:2], rows, axis=0), 0)):  # sums that start anywhere
        for floor in (-np.inf, 0.5):
            C = np.full((rows, ldc), np.nan, dtype)
            flat_B = np.concatenate([np.zeros(3, dtype), B.reshape(-1)])
            run(A, offsets, 2, flat_B, 3, ldb, D.reshape(-1), ldd, step, C.reshape(-1), 0, ldc, *steps, dtype(floor))
            expected = np.maximum(products + first_row[:, :width], floor)
            np.testing.assert_allclose(C[:, :width], expected, atol=200 * EPS[dtype])
            assert np.isnan(C[:, width:]).all()


@pytest.mark.parametrize(("vector_bytes", "dtype"), [LANES[0], LANES[-1]])
@pytest.mark.parametrize("in_rows", [True, False])
def test_blocks_of_a_product_add_all_terms_and_pack_at_any_width(vector_bytes, dtype, in_rows):
    sizes, width = (7, 2), 2 * vector_bytes // np.dtype(dtype).itemsize
    blocks = [numba_caller(block) for block in panel_block.make_blocks(in_rows, sizes, vector_bytes)]
    rng = np.random.default_rng(0)
    for (n, run), terms, ldb in itertools.product(enumerate(blocks), (2, 4, 14), (width, width + 3)):
        packs, rows = n == 0, (7, 7, 2)[n]
        factors = rng.standard_normal((rows, terms)).astype(dtype)
        A = np.full((rows if in_rows else terms, 17), np.nan, dtype)  # what is not to be read
        A[:, : terms if in_rows else rows] = factors if in_rows else factors.T
        B, D = rng.standard_normal((terms, ldb)).astype(dtype), rng.standard_normal((rows, width + 1)).astype(dtype)
        for floor, ldd in ((-np.inf, width + 1), (0.5, 0)):
            C, P = np.full((rows, width + 5), np.nan, dtype), np.full(3 + terms * width + 2, np.nan, dtype)
            flat = [np.concatenate([np.zeros(at, dtype), array.reshape(-1)]) for at, array in enumerate((A, B, D))]
            run(
                flat[0],
                0,
                17,
                flat[1],
                1,
                ldb,
                flat[2],
                2,
                ldd,
                C.reshape(-1),
                0,
                width + 5,
                terms,
                dtype(floor),
                P,
                3,
                5,
            )
            starts = D[:, :width] if ldd else D[:1, :width]
            exact = np.maximum(factors.astype(np.float64) @ B[:, :width] + starts, floor)
            np.testing.assert_allclose(C[:, :width], exact, atol=200 * EPS[dtype])
            assert np.isnan(C[:, width:]).all()
            assert np.isnan(P[:3]).all()
            assert np.isnan(P[-2:]).all()
            if packs:
                np.testing.assert_array_equal(P[3:-2].reshape(terms, width), B[:, :width])
            else:
                assert np.isnan(P).all()


def numba_caller(block):
    """Compiled code that calls vector code."""

    @njit
    def run(A, a, a_step, B, b, ldb, D, d, ldd, C, c, ldc, terms, floor, P, p, further):
        block(A, a, a_step, B, b, ldb, D, d, ldd, C, c, ldc, terms, floor, P, p, further)

    return run


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 513, 784, 1000, 3072, 100_000])
def test_terms_are_taken_in_turns_of_about_one_length(size):
    depth = njit(lambda K: product._depth(K))(size)
    turns = -(-size // depth)
    assert depth <= product._DEPTH
    assert turns == -(-size // product._DEPTH)
    assert size - (turns - 1) * depth > depth - panel_block.TERMS * turns  # the last is hardly shorter
    assert turns == 1 or depth % panel_block.TERMS == 0


@every_number_of_lanes
def test_a_square_is_transposed_at_any_width(vector_bytes, dtype):
    transpose = moves.make_transpose(vector_bytes)

    @njit
    def run(B, at, step, rows, terms, panel, to, width):
        transpose(B, at, step, rows, terms, panel, to, width)

    lanes = vector_bytes // np.dtype(dtype).itemsize
    for rows, terms in ((lanes, lanes), (lanes - 1, lanes + 5), (lanes + 3, 1), (1, lanes)):
        B, panel = np.full(30 * 30, np.nan, dtype), np.full(900, np.nan, dtype)
        expected = panel.copy()
        for j, k in np.ndindex(lanes, lanes):
            inside = j < rows and k < terms
            if inside:
                B[7 + j * 29 + k] = 100 * j + k
            expected[5 + k * 17 + j] = 100 * j + k if inside else 0
        run(B, 7, 29, rows, terms, panel, 5, 17)  # a NaN would come from what must not be read
        np.testing.assert_array_equal(panel, expected)
        assert np.isfinite(panel).sum() == lanes * lanes


@every_number_of_lanes
def test_part_of_a_vector_is_moved_at_any_width(vector_bytes, dtype):
    move = moves.make_move(vector_bytes)

    @njit
    def run(A, a, n, B, b, m):
        move(A, a, n, B, b, m)

    lanes = vector_bytes // np.dtype(dtype).itemsize
    A = np.arange(1, 50, dtype=dtype)
    for n, m in np.ndindex(lanes + 3, lanes + 3):
        B = np.full(50, np.nan, dtype)
        run(A, 3, n - 1, B, 5, m - 1)
        expected, moved = B * np.nan, np.zeros(lanes, dtype)
        moved[: max(n - 1, 0)] = A[3 : 3 + min(max(n - 1, 0), lanes)]
        expected[5 : 5 + min(max(m - 1, 0), lanes)] = moved[: max(m - 1, 0)]
        np.testing.assert_array_equal(B, expected)


@every_number_of_lanes
def test_tiles_of_dot_products_at_any_width(vector_bytes, dtype):
    tiles = dot_tiles.make_dot_tiles((1, 4, 8), vector_bytes)

    @njit
    def run(n, A, a, a_row, B, b, b_col, S, s, step, C, c, c_row, M, N, K, floor):
        tiles(n, A, a, a_row, B, b, b_col, S, s, step, C, c, c_row, M, N, K, floor)

    lanes, rng = vector_bytes // np.dtype(dtype).itemsize, np.random.default_rng(0)
    for n, M, N, K in itertools.product(range(3), (1, 3, 9), (1, 2, lanes + 1), (1, lanes, 3 * lanes + 1)):
        a_row, b_col, c_row = K + 2, K + 1, N + 3
        A, B = rng.standard_normal((M, a_row)).astype(dtype), rng.standard_normal((N, b_col)).astype(dtype)
        C = np.full((M, c_row), np.nan, dtype)
        a, b, c, sizes = A.reshape(-1), B.reshape(-1), C.reshape(-1), (M, N, K, dtype(0))
        # A row to start from, and a vector of one number.
        for step, S in ((1, rng.standard_normal(N + 2).astype(dtype)), (0, np.full(2 + lanes, 0.7, dtype))):
            run(n, a, 1, a_row, b, 1, b_col, S, 2, step, c, 3, c_row, *sizes)
            sums = A[:, 1 : K + 1].astype(float) @ B[:, 1 : K + 1].T.astype(float) + (S[2:] if step else S[2])
            np.testing.assert_allclose(C[:, 3:], np.maximum(sums, 0), atol=100 * EPS[dtype])
            assert np.isnan(C[:, :3]).all()


@every_number_of_lanes
@pytest.mark.parametrize("size", [(6, 2, 1), (2, 4, 2), (1, 1, 4)])
def test_a_strip_takes_several_rows_vectors_and_turns_at_any_width(size, vector_bytes, dtype):
    strip = strips.make_strip((size,), vector_bytes)

    @njit
    def run(A, a, a_row, a_col, B, b, b_row, b_next, S, s, s_next, C, c, c_row, adds, M, K, N, floor):
        strip(0, A, a, a_row, a_col, B, b, b_row, b_next, S, s, s_next, C, c, c_row, adds, M, K, N, floor)

    lanes, rng, (rows, vectors, _) = vector_bytes // np.dtype(dtype).itemsize, np.random.default_rng(0), size
    for groups, K, adds in itertools.product((1, 2), (0, 1, 7), (False, True)):
        M, N = groups * rows, groups * vectors * lanes - lanes + 1
        A, B = rng.standard_normal((K, M)).astype(dtype), rng.standard_normal((K, N + lanes)).astype(dtype)
        S, C = rng.standard_normal(N + 1).astype(dtype), rng.standard_normal((M, N + 2)).astype(dtype)
        before, b_row, c_row = C.copy(), N + lanes, N + 2
        a, b, c, sizes = A.reshape(-1), B.reshape(-1), C.reshape(-1), (M, K, N, dtype(0.1))
        run(a, 0, 1, M, b, 0, b_row, lanes, S, 1, vectors * lanes, c, 2, c_row, adds, *sizes)
        sums = A.T.astype(float) @ B[:, :N].astype(float) + (before[:, 2:] if adds else S[1:])
        np.testing.assert_allclose(C[:, 2:], np.maximum(sums, 0.1), atol=100 * EPS[dtype])
        np.testing.assert_array_equal(C[:, :2], before[:, :2])


@every_number_of_lanes
def test_long_rows_are_turned_to_short_ones_and_back_at_any_width(vector_bytes, dtype):
    turn, turn_back = (turns.make_turn(back, vector_bytes) for back in (False, True))

    @njit
    def run(back, X, x, x_row, x_next, Y, y, y_row, M, N):
        if back:
            turn_back(X, x, x_row, x_next, Y, y, y_row, M, N)
        else:
            turn(X, x, x_row, x_next, Y, y, y_row, M, N)

    lanes = vector_bytes // np.dtype(dtype).itemsize
    for M, N in itertools.product((1, lanes, 2 * lanes + 1), (1, 3, 4, 6)):
        length = -(-M // lanes) * lanes
        # Vectors of a long row follow each other, or lie in panels of one vector of all rows.
        for x_row, x_next in ((length + 1, lanes), (lanes, N * lanes)):
            X, Y = np.full(2 + N * (length + 1), np.nan, dtype), np.full((M, N + 2), np.nan, dtype)
            places = 2 + np.arange(N)[:, None] * x_row + np.arange(length) // lanes * x_next + np.arange(length) % lanes
            Y[:, 1:-1] = np.arange(M * N).reshape(M, N)
            run(True, X, 2, x_row, x_next, Y.reshape(-1), 1, N + 2, M, N)
            np.testing.assert_array_equal(X[places[:, :M]], Y[:, 1:-1].T)
            assert not X[places[:, M:]].any()
            assert np.isfinite(X).sum() == places.size
            Y[:] = np.nan
            run(False, X, 2, x_row, x_next, Y.reshape(-1), 1, N + 2, M, N)
            np.testing.assert_array_equal(Y[:, 1:-1], X[places[:, :M]].T)
            assert np.isnan(Y[:, [0, -1]]).all()


@every_number_of_lanes
def test_a_constant_matrix_acts_from_both_sides_at_any_width(vector_bytes, dtype):
    L = np.array([[1, 0, -1], [0.5, 2, 1], [-1, 1, 0], [0, -3, 0]])
    transform = transforms.make_transform(L.tolist(), vector_bytes)

    @njit
    def run(X, x, x_row, x_column, Y, y, y_row, y_column):
        transform(X, x, x_row, x_column, Y, y, y_row, y_column)

    lanes = vector_bytes // np.dtype(dtype).itemsize
    X = np.random.default_rng(0).standard_normal((3, 3, lanes + 1)).astype(dtype)
    Y = np.full((4, 4, lanes + 2), np.nan, dtype)
    run(X.reshape(-1), 1, 3 * (lanes + 1), lanes + 1, Y.reshape(-1), 2, 4 * (lanes + 2), lanes + 2)
    expected = np.einsum("ai,ijv,bj->abv", L, X[..., 1:], L)
    np.testing.assert_allclose(Y[..., 2:], expected, atol=50 * EPS[dtype])
    assert np.isnan(Y[..., :2]).all()


# Depths around a panel's 256, rows and columns around a block's 14 and a panel's 32, rows 4096 bytes apart, and more
# columns than are packed at a time.
SHAPES = [(14, 256, 32), (13, 255, 31), (15, 257, 33), (300, 40, 100), (29, 1024, 16), (3, 600, 290), (40, 520, 330)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("M", "K", "N"), SHAPES)
def test_the_three_products_of_a_dense_layer_equal_numpys(M, K, N, dtype):
    rng = np.random.default_rng(0)
    net = mn.Net([mn.Dense(N)], K, dtype=dtype)
    net.params = rng.standard_normal(net.params.size).astype(dtype)
    x, dy = rng.standard_normal((M, K)).astype(dtype), rng.standard_normal((M, N)).astype(dtype)
    y, dx = net.forward(x), np.empty_like(x)
    W, b = (values.astype(np.float64) for values in net.named_parameters().values())
    bound = 12 * EPS[dtype]
    np.testing.assert_allclose(y, x.astype(np.float64) @ W + b, atol=bound * K)
    net.backward(dy, dx)
    np.testing.assert_allclose(net.named_gradients()["0.W"], x.astype(np.float64).T @ dy, atol=bound * M)
    np.testing.assert_allclose(dx, dy.astype(np.float64) @ W.T, atol=bound * N)


# Whole panels and what is left over beside them; few columns; few terms; an odd number of terms; rows 2 KB apart.
TASKS = [(150, 300, 130), (700, 90, 68), (33, 1024, 400), (450, 700, 7), (90, 1500, 20), (700, 20, 150)]
TASKS += [(330, 75, 96), (75, 1024, 64)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("M", "K", "N"), TASKS)
@pytest.mark.parametrize("turned", [False, True])
def test_a_product_has_the_same_bits_however_it_is_cut_into_tasks(M, K, N, dtype, turned):
    rng = np.random.default_rng(0)
    x, W = rng.standard_normal((K, M) if turned else (M, K)), rng.standard_normal((K, N))
    x, W, bias = x.astype(dtype), W.astype(dtype), rng.standard_normal(N).astype(dtype)
    found = []
    assert M * K * N > product._SERIAL
    for tasks in (1, 2, 3, 5, 12):
        work, _ = product.new_work(np.dtype(dtype))
        work = np.resize(work, (tasks + 1, work.shape[1]))
        steps = (1, M) if turned else (K, 1)
        C = np.full((M, N), np.nan, dtype)
        product.matmul(x, *steps, W, N, 1, bias, dtype(0), C, K, work[:tasks])
        found.append(C)
    exact = np.maximum((x.T if turned else x).astype(np.float64) @ W + bias, 0)
    np.testing.assert_allclose(found[0], exact, atol=12 * EPS[dtype] * K)
    for C in found[1:]:
        np.testing.assert_array_equal(C, found[0])


def small_net():
    """Dense and norms of few units; the gradient of a batch is returned."""
    x, y = mn.datasets.digits()
    layers = [mn.Flatten(), mn.Dense(35), mn.BatchNorm(), mn.Tanh(), mn.LayerNorm(), mn.Dense(10)]
    net = mn.Net(layers, (8, 8, 1), mn.SoftmaxCrossEntropy())
    net.loss_and_grads(x[:300], y[:300])
    return net.grads


def test_narrower_vectors_give_the_same_network_and_compiled_code_the_bits_of_loaded_code(tmp_path):
    """Vectors of half the width, where there are such, in two processes: one that compiles, and one that loads.

    The blocks of vectors of 32 bytes have other rows than those of 16 and 64. Helpers that several kernels share must
    not depend on which kernel, or copy, came first.
    """
    source = inspect.getsource(small_net)
    program = f"import sys, minnet as mn\n{source}\nsys.stdout.buffer.write(small_net().tobytes())\n"
    half = str(max(16, simd.VECTOR_BYTES // 2))
    environment = os.environ | {"MINNET_VECTOR_BYTES": half, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = [sys.executable, "-c", program]
    compiled, loaded = (subprocess.run(run, env=environment, capture_output=True, check=True).stdout for _ in range(2))
    assert compiled == loaded
    grads = small_net()
    np.testing.assert_allclose(np.frombuffer(compiled, grads.dtype), grads, rtol=0, atol=1e-5 * np.abs(grads).max())


DENSE = [mn.Flatten(), mn.Dense(200), mn.BatchNorm(), mn.ReLU(), mn.Dropout(0.3), mn.Dense(10)]
IMAGES = [
    mn.Conv2D(8, 3),
    mn.BatchNorm(),
    mn.ReLU(),
    mn.MaxPool2D(2),
    mn.Conv2D(12, 3, stride=2),
    mn.SpatialDropout(0.2),
    mn.ConvTranspose2D(5, 3, stride=2),
    mn.Flatten(),
    mn.Dense(10),
]


@pytest.mark.parametrize(
    ("layers", "augment"),
    [(DENSE, None), (IMAGES, mn.data.Augment(flip=True, crop=1))],
    ids=["dense", "images, augmented"],
)
def test_200_steps_give_the_same_bits_with_one_thread_two_and_again(layers, augment, monkeypatch):
    if mn.get_num_threads() < 2:
        pytest.skip("one core: there is no second thread to compare with")
    monkeypatch.setattr(gather, "_SERIAL", 0)  # so that batches of these small images are shared between threads too
    x, y = mn.datasets.digits()
    ends, before = [], mn.get_num_threads()
    for threads in (1, 2, 2):
        mn.set_num_threads(threads)
        try:
            net = mn.Net(layers, (8, 8, 1), mn.SoftmaxCrossEntropy())
            mn.fit(net, (x, y), rule=mn.Adam(), lr=1e-3, steps=200, batch_size=50, augment=augment, progress=False)
        finally:
            mn.set_num_threads(before)
        ends.append(np.concatenate([net.params, net.buffers]))
    np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_array_equal(ends[1], ends[2])


@pytest.mark.parametrize(("n", "message"), [(0, "expected n of at least 1; got 0"), (10_000, "threads; got 10000")])
def test_a_bad_number_of_threads_is_refused(n, message):
    before = mn.get_num_threads()
    with pytest.raises(ValueError, match=message):
        mn.set_num_threads(n)
    assert mn.get_num_threads() == before
