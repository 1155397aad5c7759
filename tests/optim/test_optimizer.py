"""The optimizer: a rule at work on a net, or on any two flat arrays."""

import math
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import minnet as mn

EPS32, EPS64 = np.finfo(np.float32).eps, np.finfo(np.float64).eps
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def small_net(dtype=np.float64, **options):
    """Weights that decay, and biases, gains and a slope that do not."""
    layers = [mn.Dense(6), mn.BatchNorm(), mn.PReLU(), mn.Dense(3)]
    return mn.Net(layers, input_shape=5, loss=mn.SoftmaxCrossEntropy(), dtype=dtype, seed=1, **options)


def random_gradient(net, seed=0, size=1.0):
    net.grads = size * np.random.default_rng(seed).standard_normal(net.grads.size)
    return net.grads.copy()


def flat(dtype=np.float64, size=37, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(size).astype(dtype), rng.standard_normal(size).astype(dtype)


class Kept:
    """What a refused step must leave as it was."""

    def __init__(self, optimizer, params, grads):
        self.optimizer, self.params, self.grads = optimizer, params, grads
        self.before = self.now()

    def now(self):
        o = self.optimizer
        return [self.params.copy(), self.grads.copy(), o.state.copy(), np.array([o.steps, o.grad_norm])]

    def check(self):
        for before, now in zip(self.before, self.now(), strict=True):
            np.testing.assert_array_equal(now, before)


# On a net ------------------------------------------------------------------------------------------------------


def test_a_step_moves_the_nets_own_vector_by_the_rule():
    net = small_net()
    before, gradient = net.params.copy(), random_gradient(net)
    mn.Optimizer(net, mn.SGD()).step(0.1)
    np.testing.assert_allclose(net.params, before - 0.1 * gradient, rtol=0, atol=4 * EPS64)
    weights = net.named_parameters()["0.W"]
    assert np.shares_memory(weights, net.params)  # the layers see it


def test_training_by_hand_lowers_the_loss():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((40, 5)), rng.integers(0, 3, 40)
    net = small_net()
    optimizer = mn.Optimizer(net, mn.Adam(), weight_decay=1e-2, clip_norm=1.0)
    losses = []
    for _ in range(60):
        losses.append(net.loss_and_grads(x, y))
        optimizer.step(lr=0.02)
    assert losses[-1] < 0.5 * losses[0]
    assert optimizer.steps == 60


def test_decay_spares_biases_gains_and_slopes():
    net = small_net()
    assert set(net.named_parameters()) == {"0.W", "0.b", "1.gamma", "1.beta", "2.a", "3.W", "3.b"}
    for values in net.named_parameters().values():
        values += 0.5  # a bias of 0 would not show decay
    before = {name: values.copy() for name, values in net.named_parameters().items()}
    net.grads = np.zeros(net.grads.size)
    mn.Optimizer(net, mn.SGD(), weight_decay=0.5).step(0.1)
    for name, values in net.named_parameters().items():
        factor = 1 - 0.1 * 0.5 if name.endswith(".W") else 1.0
        np.testing.assert_allclose(values, factor * before[name], rtol=2 * EPS64, err_msg=name)
        if factor == 1.0:
            np.testing.assert_array_equal(values, before[name])


def test_state_and_gradients_meet_the_right_parameters_on_both_sides_of_the_decay():
    # With decay a step is two passes over parts of the vectors; a twin in NumPy has a decay for each element.
    net = small_net()
    decay = np.concatenate([np.full(values.size, 0.3 * name.endswith(".W")) for name, values in named(net)])
    p, m, v = net.params.copy(), 0.0, 0.0
    optimizer = mn.Optimizer(net, mn.Adam(), weight_decay=0.3)
    for t in range(1, 8):
        g = random_gradient(net, seed=t)
        optimizer.step(0.05)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        p = p * (1 - 0.05 * decay) - 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(net.params, p, rtol=0, atol=1e-14)  # values near 1, seven steps of round-off
    np.testing.assert_allclose(optimizer.named_state()["mean"], m, rtol=0, atol=1e-15)
    np.testing.assert_allclose(optimizer.named_state()["squares"], v, rtol=0, atol=1e-15)


def named(net):
    """Names and values in the order of the flat vector."""
    return sorted(net.named_parameters().items(), key=lambda entry: net.layout.places[entry[0]].start)


def test_max_norm_holds_after_every_step_and_only_where_it_binds():
    bound = 1.5
    net, free = small_net(max_norm=bound), small_net()
    optimizer, unbounded = mn.Optimizer(net, mn.SGD()), mn.Optimizer(free, mn.SGD())
    for step in range(3):
        free.params = net.params
        random_gradient(net, seed=step, size=3.0)
        random_gradient(free, seed=step, size=3.0)
        optimizer.step(0.05)
        unbounded.step(0.05)
        bounded = 0
        for name, expected in free.named_parameters().items():
            values = net.named_parameters()[name]
            norms = np.sqrt((expected.reshape(-1, expected.shape[-1]) ** 2).sum(axis=0))
            over = (norms > bound) & name.endswith(".W")
            bounded += over.sum()
            np.testing.assert_array_equal(values[..., ~over], expected[..., ~over], err_msg=name)
            shrunk = expected[..., over] * (bound / norms[over])
            np.testing.assert_allclose(values[..., over], shrunk, rtol=10 * EPS64, err_msg=name)
        assert 0 < bounded < 9  # of the nine units, some


# On any two arrays -----------------------------------------------------------------------------------------------


def test_a_user_minimises_rosenbrock_with_it():
    params, grads = np.array([-1.2, 1.0]), np.zeros(2)
    optimizer = mn.Optimizer.over(params, grads, mn.Adam())
    lr = mn.schedules.Cosine(0.05, 4000)
    for _ in range(4000):
        x, y = params
        grads[:] = -2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)
        optimizer.step(lr)
    np.testing.assert_allclose(params, 1, atol=1e-3)


@both_dtypes
def test_over_decays_every_element_and_works_in_place(dtype):
    params, grads = flat(dtype)
    before = params.astype(np.float64)
    mn.Optimizer.over(params, grads, mn.SGD(), weight_decay=0.5).step(0.1)
    assert params.dtype == dtype
    expected = before * (1 - 0.1 * 0.5) - 0.1 * grads.astype(np.float64)
    np.testing.assert_allclose(params, expected, rtol=0, atol=2 * np.finfo(dtype).eps * np.abs(before).max())


def test_empty_arrays_are_nothing_to_do():
    optimizer = mn.Optimizer.over(np.zeros(0), np.zeros(0), mn.Adam(), weight_decay=0.1, clip_norm=1.0)
    optimizer.step(0.1)
    assert optimizer.steps == 1
    assert optimizer.state.shape == (2, 0)


def test_views_of_one_array_are_two_flat_arrays():
    both = np.arange(8, dtype=np.float64)
    optimizer = mn.Optimizer.over(both[:4], both[4:], mn.SGD())
    optimizer.step(0.5)
    np.testing.assert_array_equal(both, [0 - 2, 1 - 2.5, 2 - 3, 3 - 3.5, 4, 5, 6, 7])


def frozen(array):
    array.flags.writeable = False
    return array


ZEROS, FOREIGN = np.zeros(6), np.zeros(6, np.dtype(np.float64).newbyteorder())
ODD = {
    "different sizes": (ZEROS, np.zeros(5), r"\(6,\).*\(5,\)"),
    "different dtypes": (ZEROS, np.zeros(6, np.float32), "float64.*float32"),
    "params not flat": (np.zeros((2, 3)), np.zeros((2, 3)), "params as a flat array"),
    "grads not flat": (ZEROS, np.zeros((2, 3)), "grads as a flat array"),
    "a list": (ZEROS, [0.0] * 6, "grads as a flat array"),
    "integers": (np.zeros(6, int), np.zeros(6, int), "params as a flat array of float"),
    "complex": (np.zeros(6, complex), np.zeros(6, complex), "params as a flat array of float"),
    "half precision": (np.zeros(6, np.float16), np.zeros(6, np.float16), "params.*float16"),
    "foreign byte order": (FOREIGN, FOREIGN.copy(), "params.*f8"),
    "params strided": (np.zeros(12)[::2], ZEROS, "params contiguous and writeable.*16"),
    "grads reversed": (ZEROS, np.zeros(6)[::-1], "grads contiguous and writeable.*-8"),
    "params read-only": (frozen(np.zeros(6)), ZEROS, "params contiguous and writeable"),
    "params for grads": (ZEROS, ZEROS, "memory of their own"),
    "params over grads": ((both := np.zeros(9))[:6], both[3:], "memory of their own"),
}


@pytest.mark.parametrize(("params", "grads", "said"), ODD.values(), ids=ODD.keys())
def test_over_refuses_what_a_kernel_could_not_take(params, grads, said):
    # Native float32 or float64 only, as the docstring says: anything else would fail later, inside Numba.
    with pytest.raises((TypeError, ValueError), match=rf"^Optimizer: expected .*{said}"):
        mn.Optimizer.over(params, grads, mn.SGD())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weight_decay": -0.1}, "weight_decay of at least 0; got -0.1"),
        ({"weight_decay": math.nan}, "weight_decay to be finite; got nan"),
        ({"weight_decay": "0.1"}, "weight_decay to be a number; got '0.1'"),
        ({"clip_norm": 0.0}, "clip_norm above 0; got 0.0"),
        ({"clip_norm": -1.0}, "clip_norm above 0; got -1.0"),
        ({"clip_norm": -math.inf}, "clip_norm to be finite; got -inf"),
    ],
    ids=str,
)
def test_constructor_refuses_bad_decay_and_bounds(options, said):
    for build in (lambda: mn.Optimizer(small_net(), mn.SGD(), **options), lambda: over_zeros(**options)):
        with pytest.raises((TypeError, ValueError), match=f"^Optimizer: expected {re.escape(said)}$"):
            build()


def over_zeros(rule=None, **options):
    return mn.Optimizer.over(np.zeros(3), np.zeros(3), rule or mn.SGD(), **options)


@pytest.mark.parametrize("rule", [mn.Adam, "adam", None, lambda p, g: None], ids=["class", "str", "None", "function"])
def test_a_rule_is_an_instance_of_rule(rule):
    with pytest.raises(TypeError, match=r"^Optimizer: expected a Rule, such as Adam\(\); got "):
        mn.Optimizer.over(np.zeros(3), np.zeros(3), rule)


# Clipping ------------------------------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("size", [1, 4096, 10_001])  # the norm is summed in blocks
def test_a_longer_gradient_is_scaled_to_the_bound(dtype, size):
    params, grads = flat(dtype, size)
    exact = grads.astype(np.float64)
    norm = math.sqrt(math.fsum(exact**2))
    optimizer = mn.Optimizer.over(params, grads, mn.SGD(), clip_norm=0.5 * norm)
    optimizer.step(0.0)
    # A block of up to 4096 squares is summed in the array's precision, and n random roundings come to some sqrt(n) of
    # them; each square rounds once, and scaling twice more.
    bound = (math.sqrt(min(size, 4096)) + 3) * float(np.finfo(dtype).eps)
    assert optimizer.grad_norm == pytest.approx(norm, rel=bound)
    np.testing.assert_allclose(grads, 0.5 * exact, rtol=bound)


@pytest.mark.parametrize("share", [1.0, 1.001, 100.0])
def test_a_gradient_within_the_bound_stays_as_it_is_to_the_bit(share):
    params, grads = np.zeros(2), np.array([3.0, 4.0])
    optimizer = mn.Optimizer.over(params, grads, mn.SGD(), clip_norm=5.0 * share)
    optimizer.step(1.0)
    np.testing.assert_array_equal(grads, [3.0, 4.0])
    np.testing.assert_array_equal(params, [-3.0, -4.0])
    assert optimizer.grad_norm == 5.0


def test_the_norm_is_that_of_the_whole_net_not_of_each_array():
    net = small_net()
    gradient, before = random_gradient(net), net.params.copy()
    norm = np.linalg.norm(gradient)
    largest = max(np.linalg.norm(g) for g in net.named_gradients().values())
    bound = (norm + largest) / 2  # clips the whole, would clip no single array
    assert largest < bound < norm
    optimizer = mn.Optimizer(net, mn.SGD(), clip_norm=bound)
    optimizer.step(0.1)
    np.testing.assert_allclose(net.params, before - 0.1 * gradient * bound / norm, rtol=0, atol=10 * EPS64)


def test_decay_is_not_clipped():
    params, grads = np.array([2.0, -2.0]), np.array([30.0, 40.0])
    mn.Optimizer.over(params, grads, mn.SGD(), clip_norm=5.0, weight_decay=1.0).step(0.1)
    np.testing.assert_allclose(params, [1.8 - 0.3, -1.8 - 0.4], rtol=4 * EPS64)


def test_grad_norm_is_nan_where_nothing_is_clipped():
    optimizer = mn.Optimizer.over(*flat(), mn.SGD())
    optimizer.step(0.1)
    assert math.isnan(optimizer.grad_norm)


@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e25), (np.float64, 1e200)])
def test_a_huge_but_finite_gradient_is_clipped_too(dtype, size):
    # Its squares overflow; an exploding gradient is what clipping is for.
    params, grads = np.zeros(4, dtype), np.array([size, -size, size, size], dtype)
    optimizer = mn.Optimizer.over(params, grads, mn.SGD(), clip_norm=1.0)
    with np.errstate(over="ignore"):  # NumPy warns where kernels run uncompiled (NUMBA_DISABLE_JIT)
        optimizer.step(1.0)
    np.testing.assert_allclose(params, [-0.5, 0.5, -0.5, -0.5], rtol=8 * np.finfo(dtype).eps)
    assert optimizer.grad_norm == pytest.approx(2 * size, rel=1e-6)


@both_dtypes
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_clipping_refuses_a_gradient_that_is_not_finite_and_changes_nothing(dtype, bad):
    params, grads = flat(dtype)
    optimizer = mn.Optimizer.over(params, grads, mn.Adam(), weight_decay=0.1, clip_norm=0.1)
    optimizer.step(0.1)
    grads[20] = bad
    kept = Kept(optimizer, params, grads)
    with pytest.raises(FloatingPointError, match=r"^Optimizer: expected a finite gradient to clip; got .*(nan|inf)"):
        optimizer.step(0.1)
    kept.check()


# The rate ------------------------------------------------------------------------------------------------------

BAD_RATES = [-1e-9, math.nan, math.inf, -math.inf, None, "0.1", True, [0.1], lambda step: math.nan, lambda step: -1]


@pytest.mark.parametrize("lr", BAD_RATES)
def test_a_bad_rate_is_refused_before_anything_changes(lr):
    params, grads = flat()
    optimizer = mn.Optimizer.over(params, grads, mn.Adam(), weight_decay=0.1, clip_norm=0.1)
    optimizer.step(0.1)
    grads *= 7  # long enough to be clipped, if it came to that
    kept = Kept(optimizer, params, grads)
    with pytest.raises((TypeError, ValueError), match=r"^Optimizer\.step: expected lr .*; got "):
        optimizer.step(lr)
    kept.check()


@pytest.mark.parametrize("lr", [0, 1, 0.1, np.float32(0.1), np.float64(0.1), np.int64(1)], ids=repr)
def test_any_real_number_is_a_rate(lr):
    params, grads = np.zeros(3), np.ones(3)
    mn.Optimizer.over(params, grads, mn.SGD()).step(lr)
    np.testing.assert_array_equal(params, -float(lr))


def test_a_schedule_is_asked_for_each_step_from_zero():
    asked = []

    def lr(step):
        asked.append(step)
        return 0.1 / (1 + step)

    params, grads = np.zeros(1), np.ones(1)
    optimizer = mn.Optimizer.over(params, grads, mn.SGD())
    for _ in range(4):
        optimizer.step(lr)
    assert asked == [0, 1, 2, 3]
    assert params[0] == pytest.approx(-0.1 * (1 + 1 / 2 + 1 / 3 + 1 / 4), rel=4 * EPS64)


def test_a_schedule_object_equals_its_values_by_hand():
    schedule = mn.schedules.Warmup(3, mn.schedules.Cosine(0.1, 10))
    (by_schedule, grads), (by_hand, _) = flat(), flat()
    one = mn.Optimizer.over(by_schedule, grads, mn.Nesterov())
    two = mn.Optimizer.over(by_hand, grads, mn.Nesterov())
    for step in range(15):
        one.step(schedule)
        two.step(schedule(step))
    np.testing.assert_array_equal(by_schedule, by_hand)


def test_rate_zero_stands_still_but_counts():
    params, grads = flat()
    before = params.copy()
    optimizer = mn.Optimizer.over(params, grads, mn.Adam(), weight_decay=0.5)
    optimizer.step(0.0)
    np.testing.assert_array_equal(params, before)
    assert optimizer.steps == 1
    assert optimizer.named_state()["mean"].any()


# Counter and state -----------------------------------------------------------------------------------------------

RULES = [mn.SGD(), mn.Momentum(), mn.Nesterov(), mn.NesterovLookAhead(), mn.Adagrad(initial=0.1), mn.RMSprop()]
RULES += [mn.Adadelta(), mn.Adam(), mn.AMSGrad(), mn.AdaMax(), mn.NAdam(), mn.RAdam(), mn.Lion()]
RULES += [mn.RMSpropMomentum(), mn.RMSpropCentred(), mn.RMSpropCentredMomentum(), mn.Momentum(dampening=0.3)]
RULES += [mn.ScheduleFreeSGD(), mn.ScheduleFreeAdamW()]


def test_state_has_a_named_row_for_each_slot():
    params, grads = flat(np.float32)
    optimizer = mn.Optimizer.over(params, grads, mn.Adam())
    assert optimizer.steps == 0
    assert optimizer.state.shape == (2, 37)
    assert optimizer.state.dtype == np.float32
    assert not optimizer.state.any()
    optimizer.step(0.1)
    state = optimizer.named_state()
    assert list(state) == ["mean", "squares"]
    np.testing.assert_allclose(state["mean"], 0.1 * grads, rtol=2 * EPS32)
    np.testing.assert_allclose(state["squares"], 0.001 * grads**2, rtol=4 * EPS32)
    state["mean"][:] = 0  # views, not copies
    assert not optimizer.state[0].any()


def test_rules_say_where_their_state_starts():
    params, grads = flat()
    np.testing.assert_array_equal(mn.Optimizer.over(params, grads, mn.Adagrad(initial=0.1)).state, [[0.1] * 37])
    look_ahead = mn.Optimizer.over(params, grads, mn.NesterovLookAhead()).named_state()
    np.testing.assert_array_equal(look_ahead["position"], params)
    assert not look_ahead["velocity"].any()


@pytest.mark.parametrize("rule", RULES, ids=repr)
@both_dtypes
def test_state_and_counter_are_all_there_is_to_remember(rule, dtype):
    rng = np.random.default_rng(5)
    gradients = rng.standard_normal((10, 37)).astype(dtype)
    lr = mn.schedules.Exponential(0.1, 0.1)

    def steps(optimizer, grads, part):
        for g in part:
            grads[:] = g
            optimizer.step(lr)

    whole, grads = flat(dtype)
    steps(mn.Optimizer.over(whole, grads, rule, weight_decay=0.1), grads, gradients)

    params, grads = flat(dtype)
    first = mn.Optimizer.over(params, grads, rule, weight_decay=0.1)
    steps(first, grads, gradients[:4])
    params, grads, count = params.copy(), np.zeros(37, dtype), first.steps
    saved, numbers = first.state.copy(), first.numbers.copy()
    second = mn.Optimizer.over(params, grads, rule, weight_decay=0.1)
    second.state, second.numbers, second.steps = saved, numbers, count
    steps(second, grads, gradients[4:])
    np.testing.assert_array_equal(params, whole)


def test_assigning_state_copies_into_place():
    optimizer = mn.Optimizer.over(*flat(np.float32), mn.Adam())
    held, named_before = optimizer.state, optimizer.named_state()["squares"]
    values = np.arange(74, dtype=np.float64).reshape(2, 37)
    optimizer.state = values
    assert optimizer.state is held
    np.testing.assert_array_equal(held, values)
    np.testing.assert_array_equal(named_before, values[1])
    values[:] = -1
    assert held[0, 1] == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [(np.zeros((1, 37)), r"\(2, 37\).*\(1, 37\)"), (np.zeros(74), r"\(2, 37\).*\(74,\)"), (0.0, r"\(2, 37\).*\(\)")],
    ids=["a slot short", "flat", "a number"],
)
def test_state_of_another_shape_is_refused(values, said):
    params, grads = flat()
    optimizer = mn.Optimizer.over(params, grads, mn.Adam())
    optimizer.step(0.1)
    kept = Kept(optimizer, params, grads)
    with pytest.raises(ValueError, match=rf"^Optimizer: expected state of shape {said}"):
        optimizer.state = values
    kept.check()


# A rule of one's own ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AMSGrad(mn.Rule):
    """Reddi, Kale, Kumar 2018, algorithm 2, as a user would write it: plain NumPy, no kernel, no registration."""

    beta1: float = 0.9
    beta2: float = 0.999
    slots: ClassVar[tuple[str, ...]] = ("mean", "squares", "largest")

    def start(self, params, state):
        state[2].fill(1e-6)

    def apply(self, params, grads, state, *, lr, t, decay):
        mean, squares, largest = state
        mean += (1 - self.beta1) * (grads - mean)
        squares += (1 - self.beta2) * (grads**2 - squares)
        np.maximum(largest, squares, out=largest)
        params *= 1 - lr * decay
        params -= lr * mean / np.sqrt(largest)


@both_dtypes
def test_a_rule_in_plain_numpy_is_a_rule_like_any_other(dtype):
    params, grads = flat(dtype)
    p, m, v, top = params.astype(np.float64), 0.0, 0.0, 1e-6
    optimizer = mn.Optimizer.over(params, grads, AMSGrad(), weight_decay=0.1)
    assert list(optimizer.named_state()) == ["mean", "squares", "largest"]
    rng = np.random.default_rng(8)
    for _ in range(10):
        grads[:] = rng.standard_normal(37)
        g = grads.astype(np.float64)
        optimizer.step(0.01)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        top = np.maximum(top, v)
        p = p * (1 - 0.01 * 0.1) - 0.01 * m / np.sqrt(top)
    assert params.dtype == dtype
    # Ten steps of up to 0.01 * |m| / sqrt(0.001) each, a few roundings a step: in units of eps.
    np.testing.assert_allclose(params, p, rtol=0, atol=100 * np.finfo(dtype).eps)


def test_a_rule_of_ones_own_trains_a_net_and_spares_what_does_not_decay():
    net = small_net()
    for values in net.named_parameters().values():
        values += 0.5
    before = {name: values.copy() for name, values in net.named_parameters().items()}
    net.grads = np.zeros(net.grads.size)
    mn.Optimizer(net, AMSGrad(), weight_decay=0.5).step(0.1)
    for name, values in net.named_parameters().items():
        np.testing.assert_array_equal(values, before[name] * (0.95 if name.endswith(".W") else 1.0), err_msg=name)


def test_a_rule_of_ones_own_sees_steps_from_one_and_plain_floats():
    seen = []

    class Spy(mn.Rule):
        def apply(self, params, grads, state, *, lr, t, decay):
            seen.append((t, lr, decay, len(state)))

    optimizer = over_zeros(Spy(), weight_decay=0.25)
    optimizer.step(np.float32(0.5))
    optimizer.step(lambda step: 1 + step)
    assert seen == [(1, 0.5, 0.25, 0), (2, 2.0, 0.25, 0)]
    assert {type(value) for row in seen for value in row[1:3]} == {float}
