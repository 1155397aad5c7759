"""Initial values: moments against theory, within sampling error."""

import math
import pickle
import re

import numpy as np
import pytest

import minnet as mn
from minnet.layers import initializers as init

# 60 000 and 24 000 draws; in, out and window all differ, so that no wrong fan gives the right figure.
DENSE, CONV = (300, 200), (3, 5, 40, 40)
NARROW = (3, 5, 20, 80)

# 5 standard errors: a right initialiser fails one seed in 1.7 million, and the seeds are fixed.
Z = 5


def draw(initializer, shape, seed=0):
    return initializer(np.random.default_rng(seed), shape)


FANS = {
    (): (1, 1),
    (7,): (7, 7),
    (300, 200): (300, 200),
    (1, 10): (1, 10),
    (3, 3, 64, 128): (576, 1152),
    (5, 5, 3, 32): (75, 800),
    (1, 1, 256, 64): (256, 64),
    (7, 16, 32): (112, 224),
}


@pytest.mark.parametrize(("shape", "expected"), FANS.items(), ids=str)
def test_fans_count_the_inputs_and_the_units_that_each_connection_window_joins(shape, expected):
    assert init.fans(shape) == expected


def test_fan_in_is_the_number_of_inputs_that_a_unit_sums():
    # Counted on a network instead of on a shape: with all weights 1 and all inputs 1, a unit's sum is its fan-in.
    net = mn.Net(mn.Dense(4, init=init.Constant(1.0)), input_shape=9, dtype=np.float64)
    scores = net.forward(np.ones((1, 9)))
    assert (scores == init.fans(net.named_parameters()["0.W"].shape)[0]).all()


# (initialiser, shape, variance by its paper, normal or uniform)
N, U = "normal", "uniform"
MOMENTS = [
    (init.Normal(), DENSE, 0.01**2, N),
    (init.Normal(0.3), CONV, 0.09, N),
    (init.Uniform(), DENSE, 0.05**2 / 3, U),
    (init.Uniform(0.3), CONV, 0.03, U),
    (init.GlorotNormal(), DENSE, 2 / 500, N),
    (init.GlorotNormal(), NARROW, 2 / (300 + 1200), N),
    (init.GlorotNormal(gain=3.0), DENSE, 9 * 2 / 500, N),
    (init.GlorotUniform(), DENSE, 2 / 500, U),
    (init.GlorotUniform(), NARROW, 2 / (300 + 1200), U),
    (init.GlorotUniform(gain=3.0), DENSE, 9 * 2 / 500, U),
    (init.HeNormal(), DENSE, 2 / 300, N),
    (init.HeNormal(), NARROW, 2 / 300, N),
    (init.HeUniform(), DENSE, 2 / 300, U),
    (init.HeUniform(), NARROW, 2 / 300, U),
    (init.LeCunNormal(), DENSE, 1 / 300, N),
    (init.LeCunNormal(), NARROW, 1 / 300, N),
    (init.LeCunUniform(), DENSE, 1 / 300, U),
    (init.LeCunUniform(), NARROW, 1 / 300, U),
    (init.HeNormal(), (20_000,), 2 / 20_000, N),
]


@pytest.mark.parametrize(("initializer", "shape", "variance", "kind"), MOMENTS, ids=str)
def test_moments_are_those_of_theory(initializer, shape, variance, kind):
    values = draw(initializer, shape)
    assert values.shape == shape
    assert values.dtype == np.float64
    n, scaled = values.size, values.ravel() / math.sqrt(variance)
    # Of a standardised normal or uniform variable x: E x^4 and E x^8 (E x^2 = 1, odd moments are 0).
    fourth, eighth = {N: (3, 105), U: (9 / 5, 9)}[kind]
    for power, mean, mean_of_square in [(1, 0, 1), (2, 1, fourth), (4, fourth, eighth)]:
        error = math.sqrt((mean_of_square - mean**2) / n)
        assert abs((scaled**power).mean() - mean) < Z * error, f"moment {power}"
    if kind is U:  # all within the bound, and some close to it
        assert math.sqrt(3) * (1 - 20 / n) < np.abs(scaled).max() <= math.sqrt(3)


@pytest.mark.parametrize(("initializer", "shape"), [(row[0], row[1]) for row in MOMENTS], ids=str)
def test_neighbours_are_uncorrelated(initializer, shape):
    values = draw(initializer, shape).reshape(-1, shape[-1])
    scaled = values / values.std()
    for pairs in (scaled[1:] * scaled[:-1], scaled[:, 1:] * scaled[:, :-1]):
        if pairs.size:
            assert abs(pairs.mean()) < Z / math.sqrt(pairs.size)


@pytest.mark.parametrize("shape", [(), (7,), DENSE, CONV], ids=str)
def test_constants_are_constant(shape):
    np.testing.assert_array_equal(draw(init.Zeros(), shape), np.zeros(shape))
    np.testing.assert_array_equal(draw(init.Constant(-0.25), shape), np.full(shape, -0.25))
    assert draw(init.Constant(1), shape).dtype == np.float64


def test_zeros_are_zeros_and_take_no_other_value():
    with pytest.raises(TypeError):
        init.Zeros(1.0)


# Orthogonal ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(20, 20), (50, 20), (20, 50), (3, 3, 4, 30), (3, 3, 4, 50), (1, 6), (6, 1)], ids=str)
@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_orthogonal_rows_or_columns_whichever_are_fewer(shape, gain):
    values = draw(init.Orthogonal(gain), shape)
    assert values.shape == shape
    assert values.dtype == np.float64
    matrix = values.reshape(-1, shape[-1])
    product = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    # Householder's factorisation is orthogonal to some sqrt(size) roundings.
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), rtol=0, atol=50 * np.finfo(float).eps)


def test_orthogonal_keeps_the_length_of_every_vector():
    W = draw(init.Orthogonal(), (30, 30))
    x = np.random.default_rng(1).standard_normal((5, 30))
    np.testing.assert_allclose(np.linalg.norm(x @ W, axis=1), np.linalg.norm(x, axis=1), rtol=1e-13)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_orthogonal_is_uniform_over_the_group(size):
    # Diaconis and Shahshahani 1994: under Haar measure the trace has mean 0 and mean square 1. Plain QR fails it:
    # LAPACK chooses signs, and the 1 x 1 case, for one, is always the same.
    traces = np.array([np.trace(draw(init.Orthogonal(), (size, size), seed)) for seed in range(2000)])
    fourth = 1 if size == 1 else 3  # E trace^4, that of a normal variable from size 2 on
    assert abs(traces.mean()) < Z / math.sqrt(2000)
    assert abs((traces**2).mean() - 1) <= Z * math.sqrt((fourth - 1) / 2000)


# Sparse ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "connections", "expected"),
    [(DENSE, 15, 15), (DENSE, 1, 1), ((10, 40), 15, 10), ((3, 5, 4, 30), 7, 7)],
    ids=str,
)
def test_each_unit_of_a_sparse_array_has_its_count_of_inputs(shape, connections, expected):
    values = draw(init.Sparse(connections), shape)
    assert values.shape == shape
    assert values.dtype == np.float64
    matrix = values.reshape(-1, shape[-1])
    np.testing.assert_array_equal((matrix != 0).sum(axis=0), expected)


def test_sparse_chooses_inputs_evenly_and_weighs_them_normally():
    matrix = draw(init.Sparse(15, std=0.5), (60, 4000))
    counts, n = (matrix != 0).sum(axis=1), 4000
    share = 15 / 60
    assert np.abs(counts / n - share).max() < Z * math.sqrt(share * (1 - share) / n)
    weights = matrix[matrix != 0] / 0.5
    assert abs(weights.mean()) < Z / math.sqrt(weights.size)
    assert abs((weights**2).mean() - 1) < Z * math.sqrt(2 / weights.size)
    assert abs((weights**4).mean() - 3) < Z * math.sqrt(96 / weights.size)
    assert len({tuple(np.flatnonzero(column)) for column in matrix.T[:100]}) == 100  # not the same choice for all


# Seeds, scale, errors ----------------------------------------------------------------------------------------------

DRAWN = [init.Normal(), init.Uniform(), init.GlorotNormal(), init.GlorotUniform(), init.HeNormal(), init.HeUniform()]
DRAWN += [init.LeCunNormal(), init.LeCunUniform(), init.Orthogonal(), init.Sparse(3)]
every_draw = pytest.mark.parametrize("initializer", DRAWN, ids=lambda initializer: type(initializer).__name__)


@every_draw
def test_one_seed_gives_one_array_and_another_seed_another(initializer):
    one, again, other = (draw(initializer, (12, 8), seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.3  # sparse arrays share most of their zeros
    rng = np.random.default_rng(3)
    first, second = initializer(rng, (12, 8)), initializer(rng, (12, 8))
    np.testing.assert_array_equal(first, one)
    assert (first != second).any()  # the generator moves on


@every_draw
def test_the_global_generator_has_no_part_in_it(initializer):
    before = np.random.get_state()[1].copy()  # noqa: NPY002  # looked at, not used
    draw(initializer, (12, 8))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@every_draw
def test_one_seed_gives_one_network_in_both_precisions(initializer):
    single, double = (mn.Net([mn.Dense(8, init=initializer)], input_shape=12, dtype=d, seed=5) for d in ("f4", "f8"))
    assert double.params.any()
    np.testing.assert_array_equal(single.params, double.params.astype(np.float32))


@every_draw
def test_initialisers_are_comparable_and_picklable(initializer):
    twin = pickle.loads(pickle.dumps(initializer))
    assert twin == initializer
    assert hash(twin) == hash(initializer)


@pytest.mark.parametrize(
    ("initializer", "activations", "ratio"),
    [(init.HeNormal(), [mn.ReLU()], 2.0), (init.LeCunNormal(), [mn.ReLU()], 2.0**-10), (init.LeCunNormal(), [], 1.0)],
    ids=["He with ReLU", "LeCun with ReLU", "LeCun, linear"],
)
def test_ten_layers_keep_the_scale_where_the_papers_say_so(initializer, activations, ratio):
    # He et al. 2015, eq. 10: each ReLU halves the mean square, which a factor of 2 in the variance makes up for. The
    # last layer's output has not been halved.
    layers = [mn.Dense(400, init=initializer), *activations] * 10
    net = mn.Net([*layers, mn.Dense(400, init=initializer)], input_shape=400, dtype=np.float64, seed=2)
    x = np.random.default_rng(0).standard_normal((50, 400))
    measured = (net.forward(x) ** 2).mean() / (x**2).mean()
    assert ratio / 2 < measured < ratio * 2  # 11 layers of width 400 spread by some 35 %


BAD = [
    (lambda: init.Constant(math.nan), "Constant: expected value to be finite; got nan"),
    (lambda: init.Constant("0"), "Constant: expected value to be a number; got '0'"),
    (lambda: init.Normal(-0.1), "Normal: expected std of at least 0; got -0.1"),
    (lambda: init.Normal(math.inf), "Normal: expected std to be finite; got inf"),
    (lambda: init.Uniform(-0.1), "Uniform: expected bound of at least 0; got -0.1"),
    (lambda: init.GlorotNormal(math.nan), "GlorotNormal: expected gain to be finite; got nan"),
    (lambda: init.GlorotNormal("relu"), "GlorotNormal: expected gain to be a number; got 'relu'"),
    (lambda: init.GlorotUniform(math.inf), "GlorotUniform: expected gain to be finite; got inf"),
    (lambda: init.Orthogonal("relu"), "Orthogonal: expected gain to be a number; got 'relu'"),
    (lambda: init.Sparse(0), "Sparse: expected connections of at least 1; got 0"),
    (lambda: init.Sparse(2.5), "Sparse: expected connections to be a whole number; got 2.5"),
    (lambda: init.Sparse(5, std=-1.0), "Sparse: expected std of at least 0; got -1.0"),
    (lambda: draw(init.Orthogonal(), (5,)), "Orthogonal: expected at least two axes; got shape (5,)"),
    (lambda: draw(init.Sparse(), (5,)), "Sparse: expected at least two axes; got shape (5,)"),
]


@pytest.mark.parametrize(("build", "said"), BAD, ids=[said for _, said in BAD])
def test_initialisers_say_who_what_and_which_value_they_refuse(build, said):
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(said)}$"):
        build()


@pytest.mark.parametrize(
    "initializer",
    [lambda rng, shape: np.zeros((3, 3)), lambda rng, shape: np.full(shape, math.nan)],
    ids=["another shape", "not finite"],
)
def test_a_net_refuses_what_a_users_initialiser_gets_wrong(initializer):
    with pytest.raises(ValueError, match=r"^0\.W: expected .* finite values of shape \(4, 2\); got"):
        mn.Net([mn.Dense(2, init=initializer)], input_shape=4)


def test_a_function_of_ones_own_is_an_initialiser():
    net = mn.Net([mn.Dense(2, init=lambda rng, shape: np.arange(8.0).reshape(shape))], input_shape=4)
    np.testing.assert_array_equal(net.named_parameters()["0.W"], [[0, 1], [2, 3], [4, 5], [6, 7]])
