"""What monitors write down, beside naive NumPy; and that a run with all of them is the run without."""

import csv
import json
import math

import numpy as np
import pytest

import minnet as mn
from minnet import diagnostics
from minnet.diagnostics import (
    DeadUnits,
    Monitor,
    NoiseScale,
    Saturation,
    Sharpness,
    Statistics,
    UnitEvent,
    UpdateRatios,
    hessian_vector_product,
    log_spaced,
    noise_scale,
    sharpness,
)
from minnet.diagnostics.sharpness import largest_eigenvalue


def make_data(n=40, dtype=np.float32):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 4)).astype(dtype)
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5)


def make_net(**arguments):
    """Weights, running statistics, noise; a ReLU in place, one inside a Residual, a Tanh and a Sigmoid."""
    inner = [mn.Dense(6), mn.ReLU(), mn.Dense(6)]
    layers = [mn.Dense(6), mn.BatchNorm(), mn.ReLU(), mn.Residual(inner), mn.Tanh(), mn.Dropout(0.2)]
    layers += [mn.Dense(5), mn.Sigmoid(), mn.Dense(3)]
    return mn.Net(layers, 4, mn.SoftmaxCrossEntropy(), **{"l2": 1e-2, "seed": 1} | arguments)


def run(net, callbacks, steps=30, data=None, **arguments):
    options = {"rule": mn.Adam(), "lr": 0.01, "batch_size": 8, "seed": 2, "progress": False} | arguments
    return mn.fit(
        net, make_data(dtype=net.dtype) if data is None else data, steps=steps, callbacks=callbacks, **options
    )


class Note(mn.Callback):
    """Copies what a monitor could have seen, at every step."""

    def __init__(self):
        self.before, self.after, self.grads, self.outputs = [], [], [], []

    def before_update(self, trainer, record):
        self.before.append({k: v.copy() for k, v in trainer.net.named_parameters().items()})
        self.grads.append({k: v.copy() for k, v in trainer.net.named_gradients().items()})
        self.outputs.append({place: y.copy() for place, _, _, y in trainer.net.layer_passes()})

    def on_step(self, trainer, record):
        self.after.append({k: v.copy() for k, v in trainer.net.named_parameters().items()})


class AtStep(mn.Callback):
    """Does something after one step."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_step(self, trainer, record):
        if record.step == self.step:
            self.act(trainer)


# The run -----------------------------------------------------------------------------------------------------------


class Everything(mn.Callback):
    """All that moves, after every step."""

    def __init__(self):
        self.seen = []

    def on_step(self, trainer, record):
        net, optimizer = trainer.net, trainer.optimizer
        self.seen.append((net.params.tobytes(), net.buffers.tobytes(), net.step))
        self.seen.append((optimizer.state.tobytes(), optimizer.numbers.tobytes(), optimizer.steps))
        self.seen.append((trainer.batches.epoch_index, trainer.batches.position, trainer.batches._order.tobytes()))


def all_monitors(at):
    data = make_data(16)
    kinds = UpdateRatios, Statistics, Saturation, DeadUnits, Sharpness
    return [*(kind(at=at) for kind in kinds), NoiseScale(4, 3, at=at), DeadUnits(data, at=at), Sharpness(data, at=at)]


RULES = [
    mn.Adam(),
    mn.LookAhead(mn.Momentum()),
    mn.ScheduleFreeSGD(),
    mn.GradientNoise(mn.SGD(), eta=0.1, seed=1),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_run_with_all_monitors_ends_with_the_bits_of_one_without(rule):
    alone, watched, monitors = Everything(), Everything(), all_monitors(at=3)
    histories = [
        run(make_net(), callbacks, rule=rule, validation=make_data(10), clip_norm=0.5)
        for callbacks in ([alone], [*monitors, watched])
    ]
    assert watched.seen == alone.seen
    assert histories[0].steps.rows == histories[1].steps.rows
    assert histories[0].epochs.rows == histories[1].epochs.rows
    assert all(monitor.steps.tolist() == [3, 6, 9, 12, 15, 18, 21, 24, 27, 30] for monitor in monitors)


def test_the_test_of_bits_would_notice():
    class Meddler(Monitor):
        def on_step(self, trainer, record):
            trainer.net.forward(make_data()[0], training=True)  # moves the running statistics

    alone, watched = Everything(), Everything()
    run(make_net(), [alone])
    run(make_net(), [Meddler(at=1), watched])
    assert watched.seen != alone.seen


def test_before_update_sees_the_gradient_and_the_weights_that_the_step_starts_from():
    note, net = Note(), make_net(dtype=np.float64, l2=0.0)
    start = net.named_parameters()["0.W"].copy()
    run(net, [note], rule=mn.SGD(), lr=0.5)
    np.testing.assert_array_equal(note.before[0]["0.W"], start)
    for before, after, grads in zip(note.before, note.after, note.grads, strict=True):
        for name in before:
            np.testing.assert_allclose(after[name], before[name] - 0.5 * grads[name], rtol=1e-12, atol=1e-15)


def test_only_callbacks_that_ask_are_told_before_the_update(monkeypatch):
    told = []

    class Asks(mn.Callback):
        def before_update(self, trainer, record):
            told.append(self)

    monkeypatch.setattr(mn.Callback, "before_update", lambda self, *_: told.append(self))
    asks = Asks()
    trainer = mn.Trainer(
        *(make_net(), make_data()), rule=mn.SGD(), lr=0.1, batch_size=8, steps=1, callbacks=[mn.Callback(), asks]
    )
    next(trainer)
    assert told == [asks]


# When --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "steps"),
    [
        (1, list(range(1, 13))),
        (5, [5, 10]),
        ([2, 3, 11], [2, 3, 11]),
        ({4, 7}, [4, 7]),
        (lambda step: step % 4 == 2, [2, 6, 10]),
        (log_spaced(3), [1, 2, 5, 10]),
        ("epoch", [5, 10, 12]),
        ("trough", [4, 8, 12]),
        ("restart", [5, 9]),
    ],
)
def test_a_monitor_records_at_the_chosen_steps(at, steps):
    """Alike whether it asks before the update (Statistics), after it (DeadUnits), or both (UpdateRatios)."""
    monitors = UpdateRatios(at), Statistics(at), DeadUnits(at=at)
    run(make_net(), monitors, steps=12, lr=mn.schedules.WarmRestarts(0.01, 4))
    for monitor in monitors:
        assert monitor.steps.tolist() == steps
        assert len(monitor) == len(steps)


def test_all_monitors_have_the_first_step_unless_told_otherwise():
    monitors = UpdateRatios(), Statistics(), Saturation(), DeadUnits(), NoiseScale(4, 3), Sharpness(iterations=2)
    run(make_net(), monitors, steps=6)
    assert [monitor.steps.tolist() for monitor in monitors] == [[1, 2, 3, 4, 5, 6]] * 3 + [[1, 2, 3, 4, 6]] * 3


def test_log_spaced_steps_have_equal_ratios():
    due = log_spaced(10)
    steps = [step for step in range(1, 10_001) if due(step)]
    assert steps[0] == 1
    late = np.array([step for step in steps if step >= 100], float)
    np.testing.assert_allclose(late[1:] / late[:-1], 10**0.1, rtol=0.01)
    default = log_spaced()
    counts = np.cumsum([default(step) for step in range(1, 10_001)])
    assert counts[999] == 50  # as its docstring says
    assert counts[9999] == 70


@pytest.mark.parametrize("at", [0, -3, 2.5, "ten", [0, 5], True])
def test_steps_that_are_none_are_refused(at):
    with pytest.raises((TypeError, ValueError), match=r"UpdateRatios: expected (each step of )?at"):
        UpdateRatios(at)


# What layers saw -----------------------------------------------------------------------------------------------------


def test_layer_passes_are_those_of_a_net_without_short_cuts():
    """Each place's y is its layer's own forward pass of its x, also inside a Residual; and the xs lead to the ys."""
    net = make_net(dtype=np.float64)
    net.forward(make_data(dtype=np.float64)[0])
    seen = {place: (layer, x.copy(), y.copy()) for place, layer, x, y in net.layer_passes()}
    # 1 and 3.layers.0 have a ReLU behind them that works in their place.
    assert list(seen) == ["0", "2", "3.layers.1", "3.layers.2", "3", "4", "5", "6", "7", "8"]
    p, x = net.named_parameters(), make_data(dtype=np.float64)[0]
    np.testing.assert_allclose(seen["0"][2], x @ p["0.W"] + p["0.b"])
    normal = seen["0"][2] / math.sqrt(1 + 1e-5)  # running statistics: mean 0, variance 1
    np.testing.assert_allclose(seen["2"][2], np.maximum(normal, 0))
    hidden = np.maximum(seen["2"][2] @ p["3.layers.0.W"], 0)
    np.testing.assert_allclose(seen["3.layers.1"][2], hidden)
    np.testing.assert_allclose(seen["3.layers.2"][1], hidden)
    np.testing.assert_allclose(seen["3"][2], hidden @ p["3.layers.2.W"] + seen["2"][2])
    np.testing.assert_allclose(seen["4"][2], np.tanh(seen["3"][2]))
    np.testing.assert_array_equal(seen["6"][1], seen["5"][2])
    assert [type(layer).__name__ for layer, _, _ in seen.values()][:4] == ["Dense", "ReLU", "ReLU", "Dense"]


def test_layer_passes_go_down_a_shortcut_and_want_a_pass():
    net = mn.Net(mn.Residual([mn.Dense(3), mn.Tanh()], shortcut=mn.Dense(3)), 4, seed=0)
    with pytest.raises(ValueError, match="layer_passes: expected a forward pass first"):
        net.layer_passes()
    net.forward(make_data()[0])
    seen = {place: y for place, _, _, y in net.layer_passes()}
    assert list(seen) == ["0.layers.0", "0.layers.1", "0.shortcut", "0"]
    np.testing.assert_allclose(seen["0.layers.1"] + seen["0.shortcut"], seen["0"], rtol=1e-6)


# Ratios and statistics -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_update_ratios_are_norms_of_updates_over_norms_of_weights(dtype):
    note, monitor, net = Note(), UpdateRatios(at=[1, *range(4, 31, 4)]), make_net(dtype=dtype, max_norm=1.0)
    run(net, [monitor, note], weight_decay=0.1)
    assert monitor.names() == list(net.named_parameters())
    for record, step in enumerate(monitor.steps):
        for name in monitor.names():
            before, after = (when[step - 1][name].astype(np.float64) for when in (note.before, note.after))
            size = np.sqrt((before**2).sum())
            expected = np.sqrt(((after - before) ** 2).sum()) / size if size else np.nan
            assert monitor[name][record] == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert np.isnan(monitor["0.b"][0])  # biases start at 0
    weights = [name for name in monitor.names() if name.endswith(".W")]
    np.testing.assert_array_equal(monitor.median(), np.median([monitor[name] for name in weights], axis=0))


def test_sgd_has_the_ratio_that_its_rate_says():
    monitor, note, net = UpdateRatios(at=1), Note(), make_net(dtype=np.float64)
    run(net, [monitor, note], rule=mn.SGD(), lr=1e-3)
    grads, weights = note.grads[7]["6.W"], note.before[7]["6.W"]
    assert monitor["6.W"][7] == pytest.approx(1e-3 * np.linalg.norm(grads) / np.linalg.norm(weights), rel=1e-9)


def test_statistics_are_those_of_numpy():
    note, monitor = Note(), Statistics(at=[3, 20], bins=7)
    run(make_net(), [monitor, note])
    kinds = {"weights": note.before, "gradients": note.grads, "activations": note.outputs}
    for kind, seen in kinds.items():
        for name in seen[0]:
            for record, step in enumerate((3, 20)):
                values = seen[step - 1][name].astype(np.float64).ravel()
                expected = values.mean(), values.std(), values.min(), values.max(), (values == 0).mean()
                np.testing.assert_allclose(monitor[f"{kind} {name}"][record], expected, rtol=1e-6, atol=1e-12)
                counts, edges = monitor.histogram(f"{kind} {name}", record)
                assert counts.shape == (7,)
                assert counts.sum() == values.size
                # An element on a border may fall to either side: float32 and float64 round it differently.
                inside = np.histogram(values, edges)[0]
                assert np.abs(counts - inside).sum() <= 2
    assert monitor.labels["activations 2"] == "ReLU"
    np.testing.assert_array_equal(monitor.of("weights", "std")["0.W"], monitor["weights 0.W"][:, 1])
    assert set(monitor.of("activations", "mean")) == set(note.outputs[0])
    with pytest.raises(ValueError, match=r"Statistics\.of: expected one of"):
        monitor.of("weights", "median")


def test_statistics_of_constants_and_of_what_is_not_finite():
    values, counts = diagnostics.statistics.describe(np.array([2.0, 2.0, np.nan, np.inf]), 4)
    assert values.tolist() == [2, 0, 2, 2, 0]
    assert counts.tolist() == [0, 0, 2, 0]
    values, counts = diagnostics.statistics.describe(np.full(3, np.nan), 4)
    assert np.isnan(values).all()
    assert counts.tolist() == [0, 0, 0, 0]


# Units ---------------------------------------------------------------------------------------------------------------


def test_saturation_counts_outputs_with_hardly_a_slope():
    note, monitor, net = Note(), Saturation(at=5, slope=0.3), make_net()
    net.named_parameters()["3.layers.2.W"][...] *= 3
    net.named_parameters()["6.W"][...] *= 8
    run(net, [monitor, note])
    assert monitor.names() == ["4", "7"]
    for record, step in enumerate(monitor.steps):
        tanh, sigmoid = (note.outputs[step - 1][place].astype(np.float64) for place in "47")
        assert monitor["4"][record] == np.mean(np.abs(tanh) > math.sqrt(0.7))
        assert monitor["7"][record] == np.mean(np.abs(sigmoid - 0.5) > math.sqrt(0.7) / 2)
    assert 0 < monitor["4"].min() < monitor["4"].max() < 1


def kill(name, unit):
    """Push a unit's bias so far down that no input reaches it."""

    def act(trainer):
        trainer.net.named_parameters()[name][unit] = -1e3

    return act


def revive(name, unit):
    def act(trainer):
        trainer.net.named_parameters()[name][unit] = 1.0

    return act


PLAIN = [
    mn.Dense(6),
    mn.ReLU(),
    mn.Dense(5),
    mn.LeakyReLU(),
    mn.Residual([mn.Dense(5), mn.ReLU(), mn.Dense(5)]),
    mn.Dense(3),
]


def test_deaths_and_revivals_are_seen_when_they_happen():
    """Units made dead by hand: one from the start, one that comes back, one of a leaky layer, one inside a Residual."""
    net = mn.Net(PLAIN, 4, mn.SoftmaxCrossEntropy(), seed=9)
    net.named_parameters()["0.b"][5] = -1e3
    acts = [(7, kill("0.b", 2)), (15, revive("0.b", 2)), (9, kill("2.b", 1)), (22, kill("4.layers.0.b", 4))]
    monitor = DeadUnits(at=2)
    run(net, [*(AtStep(step, act) for step, act in acts), monitor], rule=mn.SGD(), lr=1e-3)
    assert monitor.names() == ["1", "3", "4.layers.1"]
    by_hand = {("1", 5), ("1", 2), ("3", 1), ("4.layers.1", 4)}
    assert [event for event in monitor.events() if (event.layer, event.unit) in by_hand] == [
        UnitEvent(2, "1", 5, "dead at the start"),
        UnitEvent(8, "1", 2, "died"),
        UnitEvent(10, "3", 1, "died"),
        UnitEvent(16, "1", 2, "revived"),
        UnitEvent(22, "4.layers.1", 4, "died"),
    ]
    np.testing.assert_allclose(monitor.share()["1"], monitor["1"].sum(axis=1) / 6)
    assert monitor["1"].shape == (len(monitor), 6)


@pytest.mark.parametrize("place", [3, 300, 650])
def test_a_unit_is_dead_over_the_whole_data_set_or_not_at_all(place):
    """A single sample, in whichever chunk of the data, keeps units alive that all the others would call dead."""
    x = np.full((700, 1), -1, np.float32)
    x[place] = 1
    net = mn.Net([mn.Dense(2, init=mn.initializers.Constant(1.0)), mn.ReLU(), mn.Dense(2)], 1, mn.SoftmaxCrossEntropy())
    others = np.delete(x, place, axis=0)
    monitors = DeadUnits(at=1), DeadUnits((others, np.zeros(699, int)), at=1)
    run(net, monitors, steps=1, data=(x, np.zeros(700, int)), lr=0.0)
    assert monitors[0]["1"].tolist() == [[False, False]]
    assert monitors[1]["1"].tolist() == [[True, True]]


def test_a_channel_is_dead_if_it_is_at_every_pixel_and_images_are_seen_as_in_training_but_not_augmented():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, 6, 6, 1), np.uint8)
    y = np.arange(20) % 2
    standardize = mn.data.Standardizer.fit(x)
    net = mn.Net([mn.Conv2D(4, 3), mn.ReLU(), mn.Flatten(), mn.Dense(2)], (6, 6, 1), mn.SoftmaxCrossEntropy())
    net.named_parameters()["0.b"][:] = -1.5 * np.arange(4)
    monitor = DeadUnits(at=1)
    augment = mn.data.Augment(flip=True, crop=2)
    run(net, [monitor], steps=1, data=(x, y), lr=0.0, augment=augment, standardize=standardize)
    net.forward(standardize(x))
    (output,) = [y for place, _, _, y in net.layer_passes() if place == "1"]
    assert monitor["1"][0].tolist() == [not (output[..., c] > 0).any() for c in range(4)]
    assert 0 < monitor["1"][0].sum() < 4


# Noise ---------------------------------------------------------------------------------------------------------------


def regression(n, features=3, outputs=1, seed=0):
    """A linear net in float64 with data, and each sample's gradient of |s - t|^2, in the order of net.params."""
    rng = np.random.default_rng(seed)
    x, t = rng.standard_normal((n, features)), rng.standard_normal((n, outputs))
    net = mn.Net([mn.Dense(outputs)], features, mn.SquaredError(), l2=0.3, l1=0.2, dtype=np.float64, seed=1)
    p = net.named_parameters()
    scale = net.loss(x, t) and net.objective.data / np.mean(((x @ p["0.W"] + p["0.b"] - t) ** 2).sum(axis=1))
    d = 2 * scale * (x @ p["0.W"] + p["0.b"] - t)
    assert [tensor.name for tensor in net.tensors] == ["0.W", "0.b"]
    gradients = np.concatenate([(x[:, :, None] * d[:, None, :]).reshape(n, -1), d], axis=1)
    return net, x, t, gradients, scale


def test_the_noise_scale_is_the_formula_of_the_paper_without_the_penalties():
    net, x, t, gradients, _ = regression(24)
    small, large = gradients.reshape(4, 6, -1).mean(axis=1), gradients.mean(axis=0)
    square = (small**2).sum(axis=1).mean()
    expected = (24 * (large**2).sum() - 6 * square) / 18, (square - (large**2).sum()) / (1 / 6 - 1 / 24)
    np.testing.assert_allclose(noise_scale(net, x, t, 4), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="noise_scale: expected samples that 5 parts share evenly; got 24"):
        noise_scale(net, x, t, 5)


def test_the_noise_scale_is_right_on_average():
    """Over many draws from many samples, against the mean and the covariance of the samples' gradients."""
    net, x, t, gradients, _ = regression(20_000)
    rng = np.random.default_rng(5)
    draws = [rng.choice(len(x), 64, replace=False) for _ in range(3000)]
    estimates = np.array([noise_scale(net, x[d], t[d], 8) for d in draws])
    exact = (gradients.mean(axis=0) ** 2).sum(), gradients.var(axis=0, ddof=1).sum()
    error = estimates.std(axis=0) / math.sqrt(len(draws))
    assert (np.abs(estimates.mean(axis=0) - exact) < 4 * error).all()
    assert (error < 0.05 * np.array(exact)).all()


def test_the_scale_averages_noise_and_gradient_apart():
    monitor = NoiseScale(4, 3, at=1)
    for step, (gradient, noise) in enumerate([(1.0, 2.0), (-3.0, 4.0), (2.0, 6.0)]):
        monitor.record(step + 1, {"gradient": gradient, "noise": noise})
    # (0.5 * 1) / 0.5; then (0.25 * 1 + 0.5 * -3) / 0.75 < 0; then (0.125 + 0.25 * -3 + 0.5 * 2) / 0.875
    np.testing.assert_allclose(monitor.scale(0.5), [2, np.nan, (0.25 + 1 + 3) / 0.375], rtol=1e-12)


def test_a_monitor_of_noise_wants_enough_samples():
    with pytest.raises(ValueError, match="NoiseScale: expected parts \\* batch_size of at most 40 samples; got 48"):
        run(make_net(), [NoiseScale(16, 3)])
    with pytest.raises(ValueError, match="NoiseScale: expected parts of at least 2; got 1"):
        NoiseScale(16, 1)


# Curvature -----------------------------------------------------------------------------------------------------------


def test_products_with_the_hessian_of_a_linear_regression():
    net, x, t, _, scale = regression(30)
    net.l1 = 0.0
    a = np.concatenate([x, np.ones((30, 1))], axis=1)
    hessian = 2 * scale * a.T @ a / 30 + np.diag([0.3] * 3 + [0.0])
    weights, step = net.params.copy(), net.step
    for v in np.eye(4):
        np.testing.assert_allclose(hessian_vector_product(net, x, t, 5 * v), 5 * hessian @ v, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(net.params, weights)
    assert net.step == step
    value, residual = sharpness(net, x, t, iterations=500, tolerance=1e-8)
    assert value == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-7)
    assert residual <= 1e-8


def softmax_hessian(x, w):
    """d2/dW2 of the mean cross-entropy: x x^T (diag(p) - p p^T) for each sample, W (features, classes) in C order."""
    scores = x @ w
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    curvature = np.einsum("nc,cd->ncd", p, np.eye(w.shape[1])) - np.einsum("nc,nd->ncd", p, p)
    return np.einsum("ni,nj,ncd->icjd", x, x, curvature).reshape(w.size, w.size) / len(x)


def test_sharpness_in_a_run_is_the_largest_eigenvalue_of_the_softmax_hessian():
    x, y = make_data(30)
    net = mn.Net([mn.Dense(3, bias=False)], 4, mn.SoftmaxCrossEntropy(), l2=0.1, seed=0)
    note, monitor = Note(), Sharpness((x, y), at=10, iterations=300, tolerance=1e-6)
    run(net, [monitor, note], data=(x, y), lr=0.05)
    for record, step in enumerate(monitor.steps):
        exact = np.linalg.eigvalsh(softmax_hessian(x.astype(float), note.after[step - 1]["0.W"].astype(float)))[-1]
        assert monitor["sharpness"][record] == pytest.approx(exact + 0.1, rel=1e-5)
    assert monitor["sharpness"].std() > 1e-3  # it moves
    assert (monitor["residual"] <= 1e-6).all()
    assert (monitor["lr"] == 0.05).all()


def test_the_largest_eigenvalue_is_found_where_one_below_0_is_larger_in_magnitude():
    """5 - w1 w2 w3, the absolute error of three linear units: with all weights 1/2, eigenvalues -1, 1/2 and 1/2."""
    net = mn.Net([mn.Dense(1, bias=False)] * 3, 1, mn.AbsoluteError(), dtype=np.float64)
    net.params = np.full(3, 0.5)
    x, t = np.ones((1, 1)), np.full((1, 1), 5.0)
    assert net.loss(x, t) == 5 - 0.5**3
    hessian = -0.5 * (np.ones((3, 3)) - np.eye(3))
    for v in np.eye(3):
        np.testing.assert_allclose(hessian_vector_product(net, x, t, v), hessian @ v, atol=1e-8)
    value, residual = sharpness(net, x, t, iterations=200, tolerance=1e-7)
    assert value == pytest.approx(0.5, rel=1e-6)
    assert residual < 1e-5


def test_the_largest_eigenvalue_of_a_matrix_whose_others_lie_close_and_reach_further_down():
    rng = np.random.default_rng(0)
    values = np.concatenate([np.linspace(-12, 9, 299), [10.0]])
    basis = np.linalg.qr(rng.standard_normal((300, 300)))[0]
    matrix = basis * values @ basis.T
    value, residual = largest_eigenvalue(lambda v: matrix @ v, rng.standard_normal(300), 60, 1e-3)
    assert residual <= 1e-3
    assert value == pytest.approx(10, rel=1e-5)  # the value's error is that of the vector squared
    vague, residual = largest_eigenvalue(lambda v: matrix @ v, rng.standard_normal(300), 5, 1e-3)
    assert np.abs(values - vague).min() <= residual * abs(vague)
    assert largest_eigenvalue(lambda v: 0 * v, np.ones(4), 5, 1e-3) == (0, 0)
    assert largest_eigenvalue(lambda v: -2 * v, np.ones(4), 5, 1e-3) == (-2, 0)


def test_sharpness_wants_double_precision():
    net = make_net()
    with pytest.raises(ValueError, match="hessian_vector_product: expected a float64 net"):
        sharpness(net, *make_data())


def test_noise_and_running_statistics_stand_still_under_a_product():
    net = make_net(dtype=np.float64)
    net.step = 7
    buffers, data = net.buffers.copy(), make_data(dtype=np.float64)
    v = np.random.default_rng(1).standard_normal(net.params.size)
    first, again = (hessian_vector_product(net, *data, v) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(net.buffers, buffers)
    assert net.step == 7
    u = np.random.default_rng(2).standard_normal(net.params.size)
    assert u @ first == pytest.approx(v @ hessian_vector_product(net, *data, u), rel=1e-4)  # symmetric


# State and files -----------------------------------------------------------------------------------------------------


def test_a_monitor_goes_on_from_its_state():
    """One that is stopped after 12 of 30 steps, and another that takes its state over, have what one alone has."""
    whole = all_monitors(at=4)
    run(make_net(), whole)

    class Swap(mn.Callback):
        def on_step(self, trainer, record):
            if record.step == 12:
                for first, second in zip(halves[0], halves[1], strict=True):
                    second.restore(first.state())
                    trainer.callbacks.remove(first)
                trainer._watchers = [c for c in halves[1] if type(c).before_update is not mn.Callback.before_update]
                trainer.callbacks += halves[1]

    halves = all_monitors(at=4), all_monitors(at=4)
    run(make_net(), [*halves[0], Swap()])
    for one, other in zip(whole, halves[1], strict=True):
        assert other.steps.tolist() == one.steps.tolist()
        assert other.names() == one.names()
        assert other.labels == one.labels
        for name in one.names():
            np.testing.assert_array_equal(other[name], one[name])


def test_a_state_is_numbers_text_and_arrays_and_a_foreign_one_is_refused():
    monitor = Statistics(at=10)
    assert monitor.state() == {}
    run(make_net(), [monitor])
    assert all(isinstance(value, np.ndarray | str) for value in monitor.state().values())
    monitor.restore({})
    assert len(monitor) == 0
    with pytest.raises(ValueError, match="Statistics: expected a state of"):
        monitor.restore({"best": 1.0})


def test_a_second_run_begins_anew():
    monitor = DeadUnits(at=10)
    run(make_net(), [monitor])
    run(make_net(seed=9), [monitor], steps=20)
    assert monitor.steps.tolist() == [10, 20]
    fresh = DeadUnits(at=10)
    run(make_net(seed=9), [fresh], steps=20)
    np.testing.assert_array_equal(monitor["2"], fresh["2"])


@pytest.mark.parametrize("suffix", [".csv", ".json", ".npz"])
def test_a_monitor_saves_what_it_has(tmp_path, suffix):
    monitors = UpdateRatios(at=10), Statistics(at=10, bins=3)
    run(make_net(), monitors)
    for monitor in monitors:
        path = tmp_path / f"saved{suffix}"
        monitor.save(path)
        if suffix == ".npz":
            with np.load(path) as arrays:
                found = {name: arrays[name] for name in arrays.files}
        elif suffix == ".json":
            found = {name: np.array(values, float) for name, values in json.loads(path.read_text()).items()}
        else:
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            found = {"step": np.array([int(row["step"]) for row in rows])}
            for name in monitor.names():
                columns = [column for column in rows[0] if column == name or column.startswith(f"{name}[")]
                values = np.array([[float(row[column]) for column in columns] for row in rows])
                found[name] = values.reshape(monitor[name].shape)
        assert list(found) == ["step", *monitor.names()]
        assert found["step"].tolist() == [10, 20, 30]
        for name in monitor.names():
            np.testing.assert_array_equal(found[name], monitor[name])


def test_a_name_or_an_ending_that_is_none_is_named(tmp_path):
    monitor = UpdateRatios()
    run(make_net(), [monitor])
    with pytest.raises(KeyError, match="UpdateRatios: expected one of"):
        monitor["0.V"]
    with pytest.raises(ValueError, match=r"UpdateRatios\.save: expected a path ending in"):
        monitor.save(tmp_path / "saved.txt")
