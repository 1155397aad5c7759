"""Adafactor, Muon and L-BFGS against ``torch.optim``."""

import math

import numpy as np
import pytest
from tensor_forms import EPS, convex_problem, joined, lbfgs_path, newton_schulz, sequence, soft_plus

import minnet as mn
from minnet.layers.spec import Layout

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
