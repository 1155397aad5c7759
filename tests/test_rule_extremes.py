"""Rules where float32 ends: decay and memory next to 1, squares that overflow, variances that cancel."""

import math

import numpy as np
import pytest

import minnet as mn
from minnet.averaging.base import mix
from minnet.kernels.chunks import SERIAL

SHAPES = {"W": (20, 30), "b": (40,)}
SIZE = 640
SQUARING = [
    *(mn.Adagrad(), mn.RMSprop(), mn.RMSpropMomentum(), mn.RMSpropCentred(), mn.RMSpropCentredMomentum()),
    *(mn.Adadelta(), mn.Adam(), mn.AMSGrad(), mn.NAdam(), mn.RAdam(), mn.ScheduleFreeAdamW(), mn.LAMB()),
    *(mn.Adafactor(), mn.Adafactor(eps=1e-7, eps_as_floor=True), mn.LookAhead(mn.Adam()), mn.Accumulate(mn.Adam(), 2)),
]
OTHERS = [
    *(mn.SGD(), mn.Momentum(), mn.Momentum(lr_in_velocity=False), mn.Nesterov(), mn.NesterovLookAhead()),
    *(mn.AdaMax(), mn.Lion(), mn.ScheduleFreeSGD(), mn.LARS(), mn.Muon(), mn.LookAhead(mn.SGD(), k=2)),
]


def made(rule, dtype, shapes=SHAPES, **options):
    """Optimizer, parameters and gradient of numbers that are the same in both precisions."""
    size = sum(math.prod(shape) for shape in shapes.values())
    params = np.linspace(1, 2, size, dtype=np.float32).astype(dtype)
    grads = np.zeros(size, dtype)
    return mn.Optimizer.over(params, grads, rule, shapes=shapes, **options), params, grads


# Decay and memory --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [rule for rule in [*SQUARING, *OTHERS] if type(rule) is not mn.LARS], ids=repr)
def test_decay_of_a_ten_millionth_a_step_is_not_rounded(rule):
    # 1 - 1e-7 is 0.99999988 in float32, which decays by a fifth more. Gradients keep p from settling between two steps.
    steps, lr, decay = 300, 1e-3, 1e-4
    slopes = np.random.default_rng(0).standard_normal((10, SIZE)).astype(np.float32)
    ends = {}
    for dtype, strength in ((np.float32, decay), (np.float64, decay), (np.float64, 0.0)):
        groups = [mn.Group(lambda tensor: True, weight_decay=strength)]
        optimizer, params, grads = made(rule, dtype, groups=groups)
        for step in range(steps):
            grads[:] = slopes[step % 10] * (1 if step // 10 % 2 else -1)  # there and back
            optimizer.step(lr)
        ends[dtype, strength] = params.astype(np.float64)
    exact, none = ends[np.float64, decay], ends[np.float64, 0.0]
    lost = (none - exact).mean()
    assert lost > 0.3 * 1e-7 * steps
    assert (ends[np.float32, decay] - exact).mean() == pytest.approx(0, abs=0.05 * lost)


MEMORY = [
    (mn.Momentum, "momentum", "velocity"),
    (mn.Nesterov, "momentum", "velocity"),
    (mn.NesterovLookAhead, "momentum", "velocity"),
    (mn.RMSprop, "rho", "squares"),
    (mn.RMSpropMomentum, "rho", "squares"),
    (mn.RMSpropMomentum, "momentum", "velocity"),
    (mn.RMSpropCentred, "rho", "mean"),
    (mn.RMSpropCentredMomentum, "momentum", "velocity"),
    (mn.Adadelta, "rho", "squares"),
    (mn.Adadelta, "rho", "updates"),
    (mn.Adam, "beta1", "mean"),
    (mn.Adam, "beta2", "squares"),
    (mn.AMSGrad, "beta2", "squares"),
    (mn.AdaMax, "beta1", "mean"),
    (mn.AdaMax, "beta2", "norm"),
    (mn.NAdam, "beta2", "squares"),
    (mn.RAdam, "beta2", "squares"),
    (mn.Lion, "beta2", "mean"),
    (mn.ScheduleFreeAdamW, "beta2", "squares"),
    (mn.LARS, "momentum", "velocity"),
    (mn.LAMB, "beta1", "mean"),
    (mn.LAMB, "beta2", "squares"),
    (mn.Muon, "momentum", "momentum"),
]


@pytest.mark.parametrize(("rule", "name", "slot"), MEMORY, ids=[f"{r.__name__}-{n}-{s}" for r, n, s in MEMORY])
def test_memory_of_a_hundred_thousand_steps_is_not_rounded(rule, name, slot):
    # float32 has 0.99998999 in place of 0.99999, which forgets a seven hundredth faster.
    beta, steps = 0.99999, 1000
    optimizer, _, _ = made(rule(**{name: beta}), np.float32, {"W": (32, 20)})
    start = np.linspace(1, 4, SIZE, dtype=np.float32)
    named = optimizer.named_state()
    named[slot][:] = start
    for _ in range(steps):
        optimizer.step(0.0)
    forgotten = -np.log(named[slot].astype(np.float64) / start).mean() / steps
    assert forgotten == pytest.approx(-math.log(beta), rel=4e-4)


def test_memory_of_nothing_forgets_all():
    for rule in (mn.Adam(beta1=0.0), mn.Momentum(momentum=0.0), mn.RMSprop(rho=0.0), mn.Muon(momentum=0.0)):
        optimizer, _, grads = made(rule, np.float32, {"W": (32, 20)})
        grads[:] = 1e6
        optimizer.step(1e-3)
        grads[:] = 1e-3
        optimizer.step(1e-3)
        kept = optimizer.state[0, 0]
        expected = {mn.Adam: 1e-3, mn.Momentum: -1e-6, mn.RMSprop: 1e-6, mn.Muon: 1e-3}[type(rule)]
        assert kept == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("share", [1e-5, 1e-6])
def test_an_average_takes_the_share_that_it_is_told(share):
    average, values = np.zeros(999, np.float32), np.linspace(1, 4, 999, dtype=np.float32)
    for _ in range(2000):
        mix(average, values, share)
    np.testing.assert_allclose((average / values).mean(), 1 - (1 - share) ** 2000, rtol=2e-4)
    forgetful = values.copy()
    for _ in range(2000):
        mix(forgetful, np.zeros_like(values), share)
    lost = -np.log((forgetful / values).astype(np.float64)).mean()
    assert lost == pytest.approx(-2000 * math.log1p(-share), rel=2e-3)


# Squares that overflow ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", SQUARING, ids=repr)
@pytest.mark.parametrize("spike", [1e25, -1e25, 1e20, math.inf, math.nan], ids=str)
def test_a_spike_is_an_error_at_its_step_and_changes_nothing(rule, spike):
    optimizer, params, grads = made(rule, np.float32)
    grads[:] = np.linspace(-1, 1, SIZE)
    for _ in range(2):
        optimizer.step(1e-3)
    before = params.copy(), optimizer.state.copy(), optimizer.numbers.copy()
    for place in (7, SIZE - 1):  # in the matrix, in the vector: the last tensor must not fail when the first has moved
        grads[place], kept = spike, grads[place]
        with pytest.raises(
            FloatingPointError, match=r"expected a gradient whose squares float32 can add up, of at most"
        ):
            optimizer.step(1e-3)
        grads[place] = kept
        assert optimizer.steps == 2
        for now, then in zip((params, optimizer.state, optimizer.numbers), before, strict=True):
            np.testing.assert_array_equal(now, then)
    for _ in range(2):
        optimizer.step(1e-3)
    assert np.abs(params - before[0]).max() > 0


@pytest.mark.parametrize("rule", [rule for rule in SQUARING if type(rule) is not mn.Adafactor], ids=repr)
def test_a_spike_in_a_large_tensor_is_an_error_and_leaves_no_infinity(rule):
    shapes = {"W": (SERIAL // 64 + 1, 64), "V": (130, 64)}
    optimizer, params, grads = made(rule, np.float32, shapes)
    grads[:] = 1
    grads[7] = 1e25
    for _ in range(isinstance(rule, mn.Accumulate)):
        optimizer.step(1e-3)  # which takes the second
    with pytest.raises(FloatingPointError, match="1 of "):
        optimizer.step(1e-3)
    assert np.isfinite(params).all()
    assert np.isfinite(optimizer.state).all()


def test_adafactor_puts_its_factors_back_in_a_large_tensor_too():
    for rule in (mn.Adafactor(), mn.Adafactor(eps=1e-7, eps_as_floor=True)):
        for shape in ((SERIAL // 64 + 1, 64), (SERIAL + 1,), (SERIAL + 1, 1), (3, 3, 1, SERIAL // 9 + 1)):
            optimizer, params, grads = made(rule, np.float32, {"W": shape})
            grads[:] = 1
            optimizer.step(1e-3)
            before = params.copy(), optimizer.state.copy()
            grads[99] = 1e25
            with pytest.raises(FloatingPointError, match="1 of "):
                optimizer.step(1e-3)
            np.testing.assert_array_equal(params, before[0])
            np.testing.assert_array_equal(optimizer.state, before[1])


def test_double_precision_bears_a_spike_of_its_own_size_only():
    optimizer, params, grads = made(mn.Adam(), np.float64)
    grads[:] = 1e25
    optimizer.step(1e-3)
    grads[3] = 1e200
    with pytest.raises(FloatingPointError, match="float64"):
        optimizer.step(1e-3)
    assert np.isfinite(params).all()


@pytest.mark.parametrize("rule", [mn.LARS(), mn.LARS(joint_norm=True), mn.Muon(), mn.Muon(nesterov=False)], ids=repr)
def test_a_rule_that_divides_by_a_norm_takes_a_spike_for_what_it_is(rule):
    ends = []
    for dtype in (np.float32, np.float64):
        optimizer, params, grads = made(rule, dtype, {"W": (20, 32)})
        grads[:] = np.sin(np.arange(SIZE))
        grads[:40] *= 1e25
        optimizer.step(0.01)
        ends.append(params.astype(np.float64))
    start = np.linspace(1, 2, SIZE)
    assert np.abs(ends[1] - start).max() > 1e-6
    np.testing.assert_allclose(ends[0] - start, ends[1] - start, atol=2e-6)


@pytest.mark.parametrize("rule", [mn.SGD(), mn.Adam(), mn.ClipTensorNorm(mn.Adam(), 1.0), mn.ClipNorm(mn.SGD(), 1.0)])
def test_clipping_takes_a_spike_whose_square_overflows(rule):
    clip = None if isinstance(rule, mn.ClipTensorNorm | mn.ClipNorm) else 1.0
    optimizer, params, grads = made(rule, np.float32, {"W": (SIZE,)}, clip_norm=clip)
    grads[:2] = 3e25, 4e25
    optimizer.step(0.1)
    np.testing.assert_allclose(grads[:3], [0.6, 0.8, 0], rtol=1e-6)
    assert np.isfinite(params).all()
    assert np.isfinite(optimizer.state).all()


def test_a_run_that_meets_a_spike_says_so_and_is_put_back():
    net = mn.Net([mn.Dense(2)], 3, mn.SoftmaxCrossEntropy(), seed=0)
    x, y = np.ones((4, 3), np.float32), np.arange(4) % 2

    class Spike(mn.Callback):
        def before_update(self, trainer, record):
            if record.step == 3:
                trainer.net.grads[1] = 1e25

    start = net.params.copy()
    with pytest.raises(mn.DivergenceError, match="expected a gradient whose squares float32 can add up"):
        mn.fit(net, (x, y), rule=mn.Adam(), lr=1e-3, batch_size=1, epochs=2, progress=False, callbacks=[Spike()])
    np.testing.assert_array_equal(net.params, start)


# A variance that cancels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [mn.RMSpropCentred, mn.RMSpropCentredMomentum])
@pytest.mark.parametrize("offset", [1.0, 1e3, -1e5])
def test_a_centred_variance_keeps_its_digits_far_from_zero(rule, offset):
    rho, noise = 0.9, np.random.default_rng(1).standard_normal((200, SIZE))
    optimizer, _, grads = made(rule(rho=rho), np.float32, {"W": (SIZE,)})
    slopes = (offset * (1 + 0.01 * noise)).astype(np.float32)
    squares = mean = 0.0
    for g in slopes:
        grads[:] = g
        optimizer.step(0.0)
        exact = g.astype(np.float64)
        squares, mean = rho * squares + (1 - rho) * exact**2, rho * mean + (1 - rho) * exact
    np.testing.assert_allclose(optimizer.named_state()["variance"], squares - mean**2, rtol=2e-5)


@pytest.mark.parametrize("rule", [mn.RMSpropCentred, mn.RMSpropCentredMomentum])
def test_the_variance_of_constant_gradients_goes_to_zero(rule):
    optimizer, params, grads = made(rule(rho=0.9), np.float32, {"W": (SIZE,)})
    grads[:] = np.linspace(0.1, 3, SIZE)
    for _ in range(1000):
        optimizer.step(1e-12)
    variance = optimizer.named_state()["variance"]
    assert variance.min() >= 0
    assert (variance / grads**2).max() < 1e-12  # some units in the last place, squared
    assert np.isfinite(params).all()
