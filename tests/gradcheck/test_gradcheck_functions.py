"""Checks of anybody's functions: several arguments, vectors, code in the style of CS231n, noise, complex steps."""

import math

import numpy as np
import pytest
from plain import float32_inside

import minnet as mn

RNG = np.random.default_rng(0)
X, W, B = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 2)), RNG.standard_normal(2)


def affine_forward(x, w, b):
    return x @ w + b, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def test_code_in_the_style_of_cs231n_is_checked_in_one_line():
    result = mn.check_backward(affine_forward, affine_backward, X, W, B)
    result.assert_passed()
    assert [t.name for t in result.tensors] == ["x", "w", "b"]


@pytest.mark.parametrize("mode", ["all", "sample", "directions"])
def test_a_mistake_in_such_code_is_found_and_named(mode):
    def lost_sum(dout, cache):
        dx, dw, db = affine_backward(dout, cache)
        return dx, dw, db / len(dout)

    result = mn.check_backward(affine_forward, lost_sum, X, W, B, mode=mode)
    assert (result.worst.name, result.verdict) == ("b", "wrong")
    assert result["x"].passed
    assert result["w"].passed


def test_settings_are_copied_and_integers_left_alone():
    def forward(x, scale, param):
        param["calls"] += 1  # as running means would
        return x[param["rows"]] * scale * param["calls"], (x, scale, param)

    def backward(dout, cache):
        x, scale, param = cache
        dx = np.zeros_like(x)
        np.add.at(dx, param["rows"], dout * scale)
        return {"x": dx, "scale": (dout * x[param["rows"]]).sum()}

    param = {"calls": 0, "rows": np.array([0, 2, 2])}
    mn.check_backward(forward, backward, X, np.array(1.5), param).assert_passed()
    assert param["calls"] == 0


def test_several_outputs_take_several_cotangents():
    def forward(x):
        return np.tanh(x), x**2, x

    def backward(d_tanh, d_square, x):
        return d_tanh / np.cosh(x) ** 2 + d_square * 2 * x

    mn.check_backward(forward, backward, X).assert_passed()


def test_a_dict_of_arguments_and_a_loss_that_gives_a_number():
    arguments = {"w": W, "b": B, "labels": np.array([0, 1, 1])}

    def loss(w, b, labels):
        scores = X @ w + b
        return float(np.logaddexp(*scores.T).mean() - scores[np.arange(3), labels].mean())

    scores = X @ W + B
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    p[np.arange(3), arguments["labels"]] -= 1
    gradients = {"w": X.T @ p / 3, "b": p.sum(axis=0) / 3}
    result = mn.check_gradient(loss, arguments, gradients)
    result.assert_passed()
    gradients["w"] = gradients["w"] + 0.1 * W  # a penalty that the loss does not have
    assert mn.check_gradient(loss, arguments, gradients).worst.name == "w"


def test_a_vector_is_checked_through_a_random_cotangent():
    result = mn.check_gradient(lambda x, w: x @ w, (X, W), lambda d: (d @ W.T, X.T @ d))
    result.assert_passed()
    assert mn.check_gradient(lambda x, w: x @ w, (X, W), lambda d: (d @ W.T, 2 * X.T @ d))["w"].verdict == "wrong"
    # None for an argument that is not to be checked.
    assert [t.name for t in mn.check_gradient(lambda x, w: x @ w, (X, W), lambda d: (None, X.T @ d)).tensors] == ["w"]


def test_noise_is_replayed_or_reported():
    noise = np.random.default_rng(7)
    state = noise.bit_generator.state

    def dropped(x):
        return float((x**2 * (noise.uniform(size=x.shape) < 0.5)).sum())

    noise.bit_generator.state = state
    mask = noise.uniform(size=X.shape) < 0.5
    noise.bit_generator.state = state
    mn.check_gradient(dropped, X, 2 * X * mask, replay=noise).assert_passed()
    result = mn.check_gradient(dropped, X, 2 * X * mask)
    assert result.nondeterminism > 0
    assert not result.passed
    assert "NOT DETERMINISTIC: two evaluations at one place differ by" in str(result)


def test_noise_alone_fails_a_check_that_is_otherwise_right():
    """The last bits alone: every tensor is correct, and yet two evaluations differ."""
    count = iter(range(10**6))
    result = mn.check_gradient(lambda x: float((x**2).sum()) + 1e-15 * next(count), X, 2 * X)
    assert {t.verdict for t in result.tensors} == {"correct"}
    assert (result.verdict, result.passed) == ("suspicious", False)


def test_a_backward_pass_that_differs_from_call_to_call_is_reported():
    count = iter(range(10**6))

    def backward(dout, cache):
        dx, dw, db = affine_backward(dout, cache)
        return dx, dw, db + 1e-12 * next(count)

    result = mn.check_backward(affine_forward, backward, X, W, B)
    assert result.nondeterminism > 0
    assert not result.passed


def test_a_backward_pass_that_adds_to_one_array_at_every_call_is_reported_as_such():
    kept = np.zeros_like(X)

    def backward(dy):
        kept[...] += 2 * X * dy
        return kept

    result = mn.check_gradient(lambda x: x**2, X, backward)
    assert result.nondeterminism > 0
    assert (result.verdict, result.passed) == ("suspicious", False)


def test_augmentation_is_replayed():
    images, labels = mn.datasets.digits()
    net = mn.Net([mn.Flatten(), mn.Dense(10)], (8, 8, 1), mn.SoftmaxCrossEntropy(), dtype=np.float64)
    batches = mn.data.Batches((images, labels), 4, augment=mn.data.Augment(flip=True, crop=2), dtype=np.float64, seed=3)

    def loss(params):
        net.params = params
        x, y = batches.next()
        return net.loss_and_grads(x, y)

    loss(net.params.copy())
    batches.seek(0)
    loss(net.params.copy())
    how = {"mode": "sample", "samples": 20}
    result = mn.check_gradient(loss, net.params.copy(), net.grads.copy(), replay=lambda: batches.seek(0), **how)
    result.assert_passed()
    assert not mn.check_gradient(loss, net.params.copy(), net.grads.copy(), **how).passed


@pytest.mark.parametrize("method", ["central", "richardson", "complex"])
def test_every_method_tells_right_from_wrong(method):
    def f(x):
        return np.sum(np.exp(x) * np.sin(3 * x))

    right = np.exp(X) * (np.sin(3 * X) + 3 * np.cos(3 * X))
    mn.check_gradient(f, X, right, method=method).assert_passed()
    assert mn.check_gradient(f, X, right * (1 + 1e-5), method=method).verdict == "suspicious"
    assert mn.check_gradient(f, X, 2 * right, method=method).verdict == "wrong"


def test_the_complex_step_has_no_round_off_and_richardsons_little_truncation():
    def f(x):
        return np.sum(np.exp(x) * np.sin(3 * x))

    right = np.exp(X) * (np.sin(3 * X) + 3 * np.cos(3 * X))
    errors = {m: mn.check_gradient(f, X, right, method=m).error for m in ("central", "richardson", "complex")}
    assert errors["complex"] < 1e-14 < errors["richardson"] < errors["central"]


def test_a_function_that_does_not_allow_the_complex_step_says_so():
    with pytest.raises(TypeError, match=r"expected complex values of f at a complex x, .*; got float64"):
        mn.check_gradient(lambda x: np.abs(x).sum(), X, np.sign(X), method="complex")
    with pytest.raises(ValueError, match='check_layer: expected method "central" or "richardson"'):
        mn.check_layer(mn.Dense(3), (4,), method="complex")


def test_a_sharp_function_is_mended_by_a_shorter_step():
    x = np.array([0.3, 1.0])
    result = mn.check_gradient(lambda x: np.sin(1e4 * x).sum(), x, 1e4 * np.cos(1e4 * x))
    result.assert_passed()
    assert result["x"].step < 1e-5
    result = mn.check_gradient(lambda x: np.sin(1e4 * x).sum(), x, 1e4 * np.cos(1e4 * x), h=1e-5)
    assert result.verdict == "truncation"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: mn.check_gradient(np.sum, X[:0], X[:0]),
            ValueError,
            "expected at least one element to check; got arrays",
        ),
        (lambda: mn.check_gradient(np.sum, X, X, mode="some"), ValueError, 'expected mode "all", "sample" or'),
        (lambda: mn.check_gradient(np.sum, X, X, method="forward"), ValueError, 'expected method "central", "rich'),
        (lambda: mn.check_gradient(np.sum, X, X, samples=0), ValueError, "expected samples of at least 1; got 0"),
        (lambda: mn.check_gradient(lambda x: x, X, X), TypeError, "expected analytic as a function of the cotangent"),
        (lambda: mn.check_gradient(lambda x: "no", X, X), TypeError, "expected f to give a number or an array"),
        (
            lambda: mn.check_backward(affine_forward, lambda d, c: affine_backward(d, c)[:2], X, W, B),
            ValueError,
            r"check_backward: expected 3 gradients, of x, w, b \(None .*\); got 2",
        ),
        (lambda: mn.check_backward(lambda x: x, affine_backward, X), TypeError, r"forward to give \(out, cache\)"),
        (lambda: mn.check_backward(affine_forward, affine_backward, 1, 2, 3), TypeError, "an array of floats"),
        (lambda: mn.check_layer(mn.Dense(3), (4,), steps=3), TypeError, r"expected options of .*; got \['steps'\]"),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_steps_that_single_precision_does_not_resolve_are_left_out():
    x = np.array([5.1, 300.0], np.float32)
    result = mn.check_gradient(lambda v: np.float32((v * v).sum()), x, np.array([0.0, 0.0]), sweep=True)
    assert not result.passed
    assert result.sweep.curves[0].errors[-1] == math.inf
    with pytest.raises(ValueError, match="expected h to change x; h=1e-12 vanishes beside"):
        mn.check_gradient(lambda v: np.float32((v * v).sum()), x, 2 * x, h=1e-12)


@pytest.mark.parametrize("how", [{"h": 1e-3}, {"h": 1e-4}, {"h": 1e-5}, {"h": 1e-2, "method": "richardson"}], ids=str)
def test_a_right_gradient_at_any_step_is_at_worst_truncated(how):
    """The bound on truncation is at least the truncation: nothing right is suspicious."""
    for seed in range(200):
        a = np.random.default_rng(seed).standard_normal((4, 5))
        right = np.exp(a) + 3 * np.cos(3 * a)
        result = mn.check_gradient(lambda x: np.exp(x).sum() + np.sin(3 * x).sum(), a, right, **how)
        assert result.verdict in ("correct", "truncation"), (seed, str(result.worst))
        if seed < 5:
            assert mn.check_gradient(lambda x: np.exp(x).sum(), a, 1.1 * np.exp(a), **how).verdict == "wrong"


def test_a_function_may_change_its_argument_in_place():
    def shifted(a):
        a += 1
        return (a**2).sum()

    mn.check_gradient(shifted, X, 2 * (X + 1)).assert_passed()
    assert mn.check_gradient(shifted, X, 2 * X).verdict == "wrong"

    def relu(x):
        return np.maximum(x, 0, out=x), None

    x = X.copy()
    assert mn.check_backward(relu, lambda dout, cache: dout, x).verdict == "wrong"  # the mask forgotten
    np.testing.assert_array_equal(x, X)
    mn.check_backward(relu, lambda dout, cache: dout * (X > 0), x).assert_passed()


@pytest.mark.parametrize("mode", ["all", "directions"])
def test_right_float32_functions_pass_and_wrong_ones_do_not(mode):
    for seed in range(30):
        a = np.random.default_rng(seed).standard_normal((4, 5)).astype(np.float32)
        right = 2 * np.tanh(a) * (1 - np.tanh(a) ** 2)
        result = mn.check_gradient(lambda x: (np.tanh(x) ** 2).sum(), a, right, mode=mode)
        result.assert_passed()
        assert "single precision: errors below" in result.worst.note
        assert mn.check_gradient(lambda x: (np.tanh(x) ** 2).sum(), a, -right, mode=mode).verdict == "wrong"


def test_float32_inside_a_function_is_heard_and_not_called_wrong():
    def forward(x, w):
        return (x @ w).astype(np.float32), (x, w)

    def backward(dout, cache):
        x, w = cache
        return dout @ w.T, x.T @ dout

    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, w = rng.standard_normal((6, 5)), rng.standard_normal((5, 3))

        def hidden(v, x=x):  # float64 in, float64 out
            return float(((x.astype(np.float32) @ v.astype(np.float32)) ** 2).sum())

        mn.check_gradient(hidden, w, 2 * x.T @ (x @ w)).assert_passed()
        assert mn.check_gradient(hidden, w, 2.2 * x.T @ (x @ w)).verdict == "wrong"
        mn.check_backward(forward, backward, x, w).assert_passed()


@pytest.mark.parametrize("seed", [221, 224, 242, 257, 467, 723, 1225, 1282])
def test_float32_inside_is_heard_where_rounding_makes_the_function_constant_along_some_coordinate(seed):
    float32_inside(seed, wrong=False).assert_passed()
    assert float32_inside(seed, wrong=True).verdict == "wrong"


def test_a_sweep_calls_the_noise_of_float32_inside_round_off():
    a = RNG.standard_normal((4, 3))
    result = mn.check_gradient(lambda x: (x.astype(np.float32) ** 2).sum(), a, 2 * a, sweep=True)
    assert result.sweep.curves[0].verdict == "correct"
    assert set(result.sweep.curves[0].labels[3:]) == {"round-off"}


def test_a_kink_is_not_taken_for_noise():
    x = np.array([-1.0, 1e-6, 2.0])
    result = mn.check_gradient(lambda x: np.abs(x).sum(), x, np.array([-1.0, -1.0, 1.0]))
    assert (result.verdict, result["x"].worst) == ("wrong", (1,))


def svm_loss(w, x, y, decay):
    """A loss in the style of CS231n: (loss, gradient)."""
    scores, rows = x @ w, np.arange(len(y))
    margins = np.maximum(0, scores - scores[rows, y][:, None] + 1)
    margins[rows, y] = 0
    counts = (margins > 0).astype(float)
    counts[rows, y] = -counts.sum(axis=1)
    return margins.sum() / len(y) + decay * (w * w).sum(), x.T @ counts / len(y) + 2 * decay * w


def test_a_loss_that_gives_its_gradient_too_is_checked_in_one_line():
    y = np.array([0, 1, 1])
    result = mn.check_gradient(lambda w: svm_loss(w, X, y, 0.1), W)
    result.assert_passed()
    assert [t.name for t in result.tensors] == ["w"]
    lost = mn.check_gradient(lambda w: (svm_loss(w, X, y, 0.1)[0], svm_loss(w, X, y, 0.0)[1]), W)
    assert lost.verdict == "wrong"
    with pytest.raises(TypeError, match=r"a tuple of 2. If that is \(value, gradient\), leave out analytic"):
        mn.check_gradient(lambda w: svm_loss(w, X, y, 0.1), W, W)
    with pytest.raises(TypeError, match=r"expected analytic, or f to give \(number, gradient\); got .* float64"):
        mn.check_gradient(np.sum, W)
    # As the assignments' models do: a dict of parameters, a dict of gradients.
    both = mn.check_gradient(lambda w, b: ((X @ w + b).sum(), {"dw": X.T @ np.ones((3, 2)), "b": 3 + 0 * b}), (W, B))
    both.assert_passed()
    assert [t.name for t in both.tensors] == ["w", "b"]


def test_a_step_out_of_where_the_function_is_defined_is_shortened():
    x = np.array([2e-6, 1.0])
    with np.errstate(all="ignore"):
        result = mn.check_gradient(lambda x: np.sqrt(x).sum(), x, 0.5 / np.sqrt(x))
        assert result["x"].checked == 2
        assert mn.check_gradient(lambda x: np.sqrt(x).sum(), x, 0.5 / np.sqrt(x), h=1e-10).passed
        with pytest.raises(FloatingPointError, match=r"coordinate \[0\] moved by -1e-05; give a shorter step with h="):
            mn.check_gradient(lambda x: np.sqrt(x).sum(), x, 0.5 / np.sqrt(x), h=1e-5)


def test_names_numbers_and_the_d_of_gradients_are_understood():
    assert mn.check_gradient(lambda weights: (weights**2).sum(), W, 2 * W).worst.name == "weights"
    result = mn.check_gradient(lambda a, b: a * b, (3.0, 2.0), (2.0, 3.0))
    result.assert_passed()
    assert [t.name for t in result.tensors] == ["a", "b"]

    def named(dout, cache):
        return dict(zip(("dx", "dw", "db"), affine_backward(dout, cache), strict=True))

    mn.check_backward(affine_forward, named, X, W, B).assert_passed()
    with pytest.raises(ValueError, match=r"expected gradients of .*; got one of 'q'"):
        mn.check_backward(affine_forward, lambda d, c: {"dq": d}, X, W, B)


def test_noise_stops_a_check_early_and_leads_its_message():
    noise = np.random.default_rng(7)

    def dropped(x):
        return float((x**2 * (noise.uniform(size=x.shape) < 0.5)).sum())

    result = mn.check_gradient(dropped, np.ones((50, 40)), np.ones((50, 40)))
    assert (result.verdict, result.evaluations) == ("suspicious", 2)
    assert result.worst.note == "NOT DETERMINISTIC: not compared"
    assert str(result).splitlines()[-1].startswith("suspicious: NOT DETERMINISTIC: two evaluations at one place differ")
    with pytest.raises(AssertionError, match=r"^gradient check: NOT DETERMINISTIC: .*seed the noise, or give replay="):
        result.assert_passed()


def test_the_headline_says_how_many_were_left_out_at_kinks():
    x = np.zeros(36)
    x[[3, 8, 20, 21]] = 1.0
    result = mn.check_gradient(lambda x: np.maximum(x, 0).sum(), x, (x > 0).astype(float))
    assert "\ncorrect: 4 of 36 judged, 32 left out at kinks, " in str(result)
    assert "all coordinates" not in str(result)


def test_no_minus_nought_is_printed():
    result = mn.check_gradient(lambda x: 0 * x.sum(), np.ones(2), np.full(2, -0.0))
    assert "-0 " not in str(result)
    assert "-0," not in str(result.worst)


@pytest.mark.parametrize("size", [1000, 100_000])
def test_one_mistake_in_many_coordinates_is_found_by_halving_a_direction(size):
    a = np.random.default_rng(size).standard_normal(size)
    a[size // 3] = 2.0
    gradient = 2 * a
    gradient[size // 3] *= 2
    result = mn.check_gradient(lambda a: a**2, a, lambda d: d * gradient, mode="directions")
    assert (result.verdict, result.worst.name, result.worst.worst) == ("wrong", "a", (size // 3,))
    assert "found by halving" in result.worst.note
    assert result.evaluations < 220 + 2 * math.log2(size)
    right = mn.check_gradient(lambda a: a**2, a, lambda d: d * 2 * a, mode="directions")
    assert right.worst.place.startswith("direction ")
    assert (right.passed, right.worst.name) == (True, "a")
