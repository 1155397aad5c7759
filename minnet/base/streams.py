"""Streams of random numbers: one for each purpose, all derived from one seed.

If two streams were equal, weights, noise and data would depend on each other. NumPy pads seeds with zeros, so
``default_rng((s, 0))`` equals ``default_rng(s)``, from which users draw their data. Streams of minnet are therefore
keyed by ``spawn_key``, which NumPy separates from the seed. A stream differs from those of all other purposes and
indices, and from ``default_rng(s)``.
"""

import numpy as np

_END = 256  # end of the bytes of a purpose, so that no purpose with indices equals another purpose


def _sequence(seed: int, purpose: str, *index: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(entropy=seed, spawn_key=(*purpose.encode(), _END, *index))


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
