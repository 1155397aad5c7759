"""Every backward pass against numerical gradients, and mistakes that these tests must notice."""

import layers
import numpy as np
import pytest

import minnet as mn


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("samples", [1, 4])
def test_affine(rng, samples):
    x, w, b = rng.standard_normal((samples, 3)), rng.standard_normal((3, 5)), rng.standard_normal(5)
    mn.check_backward(layers.affine_forward, layers.affine_backward, x, w, b).assert_passed()


def test_leaky_relu(rng):
    x = rng.standard_normal((4, 6))
    mn.check_backward(layers.leaky_relu_forward, layers.leaky_relu_backward, x).assert_passed()


def test_scale(rng):
    layer = layers.Scale(rng.standard_normal(6))
    mn.check_module(layer, rng.standard_normal((4, 6))).assert_passed()


# A test that cannot fail says nothing: each of these is a mistake, and the check must say so.
def slope_forgotten(dout, cache):
    x, _ = cache
    return np.where(x > 0, dout, 0)


def slope_everywhere(dout, cache):
    _, slope = cache
    return slope * dout


@pytest.mark.parametrize("mistake", [slope_forgotten, slope_everywhere])
def test_a_mistake_is_noticed(rng, mistake):
    x = rng.standard_normal((4, 6))
    assert mn.check_backward(layers.leaky_relu_forward, mistake, x).verdict == "wrong"
