"""The ladder of steps: steep functions, kinks nearby, noise; what is known of a derivative, and what is not."""

import numpy as np
import pytest
from families import FAMILIES, Case

import minnet as mn

AT_0 = np.zeros(1)


def slope(f, x, analytic):
    return mn.check_gradient(f, np.array([x], float), np.array([analytic], float))


def two_kinks(b):
    """Slope 0 on the left, 1 within 1e-9 of 0, -1 on the right."""
    return np.maximum(b + 1e-9, 0).sum() - 2 * np.maximum(b - 1e-9, 0).sum()


def test_shorter_steps_that_agree_overrule_a_longer_one():
    slope(two_kinks, 0, 1).assert_passed()
    for wrong in (-0.5, 0.0, -1.0, 0.25, 2.0):
        assert slope(two_kinks, 0, wrong).verdict == "wrong"


@pytest.mark.parametrize(
    ("f", "x", "right", "wrong"),
    [
        # Within 1e-12 a clip adds 1 to the slope; on its own scale the function looks straight.
        (lambda x: (np.clip(x, -1e-12, 1e-12) + x).sum(), 0, 2, 1),
        (lambda x: np.maximum(x, 0).sum(), -1e-9, 0, 1),
        (lambda x: np.maximum(x, 0).sum(), -1e-9, 0, 0.5),
        (lambda x: np.maximum(x, 0.1 * x).sum(), 1e-8, 1, 0.55),
        (lambda x: (np.abs(x - 1e-7) - np.abs(x + 1e-7)).sum(), 0, -2, 0),
        (lambda x: 3 + np.abs(np.abs(x) - 1e-6).sum(), 5e-7, -1, 1),
    ],
)
def test_a_slope_between_kinks_is_told_from_those_around_them(f, x, right, wrong):
    slope(f, x, right).assert_passed()
    assert slope(f, x, wrong).verdict == "wrong"


@pytest.mark.parametrize(
    ("f", "df", "places"),
    [
        (
            lambda x: np.sin(2**12 * np.pi * x).sum(),
            lambda x: 2**12 * np.pi * np.cos(2**12 * np.pi * x),
            (0, 0.3, -1.7),
        ),
        (lambda x: np.tanh(1e6 * x).sum(), lambda x: 1e6 / np.cosh(1e6 * x) ** 2, (0, 3e-7, -2e-6)),
        (lambda x: (x / np.sqrt(x * x + 1e-12)).sum(), lambda x: 1e-12 * (x * x + 1e-12) ** -1.5, (0, 1e-6, 3e-6)),
        (lambda x: np.exp(-1e8 * x * x).sum(), lambda x: -2e8 * x * np.exp(-1e8 * x * x), (1e-4, 3e-5)),
        (lambda x: np.arctan(1e5 * x).sum(), lambda x: 1e5 / (1 + (1e5 * x) ** 2), (0, 1e-5)),
    ],
    ids=["sine", "tanh", "norm", "bump", "arctan"],
)
def test_steep_functions_are_differentiated_at_steps_that_resolve_them(f, df, places):
    for x in places:
        slope(f, x, df(x)).assert_passed()
        assert slope(f, x, 1.02 * df(x)).verdict == "wrong"
        assert not slope(f, x, (f(np.array(x + 1e-5)) - f(np.array(x - 1e-5))) / 2e-5).passed


def test_a_wrong_gradient_that_agrees_with_the_first_step_is_contradicted_by_a_shorter_one():
    """At h = 1e-5 tanh(1e6 x) looks as if its slope were 1e5."""
    assert slope(lambda x: np.tanh(1e6 * x).sum(), 0, 1e5).verdict == "wrong"
    assert slope(lambda x: np.clip(x, -1e-9, 1e-9).sum(), 0, 1e-4).verdict == "wrong"


def test_a_mean_of_two_slopes_is_none_of_them():
    """At a kink the central difference is the mean of the slopes to both sides, which is no derivative."""
    for f, mean in ((lambda x: np.maximum(x, 0).sum(), 0.5), (lambda x: np.abs(x).sum(), 0.0)):
        assert slope(f, 0, mean).verdict == "kink"
    assert slope(lambda x: np.maximum(x, 0).sum(), 0, 1.5).verdict == "wrong"


def test_where_round_off_hides_what_lies_between_kinks_the_verdict_is_no_error_and_says_why():
    for right, wrong in ((1.0, -0.5), (1.0, 0.0)):
        for analytic in (right, wrong):
            result = slope(lambda b: 1e5 + two_kinks(b), 0, analytic)
            assert result.verdict in ("kink", "truncation", "round-off")
            with pytest.raises(AssertionError, match=r"another place|float64"):
                result.assert_passed()


def test_noise_in_what_a_function_makes_of_a_large_argument_is_no_error():
    """x is known to a rounding only, of which sin(1e4 (x + y)) makes 1e-8 where y is 1e4."""
    x = np.array([0.3, -0.8])
    for y in (1e2, 1e4):
        right = 1e3 * np.cos(1e3 * (x + y))
        result = mn.check_gradient(lambda x, y=y: np.sin(1e3 * (x + y)).sum(), x, right)
        assert result.verdict not in ("wrong", "suspicious"), str(result.worst)
        assert mn.check_gradient(lambda x, y=y: np.sin(1e3 * (x + y)).sum(), x, 1.5 * right).verdict == "wrong"


def test_a_step_of_the_callers_is_held_against_shorter_ones():
    """D(h), D(h / 2) and D(h / 4) of a steep function agree with each other, and all are nearly 0."""
    x = np.array([0.01, 0.3])
    right = 1e6 * np.cos(1e6 * x)
    assert mn.check_gradient(lambda x: np.sin(1e6 * x).sum(), x, right, h=1e-2).verdict == "truncation"
    assert mn.check_gradient(two_kinks, AT_0, np.ones(1), h=1e-3).verdict == "truncation"


def test_steep_sines_are_not_taken_for_noise():
    """At the places where noise is listened for, sin(1e5 x) looks like noise of size 1."""
    x = np.random.default_rng(0).uniform(-1, 1, 6)
    slopes = 10.0 ** np.arange(1, 7)
    result = mn.check_gradient(lambda x: np.sin(slopes * x).sum(), x, slopes * np.cos(slopes * x))
    result.assert_passed()
    assert mn.check_gradient(lambda x: np.sin(slopes * x).sum(), x, slopes * np.sin(slopes * x)).verdict == "wrong"


def test_a_look_at_smooth_functions_costs_six_evaluations_more():
    x = np.random.default_rng(0).standard_normal(40)
    result = mn.check_gradient(lambda x: np.tanh(x).sum(), x, 1 / np.cosh(x) ** 2)
    assert result.evaluations <= 2 + 2 * 40 + 6


class PlainReLU(mn.Layer):
    """A layer of somebody who does not know of ``winners``."""

    slope = 0.0

    def plan(self, in_shape):
        return mn.Plan(in_shape)

    def forward(self, m, x, y):
        y[...] = np.where(x > 0, x, self.slope * x)

    def backward(self, m, x, y, dy, dx):
        if dx is not None:
            dx[...] = np.where(x > 0, dy, self.slope * dy)


class NoMask(PlainReLU):
    def backward(self, m, x, y, dy, dx):
        if dx is not None:
            dx[...] = dy


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_layers_without_winners_near_their_kinks(scale, depth):
    """Weights of that scale bring all kinks of the inner layers within reach of the first step."""
    init = mn.initializers.Normal(scale)

    def chain(relu):
        return mn.Chain([part for _ in range(depth) for part in (mn.Dense(4, init=init), relu())])

    assert mn.check_layer(chain(PlainReLU), (3,)).verdict not in ("wrong", "suspicious")
    assert not mn.check_layer(chain(NoMask), (3,)).passed


@pytest.mark.parametrize(("depth", "scale", "seed"), [(7, 5e-2, 0), (4, 1e-2, 1), (6, 1e-1, 2)])
def test_deep_relu_nets_of_small_weights_are_not_called_wrong(depth, scale, seed):
    """Their inner layers see inputs of 1e-6 and less, so that all units are near their kinks."""

    def forward(x, parameters):
        inputs = [x]
        for w, b in zip(parameters[::2], parameters[1::2], strict=True):
            inputs.append(np.maximum(inputs[-1] @ w + b, 0))
        return inputs

    rng = np.random.default_rng(seed)
    x, cotangent = rng.standard_normal((2, 6)), rng.standard_normal((2, 6))
    parameters = tuple(part for _ in range(depth) for part in (scale * rng.standard_normal((6, 6)), np.zeros(6)))
    inputs, d, right = forward(x, parameters), cotangent, []
    for i in reversed(range(depth)):
        d = d * (inputs[i + 1] > 0)
        right = [inputs[i].T @ d, d.sum(axis=0), *right]
        d = d @ parameters[2 * i].T

    def loss(*parameters):
        return (forward(x, parameters)[-1] * cotangent).sum()

    result = mn.check_gradient(loss, parameters, tuple(right), mode="sample", samples=5)
    assert result.verdict not in ("wrong", "suspicious"), str(result.worst)
    if np.any(right[-1]):
        doubled = (*[None] * (2 * depth - 1), 2 * right[-1])
        assert not mn.check_gradient(loss, parameters, doubled).passed


@pytest.mark.parametrize("family", FAMILIES)
def test_right_gradients_of_hard_functions_are_never_called_wrong_and_wrong_ones_never_right(family):
    """A few of those that bench/gradcheck.py goes through."""
    for seed in range(1, 4):
        case: Case = FAMILIES[family](seed)
        with np.errstate(all="ignore"):
            right = case.check(case.right)
            assert right.verdict not in ("wrong", "suspicious"), (seed, str(right.worst))
            for name, wrong in case.wrong.items():
                assert not case.check(wrong).passed, (seed, name)


TWO_SCALES = {
    "sine and tanh": (
        lambda x: np.sin(8722 * x) + 2 * np.tanh(7e5 * x + 0.3),
        [8722.0, 1.4e6 / np.cosh(0.3) ** 2],
    ),
    "slow sine and tanh": (
        lambda x: np.sin(368.5 * x) + 0.759 * np.tanh(4.686e5 * x + 0.246),
        [368.5, 0.759 * 4.686e5 / np.cosh(0.246) ** 2],
    ),
    "two sines and a root": (
        lambda x: np.sin(544 * x) + 0.3 * np.sin(3265 * x) + x / np.sqrt(x * x + 1e-11),
        [544.0, 979.5, 1e11**0.5],
    ),
    "sine and arctan": (lambda x: np.sin(5408 * x) + np.arctan(3e5 * x), [5408.0, 3e5]),
    "sine and a bump's shoulder": (
        lambda x: np.sin(1888 * x) + 2 * np.exp(-((3e5 * x - 0.7) ** 2)),
        [1888.0, 2 * 2 * 0.7 * 3e5 * np.exp(-0.49)],
    ),
}


@pytest.mark.parametrize("name", TWO_SCALES)
def test_scales_far_apart_are_not_taken_for_noise(name):
    """Sampled too coarsely the sine looks like noise, and at closer places the steep term looks like a jump."""
    f, terms = TWO_SCALES[name]
    right = sum(terms)
    slope(lambda x: f(x).sum(), 0, right).assert_passed()
    for wrong in (1.02 * right, -right, right - terms[-1]):
        assert slope(lambda x: f(x).sum(), 0, wrong).verdict == "wrong"
    assert not slope(lambda x: f(x).sum(), 0, 1.01 * right).passed


@pytest.mark.parametrize("phase", [0.0, 0.02, 0.1])
def test_waves_of_twice_the_spacing_are_not_taken_for_noise(phase):
    """Noise is listened for at 20 places within 1e-2; this wave has a crest or a trough at each of them."""
    omega = (np.pi + phase) * 19 / 2e-2

    def f(x):
        return (np.sin(omega * x) + 2.7 * np.tanh(1.1e5 * x - 0.8)).sum()

    right = omega + 2.7 * 1.1e5 / np.cosh(0.8) ** 2
    slope(f, 0, right).assert_passed()
    assert slope(f, 0, 1.1 * right).verdict == "wrong"


HIDDEN = {
    "tanh": (lambda t: 1e-3 * np.tanh(1e6 * t), 1e3),
    "clip": (lambda t: np.clip(1e4 * t, -1e-4, 1e-4), 1e4),
    "root": (lambda t: 1e-2 * t / np.sqrt(t * t + 1e-14), 1e5),
    "arctan": (lambda t: 1e-4 * np.arctan(1e8 * t), 1e4),
}


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("mode", ["all", "sample", "directions"])
def test_what_the_first_step_does_not_see_is_found_in_any_element(name, mode):
    """The gradient of one element is what a step of 1e-5 gives; another element's is larger and right."""
    part, right = HIDDEN[name]
    x = np.array([0.4, 0.0, -0.8])
    weights = np.array([1e6, 0.0, 3.0])

    def f(x):
        return (weights * x * x).sum() + part(x[1])

    gradient = 2 * weights * x
    gradient[1] = right
    mn.check_gradient(f, x, gradient, mode=mode).assert_passed()
    if mode != "directions":
        gradient[1] = (part(1e-5) - part(-1e-5)) / 2e-5
        assert not mn.check_gradient(f, x, gradient, mode=mode).passed


@pytest.mark.parametrize("seed", [7, 11, 19, 23])
def test_a_penalty_in_double_precision_does_not_hide_single_precision_beside_it(seed):
    """At short steps the slope of such a function is that of the penalty alone, without any noise."""
    case: Case = FAMILIES["single precision"](seed)
    right = case.check(case.right)
    assert right.verdict not in ("wrong", "suspicious"), str(right.worst)
    for name, wrong in case.wrong.items():
        assert not case.check(wrong).passed, name


@pytest.mark.parametrize("rate", [1e-4, 3e-5, 1e-3])
def test_single_precision_that_changes_little_is_found_by_its_jumps(rate):
    """Between two jumps only the penalty changes, at most steps there is none, and nothing sounds like noise."""
    x = np.array([0.31, -0.72, 0.05])
    small = float(np.float32(rate))

    def f(x):
        data = np.float32(1) + np.sin(x.astype(np.float32) * np.float32(rate)).sum(dtype=np.float32)
        return float(data) + 1e-3 * (x * x).sum()

    right = small * np.cos(small * x) + 2e-3 * x
    assert mn.check_gradient(f, x, right).verdict not in ("wrong", "suspicious")
    assert mn.check_gradient(f, x, -right).verdict == "wrong"


@pytest.mark.parametrize("omega", [150.0, 300.0, 600.0, 900.0])
def test_truncation_at_few_steps_is_not_taken_for_noise(omega):
    """In single precision a steep sine leaves few steps with a digit; a longer one must not win for that."""
    x = np.array([0.37, -0.81, 0.55])

    def f(x):
        return float(np.sin(np.float32(omega) * x.astype(np.float32)).sum())

    right = omega * np.cos(omega * x)
    assert mn.check_gradient(f, x, right).verdict not in ("wrong", "suspicious")
    assert not mn.check_gradient(f, x, -right).passed


def test_a_slope_that_ends_nearby_and_is_below_round_off_is_not_called_wrong():
    """All units stand on kinks; the gradient of 1e-9 is not seen at long steps, and has no digit at short ones."""
    case: Case = FAMILIES["deep ReLU nets"](362)
    assert case.check(case.right).verdict not in ("wrong", "suspicious")


# A rise below round-off --------------------------------------------------------------------------------------


@pytest.mark.parametrize("constant", [1.0, 1e3, 1e6])
@pytest.mark.parametrize(("rise", "steepness"), [(10, 1e6), (10, 1e8), (1, 1e8), (0.5, 1e8)])
def test_a_slope_whose_rise_is_below_the_round_off_of_f_is_not_judged(constant, rise, steepness):
    height = rise * constant * 2.0**-52
    x, slopes = np.zeros(2), np.full(2, height * steepness)

    def f(x):
        return constant + height * np.tanh(steepness * x).sum()

    for factor in (1, 3):  # it tells nothing about a wrong one either
        result = mn.check_gradient(f, x, factor * slopes)
        assert result.worst.verdict == "round-off"
        assert "below its own round-off" in result.worst.note
    mn.check_gradient(lambda x: height * np.tanh(steepness * x).sum(), x, slopes).assert_passed()


@pytest.mark.parametrize("constant", [0.0, 1.0, 1e6])
def test_a_gradient_of_what_f_does_not_depend_on_stays_wrong(constant):
    result = mn.check_gradient(lambda x: constant + x[0] ** 2, np.array([0.5, 0.7]), np.array([1.0, 1e-3]))
    assert result.worst.verdict == "wrong"
