"""The gradient checker itself: right gradients pass, wrong ones fail, and it says where."""

import math

import numpy as np
import pytest

import minnet as mn


def cubes(x):
    return float((x**3).sum())


def test_relative_error_is_the_courses():
    analytic, numeric = np.array([1.0, 0.0, 0.0, -2.0]), np.array([1.1, 0.0, 1e-12, 2.0])
    np.testing.assert_allclose(mn.relative_error(analytic, numeric), [0.1 / 1.1, 0.0, 1.0, 2.0])


def test_a_right_gradient_is_correct():
    x = np.random.default_rng(0).standard_normal((3, 4))
    result = mn.check_gradient(cubes, x, 3 * x**2)
    assert result.verdict == "correct"
    assert result.passed
    assert result.error < 1e-7


def test_x_is_not_changed():
    x = np.random.default_rng(0).standard_normal(5)
    before = x.copy()
    mn.check_gradient(cubes, x, 3 * x**2)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("error", "verdict", "passed"),
    [
        (1e-9, "correct", True),
        (1e-5, "suspicious", False),
        (1e-3, "suspicious", False),
        (5e-2, "wrong", False),
        (2.0, "wrong", False),
    ],
)
def test_verdicts_follow_the_size_of_what_is_unexplained(error, verdict, passed):
    x = np.linspace(1.0, 2.0, 6)
    analytic = 3 * x**2
    analytic[4] *= 1 + error
    result = mn.check_gradient(cubes, x, analytic)
    assert result.verdict == verdict
    assert result.passed is passed


def test_the_offending_element_is_named():
    x = np.linspace(1.0, 2.0, 12).reshape(3, 4)
    analytic = 3 * x**2
    analytic[2, 1] = -analytic[2, 1]
    result = mn.check_gradient(cubes, x, analytic)
    assert result.worst.worst == (2, 1)
    assert result.worst.analytic == analytic[2, 1]
    assert result.worst.numeric == pytest.approx(-analytic[2, 1])
    with pytest.raises(AssertionError, match=r"x: wrong, relative error .*; worst at \[2, 1\]: analytic -"):
        result.assert_passed()


def test_nan_in_a_gradient_is_named():
    x = np.ones(3)
    result = mn.check_gradient(cubes, x, np.array([3.0, np.nan, 3.0]))
    assert (result.verdict, result.worst.note) == ("wrong", "NaN in the analytic gradient at [1]")
    assert result.worst.worst == (1,)
    assert not result.passed


def test_single_precision_is_judged_at_a_longer_step_or_called_too_noisy():
    x = np.random.default_rng(0).standard_normal(20).astype(np.float32)

    def single(values):
        return np.float32((values**3).sum(dtype=np.float32))

    result = mn.check_gradient(single, x, 3 * x**2)
    result.assert_passed()
    assert result["values"].step > 1e-3
    assert result["values"].note.startswith("single precision: errors below")
    assert mn.check_gradient(single, x, 3.1 * x**2).verdict == "wrong"
    result = mn.check_gradient(single, x, 3 * x**2, h=1e-5)
    assert result.verdict == "round-off"
    assert result.error > 1e-4
    assert not result.passed


def test_round_off_is_no_error_in_a_gradient_that_is_zero():
    # A bias in front of a batch norm has gradient 0; what is computed is round-off on both sides.
    net = mn.Net([mn.Dense(6), mn.BatchNorm(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), dtype=np.float64)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 4)), rng.integers(0, 3, 5)
    result = mn.check_net(net, x, y)
    net.loss_and_grads(x, y)
    assert 0 < np.abs(net.named_gradients()["0.b"]).max() < 1e-12
    result.assert_passed()
    assert result["0.b"].verdict == "correct"
    assert result["0.b"].note.startswith("0 within round-off of")
    assert result["0.b"].tiny == 6


def test_a_whole_net_is_checked_with_penalties_noise_and_input():
    layers = [mn.Flatten(), mn.Dense(7), mn.BatchNorm(), mn.ReLU(), mn.Dropout(0.3), mn.Dense(4)]
    net = mn.Net(layers, (3, 2), mn.SoftmaxCrossEntropy(), l2=0.1, l1=0.01)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 3, 2)), rng.integers(0, 4, 6)
    net.step = 5
    before = net.params.copy(), net.grads.copy(), net.buffers.copy()
    result = mn.check_net(net, x, y)
    result.assert_passed()
    assert {t.name for t in result.tensors} == {*net.named_parameters(), "input"}
    assert net.step == 5
    for kept, now in zip(before, (net.params, net.grads, net.buffers), strict=True):
        np.testing.assert_array_equal(kept, now)


def test_a_lost_penalty_is_found():
    class Forgetful(mn.Net):
        def add_penalties(self):
            l2, l1 = super().add_penalties()
            self.grads[: self.decaying] -= self.l2 * self.params[: self.decaying]
            return l2, l1

    net = Forgetful([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), l2=0.1, dtype=np.float64)
    rng = np.random.default_rng(0)
    assert mn.check_net(net, rng.standard_normal((5, 4)), rng.integers(0, 3, 5)).worst.name == "0.W"


def test_bad_input_is_refused():
    x = np.ones(3)
    with pytest.raises(ValueError, match=r"check_gradient: expected analytic of x's shape \(3,\); got \(2,\)"):
        mn.check_gradient(cubes, x, np.ones(2))
    with pytest.raises(TypeError, match="check_gradient: expected x of floating-point values; got dtype int64"):
        mn.check_gradient(cubes, np.ones(3, int), x)
    with pytest.raises(ValueError, match="expected h above 0; got 0"):
        mn.check_gradient(cubes, x, 3 * x**2, h=0)
    with pytest.raises(ValueError, match=r"expected h to change x; h=1e-12 vanishes beside .*10+\.0"):
        mn.check_gradient(cubes, np.array([1e6]), np.array([3e12]), h=1e-12)


def test_x_is_put_back_when_the_function_fails():
    x = np.ones(3)

    def fails():
        if x[1] != 1:
            raise RuntimeError("no")
        return 0.0

    with pytest.raises(RuntimeError, match="no"):
        mn.numerical_gradient(fails, x)
    np.testing.assert_array_equal(x, 1.0)


def test_a_gradient_that_is_not_finite_is_wrong():
    result = mn.check_gradient(cubes, np.ones(2), np.array([3.0, math.inf]))
    assert result.verdict == "wrong"


def test_what_round_off_hides_is_not_called_correct():
    def tilted(v):
        return 1e5 + 1e-5 * float(v.sum())

    # At h = 1e-5 the round-off of the difference is larger than the gradient of 1e-5; longer steps rise above it.
    result = mn.check_gradient(tilted, np.ones(3), np.zeros(3))
    assert result.verdict == "wrong"
    assert "relative error 1.00e+00" in str(result.worst)
    assert mn.check_gradient(tilted, np.ones(3), np.full(3, 1e-5)).passed
    # At the step that one insists on, nothing can be told: three coordinates too small to trust.
    assert mn.check_gradient(tilted, np.ones(3), np.zeros(3), h=1e-5)["v"].tiny == 3


def test_bytes_are_checked_as_the_net_sees_them():
    x, y = mn.datasets.digits()
    net = mn.Net([mn.Flatten(), mn.Dense(10)], (8, 8, 1), mn.SoftmaxCrossEntropy(), dtype=np.float64)
    levels = (255 * x[:3]).astype(np.uint8)
    worst = [t.analytic for t in mn.check_net(net, levels, y[:3]).tensors]
    assert worst == [t.analytic for t in mn.check_net(net, levels / 255, y[:3]).tensors]
    with pytest.raises(TypeError, match="expected floating-point or uint8 input; got dtype int64"):
        mn.check_net(net, levels.astype(np.int64), y[:3])


def test_a_layer_that_fails_without_dx_is_found():
    class NeedsInput(mn.Dense):
        def backward(self, m, x, y, dy, dx):
            super().backward(m, x, y, dy, dx)
            if dx is None:
                m.dW *= 2

    assert mn.check_layer(NeedsInput(3), (4,)).worst.name == "0.W"


@pytest.mark.parametrize("x", [[1.0, 2.0], np.ones(2, int), None])
def test_a_numerical_gradient_needs_an_array_of_floats(x):
    with pytest.raises(TypeError, match="numerical_gradient: expected x as an array of floats; got"):
        mn.numerical_gradient(lambda: 0.0, x)


def test_a_relative_error_needs_one_shape():
    with pytest.raises(ValueError, match=r"relative_error: expected arrays of one shape; got \(2,\) and \(3,\)"):
        mn.relative_error(np.ones(2), np.ones(3))
