"""The range test: what it reads from curves with known answers, what it measures, and that it leaves no trace."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest

import minnet as mn
from minnet.diagnostics.range_test import RangeTest, moving_average

N, BATCH = 22, 8


def make_data(seed=0, shape=(4,)):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, *shape)).astype(np.float32)
    first = x.reshape(N, -1)
    return x, (first[:, 0] > 0).astype(int) + (first[:, 1] > 0.5)


def make_net(seed=1, dtype=np.float32):
    """A small net that has everything that moves: weights, running statistics, noise."""
    layers = [mn.Dense(6), mn.BatchNorm(), mn.ReLU(), mn.Dropout(0.2), mn.Dense(3)]
    return mn.Net(layers, 4, mn.SoftmaxCrossEntropy(), l2=1e-3, seed=seed, dtype=dtype)


def find(net=None, data=None, **arguments):
    defaults = {"steps": 40, "batch_size": BATCH, "progress": False}
    net, data = make_net() if net is None else net, make_data() if data is None else data
    return mn.lr_range_test(net, data, **defaults | arguments)


# Curves with known answers ------------------------------------------------------------------------------------

FLAT, BOTTOM, UP = 1e-3, 1e-1, 1.0


def curve(noise=0.0, seeds=1, steps=200, smooth=0.9, rng=None, stopped=None, fall=2.0):
    """A loss of 2.3 up to a rate of 1e-3, falling by 2 along a line in log rate up to 0.1, and rising from 1 on."""
    rates = np.geomspace(1e-6, 10, steps)
    x = np.log10(rates)
    losses = 2.3 - fall * np.clip((x + 3) / 2, 0, 1) + 3 * np.clip(x, 0, None)
    readings = np.tile(losses, (seeds, 1))
    if noise:
        readings += noise * rng.standard_normal(readings.shape)
    return RangeTest(rates, readings, "loss", np.arange(steps), readings, stopped or (None,) * seeds, smooth)


def near(rate, expected, factor):
    return expected / factor < rate < expected * factor


def test_the_regimes_of_a_curve_without_noise_are_where_a_tenth_of_its_fall_puts_them():
    result = curve(smooth=0.0)
    step = (result.rates[1] / result.rates[0]) * (1 + 1e-9)
    # A tenth of the fall is a tenth of two decades; risen by a tenth of it: 0.2 / 3 of a decade.
    start, slow, rise = FLAT * 10**0.2, BOTTOM / 10**0.2, UP * 10 ** (0.2 / 3)
    assert list(result.regimes) == ["flat", "falling", "diverging"]
    assert near(result.regimes["falling"][0], start, step)
    assert near(result.regimes["falling"][1], rise, step)
    assert near(result.base, start, step)
    assert near(result.max, slow, step)
    assert result.base < result.steepest < result.max
    edges = [edge for regime in result.regimes.values() for edge in regime]
    assert edges[0] == result.rates[0]
    assert edges[-1] == result.rates[-1]
    assert edges[1::2][:-1] == edges[2::2]  # no gap


@pytest.mark.parametrize("smooth", [0.7, 0.9])
def test_smoothing_shifts_no_suggestion(smooth):
    """An average over earlier steps, put at the last of their rates, would be 9 steps late: a factor of 2."""
    plain, smoothed = curve(smooth=0.0), curve(smooth=smooth)
    assert near(smoothed.base, plain.base, 1.3)
    assert near(smoothed.max, plain.max, 1.3)
    assert near(smoothed.steepest, math.sqrt(FLAT * BOTTOM), math.sqrt(BOTTOM / FLAT))


@pytest.mark.parametrize(("noise", "seeds", "factor"), [(0.05, 1, 1.5), (0.3, 1, 3), (0.3, 5, 2), (0.5, 5, 2.5)])
def test_regimes_hold_up_on_noisy_curves(noise, seeds, factor):
    rng = np.random.default_rng(0)
    clean = curve()
    results = [curve(noise, seeds, rng=rng) for _ in range(50)]
    for result in results:
        assert near(result.regimes["falling"][0], clean.base, factor)
        assert near(result.regimes["diverging"][0], clean.regimes["diverging"][0], factor)
        assert near(result.max, clean.max, factor)
        assert FLAT < result.steepest < BOTTOM


@pytest.mark.parametrize(("steps", "smooth"), [(50, 0.5), (200, 0.0), (200, 0.9), (1000, 0.9)])
def test_noise_alone_is_flat(steps, smooth):
    rng = np.random.default_rng(1)
    rates = np.geomspace(1e-6, 1, steps)
    suggested, rising = 0, 0
    for _ in range(100):
        losses = 2.3 + 0.3 * rng.standard_normal((1, steps))
        result = RangeTest(rates, losses, "loss", np.arange(steps), losses, (None,), smooth)
        suggested += result.suggestion is not None
        rising += "diverging" in result.regimes
        if not suggested:
            assert result.base is result.max is result.valley is None
            assert "no suggestion" in str(result)
    assert suggested <= 1
    assert rising <= 2


def test_a_curve_that_only_rises_has_no_falling_regime():
    rates = np.geomspace(1e-6, 1, 100)
    losses = (2 + np.clip(np.log10(rates) + 3, 0, None))[None]
    result = RangeTest(rates, losses, "loss", np.arange(100), losses, (None,))
    assert list(result.regimes) == ["flat", "diverging"]
    assert near(result.regimes["diverging"][0], 10**-2.8, 1.2)  # a tenth above its beginning


def test_a_fall_that_is_ragged_on_its_way_ends_the_cycle_there():
    """Accuracy climbs from 1e-3 on, drops at 1e-2 for a while, and climbs on: Smith's upper bound is 1e-2."""
    rates = np.geomspace(1e-5, 1, 251)
    x = np.log10(rates)
    accuracy = 0.1 + 0.8 * np.clip((x + 3) / 3, 0, 1)
    accuracy[(x > -2 + 1e-9) & (x < -1.9)] -= 0.15
    result = RangeTest(rates, np.full((1, 251), 1.0), "accuracy", np.arange(251), accuracy[None], (None,))
    assert near(result.max, 1e-2, 1.05)
    assert near(result.base, 10**-2.7, 1.05)


def test_the_steepest_slope_is_on_a_logarithmic_axis():
    """A logistic in log rate, centred at 0.3. Against the rate itself it is steepest at 0.3 / sqrt(3)."""
    for rates in (np.geomspace(1e-5, 10, 300), np.linspace(1e-3, 1, 300)):
        losses = (2 / (1 + (rates / 0.3) ** 2))[None]
        result = RangeTest(rates, losses, "loss", np.arange(300), losses, (None,))
        assert near(result.steepest, 0.3, 1.1)
        assert result.suggestion == result.steepest


def naive_valley(losses):
    """fastai's definition by the quadratic recursion over all pairs."""
    length = [1] * len(losses)
    for i in range(len(losses)):
        for j in range(i):
            if losses[i] < losses[j]:
                length[i] = max(length[i], length[j] + 1)
    longest = max(length)
    end = length.index(longest)
    return max(end - longest + longest // 3 + longest // 6, 0)


@pytest.mark.parametrize("seed", range(5))
def test_the_valley_is_the_middle_of_the_longest_decreasing_subsequence(seed):
    rng = np.random.default_rng(seed)
    result = curve(0.3, smooth=0.0, rng=rng, steps=150)
    assert result.valley == pytest.approx(result.rates[naive_valley(result.losses[0])])
    smoothed = curve(0.3, smooth=0.9, rng=rng)
    middle = naive_valley(moving_average(smoothed.losses[0], 0.9))
    assert smoothed.valley == pytest.approx(smoothed.curve_rates[middle])


def test_accuracy_is_read_as_its_complement():
    loss = curve(0.05, 3, rng=np.random.default_rng(0))
    share = 1 - loss.losses / 10
    mirrored = RangeTest(loss.rates, loss.losses, "accuracy", loss.at, share, loss.stopped, loss.smooth)
    scaled = RangeTest(loss.rates, loss.losses, "loss", loss.at, loss.losses / 10, loss.stopped, loss.smooth)
    for name in ("steepest", "valley", "base", "max"):
        assert getattr(mirrored, name) == pytest.approx(getattr(scaled, name))
    np.testing.assert_allclose(mirrored.median, 1 - scaled.median)
    np.testing.assert_allclose(mirrored.band(0.25), 1 - scaled.band(0.75))
    assert "rising" in str(mirrored)


def test_the_band_is_that_of_quartiles_and_counts_a_stopped_seed_as_worst():
    rng = np.random.default_rng(0)
    stopped = (None, None, None, 150, 100)
    result = curve(0.1, 5, smooth=0.0, rng=rng, stopped=stopped)
    for at, infinite in ((50, 0), (120, 1), (180, 2)):
        values = np.sort(result.losses[:, at])
        if infinite:
            values = np.sort([v for v, s in zip(result.losses[:, at], stopped, strict=True) if s is None or s > at])
            values = np.concatenate([values, [np.nan] * infinite])
        np.testing.assert_array_equal([result.band(q)[at] for q in (0.25, 0.5, 0.75)], values[1:4])
    even = curve(0.1, 4, rng=rng)
    for q in (0.25, 0.5, 0.75):
        np.testing.assert_allclose(even.band(q), np.quantile(moving_average(even.losses, 0.9), q, axis=0))
    half = curve(0.1, 3, smooth=0.0, rng=rng, stopped=(120, 150, None))
    assert np.isfinite(half.median[:150]).all()
    assert np.isnan(half.median[150:]).all()
    assert half.regimes["diverging"][0] <= half.rates[150]
    assert half.regimes["diverging"][1] == half.rates[-1]  # one seed went all the way


def test_the_moving_average_is_that_of_its_weights():
    values = np.random.default_rng(0).standard_normal((2, 30))
    for weight in (0.0, 0.5, 0.98):
        averages = moving_average(values, weight)
        for t in range(30):
            weights = weight ** np.arange(t, -1.0, -1.0)
            np.testing.assert_allclose(averages[:, t], values[:, : t + 1] @ weights / weights.sum(), rtol=1e-12)


def test_words_of_caution():
    def notes(result):
        return " ".join(result.notes)

    whole = curve()
    assert "begins lower" not in notes(whole)
    assert "ends higher" not in notes(whole)
    part = slice(90, 150)  # from the middle of the fall to the bottom
    cut = RangeTest(whole.rates[part], whole.losses[:, part], "loss", np.arange(60), whole.losses[:, part], (None,))
    assert "begins lower" in notes(cut)
    assert "ends higher" in notes(cut)
    rng = np.random.default_rng(0)
    # Two seeds that fall fastest a hundredfold apart.
    rates = np.geomspace(1e-6, 1, 200)
    logs = np.log10(rates)
    losses = np.stack([2 / (1 + np.exp(8 * (logs + centre))) for centre in (4, 2)])
    losses += 1e-3 * rng.standard_normal(losses.shape)
    apart = RangeTest(rates, losses, "loss", np.arange(200), losses, (None, None))
    assert "seeds disagree" in notes(apart)
    assert near(apart.by_seed[0], 1e-4, 1.5)
    assert near(apart.by_seed[1], 1e-2, 1.5)
    # A long gentle slope with a cliff at its end: the longest valley is the slope, the steepest place the cliff.
    cliff = (2 - 0.05 * logs - np.clip(logs + 0.5, 0, 0.2) * 5)[None]
    far = RangeTest(rates, cliff, "loss", np.arange(200), cliff, (None,))
    assert far.steepest > 3 * far.valley
    assert f"steepest {far.steepest:.2g} and valley {far.valley:.2g} lie more than a factor of 3 apart" in notes(far)


# What is measured -------------------------------------------------------------------------------------------------


def test_a_quadratic_diverges_at_two_over_its_largest_curvature():
    """Full batches of one linear unit: w moves by 1 - rate * L, so the loss is lowest where rate passes 2 / L."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, 1))
    y = np.zeros((N, 1))
    net = mn.Net([mn.Dense(1, bias=False)], 1, mn.SquaredError(), dtype=np.float64)
    net.params = np.ones(1)
    at = [net.loss(x, y)]
    for w in (0.0, -1.0):
        net.params = np.full(1, w)
        at.append(net.loss(x, y))
    net.params = np.ones(1)
    largest = at[0] - 2 * at[1] + at[2]  # the second difference of a quadratic is its curvature
    assert at[1] == 0
    result = find(net, (x, y), low=1e-3, high=100, steps=300, batch_size=N, smooth=0.0)
    ratio = result.rates[1] / result.rates[0]
    lowest = int(np.nanargmin(result.losses[0]))
    # The first step whose rate is above 2 / L raises the loss.
    assert result.rates[lowest - 1] <= 2 / largest < result.rates[lowest] * (1 + 1e-12)
    # Every loss is the product of the factors before it.
    factors = (1 - largest * result.rates[: lowest + 3]) ** 2
    np.testing.assert_allclose(result.losses[0, 1 : lowest + 3], at[0] * np.cumprod(factors)[: lowest + 2], rtol=1e-6)
    # And it stops as soon as it is 4 times its lowest.
    growth = np.cumprod((1 - largest * result.rates[lowest:]) ** 2)
    assert result.stopped == (lowest + 1 + int(np.argmax(growth > 4)),)
    assert near(result.regimes["diverging"][0], 2 / largest, ratio**8)


@pytest.mark.parametrize("spacing", ["exponential", "linear"])
@pytest.mark.parametrize("rule", [mn.SGD(), mn.Adam()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_seed_is_a_hand_written_loop_bit_for_bit(rule, spacing, dtype):
    data = make_data()
    result = find(make_net(seed=5, dtype=dtype), data, rule=rule, spacing=spacing, seed=5, high=0.5, steps=20)
    net = make_net(seed=5, dtype=dtype)
    opt, batches = mn.Optimizer(net, rule), mn.data.Batches(data, BATCH, seed=5, dtype=dtype)
    rates = np.geomspace(1e-6, 0.5, 20) if spacing == "exponential" else np.linspace(1e-6, 0.5, 20)
    losses = []
    for rate in rates:
        losses.append(net.loss_and_grads(*batches.next()))
        opt.step(lr=float(rate))
    assert result.rates.tolist() == rates.tolist()
    assert result.losses.tolist() == [losses]
    assert result.readings.tolist() == [losses]


def test_validation_and_accuracy_are_those_of_the_same_loop():
    data, validation = make_data(), make_data(1)
    arguments = {"rule": mn.Adam(), "high": 0.1, "seed": 1, "steps": 40}
    validated = {
        name: find(data=data, monitor=f"val_{name}", validation=validation, every=3, **arguments)
        for name in ("loss", "accuracy")
    }
    shares = find(data=data, monitor="accuracy", **arguments)
    net = make_net()
    opt, batches = mn.Optimizer(net, mn.Adam()), mn.data.Batches(data, BATCH, seed=1)
    measured, right = [], []
    for step, rate in enumerate(shares.rates):
        x, y = batches.next()
        net.loss_and_grads(x, y)
        right.append(net.correct(y) / len(y))
        opt.step(lr=float(rate))
        if step % 3 == 2:
            measured.append(net.evaluate(*validation))
    assert shares.readings.tolist() == [right]
    for name, result in validated.items():
        assert result.readings.tolist() == [[row[name] for row in measured]]
        assert result.at.tolist() == list(range(2, 40, 3))
        assert result.curve_rates == pytest.approx(result.rates[2::3])


@pytest.mark.parametrize("rule", [mn.ScheduleFreeSGD(), mn.LookAhead(mn.SGD(), k=4)])
def test_validation_is_read_at_the_point_that_the_rule_hands_out(rule):
    data, validation = make_data(), make_data(1)
    arguments = {"rule": rule, "low": 1e-2, "high": 0.5, "seed": 1, "steps": 30, "every": 3}
    result = find(data=data, monitor="val_loss", validation=validation, **arguments)
    net = make_net()
    opt, batches = mn.Optimizer(net, rule), mn.data.Batches(data, BATCH, seed=1)
    handed_out, trained = [], []
    for step, rate in enumerate(result.rates):
        net.loss_and_grads(*batches.next())
        opt.step(lr=float(rate))
        if step % 3 == 2:
            trained.append(net.evaluate(*validation)["loss"])
            with opt.evaluating():
                handed_out.append(net.evaluate(*validation)["loss"])
    assert result.readings.tolist() == [handed_out]
    assert handed_out[-1] != trained[-1]


def test_groups_are_those_of_the_trainer():
    frozen = mn.Group(lambda tensor: tensor.name.startswith("0."), frozen=True)
    faster = mn.Group(lambda tensor: tensor.name == "4.W", lr_factor=10.0)
    data = make_data()
    result = find(data=data, groups=iter([frozen, faster]), seeds=2, seed=1, high=0.1)
    net = make_net()
    opt, batches = mn.Optimizer(net, mn.SGD(), groups=[frozen, faster]), mn.data.Batches(data, BATCH, seed=1)
    losses = []
    for rate in result.rates:
        losses.append(net.loss_and_grads(*batches.next()))
        opt.step(lr=float(rate))
    assert result.losses[0].tolist() == losses
    assert result.losses[0].tolist() != find(data=data, seed=1, high=0.1).losses[0].tolist()
    with pytest.raises(TypeError, match="groups"):
        find(groups=3)


def test_each_of_several_seeds_is_that_seed_alone():
    together = find(seeds=3, seed=4)
    alone = [find(seed=seed) for seed in (4, 5, 6)]
    assert together.losses.tolist() == [result.losses[0].tolist() for result in alone]
    assert len({row.tobytes() for row in together.losses}) == 3


@pytest.mark.parametrize("layer", [mn.Dropout(0.5), None])
def test_seeds_differ_in_noise_and_in_order(layer):
    """With one full batch a step the order is rounding only, so what differs by much is the dropout."""
    layers = [mn.Dense(6), mn.ReLU(), *([layer] if layer else []), mn.Dense(3)]
    net = mn.Net(layers, 4, mn.SoftmaxCrossEntropy(), seed=1)
    whole = find(net, seeds=2, batch_size=N, high=0.1)
    assert (abs(whole.losses[0] - whole.losses[1]).max() > 1e-3) == (layer is not None)
    parts = find(net, seeds=2, high=0.1)
    assert abs(parts.losses[0] - parts.losses[1]).max() > 1e-3


def test_the_test_begins_at_the_present_weights_and_step():
    net = make_net()
    mn.fit(net, make_data(), rule=mn.SGD(), lr=0.1, batch_size=BATCH, steps=7, progress=False)
    twin = net.twin(seed=3)
    assert twin.step == 7
    batches = mn.data.Batches(make_data(), BATCH, seed=3)
    assert find(net, seed=3).losses[0, 0] == twin.loss_and_grads(*batches.next())


@pytest.mark.parametrize("smooth", [0.0, 0.9])
def test_a_seed_stops_where_its_smoothed_loss_is_four_times_the_lowest(smooth):
    data = make_data()
    free = find(data=data, high=1e4, steps=120, smooth=smooth, stop=math.inf)
    (end,) = free.stopped
    finite = free.losses[0, : len(free.losses[0]) if end is None else end]
    averages = moving_average(finite, smooth)
    expected = next(i for i in range(len(finite)) if averages[i] > 4 * averages[: i + 1].min())
    result = find(data=data, high=1e4, steps=120, smooth=smooth)
    assert result.stopped == (expected,)
    assert np.isfinite(result.losses[0, : expected + 1]).all()
    assert np.isnan(result.losses[0, expected + 1 :]).all()
    assert f"{result.rates[expected]:.2g} (step {expected + 1})" in str(result)


def test_a_loss_that_is_not_finite_stops_a_seed_and_not_the_test():
    result = find(rule=mn.SGD(), high=1e30, steps=60, seeds=2, stop=math.inf)
    assert all(stop is not None for stop in result.stopped)
    for losses, stop in zip(result.losses, result.stopped, strict=True):
        assert np.isfinite(losses[:stop]).all()
        assert not np.isfinite(losses[stop])
    assert "diverging" in result.regimes


def test_a_gradient_that_cannot_be_clipped_stops_a_seed():
    # The penalty is no longer finite in float32 long before the loss is.
    assert find(high=1e30, steps=60, stop=math.inf, clip_norm=1e6).stopped[0] is not None


# No trace -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failing(mn.Rule):
    """SGD that raises at its fifth step."""

    error: type[BaseException] = RuntimeError

    def apply(self, params, grads, state, *, lr, t, decay):
        if t == 5:
            raise self.error("as asked")
        params -= params.dtype.type(lr) * grads


class Probe(mn.Callback):
    """Makes a range test after one step of a run."""

    def __init__(self, step, probe):
        self.step, self.probe = step, probe

    def on_step(self, trainer, record):
        if record.step == self.step:
            self.probe(trainer)


def goes_well(trainer):
    find(trainer.net, DATA, rule=mn.Adam(), steps=30, seeds=2, batch_size=5)
    # Batches larger than those of the run, which would need more memory in the net.
    find(trainer.net, DATA, monitor="val_loss", every=2, validation=trainer.validation, batch_size=50)


DATA = make_data()
IMAGES = make_data(shape=(6, 6, 2))


def fails(error):
    def probe(trainer):
        with pytest.raises(error, match="as asked"):
            mn.lr_range_test(trainer.net, DATA, rule=Failing(error), steps=30, batch_size=5, progress=False)

    return probe


def diverges(trainer):
    result = mn.lr_range_test(trainer.net, DATA, high=1e30, steps=60, progress=False)
    assert result.stopped[0] is not None


def refuses(trainer):
    with pytest.raises(ValueError, match="low < high"):
        mn.lr_range_test(trainer.net, DATA, low=1, high=1e-3)


def run_with(probe=None, step=7, **arguments):
    """All bits of a run of 20 steps in epochs of 3, with a probe after one of them."""
    net = make_net()
    trainer = mn.Trainer(
        net,
        DATA,
        rule=mn.Adam(),
        lr=0.01,
        batch_size=BATCH,
        steps=20,
        seed=2,
        validation=make_data(1),
        callbacks=[Probe(step, probe)] if probe else [],
        **arguments,
    )
    for _ in trainer:
        pass
    return bits(trainer)


def bits(trainer):
    net, optimizer, batches = trainer.net, trainer.optimizer, trainer.batches
    return {
        "params": net.params.tobytes(),
        "grads": net.grads.tobytes(),
        "buffers": net.buffers.tobytes(),
        "rule state": optimizer.state.tobytes(),
        "steps": (net.step, optimizer.steps, trainer.step),
        "place in the data": (batches.epoch_index, batches.position),
        "objective": repr(net.objective),
        "steps' rows": repr(trainer.history.steps.rows),
        "epochs' rows": repr(trainer.history.epochs.rows),
    }


PROBES = {
    "well": goes_well,
    "error": fails(RuntimeError),
    "Ctrl-C": fails(KeyboardInterrupt),
    "divergence": diverges,
    "bad input": refuses,
}


@pytest.mark.parametrize("step", [7, 9])  # within an epoch, and at its end
@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_a_run_with_a_range_test_in_its_middle_is_that_without_to_the_last_bit(probe, step):
    assert run_with(probe, step) == run_with()


def test_a_trace_would_be_seen():
    def tread(trainer):
        trainer.net.step += 1

    assert run_with(tread) != run_with()


def test_a_range_test_before_a_run_with_augmentation_leaves_no_trace():
    augment = mn.data.Augment(flip=True, crop=1)
    standardize = mn.data.Standardizer.fit(IMAGES[0])
    results = []
    for probe in (False, True):
        layers = [mn.Conv2D(3, 3), mn.BatchNorm(), mn.ReLU(), mn.Dropout(0.2), mn.Flatten(), mn.Dense(3)]
        net = mn.Net(layers, (6, 6, 2), mn.SoftmaxCrossEntropy(), seed=1)
        options = {"rule": mn.Momentum(), "batch_size": BATCH, "augment": augment, "standardize": standardize}
        trainer = mn.Trainer(net, IMAGES, lr=0.01, steps=12, seed=2, **options)
        for record in trainer:
            if probe and record.step in (1, 6):
                before = np.random.get_state()[1].tobytes()  # noqa: NPY002
                mn.lr_range_test(net, IMAGES, steps=12, seed=2, progress=False, **options)
                assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002
        results.append(bits(trainer))
    assert results[0] == results[1]


def test_what_the_last_pass_left_stays_readable():
    net = make_net()
    scores = net.forward(DATA[0])
    before, seen = scores.copy(), {name: values.copy() for name, values in net.activations().items()}
    find(net)
    assert scores.tobytes() == before.tobytes()
    assert all(values.tobytes() == seen[name].tobytes() for name, values in net.activations().items())


# Bad input ------------------------------------------------------------------------------------------------------------

BAD = {
    "low above high": ({"low": 1.0, "high": 0.1}, ValueError, "expected low < high; got low=1.0, high=0.1"),
    "low equals high": ({"low": 1.0, "high": 1.0}, ValueError, "expected low < high"),
    "low of 0": ({"low": 0.0}, ValueError, "expected low above 0; got 0.0"),
    "high not finite": ({"high": math.inf}, ValueError, "expected high to be finite; got inf"),
    "high no number": ({"high": "1"}, TypeError, "expected high to be a number; got '1'"),
    "too few steps": ({"steps": 9}, ValueError, "expected steps of at least 10; got 9"),
    "steps no whole number": ({"steps": 20.0}, TypeError, "expected steps to be a whole number; got 20.0"),
    "another spacing": ({"spacing": "log"}, ValueError, "expected spacing to be 'exponential' or 'linear'; got 'log'"),
    "another monitor": ({"monitor": "f1"}, ValueError, "expected monitor to be one of ('loss'"),
    "monitor no text": ({"monitor": None}, ValueError, "expected monitor to be one of ('loss'"),
    "validation missing": ({"monitor": "val_loss"}, ValueError, "expected validation=(x, y) to read 'val_loss'; got"),
    "validation unasked": ({"validation": DATA}, ValueError, "expected no validation to read 'loss'; got some"),
    "validation of another shape": (
        {"monitor": "val_loss", "validation": IMAGES, "every": 1},
        ValueError,
        "expected samples of shape (4,); got (6, 6, 2)",
    ),
    "too few validations": (
        {"monitor": "val_loss", "validation": DATA, "every": 5},
        ValueError,
        "expected at least 10 validations; got 8",
    ),
    "every 0": ({"every": 0}, ValueError, "expected every of at least 1; got 0"),
    "smooth of 1": ({"smooth": 1.0}, ValueError, "expected 0 <= smooth < 1; got 1.0"),
    "stop of 1": ({"stop": 1.0}, ValueError, "expected stop above 1; got 1.0"),
    "stop NaN": ({"stop": math.nan}, ValueError, "expected stop to be finite; got nan"),
    "no seeds": ({"seeds": 0}, ValueError, "expected seeds of at least 1; got 0"),
    "a list of seeds": ({"seeds": [1]}, TypeError, "expected seeds to be a whole number; got [1]"),
    "seed below 0": ({"seed": -1}, ValueError, "expected seed of at least 0; got -1"),
    "no batch": ({"batch_size": 0}, ValueError, "expected batch_size of at least 1; got 0"),
    "no rule": ({"rule": "adam"}, TypeError, "expected a Rule, such as Adam(); got 'adam'"),
    "data of another shape": ({"data": IMAGES}, ValueError, "expected samples of shape (4,); got (6, 6, 2)"),
    "labels beyond the classes": ({"data": (DATA[0], DATA[1] + 3)}, ValueError, "expected"),
    "no pair": ({"data": DATA[0]}, TypeError, "expected data as a pair (x, y)"),
    "NaN": ({"data": (DATA[0] * np.nan, DATA[1])}, ValueError, "expected finite x"),
    "images wanted": ({"augment": mn.data.Augment(flip=True)}, ValueError, "expected images (H, W, C) to augment"),
}


@pytest.mark.parametrize(("arguments", "error", "text"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_anything_moves(arguments, error, text):
    net = make_net()
    before = net.params.tobytes(), net.buffers.tobytes(), net.step
    with pytest.raises(error) as caught:
        find(net, **arguments)
    assert text in str(caught.value)
    assert (net.params.tobytes(), net.buffers.tobytes(), net.step) == before


def test_a_net_without_loss_and_what_is_no_net_are_refused():
    with pytest.raises(ValueError, match="expected a net built with loss="):
        find(mn.Net([mn.Dense(3)], 4))
    with pytest.raises(TypeError, match="lr_range_test: expected a Net; got 'net'"):
        find("net")


def test_accuracy_of_a_loss_that_does_not_classify_is_refused():
    net = mn.Net([mn.Dense(1)], 4, mn.SquaredError())
    with pytest.raises(ValueError, match=r"expected a loss that classifies to read accuracy; got SquaredError"):
        find(net, (DATA[0], DATA[0][:, :1].copy()), monitor="accuracy")


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="RangeTest: expected rates"):
        RangeTest(np.ones(3), np.ones((1, 4)), "loss", np.arange(4), np.ones((1, 4)), (None,))
    with pytest.raises(ValueError, match="RangeTest: expected monitor"):
        RangeTest(np.ones(4), np.ones((1, 4)), "f1", np.arange(4), np.ones((1, 4)), (None,))


# Words, figures, files --------------------------------------------------------------------------------------------


def test_the_text_says_what_was_found():
    result = curve()
    text = str(result)
    for name in ("flat", "falling", "diverging", "suggestion", "steepest", "valley", "base", "max"):
        assert f"\n  {name} " in text
    assert f"{result.steepest:.2g}" in text
    assert repr(result) == f"RangeTest(1 seeds, 200 steps, read on loss; suggestion {result.suggestion:.3g})"


def test_the_file_holds_what_was_measured(tmp_path):
    result = find(seeds=2, high=1e30, rule=mn.Adam())
    assert any(stop is not None for stop in result.stopped)
    path = tmp_path / "range.json"
    result.save(path)
    document = json.loads(path.read_text())
    assert document["rates"] == result.rates.tolist()
    assert document["rule"] == repr(mn.Adam())
    assert document["stopped"] == list(result.stopped)
    losses = np.array(document["losses"], float)  # None becomes NaN
    finite = np.isfinite(result.losses)
    np.testing.assert_array_equal(losses[finite], result.losses[finite])
    assert np.isnan(losses[~finite]).all()
    assert document["steepest"] == result.steepest
    with pytest.raises(ValueError, match=r"expected a path ending in .json; got 'range.txt'"):
        result.save(tmp_path / "range.txt")
    assert [file.name for file in tmp_path.iterdir()] == ["range.json"]


@pytest.mark.parametrize("kind", ["loss", "several seeds", "accuracy", "stopped", "nothing found"])
def test_a_figure_is_drawn(kind, tmp_path):
    rng = np.random.default_rng(0)
    result = {
        "loss": lambda: curve(0.1, rng=rng),
        "several seeds": lambda: curve(0.1, 5, rng=rng),
        "accuracy": lambda: find(monitor="val_accuracy", validation=make_data(1), every=1, seeds=3, high=100.0),
        "stopped": lambda: find(high=1e30, seeds=3),
        "nothing found": lambda: find(high=1e-5),
    }[kind]()
    path = tmp_path / "range.svg"
    result.plot(path)
    text = path.read_text()
    assert text.startswith("<?xml")
    # Text is drawn as shapes, after a comment that holds it.
    words = [*("rising" if kind == "accuracy" and name == "falling" else name for name in result.regimes)]
    words += [f"{name} {getattr(result, name):.2g}" for name in ("steepest", "base", "max") if result.suggestion]
    assert [word for word in words if f"<!-- {word} -->" not in text] == []
    assert ("quartiles" in text) == (len(result.losses) > 1)


def test_the_progress_bar_shows_where_asked(capsys):
    find(progress=True)
    assert "40/40" in capsys.readouterr().err
    find(progress=False)
    assert capsys.readouterr().err == ""
