"""Update rules against their published formulas, written as scalar Python, and against ``torch.optim``.

A form below is one element's update in the algebra of its source: ``form(p, g, state, lr, t, shrink)`` returns the new
p and changes ``state``, a list, in place: the rule's slots first, then what else the form keeps. ``shrink`` is the
factor of decoupled weight decay, which stands in front of the update.
"""

import dataclasses
import math
import pickle
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import ClassVar

import numba
import numpy as np
import pytest

import minnet as mn
from minnet.kernels.updates import adam as update_adam
from minnet.kernels.updates import elementwise as update
from minnet.kernels.updates import schedule_free as update_schedule_free

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


def torch_dampened(p, g, state, lr, t, shrink, momentum=0.9, dampening=0.3):
    state[0] = g if t == 1 else momentum * state[0] + (1 - dampening) * g
    return shrink * p - lr * state[0]


def dampened_with_lr_inside(p, g, state, lr, t, shrink, momentum=0.9, dampening=0.3):
    state[0] = -lr * g if t == 1 else momentum * state[0] - lr * (1 - dampening) * g
    return shrink * p + state[0]


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


def torch_rmsprop(p, g, state, lr, t, shrink, alpha=0.99, momentum=0.9, eps=1e-8):
    square_avg, buf = state
    square_avg = alpha * square_avg + (1 - alpha) * g**2
    buf = momentum * buf + g / (math.sqrt(square_avg) + eps)
    state[:] = [square_avg, buf]
    return shrink * p - lr * buf


def keras_rmsprop_momentum(p, g, state, lr, t, shrink, rho=0.9, momentum=0.9, eps=1e-7):
    state[0] = rho * state[0] + (1 - rho) * g * g
    state[1] = momentum * state[1] - lr * g / math.sqrt(state[0] + eps)
    return shrink * p + state[1]


# The centred forms keep the mean of squares last in their state; the rules keep the variance, its difference from the
# square of the mean, which is first. The difference is taken of fractions, since that of floats would be round-off.


def spread(square_avg, grad_avg):
    return float(square_avg - grad_avg**2)


def averages(g, state, decay):
    decay, g = Fraction(decay), Fraction(g)
    square_avg, grad_avg = (Fraction(value) for value in (state[-1], state[-2]))
    return decay * square_avg + (1 - decay) * g**2, decay * grad_avg + (1 - decay) * g


def torch_centred(p, g, state, lr, t, shrink, alpha=0.99, eps=1e-8):
    square_avg, grad_avg = averages(g, state, alpha)
    state[:] = [spread(square_avg, grad_avg), float(grad_avg), grad_avg, square_avg]
    return shrink * p - lr * g / (math.sqrt(state[0]) + eps)


def keras_centred(p, g, state, lr, t, shrink, rho=0.9, eps=1e-7):
    square_avg, grad_avg = averages(g, state, rho)
    state[:] = [spread(square_avg, grad_avg), float(grad_avg), grad_avg, square_avg]
    return shrink * p - lr * g / math.sqrt(state[0] + eps)


def torch_centred_momentum(p, g, state, lr, t, shrink, alpha=0.99, momentum=0.9, eps=1e-8):
    square_avg, grad_avg = averages(g, state, alpha)
    variance = spread(square_avg, grad_avg)
    buf = momentum * state[2] + g / (math.sqrt(variance) + eps)
    state[:] = [variance, float(grad_avg), buf, grad_avg, square_avg]
    return shrink * p - lr * buf


def graves(p, g, state, lr, t, shrink, aleph=0.95, beth=0.9, daleth=1e-4):
    """Equations 38 to 41; the third constant, gimel, is lr."""
    n, mean = averages(g, state, aleph)
    delta = beth * state[2] - lr * g / math.sqrt(spread(n, mean) + daleth)
    state[:] = [spread(n, mean), float(mean), delta, mean, n]
    return shrink * p + delta


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


def reddi(p, g, state, lr, t, shrink, beta1=0.9, beta2=0.999, eps=1e-8):
    m, v, v_hat = state
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    v_hat = max(v_hat, v)
    state[:] = [m, v, v_hat]
    return shrink * p - lr * m / (math.sqrt(v_hat) + eps)


def torch_amsgrad(p, g, state, lr, t, shrink, beta1=0.9, beta2=0.999, eps=1e-8):
    exp_avg, exp_avg_sq = beta1 * state[0] + (1 - beta1) * g, beta2 * state[1] + (1 - beta2) * g**2
    max_exp_avg_sq = max(state[2], exp_avg_sq)
    state[:] = [exp_avg, exp_avg_sq, max_exp_avg_sq]
    denominator = math.sqrt(max_exp_avg_sq) / math.sqrt(1 - beta2**t) + eps
    return shrink * p - lr / (1 - beta1**t) * exp_avg / denominator


def keras_amsgrad(p, g, state, lr, t, shrink, beta_1=0.9, beta_2=0.999, eps=1e-7):
    alpha = lr * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    state[0] += (g - state[0]) * (1 - beta_1)
    state[1] += (g * g - state[1]) * (1 - beta_2)
    state[2] = max(state[2], state[1])
    return p * shrink - state[0] * alpha / (math.sqrt(state[2]) + eps)


def kingma_infinity(p, g, state, lr, t, shrink, beta1=0.9, beta2=0.999):
    m, u = beta1 * state[0] + (1 - beta1) * g, max(beta2 * state[1], abs(g))
    state[:] = [m, u]
    return shrink * p - lr / (1 - beta1**t) * (m / u if u > 0 else 0.0)


def torch_adamax(p, g, state, lr, t, shrink, beta1=0.9, beta2=0.999, eps=1e-8):
    state[0] = beta1 * state[0] + (1 - beta1) * g
    state[1] = max(beta2 * state[1], abs(g) + eps)
    return shrink * p - lr / (1 - beta1**t) * state[0] / state[1]


def keras_adamax(p, g, state, lr, t, shrink, beta_1=0.9, beta_2=0.999, eps=1e-7):
    state[0] += (g - state[0]) * (1 - beta_1)
    state[1] = max(beta_2 * state[1], abs(g))
    return shrink * p - lr * state[0] / ((1 - beta_1**t) * (state[1] + eps))


def dozat(p, g, state, lr, t, shrink, mu=0.9, nu=0.999, eps=1e-8, psi=0.004):
    m, n, product = state
    now, following = mu * (1 - 0.5 * 0.96 ** (psi * t)), mu * (1 - 0.5 * 0.96 ** (psi * (t + 1)))
    product *= now
    m = now * m + (1 - now) * g
    n = nu * n + (1 - nu) * g**2
    m_hat = following * m / (1 - product * following) + (1 - now) * g / (1 - product)
    n_hat = nu * n / (1 - nu**t)
    state[:] = [m, n, product]
    return shrink * p - lr / (math.sqrt(n_hat) + eps) * m_hat


def dozat_with_adams_correction(p, g, state, lr, t, shrink, nu=0.999, eps=1e-8, **others):
    """n / (1 - nu^t) in place of nu n / (1 - nu^t)."""
    root = math.sqrt(nu)
    return dozat(p, g, state, lr * root, t, shrink, nu=nu, eps=eps * root, **others)


def torch_nadam(p, g, state, lr, t, shrink, beta1=0.9, beta2=0.999, eps=1e-8, momentum_decay=0.004):
    mu, mu_next = (beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay)) for step in (t, t + 1))
    exp_avg, exp_avg_sq, mu_product = state
    mu_product *= mu
    exp_avg = beta1 * exp_avg + (1 - beta1) * g
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * g**2
    denominator = math.sqrt(exp_avg_sq / (1 - beta2**t)) + eps
    state[:] = [exp_avg, exp_avg_sq, mu_product]
    p = shrink * p - lr * (1 - mu) / (1 - mu_product) * g / denominator
    return p - lr * mu_next / (1 - mu_product * mu_next) * exp_avg / denominator


def keras_nadam(p, g, state, lr, t, shrink):
    return torch_nadam(p, g, state, lr, t, shrink, eps=1e-7, momentum_decay=1.0)


def liu(p, g, state, lr, t, shrink, beta1=0.9, beta2=0.999, eps=1e-8, threshold=4):
    m, v = beta1 * state[0] + (1 - beta1) * g, beta2 * state[1] + (1 - beta2) * g**2
    state[:] = [m, v]
    m_hat, rho_inf = m / (1 - beta1**t), 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= threshold:
        return shrink * p - lr * m_hat
    adaptive = math.sqrt(1 - beta2**t) / (math.sqrt(v) + eps)
    r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    return shrink * p - lr * r * m_hat * adaptive


def chen(p, g, state, lr, t, shrink, beta1=0.9, beta2=0.99):
    c = beta1 * state[0] + (1 - beta1) * g
    state[0] = beta2 * state[0] + (1 - beta2) * g
    return shrink * p - lr * ((c > 0) - (c < 0))


def defazio_sgd(p, g, state, lr, t, shrink, beta=0.9):
    """p is y; the state is [z, x, sum of squared rates]. Decay is taken at y."""
    z, x, weights = state
    weights += lr**2
    c = lr**2 / weights if weights else 0.0
    z = z - lr * g - (1 - shrink) * p
    x = (1 - c) * x + c * z
    state[:] = [z, x, weights]
    return (1 - beta) * z + beta * x


def defazio_adamw(p, g, state, lr, t, shrink, beta1=0.9, beta2=0.999, eps=1e-8, in_rate=False):
    """p is y; the state is [z, v, x, sum of squared rates]; algorithm 1, where the rate may carry the correction."""
    z, v, x, weights = state
    v = beta2 * v + (1 - beta2) * g**2
    root = math.sqrt(1 - beta2**t)
    gamma, direction = (lr * root, g / (math.sqrt(v) + eps)) if in_rate else (lr, g / (math.sqrt(v) / root + eps))
    decay = (1 - shrink) / lr if lr else 0.0
    weights += gamma**2
    c = gamma**2 / weights if weights else 0.0
    z = z - gamma * direction - gamma * decay * p
    x = (1 - c) * x + c * z
    state[:] = [z, v, x, weights]
    return (1 - beta1) * z + beta1 * x


# What a form's state starts with, where that is not a 0 for each slot.
STARTS = {
    sutskever: lambda p: [0.0, p],
    torch_centred: lambda p: [0.0] * 4,
    keras_centred: lambda p: [0.0] * 4,
    torch_centred_momentum: lambda p: [0.0] * 5,
    graves: lambda p: [0.0] * 5,
    keras_adagrad: lambda p: [0.1],  # its initial_accumulator_value
    dozat: lambda p: [0.0, 0.0, 1.0],
    dozat_with_adams_correction: lambda p: [0.0, 0.0, 1.0],
    torch_nadam: lambda p: [0.0, 0.0, 1.0],
    keras_nadam: lambda p: [0.0, 0.0, 1.0],
    defazio_sgd: lambda p: [p, p, 0.0],
    defazio_adamw: lambda p: [p, 0.0, p, 0.0],
}


def with_arguments(form, **arguments):
    """The form with other constants; it starts as the form does."""

    def changed(*args):
        return form(*args, **arguments)

    if form in STARTS:
        STARTS[changed] = STARTS[form]
    return changed


NU = math.sqrt(0.999)  # beside Dozat's root


def dozats_own(p, g, state, lr, t, shrink):
    return dozat(p, g, state, lr * NU, t, shrink)


STARTS[dozats_own] = STARTS[dozat]

# Each row: the rule with the parameters that its docstring names for the form, and the form.
FORMS = {
    "sgd": (mn.SGD(), sgd),
    "momentum, CS231n": (mn.Momentum(0.9), cs231n_momentum),
    "momentum, Keras": (mn.Momentum(0.9), keras_momentum),
    "momentum, PyTorch": (mn.Momentum(0.9, lr_in_velocity=False), torch_momentum),
    "momentum, dampened, PyTorch": (mn.Momentum(0.9, lr_in_velocity=False, dampening=0.3), torch_dampened),
    "momentum, dampened, lr inside": (mn.Momentum(0.9, dampening=0.3), dampened_with_lr_inside),
    "nesterov, CS231n": (mn.Nesterov(0.9), cs231n_nesterov),
    "nesterov, Keras": (mn.Nesterov(0.9), keras_nesterov),
    "nesterov, PyTorch": (mn.Nesterov(0.9, lr_in_velocity=False), torch_nesterov),
    "nesterov, look-ahead": (mn.NesterovLookAhead(0.9), sutskever),
    "adagrad, CS231n": (mn.Adagrad(), cs231n_adagrad),
    "adagrad, PyTorch": (mn.Adagrad(eps=1e-10), lambda *args: cs231n_adagrad(*args, eps=1e-10)),
    "adagrad, Keras": (mn.Adagrad(eps=1e-7, eps_in_root=True, initial=0.1), keras_adagrad),
    "rmsprop, CS231n": (mn.RMSprop(), cs231n_rmsprop),
    "rmsprop, Keras": (mn.RMSprop(rho=0.9, eps=1e-7, eps_in_root=True), keras_rmsprop),
    "rmsprop, lecture 6e": (mn.RMSprop(rho=0.9), with_arguments(cs231n_rmsprop, decay_rate=0.9)),
    "rmsprop with momentum, PyTorch": (mn.RMSpropMomentum(), torch_rmsprop),
    "rmsprop with momentum, Keras": (
        mn.RMSpropMomentum(rho=0.9, eps=1e-7, eps_in_root=True, lr_in_velocity=True),
        keras_rmsprop_momentum,
    ),
    "rmsprop centred, PyTorch": (mn.RMSpropCentred(), torch_centred),
    "rmsprop centred, Keras": (mn.RMSpropCentred(rho=0.9, eps=1e-7, eps_in_root=True), keras_centred),
    "rmsprop centred with momentum, PyTorch": (mn.RMSpropCentredMomentum(), torch_centred_momentum),
    "rmsprop centred with momentum, Keras": (
        mn.RMSpropCentredMomentum(rho=0.9, eps=1e-7, eps_in_root=True, lr_in_velocity=True),
        with_arguments(graves, aleph=0.9, daleth=1e-7),
    ),
    "rmsprop centred with momentum, Graves": (
        mn.RMSpropCentredMomentum(rho=0.95, eps=1e-4, eps_in_root=True, lr_in_velocity=True),
        graves,
    ),
    "adadelta, Zeiler": (mn.Adadelta(), zeiler),
    "adadelta, PyTorch": (mn.Adadelta(rho=0.9), lambda *args: zeiler(*args, rho=0.9)),
    "adadelta, Keras": (mn.Adadelta(eps=1e-7), lambda *args: zeiler(*args, eps=1e-7)),
    "adam, Kingma and Ba": (mn.Adam(), kingma),
    "adam, CS231n's short form": (mn.Adam(bias_correction=False), cs231n_short_adam),
    "adam, Keras": (mn.Adam(eps=1e-7, eps_on_corrected=False), keras_adam),
    "adam, scikit-learn": (mn.Adam(eps_on_corrected=False), with_arguments(keras_adam, eps=1e-8)),
    "adam, other betas": (
        mn.Adam(beta1=0.8, beta2=0.95, eps=1e-3),
        lambda *args: kingma(*args, beta1=0.8, beta2=0.95, eps=1e-3),
    ),
    "amsgrad, Reddi": (mn.AMSGrad(), reddi),
    "amsgrad, PyTorch": (mn.AMSGrad(bias_correction=True), torch_amsgrad),
    "amsgrad, Keras": (mn.AMSGrad(bias_correction=True, eps=1e-7, eps_on_corrected=False), keras_amsgrad),
    "amsgrad, short memory": (mn.AMSGrad(beta1=0.5, beta2=0.6), with_arguments(reddi, beta1=0.5, beta2=0.6)),
    "adamax, Kingma and Ba": (mn.AdaMax(eps=1e-30, eps_in_norm=False), kingma_infinity),
    "adamax, PyTorch": (mn.AdaMax(), torch_adamax),
    "adamax, Keras": (mn.AdaMax(eps=1e-7, eps_in_norm=False), keras_adamax),
    "adamax, short memory": (
        mn.AdaMax(beta1=0.5, beta2=0.6, eps=1e-3),
        with_arguments(torch_adamax, beta1=0.5, beta2=0.6, eps=1e-3),
    ),
    "nadam, Dozat, Adam's correction": (mn.NAdam(), dozat_with_adams_correction),
    "nadam, Dozat's own": (mn.NAdam(eps=1e-8 / NU), dozats_own),
    "nadam, PyTorch": (mn.NAdam(mu_in_mean=False), torch_nadam),
    "nadam, Keras": (mn.NAdam(mu_in_mean=False, momentum_decay=1.0, eps=1e-7), keras_nadam),
    "radam, Liu": (mn.RAdam(), liu),
    "radam, PyTorch": (mn.RAdam(threshold=5.0), with_arguments(liu, threshold=5)),
    "radam, never rectified": (mn.RAdam(beta2=0.5), with_arguments(liu, beta2=0.5)),
    "lion, Chen": (mn.Lion(), chen),
    "lion, other betas": (mn.Lion(beta1=0.95, beta2=0.98), with_arguments(chen, beta1=0.95, beta2=0.98)),
    "schedule-free SGD": (mn.ScheduleFreeSGD(), defazio_sgd),
    "schedule-free SGD, x at y": (mn.ScheduleFreeSGD(beta=1.0), with_arguments(defazio_sgd, beta=1.0)),
    "schedule-free AdamW": (mn.ScheduleFreeAdamW(), defazio_adamw),
    "schedule-free AdamW, first form": (
        mn.ScheduleFreeAdamW(beta1=0.8, beta2=0.95, eps=1e-6, correction_in_rate=True),
        with_arguments(defazio_adamw, beta1=0.8, beta2=0.95, eps=1e-6, in_rate=True),
    ),
}
forms = pytest.mark.parametrize(("rule", "form"), FORMS.values(), ids=FORMS.keys())

# One of each class, for laws that hold for all rules whatever their parameters.
FREE = [mn.ScheduleFreeSGD(), mn.ScheduleFreeAdamW()]
RULES = [mn.SGD(), mn.Momentum(), mn.Nesterov(), mn.NesterovLookAhead(), mn.Adagrad(), mn.RMSprop(), mn.Adadelta()]
RULES += [mn.Adam(), mn.Momentum(lr_in_velocity=False), mn.Nesterov(lr_in_velocity=False)]
RULES += [mn.RMSpropMomentum(), mn.RMSpropCentred(), mn.RMSpropCentredMomentum()]
RULES += [mn.AMSGrad(), mn.AdaMax(), mn.NAdam(), mn.RAdam(), mn.Lion(), *FREE]
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
    state = tuple(np.zeros((len(rule.slots), params.size), params.dtype))
    if rule.numbers:
        state = (*state, np.zeros(len(rule.numbers)))
    rule.start(params, state)
    return state


def run(rule, start, grads, rates, decay=0.0):
    """Parameters and slots after the steps, by the rule itself: no optimizer, no net."""
    params = start.copy()
    state = fresh_state(rule, params)
    for t, (g, lr) in enumerate(zip(grads, rates, strict=True), start=1):
        rule.apply(params, g, state, lr=float(lr), t=t, decay=decay)
    return params, np.array(state[: len(rule.slots)], params.dtype).reshape(-1, params.size)


def twin(form, rule, p, grads, rates, decay=0.0):
    """The same for one element, in Python floats: (p, *slots) at the end, and the largest size of each on the way."""
    state = STARTS[form](p) if form in STARTS else [0.0] * len(rule.slots)
    peak = [abs(p)] + [abs(s) for s in state]
    for t, (g, lr) in enumerate(zip(grads, rates, strict=True), start=1):
        p = form(p, float(g), state, float(lr), t, 1 - lr * decay)
        peak = [max(old, abs(new)) for old, new in zip(peak, [p, *state], strict=True)]
    kept = 1 + len(rule.slots)
    return np.array([p, *state][:kept]), np.array(peak[:kept])


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


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in FREE], ids=repr)
def test_with_no_gradient_only_decoupled_decay_moves_the_parameters(rule):
    start = np.random.default_rng(0).standard_normal(SIZE)
    rates = 0.1 * np.arange(1, 11)
    moved, _ = run(rule, start, np.zeros((10, SIZE)), rates, decay=0.2)
    still, _ = run(rule, start, np.zeros((10, SIZE)), rates)
    np.testing.assert_array_equal(still, start)
    np.testing.assert_allclose(moved, start * np.prod(1 - 0.2 * rates), rtol=20 * np.finfo(np.float64).eps)


@pytest.mark.parametrize("rule", FREE, ids=repr)
def test_with_no_gradient_and_no_decay_a_schedule_free_rule_stands_still(rule):
    start = np.random.default_rng(0).standard_normal(SIZE)
    still, (base, *_) = run(rule, start, np.zeros((10, SIZE)), 0.1 * np.arange(10))
    np.testing.assert_array_equal(still, start)
    np.testing.assert_array_equal(base, start)


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
    inside, (velocity,) = descend(rule(0.9), constant)
    outside, (sum_of_gradients,) = descend(rule(0.9, lr_in_velocity=False), constant)
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

# name of the class in torch.optim, its arguments beside lr, our rule, decoupled weight decay, first lr
PYTORCH = [
    ("SGD", {}, mn.SGD(), 0.0, 0.02),
    ("SGD", {"momentum": 0.9}, mn.Momentum(0.9, lr_in_velocity=False), 0.0, 0.02),
    (
        *("SGD", {"momentum": 0.9, "dampening": 0.3}),
        *(mn.Momentum(0.9, lr_in_velocity=False, dampening=0.3), 0.0, 0.02),
    ),
    ("SGD", {"momentum": 0.9, "nesterov": True}, mn.Nesterov(0.9, lr_in_velocity=False), 0.0, 0.02),
    ("Adagrad", {}, mn.Adagrad(eps=1e-10), 0.0, 0.1),
    ("RMSprop", {}, mn.RMSprop(), 0.0, 0.01),
    ("RMSprop", {"alpha": 0.9, "eps": 1e-3}, mn.RMSprop(rho=0.9, eps=1e-3), 0.0, 0.01),
    ("RMSprop", {"momentum": 0.8}, mn.RMSpropMomentum(momentum=0.8), 0.0, 0.005),
    ("RMSprop", {"centered": True}, mn.RMSpropCentred(), 0.0, 0.01),
    ("RMSprop", {"centered": True, "momentum": 0.8}, mn.RMSpropCentredMomentum(momentum=0.8), 0.0, 0.005),
    ("Adadelta", {}, mn.Adadelta(rho=0.9), 0.0, 1.0),
    ("Adam", {}, mn.Adam(), 0.0, 0.05),
    ("Adam", {"betas": (0.8, 0.99), "eps": 1e-3}, mn.Adam(beta1=0.8, beta2=0.99, eps=1e-3), 0.0, 0.05),
    ("Adam", {"amsgrad": True, "betas": (0.9, 0.9)}, mn.AMSGrad(beta2=0.9, bias_correction=True), 0.0, 0.05),
    ("Adamax", {}, mn.AdaMax(), 0.0, 0.05),
    ("Adamax", {"betas": (0.8, 0.9), "eps": 1e-3}, mn.AdaMax(beta1=0.8, beta2=0.9, eps=1e-3), 0.0, 0.05),
    ("NAdam", {}, mn.NAdam(mu_in_mean=False), 0.0, 0.02),
    ("NAdam", {"momentum_decay": 0.1}, mn.NAdam(mu_in_mean=False, momentum_decay=0.1), 0.0, 0.02),
    ("RAdam", {}, mn.RAdam(threshold=5.0), 0.0, 0.05),
    ("RAdam", {"betas": (0.8, 0.95), "eps": 1e-3}, mn.RAdam(beta1=0.8, beta2=0.95, eps=1e-3, threshold=5.0), 0.0, 0.05),
    ("AdamW", {"weight_decay": 0.1}, mn.Adam(), 0.1, 0.05),
    ("AdamW", {"weight_decay": 0.1, "amsgrad": True}, mn.AMSGrad(bias_correction=True), 0.1, 0.05),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}, mn.NAdam(mu_in_mean=False), 0.1, 0.02),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}, mn.RAdam(threshold=5.0), 0.1, 0.05),
]
STEPS_OF_PYTORCH = 100
RATES = np.where(np.arange(STEPS_OF_PYTORCH) < 60, 1.0, 0.3)


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    torch.set_default_dtype(torch.float64)  # of NAdam's product as well
    yield torch
    torch.set_default_dtype(torch.float32)


def assert_follows(path, torch, name, options, rates, adjust=lambda group, step: None):
    """All steps of ``path`` are those of ``torch.optim``'s optimizer of that name, down the same valley."""
    theirs = torch.linspace(-0.8, 0.9, 6).requires_grad_()
    optimizer = getattr(torch.optim, name)([theirs], lr=rates[0], **options)
    worst = 0.0
    for step, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = float(rate)
        adjust(optimizer.param_groups[0], step)
        optimizer.zero_grad()
        (torch.log(torch.cosh(theirs)).sum() + ((theirs[1:] - theirs[:-1] ** 2) ** 2).sum()).backward()
        optimizer.step()
        worst = max(worst, np.abs(path[step] - theirs.detach().numpy()).max())
    assert worst < 1e-10
    assert np.abs(path[-1] - path[0]).max() > 0.1  # it did go somewhere


@pytest.mark.torch
@pytest.mark.parametrize(("name", "options", "rule", "decay", "lr"), PYTORCH, ids=str)
def test_a_hundred_steps_equal_those_of_pytorch(name, options, rule, decay, lr, torch):
    ours, _ = descend(rule, lr * RATES, decay=decay)
    assert_follows(ours, torch, name, options, lr * RATES)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "options", "rule", "lr"),
    [(name, options, rule, lr) for name, options, rule, decay, lr in PYTORCH if not decay],
    ids=str,
)
def test_an_l2_penalty_equals_pytorchs_coupled_decay(name, options, rule, lr, torch):
    ours, _ = descend(rule, lr * RATES, gradient=lambda p: valley(p) + 0.1 * p)
    assert_follows(ours, torch, name, {**options, "weight_decay": 0.1}, lr * RATES)


@pytest.mark.torch
def test_a_beta_that_moves_is_corrected_as_pytorch_does_with_its_present_value(torch):
    beta1, beta2 = mn.schedules.Linear(0.5, 0.95, 80), mn.schedules.Linear(0.9, 0.999, 80)
    params, grads, path = np.linspace(-0.8, 0.9, 6), np.zeros(6), []
    optimizer = mn.Optimizer.over(params, grads, mn.Adam(beta1=beta1, beta2=beta2))
    for rate in 0.05 * RATES:
        grads[:] = valley(params)
        optimizer.step(rate)
        path.append(params.copy())

    def adjust(group, step):
        group["betas"] = beta1(step), beta2(step)

    assert_follows(path, torch, "Adam", {}, 0.05 * RATES, adjust)


# Schedule-free -------------------------------------------------------------------------------------------------


def three_sequences(steps, rates, beta, gradient=valley):
    """x, y, z of Schedule-Free SGD as the paper writes it, with the gradient asked for at y."""
    x = z = np.linspace(-0.8, 0.9, 6)
    weights = 0.0
    for step in range(steps):
        y = (1 - beta) * z + beta * x
        z = z - rates[step] * gradient(y)
        weights += rates[step] ** 2
        c = rates[step] ** 2 / weights if weights else 0.0
        x = (1 - c) * x + c * z
    return x, (1 - beta) * z + beta * x, z


@pytest.mark.parametrize("beta", [0.1, 0.9, 1.0])
def test_schedule_free_parameters_are_y_and_what_it_hands_out_is_x(beta):
    rates = 0.05 * np.minimum(np.arange(60) / 10, 1)  # a warm-up from 0
    params, grads = np.linspace(-0.8, 0.9, 6), np.zeros(6)
    optimizer = mn.Optimizer.over(params, grads, mn.ScheduleFreeSGD(beta=beta))
    with optimizer.evaluating():  # before the first step, x, y and z are one
        np.testing.assert_array_equal(params, np.linspace(-0.8, 0.9, 6))
    for step, rate in enumerate(rates, start=1):
        grads[:] = valley(params)
        optimizer.step(float(rate))
        x, y, z = three_sequences(step, rates, beta)
        np.testing.assert_allclose(params, y, rtol=0, atol=1e-13)
        np.testing.assert_allclose(optimizer.named_state()["base"], z, rtol=0, atol=1e-13)
        with optimizer.evaluating():
            np.testing.assert_allclose(params, x, rtol=0, atol=1e-13 / beta)
    assert np.abs(x - z).max() > 0.01, "the sequences never parted"


def test_schedule_free_at_a_constant_rate_hands_out_the_mean_of_its_steps():
    params, grads, bases = np.linspace(-0.8, 0.9, 6), np.zeros(6), []
    optimizer = mn.Optimizer.over(params, grads, mn.ScheduleFreeAdamW())
    for _ in range(30):
        grads[:] = valley(params)
        optimizer.step(0.02)
        bases.append(optimizer.named_state()["base"].copy())
    optimizer.settle()
    np.testing.assert_allclose(params, np.mean(bases, axis=0), rtol=0, atol=1e-13)


# What a rule is ------------------------------------------------------------------------------------------------


@every_rule
@both_dtypes
def test_a_step_leaves_the_gradient_alone_and_the_dtype_as_it_was(rule, dtype):
    start, grads, rates = sequence(dtype)
    before = grads.copy()
    params, state = run(rule, start, grads, rates, decay=0.1)
    np.testing.assert_array_equal(grads, before)
    assert params.dtype == state.dtype == dtype


# Name, kernel, loop: _adam is adam's.
KERNELS = {
    name: (getattr(module, name), getattr(module, f"_{name}"))
    for module in (update, update_adam, update_schedule_free)
    for name in vars(module)
    if hasattr(module, f"_{name}")
}
compiled = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="NUMBA_DISABLE_JIT is set: nothing is compiled")


def run_every_form(dtype, **options):
    for rule, _ in FORMS.values():
        run(rule, *sequence(dtype), **options)


@compiled
def test_every_kernel_is_compiled_for_one_precision_at_a_time():
    # A Python float beside float32 arrays would widen the whole loop to double, silently.
    run_every_form(np.float32)
    run_every_form(np.float64)
    for name, (kernel, _) in KERNELS.items():
        assert kernel.signatures, f"{name}: no rule uses this kernel"
        for signature in kernel.signatures:
            kinds = {str(getattr(argument, "dtype", argument)) for argument in signature}
            assert len(kinds) == 1, f"{name}: compiled for {signature}"
            assert kinds < {"float32", "float64"}


@compiled
def test_float32_loops_never_widen_to_double():
    run_every_form(np.float32)
    for name, (kernel, loop) in KERNELS.items():
        # Compiled anew, because what comes from the disk cache brings no code to look at.
        options = {key: kernel.targetoptions[key] for key in ("fastmath", "error_model")}
        again = numba.njit(loop.py_func, no_cpython_wrapper=True, **options)
        signature = next(s for s in kernel.signatures if numba.float32 in s)
        again.compile(signature)
        assert "fpext" not in again.inspect_llvm(again.signatures[0]), f"{name} widens float32 to double"


@compiled
def test_second_step_compiles_nothing():
    start, grads, rates = sequence(np.float32)
    for rule in RULES:
        run(rule, start, grads[:1], rates[:1])
    before = {name: len(kernel.signatures) for name, (kernel, _) in KERNELS.items()}
    for rule in RULES:
        run(rule, start, grads, rates, decay=0.1)  # and decay needs no other kernel
    assert {name: len(kernel.signatures) for name, (kernel, _) in KERNELS.items()} == before


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
        "RMSpropMomentum": ("squares", "velocity"),
        "RMSpropCentred": ("variance", "mean"),
        "RMSpropCentredMomentum": ("variance", "mean", "velocity"),
        "AMSGrad": ("mean", "squares", "largest"),
        "AdaMax": ("mean", "norm"),
        "NAdam": ("mean", "squares"),
        "RAdam": ("mean", "squares"),
        "Lion": ("mean",),
        "ScheduleFreeSGD": ("base",),
        "ScheduleFreeAdamW": ("base", "squares"),
    }
    numbers = {type(rule).__name__: rule.numbers for rule in RULES if rule.numbers}
    assert numbers == {
        "NAdam": ("product",),
        "ScheduleFreeSGD": ("weights", "beta"),
        "ScheduleFreeAdamW": ("weights", "beta"),
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
    *((mn.Momentum, {"dampening": bad}) for bad in (1.0, -0.1, math.nan, "0.3")),
    *((rule, {"rho": 1.0}) for rule in (mn.RMSpropMomentum, mn.RMSpropCentred, mn.RMSpropCentredMomentum)),
    *((rule, {"eps": -1e-8}) for rule in (mn.RMSpropMomentum, mn.RMSpropCentred, mn.RMSpropCentredMomentum)),
    *((rule, {"momentum": 1.0}) for rule in (mn.RMSpropMomentum, mn.RMSpropCentredMomentum)),
    *((rule, {"beta1": 1.0}) for rule in (mn.AMSGrad, mn.AdaMax, mn.NAdam, mn.RAdam, mn.Lion)),
    *((rule, {"beta2": -0.1}) for rule in (mn.AMSGrad, mn.AdaMax, mn.NAdam, mn.RAdam, mn.Lion, mn.ScheduleFreeAdamW)),
    *((rule, {"eps": math.inf}) for rule in (mn.AMSGrad, mn.AdaMax, mn.NAdam, mn.RAdam, mn.ScheduleFreeAdamW)),
    (mn.NAdam, {"momentum_decay": -0.1}),
    (mn.RAdam, {"threshold": 3.9}),
    (mn.RAdam, {"threshold": None}),
    (mn.ScheduleFreeSGD, {"beta": 0.0}),  # y would say nothing of x
    (mn.ScheduleFreeSGD, {"beta": 1.1}),
    (mn.ScheduleFreeAdamW, {"beta1": 0.0}),
    *(
        (rule, {field.name: bad})
        for rule in dict.fromkeys([*map(type, RULES), mn.LARS, mn.LAMB, mn.Adafactor, mn.Muon])
        for field in fields(rule)
        if isinstance(field.default, bool)
        for bad in ("no", None, 1)
    ),
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

# rule and hyper-parameter, the form and its name for it, the values between which it moves
MOVING = [
    *(
        (mn.Momentum, "momentum", cs231n_momentum, "mu", 0.5, 0.99),
        (mn.Nesterov, "momentum", keras_nesterov, "momentum", 0.5, 0.99),
    ),
    (mn.NesterovLookAhead, "momentum", sutskever, "mu", 0.5, 0.99),
    (mn.Adagrad, "eps", cs231n_adagrad, "eps", 0.1, 1e-8),
    *(
        (mn.RMSprop, "rho", cs231n_rmsprop, "decay_rate", 0.5, 0.99),
        (mn.RMSprop, "eps", cs231n_rmsprop, "eps", 0.1, 1e-6),
    ),
    *((mn.Adadelta, "rho", zeiler, "rho", 0.5, 0.99), (mn.Adadelta, "eps", zeiler, "eps", 0.1, 1e-6)),
    *((mn.Adam, name, kingma, name, 0.5, 0.99) for name in ("beta1", "beta2", "eps")),
    *((mn.AMSGrad, name, reddi, name, 0.5, 0.99) for name in ("beta1", "beta2", "eps")),
    *((mn.AdaMax, name, torch_adamax, name, 0.5, 0.99) for name in ("beta1", "beta2", "eps")),
    *((mn.RAdam, name, liu, name, 0.5, 0.99) for name in ("beta1", "beta2", "eps")),
    *(
        (mn.NAdam, "beta1", dozat_with_adams_correction, "mu", 0.5, 0.99),
        (mn.NAdam, "beta2", dozat_with_adams_correction, "nu", 0.5, 0.99),
    ),
    *(
        (mn.NAdam, "eps", dozat_with_adams_correction, "eps", 0.1, 1e-6),
        (mn.NAdam, "momentum_decay", dozat_with_adams_correction, "psi", 0.004, 0.5),
    ),
    *((mn.Lion, name, chen, name, 0.5, 0.99) for name in ("beta1", "beta2")),
    *(
        (mn.RMSpropMomentum, "momentum", torch_rmsprop, "momentum", 0.5, 0.99),
        (mn.RMSpropMomentum, "rho", torch_rmsprop, "alpha", 0.5, 0.99),
    ),
    *(
        (mn.RMSpropCentred, "rho", torch_centred, "alpha", 0.5, 0.99),
        (mn.RMSpropCentred, "eps", torch_centred, "eps", 0.1, 0.01),
    ),
    *(
        (mn.RMSpropCentredMomentum, "momentum", torch_centred_momentum, "momentum", 0.5, 0.99),
        (mn.RMSpropCentredMomentum, "rho", torch_centred_momentum, "alpha", 0.5, 0.99),
    ),
    (mn.ScheduleFreeSGD, "beta", defazio_sgd, "beta", 0.5, 0.99),
    *((mn.ScheduleFreeAdamW, name, defazio_adamw, name, 0.5, 0.99) for name in ("beta1", "beta2", "eps")),
]


@pytest.mark.parametrize(
    ("rule", "name", "form", "argument", "first", "last"), MOVING, ids=lambda v: getattr(v, "__name__", str(v))
)
def test_a_hyper_parameter_that_moves_is_the_formula_with_its_value_of_each_step(
    rule, name, form, argument, first, last
):
    schedule = mn.schedules.Linear(first, last, STEPS - 1)
    start, gradients, rates = sequence(np.float64)
    gradients = np.clip(gradients, -1, 1)
    params, grads = start.copy(), np.zeros(SIZE)
    optimizer = mn.Optimizer.over(params, grads, rule(**{name: schedule}))
    for g, lr in zip(gradients, rates, strict=True):
        grads[:] = g
        optimizer.step(float(lr))
    for i in range(SIZE):
        p, state = float(start[i]), STARTS[form](float(start[i])) if form in STARTS else [0.0] * len(rule.slots)
        for step, lr in enumerate(rates):
            p = form(p, float(gradients[step, i]), state, float(lr), step + 1, 1.0, **{argument: schedule(step)})
        assert params[i] == pytest.approx(p, rel=1e-11, abs=1e-12)
        expected = state[: len(rule.slots)]
        np.testing.assert_allclose(optimizer.state[:, i], expected, rtol=1e-11, atol=1e-12)


def test_every_hyper_parameter_that_may_move_is_checked_at_every_step():
    params, grads = np.ones(3), np.ones(3)
    optimizer = mn.Optimizer.over(params, grads, mn.NAdam(beta1=mn.schedules.Linear(0.9, 1.1, 10)))
    for _ in range(5):
        optimizer.step(0.1)
    with pytest.raises(ValueError, match=r"NAdam: expected 0 <= beta1 < 1; got 1"):
        optimizer.step(0.1)
    assert optimizer.steps == 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_the_bits_of_an_element_do_not_depend_on_its_place(rule, dtype):
    # An element may be in a vector register in one place and in the rest of the loop in another.
    rng = np.random.default_rng(0)
    start, gradients = rng.standard_normal(67).astype(dtype), rng.standard_normal((3, 67)).astype(dtype)

    def end(part):
        params, grads = start[part].copy(), gradients[0, part].copy()
        optimizer = mn.Optimizer.over(params, grads, rule, weight_decay=0.1)
        for gradient in gradients:
            grads[:] = gradient[part]
            optimizer.step(0.1)
        return params

    whole = end(slice(None))
    for part in (slice(0, 1), slice(3, 9), slice(1, 16), slice(20, 51)):
        np.testing.assert_array_equal(end(part), whole[part])
