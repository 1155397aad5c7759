"""Streams of random numbers: one for each purpose, all derived from one seed.

If two streams were equal, weights, noise and data would depend on each other. NumPy pads seeds with zeros, so
``default_rng((s, 0))`` equals ``default_rng(s)``, from which users draw their data. Streams of minnet are therefore
keyed by ``spawn_key``, which NumPy separates from the seed. A stream differs from those of all other purposes and
indices, and from ``default_rng(s)``.
"""

import numpy as np

_END = 256  # end of the bytes of a purpose, so that no purpose with indices equals another purpose
_POOL = 4  # words to which NumPy pads a seed before it appends the spawn key


def _sequence(seed: int, purpose: str, *index: int) -> np.random.SeedSequence:
    """Return ``SeedSequence(entropy=seed, spawn_key=(*purpose.encode(), _END, *index))``.

    NumPy makes an array of each number of a key. One array of all words of 32 bits is made several times as quickly.
    """
    words = _words(seed)
    words += [0] * (_POOL - len(words)) + [*purpose.encode(), _END]
    for number in index:
        words += _words(number)
    return np.random.SeedSequence(entropy=np.array(words, np.uint32))


def _words(number: int) -> list[int]:
    """Return a number of at least 0 as words of 32 bits, the lowest first; 0 is one word."""
    words = [number & 0xFFFFFFFF]
    while (number := number >> 32) > 0:
        words.append(number & 0xFFFFFFFF)
    if number < 0:
        raise ValueError("expected seeds and indices of at least 0")
    return words


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Return the generator for a purpose.

    Args:
        seed: the user's seed, an integer of at least 0.
        purpose: what the numbers are for. Each purpose is used in one place of the package.
        index: integers of at least 0 that number several streams for one purpose, such as the epoch.
    """
    return np.random.default_rng(_sequence(seed, purpose, *index))


def key(seed: int, purpose: str, *index: int) -> np.uint64:
    """Return the key of counter-based noise (``kernels/noise.py``); the arguments are those of ``generator``."""
    return np.uint64(_sequence(seed, purpose, *index).generate_state(1, np.uint64)[0])
