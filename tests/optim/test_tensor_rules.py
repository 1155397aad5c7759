"""Rules that look at whole tensors (LARS, LAMB, Adafactor, Muon, L-BFGS) against their papers and ``torch.optim``.

A form below is one tensor's update in float64 NumPy, in the algebra of its source: ``form(p, g, state, lr, t, decay)``
returns the new p and keeps what it likes in ``state``, a dict that starts empty.
"""

import dataclasses
import inspect
import itertools
import math
import pickle
import tracemalloc

import numpy as np
import pytest

import minnet as mn
from minnet.kernels.updates import tensor as kernels
from minnet.layers.spec import Layout
from minnet.optim.rules.line_search import Point, cubic_minimum, strong_wolfe
from minnet.schedules import Linear

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])

# Forms -------------------------------------------------------------------------------------------------------


def lars(p, g, state, lr, t, decay, m=0.9, eta=0.001, eps=0.0, joint=False):
    w, slope = np.linalg.norm(p), np.linalg.norm(g + decay * p) if joint else np.linalg.norm(g)
    local = 1.0
    if w > 0 and slope > 0:
        local = eta * w / ((slope if joint else slope + decay * w) + eps)
    state["v"] = m * state.get("v", 0.0) + lr * local * (g + decay * p)
    return p - state["v"]


def lamb(p, g, state, lr, t, decay, beta1=0.9, beta2=0.999, eps=1e-6, correct=True, keras=False):
    state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    m, v = state["m"], state["v"]
    if correct:
        m, v = m / (1 - beta1**t), v / (1 - beta2**t)
    u = m / (np.sqrt(v) + eps)
    size = np.linalg.norm(p)
    if keras:
        p = p - lr * decay * p  # its base class decays in front of the update ...
        size = np.linalg.norm(p)
    else:
        u = u + decay * p
    length = np.linalg.norm(u)
    return p - lr * (size / length if size > 0 and length > 0 else 1.0) * u


def rms(x):
    return math.sqrt(np.mean(x * x))


def adafactor(
    p, g, state, lr, t, decay, power=0.8, d=1.0, eps1=1e-30, eps2=1e-3, relative=True, scaled=True, floor=False
):
    """Algorithms 4 and 5, with the paper's sums; ``floor``: PyTorch's eps."""
    rho = min(lr, 1 / math.sqrt(t)) if relative else lr
    alpha = max(eps2, rms(p)) * rho if scaled else rho
    beta = 1 - t**-power
    squares = g * g + (0.0 if floor else eps1)
    if p.ndim == 1:
        state["V"] = V = beta * state.get("V", 0.0) + (1 - beta) * squares
    else:
        n, m = p.shape[-2:]
        state["R"] = R = beta * state.get("R", 0.0) + (1 - beta) * squares.sum(axis=-1, keepdims=True)
        state["C"] = C = beta * state.get("C", 0.0) + (1 - beta) * squares.sum(axis=-2, keepdims=True)
        V = R * C / np.maximum(R.sum(axis=-2, keepdims=True), n * m * eps1 if floor else 0.0)
    u = g / np.sqrt(np.maximum(V, eps1**2) if floor else V)
    return (1 - lr * decay) * p - alpha * u / max(1.0, rms(u) / d)


def newton_schulz(G, steps=5, coefficients=(3.4445, -4.7750, 2.0315), eps=1e-7, floor=False):
    a, b, c = coefficients
    norm = np.linalg.norm(G)
    X = G / (max(norm, eps) if floor else norm + eps)
    for _ in range(steps):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X


def muon(p, g, state, lr, t, decay, mu=0.95, nesterov=True, factor=None, floor=False, **options):
    """The blog post's algorithm: B = mu B + G."""
    inputs, outputs = p.size // p.shape[-1], p.shape[-1]
    state["B"] = mu * state.get("B", 0.0) + g
    G = g + mu * state["B"] if nesterov else state["B"]
    # eps stands beside the norm of (1 - mu) times this in the published code.
    X = newton_schulz((1 - mu) * G.reshape(inputs, outputs), floor=floor, **options).reshape(p.shape)
    factor = math.sqrt(max(1, outputs / inputs)) if factor is None else factor(inputs, outputs)
    return (1 - lr * decay) * p - lr * factor * X


def adam(p, g, state, lr, t, decay):
    state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * g
    state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * g**2
    m, v = state["m"] / (1 - 0.9**t), state["v"] / (1 - 0.999**t)
    return (1 - lr * decay) * p - lr * m / (np.sqrt(v) + 1e-8)


def muon_or_adam(p, g, *rest, **options):
    return adam(p, g, *rest) if p.ndim == 1 else muon(p, g, *rest, **options)


def form(function, **options):
    return lambda *args: function(*args, **options)


EPS = float(np.finfo(np.float64).eps)
# Each row: the rule with the parameters that its docstring names for the form, and the form.
FORMS = {
    "LARS": (mn.LARS(), lars),
    "LARS, others": (mn.LARS(momentum=0.8, trust=0.02, eps=0.1), form(lars, m=0.8, eta=0.02, eps=0.1)),
    "LARS, optax": (mn.LARS(joint_norm=True, exempt=False), form(lars, joint=True)),
    "LAMB": (mn.LAMB(), lamb),
    "LAMB, others": (mn.LAMB(beta1=0.8, beta2=0.95, eps=1e-3), form(lamb, beta1=0.8, beta2=0.95, eps=1e-3)),
    "LAMB, first version": (mn.LAMB(bias_correction=False), form(lamb, correct=False)),
    "LAMB, Keras": (mn.LAMB(eps=1e-7, exempt=False, decay_in_ratio=False), form(lamb, eps=1e-7, keras=True)),
    "Adafactor": (mn.Adafactor(), adafactor),
    "Adafactor, others": (
        mn.Adafactor(decay_power=0.7, clip=0.5, eps=1e-3, eps_scale=0.1),
        form(adafactor, power=0.7, d=0.5, eps1=1e-3, eps2=0.1),
    ),
    "Adafactor, bare": (
        mn.Adafactor(relative_step=False, scale_by_size=False),
        form(adafactor, relative=False, scaled=False),
    ),
    "Adafactor, PyTorch": (mn.Adafactor(eps=EPS, eps_as_floor=True), form(adafactor, eps1=EPS, floor=True)),
    "Muon": (mn.Muon(), muon_or_adam),
    "Muon, plain momentum": (mn.Muon(momentum=0.8, nesterov=False), form(muon_or_adam, mu=0.8, nesterov=False)),
    "Muon, matching AdamW": (
        mn.Muon(scale="match_rms_adamw", eps=0.1, eps_as_floor=True),
        form(muon_or_adam, factor=lambda a, b: 0.2 * math.sqrt(max(a, b)), eps=0.1, floor=True),
    ),
    "Muon, Keras": (
        mn.Muon(steps=6, scale="keras"),
        form(muon_or_adam, steps=6, factor=lambda a, b: math.sqrt(max(1, a / b))),
    ),
    "Muon, cubic": (mn.Muon(coefficients=(1.5, -0.5, 0.0)), form(muon_or_adam, coefficients=(1.5, -0.5, 0.0))),
}
forms = pytest.mark.parametrize(("rule", "form"), FORMS.values(), ids=FORMS.keys())

SHAPES = {
    "one": (1, 1),
    "single": (1,),
    "vector": (13,),
    "row": (1, 9),
    "column": (6, 1),
    "wide": (5, 67),
    "tall": (67, 5),
    "square": (8, 8),
    "convolution": (3, 2, 4, 5),
    "zero": (3, 4),
}


def sequence(shapes, steps, zero="zero"):
    """Start and gradients by name, and rates; the tensor ``zero`` starts at 0."""
    rng = np.random.default_rng(5)
    start = {name: 0.5 * rng.standard_normal(shape) for name, shape in shapes.items()}
    if zero in start:
        start[zero][...] = 0
    size = 3.0 ** np.arange(-3, 3)
    grads = [
        {name: size[step % 6] * rng.standard_normal(shape) for name, shape in shapes.items()} for step in range(steps)
    ]
    return start, grads, 0.02 * 0.95 ** np.arange(steps)


def joined(tensors, dtype):
    return np.concatenate([value.reshape(-1) for value in tensors.values()]).astype(dtype)


def run(rule, shapes, dtype, steps, decay=0.0):
    """Parameters by name after the steps, and the optimizer."""
    start, grads, rates = sequence(shapes, steps)
    params, slopes = joined(start, dtype), np.empty(sum(math.prod(s) for s in shapes.values()), dtype)
    optimizer = mn.Optimizer.over(params, slopes, rule, shapes=shapes, weight_decay=decay)
    for g, lr in zip(grads, rates, strict=True):
        slopes[:] = joined(g, dtype)
        optimizer.step(float(lr))
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1]
    pieces = np.split(params, ends)
    return {name: part.reshape(shapes[name]) for name, part in zip(shapes, pieces, strict=True)}, optimizer


@forms
@both_dtypes
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_a_rule_is_its_published_formula_to_round_off(rule, form, decay, dtype):
    steps = 12
    actual, _ = run(rule, SHAPES, dtype, steps, decay)
    start, grads, rates = sequence(SHAPES, steps)
    eps = float(np.finfo(dtype).eps)
    for name in SHAPES:
        p, state = start[name].astype(dtype).astype(np.float64), {}
        largest, way = np.abs(p).max(), 0.0
        for t, (g, lr) in enumerate(zip(grads, rates, strict=True), start=1):
            before, p = p, form(p, g[name].astype(dtype).astype(np.float64), state, float(lr), t, decay)
            largest, way = max(largest, np.abs(p).max()), way + np.abs(p - before).max()
        # Each step rounds p up to three times, and an update some twenty times with its sums. The Newton-Schulz steps
        # of Muon multiply the roundings of small singular values by up to 3.4445 each.
        bound = eps * (2 * steps * largest + 20 * steps * way + isinstance(rule, mn.Muon) * way * 3.4445**6)
        np.testing.assert_allclose(actual[name], p, rtol=0, atol=bound, err_msg=name)
        assert np.abs(p - start[name]).max() > 10 * bound


# Scalar loops ------------------------------------------------------------------------------------------------
#
# The same rules once more, in Python's floats and loops alone: p and g are lists of rows, changed in place. No sum,
# mean, norm or product is taken from a library, whose conventions the forms above might share with the rules.


def cells(p):
    return [(i, j) for i in range(len(p)) for j in range(len(p[0]))]


def like(p):
    return [[0.0 for _ in row] for row in p]


def length(p):
    total = 0.0
    for i, j in cells(p):
        total += p[i][j] * p[i][j]
    return math.sqrt(total)


def lars_loop(p, g, state, lr, t, decay):
    v = state.setdefault("v", like(p))
    w, slope, local = length(p), length(g), 1.0
    if w > 0 and slope > 0:
        local = 0.001 * w / (slope + decay * w)
    for i, j in cells(p):
        v[i][j] = 0.9 * v[i][j] + lr * local * (g[i][j] + decay * p[i][j])
        p[i][j] -= v[i][j]


def lamb_loop(p, g, state, lr, t, decay):
    m, v, u = state.setdefault("m", like(p)), state.setdefault("v", like(p)), like(p)
    for i, j in cells(p):
        m[i][j] = 0.9 * m[i][j] + 0.1 * g[i][j]
        v[i][j] = 0.999 * v[i][j] + 0.001 * g[i][j] * g[i][j]
        corrected = m[i][j] / (1 - 0.9**t), v[i][j] / (1 - 0.999**t)
        u[i][j] = corrected[0] / (math.sqrt(corrected[1]) + 1e-6) + decay * p[i][j]
    above, below = length(p), length(u)
    ratio = above / below if above > 0 and below > 0 else 1.0
    for i, j in cells(p):
        p[i][j] -= lr * ratio * u[i][j]


def adafactor_loop(p, g, state, lr, t, decay):
    """Algorithm 4 for a matrix, 5 for a vector, which here is one row."""
    rows, columns, u = len(p), len(p[0]), like(p)
    size = length(p) / math.sqrt(rows * columns)
    alpha = max(1e-3, size) * min(lr, 1 / math.sqrt(t))
    beta = 1 - t**-0.8
    if rows == 1:
        V = state.setdefault("V", like(p))
        for i, j in cells(p):
            V[i][j] = beta * V[i][j] + (1 - beta) * (g[i][j] ** 2 + 1e-30)
            u[i][j] = g[i][j] / math.sqrt(V[i][j])
    else:
        R, C = state.setdefault("R", [0.0] * rows), state.setdefault("C", [0.0] * columns)
        for i in range(rows):
            total = 0.0
            for j in range(columns):
                total += g[i][j] ** 2 + 1e-30
            R[i] = beta * R[i] + (1 - beta) * total
        for j in range(columns):
            total = 0.0
            for i in range(rows):
                total += g[i][j] ** 2 + 1e-30
            C[j] = beta * C[j] + (1 - beta) * total
        whole = 0.0
        for i in range(rows):
            whole += R[i]
        for i, j in cells(p):
            u[i][j] = g[i][j] / math.sqrt(R[i] * C[j] / whole)
    clipped = max(1.0, length(u) / math.sqrt(rows * columns))
    for i, j in cells(p):
        p[i][j] = (1 - lr * decay) * p[i][j] - alpha * u[i][j] / clipped


def product(A, B):
    C = [[0.0 for _ in B[0]] for _ in A]
    for i in range(len(A)):
        for j in range(len(B[0])):
            for k in range(len(B)):
                C[i][j] += A[i][k] * B[k][j]
    return C


def muon_loop(p, g, state, lr, t, decay):
    """The published code: momentum by interpolation, and five steps X = a X + (b A + c A A) X with A = X X^T."""
    m, X = state.setdefault("m", like(p)), like(p)
    for i, j in cells(p):
        m[i][j] += 0.05 * (g[i][j] - m[i][j])
        X[i][j] = g[i][j] + 0.95 * (m[i][j] - g[i][j])
    norm = length(X) + 1e-7
    for i, j in cells(p):
        X[i][j] /= norm
    for _ in range(5):
        A = product(X, [[X[j][i] for j in range(len(X))] for i in range(len(X[0]))])
        B = product(A, A)
        for i, j in cells(A):
            B[i][j] = -4.7750 * A[i][j] + 2.0315 * B[i][j]
        moved = product(B, X)
        for i, j in cells(p):
            X[i][j] = 3.4445 * X[i][j] + moved[i][j]
    scale = math.sqrt(max(1, len(p[0]) / len(p)))  # rows are inputs, columns outputs
    for i, j in cells(p):
        p[i][j] = (1 - lr * decay) * p[i][j] - lr * scale * X[i][j]


LOOPS = {
    "LARS, matrix": (mn.LARS(), lars_loop, (3, 4)),
    "LARS, vector": (mn.LARS(), lars_loop, (5,)),
    "LAMB, matrix": (mn.LAMB(), lamb_loop, (3, 4)),
    "LAMB, vector": (mn.LAMB(), lamb_loop, (5,)),
    "Adafactor, matrix": (mn.Adafactor(), adafactor_loop, (3, 4)),
    "Adafactor, tall": (mn.Adafactor(), adafactor_loop, (5, 2)),
    "Adafactor, vector": (mn.Adafactor(), adafactor_loop, (5,)),
    "Muon, wide": (mn.Muon(), muon_loop, (3, 5)),
    "Muon, tall": (mn.Muon(), muon_loop, (5, 3)),
}


@pytest.mark.parametrize(("rule", "loop", "shape"), LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_a_hundred_steps_equal_a_plain_loop_over_floats(rule, loop, shape, decay):
    start, gradients, rates = sequence({"W": shape}, 100)
    params, _ = run(rule, {"W": shape}, np.float64, 100, decay)
    p, state = np.atleast_2d(start["W"]).tolist(), {}
    for t, (g, lr) in enumerate(zip(gradients, rates, strict=True), start=1):
        loop(p, np.atleast_2d(g["W"]).tolist(), state, float(lr), t, decay)
    np.testing.assert_allclose(np.atleast_2d(params["W"]), p, rtol=0, atol=1e-11)
    assert np.abs(params["W"] - start["W"]).max() > 1e-4  # LARS takes the smallest steps


def test_a_matrix_of_one_row_or_column_is_its_own_factor_in_the_paper_too():
    # Adafactor keeps such squares one by one; the form above takes row and column sums of every matrix.
    shapes = {"row": (1, 9), "column": (6, 1), "rows": (4, 1, 7)}
    _, optimizer = run(mn.Adafactor(), shapes, np.float64, 3)
    assert (optimizer.state != 0).all()
    _, optimizer = run(mn.Adafactor(), {"W": (20, 30)}, np.float64, 3)
    assert np.count_nonzero(optimizer.state) == 20 + 30


def corner(small):
    g = np.full((3, 4), small)
    g[:1], g[:, :1] = 0.5, 0.5
    return g


ZEROS = {  # gradients in which a row and a column have almost nothing
    "the rest": np.where(np.add.outer(np.arange(3) > 0, np.arange(4) > 0) == 2, 0.5, 0.0),
    "one element": np.eye(1, 12, 5).reshape(3, 4),
    "all but one": 1 - np.eye(1, 12, 5).reshape(3, 4),
    "nothing": np.zeros((3, 4)),
    "small numbers": corner(1e-8),
    "smaller numbers": corner(1e-18),
    "smallest numbers": corner(1e-40),
    "a row and a column": np.outer([1e-12, 1, 1], [1e-12, 1, 1, 1]),
    "a row and a column beside large ones": np.outer([1e-12, 1e8, 1], [1e-12, 1, 1e8, 1]),
    "rising": np.outer(10.0 ** np.arange(-14, 1, 2), 10.0 ** np.arange(-14, 1, 2)),
    "two matrices": np.stack([corner(0.0), np.zeros((3, 4))]),
}


@pytest.mark.parametrize("options", [{}, {"eps": 1e-36}, {"eps": 1e-7, "eps_as_floor": True}], ids=str)
@pytest.mark.parametrize("g", ZEROS.values(), ids=ZEROS)
def test_adafactor_in_single_precision_takes_rows_and_columns_of_next_to_nothing(g, options):
    params, grads = np.ones(g.size, np.float32), g.reshape(-1).astype(np.float32)
    optimizer = mn.Optimizer.over(params, grads, mn.Adafactor(**options), shapes={"W": g.shape})
    p, state = np.ones(g.shape), {}
    exact = grads.reshape(g.shape).astype(np.float64)
    floor = options.get("eps_as_floor", False)
    for t in range(1, 4):
        optimizer.step(0.01)
        p = adafactor(p, exact, state, 0.01, t, 0.0, eps1=options.get("eps", 1e-30), floor=floor)
    np.testing.assert_allclose(params.reshape(g.shape), p, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(params[grads == 0], 1)  # an element without a gradient stays


def test_adafactor_trains_on_raw_digits():
    # Pixels that are always 0 meet units that are dead in the first batch.
    x, y = mn.datasets.digits()
    x = x.reshape(len(x), -1).astype(np.float32)
    net = mn.Net([mn.Dense(100), mn.ReLU(), mn.Dense(10)], 64, mn.SoftmaxCrossEntropy(), seed=0)
    history = mn.fit(net, (x, y), rule=mn.Adafactor(), lr=0.01, batch_size=32, epochs=2, progress=False)
    assert np.isfinite(net.params).all()
    assert history.epochs["loss"][-1] < 1.0


# Biases and gains --------------------------------------------------------------------------------------------


def trained(rule, decay=0.0):
    net = mn.Net([mn.Dense(5), mn.Tanh(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), dtype=np.float64, seed=1)
    optimizer = mn.Optimizer(net, rule, weight_decay=decay)
    x, y = np.random.default_rng(0).standard_normal((9, 4)), np.arange(9) % 3
    net.loss_and_grads(x, y)
    optimizer.step(0.1)
    return {name: value.copy() for name, value in net.named_parameters().items()}


@pytest.mark.parametrize(
    ("rule", "plain"),
    [
        (mn.LARS(momentum=0.8), mn.Momentum(0.8)),
        (mn.LAMB(beta1=0.8, beta2=0.9, eps=1e-5), mn.Adam(beta1=0.8, beta2=0.9, eps=1e-5)),
        (mn.Muon(), mn.Adam()),
    ],
    ids=["LARS", "LAMB", "Muon"],
)
def test_biases_take_the_plain_rules_steps(rule, plain):
    ours, theirs = trained(rule, 0.1), trained(plain, 0.1)
    for name in ours:
        assert np.array_equal(ours[name], theirs[name]) == name.endswith(".b"), name


def test_a_ratio_for_biases_is_one_parameter_away():
    plain = trained(mn.Momentum())
    assert np.array_equal(trained(mn.LARS(exempt=False))["0.b"], plain["0.b"])  # they start at 0, where the ratio is 1
    assert mn.LAMB(exempt=False).choose(mn.Tensor("b", (3,), 0, 3, decay=False)) == mn.LAMB(exempt=False)


def test_muon_leaves_to_its_fallback_what_is_no_matrix():
    muon = mn.Muon(fallback=mn.Nesterov())
    chosen = {
        ((4, 3), True): muon,
        ((3, 3, 2, 4), True): muon,
        ((4,), True): mn.Nesterov(),
        ((8, 8, 2), False): mn.Nesterov(),  # the gains of a LayerNorm over images
    }
    for (shape, decay), rule in chosen.items():
        assert muon.choose(mn.Tensor("t", shape, 0, math.prod(shape), decay)) == rule
    lamb = mn.LAMB()
    assert mn.Muon(fallback=lamb).choose(mn.Tensor("b", (4,), 0, 4, False)) == mn.Adam(eps=1e-6)


# What the methods are for ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (3, 3, 4, 20), (64, 64)], ids=str)
def test_a_muon_step_has_all_singular_values_near_one(shape):
    params, grads = np.zeros(math.prod(shape)), np.random.default_rng(0).standard_normal(math.prod(shape))
    mn.Optimizer.over(params, grads, mn.Muon(), shapes={"W": shape}).step(1.0)
    matrix = -params.reshape(-1, shape[-1])
    singular = np.linalg.svd(matrix, compute_uv=False) / math.sqrt(max(1, shape[-1] / len(matrix)))
    assert singular.min() > 0.4  # the least of a square Gaussian matrix is near 0, and five steps lift it so far
    assert singular.max() < 1.3


def test_trust_ratios_make_the_step_independent_of_the_gradients_size():
    for rule in (mn.LARS(), mn.LAMB(eps=1e-300)):
        steps = []
        for factor in (1e-6, 1.0, 1e6):
            params, grads = np.linspace(1, 2, 12), factor * np.linspace(-1, 1, 12)
            mn.Optimizer.over(params, grads, rule).step(0.1)
            steps.append(params)
        np.testing.assert_allclose(steps[0], steps[1], rtol=1e-13)
        np.testing.assert_allclose(steps[2], steps[1], rtol=1e-13)


TENSOR_RULES = [mn.LARS(), mn.LAMB(), mn.Adafactor(), mn.Muon()]
every_rule = pytest.mark.parametrize("rule", TENSOR_RULES, ids=lambda rule: type(rule).__name__)


@every_rule
@both_dtypes
def test_with_no_gradient_only_decay_moves_and_nothing_is_nan(rule, dtype):
    for shapes in ({"W": (3, 4)}, {"W": (3, 4), "b": (6,)}):
        size = sum(map(math.prod, shapes.values()))
        params, grads = np.ones(size, dtype), np.zeros(size, dtype)
        optimizer = mn.Optimizer.over(params, grads, rule, shapes=shapes)
        for _ in range(3):
            optimizer.step(0.1)
        np.testing.assert_array_equal(params, np.ones(params.size))


# PyTorch -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    torch.set_num_threads(1)
    return torch


def slope(values, step):
    """A gradient that depends on the point, so that a difference would grow: of a bent valley, and shifting."""
    return np.tanh(values) + 0.3 * np.sin(np.arange(values.size).reshape(values.shape) + 0.7 * step)


def worst_difference(torch, make, rule, shapes, decay=0.0, turned=False, steps=100):
    """Largest difference of any parameter in 100 steps, and how far they went; ``turned``: PyTorch has transposes."""
    start, _, _ = sequence(shapes, 1, zero=None)
    params, grads = joined(start, np.float64), np.empty(sum(math.prod(s) for s in shapes.values()))
    ours = mn.Optimizer.over(params, grads, rule, shapes=shapes, weight_decay=decay)
    views = Layout(shapes.items()).views(params)
    theirs = [torch.tensor(value.T if turned else value).contiguous().requires_grad_() for value in start.values()]
    optimizer, worst = make(theirs), 0.0
    for step in range(steps):
        lr = 0.02 if step < 60 else 0.004
        grads[:] = joined({name: slope(view, step) for name, view in views.items()}, np.float64)
        for tensor in theirs:
            value = tensor.detach().numpy()
            gradient = slope(value.T, step).T if turned else slope(value, step)
            tensor.grad = torch.tensor(np.ascontiguousarray(gradient))
        optimizer.param_groups[0]["lr"] = lr
        ours.step(lr)
        optimizer.step()
        for view, tensor in zip(views.values(), theirs, strict=True):
            value = tensor.detach().numpy()
            worst = max(worst, np.abs(view - (value.T if turned else value)).max())
    return worst, np.abs(params - joined(start, np.float64)).max()


@pytest.mark.torch
@pytest.mark.parametrize("options", [{}, {"beta2_decay": -0.7, "d": 1.5, "eps": (1e-3, 1e-2)}], ids=str)
def test_a_hundred_steps_of_adafactor_equal_pytorchs(options, torch):
    shapes = {"W": (6, 5), "b": (7,), "conv": (3, 2, 4, 5), "row": (1, 4), "column": (5, 1)}
    eps, eps_scale = options.get("eps", (EPS, 1e-3))
    rule = mn.Adafactor(
        decay_power=-options.get("beta2_decay", -0.8),
        clip=options.get("d", 1.0),
        eps=eps,
        eps_scale=eps_scale,
        eps_as_floor=True,
    )
    worst, moved = worst_difference(
        torch, lambda p: torch.optim.Adafactor(p, weight_decay=0.1, **options), rule, shapes, decay=0.1
    )
    assert worst < 1e-10
    assert moved > 0.1


@pytest.mark.torch
@pytest.mark.parametrize("size", [1.0, 1e-4, 1e-9])
@pytest.mark.parametrize(
    "shape", [(1, 1), (6, 1), (1, 6), (3, 3, 1, 4), (3, 3, 4, 1), (2, 2, 1, 1), (4, 5), (7,)], ids=str
)
def test_adafactor_equals_pytorchs_in_single_precision_for_axes_of_one_too(shape, size, torch):
    # PyTorch's floors act where the gradient is below eps = 1.2e-7, or its mean square is.
    rng, rule = np.random.default_rng(3), mn.Adafactor(eps=float(np.finfo(np.float32).eps), eps_as_floor=True)
    start = rng.standard_normal(shape).astype(np.float32)
    params, grads = start.reshape(-1).copy(), np.zeros(start.size, np.float32)
    ours = mn.Optimizer.over(params, grads, rule, shapes={"W": shape}, weight_decay=0.1)
    tensor = torch.tensor(start, requires_grad=True)
    theirs = torch.optim.Adafactor([tensor], lr=0.02, weight_decay=0.1)
    for step in range(20):
        g = (size * 2.0 ** (step % 5) * rng.standard_normal(shape)).astype(np.float32)
        grads[:], tensor.grad = g.reshape(-1), torch.tensor(g)
        ours.step(0.02)
        theirs.step()
    np.testing.assert_allclose(params.reshape(shape), tensor.detach().numpy(), rtol=0, atol=5e-6)
    assert np.abs(params - start.reshape(-1)).max() > 0.01


@pytest.mark.torch
@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("scale", ["original", "match_rms_adamw"])
def test_a_hundred_steps_of_muon_equal_pytorchs_but_for_its_bfloat16(scale, nesterov, torch, monkeypatch):
    # PyTorch iterates in bfloat16, of 8 bits. Its momentum, scale and decay are compared with its iteration replaced
    # by the form above in float64; the iteration as it is, in the next test.
    module = pytest.importorskip("torch.optim._muon", reason="this PyTorch has no Muon")

    def in_double(gradient, coefficients, steps, eps):
        return torch.tensor(newton_schulz(gradient.numpy(), steps, coefficients, eps, floor=True))

    monkeypatch.setattr(module, "_zeropower_via_newtonschulz", in_double)
    worst, moved = worst_difference(
        torch,
        lambda p: torch.optim.Muon(p, momentum=0.9, weight_decay=0.2, nesterov=nesterov, adjust_lr_fn=scale),
        mn.Muon(momentum=0.9, nesterov=nesterov, scale=scale, eps_as_floor=True),
        {"wide": (5, 8), "tall": (9, 4), "square": (6, 6)},
        decay=0.2,
        turned=True,
    )
    assert worst < 1e-10
    assert moved > 0.1


@pytest.mark.torch
def test_a_muon_step_equals_pytorchs_to_the_precision_of_bfloat16(torch):
    pytest.importorskip("torch.optim._muon", reason="this PyTorch has no Muon")
    worst, moved = worst_difference(
        torch,
        lambda p: torch.optim.Muon(p, weight_decay=0.0),
        mn.Muon(eps_as_floor=True),
        {"wide": (5, 8), "tall": (9, 4)},
        turned=True,
        steps=1,
    )
    assert 0 < worst < 0.1 * moved  # 2^-8 a rounding, five steps that multiply small values by 3.4


def soft_plus(p, A, c):
    """A convex function that is far from quadratic, and its gradient."""
    z = A @ p - c
    return float(np.logaddexp(z, -z).sum() + 0.01 * (p @ p)), A.T @ np.tanh(z) + 0.02 * p


def convex_problem(n=30, rows=60):
    rng = np.random.default_rng(3)
    A = rng.standard_normal((rows, n)) * np.logspace(-1.5, 0, n)
    return A, rng.standard_normal(rows), rng.standard_normal(n)


def lbfgs_path(rule, function, start, steps, dtype=np.float64, lr=1.0):
    """Points, gradients and the optimizer after each of so many steps."""
    params, grads = start.astype(dtype), np.empty(start.size, dtype)

    def evaluate():
        value, grads[:] = function(params)
        return value

    optimizer = mn.Optimizer.over(params, grads, rule)
    loss, path = evaluate(), []
    for _ in range(steps):
        path.append((params.copy(), loss, grads.copy()))
        optimizer.step(lr, loss=loss, evaluate=evaluate)
        loss = evaluate()
    path.append((params.copy(), loss, grads.copy()))
    return path, optimizer


@pytest.mark.torch
@pytest.mark.parametrize("history", [1, 10])
def test_lbfgs_takes_pytorchs_path_on_a_convex_problem(history, torch):
    # Both searches choose the same points here. The method doubles any difference every two or three steps, round-off
    # too: 1e-16 at first, 1e-12 after 40 steps. So: the path for 40 steps, then the minimum that both end in.
    A, c, start = convex_problem()
    path, _ = lbfgs_path(mn.LBFGS(history=history), lambda p: soft_plus(p, A, c), start, 600)
    p, (A, c) = torch.tensor(start, requires_grad=True), map(torch.tensor, (A, c))
    options = {"max_iter": 1, "max_eval": 26, "tolerance_grad": 0, "tolerance_change": 0}
    optimizer = torch.optim.LBFGS([p], history_size=history, line_search_fn="strong_wolfe", **options)

    def closure():
        optimizer.zero_grad()
        z = A @ p - c
        loss = torch.logaddexp(z, -z).sum() + 0.01 * (p @ p)
        loss.backward()
        return loss

    worst = []
    for point, _, _ in path[1:]:
        optimizer.step(closure)
        worst.append(np.abs(point - p.detach().numpy()).max())
    assert max(worst[:40]) < 1e-10
    assert np.abs(path[40][0] - start).max() > 0.5
    # A function of curvature 0.02 or more: so far may two points lie apart with gradients of these sizes.
    assert worst[-1] <= (np.linalg.norm(path[-1][2]) + p.grad.norm().item()) / 0.02
    assert worst[-1] < 1e-3


# L-BFGS ------------------------------------------------------------------------------------------------------


def dense_inverse_hessian(pairs):
    """Nocedal and Wright, eq. 7.16 to 7.20: the matrix itself, from pairs (s, y), oldest first."""
    s, y = pairs[-1]
    H = s @ y / (y @ y) * np.eye(s.size)
    for s, y in pairs:
        rho = 1 / (y @ s)
        V = np.eye(s.size) - rho * np.outer(y, s)
        H = V.T @ H @ V + rho * np.outer(s, s)
    return H


def rosenbrock(p):
    a, b = p[::2], p[1::2]
    g = np.empty_like(p)
    g[::2], g[1::2] = -2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)
    return float(np.sum((1 - a) ** 2 + 100 * (b - a * a) ** 2)), g


def test_each_lbfgs_step_is_the_books_direction_and_meets_the_strong_wolfe_conditions():
    A, c, start = convex_problem()
    hilly = np.tile([-1.2, 1.0, 0.3, 2.0], 3)
    for function, first, history in ((lambda p: soft_plus(p, A, c), start, 4), (rosenbrock, hilly, 10)):
        path, _ = lbfgs_path(mn.LBFGS(history=history), function, first, 25)
        pairs = []
        for (p, loss, g), (after, loss_after, g_after) in itertools.pairwise(path):
            s, y = after - p, g_after - g
            d = -dense_inverse_hessian(pairs[-history:]) @ g if pairs else -g
            t = s @ d / (d @ d)
            np.testing.assert_allclose(s, t * d, rtol=0, atol=1e-8 * np.abs(s).max())
            assert loss_after <= loss + 1e-4 * t * (g @ d)
            assert abs(g_after @ d) <= 0.9 * abs(g @ d)
            pairs.append((s, y))


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-8), (np.float32, 1e-3)])
def test_lbfgs_minimises_rosenbrock_in_few_evaluations(dtype, bound):
    params, grads, calls = np.array([-1.2, 1.0], dtype), np.empty(2, dtype), 0

    def evaluate():
        nonlocal calls
        calls += 1
        value, grads[:] = rosenbrock(params)
        return value

    optimizer = mn.Optimizer.over(params, grads, mn.LBFGS())
    loss = evaluate()
    while np.linalg.norm(grads) > bound and calls < 200:
        optimizer.step(1.0, loss=loss, evaluate=evaluate)
        loss = evaluate()
    assert np.linalg.norm(grads) <= bound
    assert calls - optimizer.steps < 60  # 46 here; one more a step belongs to this loop, which forgets the last value
    assert optimizer.numbers[0, 3] == calls - 1 - optimizer.steps
    np.testing.assert_allclose(params, 1, atol=10 * bound)


def digits_net(dtype=np.float64):
    x, y = mn.datasets.digits()
    x = x.reshape(len(x), -1).astype(dtype)
    net = mn.Net([mn.Dense(10, mn.initializers.Zeros())], 64, mn.SoftmaxCrossEntropy(), l2=1e-2, dtype=dtype)
    return net, x, y


def newton(x, y, l2, steps=8):
    """Minimum of the mean softmax loss + l2 / 2 * |W|^2 by Newton's method with the full Hessian: loss and scores."""
    n, classes = len(x), 10
    features = np.hstack([x, np.ones((n, 1))])
    B, target = np.zeros((features.shape[1], classes)), np.eye(classes)[y]
    penalty = np.repeat(np.r_[np.full(x.shape[1], l2), 0.0], classes)
    together = np.repeat(np.r_[np.zeros(x.shape[1]), 1.0], classes)  # all biases: the loss is flat that way
    for _ in range(steps):
        z = features @ B
        P = np.exp(z - z.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        g = (features.T @ (P - target) / n).reshape(-1) + penalty * B.reshape(-1)
        curvature = np.einsum("ni,nj->nij", P, -P)
        curvature[:, range(classes), range(classes)] += P
        H = np.einsum("na,nb,nij->aibj", features, features, curvature, optimize=True).reshape(g.size, g.size) / n
        B -= np.linalg.solve(H + np.diag(penalty) + np.outer(together, together), g).reshape(B.shape)
    z = features @ B
    loss = np.mean(np.log(np.exp(z).sum(axis=1)) - z[range(n), y]) + 0.5 * penalty @ B.reshape(-1) ** 2
    return loss, z - z.mean(axis=1, keepdims=True), np.abs(g).max()


def test_lbfgs_finds_the_minimum_of_full_batch_logistic_regression():
    net, x, y = digits_net()
    start = net.loss_and_grads(x, y)
    history = mn.fit(net, (x, y), rule=mn.LBFGS(), lr=1.0, batch_size=len(x), steps=120, progress=False)
    assert net.loss_and_grads(x, y) < start / 2
    assert np.abs(net.grads).max() < 1e-6
    assert np.all(np.diff(history.steps["loss"]) <= 1e-14)
    loss, scores, slope = newton(x, y, 1e-2)
    assert slope < 1e-10  # the reference is at its minimum
    assert net.loss_and_grads(x, y) == pytest.approx(loss, rel=1e-10)
    ours = net.predict(x)
    np.testing.assert_allclose(ours - ours.mean(axis=1, keepdims=True), scores, atol=1e-3)


def test_lbfgs_needs_about_as_many_evaluations_as_scipys():
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed: no comparison with it")
    net, x, y = digits_net()
    options = {"maxcor": 10, "gtol": 1e-6, "ftol": 0, "maxiter": 500}

    def function(p):
        net.params = p
        return net.loss_and_grads(x, y), net.grads.copy()

    theirs = optimize.minimize(function, np.zeros(net.params.size), jac=True, method="L-BFGS-B", options=options)
    net.params = np.zeros(net.params.size)
    optimizer, loss = mn.Optimizer(net, mn.LBFGS()), net.loss_and_grads(x, y)
    while np.abs(net.grads).max() > 1e-6 and optimizer.steps < 500:
        optimizer.step(1.0, loss=loss, evaluate=lambda: net.loss_and_grads(x, y))
        loss = net.loss_and_grads(x, y)
    assert loss == pytest.approx(theirs.fun, rel=1e-9)
    assert optimizer.numbers[0, 3] < 1.3 * theirs.nfev  # 115 and 109


def test_a_pair_without_positive_curvature_is_left_out():
    # One evaluation a search ends at a step that decreases enough where -cos is still concave.
    path, optimizer = lbfgs_path(
        mn.LBFGS(evaluations=1), lambda p: (float(-np.cos(p).sum()), np.sin(p)), np.full(3, 3.0), 1
    )
    (first, _, g), (second, _, g_after) = path
    assert np.abs(second - first).max() > 0.05
    assert (second - first) @ (g_after - g) < 0
    assert optimizer.numbers[0, 0] == 0
    path, optimizer = lbfgs_path(mn.LBFGS(evaluations=1), lambda p: (float(p @ p), 2 * p), np.full(3, 3.0), 1)
    assert optimizer.numbers[0, 0] == 1


def regression(scale, noise, dtype):
    """Least squares on features in some unit, and what the loss is at best."""
    rng = np.random.default_rng(0)
    X = (scale * rng.standard_normal((50, 5))).astype(dtype)
    target = (X @ (rng.standard_normal(5) / scale) + noise * rng.standard_normal(50)).astype(dtype)

    def function(p):
        residual = X @ p - target
        return float(0.5 * np.mean(residual * residual)), X.T @ residual / dtype(50)

    wide, aim = X.astype(np.float64), target.astype(np.float64)
    best = np.linalg.lstsq(wide / scale, aim, rcond=None)[0] / scale
    return function, 0.5 * np.mean((wide @ best - aim) ** 2)


@both_dtypes
@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e2, 1e5, 1e8])
def test_the_units_of_the_parameters_do_not_matter_to_lbfgs(scale, dtype):
    function, best = regression(scale, 0.5, dtype)
    path, optimizer = lbfgs_path(mn.LBFGS(), function, np.zeros(5), 12, dtype)
    assert path[-1][1] == pytest.approx(best, rel=1e-5 if dtype is np.float32 else 1e-9)
    assert optimizer.numbers[0, 3] < 120
    seen = [lbfgs_path(mn.LBFGS(), function, np.zeros(5), steps, dtype)[1].numbers[0, 0] for steps in (1, 3)]
    assert seen == [1, 3]


@both_dtypes
@pytest.mark.parametrize("factor", [1e-15, 1e-6, 1e6, 1e12])
def test_the_unit_of_the_loss_does_not_matter_to_lbfgs(factor, dtype):
    function, best = regression(1.0, 0.5, dtype)

    def scaled(p):
        value, gradient = function(p)
        return factor * value, dtype(factor) * gradient

    path, _ = lbfgs_path(mn.LBFGS(), scaled, np.zeros(5), 15, dtype)
    assert path[-1][1] / factor == pytest.approx(best, rel=1e-5 if dtype is np.float32 else 1e-9)


@both_dtypes
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e2, 1e6])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_after_convergence_lbfgs_counts_stalls_and_takes_no_evaluations(noise, scale, dtype):
    function, _ = regression(scale, noise, dtype)
    path, optimizer = lbfgs_path(mn.LBFGS(), function, np.zeros(5), 60, dtype)
    stalls, evaluations = optimizer.numbers[0, 2:4]
    if np.abs(path[-1][2]).max() == 0:
        return  # the minimum itself, which needs no search
    assert stalls >= 10
    assert evaluations < 250
    for _, _, grads in path[-10:]:
        np.testing.assert_array_equal(grads, path[-1][2])


def test_a_search_is_made_again_where_the_function_has_changed():
    params, grads, signs = np.ones(3), np.empty(3), [-1.0]

    def evaluate():
        grads[:] = 2 * signs[0] * params
        return float(params @ params)

    optimizer = mn.Optimizer.over(params, grads, mn.LBFGS(evaluations=5))
    for _ in range(3):
        optimizer.step(1.0, loss=evaluate(), evaluate=evaluate)  # the gradient points the wrong way
    assert optimizer.numbers[0, 2:4].tolist() == [3, 5]
    signs[0] = 1.0
    optimizer.step(1.0, loss=evaluate(), evaluate=evaluate)
    assert optimizer.numbers[0, 2] == 0
    assert np.abs(params).max() < 1


def test_a_search_that_finds_no_lower_point_leaves_all_as_it_was_and_counts():
    start = np.array([1.0, -2.0])
    path, optimizer = lbfgs_path(mn.LBFGS(evaluations=5), lambda p: (float(p @ p), -2 * p), start, 3)
    for point, _, grads in path:
        np.testing.assert_array_equal(point, start)
        np.testing.assert_array_equal(grads, -2 * start)
    assert optimizer.numbers[0, :4].tolist() == [0, 0, 3, 5]  # one search: from the same point it would end the same


def test_a_direction_that_leads_nowhere_is_given_up_for_the_gradient():
    A, c, start = convex_problem()
    params, grads = start.copy(), np.empty(start.size)

    def evaluate():
        value, grads[:] = soft_plus(params, A, c)
        return value

    optimizer = mn.Optimizer.over(params, grads, mn.LBFGS())
    for _ in range(5):
        optimizer.step(1.0, loss=evaluate(), evaluate=evaluate)
    assert optimizer.numbers[0, 0] == 5
    optimizer.numbers[0, 4:] *= -1  # the pairs now say that all curvature is negative: d ascends
    before, loss = params.copy(), evaluate()
    g = grads.copy()
    optimizer.step(1.0, loss=loss, evaluate=evaluate)
    step = params - before
    np.testing.assert_allclose(step / np.linalg.norm(step), -g / np.linalg.norm(g), atol=1e-12)
    assert evaluate() < loss
    assert optimizer.numbers[0, 0] == 1


def test_a_trial_point_that_is_not_finite_is_a_step_too_long():
    def barrier(p):
        with np.errstate(invalid="ignore", divide="ignore"):
            return float((p - np.log(p)).sum()), 1 - 1 / p  # NaN from 0 down

    path, _ = lbfgs_path(mn.LBFGS(), barrier, np.array([1e-3, 50.0, 3.0]), 30, lr=1e4)
    np.testing.assert_allclose(path[-1][0], 1, atol=1e-7)


def test_at_the_minimum_lbfgs_stays_without_a_search():
    path, optimizer = lbfgs_path(mn.LBFGS(), lambda p: (0.0, np.zeros(3)), np.ones(3), 2)
    np.testing.assert_array_equal(path[-1][0], np.ones(3))
    assert optimizer.numbers[0, 3] == 0


def test_a_loss_or_gradient_that_is_not_finite_is_an_error():
    for loss, slope in ((np.nan, 1.0), (1.0, np.inf), (1.0, np.nan)):
        params, grads = np.ones(2), np.full(2, slope)
        optimizer = mn.Optimizer.over(params, grads, mn.LBFGS())
        with pytest.raises(FloatingPointError, match=r"^LBFGS: expected a finite loss and gradient; got"):
            optimizer.step(1.0, loss=loss, evaluate=lambda: 0.0)
        np.testing.assert_array_equal(params, np.ones(2))


def test_a_new_step_replaces_the_oldest_pair():
    A, c, start = convex_problem()
    path, optimizer = lbfgs_path(mn.LBFGS(history=2), lambda p: soft_plus(p, A, c), start, 5)
    state = optimizer.named_state()
    assert list(state) == ["start", "gradient", "direction", "s0", "y0", "s1", "y1"]
    assert optimizer.numbers[0, 0] == 2
    (p3, _, g3), (p4, _, g4), (p5, _, g5) = path[3:]
    np.testing.assert_allclose(state["s1"], p5 - p4, atol=1e-14)
    np.testing.assert_array_equal(state["y1"], g5 - g4)
    np.testing.assert_allclose(state["s0"], p4 - p3, atol=1e-14)
    np.testing.assert_array_equal(state["y0"], g4 - g3)


def lbfgs_net(**options):
    layers = [mn.Dense(12), mn.Tanh(), mn.Dropout(0.2), mn.Dense(3)]
    net = mn.Net(layers, 4, mn.SoftmaxCrossEntropy(), l2=1e-3, dtype=np.float64, seed=0)
    x, y = mn.datasets.iris()
    return net, mn.fit(net, (x, y), rule=mn.LBFGS(), lr=1.0, progress=False, **{"batch_size": 150, **options})


def test_lbfgs_trains_a_net_to_the_same_bits_with_dropout_the_same_within_a_step():
    first, history = lbfgs_net(steps=15)
    second, _ = lbfgs_net(steps=15)
    np.testing.assert_array_equal(first.params, second.params)
    assert first.step == 15  # evaluations inside a step are no training steps
    assert history.steps["loss"][-1] < 0.5 * history.steps["loss"][0]


def test_the_trainer_refuses_lbfgs_less_than_all_data():
    with pytest.raises(
        ValueError, match=r"^Trainer: expected all 150 samples in a batch and no augmentation for LBFGS"
    ):
        lbfgs_net(epochs=1, batch_size=75)
    net = mn.Net([mn.Flatten(), mn.Dense(2)], (4, 4, 1), mn.SoftmaxCrossEntropy())
    data = (np.zeros((6, 4, 4, 1), np.float32), np.arange(6) % 2)
    with pytest.raises(ValueError, match=r"augmentation for LBFGS.*augment=Augment"):
        mn.Trainer(net, data, rule=mn.LBFGS(), lr=1.0, batch_size=6, epochs=1, augment=mn.data.Augment(flip=True))


@pytest.mark.parametrize(
    "options",
    [
        {"weight_decay": 0.1},
        {"clip_norm": 1.0},
        {"groups": [mn.Group(lambda tensor: tensor.name == "a", lr_factor=0.5)]},
        {"groups": [mn.Group(lambda tensor: tensor.name == "a", rule=mn.SGD())]},
    ],
    ids=["decay", "clipping", "rate of a group", "rule of a group"],
)
def test_the_optimizer_refuses_what_a_line_search_does_not_see(options):
    with pytest.raises(ValueError, match=r"^Optimizer: expected a rule that searches to have all parameters to itself"):
        mn.Optimizer.over(np.zeros(4), np.zeros(4), mn.LBFGS(), shapes={"a": (2,), "b": (2,)}, **options)


def test_a_step_of_lbfgs_without_a_function_says_what_it_needs():
    optimizer = mn.Optimizer.over(np.zeros(2), np.ones(2), mn.LBFGS())
    with pytest.raises(ValueError, match=r"^Optimizer.step: expected loss=... and evaluate=... for LBFGS"):
        optimizer.step(1.0)


# The line search ---------------------------------------------------------------------------------------------

# More and Thuente 1994, equations 5.1 to 5.4, with the constants of their tables.
LINES = {
    "5.1": (lambda a: -a / (a * a + 2), 1e-3, 1e-1),
    "5.2": (lambda a: (a + 0.004) ** 5 - 2 * (a + 0.004) ** 4, 1e-1, 1e-1),
    "quartic": (lambda a: (a - 3) ** 4 - a, 1e-4, 0.9),
    "wave": (lambda a: 0.05 * a * a - np.sin(a), 1e-4, 0.1),
}


@pytest.mark.parametrize("first", [1e-3, 1e-1, 1.0, 1e1, 1e3])
@pytest.mark.parametrize(("function", "decrease", "curvature"), LINES.values(), ids=LINES)
def test_the_line_search_ends_at_a_strong_wolfe_point(function, decrease, curvature, first):
    seen = []

    def evaluate(step):
        h = 1e-5 * max(step, 1e-2)
        slope = (8 * (function(step + h) - function(step - h)) - function(step + 2 * h) + function(step - 2 * h)) / (
            12 * h
        )
        seen.append(step)
        return Point(step, function(step), slope)

    start = evaluate(0.0)
    # In 5.2 the slope at 0 is so small that the values near the minimum, -2.6, differ by their rounding alone.
    found = strong_wolfe(
        evaluate, start.value, start.slope, first, decrease=decrease, curvature=curvature, noise=1e-14, most=40
    )
    assert found.value <= start.value + decrease * found.step * start.slope + 1e-14
    assert abs(found.slope) <= curvature * abs(start.slope)
    assert found.step == seen[-1]
    assert len(seen) <= 21
    assert seen[1] == first


def test_a_search_ends_after_as_many_evaluations_as_it_may():
    for most in (1, 2, 7):
        seen = []

        def fall(step, seen=seen):
            seen.append(step)
            return Point(step, -step, -1.0)  # for ever

        found = strong_wolfe(fall, 0.0, -1.0, 1.0, decrease=1e-4, curvature=0.9, most=most)
        assert found.step == seen[-1]
        assert len(seen) == most
        seen.clear()

        def rise(step, seen=seen):
            seen.append(step)
            return Point(step, step, 1.0)

        assert strong_wolfe(rise, 0.0, -1.0, 1.0, decrease=1e-4, curvature=0.9, most=most) is None
        assert len(seen) == most


def test_the_cubics_minimum_is_that_of_the_cubic():
    rng = np.random.default_rng(0)
    for _ in range(50):
        cubic = np.polynomial.Polynomial(rng.standard_normal(4))
        minima = [r.real for r in cubic.deriv().roots() if abs(r.imag) < 1e-12 and cubic.deriv(2)(r.real) > 0]
        a, b = (Point(step, cubic(step), cubic.deriv()(step)) for step in rng.standard_normal(2))
        for found in (cubic_minimum(a, b), cubic_minimum(b, a)):
            if minima:
                assert found == pytest.approx(minima[0], rel=1e-6, abs=1e-6)
            else:
                assert math.isnan(found)


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


@both_dtypes
def test_lbfgs_gives_the_same_bits_on_one_thread_or_two(dtype):
    scales, results = np.linspace(0.5, 3, 200_001), []
    before = mn.get_num_threads()
    try:
        for threads in (1, 2):
            mn.set_num_threads(threads)

            def function(p):
                return float(np.sum(np.cosh(scales * p) - 1)), scales * np.sinh(scales * p)

            path, _ = lbfgs_path(mn.LBFGS(history=3), function, np.linspace(-1, 1, scales.size), 6, dtype)
            results.append(path[-1][0])
    finally:
        mn.set_num_threads(before)
    np.testing.assert_array_equal(*results)
    assert np.abs(results[0]).max() < 0.9


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


def test_lbfgs_takes_its_constants_from_schedules_too():
    A, c, start = convex_problem()
    moving, _ = lbfgs_path(mn.LBFGS(curvature=Linear(0.9, 0.01, 5)), lambda p: soft_plus(p, A, c), start, 8)
    fixed, _ = lbfgs_path(mn.LBFGS(), lambda p: soft_plus(p, A, c), start, 8)
    np.testing.assert_array_equal(moving[1][0], fixed[1][0])
    assert np.abs(moving[-1][0] - fixed[-1][0]).max() > 1e-3


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


def test_a_step_of_lbfgs_allocates_no_array():
    def peak(size):
        params, grads = np.linspace(-1, 2, size), np.empty(size)

        def evaluate():
            np.multiply(params, 4.0, out=grads)
            return 2 * kernels.inner(params, params, partial)

        partial = np.empty((kernels.flat_parts(size), 1))
        optimizer = mn.Optimizer.over(params, grads, mn.LBFGS(history=3))
        least = []
        for _ in range(6):
            loss = evaluate()
            tracemalloc.start()
            optimizer.step(0.1, loss=loss, evaluate=evaluate)
            least.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            params += np.sin(np.arange(size))
        return min(least[1:])

    peak(10)
    assert peak(20_000) - peak(10) < 1024  # an array would be 160,000 bytes


# Numbers in double precision, of which no loop sees more than what follows from them: a rate or a factor.
_OF_A_STEP = {"lr", "by_size", "least", "clip"}
RATES = {
    "lars_rate": {"beside", "lr", "trust", "eps"},
    "lamb_moments": {"shrunk", "lr"},
    "factored_rate": _OF_A_STEP,
    "whole_squares": _OF_A_STEP,
    "smooth": {"least", "beside"},
}


def test_every_kernel_is_compiled_for_one_precision_at_a_time():
    # A Python float beside float32 arrays would widen the whole loop to double, silently.
    for dtype in (np.float32, np.float64):
        for rule in TENSOR_RULES:
            run(rule, {"W": (5, 7), "b": (4,)}, dtype, 1)
        lbfgs_path(mn.LBFGS(), rosenbrock, np.zeros(2), 2, dtype)
    for name, kernel in vars(kernels).items():
        if not name.startswith("_") and hasattr(kernel, "py_func") and name not in ("bounds", "chunks"):
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
