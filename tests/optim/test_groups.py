"""Parameter groups, runs of elements that are treated alike, and hyper-parameters that follow schedules."""

import math
import tracemalloc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import minnet as mn
from minnet.schedules import Constant, Cosine, Linear, Triangular

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def first(tensor):
    return tensor.name.startswith("0.")


def last(tensor):
    return tensor.name.startswith("4.")


def biases(tensor):
    return not tensor.decay


def make_net(dtype=np.float64, **options):
    layers = [mn.Dense(6), mn.BatchNorm(), mn.PReLU(), mn.Dense(4), mn.Dense(3)]
    net = mn.Net(layers, 5, mn.SoftmaxCrossEntropy(), dtype=dtype, seed=1, **options)
    net.params += 0.1  # no bias of 0, which would not show decay
    return net


def values(net):
    return {name: array.copy() for name, array in net.named_parameters().items()}


def steps(net, rule, rates, **options):
    """Steps with random gradients; the parameters by name, and the optimizer."""
    optimizer = mn.Optimizer(net, rule, **options)
    for step, lr in enumerate(rates):
        net.grads = np.random.default_rng(step).standard_normal(net.grads.size)
        optimizer.step(lr)
    return values(net), optimizer


def runs_of(optimizer):
    """(names of the tensors, size) of every run, in the order of the vector."""
    runs = [run for part in optimizer._parts for run in part.runs]
    return [([t.name for t in run.tensors], run.params.size) for run in sorted(runs, key=lambda run: run.start)]


# What a group changes --------------------------------------------------------------------------------------------


def alone(rule, name, rates, decay):
    """One tensor's values after the same steps, by an optimizer that knows nothing of other tensors."""
    net = make_net()
    place = net.layout.places[name]
    params, grads = net.params[place.start : place.stop].copy(), np.zeros(place.stop - place.start)
    optimizer = mn.Optimizer.over(params, grads, rule, weight_decay=decay)
    for step, lr in enumerate(rates):
        grads[:] = np.random.default_rng(step).standard_normal(net.grads.size)[place.start : place.stop]
        optimizer.step(lr)
    return params.reshape(place.shape)


def test_each_tensor_moves_as_its_group_says():
    net = make_net()
    groups = [
        mn.Group(first, lr_factor=0.1),
        mn.Group(lambda tensor: tensor.name == "3.W", weight_decay=0.0),
        mn.Group(lambda tensor: tensor.name == "3.b", weight_decay=0.7),  # reaches what the tag spares
        mn.Group(last, rule=mn.Momentum(0.5), lr=0.03),
        mn.Group(lambda tensor: tensor.name == "2.a", frozen=True),
    ]
    before = values(net)
    rates = 0.02 * 0.9 ** np.arange(8)
    after, _ = steps(net, mn.Adam(), rates, weight_decay=0.2, groups=groups)
    expected = {
        "0.W": (mn.Adam(), 0.1 * rates, 0.2),
        "0.b": (mn.Adam(), 0.1 * rates, 0.0),
        "1.gamma": (mn.Adam(), rates, 0.0),
        "1.beta": (mn.Adam(), rates, 0.0),
        "3.W": (mn.Adam(), rates, 0.0),
        "3.b": (mn.Adam(), rates, 0.7),
        "4.W": (mn.Momentum(0.5), np.full(8, 0.03), 0.2),
        "4.b": (mn.Momentum(0.5), np.full(8, 0.03), 0.0),
    }
    assert set(after) == {*expected, "2.a"}
    np.testing.assert_array_equal(after["2.a"], before["2.a"])
    for name, (rule, own_rates, decay) in expected.items():
        np.testing.assert_array_equal(after[name], alone(rule, name, own_rates, decay), err_msg=name)


ELEMENTWISE = [
    *(mn.SGD(), mn.Momentum(), mn.Momentum(lr_in_velocity=False), mn.Nesterov(), mn.NesterovLookAhead(), mn.Adagrad()),
    *(mn.RMSprop(), mn.RMSpropMomentum(), mn.RMSpropCentred(), mn.RMSpropCentredMomentum(), mn.Adadelta()),
    *(mn.Adam(), mn.AMSGrad(), mn.AdaMax(), mn.NAdam(), mn.Lion(), mn.ScheduleFreeSGD(), mn.ScheduleFreeAdamW()),
]


@pytest.mark.parametrize("rule", ELEMENTWISE, ids=repr)
def test_groups_that_say_nothing_change_no_bit(rule):
    # Groups cut the vector of parameters elsewhere, so other elements are those that fill no vector register.
    rates = np.full(5, 0.1)
    plain, _ = steps(make_net(), rule, rates, weight_decay=0.1, clip_norm=2.0)
    grouped, _ = steps(
        make_net(), rule, rates, weight_decay=0.1, clip_norm=2.0, groups=[mn.Group(first), mn.Group(last)]
    )
    assert {name: array.tobytes() for name, array in plain.items()} == {k: v.tobytes() for k, v in grouped.items()}


def test_frozen_tensors_do_not_count_in_the_norm():
    net = make_net()
    optimizer = mn.Optimizer(net, mn.SGD(), clip_norm=1.0, groups=[mn.Group(first, frozen=True)])
    net.grads = np.random.default_rng(0).standard_normal(net.grads.size)
    gradients = net.named_gradients()
    frozen = {name: gradients[name].copy() for name in ("0.W", "0.b")}
    rest = np.concatenate([g.reshape(-1) for name, g in gradients.items() if name not in frozen])
    optimizer.step(0.1)
    assert optimizer.grad_norm == pytest.approx(np.linalg.norm(rest), rel=1e-12)
    for name, g in frozen.items():
        np.testing.assert_array_equal(gradients[name], g)  # left as they were
    left = np.concatenate([g.reshape(-1) for name, g in gradients.items() if name not in frozen])
    np.testing.assert_allclose(left, rest / np.linalg.norm(rest), rtol=1e-12)


def test_the_norm_is_that_of_all_groups_together():
    norms = []
    for groups in ([], [mn.Group(first, lr_factor=0.1), mn.Group(last, rule=mn.SGD())]):
        norms.append(steps(make_net(), mn.Adam(), [0.1], clip_norm=1.0, groups=groups)[1].grad_norm)
    assert norms[0] == norms[1]


def test_each_group_has_a_cyclical_range_of_its_own():
    low, high = Triangular(0.001, 0.01, 8), Triangular(0.01, 0.1, 8)
    after, _ = steps(make_net(), mn.SGD(), [low(step) for step in range(20)], groups=[mn.Group(last, lr=high)])
    for name, schedule in (("0.W", low), ("3.b", low), ("4.W", high), ("4.b", high)):
        expected = alone(mn.SGD(), name, [schedule(step) for step in range(20)], 0.0)
        np.testing.assert_array_equal(after[name], expected, err_msg=name)


def test_a_group_over_everything_takes_the_place_of_the_rule():
    _, optimizer = steps(make_net(), mn.SGD(), [0.1], groups=[mn.Group(lambda tensor: True, rule=mn.Adam())])
    assert list(optimizer.named_state()) == ["mean", "squares"]
    assert all(array.any() for array in optimizer.named_state().values())


def test_everything_frozen_stands_still():
    net = make_net()
    before = net.params.copy()
    _, optimizer = steps(net, mn.Adam(), [0.1] * 3, clip_norm=1.0, groups=[mn.Group(lambda tensor: True, frozen=True)])
    np.testing.assert_array_equal(net.params, before)
    assert optimizer.steps == 3
    assert optimizer.grad_norm == 0


STILL = {
    "frozen": mn.Group(first, frozen=True),
    "at a factor of 0": mn.Group(first, lr_factor=0.0),
    "at a rate of 0": mn.Group(first, lr=0.0),
    "not yet thawed": mn.Group(first, lr_factor=mn.schedules.Piecewise((10,), (0.0, 1.0))),
}


@both_dtypes
@pytest.mark.parametrize("case", STILL)
def test_max_norm_leaves_weights_that_stand_still_as_they_are(case, dtype):
    net = make_net(dtype, max_norm=0.5)
    before = values(net)
    assert np.linalg.norm(before["0.W"], axis=0).min() > 0.5, "weights that the bound would change"
    after, _ = steps(net, mn.Momentum(), [0.1] * 3, groups=[STILL[case]])
    assert after["0.W"].tobytes() == before["0.W"].tobytes()
    assert after["0.b"].tobytes() == before["0.b"].tobytes()
    for name in ("3.W", "4.W"):  # bound as before
        assert np.linalg.norm(before[name], axis=0).max() > 0.5
        assert np.linalg.norm(after[name], axis=0).max() <= 0.5 * (1 + 8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("changes", [{}, {"lr_factor": 0.1}, {"rule": mn.SGD()}, {"weight_decay": 0.1}], ids=str)
def test_max_norm_holds_in_groups_that_move(changes):
    after, _ = steps(make_net(max_norm=0.5), mn.Adam(), [0.1] * 3, groups=[mn.Group(first, **changes)])
    for name in ("0.W", "3.W", "4.W"):
        assert np.linalg.norm(after[name], axis=0).max() <= 0.5 * (1 + 1e-14), name


def test_max_norm_does_nothing_in_a_step_at_a_rate_of_0():
    net = make_net(max_norm=0.5)
    before = values(net)
    after, optimizer = steps(net, mn.Adam(), [0.0])
    assert {name: array.tobytes() for name, array in after.items()} == {k: v.tobytes() for k, v in before.items()}
    optimizer.step(1e-9)
    assert max(np.linalg.norm(net.named_parameters()[name], axis=0).max() for name in ("0.W", "3.W", "4.W")) < 0.51


def test_state_of_different_rules_is_named_by_tensor():
    _, optimizer = steps(make_net(), mn.Momentum(), [0.1], groups=[mn.Group(first, rule=mn.Adam())])
    state = optimizer.named_state()
    assert {name for name in state if name.startswith("0.")} == {
        *("0.W.mean", "0.W.squares", "0.b.mean", "0.b.squares")
    }
    assert {name for name in state if name.startswith("3.")} == {"3.W.velocity", "3.b.velocity"}
    assert state["0.W.squares"].shape == (5, 6)
    assert np.shares_memory(state["3.W.velocity"], optimizer.state)
    assert all(array.any() for array in state.values())


def test_groups_of_arrays_with_names():
    params, grads = np.ones(15), np.ones(15)
    groups = [mn.Group(lambda tensor: tensor.name == "b" and tensor.shape == (3,), lr_factor=10.0)]
    mn.Optimizer.over(params, grads, mn.SGD(), shapes={"W": (4, 3), "b": (3,)}, groups=groups).step(0.1)
    np.testing.assert_array_equal(params, [0.9] * 12 + [0.0] * 3)


@both_dtypes
def test_the_state_of_a_run_with_groups_is_all_there_is_to_remember(dtype):
    groups = [
        mn.Group(first, rule=mn.NesterovLookAhead(Linear(0.5, 0.9, 6)), lr=Cosine(0.1, 9)),
        mn.Group(last, lr_factor=Linear(1.0, 0.1, 9)),
    ]
    options = {"groups": groups, "weight_decay": Linear(0.0, 0.1, 9), "clip_norm": Linear(5.0, 1.0, 9)}
    whole, _ = steps(make_net(dtype), mn.Adam(), [0.1] * 10, **options)
    net = make_net(dtype)
    one = mn.Optimizer(net, mn.Adam(), **options)
    for step in range(10):
        if step == 4:
            two = mn.Optimizer(net, mn.Adam(), **options)
            two.state, two.steps = one.state, one.steps
            one = two
        net.grads = np.random.default_rng(step).standard_normal(net.grads.size)
        one.step(0.1)
    for name, array in values(net).items():
        np.testing.assert_array_equal(array, whole[name], err_msg=name)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_fifty_steps_equal_those_of_pytorchs_parameter_groups(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    sizes, rng = {"W1": (5, 8), "b1": (8,), "W2": (8, 3), "b2": (3,)}, np.random.default_rng(0)
    start = {key: rng.standard_normal(shape) for key, shape in sizes.items()}
    x, y = rng.standard_normal((20, 5)), rng.standard_normal((20, 3))
    theirs = {key: torch.tensor(array, requires_grad=True) for key, array in start.items()}
    high = Triangular(0.002, 0.02, 10)
    if name == "SGD":
        rule, own = mn.Momentum(0.9, lr_in_velocity=False), mn.Nesterov(0.8, lr_in_velocity=False)
        shared, special, decay = {"momentum": 0.9}, {"momentum": 0.8, "nesterov": True}, 0.0
    else:
        rule, own = mn.Adam(), mn.Adam(beta1=0.8, beta2=0.95)
        shared, special, decay = {"weight_decay": 0.1}, {"betas": (0.8, 0.95), "weight_decay": 0.3}, 0.1
    optimizer = getattr(torch.optim, name)(
        [{"params": [theirs["W1"], theirs["b1"]]}, {"params": [theirs["W2"]], **special}], lr=0.01, **shared
    )
    params = np.concatenate([array.reshape(-1) for array in start.values()])
    grads = np.zeros_like(params)
    groups = [
        mn.Group(lambda t: t.name == "W2", rule=own, lr=high, weight_decay=0.3 if decay else None),
        mn.Group(lambda t: t.name == "b2", frozen=True),
    ]
    ours = mn.Optimizer.over(params, grads, rule, shapes=sizes, weight_decay=decay, groups=groups)
    for step in range(50):
        optimizer.param_groups[0]["lr"] = 0.01 * 0.97**step
        optimizer.param_groups[1]["lr"] = high(step)
        optimizer.zero_grad()
        hidden = torch.tanh(torch.tensor(x) @ theirs["W1"] + theirs["b1"])
        (((hidden @ theirs["W2"] + theirs["b2"]) - torch.tensor(y)) ** 2).mean().backward()
        optimizer.step()
        # The gradient by hand, at our own parameters.
        at = {key: part.reshape(shape) for (key, shape), part in zip(
            sizes.items(), np.split(params, np.cumsum([math.prod(s) for s in sizes.values()])[:-1]), strict=True
        )}  # fmt: skip
        hidden = np.tanh(x @ at["W1"] + at["b1"])
        d_scores = 2 * (hidden @ at["W2"] + at["b2"] - y) / y.size
        d_hidden = (d_scores @ at["W2"].T) * (1 - hidden**2)
        parts = [x.T @ d_hidden, d_hidden.sum(axis=0), hidden.T @ d_scores, d_scores.sum(axis=0)]
        grads[:] = np.concatenate([part.reshape(-1) for part in parts])
        ours.step(0.01 * 0.97**step)
        flat = np.concatenate([tensor.detach().numpy().reshape(-1) for tensor in theirs.values()])
        assert np.abs(flat - params).max() < 1e-12, step
    assert np.abs(params[:48] - np.concatenate([start["W1"].reshape(-1), start["b1"]])).max() > 0.05
    np.testing.assert_array_equal(params[-3:], start["b2"])


# Runs ------------------------------------------------------------------------------------------------------------


def test_tensors_in_a_row_that_are_treated_alike_are_one_run():
    net = make_net()
    everything = [tensor.name for tensor in net.tensors]
    assert runs_of(mn.Optimizer(net, mn.Adam())) == [(everything, net.params.size)]
    weights, rest = everything[:3], everything[3:]
    assert runs_of(mn.Optimizer(net, mn.Adam(), weight_decay=0.1)) == [(weights, 66), (rest, net.params.size - 66)]
    assert everything == ["0.W", "3.W", "4.W", "0.b", "1.gamma", "1.beta", "2.a", "3.b", "4.b"]
    first_layer = mn.Optimizer(net, mn.Adam(), groups=[mn.Group(first, lr_factor=0.1)])
    assert [names for names, _ in runs_of(first_layer)] == [["0.W"], ["3.W", "4.W"], ["0.b"], everything[4:]]
    head = mn.Optimizer(net, mn.Adam(), weight_decay=0.1, groups=[mn.Group(lambda t: t.name[0] in "01", frozen=True)])
    assert [names for names, _ in runs_of(head)] == [["3.W", "4.W"], ["2.a", "3.b", "4.b"]]
    # A decay of the group's own is for all of it, so a group of weights and biases in a row is one run.
    own = mn.Optimizer(net, mn.Adam(), groups=[mn.Group(lambda t: t.name in ("4.W", "0.b"), weight_decay=0.1)])
    assert (["4.W", "0.b"], 18) in runs_of(own)


@dataclass(frozen=True)
class Normalised(mn.Rule):
    """p -= lr * g / |g|, tensor by tensor."""

    shaped: ClassVar[bool] = True

    def apply(self, params, grads, state, *, lr, t, decay):
        params *= 1 - lr * decay
        params -= lr * grads / np.linalg.norm(grads)


def test_a_shaped_rule_gets_one_tensor_at_a_time_in_its_own_shape():
    net = make_net()
    before = values(net)
    optimizer = mn.Optimizer(net, Normalised(), weight_decay=0.5)
    assert [names for names, _ in runs_of(optimizer)] == [[tensor.name] for tensor in net.tensors]
    net.grads = np.random.default_rng(0).standard_normal(net.grads.size)
    optimizer.step(0.1)
    for name, g in net.named_gradients().items():
        shrink = 1 - 0.1 * 0.5 * name.endswith(".W")
        expected = shrink * before[name] - 0.1 * g / np.linalg.norm(g)
        np.testing.assert_allclose(net.named_parameters()[name], expected, rtol=1e-14, err_msg=name)


@dataclass(frozen=True)
class Counted(mn.Rule):
    """Keeps two numbers a run: steps, and the sum of the squares of all gradients, which it divides by."""

    slots: ClassVar[tuple[str, ...]] = ("mean",)
    numbers: ClassVar[tuple[str, ...]] = ("steps", "squares")

    def start(self, params, state):
        state[-1][1] = 1.0

    def prepare(self, runs, *, lr, t):
        total = sum(float(np.sum(run.grads**2)) for run in runs)
        for run in runs:
            run.state[-1][:] += 1, total

    def apply(self, params, grads, state, *, lr, t, decay):
        mean, numbers = state
        assert numbers[0] == t
        mean += grads
        params -= lr * mean / math.sqrt(numbers[1])


def test_numbers_lie_behind_the_slots_and_see_the_whole_gradient():
    net = make_net()
    before = values(net)
    groups = [mn.Group(first, rule=mn.SGD()), mn.Group(last, rule=Counted())]
    after, optimizer = steps(net, Counted(), [0.1] * 3, groups=groups)
    assert optimizer.numbers.dtype == np.float64
    places = net.layout.places
    total = {"last": 1.0, "rest": 1.0}
    sums = {name: 0.0 for name in places}
    expected = before
    for step in range(3):
        g = np.random.default_rng(step).standard_normal(net.grads.size)
        by_name = {name: g[place.start : place.stop].reshape(place.shape) for name, place in places.items()}
        for name, part in by_name.items():
            if name[0] != "0":
                total["last" if name[0] == "4" else "rest"] += (part**2).sum()
        for name, part in by_name.items():
            sums[name] = sums[name] + part
            scale = 1.0 if name[0] == "0" else math.sqrt(total["last" if name[0] == "4" else "rest"])
            expected[name] = expected[name] - 0.1 * (part if name[0] == "0" else sums[name] / scale)
    for name, array in after.items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-14, err_msg=name)
    used = {tuple(row) for row in optimizer.numbers if row.any()}
    assert {row[0] for row in used} == {3.0}
    assert sorted(row[1] for row in used) == pytest.approx(sorted(total.values()))
    # They come back with the state.
    again = mn.Optimizer(make_net(), Counted(), groups=groups)
    again.numbers = optimizer.numbers
    np.testing.assert_array_equal(again.numbers, optimizer.numbers)
    with pytest.raises(ValueError, match=r"^Optimizer: expected numbers of shape \(\d, 2\); got \(3,\)$"):
        again.numbers = np.zeros(3)


# A point handed out ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Descent(mn.Rule):
    """Gradient descent, with the arithmetic of ``Averaging``."""

    def apply(self, params, grads, state, *, lr, t, decay):
        params -= lr * grads


class Averaging(mn.Rule):
    """Gradient descent that hands out the mean of all points so far."""

    slots: ClassVar[tuple[str, ...]] = ("mean",)

    def apply(self, params, grads, state, *, lr, t, decay):
        params -= lr * grads
        state[0][...] += (params - state[0]) / t

    def evaluated(self, params, state):
        return state[0]


def test_evaluating_shows_the_point_handed_out_and_puts_the_other_back_whatever_happens():
    net = make_net()
    groups = [mn.Group(last, rule=mn.SGD())]  # which hands out its params
    _, optimizer = steps(net, Averaging(), [0.1] * 4, groups=groups)
    trained, mean = values(net), optimizer.named_state()
    with optimizer.evaluating():
        for name, array in net.named_parameters().items():
            np.testing.assert_array_equal(array, trained[name] if name[0] == "4" else mean[f"{name}.mean"])
        assert not np.array_equal(values(net)["0.W"], trained["0.W"])
    for name, array in values(net).items():
        np.testing.assert_array_equal(array, trained[name])
    with pytest.raises(RuntimeError, match="half way"), optimizer.evaluating():
        raise RuntimeError("half way")
    for name, array in values(net).items():
        np.testing.assert_array_equal(array, trained[name])
    optimizer.settle()
    np.testing.assert_array_equal(values(net)["0.W"], mean["0.W.mean"])
    np.testing.assert_array_equal(values(net)["4.W"], trained["4.W"])


def blobs(n=60):
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, n)
    return rng.standard_normal((n, 5)) + 2 * np.eye(5)[y], y


def test_a_trainer_validates_and_ends_at_the_point_handed_out_and_trains_at_the_other():
    net, data = make_net(), blobs()
    history = mn.fit(net, data, rule=Averaging(), lr=0.1, batch_size=20, epochs=3, validation=data, progress=False)
    twin = make_net()
    optimizer, batches, means = mn.Optimizer(twin, mn.SGD()), mn.data.Batches(data, 20, seed=0, dtype=np.float64), []
    mean = 0.0
    for step in range(9):
        twin.loss_and_grads(*batches.next())
        optimizer.step(0.1)
        mean = mean + (twin.params - mean) / (step + 1)
        if step % 3 == 2:
            trained = twin.params.copy()
            twin.params = mean
            means.append(twin.evaluate(*data)["loss"])
            twin.params = trained
    np.testing.assert_allclose(history["val_loss"], means, rtol=1e-12)
    np.testing.assert_allclose(net.params, mean, rtol=0, atol=1e-13)


def test_an_exception_in_a_callback_leaves_the_trainer_at_its_training_point():
    class Fails(mn.Callback):
        def on_epoch(self, trainer, row):
            raise RuntimeError("half way")

    net, data = make_net(), blobs()
    trainer = mn.Trainer(net, data, rule=Averaging(), lr=0.1, batch_size=20, epochs=3, callbacks=[Fails()])
    twin = mn.Trainer(make_net(), data, rule=Descent(), lr=0.1, batch_size=20, epochs=3)
    next(trainer), next(trainer), next(twin), next(twin), next(twin)
    with pytest.raises(RuntimeError, match="half way"):
        next(trainer)
    np.testing.assert_array_equal(net.params, twin.net.params)


def test_a_run_that_diverges_ends_at_the_point_handed_out_and_tells_the_truth_about_it():
    net = make_net()
    trainer = mn.Trainer(net, blobs(), rule=Averaging(), lr=0.1, batch_size=20, epochs=4)
    for _ in range(5):
        next(trainer)
    net.named_parameters()["0.W"][0, 0] = np.nan
    with pytest.raises(mn.DivergenceError, match=r"The net is as it was after step \d\."):
        next(trainer)
    assert np.isfinite(net.params).all()
    np.testing.assert_array_equal(net.params, trainer.optimizer.state[0])


# Rules that search -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Halving(mn.Rule):
    """Halves the step along the gradient until the loss is lower."""

    searches: ClassVar[bool] = True

    def search(self, run, loss, evaluate, *, lr, t):
        start, direction = run.params.copy(), run.grads.copy()
        while True:
            run.params[:] = start - lr * direction
            if evaluate() < loss or lr < 1e-12:
                return
            lr /= 2


def test_a_rule_that_searches_sees_the_loss_of_every_point_it_tries():
    params, grads, asked = np.array([3.0, -2.0]), np.zeros(2), []

    def evaluate():
        grads[:] = 20 * params
        asked.append(params.copy())
        return 10 * float(params @ params)

    optimizer = mn.Optimizer.over(params, grads, Halving())
    assert optimizer.searches
    for _ in range(50):
        loss = evaluate()
        optimizer.step(1.0, loss=loss, evaluate=evaluate)
    assert np.abs(params).max() < 1e-6
    assert len(asked) > 100
    assert optimizer.steps == 50


@dataclass(frozen=True)
class Asking(Halving):
    """Asks first for the point where it is, which the loss is known of."""

    def search(self, run, loss, evaluate, *, lr, t):
        gradient = run.grads.copy()
        assert evaluate() == loss
        np.testing.assert_array_equal(run.grads, gradient)
        super().search(run, loss, evaluate, lr=lr, t=t)


def test_a_trainer_lets_a_rule_search_on_one_batch_with_the_same_noise():
    layers = [mn.Dense(8), mn.ReLU(), mn.Dropout(0.3), mn.Dense(3)]
    net = mn.Net(layers, 5, mn.SoftmaxCrossEntropy(), dtype=np.float64, seed=1)
    trainer = mn.Trainer(net, blobs(), rule=Asking(), lr=1.0, batch_size=60, epochs=30)
    for record in trainer:
        assert net.step == record.step  # whatever was asked, a step is one training pass
    assert trainer.history["loss"][-1] < 0.8 * trainer.history["loss"][0]


SEARCH = "a rule that searches to have all parameters to itself"


@pytest.mark.parametrize(
    "options",
    [{"weight_decay": 0.1}, {"groups": [mn.Group(first, lr_factor=0.1)]}, {"clip_norm": 1.0},
     {"groups": [mn.Group(first, frozen=True)]}],
    ids=["decay", "groups", "clipping", "frozen"],
)  # fmt: skip
def test_a_rule_that_searches_wants_all_for_itself(options):
    with pytest.raises(ValueError, match=f"^Optimizer: expected {SEARCH}"):
        mn.Optimizer(make_net(), Halving(), **options)


def test_a_step_of_a_rule_that_searches_needs_loss_and_evaluate():
    net = make_net()
    before = net.params.copy()
    optimizer = mn.Optimizer(net, Halving())
    with pytest.raises(ValueError, match=r"^Optimizer\.step: expected loss=\.\.\. and evaluate=\.\.\. for Halving"):
        optimizer.step(0.1)
    np.testing.assert_array_equal(net.params, before)
    assert optimizer.steps == 0


# Hyper-parameters by schedule ------------------------------------------------------------------------------------


def test_momentum_rises_as_cs231n_anneals_it():
    momentum = Linear(0.5, 0.99, 6)
    after, _ = steps(make_net(), mn.Nesterov(momentum), [0.1] * 9)
    net, v = make_net(), 0.0
    p = net.params.copy()
    for step in range(9):
        g, mu = np.random.default_rng(step).standard_normal(p.size), min(0.99, 0.5 + 0.49 * step / 6)
        before, v = v, mu * v - 0.1 * g
        p += -mu * before + (1 + mu) * v
    for name, place in net.layout.places.items():
        np.testing.assert_allclose(after[name].reshape(-1), p[place.start : place.stop], rtol=0, atol=1e-13)


UP = Linear(0.1, 0.9, 5)


@pytest.mark.parametrize(
    "build",
    [
        lambda up: (mn.Adam(beta1=up), {}),
        lambda up: (mn.LookAhead(mn.SGD(), k=2, alpha=up), {}),
        lambda up: (mn.Adam(), {"weight_decay": up}),
        lambda up: (mn.SGD(), {"clip_norm": up}),
        lambda up: (mn.SGD(), {"groups": [mn.Group(first, lr_factor=up)]}),
        lambda up: (mn.SGD(), {"groups": [mn.Group(first, weight_decay=up)]}),
        lambda up: (mn.SGD(), {"groups": [mn.Group(first, lr=up)]}),
        lambda up: (mn.Adam(), {"groups": [mn.Group(first, rule=mn.RMSprop(rho=up))]}),
    ],
    ids=["beta1", "inside", "weight_decay", "clip_norm", "group factor", "group decay", "group lr", "group rule"],
)
def test_a_scheduled_value_equals_an_optimizer_built_anew_with_it_for_every_step(build):
    net, by_hand = make_net(), make_net()
    rule, options = build(UP)
    optimizer, kept = mn.Optimizer(net, rule, **options), None
    for step in range(8):
        g = np.random.default_rng(step).standard_normal(net.grads.size)
        net.grads, by_hand.grads = g, g
        optimizer.step(0.05)
        rule, options = build(UP(step))
        other = mn.Optimizer(by_hand, rule, **options)
        if kept is not None:
            other.state, other.steps = kept, step
        other.step(0.05)
        kept = other.state.copy()
        np.testing.assert_array_equal(net.params, by_hand.params, err_msg=f"step {step}")


@dataclass(frozen=True)
class Against(mn.schedules.Schedule):
    """Momentum in a cycle: low where the rate is high."""

    rate: mn.schedules.Schedule

    def at(self, t):
        return 0.95 - self.rate.at(t)


def cycled():
    """One cycle: momentum falls while the rate rises, and the other way round."""
    data = blobs()
    groups = [
        mn.Group(first, lr=Triangular(0.001, 0.01, 6), weight_decay=Linear(0.1, 0.2, 5), name="stem"),
        mn.Group(last, rule=mn.Adam(beta1=Linear(0.8, 0.9, 5)), lr_factor=Linear(1.0, 0.5, 5)),
    ]
    rate = Triangular(0.01, 0.1, 11)
    return mn.fit(
        make_net(), data, rule=mn.Momentum(Against(rate)), lr=rate, batch_size=20, epochs=4, groups=groups,
        weight_decay=Linear(0.0, 0.1, 11), clip_norm=Linear(5.0, 1.0, 11), progress=False,
    )  # fmt: skip


def test_scheduled_values_stand_in_the_history_and_come_back_from_files(tmp_path):
    history = cycled()
    expected = {
        "lr": Triangular(0.01, 0.1, 11),
        "momentum": Against(Triangular(0.01, 0.1, 11)),
        "weight_decay": Linear(0.0, 0.1, 11),
        "clip_norm": Linear(5.0, 1.0, 11),
        "stem lr": Triangular(0.001, 0.01, 6),
        "stem weight_decay": Linear(0.1, 0.2, 5),
        "group 1 lr_factor": Linear(1.0, 0.5, 5),
        "group 1 beta1": Linear(0.8, 0.9, 5),
    }
    assert history.steps.columns() == ["step", "epoch", "loss", *expected, "grad_norm"]
    for name, schedule in expected.items():
        assert history.steps[name] == [schedule(step) for step in range(12)], name
    for name in ("history.csv", "history.json"):
        history.save(tmp_path / name)
        again = mn.History.load(tmp_path / name)
        assert again.steps.rows == history.steps.rows
        assert again.epochs.rows == history.epochs.rows


def test_numbers_that_stand_still_have_no_column():
    history = mn.fit(
        make_net(), blobs(), rule=mn.Adam(), lr=0.1, batch_size=20, epochs=1, weight_decay=0.1, progress=False
    )
    assert history.steps.columns() == ["step", "epoch", "loss", "lr"]


@dataclass(frozen=True)
class Falling(mn.schedules.Schedule):
    """1 at step 0, and 1 less at each after it; 1 again at the last of 12, or it would be refused before the run."""

    def at(self, t):
        return 1.0 - t if t < 11 else 1.0


@dataclass(frozen=True)
class Breaking(mn.schedules.Schedule):
    """0.5, but no momentum at step 3, of which it says nothing."""

    def at(self, t):
        return 1.0 if t == 3 else 0.5


BREAKS = Breaking()


@pytest.mark.parametrize(
    ("rule", "options", "said"),
    [
        (mn.Momentum(BREAKS), {}, r"Momentum: expected 0 <= momentum < 1; got 1\.0"),
        (mn.LookAhead(mn.Momentum(BREAKS)), {}, r"Momentum: expected 0 <= momentum < 1; got 1\.0"),
        (mn.SGD(), {"weight_decay": Falling()}, r"Optimizer: expected weight_decay of at least 0; got -1\.0"),
        (mn.SGD(), {"clip_norm": Falling()}, r"Optimizer: expected clip_norm above 0; got 0\.0"),
        (mn.SGD(), {"groups": [mn.Group(first, lr=Falling())]}, r"Group: expected lr of at least 0; got -1\.0"),
        (mn.SGD(), {"groups": [mn.Group(first, lr_factor=Falling())]}, r"Group: expected lr_factor of at least 0"),
        (mn.SGD(), {"groups": [mn.Group(first, rule=mn.Momentum(BREAKS))]}, r"Momentum: expected 0 <= momentum < 1"),
    ],
    ids=["rule", "inside a rule", "weight_decay", "clip_norm", "group lr", "group factor", "group rule"],
)
def test_a_scheduled_value_out_of_range_is_an_error_before_anything_moves(rule, options, said):
    net = make_net()
    trainer = mn.Trainer(net, blobs(), rule=rule, lr=0.1, batch_size=20, epochs=4, **options)
    optimizer = trainer.optimizer

    def everything():
        arrays = net.params, net.grads, net.buffers, optimizer.state, optimizer.numbers
        return [array.tobytes() for array in arrays], net.step, optimizer.steps, trainer.step, trainer.batches.position

    with pytest.raises(ValueError, match=f"^{said}"):  # noqa: PT012
        while trainer.step < 12:
            before = everything()
            next(trainer)
    assert everything() == before
    assert 0 < trainer.step < 12
    with pytest.raises(ValueError, match=f"^{said}"):
        optimizer.step(0.1)
    assert everything() == before


# What a step allocates -------------------------------------------------------------------------------------------


def peak(step):
    """Bytes that ``step()`` had allocated at its worst moment, beyond what was there before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        step()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def allocated(width):
    shapes = {"W": (width, 8), "b": (width,), "V": (8, width), "c": (width,), "frozen": (width,)}
    size = 19 * width
    params, grads = np.ones(size, np.float32), np.ones(size, np.float32)
    inside = mn.ClipNorm(mn.ClipValue(mn.LookAhead(mn.Momentum(Linear(0.5, 0.9, 9))), 1.0), 1.0)
    rule = mn.GradientNoise(mn.AdaptiveClip(mn.ClipTensorNorm(mn.Accumulate(inside, 2), 1.0)))
    groups = [
        mn.Group(lambda t: t.name == "b", lr_factor=0.1),
        mn.Group(lambda t: t.name == "V", rule=mn.Adam(), lr=Constant(0.1), weight_decay=0.1),
        mn.Group(lambda t: t.name == "frozen", frozen=True),
    ]
    options = {"weight_decay": Linear(0.1, 0.2, 9), "clip_norm": 0.5, "groups": groups}
    optimizer = mn.Optimizer.over(params, grads, rule, shapes=shapes, **options)

    def steps_of_a_cycle():
        for _ in range(10):
            optimizer.step(0.1)

    steps_of_a_cycle()
    steps_of_a_cycle()
    return min(peak(steps_of_a_cycle) for _ in range(3))


def test_a_step_with_groups_schedules_and_combinators_allocates_no_arrays():
    # Python's own objects take some thousand bytes, fewer after some hundreds of steps. An array of 20,000 elements
    # takes at least 20,000 bytes.
    assert allocated(20_000) - allocated(50) < 10_000


# Bad input -------------------------------------------------------------------------------------------------------

BAD_GROUPS = [
    ({"where": "0.W"}, "where as a function of a tensor; got '0.W'"),
    ({"lr_factor": -1.0}, "lr_factor of at least 0; got -1.0"),
    ({"lr_factor": None}, "lr_factor to be a number; got None"),
    ({"lr": math.nan}, "lr to be finite; got nan"),
    ({"weight_decay": "0.1"}, "weight_decay to be a number; got '0.1'"),
    ({"rule": mn.SGD}, "a Rule, such as Adam"),
    ({"name": 3}, "name as text; got 3"),
    ({"lr": 0.1, "lr_factor": 0.5}, "lr or lr_factor, not both; got 0.1 and 0.5"),
    ({"frozen": "no"}, "frozen to be True or False; got 'no'"),
    ({"frozen": 1}, "frozen to be True or False; got 1"),
    ({"frozen": True, "lr": 0.1}, "nothing beside frozen=True"),
    ({"frozen": True, "rule": mn.SGD()}, "nothing beside frozen=True"),
    ({"frozen": True, "weight_decay": 0.0}, "nothing beside frozen=True"),
    ({"frozen": True, "lr_factor": 0.0}, "nothing beside frozen=True"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD_GROUPS, ids=str)
def test_a_group_refuses_what_makes_no_sense(arguments, said):
    with pytest.raises((TypeError, ValueError), match=r"^Group: expected ") as error:
        mn.Group(**({"where": first} | arguments))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([mn.Group(lambda t: t.name == "9.W")], r"group 0 to match a tensor; got none of 0\.W, 3\.W"),
        ([mn.Group(first), mn.Group(lambda t: False, name="head")], r"head to match a tensor"),
        ([mn.Group(first), mn.Group(biases)], r"groups that do not overlap; got 0\.b in group 0 and group 1"),
        ([mn.Group(first, name="x"), mn.Group(last, name="x")], r"groups of different names; got 'x' twice"),
        ([first], r"groups that are Group objects; got <function"),
        (mn.Group(first), r"groups as a list; got Group\("),
    ],
    ids=["no match", "no match of a named one", "overlap", "one name twice", "no group", "no list"],
)
def test_an_optimizer_refuses_groups_that_do_not_fit(groups, said):
    net = make_net()
    before = net.params.copy()
    for build in (
        lambda: mn.Optimizer(net, mn.SGD(), groups=groups),
        lambda: mn.Trainer(net, blobs(), rule=mn.SGD(), lr=0.1, batch_size=20, epochs=1, groups=groups),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^Optimizer: expected {said}"):
            build()
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"W": (4, 3)}, "shapes of 15 elements in all"),
        ({}, "shapes of 15 elements in all"),
        ({"W": 15}, "shapes such as"),
        ([("W", (15,))], "shapes such as"),
        ({"W": (-5, -3)}, "each length in shapes of at least 0"),
        ({"W": (5, 3.0)}, "each length in shapes to be a whole number"),
    ],
    ids=str,
)
def test_shapes_that_do_not_fit_are_refused(shapes, said):
    with pytest.raises((TypeError, ValueError), match=f"^Optimizer: expected {said}.*; got "):
        mn.Optimizer.over(np.zeros(15), np.zeros(15), mn.SGD(), shapes=shapes)


@pytest.mark.parametrize(
    ("where", "error", "said"),
    [
        (lambda t: t.tag, ValueError, "AttributeError: 'Tensor' object has no attribute 'tag' for 0.W"),
        (lambda t: t.shape[1] > 2, ValueError, "IndexError: tuple index out of range for 0.b"),
        (lambda t: t.name.endswith("W") or "no", TypeError, "'no' for 0.b"),
        (lambda t: None, TypeError, "None for 0.W"),
        (lambda t: np.array([True, False]), TypeError, "array([ True, False]) for 0.W"),
    ],
    ids=["no such field", "a vector's second axis", "text", "nothing", "an array"],
)
def test_a_predicate_that_fails_is_told_of_the_tensor(where, error, said):
    with pytest.raises(error) as caught:
        mn.Optimizer(make_net(), mn.SGD(), groups=[mn.Group(where)])
    text = str(caught.value)
    assert text.startswith("Group: expected where(tensor) to be True or False")
    assert text.endswith(f"got {said}")


def test_a_predicate_may_give_numpys_truth():
    net = make_net()
    optimizer = mn.Optimizer(net, mn.SGD(), groups=[mn.Group(lambda t: np.prod(t.shape) > 6, lr_factor=0.5)])
    assert {tensor.name for tensor in optimizer._parts[-1].tensors} == {"0.W", "3.W", "4.W"}
