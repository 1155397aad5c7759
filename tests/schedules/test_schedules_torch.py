"""Schedules against ``torch.optim.lr_scheduler``."""

import math

import numpy as np
import pytest

from minnet.schedules import (
    Cosine,
    Cyclical,
    Exponential,
    ExpRange,
    Join,
    Linear,
    OneCycle,
    Piecewise,
    Polynomial,
    Repeat,
    Step,
    Triangular,
    Triangular2,
    WarmRestarts,
)

# PyTorch ---------------------------------------------------------------------------------------------------------

# (ours, the class in torch.optim.lr_scheduler, its arguments, steps); PyTorch multiplies a base rate of 0.1
PYTORCH = [
    (Step(0.1, 7, 0.3), "StepLR", {"step_size": 7, "gamma": 0.3}, 40),
    (Piecewise([5, 12], [0.1, 0.02, 0.004]), "MultiStepLR", {"milestones": [5, 12], "gamma": 0.2}, 40),
    (Exponential(0.1, -math.log(0.9)), "ExponentialLR", {"gamma": 0.9}, 40),
    (Linear(0.025, 0.1, 8), "LinearLR", {"start_factor": 0.25, "total_iters": 8}, 40),
    (Polynomial(0.1, 0.0, 10, 2.0), "PolynomialLR", {"total_iters": 10, "power": 2.0}, 40),
    (Cosine(0.1, 20, 0.01), "CosineAnnealingLR", {"T_max": 20, "eta_min": 0.01}, 21),  # theirs rises again after that
    (
        WarmRestarts(0.1, 5, lengthen=2, floor=0.01),
        "CosineAnnealingWarmRestarts",
        {"T_0": 5, "T_mult": 2, "eta_min": 0.01},
        40,
    ),
    (Piecewise([6], [0.02, 0.1]), "ConstantLR", {"factor": 0.2, "total_iters": 6}, 20),
    *(
        (ours, "CyclicLR", {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 4, "mode": mode, **extra}, 40)
        for ours, mode, extra in [
            (Triangular(0.1, 0.7, 4), "triangular", {}),
            (Triangular2(0.1, 0.7, 4), "triangular2", {}),
            (ExpRange(0.1, 0.7, 4, 0.97), "exp_range", {"gamma": 0.97}),
            (Cyclical(0.1, 0.7, 4, math.sqrt), "triangular", {"scale_fn": math.sqrt, "scale_mode": "cycle"}),
            (
                Cyclical(0.1, 0.7, 4, math.atan, by="iteration"),
                "triangular",
                {"scale_fn": math.atan, "scale_mode": "iterations"},
            ),
            # 4 steps up, 6 down
            (
                Repeat(OneCycle(0.7, 10, rise=0.4, div=7, final_div=7, shape="linear")),
                "triangular",
                {"step_size_down": 6},
            ),
        ]
    ),
]


def pytorch_rates(torch, make, steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.torch
@pytest.mark.parametrize(("ours", "name", "options", "steps"), PYTORCH, ids=str)
def test_rates_equal_those_of_pytorch(ours, name, options, steps):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    if name == "CyclicLR":
        options = {**options, "cycle_momentum": False}
    scheduler = getattr(torch.optim.lr_scheduler, name)
    theirs = pytorch_rates(torch, lambda optimizer: scheduler(optimizer, **options), steps)
    # PyTorch goes from each rate to the next, so its rounding adds up.
    np.testing.assert_allclose([ours(step) for step in range(steps)], theirs, rtol=0, atol=steps * 2e-16)


def pytorchs_one_cycle(peak, steps, pct_start, **options):
    """PyTorch has its peak one step before pct_start * steps, and its end on the last step."""
    return OneCycle(peak, steps - 1, rise=(pct_start * steps - 1) / (steps - 1), **options)


@pytest.mark.torch
@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize("phases", [2, 3])
@pytest.mark.parametrize(("steps", "pct_start"), [(50, 0.3), (37, 0.3), (100, 0.25), (20, 0.45)])
def test_one_cycle_and_its_momentum_equal_pytorchs(steps, pct_start, phases, shape):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=0.4,
        total_steps=steps,
        pct_start=pct_start,
        anneal_strategy={"cosine": "cos", "linear": "linear"}[shape],
        three_phase=phases == 3,
    )
    theirs = []
    for _ in range(steps):
        theirs.append([optimizer.param_groups[0][name] for name in ("lr", "momentum")])
        optimizer.step()
        scheduler.step()
    ours = pytorchs_one_cycle(0.4, steps, pct_start, phases=phases, shape=shape)
    momentum = ours.mirrored(0.85, 0.95)
    np.testing.assert_allclose([[ours(t), momentum(t)] for t in range(steps)], theirs, rtol=0, atol=1e-15)


@pytest.mark.torch
def test_momentum_against_cycles_equals_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.7, step_size_up=5, mode="triangular2")
    ours = Triangular2(0.1, 0.7, 5).mirrored(0.8, 0.9)
    for step in range(40):
        assert ours(step) == pytest.approx(optimizer.param_groups[0]["momentum"], abs=1e-15)
        optimizer.step()
        scheduler.step()


@pytest.mark.torch
def test_a_product_equals_pytorchs_chain():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    library = torch.optim.lr_scheduler

    def chain(optimizer):
        parts = [library.LinearLR(optimizer, start_factor=0.25, total_iters=6), library.ExponentialLR(optimizer, 0.9)]
        return library.ChainedScheduler(parts)

    ours = Linear(0.25, 1.0, 6) * Exponential(0.1, -math.log(0.9))
    theirs = pytorch_rates(torch, chain, 20)
    np.testing.assert_allclose([ours(step) for step in range(20)], theirs, rtol=0, atol=4e-15)


@pytest.mark.torch
def test_joined_rates_equal_pytorchs_sequence():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    library = torch.optim.lr_scheduler

    def sequence(optimizer):
        first = library.LinearLR(optimizer, start_factor=0.25, total_iters=6)
        second = library.StepLR(optimizer, step_size=4, gamma=0.5)
        return library.SequentialLR(optimizer, [first, second], milestones=[6])

    ours = Join([(Linear(0.025, 0.1, 6), 6), Step(0.1, 4)])
    theirs = pytorch_rates(torch, sequence, 20)
    np.testing.assert_allclose([ours(step) for step in range(20)], theirs, rtol=0, atol=1e-15)
