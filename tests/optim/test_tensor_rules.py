"""Rules that look at whole tensors (LARS, LAMB, Adafactor, Muon) against their papers.

A form below is one tensor's update in float64 NumPy, in the algebra of its source: ``form(p, g, state, lr, t, decay)``
returns the new p and keeps what it likes in ``state``, a dict that starts empty.
"""

import math

import numpy as np
import pytest
from tensor_forms import EPS, SHAPES, both_dtypes, every_rule, newton_schulz, run, sequence

import minnet as mn

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
