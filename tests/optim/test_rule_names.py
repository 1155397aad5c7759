"""Words for hyper-parameters that belong elsewhere, and for rules that would have nothing to do."""

import copy
import dataclasses
import pickle
from dataclasses import dataclass

import numpy as np
import pytest

import minnet as mn

BY_NAME = [
    *(mn.Adagrad, mn.RMSprop, mn.RMSpropMomentum, mn.RMSpropCentred, mn.RMSpropCentredMomentum, mn.Adadelta, mn.Adam),
    *(mn.AMSGrad, mn.AdaMax, mn.NAdam, mn.RAdam, mn.Lion, mn.ScheduleFreeSGD, mn.ScheduleFreeAdamW, mn.LARS, mn.LAMB),
    *(mn.Adafactor, mn.Muon, mn.LBFGS),
]
STEP = r"the rate comes with the step: fit\(net, data, rule={0}\(\.\.\.\), lr={1}\), or optimizer\.step\({1}\)"


@pytest.mark.parametrize("rule", BY_NAME)
def test_a_number_without_a_name_may_be_a_rate_and_is_refused(rule):
    first, who = dataclasses.fields(rule)[0].name, rule.__name__
    expected = rf"^{who}: expected hyper-parameters by name; got 0\.001 without one. If it is the rate: "
    with pytest.raises(TypeError, match=f"{expected}{STEP.format(who, '0.001')}. If not, write {who}.{first}=0.001"):
        rule(1e-3)


def test_gradient_descent_takes_no_number_and_momentum_none_that_looks_like_a_rate():
    with pytest.raises(TypeError, match=r"^SGD: expected no hyper-parameters; got 0\.1; " + STEP.format("SGD", 0.1)):
        mn.SGD(0.1)
    for rule in (mn.Momentum, mn.Nesterov, mn.NesterovLookAhead):
        for rate in (0.01, 0.1, 0.3):
            with pytest.raises(TypeError, match=rf"^{rule.__name__}: .* by name; .*lr={rate}.*momentum={rate}"):
                rule(rate)
        assert rule(0.5).momentum == 0.5
        assert rule(0.9) == rule(momentum=0.9) == rule()
        assert rule(momentum=0.01).momentum == 0.01


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mn.SGD(lr=0.1), r"^SGD: expected no hyper-parameters; got lr; " + STEP.format("SGD", 0.01)),
        (
            lambda: mn.Adam(learning_rate=0.1),
            r"^Adam: expected .* beta1, beta2, eps, .*; got learning_rate; the rate comes",
        ),
        (lambda: mn.LookAhead(mn.Adam(), lr=0.1), r"^LookAhead: .*; got lr; the rate comes with the step"),
        (lambda: mn.SGD(momentum=0.9), r"^SGD: .*; got momentum; rules with momentum are Momentum\(0.9\) and Nesterov"),
        (lambda: mn.RMSprop(momentum=0.9), r"RMSpropMomentum\(\)"),
        (lambda: mn.Momentum(0.9, nesterov=True), r"Nesterov\(0.9\)"),
        (lambda: mn.Adam(betas=(0.9, 0.99)), r"Adam\(beta1=0.9, beta2=0.999\)"),
        (lambda: mn.Adam(weight_decay=0.1), r"got weight_decay; .*CoupledDecay"),
        (lambda: mn.Adam(amsgrad=True), r"AMSGrad"),
        (lambda: mn.RMSprop(alpha=0.9), r"rho"),
        (lambda: mn.RMSprop(centered=True), r"RMSpropCentred\(\)"),
        (lambda: mn.SGD(clip_norm=1.0), r"fit\(\.\.\., clip_norm=\.\.\.\)"),
        (lambda: mn.Adam(epsilon=1e-7), r"eps"),
        (lambda: mn.Adam(nonsense=1), r"^Adam: expected hyper-parameters among beta1, .*; got nonsense$"),
    ],
)
def test_what_belongs_elsewhere_is_answered_with_where(make, words):
    with pytest.raises(TypeError, match=words):
        make()


@dataclass(frozen=True)
class Own(mn.Rule):
    lr: float = 1.0
    momentum: float = 0.9


def test_rules_of_ones_own_and_copies_are_left_alone():
    assert Own(0.01, momentum=0.5).lr == 0.01
    for rule in (mn.Adam(beta1=0.5), mn.Momentum(0.9), mn.LookAhead(mn.Adam(), 3)):
        assert pickle.loads(pickle.dumps(rule)) == copy.deepcopy(rule) == dataclasses.replace(rule) == rule


def arrays():
    return np.ones(12), np.ones(12)


def test_a_rule_that_leaves_every_tensor_to_another_is_refused():
    bias = mn.Group(lambda tensor: tensor.name == "b", rule=mn.Muon())
    refused = [
        {"rule": mn.Muon()},
        {"rule": mn.LookAhead(mn.Muon())},
        {"rule": mn.ClipNorm(mn.LookAhead(mn.Muon()), 1.0)},
        {"rule": mn.Accumulate(mn.Muon(), 2)},
        {"rule": mn.Muon(), "shapes": {"a": (5,), "b": (7,)}},
        {"rule": mn.SGD(), "shapes": {"W": (1, 5), "b": (7,)}, "groups": [bias]},
    ]
    for options in refused:
        with pytest.raises(
            ValueError, match=r"^Optimizer: expected a tensor that Muon updates itself; got .* leaves to Adam\..*shapes"
        ):
            mn.Optimizer.over(*arrays(), **options)
    net = mn.Net([mn.Dense(2)], 3, mn.SoftmaxCrossEntropy())
    matrices = mn.Group(lambda tensor: tensor.decay, lr_factor=0.5)
    mn.Optimizer(net, mn.Muon())
    mn.Optimizer(net, mn.Muon(), groups=[matrices])  # what is left is biases, which it leaves to Adam
    mn.Optimizer.over(*arrays(), mn.LARS())
    mn.Optimizer.over(*arrays(), mn.Adafactor())


def test_the_norm_is_told_without_a_bound():
    params, grads = arrays()
    optimizer = mn.Optimizer.over(params, grads, mn.SGD(), clip_norm=np.inf)
    for factor in (1.0, 1e150):
        grads[:] = factor
        optimizer.step(0.0)
        assert optimizer.grad_norm == pytest.approx(factor * np.sqrt(12))
        np.testing.assert_array_equal(grads, factor)
    grads[0] = np.nan
    with pytest.raises(FloatingPointError, match=r"^Optimizer: expected a finite gradient"):
        optimizer.step(0.0)
    for bad in (-np.inf, np.nan, 0.0):
        with pytest.raises(ValueError, match="clip_norm"):
            mn.Optimizer.over(params, grads, mn.SGD(), clip_norm=bad)


def test_a_range_test_of_a_rule_that_searches_says_why_not():
    net = mn.Net([mn.Dense(2)], 3, mn.SoftmaxCrossEntropy())
    with pytest.raises(
        ValueError, match=r"^lr_range_test: expected a rule that moves by its rate; got LBFGS.*leave it at 1"
    ):
        mn.lr_range_test(net, (np.ones((4, 3), np.float32), np.arange(4) % 2), rule=mn.LBFGS(), progress=False)
