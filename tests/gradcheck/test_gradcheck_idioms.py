"""What course code does: reads its weights from elsewhere, adds up gradients, works in place, keeps weights on self."""

import math
import re

import numpy as np
import pytest

import minnet as mn

RNG = np.random.default_rng(0)
X, W, B = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 2)), RNG.standard_normal(2)


class Model:
    """A model in the style of the assignments: parameters in a dict, a loss that reads them."""

    def __init__(self):
        self.params = {"W": W.copy(), "b": B.copy()}

    def loss(self, x):
        out = np.tanh(x @ self.params["W"] + self.params["b"])
        d = 2 * out * (1 - out**2)
        return (out**2).sum(), {"W": x.T @ d, "b": d.sum(axis=0)}


# A function that reads the array, not its argument ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["W", "b"])
@pytest.mark.parametrize("mode", ["all", "directions"])
def test_a_function_that_ignores_its_argument_is_checked_in_place_and_told_so(name, mode):
    model = Model()
    grads = model.loss(X)[1]
    before = model.params[name].copy()
    result = mn.check_gradient(lambda _: model.loss(X)[0], model.params[name], grads[name], mode=mode)
    result.assert_passed()
    assert "f does not depend on its argument, but on the array" in str(result)
    assert "in_place=True" in result.remark
    wrong = mn.check_gradient(lambda _: model.loss(X)[0], model.params[name], 1.5 * grads[name], mode=mode)
    assert wrong.verdict == "wrong"
    zeros = mn.check_gradient(lambda _: model.loss(X)[0], model.params[name], 0 * grads[name], mode=mode)
    assert zeros.verdict == "wrong"
    np.testing.assert_array_equal(model.params[name], before)


def test_in_place_moves_the_very_arrays_of_a_tuple_a_dict_and_a_part_of_an_array():
    model = Model()
    loss, grads = lambda *_: model.loss(X)[0], model.loss(X)[1]
    for x, analytic in (
        ((model.params["W"], model.params["b"]), (grads["W"], grads["b"])),
        (model.params, grads),
        (model.params["W"][:, ::-1], grads["W"][:, ::-1]),
        (model.params["W"].T, lambda: None),
    ):
        given = grads["W"].T if callable(analytic) else analytic
        result = mn.check_gradient(loss, x, given, in_place=True)
        result.assert_passed()
        assert result.remark == ""
    np.testing.assert_array_equal(model.params["W"], W)


def test_a_loss_with_its_gradients_that_ignores_its_argument():
    model = Model()
    mn.check_gradient(lambda _: model.loss(X), model.params).assert_passed()


def test_a_function_that_reads_a_copy_is_told_that_it_depends_on_neither():
    model = Model()
    result = mn.check_gradient(lambda _: model.loss(X)[0], W, model.loss(X)[1]["W"])
    assert not result.passed
    assert "f does not depend on _" in str(result)
    with pytest.raises(AssertionError, match="give the very array that it reads"):
        result.assert_passed()


def test_one_ignored_argument_of_two_is_named():
    result = mn.check_gradient(lambda w, b: (X @ w).sum(), (W, B), (X.T @ np.ones((3, 2)), np.ones(2)))
    assert result["w"].passed
    assert "f does not depend on b" in result.remark


def test_a_function_that_reads_both_is_pointed_to_in_place():
    model = Model()
    f = lambda w: model.loss(X)[0] + (w**2).sum()  # noqa: E731
    right = model.loss(X)[1]["W"] + 2 * W
    assert "in_place=True" in mn.check_gradient(f, model.params["W"], right).remark
    mn.check_gradient(f, model.params["W"], right, in_place=True).assert_passed()


def test_in_place_needs_what_can_be_written():
    fixed = W.copy()
    fixed.flags.writeable = False
    for x in (fixed, 3.0):
        with pytest.raises(ValueError, match=r"an array that can be written to, for in_place=True"):
            mn.check_gradient(lambda w: (w**2).sum(), x, 2 * np.asarray(x), in_place=True)
    with pytest.raises(ValueError, match='expected method "central" or "richardson" with in_place=True'):
        mn.check_gradient(lambda w: (w**2).sum(), W, 2 * W, in_place=True, method="complex")


@pytest.mark.parametrize("f", [np.round, np.sign, np.floor, lambda x: x.astype(int).astype(float)])
def test_a_step_function_is_named(f):
    x = np.array([[0.3, 1.4], [-0.3, 2.6]])
    result = mn.check_gradient(lambda x: f(x).sum(), x, np.ones_like(x))
    assert result.verdict == "wrong"
    assert "f is constant around x" in result.remark


# Backward passes that add up or work in place --------------------------------------------------------------------


def test_a_backward_pass_that_accumulates_is_named():
    kept, old = {"w": np.zeros_like(W), "b": np.full_like(B, 7.0)}, np.zeros_like(X)

    def backward(dout, cache):
        kept["w"] += X.T @ dout
        kept["b"] += dout.sum(axis=0)
        return dout @ W.T, kept["w"], kept["b"]

    def square(dy):
        old[...] += 2 * X * dy
        return old

    def loss(x):
        old[...] += 2 * x
        return (x**2).sum(), old

    old_too = mn.check_gradient(lambda x: x**2, X, square)
    both = mn.check_gradient(loss, X)
    pair = mn.check_backward(lambda x, w, b: (x @ w + b, None), backward, X, W, B)
    for result, which in ((old_too, "x"), (both, "x"), (pair, "w, b")):
        assert (result.verdict, result.passed) == ("suspicious", False)
        assert f"accumulates: each call adds the gradient of {which} to" in str(result)
        assert "NOT DETERMINISTIC" not in str(result)
        assert "replay" not in str(result)
        with pytest.raises(AssertionError, match=r"^gradient check: two evaluations .* accumulates"):
            result.assert_passed()


def affine(x, w):
    return x @ w, (x, w)


def test_a_backward_pass_that_changes_dout_or_x_in_place_is_named():
    def scales_dout(dout, cache):
        dout *= 2
        return dout @ cache[1].T / 2, cache[0].T @ dout / 2

    def clears_x(dout, cache):
        dx = dout @ cache[1].T
        cache[0][...] = 0
        return dx, cache[0].T @ dout

    def clears_w(dout, cache):
        dw = cache[0].T @ dout
        dx = dout @ cache[1].T
        cache[1][...] = 0
        return dx, dw

    result = mn.check_backward(affine, scales_dout, X, W)
    result.assert_passed()
    assert "backward changes dout in place" in str(result)
    result = mn.check_backward(affine, clears_x, X, W)
    assert result["w"].verdict == "wrong"
    assert "backward changes x in place" in str(result)
    assert "backward changes w in place" in mn.check_backward(affine, clears_w, X, W).remark
    clean = mn.check_backward(affine, lambda d, c: (d @ c[1].T, c[0].T @ d), X, W)
    assert (clean.passed, clean.remark) == (True, "")


def test_an_analytic_that_changes_the_cotangent_or_what_was_given_is_named():
    x = X.copy()

    def scales(d):
        d *= 2 * x
        return d

    def doubles(d):
        x[...] *= 2
        return x * d

    result = mn.check_gradient(lambda x: x**2, x, scales)
    result.assert_passed()
    assert "analytic changes the cotangent in place" in result.remark
    assert "analytic changes x in place" in mn.check_gradient(lambda x: x**2, x, doubles).remark


class ScalesInput(mn.Dense):
    def forward(self, m, x, y):
        super().forward(m, x, y)
        x *= 0.5


class ClearsInput(mn.Dense):
    def backward(self, m, x, y, dy, dx):
        super().backward(m, x, y, dy, dx)
        x[...] = 0


class ScalesDy(mn.Dense):
    def backward(self, m, x, y, dy, dx):
        super().backward(m, x, y, dy, dx)
        dy *= 2


class AddsUp(mn.Dense):
    def backward(self, m, x, y, dy, dx):
        kept = m.dW.copy()
        super().backward(m, x, y, dy, dx)
        m.dW += kept


class AddsUpInput(mn.Dense):
    def backward(self, m, x, y, dy, dx):
        kept = None if dx is None else dx.copy()
        super().backward(m, x, y, dy, dx)
        if dx is not None:
            dx += kept


TRESPASSES = [
    (ScalesInput, "x", "ScalesInput.forward writes to its input x"),
    (ClearsInput, "x", "ClearsInput.backward writes to its input x"),
    (ScalesDy, "dy", "ScalesDy.backward writes to dy"),
]


@pytest.mark.parametrize(("layer", "what", "words"), TRESPASSES)
def test_a_layer_that_writes_to_what_is_not_its_own_is_found(layer, what, words):
    alone = mn.check_layer(layer(3), (4,))
    assert alone[f"0.{what}"].verdict == "wrong"
    assert words in alone[f"0.{what}"].note
    assert [t.name for t in alone.tensors if not t.passed] == [f"0.{what}"]
    for layers, place in (
        ([mn.Dense(5), mn.Tanh(), layer(3)], "2"),
        ([mn.Residual([mn.Dense(4), layer(4)]), mn.Dense(3)], "0.layers.1"),
        ([mn.Dense(5), mn.ReLU(), mn.Chain([layer(3)])], "2.0"),
    ):
        net = mn.Net(layers, 4, mn.SoftmaxCrossEntropy(), dtype=np.float64)
        for options in ({}, {"mode": "directions"}, {"part": "data"}):
            result = mn.check_net(net, X, np.array([0, 1, 2]), **options)
            bad = [t.name.removeprefix("data: ") for t in result.tensors if not t.passed]
            assert bad == [f"{place}.{what}"], (place, options)
            with pytest.raises(AssertionError, match=words):
                result.assert_passed()


@pytest.mark.parametrize(("layer", "name"), [(AddsUp, "0.W"), (AddsUpInput, "input")])
def test_a_layer_that_adds_to_its_gradients_is_named(layer, name):
    result = mn.check_layer(layer(3), (4,))
    assert result[name].verdict == "wrong"
    assert f"{layer.__name__}.backward adds to what was in d" in result[name].note
    assert "adds to what was in d" in result.remark


def test_a_layer_that_adds_to_dx_is_found_where_it_stands_in_a_net():
    net = mn.Net([mn.Dense(5), AddsUpInput(4), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), dtype=np.float64)
    result = mn.check_net(net, X, np.array([0, 1, 2]))
    assert "AddsUpInput.backward adds to what was in dx" in result["1.dx"].note


def test_a_loss_that_writes_to_its_scores_is_found():
    class InPlace(mn.SquaredError):
        def value_and_gradient(self, scores, targets, dscores, sample_weight=None):
            value = super().value_and_gradient(scores, targets, dscores, sample_weight)
            scores *= 0.5
            return value

    result = mn.check_loss(InPlace(), X, np.zeros_like(X))
    assert result.verdict == "wrong"
    assert "InPlace writes to them" in result["scores"].note


# Forms in which functions, gradients and arrays come -------------------------------------------------------------


def test_scipys_style_of_a_gradient():
    mn.check_gradient(lambda x: (x**2).sum(), X, lambda x: 2 * x).assert_passed()
    mn.check_gradient(lambda x: np.sin(x).sum(), X, np.cos).assert_passed()
    mn.check_gradient(lambda x: (x**2).sum() / 2 + (x * B).sum(), B, lambda theta: theta + B).assert_passed()
    mn.check_gradient(lambda x: x**2, 3.0, lambda x: 2 * x).assert_passed()
    mn.check_gradient(lambda x, w: (x @ w).sum(), (X, W), lambda a, b: (a * 0 + b.sum(axis=1), None)).assert_passed()
    mn.check_gradient(lambda p: (p["a"] ** 2).sum(), {"a": X}, lambda p: {"a": 2 * p["a"]}).assert_passed()
    assert mn.check_gradient(lambda x: (x**2).sum(), X, lambda x: 3 * x).verdict == "wrong"
    # A backward pass of a number is understood as before.
    mn.check_gradient(lambda x: (x**2).sum(), X, lambda d: d * 2 * X).assert_passed()


def test_a_gradient_of_two_meanings_is_refused():
    with pytest.raises(ValueError, match=r"whether analytic takes x or the cotangent; got 6\.0 for x and 2\.0 for"):
        mn.check_gradient(lambda x: x**2, 3.0, lambda t: 2 * t)
    with pytest.raises(TypeError, match=r"a function of the cotangent, which has the shape \(3, 4\).*let f give a sum"):
        mn.check_gradient(lambda x: x**2, X, lambda x: 2 * x)


@pytest.mark.parametrize("shape", [(1, 1), (1,), (1, 1, 1)])
def test_a_value_of_one_element_is_a_number(shape):
    f = lambda x: (x**2).sum().reshape(shape)  # noqa: E731
    mn.check_gradient(f, X, 2 * X).assert_passed()
    mn.check_gradient(f, X, lambda x: 2 * x).assert_passed()
    mn.check_gradient(f, X, lambda d: d.sum() * 2 * X).assert_passed()
    mn.check_gradient(lambda x: (f(x), 2 * x), X).assert_passed()
    assert mn.check_gradient(f, X, X).verdict == "wrong"


def test_a_dict_of_parameters_goes_to_f_as_it_is():
    def loss(params):
        return ((X @ params["W"] + params["b"]) ** 2).sum()

    out = 2 * (X @ W + B)
    params, grads = {"W": W, "b": B}, {"W": X.T @ out, "b": out.sum(axis=0)}
    result = mn.check_gradient(loss, params, grads)
    result.assert_passed()
    assert [t.name for t in result.tensors] == ["W", "b"]
    mn.check_gradient(loss, params, {"dW": grads["W"], "db": grads["b"]}).assert_passed()
    mn.check_gradient(lambda p: (loss(p), grads), params).assert_passed()
    mn.check_gradient(lambda **p: loss(p), params, grads).assert_passed()
    assert mn.check_gradient(loss, params, {"W": 2 * grads["W"], "b": grads["b"]}).worst.name == "W"
    with pytest.raises(TypeError, match=r"list of arrays of several shapes \(give these as a tuple"):
        mn.check_gradient(loss, [W, B], grads)


def test_integers_are_left_alone_and_named():
    whole = np.arange(12).reshape(3, 4)

    def both(d, cache):
        return d @ cache[1].T, cache[0].T @ d

    result = mn.check_backward(affine, both, whole, W)
    result.assert_passed()
    assert [t.name for t in result.tensors] == ["w"]
    assert "x is an array of int64, which are discrete: its gradient was not checked" in result.remark
    for gradients in (lambda d, c: (None, c[0].T @ d), lambda d, c: c[0].T @ d, lambda d, c: {"dw": c[0].T @ d}):
        result = mn.check_backward(affine, gradients, whole, W)
        assert (result.passed, result.remark) == (True, "")
    mn.check_backward(affine, both, whole > 3, W).assert_passed()
    for call in (
        lambda: mn.check_backward(affine, both, whole, whole.T),
        lambda: mn.check_gradient(np.sum, whole, whole),
        lambda: mn.check_gradient(lambda a, b: (a * b).sum(), (whole, whole), whole),
    ):
        with pytest.raises(TypeError, match=r"integers are discrete.*x\.astype\(float\)"):
            call()


@pytest.mark.parametrize("mode", ["all", "directions", "sample"])
def test_one_coordinate_at_the_end_of_the_domain_does_not_end_the_check(mode):
    x = np.array([0.3, 0.0, 0.7, 0.5])
    with np.errstate(divide="ignore"):
        slope = 0.5 / np.sqrt(x)
    arc = np.array([1.0, 0.2, -1.0, 0.4])
    with np.errstate(divide="ignore"):
        arc_slope = 1 / np.sqrt(1 - arc**2)
    for f, at, right, left in (
        (lambda x: np.sqrt(x).sum(), x, slope, 1),
        (lambda x: np.sqrt(x).sum(), x, np.where(x > 0, slope, 0.0), 1),
        (lambda x: math.fsum(math.sqrt(v) for v in x), x, slope, 1),
        (lambda x: np.arcsin(x).sum(), arc, arc_slope, 2),
        (lambda x: (x**1.5).sum(), x, 1.5 * np.sqrt(x), 1),
    ):
        result = mn.check_gradient(f, at, right, mode=mode)
        result.assert_passed()
        assert result["x"].excluded == left
        assert "f is not finite right next to them" in result.remark
        assert mn.check_gradient(f, at, np.where(at == at[-1], 2 * right, right), mode=mode).verdict == "wrong"
    bad = slope.copy()
    bad[0] = np.inf  # not at an end
    assert mn.check_gradient(lambda x: np.sqrt(x).sum(), x, bad, mode=mode).verdict == "wrong"


@pytest.mark.parametrize("mode", ["all", "directions"])
def test_where_all_coordinates_are_at_the_end_nothing_is_called_correct(mode):
    result = mn.check_gradient(lambda x: np.sqrt(x).sum(), np.zeros(3), np.zeros(3), mode=mode)
    assert (result.verdict, result.passed) == ("kink", False)
    assert "f is not finite next to any coordinate" in str(result)
    assert "burn_in" not in result.advice


def test_x_may_be_read_only():
    fixed = X.copy()
    fixed.flags.writeable = False
    mn.check_gradient(lambda x: (x**2).sum(), fixed, 2 * fixed).assert_passed()
    mn.check_gradient(lambda x, w: x @ w, (fixed, W), lambda d: (d @ W.T, fixed.T @ d)).assert_passed()
    mn.check_backward(affine, lambda d, c: (d @ c[1].T, c[0].T @ d), fixed, W).assert_passed()
    mn.check_loss(mn.SquaredError(), fixed, np.zeros_like(X)).assert_passed()
    with pytest.raises(ValueError, match=r"numerical_gradient: expected an x that can be changed .*; got a read-only"):
        mn.numerical_gradient(lambda: 0.0, fixed)


def read_only(a):
    fixed = a.copy()
    fixed.flags.writeable = False
    return fixed


def test_a_read_only_array_that_f_reads_itself_is_not_called_wrong_and_named():
    """Neither its copies, which f ignores, nor the array itself can be moved."""
    fixed, b = read_only(X), B.copy()
    parameters = {"w": fixed, "b": b}
    for result in (
        mn.check_gradient(lambda _: (fixed**2).sum(), fixed, 2 * fixed),
        mn.check_gradient(lambda _: (fixed**2).sum(), fixed, 2 * fixed, mode="directions"),
        mn.check_gradient(lambda _: ((fixed**2).sum(), 2 * fixed), fixed),
        mn.check_gradient(lambda _: (fixed[:2] ** 2).sum(), fixed[:2], 2 * fixed[:2]),
        mn.check_gradient(lambda p: (fixed**2).sum() + (p["b"] ** 3).sum(), parameters, {"w": 2 * X, "b": 3 * B**2}),
        mn.check_gradient(lambda _: (fixed**2).sum() + (b**3).sum(), parameters, {"w": 2 * X, "b": 3 * B**2}),
    ):
        assert (result.verdict, result.passed) == ("suspicious", False)
        assert "f does not depend on its argument" in result.advice
        assert "it is read-only. Let f use its argument; or give an array that can be written to" in result.advice
        assert result.worst.note == "not compared: f ignores its argument, and the array given is read-only"
        assert all(t.passed for t in result.tensors if t.name == "b")
    free = X.copy()
    mn.check_gradient(lambda _: (free**2).sum(), free, 2 * free).assert_passed()
    with pytest.raises(ValueError, match=r"for in_place=True; got one that is read-only.*give x\.copy\(\), and let f"):
        mn.check_gradient(lambda _: (fixed**2).sum(), fixed, 2 * fixed, in_place=True)


def test_a_read_only_array_that_f_may_read_beside_its_argument_is_pointed_to():
    fixed = read_only(X)
    result = mn.check_gradient(lambda x: (fixed * x).sum(), fixed, 2 * fixed)
    assert not result.passed
    assert "read-only: if f also reads that array itself, beside its argument" in result.advice
    free = X.copy()
    mn.check_gradient(lambda x: (free * x).sum(), free, 2 * free, in_place=True).assert_passed()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"w": 2 * W},
            r"expected a gradient of each of w, b; got none of 'b' \(give None for one that is not to be ch",
        ),
        ({"dw": 2 * W}, r"got none of 'b'"),
        ({"b": 2 * B}, r"got none of 'w'"),
        ({}, r"got none of 'w'"),
        ({"w": 2 * W, "b": 2 * B, "c": B}, r"expected gradients of w, b; got one of 'c', which is no argument"),
        ({"w": 2 * W, "beta": 2 * B}, r"got one of 'beta'"),
        ({"w": 2 * W, "b": 2 * B[:1]}, r"of b's shape"),
    ],
)
def test_a_dict_of_gradients_has_one_for_each_parameter_before_anything_is_evaluated(given, words):
    calls = []

    def loss(w, b):
        calls.append(1)
        return (w**2).sum() + (b**2).sum()

    for f, x in (
        (loss, {"w": W, "b": B}),
        (lambda p: loss(**p), {"w": W, "b": B}),
        (loss, (W, B)),
        (lambda w, b, y: loss(w, b), {"w": W, "b": B, "y": np.arange(3)}),
    ):
        with pytest.raises(ValueError, match=words):
            mn.check_gradient(f, x, given)
    assert not calls
    for late in (
        lambda: mn.check_gradient(lambda w, b: (loss(w, b), given), {"w": W, "b": B}),
        lambda: mn.check_gradient(loss, {"w": W, "b": B}, lambda w, b: given),
        lambda: mn.check_backward(lambda w, b: (w + b, None), lambda d, c: given, W, B),
    ):
        with pytest.raises(ValueError, match=words):
            late()
    only = mn.check_gradient(loss, {"w": W, "b": B}, {"w": 2 * W, "b": None})
    only.assert_passed()
    assert [t.name for t in only.tensors] == ["w"]


def test_only_checks_that_take_burn_in_advise_it():
    for result in (
        mn.check_gradient(lambda x: np.abs(x).sum(), np.zeros(3), np.full(3, 0.5)),
        mn.check_loss(mn.AbsoluteError(), np.zeros((1, 2)), np.zeros((1, 2))),
    ):
        assert result.verdict == "kink"
        assert "burn_in" not in result.advice
    net = mn.Net([mn.Dense(2)], 4, mn.AbsoluteError(), dtype=np.float64)
    net.params = np.zeros(net.params.size)
    result = mn.check_net(net, X, np.zeros((3, 2)))
    assert result.verdict == "kink"
    assert result.advice.endswith("or burn_in=")


@pytest.mark.parametrize("size", [200, 5000, 80_000])
@pytest.mark.parametrize("off", [1e-2, 0.5])
def test_directions_locate_one_wrong_element_of_many(size, off):
    x = np.random.default_rng(size).standard_normal(size)
    for place in (0, size // 3, size - 1):
        x[place] = 0.5
        gradient = np.exp(x)
        gradient[place] *= 1 + off
        result = mn.check_gradient(lambda x: np.exp(x).sum(), x, gradient, mode="directions")
        assert not result.passed
        assert result.worst.worst == (place,)
        assert result.worst.verdict == ("wrong" if off > 0.1 else "suspicious")


# Layers written as classes ---------------------------------------------------------------------------------------


class Affine:
    def __init__(self, w, b):
        self.W, self.b = w, b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        self.dx = dout @ self.W.T
        return self.dx


class Tanh:
    def forward(self, x):
        self.out = np.tanh(x)
        return self.out

    def backward(self, dout):
        return dout * (1 - self.out**2)


class Stack:
    def __init__(self, *layers):
        self.layers = list(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dout):
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout


@pytest.mark.parametrize("used_before", [False, True])
def test_a_layer_with_its_weights_on_self_is_checked(used_before):
    layer = Affine(W.copy(), B.copy())
    if used_before:
        layer.backward(layer.forward(X))
    result = mn.check_module(layer, X)
    result.assert_passed()
    assert {t.name for t in result.tensors} == {"W", "b", "input"}
    assert result.remark == ""
    np.testing.assert_array_equal(layer.W, W)
    mn.check_module(Tanh(), X).assert_passed()
    mn.check_module(layer, X, mode="directions").assert_passed()


def test_a_class_in_other_forms_is_checked_too():
    stack = Stack(Affine(W, B), Tanh(), Affine(W.T.copy(), np.zeros(4)))
    result = mn.check_module(stack, X)
    result.assert_passed()
    assert {t.name for t in result.tensors} == {"layers.0.W", "layers.0.b", "layers.2.W", "layers.2.b", "input"}

    class Dicts(Affine):
        def __init__(self):
            self.params, self.grads = {"W": W, "b": B}, {}

        def forward(self, x):
            self.x = x
            return x @ self.params["W"] + self.params["b"]

        def backward(self, dout):
            self.grads = {"W": self.x.T @ dout, "b": dout.sum(axis=0)}
            return dout @ self.params["W"].T

    class Embedding:
        def __init__(self):
            self.W = W

        def forward(self, x):
            self.at = x
            return self.W[x]

        def backward(self, dout):
            self.dW = np.zeros_like(self.W)
            np.add.at(self.dW, self.at, dout)

    class Dropout:
        def __init__(self):
            self.rng = np.random.default_rng(0)

        def forward(self, x):
            self.mask = self.rng.uniform(size=x.shape) < 0.5
            return x * self.mask

        def backward(self, dout):
            return dout * self.mask

    class Named(Affine):
        def backward(self, dout):
            self.delta = self.x.T @ dout
            return dout @ self.W.T

    assert {t.name for t in mn.check_module(Dicts(), X).tensors} == {"params.W", "params.b", "input"}
    mn.check_module(Dicts(), X).assert_passed()
    mn.check_module(Embedding(), np.array([0, 2, 2])).assert_passed()
    mn.check_module(Dropout(), X).assert_passed()
    mn.check_module(Named(W, B), X, gradients={"W": "delta"}).assert_passed()


def test_mistakes_in_such_a_class_are_found_and_named():
    class Averaged(Affine):
        def backward(self, dout):
            dx = super().backward(dout)
            self.db = self.db / len(dout)
            return dx

    class Accumulating(Affine):
        def __init__(self):
            super().__init__(W, B)
            self.dW, self.db = np.zeros_like(W), np.zeros_like(B)

        def backward(self, dout):
            self.dW += self.x.T @ dout
            self.db += dout.sum(axis=0)
            return dout @ self.W.T

    class Cleared(Accumulating):
        def zero_grad(self):
            self.dW[...], self.db[...] = 0, 0

    class InPlace(Affine):
        def backward(self, dout):
            dx = super().backward(dout)
            dout *= 0
            self.x *= 0
            return dx

    assert mn.check_module(Averaged(W, B), X).worst.name == "b"
    result = mn.check_module(Accumulating(), X)
    assert not result.passed
    assert "backward accumulates: each call adds the gradient of W, b to" in str(result)
    mn.check_module(Cleared(), X).assert_passed()
    result = mn.check_module(InPlace(W, B), X)
    result.assert_passed()
    assert "backward changes dout and x in place" in result.remark


def test_an_entry_of_a_dict_of_parameters_without_a_gradient_is_named():
    class Forgetful:
        def __init__(self):
            self.params, self.grads = {"W": W, "b": B}, {}

        def forward(self, x):
            self.x = x
            return x @ self.params["W"] + self.params["b"]

        def backward(self, dout):
            self.grads["W"] = self.x.T @ dout
            return dout @ self.params["W"].T

    for layer, place in ((Forgetful(), ""), (Stack(Tanh(), Forgetful()), "layers.1.")):
        result = mn.check_module(layer, X)
        assert {t.name for t in result.tensors} == {f"{place}params.W", "input"}
        assert f"{place}params.b was not checked: backward leaves no gradient of it." in result.remark


class WithoutBiasGradient:
    """An affine layer with more arrays than W and b, whose backward pass forgets b."""

    def __init__(self, **others):
        self.W, self.b, self.db = W, B, None
        self.mean, self.unused = np.zeros(4), np.ones(3)
        vars(self).update(others)

    def forward(self, x):
        self.x = x - getattr(self, "shift", 0)
        self.mean = 0.9 * self.mean + 0.1 * x.mean(axis=0)
        return self.x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout
        return dout @ self.W.T


def test_a_parameter_of_such_a_class_without_a_gradient_is_named():
    def unchecked(layer):
        result = mn.check_module(layer, X)
        result.assert_passed()
        return [sentence.split()[0] for sentence in result.remark.split(". ") if "was not checked" in sentence]

    assert unchecked(WithoutBiasGradient()) == ["b"]  # no cache, no running mean, nothing unused
    assert unchecked(WithoutBiasGradient(x=X, mean=np.ones(4))) == ["b"]  # called before
    assert unchecked(WithoutBiasGradient(shift=np.ones(4))) == ["b", "shift"]
    assert unchecked(Stack(Tanh(), WithoutBiasGradient())) == ["layers.1.b"]
    assert unchecked(Affine(W, B)) == []
    used = Affine(W, B)
    used.backward(used.forward(X))
    assert unchecked(used) == []


def test_what_is_no_such_class_is_pointed_to_the_right_check():
    with pytest.raises(TypeError, match=r"give an instance, not the class"):
        mn.check_module(Affine, X)
    with pytest.raises(TypeError, match="checked by check_module"):
        mn.check_layer(Affine(W, B), (4,))
    with pytest.raises(TypeError, match="checked by check_module"):
        mn.check_backward(Affine(W, B).forward, lambda d, c: d, X)

    class Pair(Tanh):
        def forward(self, x):
            return x, x

    with pytest.raises(TypeError, match="checked by check_backward"):
        mn.check_module(Pair(), X)

    class Silent(Tanh):
        def backward(self, dout):
            return None

    with pytest.raises(ValueError, match="expected parameters with gradients"):
        mn.check_module(Silent(), X)
    with pytest.raises(TypeError, match="x as an array of floats"):
        mn.check_module(Tanh(), [1.0])


@pytest.mark.parametrize(
    "f", [lambda v: np.round(v).sum(), lambda v: np.sign(v).sum(), lambda v: float((v > 0).sum()), lambda v: 3.0]
)
def test_a_piecewise_constant_function_is_said_to_be_one(f):
    x = np.array([1.2, 2.7, -3.4])
    for check in (mn.check_gradient(f, x, 0 * x), mn.check_gradient(f, x, lambda v: 0 * v)):
        assert check.verdict == "correct"
        assert re.search(r"^f did not change when \w+ moved, .* constant between jumps, like round", check.remark)
    assert mn.check_gradient(lambda v: float((v**3).sum()), x, 3 * x**2).remark == ""
