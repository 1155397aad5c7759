"""Averages of weights: against sums written out, PyTorch's statistics of batch norm, and runs without averages."""

import math

import numpy as np
import pytest

import minnet as mn
from minnet.averaging.base import mix
from minnet.kernels.updates.gradients import combine

N, BATCH = 22, 8


def make_data(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5)


def make_net(seed=1, dtype=np.float32, dropout=0.2):
    """A small net that has everything that moves: weights, running statistics, noise."""
    layers = [mn.Dense(6), mn.BatchNorm(), mn.ReLU(), mn.Dropout(dropout), mn.Dense(3)]
    return mn.Net(layers, 4, mn.SoftmaxCrossEntropy(), l2=1e-3, seed=seed, dtype=dtype)


class Points(mn.Callback):
    """All params and buffers after each step, in double precision."""

    def __init__(self):
        self.params, self.buffers = [], []

    def on_step(self, trainer, record):
        self.params.append(trainer.net.params.astype(np.float64))
        self.buffers.append(trainer.net.buffers.astype(np.float64))


SCHEDULE = mn.schedules.WarmRestarts(0.1, 5)


def trainer_with(callbacks, net=None, lr=SCHEDULE, steps=20, **arguments):
    net = make_net() if net is None else net
    return mn.Trainer(
        net, make_data(), rule=mn.Momentum(0.9), lr=lr, batch_size=BATCH, steps=steps, seed=3, callbacks=callbacks,
        **arguments,
    )  # fmt: skip


def run(trainer, steps=None):
    for record in trainer:
        if record.step == steps:
            break
    return trainer


def averages():
    """One of each, with short memories, so that a run of 20 steps fills them."""
    return [
        mn.EMA(0.9),
        mn.EMA(0.5),
        mn.EMA(0.99, warm_up=True, start=2),
        mn.EMA(0.95, every=3),
        mn.PolyakRuppert(start=4),
        mn.SWA("trough"),
        mn.SWA(3, start=5),
        mn.LAWA(3, "epoch"),
        mn.SWAG(2, rank=3),
    ]


def written_out(average, points):
    """The mean as its docstring has it, a sum over all points (steps, P) of a run of 20 steps, 3 an epoch."""
    steps = np.arange(1, 21)
    epochs = [s for s in steps if s % 3 == 0 or s == 20]
    name = repr(average)
    if isinstance(average, mn.EMA):
        taken = points[average._moments.start + average.every - 1 :: average.every]
        decays = [min(average.decay, (1 + t) / (10 + t)) for t in range(1, len(taken) + 1)]
        decays = np.array(decays) if average.warm_up else np.full(len(taken), average.decay**average.every)
        weights = np.array([(1 - decays[t]) * np.prod(decays[t + 1 :]) for t in range(len(taken))])
        return weights @ taken / weights.sum()
    chosen = {
        "PolyakRuppert(start=4)": list(range(5, 21)),
        "SWA('trough')": [5, 10, 15, 20],
        "SWA(3, start=5)": [8, 11, 14, 17, 20],
        "LAWA(3, 'epoch')": epochs[-3:],
        "SWAG(2, rank=3)": list(range(2, 21, 2)),
    }[name]
    return points[np.array(chosen) - 1].mean(axis=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_average_is_its_sum_written_out(dtype):
    kept, points = averages(), Points()
    run(trainer_with([*kept, points], make_net(dtype=dtype)))
    tolerance = 40 * np.finfo(dtype).eps
    for average in kept:
        for ours, all_points in ((average.params, points.params), (average.buffers, points.buffers)):
            theirs = written_out(average, np.array(all_points))
            assert abs(ours - theirs).max() <= tolerance * abs(np.array(all_points)).max(), average
            # A mistake of one step would show: the points lie farther apart than that.
            assert abs(ours - np.array(all_points)[-1]).max() > 100 * tolerance


def test_an_average_without_correction_takes_the_first_point_in_full():
    plain, late, points = mn.EMA(0.9, corrected=False), mn.EMA(0.8, start=3, every=2, corrected=False), Points()
    run(trainer_with([plain, late, points], make_net(dtype=np.float64)))
    for average, taken, decay in ((plain, points.params, 0.9), (late, points.params[4::2], 0.64)):
        mean = taken[0]
        for point in taken[1:]:
            mean = decay * mean + (1 - decay) * point
        np.testing.assert_allclose(average.params, mean, rtol=1e-12)
    assert repr(late) == "EMA(0.8, start=3, every=2, corrected=False)"
    with pytest.raises(TypeError, match="EMA: expected corrected to be True or False; got 1"):
        mn.EMA(corrected=1)


@pytest.mark.torch
def test_an_average_without_correction_is_pytorchs():
    swa_utils = pytest.importorskip("torch.optim.swa_utils", reason="PyTorch is not installed: no comparison with it")
    import torch

    average, net = mn.EMA(0.9, corrected=False), make_net(dtype=np.float64)
    module = torch.nn.Linear(net.params.size, 1, bias=False).double()
    theirs = swa_utils.AveragedModel(module, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
    for step in range(5):
        net.params = net.params + 0.1 * np.sin(step + np.arange(net.params.size))
        average.update(net)
        with torch.no_grad():
            module.weight[0] = torch.tensor(net.params)
        theirs.update_parameters(module)
        np.testing.assert_allclose(average.params, theirs.module.weight.detach().numpy()[0], rtol=1e-12)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("average", [mn.EMA, mn.PolyakRuppert, lambda: mn.EMA(every=2), lambda: mn.LAWA(3, 1)])
def test_micro_batches_that_move_nothing_are_no_points(average, k):
    whole, parts = average(), average()
    x, y = make_data()

    class Same(mn.Callback):
        """Gradients that are alike for so many steps, whatever the batches."""

        def __init__(self, alike):
            self.alike = alike

        def before_update(self, trainer, record):
            trainer.net.grads[:] = (record.step - 1) // self.alike

    for own, rule, alike in ((parts, mn.Accumulate(mn.SGD(), k), k), (whole, mn.SGD(), 1)):
        options = {"batch_size": 2, "steps": 6 * alike, "progress": False, "callbacks": [Same(alike), own]}
        mn.fit(make_net(dtype=np.float64, dropout=0.0), (x, y), rule=rule, lr=0.1, **options)
    assert parts.count == whole.count
    np.testing.assert_allclose(parts.params, whole.params, rtol=1e-10)


def test_a_share_a_tenth_off_would_be_seen(monkeypatch):
    average, points = mn.EMA(0.9), Points()
    monkeypatch.setattr(average, "share", lambda: 0.11 if average.count > 1 else 1.0)
    run(trainer_with([average, points]))
    assert abs(average.params - written_out(average, np.array(points.params))).max() > 1e-4


@pytest.mark.parametrize("average", [mn.EMA(0.9999), mn.EMA(0.99, warm_up=True), mn.PolyakRuppert(), mn.LAWA(3, 1)])
def test_the_average_of_a_constant_is_the_constant(average):
    """From the first step on, which an average that began at 0 without correction would miss by a factor of 10,000."""
    net = make_net()
    for _ in range(500):
        average.update(net)
        assert abs(average.params - net.params).max() <= 4e-7 * abs(net.params).max()


def settled(mix_in):
    """Where 20,000 noisy points around 1 leave an average of long memory, mean of 1,000 weights."""
    rng, average = np.random.default_rng(0), np.ones(1000, np.float32)
    for _ in range(20_000):
        mix_in(average, (1 + 0.001 * rng.standard_normal(1000)).astype(np.float32))
    return abs(average.mean(dtype=np.float64) - 1)


def test_a_long_memory_settles_where_the_points_are():
    """0.9999 and 0.0001 rounded each by itself sum to 1 - 2e-8: the mean would settle 2e-4 off."""

    def rounded_apart(average, values):
        combine(average, np.float32(0.9999), values, np.float32(0.0001))

    assert settled(lambda average, values: mix(average, values, 1 - 0.9999)) < 1e-5
    assert settled(rounded_apart) > 1e-4


def test_an_average_forgets_at_the_stated_rate():
    net, ema = make_net(dtype=np.float64), mn.EMA(0.9)
    for value in (1.0, 0.0, 0.0):
        net.params = np.full_like(net.params, value)
        ema.update(net)
    assert ema.params[0] == pytest.approx(0.1 * 0.81 / (1 - 0.729))


def everything(trainer):
    net, optimizer = trainer.net, trainer.optimizer
    rows = trainer.history.steps.rows, trainer.history.epochs.rows
    return [a.tobytes() for a in (net.params, net.grads, net.buffers, optimizer.state)], net.step, repr(rows)


class Prying(mn.Callback):
    """Evaluates with every average in mid-run, with and without new statistics of batch norm."""

    def __init__(self, averages):
        self.averages, self.calls = averages, 0

    def on_epoch(self, trainer, row):
        for average in self.averages:
            if average.count:
                for refresh in (None, make_data()):
                    average.evaluate(trainer.net, *make_data(1), refresh=refresh)
                    self.calls += 1


@pytest.mark.parametrize("rule", [mn.Momentum(0.9), mn.ScheduleFreeSGD()])
def test_a_run_with_averages_is_that_without_to_the_last_bit(rule):
    runs = []
    for kept in ([], averages()):
        prying, snapshots = Prying(kept), mn.Snapshots()
        trainer = mn.Trainer(
            make_net(), make_data(), rule=rule, lr=SCHEDULE, batch_size=BATCH, steps=20, validation=make_data(1),
            callbacks=[*kept, prying, snapshots] if kept else [],
        )  # fmt: skip
        runs.append(everything(run(trainer)))
    assert prying.calls > 50
    assert len(snapshots.members) == 4
    assert runs[0] == runs[1]


def test_after_the_first_point_an_average_allocates_nothing():
    import tracemalloc

    net = mn.Net([mn.Dense(300), mn.ReLU(), mn.Dense(3)], 100, mn.SoftmaxCrossEntropy())
    kept = [mn.EMA(0.9), mn.PolyakRuppert(), mn.LAWA(3, 1), mn.SWAG(1, rank=2)]
    for average in kept:
        average.update(net)
        average.update(net)
    tracemalloc.start()
    for average in kept:
        average.update(net)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < net.params.nbytes / 10


# Use ----------------------------------------------------------------------------------------------------------


def test_an_average_stands_in_for_the_weights_and_steps_back():
    ema = mn.EMA(0.9)
    net = run(trainer_with([ema])).net
    before = net.params.copy(), net.buffers.copy()
    with ema.applied(net) as inside:
        assert inside is net
        assert np.array_equal(net.params, ema.params)
        assert np.array_equal(net.buffers, ema.buffers)
        expected = net.evaluate(*make_data(1))
    assert ema.evaluate(net, *make_data(1)) == expected != net.evaluate(*make_data(1))
    assert all(np.array_equal(a, b) for a, b in zip(before, (net.params, net.buffers), strict=True))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_inside_puts_the_weights_back(error):
    ema = mn.EMA(0.9)
    net = run(trainer_with([ema])).net
    before = net.params.copy(), net.buffers.copy()

    def interrupted():
        with ema.applied(net, refresh=make_data()):
            assert not np.array_equal(net.params, before[0])
            net.params = np.zeros_like(net.params)
            raise error

    with pytest.raises(error):
        interrupted()
    assert all(np.array_equal(a, b) for a, b in zip(before, (net.params, net.buffers), strict=True))


@pytest.mark.parametrize(("n", "batch_size"), [(22, 8), (257, 256), (258, 256), (9, 1), (20, 20)])
def test_refreshed_statistics_are_those_of_all_samples_together(n, batch_size):
    """However the data are cut: a last batch of one sample that counted for half would be seen."""
    net = make_net(dropout=0.0)
    before = net.buffers.copy(), net.params.copy(), net.step
    x = 3 + np.random.default_rng(0).standard_normal((n, 4)).astype(np.float32)
    hidden = x.astype(np.float64) @ net.named_parameters()["0.W"] + net.named_parameters()["0.b"]
    data = x, np.zeros(n, int)
    for given in (data, mn.data.Batches(data, batch_size)):
        views = net.buffer_layout.views(mn.refreshed_buffers(net, given, batch_size=batch_size))
        np.testing.assert_allclose(views["1.running_mean"], hidden.mean(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(views["1.running_var"], hidden.var(axis=0), rtol=2e-5)
    assert all(np.array_equal(a, b) for a, b in zip(before, (net.buffers, net.params, net.step), strict=True))


def test_a_run_keeps_its_bits_when_its_own_batches_are_gone_through():
    """In mid-epoch, with the batch at hand still to be read; what is measured is the whole epoch."""
    ends = []
    for refresh in (False, True):
        ema = mn.EMA(0.9)
        trainer = trainer_with([ema])
        for record in trainer:
            batch = trainer.net._seen[0]
            held = batch.copy()
            if refresh and record.step > 1:
                first = mn.refreshed_buffers(trainer.net, trainer.batches)
                ema.evaluate(trainer.net, *make_data(1), refresh=trainer.batches)
                twin = mn.data.Batches(make_data(), BATCH, seed=3)
                twin.seek(trainer.batches.epoch_index)
                assert np.array_equal(first, mn.refreshed_buffers(trainer.net, twin))
                assert np.array_equal(batch, held)
        ends.append(everything(trainer))
    assert ends[0] == ends[1]


def test_raw_bytes_are_refused_where_the_run_standardises_them():
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (50, 4), np.uint8), np.arange(50) % 3
    standardize, ema, plain = mn.data.Standardizer.fit(raw[0]), mn.EMA(0.9), mn.EMA(0.9)
    net = make_net()
    arguments = {"rule": mn.Adam(), "lr": 0.01, "batch_size": 10, "steps": 10}
    trainer = mn.Trainer(net, raw, standardize=standardize, callbacks=[ema], **arguments)
    trainer.run()
    for refresh in (raw, mn.data.Batches(raw, 10)):
        with pytest.raises(ValueError, match=r"EMA\(0.9\): expected refresh as the net sees it, standardised"):
            ema.point(net, refresh=refresh)
    by_hand, own = (ema.point(net, refresh=refresh)[1] for refresh in ((standardize(raw[0]), raw[1]), trainer.batches))
    np.testing.assert_allclose(own, by_hand, rtol=0.1, atol=0.05)  # but for dropout, whose batches are others
    mn.Trainer(net, raw, callbacks=[plain], **arguments).run()
    assert np.isfinite(plain.point(net, refresh=raw)[1]).all()  # bytes / 255 are what this net was trained on


@pytest.mark.torch
def test_refreshed_statistics_are_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    net = mn.Net(
        [mn.Residual([mn.Dense(4), mn.BatchNorm(), mn.ReLU(), mn.Dense(4)]), mn.BatchNorm(0.99), mn.Dense(3)],
        4, mn.SoftmaxCrossEntropy(), dtype=np.float64, seed=2,
    )  # fmt: skip
    weights = {name: torch.from_numpy(view.copy()) for name, view in net.named_parameters().items()}

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = (torch.nn.BatchNorm1d(4, dtype=torch.float64) for _ in range(2))

        def forward(self, x):
            hidden = torch.relu(self.inner(x @ weights["0.layers.0.W"] + weights["0.layers.0.b"]))
            return self.outer(x + hidden @ weights["0.layers.3.W"] + weights["0.layers.3.b"])

    block, means = Block(), {}
    for norm in (block.inner, block.outer):  # the mean of each batch, which PyTorch's variances leave out
        norm.register_forward_pre_hook(lambda norm, given: means.setdefault(norm, []).append(given[0].mean(0)))
    x, y = make_data()
    batches = mn.data.Batches((x, y), 11, seed=5, dtype=np.float64)
    loader = [torch.from_numpy(part.copy()) for part, _ in batches.epoch()]
    torch.optim.swa_utils.update_bn(loader, block)
    batches.seek(0)
    views = net.buffer_layout.views(mn.refreshed_buffers(net, batches))
    for name, norm in (("0.layers.1", block.inner), ("1", block.outer)):
        np.testing.assert_allclose(views[f"{name}.running_mean"], norm.running_mean.numpy(), rtol=1e-12, atol=1e-14)
        within = norm.running_var.numpy() * 10 / 11  # PyTorch's is the mean of the batches' unbiased variances
        between = np.var([mean.numpy() for mean in means[norm]], axis=0)
        np.testing.assert_allclose(views[f"{name}.running_var"], within + between, rtol=1e-12)
        assert (between > 1e-6 * within).all()


def test_refreshing_takes_noise_of_its_own_for_every_batch():
    """With one mask for all batches some units would be dropped throughout, and their variance behind it be 0."""
    layers = [mn.Dropout(0.5), mn.Dense(8), mn.BatchNorm(), mn.Dense(2)]
    net = mn.Net(layers, 2, mn.SoftmaxCrossEntropy(), seed=0)
    x, y = np.ones((64, 2), np.float32), np.zeros(64, int)
    steps = [mn.refreshed_buffers(net, (x[: 2 * k], y[: 2 * k]), batch_size=2) for k in (1, 32)]
    assert not np.allclose(steps[0], steps[1])


def test_averaged_weights_without_their_statistics_are_far_worse():
    """What refreshing is for: weights that lie apart, and so do the statistics that go with them."""
    train, val = mn.data.split(mn.datasets.digits(), (0.5, 0.5), seed=0)
    layers = [mn.Flatten(), mn.Dense(50), mn.BatchNorm(0.99), mn.ReLU(), mn.Dense(10)]
    net, swa = mn.Net(layers, (8, 8, 1), mn.SoftmaxCrossEntropy(), seed=0), mn.SWA("epoch", start=40)
    mn.fit(net, train, rule=mn.Momentum(0.9), lr=1.0, epochs=8, batch_size=50, callbacks=[swa], progress=False)
    own = swa.evaluate(net, *val)["loss"]
    refreshed = swa.evaluate(net, *val, refresh=train)["loss"]
    assert refreshed < own


def test_a_net_without_buffers_needs_no_pass():
    net = mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy())
    assert mn.refreshed_buffers(net, None).shape == (0,)


# SWAG ---------------------------------------------------------------------------------------------------------


def test_swag_has_the_variances_and_last_deviations_of_its_points():
    swag, points = mn.SWAG(2, rank=3), Points()
    run(trainer_with([swag, points], make_net(dtype=np.float64)))
    taken = np.array(points.params)[1::2]
    np.testing.assert_allclose(swag.variance, taken.var(axis=0), rtol=1e-9, atol=1e-18)
    columns = [taken[i] - taken[: i + 1].mean(axis=0) for i in range(len(taken))][-3:]
    found = swag._spread[2]
    for column in columns:
        assert min(abs(found - column).max(axis=1)) < 1e-12


def test_variances_survive_single_precision():
    """A difference of squares would lose them: points around 100 that differ by 0.001."""
    net, swag, rng = make_net(), mn.SWAG(1, rank=0), np.random.default_rng(0)
    taken = []
    for _ in range(100):
        net.params = 100 + 0.001 * rng.standard_normal(net.params.size)
        taken.append(net.params.astype(np.float64))
        swag.update(net)
    np.testing.assert_allclose(swag.variance, np.var(taken, axis=0), rtol=0.05)


@pytest.mark.parametrize("rank", [0, 4])
def test_swag_draws_from_its_gaussian(rank):
    net, swag, rng = make_net(dtype=np.float64), mn.SWAG(1, rank=rank), np.random.default_rng(0)
    for _ in range(10):
        net.params = rng.standard_normal(net.params.size)
        swag.update(net)
    drawn = np.array([swag.sample(seed, scale=4.0) for seed in range(4000)])
    columns = swag._spread[2]
    expected = swag.variance if rank == 0 else swag.variance / 2 + (columns**2).sum(axis=0) / (2 * (rank - 1))
    assert abs(drawn.mean(axis=0) - swag.params).max() < 5 * math.sqrt(4 * expected.max() / 4000)
    np.testing.assert_allclose(drawn.var(axis=0), 4 * expected, rtol=0.15)
    if rank:
        covariance = np.cov(drawn[:, :2].T)[0, 1]
        assert covariance == pytest.approx(4 * (columns[:, 0] @ columns[:, 1]) / (2 * (rank - 1)), abs=0.3)
    assert np.array_equal(swag.sample(7), swag.sample(7))


# State --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", range(len(averages())), ids=[repr(a) for a in averages()])
@pytest.mark.parametrize("stop", [1, 7, 13])
def test_an_average_goes_on_from_its_state(place, stop):
    whole = averages()[place]
    run(trainer_with([whole]))
    first = averages()[place]
    trainer = run(trainer_with([first]), stop)
    state = first.state()
    assert all(isinstance(value, int | float | str | np.ndarray) for value in state.values())
    second = averages()[place]
    second.restore(state)
    trainer.callbacks = [second]
    first.update(trainer.net)  # must not reach what the state holds
    run(trainer)
    ours, theirs = second.state(), whole.state()
    assert {name: np.asarray(v).tobytes() for name, v in ours.items()} == {
        name: np.asarray(v).tobytes() for name, v in theirs.items()
    }
    assert np.array_equal(second.params, whole.params)


def test_a_new_run_begins_a_new_average():
    ema = mn.EMA(0.9)
    run(trainer_with([ema]))
    once = ema.params.copy()
    run(trainer_with([ema]))
    assert np.array_equal(ema.params, once)
    run(trainer_with([ema], make_net(dtype=np.float64)))  # another net, even
    assert ema.params.dtype == np.float64


# Moments ------------------------------------------------------------------------------------------------------


class Count(mn.SWA):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.at = []

    def _take(self, net):
        super()._take(net)
        self.at.append(net.step)


@pytest.mark.parametrize(
    ("moment", "start", "lr", "expected"),
    [
        (4, 0, 0.1, [4, 8, 12, 16, 20]),
        (4, 3, 0.1, [7, 11, 15, 19]),
        (1, 17, 0.1, [18, 19, 20]),
        ("epoch", 0, 0.1, [3, 6, 9, 12, 15, 18, 20]),
        ("epoch", 9, 0.1, [12, 15, 18, 20]),
        ("trough", 0, SCHEDULE, [5, 10, 15, 20]),
        ("trough", 5, SCHEDULE, [10, 15, 20]),
        ("restart", 0, SCHEDULE, [6, 11, 16]),
        ("trough", 0, mn.schedules.Triangular(0.01, 0.1, 5), [10, 20]),
        ("peak", 0, mn.schedules.Triangular(0.01, 0.1, 5), [6, 16]),
        ((step for step in (17, 2, 2, 9)), 0, 0.1, [2, 9, 17]),
        ([2, 9, 17], 2, 0.1, [9, 17]),
        (lambda step: step % 7 == 1, 1, 0.1, [8, 15]),
        (mn.diagnostics.log_spaced(3), 0, 0.1, [1, 2, 5, 10]),
    ],
)
def test_points_are_taken_at_the_stated_steps(moment, start, lr, expected):
    average = Count(moment, start)
    run(trainer_with([average], lr=lr))
    assert average.at == expected


def test_a_point_at_a_trough_is_of_the_cycles_lowest_rate():
    average, history = Count("trough"), run(trainer_with([])).history
    run(trainer_with([average]))
    rates = history.steps["lr"]
    assert [rates[step - 1] for step in average.at] == sorted(rates)[:4]


def test_a_schedule_without_the_event_is_named():
    with pytest.raises(ValueError, match=r"SWA: expected a schedule with a trough .* got Constant"):
        run(trainer_with([mn.SWA("trough")], lr=0.1))


# The report ---------------------------------------------------------------------------------------------------


def test_the_report_names_the_winner_and_the_noise():
    train, val = mn.data.split(mn.datasets.digits(), (0.3, 0.7), seed=0)
    net = mn.Net([mn.Flatten(), mn.Dense(50), mn.ReLU(), mn.Dense(10)], (8, 8, 1), mn.SoftmaxCrossEntropy(), seed=0)
    kept = [mn.EMA(0.95), mn.PolyakRuppert(start=20)]
    mn.fit(net, train, rule=mn.Momentum(0.9), lr=0.2, epochs=8, batch_size=20, callbacks=kept, progress=False)
    before = net.params.copy()
    report = mn.compare_averages(net, kept, val)
    assert np.array_equal(net.params, before)
    assert report.names == ("raw", "EMA(0.95)", "PolyakRuppert(start=20)")
    for average in kept:
        assert report.value(repr(average), "accuracy") == average.evaluate(net, *val)["accuracy"]
        assert report.value(repr(average), "log_loss") == pytest.approx(average.evaluate(net, *val)["loss"], rel=1e-5)
    name, _ = report.best("accuracy")
    assert name in str(report)
    assert "against raw" in report.winner()


def test_the_raw_net_comes_with_new_statistics_too():
    """Or what they bring would be taken for what averaging brings."""
    train, val = mn.data.split(mn.datasets.digits(), (0.3, 0.7), seed=0)
    layers = [mn.Flatten(), mn.Dense(50), mn.BatchNorm(0.99), mn.ReLU(), mn.Dense(10)]
    net, ema = mn.Net(layers, (8, 8, 1), mn.SoftmaxCrossEntropy(), seed=0), mn.EMA(0.5)
    mn.fit(net, train, rule=mn.Momentum(0.9), lr=0.2, epochs=2, batch_size=20, callbacks=[ema], progress=False)
    before = net.buffers.copy()
    report = mn.compare_averages(net, [ema], val, refresh=train)
    assert np.array_equal(net.buffers, before)
    assert report.names == ("raw", "raw, refreshed", "EMA(0.5)")
    net.buffers = mn.refreshed_buffers(net, train)
    assert report.value("raw, refreshed", "log_loss") == pytest.approx(net.evaluate(*val)["loss"], rel=1e-5)
    assert report.value("raw, refreshed", "log_loss") != report.value("raw", "log_loss")
    assert mn.compare_averages(net, [ema], val).names == ("raw", "EMA(0.5)")


@pytest.mark.parametrize("loss", [mn.SquaredError(), mn.Huber(0.5), mn.Logistic(), mn.MulticlassHinge()])
def test_nets_are_reported_by_the_loss_that_they_have(loss):
    x, labels = make_data()
    y = {"SquaredError": x[:, :3], "Huber": x[:, :3], "Logistic": x[:, :3] > 0}.get(type(loss).__name__, labels)
    net, kept = mn.Net([mn.Dense(6), mn.Tanh(), mn.Dense(3)], 4, loss, l2=0.1, seed=1), [mn.EMA(0.9), mn.SWA(3)]
    mn.fit(net, (x, y), rule=mn.SGD(), lr=0.1, batch_size=8, steps=20, callbacks=kept, progress=False)
    report = mn.compare_averages(net, kept, (x, y))
    for name, average in zip(report.names, (None, *kept), strict=True):
        expected = net.evaluate(x, y) if average is None else average.evaluate(net, x, y)
        assert report.value(name, "data_loss") == pytest.approx(expected["data_loss"], rel=1e-5)
        if "accuracy" in expected:
            assert report.value(name, "accuracy") == pytest.approx(expected["accuracy"])
    assert ("accuracy" in report.metrics) == (type(loss).__name__ in ("Logistic", "MulticlassHinge"))
    assert f"data loss: {loss}" in str(report)
    assert "ECE" not in str(report)


# Bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: mn.EMA(1.0), ValueError, "EMA: expected 0 <= decay < 1; got 1.0"),
        (lambda: mn.EMA("0.9"), TypeError, "EMA: expected decay to be a number; got '0.9'"),
        (lambda: mn.EMA(0.9, warm_up=0.5), TypeError, "EMA: expected warm_up to be True or False"),
        (lambda: mn.EMA(0.9, every=0), ValueError, "EMA: expected every of at least 1; got 0"),
        (lambda: mn.SWA("through"), ValueError, "SWA: expected at to be a number of steps, 'epoch' or one of"),
        (lambda: mn.SWA(0), ValueError, "SWA: expected at of at least 1; got 0"),
        (lambda: mn.SWA(1.5), TypeError, "SWA: expected at to be a whole number; got 1.5"),
        (lambda: mn.SWA([3, 0]), ValueError, "SWA: expected each step of at of at least 1; got 0"),
        (lambda: mn.SWA(start=-1), ValueError, "SWA: expected start of at least 0; got -1"),
        (lambda: mn.LAWA(0), ValueError, "LAWA: expected k of at least 1; got 0"),
        (lambda: mn.SWAG(rank=1), ValueError, "SWAG: expected rank 0 or at least 2; got 1"),
        (lambda: mn.EMA(0.9).params, ValueError, "EMA(0.9): expected at least one point of a run; got none so far"),
        (lambda: mn.EMA(0.9).restore({"mean": 1}), ValueError, "EMA: expected a state of ['buffers', 'count', 'left'"),
        (lambda: mn.compare_averages(make_net(), [None], make_data()), TypeError, "expected averages such as EMA()"),
        (
            lambda: mn.compare_averages(make_net(), [mn.EMA(0.9), mn.EMA(0.9)], make_data()),
            ValueError,
            "expected different names, none of them of ('raw', 'raw, refreshed'); got 'EMA(0.9)' twice",
        ),
        (
            lambda: mn.compare_averages(mn.Net([mn.Dense(3)], 4), [], make_data()),
            ValueError,
            "compare_averages: expected a net built with loss=...; got one without",
        ),
        (
            lambda: mn.compare_averages(make_net(), {"raw": mn.EMA(0.9)}, make_data()),
            ValueError,
            "expected different names, none of them of ('raw', 'raw, refreshed'); got 'raw' twice",
        ),
    ],
)
def test_bad_input_is_named(make, error, text):
    with pytest.raises(error) as caught:
        make()
    assert text in str(caught.value)


def test_an_average_of_another_net_is_refused():
    ema, other = mn.EMA(0.9), mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy())
    run(trainer_with([ema]))
    before = other.params.copy()
    for call in (lambda: ema.update(other), lambda: ema.evaluate(other, *make_data())):
        with pytest.raises(
            ValueError,
            match=r"EMA\(0.9\): expected the net that it averages; got another: .*params of float32 .15,.; got .* .63,",
        ):
            call()
    assert np.array_equal(other.params, before)


def test_a_state_of_another_size_is_refused():
    first = mn.LAWA(3, 1)
    run(trainer_with([first]))
    with pytest.raises(ValueError, match="expected a state of 5 points; got"):
        mn.LAWA(5, 1).restore(first.state())
