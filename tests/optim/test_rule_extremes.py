"""Rules where float32 ends: decay and memory next to 1, squares that overflow, variances that cancel."""

import math

import numpy as np
import pytest

import minnet as mn
from minnet.averaging.base import mix
from minnet.kernels.chunks import SERIAL

SHAPES = {"W": (20, 30), "b": (40,)}
SIZE = 640
RULES = [
    *(mn.SGD(), mn.Momentum(), mn.Momentum(lr_in_velocity=False), mn.Nesterov(), mn.NesterovLookAhead()),
    *(mn.Adagrad(), mn.RMSprop(), mn.RMSpropMomentum(), mn.RMSpropCentred(), mn.RMSpropCentredMomentum()),
    *(mn.Adadelta(), mn.Adam(), mn.AMSGrad(), mn.NAdam(), mn.RAdam(), mn.ScheduleFreeAdamW(), mn.LAMB()),
    *(mn.Adafactor(), mn.Adafactor(eps=1e-7, eps_as_floor=True), mn.LookAhead(mn.Adam()), mn.Accumulate(mn.Adam(), 2)),
    *(mn.AdaMax(), mn.Lion(), mn.ScheduleFreeSGD(), mn.LARS(), mn.LARS(joint_norm=True), mn.Muon()),
    *(mn.Muon(nesterov=False), mn.LookAhead(mn.SGD(), k=2)),
]
# Rules that keep no squares only notice a spike in a large tensor; all others leave it out.
ONLY_NOTICE = mn.SGD | mn.Momentum | mn.Nesterov | mn.NesterovLookAhead | mn.LookAhead
every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)


def made(rule, dtype, shapes=SHAPES, **options):
    """Optimizer, parameters and gradient of numbers that are the same in both precisions."""
    size = sum(math.prod(shape) for shape in shapes.values())
    params = np.linspace(1, 2, size, dtype=np.float32).astype(dtype)
    grads = np.zeros(size, dtype)
    return mn.Optimizer.over(params, grads, rule, shapes=shapes, **options), params, grads


# Decay and memory --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [rule for rule in RULES if type(rule) is not mn.LARS], ids=repr)
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


NO_MEMORY = [
    *(mn.Momentum(momentum=0.0), mn.Nesterov(momentum=0.0), mn.NesterovLookAhead(momentum=0.0)),
    *(mn.RMSprop(rho=0.0), mn.RMSpropMomentum(rho=0.0, momentum=0.0), mn.RMSpropCentred(rho=0.0)),
    *(mn.RMSpropCentredMomentum(rho=0.0, momentum=0.0), mn.Adadelta(rho=0.0), mn.Adam(beta1=0.0), mn.Adam(beta2=0.0)),
    *(mn.AMSGrad(beta1=0.0), mn.AdaMax(beta1=0.0), mn.NAdam(beta1=0.0), mn.Lion(beta1=0.0, beta2=0.0)),
    *(mn.LARS(momentum=0.0), mn.LAMB(beta1=0.0, beta2=0.0), mn.Muon(momentum=0.0), mn.LookAhead(mn.SGD(), 1, 1.0)),
    mn.ScheduleFreeAdamW(beta2=0.0),
]


@pytest.mark.parametrize("rule", NO_MEMORY, ids=repr)
def test_memory_of_nothing_forgets_all(rule):
    # The mean of a large number, of which nothing is kept, and of a small one is the small one.
    states = []
    for dtype in (np.float32, np.float64):
        optimizer, _, grads = made(rule, dtype, {"W": (32, 20)})
        for slope in (1e6, 1e-3):
            grads[:] = slope
            optimizer.step(1e-3)
        states.append(optimizer.state.astype(np.float64))
    np.testing.assert_allclose(*states, rtol=1e-5)


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


# Spikes ------------------------------------------------------------------------------------------------------


def test_every_rule_meets_spikes():
    own = {value for value in vars(mn.rules).values() if isinstance(value, type) and issubclass(value, mn.Rule)}
    around = {rule for rule in own if "rule" in getattr(rule, "__dataclass_fields__", {})}
    assert own - around - {mn.Rule, mn.LBFGS} == {type(rule) for rule in RULES} - around


SPIKES = [
    *((np.float32, size) for size in (1e19, -1e25, 1e25, 1e38, math.inf, math.nan)),
    *((np.float64, size) for size in (1e200, -1e300)),
]


@every_rule
@pytest.mark.parametrize(("dtype", "spike"), SPIKES, ids=[f"{spike}-{dtype.__name__}" for dtype, spike in SPIKES])
def test_a_spike_is_an_error_at_its_step_and_changes_nothing(rule, dtype, spike):
    optimizer, params, grads = made(rule, dtype)
    grads[:] = np.linspace(-1, 1, SIZE)
    for _ in range(2):
        optimizer.step(1e-3)
    before = params.copy(), optimizer.state.copy(), optimizer.numbers.copy()
    # In the matrix, in the vector: the last tensor must not fail when the first has moved.
    for place, name in ((7, "W"), (SIZE - 1, "b")):
        grads[place], kept = spike, grads[place]
        said = rf"expected a gradient whose squares {dtype.__name__} can add up, of at most .* in {name}, .*clip_norm"
        with pytest.raises(FloatingPointError, match=said):
            optimizer.step(1e-3)
        grads[place] = kept
        assert optimizer.steps == 2
        for now, then in zip((params, optimizer.state, optimizer.numbers), before, strict=True):
            np.testing.assert_array_equal(now, then)
    for _ in range(2):
        optimizer.step(1e-3)
    assert np.abs(params - before[0]).max() > 0


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if type(rule) not in (mn.Adafactor, mn.Muon) or rule == mn.Muon()], ids=repr
)
def test_a_spike_in_a_large_tensor_is_an_error_and_leaves_no_trace(rule):
    shapes = {"W": (SERIAL // 64 + 1, 64), "V": (130, 64)}
    optimizer, params, grads = made(rule, np.float32, shapes)
    grads[:] = 1
    grads[7] = 1e25
    for _ in range(isinstance(rule, mn.Accumulate)):
        optimizer.step(1e-3)  # which takes the second
    with pytest.raises(FloatingPointError, match="in W, with 1 of "):
        optimizer.step(1e-3)
    others = np.arange(params.size) != 7 if isinstance(rule, ONLY_NOTICE) else slice(None)
    params, state = params[others], optimizer.state[:, others]
    assert np.isfinite(params).all()
    assert np.isfinite(state).all()
    if not isinstance(rule, mn.Accumulate):  # whose sum begins anew with the next micro-batch
        assert np.abs(params).max() < 100
        assert np.abs(state).max(initial=0) < 100


@pytest.mark.parametrize("rule", [mn.SGD(), mn.Momentum(lr_in_velocity=False), mn.Nesterov(), mn.NesterovLookAhead()])
@pytest.mark.parametrize("spike", [1e17, -1e25, math.inf, math.nan])
@pytest.mark.parametrize("place", [0, SERIAL - 1, SERIAL + 99])
def test_linear_rules_notice_a_spike_in_any_chunk_of_a_large_tensor(rule, spike, place):
    for size in (SERIAL // 2, SERIAL + 100):
        optimizer, params, grads = made(rule, np.float32, {"W": (size,)})
        grads[:] = 1e12  # whose squares add up to more than one may be
        optimizer.step(1e-3)
        assert np.abs(params).max() < 1e10
        grads[min(place, size - 1)] = spike
        with pytest.raises(FloatingPointError, match="in W, with 1 of "):
            optimizer.step(1e-3)
        assert optimizer.steps == 1


@pytest.mark.parametrize("rule", [mn.SGD(), mn.Momentum(), mn.Nesterov(), mn.NesterovLookAhead()])
def test_a_run_of_a_linear_rule_is_put_back_when_a_large_tensor_meets_a_spike(rule):
    net = mn.Net([mn.Dense(100)], 100, mn.SoftmaxCrossEntropy(), seed=0)
    x, y = np.ones((4, 100), np.float32), np.arange(4)

    class Spike(mn.Callback):
        def before_update(self, trainer, record):
            if record.step == 7:
                trainer.net.grads[5000] = 1e25

    trainer = mn.Trainer(net, (x, y), rule=rule, lr=1e-3, batch_size=1, epochs=2, callbacks=[Spike()])
    seen = []

    def run():
        for _ in trainer:
            seen.append((net.params.copy(), trainer.optimizer.state.copy()))

    with pytest.raises(mn.DivergenceError, match=r"in 0\.W, with 1 of "):
        run()
    np.testing.assert_array_equal(net.params, seen[3][0])  # after the first epoch
    np.testing.assert_array_equal(trainer.optimizer.state, seen[3][1])


def test_adafactor_keeps_its_factors_in_a_large_tensor_too():
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


@every_rule
@pytest.mark.parametrize(("dtype", "spike"), [(np.float32, 1e16), (np.float64, 1e25), (np.float64, 1e150)])
def test_a_spike_whose_squares_fit_is_taken_and_leaves_finite_numbers(rule, dtype, spike):
    optimizer, params, grads = made(rule, dtype)
    grads[3] = spike
    for _ in range(3):
        optimizer.step(1e-3)
        grads[:] = 1
    assert np.isfinite(params).all()
    assert np.isfinite(optimizer.state).all()


def test_adam_takes_a_spike_whose_squares_fit_as_published():
    optimizer, params, grads = made(mn.Adam(), np.float32, {"W": (SIZE,)})
    start, m, v, p = params.copy(), 0.0, 0.0, float(params[0])
    for t in range(1, 2001):
        g = 1e15 if t == 1 else 1.0
        grads[:] = 1
        grads[0] = g
        optimizer.step(1e-3)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p -= 1e-3 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert params[0] == pytest.approx(p, rel=1e-6)
    last = params[0]
    optimizer.step(1e-3)
    assert params[0] == last  # it stands still, as any other parameter does not
    assert (start - params)[1:].min() > 1


@pytest.mark.parametrize("rule", [mn.LARS(), mn.LARS(joint_norm=True), mn.Muon(), mn.Muon(nesterov=False)], ids=repr)
def test_a_rule_that_divides_by_a_norm_takes_large_gradients_for_what_they_are(rule):
    ends = []
    for dtype in (np.float32, np.float64):
        optimizer, params, grads = made(rule, dtype, {"W": (20, 32)})
        grads[:] = np.sin(np.arange(SIZE))
        grads[:40] *= 1e16
        optimizer.step(0.01)
        ends.append(params.astype(np.float64))
    start = np.linspace(1, 2, SIZE)
    assert np.abs(ends[1] - start).max() > 1e-6
    np.testing.assert_allclose(ends[0] - start, ends[1] - start, atol=2e-6)


def test_a_path_on_a_landscape_ends_where_a_rule_refuses_its_gradient():
    for rule in (mn.SGD(), mn.Adam()):
        path = mn.landscapes.descend(mn.landscapes.Rosenbrock(), rule, (1e60, 1.0), lr=1e-3, steps=5)
        assert np.isfinite(path[0]).all()
        assert np.isnan(path[1:]).all()


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
