"""The table of what other libraries do differently: complete, the same on the page, and true."""

import ast
import math
from pathlib import Path

import numpy as np
import pytest
from public_rules import public_rules

import minnet as mn
from minnet.optim.rules.libraries import LIBRARIES, ROWS

PAGE = Path(__file__).parents[2] / "docs" / "conventions.md"
FORMS = [(rule, row) for rule, rows in ROWS.items() for row in rows]
NAMES = [f"{rule}, {row.library}: {row.theirs}" for rule, row in FORMS]

# What is done in another way there with the same result, or cannot be had here.
NOT_BY_PARAMETERS = {
    *(("Nesterov", "CS231n"), ("NesterovLookAhead", "CS231n")),
    *(("RMSpropCentred", "PyTorch"), ("RMSpropCentredMomentum", "PyTorch")),
    *(("LBFGS", "PyTorch"), ("LBFGS", "scikit-learn")),
}


def build(text):
    """The rule that the table's text makes, around gradient descent where it is a combinator."""
    names = {name: getattr(mn, name) for name in public_rules()}
    return eval(text, {"numpy": np, "dtype": np.float64, "rule": mn.SGD(), "k": 3, **names})


def test_every_public_rule_has_a_place_in_the_table_and_no_other_has():
    assert set(ROWS) == public_rules()
    assert {row.library for _, row in FORMS} == set(LIBRARIES)


def test_the_page_is_the_table():
    # python -c "import minnet as mn; print(mn.rules.conventions(markdown=True), end='')" > docs/conventions.md
    assert PAGE.read_text() == mn.rules.conventions(markdown=True)


def test_text_and_page_say_the_same():
    text, page = mn.rules.conventions(), mn.rules.conventions(markdown=True)
    for rule, rows in ROWS.items():
        assert f"\n{rule}\n" in text
        assert f"| {rule} |" in page
        for row in rows:
            for said in (row.theirs, row.differs, row.ours):
                assert said in text
                assert said in page
        lacking = [library for library in LIBRARIES if library not in {row.library for row in rows}]
        if lacking:
            assert f"| {rule} | {', '.join(lacking)} | has none |" in page


@pytest.mark.parametrize(("rule", "row"), FORMS, ids=NAMES)
def test_what_stands_in_the_table_can_be_built_and_differs_only_where_it_says_so(rule, row):
    built = build(row.ours)
    assert type(built).__name__ == rule
    if rule in ("Accumulate", "CoupledDecay", "ClipValue", "ClipTensorNorm", "ClipNorm"):
        return  # which have no default
    as_it_comes = built == build(f"{rule}()")
    if row.differs == "nothing":
        assert as_it_comes
    else:
        assert not as_it_comes or (rule, row.library) in NOT_BY_PARAMETERS


# Their forms, written from their sources: p and g are arrays, s is what they keep -------------------------------------


def keras_sgd(p, g, s, lr, t, momentum=0.0, nesterov=False):
    s["m"] = s.get("m", 0.0) * momentum - g * lr
    return p + (s["m"] * momentum - g * lr if nesterov else s["m"])


def sklearn_sgd(p, g, s, lr, t, momentum=0.9, nesterov=True):
    s["v"] = momentum * s.get("v", 0.0) - lr * g
    return p + (momentum * s["v"] - lr * g if nesterov else s["v"])


def cs231n_nesterov(p, g, s, lr, t, mu=0.9):
    before = s.get("v", 0.0)
    s["v"] = mu * before - lr * g
    return p + -mu * before + (1 + mu) * s["v"]


def cs231n_look_ahead(p, g, s, lr, t, mu=0.9):
    """x_ahead is p; x is kept: v = mu * v - lr * dx_ahead; x += v; then the next x_ahead."""
    x, v = s.get("x", p), s.get("v", 0.0)
    v = mu * v - lr * g
    s["x"], s["v"] = x + v, v
    return s["x"] + mu * v


def keras_adagrad(p, g, s, lr, t, epsilon=1e-7):
    s["a"] = s.get("a", 0.1) + g * g
    return p - lr * g / np.sqrt(s["a"] + epsilon)


def cs231n_adagrad(p, g, s, lr, t, eps=1e-8):
    s["cache"] = s.get("cache", 0.0) + g**2
    return p - lr * g / (np.sqrt(s["cache"]) + eps)


def keras_rmsprop(p, g, s, lr, t, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False):
    s["v"] = rho * s.get("v", 0.0) + (1 - rho) * g**2
    denominator = s["v"] + epsilon
    if centered:
        s["a"] = rho * s.get("a", 0.0) + (1 - rho) * g
        denominator = s["v"] - s["a"] ** 2 + epsilon
    s["m"] = momentum * s.get("m", 0.0) + lr * g / np.sqrt(denominator)
    return p - s["m"]


def cs231n_rmsprop(p, g, s, lr, t, decay_rate=0.99, eps=1e-8):
    s["cache"] = decay_rate * s.get("cache", 0.0) + (1 - decay_rate) * g**2
    return p - lr * g / (np.sqrt(s["cache"]) + eps)


def keras_adadelta(p, g, s, lr, t, rho=0.95, epsilon=1e-7):
    s["g"] = rho * s.get("g", 0.0) + (1 - rho) * g**2
    delta = -np.sqrt(s.get("d", 0.0) + epsilon) * g / np.sqrt(s["g"] + epsilon)
    s["d"] = rho * s.get("d", 0.0) + (1 - rho) * delta**2
    return p + lr * delta


def moments(g, s, b1, b2):
    s["m"] = b1 * s.get("m", 0.0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0.0) + (1 - b2) * g**2
    return s["m"], s["v"]


def hat_adam(p, g, s, lr, t, b1=0.9, b2=0.999, eps=1e-7, amsgrad=False):
    """Keras', and with another eps scikit-learn's."""
    m, v = moments(g, s, b1, b2)
    if amsgrad:
        s["vhat"] = v = np.maximum(s.get("vhat", 0.0), v)
    return p - lr * math.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)


def cs231n_adam(p, g, s, lr, t, b1=0.9, b2=0.999, eps=1e-8, corrected=True):
    m, v = moments(g, s, b1, b2)
    if corrected:
        m, v = m / (1 - b1**t), v / (1 - b2**t)
    return p - lr * m / (np.sqrt(v) + eps)


def keras_adamax(p, g, s, lr, t, b1=0.9, b2=0.999, epsilon=1e-7):
    s["m"] = b1 * s.get("m", 0.0) + (1 - b1) * g
    s["u"] = np.maximum(b2 * s.get("u", 0.0), np.abs(g))
    return p - lr * s["m"] / ((1 - b1**t) * (s["u"] + epsilon))


def keras_nadam(p, g, s, lr, t, b1=0.9, b2=0.999, epsilon=1e-7):
    m, v = moments(g, s, b1, b2)
    u, following = b1 * (1 - 0.5 * 0.96**t), b1 * (1 - 0.5 * 0.96 ** (t + 1))
    s["product"] = s.get("product", 1.0) * u
    m_hat = following * m / (1 - s["product"] * following) + (1 - u) * g / (1 - s["product"])
    return p - m_hat * lr / (np.sqrt(v / (1 - b2**t)) + epsilon)


def keras_lion(p, g, s, lr, t, b1=0.9, b2=0.99):
    m = s.get("m", 0.0)
    s["m"] = m * b2 + g * (1 - b2)
    return p - lr * np.sign(m * b1 + g * (1 - b1))


def keras_lamb(p, g, s, lr, t, b1=0.9, b2=0.999, epsilon=1e-7):
    m, v = moments(g, s, b1, b2)
    update = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + epsilon)
    return p - np.sqrt((p**2).sum()) / np.sqrt((update**2).sum()) * lr * update


def rms(x):
    return np.sqrt(np.mean(x**2))


def keras_adafactor(p, g, s, lr, t):
    alpha = max(1e-3, rms(p)) * min(lr, 1 / math.sqrt(t))
    squares, beta = g**2 + 1e-30, 1 - t**-0.8
    if p.ndim == 2:
        s["r"] = beta * s.get("r", 0.0) + (1 - beta) * squares.mean(axis=-1)
        s["c"] = beta * s.get("c", 0.0) + (1 - beta) * squares.mean(axis=-2)
        v = np.outer(s["r"] / s["r"].mean(), s["c"])
    else:
        s["v"] = v = beta * s.get("v", 0.0) + (1 - beta) * squares
    u = g / np.sqrt(v)
    return p - alpha * u / max(1.0, rms(u))


def keras_muon(p, g, s, lr, t, momentum=0.95):
    if p.ndim == 1:
        return hat_adam(p, g, s, lr, t)
    s["m"] = momentum * s.get("m", 0.0) + g
    x = g + momentum * s["m"]
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(6):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return p - lr * (x.T if tall else x) * max(1, p.shape[0] / p.shape[1]) ** 0.5


def keras_clip(kind, bound):
    def step(p, g, s, lr, t):
        if kind == "value":
            return p - lr * np.clip(g, -bound, bound)
        return p - lr * g * min(1.0, bound / np.linalg.norm(g))

    return step


THEIRS = {
    ("SGD", "Keras"): keras_sgd,
    ("SGD", "scikit-learn"): lambda *args: sklearn_sgd(*args, momentum=0, nesterov=False),
    ("SGD", "CS231n"): lambda p, g, s, lr, t: p - lr * g,
    ("Momentum", "Keras"): lambda *args: keras_sgd(*args, momentum=0.9),
    ("Momentum", "scikit-learn"): lambda *args: sklearn_sgd(*args, nesterov=False),
    ("Momentum", "CS231n"): lambda *args: sklearn_sgd(*args, nesterov=False),  # v = mu * v - lr * dx; x += v
    ("Nesterov", "Keras"): lambda *args: keras_sgd(*args, momentum=0.9, nesterov=True),
    ("Nesterov", "scikit-learn"): sklearn_sgd,
    ("Nesterov", "CS231n"): cs231n_nesterov,
    ("NesterovLookAhead", "CS231n"): cs231n_look_ahead,
    ("Adagrad", "Keras"): keras_adagrad,
    ("Adagrad", "CS231n"): cs231n_adagrad,
    ("RMSprop", "Keras"): keras_rmsprop,
    ("RMSprop", "CS231n"): cs231n_rmsprop,
    ("RMSpropMomentum", "Keras"): lambda *args: keras_rmsprop(*args, momentum=0.9),
    ("RMSpropCentred", "Keras"): lambda *args: keras_rmsprop(*args, centered=True),
    ("RMSpropCentredMomentum", "Keras"): lambda *args: keras_rmsprop(*args, momentum=0.9, centered=True),
    ("Adadelta", "Keras"): keras_adadelta,
    ("Adam", "Keras"): hat_adam,
    ("Adam", "scikit-learn"): lambda *args: hat_adam(*args, eps=1e-8),
    ("Adam", "CS231n"): cs231n_adam,
    ("AMSGrad", "Keras"): lambda *args: hat_adam(*args, amsgrad=True),
    ("AdaMax", "Keras"): keras_adamax,
    ("NAdam", "Keras"): keras_nadam,
    ("Lion", "Keras"): keras_lion,
    ("LAMB", "Keras"): keras_lamb,
    ("Adafactor", "Keras"): keras_adafactor,
    ("Muon", "Keras"): keras_muon,
    ("ClipValue", "Keras"): keras_clip("value", 0.5),
    ("ClipTensorNorm", "Keras"): keras_clip("norm", 1.0),
}
SHAPES = {"W": (7, 4), "b": (5,)}


def rates_for(rule):
    """A hundred rates, with a change on the way; Adadelta's rates are near 1."""
    return (1.0 if rule == "Adadelta" else 0.02) * np.where(np.arange(100) < 60, 1.0, 0.3)


def slopes(W, b):
    """Gradient of a smooth function of both that is not quadratic."""
    pull = np.tanh(W.sum() / 8 + b.sum() / 4)
    return np.tanh(W) + 0.3 * W**3 + pull / 8, np.tanh(2 * b) + pull / 4


def start():
    rng = np.random.default_rng(7)
    return rng.standard_normal(SHAPES["W"]), rng.standard_normal(SHAPES["b"])


def ours(rule, rates):
    """The path (100, 33) of both tensors by the rule."""
    params = np.concatenate([part.reshape(-1) for part in start()])
    grads, path = np.zeros_like(params), []
    optimizer = mn.Optimizer.over(params, grads, rule, shapes=SHAPES)
    for lr in rates:
        gradients = slopes(params[:28].reshape(SHAPES["W"]), params[28:])
        grads[:] = np.concatenate([g.reshape(-1) for g in gradients])
        optimizer.step(float(lr))
        path.append(params.copy())
    return np.array(path)


def special(row):
    """The form of a row that is not the library's only one."""
    if row.theirs == "Adam, the short form":
        return lambda *args: cs231n_adam(*args, corrected=False)
    if row.theirs == "global_clipnorm=1.0":
        return "global"
    return None


WRITTEN = [(rule, row) for rule, row in FORMS if row.library != "PyTorch" and row.exact and rule != "Accumulate"]


@pytest.mark.parametrize(("rule", "row"), WRITTEN, ids=[f"{rule}, {row.theirs}" for rule, row in WRITTEN])
def test_a_hundred_steps_equal_those_of_their_form(rule, row):
    rates = rates_for(rule)
    path = ours(build(row.ours), rates)
    form = special(row) or THEIRS[rule, row.library]
    parts, kept, worst = list(start()), ({}, {}), 0.0
    for t, lr in enumerate(rates, start=1):
        gradients = slopes(*parts)
        if form == "global":
            norm = math.sqrt(sum((g**2).sum() for g in gradients))
            parts = [p - lr * g * min(1.0, 1 / norm) for p, g in zip(parts, gradients, strict=True)]
        else:
            parts = [form(p, g, s, lr, t) for p, g, s in zip(parts, gradients, kept, strict=True)]
        worst = max(worst, np.abs(np.concatenate([p.reshape(-1) for p in parts]) - path[t - 1]).max())
    assert worst < 1e-10
    assert np.abs(path[-1] - path[0]).max() > 0.05  # it did go somewhere


TORCH = [
    (rule, row)
    for rule, row in FORMS
    if row.library == "PyTorch" and row.exact and rule not in ("Accumulate", "ClipValue")
]


@pytest.fixture
def double():
    """PyTorch's default dtype, in which its NAdam keeps a product."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


@pytest.mark.torch
@pytest.mark.parametrize(("rule", "row"), TORCH, ids=[row.theirs for _, row in TORCH])
def test_a_hundred_steps_equal_those_of_pytorch(rule, row, double):
    torch = double
    rates = rates_for(rule)
    path = ours(build(row.ours), rates)
    tensors = [torch.tensor(part, requires_grad=True) for part in start()]
    call = ast.parse(row.theirs, mode="eval").body
    options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    optimizer = getattr(torch.optim, call.func.id)(tensors, lr=0.1, **options)
    worst = 0.0
    for step, lr in enumerate(rates):
        optimizer.param_groups[0]["lr"] = float(lr)
        gradients = slopes(*(tensor.detach().numpy() for tensor in tensors))
        for tensor, g in zip(tensors, gradients, strict=True):
            tensor.grad = torch.tensor(g)
        optimizer.step()
        now = np.concatenate([tensor.detach().numpy().reshape(-1) for tensor in tensors])
        worst = max(worst, np.abs(now - path[step]).max())
    assert worst < 1e-10
    assert np.abs(path[-1] - path[0]).max() > 0.05


@pytest.mark.torch
def test_rates_are_what_pytorch_takes_unless_told():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: its defaults are not looked at")
    for _, row in FORMS:
        call = ast.parse(row.theirs, mode="eval").body if row.library == "PyTorch" and row.lr else None
        if call is not None:
            options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
            optimizer = getattr(torch.optim, call.func.id)([torch.zeros((2, 2), requires_grad=True)], **options)
            assert optimizer.defaults["lr"] == float(row.lr), row


def test_a_penalty_of_the_net_is_decay_times_the_weights_in_the_gradient():
    x, y = np.random.default_rng(0).standard_normal((20, 4)), np.arange(20) % 3
    net, plain = (
        mn.Net([mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), dtype=np.float64, seed=1, l2=l2) for l2 in (0.3, 0.0)
    )
    for each in (net, plain):
        each.loss_and_grads(x, y)
    expected = plain.named_gradients()["0.W"] + 0.3 * plain.named_parameters()["0.W"]
    np.testing.assert_allclose(net.named_gradients()["0.W"], expected, rtol=1e-12)
    np.testing.assert_array_equal(net.named_gradients()["0.b"], plain.named_gradients()["0.b"])
