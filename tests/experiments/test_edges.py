"""The edge warning: how often it warns of a parameter that does nothing, and of an optimum at the edge."""

import numpy as np
import pytest

from minnet.experiments import Choice, Log, Space, edges
from minnet.experiments.edges import at_edge

STUDIES = 2000


def warned(n, at, seed=0):
    """Share of simulated studies that warn of a parameter: quadratic around ``at``, or idle, beside another one."""
    rng = np.random.default_rng(seed)
    places, others = rng.random((2, STUDIES, n))
    own = 0 if at is None else (places - at) ** 2
    costs = own + 0.2 * (others - 0.5) ** 2 + 0.02 * rng.standard_normal((STUDIES, n))
    return at_edge(places, costs)


@pytest.mark.parametrize(("n", "most"), [(16, 0.05), (40, 0.03)])
def test_an_idle_parameter_is_seldom_warned_of(n, most):
    assert np.mean(warned(n, None) != 0) <= most


@pytest.mark.parametrize(("n", "least"), [(16, 0.86), (40, 0.95)])
@pytest.mark.parametrize("beyond", [0.0, 0.3])
def test_an_optimum_at_or_past_the_edge_is_warned_of_on_its_side(n, least, beyond):
    assert np.mean(warned(n, -beyond) == -1) >= least
    assert np.mean(warned(n, 1 + beyond) == 1) >= least
    assert not (warned(n, -beyond) == 1).any()


@pytest.mark.parametrize("n", [16, 40])
def test_an_optimum_in_the_middle_is_not_warned_of(n):
    assert np.mean(warned(n, 0.5) != 0) <= 0.01


def test_trials_that_diverge_count_as_the_worst():
    rng = np.random.default_rng(1)
    places = rng.random((STUDIES, 40))
    costs = np.where(places > 0.6, np.inf, abs(places - 0.45) + 0.05 * rng.random((STUDIES, 40)))
    assert np.mean(at_edge(places, costs) != 0) <= 0.01


def test_the_warning_names_parameter_side_and_range():
    space = Space(lr=Log(1e-4, 1.0), mu=Choice(0.5, 0.9))
    rng = np.random.default_rng(2)
    configs = [space.draw(rng) for _ in range(30)]
    (edge,) = edges(space, configs, np.array([-np.log(c.lr) for c in configs]))
    assert (edge.name, edge.side, edge.trials) == ("lr", "upper", 30)
    assert "search further out" in str(edge)
    assert not edges(space, configs[:5], np.array([-c.lr for c in configs[:5]]))
