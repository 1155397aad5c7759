"""What bench/speed.py times and how it counts: steps within a fit, and those by hand."""

import numpy as np
import pytest
import speed
from peer_minnet import COPIES, Fit, Minnet
from peers import FIT, PEERS
from workloads import WORKLOADS

SMALL = ["iris_mlp", "spiral_mlp", "digits_mlp", "min_char_rnn"]


@pytest.mark.parametrize("name", SMALL)
def test_a_call_of_fit_takes_as_many_steps_as_it_says(name, monkeypatch):
    work = WORKLOADS[name]
    fit = Fit(work, work.net().params, *work.data())
    monkeypatch.setitem(vars(fit), "steps_a_call", 2 * COPIES + 1)
    before = fit.net.step
    assert np.isfinite(fit.step())
    assert fit.net.step == before + 2 * COPIES + 1


def test_on_one_batch_a_fit_takes_the_steps_by_hand(monkeypatch):
    monkeypatch.setattr("peer_minnet.COPIES", 1)  # all batches are then the same samples, in another order
    work = WORKLOADS["digits_mlp"]
    by_hand, fit = (kind(work, work.net().params, *work.data()) for kind in (Minnet, Fit))
    monkeypatch.setitem(vars(fit), "steps_a_call", 5)
    losses = [by_hand.step() for _ in range(5)]
    assert fit.step() == pytest.approx(losses[-1], rel=1e-5)
    np.testing.assert_allclose(fit.net.params, by_hand.net.params, rtol=0, atol=1e-6)


def test_only_small_networks_are_timed_by_fit():
    assert [name for name in WORKLOADS if PEERS[FIT].suits(name)] == SMALL


def test_steps_by_fit_are_no_peer():
    times = {"minnet": [4.0, 4.0], FIT: [1.0, 2.0], "JAX": [8.0, 8.0]}
    found = speed.row("iris_mlp", times, peak=1.0)
    assert found["fastest peer"] == "JAX"
    assert found["ratios"] == {"JAX": 2.0}
    assert found["by hand / fit"] == 3.0
    without = speed.row("iris_mlp", {"minnet": [4.0], "JAX": [8.0]}, peak=1.0)
    assert without["by hand / fit"] is None
