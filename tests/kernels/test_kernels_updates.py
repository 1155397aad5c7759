"""Kernels of update rules that go element by element against naive twins."""

import math

import numpy as np
import pytest
from twins import FLAT, LARGE, Table, check_twin, make_update

from minnet.kernels.updates import (
    adam as update_adam,
)
from minnet.kernels.updates import (
    elementwise as update,
)
from minnet.kernels.updates import (
    schedule_free as update_schedule_free,
)

TWINS = Table()
twin_of = TWINS.twin_of


@pytest.mark.parametrize(TWINS.names, TWINS)
def test_a_kernel_equals_its_naive_twin(name, twin, make, shape, terms, dtype):
    check_twin(name, twin, make, shape, terms, dtype)


@twin_of(update.sgd, make_update(-0.1, -0.2), FLAT)
@twin_of(update.sgd_parallel, make_update(-0.1, -0.2), [LARGE])
def sgd(p, g, rate, pull):
    for i in range(p.size):
        p[i] = (1 - rate * pull) * p[i] + rate * g[i]
    return True


@twin_of(update.momentum, make_update("any", 0.2, -0.1, 0.5, 0.2), FLAT)
@twin_of(update.momentum_parallel, make_update("any", 0.2, -0.1, 0.5, 0.2), [LARGE])
def momentum(p, g, v, rest, gain, rate, pull):
    for i in range(p.size):
        v[i] = (1 - rest) * v[i] + gain * g[i]
        p[i] = (1 - rate * pull) * p[i] + rate * v[i]
    return True


@twin_of(update.nesterov, make_update("any", 0.2, -0.1, 0.5, 0.2), FLAT)
@twin_of(update.nesterov_parallel, make_update("any", 0.2, -0.1, 0.5, 0.2), [LARGE])
def nesterov(p, g, v, rest, gain, rate, pull):
    for i in range(p.size):
        v[i] = (1 - rest) * v[i] + gain * g[i]
        p[i] = (1 - rate * pull) * p[i] + rate * ((1 - rest) * v[i] + gain * g[i])
    return True


@twin_of(update.nesterov_look_ahead, make_update("any", "any", 0.2, 0.1, 0.01), FLAT)
@twin_of(update.nesterov_look_ahead_parallel, make_update("any", "any", 0.2, 0.1, 0.01), [LARGE])
def nesterov_look_ahead(p, g, v, x, rest, lr, decay):
    for i in range(p.size):
        v[i] = (1 - rest) * v[i] - lr * g[i]
        x[i] = (1 - decay) * x[i] + v[i]
        p[i] = x[i] + (1 - rest) * v[i]
    return True


@twin_of(update.adagrad, make_update("positive", 0.1, 0.02, 0.03, 0.01), FLAT)
@twin_of(update.adagrad_parallel, make_update("positive", 0.1, 0.02, 0.03, 0.01), [LARGE])
def adagrad(p, g, s, lr, eps_root, eps, decay):
    for i in range(p.size):
        s[i] = s[i] + g[i] ** 2
        p[i] = (1 - decay) * p[i] - lr * g[i] / (math.sqrt(s[i] + eps_root) + eps)
    return True


@twin_of(update.rmsprop, make_update("positive", 0.2, 0.1, 0.02, 0.03, 0.01), FLAT)
@twin_of(update.rmsprop_parallel, make_update("positive", 0.2, 0.1, 0.02, 0.03, 0.01), [LARGE])
def rmsprop(p, g, s, rest, lr, eps_root, eps, decay):
    for i in range(p.size):
        s[i] = (1 - rest) * s[i] + rest * g[i] ** 2
        p[i] = (1 - decay) * p[i] - lr * g[i] / (math.sqrt(s[i] + eps_root) + eps)
    return True


@twin_of(update.adadelta, make_update("positive", "positive", 0.2, 0.5, 0.02, 0.01), FLAT)
@twin_of(update.adadelta_parallel, make_update("positive", "positive", 0.2, 0.5, 0.02, 0.01), [LARGE])
def adadelta(p, g, s, d, rest, lr, eps, decay):
    for i in range(p.size):
        s[i] = (1 - rest) * s[i] + rest * g[i] ** 2
        change = math.sqrt(d[i] + eps) / math.sqrt(s[i] + eps) * g[i]
        d[i] = (1 - rest) * d[i] + rest * change**2
        p[i] = (1 - decay) * p[i] - lr * change
    return True


@twin_of(
    update_adam.adam,
    make_update("any", "positive", 0.1, 0.02, 0.1, 1.5, 0.02, 0.02),
    FLAT,
)
@twin_of(
    update_adam.adam_parallel,
    make_update("any", "positive", 0.1, 0.02, 0.1, 1.5, 0.02, 0.02),
    [LARGE],
)
def adam(p, g, m, v, rest1, rest2, rate, root_fix, eps, decay):
    for i in range(p.size):
        m[i] = (1 - rest1) * m[i] + rest1 * g[i]
        v[i] = (1 - rest2) * v[i] + rest2 * g[i] ** 2
        p[i] = (1 - decay) * p[i] - rate * m[i] / (root_fix * math.sqrt(v[i]) + eps)
    return True


@twin_of(
    update.rmsprop_momentum,
    make_update("positive", "any", 0.2, 0.3, 0.7, -0.1, 0.02, 0.03, 0.01),
    FLAT,
)
@twin_of(
    update.rmsprop_momentum_parallel,
    make_update("positive", "any", 0.2, 0.3, 0.7, -0.1, 0.02, 0.03, 0.01),
    [LARGE],
)
def rmsprop_momentum(p, g, s, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    for i in range(p.size):
        s[i] = (1 - rest) * s[i] + rest * g[i] ** 2
        v[i] = (1 - mu_rest) * v[i] + gain * g[i] / (math.sqrt(s[i] + eps_root) + eps)
        p[i] = (1 - decay) * p[i] + rate * v[i]
    return True


@twin_of(
    update.rmsprop_centred,
    make_update("positive", "any", 0.2, 0.1, 0.02, 0.03, 0.01),
    FLAT,
)
@twin_of(
    update.rmsprop_centred_parallel,
    make_update("positive", "any", 0.2, 0.1, 0.02, 0.03, 0.01),
    [LARGE],
)
def rmsprop_centred(p, g, s, m, rest, lr, eps_root, eps, decay):
    for i in range(p.size):
        s[i] = (1 - rest) * s[i] + (1 - rest) * rest * (g[i] - m[i]) ** 2
        m[i] = (1 - rest) * m[i] + rest * g[i]
        p[i] = (1 - decay) * p[i] - lr * g[i] / (math.sqrt(s[i] + eps_root) + eps)
    return True


@twin_of(
    update.rmsprop_centred_momentum,
    make_update("positive", "any", "any", 0.2, 0.3, 0.7, -0.1, 0.02, 0.03, 0.01),
    FLAT,
)
@twin_of(
    update.rmsprop_centred_momentum_parallel,
    make_update("positive", "any", "any", 0.2, 0.3, 0.7, -0.1, 0.02, 0.03, 0.01),
    [LARGE],
)
def rmsprop_centred_momentum(p, g, s, m, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    for i in range(p.size):
        s[i] = (1 - rest) * s[i] + (1 - rest) * rest * (g[i] - m[i]) ** 2
        m[i] = (1 - rest) * m[i] + rest * g[i]
        v[i] = (1 - mu_rest) * v[i] + gain * g[i] / (math.sqrt(s[i] + eps_root) + eps)
        p[i] = (1 - decay) * p[i] + rate * v[i]
    return True


@twin_of(
    update_adam.amsgrad,
    make_update("any", "positive", "positive", 0.1, 0.2, 0.1, 1.5, 0.02, 0.02),
    FLAT,
)
@twin_of(
    update_adam.amsgrad_parallel,
    make_update("any", "positive", "positive", 0.1, 0.2, 0.1, 1.5, 0.02, 0.02),
    [LARGE],
)
def amsgrad(p, g, m, v, w, rest1, rest2, rate, root_fix, eps, decay):
    for i in range(p.size):
        m[i] = (1 - rest1) * m[i] + rest1 * g[i]
        v[i] = (1 - rest2) * v[i] + rest2 * g[i] ** 2
        w[i] = v[i] if v[i] > w[i] else w[i]
        p[i] = (1 - decay) * p[i] - rate * m[i] / (root_fix * math.sqrt(w[i]) + eps)
    return True


@twin_of(update_adam.adamax, make_update("any", "positive", 0.1, 0.2, 0.1, 0.02, 0.03, 0.02), FLAT)
@twin_of(update_adam.adamax_parallel, make_update("any", "positive", 0.1, 0.2, 0.1, 0.02, 0.03, 0.02), [LARGE])
def adamax(p, g, m, u, rest1, rest2, rate, eps_norm, eps, decay):
    for i in range(p.size):
        m[i] = (1 - rest1) * m[i] + rest1 * g[i]
        size = math.fabs(g[i]) + eps_norm
        u[i] = max(size, (1 - rest2) * u[i])
        p[i] = (1 - decay) * p[i] - rate * m[i] / (u[i] + eps)
    return True


@twin_of(
    update_adam.nadam,
    make_update("any", "positive", 0.1, 0.02, 0.1, 0.3, 1.5, 0.02, 0.02),
    FLAT,
)
@twin_of(
    update_adam.nadam_parallel,
    make_update("any", "positive", 0.1, 0.02, 0.1, 0.3, 1.5, 0.02, 0.02),
    [LARGE],
)
def nadam(p, g, m, v, rest1, rest2, rate_m, rate_g, root_fix, eps, decay):
    for i in range(p.size):
        m[i] = (1 - rest1) * m[i] + rest1 * g[i]
        v[i] = (1 - rest2) * v[i] + rest2 * g[i] ** 2
        p[i] = (1 - decay) * p[i] - (rate_m * m[i] + rate_g * g[i]) / (root_fix * math.sqrt(v[i]) + eps)
    return True


@twin_of(update_adam.lion, make_update("any", 0.1, 0.3, 0.1, 0.02), FLAT)
@twin_of(update_adam.lion_parallel, make_update("any", 0.1, 0.3, 0.1, 0.02), [LARGE])
def lion(p, g, m, rest1, rest2, lr, decay):
    for i in range(p.size):
        p[i] = (1 - decay) * p[i] - lr * np.sign((1 - rest1) * m[i] + rest1 * g[i])
        m[i] = (1 - rest2) * m[i] + rest2 * g[i]
    return True


@twin_of(update_schedule_free.schedule_free_sgd, make_update("any", 0.1, 0.2, 0.05, 0.3), FLAT)
@twin_of(update_schedule_free.schedule_free_sgd_parallel, make_update("any", 0.1, 0.2, 0.05, 0.3), [LARGE])
def schedule_free_sgd(p, g, z, rate, pull, push, decay):
    for i in range(p.size):
        d = g[i] + decay * p[i]
        p[i] = (1 - pull) * p[i] + pull * z[i] - push * d
        z[i] = z[i] - rate * d
    return True


@twin_of(
    update_schedule_free.schedule_free_adamw,
    make_update("any", "positive", 0.02, 0.1, 0.2, 0.05, 1.5, 0.02, 0.3),
    FLAT,
)
@twin_of(
    update_schedule_free.schedule_free_adamw_parallel,
    make_update("any", "positive", 0.02, 0.1, 0.2, 0.05, 1.5, 0.02, 0.3),
    [LARGE],
)
def schedule_free_adamw(p, g, z, v, rest2, rate, pull, push, root_fix, eps, decay):
    for i in range(p.size):
        v[i] = (1 - rest2) * v[i] + rest2 * g[i] ** 2
        d = g[i] / (root_fix * math.sqrt(v[i]) + eps) + decay * p[i]
        p[i] = (1 - pull) * p[i] + pull * z[i] - push * d
        z[i] = z[i] - rate * d
    return True
