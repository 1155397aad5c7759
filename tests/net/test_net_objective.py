"""A net's objective: penalties and bounds of norms."""

import dataclasses
import math

import numpy as np
import pytest
from net_cases import DTYPES, EPS, small_data, small_net

import minnet as mn
import minnet.kernels

# The objective -----------------------------------------------------------------------------------------------


def weights_of(net):
    return [view for name, view in net.named_parameters().items() if name.endswith("W")]


@DTYPES
def test_penalties_are_their_closed_forms_and_are_reported_apart(dtype):
    net, (x, y) = small_net(dtype, l2=0.3, l1=0.02), small_data(dtype=dtype)
    bare = small_net(dtype)
    data, total = bare.loss_and_grads(x, y), net.loss_and_grads(x, y)
    l2 = 0.5 * 0.3 * math.fsum(float(w) ** 2 for W in weights_of(net) for w in W.flat)
    l1 = 0.02 * math.fsum(abs(float(w)) for W in weights_of(net) for w in W.flat)
    bound = 20 * EPS[dtype]
    assert net.objective == mn.Objective(data, pytest.approx(l2, rel=bound), pytest.approx(l1, rel=bound))
    assert total == net.objective.total == pytest.approx(data + l2 + l1, rel=bound)
    assert bare.objective == mn.Objective(data, 0.0, 0.0)
    assert net.penalties() == pytest.approx((l2, l1), rel=bound)
    assert net.loss(x, y) == pytest.approx(bare.loss(x, y) + l2 + l1, rel=bound)
    result = net.evaluate(x, y)
    assert result["loss"] - result["data_loss"] == pytest.approx(l2 + l1, rel=50 * bound)
    assert result["data_loss"] == bare.evaluate(x, y)["data_loss"]


def test_penalties_pull_on_weights_and_spare_biases_and_gains():
    (x, y), l2, l1 = small_data(), 0.3, 0.02
    net, bare = small_net(l2=l2, l1=l1), small_net()
    for each in (net, bare):
        each.params += 0.1  # biases that a penalty would pull on
        each.named_parameters()["0.W"][0, :] = 0  # where the slope of |w| is taken as 0
        each.loss_and_grads(x, y)
    gradients = bare.named_gradients()
    for name, gradient in net.named_gradients().items():
        w = net.named_parameters()[name]
        pull = l2 * w + l1 * np.sign(w) if name.endswith("W") else np.zeros_like(w)
        np.testing.assert_allclose(gradient, gradients[name] + pull, rtol=0, atol=1e-14, err_msg=name)


def test_a_penalty_of_ones_own_tag_is_honoured():
    @dataclasses.dataclass(frozen=True)
    class Gain(mn.Layer):
        decay: bool

        def plan(self, in_shape):
            return mn.Plan(in_shape, (mn.Param("g", in_shape, mn.initializers.Constant(2.0), decay=self.decay),))

    assert mn.Net([Gain(True)], 3, l2=1.0).penalties() == (6.0, 0.0)
    assert mn.Net([Gain(False)], 3, l2=1.0).penalties() == (0.0, 0.0)


@DTYPES
def test_max_norm_bounds_each_units_incoming_weights_and_nothing_else(dtype):
    net = small_net(dtype, max_norm=1.5)
    net.params = np.random.default_rng(0).standard_normal(net.params.size)
    before = {name: view.astype(np.float64) for name, view in net.named_parameters().items()}
    net.grads = np.zeros(net.grads.size)
    mn.Optimizer(net, mn.SGD()).step(0.1)
    shrunk = 0
    for name, now in net.named_parameters().items():
        if not name.endswith("W"):
            np.testing.assert_array_equal(now, before[name], err_msg=name)
            continue
        for unit in range(now.shape[1]):
            norm = math.sqrt(math.fsum(before[name][:, unit] ** 2))
            shrunk += norm > 1.5
            expected = before[name][:, unit] * min(1.0, 1.5 / norm)
            np.testing.assert_allclose(now[:, unit], expected, rtol=8 * EPS[dtype], err_msg=name)
    assert 0 < shrunk < 21  # the bound cuts through the units: both cases are there


def test_max_norm_holds_through_training():
    net, (x, y) = small_net(max_norm=0.5), small_data()
    optimizer = mn.Optimizer(net, mn.Momentum())
    for _ in range(3):
        net.loss_and_grads(x, y)
        optimizer.step(1.0)
        assert max(np.linalg.norm(W, axis=0).max() for W in weights_of(net)) <= 0.5 * (1 + 8 * EPS[np.float64])


def test_an_objective_is_not_changed():
    objective = mn.Objective(1.0, 0.5)
    with pytest.raises(AttributeError):
        objective.data = 2.0
    assert objective.total == 1.5
