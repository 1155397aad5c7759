"""The power of the gradient check: typical mistakes, seeded into every layer's backward pass, are all caught.

The list is bench/mistakes.py; ``pytest tests/gradcheck/test_seeded_mistakes.py -v`` prints it.
"""

import pytest
from mistakes import MISTAKES

import minnet as mn


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_seeded_mistake_is_caught(mistake):
    result = mn.check_layer(mistake.layer, mistake.shape)
    assert not result.passed, f"slipped through:\n{result}"


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_random_directions_catch_a_seeded_mistake(mistake):
    result = mn.check_layer(mistake.layer, mistake.shape, mode="directions")
    assert not result.passed, f"slipped through:\n{result}"


def test_every_layer_has_a_seeded_mistake():
    layers = {
        name for name in mn.__all__ if isinstance(getattr(mn, name), type) and issubclass(getattr(mn, name), mn.Layer)
    }
    assert {mistake.name.split(":")[0] for mistake in MISTAKES} == layers - {"Layer"}
