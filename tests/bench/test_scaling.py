"""``bench/scaling.py``: the bend of a curve, and its networks."""

import numpy as np
import pytest
import scaling
from peers import PEERS


def test_a_power_law_has_no_bend_and_a_cliff_has_one():
    sizes = 2.0 ** np.arange(6)
    np.testing.assert_allclose(scaling.bends(3 * sizes**1.7), 1)
    times = 3 * sizes**1.7
    times[3] *= 2
    np.testing.assert_allclose(scaling.bends(times), [1, 2**-0.5, 2, 2**-0.5])


@pytest.mark.parametrize("sweep", scaling.SWEEPS)
def test_values_of_a_sweep_are_a_fixed_ratio_apart_and_the_first_network_runs(sweep):
    values = scaling.SWEEPS[sweep].values
    ratios = np.divide(values[1:], values[:-1])
    np.testing.assert_allclose(ratios, ratios[0], rtol=0.01)
    result = scaling.one_step(PEERS["minnet"], sweep, values[0])()
    assert np.isfinite(result).all()


def test_a_table_has_a_row_for_each_value(capsys):
    seconds = {1: 1e-6, 2: 4e-6, 4: 4e-6}
    points = {value: {"seconds": {"minnet": t}, "bytes": {"minnet": 2e6}} for value, t in seconds.items()}
    assert scaling.report("batch", points) == {"minnet": pytest.approx(2)}
    assert "| 2 | 4 | 2.00 | 2.0 |" in capsys.readouterr().out
