"""Streams of random numbers: no two of one seed agree, and none is a generator that a user may draw data from."""

import ast
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import minnet as mn
from minnet import initializers
from minnet.base import streams

PACKAGE = Path(mn.__file__).parent
N = 4000
BOUND = 5.5 / np.sqrt(N)  # correlations of independent draws have standard deviation 1 / sqrt(N)


def trees(words):
    """The syntax trees of the files of the package that contain one of the words, by file."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    return {path: ast.parse(text) for path, text in texts.items() if any(word in text for word in words)}


@cache
def uses():
    """(purpose, whether it has an index) of each call of ``streams.generator`` and ``streams.key`` in the package."""
    found = []
    for path, tree in trees(["streams"]).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("streams.generator", "streams.key"):
                purpose = node.args[1]
                assert isinstance(purpose, ast.Constant), f"{path}, line {node.lineno}: the purpose is no literal"
                found.append((purpose.value, len(node.args) > 2))
    return found


GENERATORS = {"default_rng", "SeedSequence", "PCG64", "Philox"}


def makes_a_generator(tree):
    """Whether a file makes a NumPy generator without saying what it is for."""
    return any(isinstance(node, ast.Attribute) and node.attr in GENERATORS for node in ast.walk(tree))


def test_every_generator_of_the_package_comes_from_one_place():
    assert [path.name for path, tree in trees(GENERATORS).items() if makes_a_generator(tree)] == ["streams.py"]
    assert makes_a_generator(ast.parse("rng = np.random.default_rng((seed, 1))"))


def test_every_purpose_stands_in_one_place():
    purposes = [purpose for purpose, _ in uses()]
    assert len(purposes) > 15
    assert sorted(purposes) == sorted(set(purposes))


def drawn(seed):
    """Standard normal numbers from every stream of a seed, and from what users may draw their data from."""
    # (seed, 0) is left out, as it is the same generator as seed.
    users = {seed, (seed, 1), (seed, 2), (1, seed), seed + 1} - {(1, 0)}
    found = {f"default_rng({user})": np.random.default_rng(user).standard_normal(N) for user in users}
    for purpose, indexed in uses():
        for index in [(0,), (1,), (300,), (1, 0)] if indexed else [()]:
            found[f"{purpose} {index}"] = streams.generator(seed, purpose, *index).standard_normal(N)
    return found


@pytest.mark.parametrize("seed", [0, 1, 7, 2**40])
def test_no_two_streams_of_a_seed_correlate(seed):
    found = drawn(seed)
    values = np.corrcoef(np.stack(list(found.values())))
    names = list(found)
    pairs = combinations(range(len(names)), 2)
    related = [(names[i], names[j], values[i, j]) for i, j in pairs if abs(values[i, j]) > BOUND]
    assert related == []


def test_a_stream_that_coincides_would_be_seen():
    found = np.stack([np.random.default_rng(3).standard_normal(N), np.random.default_rng((3, 0)).standard_normal(N)])
    assert abs(np.corrcoef(found)[0, 1]) > BOUND


@pytest.mark.parametrize("seed", [0, 5])
def test_the_keys_of_counter_based_noise_are_all_different(seed):
    keys = [streams.key(seed, purpose, *index) for purpose, _ in uses() for index in ((), (0,), (48,))]
    assert len(set(keys)) == len(keys)


def test_a_purpose_with_an_index_is_no_other_purpose():
    a = streams.key(0, "a", *b"b")
    assert len({a, streams.key(0, "ab"), streams.key(0, "a"), streams.key(0, "a", 0), streams.key(0, "a", 0, 0)}) == 5


# What users meet ---------------------------------------------------------------------------------------------


def order(seed, shuffled):
    """Ranks that a permutation and the generator's own permutation have in common would correlate."""
    mine = np.random.default_rng(seed).permutation(N)
    return abs(np.corrcoef(mine, shuffled)[0, 1]) < BOUND


def unlike(seed, values):
    return abs(np.corrcoef(np.random.default_rng(seed).standard_normal(values.size), values.ravel())[0, 1]) < BOUND


@pytest.mark.parametrize("seed", [0, 3])
def test_weights_are_not_what_a_user_draws_with_the_same_seed(seed):
    net = mn.Net(
        [mn.Dense(80, init=initializers.Normal(1.0)), mn.Dense(50, init=initializers.Normal(1.0))], 50, seed=seed
    )
    first, second = (net.named_parameters()[name].astype(float) for name in ("0.W", "1.W"))
    assert unlike(seed, first)
    assert unlike(seed, second)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < BOUND


@pytest.mark.parametrize("seed", [0, 3])
def test_the_order_of_batches_and_of_a_split_are_not_what_a_user_draws_with_the_same_seed(seed):
    x, y = np.zeros((N, 1), np.float32), np.arange(N)
    batches = mn.data.Batches((x, y), batch_size=N, seed=seed)
    epochs = [batches.next()[1].copy() for _ in range(2)]
    (parted,) = (part[1] for part in mn.data.split((x, y), (1.0,), seed=seed))
    for shuffled in (*epochs, parted):
        assert order(seed, shuffled)
    assert abs(np.corrcoef(epochs[0], parted)[0, 1]) < BOUND
    assert abs(np.corrcoef(epochs[0], epochs[1])[0, 1]) < BOUND


@pytest.mark.parametrize("seed", [0, 3])
def test_the_noise_of_spirals_is_not_what_a_user_draws_with_the_same_seed(seed):
    points = N // 2
    x, _ = mn.datasets.spirals(points=points, arms=2, noise=0.2, seed=seed)
    exact, _ = mn.datasets.spirals(points=points, arms=2, noise=0.0)
    keep = np.hypot(*exact.T) > 0.1
    turned = np.angle(np.exp(1j * (np.arctan2(*x.T) - np.arctan2(*exact.T))))
    mine = np.random.default_rng(seed).standard_normal(N)
    assert abs(np.corrcoef(mine[keep], turned[keep])[0, 1]) < BOUND
