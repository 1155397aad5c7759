"""Rules around rules: each against its formula written by hand, and all of them together."""

import dataclasses
import math
import pickle
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import minnet as mn
from minnet.optim.rules import Around
from minnet.schedules import Linear

EPS64 = np.finfo(np.float64).eps
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SHAPES = {"W": (4, 3), "b": (3,), "V": (3, 5), "c": (5,)}
SIZE = 35
PLACES = {"W": slice(0, 12), "b": slice(12, 15), "V": slice(15, 30), "c": slice(30, 35)}


def arrays(dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(SIZE).astype(dtype), np.zeros(SIZE, dtype)


def gradients(steps, seed=1, size=1.0):
    return size * np.random.default_rng(seed).standard_normal((steps, SIZE))


def walk(rule, given, rates=None, dtype=np.float64, **options):
    """Parameters after each step, with the optimizer at the end."""
    params, grads = arrays(dtype)
    optimizer = mn.Optimizer.over(params, grads, rule, shapes=SHAPES, **options)
    path = []
    for g, lr in zip(given, np.full(len(given), 0.1) if rates is None else rates, strict=True):
        grads[:] = g
        optimizer.step(float(lr))
        path.append(params.copy())
    return np.array(path), optimizer


@dataclass(frozen=True)
class Spy(mn.Rule):
    """Gradient descent that notes what it is given."""

    seen: list = dataclasses.field(default_factory=list, compare=False)

    def apply(self, params, grads, state, *, lr, t, decay):
        self.seen.append((t, lr, decay, grads.copy()))
        params -= lr * grads


@dataclass(frozen=True)
class Shaped(mn.Rule):
    """Moves each tensor by its gradient over its norm: a rule that needs whole tensors, in their own shape."""

    gain: float = 1.0
    slots: ClassVar[tuple[str, ...]] = ("mean",)
    shaped: ClassVar[bool] = True

    def apply(self, params, grads, state, *, lr, t, decay):
        assert params.shape in SHAPES.values()
        state[0][...] = 0.5 * state[0] + 0.5 * grads
        params -= lr * self.gain * state[0] / np.linalg.norm(state[0])


@dataclass(frozen=True)
class Counting(mn.Rule):
    """Keeps a number: the sum of the steps' rates, by which it divides."""

    numbers: ClassVar[tuple[str, ...]] = ("rates",)
    slots: ClassVar[tuple[str, ...]] = ("mean",)

    def prepare(self, runs, *, lr, t):
        for run in runs:
            run.state[-1][0] += lr

    def apply(self, params, grads, state, *, lr, t, decay):
        state[0][...] += grads
        params -= lr * state[0] / state[-1][0]


@dataclass(frozen=True)
class Matrices(mn.Rule):
    """For matrices; leaves the rest to another rule."""

    fallback: mn.Rule = dataclasses.field(default_factory=mn.SGD)

    def choose(self, tensor):
        return self if len(tensor.shape) == 2 else self.fallback

    def apply(self, params, grads, state, *, lr, t, decay):
        params -= 10 * lr * grads


# Look-ahead ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.5, 0.8, 1.0])
def test_look_ahead_is_algorithm_1(alpha):
    given = gradients(13)
    path, optimizer = walk(mn.LookAhead(mn.Momentum(0.9), k=4, alpha=alpha), given, weight_decay=0.1)
    slow, _ = arrays()
    fast, v = slow.copy(), 0.0
    for t, g in enumerate(given, start=1):
        v = 0.9 * v - 0.1 * g
        fast = fast * (1 - 0.1 * 0.1) + v
        if t % 4 == 0:
            slow = slow + alpha * (fast - slow)
            fast = slow
        np.testing.assert_allclose(path[t - 1], fast, rtol=0, atol=1e-14)
    np.testing.assert_allclose(optimizer.named_state()["slow"], slow, rtol=0, atol=1e-14)
    np.testing.assert_allclose(optimizer.named_state()["velocity"], v, rtol=0, atol=1e-14)  # not reset


def test_look_ahead_hands_out_the_slow_weights_and_trains_on_from_the_fast():
    path, optimizer = walk(mn.LookAhead(mn.SGD(), k=5), gradients(7))
    params, slow = optimizer._params, optimizer.named_state()["slow"].copy()
    np.testing.assert_array_equal(slow, path[4])
    with optimizer.evaluating():
        np.testing.assert_array_equal(params, slow)
    np.testing.assert_array_equal(params, path[6])
    optimizer.settle()
    np.testing.assert_array_equal(params, slow)


@pytest.mark.parametrize(
    "rule", [mn.NesterovLookAhead(), mn.LookAhead(mn.SGD()), mn.Accumulate(mn.ClipNorm(mn.NesterovLookAhead(), 1.0), 2)]
)
def test_look_ahead_refuses_a_rule_that_would_undo_it(rule):
    with pytest.raises(ValueError, match=r"^LookAhead: expected a rule whose parameters may be moved; got "):
        mn.LookAhead(rule)


# Accumulation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_accumulate_takes_one_step_with_the_mean_of_k_gradients(k):
    given = gradients(30)
    path, optimizer = walk(mn.Accumulate(mn.Adam(), k), given, weight_decay=0.1)
    expected, plain = walk(mn.Adam(), given.reshape(30 // k, k, SIZE).mean(axis=1), weight_decay=0.1)
    np.testing.assert_allclose(path[k - 1 :: k], expected, rtol=0, atol=1e-14)
    for name in ("mean", "squares"):
        np.testing.assert_allclose(optimizer.named_state()[name], plain.named_state()[name], rtol=0, atol=1e-14)
    for t in range(1, 30):
        if (t + 1) % k:  # in between it stands still
            np.testing.assert_array_equal(path[t], path[t - 1])


def test_micro_batches_equal_the_batch_they_are_cut_from():
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((48, 5)), rng.integers(0, 3, 48)
    nets = [
        mn.Net([mn.Dense(7), mn.Tanh(), mn.Dense(3)], 5, mn.SoftmaxCrossEntropy(), l2=1e-2, dtype=np.float64, seed=2)
        for _ in range(2)
    ]
    whole, parts = nets
    one, many = mn.Optimizer(whole, mn.Nesterov()), mn.Optimizer(parts, mn.Accumulate(mn.Nesterov(), 4))
    for _ in range(10):
        whole.loss_and_grads(x, y)
        one.step(0.1)
        for part in range(4):
            parts.loss_and_grads(x[12 * part :][:12], y[12 * part :][:12])
            many.step(0.1)
    np.testing.assert_allclose(parts.params, whole.params, rtol=0, atol=1e-13)


def test_what_counts_micro_batches_and_what_counts_steps():
    inside = Spy()
    given, rates = gradients(6), [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    walk(mn.Accumulate(inside, 3), given, rates, weight_decay=Linear(0.0, 0.5, 5))
    assert [row[:3] for row in inside.seen] == [(1, 0.4, 0.2), (2, 0.1, 0.5)]
    # The optimizer's clipping sees each micro-batch, a combinator inside their mean.
    inside, bound = Spy(), 0.5
    walk(mn.Accumulate(inside, 2), given[:2], clip_norm=bound)
    unit = given[:2] / np.linalg.norm(given[:2], axis=1, keepdims=True)
    np.testing.assert_allclose(inside.seen[0][3], bound * unit.mean(axis=0), rtol=1e-12)
    inside = Spy()
    walk(mn.Accumulate(mn.ClipNorm(inside, bound), 2), given[:2])
    mean = given[:2].mean(axis=0)
    np.testing.assert_allclose(inside.seen[0][3], bound * mean / np.linalg.norm(mean), rtol=1e-12)


def test_the_mean_of_bad_gradients_is_refused_with_the_sum_unspoiled():
    params, grads = arrays()
    optimizer = mn.Optimizer.over(params, grads, mn.Accumulate(mn.ClipNorm(mn.Adam(), 1.0), 2))
    grads[:] = 1
    optimizer.step(0.1)
    before, state = params.copy(), optimizer.state.copy()
    grads[3] = np.nan
    with pytest.raises(FloatingPointError, match=r"^ClipNorm: expected a finite gradient to clip; got norm nan$"):
        optimizer.step(0.1)
    np.testing.assert_array_equal(params, before)
    np.testing.assert_array_equal(optimizer.state, state)
    grads[:] = 1
    optimizer.step(0.1)  # and on with a good one
    expected, _ = walk(mn.Accumulate(mn.ClipNorm(mn.Adam(), 1.0), 2), np.ones((2, SIZE)))
    np.testing.assert_array_equal(params, expected[-1])


# Noise -----------------------------------------------------------------------------------------------------------


def noise_of(rule, step, dtype=np.float64, size=20_000, **options):
    """What the rule adds to a gradient of 0 at a step from 0."""
    params, grads = np.zeros(size, dtype), np.zeros(size, dtype)
    optimizer = mn.Optimizer.over(params, grads, rule, **options)
    optimizer.steps = step
    optimizer.step(1.0)
    np.testing.assert_array_equal(params, -grads)
    return grads


@pytest.mark.parametrize(("eta", "gamma"), [(0.01, 0.55), (1.0, 0.55), (0.3, 0.0)])
@pytest.mark.parametrize("step", [0, 1, 99])
def test_the_variance_of_the_noise_falls_as_published(eta, gamma, step):
    noise = noise_of(mn.GradientNoise(mn.SGD(), eta, gamma), step)
    # The variance of a sample variance is 2 / n: five standard deviations.
    assert np.mean(noise**2) == pytest.approx(eta / (1 + step) ** gamma, rel=5 * math.sqrt(2 / noise.size))


def test_noise_is_a_function_of_seed_step_and_element():
    first = noise_of(mn.GradientNoise(mn.SGD(), 1.0, 0.0), 3)
    np.testing.assert_array_equal(noise_of(mn.GradientNoise(mn.SGD(), 1.0, 0.0), 3), first)
    np.testing.assert_array_equal(noise_of(mn.GradientNoise(mn.SGD(), 1.0, 0.0), 3, np.float32), np.float32(first))
    for other in (
        noise_of(mn.GradientNoise(mn.SGD(), 1.0, 0.0), 4),
        noise_of(mn.GradientNoise(mn.SGD(), 1.0, 0.0, 1), 3),
    ):
        assert abs(np.mean(first * other)) < 5 / math.sqrt(first.size)
    # However the elements are cut into runs.
    shapes = {f"t{i}": (2000,) for i in range(10)}
    groups = [mn.Group(lambda tensor, i=i: tensor.name == f"t{i}", lr_factor=1.0) for i in (7, 2)]
    np.testing.assert_array_equal(
        noise_of(mn.GradientNoise(mn.SGD(), 1.0, 0.0), 3, shapes=shapes, groups=groups), first
    )


def test_noise_is_the_same_for_any_number_of_threads():
    before = mn.get_num_threads()
    try:
        noises = []
        for threads in (1, before):
            mn.set_num_threads(threads)
            noises.append(noise_of(mn.GradientNoise(mn.SGD()), 5, size=100_003))
    finally:
        mn.set_num_threads(before)
    np.testing.assert_array_equal(*noises)


# Clipping --------------------------------------------------------------------------------------------------------


def clipped(rule_of, given, params=None, dtype=np.float64, **options):
    """The gradient that the rule inside gets."""
    inside = Spy()
    start, grads = arrays(dtype)
    start[:] = start if params is None else params
    optimizer = mn.Optimizer.over(start, grads, rule_of(inside), shapes=SHAPES, **options)
    grads[:] = given
    optimizer.step(0.1)
    return np.concatenate([row[3] for row in inside.seen])


@both_dtypes
def test_clip_value_bounds_each_element(dtype):
    given = gradients(1)[0].astype(dtype)
    result = clipped(lambda rule: mn.ClipValue(rule, 0.5), given, dtype=dtype)
    np.testing.assert_array_equal(result, [min(max(float(g), -0.5), 0.5) for g in given])
    assert 0 < np.count_nonzero(np.abs(given) > 0.5) < SIZE


@both_dtypes
def test_clip_tensor_norm_bounds_each_tensor(dtype):
    given = gradients(1)[0].astype(dtype)
    given[PLACES["b"]] *= 0.1
    given[PLACES["c"]] *= 0.1
    result = clipped(lambda rule: mn.ClipTensorNorm(rule, 2.0), given, dtype=dtype)
    for name, place in PLACES.items():
        norm = math.sqrt(math.fsum(given[place].astype(float) ** 2))
        assert (norm > 2) == (name in "WV")
        expected = given[place].astype(float) * min(1.0, 2.0 / norm)
        np.testing.assert_allclose(result[place], expected, rtol=20 * np.finfo(dtype).eps)


def test_clip_norm_bounds_the_gradient_of_all_that_the_rule_updates_in_whatever_group():
    given = gradients(1)[0]
    groups = [
        mn.Group(lambda tensor: tensor.name == "b", lr_factor=0.1),
        mn.Group(lambda tensor: tensor.name == "V", rule=mn.SGD()),
        mn.Group(lambda tensor: tensor.name == "c", frozen=True),
    ]
    result = clipped(lambda rule: mn.ClipNorm(rule, 1.0), given, groups=groups)
    ours = given[:15]
    np.testing.assert_allclose(result, ours / np.linalg.norm(ours), rtol=1e-13)


def test_clip_norm_of_a_group_bounds_the_gradient_of_the_group():
    given = gradients(1)[0]
    params, grads = arrays()
    before = params.copy()
    groups = [mn.Group(lambda tensor: tensor.name in "Wb", rule=mn.ClipNorm(mn.SGD(), 1.0))]
    optimizer = mn.Optimizer.over(params, grads, mn.SGD(), shapes=SHAPES, groups=groups)
    grads[:] = given
    optimizer.step(1.0)
    expected = given.copy()
    expected[:15] /= np.linalg.norm(given[:15])
    np.testing.assert_allclose(params, before - expected, rtol=0, atol=1e-14)


def test_clip_norm_equals_the_optimizers():
    given = gradients(10, size=3.0)
    rates = 0.1 * 0.9 ** np.arange(10)
    by_rule, _ = walk(mn.ClipNorm(mn.Adam(), 2.5), given, rates, weight_decay=0.1)
    by_optimizer, _ = walk(mn.Adam(), given, rates, weight_decay=0.1, clip_norm=2.5)
    np.testing.assert_array_equal(by_rule, by_optimizer)


@both_dtypes
def test_adaptive_clip_bounds_units_by_their_weights(dtype):
    rng = np.random.default_rng(3)
    params = rng.standard_normal(SIZE).astype(dtype)
    params[PLACES["b"]] = 0  # least takes the place of their norm
    given = (0.3 * rng.standard_normal(SIZE) * np.tile([0.1, 1, 3, 0.1, 1], 7)).astype(dtype)
    result = clipped(lambda rule: mn.AdaptiveClip(rule, 0.2, 0.01), given, params, dtype)
    changed = 0
    for name, place in PLACES.items():
        W, G = (array[place].astype(float).reshape(SHAPES[name]) for array in (params, given))
        over = 0 if len(SHAPES[name]) == 2 else None  # all axes but the last; a vector is one unit
        bound = 0.2 * np.maximum(np.sqrt((W**2).sum(axis=over)), 0.01)
        norm = np.sqrt((G**2).sum(axis=over))
        changed += np.count_nonzero(norm > bound)
        expected = (G * np.minimum(1, bound / norm)).reshape(-1)
        np.testing.assert_allclose(result[place], expected, rtol=20 * np.finfo(dtype).eps, atol=1e-30)
    assert 0 < changed < 10


def test_adaptive_clip_takes_a_convolutions_filter_as_a_unit():
    shapes = {"W": (3, 3, 2, 4)}
    rng = np.random.default_rng(0)
    params, grads = rng.standard_normal(72), 10 * rng.standard_normal(72)
    W, G = params.reshape(3, 3, 2, 4).copy(), grads.reshape(3, 3, 2, 4).copy()
    mn.Optimizer.over(params, grads, mn.AdaptiveClip(mn.SGD()), shapes=shapes).step(1.0)
    norms = [np.linalg.norm(array.reshape(-1, 4), axis=0) for array in (W, G)]
    np.testing.assert_allclose(grads.reshape(G.shape), G * (0.01 * norms[0] / norms[1]), rtol=1e-12)


CLIPS = [
    lambda rule: mn.ClipNorm(rule, 1.0),
    lambda rule: mn.ClipTensorNorm(rule, 1.0),
    lambda rule: mn.AdaptiveClip(rule),
]


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_clipping_by_a_norm_refuses_what_is_not_finite_before_parameters_or_state_change(clip, bad):
    params, grads = arrays()
    optimizer = mn.Optimizer.over(params, grads, clip(mn.Adam()), shapes=SHAPES)
    grads[:] = 1
    optimizer.step(0.1)
    before, state = params.copy(), optimizer.state.copy()
    grads[30] = bad
    with pytest.raises(FloatingPointError, match=r"^(ClipNorm|ClipTensorNorm|AdaptiveClip): expected .*finite.*; got "):
        optimizer.step(0.1)
    np.testing.assert_array_equal(params, before)
    np.testing.assert_array_equal(optimizer.state, state)
    assert optimizer.steps == 1


@pytest.mark.torch
def test_clipping_equals_that_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    given = gradients(1)[0]

    def theirs(clip, bound):
        tensors = [torch.zeros(SHAPES[name], dtype=torch.float64, requires_grad=True) for name in SHAPES]
        for tensor, place in zip(tensors, PLACES.values(), strict=True):
            tensor.grad = torch.tensor(given[place].reshape(tensor.shape))
        clip(tensors, bound)
        return np.concatenate([tensor.grad.numpy().reshape(-1) for tensor in tensors])

    by_value = clipped(lambda rule: mn.ClipValue(rule, 0.5), given)
    np.testing.assert_array_equal(by_value, theirs(torch.nn.utils.clip_grad_value_, 0.5))
    norm = np.linalg.norm(given)
    by_norm = clipped(lambda rule: mn.ClipNorm(rule, 2.0), given)  # they divide by norm + 1e-6
    np.testing.assert_allclose(by_norm * norm / (norm + 1e-6), theirs(torch.nn.utils.clip_grad_norm_, 2.0), rtol=1e-13)


# Decay inside the gradient -----------------------------------------------------------------------------------------


def test_coupled_decay_comes_after_clipping_and_a_penalty_before():
    given = gradients(6, size=3.0)
    path, _ = walk(mn.CoupledDecay(mn.Momentum(0.9), 0.2), given, clip_norm=1.0)
    p, v = arrays()[0], 0.0
    for step, g in enumerate(given):
        v = 0.9 * v - 0.1 * (g / np.linalg.norm(g) + 0.2 * p)
        p = p + v
        np.testing.assert_allclose(path[step], p, rtol=0, atol=1e-14)
    inside, _ = walk(mn.CoupledDecay(mn.ClipNorm(mn.Momentum(0.9), 1.0), 0.2), given)
    outside, _ = walk(mn.ClipNorm(mn.CoupledDecay(mn.Momentum(0.9), 0.2), 1.0), given)
    np.testing.assert_allclose(outside, path, rtol=0, atol=1e-14)
    assert np.abs(inside - path).max() > 0.01


def test_coupled_decay_spares_biases_and_gains_unless_told():
    moved = {}
    for spare in (True, False):
        net = mn.Net([mn.Dense(2), mn.BatchNorm()], 3, mn.SoftmaxCrossEntropy(), dtype=np.float64)
        net.params = np.ones(net.params.size)
        mn.Optimizer(net, mn.CoupledDecay(mn.SGD(), mn.schedules.Constant(0.5), spare=spare)).step(0.1)
        moved[spare] = {name for name, values in net.named_parameters().items() if (values < 1).all()}
    assert moved == {True: {"0.W"}, False: {"0.W", "0.b", "1.gamma", "1.beta"}}


@pytest.mark.torch
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adamax", "Adadelta"])
def test_clipping_and_weight_decay_in_pytorchs_order(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    rules = {
        "SGD": mn.SGD(),
        "Adam": mn.Adam(),
        "RMSprop": mn.RMSprop(),
        "Adagrad": mn.Adagrad(eps=1e-10),
        "NAdam": mn.NAdam(mu_in_mean=False),
        "RAdam": mn.RAdam(threshold=5),
        "Adamax": mn.AdaMax(),
        "Adadelta": mn.Adadelta(rho=0.9),
    }
    given = gradients(20, size=3.0)
    path, _ = walk(mn.CoupledDecay(rules[name], 0.2, spare=False), given, clip_norm=2.0)
    tensor = torch.tensor(arrays()[0], requires_grad=True)
    theirs = getattr(torch.optim, name)([tensor], lr=0.1, weight_decay=0.2)
    for step, g in enumerate(given):
        tensor.grad = torch.tensor(g * min(1.0, 2.0 / np.linalg.norm(g)))  # clip_grad_norm_ without its 1e-6
        theirs.step()
        # Its NAdam keeps a product in the default dtype, single precision.
        np.testing.assert_allclose(path[step], tensor.detach().numpy(), rtol=0, atol=1e-5 if name == "NAdam" else 1e-12)


# Composition -----------------------------------------------------------------------------------------------------

WRAPS = {
    "look-ahead": lambda rule: mn.LookAhead(rule, k=2),
    "accumulate": lambda rule: mn.Accumulate(rule, 2),
    "noise": lambda rule: mn.GradientNoise(rule),
    "decay": lambda rule: mn.CoupledDecay(rule, 0.3),
    "value": lambda rule: mn.ClipValue(rule, 0.7),
    "tensor": lambda rule: mn.ClipTensorNorm(rule, 1.5),
    "norm": lambda rule: mn.ClipNorm(rule, 2.0),
    "units": lambda rule: mn.AdaptiveClip(rule, 0.1),
}
INNER = {
    "momentum": mn.Momentum(Linear(0.5, 0.9, 10)),
    "shaped": Shaped(),
    "numbers": Counting(),
    "choosing": Matrices(),
    "choosing a shaped one": Matrices(Shaped()),
}
every_wrap = pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS.keys())
every_inner = pytest.mark.parametrize("inner", INNER.values(), ids=INNER.keys())


@every_wrap
@every_inner
def test_a_rule_inside_works_as_it_would_by_itself(wrap, inner):
    # The rule inside, given by hand the gradients that come out of the combinator, moves the parameters as the
    # whole does. Bounds that are never met and a share of 1 make the combinator do nothing.
    groups = [mn.Group(lambda tensor: tensor.name == "V", lr_factor=0.5, weight_decay=0.3)]
    idle = {
        mn.LookAhead: {"alpha": 1.0},
        mn.Accumulate: {"k": 1},
        mn.GradientNoise: {"eta": 0.0},
        mn.CoupledDecay: {"strength": 0.0},
        mn.AdaptiveClip: {"clipping": 1e9},
    }
    rule = wrap(inner)
    rule = dataclasses.replace(rule, **idle.get(type(rule), {"bound": 1e9}))
    given = gradients(7)
    path, optimizer = walk(rule, given, weight_decay=0.1, groups=groups)
    expected, plain = walk(inner, given, weight_decay=0.1, groups=groups)
    np.testing.assert_allclose(path, expected, rtol=0, atol=1e-15 if isinstance(rule, mn.LookAhead) else 0)
    assert [len(part.runs) for part in optimizer._parts] == [len(part.runs) for part in plain._parts]


@every_wrap
@every_inner
def test_state_numbers_and_counter_are_all_there_is_to_remember(wrap, inner):
    rule = wrap(inner if wrap is WRAPS["look-ahead"] else mn.LookAhead(mn.Accumulate(inner, 2), 2))
    given = gradients(11)
    whole, _ = walk(rule, given)
    params, grads = arrays()
    first = mn.Optimizer.over(params, grads, rule, shapes=SHAPES)
    for g in given[:5]:
        grads[:] = g
        first.step(0.1)
    second = mn.Optimizer.over(params, grads, rule, shapes=SHAPES)
    second.state, second.numbers, second.steps = first.state, first.numbers, first.steps
    for g in given[5:]:
        grads[:] = g
        second.step(0.1)
    np.testing.assert_array_equal(params, whole[-1])


def test_gradients_pass_from_the_outside_in():
    given = gradients(1, size=2.0)[0]
    value_first = clipped(lambda rule: mn.ClipValue(mn.ClipNorm(rule, 1.0), 0.5), given)
    bounded = np.clip(given, -0.5, 0.5)
    np.testing.assert_allclose(value_first, bounded / np.linalg.norm(bounded), rtol=1e-13)
    norm_first = clipped(lambda rule: mn.ClipNorm(mn.ClipValue(rule, 0.2), 1.0), given)
    np.testing.assert_allclose(norm_first, np.clip(given / np.linalg.norm(given), -0.2, 0.2), rtol=1e-13)


def test_a_global_norm_is_that_of_matrices_and_the_rest_together():
    given = gradients(1)[0]
    path, _ = walk(mn.ClipNorm(Matrices(), 1.0), [given], [0.1])
    step = 0.1 * given / np.linalg.norm(given)
    for name in "WV":
        step[PLACES[name]] *= 10
    np.testing.assert_allclose(path[0], arrays()[0] - step, rtol=0, atol=1e-14)


def test_a_combinator_around_the_fallback_sees_the_rest_alone():
    given = gradients(1)[0]
    path, _ = walk(Matrices(mn.ClipNorm(mn.SGD(), 1.0)), [given], [0.1])
    rest = np.concatenate([given[PLACES["b"]], given[PLACES["c"]]])
    step = given / np.linalg.norm(rest)
    for name in "WV":
        step[PLACES[name]] = 10 * given[PLACES[name]]
    np.testing.assert_allclose(path[0], arrays()[0] - 0.1 * step, rtol=0, atol=1e-14)


def test_elementwise_rules_keep_their_fused_runs():
    _, optimizer = walk(mn.LookAhead(mn.AdaptiveClip(mn.Adam())), gradients(1))
    assert [len(part.runs) for part in optimizer._parts] == [1]


def test_slots_of_rules_inside_one_another_have_names_of_their_own():
    rule = mn.Accumulate(mn.Accumulate(mn.Accumulate(mn.Momentum(), 2), 2), 2)
    assert rule.slot_names() == ("sum", "inner sum", "inner inner sum", "velocity")
    assert list(walk(rule, gradients(1))[1].named_state()) == list(rule.slot_names())


def test_schedules_inside_are_found_and_followed():
    rule = mn.ClipNorm(
        mn.ClipValue(mn.LookAhead(mn.Momentum(Linear(0.5, 0.9, 4))), Linear(1.0, 2.0, 4)), Linear(3, 5, 4)
    )
    assert set(rule.scheduled()) == {"bound", "inner bound", "momentum"}
    assert rule.at(2) == mn.ClipNorm(mn.ClipValue(mn.LookAhead(mn.Momentum(0.7)), 1.5), 4)
    given = gradients(6, size=4.0)
    path, _ = walk(rule, given)
    params, grads = arrays()
    state = None
    for step, g in enumerate(given):  # by hand, a new optimizer for each step
        optimizer = mn.Optimizer.over(params, grads, rule.at(step), shapes=SHAPES)
        if state is not None:
            optimizer.state, optimizer.steps = state, step
        grads[:] = g
        optimizer.step(0.1)
        state = optimizer.state.copy()
        np.testing.assert_array_equal(params, path[step])


@every_wrap
def test_combinators_are_frozen_comparable_and_picklable(wrap):
    rule = wrap(mn.Adam())
    assert pickle.loads(pickle.dumps(rule)) == rule == wrap(mn.Adam())
    assert hash(rule) == hash(wrap(mn.Adam()))
    assert rule != wrap(mn.Adam(beta1=0.5))
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule.rule = mn.SGD()


def test_around_a_rule_changes_nothing():
    given = gradients(5)
    np.testing.assert_array_equal(walk(Around(mn.Adam()), given)[0], walk(mn.Adam(), given)[0])


def test_training_goes_on_through_all_of_them_at_once():
    rule = mn.GradientNoise(
        mn.ClipValue(mn.Accumulate(mn.ClipNorm(mn.LookAhead(mn.AdaptiveClip(mn.Adam(), 0.5)), 5.0), 2), 5.0), 1e-6
    )
    x, y = mn.datasets.spirals(points=30, seed=0)
    net = mn.Net([mn.Dense(30), mn.ReLU(), mn.Dense(3)], 2, mn.SoftmaxCrossEntropy(), seed=0)
    history = mn.fit(net, (x, y), rule=rule, lr=0.02, batch_size=30, epochs=60, progress=False)
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    assert history["accuracy"][-1] > 0.7


# Bad input -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Searching(mn.Rule):
    searches: ClassVar[bool] = True


BAD = [
    (mn.LookAhead, {"k": 0}, "k of at least 1; got 0"),
    (mn.LookAhead, {"k": 2.5}, "k to be a whole number; got 2.5"),
    (mn.LookAhead, {"alpha": 0.0}, "0 < alpha <= 1; got 0.0"),
    (mn.LookAhead, {"alpha": 1.5}, "0 < alpha <= 1; got 1.5"),
    (mn.Accumulate, {"k": 0}, "k of at least 1; got 0"),
    (mn.Accumulate, {"k": Linear(1, 2, 3)}, "k to be a whole number; got 1.0"),
    (mn.GradientNoise, {"eta": -0.1}, "eta of at least 0; got -0.1"),
    (mn.GradientNoise, {"gamma": math.nan}, "gamma to be finite; got nan"),
    (mn.GradientNoise, {"seed": -1}, "seed of at least 0; got -1"),
    (mn.ClipValue, {"bound": 0.0}, "bound above 0; got 0.0"),
    (mn.ClipTensorNorm, {"bound": math.inf}, "bound to be finite; got inf"),
    (mn.ClipNorm, {"bound": None}, "bound to be a number; got None"),
    (mn.AdaptiveClip, {"clipping": 0.0}, "clipping above 0; got 0.0"),
    (mn.AdaptiveClip, {"eps": -1e-3}, "eps above 0; got -0.001"),
]


@pytest.mark.parametrize(("rule", "arguments", "said"), BAD, ids=str)
def test_constructors_refuse_bad_arguments(rule, arguments, said):
    with pytest.raises((TypeError, ValueError), match=f"^{rule.__name__}: expected {re.escape(said)}$"):
        rule(mn.SGD(), **arguments)


@every_wrap
@pytest.mark.parametrize("inside", [mn.SGD, "sgd", None, 0.1], ids=str)
def test_what_stands_inside_is_a_rule(wrap, inside):
    with pytest.raises(TypeError, match=r"^\w+: expected a Rule inside, such as Adam\(\); got "):
        wrap(inside)


@every_wrap
def test_a_rule_that_searches_is_refused(wrap):
    with pytest.raises(ValueError, match=r"^\w+: expected a rule that takes one gradient a step; got Searching\(\)$"):
        wrap(Searching())
