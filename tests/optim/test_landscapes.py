"""Landscapes against numerical gradients and published values; paths on them against closed forms."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import minnet as mn
from minnet import landscapes
from minnet.optim.landscapes import Beale, Landscape, LongValley, NoisyQuadratic, Rastrigin, Rosenbrock, Saddle, descend

ALL = [Rosenbrock(), Beale(), Saddle(), LongValley(), LongValley(7.0, -80.0), NoisyQuadratic(), Rastrigin()]
every_landscape = pytest.mark.parametrize("landscape", ALL, ids=repr)


def inside(landscape, count=12):
    low, high = np.array(landscape.window).T
    return low + (high - low) * np.random.default_rng(0).random((count, 2))


def test_every_landscape_of_the_module_is_tested():
    named = {value for value in vars(landscapes).values() if isinstance(value, type) and issubclass(value, Landscape)}
    assert named - {Landscape} == {type(landscape) for landscape in ALL}


@every_landscape
def test_the_gradient_is_the_numerical_one(landscape):
    for point in [*inside(landscape), *map(np.array, landscape.starts)]:
        checked = mn.check_gradient(landscape.value, point, landscape.gradient(point))
        checked.assert_passed()


def test_a_wrong_gradient_would_be_seen():
    class Wrong(Beale):
        def slopes(self, x, y):
            along_x, along_y = super().slopes(x, y)
            return along_x, along_y * (1 + 1e-6)

    point = np.array([1.0, 1.0])
    assert mn.check_gradient(Wrong().value, point, Wrong().gradient(point)).verdict != "correct"


@every_landscape
def test_its_minima_are_the_lowest_points_of_its_window(landscape):
    (left, right), (bottom, top) = landscape.window
    grid = np.stack(np.meshgrid(np.linspace(left, right, 401), np.linspace(bottom, top, 401)), axis=-1)
    assert landscape.value(grid).min() >= landscape.lowest - 1e-12
    for minimum in landscape.minima:
        assert landscape.value(minimum) == pytest.approx(landscape.lowest, abs=1e-14)
        np.testing.assert_allclose(landscape.gradient(minimum), 0, atol=1e-12)
    for x, y in [*landscape.minima, *landscape.starts]:
        assert left < x < right
        assert bottom < y < top
    # No point of the grid that is as low lies apart from the minima.
    nearest = np.min([np.linalg.norm(grid - minimum, axis=-1) for minimum in landscape.minima], axis=0)
    spacing = max(right - left, top - bottom) / 400
    assert nearest[landscape.value(grid) <= landscape.lowest + 1e-9].max(initial=0) < 2 * spacing


@every_landscape
def test_a_grid_is_as_good_as_its_points(landscape):
    grid = inside(landscape).reshape(3, 4, 2)
    assert landscape.value(grid).shape == (3, 4)
    assert landscape.gradient(grid).shape == grid.shape
    for i, j in np.ndindex(3, 4):
        np.testing.assert_allclose(landscape.value(grid)[i, j], landscape.value(grid[i, j]), rtol=1e-14)
        np.testing.assert_allclose(landscape.gradient(grid)[i, j], landscape.gradient(grid[i, j]), rtol=1e-12)
    assert landscape.value(grid.astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize(
    ("landscape", "point", "value", "gradient"),
    [
        (Rosenbrock(), (-1.2, 1.0), 24.2, (-215.6, -88.0)),  # Moré, Garbow, Hillstrom 1981, problem 1
        (Beale(), (1.0, 1.0), 14.203125, (0.0, 27.75)),  # the same, problem 5: 1.5^2 + 2.25^2 + 2.625^2
        (Saddle(), (0.0, 0.0), 0.0, (0.0, 0.0)),  # Nesterov 2004, example 1.2.2
        (Saddle(), (1.0, 1.0), 0.25, (1.0, 0.0)),
        (LongValley(100.0, 0.0), (2.0, 3.0), 452.0, (2.0, 300.0)),
        (LongValley(100.0, 90.0), (2.0, 3.0), 204.5, (200.0, 3.0)),
        (NoisyQuadratic(), (2.0, 3.0), 47.0, (2.0, 30.0)),
        (Rastrigin(), (3.0, -4.0), 25.0, (6.0, -8.0)),  # at integers the cosines are 1
        (Rastrigin(), (0.5, 0.5), 40.5, (1.0, 1.0)),
    ],
)
def test_published_values(landscape, point, value, gradient):
    assert landscape.value(point) == pytest.approx(value, abs=1e-12)
    np.testing.assert_allclose(landscape.gradient(point), gradient, atol=1e-10)


def test_gradient_descent_follows_the_closed_form_in_the_long_valley():
    """Along each axis the distance shrinks by 1 - lr times the curvature a step."""
    valley, lr = LongValley(condition=100.0, angle=30.0), 0.015
    path = descend(valley, mn.SGD(), (-4.0, 1.0), lr=lr, steps=50)
    turn = np.array([[math.cos(math.pi / 6), -0.5], [0.5, math.cos(math.pi / 6)]])  # columns: long axis, steep axis
    factors = np.array([1 - lr, 1 - 100 * lr])
    expected = (np.array([-4.0, 1.0]) @ turn) * factors ** np.arange(51)[:, np.newaxis] @ turn.T
    np.testing.assert_allclose(path, expected, atol=1e-13)


def test_gradient_descent_ends_on_the_saddle_from_the_line_of_nesterovs_example():
    path = descend(Saddle(), mn.SGD(), (1.0, 0.0), lr=0.1, steps=500)
    assert np.abs(path[-1]).max() < 1e-15
    beside = descend(Saddle(), mn.SGD(), (1.0, 1e-3), lr=0.1, steps=500)
    np.testing.assert_allclose(beside[-1], (0, 1), atol=1e-12)


def test_noise_leaves_gradient_descent_at_the_published_distance():
    """Zhang et al. 2019, section 3: with curvature h and noise of variance h, E[x^2] tends to lr / (2 - lr h)."""
    landscape, lr = NoisyQuadratic(condition=10.0, scale=1.0), 0.1
    path = descend(landscape, mn.SGD(), (0.0, 0.0), lr=lr, steps=20_000, seed=3)[100:]
    expected = np.array([lr / (2 - lr), lr / (2 - 10 * lr)])
    # Steps in x hang together for 1 / lr of them: some 2,000 are independent, hence 3 % times three deviations.
    np.testing.assert_allclose((path**2).mean(axis=0), expected, rtol=0.1)


def test_noise_is_a_function_of_seed_and_step_alone():
    landscape = NoisyQuadratic()
    runs = [descend(landscape, mn.Adam(), (1.0, 1.0), lr=0.1, steps=30, seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
    assert np.array_equal(landscape.noise(5, 7), landscape.noise(5, 7))
    assert not np.array_equal(landscape.noise(5, 7), landscape.noise(5, 8))
    assert np.array_equal(NoisyQuadratic(scale=0.0).noise(5, 7), [0, 0])
    assert Rosenbrock().noise(5, 7) == 0


def test_a_path_takes_any_rule_and_schedule():
    @dataclass(frozen=True)
    class Own(mn.Rule):
        slots: ClassVar[tuple[str, ...]] = ()

        def apply(self, params, grads, state, *, lr, t, decay):
            params -= lr * np.sign(grads)

    path = descend(NoisyQuadratic(scale=0.0), Own(), (3.0, 2.0), lr=mn.schedules.Step(1.0, 2, 0.5), steps=3)
    assert path.tolist() == [[3, 2], [2, 1], [1, 0], [0.5, 0]]


def test_a_path_that_diverges_ends_in_nan():
    path = descend(Rosenbrock(), mn.SGD(), (-1.2, 1.0), lr=1.0, steps=40)
    finite = np.isfinite(path).all(axis=1)
    last = np.flatnonzero(finite)[-1]
    assert 3 < last < 12
    assert finite[: last + 1].all()
    assert np.isnan(path[last + 1 :]).all()


def test_the_start_is_not_changed():
    start = np.array([1.0, 2.0])
    path = descend(Rosenbrock(), mn.SGD(), start, lr=1e-3, steps=1)
    assert path.dtype == np.float64
    assert path[0].tolist() == start.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: Beale().value(np.zeros(3)), ValueError, "Beale: expected points as numbers of shape (..., 2); got"),
        (
            lambda: Beale().gradient(1.0),
            ValueError,
            "Beale: expected points as numbers of shape (..., 2); got shape ()",
        ),
        (lambda: Beale().value(["a", "b"]), ValueError, "Beale: expected points as numbers"),
        (lambda: LongValley(condition=0), ValueError, "LongValley: expected condition above 0; got 0"),
        (lambda: LongValley(angle=math.inf), ValueError, "LongValley: expected angle to be finite; got inf"),
        (lambda: NoisyQuadratic(scale=-1), ValueError, "NoisyQuadratic: expected scale of at least 0; got -1"),
        (lambda: descend("x", mn.SGD(), (0, 0), lr=1, steps=1), TypeError, "descend: expected a landscape, such as"),
        (lambda: descend(Beale(), mn.SGD, (0, 0), lr=1, steps=1), TypeError, "Optimizer: expected a Rule"),
        (
            lambda: descend(Beale(), mn.SGD(), (0, math.nan), lr=1, steps=1),
            ValueError,
            "descend: expected start as two",
        ),
        (lambda: descend(Beale(), mn.SGD(), ("0", "1"), lr=1, steps=1), ValueError, "descend: expected start as two"),
        (lambda: descend(Beale(), mn.SGD(), (0, 0, 0), lr=1, steps=1), ValueError, "descend: expected start as two"),
        (
            lambda: descend(Beale(), mn.SGD(), (0, 0), lr=1, steps=0),
            ValueError,
            "descend: expected steps of at least 1",
        ),
        (lambda: descend(Beale(), mn.SGD(), (0, 0), lr=1, steps=1, seed=-1), ValueError, "descend: expected seed of"),
        (lambda: descend(Beale(), mn.SGD(), (0, 0), lr=-1, steps=1), ValueError, "expected lr of at least 0; got -1"),
        (lambda: Landscape().value((0, 0)), NotImplementedError, "Landscape must define height(x, y)"),
    ],
)
def test_bad_input_is_named(call, kind, words):
    with pytest.raises(kind) as caught:
        call()
    assert words in str(caught.value)
