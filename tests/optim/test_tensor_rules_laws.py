"""What every rule for whole tensors is: the same on any number of threads, frozen, compiled once, and strict."""

import dataclasses
import inspect
import math
import pickle

import numpy as np
import pytest
from tensor_forms import TENSOR_RULES, both_dtypes, every_rule, joined, lbfgs_path, rosenbrock, run, sequence

import minnet as mn
from minnet.kernels.updates import adafactor, lines, muon, trust
from minnet.schedules import Linear

# What a rule is ----------------------------------------------------------------------------------------------

LARGE = {"W": (300, 301), "conv": (3, 3, 32, 64), "b": (70_001,)}


@every_rule
@both_dtypes
def test_one_thread_or_two_give_the_same_bits(rule, dtype):
    results = []
    before = mn.get_num_threads()
    try:
        for threads in (1, 2):
            mn.set_num_threads(threads)
            tensors, _ = run(rule, LARGE, dtype, 2, decay=0.1)
            results.append(joined(tensors, dtype))
    finally:
        mn.set_num_threads(before)
    np.testing.assert_array_equal(*results)


MOVING = [
    mn.LARS(momentum=Linear(0.5, 0.9, 5), trust=Linear(0.01, 0.001, 5)),
    mn.LAMB(beta1=Linear(0.5, 0.9, 5), beta2=Linear(0.9, 0.99, 5)),
    mn.Adafactor(decay_power=Linear(0.5, 0.9, 5), clip=Linear(2.0, 0.5, 5)),
    mn.Muon(momentum=Linear(0.5, 0.9, 5), fallback=mn.Momentum(Linear(0.1, 0.9, 5))),
]


@pytest.mark.parametrize("rule", MOVING, ids=lambda rule: type(rule).__name__)
def test_hyper_parameters_by_schedule_are_those_of_the_step(rule):
    shapes, steps = {"W": (5, 7), "b": (4,)}, 7
    actual, optimizer = run(rule, shapes, np.float64, steps)
    assert len(optimizer.hyperparameters()) >= 1
    start, grads, rates = sequence(shapes, steps)
    for name, tensor in (("W", mn.Tensor("W", (5, 7), 0, 35)), ("b", mn.Tensor("b", (4,), 0, 4))):
        p, state = start[name], None
        for step in range(steps):
            now = rule.at(step).choose(tensor)
            state = state or [np.zeros(tensor.shape) for _ in now.slots]
            now.apply(p, grads[step][name], state, lr=float(rates[step]), t=step + 1, decay=0.0)
        np.testing.assert_array_equal(actual[name], p)
        fixed, _ = run(rule.at(0), shapes, np.float64, steps)
        assert np.abs(fixed[name] - p).max() > 1e-7


@pytest.mark.parametrize("rule", [*TENSOR_RULES, mn.LBFGS()], ids=lambda rule: type(rule).__name__)
def test_rules_are_frozen_comparable_and_picklable(rule):
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert hash(rule) == hash(dataclasses.replace(rule))
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule.eps = 0.1


@every_rule
def test_a_step_leaves_the_gradient_alone(rule):
    params, grads = np.linspace(-1, 1, 35), np.linspace(2, 3, 35)
    before = grads.copy()
    optimizer = mn.Optimizer.over(params, grads, rule, shapes={"W": (5, 7)}, weight_decay=0.1)
    optimizer.step(0.1)
    np.testing.assert_array_equal(grads, before)


# Numbers in double precision, of which no loop sees more than what follows from them: a rate or a factor.
_OF_A_STEP = {"lr", "by_size", "least", "clip"}
RATES = {
    "lars_rate": {"beside", "lr", "trust", "eps"},
    "lamb_moments": {"shrunk", "lr"},
    "factored_rate": _OF_A_STEP,
    "whole_squares": _OF_A_STEP,
    "smooth": {"least", "beside"},
}


NO_LOOPS = {"bounds", "chunks", "total_of", "ratio"}  # over elements, in float32: they may mix kinds of numbers


def test_every_kernel_is_compiled_for_one_precision_at_a_time():
    # A Python float beside float32 arrays would widen the whole loop to double, silently.
    for dtype in (np.float32, np.float64):
        for rule in TENSOR_RULES:
            run(rule, {"W": (5, 7), "b": (4,)}, dtype, 1)
        lbfgs_path(mn.LBFGS(), rosenbrock, np.zeros(2), 2, dtype)
    for name, kernel in {**vars(adafactor), **vars(lines), **vars(muon), **vars(trust)}.items():
        if not name.startswith("_") and hasattr(kernel, "py_func") and name not in NO_LOOPS:
            names = inspect.signature(kernel.py_func).parameters
            for signature in getattr(kernel, "signatures", []):
                given = [kind for label, kind in zip(names, signature, strict=True) if label not in RATES.get(name, ())]
                kinds = {str(getattr(kind, "dtype", kind)) for kind in given}
                assert kinds in ({"float32"}, {"float64"}), f"{name}: compiled for {signature}"


BAD = [
    *((mn.LARS, {name: bad}) for name, bad in (("momentum", 1.0), ("trust", 0.0), ("eps", -1.0), ("trust", math.inf))),
    *((mn.LAMB, {name: bad}) for name, bad in (("beta1", 1.0), ("beta2", -0.1), ("eps", 0.0), ("eps", "1"))),
    *((mn.Adafactor, {name: bad}) for name, bad in (("decay_power", 0.0), ("clip", 0.0), ("eps", 0.0))),
    (mn.Adafactor, {"eps_scale": math.nan}),
    (mn.Muon, {"momentum": 1.0}),
    (mn.Muon, {"steps": 0}),
    (mn.Muon, {"steps": 2.5}),
    (mn.Muon, {"coefficients": (1.0, 2.0)}),
    (mn.Muon, {"scale": "largest"}),
    (mn.Muon, {"eps": 0.0}),
    (mn.Muon, {"fallback": "Adam"}),
    (mn.Muon, {"fallback": mn.LBFGS()}),
    (mn.LBFGS, {"history": 0}),
    (mn.LBFGS, {"history": 2.0}),
    (mn.LBFGS, {"evaluations": 0}),
    (mn.LBFGS, {"decrease": 0.0}),
    (mn.LBFGS, {"curvature": 1.0}),
    (mn.LBFGS, {"curvature": 1e-5}),
]


@pytest.mark.parametrize(("rule", "arguments"), BAD, ids=str)
def test_constructor_says_who_what_and_which_value_it_refuses(rule, arguments):
    ((name, value),) = arguments.items()
    with pytest.raises((TypeError, ValueError)) as raised:
        rule(**arguments)
    text = str(raised.value)
    assert text.startswith(f"{rule.__name__}: expected ")
    assert name in text
    assert text.endswith(f"; got {value!r}")
