"""Update rules against their published formulas, written as scalar Python, and against ``torch.optim``.

A form below is one element's update in the algebra of its source: ``form(p, g, state, lr, t, shrink)`` returns the new
p and changes ``state``, a list, in place. ``shrink`` is the factor of decoupled weight decay, which stands in
front of the update.
"""

import dataclasses
import math
import pickle
from dataclasses import dataclass
from typing import ClassVar

import numba
import numpy as np
import pytest

import minnet as mn
from minnet.kernels import update as kernels

# Forms -------------------------------------------------------------------------------------------------------


def sgd(p, g, state, lr, t, shrink):
    return shrink * p - lr * g


def cs231n_momentum(p, g, state, lr, t, shrink, mu=0.9):
    state[0] = mu * state[0] - lr * g
    return shrink * p + state[0]


def keras_momentum(p, g, state, lr, t, shrink, momentum=0.9):
    m = state[0] * momentum
    m -= g * lr
    state[0] = m
    return p * shrink + m


def torch_momentum(p, g, state, lr, t, shrink, momentum=0.9):
    state[0] = momentum * state[0] + g
    return shrink * p - lr * state[0]


def cs231n_nesterov(p, g, state, lr, t, shrink, mu=0.9):
    v_prev = state[0]
    state[0] = mu * v_prev - lr * g
    return shrink * p + -mu * v_prev + (1 + mu) * state[0]


def keras_nesterov(p, g, state, lr, t, shrink, momentum=0.9):
    m = state[0] * momentum - g * lr
    state[0] = m
    return p * shrink + m * momentum - g * lr


def torch_nesterov(p, g, state, lr, t, shrink, momentum=0.9):
    state[0] = momentum * state[0] + g
    return shrink * p - lr * (g + momentum * state[0])


def sutskever(p, g, state, lr, t, shrink, mu=0.9):
    """p is the point theta + mu * v where g was taken; the state is [v, theta]."""
    v, theta = state
    v = mu * v - lr * g
    theta = shrink * theta + v
    state[:] = [v, theta]
    return theta + mu * v


def cs231n_adagrad(p, g, state, lr, t, shrink, eps=1e-8):
    state[0] += g**2
    return shrink * p - lr * g / (math.sqrt(state[0]) + eps)


def keras_adagrad(p, g, state, lr, t, shrink, eps=1e-7):
    state[0] = state[0] + g * g
    return p * shrink - lr * g / math.sqrt(state[0] + eps)


def cs231n_rmsprop(p, g, state, lr, t, shrink, decay_rate=0.99, eps=1e-8):
    state[0] = decay_rate * state[0] + (1 - decay_rate) * g**2
    return shrink * p - lr * g / (math.sqrt(state[0]) + eps)


def keras_rmsprop(p, g, state, lr, t, shrink, rho=0.9, eps=1e-7):
    state[0] = rho * state[0] + (1 - rho) * g * g
    return p * shrink - lr * g / math.sqrt(state[0] + eps)


def zeiler(p, g, state, lr, t, shrink, rho=0.95, eps=1e-6):
    state[0] = rho * state[0] + (1 - rho) * g**2
    delta = -math.sqrt(state[1] + eps) / math.sqrt(state[0] + eps) * g
    state[1] = rho * state[1] + (1 - rho) * delta**2
    return shrink * p + lr * delta


def kingma(p, g, state, lr, t, shrink, beta1=0.9, beta2=0.999, eps=1e-8):
    state[0] = beta1 * state[0] + (1 - beta1) * g
    state[1] = beta2 * state[1] + (1 - beta2) * g**2
    m_hat, v_hat = state[0] / (1 - beta1**t), state[1] / (1 - beta2**t)
    return shrink * p - lr * m_hat / (math.sqrt(v_hat) + eps)


def cs231n_short_adam(p, g, state, lr, t, shrink, beta1=0.9, beta2=0.999, eps=1e-8):
    state[0] = beta1 * state[0] + (1 - beta1) * g
    state[1] = beta2 * state[1] + (1 - beta2) * g**2
    return shrink * p - lr * state[0] / (math.sqrt(state[1]) + eps)


def keras_adam(p, g, state, lr, t, shrink, beta_1=0.9, beta_2=0.999, eps=1e-7):
    alpha = lr * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    state[0] += (g - state[0]) * (1 - beta_1)
    state[1] += (g * g - state[1]) * (1 - beta_2)
    return p * shrink - state[0] * alpha / (math.sqrt(state[1]) + eps)


# Each row: the rule with the parameters that its docstring names for the form, and the form.
FORMS = {
    "sgd": (mn.SGD(), sgd),
    "momentum, CS231n": (mn.Momentum(0.9), cs231n_momentum),
    "momentum, Keras": (mn.Momentum(0.9), keras_momentum),
    "momentum, PyTorch": (mn.Momentum(0.9, lr_in_velocity=False), torch_momentum),
    "nesterov, CS231n": (mn.Nesterov(0.9), cs231n_nesterov),
    "nesterov, Keras": (mn.Nesterov(0.9), keras_nesterov),
    "nesterov, PyTorch": (mn.Nesterov(0.9, lr_in_velocity=False), torch_nesterov),
    "nesterov, look-ahead": (mn.NesterovLookAhead(0.9), sutskever),
    "adagrad, CS231n": (mn.Adagrad(), cs231n_adagrad),
    "adagrad, PyTorch": (mn.Adagrad(eps=1e-10), lambda *args: cs231n_adagrad(*args, eps=1e-10)),
    "adagrad, Keras": (mn.Adagrad(eps=1e-7, eps_in_root=True, initial=0.1), keras_adagrad),
    "rmsprop, CS231n": (mn.RMSprop(), cs231n_rmsprop),
    "rmsprop, Keras": (mn.RMSprop(rho=0.9, eps=1e-7, eps_in_root=True), keras_rmsprop),
    "adadelta, Zeiler": (mn.Adadelta(), zeiler),
    "adadelta, PyTorch": (mn.Adadelta(rho=0.9), lambda *args: zeiler(*args, rho=0.9)),
    "adadelta, Keras": (mn.Adadelta(eps=1e-7), lambda *args: zeiler(*args, eps=1e-7)),
    "adam, Kingma and Ba": (mn.Adam(), kingma),
    "adam, CS231n's short form": (mn.Adam(bias_correction=False), cs231n_short_adam),
    "adam, Keras": (mn.Adam(eps=1e-7, eps_on_corrected=False), keras_adam),
    "adam, other betas": (mn.Adam(0.8, 0.95, 1e-3), lambda *args: kingma(*args, beta1=0.8, beta2=0.95, eps=1e-3)),
}
forms = pytest.mark.parametrize(("rule", "form"), FORMS.values(), ids=FORMS.keys())

# One of each class, for laws that hold for all rules whatever their parameters.
RULES = [mn.SGD(), mn.Momentum(), mn.Nesterov(), mn.NesterovLookAhead(), mn.Adagrad(), mn.RMSprop(), mn.Adadelta()]
RULES += [mn.Adam(), mn.Momentum(lr_in_velocity=False), mn.Nesterov(lr_in_velocity=False)]
every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])

STEPS, SIZE = 20, 37  # a size that no vector width divides


def sequence(dtype):
    """Start, a gradient for each step (sizes from 1e-8 to 100, where eps matters or not, and zeros), rates."""
    rng = np.random.default_rng(11)
    start = rng.standard_normal(SIZE).astype(dtype)
    grads = rng.standard_normal((STEPS, SIZE)) * np.logspace(-8, 2, SIZE)
    grads[:, 5] = 0
    grads[::3, 20] = 0
    return start, grads.astype(dtype), 0.05 * 0.9 ** np.arange(STEPS)


def fresh_state(rule, params):
    state = np.zeros((len(rule.slots), params.size), params.dtype)
    rule.start(params, state)
    return state


def run(rule, start, grads, rates, decay=0.0):
    """Parameters and state after the steps, by the rule itself: no optimizer, no net."""
    params = start.copy()
    state = fresh_state(rule, params)
    for t, (g, lr) in enumerate(zip(grads, rates, strict=True), start=1):
        rule.apply(params, g, state, lr=float(lr), t=t, decay=decay)
    return params, state


def twin(form, rule, p, grads, rates, decay=0.0):
    """The same for one element, in Python floats: (p, *state) at the end, and the largest size of each on the way."""
    state = [0.0] * len(rule.slots)
    if form is sutskever:
        state[1] = p
    if form is keras_adagrad:
        state[0] = 0.1  # its initial_accumulator_value
    peak = [abs(p)] + [abs(s) for s in state]
    for t, (g, lr) in enumerate(zip(grads, rates, strict=True), start=1):
        p = form(p, float(g), state, float(lr), t, 1 - lr * decay)
        peak = [max(old, abs(new)) for old, new in zip(peak, [p, *state], strict=True)]
    return np.array([p, *state]), np.array(peak)


@forms
@both_dtypes
@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("steps", [1, STEPS])
def test_rule_is_its_published_formula_to_round_off(rule, form, dtype, decay, steps):
    start, grads, rates = sequence(dtype)
    grads, rates = grads[:steps], rates[:steps]
    params, state = run(rule, start, grads, rates, decay)
    # Rounding, in units of eps / 2: each step rounds p up to three times (the factor, the product, the sum), each
    # state value up to three times more, and an update up to twelve times (casts of scalars included). The same
    # rule on |g| from 0 never turns back, so what it reaches is the sum of the updates' sizes. Twice, because in
    # float64 the twin rounds as well.
    unit = 2 * np.finfo(dtype).eps / 2
    for i in range(SIZE):
        expected, peak = twin(form, rule, float(start[i]), grads[:, i], rates, decay)
        _, moved = twin(form, rule, 0.0, np.abs(grads[:, i]), rates)
        bound = unit * (3 * steps * peak + (12 + 3 * steps) * moved)
        error = np.abs(np.array([params[i], *state[:, i]]) - expected)
        assert (error <= bound).all(), f"element {i}: off by {error}, allowed {bound}"


@every_rule
def test_with_no_gradient_only_decoupled_decay_moves_the_parameters(rule):
    start = np.random.default_rng(0).standard_normal(SIZE)
    rates = 0.1 * np.arange(1, 11)
    moved, _ = run(rule, start, np.zeros((10, SIZE)), rates, decay=0.2)
    still, _ = run(rule, start, np.zeros((10, SIZE)), rates)
    np.testing.assert_array_equal(still, start)
    np.testing.assert_allclose(moved, start * np.prod(1 - 0.2 * rates), rtol=20 * np.finfo(np.float64).eps)


def test_decoupled_decay_is_not_an_l2_penalty_under_adam():
    # Loshchilov and Hutter's point: through the gradient, decay is normalised away with it. One step from p = 1 with
    # a tiny gradient: L2 moves by lr as any gradient does, decoupled decay by lr * decay on top.
    one, gradient, state = np.ones(1), np.full(1, 1e-3), np.zeros((2, 1))
    coupled, decoupled = one.copy(), one.copy()
    mn.Adam().apply(coupled, gradient + 0.1 * one, state.copy(), lr=0.01, t=1, decay=0.0)
    mn.Adam().apply(decoupled, gradient, state.copy(), lr=0.01, t=1, decay=0.1)
    assert coupled[0] == pytest.approx(1 - 0.01, abs=1e-6)
    assert decoupled[0] == pytest.approx(1 - 0.01 * 0.1 - 0.01, abs=1e-6)


# Forms among themselves ----------------------------------------------------------------------------------------


def valley(p):
    """Gradient of sum(log cosh(p)) + sum((p[i+1] - p[i]^2)^2): smooth, not quadratic."""
    bend = p[1:] - p[:-1] ** 2
    g = np.tanh(p)
    g[1:] += 2 * bend
    g[:-1] -= 4 * p[:-1] * bend
    return g


def descend(rule, rates, gradient=valley, size=6, decay=0.0):
    """The path (steps, P) of parameters where the gradient is that of the point reached."""
    params = np.linspace(-0.8, 0.9, size)
    state, path = fresh_state(rule, params), []
    for t, lr in enumerate(rates, start=1):
        rule.apply(params, gradient(params), state, lr=float(lr), t=t, decay=decay)
        path.append(params.copy())
    return np.array(path), state


CHANGING = 0.03 * np.where(np.arange(60) < 30, 1.0, 0.1)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_look_ahead_and_rewritten_nesterov_take_one_path_even_when_lr_changes(momentum):
    rewritten, _ = descend(mn.Nesterov(momentum), CHANGING)
    look_ahead, state = descend(mn.NesterovLookAhead(momentum), CHANGING)
    np.testing.assert_allclose(look_ahead, rewritten, rtol=0, atol=1e-13)  # values near 1, 60 steps of round-off
    velocity, position = state
    np.testing.assert_allclose(position + momentum * velocity, look_ahead[-1], rtol=0, atol=1e-15)


def test_look_ahead_takes_its_gradient_at_the_point_ahead_of_its_iterate():
    # Sutskever et al. 2013, eq. 3 and 4, as an algorithm on the iterate x, which asks for g(x + mu v) itself.
    x, v, mu = np.linspace(-0.8, 0.9, 6), np.zeros(6), 0.9
    for lr in CHANGING:
        v = mu * v - lr * valley(x + mu * v)
        x = x + v
    _, state = descend(mn.NesterovLookAhead(mu), CHANGING)
    np.testing.assert_allclose(state, [v, x], rtol=0, atol=1e-13)


@pytest.mark.parametrize("rule", [mn.Momentum, mn.Nesterov])
def test_the_place_of_lr_matters_only_when_lr_changes(rule):
    constant = np.full(60, 0.03)
    inside, velocity = descend(rule(0.9), constant)
    outside, sum_of_gradients = descend(rule(0.9, lr_in_velocity=False), constant)
    np.testing.assert_allclose(inside, outside, rtol=0, atol=1e-13)
    np.testing.assert_allclose(velocity, -0.03 * sum_of_gradients, rtol=0, atol=1e-13)
    inside, _ = descend(rule(0.9), CHANGING)
    outside, _ = descend(rule(0.9, lr_in_velocity=False), CHANGING)
    np.testing.assert_allclose(inside[:30], outside[:30], rtol=0, atol=1e-13)
    assert np.abs(inside[30] - outside[30]).max() > 1e-3  # one rule's old steps run out, the other's are cut


@pytest.mark.parametrize("rule", [mn.Momentum(0.0), mn.Nesterov(0.0), mn.NesterovLookAhead(0.0)], ids=repr)
def test_momentum_of_nothing_is_gradient_descent(rule):
    expected, _ = descend(mn.SGD(), CHANGING, decay=0.1)
    path, _ = descend(rule, CHANGING, decay=0.1)
    np.testing.assert_allclose(path, expected, rtol=0, atol=1e-14)


def test_first_adam_step_has_the_size_of_lr_whatever_the_gradient():
    g = np.array([1e-3, -1.0, 1e3])
    params = np.zeros(3)
    mn.Adam(eps=0.0).apply(params, g, np.zeros((2, 3)), lr=0.01, t=1, decay=0.0)
    np.testing.assert_allclose(params, -0.01 * np.sign(g), rtol=1e-14)


# PyTorch -------------------------------------------------------------------------------------------------------

# name of the class in torch.optim, its arguments beside lr, our rule, weight decay, first lr
PYTORCH = [
    ("SGD", {}, mn.SGD(), 0.0, 0.02),
    ("SGD", {"momentum": 0.9}, mn.Momentum(0.9, lr_in_velocity=False), 0.0, 0.02),
    ("SGD", {"momentum": 0.9, "nesterov": True}, mn.Nesterov(0.9, lr_in_velocity=False), 0.0, 0.02),
    ("Adagrad", {}, mn.Adagrad(eps=1e-10), 0.0, 0.1),
    ("RMSprop", {}, mn.RMSprop(), 0.0, 0.01),
    ("RMSprop", {"alpha": 0.9, "eps": 1e-3}, mn.RMSprop(rho=0.9, eps=1e-3), 0.0, 0.01),
    ("Adadelta", {}, mn.Adadelta(rho=0.9), 0.0, 1.0),
    ("Adam", {}, mn.Adam(), 0.0, 0.05),
    ("Adam", {"betas": (0.8, 0.99), "eps": 1e-3}, mn.Adam(0.8, 0.99, 1e-3), 0.0, 0.05),
    ("AdamW", {"weight_decay": 0.1}, mn.Adam(), 0.1, 0.05),
]


@pytest.mark.torch
@pytest.mark.parametrize(("name", "options", "rule", "decay", "lr"), PYTORCH, ids=str)
def test_eighty_steps_equal_those_of_pytorch(name, options, rule, decay, lr):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    rates = lr * np.where(np.arange(80) < 50, 1.0, 0.3)
    ours, _ = descend(rule, rates, decay=decay)
    theirs = torch.linspace(-0.8, 0.9, 6, dtype=torch.float64).requires_grad_()
    optimizer = getattr(torch.optim, name)([theirs], lr=lr, **options)
    worst = 0.0
    for step, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.zero_grad()
        (torch.log(torch.cosh(theirs)).sum() + ((theirs[1:] - theirs[:-1] ** 2) ** 2).sum()).backward()
        optimizer.step()
        worst = max(worst, np.abs(ours[step] - theirs.detach().numpy()).max())
    assert worst < 1e-10
    assert np.abs(ours[-1] - ours[0]).max() > 0.1  # it did go somewhere


# What a rule is ------------------------------------------------------------------------------------------------


@every_rule
@both_dtypes
def test_a_step_leaves_the_gradient_alone_and_the_dtype_as_it_was(rule, dtype):
    start, grads, rates = sequence(dtype)
    before = grads.copy()
    params, state = run(rule, start, grads, rates, decay=0.1)
    np.testing.assert_array_equal(grads, before)
    assert params.dtype == state.dtype == dtype


KERNELS = {
    name: getattr(kernels, name) for name in vars(kernels) if hasattr(kernels, f"_{name}")
}  # _adam is adam's loop
compiled = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="NUMBA_DISABLE_JIT is set: nothing is compiled")


def run_every_form(dtype, **options):
    for rule, _ in FORMS.values():
        run(rule, *sequence(dtype), **options)


@compiled
def test_every_kernel_is_compiled_for_one_precision_at_a_time():
    # A Python float beside float32 arrays would widen the whole loop to double, silently.
    run_every_form(np.float32)
    run_every_form(np.float64)
    for name, kernel in KERNELS.items():
        assert kernel.signatures, f"{name}: no rule uses this kernel"
        for signature in kernel.signatures:
            kinds = {str(getattr(argument, "dtype", argument)) for argument in signature}
            assert len(kinds) == 1, f"{name}: compiled for {signature}"
            assert kinds < {"float32", "float64"}


@compiled
def test_float32_loops_never_widen_to_double():
    run_every_form(np.float32)
    for name, kernel in KERNELS.items():
        # Compiled anew, because what comes from the disk cache brings no code to look at.
        loop = getattr(kernels, f"_{name}")
        options = {key: kernel.targetoptions[key] for key in ("fastmath", "error_model")}
        again = numba.njit(loop.py_func, **options)
        signature = next(s for s in kernel.signatures if numba.float32 in s)
        again.compile(signature)
        assert "fpext" not in again.inspect_llvm(again.signatures[0]), f"{name} widens float32 to double"


@compiled
def test_second_step_compiles_nothing():
    start, grads, rates = sequence(np.float32)
    for rule in RULES:
        run(rule, start, grads[:1], rates[:1])
    before = {name: len(kernel.signatures) for name, kernel in KERNELS.items()}
    for rule in RULES:
        run(rule, start, grads, rates, decay=0.1)  # and decay needs no other kernel
    assert {name: len(kernel.signatures) for name, kernel in KERNELS.items()} == before


@every_rule
def test_rules_are_frozen_comparable_and_picklable(rule):
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert hash(rule) == hash(dataclasses.replace(rule))
    name = "momentum" if hasattr(rule, "momentum") else "eps"
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(rule, name, 0.1)


def test_slots_are_named():
    slots = {type(rule).__name__: rule.slots for rule in RULES}
    assert slots == {
        "SGD": (),
        "Momentum": ("velocity",),
        "Nesterov": ("velocity",),
        "NesterovLookAhead": ("velocity", "position"),
        "Adagrad": ("squares",),
        "RMSprop": ("squares",),
        "Adadelta": ("squares", "updates"),
        "Adam": ("mean", "squares"),
    }


BAD = [
    *((rule, {"momentum": bad}) for rule in (mn.Momentum, mn.Nesterov, mn.NesterovLookAhead) for bad in (1.0, -0.1)),
    (mn.Momentum, {"momentum": math.nan}),
    (mn.Momentum, {"momentum": "0.9"}),
    (mn.Adagrad, {"eps": -1e-8}),
    (mn.Adagrad, {"initial": -0.1}),
    (mn.Adagrad, {"initial": math.inf}),
    (mn.RMSprop, {"rho": 1.0}),
    (mn.RMSprop, {"eps": math.nan}),
    (mn.Adadelta, {"rho": -0.1}),
    (mn.Adadelta, {"eps": 0.0}),  # no update would ever leave 0
    (mn.Adam, {"beta1": 1.0}),
    (mn.Adam, {"beta2": 1.0}),
    (mn.Adam, {"beta2": True}),
    (mn.Adam, {"eps": -1.0}),
]


@pytest.mark.parametrize(("rule", "arguments"), BAD, ids=str)
def test_constructor_says_who_what_and_which_value_it_refuses(rule, arguments):
    ((name, value),) = arguments.items()
    with pytest.raises((TypeError, ValueError), match=rf"^{rule.__name__}: expected .*\b{name}\b.*; got {value!r}$"):
        rule(**arguments)


@dataclass(frozen=True)
class Unfinished(mn.Rule):
    slots: ClassVar[tuple[str, ...]] = ("velocity",)


def test_a_rule_without_apply_says_what_it_lacks():
    with pytest.raises(NotImplementedError, match=r"Unfinished must define apply\(params, grads, state"):
        run(Unfinished(), *sequence(np.float64))


# Hyper-parameters that move --------------------------------------------------------------------------------------
