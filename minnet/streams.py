"""Streams of random numbers: one for each purpose, all functions of one seed.

NumPy pads seeds with zeros, so ``default_rng((s, 0))`` and ``default_rng(s)`` are the same generator, and users draw
their data from ``default_rng(s)``. Streams that coincide make weights, noise and data depend on each other. A stream
of minnet is therefore keyed by ``spawn_key``, which NumPy keeps apart from the seed: no stream is that of another
purpose, of another index or of ``default_rng(s)``.
"""

import numpy as np

_END = 256  # of the purpose's bytes, so that no purpose with indices is another one


def _sequence(seed: int, purpose: str, *index: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(entropy=seed, spawn_key=(*purpose.encode(), _END, *index))


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """The generator of one purpose.

    Args:
        seed: what the user gave, an integer of at least 0.
        purpose: what the numbers are for. Each purpose stands in one place of the package.
        index: which of several streams for that purpose, as integers of at least 0, such as the epoch.
    """
    return np.random.default_rng(_sequence(seed, purpose, *index))


def key(seed: int, purpose: str, *index: int) -> np.uint64:
    """The key of one purpose's counter-based noise (``kernels/noise.py``); arguments are those of ``generator``."""
    return np.uint64(_sequence(seed, purpose, *index).generate_state(1, np.uint64)[0])
