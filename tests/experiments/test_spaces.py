"""Spaces: each range draws on its scale, maps to 0..1 and back, and refuses what is none."""

import pickle

import numpy as np
import pytest

from minnet.experiments import Choice, Config, Integer, Log, Space, Uniform, When

RANGES = [Uniform(-1, 3), Log(1e-5, 10), Integer(1, 4), Integer(2, 300, log=True)]


@pytest.mark.parametrize("given", RANGES, ids=repr)
def test_a_place_of_a_range_leads_to_its_value_and_back(given):
    for unit in np.linspace(0, 1, 11):
        value = given.value(unit)
        assert given.contains(value)
        assert given.clip(value) == value  # the very bits
        assert given.value(given.unit(value)) == pytest.approx(value, rel=1e-12)
    assert given.value(0) == given.low
    assert given.value(1) == given.high
    assert given.clip(given.high + 5) == given.high
    assert given.clip(given.low - 5) == given.low


def test_draws_are_even_on_the_scale_of_each_range():
    space = Space(a=Uniform(-1, 3), b=Log(1e-5, 10), c=Integer(1, 4), d=Choice("x", None, 2.5))
    rng = np.random.default_rng(0)
    drawn = [space.draw(rng) for _ in range(4000)]
    a, b = np.array([c.a for c in drawn]), np.log10([c.b for c in drawn])
    for values, low, high in ((a, -1, 3), (b, -5, 1)):
        shares = np.histogram(values, 8, (low, high))[0] / 4000
        np.testing.assert_allclose(shares, 1 / 8, atol=0.025)
    for name, values in (("c", (1, 2, 3, 4)), ("d", ("x", None, 2.5))):
        shares = [sum(config[name] == value for config in drawn) / 4000 for value in values]
        np.testing.assert_allclose(shares, 1 / len(values), atol=0.03)


def test_a_parameter_exists_for_some_values_of_another_only():
    space = Space(rule=Choice("sgd", "momentum"), mu=When("rule", "momentum", Uniform(0.5, 0.9)))
    rng = np.random.default_rng(0)
    drawn = [space.draw(rng) for _ in range(50)]
    assert {("mu" in c, c.rule) for c in drawn} == {(True, "momentum"), (False, "sgd")}
    assert all(space.contains(c) for c in drawn)
    assert not space.contains(Config({"rule": "sgd", "mu": 0.6}))
    assert not space.contains(Config({"rule": "momentum"}))
    assert [dict(c) for c in space.grid({"mu": 2})] == [
        {"rule": "sgd"},
        {"rule": "momentum", "mu": 0.5},
        {"rule": "momentum", "mu": 0.9},
    ]


def test_a_grid_has_the_ends_and_even_steps_between_them():
    found = Space(lr=Log(0.01, 1), n=Integer(1, 3)).grid({"lr": 3, "n": 5})
    np.testing.assert_allclose(sorted({c.lr for c in found}), [0.01, 0.1, 1])
    assert len(found) == 9  # three whole numbers for five places


def test_a_narrowed_space_holds_what_it_was_narrowed_to():
    space = Space(lr=Log(1e-5, 10), n=Integer(1, 99), mu=Choice(0.5, 0.9, 0.99))
    best = [Config({"lr": lr, "n": n, "mu": 0.9}) for lr, n in ((0.01, 3), (0.1, 9))]
    narrow = space.narrowed(best)
    assert all(narrow.contains(config) for config in best)
    assert narrow.ranges["lr"].low == pytest.approx(0.01 * 10**-0.12)  # a tenth of a decade, and at least 2 % of six
    assert narrow.ranges["mu"] == Choice(0.9)
    assert (narrow.ranges["n"].low, narrow.ranges["n"].high) == (3, 9)
    assert space.narrowed(best[:1]).contains(best[0])


def test_a_configuration_is_read_by_name_copied_and_not_changed():
    config = Config({"lr": 0.1, "items": 3})
    assert config.lr == config["lr"] == 0.1
    assert pickle.loads(pickle.dumps(config)) == config
    assert config.replace(lr=0.2).lr == 0.2
    with pytest.raises(AttributeError, match="expected one of lr, items; got 'momentum'"):
        _ = config.momentum
    with pytest.raises(AttributeError, match="no change of lr"):
        config.lr = 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Uniform(1, 1), "low < high; got low=1, high=1"),
        (lambda: Uniform(2, 1), "low < high"),
        (lambda: Log(10, 1e-5), "low < high"),
        (lambda: Log(0, 1), "low above 0"),
        (lambda: Uniform(0, float("nan")), "finite"),
        (lambda: Integer(3, 2), "low < high"),
        (lambda: Integer(0, 8, log=True), "low above 0"),
        (lambda: Choice(), "at least one value; got none"),
        (lambda: Choice(1, 2, 1), "different values"),
        (lambda: Space(), "at least one range"),
        (lambda: Space(mu=When("rule", "momentum", Uniform(0, 1))), "depend on a parameter before it"),
        (lambda: Space(lr=Log(1, 2)).narrowed([]), "at least one configuration"),
        (lambda: Space(lr=Log(1, 2)).grid({"lt": 3}), "expected numbers for lr"),
        (lambda: Space(lr=Log(1, 2)).grid(0), "at least 1"),
    ],
)
def test_a_space_that_is_none_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("make", [lambda: Space(lr=0.1), lambda: Choice([1, 2]), lambda: Integer(0.5, 2)])
def test_a_range_of_another_type_is_refused(make):
    with pytest.raises(TypeError, match="expected"):
        make()
